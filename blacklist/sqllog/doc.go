// Package sqllog keeps the log of package blacklist in PostgreSQL, shared by
// several machines, or in SQLite for the processes of one machine, with any
// database/sql driver.
//
//	db, err := sql.Open("pgx", "postgres://app@db.internal/app?target_session_attrs=read-write")
//	…
//	_, err = db.ExecContext(ctx, sqllog.Schema(sqllog.PostgreSQL)) // or a migration of yours
//	…
//	log, err := sqllog.New(db, sqllog.Config{Dialect: sqllog.PostgreSQL})
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // read everything before serving
//		return err
//	}
//	go revoked.Run(ctx)
//
// The host closes the database after Run of the Replica has returned. SQLite needs
// a busy_timeout, so that processes that append wait for each other.
//
// # Durability
//
// An Append that returned nil has committed. In PostgreSQL it commits with
// synchronous_commit on if the setting is off. If a standby takes over that the
// primary does not wait for (synchronous_standby_names), processes that start later
// lack the last revocations; processes that had read them go on refusing.
//
// Appends wait for each other, so that no number becomes visible after a greater
// one. If a process stops in the middle of an Append, PostgreSQL ends its
// transaction after five seconds.
//
// # PostgreSQL
//
// Since returns an error on a standby and on a read-only connection: the log is
// then an outage for the Replica, which refuses callers once its last reading is
// older than MaxStale. See the section PostgreSQL of package
// [github.com/gatewright/gatewright/auth/sqlstore] for pools that drop such
// connections, for pgbouncer, and for the rights of the role.
//
// # Security considerations
//
// An attacker who can write the tables can revoke every caller, and undo
// revocations for processes that start later. An attacker who can read them sees
// unkeyed hashes of identifiers: guesses of a user's name can be checked, and no
// token can be made.
//
// A former primary that was cut off, without being fenced, accepts writes and
// cannot be distinguished from the primary. The clocks of servers that take over
// from one another must agree to within the time that a failover takes, or a number
// may be given twice.
package sqllog
