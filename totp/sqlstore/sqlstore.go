// Package sqlstore keeps the second factors of package totp in an SQL database
// that the host opens, with whatever driver it likes: SQLite or PostgreSQL.
//
//	db, err := sql.Open("sqlite", "file:app.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
//	…
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)) // or as a migration of yours
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	factors, err := totp.New(store, keys, totp.Config{Issuer: "Example"})
//
// A row is one user. A host that deletes a user may delete the row too, if the
// name is never given to somebody else.
//
// # Security considerations
//
// Secrets are sealed and recovery codes hashed, so who reads the table can make
// no code. Who writes it can switch a factor off, bring back codes that were
// used, and clear the count of wrong ones; a secret that is copied to another
// user's row does not open.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/totp"
)

// A Dialect is the SQL that a database speaks.
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

// Schema returns the statement that creates the table, for the host to run or
// to copy into a migration of its own. It changes nothing where the table
// exists already. It panics on an unknown dialect.
func Schema(d Dialect) string {
	bytes := "BLOB"
	switch d {
	case SQLite:
	case PostgreSQL:
		bytes = "BYTEA"
	default:
		panic("sqlstore: unknown " + d.String())
	}
	// Times are microseconds since 1970, which both databases compare alike;
	// 0 is none.
	return strings.ReplaceAll(`CREATE TABLE IF NOT EXISTS gatewright_totp (
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
`, "BYTES", bytes)
}

// Config says how to speak to the database.
type Config struct {
	// Dialect is what the database speaks. Required.
	Dialect Dialect
}

// A Store is a [totp.Store]. It is safe for concurrent use, by several
// processes too.
type Store struct {
	db      *sql.DB
	dialect Dialect
}

var _ totp.Store = (*Store)(nil)

// New returns a store on db, whose table exists: see [Schema]. It does not ask the
// database. The host closes db.
func New(db *sql.DB, config Config) (*Store, error) {
	var errs []error
	if db == nil {
		errs = append(errs, errors.New("sqlstore: the *sql.DB is nil"))
	}
	if config.Dialect != SQLite && config.Dialect != PostgreSQL {
		errs = append(errs, fmt.Errorf("sqlstore: Config.Dialect is %v, want SQLite or PostgreSQL", config.Dialect))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Store{db, config.Dialect}, nil
}

// LoadTOTP implements [totp.Store].
func (s *Store) LoadTOTP(ctx context.Context, user string) (totp.Record, error) {
	var r totp.Record
	var recovery []byte
	var until, retry, forgiven int64
	err := s.db.QueryRowContext(ctx, s.bind(`SELECT version, active, pending, pending_until, step, recovery, failures, retry, forgiven
		FROM gatewright_totp WHERE user_id = ?`), user).Scan(
		&r.Version, &r.Active, &r.Pending, &until, &r.Step, &recovery, &r.Guesses.Failures, &retry, &forgiven)
	if errors.Is(err, sql.ErrNoRows) {
		return totp.Record{}, nil
	}
	if err == nil && len(recovery)%len(totp.RecoveryHash{}) != 0 {
		err = errors.New("the stored recovery codes have a wrong length")
	}
	if err != nil {
		return totp.Record{}, fmt.Errorf("sqlstore: loading a record: %w", err)
	}
	for len(recovery) > 0 {
		var hash totp.RecoveryHash
		recovery = recovery[copy(hash[:], recovery):]
		r.Recovery = append(r.Recovery, hash)
	}
	r.PendingUntil, r.Guesses.Retry, r.Guesses.Forgiven = instant(until), instant(retry), instant(forgiven)
	return r, nil
}

// SaveTOTP implements [totp.Store]. It is one statement, whose condition the
// database checks on the row that it has locked.
func (s *Store) SaveTOTP(ctx context.Context, user string, r totp.Record) (bool, error) {
	recovery := make([]byte, 0, len(r.Recovery)*len(totp.RecoveryHash{}))
	for _, hash := range r.Recovery {
		recovery = append(recovery, hash[:]...)
	}
	statement := `UPDATE gatewright_totp SET version = ?, active = ?, pending = ?, pending_until = ?,
			step = ?, recovery = ?, failures = ?, retry = ?, forgiven = ?
		WHERE user_id = ? AND version = ?`
	args := []any{
		r.Version + 1, r.Active, r.Pending, micros(r.PendingUntil),
		r.Step, recovery, r.Guesses.Failures, micros(r.Guesses.Retry), micros(r.Guesses.Forgiven),
		user, r.Version,
	}
	if r.Version == 0 {
		statement = `INSERT INTO gatewright_totp
			(version, active, pending, pending_until, step, recovery, failures, retry, forgiven, user_id)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (user_id) DO NOTHING`
		args = args[:len(args)-1]
	}
	result, err := s.db.ExecContext(ctx, s.bind(statement), args...)
	if err != nil {
		return false, fmt.Errorf("sqlstore: saving a record: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("sqlstore: saving a record: %w", err)
	}
	return n == 1, nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// bind writes placeholders as the dialect has them. No statement here has a
// question mark of its own.
func (s *Store) bind(statement string) string {
	if s.dialect != PostgreSQL {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, c := range statement {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}
