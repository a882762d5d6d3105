package integration

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// A limitFault is something that becomes of a server, and of the way to it.
type limitFault struct {
	name       string
	begin, end func(*testing.T, *faultyProxy)
	unnoticed  bool // the server answers all the same
	refusals   bool // it answers where there is nothing to be written
}

// onTheWay is a fault of the proxy.
func onTheWay(name string, fault int32) limitFault {
	return limitFault{
		name:      name,
		begin:     func(_ *testing.T, p *faultyProxy) { p.begin(fault) },
		end:       func(_ *testing.T, p *faultyProxy) { p.begin(passes) },
		unnoticed: fault == passes,
	}
}

// ofTheServer is a fault of a server that is paused, or killed and started again
// with its data.
func ofTheServer(s *servers.Server) []limitFault {
	return []limitFault{
		{"is paused", func(*testing.T, *faultyProxy) { s.Pause() }, func(*testing.T, *faultyProxy) { s.Continue() }, false, false},
		{"is dead, and starts again", func(t *testing.T, _ *faultyProxy) { s.Kill(t) }, func(t *testing.T, _ *faultyProxy) { s.Start(t) }, false, false},
	}
}

// TestFaultTableOfLimits: whatever becomes of the server, requests go on within
// the time that the store is given, counted by the process alone; no call is
// made twice; nobody is answered 5xx who does not want it so; and the server is
// asked again as soon as it answers. With -v it prints the table.
func TestFaultTableOfLimits(t *testing.T) {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "the server\trequests\tper window\t429\t5xx\t5xx, closed\tcalls\tcharges\tp50 +\tp99 +\trecovery")
	t.Run("Redis", func(t *testing.T) {
		server := servers.Redis(t, "--appendfsync", "no")
		admin := redisForLimits(t, server.Addr)
		told := func(args ...any) func(*testing.T, *faultyProxy) {
			return func(t *testing.T, p *faultyProxy) {
				if err := admin.Do(context.Background(), args...).Err(); err != nil {
					t.Fatalf("%v: %v", args, err)
				}
			}
		}
		healthy := onTheWay("answers", passes)
		faults := []limitFault{
			healthy,
			onTheWay("refuses connections", refuses),
			onTheWay("never answers", swallows),
			onTheWay("is two seconds slow", delays),
			onTheWay("resets amid replies", resets),
			onTheWay("charges, and its reply is lost", losesReply),
			onTheWay("is loading", loads),
			{"is read-only", told("REPLICAOF", "127.0.0.1", "1"), told("REPLICAOF", "NO", "ONE"), false, true},
			{"is out of memory", told("CONFIG", "SET", "maxmemory", "1"), told("CONFIG", "SET", "maxmemory", "0"), false, true},
			{"has forgotten its scripts", told("SCRIPT", "FLUSH"), healthy.end, true, false},
			{"has forgotten everything", told("FLUSHALL"), healthy.end, true, false},
		}
		tabulate(t, table, "Redis ", server.Addr, append(faults, ofTheServer(server)...), func(t *testing.T, addr string) ratelimit.Store {
			return openRedisLimits(t, limitsByGoRedis(redisForLimits(t, addr)), redisstore.Config{})
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := servers.PostgreSQL(t)
		if server.Addr == "" {
			t.Skip("a server that runs already is not for this test alone")
		}
		var tx *sql.Tx
		db, err := sql.Open("pgx", server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		faults := []limitFault{
			onTheWay("answers", passes),
			onTheWay("refuses connections", refuses),
			onTheWay("never answers", swallows),
			onTheWay("is two seconds slow", delays),
			onTheWay("resets amid replies", resets),
			onTheWay("commits, and its reply is lost", losesCommit),
			{"has the rows locked", func(t *testing.T, _ *faultyProxy) {
				if tx, err = db.BeginTx(context.Background(), nil); err == nil {
					_, err = tx.Exec(`UPDATE gatewright_limits SET expires = expires`)
				}
				if err != nil {
					t.Fatal(err)
				}
			}, func(t *testing.T, _ *faultyProxy) {
				if err := tx.Rollback(); err != nil {
					t.Error(err)
				}
			}, false, false},
		}
		tabulate(t, table, "PostgreSQL ", server.Addr, append(faults, ofTheServer(server)...), func(t *testing.T, addr string) ratelimit.Store {
			return openSQLLimits(t, "pgx", strings.Replace(server.URL, server.Addr, addr, 1), sqlstore.PostgreSQL, 6)
		})
	})
	table.Flush()
	t.Logf("a limit of %d per %v and one per hour, asked by one client after the other; p50 and p99 of those admitted, beyond what they are while it answers\n%s",
		tableLimits[0].Quota, tableLimits[0].Window, &out)
}

// tableLimits are charged together.
var tableLimits = []ratelimit.Limit{
	{Name: "short", Quota: 20, Window: 50 * time.Millisecond},
	{Name: "hour", Quota: 100_000, Window: time.Hour},
}

// A watchedStore counts what it is asked, and keeps the last bill.
type watchedStore struct {
	ratelimit.Store
	calls atomic.Int64
	bill  atomic.Pointer[[]ratelimit.Charge]
}

func (s *watchedStore) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	s.calls.Add(1)
	bill := slices.Clone(charges)
	s.bill.Store(&bill)
	return s.Store.Take(ctx, charges)
}

// tabulate adds a row for each fault. The first is none, to which the others are
// compared.
func tabulate(t *testing.T, table *tabwriter.Writer, engine, addr string, faults []limitFault, open func(*testing.T, string) ratelimit.Store) {
	direct := open(t, addr)
	var usual latencies
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			proxy := newFaultyProxy(t, addr)
			row := openRow(t, open(t, proxy.addr), t.Name(), ratelimit.Local)
			closed := openRow(t, open(t, proxy.addr), t.Name()+", closed", ratelimit.Closed)
			for range 20 { // its tables know what is asked for, and connections are there
				row.ask(t)
				closed.ask(t)
			}
			time.Sleep(2 * tableLimits[0].Window) // and there is something left to charge
			goroutines := runtime.NumGoroutine()
			f.begin(t, proxy)
			begin, asked := time.Now(), row.store.calls.Load()
			for range 400 {
				row.ask(t)
				time.Sleep(time.Millisecond)
			}
			asked = row.store.calls.Load() - asked
			probes := int64(time.Since(begin)/(250*time.Millisecond)) + 1
			for range 30 {
				closed.ask(t)
				time.Sleep(time.Millisecond)
			}
			if n := runtime.NumGoroutine() - goroutines; n > 60 {
				t.Errorf("there are %d goroutines more, want few", n)
			}
			f.end(t, proxy)
			recovery := "at once"
			if !f.unnoticed {
				recovery = row.recovers(t).Round(time.Millisecond).String()
			}

			if usual == nil {
				usual = row.took
			}
			over := func(q float64) time.Duration { return max(0, row.took.quantile(q)-usual.quantile(q)) }
			most, ok := row.admitted.most(tableLimits[0].Window, int(tableLimits[0].Quota))
			charged := row.charged(t, direct)
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%s\n", engine+f.name, row.requests, most, row.answered[429], row.serverErrors(),
				closed.serverErrors(), row.store.calls.Load(), charged, over(0.5).Round(time.Microsecond), over(0.99).Round(time.Microsecond), recovery)

			if !ok {
				t.Errorf("%d were admitted in a window, want at most %d", most, tableLimits[0].Quota)
			}
			if n := row.serverErrors(); n != 0 {
				t.Errorf("%d were answered 5xx, want none of a limit that is not Closed", n)
			}
			// Each call charges once at most, whatever was answered.
			if calls := row.store.calls.Load(); charged > calls {
				t.Errorf("%d were charged in %d calls, want no more than there were calls", charged, calls)
			}
			// 50 ms, and what a loaded machine may add.
			if over(0.99) > 500*time.Millisecond {
				t.Errorf("p99 is %v more than usual, want little more than 50 ms", over(0.99))
			}
			switch {
			case !f.unnoticed:
				if row.down.Load() == 0 {
					t.Error("the store was not given up")
				}
				// Three, and a probe every 250 ms.
				if asked > 3+probes && !f.refusals {
					t.Errorf("the store was asked %d times, want 3 and %d probes", asked, probes)
				}
				if closed.serverErrors() == 0 {
					t.Error("nobody was answered 503 by a limit that is Closed")
				}
			case row.down.Load() > 0 && slices.Max(row.took) < 50*time.Millisecond:
				// A loaded machine may be too slow three times in a row.
				t.Error("the store was given up")
			}
			if n := closed.answered[200] + closed.answered[429] + closed.answered[503]; n != closed.requests {
				t.Errorf("of a limit that is Closed the answers were %v, want 200, 429 and 503", closed.answered)
			}
		})
	}
}

