// Package sqldb holds what the SQL stores of this module share: dialects,
// schemas, instants, transactions, readiness and errors.
//
// Statements write their parameters as $1, $2, …, numbered in the order in which
// they first occur. PostgreSQL reads the numbers; SQLite reads each as a name
// and numbers the names in the order of their first occurrence, so that both
// databases, and every driver, bind the same values.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Dialect is the SQL that a database understands.
type Dialect int

// The dialects.
const (
	SQLite     Dialect = iota + 1 // 3.35 or later
	PostgreSQL                    // 13 or later
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

// schemaLock is the key of the advisory lock that a schema takes. CREATE … IF NOT
// EXISTS in two transactions at once is an error in PostgreSQL.
const schemaLock = "7310868709561497409"

// Schema returns the statements of a package for a dialect. BYTES and NUMBER in
// them become types: binary data, and a 64-bit integer that can be the key of a
// row. For PostgreSQL the statements begin with an advisory lock, which ends
// with the transaction, so that several processes can create tables at once.
// Schema panics if the dialect is unknown.
func Schema(pkg string, d Dialect, statements string) string {
	switch d {
	case SQLite:
		return strings.NewReplacer("BYTES", "BLOB", "NUMBER", "INTEGER").Replace(statements)
	case PostgreSQL:
		return "SELECT pg_advisory_xact_lock(" + schemaLock + ");\n" +
			strings.NewReplacer("BYTES", "BYTEA", "NUMBER", "BIGINT").Replace(statements)
	}
	panic(pkg + ": unknown " + d.String())
}

// A DB is the database of one store. It is safe for concurrent use.
type DB struct {
	pkg     string
	db      *sql.DB
	dialect Dialect
}

// New returns a DB for the store of a package, whose path begins each error. It
// returns every mistake in the arguments, and does not use the database.
func New(pkg string, db *sql.DB, dialect Dialect) (*DB, error) {
	var mistakes []error
	if db == nil {
		mistakes = append(mistakes, errors.New(pkg+": the *sql.DB is nil; pass one from sql.Open"))
	}
	if dialect != SQLite && dialect != PostgreSQL {
		mistakes = append(mistakes, fmt.Errorf("%s: Config.Dialect is %v; set SQLite or PostgreSQL", pkg, dialect))
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return &DB{pkg, db, dialect}, nil
}

// Open returns the store that wrap makes of a DB: see [New]. If an argument is
// wrong, it returns the zero value and all mistakes, joined.
func Open[Store any](pkg string, db *sql.DB, dialect Dialect, wrap func(*DB) Store) (store Store, err error) {
	shared, err := New(pkg, db, dialect)
	if err != nil {
		return store, err
	}
	return wrap(shared), nil
}

// Dialect returns the dialect of the database.
func (d *DB) Dialect() Dialect { return d.dialect }

// Exec executes one statement and returns the number of rows that it changed. A
// statement that PostgreSQL rejects because of concurrent changes, which happens
// if the default isolation is stricter than read committed, is executed once
// more at read committed. Errors are wrapped: see [DB.Wrap].
func (d *DB) Exec(ctx context.Context, doing, statement string, args ...any) (changed int64, err error) {
	if err := checkText(args); err != nil {
		return 0, d.Wrap(err, doing)
	}
	changed, err = rows(d.db.ExecContext(ctx, statement, args...))
	if state := sqlState(err); state == serializationFailure || state == deadlockDetected {
		err = d.tx(ctx, func(tx Tx) error {
			changed, err = tx.Exec(ctx, statement, args...)
			return err
		})
	}
	return changed, d.Wrap(err, doing)
}

func rows(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// A Deletion is a statement that deletes what expired before a moment, its $1.
type Deletion struct {
	Statement string
	Before    int64
}

// DeleteExpired executes deletions one after the other until one fails, and returns
// how many rows they deleted.
func (d *DB) DeleteExpired(ctx context.Context, all ...Deletion) (deleted int64, err error) {
	for _, one := range all {
		n, err := d.Exec(ctx, "deleting what has expired", one.Statement, one.Before)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// A Tx is a transaction of [DB.Tx]. Errors of its methods are not wrapped.
type Tx struct{ tx *sql.Tx }

// Exec executes a statement and returns the number of rows that it changed.
func (t Tx) Exec(ctx context.Context, statement string, args ...any) (changed int64, err error) {
	if err := checkText(args); err != nil {
		return 0, err
	}
	return rows(t.tx.ExecContext(ctx, statement, args...))
}

// Row reads at most one row into dest and reports whether there was one.
func (t Tx) Row(ctx context.Context, query string, args []any, dest ...any) (found bool, err error) {
	if err := checkText(args); err != nil {
		return false, err
	}
	err = t.tx.QueryRowContext(ctx, query, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Query calls scan for each row of a query.
func (t Tx) Query(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	if err := checkText(args); err != nil {
		return err
	}
	return each(scan)(t.tx.QueryContext(ctx, query, args...))
}

// ErrText is wrapped by errors about a text of the caller that PostgreSQL cannot
// store. The database was not used.
var ErrText = errors.New("a text has a NUL or invalid UTF-8")

func checkText(args []any) error {
	for _, arg := range args {
		if s, ok := arg.(string); ok && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return ErrText
		}
	}
	return nil
}

// Tx calls f in a transaction and commits if f returns nil. In PostgreSQL the
// isolation is read committed: each statement sees what was committed before
// it, and a transaction that waited for a lock goes on instead of failing. In
// SQLite a transaction must write before it reads. Errors are wrapped: see
// [DB.Wrap].
func (d *DB) Tx(ctx context.Context, doing string, f func(Tx) error) error {
	return d.Wrap(d.tx(ctx, f), doing)
}

func (d *DB) tx(ctx context.Context, f func(Tx) error) error {
	var options *sql.TxOptions
	if d.dialect == PostgreSQL { // drivers of SQLite have no levels
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := d.db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(Tx{tx}); err != nil {
		return err
	}
	return tx.Commit()
}

// ErrReadOnly is wrapped by errors of a server or a connection that takes no
// writes, and therefore may lack writes to another server.
var ErrReadOnly = errors.New("the database is read-only here: a standby, or default_transaction_read_only;" +
	" connect to the primary, as target_session_attrs=read-write does, and drop connections that are read-only")

// readOnly is a condition: the server is a standby, or the transaction is
// read-only. A former primary that was fenced by default_transaction_read_only
// lacks the writes to the new primary.
const readOnly = `(pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on')`

// Writable is an expression: whether the database takes writes.
func (d *DB) Writable() string {
	if d.dialect == PostgreSQL {
		return "NOT " + readOnly
	}
	return "TRUE"
}

// Row reads the columns of at most one row, by query, into dest and reports
// whether there was a row. It returns [ErrReadOnly] if the database takes no
// writes: the row, or its absence, may be out of date. An argument that is no text
// for PostgreSQL is in no row.
func (d *DB) Row(ctx context.Context, doing, query string, args []any, dest ...any) (found bool, err error) {
	if checkText(args) != nil {
		return false, nil
	}
	rows, err := d.db.QueryContext(ctx, `SELECT `+d.Writable()+`, q.* FROM (SELECT 1 AS one) o LEFT JOIN (SELECT 1 AS found, r.* FROM (`+query+`) r) q ON TRUE`, args...)
	if err != nil {
		return false, d.Wrap(err, doing)
	}
	defer rows.Close()
	if !rows.Next() {
		return false, d.Wrap(errors.Join(rows.Err(), errors.New("the answer has no row")), doing)
	}
	var writable bool
	var one sql.NullInt64
	all := make([]any, 2+len(dest)) // NULLs, if there is no row
	all[0], all[1] = &writable, &one
	for i := range dest {
		all[2+i] = new(any)
	}
	if err := rows.Scan(all...); err != nil {
		return false, d.Wrap(err, doing)
	}
	if !writable {
		return false, d.Wrap(ErrReadOnly, doing)
	}
	if one.Valid {
		copy(all[2:], dest)
		if err := rows.Scan(all...); err != nil {
			return false, d.Wrap(err, doing)
		}
	}
	if rows.Next() {
		return false, d.Wrap(errors.New("the answer has more than one row"), doing)
	}
	return one.Valid, d.Wrap(rows.Err(), doing)
}

// Query calls scan for each row of a query. An argument that is no text for
// PostgreSQL is in no row.
func (d *DB) Query(ctx context.Context, doing, query string, args []any, scan func(*sql.Rows) error) error {
	if checkText(args) != nil {
		return nil
	}
	return d.Wrap(each(scan)(d.db.QueryContext(ctx, query, args...)), doing)
}

func each(scan func(*sql.Rows) error) func(*sql.Rows, error) error {
	return func(rows *sql.Rows, err error) error {
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// Ready proves that the database takes writes: it executes insert and remove,
// with the same arguments, in one transaction. The row is never visible to
// other transactions.
func (d *DB) Ready(ctx context.Context, insert, remove string, key any) error {
	return d.Tx(ctx, "proving a write", func(tx Tx) error {
		for _, statement := range []string{insert, remove} {
			changed, err := tx.Exec(ctx, statement, key)
			if err != nil {
				return err
			}
			if changed != 1 {
				return fmt.Errorf("a test row was changed %d times instead of once", changed)
			}
		}
		return nil
	})
}

// Values returns n rows of parameters, each with so many columns.
func Values(n, columns int) string {
	var b strings.Builder
	for i := range n {
		for j := range columns {
			switch {
			case j > 0:
				b.WriteString(", ")
			case i > 0:
				b.WriteString("), (")
			default:
				b.WriteByte('(')
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(i*columns + j + 1))
		}
	}
	b.WriteByte(')')
	return b.String()
}

// SQLSTATEs for which an error says what to do.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
)

var advice = map[string]string{
	"26000": "a pooler replaced the connection and its prepared statements: with pgbouncer in transaction pooling," +
		" set default_query_exec_mode=exec for pgx, or max_prepared_statements in pgbouncer 1.21 or later",
	"42P05": "a pooler gave out a connection with prepared statements of another client: with pgbouncer in transaction pooling," +
		" set default_query_exec_mode=exec for pgx, or max_prepared_statements in pgbouncer 1.21 or later",
	"42P01": "create the tables with what Schema returns",
	"42501": "grant the role SELECT, INSERT, UPDATE and DELETE on the tables of Schema",
}

func sqlState(err error) string {
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return e.SQLState()
	}
	return ""
}

// Wrap returns err with the path of the package and the failed operation, and with
// what to do about errors of PostgreSQL that the host can fix. It returns nil if
// err is nil.
func (d *DB) Wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	state := sqlState(err)
	if state == "25006" {
		return fmt.Errorf("%s: %s: %w: %w", d.pkg, doing, ErrReadOnly, err)
	}
	if todo := advice[state]; todo != "" {
		return fmt.Errorf("%s: %s: %w; %s", d.pkg, doing, err, todo)
	}
	return fmt.Errorf("%s: %s: %w", d.pkg, doing, err)
}

// Micros returns t in microseconds since 1970, and 0 for the zero time. Times that
// do not fit are cut.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	const most = math.MaxInt64/1_000_000 - 1
	return min(max(t.Unix(), -most), most)*1_000_000 + int64(t.Nanosecond()/1000)
}

// Instant returns the time of [Micros], in UTC, and the zero time for 0.
func Instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
