package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/sqldb/sqldbtest"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// These tests have no database: what the statements do is shown on real ones in
// examples/integration.

func open(t *testing.T, d *sqldbtest.DB, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	store, err := sqlstore.New(d.Open(t), sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "ratelimit/sqlstore", sqlstore.Schema, 1, func(db *sql.DB, dialect sqlstore.Dialect) error {
		_, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
		return err
	})
	if got := sqlstore.Schema(sqlstore.PostgreSQL); !strings.Contains(got, "CREATE UNLOGGED TABLE IF NOT EXISTS") {
		t.Errorf("the table is logged:\n%s", got)
	}
}

func TestErrorsAdmitNobody(t *testing.T) {
	store := open(t, &sqldbtest.DB{Fails: "connect"}, sqlstore.PostgreSQL)
	charges := []ratelimit.Charge{{Limit: ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}, Cost: 1}}
	states, receipt, err := store.Take(t.Context(), charges)
	if !errors.Is(err, sqldbtest.ErrDown) || states != nil || receipt != (ratelimit.Receipt{}) {
		t.Errorf("Take = %v, %v, %v, want the error and nothing else", states, receipt, err)
	}
	receipt = ratelimit.NewReceipt(1, charges)
	if err := store.Refund(t.Context(), receipt); !errors.Is(err, sqldbtest.ErrDown) {
		t.Errorf("Refund = %v, want the error", err)
	}
	if err := store.Refund(t.Context(), receipt); err != nil {
		t.Errorf("a second Refund = %v, want nothing done", err)
	}
	if _, err := store.DeleteExpired(t.Context(), time.Now()); !errors.Is(err, sqldbtest.ErrDown) {
		t.Errorf("DeleteExpired = %v, want the error", err)
	}
	if err := store.Ready(t.Context()); !errors.Is(err, sqldbtest.ErrDown) {
		t.Errorf("Ready = %v, want the error", err)
	}
	d := new(sqldbtest.DB)
	store = open(t, d, sqlstore.PostgreSQL)
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
	if got := d.Statements(); len(got) != 0 {
		t.Errorf("the database was used in vain: %v", got)
	}
}

func TestParametersAreNumberedAsTheyOccur(t *testing.T) {
	charges := make([]ratelimit.Charge, 3)
	for i := range charges {
		charges[i] = ratelimit.Charge{Key: ratelimit.Key{byte(i)}, Limit: ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}, Cost: 1}
	}
	for _, dialect := range sqldbtest.Dialects {
		d := &sqldbtest.DB{Answer: func(s sqldbtest.Statement) (rows [][]driver.Value, changed int64) {
			for _, id := range s.Args {
				rows = append(rows, []driver.Value{id, "", int64(1)})
			}
			return rows, 1
		}}
		store := open(t, d, dialect)
		if _, _, err := store.Take(t.Context(), charges); err != nil {
			t.Errorf("%v: Take = %v", dialect, err)
		}
		if _, err := store.DeleteExpired(t.Context(), time.Now()); err != nil {
			t.Errorf("%v: DeleteExpired = %v", dialect, err)
		}
		if err := store.Ready(t.Context()); err != nil {
			t.Errorf("%v: Ready = %v", dialect, err)
		}
		if n := len(d.Statements()); n != 5 || d.Committed() != 2 {
			t.Errorf("%v: %d statements, %d committed", dialect, n, d.Committed())
		}
		d.CheckStatements(t)
	}
}
