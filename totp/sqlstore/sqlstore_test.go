package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/sqlstore"
)

// The conformance suite runs against real databases in the examples module,
// which has their drivers. Here is what needs none.

func TestNew(t *testing.T) {
	db := sql.OpenDB(new(fake))
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

// A database that does not answer is an error, and never a record.
func TestDatabaseDown(t *testing.T) {
	ctx := context.Background()
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		s := store(t, &fake{err: errDown}, dialect)
		if r, err := s.LoadTOTP(ctx, "alice"); r.Version != 0 || len(r.Active) != 0 || !errors.Is(err, errDown) || !strings.HasPrefix(err.Error(), "sqlstore: ") {
			t.Errorf("%v: LoadTOTP = %+v, %v", dialect, r, err)
		}
		for _, version := range []int64{0, 1} {
			if saved, err := s.SaveTOTP(ctx, "alice", totp.Record{Version: version}); saved || !errors.Is(err, errDown) || !strings.HasPrefix(err.Error(), "sqlstore: ") {
				t.Errorf("%v: SaveTOTP of version %d = %t, %v", dialect, version, saved, err)
			}
		}
	}
}

// Placeholders are those of the dialect, as many as there are arguments, and
// whether a row was changed is the answer.
func TestStatements(t *testing.T) {
	ctx := context.Background()
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		for _, changed := range []int64{0, 1} {
			f := &fake{changed: changed}
			s := store(t, f, dialect)
			if r, err := s.LoadTOTP(ctx, "alice"); r.Version != 0 || err != nil {
				t.Errorf("%v: LoadTOTP of nobody = %+v, %v", dialect, r, err)
			}
			for _, version := range []int64{0, 1} {
				if saved, err := s.SaveTOTP(ctx, "alice", totp.Record{Version: version}); saved != (changed == 1) || err != nil {
					t.Errorf("%v: SaveTOTP that changed %d rows = %t, %v", dialect, changed, saved, err)
				}
			}
			if len(f.statements) != 3 {
				t.Fatalf("%v: %d statements", dialect, len(f.statements))
			}
			for _, got := range f.statements {
				switch {
				case dialect == sqlstore.SQLite && strings.Count(got.text, "?") != got.args:
					t.Errorf("%d arguments for %s", got.args, got.text)
				case dialect == sqlstore.PostgreSQL && (strings.Contains(got.text, "?") || strings.Count(got.text, "$") != got.args || !strings.Contains(got.text, "$1")):
					t.Errorf("%d arguments for %s", got.args, got.text)
				}
			}
		}
	}
}

// A row that somebody has damaged is an error: half a list of recovery codes is
// not a list.
func TestDamagedRowIsAnError(t *testing.T) {
	row := []driver.Value{int64(3), []byte("active"), nil, int64(0), int64(7), make([]byte, 64), int64(1), int64(1_000_001), int64(0)}
	s := store(t, &fake{row: row}, sqlstore.SQLite)
	r, err := s.LoadTOTP(context.Background(), "alice")
	if err != nil || r.Version != 3 || len(r.Recovery) != 2 || r.Step != 7 || r.Guesses.Failures != 1 ||
		!r.Guesses.Retry.Equal(time.UnixMicro(1_000_001)) || !r.Guesses.Forgiven.IsZero() || !r.PendingUntil.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	for _, damage := range []int{1, 31, 33, 63} {
		row[5] = make([]byte, damage)
		if r, err := s.LoadTOTP(context.Background(), "alice"); err == nil || r.Version != 0 {
			t.Errorf("%d bytes of recovery codes: %+v, %v", damage, r, err)
		}
	}
}

func store(t *testing.T, f *fake, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(sql.OpenDB(f), sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var errDown = errors.New("the database is down")

// fake is a driver that writes down what it is asked, and answers with an
// error, one row or none.
type fake struct {
	err     error
	row     []driver.Value
	changed int64

	statements []statement
}

type statement struct {
	text string
	args int
}

func (f *fake) Driver() driver.Driver { return nil }
func (f *fake) Connect(context.Context) (driver.Conn, error) {
	if f.err != nil {
		return nil, f.err
	}
	return conn{f}, nil
}

type conn struct{ f *fake }

func (c conn) Prepare(string) (driver.Stmt, error) { return nil, errDown }
func (c conn) Close() error                        { return nil }
func (c conn) Begin() (driver.Tx, error)           { return nil, errDown }

func (c conn) ExecContext(_ context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.f.statements = append(c.f.statements, statement{text, len(args)})
	return driver.RowsAffected(c.f.changed), nil
}

func (c conn) QueryContext(_ context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.f.statements = append(c.f.statements, statement{text, len(args)})
	return &rows{row: c.f.row}, nil
}

// rows are one row, or none.
type rows struct{ row []driver.Value }

func (*rows) Columns() []string {
	return []string{"version", "active", "pending", "pending_until", "step", "recovery", "failures", "retry", "forgiven"}
}
func (*rows) Close() error { return nil }
func (r *rows) Next(dest []driver.Value) error {
	if r.row == nil {
		return io.EOF
	}
	copy(dest, r.row)
	r.row = nil
	return nil
}
