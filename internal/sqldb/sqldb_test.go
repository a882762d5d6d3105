package sqldb_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/sqldb"
	"github.com/gatewright/gatewright/internal/sqldb/sqldbtest"
)

func open(t *testing.T, d *sqldbtest.DB, dialect sqldb.Dialect) *sqldb.DB {
	t.Helper()
	db, err := sqldb.New("room/store", d.Open(t), dialect)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// state is an error of PostgreSQL.
type state string

func (s state) Error() string    { return "SQLSTATE " + string(s) }
func (s state) SQLState() string { return string(s) }

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := sqldb.New("room/store", nil, 7)
	for _, want := range []string{"room/store: the *sql.DB is nil; pass one from sql.Open", "room/store: Config.Dialect is Dialect(7); set SQLite or PostgreSQL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q in it", err, want)
		}
	}
	d := new(sqldbtest.DB)
	for _, dialect := range sqldbtest.Dialects {
		if db := open(t, d, dialect); db.Dialect() != dialect || len(d.Statements()) != 0 {
			t.Errorf("%v: %v after %v", dialect, db.Dialect(), d.Statements())
		}
	}
}

func TestSchemaHasTypesOfTheDialectAndALock(t *testing.T) {
	const statements = "CREATE TABLE a (id NUMBER, b BYTES)"
	if got := sqldb.Schema("p", sqldb.SQLite, statements); got != "CREATE TABLE a (id INTEGER, b BLOB)" {
		t.Errorf("SQLite: %s", got)
	}
	got := sqldb.Schema("p", sqldb.PostgreSQL, statements)
	if !strings.HasPrefix(got, "SELECT pg_advisory_xact_lock(") || !strings.HasSuffix(got, ";\nCREATE TABLE a (id BIGINT, b BYTEA)") {
		t.Errorf("PostgreSQL: %s", got)
	}
	defer func() {
		if recover() != "p: unknown Dialect(0)" {
			t.Error("no panic for an unknown dialect")
		}
	}()
	sqldb.Schema("p", 0, statements)
}

func TestTransactionsSetTheirIsolation(t *testing.T) {
	for dialect, want := range map[sqldb.Dialect]sql.IsolationLevel{sqldb.SQLite: sql.LevelDefault, sqldb.PostgreSQL: sql.LevelReadCommitted} {
		d := new(sqldbtest.DB)
		if err := open(t, d, dialect).Tx(t.Context(), "d", func(sqldb.Tx) error { return nil }); err != nil || d.Committed() != 1 {
			t.Errorf("%v: %v, committed %d", dialect, err, d.Committed())
		}
		if got := d.Isolations(); len(got) != 1 || got[0] != want {
			t.Errorf("%v: %v", dialect, got)
		}
		failed := errors.New("failed")
		if err := open(t, d, dialect).Tx(t.Context(), "d", func(sqldb.Tx) error { return failed }); !errors.Is(err, failed) || d.Committed() != 1 {
			t.Errorf("%v: %v, committed %d", dialect, err, d.Committed())
		}
	}
}

// A statement outside a transaction has the isolation that the server has.
func TestAStatementThatFailsByIsolationIsRepeated(t *testing.T) {
	for _, code := range []string{"40001", "40P01", "23505"} {
		d := &sqldbtest.DB{Fails: "UPDATE", Err: state(code)}
		d.Answer = func(sqldbtest.Statement) ([][]driver.Value, int64) { return nil, 3 }
		db := open(t, d, sqldb.PostgreSQL)
		_, err := db.Exec(t.Context(), "d", "UPDATE a SET b = $1", 1)
		tries := len(d.Statements())
		want := 2
		if code == "23505" {
			want = 1
		}
		if err == nil || tries != want || len(d.Isolations()) != want-1 {
			t.Errorf("%s: %v after %d tries with isolation %v", code, err, tries, d.Isolations())
		}
	}
}

func TestTextThatNoDatabaseStoresNeverReachesIt(t *testing.T) {
	for _, bad := range []string{"a\x00", "\xff"} {
		for _, dialect := range sqldbtest.Dialects {
			d := new(sqldbtest.DB)
			db := open(t, d, dialect)
			if n, err := db.Exec(t.Context(), "d", "UPDATE a SET b = $1", bad); n != 0 || !errors.Is(err, sqldb.ErrText) {
				t.Errorf("Exec: %d, %v", n, err)
			}
			if found, err := db.Row(t.Context(), "d", "SELECT b FROM a WHERE b = $1", []any{bad}); found || err != nil {
				t.Errorf("Row: %t, %v", found, err)
			}
			if err := db.Query(t.Context(), "d", "SELECT b FROM a WHERE b = $1", []any{bad}, nil); err != nil {
				t.Errorf("Query: %v", err)
			}
			err := db.Tx(t.Context(), "d", func(tx sqldb.Tx) error {
				_, err1 := tx.Exec(t.Context(), "UPDATE a SET b = $1", bad)
				_, err2 := tx.Row(t.Context(), "SELECT b FROM a WHERE b = $1", []any{bad})
				err3 := tx.Query(t.Context(), "SELECT b FROM a WHERE b = $1", []any{bad}, nil)
				for _, err := range []error{err1, err2, err3} {
					if !errors.Is(err, sqldb.ErrText) {
						t.Errorf("Tx: %v", err)
					}
				}
				return err1
			})
			if !errors.Is(err, sqldb.ErrText) || len(d.Statements()) != 0 {
				t.Errorf("%v: %v after %v", dialect, err, d.Statements())
			}
		}
	}
}

