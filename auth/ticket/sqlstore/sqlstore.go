// Package sqlstore keeps tickets in SQLite or PostgreSQL, with any database/sql
// driver.
//
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.PostgreSQL)) // or a migration
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//	…
//	tickets, err := ticket.New(store, users, ticket.Config{…})
//
// Call [Store.DeleteExpired] every hour or so. See [github.com/gatewright/gatewright/auth/sqlstore] for databases.
//
// # Security considerations
//
// The tables hold hashes of secrets. An attacker with read access cannot use a
// ticket, but can guess codes if Config.Keys is known too.
package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/internal/sqldb"
)

// pkg begins each error.
const pkg = "auth/ticket/sqlstore"

// A Dialect is an SQL dialect, the same type in all SQL stores.
type Dialect = sqldb.Dialect

// The dialects.
const (
	SQLite     = sqldb.SQLite     // 3.35 or later
	PostgreSQL = sqldb.PostgreSQL // 13 or later
)

// Schema returns the statements that create the tables if they do not exist.
// Several processes may execute them at once. Schema panics if d is unknown.
func Schema(d Dialect) string {
	// slot is the address if a ticket replaces another one by address, and empty if it
	// does so by subject. lookup is "link" and the key, or "code" and the ID.
	return sqldb.Schema(pkg, d, `CREATE TABLE IF NOT EXISTS gatewright_tickets (
	purpose TEXT   NOT NULL,
	tenant  TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	slot    TEXT   NOT NULL,
	lookup  TEXT   NOT NULL UNIQUE,
	key     BYTES  NOT NULL,
	browser BYTES  NOT NULL,
	state   BYTES  NOT NULL,
	email   TEXT   NOT NULL,
	data    BYTES  NOT NULL,
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	tries   BIGINT NOT NULL,
	PRIMARY KEY (purpose, tenant, subject, slot)
);
CREATE INDEX IF NOT EXISTS gatewright_tickets_subject ON gatewright_tickets (subject);
CREATE INDEX IF NOT EXISTS gatewright_tickets_email ON gatewright_tickets (email);
CREATE INDEX IF NOT EXISTS gatewright_tickets_expires ON gatewright_tickets (expires);
CREATE TABLE IF NOT EXISTS gatewright_wrong_codes (
	id      TEXT   PRIMARY KEY,
	tenant  TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	at      BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS gatewright_wrong_codes_subject ON gatewright_wrong_codes (subject, tenant, at);
`)
}

// Config configures a [Store].
type Config struct {
	Dialect Dialect // required
}

// A Store implements [ticket.Store]. It is safe for concurrent use, also by several
// processes.
type Store struct{ db *sqldb.DB }

var _ ticket.Store = (*Store)(nil)

// New returns a Store on the tables of [Schema] in db, which the host closes. It
// does not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Store, error) {
	return sqldb.Open(pkg, db, config.Dialect, func(db *sqldb.DB) *Store { return &Store{db} })
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, `INSERT INTO gatewright_wrong_codes (id, tenant, subject, at) VALUES ($1, '', '', 0)`,
		`DELETE FROM gatewright_wrong_codes WHERE id = $1`, "ready "+rand.Text())
}

// IssueTicket implements [ticket.Store].
func (s *Store) IssueTicket(ctx context.Context, t ticket.Ticket) error {
	const doing = "issuing a ticket"
	if err := identity.CheckNames(string(t.Purpose), t.Tenant, t.Subject, t.Email, t.ID); err != nil {
		return s.db.Wrap(err, doing)
	}
	slot := ""
	if t.Subject == "" || t.Purpose == ticket.UndoEmail {
		slot = t.Email
	}
	data := t.Data
	if data == nil {
		data = []byte{}
	}
	_, err := s.db.Exec(ctx, doing, `INSERT INTO gatewright_tickets
			(purpose, tenant, subject, slot, lookup, key, browser, state, email, data, created, expires, tries)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)
		ON CONFLICT (purpose, tenant, subject, slot) DO UPDATE SET lookup = excluded.lookup, key = excluded.key,
			browser = excluded.browser, state = excluded.state, email = excluded.email, data = excluded.data,
			created = excluded.created, expires = excluded.expires, tries = 0`,
		string(t.Purpose), t.Tenant, t.Subject, slot, lookup(t.Key, t.ID), t.Key[:], t.Browser[:], t.State[:], t.Email, data,
		sqldb.Micros(t.Created), sqldb.Micros(t.Expires))
	return err
}

// lookup returns the text that identifies a ticket.
func lookup(key [32]byte, id string) string {
	if id != "" {
		return "code " + id
	}
	return fmt.Sprintf("link %x", key)
}

// FindTicket implements [ticket.Store].
func (s *Store) FindTicket(ctx context.Context, u ticket.Use) (ticket.Ticket, error) {
	const doing = "looking a ticket up"
	if identity.CheckNames(u.ID, string(u.Purpose)) != nil {
		return ticket.Ticket{}, ticket.ErrNotFound
	}
	t := ticket.Ticket{Purpose: u.Purpose, ID: u.ID}
	var key, browser, state []byte
	var created, expires int64
	found, err := s.db.Row(ctx, doing, `SELECT tenant, subject, key, browser, state, email, data, created, expires FROM gatewright_tickets
		WHERE lookup = $1 AND purpose = $2 AND expires > $3`, []any{lookup(u.Key, u.ID), string(u.Purpose), sqldb.Micros(u.Now)},
		&t.Tenant, &t.Subject, &key, &browser, &state, &t.Email, &t.Data, &created, &expires)
	switch {
	case err != nil:
		return ticket.Ticket{}, err
	case !found:
		return ticket.Ticket{}, ticket.ErrNotFound
	case len(key) != len(t.Key) || len(browser) != len(t.Browser) || len(state) != len(t.State):
		return ticket.Ticket{}, s.db.Wrap(errors.New("a stored hash has a wrong length"), doing)
	}
	t.Key, t.Browser, t.State = [32]byte(key), [32]byte(browser), [32]byte(state)
	t.Created, t.Expires = sqldb.Instant(created), sqldb.Instant(expires)
	return t, nil
}

