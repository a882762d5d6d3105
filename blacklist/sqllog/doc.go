// Package sqllog keeps the log of package blacklist in PostgreSQL, or in SQLite for
// the processes of one machine, with any database/sql driver.
//
//	_, err = db.ExecContext(ctx, sqllog.Schema(sqllog.PostgreSQL)) // or a migration
//	…
//	log, err := sqllog.New(db, sqllog.Config{Dialect: sqllog.PostgreSQL})
//
// See [github.com/gatewright/gatewright/auth/sqlstore] for databases. Close the
// database after Run of the Replica has returned. SQLite needs a busy_timeout.
//
// # Durability
//
// Append commits with synchronous_commit on. After a failover to a standby that the
// primary does not wait for (synchronous_standby_names), processes that start later
// lack the last revocations. Appends wait for each other, at most five seconds for
// a process that stops in the middle.
//
// # Security considerations
//
// A former primary that was cut off without being fenced accepts writes and cannot
// be distinguished from the primary. The clocks of servers that replace each other
// must agree to within the duration of a failover, or a number may be given twice.
//
// An attacker with write access can revoke every caller, and undo revocations for
// processes that start later. An attacker with read access can check guesses of a
// user's name, and cannot make a token.
package sqllog
