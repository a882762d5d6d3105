package password

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newBudget(t testing.TB, c BudgetConfig) *Budget {
	t.Helper()
	b, err := NewBudget(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const mib = 1 << 20

// acquiring calls acquire in a goroutine of its own, and returns where its
// result will be.
func acquiring(ctx context.Context, b *Budget, n int64) <-chan error {
	result := make(chan error, 1)
	go func() { result <- b.acquire(ctx, n) }()
	synctest.Wait() // until it has its permit or its place in the queue
	return result
}

// granted reports what came of acquiring so far.
func granted(t *testing.T, result <-chan error) bool {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		if err != nil {
			t.Fatalf("acquire failed: %v", err)
		}
		return true
	default:
		return false
	}
}

func TestBudgetGrantsWhatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Memory: 10 * mib, Concurrent: 100})
		first, second, third := acquiring(t.Context(), b, 4*mib), acquiring(t.Context(), b, 6*mib), acquiring(t.Context(), b, 1)
		if !granted(t, first) || !granted(t, second) {
			t.Fatal("what fits is not granted")
		}
		if granted(t, third) {
			t.Fatal("more is granted than there is")
		}
		b.release(4 * mib)
		if !granted(t, third) {
			t.Fatal("what was given back is not granted again")
		}
	})
}

func TestBudgetBoundsHowManyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Concurrent: 2})
		first, second, third := acquiring(t.Context(), b, 1), acquiring(t.Context(), b, 1), acquiring(t.Context(), b, 1)
		if !granted(t, first) || !granted(t, second) || granted(t, third) {
			t.Fatal("want two of three granted")
		}
		b.release(1)
		if !granted(t, third) {
			t.Fatal("the third is not granted after a release")
		}
	})
}

func TestBudgetServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Memory: 10 * mib, Concurrent: 100})
		if !granted(t, acquiring(t.Context(), b, 8*mib)) {
			t.Fatal("the first is not granted")
		}
		large, small := acquiring(t.Context(), b, 9*mib), acquiring(t.Context(), b, 1*mib)
		if granted(t, small) {
			t.Fatal("the small one overtook the large one")
		}
		b.release(8 * mib)
		if !granted(t, large) || !granted(t, small) {
			t.Fatal("both fit now, want both granted")
		}
	})
}

func TestBudgetTurnsAwayWhoeverCannotWait(t *testing.T) {
	for _, tt := range []struct {
		name       string
		maxWaiting int
		wait       int
	}{
		{"32 by default", 0, 32},
		{"3 when asked", 3, 3},
		{"none when negative", -1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(t, BudgetConfig{Concurrent: 1, MaxWaiting: tt.maxWaiting})
				if err := b.acquire(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				var waiting []<-chan error
				for range tt.wait {
					waiting = append(waiting, acquiring(t.Context(), b, 1))
				}
				start := time.Now()
				if err := b.acquire(t.Context(), 1); err != ErrBusy {
					t.Errorf("one too many got %v, want ErrBusy", err)
				}
				if waited := time.Since(start); waited != 0 {
					t.Errorf("it was told after %v, want at once", waited)
				}
				for i, w := range waiting {
					b.release(1)
					if !granted(t, w) {
						t.Errorf("number %d is not granted", i)
					}
				}
			})
		})
	}
}

