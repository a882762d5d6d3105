package sqllog_test

import (
	"database/sql"
	"fmt"

	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/sqllog"
)

// A program opens the database with the driver that it has, here one that knows
// no revocations, and serves once it has read them all.
func Example() {
	db := sql.OpenDB(empty()) // sql.Open("pgx", "postgres://…")
	defer db.Close()

	log, err := sqllog.New(db, sqllog.Config{Dialect: sqllog.PostgreSQL})
	if err != nil {
		panic(err)
	}
	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	if err != nil {
		panic(err)
	}
	if err := revoked.Refresh(ctx); err != nil {
		panic(err)
	}
	go revoked.Run(ctx)
	fmt.Println("ready:", revoked.Ready(ctx) == nil)
	// Output: ready: true
}

// A migration of the host's own holds the same statements.
func ExampleSchema() {
	fmt.Print(sqllog.Schema(sqllog.SQLite))
	// Output:
	// CREATE TABLE IF NOT EXISTS gatewright_revocations (
	// 	number         INTEGER PRIMARY KEY,
	// 	kind           SMALLINT NOT NULL,
	// 	id             BLOB NOT NULL,
	// 	spare          BLOB NOT NULL,
	// 	revoked_before BIGINT NOT NULL,
	// 	expires        BIGINT NOT NULL
	// );
	// CREATE INDEX IF NOT EXISTS gatewright_revocations_expires ON gatewright_revocations (expires);
	// CREATE TABLE IF NOT EXISTS gatewright_revocations_end (
	// 	one  SMALLINT PRIMARY KEY CHECK (one = 1),
	// 	last BIGINT NOT NULL
	// );
}

// Incorrect: the dialect is not guessed from the driver.
func ExampleNew_incorrect() {
	db := sql.OpenDB(empty())
	defer db.Close()
	_, err := sqllog.New(db, sqllog.Config{})
	fmt.Println(err)
	// Output: blacklist/sqllog: Config.Dialect is Dialect(0); set SQLite or PostgreSQL
}
