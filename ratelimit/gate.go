package ratelimit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// A gate charges a store, or the memory of this process if the store does not answer
// in time.
type gate struct {
	store   Store   // nil if memory decides
	memory  *Memory // or what is known here
	hash    sipKey
	timeout time.Duration
	nodes   int64
	hooks   guard.Hooks
	calls   chan struct{} // one for each running call of the store
	breaker *Breaker
	down    atomic.Bool // EventStoreDown was sent, and no EventStoreUp since
	name    string      // of the limiter, for the events
}

// maxCalls bounds the concurrent calls of the store, so that a store that never
// answers does not collect goroutines. Further requests are decided as after a
// timeout.
const maxCalls = 256

func newGate(c *Config) *gate {
	g := &gate{
		timeout: c.Timeout,
		nodes:   max(1, c.Nodes),
		hooks:   c.Hooks,
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
	if s, ok := c.Store.(interface{ Breaker() *Breaker }); ok {
		g.breaker = s.Breaker()
	}
	if g.breaker == nil {
		g.breaker = new(Breaker)
	}
	if g.memory == nil {
		g.memory = new(Memory)
	}
	return g
}

// An admission has the charges of an admitted request, to be given back later.
type admission struct {
	concurrent    []Charge // of Concurrent limits, in this process
	local, remote Receipt  // of all others
}

// A chargeSet is the memory for charging one request.
type chargeSet struct {
	charges        []Charge
	states         []State
	windowed       []Charge
	windowedStates []State
}

// take makes all charges or no charge, and reports whether it did. Costs were checked.
// At least one limit is Concurrent.
func (g *gate) take(ctx context.Context, w *chargeSet) (bool, admission, error) {
	if err := ctx.Err(); err != nil {
		return false, admission{}, err
	}
	for i := range w.states {
		w.states[i] = State{Remaining: unknownRemaining}
	}
	if !g.memory.inFlight.take(w.charges, w.states) {
		return false, admission{}, nil
	}
	held := make([]Charge, 0, 2) // a limit, and its /48
	w.windowed = w.windowed[:0]
	for _, c := range w.charges {
		if c.Limit.Kind == Concurrent {
			held = append(held, c)
		} else {
			w.windowed = append(w.windowed, c)
		}
	}
	if len(w.windowed) == 0 {
		return true, admission{concurrent: held}, nil
	}
	w.windowedStates = slices.Grow(w.windowedStates[:0], len(w.windowed))[:len(w.windowed)]
	ok, b, err := g.spend(ctx, w.windowed, w.windowedStates, true)
	if !ok {
		g.memory.inFlight.giveBack(held)
	}
	for i, j := 0, 0; i < len(w.charges); i++ {
		switch {
		case w.charges[i].Limit.Kind != Concurrent:
			w.states[i] = w.windowedStates[j]
			j++
		case !ok:
			w.states[i].Remaining++
		}
	}
	if ok {
		b.concurrent = held
	}
	return ok, b, err
}

// spend is take for charges without Concurrent limits. It makes receipts if keep is
// set.
func (g *gate) spend(ctx context.Context, charges []Charge, states []State, keep bool) (bool, admission, error) {
	if err := ctx.Err(); err != nil {
		return false, admission{}, err
	}
	if g.store == nil {
		now := g.memory.now()
		ok, err := g.memory.take(now, charges, states)
		if !ok || !keep {
			return ok, admission{}, err
		}
		return true, admission{local: NewReceipt(time.Duration(now), charges)}, nil
	}
	return g.takeShared(ctx, charges, states, keep)
}

func (g *gate) takeShared(ctx context.Context, charges []Charge, states []State, keep bool) (bool, admission, error) {
	local, refused, err := g.takeLocal(charges, states, 1)
	if err != nil {
		return false, admission{}, err
	}
	// A key without a place here may have one in the store, which has all charges
	// of this process.
	if refused && !slices.ContainsFunc(states, func(s State) bool { return s.Full }) {
		return false, admission{}, nil
	}
	answered, remote, err := g.chargeStore(ctx, charges)
	switch {
	case err == nil:
		copy(states, answered)
		if slices.ContainsFunc(answered, func(s State) bool { return s.Refused }) {
			g.giveBack(local)
			return false, admission{}, nil
		}
		if !keep {
			return true, admission{}, nil
		}
		return true, admission{local: local, remote: remote}, nil
	case ctx.Err() != nil:
		g.giveBack(local)
		return false, admission{}, ctx.Err()
	}
	g.giveBack(local)
	for i := range charges {
		if charges[i].Limit.Down == Closed {
			return false, admission{}, guard.Unavailable(time.Second, fmt.Errorf("ratelimit: limit %q is closed without its store: %w", charges[i].Limit.Name, err))
		}
	}
	local, refused, err = g.takeLocal(charges, states, g.nodes)
	return !refused && err == nil, admission{local: local}, err
}

// takeLocal makes the charges that fall back to this process, with a part of the
// quota, and leaves other states unknown.
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

// unknownRemaining is in the state of a limit that was not consulted.
const unknownRemaining = -1

func (g *gate) giveBack(local Receipt) {
	g.memory.Refund(context.Background(), local) // a Memory does not fail
}

// everything chooses all charges.
func allCharges(*Charge) bool { return true }

// settle gives back the places in flight and the charges for which which returns true;
// no charge if which is nil. It waits for the store no longer than a decision does.
func (g *gate) settle(ctx context.Context, b admission, which func(*Charge) bool) {
	g.memory.inFlight.giveBack(b.concurrent)
	if which == nil {
		return
	}
	g.giveBack(b.local.only(which))
	receipt := b.remote.only(which)
	if receipt.receipt == nil || len(receipt.charges) == 0 {
		return
	}
	// Also if the client has hung up.
	g.call(context.WithoutCancel(ctx), false, func(ctx context.Context) (func(), error) {
		return nil, g.store.Refund(ctx, receipt)
	})
}

// Reasons why the store was not called.
var (
	errStoreDown    = errors.New("ratelimit: the store failed and is not called for now")
	errTooManyCalls = fmt.Errorf("ratelimit: %d calls of the store are under way already", maxCalls)
)

// chargeStore is Store.Take within the timeout.
func (g *gate) chargeStore(ctx context.Context, charges []Charge) (states []State, receipt Receipt, err error) {
	charges = slices.Clone(charges) // the call may outlive the request
	var answered []State
	var charged Receipt
	err = g.call(ctx, true, func(ctx context.Context) (func(), error) {
		begun := g.hooks.Begin()
		states, receipt, err := g.store.Take(ctx, charges)
		g.hooks.Measured(ctx, begun, "store", "ratelimit.Take", err)
		if err == nil && len(states) != len(charges) {
			err = fmt.Errorf("ratelimit: the store answered %d of %d charges", len(states), len(charges))
		}
		if err != nil {
			return nil, err
		}
		answered, charged = states, receipt
		// Only for a client that hung up. Otherwise the fallback has decided, and
		// a second charge for a request is better than no charge.
		return func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
			defer cancel()
			g.store.Refund(ctx, receipt)
		}, nil
	})
	if err != nil {
		return nil, Receipt{}, err
	}
	return answered, charged, nil
}

