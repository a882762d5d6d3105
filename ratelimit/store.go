package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A Store counts [Strict] and [Smooth] limits by its own clock. It is safe for
// concurrent use. Amounts are whole numbers; times are in whole microseconds or finer,
// rounded against the caller. ratelimittest.Run tests a Store.
type Store interface {
	// Take atomically makes all charges or none and returns their States. If one
	// is Refused, nothing was charged and the Receipt is zero. Charges with the
	// same Key and the same Name, Kind and Window of the Limit count together,
	// with the Quota of each call.
	//
	// Take returns an error and charges nothing if ctx has ended, or if [Validate]
	// rejects the charges. After other errors the charges may have been made. Take
	// does not keep charges.
	Take(ctx context.Context, charges []Charge) ([]State, Receipt, error)

	// Refund gives back the charges of receipt once (see [Receipt.Use]), to the
	// window or part of it that was charged, and at most what is still spent. A
	// zero Receipt has no effect. After an error the charges may have been given
	// back.
	Refund(ctx context.Context, receipt Receipt) error
}

// A Key identifies a quota by a keyed hash: it reveals no address, and clients cannot
// choose colliding keys.
type Key [16]byte

// A Charge is an amount to charge.
type Charge struct {
	Key   Key
	Limit Limit
	Cost  int64 // 1 to Limit.Max()
}

// A State is the result of one [Charge].
type State struct {
	// Refused reports whether the charge exceeds the limit.
	Refused bool

	// Full reports whether the table of a [Memory] was full.
	Full bool

	// Remaining is the amount that fits at once.
	Remaining int64

	// RetryAfter, if Refused, is the time until the charge fits without further
	// charges.
	RetryAfter time.Duration

	// Reset is the time until Remaining grows without further charges, or zero if
	// nothing is spent.
	Reset time.Duration
}

// MaxCharges is the maximum number of charges of [Store.Take].
const MaxCharges = 32

// ErrCost is returned by [Store.Take] if the Cost of a charge exceeds Limit.Max.
var ErrCost = errors.New("ratelimit: cost is larger than the limit ever allows")

// Validate returns an error if charges cannot be made. [Store.Take] calls it first.
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
			return fmt.Errorf("ratelimit: limit %q is Concurrent; use Strict or Smooth", c.Limit.Name)
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
			return fmt.Errorf("%w: limit %q allows %d and the cost is %d", ErrCost, c.Limit.Name, c.Limit.Max(), c.Cost)
		}
		for j := range i {
			if d := &charges[j]; d.Key == c.Key && d.Limit.same(&c.Limit) {
				return fmt.Errorf("ratelimit: limit %q is charged twice for one key; use one charge", c.Limit.Name)
			}
		}
	}
	return nil
}

// same reports whether l and m count together.
func (l *Limit) same(m *Limit) bool {
	return l.Kind == m.Kind && l.Window == m.Window && l.Name == m.Name
}

// A Receipt records charges, to give them back once. Copies count as one Receipt. The
// zero Receipt gives back nothing.
type Receipt struct{ *receipt }

type receipt struct {
	used    atomic.Bool
	at      time.Duration
	charges []Charge
}

// NewReceipt returns a Receipt for a copy of charges, made at a time of the [Store]'s
// clock.
func NewReceipt(at time.Duration, charges []Charge) Receipt {
	return Receipt{&receipt{at: at, charges: append([]Charge(nil), charges...)}}
}

// Use returns the charges and their time to the first caller, for [Store.Refund], and
// no charges to later ones.
func (r Receipt) Use() (at time.Duration, charges []Charge) {
	if r.receipt == nil || !r.used.CompareAndSwap(false, true) {
		return 0, nil
	}
	return r.at, r.charges
}

// only removes the charges for which refundable returns false. The caller is the only
// user of r.
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
