package ratelimit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// A gate charges a store, or the memory of this process when the store does not
// answer in time.
type gate struct {
	store   Store   // nil: memory decides alone
	memory  *Memory // or what is known here
	hash    sipKey
	timeout time.Duration
	nodes   int64
	observe func(context.Context, guard.Event)
	calls   chan struct{} // one for each call of the store that has not come back
	breaker *Breaker
	down    atomic.Bool // EventStoreDown was sent, and no EventStoreUp since
	name    string      // of the limiter, for the events
	debts   debts
}

// maxCalls is how many calls may wait for the store at once, so that one that
// never answers does not collect goroutines. What exceeds it is decided without
// the store, like what exceeds the timeout.
const maxCalls = 256

func newGate(c *Config) *gate {
	g := &gate{
		timeout: c.Timeout,
		nodes:   max(1, c.Nodes),
		observe: c.Hooks.Observe,
		calls:   make(chan struct{}, maxCalls),
		name:    c.Name,
	}
	if g.timeout == 0 {
		g.timeout = 50 * time.Millisecond
	}
	secret := c.Secret.Bytes()
	if len(secret) == 0 {
		secret = make([]byte, 32)
		rand.Read(secret) // never fails
	}
	digest := sha256.Sum256(secret)
	g.hash = newSipKey(digest[:])
	if memory, ok := c.Store.(*Memory); ok {
		g.memory = memory
		return g
	}
	g.store, g.memory = c.Store, c.Local
	if s, ok := c.Store.(interface{ SharedBreaker() *Breaker }); ok {
		g.breaker = s.SharedBreaker()
	}
	if g.breaker == nil {
		g.breaker = new(Breaker)
	}
	if g.memory == nil {
		g.memory = new(Memory)
	}
	return g
}

// paid is what an admitted request was charged, if anybody wants to know.
type paid struct{ local, remote Receipt }

// take charges all or none, and reports whether it did. Costs were checked. The
// receipts are made if keep is set.
func (g *gate) take(ctx context.Context, charges []Charge, states []State, keep bool) (bool, paid, error) {
	if err := ctx.Err(); err != nil {
		return false, paid{}, err
	}
	if g.store == nil {
		now := g.memory.now()
		ok, err := g.memory.take(now, charges, states)
		if !ok || !keep {
			return ok, paid{}, err
		}
		return true, paid{local: NewReceipt(time.Duration(now), charges)}, nil
	}
	return g.takeShared(ctx, charges, states, keep)
}

func (g *gate) takeShared(ctx context.Context, charges []Charge, states []State, keep bool) (bool, paid, error) {
	local, refused, err := g.takeLocal(charges, states, 1)
	if err != nil {
		return false, paid{}, err
	}
	// Who had no room here may have it in the store. Who is refused for what
	// was spent here has spent it there as well.
	if refused && !slices.ContainsFunc(states, func(s State) bool { return s.Full }) {
		return false, paid{}, nil
	}
	answered, remote, err := g.ask(ctx, charges)
	switch {
	case err == nil:
		copy(states, answered)
		if slices.ContainsFunc(answered, func(s State) bool { return s.Refused }) {
			g.giveBack(local)
			return false, paid{}, nil
		}
		if !keep {
			return true, paid{}, nil
		}
		return true, paid{local, remote}, nil
	case ctx.Err() != nil:
		g.giveBack(local)
		return false, paid{}, ctx.Err()
	}
	g.giveBack(local)
	for i := range charges {
		if charges[i].Limit.Down == Closed {
			return false, paid{}, guard.Unavailable(time.Second, fmt.Errorf("ratelimit: limit %q is closed without its store: %w", charges[i].Limit.Name, err))
		}
	}
	local, refused, err = g.takeLocal(charges, states, g.nodes)
	return !refused && err == nil, paid{local: local}, err
}

// takeLocal charges those that fall back to this process, each with a part of
// its quota, and leaves the states of the others unknown.
func (g *gate) takeLocal(charges []Charge, states []State, nodes int64) (receipt Receipt, refused bool, err error) {
	mine := make([]Charge, 0, len(charges))
	for _, c := range charges {
		if c.Limit.Down == Local {
			if nodes > 1 {
				c.Limit.Quota = max(c.Limit.Quota/nodes, c.Cost)
				if c.Limit.Kind == Smooth {
					c.Limit.Burst = min(max(c.Limit.Burst/nodes, c.Cost), c.Limit.Quota)
				}
			}
			mine = append(mine, c)
		}
	}
	for i := range states {
		states[i] = State{Remaining: unknownRemaining}
	}
	if len(mine) == 0 {
		return Receipt{}, false, nil
	}
	answered := make([]State, len(mine))
	now := g.memory.now()
	ok, err := g.memory.take(now, mine, answered)
	if err != nil {
		return Receipt{}, false, err
	}
	for i, j := 0, 0; i < len(charges); i++ {
		if charges[i].Limit.Down == Local {
			states[i] = answered[j]
			j++
		}
	}
	if !ok {
		return Receipt{}, true, nil
	}
	return NewReceipt(time.Duration(now), mine), false, nil
}

