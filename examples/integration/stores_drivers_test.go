package integration

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/lib/pq"
	_ "github.com/ncruces/go-sqlite3/driver"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/apikeytest"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	sessionstore "github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/totptest"
)

// Every driver binds the same values to the parameters of the statements.
func TestStoresWithOtherDrivers(t *testing.T) {
	const wal = "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)"
	postgres := servers.PostgreSQL(t).URL
	for _, way := range []struct {
		name, driver, options string
		dialect               sessionstore.Dialect
	}{
		{"modernc.org/sqlite", "sqlite", wal, sessionstore.SQLite},
		{"github.com/ncruces/go-sqlite3", "sqlite3", wal, sessionstore.SQLite},
		{"github.com/lib/pq", "postgres", "", sessionstore.PostgreSQL},
		{"github.com/lib/pq, binary parameters", "postgres", "&binary_parameters=yes", sessionstore.PostgreSQL},
		{"github.com/jackc/pgx, simple protocol", "pgx", "&default_query_exec_mode=simple_protocol", sessionstore.PostgreSQL},
		{"github.com/jackc/pgx, exec mode, Kathmandu", "pgx", "&default_query_exec_mode=exec&timezone=Asia/Kathmandu", sessionstore.PostgreSQL},
	} {
		t.Run(way.name, func(t *testing.T) {
			var open func(t *testing.T) *sql.DB // with tables, and empty
			if way.dialect == sessionstore.SQLite {
				open = func(t *testing.T) *sql.DB {
					db := openDatabase(t, way.driver, "file:"+filepath.Join(t.TempDir(), "a.db")+way.options)
					if _, err := db.ExecContext(t.Context(), sqlSchema(way.dialect)); err != nil {
						t.Fatal(err)
					}
					return db
				}
			} else {
				db := openDatabase(t, way.driver, postgres+way.options)
				open = func(t *testing.T) *sql.DB {
					for _, statement := range []string{
						"DROP TABLE IF EXISTS gatewright_sessions, gatewright_challenges, gatewright_api_keys, gatewright_api_key_networks, gatewright_totp, gatewright_limits, gatewright_revocations, gatewright_revocations_end",
						sqlSchema(way.dialect),
					} {
						if _, err := db.ExecContext(t.Context(), statement); err != nil {
							t.Fatal(err)
						}
					}
					return db
				}
			}
			stores := func(t *testing.T) *sqlStores { return openSQLStores(t, open(t), way.dialect) }
			t.Run("readiness", func(t *testing.T) {
				for name, store := range stores(t).ready() {
					if err := store.Ready(t.Context()); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
			t.Run("sessions", func(t *testing.T) {
				authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return stores(t).sessions })
			})
			t.Run("challenges", func(t *testing.T) {
				authtest.RunChallenges(t, func(t *testing.T) auth.ChallengeStore { return stores(t).sessions })
			})
			t.Run("keys", func(t *testing.T) {
				apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
					return apikeytest.Open(t, stores(t).keys, records...)
				})
			})
			t.Run("factors", func(t *testing.T) {
				totptest.Run(t, func(t *testing.T) totp.Store { return stores(t).factors })
			})
			t.Run("revocations", func(t *testing.T) {
				blacklisttest.RunLog(t, func() func(t *testing.T) blacklist.Log {
					db := open(t)
					return func(t *testing.T) blacklist.Log { return openSQLStores(t, db, way.dialect).log }
				}())
			})
			t.Run("limits", func(t *testing.T) {
				db := open(t)
				if way.dialect == sessionstore.SQLite {
					db.SetMaxOpenConns(1)
				}
				// The suite measures windows, and runs with the usual drivers.
				limits := openSQLStores(t, db, way.dialect).limits
				charges := []ratelimit.Charge{
					{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "hour", Quota: 3, Window: time.Hour}, Cost: 1},
					{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "smooth", Kind: ratelimit.Smooth, Quota: 3, Burst: 3, Window: time.Hour}, Cost: 1},
				}
				for i := range 5 {
					states, receipt, err := limits.Take(t.Context(), charges)
					if err != nil || states[0].Refused != (i > 3) || i < 3 && states[0].Remaining != int64(2-min(i, 2)) && i != 3 {
						t.Fatalf("Take %d = %+v, %v", i, states, err)
					}
					if i == 2 { // and once more
						if err := limits.Refund(t.Context(), receipt); err != nil {
							t.Fatal(err)
						}
					}
				}
				if n, err := limits.DeleteExpired(t.Context(), time.Now()); n != 0 || err != nil {
					t.Errorf("DeleteExpired = %d, %v", n, err)
				}
			})
		})
	}
}
