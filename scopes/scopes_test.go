package scopes_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

func with(names ...string) guard.Authenticator {
	return found{&identity.Principal{Issuer: "https://issuer.example", Subject: "ada", Scopes: identity.NewSet(names...)}}
}

func TestRequire(t *testing.T) {
	implies := map[string][]string{"admin": {"write"}, "write": {"read", "list"}, "*": {"star"}}
	const insufficient = `Bearer realm="example", scope="%s", error="insufficient_scope"`
	tests := []struct {
		name    string
		granted []string
		guard   func(*scopes.Middleware) func(http.Handler) http.Handler
		lacking string // the scopes of the challenge; empty: it passes
	}{
		{"the scope is there", []string{"read"}, require("read"), ""},
		{"it is there among others", []string{"a", "read", "z"}, require("read"), ""},
		{"both are there", []string{"a", "b"}, require("b", "a"), ""},
		{"one of two is missing", []string{"a"}, require("b", "a"), "a b"},
		{"the other one is missing", []string{"b"}, require("b", "a"), "a b"},
		{"one that is asked for twice", []string{"a"}, require("a", "a"), ""},
		{"no scope at all", nil, require("read"), "read"},
		{"one of two is enough for any", []string{"b"}, requireAny("a", "b"), ""},
		{"none of two is not, and the challenge names the first", []string{"c"}, requireAny("b", "a"), "b"},
		{"any of one", []string{"c"}, requireAny("a"), "a"},
		{"any, and no scope at all", nil, requireAny("a", "b"), "a"},

		{"a scope that implies it", []string{"write"}, require("read"), ""},
		{"one that implies what implies it", []string{"admin"}, require("read"), ""},
		{"one that implies both", []string{"admin"}, require("read", "list"), ""},
		{"one by itself and one implied", []string{"other", "write"}, require("read", "other"), ""},
		{"implication goes one way", []string{"read", "list"}, require("write"), "write"},
		{"implied, and another is missing", []string{"write"}, require("read", "other"), "other read"},
		{"implied is enough for any", []string{"admin"}, requireAny("other", "list"), ""},
		{"a scope beside the hierarchy", []string{"other"}, require("read"), "read"},

		{"another case", []string{"READ", "Read"}, require("read"), "read"},
		{"another case of what implies it", []string{"ADMIN"}, require("read"), "read"},
		{"a star in the token is a name", []string{"*", "read:*", "*:items"}, require("read:items"), "read:items"},
		{"a star on the route is a name", []string{"read:items"}, require("read:*"), "read:*"},
		{"a star is fulfilled by itself", []string{"*"}, require("*"), ""},
		{"a star implies what it says and no more", []string{"*"}, require("star"), ""},
		{"a longer neighbour", []string{"users:readall", "users:read:all", "users:read.all"}, require("users:read"), "users:read"},
		{"a shorter neighbour", []string{"users", "users:", "users:rea"}, require("users:read"), "users:read"},
		{"a parent by name", []string{"users"}, require("users.read"), "users.read"},
		{"letters that look alike", []string{"re\u0430d", "read\u200b", "read\x00"}, require("read"), "read"},
		{"every byte that a scope may have", []string{allBytes}, require(allBytes), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := ask(t, scopes.Config{Implies: implies}, test.guard, with(test.granted...))
			if test.lacking == "" {
				a.check(t, 200, "passed")
				return
			}
			a.check(t, 403, insufficientBody, fmt.Sprintf(insufficient, test.lacking))
			if a.event.Name != guard.EventAuthzFail {
				t.Errorf("event %q, want %q", a.event.Name, guard.EventAuthzFail)
			}
		})
	}
}

// allBytes is a scope of all bytes of the grammar, in their order.
var allBytes = func() string {
	var b []byte
	for c := byte(0x21); c <= 0x7e; c++ {
		if c != '"' && c != '\\' {
			b = append(b, c)
		}
	}
	return string(b)
}()

