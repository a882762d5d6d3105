// Package guardtest tests what the routes of a host demand: with a caller that passes
// Identify, Accept and Mux without credentials, as a matrix of routes and callers, and
// with an assertion for the routes that matter most.
//
//	ada := guardtest.Caller{Name: "ada", By: tokens, Principal: identity.Principal{
//		Issuer: "https://auth.example", Subject: "ada", Roles: identity.NewSet("admin")}}
//
//	func TestAccess(t *testing.T) {
//		guardtest.Golden(t, "testdata/access.txt", guardtest.Matrix(mux, requests, ada, bob, key))
//		guardtest.OnlyFor(t, mux, httptest.NewRequest("DELETE", "/users/7", nil), everyone, "ada")
//	}
//
// The guards run as in production: roles are loaded, revocations are read, limits are
// charged. The handlers of a guard.Mux do not run; those of another router do, with a
// ResponseWriter that discards. See guard.Decide.
//
// # Security considerations
//
// Authenticators are not called, nor is guard.Hooks.Active: test separately that bad
// credentials and inactive accounts are refused.
package guardtest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Caller is a caller of a test.
type Caller struct {
	// Name stands for the caller in matrices and messages.
	Name string

	// Principal is the caller.
	Principal identity.Principal

	// By is the authenticator that found the caller; guard.Hooks.Accept looks at it.
	// If nil, routes with Accept refuse the caller.
	By guard.Authenticator
}

// Anonymous is the request without credentials. It is the first column of every
// matrix.
const Anonymous = "anonymous"

// As returns a request like r whose caller is c. It passes every guard that c may
// pass, through Identify, Accept and Mux. r must carry no credentials.
func As(r *http.Request, c Caller) *http.Request {
	p := c.Principal // a copy: a handler may change it
	by := c.By
	if by == nil {
		by = nowhere{}
	}
	return r.WithContext(guard.WithCaller(r.Context(), &p, by))
}

// nowhere is the authenticator of callers without one.
type nowhere struct{}

func (nowhere) Authenticate(*http.Request) (*identity.Principal, error) {
	return nil, guard.ErrNoCredentials
}
func (nowhere) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Test"} }

// Requests returns a request for each route of mux, for [Matrix]. Each wildcard of a
// pattern is replaced by the value of its name in values, or by "1". A pattern without
// a method is requested with GET.
func Requests(mux *guard.Mux, values map[string]string) []*http.Request {
	var all []*http.Request
	for _, route := range mux.Routes() {
		method, target, found := strings.Cut(route.Pattern, " ")
		if !found {
			method, target = http.MethodGet, route.Pattern
		}
		host, path := "", target
		if i := strings.IndexByte(target, '/'); i > 0 {
			host, path = target[:i], target[i:]
		}
		segments := strings.Split(path, "/")
		for i, s := range segments {
			name, wild := strings.CutPrefix(s, "{")
			if !wild {
				continue
			}
			name = strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")
			switch value, ok := values[name]; {
			case name == "$":
				segments[i] = ""
			case ok:
				segments[i] = value
			default:
				segments[i] = "1"
			}
		}
		r := httptest.NewRequest(method, strings.Join(segments, "/"), nil)
		if host != "" {
			r.Host = host
		}
		all = append(all, r)
	}
	return all
}

// Matrix returns a table with a line for each request and a column for each caller,
// the anonymous one first. A cell is "ok" if the request passes all guards of h, and
// the status and code of the refusal otherwise. Duplicate names panic.
func Matrix(h http.Handler, requests []*http.Request, callers ...Caller) string {
	mustDiffer(callers)
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "request\t%s", Anonymous)
	for _, c := range callers {
		fmt.Fprintf(w, "\t%s", c.Name)
	}
	fmt.Fprintln(w)
	for _, r := range requests {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
		fmt.Fprintf(w, "\t%s", cell(guard.Decide(h, r.Clone(r.Context()))))
		for _, c := range callers {
			fmt.Fprintf(w, "\t%s", cell(guard.Decide(h, As(r.Clone(r.Context()), c))))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

func cell(err error) string {
	if err == nil {
		return "ok"
	}
	if d, ok := errors.AsType[*guard.Denial](err); ok {
		return fmt.Sprintf("%d %s", d.Status, d.Code)
	}
	return err.Error()
}

func mustDiffer(callers []Caller) {
	for i, c := range callers {
		if c.Name == "" || c.Name == Anonymous || slices.ContainsFunc(callers[:i], func(other Caller) bool { return other.Name == c.Name }) {
			panic(fmt.Sprintf("guardtest: caller %d has the name %q, want one of its own", i, c.Name))
		}
	}
}

// OnlyFor fails the test unless h lets r pass for the named callers and refuses it for
// all others, and for a request without credentials, with 401, 403 or 404. A failure
// to decide (503) is no refusal.
func OnlyFor(t testing.TB, h http.Handler, r *http.Request, callers []Caller, names ...string) {
	t.Helper()
	mustDiffer(callers)
	for _, name := range names {
		if name != Anonymous && !slices.ContainsFunc(callers, func(c Caller) bool { return c.Name == name }) {
			t.Errorf("%s %s: there is no caller %q", r.Method, r.URL.Path, name)
		}
	}
	judge := func(name string, r *http.Request) {
		t.Helper()
		err := guard.Decide(h, r)
		d, denied := errors.AsType[*guard.Denial](err)
		refused := denied && (d.Status == http.StatusUnauthorized || d.Status == http.StatusForbidden || d.Status == http.StatusNotFound)
		switch allowed := slices.Contains(names, name); {
		case allowed && err != nil:
			t.Errorf("%s %s: %s is refused: %v", r.Method, r.URL.Path, name, err)
		case !allowed && err == nil:
			t.Errorf("%s %s: %s passes", r.Method, r.URL.Path, name)
		case !allowed && !refused:
			t.Errorf("%s %s: %s is not refused by a verdict: %v", r.Method, r.URL.Path, name, err)
		}
	}
	judge(Anonymous, r.Clone(r.Context()))
	for _, c := range callers {
		judge(c.Name, As(r.Clone(r.Context()), c))
	}
}

// Golden fails the test unless got is the content of the file. With the environment
// variable GATEWRIGHT_UPDATE=1 it writes the file instead.
func Golden(t testing.TB, file, got string) {
	t.Helper()
	if os.Getenv("GATEWRIGHT_UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; GATEWRIGHT_UPDATE=1 writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; GATEWRIGHT_UPDATE=1 writes it\ngot\n%s\nwant\n%s", file, got, want)
	}
}
