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

// A Service sets up second factors and verifies their codes. It is safe for concurrent
// use. Callers p with an AuthTime more than 30 seconds in the future are refused.
type Service struct {
	store  Store
	sealer Sealer
	config Config
	limits limits
}

// Errors of a [Service], beside [ThrottledError]. A wrong password or grant, and each
// wrong proof of Confirm, is identity.ErrNotProven.
var (
	// ErrWrongCode is returned for wrong, malformed and used codes, and for users
	// without a factor.
	ErrWrongCode = guard.NewReason("totp: wrong code")

	// ErrProofNeeded is returned for the zero [Proof] and for proofs that the
	// Config does not accept.
	ErrProofNeeded = guard.NewReason("totp: a proof is needed")

	// ErrEnrolled is returned by Import if the user has a factor.
	ErrEnrolled = guard.NewReason("totp: the user has a second factor")

	// ErrSameSession is in the denial of VerifyFactor for a factor that was
	// made in the session.
	ErrSameSession = guard.NewReason("totp: the factor was enrolled in this session")
)

// A Result describes a right code.
type Result struct {
	Recovery     bool // it was a recovery code
	RecoveryLeft int  // unused recovery codes
}

// New returns a Service. Its error lists all mistakes.
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

// Begin makes a new secret, which is pending until [Service.Confirm] and replaces only
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

// Confirm uses up code, a code of the pending secret, and makes the secret the factor,
// in place of an earlier one. It returns new recovery codes, which cannot be shown
// again. The factor does not raise p.Session.
func (s *Service) Confirm(ctx context.Context, p *identity.Principal, code string, proof Proof) (*RecoveryCodes, error) {
	user, err := s.userOf(ctx, p)
	if err != nil {
		return nil, err
	}
	typed, ok := parseCode(code)
	if !ok || typed.digits == "" {
		return nil, ErrWrongCode // not counted, because not compared
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
			// No code of a pending secret was used; r.Step belongs to the
			// active one.
			step, ok, err := k.match(typed.digits, stepOf(now), s.config.skew(), -1)
			if err != nil || !ok {
				return outcome{wrong: ErrWrongCode}, err
			}
			proven, err := s.prove(ctx, p, user, proof, r, now)
			if err != nil || proven.wrong != nil {
				if errors.Is(proven.wrong, ErrWrongCode) {
					// The caller must see which of the two codes is wrong.
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

// Regenerate replaces the caller's recovery codes. The new ones do not raise p.Session.
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

// Verify uses up a code or a recovery code of the user. It returns [ErrWrongCode], a
// [*ThrottledError], or an error of the store or the sealer. Concurrent calls cannot
// use a code twice. [Service.VerifyFactor] raises a session.
func (s *Service) Verify(ctx context.Context, user, code string) (Result, error) {
	return s.verify(ctx, user, "", code)
}

// verify is Verify; session is the session to raise, or empty.
func (s *Service) verify(ctx context.Context, user, session, code string) (Result, error) {
	typed, ok := parseCode(code)
	if !ok {
		return Result{}, ErrWrongCode // not counted, because not compared
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

// Required reports whether the user has a factor. With [Service.VerifyFactor] it
// implements auth.SecondFactor.
func (s *Service) Required(ctx context.Context, user string) (bool, error) {
	r, err := s.load(ctx, user)
	return len(r.Active) > 0, err
}

// VerifyFactor uses up a code or a recovery code of p.Subject, to raise the session
// p.Session or, if it is empty, to begin one. It returns "otp" (RFC 8176), or "" for a
// wrong code. Without a comparison it returns a [*guard.Denial]: 429 if the user must
// wait, 403 if the factor or the recovery codes were made in p.Session. Other errors
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

// clockSkew is how far AuthTime may lie in the future; scopes.Config.Leeway has the
// same default.
const clockSkew = 30 * time.Second

// userOf returns the user name of the caller.
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
