package guard

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A Measurement is how long one operation took and how it ended. Operation and Name
// come from the program and its configuration, never from a client, so their number is
// bounded.
type Measurement struct {
	// Operation is the kind of operation:
	//
	//	identify  all authenticators of an Identify or a Mux
	//	guard     a guard; the handler behind it is not included
	//	limit     a decision of a limiter
	//	store     a call of a store, a revocation log or a user table
	//	hash      hashing or verifying a password, with the wait for its turn
	//	fetch     reading a key set
	Operation string

	// Name tells operations of one kind apart: the scheme of the credential that was
	// found (empty for an anonymous request), the kinds of a guard's requirements, the
	// name of a limiter, the method of a store with its package.
	Name string

	// Outcome is [Succeeded], [Failed] if a request or a proof was refused, and
	// [Undecided] if a store failed, a wait ended or the client disconnected.
	Outcome Outcome

	// Duration is the time that the operation took.
	Duration time.Duration
}

// Begin returns when an operation begins, for [Hooks.Measured]. It is the zero time if
// Measure is nil.
func (h Hooks) Begin() (begun time.Time) {
	if h.Measure != nil {
		begun = time.Now()
	}
	return begun
}

// Measured passes an operation that began at begun and ends now to Measure, if there
// is one:
//
//	begun := hooks.Begin()
//	user, err := users.ByID(ctx, id)
//	hooks.Measured(ctx, begun, "store", "users.ByID", err)
//
// A nil err is [Succeeded]. A [*Denial] with a status of 400 to 498, [ErrInactive],
// [identity.ErrNotProven] and errors of [NewReason] are [Failed]. Other errors are
// [Undecided], and so is a Denial of a store or a fetch.
func (h Hooks) Measured(ctx context.Context, begun time.Time, operation, name string, err error) {
	if h.Measure == nil {
		return
	}
	h.Measure(ctx, Measurement{operation, name, outcomeOf(operation, err), time.Since(begun)})
}

func outcomeOf(operation string, err error) Outcome {
	if err == nil {
		return Succeeded
	}
	if d, ok := errors.AsType[*Denial](err); ok {
		// A refusal in the error of a store is of another system.
		if d == nil || operation == "store" || operation == "fetch" {
			return Undecided
		}
		if d.Status >= 400 && d.Status < 500 && d.Status != statusClientGone {
			return Failed
		}
		return Undecided
	}
	if _, ok := errors.AsType[*reason](err); ok || errors.Is(err, ErrInactive) || errors.Is(err, identity.ErrNotProven) {
		return Failed
	}
	return Undecided
}

// kindsOf returns the kinds of the requirements, for the Name of a guard.
func kindsOf(demands []Requirement) string {
	var kinds []string
	for _, q := range demands {
		kinds = append(kinds, string(q.Kind))
	}
	return strings.Join(kinds, " ")
}
