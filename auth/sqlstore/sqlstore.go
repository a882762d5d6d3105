// Package sqlstore keeps the sessions and challenges of package auth in SQLite or
// PostgreSQL, with any database/sql driver.
//
//	db, err := sql.Open("sqlite", "file:app.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
//	…
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)) // or a migration
//	…
//	sessions, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	signIn, err := auth.New(users, tokens, auth.Config{Sessions: sessions, Challenges: sessions, …})
//
// Users stay in tables of the host. Call [Store.DeleteExpired] every hour or so.
//
// # Databases
//
// This section holds for all SQL stores of this module. A method that returned nil
// has committed. For SQLite in WAL mode, set synchronous(full) if a write must
// survive a power cut.
//
// PostgreSQL: a store needs the primary. On a standby, and on a connection with
// default_transaction_read_only, Ready, writes and the reads that decide about access
// return an error.
// Transactions are read committed, whatever the server's default. The role needs
// SELECT, INSERT, UPDATE and DELETE on the tables.
//
// After a failover a pool keeps connections to the former primary, so configure it
// to drop them at connect and at reuse. With pgx:
//
//	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
//	db := stdlib.OpenDB(*config, stdlib.OptionResetSession(func(ctx context.Context, c *pgx.Conn) error {
//		for _, setting := range []string{"in_hot_standby", "default_transaction_read_only"} {
//			if c.PgConn().ParameterStatus(setting) == "on" { // reported by PostgreSQL 14 or later
//				return driver.ErrBadConn
//			}
//		}
//		return nil
//	}))
//
// With other drivers, set [sql.DB.SetConnMaxLifetime] to some seconds.
//
// Behind pgbouncer in transaction pooling, add default_query_exec_mode=exec to the
// URL of pgx, or set max_prepared_statements in pgbouncer 1.21 or later.
//
// # Security considerations
//
// The tables hold SHA-256 hashes of the identifiers of refresh tokens. An attacker
// with read access cannot make a token. An attacker with write access can revive a
// session.
//
// Times come from the processes, whose clocks must agree to within the grace of a
// rotation.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/sqldb"
)

// pkg begins each error.
const pkg = "auth/sqlstore"

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
	// Times are microseconds since 1970, which both databases compare alike.
	return sqldb.Schema(pkg, d, `CREATE TABLE IF NOT EXISTS gatewright_sessions (
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
`)
}

// Config configures a [Store].
type Config struct {
	Dialect Dialect // required
}

// A Store implements [auth.RefreshStore], [auth.ChallengeStore] and
// [auth.SessionLister]. It is safe for concurrent use, also by several processes.
type Store struct{ db *sqldb.DB }

var (
	_ auth.RefreshStore   = (*Store)(nil)
	_ auth.ChallengeStore = (*Store)(nil)
	_ auth.SessionLister  = (*Store)(nil)
	_ auth.SessionCounter = (*Store)(nil)
)

// New returns a Store on the tables of [Schema] in db, which the host closes. It
// does not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Store, error) {
	return sqldb.Open(pkg, db, config.Dialect, func(db *sqldb.DB) *Store { return &Store{db} })
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (s *Store) Ready(ctx context.Context) error {
	key := rand.Text()
	return errors.Join(
		s.db.Ready(ctx, `INSERT INTO gatewright_sessions
			(id, subject, tenant, client, created, expires, current_hash, rotated, idle)
			VALUES ($1, '', '', '', 0, 0, '', 0, 0)`,
			`DELETE FROM gatewright_sessions WHERE id = $1`, key),
		s.db.Ready(ctx, `INSERT INTO gatewright_challenges (id, attempts, finished, expires) VALUES ($1, 0, 0, 0)`,
			`DELETE FROM gatewright_challenges WHERE id = $1`, []byte(key)))
}

