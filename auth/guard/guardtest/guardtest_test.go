package guardtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/guard/guardtest"
	"github.com/gatewright/gatewright/auth/identity"
)

// tokens finds no caller: tests bring theirs.
type tokens struct{ scheme string }

func (*tokens) Authenticate(*http.Request) (*identity.Principal, error) {
	return nil, guard.ErrNoCredentials
}
func (a *tokens) Challenge() guard.Challenge { return guard.Challenge{Scheme: a.scheme} }

// role is a guard for a role of the caller.
func role(hooks guard.Hooks, name string) func(http.Handler) http.Handler {
	return hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		switch {
		case err != nil:
			return err
		case !p.Roles.Has(name):
			return guard.Forbidden(nil)
		}
		return nil
	}, guard.Requirement{Kind: guard.KindRole, Values: []string{name}})
}

func server(t testing.TB) (*guard.Mux, []guardtest.Caller) {
	hooks := guard.Hooks{}
	bearer, keys := &tokens{"Bearer"}, &tokens{"ApiKey"}
	boom := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler ran") })
	mux := guard.NewMux(hooks, bearer, keys)
	mux.Handle("POST /token", guard.Public("sign-in")(boom))
	mux.Handle("GET /users/me", hooks.Authenticated(boom))
	mux.Handle("DELETE /users/{id}", hooks.Accept(bearer)(role(hooks, "admin")(boom)))
	mux.Handle("/files/{path...}", hooks.Accept(keys)(boom))
	mux.Handle("GET /{$}", guard.Optional("home page")(boom))
	mux.Handle("GET /down", hooks.Require(func(*http.Request) error { return guard.CannotDecide("a step", nil) })(boom))
	return mux, []guardtest.Caller{
		{Name: "ada", Principal: identity.Principal{Issuer: "i", Subject: "ada", Roles: identity.NewSet("admin")}, By: bearer},
		{Name: "bob", Principal: identity.Principal{Issuer: "i", Subject: "bob"}, By: bearer},
		{Name: "robot", Principal: identity.Principal{Issuer: "apikey:x", Subject: "bob", Roles: identity.NewSet("admin")}, By: keys},
		{Name: "nowhere", Principal: identity.Principal{Issuer: "i", Subject: "eve", Roles: identity.NewSet("admin")}},
	}
}

func TestTheMatrixOfRoutesAndCallers(t *testing.T) {
	mux, callers := server(t)
	requests := guardtest.Requests(mux, map[string]string{"id": "7", "path": "a/b"})
	got := guardtest.Matrix(mux, requests, callers...)
	const want = `
request        anonymous            ada                  bob                  robot                nowhere
GET /files/a/b 401 unauthenticated  401 unauthenticated  401 unauthenticated  ok                   401 unauthenticated
DELETE /users/7 401 unauthenticated ok 403 forbidden 401 unauthenticated 401 unauthenticated
GET /down 503 unavailable 503 unavailable 503 unavailable 503 unavailable 503 unavailable
GET /users/me 401 unauthenticated ok ok ok ok
GET / ok ok ok ok ok
POST /token ok ok ok ok ok`
	squeeze := func(s string) map[string]bool {
		lines := map[string]bool{}
		for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
			lines[strings.Join(strings.Fields(line), " ")] = true
		}
		return lines
	}
	if got, want := squeeze(got), squeeze(want); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// failures records what a test would report.
type failures struct {
	testing.TB
	lines []string
}

func (f *failures) Helper() {}
func (f *failures) Errorf(format string, args ...any) {
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
}
func (f *failures) Fatalf(format string, args ...any) { f.Errorf(format, args...); panic(f) }

func TestARouteIsRefusedForAllButTheNamed(t *testing.T) {
	mux, callers := server(t)
	for _, test := range []struct {
		method, path string
		names        []string
		want         []string // in the failures, in any order
	}{
		{"DELETE", "/users/7", []string{"ada"}, nil},
		{"GET", "/users/me", []string{"ada", "bob", "robot", "nowhere"}, nil},
		{"POST", "/token", []string{"anonymous", "ada", "bob", "robot", "nowhere"}, nil},
		{"GET", "/nowhere", nil, nil},
		{"DELETE", "/users/7", nil, []string{"ada passes"}},
		{"DELETE", "/users/7", []string{"ada", "bob"}, []string{"bob is refused"}},
		{"GET", "/users/me", []string{"ada"}, []string{"bob passes", "robot passes", "nowhere passes"}},
		{"POST", "/token", []string{"ada", "bob", "robot", "nowhere"}, []string{"anonymous passes"}},
		{"DELETE", "/users/7", []string{"ada", "zoe"}, []string{`no caller "zoe"`}},
		{"GET", "/down", nil, []string{"anonymous is not refused by a verdict", "ada is not", "bob is not", "robot is not", "nowhere is not"}},
	} {
		f := &failures{TB: t}
		guardtest.OnlyFor(f, mux, httptest.NewRequest(test.method, test.path, nil), callers, test.names...)
		all := strings.Join(f.lines, "\n")
		if len(f.lines) != len(test.want) {
			t.Errorf("%s %s for %v: %q", test.method, test.path, test.names, f.lines)
		}
		for _, want := range test.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s %s for %v: %q, want %q", test.method, test.path, test.names, f.lines, want)
			}
		}
	}
	for _, bad := range [][]guardtest.Caller{{{}}, {{Name: "anonymous"}}, {{Name: "a"}, {Name: "a"}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v is taken", bad)
				}
			}()
			guardtest.Matrix(mux, nil, bad...)
		}()
	}
}

func TestTheCallerReachesTheHandlerAndMayBeChangedThere(t *testing.T) {
	_, callers := server(t)
	hooks := guard.Hooks{Active: func(context.Context, *identity.Principal) error { return errors.New("not called") }}
	h := hooks.Identify(callers[0].By)(hooks.Accept(callers[0].By)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprint(w, p.Subject)
		p.Subject = "mallory"
	})))
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, guardtest.As(httptest.NewRequest("GET", "/", nil), callers[0]))
		if w.Code != 200 || w.Body.String() != "ada" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestGoldenFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.txt")
	t.Setenv("GATEWRIGHT_UPDATE", "1")
	guardtest.Golden(t, file, "one\n")
	if got, err := os.ReadFile(file); err != nil || string(got) != "one\n" {
		t.Fatalf("%q, %v", got, err)
	}
	t.Setenv("GATEWRIGHT_UPDATE", "")
	guardtest.Golden(t, file, "one\n")
	f := &failures{TB: t}
	guardtest.Golden(f, file, "two\n")
	func() {
		defer func() { recover() }()
		guardtest.Golden(f, file+"x", "two\n")
	}()
	if len(f.lines) != 2 || !strings.Contains(f.lines[0], "differs") || !strings.Contains(f.lines[1], "GATEWRIGHT_UPDATE=1") {
		t.Errorf("%q", f.lines)
	}
}
