package auth

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// measureHash measures the verification of a password, with the wait for its turn.
func (s *Server) measureHash(ctx context.Context, begun time.Time, ok bool, err error) {
	if err == nil && !ok {
		err = identity.ErrNotProven
	}
	s.config.Hooks.Measured(ctx, begun, "hash", "password.Verify", err)
}

// measuredSessions passes the duration of each call to Hooks.Measure.
type measuredSessions struct {
	RefreshStore
	hooks guard.Hooks
}

func (s measuredSessions) CreateRefresh(ctx context.Context, session Session, first TokenHash, idle time.Time, most int) ([]string, error) {
	begun := s.hooks.Begin()
	evicted, err := s.RefreshStore.CreateRefresh(ctx, session, first, idle, most)
	s.hooks.Measured(ctx, begun, "store", "auth.CreateRefresh", err)
	return evicted, err
}

func (s measuredSessions) RotateRefresh(ctx context.Context, r Rotation) (Rotated, error) {
	begun := s.hooks.Begin()
	rotated, err := s.RefreshStore.RotateRefresh(ctx, r)
	s.hooks.Measured(ctx, begun, "store", "auth.RotateRefresh", err)
	return rotated, err
}

func (s measuredSessions) RevokeRefresh(ctx context.Context, which identity.Revocation) error {
	begun := s.hooks.Begin()
	err := s.RefreshStore.RevokeRefresh(ctx, which)
	s.hooks.Measured(ctx, begun, "store", "auth.RevokeRefresh", err)
	return err
}

// measuredChallenges passes the duration of each call to Hooks.Measure.
type measuredChallenges struct {
	ChallengeStore
	hooks guard.Hooks
}

func (s measuredChallenges) AttemptChallenge(ctx context.Context, id TokenHash, limit int, expires time.Time) (bool, error) {
	begun := s.hooks.Begin()
	allowed, err := s.ChallengeStore.AttemptChallenge(ctx, id, limit, expires)
	s.hooks.Measured(ctx, begun, "store", "auth.AttemptChallenge", err)
	return allowed, err
}

func (s measuredChallenges) FinishChallenge(ctx context.Context, id TokenHash) (bool, error) {
	begun := s.hooks.Begin()
	first, err := s.ChallengeStore.FinishChallenge(ctx, id)
	s.hooks.Measured(ctx, begun, "store", "auth.FinishChallenge", err)
	return first, err
}
