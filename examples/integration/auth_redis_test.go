package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	passwordhash "github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/redisstore"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

// A refreshStore is what a sign-in server keeps its sessions in.
type refreshStore interface {
	auth.RefreshStore
	auth.ChallengeStore
}

// signInServers returns one server on each of the stores, with the same users
// and secrets, and the refresh token of somebody who has signed in.
func signInServers(t *testing.T, stores []refreshStore) (all []http.Handler, refresh string) {
	t.Helper()
	passwords, err := passwordhash.New(passwordhash.Config{Argon2id: passwordhash.Argon2id{Memory: 8, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := passwords.Hash(t.Context(), "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	users := new(auth.Memory)
	if err := users.SetUser("alice", auth.User{ID: "1", PasswordHash: hash, Scopes: identity.NewSet("me")}); err != nil {
		t.Fatal(err)
	}
	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: "https://api.test"})
	if err != nil {
		t.Fatal(err)
	}
	revoked := new(blacklist.Memory)
	for i, store := range stores {
		s, err := auth.New(users, tokens, auth.Config{
			Sessions: store, RefreshKeys: []guard.Secret{guard.NewSecret([]byte("32 bytes that all servers share."))},
			Revoker: revoked, Passwords: passwords, Hooks: guard.Hooks{},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s.Refresh())
		if i == 0 {
			status, body := postForm(t, s.Token(), url.Values{"username": {"alice"}, "password": {"correct horse battery"}})
			if refresh = refreshTokenOf(body); status != http.StatusOK || refresh == "" {
				t.Fatalf("signing in: %d %s", status, body)
			}
		}
	}
	return all, refresh
}

func postForm(t *testing.T, h http.Handler, form url.Values) (int, string) {
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func refreshTokenOf(body string) string {
	var pair tokens
	if json.Unmarshal([]byte(body), &pair) != nil {
		return ""
	}
	return pair.Refresh
}

// raceRefresh sends a refresh token to all servers at once, a thousand times:
// each time they answer the same successor, and nobody is signed out.
func raceRefresh(t *testing.T, stores []refreshStore) {
	nodes, current := signInServers(t, stores)
	for round := range 1000 {
		given := url.Values{"refresh_token": {current}}
		next := make([]string, len(nodes))
		failed := make([]string, len(nodes))
		var all sync.WaitGroup
		for i, s := range nodes {
			all.Go(func() {
				status, body := postForm(t, s, given)
				if next[i] = refreshTokenOf(body); status != http.StatusOK {
					failed[i] = fmt.Sprintf("%d %s", status, body)
				}
			})
		}
		all.Wait()
		for i := range next {
			if failed[i] != "" {
				t.Fatalf("round %d, server %d: %s", round, i, failed[i])
			}
			if next[i] == "" || next[i] != next[0] || next[i] == current {
				t.Fatalf("round %d: server %d gave another successor than server 0, or none", round, i)
			}
		}
		current = next[0]
	}
}

func goRedisCall(t *testing.T, addr string) func(context.Context, string, []string, ...any) (any, error) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, DialTimeout: 2 * time.Second})
	t.Cleanup(func() { client.Close() })
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
	}
}

func rueidisCall(t *testing.T, addr string) func(context.Context, string, []string, ...any) (any, error) {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableRetry: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = a.(string)
		}
		return rueidis.NewLuaScript(script).Exec(ctx, client, keys, words).ToAny()
	}
}

