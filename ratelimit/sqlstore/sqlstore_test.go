package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// These tests have no database: what the statements do is shown on real ones in
// examples/integration.

// unreachable is a database that refuses connections, and counts them.
type unreachable struct{ dialled int }

var errRefused = errors.New("connection refused")

func (u *unreachable) Connect(context.Context) (driver.Conn, error) {
	u.dialled++
	return nil, errRefused
}

func (u *unreachable) Driver() driver.Driver { return nil }

func open(t *testing.T) (*sqlstore.Store, *unreachable) {
	t.Helper()
	u := new(unreachable)
	db := sql.OpenDB(u)
	t.Cleanup(func() { db.Close() })
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
	if err != nil {
		t.Fatal(err)
	}
	return store, u
}

func TestNew(t *testing.T) {
	_, err := sqlstore.New(nil, sqlstore.Config{Dialect: 7})
	for _, want := range []string{"sqlstore: the *sql.DB is nil", "sqlstore: Config.Dialect is Dialect(7), want SQLite or PostgreSQL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q in it", err, want)
		}
	}
	if _, u := open(t); u.dialled != 0 {
		t.Error("New has asked the database")
	}
}

func TestSchema(t *testing.T) {
	for dialect, want := range map[sqlstore.Dialect]string{sqlstore.SQLite: "BLOB", sqlstore.PostgreSQL: "CREATE UNLOGGED TABLE IF NOT EXISTS"} {
		if got := sqlstore.Schema(dialect); !strings.Contains(got, want) {
			t.Errorf("the schema of %v has no %s:\n%s", dialect, want, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the schema of an unknown dialect does not panic")
		}
	}()
	sqlstore.Schema(0)
}

func TestErrorsAdmitNobody(t *testing.T) {
	store, u := open(t)
	charges := []ratelimit.Charge{{Limit: ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}, Cost: 1}}
	states, receipt, err := store.Take(t.Context(), charges)
	if !errors.Is(err, errRefused) || states != nil || receipt != (ratelimit.Receipt{}) {
		t.Errorf("Take = %v, %v, %v, want the error and nothing else", states, receipt, err)
	}
	receipt = ratelimit.NewReceipt(1, charges)
	for range 2 { // nothing was given back, so that it may be asked for again
		if err := store.Refund(t.Context(), receipt); !errors.Is(err, errRefused) {
			t.Errorf("Refund = %v, want the error", err)
		}
	}
	if _, err := store.DeleteExpired(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("DeleteExpired = %v, want the error", err)
	}
	u.dialled = 0
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := store.Take(over, charges); !errors.Is(err, context.Canceled) {
		t.Errorf("Take with a context that is over = %v", err)
	}
	charges[0].Cost = 6
	if _, _, err := store.Take(t.Context(), charges); !errors.Is(err, ratelimit.ErrCost) {
		t.Errorf("Take of too much = %v, want ErrCost", err)
	}
	if err := store.Refund(t.Context(), ratelimit.Receipt{}); err != nil {
		t.Errorf("Refund of nothing = %v", err)
	}
	if u.dialled != 0 {
		t.Errorf("the database was asked %d times in vain", u.dialled)
	}
}
