package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

func newValve(t *testing.T, perSecond float64, c ratelimit.ValveConfig) *ratelimit.Valve {
	t.Helper()
	v, err := ratelimit.NewValve(perSecond, c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log audit
		next := new(counting)
		v := newValve(t, 100, ratelimit.ValveConfig{Burst: 10, Queue: 20, Hooks: log.hooks()})
		h := v.Handler(next)
		begin := time.Now()
		var ok, busy atomic.Int64
		var done sync.WaitGroup
		for i := range 100 {
			done.Go(func() {
				switch w := send(h, request(fmt.Sprintf("192.0.2.%d:1", i))); w.Code {
				case 200:
					ok.Add(1)
				case 503:
					busy.Add(1)
					if wait, _ := strconv.Atoi(w.Header().Get("Retry-After")); wait < 1 || wait > 2 {
						t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
					}
					if time.Since(begin) != 0 {
						t.Error("a refusal waits")
					}
				default:
					t.Errorf("status %d", w.Code)
				}
			})
		}
		done.Wait()
		if ok.Load() != 30 || busy.Load() != 70 || next.ran() != 30 {
			t.Errorf("%d entered and %d were refused, want 10 at once and 20 from the queue", ok.Load(), busy.Load())
		}
		if took := time.Since(begin); took < 199*time.Millisecond || took > 201*time.Millisecond {
			t.Errorf("20 from the queue took %v at 100 a second", took)
		}
		if v.Waiting() != 0 || log.count(guard.EventRateLimit) != 70 {
			t.Errorf("%d wait, %d events", v.Waiting(), log.count(guard.EventRateLimit))
		}
	})
}

func TestValveWaitObeysTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve(t, 1, ratelimit.ValveConfig{Burst: 1, Queue: 5, MaxWait: 10 * time.Second})
		if err := v.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		err := v.Check(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		// Its turn went to the next.
		begin = time.Now()
		if err := v.Check(t.Context()); err != nil || time.Since(begin) > 701*time.Millisecond {
			t.Errorf("%v after %v, want 700 ms", err, time.Since(begin))
		}
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		if d, _ := errors.AsType[*guard.Denial](v.Check(gone)); d == nil || d.Status != 499 {
			t.Errorf("hung up: %v", d)
		}
		none := newValve(t, 1, ratelimit.ValveConfig{Burst: 1, Queue: -1})
		if none.Check(t.Context()) != nil || none.Check(t.Context()) == nil {
			t.Error("without a queue the second is refused")
		}
		long := newValve(t, 1, ratelimit.ValveConfig{Burst: 1, Queue: 5, MaxWait: 500 * time.Millisecond})
		begin = time.Now()
		if long.Check(t.Context()) != nil || long.Check(t.Context()) == nil || time.Since(begin) != 0 {
			t.Error("who would wait longer than MaxWait is refused at once")
		}
		// The turn of who was refused is nobody's.
		time.Sleep(time.Second)
		if err := long.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestValveFindsEveryMistake(t *testing.T) {
	_, err := ratelimit.NewValve(0, ratelimit.ValveConfig{Burst: -1, Queue: -2, MaxWait: time.Hour})
	for _, want := range []string{"perSecond is 0", "Burst is -1", "Queue is -2", "MaxWait is 1h0m0s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in %v", want, err)
		}
	}
	v := newValve(t, 0.5, ratelimit.ValveConfig{})
	if got := fmt.Sprint(guard.Requirements(v.Handler(new(counting)))); got != "[limit 0.5 per second in all]" {
		t.Error(got)
	}
}
