package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
)

// A clocked store runs the scripts with a clock that the test sets, in
// microseconds, so that what they decide is checked to the microsecond.
type clocked struct {
	*redisstore.Store
	t   *testing.T
	now int64
}

func openClocked(t *testing.T, eval evalFunc) *clocked {
	t.Helper()
	c := &clocked{t: t, now: time.Now().UnixMicro()}
	c.Store = openRedisLimits(t, func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		const clock = `call('TIME')`
		if !strings.HasSuffix(keys[0], ":ready") && strings.Count(script, clock) != 1 {
			return nil, fmt.Errorf("the script does not read the clock once")
		}
		at := fmt.Sprintf("{'%d', '%06d'}", c.now/1e6, c.now%1e6)
		// Keys still expire by the clock of the server, which is another now.
		return eval(ctx, strings.NewReplacer(clock, at, `'PX', `, `'PX', 3600000 + `).Replace(script), keys, args...)
	}, redisstore.Config{})
	return c
}

func (c *clocked) take(key ratelimit.Key, l ratelimit.Limit, cost int64) (ratelimit.State, ratelimit.Receipt) {
	c.t.Helper()
	states, receipt, err := c.Take(c.t.Context(), []ratelimit.Charge{{Key: key, Limit: l, Cost: cost}})
	if err != nil {
		c.t.Fatal(err)
	}
	return states[0], receipt
}

func (c *clocked) refund(r ratelimit.Receipt) {
	c.t.Helper()
	if err := c.Refund(c.t.Context(), r); err != nil {
		c.t.Fatal(err)
	}
}

// TestLimitsInRedisToTheMicrosecond: whatever is charged, no window has more than
// the quota and no time more than burst and rate; RetryAfter is when the charge
// fits, and a microsecond earlier it does not.
func TestLimitsInRedisToTheMicrosecond(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--appendfsync", "no")
	store := openClocked(t, limitsByGoRedis(redisForLimits(t, server.Addr)))
	type made struct {
		at, cost int64
		receipt  ratelimit.Receipt
	}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		window := time.Duration(2000+r.IntN(100_000)) * time.Microsecond
		l := ratelimit.Limit{Name: "strict", Window: window, Quota: 1 + r.Int64N(10)}
		switch seed % 3 {
		case 1:
			l.Quota = 11 + r.Int64N(50)
		case 2:
			l.Kind, l.Name, l.Quota = ratelimit.Smooth, "smooth", 1+r.Int64N(700)
			l.Burst = 1 + r.Int64N(min(l.Quota, 20))
		}
		key := newLimitKey()
		var all []made
		for range 60 {
			cost := 1 + r.Int64N(min(l.Max(), 4))
			state, receipt := store.take(key, l, cost)
			if state.Refused {
				begin, wait := store.now, state.RetryAfter.Microseconds()
				store.now = begin + wait - 1
				if state, _ = store.take(key, l, cost); !state.Refused || state.RetryAfter != time.Microsecond {
					t.Fatalf("seed %d: %v: a microsecond before RetryAfter, %d µs, it is refused: %t, and again %v", seed, l, wait, state.Refused, state.RetryAfter)
				}
				store.now = begin + wait
				if state, receipt = store.take(key, l, cost); state.Refused {
					t.Fatalf("seed %d: %v: it does not fit after RetryAfter, %d µs", seed, l, wait)
				}
			}
			all = append(all, made{store.now, cost, receipt})
			units := int64(0)
			for i := len(all) - 1; i >= 0; i-- {
				units += all[i].cost
				t0 := store.now - all[i].at
				if l.Kind == ratelimit.Strict && t0 < window.Microseconds() && units > l.Quota ||
					l.Kind == ratelimit.Smooth && units*window.Microseconds() > l.Burst*window.Microseconds()+l.Quota*t0 {
					t.Fatalf("seed %d: %d of %v were admitted within %d µs", seed, units, l, t0)
				}
			}
			if last := all[len(all)-1]; r.IntN(6) == 0 {
				before := state.Remaining
				store.refund(last.receipt)
				all = all[:len(all)-1]
				if after, receipt := store.take(key, l, last.cost); after.Refused || after.Remaining != before {
					t.Fatalf("seed %d: %v: %d remained, and %d after a refund and the same charge", seed, l, before, after.Remaining)
				} else {
					all = append(all, made{store.now, last.cost, receipt})
				}
			}
			store.now += r.Int64N(window.Microseconds() / l.Quota * 2)
		}
		if len(all) < 60 {
			t.Fatalf("seed %d: %d were admitted", seed, len(all))
		}
	}

	t.Run("a small quota is back after one window to the microsecond", func(t *testing.T) {
		l := ratelimit.Limit{Name: "exact", Quota: 10, Window: time.Second}
		key := newLimitKey()
		store.take(key, l, 10)
		if state, _ := store.take(key, l, 1); state.RetryAfter != time.Second {
			t.Errorf("RetryAfter is %v, want a second", state.RetryAfter)
		}
	})
	t.Run("an idle time saves nothing up", func(t *testing.T) {
		l := ratelimit.Limit{Name: "idle", Kind: ratelimit.Smooth, Quota: 10, Burst: 5, Window: time.Second}
		key := newLimitKey()
		store.take(key, l, 5)
		store.now += 3_000_000
		store.take(key, l, 5)
		if state, _ := store.take(key, l, 1); !state.Refused {
			t.Error("six were admitted at once, of a burst of 5")
		}
	})
	t.Run("a refund of a smooth limit gives what has not come back by itself", func(t *testing.T) {
		l := ratelimit.Limit{Name: "refund", Kind: ratelimit.Smooth, Quota: 10, Burst: 5, Window: time.Second}
		key := newLimitKey()
		_, first := store.take(key, l, 5)
		store.now += 250_000
		_, second := store.take(key, l, 2) // 450 ms are owed
		store.refund(first)                // 200 ms are
		if state, _ := store.take(key, l, 1); state.Remaining != 2 {
			t.Errorf("%d remain, want 2", state.Remaining)
		}
		store.now += 250_000
		state, _ := store.take(key, l, 5)
		store.refund(second)
		if after, _ := store.take(key, l, 5); after.RetryAfter != state.RetryAfter {
			t.Errorf("RetryAfter was %v, and is %v after a refund of what has come back", state.RetryAfter, after.RetryAfter)
		}
	})
}

