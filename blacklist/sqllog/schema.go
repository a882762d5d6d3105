package sqllog

import "github.com/gatewright/gatewright/internal/sqldb"

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
	// Moments are microseconds since 1970, and 0 for none: an index on expires
	// then needs no NULL. The second table has one row, which outlives the
	// entries: numbers go on after all of them have expired.
	return sqldb.Schema(pkg, d, `CREATE TABLE IF NOT EXISTS gatewright_revocations (
	number         NUMBER PRIMARY KEY,
	kind           SMALLINT NOT NULL,
	id             BYTES NOT NULL,
	spare          BYTES NOT NULL,
	revoked_before BIGINT NOT NULL,
	expires        BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS gatewright_revocations_expires ON gatewright_revocations (expires);
CREATE TABLE IF NOT EXISTS gatewright_revocations_end (
	one  SMALLINT PRIMARY KEY CHECK (one = 1),
	last BIGINT NOT NULL
);
`)
}

// numberStatement reserves $2 numbers for an Append and returns the last. Numbers
// begin with the time: $1 in SQLite, the server's time in PostgreSQL, whose
// settings hold for this transaction. A process that stops in the middle of it,
// and keeps its connection, delays the others by five seconds at most.
func numberStatement(d Dialect) string {
	if d == SQLite {
		return `INSERT INTO gatewright_revocations_end (one, last) VALUES (1, $1 + $2)
			ON CONFLICT (one) DO UPDATE SET last = max(gatewright_revocations_end.last + $2, excluded.last)
			RETURNING last, NULL, NULL`
	}
	return `INSERT INTO gatewright_revocations_end (one, last)
		VALUES (1, GREATEST($1::BIGINT, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT) + $2::BIGINT)
		ON CONFLICT (one) DO UPDATE SET last = GREATEST(gatewright_revocations_end.last + $2::BIGINT, excluded.last)
		RETURNING last, CASE WHEN current_setting('synchronous_commit') = 'off'
			THEN set_config('synchronous_commit', 'on', true) END,
			set_config('idle_in_transaction_session_timeout', '5s', true)`
}

// sinceStatement returns one row, or one for each entry after $1, $2 at most. The
// inner limit lets an index do the work.
func sinceStatement(db *sqldb.DB) string {
	return `SELECT e.last, ` + db.Writable() + `, r.number, r.kind, r.id, r.spare, r.revoked_before, r.expires
		FROM (SELECT 1 AS one) o
		LEFT JOIN gatewright_revocations_end e ON e.one = o.one
		LEFT JOIN (SELECT * FROM gatewright_revocations WHERE number > $1 ORDER BY number LIMIT $2) r ON e.one = 1
		ORDER BY r.number`
}

// deleteStatement deletes $2 entries that have expired at $1. Processes that
// delete at the same time skip rows of each other.
func deleteStatement(d Dialect) string {
	skip := ""
	if d == PostgreSQL {
		skip = " FOR UPDATE SKIP LOCKED"
	}
	return `DELETE FROM gatewright_revocations WHERE number IN
		(SELECT number FROM gatewright_revocations WHERE expires <> 0 AND expires <= $1 LIMIT $2` + skip + `)`
}
