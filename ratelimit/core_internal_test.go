package ratelimit

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// The core is tested at explicit times, beside an oracle that keeps every
// event. Steps are counted over all cases of a test; -short takes fewer.

// steps returns how many steps a property run of n has.
func steps(n int) int {
	if testing.Short() || raceEnabled {
		return n / 20
	}
	return n
}

// keyOf returns the key of a number. It is hashed as keys of requests are, for
// numbers that are spread evenly would fill all sets alike.
func keyOf(i int) Key {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return newSipKey([]byte{1, 7: 0, 8: 2, 15: 0}).sum(b[:])
}

// An event is an admitted charge.
type event struct {
	at   int64
	cost int64
	gone bool // refunded
}

// oracle keeps all events of the keys that still may matter.
type oracle struct {
	events map[int][]*event
	keep   int64
}

func (o *oracle) add(key int, e *event) {
	list := o.events[key]
	for len(list) > 0 && list[0].at <= e.at-o.keep {
		list = list[1:]
	}
	o.events[key] = append(list, e)
}

// spent returns what key has spent in (after, now].
func (o *oracle) spent(key int, after int64) (sum int64) {
	list := o.events[key]
	for i := len(list) - 1; i >= 0 && list[i].at > after; i-- {
		if !list[i].gone {
			sum += list[i].cost
		}
	}
	return sum
}

// conforms reports whether the events of key obey burst + t/one, where e is the
// last. That is so for all intervals if it is so for those that end with e.
func (o *oracle) conforms(key int, burst, one int64) bool {
	list := o.events[key]
	now := list[len(list)-1].at
	var sum int64
	for i := len(list) - 1; i >= 0; i-- {
		if !list[i].gone {
			sum += list[i].cost
			if (sum-burst)*one > now-list[i].at {
				return false
			}
		}
	}
	return true
}

// A step of time: mostly short, sometimes none, to the edge of a sub-window or
// of the window, or beyond it.
func wait(r *rand.Rand, window int64) int64 {
	switch r.IntN(40) {
	case 0:
		return window
	case 1:
		return window - 1
	case 2:
		return window/parts - r.Int64N(2)
	case 3:
		return r.Int64N(window + window/5)
	case 4, 5, 6, 7, 8, 9:
		return r.Int64N(window/parts + 1)
	case 10, 11, 12, 13, 14, 15, 16:
		return 0
	}
	return r.Int64N(window/200 + 1)
}

// TestStrictNeverAdmitsMoreThanTheQuotaInAnyWindow, with and without saturation: whatever keys
// come in whatever order, with evictions, refunds, costs and a quota that
// changes, no key gets more than the quota in any window.
func TestStrictNeverAdmitsMoreThanTheQuotaInAnyWindow(t *testing.T) {
	for _, tt := range []struct {
		name    string
		quotas  []int64
		keys    int
		sets    int
		refunds bool
		maxCost int64
	}{
		{"exact times, one key", []int64{5}, 1, 1, false, 1},
		{"exact times, refunds and costs", []int64{10}, 3, 1, true, 4},
		{"counters, one key", []int64{100}, 1, 1, false, 1},
		{"counters, refunds and costs", []int64{40}, 3, 1, true, 7},
		{"exact times, more keys than places", []int64{5}, 40, 2, false, 1},
		{"exact times, more keys than places, refunds", []int64{6}, 40, 2, true, 3},
		{"counters, more keys than places", []int64{30}, 40, 2, false, 1},
		{"counters, more keys than places, refunds", []int64{25}, 40, 2, true, 3},
		{"L16 a quota that changes, with and without exact times", []int64{5, 8, 20, 60}, 20, 1, false, 2},
		{"L16 a quota that changes, refunds", []int64{4, 10, 11, 50}, 20, 1, true, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(len(tt.name))))
			window := int64(time.Second) + 7 // not even
			m := &Memory{Bytes: tt.sets * ringSetBytes}
			o := &oracle{events: map[int][]*event{}, keep: 3 * window}
			limit := Limit{Name: "l", Window: time.Duration(window)}
			type open struct {
				key    int
				charge Charge
				event  *event
			}
			var pending []open
			now, admitted := int64(0), 0
			zipf := rand.NewZipf(r, 1.2, 1, uint64(tt.keys-1)+1)
			for range steps(400_000) {
				now += wait(r, window)
				key := int(zipf.Uint64()) % tt.keys
				limit.Quota = tt.quotas[r.IntN(len(tt.quotas))]
				charges := []Charge{{Key: keyOf(key), Limit: limit, Cost: 1 + r.Int64N(min(tt.maxCost, limit.Quota))}}
				var states [1]State
				ok, err := m.take(now, charges, states[:])
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					admitted++
					e := &event{at: now, cost: charges[0].Cost}
					o.add(key, e)
					if tt.refunds {
						pending = append(pending, open{key, charges[0], e})
					}
					if sum := o.spent(key, now-window); sum > limit.Quota {
						t.Fatalf("at %d key %d has spent %d in a window, want at most %d", now, key, sum, limit.Quota)
					}
				}
				if len(pending) > 0 && r.IntN(3) == 0 {
					i := r.IntN(len(pending))
					p := pending[i]
					pending = append(pending[:i], pending[i+1:]...)
					p.event.gone = true
					m.giveBack(now, p.event.at, []Charge{p.charge})
				}
				if len(pending) > 50 {
					pending = pending[25:]
				}
			}
			if admitted < steps(400_000)/500 {
				t.Errorf("only %d were admitted: this shows nothing", admitted)
			}
		})
	}
}

