package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

// trouble is a Store in front of a Memory that can be made to fail.
type trouble struct {
	ratelimit.Memory
	mode    atomic.Int32
	takes   atomic.Int64
	refunds atomic.Int64
	running atomic.Int64
}

const (
	healthy   int32 = iota
	failing         // an error at once
	slow            // an answer after 2 s, whatever the context says
	blackhole       // no answer until the context is over
	replyLost       // charged, and then no answer in time
	panicking
	short // fewer states than charges
)

func (s *trouble) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	s.takes.Add(1)
	s.running.Add(1)
	defer s.running.Add(-1)
	switch s.mode.Load() {
	case failing:
		return nil, ratelimit.Receipt{}, errors.New("connection refused")
	case slow:
		time.Sleep(2 * time.Second)
		return nil, ratelimit.Receipt{}, errors.New("i/o timeout")
	case blackhole:
		<-ctx.Done()
		return nil, ratelimit.Receipt{}, ctx.Err()
	case replyLost:
		states, receipt, err := s.Memory.Take(ctx, charges)
		time.Sleep(time.Second)
		return states, receipt, err
	case panicking:
		panic("store")
	case short:
		return nil, ratelimit.Receipt{}, nil
	}
	return s.Memory.Take(ctx, charges)
}

func (s *trouble) Refund(ctx context.Context, r ratelimit.Receipt) error {
	s.refunds.Add(1)
	switch s.mode.Load() {
	case failing:
		return errors.New("connection refused")
	case panicking:
		panic("store")
	case slow:
		time.Sleep(2 * time.Second)
		return errors.New("i/o timeout")
	case blackhole:
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Memory.Refund(ctx, r)
}

func shared(s ratelimit.Store, hooks guard.Hooks) ratelimit.Config {
	return ratelimit.Config{Store: s, Name: "n", Secret: guard.NewSecret(make([]byte, 32)), Hooks: hooks}
}

func with(l ratelimit.Limit, down ratelimit.Down) ratelimit.Limit {
	l.Down = down
	return l
}

// TestStoreDown is L8 as far as it needs no real Redis: every way to fail, for
// each fallback, with the time that a request waits.
func TestEveryFallbackHoldsWhileTheStoreIsDown(t *testing.T) {
	for name, mode := range map[string]int32{"refuses": failing, "is slow": slow, "is a black hole": blackhole, "loses replies": replyLost, "panics": panicking, "answers too little": short} {
		t.Run("the store "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(trouble)
				var log audit
				local := newLimiter(t, shared(store, log.hooks()), with(hourly(10), ratelimit.Local)).Handler(new(counting))
				// Warm: the table here knows what was spent before the failure.
				if got := statuses(local, 6, from("192.0.2.1:1")); got != "200 200 200 200 200 200" {
					t.Fatal(got)
				}
				store.mode.Store(mode)
				begin := time.Now()
				if got := statuses(local, 6, from("192.0.2.1:1")); got != "200 200 200 200 429 429" {
					t.Errorf("falls back to %s, want the 4 that were left", got)
				}
				if took := time.Since(begin); took > 3*50*time.Millisecond {
					t.Errorf("6 requests waited %v, want 50 ms for each of 3 at most", took)
				}
				if log.count(ratelimit.EventStoreDown) != 1 {
					t.Errorf("%d events, want that it is down once", log.count(ratelimit.EventStoreDown))
				}
				// The breaker is open: nobody waits any more, but a probe.
				begin = time.Now()
				taken := store.takes.Load()
				for i := range 100 {
					send(local, request([]string{"192.0.2.2:1", "192.0.2.3:1"}[i%2]))
				}
				if took := time.Since(begin); took != 0 || store.takes.Load() != taken {
					t.Errorf("with an open breaker 100 requests waited %v and asked %d times", took, store.takes.Load()-taken)
				}
				// It answers again, and within a second all is well.
				store.mode.Store(healthy)
				time.Sleep(250 * time.Millisecond)
				begin = time.Now()
				send(local, request("192.0.2.9:1"))
				if took := time.Since(begin); took != 0 {
					t.Errorf("the request of a probe waited %v", took)
				}
				synctest.Wait()
				taken = store.takes.Load()
				if got := statuses(local, 1, from("192.0.2.8:1")); got != "200" || store.takes.Load() == taken {
					t.Errorf("after a probe succeeded: %s, asked %t", got, store.takes.Load() != taken)
				}
				if log.count(ratelimit.EventStoreUp) != 1 {
					t.Error("nobody was told that it is up")
				}
				time.Sleep(3 * time.Second) // what was left behind ends
			})
		})
	}
	t.Run("closed is 503, open is 200", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := new(trouble)
			store.mode.Store(failing)
			next := new(counting)
			closed := newLimiter(t, shared(store, guard.Hooks{}), with(hourly(10), ratelimit.Closed)).Handler(next)
			w := send(closed, request("192.0.2.1:1"))
			if w.Code != 503 || next.ran() != 0 || w.Header().Get("Retry-After") == "" || w.Header().Get("RateLimit") != "" {
				t.Errorf("closed: %d, next ran %d times, %v", w.Code, next.ran(), w.Header())
			}
			if strings.Contains(w.Body.String(), "refused") {
				t.Errorf("the reason is told to the client: %s", w.Body)
			}
			open := newLimiter(t, shared(store, guard.Hooks{}), with(hourly(1), ratelimit.InsecureOpen)).Handler(new(counting))
			if got := statuses(open, 8, from("192.0.2.1:1")); strings.Contains(got, "429") || strings.Contains(got, "503") {
				t.Errorf("open: %s", got)
			}
			mixed := newLimiter(t, shared(store, guard.Hooks{}), with(hourly(2), ratelimit.Local),
				with(ratelimit.Limit{Quota: 1, Window: time.Minute}, ratelimit.InsecureOpen)).Handler(new(counting))
			if got := statuses(mixed, 4, from("192.0.2.1:1")); got != "200 200 429 429" {
				t.Errorf("local and open: %s", got)
			}
		})
	})
	t.Run("a quota is divided by the nodes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := new(trouble)
			c := shared(store, guard.Hooks{})
			c.Nodes = 4
			h := newLimiter(t, c, hourly(8)).Handler(new(counting))
			if got := statuses(h, 1, from("192.0.2.1:1")); got != "200" {
				t.Fatal(got)
			}
			store.mode.Store(failing)
			if got := statuses(h, 4, from("192.0.2.1:1")); got != "200 429 429 429" {
				t.Errorf("%s, want one of the two that a node has", got)
			}
		})
	})
}

