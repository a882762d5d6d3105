// Package sqlstore keeps passkeys in SQLite or PostgreSQL, with any database/sql
// driver.
//
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.PostgreSQL)) // or a migration
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//	…
//	passkeys, err := passkey.New(store, passkey.Config{…})
//
// See [github.com/gatewright/gatewright/auth/sqlstore] for databases.
//
// # Security considerations
//
// The tables hold public keys. An attacker with read access cannot sign in. An
// attacker with write access can add a passkey to any account.
package sqlstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/internal/sqldb"
)

// pkg begins each error.
const pkg = "auth/passkey/sqlstore"

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
	// The second table counts the passkeys of each subject. Statements that add or
	// remove a passkey lock its row first.
	return sqldb.Schema(pkg, d, `CREATE TABLE IF NOT EXISTS gatewright_passkeys (
	id         BYTES    PRIMARY KEY,
	subject    TEXT     NOT NULL,
	record     TEXT     NOT NULL,
	handle     BYTES    NOT NULL,
	session    TEXT     NOT NULL,
	name       TEXT     NOT NULL,
	sign_count BIGINT   NOT NULL,
	backed_up  SMALLINT NOT NULL,
	created    BIGINT   NOT NULL,
	used       BIGINT   NOT NULL
);
CREATE INDEX IF NOT EXISTS gatewright_passkeys_subject ON gatewright_passkeys (subject);
CREATE TABLE IF NOT EXISTS gatewright_passkey_counts (
	subject  TEXT   PRIMARY KEY,
	passkeys BIGINT NOT NULL
);
`)
}

// Config configures a [Store].
type Config struct {
	Dialect Dialect // required
}

// A Store implements [passkey.Store]. It is safe for concurrent use, also by
// several processes.
type Store struct{ db *sqldb.DB }

var _ passkey.Store = (*Store)(nil)

// New returns a Store on the tables of [Schema] in db, which the host closes. It
// does not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Store, error) {
	return sqldb.Open(pkg, db, config.Dialect, func(db *sqldb.DB) *Store { return &Store{db} })
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, `INSERT INTO gatewright_passkey_counts (subject, passkeys) VALUES ($1, 0)`,
		`DELETE FROM gatewright_passkey_counts WHERE subject = $1`, "ready "+rand.Text())
}

