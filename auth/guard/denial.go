package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A Denial is a refusal: what the client is told and what the log is told.
// It is an error, so guards and stores return it like any other; find one
// with [errors.As].
type Denial struct {
	// Status is the HTTP status, 400 to 599. Anything else is answered 500.
	Status int

	// Code is the stable, machine-readable name of the class of refusal,
	// such as "invalid_token". It goes to the client.
	Code string

	// Detail is a sentence for the person at the client. It must be the same
	// for every refusal of one class, or it tells what it should not.
	Detail string

	// Challenges say which credentials would help. A 401 needs at least one
	// (RFC 9110 section 15.5.2); Hooks.Refuse adds those of the
	// authenticators, so that guards need not know them.
	Challenges []Challenge

	// RetryAfter is how long the client should wait. It is rounded up to
	// whole seconds. Zero sends no Retry-After, but for 503, where it
	// means one second.
	RetryAfter time.Duration

	// Event names the audit event if the status does not say it well
	// enough. Empty: see [EventName].
	Event EventName

	// Login is the name that somebody tried to sign in with, for the log
	// only.
	Login string

	// Err is the reason. It is for the log only and never leaves the
	// server.
	Err error

	// only: no credentials but those of Challenges would help.
	only bool
}

// Error describes the refusal with its reason, for logs.
func (d *Denial) Error() string {
	if d == nil {
		return "guard: a nil *Denial"
	}
	if d.Err != nil {
		return fmt.Sprintf("%d %s: %v", d.Status, d.Code, d.Err)
	}
	return fmt.Sprintf("%d %s", d.Status, d.Code)
}

// Unwrap returns Err.
func (d *Denial) Unwrap() error {
	// A check that returns a nil *Denial as its error means to allow and does
	// not: that must end in a refusal, not in a panic of errors.Is.
	if d == nil {
		return nil
	}
	return d.Err
}

// Codes of the refusals that this module writes itself. The first three are
// those of RFC 6750 section 3.1, and CodeStepUp is that of RFC 9470 section 3.
const (
	CodeInvalidRequest    = "invalid_request"
	CodeInvalidToken      = "invalid_token"
	CodeInsufficientScope = "insufficient_scope"
	CodeStepUp            = "insufficient_user_authentication"
	CodeUnauthenticated   = "unauthenticated"
	CodeForbidden         = "forbidden"
	CodeNotFound          = "not_found"
	CodeMethodNotAllowed  = "method_not_allowed"
	CodeTooManyAttempts   = "too_many_attempts"
	CodeUnavailable       = "unavailable"
)

// ErrNoCredentials is what an [Authenticator] returns when the request does
// not carry the kind of credential that it looks for.
var ErrNoCredentials = errors.New("guard: no credentials")

// ErrInactive is what Hooks.Active, or any guard, returns when the caller's
// account is disabled or gone. It is answered 401 invalid_token.
var ErrInactive = errors.New("guard: account is not active")

// Unauthenticated returns the 401 for a request that shows no credentials at
// all. Its challenge carries no error code (RFC 6750 section 3.1).
func Unauthenticated() *Denial {
	return &Denial{
		Status: http.StatusUnauthorized,
		Code:   CodeUnauthenticated,
		Detail: "This needs you to be signed in.",
		Err:    ErrNoCredentials,
	}
}

// InvalidToken returns the 401 for credentials that were looked at and found
// wanting, whatever the reason: malformed, forged, expired, revoked. scheme is
// the scheme of the challenge that will carry error="invalid_token"; err is
// the reason, for the log.
func InvalidToken(scheme string, err error) *Denial {
	return &Denial{
		Status:     http.StatusUnauthorized,
		Code:       CodeInvalidToken,
		Detail:     "The credentials are not valid.",
		Challenges: []Challenge{{Scheme: scheme, Error: CodeInvalidToken}},
		Err:        err,
	}
}

// StepUp returns the 401 for a caller whose sign-in is too old or too weak for
// this (RFC 9470 section 3). c says what would do, in MaxAge, ACRValues and
// ErrorDescription; its Error is set here, and its Scheme is "Bearer" if it is
// empty. err is the reason, for the log.
func StepUp(c Challenge, err error) *Denial {
	c.Scheme, c.Error = cmp.Or(c.Scheme, "Bearer"), CodeStepUp
	// Copies: c stands for a route, and a hook may change what it is shown.
	c.ACRValues, c.Params = slices.Clone(c.ACRValues), slices.Clone(c.Params)
	return &Denial{
		Status:     http.StatusUnauthorized,
		Code:       CodeStepUp,
		Detail:     "This needs a more recent or a stronger sign-in.",
		Challenges: []Challenge{c},
		Event:      EventAuthzFail,
		Err:        err,
	}
}

// InvalidRequest returns the 400 for a request that cannot be understood, or
// that carries credentials in more than one way (RFC 6750 section 2).
func InvalidRequest(detail string, err error) *Denial {
	return &Denial{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Detail: detail, Err: err}
}

// Forbidden returns the 403 for a caller who is known and may not do this. It
// tells the client nothing about what would be needed; err tells the log.
func Forbidden(err error) *Denial {
	return &Denial{Status: http.StatusForbidden, Code: CodeForbidden, Detail: "Access denied", Err: err}
}

// TooManyAttempts returns the 429 for an attempt to prove something, with a
// password or a code, that was not looked at, for too many before it were wrong.
// wait is when the next may be made; zero tells the client nothing about that.
// err is the reason, for the log.
func TooManyAttempts(wait time.Duration, err error) *Denial {
	return &Denial{
		Status:     http.StatusTooManyRequests,
		Code:       CodeTooManyAttempts,
		Detail:     "There were too many attempts. Please wait.",
		RetryAfter: wait,
		Event:      EventLoginFailMax,
		Err:        err,
	}
}

// Unavailable returns the 503 for a store, or another thing that the decision
// needs, which does not answer. Any error that is not a Denial is refused this
// way, so guards call it only to say when to come back.
func Unavailable(retryAfter time.Duration, err error) *Denial {
	return &Denial{
		Status:     http.StatusServiceUnavailable,
		Code:       CodeUnavailable,
		Detail:     "The service cannot decide this right now. Please try again.",
		RetryAfter: retryAfter,
		Err:        err,
	}
}

// errClientGone marks the reason of a refusal that nobody waits for.
var errClientGone = errors.New("guard: the client went away")

// asDenial makes a Denial of any error, failing closed. ctx is the request's.
func asDenial(ctx context.Context, err error) *Denial {
	if d, ok := errors.AsType[*Denial](err); ok && d != nil {
		return d
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Denial{
			Status: http.StatusRequestEntityTooLarge,
			Code:   CodeInvalidRequest,
			Detail: "The request is too large.",
			Err:    tooLarge,
		}
	}
	if errors.Is(err, ErrInactive) {
		// Challenged in the scheme of what they presented.
		scheme := "Bearer"
		if rc, _ := identified(ctx); rc != nil {
			scheme = rc.by.Challenge().Scheme
		}
		return InvalidToken(scheme, err)
	}
	if err == nil {
		err = errors.New("guard: refused without a reason")
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		// Nobody is waiting for this answer; the status is for the log.
		err = fmt.Errorf("%w: %w", errClientGone, err)
	}
	return Unavailable(0, err)
}