// A faultRow is what became of the requests of one row.
type faultRow struct {
	store    *watchedStore
	handler  http.Handler
	down, up atomic.Int64
	requests int
	answered map[int]int // by status
	took     latencies   // of those that were admitted
	admitted *history
}

func openRow(t *testing.T, store ratelimit.Store, name string, down ratelimit.Down) *faultRow {
	t.Helper()
	row := &faultRow{store: &watchedStore{Store: store}, answered: make(map[int]int), admitted: newHistory()}
	limits := slices.Clone(tableLimits)
	for i := range limits {
		limits[i].Down = down
	}
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
		Store: row.store, Name: name, Secret: guard.NewSecret(make([]byte, 32)), Timeout: 50 * time.Millisecond,
		Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			switch e.Name {
			case ratelimit.EventStoreDown:
				row.down.Add(1)
			case ratelimit.EventStoreUp:
				row.up.Add(1)
			}
		}},
	}, limits...)
	if err != nil {
		t.Fatal(err)
	}
	row.handler = limiter.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return row
}

func (r *faultRow) ask(t *testing.T) {
	w, request := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	before := time.Now()
	r.handler.ServeHTTP(w, request)
	after := time.Now()
	r.requests++
	r.answered[w.Code]++
	if w.Code == http.StatusOK {
		r.admitted.add(before, after)
		r.took = append(r.took, after.Sub(before))
	}
}

