package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// cookieSession finds the session in a cookie: the name of the user, or "off" for a
// disabled one, and "down" for a store that fails.
func cookieSession(r *http.Request) (*identity.Principal, error) {
	c, err := r.Cookie("sid")
	if err != nil {
		return nil, nil
	}
	switch c.Value {
	case "off":
		return nil, guard.ErrInactive
	case "down":
		return nil, errors.New("store down")
	case "empty":
		return &identity.Principal{Roles: identity.NewSet("admin")}, nil
	}
	return &identity.Principal{Subject: c.Value}, nil
}

func newSessions(t *testing.T, c guard.SessionConfig) *guard.Sessions {
	t.Helper()
	s, err := guard.NewSessions(cookieSession, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASessionOfTheHostsOwnIsACredentialLikeOthers(t *testing.T) {
	hooks := guard.Hooks{}
	both := []string{"Authorization", "X-Api-Key"}
	for _, test := range []struct {
		name   string
		wins   []string
		header []string
		caller string
		status int
	}{
		{"a session", nil, []string{"Cookie: sid=bob"}, "bob", 200},
		{"no session", nil, nil, "", 401},
		{"a session that is no longer valid", nil, []string{"Cookie: sid=off"}, "", 401},
		{"a store that fails", nil, []string{"Cookie: sid=down"}, "", 503},
		{"a session without a subject", nil, []string{"Cookie: sid=empty"}, "", 503},
		{"a session and a token", nil, []string{"Cookie: sid=bob", "Authorization: Bearer ada"}, "", 400},
		{"a session and a key", nil, []string{"Cookie: sid=bob", "X-Api-Key: robot"}, "", 400},
		{"a session and a bad token", nil, []string{"Cookie: sid=bob", "Authorization: Bearer bad"}, "", 400},
		{"a session, and the token wins", both, []string{"Cookie: sid=bob", "Authorization: Bearer ada"}, "ada", 200},
		{"a session, and the key wins", both, []string{"Cookie: sid=bob", "X-Api-Key: robot"}, "robot", 200},
		{"a session, and the bad token wins", both, []string{"Cookie: sid=bob", "Authorization: Bearer bad"}, "", 401},
		{"a session, and a header that no authenticator takes wins", both, []string{"Cookie: sid=bob", "Authorization: Basic x"}, "", 401},
		{"a session alone, where others would win", both, []string{"Cookie: sid=bob"}, "bob", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			sessions := newSessions(t, guard.SessionConfig{ExplicitWins: test.wins})
			for order, authenticators := range map[string][]guard.Authenticator{
				"last":  {bearer(), apiKeys(), sessions},
				"first": {sessions, bearer(), apiKeys()},
			} {
				next := new(spy)
				w := serve(hooks.Identify(authenticators...)(hooks.Authenticated(next)), get("/", test.header...))
				if w.Code != test.status || strings.Join(next.callers, ",") != test.caller {
					t.Errorf("%s: answered %d for %v, want %d for %q", order, w.Code, next.callers, test.status, test.caller)
				}
			}
		})
	}
	t.Run("issuer and scopes", func(t *testing.T) {
		for _, c := range []guard.SessionConfig{{}, {Issuer: "https://sso.example", Scopes: identity.NewSet("read", "write")}} {
			sessions := newSessions(t, c)
			p, err := sessions.Authenticate(get("/", "Cookie: sid=bob"))
			want := c.Issuer
			if want == "" {
				want = "session"
			}
			if err != nil || p.Issuer != want || !p.Scopes.Equal(c.Scopes) {
				t.Errorf("%+v, %v", p, err)
			}
		}
	})
	t.Run("what the lookup keeps is not shared", func(t *testing.T) {
		kept := &identity.Principal{Subject: "bob"}
		sessions, _ := guard.NewSessions(func(*http.Request) (*identity.Principal, error) { return kept, nil }, guard.SessionConfig{})
		p, _ := sessions.Authenticate(get("/"))
		p.Subject = "mallory"
		if kept.Subject != "bob" || kept.Issuer != "" {
			t.Errorf("the lookup's own is %+v", kept)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		_, err := guard.NewSessions(nil, guard.SessionConfig{ExplicitWins: []string{"cookie", "a b", ""}, TrustedOrigins: []string{"example.com"}})
		for _, want := range []string{"no lookup", "ExplicitWins[0]", "ExplicitWins[1]", "ExplicitWins[2]", "TrustedOrigins[0]"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s in it", err, want)
			}
		}
	})
}

func TestASessionIsNotForPagesOfOtherOrigins(t *testing.T) {
	strict := newSessions(t, guard.SessionConfig{TrustedOrigins: []string{"https://app.example.com"}})
	lax := newSessions(t, guard.SessionConfig{InsecureCrossOrigin: true})
	for _, test := range []struct {
		name, method string
		header       []string
		want         bool
	}{
		{"a page of the same origin", "POST", []string{"Origin: https://example.com", "Sec-Fetch-Site: same-origin"}, true},
		{"the same without Fetch Metadata", "POST", []string{"Origin: https://example.com"}, true},
		{"a program", "POST", nil, true},
		{"another site", "POST", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, false},
		{"another site without Fetch Metadata", "POST", []string{"Origin: https://evil.example"}, false},
		{"a sibling", "POST", []string{"Origin: https://x.example.com", "Sec-Fetch-Site: same-site"}, false},
		{"a sandboxed frame", "POST", []string{"Origin: null"}, false},
		{"a trusted origin", "POST", []string{"Origin: https://app.example.com", "Sec-Fetch-Site: same-site"}, true},
		{"the host with a user name", "POST", []string{"Origin: https://evil@example.com"}, false},
		{"the host in clear text", "POST", []string{"Origin: http://example.com"}, false},
		{"two origins", "POST", []string{"Origin: https://example.com", "Origin: https://evil.example"}, false},
		{"deletion", "DELETE", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"a link", "GET", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, true},
		{"a WebSocket of another site", "GET", []string{"Origin: https://evil.example", "Upgrade: websocket"}, false},
		{"a WebSocket of another site with Fetch Metadata", "GET", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket"}, false},
		{"a WebSocket of the same origin", "GET", []string{"Origin: https://example.com", "Upgrade: WebSocket"}, true},
		{"a WebSocket of a trusted origin", "GET", []string{"Origin: https://app.example.com", "Upgrade: websocket"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := get("/", append(test.header, "Cookie: sid=bob")...)
			r.Method, r.Host = test.method, "example.com"
			r = r.WithContext(guard.WithScheme(r.Context(), "https"))
			p, err := strict.Authenticate(r)
			if (err == nil) != test.want {
				t.Errorf("%v, %v; want passing %v", p, err, test.want)
			}
			if d, ok := errors.AsType[*guard.Denial](err); err != nil && (!ok || d.Status != 403 || d.Code != "cross_origin" || d.Event != guard.EventCrossOrigin) {
				t.Errorf("%+v", err)
			}
			if _, err := lax.Authenticate(r); err != nil {
				t.Errorf("without protection: %v", err)
			}
			r.Header.Del("Cookie")
			if _, err := strict.Authenticate(r); err != guard.ErrNoCredentials {
				t.Errorf("without a session: %v", err)
			}
		})
	}
}

func TestBrowsersAreRedirectedToTheSignInPage(t *testing.T) {
	hooks := guard.Hooks{SignIn: guard.SignInPage("/login?x=1")}
	var events []guard.Event
	hooks.Observe = func(_ context.Context, e guard.Event) { events = append(events, e) }
	h := hooks.Identify(newSessions(t, guard.SessionConfig{}), bearer())(hooks.Authenticated(new(spy)))
	for _, test := range []struct {
		name, method string
		header       []string
		want         int
	}{
		{"a browser", "GET", []string{"Accept: text/html,application/xhtml+xml", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 303},
		{"an old browser", "GET", []string{"Accept: text/html"}, 303},
		{"a browser whose session ended", "GET", []string{"Accept: text/html", "Cookie: sid=off"}, 303},
		{"a program", "GET", []string{"Accept: application/json"}, 401},
		{"a program that takes anything", "GET", []string{"Accept: */*"}, 401},
		{"fetch of a script", "GET", []string{"Accept: text/html", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 401},
		{"a frame", "GET", []string{"Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 401},
		{"an old script", "GET", []string{"Accept: text/html", "X-Requested-With: XMLHttpRequest"}, 401},
		{"a form", "POST", []string{"Accept: text/html", "Sec-Fetch-Mode: navigate"}, 401},
		{"a token", "GET", []string{"Accept: text/html", "Authorization: Bearer bad"}, 401},
		{"a failure", "GET", []string{"Accept: text/html", "Cookie: sid=down"}, 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			events = nil
			r := get("/orders?id=1&x=%2F", test.header...)
			r.Method = test.method
			w := serve(h, r)
			location := w.Header().Get("Location")
			if w.Code != test.want || (location != "") != (w.Code == 303) || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("answered %d to %q, want %d", w.Code, location, test.want)
			}
			if w.Code == 303 && (location != "/login?x=1&next=%2Forders%3Fid%3D1%26x%3D%252F" || w.Header().Get("WWW-Authenticate") != "" || w.Body.Len() > 0) {
				t.Errorf("redirected to %q, header %v", location, w.Header())
			}
			if len(events) != 1 || events[0].Denial == nil || w.Code == 303 && events[0].Denial.Status != 401 {
				t.Errorf("events %+v", events)
			}
		})
	}
	hooks.SignIn = func(*http.Request, *guard.Denial) string { return "" }
	if w := serve(hooks.Authenticated(new(spy)), get("/", "Accept: text/html")); w.Code != 401 {
		t.Errorf("no page: answered %d", w.Code)
	}
	for _, bad := range []string{"", "%zz", "/login#x"} {
		mustPanic(t, func() { guard.SignInPage(bad) })
	}
}

func TestTheWayBackLeadsToThisServerOnly(t *testing.T) {
	for next, want := range map[string]string{
		"/": "/", "/orders?id=1&x=%2F": "/orders?id=1&x=%2F", "/a//b": "/a//b", "/@evil.example": "/@evil.example",
		"": "/", "//evil.example": "/", "/\\evil.example": "/", "\\/evil.example": "/", "https://evil.example": "/", "javascript:alert(1)": "/",
		"/\t/evil.example": "/", "/\n/evil.example": "/", "evil": "/", "///evil.example": "/", "/é": "/", "/%zz": "/", " /x": "/", "/a\\b": "/", "/x y": "/",
		"http:/x": "/", "/\x00": "/",
	} {
		if got := guard.LocalPath(next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
}

func TestACallerOfAnotherProtocolPassesTheGuards(t *testing.T) {
	hooks := guard.Hooks{}
	tokens, keys := bearer(), apiKeys()
	ada := func() *identity.Principal { return &identity.Principal{Issuer: "i", Subject: "ada"} }
	mux := guard.NewMux(hooks, tokens, keys)
	mux.Handle("/tokens", hooks.Accept(tokens)(new(spy)))
	mux.Handle("/keys", hooks.Accept(keys)(new(spy)))
	mux.Handle("/any", hooks.Authenticated(new(spy)))
	ctx := guard.WithCaller(t.Context(), ada(), tokens)
	for path, want := range map[string]int{"/tokens": 200, "/keys": 401, "/any": 200} {
		if w := serve(mux, get(path).WithContext(ctx)); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := serve(mux, get("/any", "Authorization: Bearer bob").WithContext(ctx)); w.Code != 400 {
		t.Errorf("with a credential of another caller: %d, want 400", w.Code)
	}
	if p, err := guard.CallerFrom(ctx); err != nil || p.Subject != "ada" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := guard.CallerFrom(guard.WithCaller(ctx, &identity.Principal{Subject: "bob"}, tokens)); err == nil {
		t.Error("a second caller is taken")
	}
	loads := 0
	for range 2 {
		guard.Once(ctx, "user", func() (int, error) { loads++; return 1, nil })
	}
	if loads != 1 {
		t.Errorf("%d loads", loads)
	}
	mustPanic(t, func() { guard.WithCaller(t.Context(), nil, tokens) })
	mustPanic(t, func() { guard.WithCaller(t.Context(), ada(), nil) })
}

func TestDecideRunsTheGuardsAndNotTheHandler(t *testing.T) {
	hooks := guard.Hooks{Deny: func(http.ResponseWriter, *http.Request, *guard.Denial) { t.Error("Deny was called") }}
	tokens := bearer()
	mux := guard.NewMux(hooks, tokens)
	boom := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
	mux.Handle("/tokens", hooks.Accept(tokens)(boom))
	mux.Handle("/public", guard.Public("why")(boom))
	mux.Handle("/optional", guard.Optional("why")(boom))
	mux.Handle("/twice", hooks.Authenticated(hooks.Require(func(*http.Request) error { return guard.Forbidden(nil) })(boom)))
	for _, test := range []struct {
		path, header string
		want         int // 0: passes
	}{
		{"/tokens", "Accept: */*", 401}, {"/tokens", "Authorization: Bearer ada", 0}, {"/tokens", "Authorization: Bearer bad", 401},
		{"/public", "Accept: */*", 0}, {"/optional", "Accept: */*", 0}, {"/optional", "Authorization: Bearer bad", 401},
		{"/twice", "Authorization: Bearer ada", 403}, {"/twice", "Accept: */*", 401}, {"/nowhere", "Accept: */*", 404},
		{"/tokens", "Authorization: Bearer down", 503},
	} {
		err := guard.Decide(mux, get(test.path, test.header))
		d, _ := errors.AsType[*guard.Denial](err)
		if test.want == 0 && err != nil || test.want != 0 && (d == nil || d.Status != test.want) {
			t.Errorf("%s with %s: %v, want %d", test.path, test.header, err, test.want)
		}
	}
	// Around a Mux, and a Mux within a guard.
	sub := guard.NewMux(hooks)
	sub.Handle("/sub/admin", hooks.Require(func(*http.Request) error { return guard.Forbidden(nil) })(boom))
	outer := guard.NewMux(hooks, tokens)
	outer.Handle("/sub/", hooks.Authenticated(sub))
	for _, h := range []http.Handler{outer, guard.Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { outer.ServeHTTP(w, r) }), outer)} {
		if d, _ := errors.AsType[*guard.Denial](guard.Decide(h, get("/sub/admin", "Authorization: Bearer ada"))); d == nil || d.Status != 403 {
			t.Errorf("a Mux within a guard: %v", d)
		}
	}
	// Another router: its inner guards are asked, so its handlers run.
	ran := 0
	router := http.NewServeMux()
	router.Handle("/a/", http.StripPrefix("/a", hooks.Require(func(*http.Request) error { return guard.Forbidden(nil) })(boom)))
	router.HandleFunc("/b", func(http.ResponseWriter, *http.Request) { ran++ })
	for path, want := range map[string]int{"/a/x": 403, "/b": 0} {
		for _, h := range []http.Handler{
			http.HandlerFunc(hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { router.ServeHTTP(w, r) })).ServeHTTP),
			hooks.Identify(tokens)(http.HandlerFunc(hooks.Authenticated(router).ServeHTTP)),
		} {
			r := get(path).WithContext(guard.WithCaller(t.Context(), &identity.Principal{Subject: "ada"}, tokens))
			d, _ := errors.AsType[*guard.Denial](guard.Decide(h, r))
			if (want == 0) != (d == nil) || d != nil && d.Status != want {
				t.Errorf("%s of another router: %v, want %d", path, d, want)
			}
		}
	}
	if ran != 2 {
		t.Errorf("the handler of another router ran %d times", ran)
	}
	if err := guard.Decide(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201) }), get("/")); err == nil || !strings.Contains(err.Error(), "201") {
		t.Errorf("a handler without guards: %v", err)
	}
}

