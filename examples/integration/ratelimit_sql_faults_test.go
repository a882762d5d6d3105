package integration

import (
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// TestHistoryOfLimitsInPostgreSQL: as in Redis, while the database is paused,
// and killed once, which empties a table that is UNLOGGED: around that moment a
// window may have what was counted before and what was counted after.
func TestHistoryOfLimitsInPostgreSQL(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	if server.Addr == "" {
		t.Skip("a server that runs already is not for this test alone")
	}
	limits := []ratelimit.Limit{
		{Name: "exact", Quota: 7, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
		{Name: "counted", Quota: 40, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
	}
	before, after := make([]*history, len(limits)), make([]*history, len(limits))
	for i := range limits {
		before[i], after[i] = newHistory(), newHistory()
	}
	into, mu := before, sync.RWMutex{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		store := openSQLLimits(t, "pgx", server.URL, sqlstore.PostgreSQL, 6)
		for i, l := range limits {
			limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
				Store: store, Name: "history", Secret: make([]byte, 32), Timeout: 100 * time.Millisecond,
			}, l)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						begin := time.Now()
						if _, err := limiter.Reserve(t.Context(), 1, "one"); err != nil {
							time.Sleep(2 * time.Millisecond)
							continue
						}
						mu.RLock()
						into[i].add(begin, time.Now())
						mu.RUnlock()
					}
				})
			}
		}
	}
	for range 2 {
		time.Sleep(600 * time.Millisecond)
		server.Pause()
		time.Sleep(300 * time.Millisecond)
		server.Continue()
	}
	time.Sleep(600 * time.Millisecond)
	server.Kill(t)
	time.Sleep(200 * time.Millisecond) // whoever was answered has noted it
	mu.Lock()
	into = after
	mu.Unlock()
	server.Start(t)
	time.Sleep(1200 * time.Millisecond)
	close(stop)
	wg.Wait()
	for i, l := range limits {
		for name, h := range map[string]*history{"before the crash": before[i], "after it": after[i]} {
			most, ok := h.most(l.Window, int(l.Quota))
			t.Logf("%s: %d were admitted %s, at most %d of %d in a window", l.Name, h.len(), name, most, l.Quota)
			if !ok {
				t.Errorf("%s: %d were admitted in a window %s, want at most %d", l.Name, most, name, l.Quota)
			}
			if h.len() <= int(l.Quota) {
				t.Errorf("%s: %d were admitted %s, want more", l.Name, h.len(), name)
			}
		}
	}
}