func (r *faultRow) serverErrors() (n int) {
	for status, count := range r.answered {
		if status >= 500 {
			n += count
		}
	}
	return n
}

// recovers returns how long it takes until the store is asked again and answers.
func (r *faultRow) recovers(t *testing.T) time.Duration {
	t.Helper()
	up, begin := r.up.Load(), time.Now()
	if r.up.Load() >= r.down.Load() {
		return 0 // it is asked, and nobody has noticed
	}
	for r.up.Load() == up && time.Since(begin) < 10*time.Second {
		r.ask(t)
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(begin)
	if took > 5*time.Second {
		t.Errorf("the server was asked again after %v, want within a second on a machine that is idle", took)
	}
	return took
}

// charged returns how often the hour was charged, by asking for one more.
func (r *faultRow) charged(t *testing.T, direct ratelimit.Store) int64 {
	t.Helper()
	bill := *r.store.bill.Load()
	hour := bill[slices.IndexFunc(bill, func(c ratelimit.Charge) bool { return c.Limit.Name == "hour" })]
	var err error
	for range 5 { // the first connections may be dead
		var states []ratelimit.State
		if states, _, err = direct.Take(t.Context(), []ratelimit.Charge{hour}); err == nil {
			return hour.Limit.Quota - states[0].Remaining - 1
		}
	}
	t.Fatal(err)
	return 0
}
