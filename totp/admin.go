package totp

import (
	"context"
	"time"
)

// A Status is the state of a user's factor.
type Status struct {
	Enabled      bool
	Locked       bool // until Unlock; see Config.MaxFailures
	RecoveryLeft int
}

// Status returns the state of the user's factor.
func (s *Service) Status(ctx context.Context, user string) (Status, error) {
	r, err := s.load(ctx, user)
	if err != nil {
		return Status{}, err
	}
	return Status{
		Enabled:      len(r.Active) > 0,
		Locked:       r.Guesses.Failures >= s.limits.most,
		RecoveryLeft: len(r.Recovery),
	}, nil
}

// Import gives the user a factor with a secret of another system, of 16 to 128 bytes,
// or 10 with Config.InsecureShortSecrets, for Config.Algorithm and Config.Digits. If
// the user has a factor, it returns [ErrEnrolled]. Codes that the other system may have
// accepted are refused for up to a minute.
func (s *Service) Import(ctx context.Context, user string, secret []byte) (*RecoveryCodes, error) {
	atLeast := minSecret
	if s.config.InsecureShortSecrets {
		atLeast = shortSecret
	}
	k := key{algorithm: s.config.Algorithm, digits: s.config.Digits, secret: secret}
	if err := k.check(atLeast); err != nil {
		return nil, err
	}
	box, err := s.seal(ctx, active, user, k)
	if err != nil {
		return nil, err
	}
	codes, hashes := newRecovery(user)
	_, err = s.update(ctx, user, func(r *Record) error {
		if len(r.Active) > 0 {
			return ErrEnrolled
		}
		r.clear()
		// The other system may have accepted the code of the next step, from
		// an app with a fast clock (RFC 6238 section 6), whatever
		// Config.Strict is here.
		r.Active, r.Step, r.Recovery = box, stepOf(time.Now())+1, hashes
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.changed(ctx, nil, Change{user, EventConfirmed, len(hashes)})
	return codes, nil
}

// Unlock clears the wrong attempts of a user. Verify the user by other means first.
func (s *Service) Unlock(ctx context.Context, user string) error {
	r, err := s.update(ctx, user, func(r *Record) error {
		r.Guesses = Guesses{}
		return nil
	})
	if err == nil {
		s.changed(ctx, nil, Change{user, EventUnlocked, len(r.Recovery)})
	}
	return err
}

// Reset removes the factor of a user without a proof. Verify the user by other means
// first, and refuse callers that reset their own factor. It calls Config.End before
// and after; if that fails, call Reset again.
func (s *Service) Reset(ctx context.Context, user string) error {
	if err := s.end(ctx, user, EventReset); err != nil {
		return err
	}
	had := false
	_, err := s.update(ctx, user, func(r *Record) error {
		had = len(r.Active) > 0
		r.clear()
		r.Guesses = Guesses{}
		return nil
	})
	if err != nil {
		return err
	}
	if had {
		s.changed(ctx, nil, Change{User: user, Kind: EventReset})
	}
	return s.end(ctx, user, EventReset)
}

// clear removes the factor of r and keeps the count of guesses.
func (r *Record) clear() {
	r.Active, r.Pending, r.PendingUntil, r.Step, r.Recovery = nil, nil, time.Time{}, 0, nil
}