func TestALedgerRefusesUnguardedRoutesOfAnotherRouter(t *testing.T) {
	hooks := guard.Hooks{}
	tokens, keys := bearer(), apiKeys()
	type middleware = func(http.Handler) http.Handler
	plain := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	logger := func(next http.Handler) http.Handler { return http.HandlerFunc(next.ServeHTTP) }
	limit := func(next http.Handler) http.Handler {
		return guard.Describe(next, next, guard.Requirement{Kind: guard.KindLimit, Values: []string{"5/minute"}})
	}
	for _, test := range []struct {
		name        string
		h           http.Handler
		middlewares []middleware
		line, err   string
	}{
		{"guarded", plain, []middleware{logger, hooks.Identify(tokens), hooks.Authenticated}, "GET /x\tcaller", ""},
		{"public", guard.Public("docs")(plain), []middleware{logger}, "GET /x\tpublic (docs)", ""},
		{"unguarded", plain, []middleware{logger, hooks.Identify(tokens)}, "GET /x\t", "has no guard"},
		{"a limit alone", plain, []middleware{limit}, "GET /x\tlimit 5/minute", "has no guard"},
		{"public and guarded", guard.Public("docs")(plain), []middleware{hooks.Authenticated}, "", "public and guarded"},
		{"accepted and looked for", hooks.Accept(keys)(plain), []middleware{hooks.Identify(tokens, keys)}, "GET /x\tscheme ApiKey", ""},
		{"accepted and not looked for", hooks.Accept(keys)(plain), []middleware{hooks.Identify(tokens)}, "", "no Identify around it calls"},
		{"no handler", nil, nil, "", "no handler"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ledger guard.Ledger
			if err := ledger.Add("GET", "/x", test.h, test.middlewares...); err != nil {
				t.Errorf("Add: %v", err)
			}
			err := ledger.Err()
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Err: %v, want %q", err, test.err)
			}
			if test.line != "" && (len(ledger.Routes()) != 1 || ledger.Routes()[0].String() != test.line) {
				t.Errorf("routes %v, want %q", ledger.Routes(), test.line)
			}
		})
	}
	var ledger guard.Ledger
	if ledger.Err() == nil {
		t.Error("an empty ledger is no error")
	}
	mux := guard.NewMux(hooks, tokens)
	mux.Handle("GET /y", hooks.Authenticated(plain))
	ledger.Add("", "/sub/*", mux)
	ledger.Add("GET", "/b", plain, hooks.Identify(tokens), hooks.Authenticated)
	ledger.Add("GET", "/a", plain)
	ledger.Add("GET", "/c", plain)
	if err := ledger.Err(); err == nil || strings.Count(err.Error(), "has no guard") != 2 {
		t.Errorf("Err: %v, want both routes", err)
	}
	if routes := ledger.Routes(); len(routes) != 4 || routes[0].Pattern != "/sub/* > GET /y" || routes[2].Pattern != "GET /b" || len(routes[2].Schemes) != 1 {
		t.Errorf("routes %v", routes)
	}
}

