package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

// A realm publishes its keys by discovery, as Keycloak does.
type realm struct {
	*httptest.Server
	mu   sync.Mutex
	keys jose.JSONWebKeySet
	down bool
}

func newRealm(t *testing.T) *realm {
	r := new(realm)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realms/demo/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"issuer": r.issuer(), "jwks_uri": r.issuer() + "/protocol/openid-connect/certs"})
	})
	mux.HandleFunc("GET /realms/demo/protocol/openid-connect/certs", func(w http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(r.keys)
	})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func (r *realm) issuer() string { return r.URL + "/realms/demo" }

// publish replaces the keys of the realm.
func (r *realm) publish(keys ...jose.JSONWebKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys.Keys = nil
	for _, k := range keys {
		r.keys.Keys = append(r.keys.Keys, k.Public())
	}
}

// token signs the claims of a token of Keycloak, with changes.
func (r *realm) token(t *testing.T, key jose.JSONWebKey, changes map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": r.issuer(), "aud": []string{"orders-api", "account"}, "sub": "8a4e6f2c-51d0-4a55-9a5b-3f0f2f0c7d10",
		"typ": "Bearer", "azp": "web-shop", "sid": "5d1f0c52", "jti": "onrtac:3f6d7a52", "iat": now, "exp": now + 300,
		"realm_access":    map[string]any{"roles": []string{"editor", "admin"}},
		"resource_access": map[string]any{"orders-api": map[string]any{"roles": []string{"editor"}}},
		"scope":           "openid profile",
	}
	for name, value := range changes {
		claims[name] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + compact
}

func TestTokensOfTheRealmPassOverARotation(t *testing.T) {
	r, first, second := newRealm(t), newKey(t, "first"), newKey(t, "second")
	r.publish(first)
	p := kit.Start(t, nil, "-issuer", r.issuer())
	me, orders := p.URL+"/me", p.URL+"/orders"

	kit.Want(t, 401, "unauthenticated", "GET", me, "")
	kit.Want(t, 200, "8a4e6f2c-51d0-4a55-9a5b-3f0f2f0c7d10, by web-shop", "GET", me, "", r.token(t, first, nil))
	kit.Want(t, 200, "You are", "POST", orders, "", r.token(t, first, nil))
	// A role of the realm is no role of this service.
	none := map[string]any{"resource_access": map[string]any{"account": map[string]any{"roles": []string{"editor"}}}}
	kit.Want(t, 403, "forbidden", "POST", orders, "", r.token(t, first, none))
	for name, changes := range map[string]map[string]any{
		"another audience": {"aud": "account"},
		"an ID token":      {"typ": "ID"},
		"another realm":    {"iss": r.URL + "/realms/other"},
		"expired":          {"exp": time.Now().Add(-time.Minute).Unix()},
		"a day long":       {"exp": time.Now().Add(24 * time.Hour).Unix()},
	} {
		if status, body := kit.Do(t, "GET", me, "", r.token(t, first, changes)); status != 401 {
			t.Errorf("%s: %d %s, want 401", name, status, body)
		}
	}

	// The realm signs with a new key at once, and keeps the old one published.
	r.publish(second, first)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		status, body := kit.Do(t, "GET", me, "", r.token(t, second, nil))
		if status == 200 {
			break
		}
		if status != 503 || time.Since(began) > 20*time.Second {
			t.Fatalf("after the rotation: %d %s, want 503 for a second and then 200", status, body)
		}
	}
	kit.Want(t, 200, "You are", "GET", me, "", r.token(t, first, nil))
	// While the realm is down, its keys stay in use.
	r.mu.Lock()
	r.down = true
	r.mu.Unlock()
	kit.Want(t, 200, "You are", "GET", me, "", r.token(t, second, nil))
	p.Kill()
	if log := p.Log.String(); !strings.Contains(log, "audience") {
		t.Errorf("the log does not say why tokens were refused:\n%s", log)
	}
}

func newKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "RS256", Use: "sig"}
}