func TestNobodyIsAskedWhoTheyAre(t *testing.T) {
	nobody := found{nil}
	for name, g := range map[string]func(*scopes.Middleware) func(http.Handler) http.Handler{
		"Require": require("read"), "RequireAny": requireAny("read"), "Fresh": fresh(60, "mfa"),
	} {
		t.Run(name, func(t *testing.T) {
			config := scopes.Config{ACR: levels}
			ask(t, config, g).check(t, 401, anonymousBody, "Bearer")
			ask(t, config, g, nobody).check(t, 401, anonymousBody, `Bearer realm="example"`)
			ask(t, config, g, keys{nobody}, nobody).check(t, 401, anonymousBody, `ApiKey realm="keys"`, `Bearer realm="example"`)
			config.FastAPIStatusCodes = true
			a := ask(t, config, g, nobody)
			a.check(t, 401, anonymousBody, `Bearer realm="example"`)
			if a.event.Name != guard.EventLoginFail || !errors.Is(a.event.Denial, guard.ErrNoCredentials) {
				t.Errorf("event %q with %v", a.event.Name, a.event.Denial)
			}
		})
	}
}

// The examples of RFC 6750 section 3: the challenge to whoever shows nothing,
// and the two values of scope. That of invalid_token is the authenticator's
// affair.
func TestRFC6750Section3Examples(t *testing.T) {
	ask(t, scopes.Config{}, require("read"), found{nil}).check(t, 401, anonymousBody, `Bearer realm="example"`)

	const media = "urn:example:channel=HBO&urn:example:rating=G,PG-13"
	ask(t, scopes.Config{}, require(media), with()).check(t, 403, insufficientBody,
		`Bearer realm="example", scope="urn:example:channel=HBO&urn:example:rating=G,PG-13", error="insufficient_scope"`)

	// "The order of scope values is not significant": ours is that of the bytes.
	ask(t, scopes.Config{}, require("openid", "profile", "email"), with()).check(t, 403, insufficientBody,
		`Bearer realm="example", scope="email openid profile", error="insufficient_scope"`)
}

func TestTheSchemeOfTheChallengeIsTheCallers(t *testing.T) {
	key := keys{found{&identity.Principal{Issuer: "apikey:acme", Credential: "k1"}}}
	tests := []struct {
		name   string
		config scopes.Config
		by     []guard.Authenticator
		want   string
	}{
		{"a token", scopes.Config{}, []guard.Authenticator{with(), keys{}}, `Bearer realm="example", scope="read", error="insufficient_scope"`},
		{"an API key", scopes.Config{}, []guard.Authenticator{found{}, key}, `ApiKey realm="keys", scope="read", error="insufficient_scope"`},
		{"a token of another scheme", scopes.Config{Scheme: "DPoP"}, []guard.Authenticator{with()}, `DPoP scope="read", error="insufficient_scope"`},
		{"an API key beside tokens of another scheme", scopes.Config{Scheme: "DPoP"}, []guard.Authenticator{key}, `ApiKey realm="keys", scope="read", error="insufficient_scope"`},
		{
			"an issuer that only begins alike", scopes.Config{},
			[]guard.Authenticator{found{&identity.Principal{Issuer: "apikeys.example"}}},
			`Bearer realm="example", scope="read", error="insufficient_scope"`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ask(t, test.config, require("read"), test.by...).check(t, 403, insufficientBody, test.want)
		})
	}
}

func TestFastAPIStatusCodesAnswer401(t *testing.T) {
	const body = `{"title":"Unauthorized","status":401,"code":"insufficient_scope","detail":"Not enough permissions"}` + "\n"
	config := scopes.Config{FastAPIStatusCodes: true}
	a := ask(t, config, require("write"), with("read"), keys{})
	a.check(t, 401, body, `Bearer realm="example", scope="write", error="insufficient_scope"`, `ApiKey realm="keys"`)
	if a.event.Name != guard.EventAuthzFail {
		t.Errorf("event %q: a known caller was refused", a.event.Name)
	}
	ask(t, config, require("write"), with("write")).check(t, 200, "passed")
}

func TestBodiesAreEqualAndTheReasonIsForTheLog(t *testing.T) {
	config := scopes.Config{Implies: map[string][]string{"write": {"read"}}}
	a := ask(t, config, require("read", "b", "a"), with("write", "secret"))
	b := ask(t, config, require("read", "b", "a"), with("a"))
	if a.body != b.body || !slices.Equal(a.challenges, b.challenges) {
		t.Errorf("one refusal is not the other:\n%s%q\n%s%q", a.body, a.challenges, b.body, b.challenges)
	}
	for _, test := range []struct {
		answer
		want string
	}{{a, "scopes: missing b a"}, {b, "scopes: missing read b"}} {
		if got := test.event.Denial.Err.Error(); got != test.want {
			t.Errorf("the log says %q, want %q", got, test.want)
		}
	}
}

