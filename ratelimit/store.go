package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A Store counts what was spent of [Strict] and [Smooth] limits, by its own
// clock. It is safe for concurrent use. Test an implementation with
// ratelimittest.Run.
//
// Amounts are whole numbers; times are whole microseconds or finer, rounded
// against the caller. Products of two numbers of a [Limit] fit into 63 bits.
type Store interface {
	// Take makes all charges or none, in one step: concurrent calls admit no more
	// than the same calls one after the other. It returns one State for each
	// charge, in the same order. If a State is Refused, nothing was charged and
	// the Receipt is zero.
	//
	// Charges count together if they agree in Key and in the Name, Kind and
	// Window of the Limit. The Quota of a call holds for that call.
	//
	// Take charges nothing and returns an error if ctx has ended before, or if
	// [Validate] rejects the charges. After another error the charges may have
	// been made. Take does not keep charges.
	Take(ctx context.Context, charges []Charge) ([]State, Receipt, error)

	// Refund gives back the charges of receipt, at most once; see [Receipt.Use]:
	// to the window, or the part of a window, that was charged, never more than
	// is still spent. A zero Receipt does nothing. After an error the charges may
	// have been given back.
	Refund(ctx context.Context, receipt Receipt) error
}

// A Key identifies what a [Store] counts for. It is a keyed hash: a Store holds
// no address, and clients cannot choose keys that collide.
type Key [16]byte

// A Charge is one amount that a request spends.
type Charge struct {
	Key   Key
	Limit Limit
	Cost  int64 // 1 to Limit.Max()
}

// A State is the result of one [Charge].
type State struct {
	// Refused reports that the charge exceeds the limit.
	Refused bool

	// Full reports a refusal because the table of a [Memory] had no place for the
	// key.
	Full bool

	// Remaining is what can still be spent at once.
	Remaining int64

	// RetryAfter is the time until the same charge fits if nothing else is
	// charged for the key. It is zero unless Refused.
	RetryAfter time.Duration

	// Reset is the time until Remaining grows if nothing else is spent, zero if
	// nothing is spent.
	Reset time.Duration
}

// MaxCharges is the largest number of charges of one [Store.Take].
const MaxCharges = 32

// ErrCost is returned by [Store.Take] for a charge whose Cost is larger than the
// Max of its Limit.
var ErrCost = errors.New("ratelimit: cost is larger than the limit ever allows")

// Validate returns an error if charges cannot be made. Implementations of
// [Store.Take] call it first.
func Validate(charges []Charge) error {
	if n := len(charges); n == 0 || n > MaxCharges {
		return fmt.Errorf("ratelimit: Take has %d charges; pass 1 to %d", n, MaxCharges)
	}
	for i := range charges {
		c := &charges[i]
		if err := c.Limit.validate(); err != nil {
			return err
		}
		if c.Limit.Kind == Concurrent {
			return fmt.Errorf("ratelimit: limit %q is Concurrent; a Store counts Strict and Smooth limits only", c.Limit.Name)
		}
	}
	return validateCosts(charges)
}

// validateCosts is Validate for charges of validated limits.
func validateCosts(charges []Charge) error {
	for i := range charges {
		c := &charges[i]
		if c.Cost < 1 {
			return fmt.Errorf("ratelimit: Charge.Cost is %d; pass 1 or more", c.Cost)
		}
		if c.Cost > c.Limit.Max() {
			return fmt.Errorf("%w: limit %q allows %d and this costs %d", ErrCost, c.Limit.Name, c.Limit.Max(), c.Cost)
		}
		for j := range i {
			if d := &charges[j]; d.Key == c.Key && d.Limit.same(&c.Limit) {
				return fmt.Errorf("ratelimit: limit %q is charged twice for one key", c.Limit.Name)
			}
		}
	}
	return nil
}

// same reports whether l and m count together.
func (l *Limit) same(m *Limit) bool {
	return l.Kind == m.Kind && l.Window == m.Window && l.Name == m.Name
}

// A Receipt records what was charged and when, so that it can be given back once.
// Copies of a Receipt are one receipt. The zero Receipt gives back nothing.
type Receipt struct{ *receipt }

type receipt struct {
	used    atomic.Bool
	at      time.Duration
	charges []Charge
}

// NewReceipt returns a Receipt for charges made at a moment of the [Store]'s
// clock. It copies charges.
func NewReceipt(at time.Duration, charges []Charge) Receipt {
	return Receipt{&receipt{at: at, charges: append([]Charge(nil), charges...)}}
}

// Use returns the charges and their moment to the first caller, and no charges to
// later callers. Implementations of [Store.Refund] call it.
func (r Receipt) Use() (at time.Duration, charges []Charge) {
	if r.receipt == nil || !r.used.CompareAndSwap(false, true) {
		return 0, nil
	}
	return r.at, r.charges
}

// only removes the charges for which refundable returns false. No other goroutine
// has the receipt.
func (r Receipt) only(refundable func(*Charge) bool) Receipt {
	if r.receipt == nil {
		return r
	}
	kept := r.charges[:0]
	for i := range r.charges {
		if refundable(&r.charges[i]) {
			kept = append(kept, r.charges[i])
		}
	}
	r.charges = kept
	return r
}
