package guard

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
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
	//	active    Hooks.Active
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

	// Code is the code of the [Denial], empty without one. Codes are constants of
	// this module and of the host's guards, which must not take them from clients.
	Code string

	// Duration is the time that the operation took.
	Duration time.Duration
}

// processStart is where Begin counts from: time.Since reads one clock, and time.Now two.
var processStart = time.Now()

// measureProvided is set when a Hooks with Measure has been provided. Until then, Begin
// and Measured of Hooks without Measure need not search the context.
var measureProvided atomic.Bool

// Begin returns when an operation begins, for [Hooks.Measured] only. It is the zero time
// if nothing is measured.
func (h Hooks) Begin() (begun time.Time) {
	if h.Measure != nil || measureProvided.Load() {
		begun = processStart.Add(time.Since(processStart))
	}
	return begun
}

// Measured passes an operation that began at begun and ends now to Measure, or to the
// Measure of [Hooks.Provide] around ctx. Without either it does nothing:
//
//	begun := hooks.Begin()
//	user, err := users.ByID(ctx, id)
//	hooks.Measured(ctx, begun, "store", "users.ByID", err)
//
// A nil err is [Succeeded]. A [*Denial] with a status of 400 to 498, [ErrInactive],
// [identity.ErrNotProven] and errors of [NewReason] are [Failed]. Other errors are
// [Undecided], and so is a Denial of a store or a fetch.
func (h Hooks) Measured(ctx context.Context, begun time.Time, operation, name string, err error) {
	if begun.IsZero() {
		return
	}
	measure := h.Measure
	if measure == nil {
		provided, ok := ctx.Value(providedKey{}).(*providedContext)
		if !ok || provided.hooks.Measure == nil {
			return
		}
		measure = provided.hooks.Measure
	}
	m := Measurement{Operation: operation, Name: name, Outcome: Succeeded, Duration: time.Since(begun)}
	if err != nil {
		m.Outcome, m.Code = outcomeOf(operation, err)
	}
	measure(ctx, m)
}

// outcomeOf returns the outcome of an operation with an error, and the code of the
// refusal.
func outcomeOf(operation string, err error) (Outcome, string) {
	if d, ok := errors.AsType[*Denial](err); ok {
		switch {
		// A refusal in the error of a store is of another system.
		case d == nil, operation == "store", operation == "fetch":
			return Undecided, ""
		case d.Status >= 400 && d.Status < 500 && d.Status != statusClientGone:
			return Failed, d.Code
		}
		return Undecided, d.Code
	}
	if errors.Is(err, ErrInactive) {
		return Failed, CodeInvalidToken
	}
	if _, ok := errors.AsType[*reason](err); ok || errors.Is(err, identity.ErrNotProven) {
		return Failed, ""
	}
	return Undecided, ""
}

// kindsOf returns the kinds of the requirements, for the Name of a guard.
func kindsOf(demands []Requirement) string {
	var kinds []string
	for _, q := range demands {
		kinds = append(kinds, string(q.Kind))
	}
	return strings.Join(kinds, " ")
}
