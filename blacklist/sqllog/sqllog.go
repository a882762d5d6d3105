package sqllog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/internal/sqldb"
)

// pkg begins each error.
const pkg = "blacklist/sqllog"

// Config configures a [Log].
type Config struct {
	Dialect Dialect // required
}

// A Log implements [blacklist.Log] and [blacklist.Clock]. It is safe for concurrent
// use, also by several processes.
type Log struct {
	db                     *sqldb.DB
	number, since, expired string // statements
}

var _ blacklist.Log = (*Log)(nil)

// New returns a Log on the tables of [Schema] in db, which the host closes. It does
// not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Log, error) {
	return sqldb.Open(pkg, db, config.Dialect, func(db *sqldb.DB) *Log {
		return &Log{db, numberStatement(config.Dialect), sinceStatement(db), deleteStatement(config.Dialect)}
	})
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (l *Log) Ready(ctx context.Context) error {
	return l.db.Ready(ctx, `INSERT INTO gatewright_revocations (number, kind, id, spare, revoked_before, expires)
		VALUES ($1, 0, '', '', 0, 0)`,
		`DELETE FROM gatewright_revocations WHERE number = $1`, -rand.Int64())
}

// rowsPerInsert keeps the parameters of a statement, six a row, below what the
// databases take, which is 32,766 of SQLite.
const rowsPerInsert = 500

// Append implements [blacklist.Log]. It records all entries or none; after an error
// of the commit it is unknown which.
func (l *Log) Append(ctx context.Context, entries ...blacklist.Entry) (last uint64, err error) {
	const doing = "appending"
	if err := ctx.Err(); err != nil {
		return 0, l.db.Wrap(err, doing)
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return 0, l.db.Wrap(err, doing)
		}
	}
	if len(entries) == 0 {
		return 0, nil
	}
	err = l.db.Tx(ctx, doing, func(tx sqldb.Tx) error {
		// First of all, so that the row is locked: the next Append waits here
		// until this transaction has ended, and its numbers follow. SQLite takes
		// its only lock for it, before it has read anything that could be out of
		// date.
		var number int64
		now := int64(0)
		if l.db.Dialect() == SQLite {
			now = time.Now().UnixMicro()
		}
		var settings [2]sql.NullString
		if _, err := tx.Row(ctx, l.number, []any{now, len(entries)}, &number, &settings[0], &settings[1]); err != nil {
			return err
		}
		last = uint64(number)
		number -= int64(len(entries))
		if number < 0 {
			return fmt.Errorf("the last number is %d after %d entries, which is too small", last, len(entries))
		}
		for from := 0; from < len(entries); from += rowsPerInsert {
			some := entries[from:min(from+rowsPerInsert, len(entries))]
			if err := insert(ctx, tx, number, some); err != nil {
				return err
			}
			number += int64(len(some))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return last, nil
}

// insert records entries with the numbers that follow after.
func insert(ctx context.Context, tx sqldb.Tx, after int64, entries []blacklist.Entry) error {
	var args []any
	for _, e := range entries {
		after++
		spare := []byte{}
		if e.Spare != (blacklist.ID{}) {
			spare = e.Spare[:]
		}
		args = append(args, after, int64(e.Kind), e.ID[:], spare, e.Before, e.Expires)
	}
	n, err := tx.Exec(ctx, `INSERT INTO gatewright_revocations (number, kind, id, spare, revoked_before, expires) VALUES `+
		sqldb.Values(len(entries), 6), args...)
	if err == nil && n != int64(len(entries)) {
		err = fmt.Errorf("%d rows were inserted instead of %d", n, len(entries))
	}
	return err
}

// Since implements [blacklist.Log] in one statement.
func (l *Log) Since(ctx context.Context, after uint64, most int) (entries []blacklist.Entry, position uint64, err error) {
	const doing = "reading"
	if most < 1 {
		return nil, 0, l.db.Wrap(fmt.Errorf("max is %d; pass 1 or more", most), doing)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, l.db.Wrap(err, doing)
	}
	if after > math.MaxInt64 {
		return nil, 0, l.db.Wrap(blacklist.ErrRewound, doing)
	}
	position = after
	var end sql.NullInt64 // NULL before the first Append
	answered := false
	err = l.db.Query(ctx, doing, l.since, []any{int64(after), most}, func(rows *sql.Rows) error {
		var r row
		if err := rows.Scan(&end, &r.writable, &r.number, &r.kind, &r.id, &r.spare, &r.before, &r.expires); err != nil {
			return err
		}
		answered = true
		if !r.writable {
			return sqldb.ErrReadOnly
		}
		if !r.number.Valid {
			return nil // the only row, of a log that has no more entries
		}
		e, err := r.entry()
		if err != nil {
			return fmt.Errorf("entry %d: %w", r.number.Int64, err)
		}
		if r.number.Int64 <= int64(position) || r.number.Int64 > end.Int64 {
			return fmt.Errorf("entry %d follows number %d in a log that ends with %d", r.number.Int64, position, end.Int64)
		}
		position = uint64(r.number.Int64)
		entries = append(entries, e)
		return nil
	})
	if err == nil && !answered {
		err = l.db.Wrap(errors.New("the result has no row"), doing)
	}
	if err == nil && int64(after) > end.Int64 {
		err = l.db.Wrap(blacklist.ErrRewound, doing)
	}
	if err != nil {
		return nil, 0, err
	}
	return entries, position, nil
}

// A row is what Since reads. All but writable is NULL in the row of no entry.
type row struct {
	writable              bool
	number                sql.NullInt64
	kind, before, expires sql.NullInt64
	id, spare             []byte
}

// entry returns the entry, or an error. An unreadable entry may be a logout, so
// it is never skipped.
func (r *row) entry() (e blacklist.Entry, err error) {
	switch {
	case !r.kind.Valid || !r.before.Valid || !r.expires.Valid:
		return e, errors.New("a column is NULL")
	case r.kind.Int64 < 0 || r.kind.Int64 > math.MaxUint8:
		return e, fmt.Errorf("its kind is %d", r.kind.Int64)
	case len(r.id) != len(e.ID):
		return e, fmt.Errorf("its id has %d bytes instead of %d", len(r.id), len(e.ID))
	case len(r.spare) != 0 && len(r.spare) != len(e.Spare):
		return e, fmt.Errorf("its spare has %d bytes instead of 0 or %d", len(r.spare), len(e.Spare))
	}
	e = blacklist.Entry{Kind: blacklist.Kind(r.kind.Int64), ID: blacklist.ID(r.id), Before: r.before.Int64, Expires: r.expires.Int64}
	copy(e.Spare[:], r.spare)
	return e, e.Validate()
}

// rowsPerDelete is how many rows one statement of DeleteExpired deletes, so that
// Appends do not wait for long.
const rowsPerDelete = 5000

// DeleteExpired deletes entries that expired before the time, in statements of 5000
// rows, and returns their number, also with an error.
func (l *Log) DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error) {
	for {
		n, err := l.db.Exec(ctx, "deleting what has expired", l.expired, sqldb.Micros(before), rowsPerDelete)
		deleted += n
		if err != nil || n < rowsPerDelete {
			return deleted, err
		}
	}
}
