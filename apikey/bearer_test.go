package apikey_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// tokens is an authenticator of bearer tokens. It takes any token but "bad", and
// counts what it is given.
type tokens struct{ given []string }

func (*tokens) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }

func (b *tokens) Authenticate(r *http.Request) (*identity.Principal, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, guard.ErrNoCredentials
	}
	b.given = append(b.given, token)
	if token == "bad" {
		return nil, guard.InvalidToken("Bearer", nil)
	}
	return &identity.Principal{Issuer: "tokens", Subject: token}, nil
}

func TestBearerAcceptsKeysBesideTokens(t *testing.T) {
	for _, order := range []string{"keys first", "tokens first"} {
		t.Run(order, func(t *testing.T) {
			r := open(t, apikey.Config{Bearer: true})
			key, _ := r.issue(nil)
			bearer := new(tokens)
			authenticators := []guard.Authenticator{r.keys, bearer}
			if order == "tokens first" {
				authenticators = []guard.Authenticator{bearer, r.keys}
			}
			mux := guard.NewMux(guard.Hooks{}, authenticators...)
			mux.Handle("GET /any", guard.Hooks{}.Authenticated(r.next))
			mux.Handle("GET /keys", guard.Hooks{}.Accept(r.keys)(r.next))
			mux.Handle("GET /tokens", guard.Hooks{}.Accept(bearer)(r.next))
			for _, tt := range []struct {
				path, line string
				status     int
				body       string
			}{
				{"/any", "Authorization: Bearer " + key, 200, "hello ada"},
				{"/any", "Authorization: bearer  " + key, 200, "hello ada"},
				{"/any", "Authorization: ApiKey " + key, 200, "hello ada"},
				{"/any", "X-API-Key: " + key, 200, "hello ada"},
				{"/any", "Authorization: Bearer eyJ.e30.x", 200, "hello eyJ.e30.x"},
				{"/any", "Authorization: Bearer bad", 401, ""},
				{"/any", "Authorization: Bearer " + wrongSecret(t, key), 401, ""},
				{"/any", "Authorization: Bearer " + other(key, 40), 401, ""},
				{"/any", "Authorization: Bearer acme_", 401, ""},
				{"/any", "Authorization: Bearer acme_test_x", 401, ""},
				{"/keys", "Authorization: Bearer " + key, 200, "hello ada"},
				{"/keys", "Authorization: Bearer eyJ.e30.x", 401, ""},
				{"/tokens", "Authorization: Bearer " + key, 401, ""},
				{"/tokens", "Authorization: Bearer eyJ.e30.x", 200, "hello eyJ.e30.x"},
			} {
				bearer.given = nil
				w := send(mux, request(tt.path, tt.line))
				if w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body {
					t.Errorf("%s with %s: %d %s, want %d %s", tt.path, tt.line, w.Code, w.Body, tt.status, tt.body)
				}
				if strings.Contains(strings.Join(bearer.given, " "), "acme_") {
					t.Errorf("%s with %s: the tokens' authenticator was given the key", tt.path, tt.line)
				}
			}
			for _, lines := range [][]string{
				{"Authorization: Bearer " + key, "X-API-Key: " + key},
				{"Authorization: Bearer eyJ.e30.x", "X-API-Key: " + key},
				{"Authorization: Bearer " + key, "Authorization: Bearer eyJ.e30.x"},
				{"Authorization: Bearer eyJ.e30.x", "Authorization: Bearer " + key},
			} {
				if w := send(mux, request("/any", lines...)); w.Code != 400 {
					t.Errorf("%q: %d, want 400 for two credentials", lines, w.Code)
				}
			}
		})
	}
}

// By default Authorization: Bearer is not a place for keys, and an authenticator
// of tokens is given all of it.
func TestBearerIsOffByDefault(t *testing.T) {
	r := open(t, apikey.Config{})
	key, _ := r.issue(nil)
	missing.check(t, r.get("Authorization: Bearer "+key))
	bearer := new(tokens)
	mux := guard.NewMux(guard.Hooks{}, r.keys, bearer)
	mux.Handle("GET /", guard.Hooks{}.Authenticated(r.next))
	send(mux, request("/", "Authorization: Bearer "+key))
	if len(bearer.given) != 1 {
		t.Errorf("the tokens' authenticator was given %q", bearer.given)
	}
}

func TestBearerByHandlerAlone(t *testing.T) {
	r := open(t, apikey.Config{Bearer: true, LegacyHash: legacyHash})
	key, _ := r.issue(nil)
	welcome.check(t, r.get("Authorization: Bearer "+key))
	invalid.check(t, r.get("Authorization: Bearer "+wrongSecret(t, key)))
	missing.check(t, r.get("Authorization: Bearer eyJ.e30.x"))
	missing.check(t, r.get("Authorization: Bearer an-older-key-without-a-prefix"))
	missing.check(t, r.get("Authorization: Bearer acme"))
}

func TestStaticBearerIsTheOnlyBearer(t *testing.T) {
	const plain = "a key of 16 bytes or more"
	keys, err := apikey.NewStatic(apikey.StaticConfig{Bearer: true}, apikey.StaticKey{Name: "ci", Key: apikey.NewSecret(strings.ReplaceAll(plain, " ", "-"))})
	if err != nil {
		t.Fatal(err)
	}
	get := func(line string) *httptest.ResponseRecorder {
		return send(keys.Handler(new(spy)), request("/", line))
	}
	if w := get("Authorization: Bearer " + strings.ReplaceAll(plain, " ", "-")); w.Code != 200 {
		t.Errorf("the key: %d", w.Code)
	}
	if w := get("Authorization: ApiKey " + strings.ReplaceAll(plain, " ", "-")); w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("with another scheme: %d %s", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	if w := get("Authorization: Bearer x"); w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("another key: %d %s", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	defer func() {
		if recover() == nil {
			t.Error("two authenticators of the scheme Bearer start")
		}
	}()
	guard.NewMux(guard.Hooks{}, keys, new(tokens))
}