func TestBudgetWaitsNoLongerThanAllowed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		maxWait time.Duration
		timeout time.Duration
		want    error
		after   time.Duration
	}{
		{"5 seconds by default", 0, time.Hour, ErrBusy, 5 * time.Second},
		{"a second when asked", time.Second, time.Hour, ErrBusy, time.Second},
		{"not past the deadline of the context", 0, 300 * time.Millisecond, context.DeadlineExceeded, 300 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(t, BudgetConfig{Concurrent: 1, MaxWait: tt.maxWait})
				if err := b.acquire(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				start := time.Now()
				err := b.acquire(ctx, 1)
				if waited := time.Since(start); !errors.Is(err, tt.want) || waited != tt.after {
					t.Errorf("got %v after %v, want %v after %v", err, waited, tt.want, tt.after)
				}
				// And it left nothing behind.
				b.release(1)
				if err := b.acquire(t.Context(), b.memory); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The one in front keeps those behind waiting, as long as it waits itself.
func TestBudgetGoesOnWhenTheFirstGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Memory: 10 * mib, Concurrent: 100})
		if err := b.acquire(t.Context(), 8*mib); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		large, small := acquiring(ctx, b, 9*mib), acquiring(t.Context(), b, 1*mib)
		cancel()
		if err := <-large; !errors.Is(err, context.Canceled) {
			t.Fatalf("the large one got %v", err)
		}
		if !granted(t, small) {
			t.Fatal("the small one fits, and still waits")
		}
	})
}

// The race that loses a wake-up: a waiter is granted its permit and cancelled
// in the same moment. Whatever it chooses, the permit must not be lost.
func TestBudgetLosesNoPermitToACancelledWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Concurrent: 1})
		cancelled := 0
		for range 200 { // select takes either way
			if err := b.acquire(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			first, second := acquiring(ctx, b, 1), acquiring(t.Context(), b, 1)
			// Both are ready before the waiter can look.
			b.mu.Lock()
			cancel()
			b.putBack(1)
			b.serve()
			b.mu.Unlock()
			if err := <-first; err == nil {
				b.release(1)
			} else {
				cancelled++
			}
			if !granted(t, second) {
				t.Fatal("the permit was lost")
			}
			b.release(1)
		}
		if b.used != 0 || b.running != 0 || b.queue.waiting != 0 {
			t.Errorf("%d bytes, %d permits and %d waiters are left", b.used, b.running, b.queue.waiting)
		}
		if cancelled == 0 {
			t.Error("the case this is about did not come up")
		}
	})
}

// Many of all kinds at once: never more than the budget, and nothing is left
// of it at the end. For the race detector too.
func TestBudgetUnderLoad(t *testing.T) {
	b := newBudget(t, BudgetConfig{Memory: 10 * mib, Concurrent: 4, MaxWaiting: 20, MaxWait: 50 * time.Millisecond})
	var used, running atomic.Int64
	var outcomes [3]atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 100 {
				n := int64(1+rand.IntN(10)) * mib
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(1000))*time.Microsecond)
				ctx = WithClient(ctx, fmt.Sprintf("2001:db8:%x:%x::1", rand.IntN(4), rand.IntN(4)))
				switch err := b.acquire(ctx, n); {
				case err == nil:
					if used.Add(n) > 10*mib || running.Add(1) > 4 {
						t.Error("more is out than there is")
					}
					if rand.IntN(2) == 0 {
						<-ctx.Done() // hold it for a while
					}
					used.Add(-n)
					running.Add(-1)
					b.release(n)
					outcomes[0].Add(1)
				case errors.Is(err, ErrBusy):
					outcomes[1].Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					outcomes[2].Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	t.Logf("%d granted, %d turned away, %d out of time", outcomes[0].Load(), outcomes[1].Load(), outcomes[2].Load())
	if b.used != 0 || b.running != 0 || b.queue.waiting != 0 {
		t.Errorf("%d bytes, %d permits and %d waiters are left", b.used, b.running, b.queue.waiting)
	}
}

// A shared Budget is one budget: what one Hasher does, the other waits for.
func TestHashersShareABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{
			Argon2id: Argon2id{Memory: 64, Passes: 1, Lanes: 1},
			Budget:   newBudget(t, BudgetConfig{Concurrent: 1, MaxWait: time.Second}),
		}
		one, other := newInternal(t, c), newInternal(t, c)
		hold := make(chan struct{})
		one.derive = func(digest, []byte) []byte { <-hold; return nil }
		done := make(chan bool)
		go func() {
			one.Verify(t.Context(), "x", "")
			close(done)
		}()
		synctest.Wait()
		if _, _, err := other.Verify(t.Context(), "x", ""); !errors.Is(err, ErrBusy) {
			t.Errorf("the other got %v, want ErrBusy", err)
		}
		if _, err := other.Hash(t.Context(), "x"); !errors.Is(err, ErrBusy) {
			t.Errorf("the other got %v, want ErrBusy", err)
		}
		close(hold)
		<-done
		if _, _, err := other.Verify(t.Context(), "x", ""); err != nil {
			t.Errorf("the other got %v once there was room", err)
		}
	})
}

