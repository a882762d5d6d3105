package integration

import (
	"context"
	"database/sql"
	"testing"

	"github.com/gatewright/gatewright/apikey"
	keystore "github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth/identity"
	sessionsinredis "github.com/gatewright/gatewright/auth/redisstore"
	sessionstore "github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	limitsinredis "github.com/gatewright/gatewright/ratelimit/redisstore"
	limitstore "github.com/gatewright/gatewright/ratelimit/sqlstore"
	factorsinredis "github.com/gatewright/gatewright/totp/redisstore"
	factorstore "github.com/gatewright/gatewright/totp/sqlstore"
)

// sqlStores are the five stores on one database.
type sqlStores struct {
	sessions *sessionstore.Store
	keys     *keystore.Store
	factors  *factorstore.Store
	limits   *limitstore.Store
	log      *sqllog.Log
}

// sqlSchema returns the schemas of all stores, in one text.
func sqlSchema(d sessionstore.Dialect) string {
	return sessionstore.Schema(d) + keystore.Schema(d) + factorstore.Schema(d) + limitstore.Schema(d) + sqllog.Schema(d)
}

// openSQLStores makes the stores with one value of Dialect.
func openSQLStores(t testing.TB, db *sql.DB, d sessionstore.Dialect) *sqlStores {
	t.Helper()
	s := new(sqlStores)
	var errs [5]error
	s.sessions, errs[0] = sessionstore.New(db, sessionstore.Config{Dialect: d})
	s.keys, errs[1] = keystore.New(db, keystore.Config{Dialect: d, MaxPerOwner: 10})
	s.factors, errs[2] = factorstore.New(db, factorstore.Config{Dialect: d})
	s.limits, errs[3] = limitstore.New(db, limitstore.Config{Dialect: d})
	s.log, errs[4] = sqllog.New(db, sqllog.Config{Dialect: d})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A readier is a store that proves a write.
type readier interface {
	Ready(context.Context) error
}

func (s *sqlStores) ready() map[string]readier {
	return map[string]readier{
		"auth/sqlstore": s.sessions, "apikey/sqlstore": s.keys, "totp/sqlstore": s.factors,
		"ratelimit/sqlstore": s.limits, "blacklist/sqllog": s.log,
	}
}

var _ apikey.KeyStore = (*keystore.Store)(nil)

// openDatabase returns a pool that ends with the test.
func openDatabase(t testing.TB, driver, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	return db
}

// An evalFunc runs a script with some client.
type evalFunc = func(ctx context.Context, script string, keys []string, args ...any) (any, error)

// redisStores are the four stores on one server.
func redisStores(t testing.TB, eval evalFunc) map[string]readier {
	t.Helper()
	sessions, err1 := sessionsinredis.New(eval, sessionsinredis.Config{})
	factors, err2 := factorsinredis.New(eval, factorsinredis.Config{})
	limits, err3 := limitsinredis.New(eval, limitsinredis.Config{})
	log, err4 := redislog.New(eval, redislog.Config{})
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]readier{
		"auth/redisstore": sessions, "totp/redisstore": factors, "ratelimit/redisstore": limits, "blacklist/redislog": log,
	}
}

func revokeSubject(subject string) identity.Revocation { return identity.Revocation{Subject: subject} }
