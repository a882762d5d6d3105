package guard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func pass(*http.Request) error { return nil }

var (
	limitRequirement = guard.Requirement{Kind: guard.KindLimit, Values: []string{"5/minute"}}
	scopeRequirement = guard.Requirement{Kind: guard.KindScope, Values: []string{"read:items"}}
)

// plain is a middleware that does not tell what it wraps, described one that
// does.
func plain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) })
}
func described(next http.Handler) http.Handler { return guard.Describe(plain(next), next) }

func TestRequirementsAreThoseOfAllGuards(t *testing.T) {
	hooks := guard.Hooks{}
	limit, scope := hooks.Require(pass, limitRequirement), hooks.Require(pass, scopeRequirement)
	leaf := new(spy)
	tests := []struct {
		name    string
		handler http.Handler
		want    string
	}{
		{"a handler without guards", leaf, ""},
		{"no handler", nil, ""},
		{"one guard", hooks.Authenticated(leaf), "caller"},
		{"a check of the host's own", hooks.Require(pass)(leaf), "check"},
		{"nested guards, outermost first", limit(hooks.Authenticated(scope(leaf))), "limit 5/minute, caller, scope read:items"},
		{"two demands of one guard", hooks.Require(pass, limitRequirement, scopeRequirement)(leaf), "limit 5/minute, scope read:items"},
		{"Identify demands nothing", hooks.Identify(bearer())(hooks.Authenticated(leaf)), "caller"},
		{"a described middleware is transparent", limit(described(scope(leaf))), "limit 5/minute, scope read:items"},
		{"a plain middleware hides what is within", limit(plain(scope(leaf))), "limit 5/minute"},
		{"a plain middleware outside hides everything", plain(scope(leaf)), ""},
		{"public", guard.Public("sign-in")(limit(leaf)), "public (sign-in), limit 5/minute"},
		{"optional", guard.Optional("greets")(leaf), "optional (greets)"},
		{"kinds of credentials", hooks.Accept(bearer(), apiKeys())(leaf), "any scheme Bearer|ApiKey"},
		{"one kind of credentials", hooks.Accept(apiKeys())(leaf), "scheme ApiKey"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, q := range guard.Requirements(test.handler) {
				got = append(got, q.String())
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRequirementString(t *testing.T) {
	tests := []struct {
		requirement guard.Requirement
		want        string
	}{
		{guard.Requirement{Kind: guard.KindCaller}, "caller"},
		{guard.Requirement{Kind: guard.KindScope, Values: []string{"a", "b"}}, "scope a b"},
		{guard.Requirement{Kind: guard.KindRole, Values: []string{"admin", "moderator"}, Any: true}, "any role admin|moderator"},
		{guard.Requirement{Kind: guard.KindRole, Values: []string{"admin"}, Any: true}, "role admin"},
		{guard.Requirement{Kind: guard.KindPublic, Values: []string{"sign-in"}}, "public (sign-in)"},
		{guard.Requirement{Kind: guard.KindOptional, Values: []string{"greets"}}, "optional (greets)"},
	}
	for _, test := range tests {
		if got := test.requirement.String(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.requirement, got, test.want)
		}
	}
}

// What is handed in or out is the caller's: the ledger keeps its own.
func TestLedgerKeepsItsOwn(t *testing.T) {
	values := []string{"read:items"}
	h := guard.Hooks{}.Require(pass, guard.Requirement{Kind: guard.KindScope, Values: values})(new(spy))
	mux := guard.NewMux(guard.Hooks{}, bearer())
	mux.Handle("GET /a", h)
	values[0] = "changed"
	guard.Requirements(h)[0].Values[0] = "changed"
	routes := mux.Routes()
	routes[0].Requirements[0].Values[0] = "changed"
	routes[0].Schemes[0] = "changed"
	if got := fmt.Sprint(guard.Requirements(h), mux.Routes(), mux.Routes()[0].Schemes); got != "[scope read:items] [GET /a\tscope read:items] [Bearer]" {
		t.Error(got)
	}
}

func TestRegistrationMistakes(t *testing.T) {
	hooks := guard.Hooks{}
	leaf := new(spy)
	limit := hooks.Require(pass, limitRequirement)
	handle := func(h http.Handler) func() {
		return func() { guard.NewMux(hooks, bearer()).Handle("GET /a", h) }
	}
	tests := []struct {
		name string
		f    func()
		says string
	}{
		{"a route without a guard", handle(leaf), `route "GET /a" has no guard`},
		{"a route with a limit only", handle(limit(leaf)), "has no guard"},
		{"a guard that a middleware hides", handle(plain(hooks.Authenticated(leaf))), "guard.Describe"},
		{"a limit around a guard that a middleware hides", handle(limit(plain(hooks.Authenticated(leaf)))), "has no guard"},
		{"Identify is no guard", handle(hooks.Identify(bearer())(leaf)), "has no guard"},
		{"public and guarded", handle(guard.Public("why")(hooks.Authenticated(leaf))), "public and guarded at once: [public (why) caller]"},
		{"guarded and public", handle(hooks.Authenticated(guard.Public("why")(leaf))), "public and guarded"},
		{"public and optional", handle(guard.Public("why")(guard.Optional("greets")(leaf))), "public and guarded"},
		{"no handler", handle(nil), `route "GET /a" has no handler`},
		{"no function", handle(http.HandlerFunc(nil)), "no handler"},
		{"a malformed pattern", func() { guard.NewMux(hooks).Handle("GET  a b", hooks.Authenticated(leaf)) }, "parsing"},
		{"a route twice", func() {
			m := guard.NewMux(hooks)
			m.Handle("GET /a", hooks.Authenticated(leaf))
			m.Handle("GET /a", guard.Public("why")(leaf))
		}, "conflicts"},
		{"a nil authenticator", func() { guard.NewMux(hooks, nil) }, "authenticator 0 is nil"},
		{"public without a reason", func() { guard.Public(" \t") }, "reason"},
		{"optional without a reason", func() { guard.Optional("") }, "reason"},
		{"a description of nothing", func() { guard.Describe(nil, leaf) }, "no handler"},
		{"a description of no function", func() { guard.Describe(http.HandlerFunc(nil), leaf) }, "no handler"},
		{"a description that guards nothing", func() { guard.Describe(leaf, nil) }, "no handler to guard"},
		{"a description that guards no function", func() { guard.Describe(leaf, http.HandlerFunc(nil)) }, "no handler to guard"},
		{"Accept around nothing", func() { hooks.Accept(bearer())(nil) }, "no handler"},
		{"public around nothing", func() { guard.Public("why")(nil) }, "no handler"},
		{"Authenticated around nothing", func() { hooks.Authenticated(nil) }, "no handler"},
		{"Require around nothing", func() { hooks.Require(pass)(nil) }, "no handler"},
		{"Identify around nothing", func() { hooks.Identify(bearer())(nil) }, "no handler"},
		{"a guard around no function", func() { hooks.Authenticated(http.HandlerFunc(nil)) }, "no handler"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if text := mustPanic(t, test.f); !strings.Contains(text, test.says) {
				t.Errorf("panic: %q, want %q in it", text, test.says)
			}
		})
	}
}

func TestAMuxServesGuardedAndPublicRoutesOnly(t *testing.T) {
	hooks := guard.Hooks{}
	tests := []struct {
		name   string
		method string
		target string
		header []string
		caller string // "" if no handler must run
		want   want
	}{
		{"a guarded route admits a caller", "GET", "/me", []string{"Authorization: Bearer ada"}, "ada", want{200, nil, "", "hello ada"}},
		{"a guarded route refuses an anonymous request", "GET", "/me", nil, "", want{401, []string{bearerLine, keyLine}, "", unauthenticatedBody}},
		{"a guarded route refuses a stale token", "GET", "/me", []string{"Authorization: Bearer bad"}, "", want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
		{"HEAD is guarded as GET is", "HEAD", "/me", nil, "", want{401, []string{bearerLine, keyLine}, "", unauthenticatedBody}},
		{"a public route does not judge a stale token", "POST", "/token", []string{"Authorization: Bearer bad"}, "nobody", want{200, nil, "", "hello nobody"}},
		{"a public route does not ask a store that is down", "POST", "/token", []string{"Authorization: Bearer down"}, "nobody", want{200, nil, "", "hello nobody"}},
		{"a public route does not count credentials", "POST", "/token", []string{"Authorization: a", "Authorization: b"}, "nobody", want{200, nil, "", "hello nobody"}},
		{"a public route does not know a caller", "POST", "/token", []string{"Authorization: Bearer ada"}, "nobody", want{200, nil, "", "hello nobody"}},
		{"an optional route greets a caller", "GET", "/hello", []string{"Authorization: Bearer ada"}, "ada", want{200, nil, "", "hello ada"}},
		{"an optional route greets nobody", "GET", "/hello", nil, "nobody", want{200, nil, "", "hello nobody"}},
		{"an optional route refuses a stale token", "GET", "/hello", []string{"Authorization: Bearer bad"}, "", want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			next := new(spy)
			mux := guard.NewMux(hooks, bearer(), apiKeys())
			mux.Handle("GET /me", hooks.Authenticated(next))
			mux.Handle("POST /token", guard.Public("sign-in")(next))
			mux.Handle("GET /hello", guard.Optional("greets who is there")(next))
			r := get(test.target, test.header...)
			r.Method = test.method
			test.want.check(t, serve(mux, r))
			if got := strings.Join(next.callers, ","); got != test.caller {
				t.Errorf("next ran for %q, want %q", got, test.caller)
			}
		})
	}
}

func TestMuxRefusesUnknownRoutesLikeAnythingElse(t *testing.T) {
	next, heard := new(spy), new(events)
	hooks := guard.Hooks{Observe: heard.observe}
	mux := guard.NewMux(hooks, bearer())
	mux.Handle("GET /me", hooks.Authenticated(next))
	mux.Handle("/sub/", guard.Public("a mux within")(guard.NewMux(hooks)))
	for _, test := range []struct {
		name, method, target string
		status               int
		body, allow          string
	}{
		{"no such path", "GET", "/", 404, `{"title":"Not Found","status":404,"code":"not_found","detail":"There is nothing here."}`, ""},
		{"a path below", "GET", "/me/", 404, `{"title":"Not Found","status":404,"code":"not_found","detail":"There is nothing here."}`, ""},
		{"no such path of a mux within", "GET", "/sub/x", 404, `{"title":"Not Found","status":404,"code":"not_found","detail":"There is nothing here."}`, ""},
		{"another method", "POST", "/me", 405, `{"title":"Method Not Allowed","status":405,"code":"method_not_allowed","detail":"This method is not allowed here."}`, "GET, HEAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			heard.all = nil
			r := get("http://h"+test.target, "Authorization: Bearer bad")
			r.Method = test.method
			w := serve(mux, r)
			if w.Code != test.status || strings.TrimSpace(w.Body.String()) != test.body {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			h := w.Header()
			if h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" || h.Get("Allow") != test.allow {
				t.Errorf("headers %v", h)
			}
			if len(heard.all) != 1 || heard.all[0].Name != guard.EventInputFail {
				t.Errorf("events %v", heard.all)
			}
		})
	}
	if next.ran() {
		t.Error("next ran")
	}
}

func TestMuxRedirectsToTheCleanPathAsServeMuxDoes(t *testing.T) {
	next := new(spy)
	mux := guard.NewMux(guard.Hooks{})
	mux.Handle("GET /me", guard.Public("a test")(next))
	std := http.NewServeMux()
	std.Handle("GET /me", next)
	for _, target := range []string{"//me", "/x/../me"} {
		do := func(h http.Handler) string {
			w := serve(h, get("http://h"+target))
			return fmt.Sprint(w.Code, w.Header(), w.Body)
		}
		if got, want := do(mux), do(std); got != want {
			t.Errorf("%s\n got %s\nwant %s", target, got, want)
		}
	}
	if next.ran() {
		t.Error("next ran")
	}
}

// A handler that a Mux found writes to the server's own ResponseWriter, so that
// its 404 is its own and what else the writer can do is not hidden.
func TestMuxStandsBetweenNothing(t *testing.T) {
	var seen http.ResponseWriter
	mux := guard.NewMux(guard.Hooks{})
	mux.Handle("/", guard.Public("a test")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		seen = w
		http.Error(w, "mine", http.StatusNotFound)
	})))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, get("/x"))
	if seen != http.ResponseWriter(w) || strings.TrimSpace(w.Body.String()) != "mine" {
		t.Errorf("the handler wrote %q to a %T", w.Body, seen)
	}
}