func TestARefusalIsNobodyElses(t *testing.T) {
	m := must(scopes.New(scopes.Config{}))
	p := as(&identity.Principal{})
	first := denialOf(t, m.Check(p, "a"))
	first.Challenges[0].Scheme, first.Detail = "Changed", "changed"
	if again := denialOf(t, m.Check(p, "a")); again.Challenges[0].Scheme != "Bearer" || again.Detail == "changed" {
		t.Errorf("what one does to a refusal is in the next: %+v", again)
	}
}

func denialOf(t *testing.T, err error) *guard.Denial {
	t.Helper()
	d, ok := errors.AsType[*guard.Denial](err)
	if !ok {
		t.Fatalf("%v is no Denial", err)
	}
	return d
}

func TestRoutesKeepWhatTheyAskFor(t *testing.T) {
	names := []string{"admin", "other"}
	for _, g := range []func(*scopes.Middleware) func(http.Handler) http.Handler{
		func(m *scopes.Middleware) func(http.Handler) http.Handler {
			names[0] = "admin"
			g := m.Require(names...)
			names[0] = "changed"
			return g
		},
		func(m *scopes.Middleware) func(http.Handler) http.Handler {
			names[0] = "admin"
			g := m.RequireAny(names[:1]...)
			names[0] = "changed"
			return g
		},
	} {
		a := ask(t, scopes.Config{}, g, with("changed"))
		if a.passed || len(a.challenges) != 1 || !strings.Contains(a.challenges[0], `"admin`) || strings.Contains(a.challenges[0], "changed") {
			t.Errorf("passed: %v, challenges %q; the route asks for admin", a.passed, a.challenges)
		}
	}
}

