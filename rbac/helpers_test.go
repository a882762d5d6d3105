package rbac_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// The permissions and the policy of most tests.
type app struct {
	perms                           rbac.Registry
	read, write, remove, post, edit rbac.Permission
}

func newApp() *app {
	a := new(app)
	a.read = a.perms.Permission("users:read")
	a.write = a.perms.Permission("users:write")
	a.remove = a.perms.Permission("users:delete")
	a.post = a.perms.Permission("posts:write")
	a.edit = a.perms.Permission("posts:edit")
	return a
}

func appPolicy() rbac.Policy {
	return rbac.Policy{Roles: map[string]rbac.Role{
		"user":      {Allow: []string{"users:read", "posts:write"}},
		"moderator": {Inherits: []string{"user"}, Allow: []string{"posts:*"}},
		"admin":     {Inherits: []string{"moderator"}, Allow: []string{"users:*"}},
		"root":      {Allow: []string{"*"}},
		"auditor":   {Inherits: []string{"admin"}, Deny: []string{"*:write", "users:delete"}},
		"suspended": {Deny: []string{"*"}},
	}}
}

func (a *app) engine(t testing.TB, config rbac.Config) *rbac.Engine {
	t.Helper()
	config.Permissions = &a.perms
	return must(rbac.New(appPolicy(), config))(t)
}

// caller is somebody with roles, in no tenant.
func caller(roles ...string) *identity.Principal {
	return &identity.Principal{Issuer: "https://auth.example.com", Subject: "ada", Roles: identity.NewSet(roles...)}
}

func as(p *identity.Principal) context.Context {
	return identity.NewContext(context.Background(), p)
}

// An answer is what a client gets, and whether the handler behind the guard
// ran.
type answer struct {
	status int
	header http.Header
	body   string
	ran    bool
}

// ask sends a request of p, who may be nil, through the middleware.
func ask(p *identity.Principal, guarded func(http.Handler) http.Handler) answer {
	ctx := context.Background()
	if p != nil {
		ctx = as(p)
	}
	return askIn(ctx, guarded)
}

func askIn(ctx context.Context, guarded func(http.Handler) http.Handler) answer {
	var a answer
	h := guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.ran = true
		w.WriteHeader(http.StatusNoContent)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	a.status, a.header, a.body = w.Code, w.Header(), w.Body.String()
	return a
}

// is fails the test unless the answer has the status, and the handler ran for
// 204 only.
func (a answer) is(t testing.TB, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d; body %s", a.status, status, a.body)
	}
	if want := status == http.StatusNoContent; a.ran != want {
		t.Errorf("the handler ran: %v, want %v", a.ran, want)
	}
	if status >= 400 && a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", a.header.Get("Cache-Control"))
	}
	if (status == http.StatusUnauthorized) != (a.header.Get("WWW-Authenticate") != "") {
		t.Errorf("status %d with WWW-Authenticate %q", status, a.header.Get("WWW-Authenticate"))
	}
}

// forbidden is the body of every 403.
const forbidden = `{"title":"Forbidden","status":403,"code":"forbidden","detail":"Access denied"}` + "\n"

// audit collects what Observe is told.
type audit struct{ events []guard.Event }

func (a *audit) hooks() guard.Hooks {
	return guard.Hooks{Observe: func(_ context.Context, e guard.Event) { a.events = append(a.events, e) }}
}

// last returns the reason of the last refusal.
func (a *audit) last() string {
	if len(a.events) == 0 {
		return ""
	}
	d := a.events[len(a.events)-1].Denial
	if d == nil || d.Err == nil {
		return ""
	}
	return d.Err.Error()
}

// contains fails the test unless s has all the parts.
func contains(t testing.TB, s string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(s, part) {
			t.Errorf("%q\ndoes not have %q", s, part)
		}
	}
}

// panics returns what f panics with, "" if it does not.
func panics(t testing.TB, f func()) (message string) {
	t.Helper()
	defer func() {
		switch v := recover().(type) {
		case nil:
		case string:
			message = v
		default:
			t.Errorf("panic with %v, want a string", v)
		}
	}()
	f()
	return ""
}