// unknownRemaining is in the state of a limit that nobody was asked about.
const unknownRemaining = -1

func (g *gate) giveBack(local Receipt) {
	g.memory.Refund(context.Background(), local) // of a Memory: it cannot fail
}

// ofAnyKind and inFlight choose charges.
func ofAnyKind(*Charge) bool  { return true }
func inFlight(c *Charge) bool { return c.Limit.Kind == Concurrent }

// settle gives back those charges of what was paid that which reports. It waits for
// the store no longer than a decision does.
func (g *gate) settle(ctx context.Context, p paid, which func(*Charge) bool) {
	p.local, p.remote = p.local.only(which), p.remote.only(which)
	g.giveBack(p.local)
	if p.remote.receipt == nil || len(p.remote.charges) == 0 {
		return
	}
	// The client may be gone: the refund is due all the same.
	err := g.call(context.WithoutCancel(ctx), false, func(ctx context.Context) (func(bool), error) {
		return nil, g.refund(ctx, p.remote)
	})
	if errors.Is(err, errResting) || errors.Is(err, errBusy) {
		g.owe(p.remote) // the store was not asked
	}
}

// refund is Store.Refund, and keeps what failed for later.
func (g *gate) refund(ctx context.Context, receipt Receipt) error {
	_, err := protect(ctx, func(ctx context.Context) (func(bool), error) {
		return nil, g.store.Refund(ctx, receipt)
	})
	if err != nil {
		g.owe(receipt)
	}
	return err
}

// owe keeps a refund that was not made for when the store answers again, if a
// place in flight is among it: the rest comes back by itself, and sooner. A
// receipt that was used may have been refunded before the call failed, and
// another time would free somebody else's place: that one stays taken until the
// store gives it up, after the Window.
func (g *gate) owe(receipt Receipt) {
	var window time.Duration
	for i := range receipt.charges {
		if l := &receipt.charges[i].Limit; l.Kind == Concurrent {
			window = max(window, l.Window)
		}
	}
	if window == 0 || receipt.used.Load() {
		return
	}
	g.debts.add(debt{receipt, g.memory.now() + int64(window)})
}

// payDebts makes a few of the refunds that are owed. It is called where the
// store has just answered, by the goroutine that asked it and that nobody waits
// for any more.
func (g *gate) payDebts(ctx context.Context) {
	due := g.debts.take(g.memory.now())
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
	defer cancel()
	for i, d := range due {
		if g.refund(ctx, d.receipt) != nil {
			for _, d := range due[i+1:] {
				g.debts.add(d)
			}
			return
		}
	}
}

// A debt is a refund that was not made, and when the store has given up the
// place by itself, by the clock of the memory.
type debt struct {
	receipt Receipt
	until   int64
}

// debts are the refunds that are owed, oldest first.
type debts struct {
	some atomic.Bool // so that nobody takes the lock for nothing
	mu   sync.Mutex
	list []debt
}

const (
	maxDebts = 4096 // one more is forgotten, and comes back after the Window
	payments = 4    // for one answer of the store
)

func (d *debts) add(one debt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) < maxDebts {
		d.list = append(d.list, one)
		d.some.Store(true)
	}
}

// take removes the first debts, and returns those that have not come back by
// themselves.
func (d *debts) take(now int64) []debt {
	if !d.some.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []debt
	n := 0
	for ; n < len(d.list) && len(due) < payments; n++ {
		if d.list[n].until > now {
			due = append(due, d.list[n])
		}
	}
	d.list = slices.Delete(d.list, 0, n) // which also clears what is behind
	if len(d.list) == 0 {
		d.list = nil
		d.some.Store(false)
	}
	return due
}

// Reasons why the store was not asked.
var (
	errResting = errors.New("ratelimit: the store failed and is given a rest")
	errBusy    = fmt.Errorf("ratelimit: %d calls of the store wait already", maxCalls)
)

