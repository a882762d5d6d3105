// Package sqlstore counts the limits of package ratelimit in PostgreSQL, or in
// SQLite for the processes of one machine, with any database/sql driver.
//
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.PostgreSQL)) // or a migration
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//
// See [github.com/gatewright/gatewright/auth/sqlstore] for databases. The charges
// of a request are one transaction, by the clock of PostgreSQL, or of the machine
// for SQLite. Requests for one key wait for each other. Call [Store.DeleteExpired]
// every minute.
//
// In PostgreSQL the table is UNLOGGED: a crash of the server resets all limits. To
// prevent it, create the table without that word. For SQLite use a file of its own
// with journal_mode(wal), busy_timeout(1000), synchronous(off) and
// [sql.DB.SetMaxOpenConns] of 1. A power cut may damage the file.
//
// # Security considerations
//
// If the clock is set back, charges are kept for one window (1.1 windows of a
// Strict limit) from then on; if it is set forward, charges are dropped earlier by
// as much.
//
// An attacker with write access can reset every limit. Keys are hashes and do not
// reveal addresses. Each limited request holds a connection for two to four round
// trips: use a pool of its own, or refused requests can exhaust the pool of the
// handlers.
package sqlstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/sqldb"
	"github.com/gatewright/gatewright/ratelimit"
)

// pkg begins each error.
const pkg = "ratelimit/sqlstore"

// A Dialect is an SQL dialect, the same type in all SQL stores.
type Dialect = sqldb.Dialect

// The dialects.
const (
	SQLite     = sqldb.SQLite     // 3.35 or later
	PostgreSQL = sqldb.PostgreSQL // 13 or later
)

// Schema returns the statements that create the table if it does not exist. Several
// processes may execute them at once. Schema panics if d is unknown.
func Schema(d Dialect) string {
	// No index on expires: it would have to be written with every request,
	// and is read once a minute. In PostgreSQL half of each page is left free,
	// so that a row changes in its page.
	unlogged, options := "", "WITHOUT ROWID"
	if d == PostgreSQL {
		unlogged, options = "UNLOGGED ", "WITH (fillfactor = 50)"
	}
	return sqldb.Schema(pkg, d, `CREATE `+unlogged+`TABLE IF NOT EXISTS gatewright_limits (
	id      BYTES  PRIMARY KEY,
	spent   TEXT   NOT NULL,
	expires BIGINT NOT NULL
) `+options+`;
`)
}

// Config configures a [Store].
type Config struct {
	Dialect Dialect // required
}

// A Store implements [ratelimit.Store]. It is safe for concurrent use, also by
// several processes.
type Store struct {
	db      *sqldb.DB
	breaker ratelimit.Breaker
}

// Breaker returns the Breaker that all limiters of s share.
func (s *Store) Breaker() *ratelimit.Breaker { return &s.breaker }

var _ ratelimit.Store = (*Store)(nil)

// New returns a Store on the table of [Schema] in db, which the host closes. It
// does not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Store, error) {
	return sqldb.Open(pkg, db, config.Dialect, func(db *sqldb.DB) *Store { return &Store{db: db} })
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, `INSERT INTO gatewright_limits (id, spent, expires) VALUES ($1, '', 0)`,
		`DELETE FROM gatewright_limits WHERE id = $1`, []byte("ready "+rand.Text()))
}

// Take implements [ratelimit.Store].
func (s *Store) Take(ctx context.Context, charges []ratelimit.Charge) (states []ratelimit.State, receipt ratelimit.Receipt, err error) {
	if err := ctx.Err(); err != nil {
		return nil, ratelimit.Receipt{}, err
	}
	if err := ratelimit.Validate(charges); err != nil {
		return nil, ratelimit.Receipt{}, err
	}
	states = make([]ratelimit.State, len(charges))
	now, err := s.change(ctx, "charging", charges, func(all []spent, now int64) bool {
		ok := true
		for i := range charges {
			wait, fits := all[i].fits(&charges[i], now)
			states[i].Refused, states[i].RetryAfter = !fits, wait
			ok = ok && fits
		}
		for i := range charges {
			if ok {
				all[i].add(&charges[i], now)
			}
			state := all[i].state(&charges[i].Limit, now)
			states[i].Remaining, states[i].Reset = state.Remaining, state.Reset
		}
		return ok
	})
	if err != nil {
		return nil, ratelimit.Receipt{}, err
	}
	if slices.ContainsFunc(states, func(s ratelimit.State) bool { return s.Refused }) {
		return states, ratelimit.Receipt{}, nil
	}
	return states, ratelimit.NewReceipt(time.Duration(now)*time.Microsecond, charges), nil
}

