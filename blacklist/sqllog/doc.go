// Package sqllog keeps the log of package blacklist in PostgreSQL, for several
// machines, or in SQLite for the processes of one machine, with any database/sql
// driver.
//
//	_, err = db.ExecContext(ctx, sqllog.Schema(sqllog.PostgreSQL)) // or a migration
//	…
//	log, err := sqllog.New(db, sqllog.Config{Dialect: sqllog.PostgreSQL})
//
// The host closes the database after Run of the Replica has returned. SQLite
// needs a busy_timeout. See package
// [github.com/gatewright/gatewright/auth/sqlstore] for pools, pgbouncer and
// roles.
//
// # Durability
//
// An Append that returned nil has committed, in PostgreSQL with
// synchronous_commit on. If a standby takes over that the primary does not wait
// for (synchronous_standby_names), processes that start later lack the last
// revocations. Appends wait for each other, at most five seconds for a process
// that stops in the middle.
//
// # Security considerations
//
// A former primary that was cut off, without being fenced, accepts writes and
// cannot be distinguished from the primary. The clocks of servers that take over
// from one another must agree to within the time that a failover takes, or a
// number may be given twice.
//
// An attacker with write access to the tables can revoke every caller, and undo
// revocations for processes that start later. An attacker with read access can
// check guesses of a user's name, and cannot make a token.
package sqllog
