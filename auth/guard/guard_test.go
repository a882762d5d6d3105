package guard_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// authenticator is an Authenticator made of its two answers.
type authenticator struct {
	challenge    guard.Challenge
	authenticate func(r *http.Request) (*identity.Principal, error)
}

func (a *authenticator) Authenticate(r *http.Request) (*identity.Principal, error) {
	return a.authenticate(r)
}
func (a *authenticator) Challenge() guard.Challenge { return a.challenge }

// bearer takes "Authorization: Bearer <name>" for a sign-in of <name>. The
// names "bad" and "down" stand for a forged token and for a store that does
// not answer.
func bearer() *authenticator {
	return &authenticator{
		challenge: guard.Challenge{
			Scheme:           "Bearer",
			Realm:            "api",
			ResourceMetadata: "https://api.example/.well-known/oauth-protected-resource",
		},
		authenticate: func(r *http.Request) (*identity.Principal, error) {
			name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				return nil, guard.ErrNoCredentials
			}
			return verdictOn("tokens", "Bearer", name)
		},
	}
}

// apiKeys does the same for "X-Api-Key: <name>".
func apiKeys() *authenticator {
	return &authenticator{
		challenge: guard.Challenge{Scheme: "ApiKey", Realm: "keys"},
		authenticate: func(r *http.Request) (*identity.Principal, error) {
			name := r.Header.Get("X-Api-Key")
			if name == "" {
				return nil, guard.ErrNoCredentials
			}
			return verdictOn("apikey:demo", "ApiKey", name)
		},
	}
}

func verdictOn(issuer, scheme, name string) (*identity.Principal, error) {
	switch name {
	case "bad":
		return nil, guard.InvalidToken(scheme, errSecret)
	case "down":
		return nil, errSecret
	}
	return &identity.Principal{Issuer: issuer, Subject: name, Credential: "id-of-" + name}, nil
}

// errSecret is the reason of refusals; nothing of it may reach a client.
var errSecret = secretError{}

type secretError struct{}

func (secretError) Error() string { return "SECRET-REASON" }

// spy is the handler behind the guards: it knows whether it ran, and for whom.
type spy struct {
	mu      sync.Mutex
	callers []string
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := "nobody"
	if p, ok := identity.FromContext(r.Context()); ok {
		name = p.Subject
	}
	s.mu.Lock()
	s.callers = append(s.callers, name)
	s.mu.Unlock()
	w.Write([]byte("hello " + name))
}

func (s *spy) ran() bool { return len(s.callers) > 0 }

// get makes a request with the given header lines, "Name: value".
func get(target string, lines ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ": ")
		if !ok {
			panic("a header line needs a colon: " + l)
		}
		r.Header.Add(name, value)
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// events collects what Observe hears.
type events struct {
	mu  sync.Mutex
	all []guard.Event
}

func (e *events) observe(_ context.Context, event guard.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// count hears and keeps nothing.
func (e *events) count(context.Context, guard.Event) {}

// problemBody is the default body.
func problemBody(status int, code, detail string) string {
	titles := map[int]string{
		400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 413: "Request Entity Too Large",
		429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
	}
	b := `{"title":"` + titles[status] + `","status":` + itoa(status)
	if code != "" {
		b += `,"code":"` + code + `"`
	}
	if detail != "" {
		b += `,"detail":"` + detail + `"`
	}
	return b + "}\n"
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

var (
	unauthenticatedBody = problemBody(401, "unauthenticated", "This needs you to be signed in.")
	invalidTokenBody    = problemBody(401, "invalid_token", "The credentials are not valid.")
	forbiddenBody       = problemBody(403, "forbidden", "Access denied")
	stepUpBody          = problemBody(401, "insufficient_user_authentication", "This needs a more recent or a stronger sign-in.")
	tooManyBody         = problemBody(429, "too_many_attempts", "There were too many attempts. Please wait.")
	unavailableBody     = problemBody(503, "unavailable", "The service cannot decide this right now. Please try again.")
	twoKindsBody        = problemBody(400, "invalid_request", "The request carries more than one kind of credential.")
	twoLinesBody        = problemBody(400, "invalid_request", "The request carries more than one Authorization header.")
)

const (
	bearerLine    = `Bearer realm="api", resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	badBearerLine = `Bearer realm="api", error="invalid_token", resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	keyLine       = `ApiKey realm="keys"`
	badKeyLine    = `ApiKey realm="keys", error="invalid_token"`
)

// want is a response, as far as this package decides it.
type want struct {
	status     int
	challenges []string
	retryAfter string
	body       string
}

// check compares a refusal with w, and what every refusal has in common.
func (w want) check(t *testing.T, got *httptest.ResponseRecorder) {
	t.Helper()
	if got.Code != w.status {
		t.Errorf("status = %d, want %d", got.Code, w.status)
	}
	if c := got.Header().Values("WWW-Authenticate"); !slices.Equal(c, w.challenges) {
		t.Errorf("WWW-Authenticate\n got %q\nwant %q", c, w.challenges)
	}
	if a := got.Header().Get("Retry-After"); a != w.retryAfter {
		t.Errorf("Retry-After = %q, want %q", a, w.retryAfter)
	}
	if b := got.Body.String(); b != w.body {
		t.Errorf("body\n got %q\nwant %q", b, w.body)
	}
	if w.status < 400 {
		return
	}
	if c := got.Header().Values("Cache-Control"); !slices.Equal(c, []string{"no-store"}) {
		t.Errorf("Cache-Control = %q, want no-store on every refusal", c)
	}
	if c := got.Header().Get("Content-Type"); c != "application/problem+json" {
		t.Errorf("Content-Type = %q, want application/problem+json", c)
	}
	for name, values := range got.Header() {
		if strings.Contains(strings.Join(values, ""), errSecret.Error()) {
			t.Errorf("%s shows the reason of the refusal: %q", name, values)
		}
	}
	if strings.Contains(got.Body.String(), errSecret.Error()) {
		t.Errorf("the body shows the reason of the refusal: %q", got.Body)
	}
}

// mustPanic runs f and returns what it panicked with.
func mustPanic(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		t.Helper()
		switch v := recover().(type) {
		case nil:
			t.Error("no panic")
		case string:
			text = v
		case error:
			text = v.Error()
		}
	}()
	f()
	return ""
}