func TestStoreThatIgnoresItsContextCollectsNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(trouble)
		store.mode.Store(slow)
		h := newLimiter(t, shared(store, guard.Hooks{}), hourly(1_000_000)).Handler(new(counting))
		before := runtime.NumGoroutine()
		begin := time.Now()
		var done sync.WaitGroup
		var ok atomic.Int64
		for range 5000 {
			done.Go(func() {
				if send(h, request("192.0.2.1:1")).Code == 200 {
					ok.Add(1)
				}
			})
		}
		done.Wait()
		if took := time.Since(begin); took > 50*time.Millisecond {
			t.Errorf("5000 requests at once waited %v, want 50 ms", took)
		}
		if n := runtime.NumGoroutine() - before; n > 256+8 || store.running.Load() > 256 {
			t.Errorf("%d goroutines and %d calls were left behind, want 256 at most", n, store.running.Load())
		}
		if ok.Load() != 5000 {
			t.Errorf("%d of 5000 were served", ok.Load())
		}
		time.Sleep(3 * time.Second)
		if n := store.running.Load(); n != 0 {
			t.Errorf("%d calls never ended", n)
		}
	})
}

func TestStoreIsAskedWithoutALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(delayed)
		h := newLimiter(t, shared(store, guard.Hooks{}), hourly(1_000_000)).Handler(new(counting))
		begin := time.Now()
		var done sync.WaitGroup
		for range 200 {
			done.Go(func() { send(h, request("192.0.2.1:1")) })
		}
		done.Wait()
		if took := time.Since(begin); took != 20*time.Millisecond {
			t.Errorf("200 requests of one key at a store of 20 ms took %v", took)
		}
	})
}

type delayed struct{ ratelimit.Memory }

func (s *delayed) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	time.Sleep(20 * time.Millisecond)
	return s.Memory.Take(ctx, charges)
}

func TestSharedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(trouble)
		a := newLimiter(t, shared(store, guard.Hooks{}), hourly(5), ratelimit.InFlight(2))
		b := newLimiter(t, shared(store, guard.Hooks{}), hourly(5), ratelimit.InFlight(2))
		ha, hb := a.Handler(new(counting)), b.Handler(new(counting))
		got := statuses(ha, 3, from("192.0.2.1:1")) + " " + statuses(hb, 3, from("192.0.2.1:1"))
		if got != "200 200 200 200 200 429" {
			t.Errorf("two nodes: %s, want five in all", got)
		}
		// What is refused by what was spent here does not reach the store.
		full := newLimiter(t, shared(store, guard.Hooks{}), ratelimit.Limit{Name: "x", Quota: 1, Window: time.Hour}).Handler(new(counting))
		statuses(full, 1, from("192.0.2.1:1"))
		taken := store.takes.Load()
		if got := statuses(full, 5, from("192.0.2.1:1")); got != "429 429 429 429 429" || store.takes.Load() != taken {
			t.Errorf("%s, and the store was asked %d times", got, store.takes.Load()-taken)
		}
		// What the store refuses is not charged here: the node that refused
		// admits as soon as the store does.
		r, err := a.Reserve(t.Context(), 1, "k")
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Reserve(t.Context(), 4, "k")
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := b.Reserve(t.Context(), 1, "k"); err == nil {
				t.Fatal("six of five")
			}
		}
		r.End(t.Context(), true)
		r.End(t.Context(), true)
		s.End(t.Context(), false)
		if _, err := b.Reserve(t.Context(), 1, "k"); err != nil {
			t.Errorf("one was given back: %v", err)
		}
		if _, err := b.Reserve(t.Context(), 1, "k"); err == nil {
			t.Error("one was given back twice")
		}
	})
}

// who hangs up while it answers has paid nothing, and it
// is no failure of the store.
func TestAClientThatHangsUpIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(trouble)
		var log audit
		h := newLimiter(t, shared(store, log.hooks()), hourly(1), ratelimit.InFlight(1)).Handler(new(counting))
		store.mode.Store(replyLost)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { time.Sleep(10 * time.Millisecond); cancel() }()
			if w := send(h, request("192.0.2.1:1").WithContext(ctx)); w.Code != 499 {
				t.Errorf("%d", w.Code)
			}
			time.Sleep(2 * time.Second)
		}
		store.mode.Store(healthy)
		if got := statuses(h, 2, from("192.0.2.1:1")); got != "200 429" {
			t.Errorf("%s: requests that were given up have been charged", got)
		}
		if log.count(ratelimit.EventStoreDown) != 0 {
			t.Error("clients that hang up open the breaker")
		}
	})
}

// A reply that is lost: the store has charged and the fallback admits, once each.
func TestAReplyThatIsLostIsChargedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(trouble)
		h := newLimiter(t, shared(store, guard.Hooks{}), hourly(3)).Handler(new(counting))
		store.mode.Store(replyLost)
		if got := statuses(h, 1, from("192.0.2.1:1")); got != "200" {
			t.Fatal(got)
		}
		time.Sleep(2 * time.Second)
		store.mode.Store(healthy)
		// On another node, which remembers nothing.
		other := newLimiter(t, shared(store, guard.Hooks{}), hourly(3)).Handler(new(counting))
		if got := statuses(other, 3, from("192.0.2.1:1")); got != "200 200 429" {
			t.Errorf("%s, want two of three left", got)
		}
	})
}

// Limits of requests in flight count in the process, whatever the Store: it is
// never charged for them, and they hold while it is down.
func TestInFlightCountsInTheProcess(t *testing.T) {
	for _, mode := range []int32{healthy, failing} {
		synctest.Test(t, func(t *testing.T) {
			store := new(trouble)
			store.mode.Store(mode)
			a := newLimiter(t, shared(store, guard.Hooks{}), hourly(5), ratelimit.InFlight(1))
			b := newLimiter(t, shared(store, guard.Hooks{}), hourly(5), ratelimit.InFlight(1))
			first, err := a.Reserve(t.Context(), 1, "k")
			if err != nil {
				t.Fatal(err)
			}
			takes := store.takes.Load()
			for range 10 {
				d, ok := errors.AsType[*guard.Denial](func() error { _, err := a.Reserve(t.Context(), 1, "k"); return err }())
				if !ok || d.Status != 429 || d.RetryAfter < time.Second {
					t.Fatalf("a second at once: %v", d)
				}
			}
			if n := store.takes.Load() - takes; n != 0 {
				t.Errorf("the store was charged %d times for requests that found no place", n)
			}
			other, err := b.Reserve(t.Context(), 1, "k")
			if err != nil {
				t.Errorf("another process has places of its own: %v", err)
			}
			other.End(t.Context(), false)
			first.End(t.Context(), false)
			first.End(t.Context(), false)
			next, err := a.Reserve(t.Context(), 1, "k")
			if err != nil {
				t.Fatalf("the place is not free again: %v", err)
			}
			if _, err := a.Reserve(t.Context(), 1, "k"); err == nil {
				t.Error("a place that was given back twice is two")
			}
			next.End(t.Context(), false)
		})
	}
	t.Run("a refusal by another limit gives the place back", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{}, hourly(1), ratelimit.InFlight(2))
		r, err := l.Reserve(t.Context(), 1, "k")
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := l.Reserve(t.Context(), 1, "k"); err == nil {
				t.Fatal("two of one an hour")
			}
		}
		if got := r.States[1].Remaining; got != 1 {
			t.Errorf("%d places remain, want 1", got)
		}
		r.End(t.Context(), true)
		if r, err = l.Reserve(t.Context(), 1, "k"); err != nil || r.States[1].Remaining != 1 {
			t.Errorf("after the refund: %v", err)
		}
	})
	t.Run("limiters of one name and one Memory count together", func(t *testing.T) {
		c := ratelimit.Config{Name: "n", Secret: guard.NewSecret(make([]byte, 16)), Store: new(ratelimit.Memory)}
		a, b := newLimiter(t, c, ratelimit.InFlight(1)), newLimiter(t, c, ratelimit.InFlight(1))
		r, err := a.Reserve(t.Context(), 1, "k")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Reserve(t.Context(), 1, "k"); err == nil {
			t.Error("they have a place each")
		}
		r.End(t.Context(), false)
		if _, err := b.Reserve(t.Context(), 1, "k"); err != nil {
			t.Error(err)
		}
	})
}

