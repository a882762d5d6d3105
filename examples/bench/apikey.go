package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// apikeyJobs compares what a request with an API key pays before its handler.
// No Go library that we know issues and keeps keys; the key middlewares of the
// frameworks call a function of the host's. So the peers are what such a
// function does: "sha256+map" is the floor, a hash of the key that is looked up
// in a map, which knows no expiry, no revocation, no networks and no checksum;
// "bcrypt" finds the record by an ID in the key and compares a bcrypt hash of
// cost 10, as hosts do who treat keys like passwords.
func apikeyJobs() []job {
	c := newKeyed()
	compare := func(name, peer string, other http.Handler, key string, status int, bound string) job {
		return job{name, peer, map[string]func(*testing.B){
			peer:         func(b *testing.B) { serveKey(b, other, key, status) },
			"gatewright": func(b *testing.B) { serveKey(b, c.ours, key, status) },
		}, bound}
	}
	junk := c.key[:40] + "0" + c.key[41:]
	if junk == c.key {
		junk = c.key[:40] + "1" + c.key[41:]
	}
	return []job{
		compare("apikey good", "sha256+map", c.floor, c.key, http.StatusOK, "<= 600 ns"),
		compare("apikey good, against a slow hash", "bcrypt", c.slow, c.key, http.StatusOK, "<= 0.001"),
		compare("apikey junk", "sha256+map", c.floor, junk, http.StatusUnauthorized, "no dearer than good"),
		{"apikey good, decision only", "sha256+map", map[string]func(*testing.B){
			"sha256+map": func(b *testing.B) { authenticateKey(b, c.floorAuthenticate, c.key, true) },
			"gatewright": func(b *testing.B) { authenticateKey(b, c.authenticate, c.key, true) },
		}, "<= 600 ns, 0 allocs"},
		{"apikey junk, decision only", "sha256+map", map[string]func(*testing.B){
			"sha256+map": func(b *testing.B) { authenticateKey(b, c.floorAuthenticate, junk, false) },
			"gatewright": func(b *testing.B) { authenticateKey(b, c.authenticate, junk, false) },
		}, "<= 50 ns, 0 allocs"},
	}
}

// A keyed is a key, and the handlers that take it.
type keyed struct {
	key               string
	ours, floor, slow http.Handler
	authenticate      func(*http.Request) (*identity.Principal, error)
	floorAuthenticate func(*http.Request) (*identity.Principal, error)
}

func newKeyed() keyed {
	format := must(apikey.NewFormat("acme"))
	store := new(apikey.Memory)
	keys := must(apikey.New(store, apikey.Config{
		Format:  format,
		Peppers: []apikey.Pepper{{ID: "1", Secret: guard.NewSecret(bytes.Repeat([]byte{1}, 32))}},
	}))
	manager := must(apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory)}))
	secret, record, err := manager.Issue(context.Background(), &identity.Principal{Issuer: "bench", Subject: "ada"}, apikey.Spec{
		Owner:  "user-1234567890",
		Scopes: identity.NewSet("read:items", "write:items"),
	})
	if err != nil {
		panic(err)
	}
	key := secret.Plain()
	hooks := guard.Hooks{}

	type callerKey struct{}
	middleware := func(find func(key string) (apikey.Record, bool)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			found, ok := find(r.Header.Get("X-API-Key"))
			if !ok {
				w.Header().Set("WWW-Authenticate", `ApiKey error="invalid_token"`)
				http.Error(w, "Unauthorized", http.StatusUnauthorized)
				return
			}
			handled(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &found)))
		})
	}
	byHash := map[[32]byte]apikey.Record{sha256.Sum256([]byte(key)): record}
	fast := func(key string) (apikey.Record, bool) {
		found, ok := byHash[sha256.Sum256([]byte(key))]
		return found, ok
	}
	// bcrypt takes 72 bytes, which is what the key has.
	slowHash := must(bcrypt.GenerateFromPassword([]byte(key), bcrypt.DefaultCost))
	slow := func(key string) (apikey.Record, bool) {
		id, _, err := format.Parse(key)
		if err != nil || id != record.ID || bcrypt.CompareHashAndPassword(slowHash, []byte(key)) != nil {
			return apikey.Record{}, false
		}
		return record, true
	}
	return keyed{
		key:          key,
		ours:         hooks.Identify(keys)(hooks.Authenticated(http.HandlerFunc(handled))),
		floor:        middleware(fast),
		slow:         middleware(slow),
		authenticate: keys.Authenticate,
		floorAuthenticate: func(r *http.Request) (*identity.Principal, error) {
			found, ok := fast(r.Header.Get("X-API-Key"))
			if !ok {
				return nil, guard.ErrNoCredentials
			}
			return &identity.Principal{Subject: found.Owner}, nil
		},
	}
}

// serveKey measures h, after making sure that it answers as it should.
func serveKey(b *testing.B, h http.Handler, key string, status int) {
	r := withKey(key)
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	if recorder.Code != status {
		fail(b, "status %d, want %d", recorder.Code, status)
	}
	b.ReportAllocs()
	w := &sink{header: make(http.Header)}
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// authenticateKey measures who it is, without an answer.
func authenticateKey(b *testing.B, authenticate func(*http.Request) (*identity.Principal, error), key string, good bool) {
	r := withKey(key)
	if _, err := authenticate(r); (err == nil) != good {
		fail(b, "%v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		authenticate(r)
	}
}

func withKey(key string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-API-Key", key)
	return r
}
