package scopes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

// tokens stands for the verifier of the token package: it knows three tokens.
type tokens map[string]*identity.Principal

func (t tokens) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer", Realm: "items"} }

func (t tokens) Authenticate(r *http.Request) (*identity.Principal, error) {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, guard.ErrNoCredentials
	}
	known, ok := t[given]
	if !ok {
		return nil, guard.InvalidToken("Bearer", errors.New("unknown token"))
	}
	p := *known
	return &p, nil
}

// A server with three routes: one that anybody may read who has the scope, one
// to write, and one for which the sign-in must be recent and strong.
func Example() {
	verifier := tokens{
		"reader": {Issuer: "demo", Subject: "ada", Scopes: identity.NewSet("read:items")},
		"writer": {Issuer: "demo", Subject: "bob", Scopes: identity.NewSet("write:items"),
			Factors: identity.NewSet("pwd"), AuthTime: time.Now()},
		"strong": {Issuer: "demo", Subject: "bob", Scopes: identity.NewSet("write:items"),
			Factors: identity.NewSet("pwd", "otp"), AuthTime: time.Now()},
	}
	var hooks guard.Hooks
	scope, err := scopes.New(scopes.Config{
		Implies: map[string][]string{"write:items": {"read:items"}},
		ACR:     map[string]identity.Set{"mfa": identity.NewSet("pwd", "otp")},
		Hooks:   hooks,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "done") })
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("GET /items/{$}", scope.Require("read:items")(done))
	mux.Handle("POST /items/{$}", scope.Require("write:items")(done))
	mux.Handle("DELETE /items/{$}", scope.Require("write:items")(scope.Fresh(5*time.Minute, "mfa")(done)))

	for _, request := range []struct{ token, method string }{
		{"", "GET"}, {"reader", "GET"}, {"writer", "GET"},
		{"reader", "POST"}, {"writer", "POST"},
		{"writer", "DELETE"}, {"strong", "DELETE"},
	} {
		r := httptest.NewRequest(request.method, "/items/", nil)
		if request.token != "" {
			r.Header.Set("Authorization", "Bearer "+request.token)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(request.token, request.method, w.Code)
		if c := w.Header().Get("WWW-Authenticate"); c != "" {
			fmt.Println("  ", c)
		}
	}
	for _, route := range mux.Routes() {
		fmt.Println(route)
	}
	// Output:
	//  GET 401
	//    Bearer realm="items"
	// reader GET 200
	// writer GET 200
	// reader POST 403
	//    Bearer realm="items", scope="write:items", error="insufficient_scope"
	// writer POST 200
	// writer DELETE 401
	//    Bearer realm="items", error="insufficient_user_authentication", error_description="A more recent authentication of a different level is required", acr_values="mfa", max_age="300"
	// strong DELETE 200
	// DELETE /items/{$}	scope write:items, factor mfa, factor max_age=300
	// GET /items/{$}	scope read:items
	// POST /items/{$}	scope write:items
}

// What a request needs may depend on what it asks for; the handler then decides
// by itself and refuses as a guard does.
func ExampleMiddleware_Check() {
	scope, err := scopes.New(scopes.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	nobody := context.Background() // in a handler, the request's
	p := &identity.Principal{Issuer: "demo", Subject: "ada", Scopes: identity.NewSet("export:csv")}
	ctx := identity.NewContext(nobody, p) // guard.Hooks.Identify does this
	for _, format := range []string{"csv", "pdf"} {
		fmt.Println(format, scope.Check(ctx, "export:"+format))
	}
	fmt.Println("nobody:", scope.Check(nobody, "export:csv"))
	// Output:
	// csv <nil>
	// pdf 403 insufficient_scope: scopes: missing export:pdf
	// nobody: 401 unauthenticated: guard: no credentials were looked for: no Hooks.Identify and no Mux with authenticators is around the route, and no middleware of the host found a caller
}

// Whoever makes a credential for somebody else, an API key say, must not give
// away more than they have. What came from a form is parsed first.
func ExampleMiddleware_Check_delegation() {
	scope, err := scopes.New(scopes.Config{Implies: map[string][]string{"write": {"read"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	owner := &identity.Principal{Issuer: "demo", Subject: "ada", Scopes: identity.NewSet("write")}
	ctx := identity.NewContext(context.Background(), owner)
	for _, form := range []string{"read write", "read admin", "read\nadmin"} {
		asked, err := scopes.Parse(form)
		if err != nil {
			fmt.Printf("%q: 400\n", form)
			continue
		}
		var names []string
		for name := range asked.All() {
			names = append(names, name)
		}
		fmt.Printf("%q: %v\n", form, scope.Check(ctx, names...))
	}
	// Output:
	// "read write": <nil>
	// "read admin": 403 insufficient_scope: scopes: missing admin
	// "read\nadmin": 400
}

// A route for which one of two scopes is enough; the challenge asks for the
// first, which should be the lesser one.
func ExampleMiddleware_RequireAny() {
	scope, err := scopes.New(scopes.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := scope.RequireAny("read:audit", "admin")(http.NotFoundHandler())
	fmt.Println(guard.Requirements(h)[0])

	r := httptest.NewRequest("GET", "/audit", nil)
	p := &identity.Principal{Issuer: "demo", Subject: "ada", Scopes: identity.NewSet("read:items")}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// any scope read:audit|admin
	// 403 Bearer scope="read:audit", error="insufficient_scope"
}

// Above a certain sum the sign-in must be recent.
func ExampleMiddleware_CheckFresh() {
	scope, err := scopes.New(scopes.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := &identity.Principal{Issuer: "demo", Subject: "ada", AuthTime: time.Now().Add(-time.Hour)}
	ctx := identity.NewContext(context.Background(), p)
	pay := func(sum int) error {
		if sum > 1000 {
			return scope.CheckFresh(ctx, 5*time.Minute)
		}
		return nil
	}
	fmt.Println(pay(12))
	fmt.Println(pay(12_000))
	// Output:
	// <nil>
	// 401 insufficient_user_authentication: scopes: the sign-in is too old
}

// Issuers differ in where they write scopes, and how.
func ExampleParseClaims() {
	for _, claims := range []string{
		`{"scope":"read:items write:items"}`,
		`{"scp":["read:items","write:items"]}`,
		`{"scopes":["read:items",7]}`,
	} {
		fmt.Println(scopes.ParseClaims(claims))
	}
	// Output:
	// read:items write:items <nil>
	// read:items write:items <nil>
	//  scopes: an array element is not a string (claim "scopes")
}

// The verifier reads "scope"; the tokens of this issuer have "scp".
func ExampleFromClaims() {
	verifier := tokens{"t": {Issuer: "https://login.example", Subject: "ada", Claims: `{"sub":"ada","scp":"Items.Read"}`}}
	p, err := scopes.FromClaims(verifier, "scp").Authenticate(&http.Request{Header: http.Header{"Authorization": {"Bearer t"}}})
	fmt.Println(p.Scopes, err)
	// Output:
	// Items.Read <nil>
}

// Incorrect: strings.Contains looks right, and lets in whoever has a scope with
// a longer name. So does strings.HasPrefix.
func ExampleMiddleware_Require_incorrect() {
	granted := "users:readall-public"
	fmt.Println("by hand:", strings.Contains(granted, "users:read"))

	scope, err := scopes.New(scopes.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := &identity.Principal{Issuer: "demo", Subject: "mallory", Scopes: identity.ParseSet(granted)}
	ctx := identity.NewContext(context.Background(), p)
	fmt.Println("scopes: ", scope.Check(ctx, "users:read") == nil)
	// Output:
	// by hand: true
	// scopes:  false
}
