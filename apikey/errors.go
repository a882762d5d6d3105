package apikey

import (
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// Reasons for which a key is refused, found with [errors.Is]. They are for the
// audit trail; the client is told invalid_token and nothing else, but for
// ErrAddress, which is 403. All are ErrInvalid too.
var (
	ErrInvalid           = errors.New("apikey: invalid")
	ErrMalformed   error = refusal("apikey: malformed")                     // or for another environment, by its head
	ErrUnknown     error = refusal("apikey: no key of that ID")             // or hash, for legacy keys
	ErrSecret      error = refusal("apikey: the secret is not right")       // somebody guesses, or has a leaked ID
	ErrPepper      error = refusal("apikey: its pepper is not in the ring") // taken out on purpose, or missing here
	ErrEnvironment error = refusal("apikey: its record is of another environment")
	ErrRevoked     error = refusal("apikey: revoked")                             // by its record or a Revoker
	ErrInactive    error = refusal("apikey: switched off")                        // Record.Active
	ErrTooEarly    error = refusal("apikey: not valid yet")                       // Record.NotBefore
	ErrExpired     error = refusal("apikey: expired")                             // Record.ExpiresAt
	ErrRotated     error = refusal("apikey: replaced, and its grace is over")     //
	ErrOwner       error = refusal("apikey: its owner is not active")             // Config.OwnerRights says
	ErrAddress     error = refusal("apikey: used from an address not allowed it") //
)

// A refusal is a constant reason, so refusing costs no allocation for it.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrInvalid }

// A refused names the key that was refused.
type refused struct {
	reason error
	id     string
}

func (r *refused) Error() string { return r.reason.Error() + ": key " + r.id }
func (r *refused) Unwrap() error { return r.reason }

// undecided is the error of a store or another thing that was asked. It is what
// they say, for errors.Is and errors.As, but never a verdict: a store that
// asks over a network may well fail with a 401 of its own, which says nothing
// about the key in hand.
type undecided struct {
	doing string
	err   error
}

func (u undecided) Error() string { return "apikey: " + u.doing + ": " + u.err.Error() }

func (u undecided) Is(target error) bool {
	if _, verdict := target.(refusal); verdict || target == ErrInvalid || target == ErrNotFound ||
		target == guard.ErrNoCredentials || target == guard.ErrInactive {
		return false
	}
	return errors.Is(u.err, target)
}

func (u undecided) As(target any) bool {
	switch target := target.(type) {
	case **http.MaxBytesError: // would be answered 413
		return false
	case **guard.Denial:
		// One of a 503 says when to come back.
		d, ok := errors.AsType[*guard.Denial](u.err)
		if ok = ok && d != nil && d.Status >= http.StatusInternalServerError; ok {
			*target = d
		}
		return ok
	}
	return errors.As(u.err, target)
}
