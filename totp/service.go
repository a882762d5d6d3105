package totp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Service sets second factors up and checks their codes. It is safe for
// concurrent use if what it was given is.
type Service struct {
	store  Store
	sealer Sealer
	config Config
	limits limits
}

// Errors of a [Service] that are not failures of its store or sealer. See also
// [ThrottledError].
var (
	// ErrWrongCode is a code that is wrong, malformed or used, or of a user
	// who has nothing that it could be for. Which one it is nobody is told.
	ErrWrongCode = errors.New("totp: wrong code")

	// ErrFactorNeeded is what Begin returns where the user has a second
	// factor already, which only its own codes replace.
	ErrFactorNeeded = errors.New("totp: there is a second factor already, and its code is needed to replace it")

	// ErrEnrolled is what Import returns where the user has a second factor
	// already.
	ErrEnrolled = errors.New("totp: there is a second factor already")
)

// A Change is something that happened to a user's second factor.
type Change struct {
	User string
	Kind ChangeKind

	// RecoveryLeft is how many recovery codes are left.
	RecoveryLeft int
}

// A ChangeKind says what happened.
type ChangeKind string

// The kinds of changes.
const (
	Enabled             ChangeKind = "enabled"              // a first factor, or another one in its place
	Disabled            ChangeKind = "disabled"             // by the user, or by Reset
	RecoveryRegenerated ChangeKind = "recovery_regenerated" // new recovery codes
	RecoveryUsed        ChangeKind = "recovery_used"        // a recovery code was used up
	LockedOut           ChangeKind = "locked"               // after Config.MaxFailures wrong codes
)

// A Result is what a right code was.
type Result struct {
	// Recovery is whether it was a recovery code.
	Recovery bool

	// RecoveryLeft is how many recovery codes are left.
	RecoveryLeft int
}

// A Status is what may be told of a user's second factor.
type Status struct {
	Enabled      bool
	Locked       bool // after too many wrong codes, until Unlock
	RecoveryLeft int
}

// New returns a service that keeps its records in store and seals its secrets
// with sealer. Its error lists every mistake.
func New(store Store, sealer Sealer, config Config) (*Service, error) {
	var errs []error
	if store == nil {
		errs = append(errs, errors.New("totp: the Store is nil, want one such as sqlstore.New(db, …), or &totp.Memory{} in tests"))
	}
	if k, ok := sealer.(*Keyring); sealer == nil || ok && (k == nil || len(k.keys) == 0) {
		errs = append(errs, errors.New("totp: the Sealer is nil or empty, want one such as totp.NewKeyring(secret)"))
	}
	config = config.withDefaults()
	config.ACRValues = slices.Clone(config.ACRValues)
	if err := errors.Join(append(errs, config.check()...)...); err != nil {
		return nil, err
	}
	return &Service{
		store:  store,
		sealer: sealer,
		config: config,
		limits: limits{config.FirstWait, config.Forgive, config.MaxFailures},
	}, nil
}

// Begin makes a new secret for the user and returns it, to be shown to them. It
// waits for [Service.Confirm], and changes nothing until then; one that was
// begun before is dropped. account is what authenticator apps show beside
// Config.Issuer, 1 to 254 bytes of UTF-8 without a colon.
//
// If the user has a second factor already, code must be a code or recovery code
// of it: a session alone, which may be stolen, does not replace it. Without
// one the error is [ErrFactorNeeded]. Otherwise code is not looked at.
func (s *Service) Begin(ctx context.Context, user, account, code string) (*Enrolment, error) {
	return s.begin(ctx, user, account, code, nil)
}

