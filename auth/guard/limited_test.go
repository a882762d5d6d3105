package guard_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

func TestLimitedBoundsAFloodAndCountsWhatItLeavesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := new(events)
		hooks := guard.Hooks{Observe: guard.Limited(heard.observe, 100)}
		const flood = 200_000
		refusal := guard.Event{Denial: guard.Forbidden(nil)}
		for i := range flood {
			hooks.EmitContext(t.Context(), refusal)
			if i%4000 == 0 {
				hooks.EmitContext(t.Context(), guard.Event{Name: guard.EventUserCreated})
				hooks.EmitContext(t.Context(), guard.Event{Denial: guard.NotFound(nil)})
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		n := map[guard.EventName]int{}
		var omitted []guard.Event
		for _, e := range heard.all {
			n[e.Name]++
			if e.Name == guard.EventOmitted {
				omitted = append(omitted, e)
			}
		}
		if n[guard.EventAuthzFail] != 100 || n[guard.EventUserCreated] != 50 || n[guard.EventInputFail] != 50 || len(omitted) != 1 {
			t.Fatalf("events %v", n)
		}
		if e := omitted[0]; e.Target != string(guard.EventAuthzFail) || fmt.Sprint(e.Changes) != fmt.Sprintf("[omitted=%d]", flood-100) || e.Principal != nil {
			t.Errorf("%+v", e)
		}
		if line := logged(t, omitted[0]); line["level"] != "WARN" {
			t.Errorf("%v", line)
		}

		// A quiet minute has no line. The next one begins anew.
		*heard = events{}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(heard.all) != 0 {
			t.Errorf("%+v", heard.all)
		}
		hooks.EmitContext(t.Context(), refusal)
		if len(heard.all) != 1 {
			t.Errorf("%d events", len(heard.all))
		}
	})
}

func TestLimitedCountsEveryEventOfAllMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		passed, omitted, lines := int64(0), int64(0), 0
		observe := guard.Limited(func(_ context.Context, e guard.Event) {
			mu.Lock()
			defer mu.Unlock()
			lines++
			if e.Name == guard.EventOmitted {
				omitted += e.Changes[0].Value.Int64()
			} else {
				passed++
			}
		}, 10)
		const goroutines, each = 4, 600
		var all sync.WaitGroup
		for range goroutines {
			all.Go(func() {
				for range each {
					observe(t.Context(), guard.Event{Name: guard.EventLoginFail, Err: errSecret})
					time.Sleep(time.Second)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if passed+omitted != goroutines*each {
			t.Errorf("%d passed and %d left out of %d", passed, omitted, goroutines*each)
		}
		if lines > 11*(each/60+1) {
			t.Errorf("%d lines in %d minutes, want at most 11 in each", lines, each/60)
		}
	})
}

func TestLimitedBoundsNamesOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := new(events)
		observe := guard.Limited(heard.observe, 1)
		for i := range 10_000 {
			observe(t.Context(), guard.Event{Name: guard.EventName(fmt.Sprint("name", i)), Err: errSecret})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(heard.all); n != 258 {
			t.Errorf("%d events, want one of each of 256 names, one of the others, and their count", n)
		}
	})
}

func TestLimitedNeedsWhatItLimits(t *testing.T) {
	for name, call := range map[string]func(){
		"no function": func() { guard.Limited(nil, 1) },
		"no events":   func() { guard.Limited(new(events).observe, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

// BenchmarkObserveFlood is what one more refusal costs in a flood.
func BenchmarkObserveFlood(b *testing.B) {
	log := guard.Log(slog.New(slog.NewJSONHandler(io.Discard, nil)))
	for name, observe := range map[string]func(context.Context, guard.Event){
		"none": nil, "Log": log, "Limited": guard.Limited(log, 600),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			hooks := guard.Hooks{Observe: observe}
			r := httptest.NewRequest("GET", "/", nil)
			d := guard.Forbidden(nil)
			for b.Loop() {
				hooks.Emit(r, guard.Event{Denial: d})
			}
		})
	}
}