// Refund implements [ratelimit.Store]. It does not return charges that the database
// has lost.
func (s *Store) Refund(ctx context.Context, receipt ratelimit.Receipt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at, charges := receipt.Use()
	if len(charges) == 0 {
		return nil
	}
	_, err := s.change(ctx, "refunding", charges, func(all []spent, now int64) bool {
		for i := range charges {
			all[i].giveBack(&charges[i], at.Microseconds(), now)
		}
		return true
	})
	return err
}

// DeleteExpired deletes up to 1000 rows that count no more at before (in PostgreSQL
// also by the server's clock), and returns their number. Call it again if it
// returned 1000.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (int64, error) {
	expired := `expires <= $1`
	if s.db.Dialect() == PostgreSQL {
		// Rows that are being charged are skipped, not waited for: rows locked
		// in another order make a deadlock.
		expired += ` AND expires <= ` + clock + ` LIMIT 1000 FOR UPDATE SKIP LOCKED`
	} else {
		expired += ` LIMIT 1000`
	}
	return s.db.Exec(ctx, "deleting what has expired",
		`DELETE FROM gatewright_limits WHERE id IN (SELECT id FROM gatewright_limits WHERE `+expired+`)`, sqldb.Micros(before))
}

// clock is the time of PostgreSQL at the moment, not at the beginning of the
// transaction, which may have waited for a lock.
const clock = `CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)`

// change locks the rows of charges, lets f change their content, and writes them
// if f returns true. It returns the time under the lock.
func (s *Store) change(ctx context.Context, doing string, charges []ratelimit.Charge, f func(all []spent, now int64) bool) (now int64, err error) {
	ids := make([][]byte, len(charges))
	order := make([]int, len(charges))
	for i := range charges {
		ids[i], order[i] = id(&charges[i]), i
	}
	slices.SortFunc(order, func(i, j int) int { return bytes.Compare(ids[i], ids[j]) })

	err = s.db.Tx(ctx, doing, func(tx sqldb.Tx) error {
		var rows []string
		if rows, now, err = s.lock(ctx, tx, ids, order); err != nil {
			return err
		}
		all := make([]spent, len(charges))
		moved := false
		for i := range charges {
			if all[i], err = parse(&charges[i].Limit, rows[i], now); err != nil {
				return err
			}
			moved = moved || all[i].moved
		}
		if write := f(all, now); !write && !moved {
			return errUnchanged
		}
		args := make([]any, 0, 3*len(charges))
		for _, i := range order {
			row, expires := all[i].row(&charges[i].Limit)
			args = append(args, ids[i], row, expires)
		}
		_, err := tx.Exec(ctx, `INSERT INTO gatewright_limits (id, spent, expires) VALUES `+sqldb.Values(len(charges), 3)+
			` ON CONFLICT (id) DO UPDATE SET spent = excluded.spent, expires = excluded.expires`, args...)
		return err
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return now, err
}

// errUnchanged rolls a transaction back that would write what was there.
var errUnchanged = errors.New("nothing changed")

// lock makes sure that there is a row for each of ids, locks them in order, and
// returns their content.
func (s *Store) lock(ctx context.Context, tx sqldb.Tx, ids [][]byte, order []int) (spent []string, now int64, err error) {
	// An update that changes nothing, since only what is updated is returned.
	// It is done row after row, in the order of the values.
	statement := lockStatement(s.db.Dialect(), len(ids))
	args := make([]any, len(ids))
	for i, j := range order {
		args[i] = ids[j]
	}
	spent = make([]string, len(ids))
	found := 0
	err = tx.Query(ctx, statement, args, func(rows *sql.Rows) error {
		var id []byte
		var row string
		var at int64
		if err := rows.Scan(&id, &row, &at); err != nil {
			return err
		}
		now = max(now, at) // after the last lock
		for i := range ids {
			if bytes.Equal(ids[i], id) {
				spent[i] = row
				found++
			}
		}
		return nil
	})
	if err == nil && found != len(ids) {
		err = fmt.Errorf("%d of %d rows were returned", found, len(ids))
	}
	if s.db.Dialect() == SQLite {
		now = time.Now().UnixMicro()
	}
	return spent, now, err
}

func lockStatement(d Dialect, n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO gatewright_limits (id, spent, expires) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("($" + strconv.Itoa(i+1) + ", '', 0)")
	}
	b.WriteString(` ON CONFLICT (id) DO UPDATE SET expires = gatewright_limits.expires RETURNING id, spent, `)
	if d == PostgreSQL {
		return b.String() + clock
	}
	return b.String() + "0"
}

// id returns the row of a charge: a hash of what is counted together.
func id(c *ratelimit.Charge) []byte {
	b := make([]byte, 0, len(c.Key)+9+64)
	b = append(b, c.Key[:]...)
	b = append(b, byte(c.Limit.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Limit.Window))
	b = append(b, c.Limit.Name...)
	digest := sha256.Sum256(b)
	return digest[:16]
}
