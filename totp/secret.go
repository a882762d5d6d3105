package totp

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Purposes of a sealed secret. A pending one cannot be opened as an active one.
const (
	active  = "gatewright/totp/active"
	pending = "gatewright/totp/pending"
)

// additional returns the additional data, which binds a sealed secret to its purpose
// and user.
func additional(purpose, user string) []byte {
	b := make([]byte, 0, len(purpose)+1+len(user))
	return append(append(append(b, purpose...), 0), user...)
}

func (s *Service) seal(ctx context.Context, purpose, user string, k key) ([]byte, error) {
	if err := k.check(shortSecret); err != nil {
		return nil, err
	}
	box, err := s.sealer.Seal(ctx, k.marshal(), additional(purpose, user))
	if err != nil {
		return nil, guard.CannotDecide("totp: sealing a secret", err)
	}
	return box, nil
}

func (s *Service) open(ctx context.Context, purpose, user string, box []byte) (k key, stale bool, err error) {
	plain, stale, err := s.sealer.Open(ctx, box, additional(purpose, user))
	if err != nil {
		return key{}, false, guard.CannotDecide("totp: opening a secret", err)
	}
	k, err = unmarshalKey(plain)
	return k, stale, err
}

// compare compares typed with the codes or the recovery codes of the active factor of
// r. If they were made in session, it returns ErrSameSession without a comparison.
func (s *Service) compare(ctx context.Context, user, session string, typed input, r *Record, now time.Time) (outcome, error) {
	if typed.digits == "" {
		return s.compareRecovery(ctx, user, session, typed.recovery, r)
	}
	k, stale, err := s.open(ctx, active, user, r.Active)
	if err != nil {
		return outcome{}, err
	}
	if k.secretFrom.is(session) {
		return outcome{}, ErrSameSession
	}
	step, ok, err := k.match(typed.digits, stepOf(now), s.config.skew(), r.Step)
	if err != nil || !ok {
		return outcome{wrong: ErrWrongCode}, err
	}
	box := r.Active
	if stale {
		if box, err = s.seal(ctx, active, user, k); err != nil {
			return outcome{}, err
		}
	}
	return outcome{factor: true, use: func(r *Record) { r.Active, r.Step = box, step }}, nil
}

func (s *Service) compareRecovery(ctx context.Context, user, session string, code []byte, r *Record) (outcome, error) {
	if session != "" {
		k, _, err := s.open(ctx, active, user, r.Active)
		if err != nil {
			return outcome{}, err
		}
		if k.recoveryFrom.is(session) {
			return outcome{}, ErrSameSession
		}
	}
	hash := hashRecovery(user, code)
	if !r.hasRecovery(hash) {
		return outcome{wrong: ErrWrongCode}, nil
	}
	return outcome{factor: true, use: func(r *Record) { r.dropRecovery(hash) }}, nil
}
