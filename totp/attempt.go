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

// An attempt is one guess: at a code, or at what else proves the user.
type attempt struct {
	user string

	// possible reports whether r has anything that a guess could hit. If not,
	// the attempt is wrong and is not counted.
	possible func(r *Record, now time.Time) bool

	// compare compares the guess. It does not change r. An error means that
	// the guess was not compared.
	compare func(r *Record, now time.Time) (outcome, error)

	// before, if not nil, is called when the guess was right and before the
	// change is saved. Its error stops the change.
	before func() error
}

// An outcome is the result of a comparison.
type outcome struct {
	wrong  error         // why the guess is wrong, nil if it is right
	use    func(*Record) // uses up a right guess, nil if there is nothing to use up
	change func(*Record) // what the guess is for, nil for nothing else
	factor bool          // whether a right guess was a code of the factor
}

func hasFactor(r *Record, _ time.Time) bool { return len(r.Active) > 0 }

// maxConflicts is how often a change is repeated because another one was saved in
// between.
const maxConflicts = 100

var errConflict = errors.New("totp: the record changed in between")

// attempt takes one guess. It is counted as wrong, and the count is saved, before
// the guess is compared: parallel guesses, a crash or a client that hangs up cannot
// avoid the count. If the guess is right, the count is taken back in the same save
// as the change. attempt returns the record as it was, less what the guess used up,
// and as it was saved.
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
		// Nothing was compared, or nothing may change, so nothing counts. If
		// that cannot be saved, the attempt stays counted.
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

// settle saves the change that follows a comparison with charged. Only the pending
// secret may have changed meanwhile, unless that is what was compared: whoever has
// a session can begin an enrolment at any time, and must not be able to disturb
// the owner's changes by that.
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

// save saves r and sets its version to that of the store.
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

// instant returns t as stores keep it: in UTC and to the microsecond.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
