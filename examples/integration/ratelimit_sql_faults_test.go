package integration

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
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

// TestLimitsOutlivePostgreSQL: while the database is dead, or somebody holds the
// row of a key, requests go on within the time that the store is given.
func TestLimitsOutlivePostgreSQL(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	if server.Addr == "" {
		t.Skip("a server that runs already is not for this test alone")
	}
	store := openSQLLimits(t, "pgx", server.URL, sqlstore.PostgreSQL, 6)
	up := make(chan struct{}, 100)
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
		Store: store, Name: "outlive", Secret: make([]byte, 32),
		Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			if e.Name == ratelimit.EventStoreUp {
				up <- struct{}{}
			}
		}},
	}, ratelimit.Limit{Name: "hour", Quota: 100_000, Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	handler := limiter.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ask := func() time.Duration {
		w := httptest.NewRecorder()
		begin := time.Now()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		took := time.Since(begin)
		if w.Code != http.StatusOK {
			t.Errorf("the answer is %d: %s", w.Code, w.Body)
		}
		return took
	}
	recovers := func(what string) {
		t.Helper()
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			ask()
			select {
			case <-up:
				t.Logf("%s: the database was asked again after %v", what, time.Since(begin).Round(time.Millisecond))
				return
			default:
			}
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("%s: the database is not asked again", what)
			}
		}
	}
	measure := func(what string) {
		t.Helper()
		var took latencies
		for range 200 {
			took = append(took, ask())
			time.Sleep(time.Millisecond)
		}
		p50, p99 := took.quantile(0.5), took.quantile(0.99)
		t.Logf("%-20s p50 %v, p99 %v, worst %v", what, p50, p99, slices.Max(took))
		if p99 > 500*time.Millisecond {
			t.Errorf("%s: p99 is %v, want little more than 50 ms", what, p99)
		}
	}
	measure("it answers")
	for len(up) > 0 {
		<-up
	}

	holder, err := sql.Open("pgx", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	tx, err := holder.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `UPDATE gatewright_limits SET expires = expires`); err != nil {
		t.Fatal(err)
	}
	measure("the row is locked")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	recovers("the row was locked")

	server.Kill(t)
	measure("it is dead")
	server.Start(t)
	recovers("it was dead")
}
