package integration

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/ratelimittest"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

func openSQLLimits(t testing.TB, driver, url string, dialect sqlstore.Dialect, connections int) *sqlstore.Store {
	t.Helper()
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	for range 2 { // again changes nothing
		if _, err := db.ExecContext(t.Context(), sqlstore.Schema(dialect)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func openSQLiteLimits(t testing.TB, path string) *sqlstore.Store {
	return openSQLLimits(t, "sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)&_pragma=synchronous(off)", sqlstore.SQLite, 1)
}

func TestLimitsInPostgreSQL(t *testing.T) {
	server := servers.PostgreSQL(t)
	store := openSQLLimits(t, "pgx", server.URL, sqlstore.PostgreSQL, 8)
	ratelimittest.Run(t, func(*testing.T) ratelimit.Store { return store })
	t.Run("several processes admit exactly the quota", func(t *testing.T) {
		var stores []ratelimit.Store
		for range 3 {
			stores = append(stores, openSQLLimits(t, "pgx", server.URL, sqlstore.PostgreSQL, 8))
		}
		exactly(t, stores)
	})
	t.Run("what has expired is deleted while others charge it", func(t *testing.T) { deletes(t, store) })
}

// TestLimitsInPostgreSQLAreDeletedWithoutWaiting: rows that a request holds are
// left for the next time. Whoever waits for them, holding others, makes a
// deadlock.
func TestLimitsInPostgreSQLAreDeletedWithoutWaiting(t *testing.T) {
	server := servers.PostgreSQL(t)
	if server.Addr == "" {
		t.Skip("a server that runs already is not for this test alone")
	}
	store := openSQLLimits(t, "pgx", server.URL, sqlstore.PostgreSQL, 4)
	l := ratelimit.Limit{Name: "short", Quota: 5, Window: time.Millisecond}
	for range 3 {
		if _, _, err := store.Take(t.Context(), []ratelimit.Charge{{Key: newLimitKey(), Limit: l, Cost: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(5 * time.Millisecond)
	db, err := sql.Open("pgx", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM gatewright_limits LIMIT 1 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if n, err := store.DeleteExpired(ctx, time.Now()); err != nil || n != 2 {
		t.Errorf("DeleteExpired = %d, %v while one of 3 rows is held, want 2", n, err)
	}
}

func TestLimitsInSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	store := openSQLiteLimits(t, path)
	ratelimittest.Run(t, func(*testing.T) ratelimit.Store { return store })
	t.Run("several processes admit exactly the quota", func(t *testing.T) {
		exactly(t, []ratelimit.Store{store, openSQLiteLimits(t, path), openSQLiteLimits(t, path)})
	})
	t.Run("what has expired is deleted while others charge it", func(t *testing.T) { deletes(t, store) })
}

// TestLimitsInSQLWhoseClockWasSetBack: what was spent an hour from now, as the
// clock has it, is kept for one window and no longer, although a refused request
// writes nothing else.
func TestLimitsInSQLWhoseClockWasSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	store := openSQLiteLimits(t, path)
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := ratelimit.Limit{Name: "short", Quota: 5, Window: 100 * time.Millisecond}
	bill := []ratelimit.Charge{{Key: newLimitKey(), Limit: l, Cost: 5}}
	if _, _, err := store.Take(t.Context(), bill); err != nil {
		t.Fatal(err)
	}
	row := fmt.Sprintf("%d:5 ", time.Now().Add(time.Hour).UnixMicro())
	if _, err := db.ExecContext(t.Context(), `UPDATE gatewright_limits SET spent = ?`, row); err != nil {
		t.Fatal(err)
	}
	refused, admitted := false, false
	for begin := time.Now(); !admitted && time.Since(begin) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
		states, _, err := store.Take(t.Context(), bill)
		if err != nil {
			t.Fatal(err)
		}
		refused = refused || states[0].Refused
		admitted = !states[0].Refused
	}
	if !refused || !admitted {
		t.Errorf("refused: %t, admitted within 5 s: %t, want both", refused, admitted)
	}
}

// exactly lets a thousand goroutines ask several clients of one server at once.
func exactly(t *testing.T, stores []ratelimit.Store) {
	t.Helper()
	for _, l := range []ratelimit.Limit{
		{Name: "exact", Quota: 9, Window: time.Hour},
		{Name: "counted", Quota: 90, Window: time.Hour},
		{Name: "smooth", Kind: ratelimit.Smooth, Quota: 90, Burst: 90, Window: time.Hour},
	} {
		key := newLimitKey()
		var in atomic.Int64
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				_, receipt, err := stores[i%len(stores)].Take(t.Context(), []ratelimit.Charge{{Key: key, Limit: l, Cost: 1}})
				if err != nil {
					t.Error(err)
				}
				if receipt != (ratelimit.Receipt{}) {
					in.Add(1)
				}
			})
		}
		wg.Wait()
		if in.Load() != l.Quota {
			t.Errorf("%s: %d of 1000 at once were admitted, want %d", l.Name, in.Load(), l.Quota)
		}
	}
}

// deletes cleans up while short limits are charged, and demands that none is
// charged too often for it.
func deletes(t *testing.T, store *sqlstore.Store) {
	t.Helper()
	l := ratelimit.Limit{Name: "short", Quota: 3, Window: 20 * time.Millisecond}
	history := newHistory()
	key := newLimitKey()
	var wg sync.WaitGroup
	end := time.Now().Add(400 * time.Millisecond)
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				before := time.Now()
				_, receipt, err := store.Take(t.Context(), []ratelimit.Charge{{Key: key, Limit: l, Cost: 1}})
				if err != nil {
					t.Error(err)
				}
				if receipt != (ratelimit.Receipt{}) {
					history.add(before, time.Now())
				}
			}
		})
	}
	var deleted int64
	for time.Now().Before(end) {
		n, err := store.DeleteExpired(t.Context(), time.Now())
		if err != nil {
			t.Error(err)
		}
		deleted += n
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
	if most, ok := history.most(l.Window, int(l.Quota)); !ok {
		t.Errorf("%d were admitted in a window, want at most %d", most, l.Quota)
	}
	time.Sleep(2 * l.Window)
	n, err := store.DeleteExpired(t.Context(), time.Now())
	if err != nil || deleted+n == 0 {
		t.Errorf("%d rows were deleted, %v", deleted+n, err)
	}
}