// CreateRefresh implements [auth.RefreshStore].
func (s *Store) CreateRefresh(ctx context.Context, session auth.Session, first auth.TokenHash, idle time.Time, most int) (evicted []string, err error) {
	const doing = "creating a session"
	if err := identity.CheckNames(session.ID, session.Subject, session.Tenant, session.Client); err != nil {
		return nil, s.db.Wrap(err, doing)
	}
	err = s.db.Tx(ctx, doing, func(tx sqldb.Tx) error {
		evicted = nil
		_, err := tx.Exec(ctx, `INSERT INTO gatewright_sessions
			(id, subject, tenant, client, created, expires, current_hash, rotated, idle)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			session.ID, session.Subject, session.Tenant, session.Client,
			session.Created.UnixMicro(), session.Expires.UnixMicro(),
			first[:], session.Created.UnixMicro(), idle.UnixMicro())
		if err != nil {
			return err
		}
		// Expired sessions are not counted.
		return tx.Query(ctx, s.deleteInOrder(`id IN (
			SELECT id FROM gatewright_sessions WHERE subject = $1 AND id <> $2 AND idle > $3 AND expires > $3
			ORDER BY created DESC, id LIMIT $4 OFFSET $5)`)+" RETURNING id",
			[]any{session.Subject, session.ID, time.Now().UnixMicro(), maxEvicted, max(most, 1) - 1},
			func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				evicted = append(evicted, id)
				return err
			})
	})
	if err != nil {
		return nil, err
	}
	return evicted, nil
}

// deleteInOrder returns the statement that deletes the sessions of a condition. In
// PostgreSQL it locks the rows in the order of their IDs, so that two statements do
// not deadlock.
func (s *Store) deleteInOrder(condition string) string {
	if s.db.Dialect() != PostgreSQL {
		return "DELETE FROM gatewright_sessions WHERE " + condition
	}
	return "DELETE FROM gatewright_sessions WHERE id IN (SELECT id FROM gatewright_sessions WHERE " + condition + " ORDER BY id FOR UPDATE)"
}

// maxEvicted bounds the sessions that a new session ends, so that a lowered bound
// takes effect in steps.
const maxEvicted = 1000

// RotateRefresh implements [auth.RefreshStore] in one transaction.
func (s *Store) RotateRefresh(ctx context.Context, r auth.Rotation) (out auth.Rotated, err error) {
	if identity.CheckNames(r.Session) != nil {
		return auth.Rotated{}, nil
	}
	err = s.db.Tx(ctx, "rotating a refresh token", func(tx sqldb.Tx) error {
		// The update locks the row: concurrent rotations then find the token replaced.
		now, idle := r.Now.UnixMicro(), r.Now.Add(r.Idle).UnixMicro()
		updated, err := tx.Exec(ctx, `UPDATE gatewright_sessions
			SET previous_hash = current_hash, current_hash = $1, rotated = $2,
				idle = CASE WHEN expires < $3 THEN expires ELSE $3 END
			WHERE id = $4 AND current_hash = $5 AND idle > $2 AND expires > $2`,
			r.New[:], now, idle, r.Session, r.Old[:])
		if err != nil {
			return err
		}
		var current, previous []byte
		var rotated, idleAt int64
		found, err := tx.Row(ctx, `SELECT current_hash, previous_hash, rotated, idle
			FROM gatewright_sessions WHERE id = $1 AND idle > $2 AND expires > $2`,
			[]any{r.Session, now}, &current, &previous, &rotated, &idleAt)
		if err != nil || !found {
			return err
		}
		out = auth.Rotated{At: time.UnixMicro(rotated), Expires: time.UnixMicro(idleAt)}
		if copy(out.Current[:], current) != len(out.Current) {
			return errors.New("the stored hash has a wrong length")
		}
		switch {
		case updated == 1:
			out.Outcome = auth.RefreshRotated
		case string(previous) == string(r.Old[:]) && now-rotated <= r.Grace.Microseconds():
			out.Outcome = auth.RefreshReplayed
		default:
			out = auth.Rotated{Outcome: auth.RefreshReused}
			_, err = tx.Exec(ctx, `DELETE FROM gatewright_sessions WHERE id = $1`, r.Session)
		}
		return err
	})
	if err != nil {
		return auth.Rotated{}, err
	}
	return out, nil
}

// RevokeRefresh implements [auth.RefreshStore].
func (s *Store) RevokeRefresh(ctx context.Context, which identity.Revocation) error {
	var conditions []string
	var args []any
	where := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, condition+" $"+strconv.Itoa(len(args)))
	}
	if which.Session != "" {
		where("id =", which.Session)
	}
	if which.Subject != "" {
		where("subject =", which.Subject)
	}
	if which.Tenant != "" {
		where("tenant =", which.Tenant)
	}
	if !which.Before.IsZero() {
		where("created <", which.Before.UnixMicro())
	}
	if which.Spare != "" && len(conditions) > 0 {
		where("id <>", which.Spare)
	}
	if len(conditions) == 0 || which.Credential != "" {
		return errors.New(pkg + ": RevokeRefresh needs a Session, Subject, Tenant or Before, and no Credential")
	}
	if identity.CheckNames(which.Session, which.Subject, which.Tenant, which.Spare) != nil {
		return nil // no session has such a name
	}
	_, err := s.db.Exec(ctx, "revoking sessions", s.deleteInOrder(strings.Join(conditions, " AND ")), args...)
	return err
}

// Sessions implements [auth.SessionLister], by the clock of the process.
func (s *Store) Sessions(ctx context.Context, subject string) (all []auth.Session, err error) {
	if identity.CheckNames(subject) != nil {
		return nil, nil
	}
	err = s.db.Query(ctx, "listing sessions", `SELECT id, subject, tenant, client, created, expires
		FROM gatewright_sessions WHERE subject = $1 AND idle > $2 AND expires > $2
		ORDER BY created DESC, id LIMIT $3`, []any{subject, time.Now().UnixMicro(), auth.MaxListed}, func(rows *sql.Rows) error {
		var one auth.Session
		var created, expires int64
		if err := rows.Scan(&one.ID, &one.Subject, &one.Tenant, &one.Client, &created, &expires); err != nil {
			return err
		}
		one.Created, one.Expires = time.UnixMicro(created), time.UnixMicro(expires)
		all = append(all, one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// CountSessions implements [auth.SessionCounter]. It reads an index only: package auth
// lets no session be idle beyond its end.
func (s *Store) CountSessions(ctx context.Context) (n int, err error) {
	_, err = s.db.Row(ctx, "counting sessions", `SELECT count(*) AS n FROM (SELECT 1 FROM gatewright_sessions WHERE idle > $1 LIMIT $2) s`,
		[]any{time.Now().UnixMicro(), auth.MaxCounted}, &n)
	return n, err
}

// AttemptChallenge implements [auth.ChallengeStore].
func (s *Store) AttemptChallenge(ctx context.Context, id auth.TokenHash, limit int, expires time.Time) (bool, error) {
	if limit < 1 {
		return false, nil
	}
	changed, err := s.db.Exec(ctx, "counting an attempt", `INSERT INTO gatewright_challenges (id, attempts, finished, expires)
		VALUES ($1, 1, 0, $2)
		ON CONFLICT (id) DO UPDATE SET attempts = gatewright_challenges.attempts + 1
		WHERE gatewright_challenges.attempts < $3 AND gatewright_challenges.finished = 0`,
		id[:], expires.UnixMicro(), limit)
	return changed == 1, err
}

// FinishChallenge implements [auth.ChallengeStore].
func (s *Store) FinishChallenge(ctx context.Context, id auth.TokenHash) (bool, error) {
	changed, err := s.db.Exec(ctx, "finishing a challenge",
		`UPDATE gatewright_challenges SET finished = 1 WHERE id = $1 AND finished = 0`, id[:])
	return changed == 1, err
}

// DeleteExpired deletes sessions and challenges that had expired at before, and
// returns their number. It only frees space: expired rows are rejected anyway.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error) {
	moment := before.UnixMicro()
	return s.db.DeleteExpired(ctx,
		sqldb.Deletion{Statement: `DELETE FROM gatewright_sessions WHERE idle <= $1`, Before: moment}, // idle is never after expires
		sqldb.Deletion{Statement: `DELETE FROM gatewright_challenges WHERE expires <= $1`, Before: moment})
}
