package integration

import (
	"testing"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/apikeytest"
	"github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

func TestAPIKeysInPostgreSQL(t *testing.T) {
	db := openPostgres(t, servers.PostgreSQL(t), sqlstore.Schema(sqlstore.PostgreSQL))
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL, MaxPerOwner: 10})
	if err != nil {
		t.Fatal(err)
	}
	// One for all rules: they must not get in each other's way.
	apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
		return apikeytest.Open(t, store, records...)
	})
}
