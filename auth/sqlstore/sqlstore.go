// Package sqlstore keeps the sessions of package auth in an SQL database that
// the host opens, with whatever driver it likes: SQLite or PostgreSQL.
//
//	db, err := sql.Open("sqlite", "file:app.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
//	…
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)) // or as a migration of yours
//	…
//	sessions, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	signIn, err := auth.New(users, tokens, auth.Config{Sessions: sessions, Challenges: sessions, …})
//
// Users stay in tables of the host's own.
//
// # Durability
//
// A method that returned nil has committed. What that means when the machine
// loses power is the database's affair: for SQLite in WAL mode, set
// synchronous(full) if a logout must survive that too.
//
// # Security considerations
//
// The tables hold SHA-256 hashes of the identifiers of refresh tokens, which
// are random or derived with a key. Who reads the tables cannot make a token
// from them; who writes them can revive a session.
//
// Times come from the processes, not from the database, so several of them
// need clocks that agree to within the grace of a rotation.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
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

// Schema returns the statements that create the tables, for the host to run or
// to copy into a migration of its own. They change nothing where the tables
// exist already. It panics on an unknown dialect.
func Schema(d Dialect) string {
	bytes := "BLOB"
	switch d {
	case SQLite:
	case PostgreSQL:
		bytes = "BYTEA"
	default:
		panic("sqlstore: unknown " + d.String())
	}
	// Times are microseconds since 1970, which both databases compare alike.
	return strings.ReplaceAll(`CREATE TABLE IF NOT EXISTS gatewright_sessions (
	id            TEXT   PRIMARY KEY,
	subject       TEXT   NOT NULL,
	tenant        TEXT   NOT NULL,
	client        TEXT   NOT NULL,
	created       BIGINT NOT NULL,
	expires       BIGINT NOT NULL,
	current_hash  BYTES  NOT NULL,
	previous_hash BYTES,
	rotated       BIGINT NOT NULL,
	idle          BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS gatewright_sessions_subject ON gatewright_sessions (subject);
CREATE INDEX IF NOT EXISTS gatewright_sessions_idle ON gatewright_sessions (idle);
CREATE TABLE IF NOT EXISTS gatewright_challenges (
	id       BYTES   PRIMARY KEY,
	attempts INTEGER NOT NULL,
	finished INTEGER NOT NULL,
	expires  BIGINT  NOT NULL
);
CREATE INDEX IF NOT EXISTS gatewright_challenges_expires ON gatewright_challenges (expires);
`, "BYTES", bytes)
}

// Config says how to speak to the database.
type Config struct {
	// Dialect is what the database speaks. Required.
	Dialect Dialect
}

// A Store is an [auth.RefreshStore] and [auth.ChallengeStore]. It is safe for
// concurrent use, by several processes too.
type Store struct {
	db      *sql.DB
	dialect Dialect
}

var (
	_ auth.RefreshStore   = (*Store)(nil)
	_ auth.ChallengeStore = (*Store)(nil)
)

// New returns a store on db, whose tables exist: see [Schema]. It does not ask the
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

// CreateRefresh implements [auth.RefreshStore].
func (s *Store) CreateRefresh(ctx context.Context, session auth.Session, first auth.TokenHash, idle time.Time) error {
	_, err := s.db.ExecContext(ctx, s.bind(`INSERT INTO gatewright_sessions
		(id, subject, tenant, client, created, expires, current_hash, rotated, idle)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`),
		session.ID, session.Subject, session.Tenant, session.Client,
		session.Created.UnixMicro(), session.Expires.UnixMicro(),
		first[:], session.Created.UnixMicro(), idle.UnixMicro())
	return s.wrap(err, "creating a session")
}

// RotateRefresh implements [auth.RefreshStore]. It is one transaction, which begins
// with its only usual write: of several at once the first takes the row's
// lock, and the others find the token replaced.
func (s *Store) RotateRefresh(ctx context.Context, r auth.Rotation) (_ auth.Rotated, err error) {
	defer func() { err = s.wrap(err, "rotating a refresh token") }()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return auth.Rotated{}, err
	}
	defer tx.Rollback()
	now, idle := r.Now.UnixMicro(), r.Now.Add(r.Idle).UnixMicro()
	result, err := tx.ExecContext(ctx, s.bind(`UPDATE gatewright_sessions
		SET previous_hash = current_hash, current_hash = ?, rotated = ?,
			idle = CASE WHEN expires < ? THEN expires ELSE ? END
		WHERE id = ? AND current_hash = ? AND idle > ? AND expires > ?`),
		r.New[:], now, idle, idle, r.Session, r.Old[:], now, now)
	if err != nil {
		return auth.Rotated{}, err
	}
	updated, err := result.RowsAffected()
	if err != nil {
		return auth.Rotated{}, err
	}
	var current, previous []byte
	var rotated, idleAt int64
	err = tx.QueryRowContext(ctx, s.bind(`SELECT current_hash, previous_hash, rotated, idle
		FROM gatewright_sessions WHERE id = ? AND idle > ? AND expires > ?`),
		r.Session, now, now).Scan(&current, &previous, &rotated, &idleAt)
	if errors.Is(err, sql.ErrNoRows) {
		return auth.Rotated{}, nil
	}
	if err != nil {
		return auth.Rotated{}, err
	}
	out := auth.Rotated{At: time.UnixMicro(rotated), Expires: time.UnixMicro(idleAt)}
	if copy(out.Current[:], current) != len(out.Current) {
		return auth.Rotated{}, errors.New("the stored hash has a wrong length")
	}
	switch {
	case updated == 1:
		out.Outcome = auth.RefreshRotated
	case string(previous) == string(r.Old[:]) && now-rotated <= r.Grace.Microseconds():
		out.Outcome = auth.RefreshReplayed
	default:
		if _, err := tx.ExecContext(ctx, s.bind(`DELETE FROM gatewright_sessions WHERE id = ?`), r.Session); err != nil {
			return auth.Rotated{}, err
		}
		out = auth.Rotated{Outcome: auth.RefreshReused}
	}
	if err := tx.Commit(); err != nil {
		return auth.Rotated{}, err
	}
	return out, nil
}

