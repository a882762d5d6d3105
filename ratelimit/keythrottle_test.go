package ratelimit_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

func newGuesses(t *testing.T, c ratelimit.Config, limits ...ratelimit.Limit) *ratelimit.KeyThrottle {
	t.Helper()
	g, err := ratelimit.NewKeyThrottle(c, limits...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGuesses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		outcome  guard.Outcome
		addr     func(i int) string
		admitted int // of 10, with 3 allowed
	}{
		{"failures count", guard.Failed, func(int) string { return "192.0.2.1" }, 3},
		{"what succeeds is given back", guard.Succeeded, func(int) string { return "192.0.2.1" }, 10},
		{"what nobody could decide is given back", guard.Undecided, func(int) string { return "192.0.2.1" }, 10},
		{"each address counts for itself", guard.Failed, func(i int) string { return []string{"192.0.2.1", "192.0.2.2"}[i%2] }, 6},
		{"a /64 is one address", guard.Failed, func(i int) string { return []string{"2001:db8::1", "2001:db8::2"}[i%2] }, 3},
		{"all that is no address is one", guard.Failed, func(i int) string { return []string{"", "@", "192.0.2.1:80"}[i%3] }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuesses(t, ratelimit.Config{}, hourly(3))
				admitted := 0
				for i := range 10 {
					settle, wait, err := g.ReserveAddr(t.Context(), tt.addr(i))
					if err != nil || (settle == nil) != (wait > 0) {
						t.Fatalf("settle is nil: %t, wait %v, %v", settle == nil, wait, err)
					}
					if settle == nil {
						if wait < time.Second || wait > 70*time.Minute {
							t.Errorf("wait %v, want about an hour", wait)
						}
						continue
					}
					admitted++
					settle(tt.outcome)
				}
				if admitted != tt.admitted {
					t.Errorf("%d of 10 were let through, want %d", admitted, tt.admitted)
				}
			})
		})
	}
	t.Run("guesses at once are no more than one after the other", func(t *testing.T) {
		g := newGuesses(t, ratelimit.Config{}, hourly(3))
		var tried atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				settle, _, err := g.ReserveAddr(t.Context(), "192.0.2.1")
				if err != nil {
					t.Error(err)
				}
				if settle != nil {
					tried.Add(1)
					settle(guard.Failed)
				}
			})
		}
		all.Wait()
		if tried.Load() != 3 {
			t.Errorf("%d were tried, want 3", tried.Load())
		}
	})
	t.Run("a client that hangs up gets back what did not fail", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGuesses(t, ratelimit.Config{}, hourly(1))
			for range 3 {
				ctx, hangUp := context.WithCancel(t.Context())
				settle, wait, err := g.ReserveAddr(ctx, "192.0.2.1")
				if err != nil || settle == nil {
					t.Fatal(wait, err)
				}
				hangUp()
				settle(guard.Undecided)
			}
		})
	})
	t.Run("a store that is closed is an error and no verdict", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := new(trouble)
			store.mode.Store(failing)
			g := newGuesses(t, shared(store, guard.Hooks{}), with(hourly(3), ratelimit.Closed))
			settle, wait, err := g.ReserveAddr(t.Context(), "192.0.2.1")
			if d, ok := errors.AsType[*guard.Denial](err); settle != nil || wait != 0 || !ok || d.Status != 503 {
				t.Errorf("settle is nil: %t, wait %v, %v", settle == nil, wait, err)
			}
		})
	})
	if _, err := ratelimit.NewKeyThrottle(ratelimit.Config{}); err == nil {
		t.Error("no limits are no mistake")
	}
}
