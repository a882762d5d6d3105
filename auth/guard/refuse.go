package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A Denial is an error that refuses a request. Guards and authenticators return it,
// and [Hooks.Refuse] renders it. The constructors of this package make the Denials
// of this module; their err is the reason, for the log only.
type Denial struct {
	// Status is the HTTP status, 400 to 599. Any other value is sent as 500.
	Status int

	// Code is the machine-readable class of refusal, like "invalid_token", which
	// clients receive.
	Code string

	// Detail is a sentence for the person at the client. It must be identical for
	// all refusals with the same Code; otherwise it reveals the reason.
	Detail string

	// Challenges are the credentials that would help. A 401 needs at least one (RFC
	// 9110 section 15.5.2); Hooks.Refuse adds those of the authenticators.
	Challenges []Challenge

	// RetryAfter is how long the client should wait, rounded up to whole seconds.
	// If zero, no Retry-After is sent, except one second with a 503.
	RetryAfter time.Duration

	// Event names the audit event. Default: by Status; see [EventName].
	Event EventName

	// Login is the name used in a failed sign-in, for the log only.
	Login string

	// Err is the reason, for the log only.
	Err error

	// only: no challenges but those of Challenges are sent.
	only bool
}

// Error returns status, code and reason, for logs.
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

// clone returns a copy for a hook, which may change it.
func (d *Denial) clone() *Denial {
	shown := *d
	shown.Challenges = slices.Clone(d.Challenges)
	return &shown
}

// Codes of refusals, by RFC 6750 section 3.1, RFC 9470 section 3 (CodeStepUp) and
// this module.
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
	CodeClientGone        = "client_gone"
	CodeUnavailable       = "unavailable"
)

// NewDenial returns a Denial for refusals that have no constructor of their own.
func NewDenial(status int, code, detail string, err error) *Denial {
	return &Denial{Status: status, Code: code, Detail: detail, Err: err}
}

// InvalidRequest returns a 400 for a request that cannot be read, or that carries
// credentials in more than one way (RFC 6750 section 2). detail must not repeat
// what the client sent.
func InvalidRequest(detail string, err error) *Denial {
	return NewDenial(http.StatusBadRequest, CodeInvalidRequest, detail, err)
}

// Unauthenticated returns a 401 for a request without credentials.
func Unauthenticated() *Denial {
	return NewDenial(http.StatusUnauthorized, CodeUnauthenticated, "This needs you to be signed in.", ErrNoCredentials)
}

// InvalidToken returns a 401 for rejected credentials, whatever the reason:
// malformed, forged, expired, revoked. scheme is the authentication scheme of the
// challenge.
func InvalidToken(scheme string, err error) *Denial {
	d := challenged(invalidToken(scheme))
	d.Status, d.Code, d.Detail, d.Err = http.StatusUnauthorized, CodeInvalidToken, "The credentials are not valid.", err
	return d
}

// challenged returns a Denial with one challenge, in one allocation.
func challenged(c Challenge) *Denial {
	d := &struct {
		Denial
		challenges [1]Challenge
	}{challenges: [1]Challenge{c}}
	d.Challenges = d.challenges[:]
	return &d.Denial
}

// StepUp returns a 401 for a sign-in that is too old or too weak for the route (RFC
// 9470 section 3). c states what would do, in MaxAge, ACRValues and
// ErrorDescription; StepUp sets c.Error. Default of c.Scheme: "Bearer".
func StepUp(c Challenge, err error) *Denial {
	c.Scheme, c.Error = cmp.Or(c.Scheme, "Bearer"), CodeStepUp
	// Copies: c stands for a route, and a hook may change what it is shown.
	c.ACRValues, c.Params = slices.Clone(c.ACRValues), slices.Clone(c.Params)
	d := challenged(c)
	d.Status, d.Code, d.Detail, d.Err = http.StatusUnauthorized, CodeStepUp, "This needs a more recent or a stronger sign-in.", err
	d.Event = EventAuthzFail
	return d
}

