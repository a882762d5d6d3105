package totp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
)

// An attempt is one guess at a code or a proof.
type attempt struct {
	user string

	// possible reports whether r has a secret to compare with. If not, the
	// attempt is wrong and is not counted.
	possible func(r *Record, now time.Time) bool

	// compare compares the guess and does not change r. After an error the
	// guess was not compared.
	compare func(r *Record, now time.Time) (outcome, error)

	// before, if not nil, is called between a right guess and the save of its
	// change, which its error prevents.
	before func() error
}

// An outcome is the result of a comparison.
type outcome struct {
	wrong  error         // why the guess is wrong, nil if it is right
	use    func(*Record) // uses up a right guess; may be nil
	change func(*Record) // makes the change that was requested; may be nil
	factor bool          // whether a right guess was a code of the factor
}

func hasFactor(r *Record, _ time.Time) bool { return len(r.Active) > 0 }

// maxConflicts bounds how often a change is repeated after concurrent saves.
const maxConflicts = 100

var errConflict = errors.New("totp: the record changed in between")

// attempt makes one guess. The guess is saved as wrong before it is compared, so that
// parallel guesses, a crash or a client that hangs up cannot avoid the count. A right
// guess is uncounted in the same save as its change. attempt returns the record before
// the change, without what the guess used up, and the saved one.
func (s *Service) attempt(ctx context.Context, a attempt) (used, saved *Record, err error) {
	var uncharged Guesses
	var now time.Time
	r, err := s.update(ctx, a.user, func(r *Record) error {
		now = instant(time.Now())
		if !a.possible(r, now) {
			return ErrWrongCode
		}
		if err := s.limits.refuse(r.Guesses, now); err != nil {
			return err
		}
		uncharged = r.Guesses
		s.limits.charge(&r.Guesses, now)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	charged := r.clone()
	result, err := a.compare(r, now)
	if err == nil && result.wrong == nil && a.before != nil {
		err = a.before()
	}
	switch {
	case err != nil:
		// If this cannot be saved, the attempt stays counted.
		_, _ = s.settle(ctx, a.user, charged, func(r *Record) { r.Guesses = uncharged })
		return nil, nil, err
	case result.wrong != nil:
		if charged.Guesses.Failures == s.limits.most {
			s.changed(ctx, nil, Change{a.user, EventLocked, len(charged.Recovery)})
		}
		return nil, nil, result.wrong
	case result.factor:
		uncharged.Failures = 0
	}
	if result.use == nil {
		result.use = func(*Record) {}
	}
	saved, err = s.settle(ctx, a.user, charged, func(r *Record) {
		r.Guesses = uncharged
		result.use(r)
		if result.change != nil {
			result.change(r)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	used = &charged
	result.use(used)
	return used, saved, nil
}

// settle saves the change after a comparison with charged, unless the factor was
// changed meanwhile. A changed pending secret is no conflict: a stolen session can
// begin an enrolment at any time and must not disturb the owner's changes.
func (s *Service) settle(ctx context.Context, user string, charged Record, change func(*Record)) (*Record, error) {
	r := charged.clone()
	for range maxConflicts {
		change(&r)
		saved, err := s.save(ctx, user, &r)
		if err != nil || saved {
			return &r, err
		}
		if r, err = s.load(ctx, user); err != nil {
			return nil, err
		}
		if !r.sameFactor(charged) {
			break
		}
	}
	return nil, errConflict
}

// sameFactor reports whether r and other have the same factor, in the same state.
func (r *Record) sameFactor(other Record) bool {
	return bytes.Equal(r.Active, other.Active) && r.Step == other.Step && slices.Equal(r.Recovery, other.Recovery) &&
		r.Guesses.Failures == other.Guesses.Failures &&
		r.Guesses.Retry.Equal(other.Guesses.Retry) && r.Guesses.Forgiven.Equal(other.Guesses.Forgiven)
}

// update changes the record of the user and returns it as it was saved.
func (s *Service) update(ctx context.Context, user string, change func(*Record) error) (*Record, error) {
	for range maxConflicts {
		r, err := s.load(ctx, user)
		if err != nil {
			return nil, err
		}
		if err := change(&r); err != nil {
			return nil, err
		}
		if saved, err := s.save(ctx, user, &r); err != nil || saved {
			return &r, err
		}
	}
	return nil, errConflict
}

func (s *Service) load(ctx context.Context, user string) (Record, error) {
	if user == "" || len(user) > maxUser || !utf8.ValidString(user) || strings.Contains(user, "\x00") {
		return Record{}, fmt.Errorf("totp: the name of a user has %d bytes; use 1 to %d of UTF-8 without NUL", len(user), maxUser)
	}
	begun := s.config.Hooks.Begin()
	r, err := s.store.LoadTOTP(ctx, user)
	s.config.Hooks.Measured(ctx, begun, "store", "totp.LoadTOTP", err)
	if err != nil {
		return Record{}, guard.CannotDecide("totp: loading a record", err)
	}
	return r, nil
}

// save saves r and sets r.Version to the version in the store.
func (s *Service) save(ctx context.Context, user string, r *Record) (bool, error) {
	begun := s.config.Hooks.Begin()
	saved, err := s.store.SaveTOTP(ctx, user, *r)
	s.config.Hooks.Measured(ctx, begun, "store", "totp.SaveTOTP", err)
	if err != nil {
		return false, guard.CannotDecide("totp: saving a record", err)
	}
	if saved {
		r.Version++
	}
	return saved, nil
}

// instant returns t in UTC and in whole microseconds, as stores keep it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