func openRedisSessions(t *testing.T, eval evalFunc, prefix string) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(eval, redisstore.Config{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestSessionsInRedis(t *testing.T) {
	server := servers.Redis(t)
	for client, eval := range map[string]evalFunc{"go-redis": goRedisCall(t, server.Addr), "rueidis": rueidisCall(t, server.Addr)} {
		t.Run(client, func(t *testing.T) {
			empty := func(t *testing.T) *redisstore.Store { return openRedisSessions(t, eval, "test:"+rand.Text()) }
			t.Run("refresh", func(t *testing.T) {
				authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return empty(t) })
			})
			t.Run("challenges", func(t *testing.T) {
				authtest.RunChallenges(t, func(t *testing.T) auth.ChallengeStore { return empty(t) })
			})
			t.Run("sessions", func(t *testing.T) {
				authtest.RunSessions(t, func(t *testing.T) authtest.SessionStore { return empty(t) })
			})
		})
	}
	t.Run("three servers give one successor", func(t *testing.T) {
		prefix := "test:" + rand.Text()
		var stores []refreshStore
		for range 3 {
			stores = append(stores, openRedisSessions(t, goRedisCall(t, server.Addr), prefix))
		}
		raceRefresh(t, stores)
	})
	t.Run("more sessions than one script looks at", func(t *testing.T) {
		store := openRedisSessions(t, goRedisCall(t, server.Addr), "test:"+rand.Text())
		now := time.Now()
		for i := range 1201 {
			tenant := "even"
			if i%2 == 1 {
				tenant = "odd"
			}
			s := auth.Session{ID: fmt.Sprint(i), Subject: "alice", Tenant: tenant, Created: now.Add(time.Duration(i)), Expires: now.Add(time.Hour)}
			if _, err := store.CreateRefresh(t.Context(), s, auth.TokenHash{1}, now.Add(time.Hour), 2*auth.MaxListed); err != nil {
				t.Fatal(err)
			}
		}
		list := func(want int) {
			t.Helper()
			if all, err := store.Sessions(t.Context(), "alice"); err != nil || len(all) != want {
				t.Errorf("Sessions = %d of them, %v, want %d", len(all), err, want)
			}
		}
		list(1000)
		for _, tt := range []struct {
			which identity.Revocation
			left  int
		}{
			{identity.Revocation{Subject: "alice", Tenant: "odd"}, 601},
			{identity.Revocation{Before: now.Add(time.Hour)}, 0},
		} {
			if err := store.RevokeRefresh(t.Context(), tt.which); err != nil {
				t.Fatal(err)
			}
			list(tt.left)
		}
	})
	t.Run("nothing is left of sessions that have ended or expired", func(t *testing.T) {
		prefix := "test:" + rand.Text()
		store := openRedisSessions(t, goRedisCall(t, server.Addr), prefix)
		now := time.Now()
		create := func(id string, expires time.Time) {
			t.Helper()
			s := auth.Session{ID: id, Subject: "alice", Tenant: "acme", Created: now.Add(-time.Hour), Expires: expires}
			if _, err := store.CreateRefresh(t.Context(), s, auth.TokenHash{1}, expires, auth.MaxListed); err != nil {
				t.Fatal(err)
			}
		}
		create("expired", now.Add(-time.Minute))
		create("ended", now.Add(time.Hour)) // forgets the first
		if err := store.RevokeRefresh(t.Context(), identity.Revocation{Session: "ended"}); err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		if keys, err := client.Keys(t.Context(), "*"+prefix+"*").Result(); err != nil || len(keys) != 0 {
			t.Errorf("left are %q, %v", keys, err)
		}
	})
	t.Run("factors", func(t *testing.T) { factorsInRedis(t, server.Addr) })
}

// A server that ends after it has rotated and before it has said so: the client
// is told to try again, and is given the successor that the server has kept.
func TestSessionsInRedisThatIsKilled(t *testing.T) {
	server := servers.Redis(t)
	eval := goRedisCall(t, server.Addr)
	var lose atomic.Bool
	store := openRedisSessions(t, func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		answer, err := eval(ctx, script, keys, args...)
		if err == nil && lose.CompareAndSwap(true, false) {
			server.Kill(t)
			return nil, io.ErrUnexpectedEOF
		}
		return answer, err
	}, "")
	all, current := signInServers(t, []refreshStore{store})
	for round := range 3 {
		form := url.Values{"refresh_token": {current}}
		lose.Store(true)
		if status, body := postForm(t, all[0], form); status != http.StatusServiceUnavailable {
			t.Fatalf("round %d, the reply was lost: %d %s, want 503", round, status, body)
		}
		if status, body := postForm(t, all[0], form); status != http.StatusServiceUnavailable {
			t.Fatalf("round %d, the server is gone: %d %s, want 503", round, status, body)
		}
		server.Start(t)
		var next [2]string
		for i := range next {
			var status int
			var body string
			// A connection of the pool may be found broken, which is a 503 too.
			for range 20 {
				if status, body = postForm(t, all[0], form); status != http.StatusServiceUnavailable {
					break
				}
			}
			if next[i] = refreshTokenOf(body); status != http.StatusOK {
				t.Fatalf("round %d, after the restart: %d %s, want 200", round, status, body)
			}
		}
		if next[0] != next[1] || next[0] == current {
			t.Fatalf("round %d: the successors differ, or are none", round)
		}
		current = next[0]
	}
}

func TestSessionsInRedisThatForgets(t *testing.T) {
	evicts := servers.Redis(t, "--maxmemory-policy", "allkeys-lru")
	volatile := servers.Redis(t, "--appendonly", "no")
	for _, tt := range []struct {
		name, addr, says string
		insecure         bool
		check            func(eval evalFunc, insecure bool) (check, use error)
	}{
		{"sessions where it evicts", evicts.Addr, "maxmemory-policy", false, checkSessions},
		{"sessions where it is volatile", volatile.Addr, "aof_enabled", false, checkSessions},
		{"factors where it evicts", evicts.Addr, "maxmemory-policy", false, checkFactors},
		{"factors where it is volatile", volatile.Addr, "aof_enabled", false, checkFactors},
		{"sessions where it evicts, as told", evicts.Addr, "", true, checkSessions},
		{"factors where it is volatile, as told", volatile.Addr, "", true, checkFactors},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check, use := tt.check(goRedisCall(t, tt.addr), tt.insecure)
			for what, err := range map[string]error{"Ready": check, "a method": use} {
				if (err == nil) != tt.insecure || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%s = %v, want %q in an error, or none if it was told so", what, err, tt.says)
				}
			}
		})
	}
}

func checkSessions(eval evalFunc, insecure bool) (check, use error) {
	store, err := redisstore.New(eval, redisstore.Config{InsecureEviction: insecure, InsecureVolatile: insecure})
	if err != nil {
		return err, err
	}
	_, use = store.RotateRefresh(context.Background(), auth.Rotation{Session: "s", Now: time.Now()})
	return store.Ready(context.Background()), use
}
