package totp

import (
	"context"
	"time"
)

// A Status is the state of a user's factor, for a page of settings.
type Status struct {
	Enabled      bool
	Locked       bool // after too many wrong guesses, until Unlock
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

// Import gives the user a factor with a secret of another system, without a code.
// The secret has 16 to 128 bytes, 10 or more with Config.InsecureShortSecrets, and
// its codes have Config.Algorithm and Config.Digits. Codes that the old system may
// have accepted are refused, so the first right code comes within a minute. Import
// returns [ErrEnrolled] if the user has a factor.
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
		// The code of the next step, which an app whose clock is fast has
		// shown already, is the last that the other system accepts (RFC 6238
		// section 6). Config.Strict says nothing about that system.
		r.Active, r.Step, r.Recovery = box, stepOf(time.Now())+1, hashes
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.changed(ctx, nil, Change{user, EventConfirmed, len(hashes)})
	return codes, nil
}

// Unlock forgets the wrong attempts of a user, so that the next one is accepted at
// once. The host must verify the user by other means first.
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

// Reset removes the factor of a user who lost the authenticator and the recovery
// codes. The host must verify the user by other means first, and refuse a caller
// who resets their own factor. Config.End is called before and after; if it fails,
// call Reset again.
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
