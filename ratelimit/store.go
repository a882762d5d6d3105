package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A Store keeps what was spent. Its methods are safe for use by any number of
// goroutines, and, if the store is shared, of processes at once.
//
// The store's own clock decides, never the caller's: a process whose clock is
// ten minutes ahead must not reset everybody's window. All amounts are whole
// numbers; times are whole microseconds or finer, rounded against the caller
// where they do not come out even. Numbers of [Limit] are bounded so that no
// product of two of them leaves 63 bits.
type Store interface {
	// Take charges all of charges or none. It returns one State for each,
	// in their order. If at least one is Refused nothing was charged, and the
	// Receipt is zero.
	//
	// Deciding and charging are one step: of any number of callers at once,
	// no more are admitted than would be one after the other. A [Strict]
	// limit admits at most its Quota in any window, a [Smooth] one at most
	// Burst + Quota·t/Window in any time t, and a [Concurrent] one has at
	// most its Quota admitted and not refunded.
	//
	// What is counted together is what agrees in Key and in the Name, Kind
	// and Window of the Limit. The Quota of one call holds for that call.
	//
	// An error says that nothing is known, and that what was charged, if
	// anything, stays charged; it is not retried, for a retry may charge
	// twice. A context that is over before the store was asked charges
	// nothing and is an error, and so are charges that [Validate] finds
	// wrong. The store keeps no reference to charges.
	Take(ctx context.Context, charges []Charge) ([]State, Receipt, error)

	// Refund gives back what the receipt says, once, however often and from
	// wherever it is called: [Receipt.Use] sees to that. It never gives back
	// more than is still spent, and gives back less where the store cannot
	// tell. A zero Receipt is no error and does nothing.
	//
	// An error leaves it open whether anything was given back, and the receipt
	// is used up, unless nothing was done for certain: then the store has not
	// called Use yet, or has called [Receipt.Unuse], and the call is repeated
	// later.
	Refund(ctx context.Context, receipt Receipt) error
}

// A Key is what is counted for in a store: a keyed hash of who or what it is,
// so that a store holds no address, and nobody can choose keys that collide.
type Key [16]byte

// A Charge is one entry on a bill.
type Charge struct {
	Key   Key
	Limit Limit
	Cost  int64 // 1 to Limit.Max()
}

// A State is what a [Store] answers about one charge.
type State struct {
	// Refused reports that this charge did not fit. None of the others was
	// made then either, whether or not they fit.
	Refused bool

	// Full reports that the charge was refused because the store has
	// forgotten who was who: the key stands for all those it had no room
	// for. Only a store of fixed size has this.
	Full bool

	// Remaining is what may still be spent at once, after this charge.
	Remaining int64

	// RetryAfter is when the same charge would fit if nobody else charges
	// the key: not earlier, and to the microsecond where the store can tell.
	// Zero if it was not refused, and for Concurrent, where nobody knows.
	RetryAfter time.Duration

	// Reset is when Remaining grows if nothing else is spent. Zero if
	// nothing is spent, and for Concurrent.
	Reset time.Duration
}

// MaxCharges is how many charges one Take may have.
const MaxCharges = 32

// ErrCost is returned by [Store.Take] for a charge that could not be made ever:
// its Cost is larger than its Limit's Max.
var ErrCost = errors.New("ratelimit: cost is larger than the limit ever allows")

// Validate returns what is wrong with charges, or nil. Implementations of
// [Store] call it first.
func Validate(charges []Charge) error {
	if n := len(charges); n == 0 || n > MaxCharges {
		return fmt.Errorf("ratelimit: Take has %d charges, want 1 to %d", n, MaxCharges)
	}
	for i := range charges {
		c := &charges[i]
		if err := c.Limit.Validate(); err != nil {
			return err
		}
	}
	return validateCosts(charges)
}

// validateCosts is Validate for charges of limits that are known to be good.
func validateCosts(charges []Charge) error {
	for i := range charges {
		c := &charges[i]
		if c.Cost < 1 {
			return fmt.Errorf("ratelimit: Charge.Cost is %d, want 1 or more", c.Cost)
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

// A Receipt is what a Take charged. Copies of it are one receipt. The zero
// Receipt is of nothing.
type Receipt struct{ *receipt }

type receipt struct {
	used    atomic.Bool
	at      time.Duration
	charges []Charge
}

// NewReceipt returns the receipt of charges that were made at a moment of the
// store's clock, for implementations of [Store]. It keeps a copy of charges.
func NewReceipt(at time.Duration, charges []Charge) Receipt {
	return Receipt{&receipt{at: at, charges: append([]Charge(nil), charges...)}}
}

// Use returns what was charged and when, for implementations of [Store]. Only
// the first call on any copy of a receipt returns charges; it is what makes a
// refund happen once.
func (r Receipt) Use() (at time.Duration, charges []Charge) {
	if r.receipt == nil || !r.used.CompareAndSwap(false, true) {
		return 0, nil
	}
	return r.at, r.charges
}

// Unuse takes [Receipt.Use] back, for a [Store] whose Refund fails and that knows
// for certain that nothing was given back and nothing will be: the transaction
// was rolled back, or there was no connection to send anything over. Only who
// was given the charges by Use may call it, once.
func (r Receipt) Unuse() {
	if r.receipt != nil {
		r.used.Store(false)
	}
}

// only drops the charges that which does not report from what is given back. The
// caller is the only one who has the receipt.
func (r Receipt) only(which func(*Charge) bool) Receipt {
	if r.receipt == nil {
		return r
	}
	kept := r.charges[:0]
	for i := range r.charges {
		if which(&r.charges[i]) {
			kept = append(kept, r.charges[i])
		}
	}
	r.charges = kept
	return r
}