// InsufficientScope returns a 403 for a credential that lacks scopes (RFC 6750
// section 3.1). The challenge has the scheme and lists the scope that the route
// needs.
func InsufficientScope(scheme string, scope identity.Set, err error) *Denial {
	d := challenged(Challenge{Scheme: scheme, Error: CodeInsufficientScope, Scope: scope})
	d.Status, d.Code, d.Detail, d.Err = http.StatusForbidden, CodeInsufficientScope, "The token is not good for this.", err
	d.Event = EventAuthzFail
	return d
}

// Forbidden returns a 403 for a caller that may not do this. The client does not
// learn what would be needed.
func Forbidden(err error) *Denial {
	return NewDenial(http.StatusForbidden, CodeForbidden, "Access denied", err)
}

// NotFound returns a 404 that equals the one for a path without a route, so it can
// hide whether something exists.
func NotFound(err error) *Denial {
	return NewDenial(http.StatusNotFound, CodeNotFound, "There is nothing here.", err)
}

// MethodNotAllowed returns a 405 and, if there are allowed methods, sets the Allow
// header of w.
func MethodNotAllowed(w http.ResponseWriter, allowed ...string) *Denial {
	if len(allowed) > 0 {
		w.Header()["Allow"] = []string{strings.Join(allowed, ", ")}
	}
	return NewDenial(http.StatusMethodNotAllowed, CodeMethodNotAllowed, "This method is not allowed here.", errMethod)
}

var errMethod = errors.New("guard: method not allowed")

// TooLarge returns a 413 for a body that is longer than the handler reads.
func TooLarge(err error) *Denial {
	return NewDenial(http.StatusRequestEntityTooLarge, CodeInvalidRequest, "The request is too large.", err)
}

// UnsupportedMediaType returns a 415 for a body of another media type than
// accepted.
func UnsupportedMediaType(err error, accepted ...string) *Denial {
	return NewDenial(http.StatusUnsupportedMediaType, CodeInvalidRequest,
		"The body must be "+strings.Join(accepted, " or ")+".", err)
}

// TooManyAttempts returns a 429 for an attempt with a password or a code that was
// rejected unseen, because too many attempts failed before it. wait is when the
// next attempt is possible; if zero, the client does not learn it.
func TooManyAttempts(wait time.Duration, err error) *Denial {
	d := NewDenial(http.StatusTooManyRequests, CodeTooManyAttempts, "There were too many attempts. Please wait.", err)
	d.RetryAfter, d.Event = wait, EventLoginFailMax
	return d
}

// Unavailable returns a 503 for a decision that could not be made, with when to try
// again. Like [CannotDecide] it hides the verdicts in err. Every error that is not
// a Denial is refused this way.
func Unavailable(retryAfter time.Duration, err error) *Denial {
	d := NewDenial(http.StatusServiceUnavailable, CodeUnavailable,
		"The service cannot decide this right now. Please try again.", undecided(err))
	d.RetryAfter = retryAfter
	return d
}

// ErrNoCredentials is returned by an [Authenticator] if the request does not carry
// its kind of credential.
var ErrNoCredentials = errors.New("guard: no credentials")

// ErrInactive is returned by Hooks.Active or a guard if the caller's account is
// disabled or gone. It is answered 401 invalid_token.
var ErrInactive = errors.New("guard: account is not active")

// NewReason returns an error for a package variable that names a reason of refusal,
// like token.ErrExpired. [errors.Is] is true for the error itself and for each of
// the parents. [CannotDecide] hides reasons.
func NewReason(text string, parents ...error) error { return &reason{text, parents} }

type reason struct {
	text    string
	parents []error
}

func (r *reason) Error() string { return r.text }

func (r *reason) Is(target error) bool {
	return slices.ContainsFunc(r.parents, func(p error) bool { return errors.Is(p, target) })
}