func TestMuxShowsThePattern(t *testing.T) {
	heard := new(events)
	hooks := guard.Hooks{Observe: heard.observe}
	mux := guard.NewMux(hooks, bearer())
	var got string
	mux.Handle("GET /items/{id}", hooks.Authenticated(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Pattern + " " + r.PathValue("id")
	})))
	serve(mux, get("/items/7", "Authorization: Bearer ada"))
	if got != "GET /items/{id} 7" {
		t.Errorf("the handler sees %q", got)
	}
	for _, header := range []string{"Accept: */*", "Authorization: Bearer bad"} {
		heard.all = nil
		outer := get("/items/7?q=1", header)
		serve(mux, outer)
		if f := heard.all[0].Request; f.Pattern != "GET /items/{id}" || f.Path != "/items/7" {
			t.Errorf("the event has %+v", f)
		}
		if outer.Pattern != "GET /items/{id}" {
			t.Errorf("a middleware outside sees %q", outer.Pattern)
		}
	}
}

func TestMuxWithoutAuthenticators(t *testing.T) {
	hooks := guard.Hooks{}
	next := new(spy)
	mux := guard.NewMux(hooks)
	mux.Handle("GET /me", hooks.Authenticated(next))
	want{401, []string{"Bearer"}, "", unauthenticatedBody}.check(t, serve(mux, get("/me", "Authorization: Bearer ada")))
	if next.ran() {
		t.Fatal("next ran")
	}
	want{200, nil, "", "hello ada"}.check(t, serve(hooks.Identify(bearer())(mux), get("/me", "Authorization: Bearer ada")))
	if s := mux.Routes()[0].Schemes; len(s) != 0 {
		t.Errorf("schemes = %q", s)
	}
}

