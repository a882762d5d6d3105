package totp

import (
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// A failure is what a store, a sealer or a function of the host answered with
// instead of doing its work. Its error can be found with errors.Is and
// errors.As, but for what would be taken as a verdict on the request in hand: a
// store that is asked over a network may well fail with a 401 of its own.
type failure struct {
	doing string
	err   error
}

func (f *failure) Error() string { return "totp: " + f.doing + ": " + f.err.Error() }

func (f *failure) Is(target error) bool {
	switch target {
	case guard.ErrInactive, guard.ErrNoCredentials, ErrWrongCode, ErrFactorNeeded, ErrEnrolled:
		return false
	}
	return errors.Is(f.err, target)
}

func (f *failure) As(target any) bool {
	switch target := target.(type) {
	case **http.MaxBytesError, **ThrottledError:
		return false
	case **guard.Denial:
		// One of a 503 says when to come back.
		d, ok := errors.AsType[*guard.Denial](f.err)
		if ok = ok && d != nil && d.Status == http.StatusServiceUnavailable; ok {
			*target = d
		}
		return ok
	}
	return errors.As(f.err, target)
}
