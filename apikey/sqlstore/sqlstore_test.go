package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/sqldb/sqldbtest"
)

// The conformance suite runs against a real database in the examples module,
// which has its driver. Here is what needs none.

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "apikey/sqlstore", sqlstore.Schema, 1, func(db *sql.DB, dialect sqlstore.Dialect) error {
		_, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
		return err
	})
	_, err := sqlstore.New(nil, sqlstore.Config{MaxPerOwner: 1001})
	for _, want := range []string{"nil", "Dialect", "apikey/sqlstore: Config.MaxPerOwner is 1001; use 1 to 1000, or a negative number for no bound"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q in it", err, want)
		}
	}
}

func open(t *testing.T, d *sqldbtest.DB, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(d.Open(t), sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func calls(s *sqlstore.Store) map[string]func() (any, error) {
	ctx := context.Background()
	r := &apikey.Record{ID: "k", Owner: "ada", Hash: "h"}
	return map[string]func() (any, error){
		"Ready":             func() (any, error) { return nil, s.Ready(ctx) },
		"KeyByID":           func() (any, error) { got, err := s.KeyByID(ctx, "k"); return or(got != nil), err },
		"KeyByHash":         func() (any, error) { got, err := s.KeyByHash(ctx, "h"); return or(got != nil), err },
		"KeysByOwner":       func() (any, error) { got, err := s.KeysByOwner(ctx, "ada"); return or(got != nil), err },
		"WriteKeys, update": func() (any, error) { return nil, s.WriteKeys(ctx, r, nil) },
		"WriteKeys, new":    func() (any, error) { return nil, s.WriteKeys(ctx, nil, r) },
		"RecordUse":         func() (any, error) { return nil, s.RecordUse(ctx, []apikey.Use{{ID: "k", At: time.Now()}}) },
		"RecordNetwork": func() (any, error) {
			n, err := s.RecordNetwork(ctx, "k", netip.MustParsePrefix("192.0.2.0/24"), time.Now())
			return or(n != 0), err
		},
		"DeleteExpired": func() (any, error) { n, err := s.DeleteExpired(ctx, time.Now()); return or(n != 0), err },
	}
}

func or(set bool) any {
	if set {
		return true
	}
	return nil
}

// A database that does not answer is an error, and never ErrNotFound.
func TestDatabaseDown(t *testing.T) {
	for _, dialect := range sqldbtest.Dialects {
		s := open(t, &sqldbtest.DB{Fails: "connect"}, dialect)
		for name, call := range calls(s) {
			t.Run(dialect.String()+": "+name, func(t *testing.T) {
				got, err := call()
				if got != nil || !errors.Is(err, sqldbtest.ErrDown) || errors.Is(err, apikey.ErrNotFound) || !strings.HasPrefix(err.Error(), "apikey/sqlstore: ") {
					t.Errorf("%v, %v; want an error of the database and nothing else", got, err)
				}
			})
		}
	}
}

func TestWhatIsNotAskedOfTheDatabase(t *testing.T) {
	ctx := t.Context()
	d := new(sqldbtest.DB)
	s := open(t, d, sqlstore.PostgreSQL)
	for _, bad := range []string{"a\x00b", "\xff", strings.Repeat("a", 1025)} {
		if _, err := s.KeyByID(ctx, bad); err != apikey.ErrNotFound {
			t.Errorf("KeyByID: %v", err)
		}
		if all, err := s.KeysByOwner(ctx, bad); len(all) != 0 || err != nil {
			t.Errorf("KeysByOwner: %v, %v", all, err)
		}
		if err := s.WriteKeys(ctx, &apikey.Record{ID: bad, Version: 1}, nil); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("an update: %v", err)
		}
		for _, r := range []apikey.Record{{ID: bad}, {ID: "k", Owner: bad}, {ID: "k", Tenant: bad}} {
			if err := s.WriteKeys(ctx, nil, &r); err == nil {
				t.Errorf("a new key %.20q: no error", r.ID)
			}
		}
		if err := s.RecordUse(ctx, []apikey.Use{{ID: bad, At: time.Now()}}); err != nil {
			t.Errorf("RecordUse: %v", err)
		}
	}
	if got := d.Statements(); len(got) != 0 {
		t.Errorf("the database was used: %v", got)
	}
	if _, err := s.KeyByHash(ctx, ""); err != apikey.ErrNotFound {
		t.Errorf("an empty hash: %v", err)
	}
	if err := s.RecordUse(ctx, nil); err != nil {
		t.Errorf("no uses: %v", err)
	}
	up := open(t, new(sqldbtest.DB), sqlstore.SQLite)
	for name, r := range map[string]*apikey.Record{
		"no ID":                {},
		"a network of nothing": {ID: "k", AllowedPrefixes: []netip.Prefix{{}}},
		"a role with a NUL":    {ID: "k", Roles: identity.NewSet("a\x00b")},
	} {
		if err := up.WriteKeys(ctx, nil, r); err == nil || errors.Is(err, apikey.ErrConflict) {
			t.Errorf("%s: %v, want that it is refused", name, err)
		}
	}
}

func TestParametersAreNumberedAsTheyOccur(t *testing.T) {
	for _, dialect := range sqldbtest.Dialects {
		d := new(sqldbtest.DB)
		for _, call := range calls(open(t, d, dialect)) {
			call()
		}
		if n := len(d.Statements()); n < 8 {
			t.Fatalf("%v: %d statements", dialect, n)
		}
		d.CheckStatements(t)
	}
}

// In PostgreSQL the owner's lock comes before the count and the count before the
// insert, in a transaction in which each statement sees what others committed
// before it. The database itself is asked in the examples module.
func TestPostgreSQLCountsUnderALock(t *testing.T) {
	write := func(keys int64) (string, error) {
		d := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return [][]driver.Value{{keys}}, 0 }}
		s := open(t, d, sqlstore.PostgreSQL)
		if n := s.KeysPerOwner(); n != 100 {
			t.Errorf("the default is %d", n)
		}
		err := s.WriteKeys(t.Context(), nil, &apikey.Record{ID: "k", Owner: "ada", Hash: "h"})
		var all []string
		for _, one := range d.Statements() {
			all = append(all, strings.Fields(one.Text)[0]+" "+strings.Fields(one.Text)[1])
		}
		if got := d.Isolations(); len(got) != 1 || got[0] != sql.LevelReadCommitted {
			t.Errorf("isolation %v", got)
		}
		return strings.Join(all, ", "), err
	}
	const lock, count = "SELECT pg_advisory_xact_lock($1), ", "SELECT (SELECT"
	if got, err := write(99); got != lock+count+", INSERT INTO" || !errors.Is(err, apikey.ErrConflict) {
		t.Errorf("99 keys: %s (%v)", got, err)
	}
	if got, err := write(100); got != lock+count || !errors.Is(err, apikey.ErrTooMany) {
		t.Errorf("100 keys: %s (%v)", got, err)
	}
}

