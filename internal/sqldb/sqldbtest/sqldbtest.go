// Package sqldbtest is a database/sql driver without a database, for the tests of
// the SQL stores of this module.
package sqldbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/internal/sqldb"
)

// Dialects are all dialects.
var Dialects = []sqldb.Dialect{sqldb.SQLite, sqldb.PostgreSQL}

// ErrDown is the error of the step that fails.
var ErrDown = errors.New("the database is down")

// A DB is a database that records statements. The zero DB returns no rows and
// changes none.
type DB struct {
	// Fails is the step that fails: "connect", "begin", "commit", "count",
	// "row", or the beginning of a statement.
	Fails string

	// Err is the error of that step. If nil, ErrDown is.
	Err error

	// Answer returns the rows of a query, or how many rows a statement
	// changes.
	Answer func(Statement) (rows [][]driver.Value, changed int64)

	mu         sync.Mutex
	statements []Statement
	isolations []sql.IsolationLevel
	committed  int
}

// A Statement is an executed statement.
type Statement struct {
	Text string
	Args []driver.Value
}

// Open returns the database as a *sql.DB, which is closed when the test ends.
func (d *DB) Open(t testing.TB) *sql.DB {
	db := sql.OpenDB(d)
	t.Cleanup(func() { db.Close() })
	return db
}

// CheckStore fails the test unless the store of a package reports all mistakes
// in the arguments of New, does not use the database in New, and returns a schema
// with so many binary columns for each dialect and no schema for others.
func CheckStore(t *testing.T, pkg string, schema func(sqldb.Dialect) string, binary int, newStore func(*sql.DB, sqldb.Dialect) error) {
	t.Helper()
	err := newStore(nil, 7)
	for _, want := range []string{": the *sql.DB is nil", ": Config.Dialect is Dialect(7); set SQLite or PostgreSQL"} {
		if err == nil || !strings.Contains(err.Error(), pkg+want) {
			t.Errorf("New: %v, want %q in it", err, pkg+want)
		}
	}
	for dialect, name := range map[sqldb.Dialect]string{sqldb.SQLite: "BLOB", sqldb.PostgreSQL: "BYTEA"} {
		d := new(DB)
		if err := newStore(d.Open(t), dialect); err != nil || len(d.Statements()) != 0 {
			t.Errorf("%v: New: %v, statements: %v", dialect, err, d.Statements())
		}
		got := schema(dialect)
		if strings.Count(got, name) != binary || strings.Contains(got, "BYTES") || strings.Contains(got, "NUMBER") {
			t.Errorf("%v: want %d binary columns in the schema\n%s", dialect, binary, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for the schema of an unknown dialect")
		}
	}()
	schema(0)
}

// Statements returns the executed statements.
func (d *DB) Statements() []Statement {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.statements)
}

// Isolations returns the isolation of each transaction.
func (d *DB) Isolations() []sql.IsolationLevel {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.isolations)
}

// Committed returns the number of committed transactions.
func (d *DB) Committed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.committed
}

// CheckStatements fails the test unless each statement has as many parameters as
// arguments, at most 3000, written $1, $2, … in the order in which they first
// occur.
func (d *DB) CheckStatements(t testing.TB) {
	t.Helper()
	for _, s := range d.Statements() {
		last := 0
		for i, part := range strings.Split(s.Text, "$") {
			if i == 0 {
				continue
			}
			digits := len(part) - len(strings.TrimLeft(part, "0123456789"))
			n, err := strconv.Atoi(part[:digits])
			if err != nil || n < 1 || n > last+1 {
				t.Errorf("parameter $%.10s follows $%d in %.200s", part, last, s.Text)
			}
			last = max(last, n)
		}
		if last != len(s.Args) || last > 3000 || strings.Contains(s.Text, "?") {
			t.Errorf("%d parameters for %d arguments in %.200s", last, len(s.Args), s.Text)
		}
	}
}

func (d *DB) step(name string) error {
	if d.Fails == "" || !strings.HasPrefix(strings.TrimSpace(name), d.Fails) {
		return nil
	}
	if d.Err != nil {
		return d.Err
	}
	return ErrDown
}

func (d *DB) execute(text string, args []driver.NamedValue) (rows [][]driver.Value, changed int64, err error) {
	s := Statement{Text: text}
	for _, arg := range args {
		s.Args = append(s.Args, arg.Value)
	}
	d.mu.Lock()
	d.statements = append(d.statements, s)
	d.mu.Unlock()
	if err := d.step(text); err != nil {
		return nil, 0, err
	}
	if d.Answer != nil {
		rows, changed = d.Answer(s)
	}
	return rows, changed, nil
}

// Driver implements [driver.Connector].
func (d *DB) Driver() driver.Driver { return nil }

// Connect implements [driver.Connector].
func (d *DB) Connect(context.Context) (driver.Conn, error) {
	if err := d.step("connect"); err != nil {
		return nil, err
	}
	return conn{d}, nil
}

type conn struct{ d *DB }

func (conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (conn) Close() error                        { return nil }
func (conn) Begin() (driver.Tx, error)           { return nil, errors.New("without a context") }

func (c conn) BeginTx(_ context.Context, options driver.TxOptions) (driver.Tx, error) {
	c.d.mu.Lock()
	c.d.isolations = append(c.d.isolations, sql.IsolationLevel(options.Isolation))
	c.d.mu.Unlock()
	return tx(c), c.d.step("begin")
}

func (c conn) ExecContext(_ context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	_, changed, err := c.d.execute(text, args)
	return result{c.d, changed}, err
}

func (c conn) QueryContext(_ context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	left, _, err := c.d.execute(text, args)
	return &rows{c.d, left, left}, err
}

type rows struct {
	d         *DB
	all, left [][]driver.Value
}

func (r *rows) Columns() []string {
	if len(r.all) == 0 {
		return nil
	}
	return make([]string, len(r.all[0]))
}

func (r *rows) Close() error { return nil }

func (r *rows) Next(to []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	copy(to, r.left[0])
	r.left = r.left[1:]
	if len(r.left) == 0 {
		return r.d.step("row")
	}
	return nil
}

type result struct {
	d       *DB
	changed int64
}

func (r result) LastInsertId() (int64, error) { return 0, errors.New("no identity") }
func (r result) RowsAffected() (int64, error) { return r.changed, r.d.step("count") }

type tx conn

func (t tx) Commit() error {
	if err := t.d.step("commit"); err != nil {
		return err
	}
	t.d.mu.Lock()
	t.d.committed++
	t.d.mu.Unlock()
	return nil
}

func (t tx) Rollback() error { return nil }
