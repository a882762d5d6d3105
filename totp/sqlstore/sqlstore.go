// Package sqlstore keeps the second factors of package totp in SQLite or
// PostgreSQL, with any database/sql driver.
//
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)) // or a migration
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	factors, err := totp.New(store, keys, totp.Config{Issuer: "Example"})
//
// See [github.com/gatewright/gatewright/auth/sqlstore] for databases. A user is one row. After the user is deleted, the row may be
// deleted too, unless the name can be reused.
//
// # Security considerations
//
// Secrets are sealed and recovery codes are hashed: an attacker with read access
// cannot make a code. An attacker with write access can remove a factor, make used
// codes valid again and reset the count of failures. A secret that is copied to the
// row of another user cannot be opened.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/sqldb"
	"github.com/gatewright/gatewright/totp"
)

// pkg begins each error.
const pkg = "totp/sqlstore"

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
	// Times are microseconds since 1970, which both databases compare alike;
	// 0 is none.
	return sqldb.Schema(pkg, d, `CREATE TABLE IF NOT EXISTS gatewright_totp (
	user_id       TEXT    PRIMARY KEY,
	version       BIGINT  NOT NULL,
	active        BYTES,
	pending       BYTES,
	pending_until BIGINT  NOT NULL,
	step          BIGINT  NOT NULL,
	recovery      BYTES,
	failures      INTEGER NOT NULL,
	retry         BIGINT  NOT NULL,
	forgiven      BIGINT  NOT NULL
);
`)
}

// Config configures a [Store].
type Config struct {
	Dialect Dialect // required
}

// A Store implements [totp.Store]. It is safe for concurrent use, also by several
// processes.
type Store struct{ db *sqldb.DB }

var _ totp.Store = (*Store)(nil)

// New returns a Store on the table of [Schema] in db, which the host closes. It
// does not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Store, error) {
	return sqldb.Open(pkg, db, config.Dialect, func(db *sqldb.DB) *Store { return &Store{db} })
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, `INSERT INTO gatewright_totp
		(user_id, version, pending_until, step, failures, retry, forgiven) VALUES ($1, 0, 0, 0, 0, 0, 0)`,
		`DELETE FROM gatewright_totp WHERE user_id = $1`, "ready "+rand.Text())
}

// LoadTOTP implements [totp.Store].
func (s *Store) LoadTOTP(ctx context.Context, user string) (totp.Record, error) {
	const doing = "loading a record"
	if identity.CheckNames(user) != nil {
		return totp.Record{}, nil
	}
	var r totp.Record
	var recovery []byte
	var until, retry, forgiven int64
	found, err := s.db.Row(ctx, doing, `SELECT version, active, pending, pending_until, step, recovery, failures, retry, forgiven
		FROM gatewright_totp WHERE user_id = $1`, []any{user},
		&r.Version, &r.Active, &r.Pending, &until, &r.Step, &recovery, &r.Guesses.Failures, &retry, &forgiven)
	if err != nil || !found {
		return totp.Record{}, err
	}
	if len(recovery)%len(totp.RecoveryHash{}) != 0 {
		return totp.Record{}, s.db.Wrap(errors.New("the stored recovery codes have a wrong length"), doing)
	}
	for len(recovery) > 0 {
		var hash totp.RecoveryHash
		recovery = recovery[copy(hash[:], recovery):]
		r.Recovery = append(r.Recovery, hash)
	}
	r.PendingUntil, r.Guesses.Retry, r.Guesses.Forgiven = sqldb.Instant(until), sqldb.Instant(retry), sqldb.Instant(forgiven)
	return r, nil
}

// SaveTOTP implements [totp.Store] in one statement.
func (s *Store) SaveTOTP(ctx context.Context, user string, r totp.Record) (bool, error) {
	const doing = "saving a record"
	if err := identity.CheckNames(user); err != nil {
		return false, s.db.Wrap(err, doing)
	}
	recovery := make([]byte, 0, len(r.Recovery)*len(totp.RecoveryHash{}))
	for _, hash := range r.Recovery {
		recovery = append(recovery, hash[:]...)
	}
	statement := `UPDATE gatewright_totp SET version = $1, active = $2, pending = $3, pending_until = $4,
			step = $5, recovery = $6, failures = $7, retry = $8, forgiven = $9
		WHERE user_id = $10 AND version = $11`
	args := []any{
		r.Version + 1, r.Active, r.Pending, sqldb.Micros(r.PendingUntil),
		r.Step, recovery, r.Guesses.Failures, sqldb.Micros(r.Guesses.Retry), sqldb.Micros(r.Guesses.Forgiven),
		user, r.Version,
	}
	if r.Version == 0 {
		statement = `INSERT INTO gatewright_totp
			(version, active, pending, pending_until, step, recovery, failures, retry, forgiven, user_id)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (user_id) DO NOTHING`
		args = args[:len(args)-1]
	}
	changed, err := s.db.Exec(ctx, doing, statement, args...)
	return changed == 1, err
}
