package sqllog

import (
	"strconv"
	"strings"
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
	var types *strings.Replacer
	switch d {
	case SQLite:
		types = strings.NewReplacer("NUMBER", "INTEGER", "BYTES", "BLOB") // of which a primary key is the row itself
	case PostgreSQL:
		types = strings.NewReplacer("NUMBER", "BIGINT", "BYTES", "BYTEA")
	default:
		panic("sqllog: unknown " + d.String())
	}
	// Moments are microseconds since 1970, and 0 for none: an index on expires
	// then needs no NULL. The second table has one row, which outlives the
	// entries: numbers go on after all of them have expired.
	return types.Replace(`CREATE TABLE IF NOT EXISTS gatewright_revocations (
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

// statements are what a [Log] asks, in the words of a dialect.
type statements struct {
	number  string // Append: the last number of so many entries
	since   string // one row, or one for each entry; the inner limit lets an index do the work
	compact string
	mark    func(n int) string // the nth placeholder
}

var sqlite = statements{
	// The time, so many; so many.
	number: `INSERT INTO gatewright_revocations_end (one, last) VALUES (1, ? + ?)
		ON CONFLICT (one) DO UPDATE SET last = max(gatewright_revocations_end.last + ?, excluded.last)
		RETURNING last`,
	since: `SELECT e.last, 0, r.number, r.kind, r.id, r.spare, r.revoked_before, r.expires
		FROM gatewright_revocations_end e LEFT JOIN
			(SELECT * FROM gatewright_revocations WHERE number > ? ORDER BY number LIMIT ?) r ON TRUE
		WHERE e.one = 1 ORDER BY r.number`,
	compact: `DELETE FROM gatewright_revocations WHERE number IN
		(SELECT number FROM gatewright_revocations WHERE expires <> 0 AND expires <= ? LIMIT ?)`,
	mark: func(int) string { return "?" },
}

var postgreSQL = statements{
	// The settings hold for this transaction. A machine that stops in the middle
	// of it, and keeps its connection, holds up the others for no longer than
	// the second.
	number: `INSERT INTO gatewright_revocations_end (one, last)
		VALUES (1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT + $1::BIGINT)
		ON CONFLICT (one) DO UPDATE SET last = GREATEST(gatewright_revocations_end.last + $1::BIGINT, excluded.last)
		RETURNING last, CASE WHEN current_setting('synchronous_commit') = 'off'
			THEN set_config('synchronous_commit', 'on', true) END,
			set_config('idle_in_transaction_session_timeout', '5s', true)`,
	since: `SELECT e.last, pg_is_in_recovery(), r.number, r.kind, r.id, r.spare, r.revoked_before, r.expires
		FROM gatewright_revocations_end e LEFT JOIN
			(SELECT * FROM gatewright_revocations WHERE number > $1 ORDER BY number LIMIT $2) r ON TRUE
		WHERE e.one = 1 ORDER BY r.number`,
	// Machines that compact at the same time leave each other's rows alone.
	compact: `DELETE FROM gatewright_revocations WHERE number IN
		(SELECT number FROM gatewright_revocations WHERE expires <> 0 AND expires <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	mark: func(n int) string { return "$" + strconv.Itoa(n) },
}