// UseTicket implements [ticket.Store].
func (s *Store) UseTicket(ctx context.Context, u ticket.Use) (used bool, err error) {
	if identity.CheckNames(u.ID, string(u.Purpose)) != nil {
		return false, nil
	}
	if u.ID != "" {
		return s.useCode(ctx, u)
	}
	removed, err := s.db.Exec(ctx, "using a ticket", `DELETE FROM gatewright_tickets
		WHERE lookup = $1 AND purpose = $2 AND browser = $3 AND expires > $4`,
		lookup(u.Key, ""), string(u.Purpose), u.Browser[:], sqldb.Micros(u.Now))
	return removed == 1, err
}

func (s *Store) useCode(ctx context.Context, u ticket.Use) (used bool, err error) {
	err = s.db.Tx(ctx, "using a code", func(tx sqldb.Tx) error {
		used = false
		// The row of the ticket is locked from here on. A subject has one code at
		// a time, so its wrong codes are counted one after another.
		tried, err := tx.Exec(ctx, `UPDATE gatewright_tickets SET tries = tries + 1
			WHERE lookup = $1 AND purpose = $2 AND browser = $3 AND expires > $4 AND tries < $5`,
			lookup(u.Key, u.ID), string(u.Purpose), u.Browser[:], sqldb.Micros(u.Now), u.MaxTries)
		if err != nil || tried == 0 {
			return err
		}
		var tenant, subject string
		var key []byte
		if _, err := tx.Row(ctx, `SELECT tenant, subject, key FROM gatewright_tickets WHERE lookup = $1`, []any{lookup(u.Key, u.ID)},
			&tenant, &subject, &key); err != nil {
			return err
		}
		var wrong int
		if _, err := tx.Row(ctx, countWrong, []any{subject, tenant, sqldb.Micros(u.WrongSince)}, &wrong); err != nil || wrong >= u.MaxWrong {
			return err
		}
		if subtle.ConstantTimeCompare(key, u.Key[:]) != 1 {
			if _, err := tx.Exec(ctx, `INSERT INTO gatewright_wrong_codes (id, tenant, subject, at) VALUES ($1, $2, $3, $4)`,
				rand.Text(), tenant, subject, sqldb.Micros(u.Now)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DELETE FROM gatewright_wrong_codes WHERE subject = $1 AND tenant = $2 AND at < $3`, // count no more
				subject, tenant, sqldb.Micros(u.WrongSince))
			return err
		}
		removed, err := tx.Exec(ctx, `DELETE FROM gatewright_tickets WHERE lookup = $1`, lookup(u.Key, u.ID))
		used = removed == 1
		return err
	})
	return used && err == nil, err
}

const countWrong = `SELECT count(*) FROM gatewright_wrong_codes WHERE subject = $1 AND tenant = $2 AND at >= $3`

// WrongCodes implements [ticket.Store].
func (s *Store) WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (n int, err error) {
	if identity.CheckNames(subject, tenant) != nil {
		return 0, nil
	}
	_, err = s.db.Row(ctx, "counting wrong codes", countWrong, []any{subject, tenant, sqldb.Micros(since)}, &n)
	return n, err
}

// EndTickets implements [ticket.Store].
func (s *Store) EndTickets(ctx context.Context, which ticket.Which) error {
	const doing = "ending tickets"
	if which.Subject == "" && which.Email == "" {
		return s.db.Wrap(errors.New("a Subject or an Email is needed"), doing)
	}
	if identity.CheckNames(which.Subject, which.Tenant, which.Email, string(which.Purpose), string(which.Except)) != nil {
		return nil // there is no such ticket
	}
	var conditions []string
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf("%s $%d", condition, len(args)))
	}
	for _, c := range [...]struct{ condition, value string }{
		{"subject =", which.Subject}, {"tenant =", which.Tenant}, {"email =", which.Email},
		{"purpose =", string(which.Purpose)}, {"purpose <>", string(which.Except)},
	} {
		if c.value != "" {
			add(c.condition, c.value)
		}
	}
	if !which.After.IsZero() {
		add("created >", sqldb.Micros(which.After))
	}
	_, err := s.db.Exec(ctx, doing, `DELETE FROM gatewright_tickets WHERE `+strings.Join(conditions, " AND "), args...)
	return err
}

// DeleteExpired deletes tickets that expired before the time, and counts of wrong
// codes from 30 days before it. It returns their number, and does not change which
// tickets pass.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error) {
	return s.db.DeleteExpired(ctx,
		sqldb.Deletion{Statement: `DELETE FROM gatewright_tickets WHERE expires < $1`, Before: sqldb.Micros(before)},
		sqldb.Deletion{Statement: `DELETE FROM gatewright_wrong_codes WHERE at < $1`, Before: sqldb.Micros(before.Add(-30 * 24 * time.Hour))})
}