// States of a call.
const (
	pending int32 = iota
	delivered
	abandoned // the timeout passed
	hungUp    // the client went away
)

// call runs f and waits for it until the timeout. If f ignores its context, it stays
// counted until it returns. undo is called if f succeeds after the client has hung up.
//
// While the store is down, call returns errResting at once. If a probe is due, probe
// runs f for the breaker.
//
// The caller holds no lock.
func (g *gate) call(ctx context.Context, probe bool, f func(context.Context) (undo func(), err error)) error {
	permission, reason := g.breaker.allow()
	if permission != mayCall {
		g.report(reason)
		if permission == mayNotCall || !probe {
			return errStoreDown
		}
	}
	select {
	case g.calls <- struct{}{}:
	default:
		return errTooManyCalls
	}
	if permission == mayProbe {
		go g.probe(context.WithoutCancel(ctx), f)
		return errStoreDown
	}
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	var state atomic.Int32
	result := make(chan error, 1)
	go func() {
		defer func() { <-g.calls }()
		undo, err := protect(limited, f)
		if state.CompareAndSwap(pending, delivered) {
			result <- err
		} else if undo != nil && state.Load() == hungUp {
			protect(limited, func(context.Context) (func(), error) { undo(); return nil, nil })
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
		return err // the client ended the call, not the store
	}
	if g.breaker.note(err) || err == nil {
		g.report(err)
	}
	return err
}

// probe runs f for the breaker. It holds a place in calls until f returns.
func (g *gate) probe(ctx context.Context, f func(context.Context) (undo func(), err error)) {
	defer func() { <-g.calls }()
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	_, err := protect(limited, f)
	if err == nil && limited.Err() != nil {
		err = fmt.Errorf("ratelimit: the store did not answer within %v: %w", g.timeout, limited.Err())
	}
	g.breaker.note(err)
	g.report(err)
}

// protect calls f and returns a panic as an error, because a panic in our goroutine
// would end the process.
func protect(ctx context.Context, f func(context.Context) (func(), error)) (undo func(), err error) {
	defer func() {
		if v := recover(); v != nil {
			undo, err = nil, fmt.Errorf("ratelimit: the store panicked: %v", v)
		}
	}()
	return f(ctx)
}

// report emits EventStoreDown or EventStoreUp if the state of the store has changed
// for this limiter. The event has no Principal, because no caller caused the change.
func (g *gate) report(err error) {
	if g.down.Load() == (err != nil) || g.down.Swap(err != nil) == (err != nil) {
		return
	}
	e := guard.Event{Name: EventStoreUp, Target: g.name}
	if err != nil {
		e.Name, e.Err = EventStoreDown, fmt.Errorf("ratelimit: limiter %q: store %T: %w", g.name, g.store, err)
	}
	g.hooks.EmitContext(context.Background(), e)
}