// ask is Store.Take within the timeout.
func (g *gate) ask(ctx context.Context, charges []Charge) (states []State, receipt Receipt, err error) {
	charges = slices.Clone(charges) // the call may outlive the request
	var answered []State
	var charged Receipt
	err = g.call(ctx, true, func(ctx context.Context) (func(bool), error) {
		states, receipt, err := g.store.Take(ctx, charges)
		if err == nil && len(states) != len(charges) {
			err = fmt.Errorf("ratelimit: the store answered %d of %d charges", len(states), len(charges))
		}
		if err != nil {
			return nil, err
		}
		answered, charged = states, receipt
		// If nobody waits any more: the fallback has decided, and a second
		// charge for one request is better than none. But what is in flight
		// here would never end, and who hung up had nothing.
		return func(gone bool) {
			if !gone {
				receipt = receipt.only(inFlight)
			}
			if receipt.receipt != nil && len(receipt.charges) > 0 {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
				defer cancel()
				g.refund(ctx, receipt)
			}
		}, nil
	})
	if err != nil {
		return nil, Receipt{}, err
	}
	return answered, charged, nil
}

// Who a call's outcome belongs to.
const (
	pending int32 = iota
	delivered
	abandoned // the timeout passed
	hungUp    // the client went away
)

// call runs f and waits for it at most for the timeout. f may ignore its
// context: then it is left behind, and counted, until it returns. late is what f
// wants done if no caller waits for its result any more; gone says whether the
// client went away.
//
// While the store is down, call returns errResting at once. If a probe is due, f
// runs all the same, as far as probe allows it, and its result is for the breaker.
//
// No lock is held here.
func (g *gate) call(ctx context.Context, probe bool, f func(context.Context) (late func(gone bool), err error)) error {
	permission, reason := g.breaker.allow()
	if permission != mayCall {
		g.report(ctx, reason)
		if permission == mayNotCall || !probe {
			return errResting
		}
	}
	select {
	case g.calls <- struct{}{}:
	default:
		return errBusy
	}
	if permission == mayProbe {
		go g.probe(context.WithoutCancel(ctx), f)
		return errResting
	}
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	var state atomic.Int32
	result := make(chan error, 1)
	go func() {
		defer func() { <-g.calls }()
		late, err := protect(limited, f)
		if state.CompareAndSwap(pending, delivered) {
			result <- err
			if err == nil {
				g.payDebts(limited)
			}
		} else if late != nil {
			protectLate(limited, late, state.Load() == hungUp)
		}
	}()
	var err error
	select {
	case err = <-result:
	case <-limited.Done():
		outcome := abandoned
		if ctx.Err() != nil {
			outcome = hungUp
		}
		if state.CompareAndSwap(pending, outcome) {
			err = fmt.Errorf("ratelimit: the store did not answer within %v: %w", g.timeout, limited.Err())
		} else {
			err = <-result
		}
	}
	if err != nil && ctx.Err() != nil {
		return err // it says nothing about the store
	}
	if g.breaker.note(err) || err == nil {
		g.report(ctx, err)
	}
	return err
}

// probe runs f for the breaker. It holds a place in calls until f returns.
func (g *gate) probe(ctx context.Context, f func(context.Context) (late func(gone bool), err error)) {
	defer func() { <-g.calls }()
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	late, err := protect(limited, f)
	if err == nil && limited.Err() != nil {
		err = fmt.Errorf("ratelimit: the store did not answer within %v: %w", g.timeout, limited.Err())
	}
	g.breaker.note(err)
	g.report(ctx, err)
	if late != nil {
		protectLate(ctx, late, false)
	}
	if err == nil {
		g.payDebts(ctx)
	}
}

// protect calls f and makes an error of a panic, which in a goroutine of our
// own would end the process.
func protect(ctx context.Context, f func(context.Context) (func(bool), error)) (late func(bool), err error) {
	defer func() {
		if v := recover(); v != nil {
			late, err = nil, fmt.Errorf("ratelimit: the store panicked: %v", v)
		}
	}()
	return f(ctx)
}

// protectLate calls late as protect would.
func protectLate(ctx context.Context, late func(gone bool), gone bool) {
	protect(ctx, func(context.Context) (func(bool), error) {
		late(gone)
		return nil, nil
	})
}

// report sends EventStoreDown or EventStoreUp if it is news for this limiter.
func (g *gate) report(ctx context.Context, err error) {
	if g.down.Load() == (err != nil) || g.down.Swap(err != nil) == (err != nil) || g.observe == nil {
		return
	}
	if err != nil {
		g.observe(ctx, guard.Event{Name: EventStoreDown, Err: fmt.Errorf("ratelimit: limiter %q: store %T: %w", g.name, g.store, err)})
	} else {
		g.observe(ctx, guard.Event{Name: EventStoreUp})
	}
}