// A /48 has NetworkFactor times the places, and one request that finds no place
// there leaves its /64 as it was.
func TestInFlightCountsNetworks(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{NetworkFactor: 2}, ratelimit.InFlight(2))
	reserve := func(i int) (*ratelimit.Reservation, error) {
		return l.ReserveAddr(t.Context(), 1, netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", i)))
	}
	var held []*ratelimit.Reservation
	for i := range 4 {
		r, err := reserve(i)
		if err != nil {
			t.Fatalf("network %d: %v", i, err)
		}
		held = append(held, r)
	}
	if _, err := reserve(9); err == nil {
		t.Fatal("five of four in a /48")
	}
	for _, r := range held {
		r.End(t.Context(), false)
	}
	for range 2 {
		if _, err := reserve(9); err != nil {
			t.Errorf("a refusal has kept a place of the /64: %v", err)
		}
	}
}

// breaking is a Store with a Breaker.
type breaking struct {
	breaker ratelimit.Breaker
	store   *trouble
}

func (s *breaking) Breaker() *ratelimit.Breaker { return &s.breaker }

func (s *breaking) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	return s.store.Take(ctx, charges)
}

func (s *breaking) Refund(ctx context.Context, r ratelimit.Receipt) error {
	return s.store.Refund(ctx, r)
}

// Limiters of one Store find out together that it is down: three calls fail for
// all of them, one call in 250 ms is a probe for all of them, and no request waits
// for a probe. Each limiter reports it once, by name.
func TestLimitersOfOneStoreShareABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &breaking{store: new(trouble)}
		var log audit
		const limiters = 8
		var all []*ratelimit.Limiter
		for i := range limiters {
			c := shared(store, log.hooks())
			c.Name = fmt.Sprintf("limiter %d", i)
			all = append(all, newLimiter(t, c, hourly(1000)))
		}
		store.store.mode.Store(blackhole)
		begin := time.Now()
		ask := func() {
			for _, l := range all {
				if err := l.Check(request("192.0.2.1:1")); err != nil {
					t.Fatal(err)
				}
			}
		}
		ask()
		if took := time.Since(begin); took != 3*50*time.Millisecond {
			t.Errorf("the first requests of %d limiters waited %v, want 150ms in all", limiters, took)
		}
		begin, before := time.Now(), store.store.takes.Load()
		waited := time.Duration(0)
		for range 100 {
			now := time.Now()
			ask()
			waited += time.Since(now)
			time.Sleep(10 * time.Millisecond)
		}
		if probes := store.store.takes.Load() - before; probes < 3 || probes > 5 {
			t.Errorf("%d probes in %v, want one in 250ms", probes, time.Since(begin))
		}
		if waited != 0 {
			t.Errorf("requests waited %v for probes", waited)
		}
		if n := log.count(ratelimit.EventStoreDown); n != limiters {
			t.Errorf("%d events, want one of each limiter", n)
		}
		for i := range limiters {
			if !log.has(ratelimit.EventStoreDown, fmt.Sprintf("%q", fmt.Sprintf("limiter %d", i)), "*ratelimit_test.breaking") {
				t.Errorf("no event names limiter %d and its store", i)
			}
		}
		store.store.mode.Store(healthy)
		time.Sleep(300 * time.Millisecond)
		ask()
		synctest.Wait()
		ask()
		if n := log.count(ratelimit.EventStoreUp); n != limiters {
			t.Errorf("%d events that it is up, want one of each limiter", n)
		}
	})
}
