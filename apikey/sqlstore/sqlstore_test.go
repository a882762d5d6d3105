package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth/identity"
)

// The conformance suite runs against a real database in the examples module,
// which has its driver. Here is what needs none.

func TestNew(t *testing.T) {
	db := sql.OpenDB(new(down))
	tests := []struct {
		name   string
		db     *sql.DB
		config sqlstore.Config
		want   []string
	}{
		{"SQLite", db, sqlstore.Config{Dialect: sqlstore.SQLite}, nil},
		{"PostgreSQL", db, sqlstore.Config{Dialect: sqlstore.PostgreSQL}, nil},
		{"every mistake at once", nil, sqlstore.Config{}, []string{"the *sql.DB is nil", "Config.Dialect is Dialect(0), want SQLite or PostgreSQL"}},
		{"as many keys as there can be", db, sqlstore.Config{Dialect: sqlstore.SQLite, MaxPerOwner: 1000}, nil},
		{"any number of keys", db, sqlstore.Config{Dialect: sqlstore.SQLite, MaxPerOwner: -1}, nil},
		{"more keys than are listed", db, sqlstore.Config{Dialect: sqlstore.SQLite, MaxPerOwner: 1001}, []string{"Config.MaxPerOwner is 1001, want 1 to 1000, or a negative one for any number"}},
		{"an unknown dialect", db, sqlstore.Config{Dialect: 3}, []string{"Config.Dialect is Dialect(3)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sqlstore.New(tt.db, tt.config)
			if (err == nil) != (len(tt.want) == 0) || (s == nil) != (err != nil) {
				t.Fatalf("%v, %v", s, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not tell that %s", err, want)
				}
			}
		})
	}
}