// TestLimitsInRedisAgreeWithAList: whatever is charged and given back, while the
// clock goes on and is set back, the answers are those of a list that is read
// from its beginning to its end each time.
func TestLimitsInRedisAgreeWithAList(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--appendfsync", "no")
	store := openClocked(t, limitsByGoRedis(redisForLimits(t, server.Addr)))
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		window := 1_000 * (1 + r.Int64N(1000))
		l := ratelimit.Limit{Name: "list", Window: time.Duration(window) * time.Microsecond, Quota: 1 + r.Int64N(10)}
		if seed%2 == 1 {
			l.Quota = 11 + r.Int64N(50)
		}
		key, other := newLimitKey(), ratelimit.Limit{Name: "other", Quota: 1000, Window: time.Hour}
		spent := spentList{limit: l}
		type made struct {
			at, cost int64
			receipt  ratelimit.Receipt
		}
		var all []made
		for step := range 150 {
			switch r.IntN(12) {
			case 0:
				store.now -= r.Int64N(3 * window)
			case 1:
				store.now += r.Int64N(3 * window)
			default:
				store.now += r.Int64N(window/l.Quota + 1)
			}
			if len(all) > 0 && r.IntN(5) == 0 {
				i := r.IntN(len(all))
				store.refund(all[i].receipt)
				spent.refund(store.now, all[i].at, all[i].cost)
				all = slices.Delete(all, i, i+1)
				continue
			}
			cost := 1 + r.Int64N(l.Quota)
			bill := []ratelimit.Charge{{Key: key, Limit: l, Cost: cost}}
			if step%2 == 1 { // which the script decides about by another way
				bill = append(bill, ratelimit.Charge{Key: newLimitKey(), Limit: other, Cost: 1})
			}
			states, receipt, err := store.Take(t.Context(), bill)
			if err != nil {
				t.Fatal(err)
			}
			if want := spent.take(store.now, cost); states[0] != want {
				t.Fatalf("seed %d, step %d: %v: a charge of %d is answered %+v, want %+v", seed, step, l, cost, states[0], want)
			} else if !want.Refused {
				all = append(all, made{store.now, cost, receipt})
			}
		}
	}
}

// A spentList is what was spent of a limit, the oldest first: when it is free
// again, and how much.
type spentList struct {
	limit ratelimit.Limit
	list  [][2]int64
}

// part is a tenth of the window.
func (s *spentList) part() int64 { return (s.limit.Window.Microseconds() + 9) / 10 }

// free is when what is spent at a moment is free again: exactly, and by parts.
func (s *spentList) free(at int64) (exact, byParts int64) {
	return at + s.limit.Window.Microseconds(), (at/s.part() + 11) * s.part()
}

func (s *spentList) take(now, cost int64) (state ratelimit.State) {
	var used int64
	var list [][2]int64
	moved := false
	for _, e := range s.list {
		if e[0] > now {
			longest := now + 11*s.part()
			moved = moved || e[0] > longest
			list = append(list, [2]int64{min(e[0], longest), e[1]})
			used += e[1]
		}
	}
	state.Refused = used+cost > s.limit.Quota
	if !state.Refused || moved { // or it would be a write
		s.list = list
	}
	if !state.Refused {
		free, byParts := s.free(now)
		if s.limit.Quota > 10 {
			free = byParts
		}
		at := 0
		for at < len(s.list) && s.list[at][0] <= free {
			at++
		}
		s.list = slices.Insert(s.list, at, [2]int64{free, cost})
		used += cost
	}
	state.Remaining = s.limit.Quota - used
	fit := used + cost - s.limit.Quota
	if !state.Refused {
		list = s.list
	}
	for _, e := range list {
		if state.Reset == 0 {
			state.Reset = time.Duration(e[0]-now) * time.Microsecond
		}
		if state.Refused && fit > 0 {
			state.RetryAfter = time.Duration(e[0]-now) * time.Microsecond
		}
		fit -= e[1]
	}
	return state
}

func (s *spentList) refund(now, at, cost int64) {
	exact, byParts := s.free(at)
	if exact <= now {
		return
	}
	left := cost
	for i := range s.list {
		if e := &s.list[i]; e[0] == exact || e[0] == byParts {
			gone := min(left, e[1])
			e[1], left = e[1]-gone, left-gone
		}
	}
	if left < cost {
		s.list = slices.DeleteFunc(s.list, func(e [2]int64) bool { return e[1] == 0 || e[0] <= now })
	}
}