// RevokeRefresh implements [auth.RefreshStore].
func (s *Store) RevokeRefresh(ctx context.Context, which identity.Revocation) error {
	var conditions []string
	var args []any
	where := func(condition string, arg any) {
		conditions = append(conditions, condition)
		args = append(args, arg)
	}
	if which.Session != "" {
		where("id = ?", which.Session)
	}
	if which.Subject != "" {
		where("subject = ?", which.Subject)
	}
	if which.Tenant != "" {
		where("tenant = ?", which.Tenant)
	}
	if !which.Before.IsZero() {
		where("created < ?", which.Before.UnixMicro())
	}
	if len(conditions) == 0 || which.Credential != "" {
		return errors.New("sqlstore: RevokeRefresh needs a Session, Subject, Tenant or Before, and no Credential")
	}
	_, err := s.db.ExecContext(ctx, s.bind("DELETE FROM gatewright_sessions WHERE "+strings.Join(conditions, " AND ")), args...)
	return s.wrap(err, "revoking sessions")
}

// Sessions returns the sessions of a subject that can be refreshed now, those
// that began last first, and no more than [auth.MaxListed] of them: for the page
// on which people see where they are signed in.
func (s *Store) Sessions(ctx context.Context, subject string) (_ []auth.Session, err error) {
	defer func() { err = s.wrap(err, "listing sessions") }()
	now := time.Now().UnixMicro()
	rows, err := s.db.QueryContext(ctx, s.bind(`SELECT id, subject, tenant, client, created, expires
		FROM gatewright_sessions WHERE subject = ? AND idle > ? AND expires > ?
		ORDER BY created DESC, id LIMIT ?`), subject, now, now, auth.MaxListed)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []auth.Session
	for rows.Next() {
		var one auth.Session
		var created, expires int64
		if err := rows.Scan(&one.ID, &one.Subject, &one.Tenant, &one.Client, &created, &expires); err != nil {
			return nil, err
		}
		one.Created, one.Expires = time.UnixMicro(created), time.UnixMicro(expires)
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// AttemptChallenge implements [auth.ChallengeStore].
func (s *Store) AttemptChallenge(ctx context.Context, id auth.TokenHash, limit int, expires time.Time) (bool, error) {
	if limit < 1 {
		return false, nil
	}
	result, err := s.db.ExecContext(ctx, s.bind(`INSERT INTO gatewright_challenges (id, attempts, finished, expires)
		VALUES (?, 1, 0, ?)
		ON CONFLICT (id) DO UPDATE SET attempts = gatewright_challenges.attempts + 1
		WHERE gatewright_challenges.attempts < ? AND gatewright_challenges.finished = 0`),
		id[:], expires.UnixMicro(), limit)
	return s.one(result, err, "counting an attempt")
}

// FinishChallenge implements [auth.ChallengeStore].
func (s *Store) FinishChallenge(ctx context.Context, id auth.TokenHash) (bool, error) {
	result, err := s.db.ExecContext(ctx, s.bind(`UPDATE gatewright_challenges SET finished = 1 WHERE id = ? AND finished = 0`), id[:])
	return s.one(result, err, "finishing a challenge")
}

// DeleteExpired drops sessions and challenges that have expired by now, and
// returns how many. They are refused without it; it is for the disk, and the
// host runs it now and then.
func (s *Store) DeleteExpired(ctx context.Context, now time.Time) (int64, error) {
	var deleted int64
	for _, statement := range [...]string{
		`DELETE FROM gatewright_sessions WHERE idle <= ?`, // idle is never after expires
		`DELETE FROM gatewright_challenges WHERE expires <= ?`,
	} {
		result, err := s.db.ExecContext(ctx, s.bind(statement), now.UnixMicro())
		if err != nil {
			return deleted, s.wrap(err, "deleting what has expired")
		}
		n, err := result.RowsAffected()
		if err != nil {
			return deleted, s.wrap(err, "deleting what has expired")
		}
		deleted += n
	}
	return deleted, nil
}

// one reports whether a statement changed a row.
func (s *Store) one(result sql.Result, err error, doing string) (bool, error) {
	if err != nil {
		return false, s.wrap(err, doing)
	}
	n, err := result.RowsAffected()
	return n == 1, s.wrap(err, doing)
}

func (s *Store) wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s: %w", doing, err)
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
