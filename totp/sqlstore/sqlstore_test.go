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
	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/sqlstore"
)

// The conformance suite runs against real databases in the examples module,
// which has their drivers. Here is what needs none.

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "totp/sqlstore", sqlstore.Schema, 3, func(db *sql.DB, dialect sqlstore.Dialect) error {
		_, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
		return err
	})
}

func open(t *testing.T, d *sqldbtest.DB, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(d.Open(t), sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A database that does not answer is an error, and never a record.
func TestDatabaseDown(t *testing.T) {
	ctx := context.Background()
	for _, dialect := range sqldbtest.Dialects {
		s := open(t, &sqldbtest.DB{Fails: "connect"}, dialect)
		if r, err := s.LoadTOTP(ctx, "alice"); r.Version != 0 || len(r.Active) != 0 || !errors.Is(err, sqldbtest.ErrDown) || !strings.HasPrefix(err.Error(), "totp/sqlstore: ") {
			t.Errorf("%v: LoadTOTP = %+v, %v", dialect, r, err)
		}
		if err := s.Ready(ctx); !errors.Is(err, sqldbtest.ErrDown) {
			t.Errorf("%v: Ready = %v", dialect, err)
		}
		for _, version := range []int64{0, 1} {
			if saved, err := s.SaveTOTP(ctx, "alice", totp.Record{Version: version}); saved || !errors.Is(err, sqldbtest.ErrDown) || !strings.HasPrefix(err.Error(), "totp/sqlstore: ") {
				t.Errorf("%v: SaveTOTP of version %d = %t, %v", dialect, version, saved, err)
			}
		}
	}
}

func TestParametersAreNumberedAsTheyOccur(t *testing.T) {
	ctx := t.Context()
	for _, dialect := range sqldbtest.Dialects {
		for _, changed := range []int64{0, 1} {
			d := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) {
				return [][]driver.Value{append([]driver.Value{true}, make([]driver.Value, 10)...)}, changed
			}}
			s := open(t, d, dialect)
			if r, err := s.LoadTOTP(ctx, "alice"); r.Version != 0 || err != nil {
				t.Errorf("%v: LoadTOTP without a row = %+v, %v", dialect, r, err)
			}
			for _, version := range []int64{0, 1} {
				if saved, err := s.SaveTOTP(ctx, "alice", totp.Record{Version: version}); saved != (changed == 1) || err != nil {
					t.Errorf("%v: SaveTOTP that changed %d rows = %t, %v", dialect, changed, saved, err)
				}
			}
			s.Ready(ctx)
			if n := len(d.Statements()); n < 4 {
				t.Fatalf("%v: %d statements", dialect, n)
			}
			d.CheckStatements(t)
		}
	}
}

func TestIllFormedUsersNeverReachTheDatabase(t *testing.T) {
	d := new(sqldbtest.DB)
	s := open(t, d, sqlstore.PostgreSQL)
	for _, bad := range []string{"a\x00", "\xff", strings.Repeat("a", 1025)} {
		if r, err := s.LoadTOTP(t.Context(), bad); r.Version != 0 || err != nil {
			t.Errorf("LoadTOTP: %+v, %v", r, err)
		}
		if saved, err := s.SaveTOTP(t.Context(), bad, totp.Record{}); saved || err == nil {
			t.Errorf("SaveTOTP: %t, %v", saved, err)
		}
	}
	if got := d.Statements(); len(got) != 0 {
		t.Errorf("the database was used: %v", got)
	}
}

// A row that somebody has damaged is an error: half a list of recovery codes is
// not a list.
func TestDamagedRowIsAnError(t *testing.T) {
	row := []driver.Value{true, int64(1), int64(3), []byte("active"), nil, int64(0), int64(7), make([]byte, 64), int64(1), int64(1_000_001), int64(0)}
	s := open(t, &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return [][]driver.Value{row}, 0 }}, sqlstore.SQLite)
	r, err := s.LoadTOTP(context.Background(), "alice")
	if err != nil || r.Version != 3 || len(r.Recovery) != 2 || r.Step != 7 || r.Guesses.Failures != 1 ||
		!r.Guesses.Retry.Equal(time.UnixMicro(1_000_001)) || !r.Guesses.Forgiven.IsZero() || !r.PendingUntil.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	for _, damage := range []int{1, 31, 33, 63} {
		row[7] = make([]byte, damage)
		if r, err := s.LoadTOTP(context.Background(), "alice"); err == nil || r.Version != 0 {
			t.Errorf("%d bytes of recovery codes: %+v, %v", damage, r, err)
		}
	}
}
