package integration

import (
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
)

// hammer lets n limiters, each with a client and a memory of its own, as n
// processes have, ask for one key as fast as they can while disturb runs. It
// returns what all admitted, and what each did.
func hammer(t *testing.T, server *servers.Server, n int, l ratelimit.Limit, disturb func()) (all *history, each []*history) {
	t.Helper()
	all = newHistory()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		eval := limitsByGoRedis(redisForLimits(t, server.Addr))
		if i%2 == 1 {
			eval = limitsByRueidis(t, server.Addr)
		}
		limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
			Store: openRedisLimits(t, eval, redisstore.Config{}), Name: "history", Secret: make([]byte, 32),
		}, l)
		if err != nil {
			t.Fatal(err)
		}
		own := newHistory()
		each = append(each, own)
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					before := time.Now()
					if _, err := limiter.Reserve(t.Context(), 1, t.Name()); err == nil {
						after := time.Now()
						all.add(before, after)
						own.add(before, after)
						continue
					}
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	disturb()
	close(stop)
	wg.Wait()
	return all, each
}

// TestHistoryOfLimitsInRedis: the policy that clients are told is true of what
// happened, in every window, while the server is killed, paused and started
// again with what it had acknowledged. A limit that is Closed without its store
// is exact: nobody is admitted whom the server did not count.
func TestHistoryOfLimitsInRedis(t *testing.T) {
	for _, l := range []ratelimit.Limit{
		{Name: "exact", Quota: 7, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
		{Name: "counted", Quota: 40, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
	} {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			server := servers.Redis(t, "--appendfsync", "always")
			all, _ := hammer(t, server, 4, l, func() {
				time.Sleep(700 * time.Millisecond)
				for range 2 {
					server.Kill(t)
					server.Start(t)
					time.Sleep(700 * time.Millisecond)
					server.Pause()
					time.Sleep(300 * time.Millisecond)
					server.Continue()
					time.Sleep(700 * time.Millisecond)
				}
			})
			most, ok := all.most(l.Window, int(l.Quota))
			t.Logf("%d were admitted, at most %d of %d in a window", all.len(), most, l.Quota)
			if !ok {
				t.Errorf("%d were admitted in a window of %v, want at most %d", most, l.Window, l.Quota)
			}
			if all.len() <= 2*int(l.Quota) {
				t.Errorf("%d were admitted in all, want more: nobody was admitted after the faults", all.len())
			}
		})
	}
}

// TestHistoryOfLimitsInRedisThatForgets: with its data lost, the server counts
// anew. Each process goes on with what it saw itself, so that none of them
// admits more than the quota in a window, and all together no more than that
// times their number.
func TestHistoryOfLimitsInRedisThatForgets(t *testing.T) {
	server := servers.Redis(t, "--appendfsync", "always")
	l := ratelimit.Limit{Name: "minute", Quota: 40, Window: time.Minute}
	const processes = 3
	all, each := hammer(t, server, processes, l, func() {
		time.Sleep(500 * time.Millisecond)
		for range 2 {
			server.Kill(t)
			server.Lose(t)
			server.Start(t)
			time.Sleep(700 * time.Millisecond)
		}
	})
	for i, h := range each {
		if most, ok := h.most(l.Window, int(l.Quota)); !ok {
			t.Errorf("process %d admitted %d in a window, want at most %d", i, most, l.Quota)
		}
	}
	most, ok := all.most(l.Window, processes*int(l.Quota))
	t.Logf("%d were admitted in a window, with a quota of %d, %d processes and two losses", most, l.Quota, processes)
	if !ok || most < int(l.Quota) {
		t.Errorf("%d were admitted in a window, want %d to %d", most, l.Quota, processes*l.Quota)
	}
}