// as returns a context for a client.
func as(t *testing.T, addr string) context.Context { return WithClient(t.Context(), addr) }

// A client with many calls waiting delays another by one turn, wherever its calls
// come from within one network.
func TestBudgetGivesEachClientATurn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		attacker func(i int) string
	}{
		{"one address", func(int) string { return "192.0.2.1:1000" }},
		{"ports of one address", func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i+1) }},
		{"IPv4 in the form of IPv6", func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:7"}[i%3] }},
		{"addresses of one /64", func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i) }},
		{"networks of one /48", func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }},
		{"zones", func(i int) string { return fmt.Sprintf("fe80::1%%eth%d", i) }},
		{"no address", func(i int) string { return []string{"", "@", "unix", "1.2.3.4.5"}[i%4] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(t, BudgetConfig{Concurrent: 1, MaxWaiting: 20})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var attacker []<-chan error
				for i := range 21 {
					attacker = append(attacker, acquiring(WithClient(ctx, tt.attacker(i)), b, 1))
				}
				// The queue is full: a new call takes the place of the attacker's newest.
				other := acquiring(as(t, "198.51.100.7:1"), b, 1)
				if err := <-attacker[20]; !errors.Is(err, ErrBusy) {
					t.Fatalf("the newest call of the attacker got %v, want ErrBusy", err)
				}
				b.release(1)
				b.release(1)
				if !granted(t, other) {
					t.Error("the other client is not served at its turn")
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// Within a network its addresses take turns, and an address keeps its order.
func TestBudgetServesNetworksThenAddressesThenCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Concurrent: 1, MaxWaiting: 20})
		if err := b.acquire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		var order []string
		for _, addr := range []string{"2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.1", "192.0.2.2"} {
			go func() {
				if err := b.acquire(as(t, addr), 1); err != nil {
					t.Error(err)
				}
				order = append(order, addr)
				b.release(1)
			}()
			synctest.Wait()
		}
		b.release(1)
		synctest.Wait()
		want := []string{"2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "192.0.2.1", "2001:db8::2"}
		if !slices.Equal(order, want) {
			t.Errorf("served %q, want %q", order, want)
		}
		if b.used != 0 || b.running != 0 || b.queue.waiting != 0 || b.queue.networks.Len() != 0 {
			t.Error("something is left of the queue")
		}
	})
}

// A call that finds the queue full is refused if its own client has as many
// waiting as any other, and no other client loses its place.
func TestBudgetRefusesTheClientWithTheMostWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{Concurrent: 1, MaxWaiting: 3, MaxWait: time.Hour})
		if err := b.acquire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a1, a2 := acquiring(WithClient(ctx, "192.0.2.1"), b, 1), acquiring(WithClient(ctx, "192.0.2.1"), b, 1)
		b1 := acquiring(WithClient(ctx, "192.0.2.2"), b, 1)
		if err := b.acquire(as(t, "192.0.2.1"), 1); err != ErrBusy {
			t.Fatalf("the third of one client got %v, want ErrBusy", err)
		}
		c1 := acquiring(WithClient(ctx, "192.0.2.3"), b, 1)
		if err := <-a2; err != ErrBusy {
			t.Fatalf("the newest of the longest got %v, want ErrBusy", err)
		}
		if err := b.acquire(as(t, "192.0.2.4"), 1); err != ErrBusy {
			t.Fatalf("one more where all have one got %v, want ErrBusy", err)
		}
		for _, w := range []<-chan error{a1, b1, c1} {
			b.release(1)
			if !granted(t, w) {
				t.Error("a call that kept its place is not served")
			}
		}
	})
}
