package ratelimit

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestAFloodOfKeysGetsNoNewQuota floods a table of 229,376 places within one window: the heap does not grow, who has used up a quota gets nothing back, who
// came regularly is served as before, and so are newcomers, for 43 requests per
// place are less than the quota.
func TestAFloodOfKeysGetsNoNewQuota(t *testing.T) {
	for _, kind := range []Kind{Strict, Smooth} {
		t.Run(kind.String(), func(t *testing.T) {
			flood, span := steps(10_000_000), int64(50*time.Second)
			if kind == Smooth {
				flood, span = steps(2_500_000), int64(3*time.Second) // a unit comes back in 0.6 s
			}
			const quota = 100
			limit := Limit{Name: "l", Kind: kind, Quota: quota, Window: time.Minute}
			if kind == Smooth {
				limit.Burst = quota
			}
			m := &Memory{Bytes: 16 << 20}
			if kind == Smooth {
				m.Bytes = 4 << 20 // as many places
			}
			m.Bytes = steps(m.Bytes)
			var charges [1]Charge
			var states [1]State
			charges[0] = Charge{Limit: limit, Cost: 1}
			at := int64(time.Hour)
			take := func(key int) bool {
				charges[0].Key = keyOf(key)
				ok, err := m.take(at, charges[:], states[:])
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			spent, regular := steps(1_000), steps(2_000)
			for range 2 { // twice, a tenth of a window apart: they came back
				for i := range regular {
					take(spent + i)
				}
				at += int64(7 * time.Second)
			}
			for i := range spent {
				for range quota {
					take(i)
				}
			}

			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			regained, turnedAway, refused := 0, 0, 0
			next := 0
			for i := range flood {
				at += span / int64(flood)
				if !take(1_000_000 + i) {
					refused++
				}
				if i%5_000 == 0 && kind == Strict && take(next%spent) {
					regained++
				}
				if i%500 == 0 {
					if !take(spent + next%regular) {
						turnedAway++
					}
					next++
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if regained != 0 {
				t.Errorf("%d requests of keys that were used up have been admitted", regained)
			}
			if turnedAway != 0 {
				t.Errorf("%d requests of %d regular callers were refused", turnedAway, regular)
			}
			if refused > flood/1000 {
				t.Errorf("%d of %d newcomers were refused, want one in a thousand at most", refused, flood)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
				t.Errorf("the heap has grown by %d bytes", grown)
			}
			s := m.Stats()
			if len(s) != 1 || s[0].Limit != "l" || s[0].Slots < steps(229_300) || s[0].Load < 0.9 || s[0].Evicted == 0 {
				t.Errorf("%+v", s)
			}
			if kind == Smooth {
				// 100 at once and 83 in 50 seconds: none of them at the end.
				for i := range 100 {
					n := 0
					for take(i) {
						n++
					}
					if n > quota {
						t.Errorf("key %d got %d at once", i, n)
					}
				}
			}
		})
	}
}

// TestPlotRefusedNewcomers draws what a flood costs, for the documentation: run
// it with -v. Keys that were live in the window come, one after the other, and
// then newcomers with one request each.
func TestPlotRefusedNewcomers(t *testing.T) {
	loads := []float64{0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 12, 20}
	const quota = 10
	var plot strings.Builder
	fmt.Fprintf(&plot, "\nlive keys per place:%s\n", "   0.25    0.5   0.75      1    1.5      2      3      5      8     12     20")
	for _, each := range []int64{1, 3, 5, 10} {
		fmt.Fprintf(&plot, "each spent %2d of %d   ", each, quota)
		last := 0.0
		for _, load := range loads {
			m := &Memory{Bytes: 1 << 19}
			slots := (1 << 19) / ringSetBytes * ways
			charges := []Charge{{Limit: Limit{Name: "l", Quota: quota, Window: time.Minute}, Cost: 1}}
			var states [1]State
			at := int64(time.Hour)
			for i := range int(load * float64(slots)) {
				charges[0].Key = keyOf(i)
				for range each {
					m.take(at, charges, states[:])
				}
				at += int64(50*time.Second) / int64(load*float64(slots))
			}
			refused := 0
			const newcomers = 2000
			for i := range newcomers {
				charges[0].Key = keyOf(1<<30 + i)
				if ok, _ := m.take(at, charges, states[:]); !ok {
					refused++
				}
			}
			part := float64(refused) / newcomers
			fmt.Fprintf(&plot, "%6.1f%%", 100*part)
			if part < last-0.05 {
				t.Errorf("each %d: %.3f are refused at a load of %g, less than at a lower one", each, part, load)
			}
			last = part
			if load <= 0.25 && part > 0.01 {
				t.Errorf("each %d: %.3f are refused at a load of %g, want hardly any", each, part, load)
			}
		}
		plot.WriteByte('\n')
		if each == quota && last < 0.9 {
			t.Errorf("only %.3f are refused at a load of 20: who pays for the others?", last)
		}
	}
	t.Log(plot.String())
}

// TestEstablishedKeysStay: with six of seven places of a set taken by keys that
// came back, a flood of keys that come once takes its place from itself.
func TestEstablishedKeysStay(t *testing.T) {
	for _, kind := range []Kind{Strict, Smooth} {
		limit := Limit{Name: "l", Kind: kind, Quota: 1000, Window: time.Minute}
		m := &Memory{Bytes: ringSetBytes}
		if kind == Smooth {
			m.Bytes, limit.Burst = arrivalSetBytes, 1000
		}
		c := []Charge{{Limit: limit, Cost: 1}}
		var s [1]State
		at := int64(time.Hour)
		for range 2 {
			for i := range ways - 1 {
				c[0].Key = keyOf(i)
				m.take(at, c, s[:])
			}
			at += int64(10 * time.Second)
		}
		for i := range 10_000 {
			c[0].Key = keyOf(100 + i)
			m.take(at, c, s[:])
		}
		for i := range ways - 1 {
			c[0].Key = keyOf(i)
			if ok, _ := m.take(at, c, s[:]); !ok || s[0].Remaining < 990 {
				t.Errorf("%v: key %d was pushed out: %+v", kind, i, s[0])
			}
		}
		c[0].Key = keyOf(1 << 30)
		if ok, _ := m.take(at, c, s[:]); ok || !s[0].Full {
			t.Errorf("%v: ten thousand others are forgotten: %+v", kind, s[0])
		}
	}
}
