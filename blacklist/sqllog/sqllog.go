package sqllog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gatewright/gatewright/blacklist"
)

// Config says how to speak to the database.
type Config struct {
	// Dialect is what the database speaks. Required.
	Dialect Dialect
}

// A Log is a [blacklist.Log] and a [blacklist.Compacter] in a database. It is
// safe for concurrent use, by several processes too.
type Log struct {
	db      *sql.DB
	dialect Dialect
	statements
}

var (
	_ blacklist.Log       = (*Log)(nil)
	_ blacklist.Compacter = (*Log)(nil)
)

// New returns the log in db, whose tables exist: see [Schema]. It does not ask
// the database. The host closes db.
func New(db *sql.DB, config Config) (*Log, error) {
	var wrong []error
	if db == nil {
		wrong = append(wrong, errors.New("sqllog: the *sql.DB is nil, want one that sql.Open returned"))
	}
	l := &Log{db: db, dialect: config.Dialect}
	switch config.Dialect {
	case SQLite:
		l.statements = sqlite
	case PostgreSQL:
		l.statements = postgreSQL
	default:
		wrong = append(wrong, fmt.Errorf("sqllog: Config.Dialect is %v, want SQLite or PostgreSQL", config.Dialect))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return l, nil
}

// rowsPerInsert keeps the parameters of a statement, six a row, below what the
// databases take, which is 32,766 of SQLite.
const rowsPerInsert = 500

// Append implements [blacklist.Log]. All entries are recorded or none; after an
// error while it committed it is not known which.
func (l *Log) Append(ctx context.Context, entries ...blacklist.Entry) (last uint64, err error) {
	defer func() { err = wrap(err, "appending") }()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return 0, err
		}
	}
	if len(entries) == 0 {
		return 0, nil
	}
	var options *sql.TxOptions
	if l.dialect == PostgreSQL {
		// Appends that wait for each other go on with the newest number. At
		// a stricter level, should that be the default, they would fail.
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := l.db.BeginTx(ctx, options)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	// First of all, so that the row is locked: who comes next waits here until
	// this transaction has ended, and its numbers follow. SQLite takes its
	// only lock for it, before it has read anything that could be out of date.
	number, err := l.reserve(ctx, tx, int64(len(entries)))
	if err != nil {
		return 0, err
	}
	last = uint64(number)
	number -= int64(len(entries))
	if number < 0 {
		return 0, fmt.Errorf("the last number is %d after %d entries, want a greater one", last, len(entries))
	}
	for from := 0; from < len(entries); from += rowsPerInsert {
		some := entries[from:min(from+rowsPerInsert, len(entries))]
		if err := l.insert(ctx, tx, number, some); err != nil {
			return 0, err
		}
		number += int64(len(some))
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	return last, nil
}

// reserve returns the last of n numbers that are this transaction's.
func (l *Log) reserve(ctx context.Context, tx *sql.Tx, n int64) (last int64, err error) {
	if l.dialect == PostgreSQL {
		var settings [2]sql.NullString
		err = tx.QueryRowContext(ctx, l.number, n).Scan(&last, &settings[0], &settings[1])
		return last, err
	}
	err = tx.QueryRowContext(ctx, l.number, time.Now().UnixMicro(), n, n).Scan(&last)
	return last, err
}

// insert records entries with the numbers that follow after.
func (l *Log) insert(ctx context.Context, tx *sql.Tx, after int64, entries []blacklist.Entry) error {
	var statement strings.Builder
	statement.WriteString(`INSERT INTO gatewright_revocations (number, kind, id, spare, revoked_before, expires) VALUES `)
	var args []any
	for i, e := range entries {
		after++
		if i > 0 {
			statement.WriteString(", ")
		}
		n := len(args)
		fmt.Fprintf(&statement, "(%s, %s, %s, %s, %s, %s)", l.mark(n+1), l.mark(n+2), l.mark(n+3), l.mark(n+4), l.mark(n+5), l.mark(n+6))
		spare := []byte{}
		if e.Spare != (blacklist.ID{}) {
			spare = e.Spare[:]
		}
		args = append(args, after, int64(e.Kind), e.ID[:], spare, e.Before, e.Expires)
	}
	result, err := tx.ExecContext(ctx, statement.String(), args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != int64(len(entries)) {
		return errors.Join(fmt.Errorf("%d rows were inserted, want %d", n, len(entries)), err)
	}
	return nil
}

// Since implements [blacklist.Log] with one statement, which sees the database
// at one moment.
func (l *Log) Since(ctx context.Context, after uint64, most int) (_ []blacklist.Entry, _ uint64, err error) {
	defer func() { err = wrap(err, "reading") }()
	if most < 1 {
		return nil, 0, fmt.Errorf("asked for at most %d entries, want one or more", most)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if after > math.MaxInt64 {
		return nil, 0, blacklist.ErrRewound
	}
	rows, err := l.db.QueryContext(ctx, l.since, int64(after), most)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var entries []blacklist.Entry
	position := after
	var end int64 // stays zero before the first Append
	for rows.Next() {
		var r row
		if err := rows.Scan(&end, &r.standby, &r.number, &r.kind, &r.id, &r.spare, &r.before, &r.expires); err != nil {
			return nil, 0, err
		}
		if r.standby {
			return nil, 0, errors.New("the server is a standby, which learns of revocations late; want the primary, as with target_session_attrs=read-write")
		}
		if !r.number.Valid {
			break // the only row, of a log that has no more entries
		}
		e, err := r.entry()
		if err != nil {
			return nil, 0, fmt.Errorf("entry %d: %w", r.number.Int64, err)
		}
		if r.number.Int64 <= int64(position) || r.number.Int64 > end {
			return nil, 0, fmt.Errorf("entry %d follows number %d in a log that ends with %d", r.number.Int64, position, end)
		}
		position = uint64(r.number.Int64)
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	if int64(after) > end {
		return nil, 0, blacklist.ErrRewound
	}
	return entries, position, nil
}

// A row is what Since reads. All but standby is NULL in the row of no entry.
type row struct {
	standby               bool
	number                sql.NullInt64
	kind, before, expires sql.NullInt64
	id, spare             []byte
}

// entry returns the entry, or why it is none. It might be somebody's logout, so
// it is never passed over.
func (r *row) entry() (e blacklist.Entry, err error) {
	switch {
	case !r.kind.Valid || !r.before.Valid || !r.expires.Valid:
		return e, errors.New("a column is NULL")
	case r.kind.Int64 < 0 || r.kind.Int64 > math.MaxUint8:
		return e, fmt.Errorf("its kind is %d", r.kind.Int64)
	case len(r.id) != len(e.ID):
		return e, fmt.Errorf("its id has %d bytes, want %d", len(r.id), len(e.ID))
	case len(r.spare) != 0 && len(r.spare) != len(e.Spare):
		return e, fmt.Errorf("its spare has %d bytes, want none or %d", len(r.spare), len(e.Spare))
	}
	e = blacklist.Entry{Kind: blacklist.Kind(r.kind.Int64), ID: blacklist.ID(r.id), Before: r.before.Int64, Expires: r.expires.Int64}
	copy(e.Spare[:], r.spare)
	return e, e.Validate()
}

// rowsPerDelete is how many rows one statement of Compact deletes, so that
// Appends do not wait for long.
const rowsPerDelete = 5000

// Compact implements [blacklist.Compacter]. Several machines may compact at the
// same time. What it did before an error stays done.
func (l *Log) Compact(ctx context.Context, before time.Time) error {
	for {
		result, err := l.db.ExecContext(ctx, l.compact, micros(before), rowsPerDelete)
		if err != nil {
			return wrap(err, "compacting")
		}
		switch n, err := result.RowsAffected(); {
		case err != nil:
			return wrap(err, "compacting")
		case n < rowsPerDelete:
			return nil
		}
	}
}

// micros returns t in microseconds since 1970. Dates that do not fit are cut.
func micros(t time.Time) int64 {
	const most = math.MaxInt64/1_000_000 - 1
	return min(max(t.Unix(), -most), most)*1_000_000 + int64(t.Nanosecond()/1000)
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqllog: %s: %w", doing, err)
}