func TestSchema(t *testing.T) {
	for dialect, binary := range map[sqlstore.Dialect]string{sqlstore.SQLite: "BLOB", sqlstore.PostgreSQL: "BYTEA"} {
		got := sqlstore.Schema(dialect)
		if strings.Count(got, binary) != 1 || strings.Contains(got, "BYTES") {
			t.Errorf("%v: the schema is\n%s", dialect, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for an unknown dialect")
		}
	}()
	sqlstore.Schema(0)
}

func calls(s *sqlstore.Store) map[string]func() (any, error) {
	ctx := context.Background()
	r := &apikey.Record{ID: "k", Owner: "ada", Hash: "h"}
	return map[string]func() (any, error){
		"KeyByID":           func() (any, error) { got, err := s.KeyByID(ctx, "k"); return or(got != nil), err },
		"KeyByHash":         func() (any, error) { got, err := s.KeyByHash(ctx, "h"); return or(got != nil), err },
		"KeysByOwner":       func() (any, error) { got, err := s.KeysByOwner(ctx, "ada"); return or(got != nil), err },
		"WriteKeys, update": func() (any, error) { return nil, s.WriteKeys(ctx, r, nil) },
		"WriteKeys, new":    func() (any, error) { return nil, s.WriteKeys(ctx, nil, r) },
		"RecordUse":         func() (any, error) { return nil, s.RecordUse(ctx, []apikey.Use{{ID: "k", At: time.Now()}}) },
		"DeleteEnded":       func() (any, error) { n, err := s.DeleteEnded(ctx, time.Now()); return or(n != 0), err },
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
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		s, err := sqlstore.New(sql.OpenDB(new(down)), sqlstore.Config{Dialect: dialect})
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range calls(s) {
			t.Run(dialect.String()+": "+name, func(t *testing.T) {
				got, err := call()
				if got != nil || !errors.Is(err, errDown) || errors.Is(err, apikey.ErrNotFound) || !strings.HasPrefix(err.Error(), "sqlstore: ") {
					t.Errorf("%v, %v; want an error of the database and nothing else", got, err)
				}
			})
		}
	}
}

func TestWhatIsNotAskedOfTheDatabase(t *testing.T) {
	ctx := t.Context()
	s, err := sqlstore.New(sql.OpenDB(new(down)), sqlstore.Config{Dialect: sqlstore.PostgreSQL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeyByID(ctx, "a\x00b"); err != apikey.ErrNotFound {
		t.Errorf("an ID with a NUL: %v", err)
	}
	if _, err := s.KeyByHash(ctx, ""); err != apikey.ErrNotFound {
		t.Errorf("an empty hash: %v", err)
	}
	if err := s.RecordUse(ctx, nil); err != nil {
		t.Errorf("no uses: %v", err)
	}
	up, err := sqlstore.New(sql.OpenDB(&down{up: true}), sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
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

// Placeholders are those of the dialect, as many as there are arguments.
func TestPlaceholders(t *testing.T) {
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		d := &down{up: true}
		s, err := sqlstore.New(sql.OpenDB(d), sqlstore.Config{Dialect: dialect})
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls(s) {
			call()
		}
		if len(d.statements) < 7 {
			t.Fatalf("%v: %d statements", dialect, len(d.statements))
		}
		for _, got := range d.statements {
			switch {
			case dialect == sqlstore.SQLite && strings.Count(got.text, "?") != got.args:
				t.Errorf("%d arguments for %s", got.args, got.text)
			case dialect == sqlstore.PostgreSQL && (strings.Contains(got.text, "?") || strings.Count(got.text, "$") != got.args || !strings.Contains(got.text, "$1")):
				t.Errorf("%d arguments for %s", got.args, got.text)
			}
		}
	}
}

// In PostgreSQL the owner's lock comes before the count and the count before the
// insert, in a transaction in which each statement sees what others committed
// before it. The database itself is asked in the examples module.
func TestPostgreSQLCountsUnderALock(t *testing.T) {
	d := &down{up: true, row: []driver.Value{int64(99)}}
	s, err := sqlstore.New(sql.OpenDB(d), sqlstore.Config{Dialect: sqlstore.PostgreSQL})
	if err != nil {
		t.Fatal(err)
	}
	write := func() (string, error) {
		d.statements = nil
		err := s.WriteKeys(t.Context(), nil, &apikey.Record{ID: "k", Owner: "ada", Hash: "h"})
		var all []string
		for _, one := range d.statements {
			all = append(all, strings.Fields(one.text)[0]+" "+strings.Fields(one.text)[1])
		}
		return strings.Join(all, ", "), err
	}
	const lock, count = "SELECT pg_advisory_xact_lock($1), ", "SELECT (SELECT"
	if got, err := write(); got != lock+count+", INSERT INTO" || !errors.Is(err, apikey.ErrConflict) {
		t.Errorf("99 keys: %s (%v)", got, err)
	}
	if len(d.isolations) != 1 || d.isolations[0] != sql.LevelReadCommitted {
		t.Errorf("isolation %v", d.isolations)
	}
	d.row = []driver.Value{int64(100)}
	if got, err := write(); got != lock+count || !errors.Is(err, apikey.ErrTooMany) {
		t.Errorf("100 keys: %s (%v)", got, err)
	}
	if n := s.KeysPerOwner(); n != 100 {
		t.Errorf("the default is %d", n)
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
			s, err := sqlstore.New(sql.OpenDB(&down{up: true, row: row}), sqlstore.Config{Dialect: sqlstore.SQLite})
			if err != nil {
				t.Fatal(err)
			}
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

var errDown = errors.New("the database is down")

// down is a driver whose database is down, or that writes down what it is
// asked and knows at most one row.
type down struct {
	up  bool
	row []driver.Value

	mu         sync.Mutex
	statements []statement
	isolations []sql.IsolationLevel
}

type statement struct {
	text string
	args int
}

func (d *down) Driver() driver.Driver { return nil }
func (d *down) Connect(context.Context) (driver.Conn, error) {
	if !d.up {
		return nil, errDown
	}
	return conn{d}, nil
}

type conn struct{ d *down }

func (c conn) Prepare(string) (driver.Stmt, error) { return nil, errDown }
func (c conn) Close() error                        { return nil }
func (c conn) Begin() (driver.Tx, error)           { return tx{}, nil }

// BeginTx takes what isolation it is asked for, and writes it down.
func (c conn) BeginTx(_ context.Context, options driver.TxOptions) (driver.Tx, error) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.d.isolations = append(c.d.isolations, sql.IsolationLevel(options.Isolation))
	return tx{}, nil
}

func (c conn) note(text string, args []driver.NamedValue) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.d.statements = append(c.d.statements, statement{text, len(args)})
}

func (c conn) ExecContext(_ context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.note(text, args)
	return driver.RowsAffected(0), nil
}

func (c conn) QueryContext(_ context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.note(text, args)
	if c.d.row != nil {
		return &rows{left: [][]driver.Value{c.d.row}}, nil
	}
	return nil, errDown
}

type rows struct{ left [][]driver.Value }

func (r *rows) Columns() []string { return make([]string, len(r.left[0])) }
func (r *rows) Close() error      { return nil }
func (r *rows) Next(dest []driver.Value) error {
	copy(dest, r.left[0])
	return nil
}

type tx struct{}

func (tx) Commit() error   { return nil }
func (tx) Rollback() error { return nil }