// begin is Begin, with an error for who has no second factor. It is looked at
// where that is found out: a factor may be removed at any moment.
func (s *Service) begin(ctx context.Context, user, account, code string, first error) (*Enrolment, error) {
	if err := checkLabel(account, maxAccount); err != nil {
		return nil, fmt.Errorf("totp: the account's name cannot be shown, want it: %w", err)
	}
	k := newKey(s.config.Algorithm, s.config.Digits)
	e, err := newEnrolment(k, s.config.Issuer, account)
	if err != nil {
		return nil, err
	}
	box, err := s.seal(ctx, pending, user, k)
	if err != nil {
		return nil, err
	}
	begin := func(r *Record) {
		e.Expires = instant(time.Now().Add(s.config.PendingFor))
		r.Pending, r.PendingUntil = box, e.Expires
	}
	_, err = s.update(ctx, user, func(r *Record) error {
		switch {
		case len(r.Active) > 0:
			return ErrFactorNeeded
		case first != nil:
			return first
		}
		begin(r)
		return nil
	})
	if errors.Is(err, ErrFactorNeeded) && code != "" {
		_, err = s.prove(ctx, user, code, begin)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Confirm makes the secret that was begun the user's second factor, if code is
// one of its codes, and returns new recovery codes, which are kept nowhere and
// cannot be shown again. The code is used up: it does not pass as the first
// sign-in's.
func (s *Service) Confirm(ctx context.Context, user, code string) (*RecoveryCodes, error) {
	codes, hashes := newRecovery(user)
	r, err := s.attempt(ctx, user, code, func(r *Record, typed input, now time.Time) (bool, error) {
		if typed.digits == "" || len(r.Pending) == 0 || !now.Before(r.PendingUntil) {
			return false, nil
		}
		k, _, err := s.open(ctx, pending, user, r.Pending)
		if err != nil {
			return false, err
		}
		// A secret that was never used: what the one before has used up
		// does not count.
		step, ok, err := k.match(typed.digits, stepOf(now), s.config.skew(), -1)
		if err != nil || !ok {
			return false, err
		}
		box, err := s.seal(ctx, active, user, k)
		if err != nil {
			return false, err
		}
		r.Active, r.Step, r.Recovery = box, step, hashes
		r.Pending, r.PendingUntil = nil, time.Time{}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	s.notify(ctx, user, Enabled, *r)
	return codes, nil
}

// Verify uses up a code or a recovery code of the user. Its errors are
// [ErrWrongCode], a [*ThrottledError], and those of the store and the sealer.
//
// Each code is good once, however many ask at the same time. Whoever calls it
// has made sure of the user's password or session first: each wrong code makes
// the user wait.
func (s *Service) Verify(ctx context.Context, user, code string) (Result, error) {
	return s.prove(ctx, user, code, nil)
}

// Disable removes the user's second factor with its recovery codes. It needs a
// code or recovery code, as [Service.Verify] does.
func (s *Service) Disable(ctx context.Context, user, code string) error {
	if _, err := s.prove(ctx, user, code, (*Record).clear); err != nil {
		return err
	}
	s.notify(ctx, user, Disabled, Record{})
	return nil
}

// Regenerate replaces the recovery codes of the user, used ones and others. It
// needs a code or recovery code, as [Service.Verify] does.
func (s *Service) Regenerate(ctx context.Context, user, code string) (*RecoveryCodes, error) {
	codes, hashes := newRecovery(user)
	if _, err := s.prove(ctx, user, code, func(r *Record) { r.Recovery = hashes }); err != nil {
		return nil, err
	}
	s.notify(ctx, user, RecoveryRegenerated, Record{Recovery: hashes})
	return codes, nil
}

// Import gives the user a second factor with a secret that another system made,
// of 16 to 128 bytes, whose codes are of Config.Algorithm and Config.Digits. It
// asks for no code, and is for moving users here. Codes that the other system
// may have taken are not taken again, the one of the next 30 seconds among them,
// which many take ahead of time: the first that is good comes within a minute.
// Where the user has a factor already it is [ErrEnrolled].
func (s *Service) Import(ctx context.Context, user string, secret []byte) (*RecoveryCodes, error) {
	box, err := s.seal(ctx, active, user, key{s.config.Algorithm, s.config.Digits, secret})
	if err != nil {
		return nil, err
	}
	codes, hashes := newRecovery(user)
	r, err := s.update(ctx, user, func(r *Record) error {
		if len(r.Active) > 0 {
			return ErrEnrolled
		}
		r.clear()
		// One step ahead is the last that an app whose clock is fast may have
		// shown a code of (RFC 6238 section 6). It is not Config's to say,
		// whose Strict is for codes taken here.
		r.Active, r.Step, r.Recovery = box, stepOf(time.Now())+1, hashes
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.notify(ctx, user, Enabled, *r)
	return codes, nil
}

// Unlock forgets the wrong codes of a user, so that the next attempt is taken
// at once: what a host does after it made sure, by other means, who asks for
// it. The factor stays.
func (s *Service) Unlock(ctx context.Context, user string) error {
	_, err := s.update(ctx, user, func(r *Record) error {
		r.Guesses = Guesses{}
		return nil
	})
	return err
}

// Reset removes the second factor of a user without a code, for somebody who
// lost the authenticator and the recovery codes. The host makes sure, by other
// means, who asks for it; nobody should be able to reset their own.
func (s *Service) Reset(ctx context.Context, user string) error {
	had := false
	_, err := s.update(ctx, user, func(r *Record) error {
		had = len(r.Active) > 0
		r.clear()
		r.Guesses = Guesses{}
		return nil
	})
	if err == nil && had {
		s.notify(ctx, user, Disabled, Record{})
	}
	return err
}

// Status returns what a page of settings shows.
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

// Required reports whether the user has set a second factor up. With
// [Service.VerifyFactor] it is the SecondFactor of package auth.
func (s *Service) Required(ctx context.Context, user string) (bool, error) {
	r, err := s.load(ctx, user)
	return len(r.Active) > 0, err
}

// VerifyFactor is [Service.Verify] in the words of package auth: the method
// "otp" (RFC 8176) for a code and for a recovery code, "" for a wrong one, and
// an error where it was not looked at. One for having to wait is a
// [*guard.Denial] of status 429 that says how long.
func (s *Service) VerifyFactor(ctx context.Context, user, code string) (method string, err error) {
	_, err = s.Verify(ctx, user, code)
	throttled, isThrottled := errors.AsType[*ThrottledError](err)
	switch {
	case err == nil:
		return factor, nil
	case errors.Is(err, ErrWrongCode):
		return "", nil
	case isThrottled:
		return "", tooMany(throttled, err)
	}
	return "", err
}

// clear removes the factor of r, and keeps what limits guessing.
func (r *Record) clear() {
	r.Active, r.Pending, r.PendingUntil, r.Step, r.Recovery = nil, nil, time.Time{}, 0, nil
}

// prove uses up a code or recovery code of the user's factor and, in the same
// change of the record, does what it was for.
func (s *Service) prove(ctx context.Context, user, code string, then func(*Record)) (Result, error) {
	var result Result
	r, err := s.attempt(ctx, user, code, func(r *Record, typed input, now time.Time) (ok bool, err error) {
		if len(r.Active) == 0 {
			return false, nil
		}
		result.Recovery = typed.digits == ""
		if result.Recovery {
			ok = r.useRecovery(hashRecovery(user, typed.recovery))
		} else {
			ok, err = s.useCode(ctx, user, r, typed.digits, now)
		}
		if ok && then != nil {
			then(r)
		}
		return ok, err
	})
	if err != nil {
		return Result{}, err
	}
	result.RecoveryLeft = len(r.Recovery)
	if result.Recovery {
		s.notify(ctx, user, RecoveryUsed, *r)
	}
	return result, nil
}

// useCode reports whether digits is a code of the factor of r, and uses it up.
func (s *Service) useCode(ctx context.Context, user string, r *Record, digits string, now time.Time) (bool, error) {
	k, stale, err := s.open(ctx, active, user, r.Active)
	if err != nil {
		return false, err
	}
	step, ok, err := k.match(digits, stepOf(now), s.config.skew(), r.Step)
	if err != nil || !ok {
		return false, err
	}
	if stale {
		if r.Active, err = s.seal(ctx, active, user, k); err != nil {
			return false, err
		}
	}
	r.Step = step
	return true, nil
}

// useRecovery reports whether hash is of one of the recovery codes of r, and
// removes it.
func (r *Record) useRecovery(hash RecoveryHash) bool {
	var left []RecoveryHash
	for _, kept := range r.Recovery {
		if subtle.ConstantTimeCompare(kept[:], hash[:]) == 0 {
			left = append(left, kept)
		}
	}
	found := len(left) < len(r.Recovery)
	r.Recovery = left
	return found
}

// An input is what somebody typed: digits, or else a recovery code.
type input struct {
	digits   string
	recovery []byte
}

// maxConflicts is how often a change is tried anew because the record changed
// in between. Each time somebody else's change was made.
const maxConflicts = 100

var errConflict = errors.New("totp: the record changed in between")

// attempt takes one attempt at a code, whatever for. It is counted as wrong,
// and that is saved, before try looks at the code, so that no number of
// attempts at the same time, no crash and no hanging up makes one that is not
// counted. try reports whether the code is right, and makes the change to the
// record that it is for; then the count is taken back with that change.
func (s *Service) attempt(ctx context.Context, user, code string, try func(*Record, input, time.Time) (bool, error)) (*Record, error) {
	var typed input
	var ok bool
	if typed.digits, typed.recovery, ok = parseCode(code); !ok {
		// No code at all, so there is nothing to count.
		return nil, ErrWrongCode
	}
	var before Guesses
	now := time.Time{}
	r, err := s.update(ctx, user, func(r *Record) error {
		now = instant(time.Now())
		if err := s.limits.refuse(r.Guesses, now); err != nil {
			return err
		}
		before = r.Guesses
		s.limits.charge(&r.Guesses, now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	charged := *r
	ok, err = try(r, typed, now)
	switch {
	case err != nil:
		// The code was not compared, for want of the key or the like: that
		// is no attempt. If it cannot be taken back, it stands.
		*r = charged
	case !ok:
		if r.Guesses.Failures == s.limits.most {
			s.notify(ctx, user, LockedOut, *r)
		}
		return nil, ErrWrongCode
	default:
		before.Failures = 0
	}
	// Nobody else's attempt was taken since, for they were told to wait.
	r.Guesses = before
	saved, errSave := s.save(ctx, user, r)
	switch {
	case err != nil:
		return nil, err
	case errSave != nil:
		return nil, errSave
	case !saved:
		return nil, errConflict
	}
	return r, nil
}

// update changes the record of the user, and returns it as it was saved.
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
		return Record{}, fmt.Errorf("totp: the name of a user has %d bytes, want 1 to %d of UTF-8 without NUL", len(user), maxUser)
	}
	r, err := s.store.LoadTOTP(ctx, user)
	if err != nil {
		return Record{}, &failure{"loading a record", err}
	}
	return r, nil
}

// save saves r, and brings its version up to that of the store.
func (s *Service) save(ctx context.Context, user string, r *Record) (bool, error) {
	saved, err := s.store.SaveTOTP(ctx, user, *r)
	if err != nil {
		return false, &failure{"saving a record", err}
	}
	if saved {
		r.Version++
	}
	return saved, nil
}

// What a secret is sealed for. One that waits to be confirmed does not pass as
// one in use.
const (
	active  = "gatewright/totp/active"
	pending = "gatewright/totp/pending"
)

// additional returns what binds a sealed secret to its purpose and its user.
func additional(purpose, user string) []byte {
	b := make([]byte, 0, len(purpose)+1+len(user))
	return append(append(append(b, purpose...), 0), user...)
}

func (s *Service) seal(ctx context.Context, purpose, user string, k key) ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	box, err := s.sealer.Seal(ctx, k.marshal(), additional(purpose, user))
	if err != nil {
		return nil, &failure{"sealing a secret", err}
	}
	return box, nil
}

func (s *Service) open(ctx context.Context, purpose, user string, box []byte) (k key, stale bool, err error) {
	plain, stale, err := s.sealer.Open(ctx, box, additional(purpose, user))
	if err != nil {
		return key{}, false, &failure{"opening a secret", err}
	}
	k, err = unmarshalKey(plain)
	return k, stale, err
}

func (s *Service) notify(ctx context.Context, user string, kind ChangeKind, r Record) {
	if s.config.Notify != nil {
		s.config.Notify(ctx, Change{user, kind, len(r.Recovery)})
	}
}

// newRecovery returns new recovery codes of the user, and what is kept of them.
func newRecovery(user string) (*RecoveryCodes, []RecoveryHash) {
	codes := make([]string, recoveryCodes)
	hashes := make([]RecoveryHash, recoveryCodes)
	for i := range codes {
		code := make([]byte, recoverySize)
		rand.Read(code)
		hashes[i] = hashRecovery(user, code)
		groups := slices.Collect(slices.Chunk([]byte(base32Text.EncodeToString(code)), recoveryGroup))
		parts := make([]string, len(groups))
		for j, g := range groups {
			parts[j] = string(g)
		}
		codes[i] = strings.Join(parts, "-")
	}
	return &RecoveryCodes{func() []string { return codes }}, hashes
}

// instant returns t as stores keep it: to the microsecond, and without what
// only this process knows of it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
