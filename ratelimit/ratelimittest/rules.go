package ratelimittest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// A rule is a requirement on a Store.
type rule struct {
	name   string       // of the subtest
	reason string       // printed when the rule is broken
	demand func(*probe) // calls the Store; the probe records mistakes
}

// check returns how s breaks the rule.
func (u rule) check(ctx context.Context, s ratelimit.Store) error {
	p := &probe{ctx: ctx, store: s}
	u.demand(p)
	return errors.Join(p.broken...)
}

// A probe calls one Store and collects mistakes. It is safe for concurrent use.
type probe struct {
	ctx   context.Context
	store ratelimit.Store

	mu     sync.Mutex
	broken []error
}

func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.broken) < 10 {
		p.broken = append(p.broken, fmt.Errorf(format, args...))
	}
}

// newKey returns a random key.
func newKey() (k ratelimit.Key) {
	rand.Read(k[:])
	return k
}

// charge returns a charge of 1.
func charge(k ratelimit.Key, l ratelimit.Limit) ratelimit.Charge {
	return ratelimit.Charge{Key: k, Limit: l, Cost: 1}
}

func strict(quota int64, window time.Duration) ratelimit.Limit {
	return ratelimit.Limit{Name: "strict", Quota: quota, Window: window}
}

func smooth(quota, burst int64, window time.Duration) ratelimit.Limit {
	return ratelimit.Limit{Name: "smooth", Kind: ratelimit.Smooth, Quota: quota, Burst: burst, Window: window}
}

// each returns one limit of each kind that admits quota at once.
func each(quota int64) []ratelimit.Limit {
	return []ratelimit.Limit{strict(quota, time.Hour), smooth(quota, quota, time.Hour)}
}

// take demands that Take returns no error, and matching states.
func (p *probe) take(charges ...ratelimit.Charge) (bool, []ratelimit.State, ratelimit.Receipt) {
	states, receipt, err := p.store.Take(p.ctx, charges)
	if err != nil {
		p.errorf("Take returned the error %v", err)
		return false, make([]ratelimit.State, len(charges)), receipt
	}
	if len(states) != len(charges) {
		p.errorf("Take of %d charges returned %d states", len(charges), len(states))
		return false, make([]ratelimit.State, len(charges)), receipt
	}
	ok := true
	for i, s := range states {
		ok = ok && !s.Refused
		if s.Remaining < 0 || s.Remaining > charges[i].Limit.Max() {
			p.errorf("%d remain of a limit of %d", s.Remaining, charges[i].Limit.Max())
		}
		if wait := s.RetryAfter; s.Refused && (wait <= 0 || wait > 2*charges[i].Limit.Window) {
			p.errorf("RetryAfter of a refused charge is %v, in a window of %v", wait, charges[i].Limit.Window)
		}
		if !s.Refused && s.RetryAfter != 0 {
			p.errorf("RetryAfter of a charge that fits is %v", s.RetryAfter)
		}
	}
	return ok, states, receipt
}

// admitted demands that charges are made.
func (p *probe) admitted(because string, charges ...ratelimit.Charge) ratelimit.Receipt {
	ok, _, receipt := p.take(charges...)
	if !ok {
		p.errorf("refused instead of admitted: %s", because)
	}
	return receipt
}

// refused demands that charges are not made.
func (p *probe) refused(because string, charges ...ratelimit.Charge) []ratelimit.State {
	ok, states, _ := p.take(charges...)
	if ok {
		p.errorf("admitted instead of refused: %s", because)
	}
	return states
}

func (p *probe) refund(r ratelimit.Receipt) {
	if err := p.store.Refund(p.ctx, r); err != nil {
		p.errorf("Refund returned the error %v", err)
	}
}

// race calls f in n concurrent goroutines.
func race(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			f(i)
		})
	}
	done.Wait()
}

// racers is the number of concurrent goroutines.
const racers = 1000

