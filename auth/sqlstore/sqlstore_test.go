package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/sqlstore"
)

// The conformance suites run against real databases in the examples module,
// which has their drivers. Here is what needs none.

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
		if strings.Count(got, binary) != 3 || strings.Contains(got, "BYTES") {
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

// A database that does not answer is an error, and never an outcome.
func TestDatabaseDown(t *testing.T) {
	ctx := context.Background()
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		s, err := sqlstore.New(sql.OpenDB(new(down)), sqlstore.Config{Dialect: dialect})
		if err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name string
			call func() (any, error)
		}{
			{"CreateRefresh", func() (any, error) {
				return nil, s.CreateRefresh(ctx, auth.Session{ID: "s"}, auth.TokenHash{}, time.Now())
			}},
			{"RotateRefresh", func() (any, error) {
				got, err := s.RotateRefresh(ctx, auth.Rotation{Session: "s"})
				if got != (auth.Rotated{}) {
					return got, err
				}
				return nil, err
			}},
			{"RevokeRefresh", func() (any, error) { return nil, s.RevokeRefresh(ctx, identity.Revocation{Session: "s"}) }},
			{"Sessions", func() (any, error) { all, err := s.Sessions(ctx, "u"); return or(all != nil), err }},
			{"AttemptChallenge", func() (any, error) {
				ok, err := s.AttemptChallenge(ctx, auth.TokenHash{}, 5, time.Now())
				return or(ok), err
			}},
			{"FinishChallenge", func() (any, error) { ok, err := s.FinishChallenge(ctx, auth.TokenHash{}); return or(ok), err }},
			{"DeleteExpired", func() (any, error) { n, err := s.DeleteExpired(ctx, time.Now()); return or(n != 0), err }},
		}
		for _, tt := range tests {
			t.Run(dialect.String()+": "+tt.name, func(t *testing.T) {
				if got, err := tt.call(); got != nil || !errors.Is(err, errDown) || !strings.HasPrefix(err.Error(), "sqlstore: ") {
					t.Errorf("%v, %v; want an error of the database and nothing else", got, err)
				}
			})
		}
		t.Run(dialect.String()+": what is not asked of the database", func(t *testing.T) {
			if ok, err := s.AttemptChallenge(ctx, auth.TokenHash{}, 0, time.Now()); ok || err != nil {
				t.Errorf("an attempt of none: %v, %v", ok, err)
			}
			for _, which := range []identity.Revocation{{}, {Issuer: "https://any.example"}, {Session: "s", Credential: "c"}} {
				if err := s.RevokeRefresh(ctx, which); err == nil || errors.Is(err, errDown) {
					t.Errorf("RevokeRefresh(%+v): %v, want that it is refused", which, err)
				}
			}
		})
	}
}

func or(set bool) any {
	if set {
		return true
	}
	return nil
}

// Placeholders are those of the dialect, as many as there are arguments.
func TestPlaceholders(t *testing.T) {
	ctx := context.Background()
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		d := &down{up: true}
		s, err := sqlstore.New(sql.OpenDB(d), sqlstore.Config{Dialect: dialect})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		s.CreateRefresh(ctx, auth.Session{ID: "s", Created: now, Expires: now}, auth.TokenHash{}, now)
		s.RotateRefresh(ctx, auth.Rotation{Session: "s", Now: now})
		s.RevokeRefresh(ctx, identity.Revocation{Session: "s", Subject: "u", Tenant: "t", Before: now})
		s.Sessions(ctx, "u")
		s.AttemptChallenge(ctx, auth.TokenHash{}, 5, now)
		s.FinishChallenge(ctx, auth.TokenHash{})
		s.DeleteExpired(ctx, now)
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

var errDown = errors.New("the database is down")

// down is a driver whose database is down, or that writes down what it is
// asked and knows nothing.
type down struct {
	up bool

	mu         sync.Mutex
	statements []statement
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
	return nil, errDown
}

type tx struct{}

func (tx) Commit() error   { return nil }
func (tx) Rollback() error { return nil }