// CannotDecide returns the error, answered 503, for a decision that could not be
// made because a store, a revoker or a key server failed. doing names the step with
// its package: "apikey: loading a key".
//
// errors.Is and errors.As find what err wraps, but for verdicts: a [*Denial], a
// [*http.MaxBytesError], [ErrInactive], [ErrNoCredentials],
// [identity.ErrNotProven], errors of [NewReason], and error types that have a
// method IsVerdict(). A 401 of a remote store is no verdict on the request in hand.
// The RetryAfter of a Denial with status 503 is kept, up to an hour.
func CannotDecide(doing string, err error) error { return &indecision{doing, err} }

// undecided hides the verdicts of err.
func undecided(err error) error {
	switch err.(type) {
	case nil, *indecision:
		return err
	}
	return &indecision{err: err}
}

type indecision struct {
	doing string
	err   error
}

func (u *indecision) Error() string {
	switch {
	case u.err == nil:
		return u.doing
	case u.doing == "":
		return u.err.Error()
	}
	return u.doing + ": " + u.err.Error()
}

// There is no Unwrap: errors.Is and errors.As must pass through these.

func (u *indecision) Is(target error) bool {
	if target == ErrInactive || target == ErrNoCredentials || target == identity.ErrNotProven {
		return false
	}
	switch target.(type) {
	case *reason, *Denial:
		return false
	}
	return errors.Is(u.err, target)
}

func (u *indecision) As(target any) bool {
	switch target.(type) {
	case **Denial, **http.MaxBytesError, **reason:
		return false
	}
	if reflect.TypeOf(target).Elem().Implements(verdicts) {
		return false
	}
	return errors.As(u.err, target)
}

var verdicts = reflect.TypeFor[interface{ IsVerdict() }]()

// retryAfter returns how long to wait, if the failed step stated it.
func (u *indecision) retryAfter() time.Duration {
	if d, ok := errors.AsType[*Denial](u.err); ok {
		if d != nil && d.Status == http.StatusServiceUnavailable {
			return min(d.RetryAfter, time.Hour)
		}
		return 0
	}
	if inner, ok := errors.AsType[*indecision](u.err); ok {
		return inner.retryAfter()
	}
	return 0
}

// errClientGone marks the reason of a refusal that no client waits for.
var errClientGone = errors.New("guard: the client went away")

// DenialOf returns the Denial with which [Hooks.Refuse] answers err, for other
// protocols than HTTP: a Denial in err, 413 for [*http.MaxBytesError], 401 for
// [ErrInactive], 400 invalid_proof for [identity.ErrNotProven], and 503 for every
// other error and for nil. ctx is the context of the request.
func DenialOf(ctx context.Context, err error) *Denial {
	d, ok := errors.AsType[*Denial](err)
	if !ok || d == nil {
		d = denialOf(ctx, err)
	}
	if d.Status == http.StatusServiceUnavailable && errors.Is(d.Err, context.Canceled) && ctx.Err() != nil {
		return NewDenial(statusClientGone, CodeClientGone, "The request was given up.",
			fmt.Errorf("%w: %w", errClientGone, d.Err))
	}
	if d.Status < 400 || d.Status > 599 {
		fixed := *d // a copy: the caller's may be shared
		fixed.Status = http.StatusInternalServerError
		return &fixed
	}
	return d
}

// statusClientGone is the status that nginx made known. It is for logs only.
const statusClientGone = 499

func denialOf(ctx context.Context, err error) *Denial {
	if err == nil {
		return Unavailable(0, errors.New("guard: refused without a reason"))
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return TooLarge(tooLarge)
	}
	if errors.Is(err, identity.ErrNotProven) {
		d := NewDenial(http.StatusBadRequest, "invalid_proof", "The proof is missing or wrong.", err)
		d.Event = EventLoginFail
		return d
	}
	if errors.Is(err, ErrInactive) {
		// Challenged in the scheme of what the caller presented.
		scheme := "Bearer"
		if rc, _ := identified(ctx); rc != nil {
			scheme = rc.by.Challenge().Scheme
		}
		return InvalidToken(scheme, err)
	}
	if u, ok := errors.AsType[*indecision](err); ok {
		return Unavailable(u.retryAfter(), err)
	}
	return Unavailable(0, err)
}
