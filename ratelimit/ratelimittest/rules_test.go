package ratelimittest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// naive is a Store by the letter of the rules: a list of what was charged, read
// from the start under one lock. It shows that the suite accepts something else
// than Memory, and is what the faults below are planted into.
type naive struct {
	mu    sync.Mutex
	begin time.Time
	list  []entry
	faults
}

// faults are what may be wrong with a naive Store.
type faults struct {
	unlocked, fixedWindow, chargesRefused, chargesInPart, refundsTwice, refundsLate, forgetsCost, noCancel bool
	noErrCost, noValidate, byName, ignoresRefund, waitsTooShort, quotaKept, smoothIsStrict, aliases        bool
	neverRecovers, wrongRemaining, lastDecides                                                             bool
}

type entry struct {
	ratelimit.Charge
	at   time.Duration
	gone bool
}

func (n *naive) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	if !n.noCancel && ctx.Err() != nil {
		return nil, ratelimit.Receipt{}, ctx.Err()
	}
	if err := ratelimit.Validate(charges); err != nil && !n.noValidate {
		if !n.noErrCost || !errors.Is(err, ratelimit.ErrCost) {
			return nil, ratelimit.Receipt{}, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.begin.IsZero() {
		n.begin = time.Now()
	}
	now := time.Since(n.begin)
	states := make([]ratelimit.State, len(charges))
	ok := true
	for i, c := range charges {
		states[i] = n.state(c, now)
		ok = (ok || n.lastDecides) && !states[i].Refused
	}
	if n.unlocked {
		n.mu.Unlock()
		time.Sleep(time.Millisecond)
		n.mu.Lock()
	}
	for i, c := range charges {
		if ok || n.chargesRefused && c.Limit.Kind == ratelimit.Strict || n.chargesInPart && !states[i].Refused {
			if n.forgetsCost {
				c.Cost = 1
			}
			n.list = append(n.list, entry{Charge: c, at: now})
			if ok {
				states[i].Remaining -= charges[i].Cost
			}
		}
		if n.wrongRemaining {
			states[i].Remaining = max(0, states[i].Remaining-1)
		}
	}
	if !ok {
		return states, ratelimit.Receipt{}, nil
	}
	if n.aliases {
		for i := range charges {
			charges[i].Cost++
		}
	}
	return states, ratelimit.NewReceipt(now, charges), nil
}

func (n *naive) state(c ratelimit.Charge, now time.Duration) ratelimit.State {
	l := c.Limit
	kind := l.Kind
	if n.smoothIsStrict && kind == ratelimit.Smooth {
		kind = ratelimit.Strict
	}
	var used int64
	var tat time.Duration
	one := (l.Window + time.Duration(max(1, l.Quota)) - 1) / time.Duration(max(1, l.Quota))
	window := l.Window
	if n.neverRecovers {
		window = time.Hour
	}
	first := time.Duration(-1)
	for _, e := range n.list {
		same := e.Key == c.Key && e.Limit.Kind == l.Kind && e.Limit.Window == l.Window && e.Limit.Name == l.Name
		if n.byName {
			same = e.Key == c.Key && e.Limit.Kind == l.Kind && e.Limit.Window == l.Window
		}
		if n.quotaKept {
			same = same && e.Limit.Quota == l.Quota
		}
		if !same || e.gone {
			continue
		}
		switch kind {
		case ratelimit.Smooth:
			tat = max(tat, e.at) + time.Duration(e.Cost)*one
		default:
			live := e.at > now-window
			if n.fixedWindow {
				live = e.at/window == now/window
			}
			if live {
				used += e.Cost
				if first < 0 {
					first = e.at
				}
			}
		}
	}
	s := ratelimit.State{Remaining: max(0, l.Quota-used)}
	switch {
	case kind == ratelimit.Smooth:
		tat = max(tat, now)
		s.Remaining = int64((time.Duration(l.Burst)*one - (tat - now)) / one)
		if over := tat + time.Duration(c.Cost)*one - now - time.Duration(l.Burst)*one; over > 0 {
			s.Refused, s.RetryAfter = true, over
		}
	case used+c.Cost > l.Quota:
		s.Refused = true
		if kind == ratelimit.Strict {
			s.RetryAfter = max(1, first+window-now)
			if n.fixedWindow {
				s.RetryAfter = window - now%window
			}
		}
	}
	if s.Refused && n.waitsTooShort {
		s.RetryAfter = max(1, s.RetryAfter/2)
	}
	return s
}

func (n *naive) Refund(_ context.Context, r ratelimit.Receipt) error {
	at, charges := r.Use()
	if n.ignoresRefund {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Since(n.begin)
	for _, c := range charges {
		late := at+c.Limit.Window <= now || c.Limit.Kind == ratelimit.Smooth && at+c.Limit.Window*time.Duration(c.Cost)/time.Duration(c.Limit.Quota) <= now
		if late && !n.refundsLate {
			continue
		}
		times := 1
		if n.refundsTwice {
			times = 2
		}
		for i := len(n.list) - 1; i >= 0 && times > 0; i-- {
			if e := &n.list[i]; e.Key == c.Key && e.Limit.Name == c.Limit.Name && !e.gone && (e.at == at || n.refundsTwice || n.refundsLate) {
				e.gone = true
				times--
			}
		}
	}
	return nil
}

func TestNaive(t *testing.T) {
	Run(t, func(*testing.T) ratelimit.Store { return new(naive) })
}

// TestFaults: each fault breaks the rule that is there for it.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plant faults
		rule  string // a part of its name
	}{
		{"it decides and charges in two steps", faults{unlocked: true}, "a thousand concurrent"},
		{"its windows are fixed", faults{fixedWindow: true}, "no window has more"},
		{"it charges what it refuses", faults{chargesRefused: true}, "nothing is charged for a request that was refused"},
		{"it charges in part", faults{chargesInPart: true}, "all or nothing"},
		{"it asks the last limit alone", faults{lastDecides: true}, "all or nothing"},
		{"it refunds twice", faults{refundsTwice: true}, "a refund"},
		{"it refunds what has come back", faults{refundsLate: true}, "a refund after the window"},
		{"it refunds nothing", faults{ignoresRefund: true}, "a refund gives back"},
		{"it ignores costs", faults{forgetsCost: true}, "cost counts"},
		{"it ignores the context", faults{noCancel: true}, "a cancelled context"},
		{"it refuses what can never fit like any other", faults{noErrCost: true}, "a cost that can never fit"},
		{"it takes anything", faults{noValidate: true}, "wrong charges"},
		{"it ignores the name", faults{byName: true}, "keys and limits are independent"},
		{"it promises room too early", faults{waitsTooShort: true}, "after RetryAfter"},
		{"it forgets with a new quota", faults{quotaKept: true}, "a quota may change"},
		{"it changes what it was passed", faults{aliases: true}, "does not keep or change its charges"},
		{"nothing comes back", faults{neverRecovers: true}, "no window has more"},
		{"it tells what remains wrong", faults{wrongRemaining: true}, "Remaining is exact"},
		{"smooth is strict", faults{smoothIsStrict: true}, "a smooth limit admits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, rule := range rules {
				if !strings.Contains(rule.name, tt.rule) {
					continue
				}
				if rule.check(t.Context(), &naive{faults: tt.plant}) != nil {
					return
				}
			}
			t.Errorf("no rule about %q sees it", tt.rule)
		})
	}
}