func TestSignedInBrowsersAreNotRedirectedByAccept(t *testing.T) {
	lookup := func(*http.Request) (*identity.Principal, error) { return &identity.Principal{Subject: "ada"}, nil }
	person, err := guard.NewSessions(lookup, guard.SessionConfig{})
	if err != nil {
		t.Fatal(err)
	}
	program, err := guard.NewSessions(func(*http.Request) (*identity.Principal, error) { return nil, nil }, guard.SessionConfig{Issuer: "program"})
	if err != nil {
		t.Fatal(err)
	}
	hooks := guard.Hooks{SignIn: guard.SignInPage("/login")}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, tt := range map[string]struct {
		by     guard.Authenticator
		status int
	}{"signed in by another kind": {person, http.StatusUnauthorized}, "anonymous": {program, http.StatusSeeOther}} {
		r := httptest.NewRequest("GET", "https://example.com/export", nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		hooks.Identify(tt.by)(hooks.Accept(program)(ok)).ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", name, w.Code, tt.status)
		}
	}
}

func TestWhatIsNotProvenIsABadRequest(t *testing.T) {
	err := fmt.Errorf("wrong password: %w", identity.ErrNotProven)
	if d := guard.DenialOf(t.Context(), err); d.Status != http.StatusBadRequest || d.Code != "invalid_proof" || d.Event != guard.EventLoginFail {
		t.Errorf("%v is %d %s, event %s", err, d.Status, d.Code, d.Event)
	}
	if d := guard.DenialOf(t.Context(), guard.CannotDecide("loading a user", err)); d.Status != http.StatusServiceUnavailable {
		t.Errorf("the store's own %v is %d", err, d.Status)
	}
}
