package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
)

func TestRedisThatForgetsIsRefusedAtTheStart(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		settings   []string
		flags      []string
	}{
		{"who spent what", "maxmemory-policy", []string{"--maxmemory-policy", "allkeys-lru"}, nil},
		{"who is signed in", "aof_enabled", []string{"--appendonly", "no"}, []string{"-sessions", "redis"}},
		{"who has a second factor", "aof_enabled", []string{"--appendonly", "no"}, []string{"-factors", "redis"}},
		{"who is revoked", "aof_enabled", []string{"--appendonly", "no"}, []string{"-revocations", "redis"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			redis := servers.Redis(t, tt.settings...)
			flags := append([]string{"-addr", "127.0.0.1:0", "-db", fromTemplate(t), "-redis", "redis://" + redis.Addr}, tt.flags...)
			if _, err := refusedToStart(t, flags...); !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "-redis") {
				t.Errorf("got %v, want an error about %s that names the flag", err, tt.says)
			}
		})
	}
}

// What is kept in Redis alone cannot be decided without it.
func TestServerThatNeedsRedisIsNotReadyWithoutIt(t *testing.T) {
	_, keys := template()
	redis := servers.Redis(t, "--appendfsync", "no")
	p := start(t, "-db", fromTemplate(t), "-redis", "redis://"+redis.Addr, "-sessions", "redis", "-factors", "redis", "-revocations", "redis")
	s := &site{url: p.url, keys: keys}
	alice, gone := s.signInAlice(t), s.signInAlice(t)
	s.do(t, "POST", "/logout/", "", bearer(gone.Access)).is(t, http.StatusOK)
	s.do(t, "GET", "/readyz", "").is(t, http.StatusOK)

	redis.Kill(t)
	for began := time.Now(); s.do(t, "GET", "/readyz", "").status == http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 3*time.Second {
			t.Fatal("it is ready without Redis")
		}
	}
	for name, got := range map[string]answer{
		"readiness":   s.do(t, "GET", "/readyz", ""),
		"refreshing":  s.refresh(t, alice.Refresh),
		"signing in":  s.do(t, "POST", "/token", form("username", "alice", "password", keys.DemoPassword), formType),
		"logging out": s.do(t, "POST", "/logout/", "", bearer(alice.Access)),
	} {
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %s, Retry-After %q; want 503 with one", name, got.status, got.body, got.header.Get("Retry-After"))
		}
	}
	s.me(t, gone.Access).has(t, "who signed out before", 401, "invalid_token")

	redis.Start(t)
	for began := time.Now(); s.do(t, "GET", "/readyz", "").status != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("it is not ready again")
		}
	}
	alice = s.refresh(t, alice.Refresh).tokens(t)
	s.me(t, alice.Access).has(t, "who is signed in", 200, "")
	s.me(t, gone.Access).has(t, "who signed out before", 401, "invalid_token")
}
