package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	sessionstore "github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/totp"
)

// A former primary that was fenced, or a standby, has data that may be old.
func TestReadOnlyPostgreSQLIsAnOutage(t *testing.T) {
	ctx := t.Context()
	server := servers.PostgreSQL(t)
	admin := openDatabase(t, "pgx", server.URL)
	if _, err := admin.ExecContext(ctx, sqlSchema(sessionstore.PostgreSQL)); err != nil {
		t.Fatal(err)
	}
	primary := openSQLStores(t, openDatabase(t, "pgx", server.URL), sessionstore.PostgreSQL)
	if err := primary.keys.WriteKeys(ctx, nil, &apikey.Record{ID: "k", Owner: "alice", Hash: "h", Active: true, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	standby := servers.Standby(t, server)

	check := func(t *testing.T, s *sqlStores, want string) {
		t.Helper()
		for name, store := range s.ready() {
			if err := store.Ready(ctx); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: Ready = %v, want %q", name, err, want)
			}
		}
		_, _, errSince := s.log.Since(ctx, 0, 10)
		_, errKey := s.keys.KeyByID(ctx, "k")
		_, errNoKey := s.keys.KeyByID(ctx, "unknown")
		_, errHash := s.keys.KeyByHash(ctx, "h")
		_, errFactor := s.factors.LoadTOTP(ctx, "alice")
		if errors.Is(errNoKey, apikey.ErrNotFound) {
			errNoKey = nil
		}
		if errors.Is(errHash, apikey.ErrNotFound) { // its hash has a pepper
			errHash = nil
		}
		for what, err := range map[string]error{"Since": errSince, "KeyByID": errKey, "KeyByID of an unknown key": errNoKey, "KeyByHash": errHash, "LoadTOTP": errFactor} {
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s = %v, want %q", what, err, want)
			}
		}
	}
	const readOnly = "the database is read-only here"
	t.Run("the primary", func(t *testing.T) { check(t, primary, "") })
	t.Run("a standby", func(t *testing.T) {
		check(t, openSQLStores(t, openDatabase(t, "pgx", standby.URL), sessionstore.PostgreSQL), readOnly)
	})
	t.Run("a read-only connection", func(t *testing.T) {
		check(t, openSQLStores(t, openDatabase(t, "pgx", server.URL+"&default_transaction_read_only=on"), sessionstore.PostgreSQL), readOnly)
	})
	t.Run("a primary that is fenced while connections are open", func(t *testing.T) {
		fence := func(statement string) {
			t.Helper()
			for _, s := range []string{"SET default_transaction_read_only = off", statement, "SELECT pg_reload_conf()"} {
				if _, err := admin.ExecContext(ctx, s); err != nil {
					t.Fatal(err)
				}
			}
		}
		admin.SetMaxOpenConns(1)
		replica, err := blacklist.NewReplica(primary.log, blacklist.ReplicaConfig{MaxStale: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(ctx)
		defer stop()
		go replica.Run(running)
		caller := &identity.Principal{Issuer: "i", Subject: "alice", Session: "s"}
		eventually(t, "the log is read", func() error { return replica.Ready(ctx) })
		fence("ALTER SYSTEM SET default_transaction_read_only = on")
		began := time.Now()
		eventually(t, "the replica refuses", func() error {
			if _, err := replica.Revoked(ctx, caller); !errors.Is(err, blacklist.ErrStale) {
				return fmt.Errorf("Revoked = %v", err)
			}
			return nil
		})
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("callers were served for %v after the log was fenced, want MaxStale, 2 s", d)
		}
		check(t, primary, readOnly)
		fence("ALTER SYSTEM RESET default_transaction_read_only")
		eventually(t, "the replica serves again", func() error { return replica.Ready(ctx) })
		check(t, primary, "")
	})
}

// CREATE … IF NOT EXISTS in two transactions at once is an error in PostgreSQL,
// unless they wait for each other.
func TestSchemasCanBeCreatedByManyProcessesAtOnce(t *testing.T) {
	server := servers.PostgreSQL(t)
	admin := openDatabase(t, "pgx", server.URL)
	for round := range 5 {
		name := fmt.Sprintf("round%d", round)
		if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 12 {
			db := openDatabase(t, "pgx", server.URL+"&search_path="+name)
			if err := db.PingContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				defer db.Close()
				if _, err := db.ExecContext(t.Context(), sqlSchema(sessionstore.PostgreSQL)); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		all.Wait()
	}
}

// Whatever isolation the server has by default, stores do not fail because
// several processes write at once.
func TestStoresSetTheirIsolation(t *testing.T) {
	server := servers.PostgreSQL(t)
	if _, err := openDatabase(t, "pgx", server.URL).ExecContext(t.Context(), sqlSchema(sessionstore.PostgreSQL)); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"serializable", "repeatable%20read", "read%20committed"} {
		t.Run(level, func(t *testing.T) {
			ctx := t.Context()
			s := openSQLStores(t, openDatabase(t, "pgx", server.URL+"&default_transaction_isolation="+level), sessionstore.PostgreSQL)
			now := time.Now()
			session := auth.Session{ID: "s" + level, Subject: "alice", Created: now, Expires: now.Add(time.Hour)}
			if _, err := s.sessions.CreateRefresh(ctx, session, auth.TokenHash{1}, now.Add(time.Hour), 100); err != nil {
				t.Fatal(err)
			}
			if err := s.keys.WriteKeys(ctx, nil, &apikey.Record{ID: "k" + level, Owner: "alice", Hash: apikey.Hash("h" + level), Active: true, CreatedAt: now}); err != nil {
				t.Fatal(err)
			}
			charges := []ratelimit.Charge{{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "hour", Quota: 1000, Window: time.Hour}, Cost: 1}}
			challenge := auth.TokenHash{2, level[0]}
			var all sync.WaitGroup
			for worker := range 6 {
				all.Go(func() {
					for i := range 15 {
						for what, err := range map[string]error{
							"AttemptChallenge":  second(s.sessions.AttemptChallenge(ctx, challenge, 1000, now.Add(time.Hour))),
							"RotateRefresh":     second(s.sessions.RotateRefresh(ctx, auth.Rotation{Session: session.ID, Old: auth.TokenHash{1}, New: auth.TokenHash{3}, Now: now, Idle: time.Hour, Grace: time.Hour})),
							"RevokeRefresh":     s.sessions.RevokeRefresh(ctx, identity.Revocation{Subject: "bob"}),
							"SaveTOTP":          second(s.factors.SaveTOTP(ctx, "u"+level, totp.Record{Version: int64(i)})),
							"LoadTOTP":          second(s.factors.LoadTOTP(ctx, "u"+level)),
							"RecordUse":         s.keys.RecordUse(ctx, []apikey.Use{{ID: "k" + level, At: now.Add(time.Duration(i) * time.Second)}}),
							"KeyByID":           second(s.keys.KeyByID(ctx, "k"+level)),
							"WriteKeys":         s.keys.WriteKeys(ctx, nil, &apikey.Record{ID: fmt.Sprint(level, worker, i), Owner: fmt.Sprint(level, worker, i), Hash: apikey.Hash(fmt.Sprint(level, worker, i)), CreatedAt: now}),
							"Append":            second(s.log.Append(ctx, someEntry(int64(worker*100+i)))),
							"log.DeleteExpired": second(s.log.DeleteExpired(ctx, now.Add(-time.Hour))),
							"DeleteExpired":     second(s.sessions.DeleteExpired(ctx, now.Add(-time.Hour))),
							"Ready":             s.sessions.Ready(ctx),
						} {
							if err != nil {
								t.Errorf("%s: %v", what, err)
							}
						}
						if _, _, err := s.limits.Take(ctx, charges); err != nil {
							t.Errorf("Take: %v", err)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

func second[T any](_ T, err error) error { return err }

// What any client can send as an identifier is never an error of the database.
func TestIllFormedIdentifiersAreUnknownInPostgreSQL(t *testing.T) {
	ctx := t.Context()
	server := servers.PostgreSQL(t)
	db := openDatabase(t, "pgx", server.URL)
	if _, err := db.ExecContext(ctx, sqlSchema(sessionstore.PostgreSQL)); err != nil {
		t.Fatal(err)
	}
	s := openSQLStores(t, db, sessionstore.PostgreSQL)
	for _, bad := range []string{"a\x00b", "\xff", "\xed\xa0\x80", strings.Repeat("a", 5000), strings.Repeat("é", 600)} {
		if _, err := s.keys.KeyByID(ctx, bad); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("KeyByID(%.10q) = %v, want ErrNotFound", bad, err)
		}
		for what, err := range map[string]error{
			"KeysByOwner":   second(s.keys.KeysByOwner(ctx, bad)),
			"RecordUse":     s.keys.RecordUse(ctx, []apikey.Use{{ID: bad, At: time.Now()}}),
			"Sessions":      second(s.sessions.Sessions(ctx, bad)),
			"RotateRefresh": second(s.sessions.RotateRefresh(ctx, auth.Rotation{Session: bad, Now: time.Now()})),
			"RevokeRefresh": s.sessions.RevokeRefresh(ctx, identity.Revocation{Session: bad}),
			"LoadTOTP":      second(s.factors.LoadTOTP(ctx, bad)),
		} {
			if err != nil {
				t.Errorf("%s(%.10q) = %v, want that it is unknown", what, bad, err)
			}
		}
		for what, err := range map[string]error{
			"CreateRefresh": second(s.sessions.CreateRefresh(ctx, auth.Session{ID: "s", Client: bad, Created: time.Now(), Expires: time.Now()}, auth.TokenHash{}, time.Now(), 100)),
			"WriteKeys":     s.keys.WriteKeys(ctx, nil, &apikey.Record{ID: "k", Owner: bad}),
			"SaveTOTP":      second(s.factors.SaveTOTP(ctx, bad, totp.Record{})),
		} {
			if err == nil || strings.Contains(err.Error(), "SQLSTATE") {
				t.Errorf("%s(%.10q) = %v, want an error before the database", what, bad, err)
			}
		}
	}
}
