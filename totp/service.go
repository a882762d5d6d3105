package totp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Service sets up second factors and verifies their codes. It is safe for
// concurrent use.
//
// Begin, Confirm, Regenerate and Disable change the factor of the caller p, which
// Config.User names. A caller with an AuthTime more than 30 seconds in the future
// is refused.
type Service struct {
	store  Store
	sealer Sealer
	config Config
	limits limits
}

// Errors of a [Service], beside [ThrottledError]. A wrong password or grant, and
// any wrong proof in Confirm, is identity.ErrNotProven.
var (
	// ErrWrongCode is returned for wrong, malformed and used codes, and for users
	// without a factor.
	ErrWrongCode = guard.NewReason("totp: wrong code")

	// ErrProofNeeded is returned for the zero [Proof], and for a kind of proof that
	// the Config does not accept.
	ErrProofNeeded = guard.NewReason("totp: a proof is needed")

	// ErrEnrolled is returned by Import if the user has a factor.
	ErrEnrolled = guard.NewReason("totp: the user has a second factor")

	// ErrSameSession is the reason of VerifyFactor's Denial for a factor that was
	// enrolled in the session that it would raise.
	ErrSameSession = guard.NewReason("totp: the factor was enrolled in this session")
)

// A Result describes a right code.
type Result struct {
	// Recovery reports whether it was a recovery code.
	Recovery bool

	// RecoveryLeft is the number of unused recovery codes.
	RecoveryLeft int
}