// AddPasskey implements [passkey.Store].
func (s *Store) AddPasskey(ctx context.Context, p passkey.Passkey, max int) error {
	const doing = "adding a passkey"
	if err := identity.CheckNames(p.Subject, p.Session, p.Name); err != nil {
		return s.db.Wrap(err, doing)
	}
	var refused error
	err := s.db.Tx(ctx, doing, func(tx sqldb.Tx) error {
		refused = nil
		counted, err := tx.Exec(ctx, `INSERT INTO gatewright_passkey_counts (subject, passkeys) VALUES ($1, 1)
			ON CONFLICT (subject) DO UPDATE SET passkeys = gatewright_passkey_counts.passkeys + 1
			WHERE gatewright_passkey_counts.passkeys < $2`, p.Subject, max)
		if err != nil {
			return err
		}
		added, err := tx.Exec(ctx, `INSERT INTO gatewright_passkeys (id, subject, record, handle, session, name, sign_count, backed_up, created, used)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING`,
			p.ID, p.Subject, p.Record, p.Handle, p.Session, p.Name, int64(p.SignCount), number(p.BackedUp), sqldb.Micros(p.Created), sqldb.Micros(p.Used))
		switch {
		case err != nil:
			return err
		case added == 0:
			refused = passkey.ErrExists
		case counted == 0:
			refused = passkey.ErrTooMany
		}
		return refused
	})
	if refused != nil {
		return refused
	}
	return err
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

const columns = `id, subject, record, handle, session, name, sign_count, backed_up, created, used`

// A row is a passkey as it stands in the table.
type row struct {
	passkey.Passkey
	backedUp, created, used int64
}

func (r *row) dest() []any {
	return []any{&r.ID, &r.Subject, &r.Record, &r.Handle, &r.Session, &r.Name, &r.SignCount, &r.backedUp, &r.created, &r.used}
}

func (r *row) passkey() passkey.Passkey {
	p := r.Passkey
	p.ID, p.Handle = bytes.Clone(r.ID), bytes.Clone(r.Handle)
	p.BackedUp, p.Created, p.Used = r.backedUp != 0, sqldb.Instant(r.created), sqldb.Instant(r.used)
	return p
}

// Passkeys implements [passkey.Store].
func (s *Store) Passkeys(ctx context.Context, subject string) ([]passkey.Passkey, error) {
	all := []passkey.Passkey{}
	if identity.CheckNames(subject) != nil {
		return all, nil
	}
	err := s.db.Query(ctx, "listing passkeys", `SELECT `+columns+` FROM gatewright_passkeys
		WHERE subject = $1 ORDER BY created, id`, []any{subject}, func(rows *sql.Rows) error {
		var r row
		if err := rows.Scan(r.dest()...); err != nil {
			return err
		}
		all = append(all, r.passkey())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// PasskeyByID implements [passkey.Store].
func (s *Store) PasskeyByID(ctx context.Context, id []byte) (passkey.Passkey, error) {
	var r row
	found, err := s.db.Row(ctx, "looking a passkey up", `SELECT `+columns+` FROM gatewright_passkeys WHERE id = $1`, []any{id}, r.dest()...)
	switch {
	case err != nil:
		return passkey.Passkey{}, err
	case !found:
		return passkey.Passkey{}, passkey.ErrNotFound
	}
	return r.passkey(), nil
}

// UsePasskey implements [passkey.Store].
func (s *Store) UsePasskey(ctx context.Context, u passkey.Use) (previous passkey.Passkey, err error) {
	var r row
	found := false
	err = s.db.Tx(ctx, "recording the use of a passkey", func(tx sqldb.Tx) error {
		// A write, which locks the row for the two that follow.
		locked, err := tx.Exec(ctx, `UPDATE gatewright_passkeys SET used = used WHERE id = $1`, u.ID)
		if found = locked == 1; err != nil || !found {
			return err
		}
		if _, err := tx.Row(ctx, `SELECT `+columns+` FROM gatewright_passkeys WHERE id = $1`, []any{u.ID}, r.dest()...); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE gatewright_passkeys SET
			sign_count = CASE WHEN sign_count > $1 THEN sign_count ELSE $1 END,
			backed_up = CASE WHEN used > $2 THEN backed_up ELSE $3 END,
			used = CASE WHEN used > $2 THEN used ELSE $2 END
			WHERE id = $4`, int64(u.SignCount), sqldb.Micros(u.At), number(u.BackedUp), u.ID)
		return err
	})
	switch {
	case err != nil:
		return passkey.Passkey{}, err
	case !found:
		return passkey.Passkey{}, passkey.ErrNotFound
	}
	return r.passkey(), nil
}

// RenamePasskey implements [passkey.Store].
func (s *Store) RenamePasskey(ctx context.Context, subject string, id []byte, name string) error {
	const doing = "renaming a passkey"
	if identity.CheckNames(subject) != nil {
		return passkey.ErrNotFound
	}
	if err := identity.CheckNames(name); err != nil {
		return s.db.Wrap(err, doing)
	}
	changed, err := s.db.Exec(ctx, doing, `UPDATE gatewright_passkeys SET name = $1 WHERE id = $2 AND subject = $3`, name, id, subject)
	if err == nil && changed == 0 {
		return passkey.ErrNotFound
	}
	return err
}

// RemovePasskey implements [passkey.Store].
func (s *Store) RemovePasskey(ctx context.Context, subject string, id []byte, keepLast bool) error {
	if identity.CheckNames(subject) != nil {
		return passkey.ErrNotFound
	}
	var refused error
	err := s.db.Tx(ctx, "removing a passkey", func(tx sqldb.Tx) error {
		refused = nil
		counted, err := tx.Exec(ctx, `UPDATE gatewright_passkey_counts SET passkeys = passkeys - 1 WHERE subject = $1 AND passkeys > $2`,
			subject, number(keepLast))
		if err != nil {
			return err
		}
		removed, err := tx.Exec(ctx, `DELETE FROM gatewright_passkeys WHERE id = $1 AND subject = $2`, id, subject)
		switch {
		case err != nil:
			return err
		case removed == 0:
			refused = passkey.ErrNotFound
		case counted == 0:
			refused = passkey.ErrLast
		}
		return refused
	})
	if refused != nil {
		return refused
	}
	return err
}