func TestSmoothNeverAdmitsMoreThanItsRate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		quota   int64
		burst   int64
		keys    int
		sets    int
		refunds bool
		maxCost int64
	}{
		{"one key", 50, 5, 1, 1, false, 1},
		{"costs and refunds", 50, 12, 3, 1, true, 5},
		{"burst of one", 20, 1, 2, 1, true, 1},
		{"more keys than places", 50, 5, 40, 2, false, 1},
		{"more keys than places, refunds", 40, 9, 40, 2, true, 3},
		{"a quota that does not divide the window", 7, 3, 30, 1, true, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(2, uint64(len(tt.name))))
			limit := Limit{Name: "l", Kind: Smooth, Quota: tt.quota, Burst: tt.burst, Window: time.Second}
			one := interval(&limit)
			m := &Memory{Bytes: tt.sets * arrivalSetBytes}
			o := &oracle{events: map[int][]*event{}, keep: one * 60}
			type open struct {
				key    int
				charge Charge
				event  *event
			}
			var pending []open
			now, admitted := int64(0), 0
			zipf := rand.NewZipf(r, 1.2, 1, uint64(tt.keys-1)+1)
			for range steps(400_000) {
				now += wait(r, one*4)
				key := int(zipf.Uint64()) % tt.keys
				charges := []Charge{{Key: keyOf(key), Limit: limit, Cost: 1 + r.Int64N(min(tt.maxCost, limit.Burst))}}
				var states [1]State
				ok, err := m.take(now, charges, states[:])
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					admitted++
					e := &event{at: now, cost: charges[0].Cost}
					o.add(key, e)
					if tt.refunds {
						pending = append(pending, open{key, charges[0], e})
					}
					if !o.conforms(key, tt.burst, one) {
						t.Fatalf("at %d key %d got more than %d + t/%d", now, key, tt.burst, one)
					}
				}
				if len(pending) > 0 && r.IntN(3) == 0 {
					i := r.IntN(len(pending))
					p := pending[i]
					pending = append(pending[:i], pending[i+1:]...)
					p.event.gone = true
					m.giveBack(now, p.event.at, []Charge{p.charge})
				}
				if len(pending) > 50 {
					pending = pending[25:]
				}
			}
			if admitted < steps(400_000)/500 {
				t.Errorf("only %d were admitted: this shows nothing", admitted)
			}
		})
	}
}