func TestRowOfAReadOnlyDatabaseIsAnError(t *testing.T) {
	tests := []struct {
		name   string
		answer []driver.Value
		found  bool
		err    error
	}{
		{"a row", []driver.Value{true, int64(1), "x"}, true, nil},
		{"none", []driver.Value{true, nil, nil}, false, nil},
		{"a row of a standby", []driver.Value{false, int64(1), "x"}, false, sqldb.ErrReadOnly},
		{"none of a standby", []driver.Value{false, nil, nil}, false, sqldb.ErrReadOnly},
	}
	for _, tt := range tests {
		d := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return [][]driver.Value{tt.answer}, 0 }}
		var got string
		found, err := open(t, d, sqldb.PostgreSQL).Row(t.Context(), "d", "SELECT b FROM a", nil, &got)
		if found != tt.found || !errors.Is(err, tt.err) || (got == "x") != tt.found {
			t.Errorf("%s: %t, %q, %v", tt.name, found, got, err)
		}
	}
	two := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) {
		return [][]driver.Value{{true, int64(1), "x"}, {true, int64(1), "y"}}, 0
	}}
	if found, err := open(t, two, sqldb.SQLite).Row(t.Context(), "d", "SELECT b FROM a", nil, new(string)); found || err == nil {
		t.Errorf("two rows: %t, %v", found, err)
	}
	if found, err := open(t, new(sqldbtest.DB), sqldb.SQLite).Row(t.Context(), "d", "SELECT b FROM a", nil, new(string)); found || err == nil {
		t.Errorf("no row at all: %t, %v", found, err)
	}
}

func TestReadyWritesAndLeavesNothing(t *testing.T) {
	for _, step := range []string{"", "connect", "begin", "INSERT", "DELETE", "count", "commit"} {
		d := &sqldbtest.DB{Fails: step, Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return nil, 1 }}
		err := open(t, d, sqldb.PostgreSQL).Ready(t.Context(), "INSERT INTO a (b) VALUES ($1)", "DELETE FROM a WHERE b = $1", "k")
		if (err == nil) != (step == "") || (d.Committed() == 1) != (step == "") {
			t.Errorf("%q fails: %v, committed %d", step, err, d.Committed())
		}
		d.CheckStatements(t)
	}
	d := new(sqldbtest.DB) // takes a statement and changes nothing
	if err := open(t, d, sqldb.SQLite).Ready(t.Context(), "INSERT", "DELETE", "k"); err == nil || d.Committed() != 0 {
		t.Errorf("nothing was written: %v", err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	db := open(t, new(sqldbtest.DB), sqldb.PostgreSQL)
	if db.Wrap(nil, "d") != nil {
		t.Error("no error became one")
	}
	for code, want := range map[string]string{
		"25006": "connect to the primary",
		"26000": "default_query_exec_mode=exec",
		"42P05": "default_query_exec_mode=exec",
		"42P01": "what Schema returns",
		"42501": "grant the role SELECT, INSERT, UPDATE and DELETE",
		"23505": "SQLSTATE 23505",
	} {
		err := db.Wrap(state(code), "doing this")
		if !strings.HasPrefix(err.Error(), "room/store: doing this: ") || !strings.Contains(err.Error(), want) || !errors.Is(err, state(code)) {
			t.Errorf("%s: %v", code, err)
		}
		if errors.Is(err, sqldb.ErrReadOnly) != (code == "25006") {
			t.Errorf("%s: ErrReadOnly is %t", code, errors.Is(err, sqldb.ErrReadOnly))
		}
	}
}

func TestValuesNumbersParametersByRow(t *testing.T) {
	if got := sqldb.Values(2, 3); got != "($1, $2, $3), ($4, $5, $6)" {
		t.Error(got)
	}
	if got := sqldb.Values(1, 1); got != "($1)" {
		t.Error(got)
	}
}

func TestMicrosAndInstant(t *testing.T) {
	for _, when := range []time.Time{{}, time.UnixMicro(1), time.UnixMicro(-1), time.Date(2026, 12, 1, 2, 3, 4, 5000, time.FixedZone("x", 3600))} {
		got := sqldb.Instant(sqldb.Micros(when))
		if !got.Equal(when) || got.IsZero() != when.IsZero() || got.Location() != time.UTC {
			t.Errorf("%v became %v", when, got)
		}
	}
	if sqldb.Micros(time.Unix(math.MaxInt64/2, 0)) < 1<<62 || sqldb.Micros(time.Unix(math.MinInt64/2, 0)) > -1<<62 {
		t.Error("a far time wraps around")
	}
}