func TestMisusePanicsAtRegistration(t *testing.T) {
	m := must(scopes.New(scopes.Config{ACR: levels}))
	for name, misuse := range map[string]func(){
		"no scope":                    func() { m.Require() },
		"no scope of any":             func() { m.RequireAny() },
		"an empty scope":              func() { m.Require("a", "") },
		"two scopes in one string":    func() { m.Require("a b") },
		"a quote":                     func() { m.RequireAny(`a"`) },
		"a backslash":                 func() { m.RequireAny("a", `\`) },
		"a line break":                func() { m.Require("a\r\nX-Header: b") },
		"a tab":                       func() { m.Require("a\tb") },
		"DEL":                         func() { m.Require("a\x7f") },
		"beyond ASCII":                func() { m.Require("é") },
		"neither an age nor an acr":   func() { m.Fresh(0) },
		"an age that is negative":     func() { m.Fresh(-1) },
		"half a second":               func() { m.Fresh(1_500_000_000) },
		"an acr that is not there":    func() { m.Fresh(0, "mfa", "gold") },
		"FromClaims of nothing":       func() { scopes.FromClaims(nil) },
		"a claim without a name":      func() { scopes.FromClaims(found{}, "scp", "") },
		"a guard with nothing behind": func() { m.Require("a")(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse()
		})
	}
}

func TestCheck(t *testing.T) {
	m := must(scopes.New(scopes.Config{Implies: map[string][]string{"write": {"read"}}}))
	p := as(&identity.Principal{Scopes: identity.NewSet("write", "a b", `"`)})
	nobody := context.Background()
	refused := func(status int, told string) func(error) bool {
		return func(err error) bool {
			d, ok := errors.AsType[*guard.Denial](err)
			return ok && d.Status == status && (told == "" || d.Challenges[0].Scope.String() == told)
		}
	}
	undecided := func(err error) bool {
		_, denied := errors.AsType[*guard.Denial](err)
		return err != nil && !denied
	}
	passed := func(err error) bool { return err == nil }
	tests := []struct {
		name string
		err  error
		want func(error) bool
	}{
		{"granted", m.Check(p, "write"), passed},
		{"granted and implied", m.Check(p, "write", "read"), passed},
		{"implied", m.Check(p, "read"), passed},
		{"missing", m.Check(p, "write", "x", "read"), refused(403, "read write x")},
		{"nobody", m.Check(nobody, "read"), refused(401, "")},
		{"nobody, where somebody was", m.Check(as(nil), "read"), refused(401, "")},
		{"nobody is asked for nothing", m.Check(nobody), refused(401, "")},
		{"asked for nothing", m.Check(p), undecided},
		{"asked for what is no scope", m.Check(p, "write", "x y"), undecided},
		{"asked for the empty string", m.Check(p, ""), undecided},
		{"any, granted", m.CheckAny(p, "x", "write"), passed},
		{"any, implied", m.CheckAny(p, "x", "read"), passed},
		{"any, missing", m.CheckAny(p, "y", "x"), refused(403, "y")},
		{"any, nobody", m.CheckAny(nobody, "read"), refused(401, "")},
		{"any of nothing", m.CheckAny(p), undecided},
		{"any of what is no scope", m.CheckAny(p, "x\n"), undecided},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !test.want(test.err) {
				t.Errorf("got %v", test.err)
			}
		})
	}
}

func TestGuardsAreInTheLedger(t *testing.T) {
	hooks := guard.Hooks{}
	m := must(scopes.New(scopes.Config{ACR: levels}))
	mux := guard.NewMux(hooks, with())
	mux.Handle("GET /a", m.Require("write", "read")(nothing))
	mux.Handle("GET /b", m.RequireAny("write", "read")(nothing))
	mux.Handle("GET /c", m.Fresh(300_000_000_000, "mfa", "hwk")(nothing))
	mux.Handle("GET /d", m.Require("read")(m.Fresh(60_000_000_000)(nothing)))
	mux.Handle("GET /e", m.Fresh(0, "mfa")(nothing))
	var got []string
	for _, route := range mux.Routes() {
		got = append(got, route.String())
	}
	want := []string{
		"GET /a\tscope write read",
		"GET /b\tany scope write|read",
		"GET /c\tany factor mfa|hwk, factor max_age=300",
		"GET /d\tscope read, factor max_age=60",
		"GET /e\tfactor mfa",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Routes\n got %q\nwant %q", got, want)
	}
}

// Ten thousand scopes are as good as ten, on either side.
func TestTenThousandScopes(t *testing.T) {
	names := strings.Fields(manyNames(10_000))
	config := scopes.Config{Implies: map[string][]string{"admin": names[5000:]}}
	ask(t, config, require("n0", "n4999", "n9999"), with(names...)).check(t, 200, "passed")
	ask(t, config, require("n0", "n10000"), with(names...)).check(t, 403, insufficientBody,
		`Bearer realm="example", scope="n0 n10000", error="insufficient_scope"`)
	ask(t, config, require("n9999"), with(append(names[:5000:5000], "admin")...)).check(t, 200, "passed")
	ask(t, config, requireAny("n9999"), with(names[:5000]...)).check(t, 403, insufficientBody,
		`Bearer realm="example", scope="n9999", error="insufficient_scope"`)
	ask(t, config, require(names...), with(append(names[:5000:5000], "admin")...)).check(t, 200, "passed")
	if a := ask(t, config, require(names...), with(names[1:]...)); a.passed || a.event.Denial.Err.Error() != "scopes: missing n0" {
		t.Errorf("passed: %v, reason %v", a.passed, a.event.Denial)
	}
}

// A guard has a bit for each of 64 scopes; those after them count as well.
func TestTheSixtyFifthScopeCounts(t *testing.T) {
	names := strings.Fields(manyNames(66))
	for _, n := range []int{63, 64, 65, 66} {
		config := scopes.Config{Implies: map[string][]string{"nearly": names[:n-1]}}
		last := names[n-1]
		ask(t, config, require(names[:n]...), with("nearly", last)).check(t, 200, "passed")
		if a := ask(t, config, require(names[:n]...), with("nearly")); a.passed || a.status != 403 || a.event.Denial.Err.Error() != "scopes: missing "+last {
			t.Errorf("the last of %d is missing: passed %v, status %d", n, a.passed, a.status)
		}
		ask(t, config, requireAny(names[:n]...), with(last)).check(t, 200, "passed")
		if a := ask(t, config, requireAny(names[:n]...), with("other")); a.passed || a.status != 403 {
			t.Errorf("none of %d is there: passed %v, status %d", n, a.passed, a.status)
		}
	}
}

// The guards, which are compiled, and Check, which is not, agree with a naive
// reading of the hierarchy, for random ones and random callers.
func TestGuardsAgreeWithANaiveReading(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + random.IntN(100)
		name := func(i int) string { return fmt.Sprintf("s%d", i) }
		implies := make(map[string][]string)
		for range random.IntN(2 * n) {
			if a, b := random.IntN(n), random.IntN(n); a < b { // so there is no circle
				implies[name(a)] = append(implies[name(a)], name(b))
			}
		}
		pick := func(most int) (names []string) {
			for range random.IntN(most + 1) {
				names = append(names, name(random.IntN(n)))
			}
			return names
		}
		granted, wanted := pick(n/3), append(pick(3), name(random.IntN(n)))
		if random.IntN(50) == 0 {
			wanted = slices.Concat(wanted, pick(n), pick(n)) // more than 64, sometimes
		}
		have := make(map[string]bool)
		var grow func(string)
		grow = func(s string) {
			if !have[s] {
				have[s] = true
				for _, lesser := range implies[s] {
					grow(lesser)
				}
			}
		}
		for _, s := range granted {
			grow(s)
		}
		all := !slices.ContainsFunc(wanted, func(s string) bool { return !have[s] })
		some := slices.ContainsFunc(wanted, func(s string) bool { return have[s] })

		m := must(scopes.New(scopes.Config{Implies: implies}))
		p := &identity.Principal{Issuer: "i", Subject: "s", Scopes: identity.NewSet(granted...)}
		for _, got := range []struct {
			by        string
			got, want bool
		}{
			{"Check", m.Check(as(p), wanted...) == nil, all},
			{"CheckAny", m.CheckAny(as(p), wanted...) == nil, some},
			{"Require", lets(m.Require(wanted...), p), all},
			{"RequireAny", lets(m.RequireAny(wanted...), p), some},
		} {
			if got.got != got.want {
				t.Fatalf("%s(%q) of %q with %v: %v, want %v", got.by, wanted, granted, implies, got.got, got.want)
			}
		}
	}
}