// TestStrictIsNotTooStrict: up to ten, exactly what the oracle allows is
// admitted; beyond, what it allows of 1.1 windows is. RetryAfter is the first
// moment at which the charge fits, Reset the first at which Remaining grows.
func TestStrictIsNotTooStrict(t *testing.T) {
	for _, quota := range []int64{1, 5, 10, 11, 100} {
		t.Run(fmt.Sprint(quota), func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, uint64(quota)))
			window := int64(time.Second)
			limit := Limit{Name: "l", Quota: quota, Window: time.Second}
			m := &Memory{Bytes: ringSetBytes}
			o := &oracle{events: map[int][]*event{}, keep: 3 * window}
			now := int64(0)
			for range steps(10_000) {
				now += wait(r, window)
				now -= now % 1000 // whole microseconds, as the answers are
				charges := []Charge{{Key: keyOf(1), Limit: limit, Cost: 1 + r.Int64N(min(3, quota))}}
				cost := charges[0].Cost
				var states [1]State
				spent := o.spent(1, now-window)
				ok, _ := m.take(now, charges, states[:])
				if quota <= exactUnits && ok != (spent+cost <= quota) {
					t.Fatalf("at %d %d of %d is spent, a charge of %d was admitted: %t", now, spent, quota, cost, ok)
				}
				if wider := o.spent(1, now-window-window/parts); !ok && wider+cost <= quota {
					t.Fatalf("at %d %d of %d is spent in 1.1 windows, and a charge of %d was refused", now, wider, quota, cost)
				}
				state := states[0]
				if ok {
					o.add(1, &event{at: now, cost: cost})
					spent += cost
					if quota <= exactUnits && state.Remaining != quota-spent {
						t.Fatalf("%d remain of %d, %d spent", state.Remaining, quota, spent)
					}
				} else {
					try := func(wait time.Duration) bool {
						probe := m.copy(ringSetBytes)
						var s [1]State
						ok, _ := probe.take(now+int64(wait), charges, s[:])
						return ok
					}
					if !try(state.RetryAfter) {
						t.Fatalf("at %d a charge of %d does not fit after %v", now, cost, state.RetryAfter)
					}
					if try(state.RetryAfter - time.Microsecond) {
						t.Fatalf("at %d a charge of %d fits before %v", now, cost, state.RetryAfter)
					}
				}
				if grown := m.copy(ringSetBytes).remaining(now+int64(state.Reset), charges[0]); grown <= state.Remaining {
					t.Fatalf("%d remain, and %d after a Reset of %v", state.Remaining, grown, state.Reset)
				}
				if grown := m.copy(ringSetBytes).remaining(now+int64(state.Reset)-1000, charges[0]); grown > state.Remaining {
					t.Fatalf("%d remain, and %d before the Reset of %v", state.Remaining, grown, state.Reset)
				}
			}
		})
	}
}

func TestSmoothIsNotTooStrict(t *testing.T) {
	limit := Limit{Name: "l", Kind: Smooth, Quota: 50, Burst: 5, Window: time.Second}
	r := rand.New(rand.NewPCG(4, 4))
	m := &Memory{Bytes: arrivalSetBytes}
	one := interval(&limit)
	now, tat := int64(0), int64(0)
	for range steps(30_000) {
		now += wait(r, 4*one)
		now -= now % 1000
		c := Charge{Key: keyOf(1), Limit: limit, Cost: 1 + r.Int64N(3)}
		want := max(tat, now)+c.Cost*one-now <= limit.Burst*one
		var states [1]State
		ok, _ := m.take(now, []Charge{c}, states[:])
		if ok != want {
			t.Fatalf("at %d a charge of %d was admitted: %t, want %t", now, c.Cost, ok, want)
		}
		if ok {
			tat = max(tat, now) + c.Cost*one
		} else {
			for _, late := range []time.Duration{0, -time.Microsecond} {
				var s [1]State
				if ok, _ := m.copy(arrivalSetBytes).take(now+int64(states[0].RetryAfter+late), []Charge{c}, s[:]); ok != (late == 0) {
					t.Fatalf("at %d a charge of %d fits %v after its RetryAfter: %t", now, c.Cost, late, ok)
				}
			}
		}
		left := states[0].Remaining
		if got := (limit.Burst*one - max(0, tat-now)) / one; left != got {
			t.Fatalf("%d remain, want %d", left, got)
		}
		if states[0].Reset > 0 {
			grown := m.copy(arrivalSetBytes).remaining(now+int64(states[0].Reset), c)
			before := m.copy(arrivalSetBytes).remaining(now+int64(states[0].Reset)-1000, c)
			if grown != left+1 || before != left {
				t.Fatalf("%d remain, %d at the Reset and %d before", left, grown, before)
			}
		}
	}
}

