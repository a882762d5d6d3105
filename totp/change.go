package totp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Audit events and kinds of a [Change]. The Principal of the event is the caller, the
// Target is the user.
const (
	EventBegun        guard.EventName = "factor_begun"                // a pending secret was made
	EventConfirmed    guard.EventName = "factor_confirmed"            // a first factor was confirmed or imported
	EventReplaced     guard.EventName = "factor_replaced"             // a confirmed factor replaced another
	EventUsed         guard.EventName = "factor_used"                 // a code was used up
	EventRecoveryUsed guard.EventName = "factor_recovery_used"        // a recovery code was used up
	EventRegenerated  guard.EventName = "factor_recovery_regenerated" // the recovery codes were replaced
	EventRemoved      guard.EventName = "factor_removed"              // removed by the user
	EventReset        guard.EventName = "factor_reset"                // removed by Reset
	EventLocked       guard.EventName = "factor_locked"               // after Config.MaxFailures wrong guesses
	EventUnlocked     guard.EventName = "factor_unlocked"             // by Unlock
)

// A Change is a change of a user's factor.
type Change struct {
	User         string
	Kind         guard.EventName
	RecoveryLeft int // unused recovery codes
}

// changed reports a saved change. by is the caller, nil for the caller of ctx.
func (s *Service) changed(ctx context.Context, by *identity.Principal, c Change) {
	e := guard.Event{Name: c.Kind, Principal: by, Target: c.User, Changes: []slog.Attr{slog.String("factor", "totp")}}
	if c.Kind != EventBegun && c.Kind != EventRemoved && c.Kind != EventReset {
		e.Changes = append(e.Changes, slog.Int("recovery_left", c.RecoveryLeft))
	}
	if r, ok := ctx.Value(requestKey{}).(*http.Request); ok {
		s.config.Hooks.Emit(r, e)
	} else {
		s.config.Hooks.EmitContext(ctx, e)
	}
	if s.config.Notify != nil {
		s.config.Notify(ctx, c)
	}
}

// requestKey is the context key of the request that a handler serves, for events.
type requestKey struct{}

// ends reports whether a change ends the factor that was active before.
func ends(kind guard.EventName) bool {
	return kind == EventRemoved || kind == EventReset || kind == EventReplaced
}

// change changes the caller's own factor. kind is set by the comparison.
//
// Config.End is called before the change, so that its error keeps the factor, and
// after it, for credentials that were made in between. If Config.Revoked reports that
// the session of p has ended meanwhile, the change is taken back.
func (s *Service) change(ctx context.Context, p *identity.Principal, proof Proof, a attempt, kind *guard.EventName) error {
	if err := s.accepts(proof); err != nil {
		return err
	}
	a.before = func() error { return s.end(ctx, a.user, *kind) }
	used, saved, err := s.attempt(ctx, a)
	if err != nil {
		return err
	}
	if s.config.Revoked != nil {
		revoked, err := s.config.Revoked(ctx, p)
		switch {
		case err != nil:
			err = guard.CannotDecide("totp: Config.Revoked", err)
		case revoked:
			err = fmt.Errorf("%w: the session was ended during a change of the factor", guard.ErrInactive)
		}
		if err != nil {
			if errUndo := s.takeBack(ctx, a.user, used, saved); errUndo != nil {
				return errUndo
			}
			return err
		}
	}
	s.changed(ctx, p, Change{a.user, *kind, len(saved.Recovery)})
	return s.end(ctx, a.user, *kind)
}

// end calls Config.End if the change ends a factor.
func (s *Service) end(ctx context.Context, user string, kind guard.EventName) error {
	if s.config.End == nil || !ends(kind) {
		return nil
	}
	if err := s.config.End(guard.NestedChange(ctx), Change{User: user, Kind: kind}); err != nil {
		return guard.CannotDecide("totp: Config.End", err)
	}
	return nil
}

// endTimeout bounds takeBack, which continues after the client has hung up.
const endTimeout = 10 * time.Second

// takeBack restores the factor before a change, without what the proof used up,
// unless the record was changed again.
func (s *Service) takeBack(ctx context.Context, user string, used, saved *Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	_, err := s.update(ctx, user, func(r *Record) error {
		if bytes.Equal(r.Active, saved.Active) && slices.Equal(r.Recovery, saved.Recovery) {
			r.Active, r.Recovery, r.Step = used.Active, used.Recovery, used.Step
		}
		return nil
	})
	return err
}