// lets reports whether p passes.
func lets(g func(http.Handler) http.Handler, p *identity.Principal) (passed bool) {
	r := (&http.Request{Header: http.Header{}}).WithContext(identity.NewContext(context.Background(), p))
	g(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(&discard{http.Header{}}, r)
	return passed
}

func TestSessionsOfTheHostsOwnHaveEveryScopeByName(t *testing.T) {
	m := must(scopes.New(scopes.Config{FullIssuers: []string{"session"}}))
	for issuer, want := range map[string]bool{"session": true, "": false, "sessions": false, "apikey:x": false, "https://i.example": false} {
		ctx := as(&identity.Principal{Issuer: issuer, Subject: "ada"})
		for name, err := range map[string]error{
			"Check": m.Check(ctx, "read", "write"), "CheckAny": m.CheckAny(ctx, "read", "write"),
			"Require": guard.Decide(m.Require("read")(nothing), httptest.NewRequest("GET", "/", nil).WithContext(ctx)),
			"Any":     guard.Decide(m.RequireAny("read")(nothing), httptest.NewRequest("GET", "/", nil).WithContext(ctx)),
		} {
			if (err == nil) != want {
				t.Errorf("%s of %q: %v", name, issuer, err)
			}
		}
	}
	full := as(&identity.Principal{Issuer: "session", Subject: "ada"})
	if m.Check(full) == nil || m.Check(full, "a b") == nil || m.Check(context.Background(), "read") == nil {
		t.Error("a mistake of the host, or an anonymous request, passes")
	}
	for _, bad := range []string{"", "apikey:live"} {
		if _, err := scopes.New(scopes.Config{FullIssuers: []string{bad}}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTheReasonOfARefusalDoesNotFollowTheSliceOfItsCaller(t *testing.T) {
	m, err := scopes.New(scopes.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := identity.NewContext(t.Context(), &identity.Principal{Issuer: "i", Subject: "s", Scopes: identity.NewSet("read:items")})
	for name, check := range map[string]func(context.Context, ...string) error{"Check": m.Check, "CheckAny": m.CheckAny} {
		asked := []string{"write:items", "delete:items"}
		d := guard.DenialOf(ctx, check(ctx, asked...))
		asked[0], asked[1] = "read:items", "poison"
		if got, want := d.Err.Error(), "scopes: missing write:items delete:items"; got != want {
			t.Errorf("%s: the reason is %q, want %q", name, got, want)
		}
	}
}