// copy returns a Memory with a table of one set, the same as m's.
func (m *Memory) copy(bytes int) *Memory {
	c := &Memory{Bytes: bytes}
	old := m.list()[0]
	t := newTable(old.limit, bytes)
	copy(t.rings, old.rings)
	copy(t.arrivals, old.arrivals)
	c.tables.Store(&[]*table{t})
	return c
}

// remaining returns what could be spent at a moment.
func (m *Memory) remaining(now int64, c Charge) int64 {
	t := m.list()[0]
	c.Cost = 0
	state, _ := t.decide(t.setOf(&c.Key), &c, now)
	return state.Remaining
}

// TestAClockThatGoesBackAdmitsNoMore: what the clock says may be older than what somebody else
// read; nothing is reset by it, and nothing blocked for longer.
func TestAClockThatGoesBackAdmitsNoMore(t *testing.T) {
	for _, quota := range []int64{5, 50} {
		m := &Memory{Bytes: ringSetBytes}
		c := []Charge{{Key: keyOf(1), Limit: Limit{Name: "l", Quota: quota, Window: time.Second}, Cost: 1}}
		var s [1]State
		start := int64(time.Hour)
		for range quota {
			if ok, _ := m.take(start, c, s[:]); !ok {
				t.Fatal("refused within the quota")
			}
		}
		for _, back := range []time.Duration{time.Microsecond, time.Second, time.Minute, time.Hour} {
			if ok, _ := m.take(start-int64(back), c, s[:]); ok {
				t.Errorf("quota %d: a clock that is %v behind resets the window", quota, back)
			}
		}
		if ok, _ := m.take(start+int64(1100*time.Millisecond), c, s[:]); !ok {
			t.Errorf("quota %d: blocked for longer than 1.1 windows", quota)
		}
	}
}

// TestSipHash has the vectors of the reference implementation's
// vectors_sip128, whose key is 00…0f and whose input is the first n of 00, 01, ….
func TestSipHash(t *testing.T) {
	var key, input [16]byte
	for i := range key {
		key[i], input[i] = byte(i), byte(i)
	}
	for n, want := range []string{
		"a3817f04ba25a8e66df67214c7550293",
		"da87c1d86b99af44347659119b22fc45",
		"8177228da4a45dc7fca38bdef60affe4",
		"9c70b60c5267a94e5f33b6b02985ed51",
	} {
		if got := fmt.Sprintf("%x", newSipKey(key[:]).sum(input[:n])); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// TestMaxLimits: a table for each limit, and an error for one too many.
func TestMaxLimits(t *testing.T) {
	m := &Memory{Bytes: 1, MaxLimits: 2}
	var states [1]State
	for i, want := range []bool{true, true, false, true} {
		l := Limit{Name: string(rune('a' + i%3)), Quota: 5, Window: time.Second}
		ok, err := m.take(0, []Charge{{Limit: l, Cost: 1}}, states[:])
		if ok != want || (err == nil) != want {
			t.Errorf("limit %q: %t, %v", l.Name, ok, err)
		}
	}
}

// TestSmoothIsTheTokenBucketOfXTime: golang.org/x/time/rate, told the same
// moments, admits the same charges.
func TestSmoothIsTheTokenBucketOfXTime(t *testing.T) {
	limit := Limit{Name: "l", Kind: Smooth, Quota: 50, Burst: 7, Window: time.Second}
	m := &Memory{Bytes: arrivalSetBytes}
	peer := rate.NewLimiter(50, 7)
	r := rand.New(rand.NewPCG(5, 5))
	begin := time.Unix(1_000_000, 0)
	now, admitted := int64(0), 0
	var states [1]State
	for range steps(1_000_000) {
		now += 1 + wait(r, 4*interval(&limit)) + r.Int64N(1000)
		cost := 1 + r.Int64N(4)
		got, _ := m.take(now, []Charge{{Key: keyOf(1), Limit: limit, Cost: cost}}, states[:])
		if want := peer.AllowN(begin.Add(time.Duration(now)), int(cost)); got != want {
			t.Fatalf("at %d a charge of %d is admitted: %t, by x/time/rate: %t", now, cost, got, want)
		}
		if got {
			admitted++
		}
	}
	if admitted < steps(1_000_000)/10 {
		t.Errorf("only %d were admitted", admitted)
	}
}
