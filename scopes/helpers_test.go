package scopes_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("scopes: %v", err))
	}
	return v
}

// found is an authenticator of tokens that has made up its mind: who is
// calling, or nobody if that is nil.
type found struct{ p *identity.Principal }

func (f found) Authenticate(*http.Request) (*identity.Principal, error) {
	if f.p == nil {
		return nil, guard.ErrNoCredentials
	}
	p := *f.p
	return &p, nil
}

func (f found) Challenge() guard.Challenge {
	return guard.Challenge{Scheme: "Bearer", Realm: "example"}
}

// as is a context that carries p, who may be nil.
func as(p *identity.Principal) context.Context {
	return identity.NewContext(context.Background(), p)
}

// keys is found for API keys.
type keys struct{ found }

func (keys) Challenge() guard.Challenge { return guard.Challenge{Scheme: "ApiKey", Realm: "keys"} }

var levels = map[string]identity.Set{
	"pwd": identity.NewSet("pwd"),
	"mfa": identity.NewSet("pwd", "otp"),
	"hwk": identity.NewSet("hwk", "user"),
}

// An answer is what came of a request.
type answer struct {
	passed     bool // next ran
	status     int
	challenges []string
	body       string
	event      guard.Event // of the refusal
}

// ask sends a request through a guard, made with hooks that listen, behind the
// authenticators.
func ask(t *testing.T, config scopes.Config, guardOf func(*scopes.Middleware) func(http.Handler) http.Handler, by ...guard.Authenticator) answer {
	t.Helper()
	var a answer
	listener := &events{}
	config.Hooks.Observe = listener.observe
	m, err := scopes.New(config)
	if err != nil {
		t.Fatal(err)
	}
	h := guardOf(m)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.passed = true
		fmt.Fprint(w, "passed")
	}))
	if len(by) > 0 {
		h = config.Hooks.Identify(by...)(h)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	a.status, a.challenges, a.body = w.Code, w.Header().Values("WWW-Authenticate"), w.Body.String()
	if n := len(listener.all); n > 0 {
		a.event = listener.all[n-1]
	}
	return a
}

func require(names ...string) func(*scopes.Middleware) func(http.Handler) http.Handler {
	return func(m *scopes.Middleware) func(http.Handler) http.Handler { return m.Require(names...) }
}

func requireAny(names ...string) func(*scopes.Middleware) func(http.Handler) http.Handler {
	return func(m *scopes.Middleware) func(http.Handler) http.Handler { return m.RequireAny(names...) }
}

func (a answer) check(t *testing.T, status int, body string, challenges ...string) {
	t.Helper()
	if a.passed != (status == 200) || a.status != status {
		t.Errorf("next ran: %v, status %d; want status %d", a.passed, a.status, status)
	}
	if a.body != body {
		t.Errorf("body\n got %s\nwant %s", a.body, body)
	}
	if !slices.Equal(a.challenges, challenges) {
		t.Errorf("WWW-Authenticate\n got %q\nwant %q", a.challenges, challenges)
	}
}

type events struct{ all []guard.Event }

func (e *events) observe(_ context.Context, event guard.Event) { e.all = append(e.all, event) }

// The bodies, one for each class of refusal.
const (
	anonymousBody    = `{"title":"Unauthorized","status":401,"code":"unauthenticated","detail":"This needs you to be signed in."}` + "\n"
	insufficientBody = `{"title":"Forbidden","status":403,"code":"insufficient_scope","detail":"The token is not good for this."}` + "\n"
	stepUpBody       = `{"title":"Unauthorized","status":401,"code":"insufficient_user_authentication","detail":"This needs a more recent or a stronger sign-in."}` + "\n"
)

// Bounds that the package documents.
const (
	maxBytes  = 64 << 10
	maxScopes = 1000
)
