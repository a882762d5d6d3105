package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
		if err := v.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		err := v.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		// Its place went to the next.
		begin = time.Now()
		if err := v.Wait(t.Context()); err != nil || time.Since(begin) > 701*time.Millisecond {
			t.Errorf("%v after %v, want 700 ms", err, time.Since(begin))
		}
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		if d, _ := errors.AsType[*guard.Denial](v.Wait(gone)); d == nil || d.Status != 499 {
			t.Errorf("hung up: %v", d)
		}
		none := newValve(t, 1, ratelimit.ValveConfig{Burst: 1, Queue: -1})
		if none.Wait(t.Context()) != nil || none.Wait(t.Context()) == nil {
			t.Error("without a queue the second is refused")
		}
		long := newValve(t, 1, ratelimit.ValveConfig{Burst: 1, Queue: 5, MaxWait: 500 * time.Millisecond})
		begin = time.Now()
		if long.Wait(t.Context()) != nil || long.Wait(t.Context()) == nil || time.Since(begin) != 0 {
			t.Error("who would wait longer than MaxWait is refused at once")
		}
		// The turn of who was refused is nobody's.
		time.Sleep(time.Second)
		if err := long.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestValveIsExact: under overload, with refusals and hang-ups of many at once,
// no span of time has more than the burst and the rate, and no turn is lost.
func TestValveIsExact(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rate    float64
		config  ratelimit.ValveConfig
		callers int           // who come again and again
		again   time.Duration // after an answer
		patient float64       // which part of them does not hang up
	}{
		{"no queue, and all at once", 200, ratelimit.ValveConfig{Burst: 20, Queue: -1}, 60, time.Millisecond, 1},
		{"no queue, a burst of one", 250, ratelimit.ValveConfig{Burst: 1, Queue: -1}, 60, time.Millisecond, 1},
		{"a queue that is full", 200, ratelimit.ValveConfig{Burst: 20, Queue: 10}, 100, 3 * time.Millisecond, 1},
		{"a burst of one and a queue", 300, ratelimit.ValveConfig{Burst: 1, Queue: 50}, 100, 3 * time.Millisecond, 1},
		{"a wait that is too long", 200, ratelimit.ValveConfig{Burst: 20, MaxWait: 50 * time.Millisecond}, 100, 3 * time.Millisecond, 1},
		{"half of the queue hangs up", 200, ratelimit.ValveConfig{Burst: 20}, 400, 3 * time.Millisecond, 0.5},
		{"nearly all hang up", 200, ratelimit.ValveConfig{Burst: 20, Queue: 150}, 300, 3 * time.Millisecond, 0.1},
		{"a rate that does not come out even", 70.0 / 3, ratelimit.ValveConfig{Burst: 3, Queue: 20}, 50, 7 * time.Millisecond, 0.7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const long = 4 * time.Second
				v := newValve(t, tt.rate, tt.config)
				begin := time.Now()
				var mu sync.Mutex
				var entered []time.Duration
				var done sync.WaitGroup
				for i := range tt.callers {
					done.Go(func() {
						random := rand.New(rand.NewPCG(uint64(i), 1))
						for time.Since(begin) < long {
							ctx, cancel := context.WithCancel(t.Context())
							if random.Float64() >= tt.patient {
								ctx, cancel = context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(100*time.Millisecond))))
							}
							err := v.Wait(ctx)
							cancel()
							if err == nil {
								mu.Lock()
								entered = append(entered, time.Since(begin))
								mu.Unlock()
							}
							time.Sleep(tt.again)
						}
					})
				}
				done.Wait()
				if v.Waiting() != 0 {
					t.Errorf("%d wait, and nobody is there", v.Waiting())
				}
				// entered is ascending: the clock stands still while anybody runs.
				least, within := math.Inf(1), 0
				for i, at := range entered {
					least = min(least, float64(i)-tt.rate*at.Seconds())
					if n := float64(i+1) - tt.rate*at.Seconds() - least; n > float64(tt.config.Burst)+1e-3 {
						t.Fatalf("at %v, %.3f more have entered than the rate since some earlier moment, want at most the burst, %d", at, n, tt.config.Burst)
					}
					if at <= long {
						within++
					}
				}
				if want := 0.95 * tt.rate * long.Seconds(); float64(within) < want {
					t.Errorf("%d entered in %v, want %.0f at least", within, long, want)
				}
			})
		})
	}
}

// TestValveHangUpsMoveTheQueue: who is behind those who hang up enters when
// they would have, and not when the queue was joined last.
func TestValveHangUpsMoveTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve(t, 10, ratelimit.ValveConfig{Burst: 10, Queue: 1000, MaxWait: time.Minute})
		begin := time.Now()
		for range 10 {
			if err := v.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 50 { // browsers are opened and closed, newest first
			var hangUps []func()
			var gone sync.WaitGroup
			for range 20 {
				ctx, hangUp := context.WithCancel(t.Context())
				hangUps = append(hangUps, hangUp)
				gone.Go(func() {
					if v.Wait(ctx) == nil {
						t.Error("one more entered at once than the burst")
					}
				})
				synctest.Wait()
			}
			for i := range hangUps {
				hangUps[len(hangUps)-1-i]()
				synctest.Wait()
			}
			gone.Wait()
		}
		ctx, hangUp := context.WithCancel(t.Context())
		var order []string
		var mu sync.Mutex
		var done sync.WaitGroup
		for _, name := range []string{"first", "gone", "second", "third"} {
			c := t.Context()
			if name == "gone" {
				c = ctx
			}
			done.Go(func() {
				if v.Wait(c) == nil {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, fmt.Sprint(name, " ", time.Since(begin).Round(time.Millisecond)))
				}
			})
			synctest.Wait()
		}
		time.Sleep(150 * time.Millisecond)
		hangUp()
		done.Wait()
		if got := fmt.Sprint(order); got != "[first 100ms second 200ms third 300ms]" {
			t.Error(got)
		}
	})
}

// TestValveServesWhoCameFirst: who arrives at the very moment of a turn does not
// take it from who waits for it.
func TestValveServesWhoCameFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve(t, 10, ratelimit.ValveConfig{Burst: 1, Queue: 5})
		begin := time.Now()
		if err := v.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		var first time.Duration
		var done sync.WaitGroup
		done.Go(func() {
			if err := v.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			first = time.Since(begin)
		})
		time.Sleep(100 * time.Millisecond)
		if err := v.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		second := time.Since(begin)
		done.Wait()
		if first.Round(time.Millisecond) != 100*time.Millisecond || second.Round(time.Millisecond) != 200*time.Millisecond {
			t.Errorf("who came first entered after %v, and who came at its turn after %v", first, second)
		}
	})
}

// TestValveManyAtOnce is on the real clock, where only the bound that no slow
// machine can break holds for certain.
func TestValveManyAtOnce(t *testing.T) {
	v := newValve(t, 1000, ratelimit.ValveConfig{Burst: 10, Queue: 20})
	var entered atomic.Int64
	var done sync.WaitGroup
	begin := time.Now()
	for range 64 {
		done.Go(func() {
			for time.Since(begin) < 100*time.Millisecond {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				if v.Wait(ctx) == nil {
					entered.Add(1)
				}
				cancel()
			}
		})
	}
	done.Wait()
	if most := 10 + 1000*time.Since(begin).Seconds(); float64(entered.Load()) > most+1e-3 {
		t.Errorf("%d entered, want at most %.1f", entered.Load(), most)
	}
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
