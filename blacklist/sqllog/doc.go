// Package sqllog keeps the log of package blacklist in an SQL database that
// several machines share: PostgreSQL, or SQLite for the processes of one
// machine. The host opens the database, with whatever driver it likes.
//
//	db, err := sql.Open("pgx", "postgres://app@db.internal/app?target_session_attrs=read-write")
//	…
//	_, err = db.ExecContext(ctx, sqllog.Schema(sqllog.PostgreSQL)) // or as a migration of yours
//	…
//	log, err := sqllog.New(db, sqllog.Config{Dialect: sqllog.PostgreSQL})
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // read it all before serving
//		return err
//	}
//	go revoked.Run(ctx)
//
// SQLite needs a busy_timeout, so that two who append wait for each other:
//
//	db, err := sql.Open("sqlite", "file:app.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
//
// # Order
//
// The tables exist before the first Append. [blacklist.Replica.Refresh] comes
// before the first request. The host closes the database after the Run of the
// Replica has ended.
//
// # How it numbers
//
// The number of the last entry is a row of its own, and an Append is a
// transaction that begins by changing it. So Appends wait for each other until
// they have committed, and no number becomes visible after a greater one. Of a
// machine that stops in the middle, PostgreSQL ends the transaction after five
// seconds (idle_in_transaction_session_timeout). The
// number is the time in microseconds where that is greater than the last number
// and one: the time of PostgreSQL's server, and for SQLite, which has none, that
// of this machine. A database that comes back from a backup then goes on with
// numbers that it has not given yet, as long as its clock was not set back
// further than the backup.
//
// # Durability
//
// An Append that returned nil has committed. In PostgreSQL it commits with
// synchronous_commit on where the setting is off; other values stay as they are.
// If standbys take over that the primary does not wait for (see
// synchronous_standby_names), the last revocations before a failover are lost to
// processes that start later; those that knew them go on refusing. SQLite in
// WAL mode needs synchronous(full), its default, to survive a loss of power.
//
// # Security considerations
//
// Who can write the tables can revoke everybody, and un-revoke for processes
// that start later. Who can read them sees hashes of identifiers, without a key:
// guesses of a user's name can be tried, and no token can be made of them.
//
// The database must be the primary: a standby answers with what it had some
// time ago. Since refuses one that says that it is in recovery. A former primary
// that was cut off and does not know it cannot be told from the real one; the
// failover has to stop it.
//
// Servers that take over from one another need clocks that agree to within the
// time that the failover takes, or a number may be given twice.
package sqllog