var rules = []rule{
	{
		name:   "a thousand concurrent requests get exactly the quota",
		reason: "reading and then writing admits every request that reads in between.",
		demand: func(p *probe) {
			for _, quota := range []int64{7, 100} {
				for _, l := range each(quota) {
					key := newKey()
					var in atomic.Int64
					race(racers, func(int) {
						if ok, _, _ := p.take(charge(key, l)); ok {
							in.Add(1)
						}
					})
					if in.Load() != quota {
						p.errorf("%v: %d of %d concurrent charges were admitted instead of %d", l, in.Load(), racers, quota)
					}
				}
			}
		},
	},
	{
		name:   "charges in opposite order neither deadlock nor admit too many",
		reason: "two requests that charge the same limits in opposite order can deadlock.",
		demand: func(p *probe) {
			a, b := newKey(), newKey()
			var in atomic.Int64
			race(200, func(i int) {
				bill := []ratelimit.Charge{charge(a, strict(50, time.Hour)), charge(b, smooth(60, 60, time.Hour))}
				if i%2 == 0 {
					slices.Reverse(bill)
				}
				if ok, _, _ := p.take(bill...); ok {
					in.Add(1)
				}
			})
			if in.Load() != 50 {
				p.errorf("%d were admitted instead of 50", in.Load())
			}
		},
	},
	{
		name:   "no window has more than the quota",
		reason: "a counter that restarts every minute admits twice the quota around its end.",
		demand: func(p *probe) {
			for _, quota := range []int64{5, 40} {
				l := strict(quota, 200*time.Millisecond)
				key := newKey()
				var events []moment
				for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
					before := time.Now()
					if ok, _, _ := p.take(charge(key, l)); ok {
						events = append(events, moment{before, time.Now()})
					} else {
						time.Sleep(time.Millisecond)
					}
				}
				if int64(len(events)) <= quota {
					p.errorf("%d were admitted in more than two windows, not more than %d: nothing comes back", len(events), quota)
				}
				for i := int(quota); i < len(events); i++ {
					// The store decided between before and after.
					if apart := events[i].after.Sub(events[i-int(quota)].before); apart < l.Window {
						p.errorf("%v: %d were admitted within %v", l, quota+1, apart)
						break
					}
				}
			}
		},
	},
	{
		name:   "a smooth limit admits its burst and then its rate",
		reason: "servers behind the limit are built for its rate.",
		demand: func(p *probe) {
			l := smooth(100, 5, time.Second)
			key := newKey()
			begin := time.Now()
			in := 0
			for time.Since(begin) < 300*time.Millisecond {
				if ok, _, _ := p.take(charge(key, l)); ok {
					in++
				}
				time.Sleep(500 * time.Microsecond)
			}
			most := 5 + int(time.Since(begin).Milliseconds()/10) + 1
			if in > most {
				p.errorf("%d were admitted instead of at most %d", in, most)
			}
			if in < 10 {
				p.errorf("%d were admitted in 300 ms, not more than the burst of 5: nothing comes back", in)
			}
		},
	},
	{
		name:   "after RetryAfter there is room",
		reason: "clients wait for RetryAfter, and are refused again if it was too short.",
		demand: func(p *probe) {
			for _, l := range []ratelimit.Limit{strict(3, 100*time.Millisecond), strict(20, 100*time.Millisecond), smooth(50, 3, time.Second)} {
				key := newKey()
				var states []ratelimit.State
				for ok := true; ok; { // checks the refusal itself: a slow store may admit the next charge
					ok, states, _ = p.take(charge(key, l))
				}
				if wait := states[0].RetryAfter; wait <= 0 || wait > 111*time.Millisecond {
					p.errorf("%v: RetryAfter is %v", l, wait)
					continue
				}
				time.Sleep(states[0].RetryAfter)
				p.admitted(fmt.Sprintf("%v: RetryAfter has passed", l), charge(key, l))
			}
		},
	},
	{
		name:   "Remaining is exact",
		reason: "clients adjust their rate to it.",
		demand: func(p *probe) {
			for _, l := range each(3) {
				key := newKey()
				for want := int64(2); want >= 0; want-- {
					if _, states, _ := p.take(charge(key, l)); states[0].Remaining != want {
						p.errorf("%v: %d remain instead of %d", l, states[0].Remaining, want)
					}
				}
				if states := p.refused("it is used up", charge(key, l)); states[0].Remaining != 0 {
					p.errorf("%v: %d remain when it is used up", l, states[0].Remaining)
				}
			}
		},
	},
	{
		name:   "all or nothing",
		reason: "a request that the second limit refuses must not use up the first one.",
		demand: func(p *probe) {
			for _, l := range each(4) {
				wide, narrow := newKey(), newKey()
				tight := strict(1, time.Hour)
				tight.Name = "tight"
				p.admitted("there is room in both", charge(wide, l), charge(narrow, tight))
				for i := range 10 {
					bill := []ratelimit.Charge{charge(wide, l), charge(narrow, tight)}
					roomy, full := i%2, 1-i%2
					if roomy == 1 {
						slices.Reverse(bill) // in either order
					}
					states := p.refused("the tight limit is used up", bill...)
					if states[roomy].Refused || !states[full].Refused {
						p.errorf("refused by the roomy limit: %t, by the tight one: %t, instead of by the tight one", states[roomy].Refused, states[full].Refused)
					}
					if states[roomy].Remaining != 3 {
						p.errorf("%v: %d remain after a refusal instead of 3", l, states[roomy].Remaining)
					}
				}
				for range 3 {
					p.admitted("refused requests have cost nothing", charge(wide, l))
				}
				p.refused("it is used up", charge(wide, l))
			}
		},
	},
	{
		name:   "keys and limits are independent",
		reason: "a caller must not use up the quota of another caller, nor a limit per minute the limit per hour.",
		demand: func(p *probe) {
			for _, l := range each(1) {
				key := newKey()
				p.admitted("it is the first", charge(key, l))
				p.refused("it is used up", charge(key, l))
				p.admitted("another key", charge(newKey(), l))
				almost := key
				almost[15] ^= 0x80
				p.admitted("a key that differs in one bit of the end", charge(almost, l))
				almost = key
				almost[0] ^= 1
				p.admitted("a key that differs in one bit of the beginning", charge(almost, l))
				other := l
				other.Name = "another"
				p.admitted("a limit of another name", charge(key, other))
				other = l
				other.Window /= 2
				p.admitted("a limit of another window", charge(key, other))
			}
		},
	},
	{
		name:   "cost counts",
		reason: "an export that costs fifty must use up fifty.",
		demand: func(p *probe) {
			for _, l := range append(each(10), each(100)...) {
				key := newKey()
				c := charge(key, l)
				c.Cost = l.Max() - 3
				p.admitted("it fits", c)
				c.Cost = 4
				p.refused("3 are left", c)
				c.Cost = 3
				p.admitted("3 are left", c)
				c.Cost = 1
				p.refused("nothing is left", c)
			}
		},
	},
	{
		name:   "a cost that can never fit is an error",
		reason: "waiting does not help, so it is no refusal, and it must not be charged in part.",
		demand: func(p *probe) {
			for _, l := range each(5) {
				key := newKey()
				c := charge(key, l)
				c.Cost = 6
				if _, _, err := p.store.Take(p.ctx, []ratelimit.Charge{c}); !errors.Is(err, ratelimit.ErrCost) {
					p.errorf("%v: Take of a cost of 6 returned %v instead of ErrCost", l, err)
				}
				c.Cost = 5
				p.admitted("what can never fit costs nothing", c)
			}
		},
	},
	{
		name:   "wrong charges are errors and cost nothing",
		reason: "a cost below 1 gives back the charges of other requests.",
		demand: func(p *probe) {
			key := newKey()
			good := charge(key, strict(1, time.Hour))
			bad := func(change func(*ratelimit.Charge)) ratelimit.Charge {
				c := good
				c.Key = newKey()
				change(&c)
				return c
			}
			for name, charges := range map[string][]ratelimit.Charge{
				"no charge":           {},
				"a cost of 0":         {good, bad(func(c *ratelimit.Charge) { c.Cost = 0 })},
				"a cost of -1":        {good, bad(func(c *ratelimit.Charge) { c.Cost = -1 })},
				"a quota of 0":        {good, bad(func(c *ratelimit.Charge) { c.Limit.Quota = 0 })},
				"a window of 0":       {good, bad(func(c *ratelimit.Charge) { c.Limit.Window = 0 })},
				"no name":             {good, bad(func(c *ratelimit.Charge) { c.Limit.Name = "" })},
				"a Concurrent limit":  {good, bad(func(c *ratelimit.Charge) { c.Limit = ratelimit.InFlight(1); c.Limit.Name = "in flight" })},
				"an unknown kind":     {good, bad(func(c *ratelimit.Charge) { c.Limit.Kind = 9 })},
				"the same one twice":  {good, good},
				"more than MaxCharge": slices.Repeat([]ratelimit.Charge{good}, ratelimit.MaxCharges+1),
			} {
				if _, _, err := p.store.Take(p.ctx, charges); err == nil {
					p.errorf("Take with %s is no error", name)
				}
			}
			p.admitted("none of them was charged", good)
		},
	},
	{
		name:   "a refund gives back what was charged",
		reason: "successful sign-ins, and requests that the server failed, are free.",
		demand: func(p *probe) {
			for _, l := range append(each(2), each(20)...) {
				key := newKey()
				c := charge(key, l)
				c.Cost = l.Max() / 2
				receipt := p.admitted("it is the first", c)
				p.admitted("there is room for two", c)
				p.refused("it is used up", c)
				p.refund(receipt)
				if l.Kind == ratelimit.Smooth {
					// A moment has come back by itself.
					c.Limit.Quota, c.Limit.Window = l.Quota, l.Window
					c.Cost = max(1, c.Cost-1)
					if ok, states, _ := p.take(c); !ok && states[0].RetryAfter > time.Second {
						p.errorf("%v: after a refund there is room in %v only", l, states[0].RetryAfter)
					}
					continue
				}
				p.admitted("it was given back", c)
				p.refused("only one was given back", c)
			}
		},
	},
	{
		name:   "a refund happens once",
		reason: "a client that gets two refunds for a request has no limit.",
		demand: func(p *probe) {
			for _, l := range []ratelimit.Limit{strict(5, time.Hour), strict(50, time.Hour)} {
				key := newKey()
				var receipts []ratelimit.Receipt
				for range l.Quota {
					receipts = append(receipts, p.admitted("there is room", charge(key, l)))
				}
				race(100, func(int) { p.refund(receipts[0]) })
				p.admitted("one was given back", charge(key, l))
				p.refused("one was given back, a hundred times", charge(key, l))
			}
			p.refund(ratelimit.Receipt{})
		},
	},
	{
		name:   "a refund after the window gives nothing back",
		reason: "expired charges must not be given back again.",
		demand: func(p *probe) {
			for _, l := range []ratelimit.Limit{strict(2, 50*time.Millisecond), strict(20, 50*time.Millisecond), smooth(40, 2, time.Second)} {
				key := newKey()
				c := charge(key, l)
				c.Cost = l.Max()
				old := p.admitted("it is the first", c)
				time.Sleep(70 * time.Millisecond)
				again := l
				again.Window, again.Quota = l.Window, l.Quota
				p.admitted("the window has passed", c)
				p.refund(old)
				if ok, _, _ := p.take(c); ok {
					p.errorf("%v: a refund of what had come back was given", l)
				}
			}
		},
	},
	{
		name:   "a refund of several limits is one refund",
		reason: "charges are made and given back as a whole.",
		demand: func(p *probe) {
			key := newKey()
			bill := []ratelimit.Charge{charge(key, strict(1, time.Hour)), charge(key, strict(1, time.Minute))}
			p.refund(p.admitted("it is the first", bill...))
			p.refund(p.admitted("both were given back", bill...))
			p.admitted("both were given back again", bill...)
			p.refused("both are used up", bill...)
		},
	},
	{
		name:   "nothing is charged for a request that was refused",
		reason: "a refused client that keeps trying would never be admitted again.",
		demand: func(p *probe) {
			l := strict(2, 150*time.Millisecond)
			key := newKey()
			p.admitted("it is the first", charge(key, l))
			p.admitted("it is the second", charge(key, l))
			begin := time.Now()
			for time.Since(begin) < 400*time.Millisecond {
				if ok, _, _ := p.take(charge(key, l)); ok {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			p.errorf("still refused after %v in a window of %v", time.Since(begin), l.Window)
		},
	},
	{
		name:   "a cancelled context charges nothing",
		reason: "the client is gone.",
		demand: func(p *probe) {
			ctx, cancel := context.WithCancel(p.ctx)
			cancel()
			for _, l := range each(1) {
				key := newKey()
				for range 5 {
					if _, _, err := p.store.Take(ctx, []ratelimit.Charge{charge(key, l)}); err == nil {
						p.errorf("%v: Take with a context that is over is no error", l)
					}
				}
				p.admitted("nothing was charged", charge(key, l))
			}
		},
	},
	{
		name:   "a quota may change while keys live",
		reason: "a caller that changes plans keeps its charges.",
		demand: func(p *probe) {
			for _, tt := range [][2]int64{{5, 8}, {5, 50}, {50, 80}, {50, 100}} {
				small, large := strict(tt[0], time.Hour), strict(tt[1], time.Hour)
				key := newKey()
				for range small.Quota {
					p.admitted("there is room", charge(key, small))
				}
				p.refused("it is used up", charge(key, small))
				for range large.Quota - small.Quota {
					p.admitted(fmt.Sprintf("the quota is %d now", large.Quota), charge(key, large))
				}
				p.refused("the larger quota is used up", charge(key, large))
				p.refused("and so the smaller", charge(key, small))
			}
			shrunk := newKey()
			for range 30 {
				p.admitted("there is room", charge(shrunk, strict(40, time.Hour)))
			}
			p.refused("30 of 5 are spent", charge(shrunk, strict(5, time.Hour)))
			for range 10 {
				p.admitted("30 of 40 are spent", charge(shrunk, strict(40, time.Hour)))
			}
			p.refused("40 of 40 are spent", charge(shrunk, strict(40, time.Hour)))
		},
	},
	{
		name:   "Take does not keep or change its charges",
		reason: "charges are built in memory that the next request uses again.",
		demand: func(p *probe) {
			key := newKey()
			bill := []ratelimit.Charge{charge(key, strict(1, time.Hour))}
			kept := slices.Clone(bill)
			receipt := p.admitted("it is the first", bill...)
			if !slices.EqualFunc(bill, kept, func(a, b ratelimit.Charge) bool { return a == b }) {
				p.errorf("Take has changed its charges")
			}
			bill[0].Key = newKey()
			p.refund(receipt)
			p.admitted("it was given back, although the slice holds something else by now", kept...)
		},
	},
}

// A moment is when a store decided: between before and after.
type moment struct{ before, after time.Time }