// A row that somebody has damaged is an error and never a wider key.
func TestADamagedRowIsAnError(t *testing.T) {
	good := []driver.Value{"k", "n", "ada", "", "live", `["user"]`, `[]`, int64(1), int64(1), int64(0), int64(0), int64(0),
		"", int64(0), `["192.0.2.0/24"]`, "", []byte("h"), "one", int64(0), int64(1)}
	tests := []struct {
		name   string
		column int
		value  driver.Value
	}{
		{"as it should be", -1, nil},
		{"roles that are no JSON", 5, "user"},
		{"scopes that are no array", 6, `{"a":1}`},
		{"networks that are none", 14, `["everywhere"]`},
		{"an empty network", 14, `[""]`},
		{"networks that were emptied", 14, ""},
		{"networks that are null", 14, "null"},
		{"networks that are null with spaces about", 14, " \n null "},
		{"a network that is null", 14, "[null]"},
		{"roles that are null", 5, "null"},
		{"scopes that are null", 6, "null"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := append([]driver.Value(nil), good...)
			if tt.column >= 0 {
				row[tt.column] = tt.value
			}
			s := open(t, &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) {
				return [][]driver.Value{append([]driver.Value{true, int64(1)}, row...)}, 0
			}}, sqlstore.SQLite)
			r, err := s.KeyByID(t.Context(), "k")
			if tt.column < 0 {
				if err != nil || !r.Active || !r.Roles.Has("user") || len(r.AllowedPrefixes) != 1 || !r.ExpiresAt.IsZero() {
					t.Errorf("%v, %v", r, err)
				}
				return
			}
			if r != nil || err == nil || errors.Is(err, apikey.ErrNotFound) {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
}