// New returns a Service that keeps its records in store and seals its secrets with
// sealer. The error lists every mistake.
func New(store Store, sealer Sealer, config Config) (*Service, error) {
	var errs []error
	if store == nil {
		errs = append(errs, errors.New("totp: the Store is nil; use sqlstore.New, or &totp.Memory{} in tests"))
	}
	if k, ok := sealer.(*Keyring); sealer == nil || ok && (k == nil || len(k.keys) == 0) {
		errs = append(errs, errors.New("totp: the Sealer is nil or empty; use totp.NewKeyring"))
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

// Begin makes a new secret. It is pending until [Service.Confirm] and replaces only
// an earlier pending one.
func (s *Service) Begin(ctx context.Context, p *identity.Principal) (*Enrolment, error) {
	user, err := s.userOf(ctx, p)
	if err != nil {
		return nil, err
	}
	account, err := s.config.Account(ctx, p)
	if err != nil {
		return nil, guard.CannotDecide("totp: Config.Account", err)
	}
	if err := checkLabel(account, maxAccount); err != nil {
		return nil, fmt.Errorf("totp: Config.Account returned a name that cannot be shown; use %w", err)
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
	_, err = s.update(ctx, user, func(r *Record) error {
		e.Expires = instant(time.Now().Add(s.config.PendingFor))
		r.Pending, r.PendingUntil = box, e.Expires
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.changed(ctx, p, Change{User: user, Kind: EventBegun})
	return e, nil
}

// Confirm makes the pending secret the factor, in place of an earlier one, if code
// and proof are right, and uses the code up. It returns new recovery codes, which
// cannot be shown again. The factor does not raise the session p.Session.
func (s *Service) Confirm(ctx context.Context, p *identity.Principal, code string, proof Proof) (*RecoveryCodes, error) {
	user, err := s.userOf(ctx, p)
	if err != nil {
		return nil, err
	}
	typed, ok := parseCode(code)
	if !ok || typed.digits == "" {
		return nil, ErrWrongCode // nothing was compared, so nothing is counted
	}
	codes, hashes := newRecovery(user)
	kind := EventConfirmed
	err = s.change(ctx, p, proof, attempt{
		user: user,
		possible: func(r *Record, now time.Time) bool {
			return len(r.Pending) > 0 && now.Before(r.PendingUntil)
		},
		compare: func(r *Record, now time.Time) (outcome, error) {
			k, _, err := s.open(ctx, pending, user, r.Pending)
			if err != nil {
				return outcome{}, err
			}
			// No code of a pending secret has been used: r.Step is the step of
			// the active one.
			step, ok, err := k.match(typed.digits, stepOf(now), s.config.skew(), -1)
			if err != nil || !ok {
				return outcome{wrong: ErrWrongCode}, err
			}
			proven, err := s.prove(ctx, p, user, proof, r, now)
			if err != nil || proven.wrong != nil {
				if errors.Is(proven.wrong, ErrWrongCode) {
					// Which of the two codes it was must be visible.
					proven.wrong = notProven(proven.wrong)
				}
				return proven, err
			}
			k.secretFrom, k.recoveryFrom = tagOf(p.Session), tagOf(p.Session)
			box, err := s.seal(ctx, active, user, k)
			if err != nil {
				return outcome{}, err
			}
			if len(r.Active) > 0 {
				kind = EventReplaced
			}
			proven.change = func(r *Record) {
				r.Active, r.Step, r.Recovery = box, step, hashes
				r.Pending, r.PendingUntil = nil, time.Time{}
			}
			return proven, nil
		},
	}, &kind)
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// Regenerate replaces the caller's recovery codes. The new ones do not raise the
// session p.Session.
func (s *Service) Regenerate(ctx context.Context, p *identity.Principal, proof Proof) (*RecoveryCodes, error) {
	user, err := s.userOf(ctx, p)
	if err != nil {
		return nil, err
	}
	codes, hashes := newRecovery(user)
	kind := EventRegenerated
	err = s.change(ctx, p, proof, attempt{
		user:     user,
		possible: hasFactor,
		compare: func(r *Record, now time.Time) (outcome, error) {
			proven, err := s.prove(ctx, p, user, proof, r, now)
			if err != nil || proven.wrong != nil {
				return proven, err
			}
			k, _, err := s.open(ctx, active, user, r.Active)
			if err != nil {
				return outcome{}, err
			}
			k.recoveryFrom = tagOf(p.Session)
			box, err := s.seal(ctx, active, user, k)
			if err != nil {
				return outcome{}, err
			}
			proven.change = func(r *Record) { r.Active, r.Recovery = box, hashes }
			return proven, nil
		},
	}, &kind)
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// Disable removes the caller's factor and recovery codes.
func (s *Service) Disable(ctx context.Context, p *identity.Principal, proof Proof) error {
	user, err := s.userOf(ctx, p)
	if err != nil {
		return err
	}
	kind := EventRemoved
	return s.change(ctx, p, proof, attempt{
		user:     user,
		possible: hasFactor,
		compare: func(r *Record, now time.Time) (outcome, error) {
			proven, err := s.prove(ctx, p, user, proof, r, now)
			proven.change = (*Record).clear
			return proven, err
		},
	}, &kind)
}

// Verify uses up a code or a recovery code of the user: of any number of calls with
// one code, one succeeds. The error is [ErrWrongCode], a [*ThrottledError], or of
// the store or the sealer. Wrong codes make the user wait, so verify the password
// or the session first. To raise a session, call [Service.VerifyFactor].
func (s *Service) Verify(ctx context.Context, user, code string) (Result, error) {
	return s.verify(ctx, user, "", code)
}

// verify is Verify for a session that the code is to raise, if it is not empty.
func (s *Service) verify(ctx context.Context, user, session, code string) (Result, error) {
	typed, ok := parseCode(code)
	if !ok {
		return Result{}, ErrWrongCode // nothing was compared, so nothing is counted
	}
	_, r, err := s.attempt(ctx, attempt{
		user:     user,
		possible: hasFactor,
		compare: func(r *Record, now time.Time) (outcome, error) {
			return s.compare(ctx, user, session, typed, r, now)
		},
	})
	if err != nil {
		return Result{}, err
	}
	result := Result{Recovery: typed.digits == "", RecoveryLeft: len(r.Recovery)}
	kind := EventUsed
	if result.Recovery {
		kind = EventRecoveryUsed
	}
	s.changed(ctx, nil, Change{user, kind, result.RecoveryLeft})
	return result, nil
}

// Required reports whether the user has a factor. It implements auth.SecondFactor.
func (s *Service) Required(ctx context.Context, user string) (bool, error) {
	r, err := s.load(ctx, user)
	return len(r.Active) > 0, err
}

// VerifyFactor implements auth.SecondFactor. It uses up a code or a recovery code
// of p.Subject in order to raise the session p.Session, or to open one if that is
// empty. It returns "otp" (RFC 8176) for a right code and "" for a wrong one.
//
// It returns a [*guard.Denial] without a comparison: 429 if the user has to wait,
// and 403 if the secret or the recovery codes were made in p.Session. Other errors
// are failures of the store or the sealer.
func (s *Service) VerifyFactor(ctx context.Context, p *identity.Principal, code string) (method string, err error) {
	_, err = s.verify(ctx, p.Subject, p.Session, code)
	throttled, isThrottled := errors.AsType[*ThrottledError](err)
	switch {
	case err == nil:
		return factor, nil
	case errors.Is(err, ErrWrongCode):
		return "", nil
	case errors.Is(err, ErrSameSession):
		return "", guard.NewDenial(http.StatusForbidden, "factor_enrolled_in_session",
			"The second factor was set up in this session. Sign in again to use it.", err)
	case isThrottled:
		return "", guard.TooManyAttempts(throttled.RetryAfter, err)
	}
	return "", err
}

// clockSkew is how far AuthTime may lie in the future, for clocks that differ. It
// is the default of scopes.Config.Leeway.
const clockSkew = 30 * time.Second

// userOf returns the name of the caller's factor.
func (s *Service) userOf(ctx context.Context, p *identity.Principal) (string, error) {
	if p == nil {
		return "", guard.Unauthenticated()
	}
	if time.Until(p.AuthTime) > clockSkew {
		return "", guard.StepUp(guard.Challenge{ErrorDescription: "More recent authentication is required"},
			fmt.Errorf("totp: the AuthTime %v is in the future", p.AuthTime.UTC().Format(time.RFC3339)))
	}
	return s.config.User(ctx, p)
}