// A wrapped is comparable if what it wraps is.
type wrapped struct{ guard.Authenticator }

func TestMuxLooksForWhatAcceptWants(t *testing.T) {
	hooks := guard.Hooks{}
	tokens, keys := bearer(), apiKeys()
	onlyKeys, onlyTokens := hooks.Accept(keys), hooks.Accept(tokens)
	incomparable := wrapped{funcAuthenticator(func(*http.Request) (*identity.Principal, error) { return nil, guard.ErrNoCredentials })}
	with := func(authenticators ...guard.Authenticator) []guard.Authenticator { return authenticators }
	tests := []struct {
		name string
		mux  []guard.Authenticator
		h    func(http.Handler) http.Handler
		says string // "" if it does not panic
	}{
		{"the Mux has it", with(tokens, keys), onlyKeys, ""},
		{"the Mux has another", with(tokens), onlyKeys, `route "GET /a" accepts ApiKey credentials, which nobody looks for: give NewMux the very authenticator (*guard_test.authenticator) that Accept has`},
		{"the Mux has another of the scheme", with(bearer()), onlyTokens, "accepts Bearer credentials"},
		{"the Mux has one of two", with(tokens), hooks.Accept(tokens, keys), "accepts ApiKey credentials"},
		{"the Mux has one that it is equal to", with(wrapped{keys}), hooks.Accept(wrapped{keys}), ""},
		{"the Mux has one that it wraps", with(keys), hooks.Accept(wrapped{keys}), "give NewMux the very authenticator (guard_test.wrapped)"},
		{"the Mux has one that cannot be compared", with(incomparable), hooks.Accept(wrapped{keys}), "accepts ApiKey credentials"},
		{"behind another guard", with(tokens), func(next http.Handler) http.Handler { return hooks.Authenticated(onlyKeys(next)) }, "accepts ApiKey"},
		{"an Identify around it has it", with(tokens), func(next http.Handler) http.Handler { return hooks.Identify(keys)(onlyKeys(next)) }, ""},
		{"an Identify within it is too late", with(tokens), func(next http.Handler) http.Handler { return onlyKeys(hooks.Identify(keys)(next)) }, "accepts ApiKey"},
		{"the Mux does not identify", nil, onlyKeys, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mux, next := guard.NewMux(hooks, test.mux...), new(spy)
			register := func() { mux.Handle("GET /a", test.h(next)) }
			if test.says != "" {
				if text := mustPanic(t, register); !strings.Contains(text, test.says) {
					t.Errorf("panic: %q, want %q in it", text, test.says)
				}
				if n := len(mux.Routes()); n != 0 {
					t.Errorf("%d routes, want none", n)
				}
				return
			}
			register()
			var h http.Handler = mux
			if test.mux == nil {
				h = hooks.Identify(keys)(mux)
			}
			want{200, nil, "", "hello robot"}.check(t, serve(h, get("/a", "X-Api-Key: robot")))
		})
	}
}

