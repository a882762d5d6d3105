// Package unproven refuses changes of an account whose proof is wrong.
package unproven

import (
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Refusal returns the answer to an error of verifying a proof: 400 invalid_proof
// for [identity.ErrNotProven], a [guard.Denial] as it is, 503 for other errors,
// and nil for nil.
func Refusal(pkg string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, identity.ErrNotProven) {
		d := guard.NewDenial(http.StatusBadRequest, "invalid_proof", "The proof is missing or wrong.", err)
		d.Event = guard.EventLoginFail
		return d
	}
	// Only the error itself: an error that wraps a Denial has another cause.
	if d, ok := err.(*guard.Denial); ok {
		return d
	}
	return guard.CannotDecide(pkg+": verifying a proof", err)
}
