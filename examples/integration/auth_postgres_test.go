package integration

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/totp"
	factorstore "github.com/gatewright/gatewright/totp/sqlstore"
	"github.com/gatewright/gatewright/totp/totptest"
)

// openPostgres returns a pool of its own, on the tables that the schema makes.
func openPostgres(t *testing.T, server *servers.Server, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	for range 2 { // again changes nothing
		if _, err := db.ExecContext(t.Context(), schema); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func openPostgresSessions(t *testing.T, server *servers.Server) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db := openPostgres(t, server, sqlstore.Schema(sqlstore.PostgreSQL))
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
	if err != nil {
		t.Fatal(err)
	}
	return store, db
}

func TestSessionsInPostgreSQL(t *testing.T) {
	server := servers.PostgreSQL(t)
	store, db := openPostgresSessions(t, server)
	empty := func(t *testing.T) *sqlstore.Store {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), "DELETE FROM gatewright_sessions"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "DELETE FROM gatewright_challenges"); err != nil {
			t.Fatal(err)
		}
		return store
	}
	t.Run("refresh", func(t *testing.T) {
		authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return empty(t) })
	})
	t.Run("challenges", func(t *testing.T) {
		authtest.RunChallenges(t, func(t *testing.T) auth.ChallengeStore { return empty(t) })
	})
	t.Run("sessions", func(t *testing.T) {
		authtest.RunSessions(t, func(t *testing.T) authtest.SessionStore { return empty(t) })
	})
	t.Run("three servers give one successor", func(t *testing.T) {
		var stores []refreshStore
		for range 3 {
			store, _ := openPostgresSessions(t, server)
			stores = append(stores, store)
		}
		raceRefresh(t, stores)
	})

	var factors []totp.Store
	for range 3 {
		db := openPostgres(t, server, factorstore.Schema(factorstore.PostgreSQL))
		store, err := factorstore.New(db, factorstore.Config{Dialect: factorstore.PostgreSQL})
		if err != nil {
			t.Fatal(err)
		}
		factors = append(factors, store)
	}
	t.Run("factors", func(t *testing.T) {
		totptest.Run(t, func(*testing.T) totp.Store { return factors[0] })
	})
	t.Run("one code is good once over three services", func(t *testing.T) { raceCode(t, factors) })
}