func TestRoutesAreTheLedgerOfAMux(t *testing.T) {
	hooks := guard.Hooks{}
	leaf := new(spy)
	mux := guard.NewMux(hooks, bearer(), apiKeys())
	mux.Handle("POST /token", guard.Public("sign-in")(leaf))
	mux.Handle("GET /items/{id}", hooks.Require(pass, limitRequirement)(hooks.Require(pass, scopeRequirement)(leaf)))
	mux.Handle("GET /hello", guard.Optional("greets who is there")(leaf))
	var got []string
	for _, r := range mux.Routes() {
		got = append(got, fmt.Sprintf("%s %q", r, r.Schemes))
	}
	want := []string{
		"GET /hello\toptional (greets who is there) [\"Bearer\" \"ApiKey\"]",
		"GET /items/{id}\tlimit 5/minute, scope read:items [\"Bearer\" \"ApiKey\"]",
		"POST /token\tpublic (sign-in) []",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	// A route that was refused is not in the ledger.
	mustPanic(t, func() { mux.Handle("GET /hello", hooks.Authenticated(leaf)) })
	mustPanic(t, func() { mux.Handle("GET /new", leaf) })
	if n := len(mux.Routes()); n != 3 {
		t.Errorf("%d routes, want 3", n)
	}
	if r := (guard.Route{Pattern: "GET /a"}); r.String() != "GET /a\t" {
		t.Errorf("%q", r)
	}
	if !reflect.DeepEqual(mux.Routes(), mux.Routes()) {
		t.Error("Routes is not stable")
	}
}

// As chi's Walk has it: the middlewares of With, Group and Route apart from the
// handler, outermost first.
func TestRequirementsOfMiddlewaresThatARouterKeepsApart(t *testing.T) {
	hooks := guard.Hooks{}
	type middleware = func(http.Handler) http.Handler
	logger := func(next http.Handler) http.Handler { return http.HandlerFunc(next.ServeHTTP) }
	role := hooks.Require(func(*http.Request) error { return nil }, guard.Requirement{Kind: guard.KindRole, Values: []string{"admin"}})
	both := func(next http.Handler) http.Handler { return hooks.Authenticated(role(next)) }
	plain := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct {
		name        string
		h           http.Handler
		middlewares []middleware
		want        string
	}{
		{"none", plain, nil, "[]"},
		{"one", plain, []middleware{role}, "[role admin]"},
		{"in their order", plain, []middleware{hooks.Authenticated, role}, "[caller role admin]"},
		{"one that hides nothing here", plain, []middleware{logger, hooks.Authenticated, logger, role}, "[caller role admin]"},
		{"two in one", plain, []middleware{logger, both}, "[caller role admin]"},
		{"and those of the handler", guard.Public("docs")(plain), []middleware{logger}, "[public (docs)]"},
		{"outside of those of the handler", role(plain), []middleware{hooks.Identify(bearer()), hooks.Authenticated}, "[caller role admin]"},
		{"one that hides what is within it", plain, []middleware{func(next http.Handler) http.Handler { return logger(role(next)) }}, "[]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fmt.Sprint(guard.Requirements(test.h, test.middlewares...)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
