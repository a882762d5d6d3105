package integration

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
	passkeysql "github.com/gatewright/gatewright/auth/passkey/sqlstore"
	"github.com/gatewright/gatewright/auth/ticket"
	ticketsql "github.com/gatewright/gatewright/auth/ticket/sqlstore"
	"github.com/gatewright/gatewright/auth/ticket/tickettest"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

// conformPasskeysAndTickets runs both suites on a database.
func conformPasskeysAndTickets(t *testing.T, driver, dsn string, dialect passkeysql.Dialect) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(8)
	for range 2 { // again changes nothing
		for _, schema := range []string{passkeysql.Schema(dialect), ticketsql.Schema(dialect)} {
			if _, err := db.ExecContext(t.Context(), schema); err != nil {
				t.Fatal(err)
			}
		}
	}
	passkeys, err := passkeysql.New(db, passkeysql.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	tickets, err := ticketsql.New(db, ticketsql.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	for _, ready := range []error{passkeys.Ready(t.Context()), tickets.Ready(t.Context())} {
		if ready != nil {
			t.Error(ready)
		}
	}
	t.Run("passkeys", func(t *testing.T) {
		passkeytest.Run(t, func(*testing.T) passkey.Store { return passkeys })
	})
	t.Run("tickets", func(t *testing.T) {
		tickettest.Run(t, func(*testing.T) ticket.Store { return tickets })
	})
}

func TestPasskeysAndTicketsInSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ways.db")
	conformPasskeysAndTickets(t, "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_txlock=immediate", passkeysql.SQLite)
}

func TestPasskeysAndTicketsInPostgreSQL(t *testing.T) {
	conformPasskeysAndTickets(t, "pgx", servers.PostgreSQL(t).URL, passkeysql.PostgreSQL)
}
