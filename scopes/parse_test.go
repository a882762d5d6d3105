package scopes_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, s string
		want    string // sorted; "!" is an error
	}{
		{"none", "", ""},
		{"one", "read", "read"},
		{"several, in any order", "write:items read:items", "read:items write:items"},
		{"one twice", "a b a", "a b"},
		{"RFC 6750 section 3, OpenID Connect", "openid profile email", "email openid profile"},
		{"RFC 6750 section 3, media", "urn:example:channel=HBO&urn:example:rating=G,PG-13", "urn:example:channel=HBO&urn:example:rating=G,PG-13"},
		{"every byte of the grammar", allBytes, allBytes},
		{"a star", "* a:*", "* a:*"},
		{"the cases are different", "Read read", "Read read"},
		{"the first and the last byte", "! ~ # [ ]", "! # [ ] ~"},

		{"a space alone", " ", "!"},
		{"a space before", " a", "!"},
		{"a space behind", "a ", "!"},
		{"a double space", "a  b", "!"},
		{"a tab", "a\tb", "!"},
		{"a line break", "a\nb", "!"},
		{"a carriage return", "a\r", "!"},
		{"a NUL", "a\x00", "!"},
		{"the last control character", "a\x1f", "!"},
		{"DEL", "a\x7f", "!"},
		{"a quote", `a"b`, "!"},
		{"a backslash", `a\b`, "!"},
		{"beyond ASCII", "café", "!"},
		{"a space of another alphabet", "a\u00a0b", "!"},
		{"what is not UTF-8", "a\xff", "!"},
		{"one good and one bad", "good b\"d", "!"},

		{"as many as there may be", manyNames(maxScopes), "…"},
		{"one more", manyNames(maxScopes + 1), "!"},
		{"ten thousand", manyNames(10_000), "!"},
		{"one name a thousand times", strings.TrimSpace(strings.Repeat("a ", maxScopes)), "a"},
		{"one name once more", strings.TrimSpace(strings.Repeat("a ", maxScopes+1)), "!"},
		{"as long as may be", strings.Repeat("a", maxBytes), strings.Repeat("a", maxBytes)},
		{"a byte longer", strings.Repeat("a", maxBytes+1), "!"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := scopes.Parse(test.s)
			switch {
			case test.want == "!":
				if err == nil || got.Len() != 0 {
					t.Fatalf("Parse: %v, %v; want an error alone", got, err)
				}
				if len(test.s) > 3 && strings.Contains(err.Error(), test.s) {
					t.Errorf("the error repeats what was sent: %v", err)
				}
			case err != nil:
				t.Fatal(err)
			case test.want == "…":
				if got.Len() != maxScopes {
					t.Errorf("%d scopes", got.Len())
				}
			case got.String() != test.want:
				t.Errorf("Parse: %q, want %q", got, test.want)
			}
		})
	}
}

// claimsCases are read by ParseClaims and by FromClaims.
var claimsCases = []struct {
	name, claims string
	names        []string
	want         string // "!" is an error
}{
	{"a string", `{"scope":"write read"}`, nil, "read write"},
	{"an array", `{"scope":["write","read"]}`, nil, "read write"},
	{"scp as a string", `{"scp":"Items.Read Items.Write"}`, nil, "Items.Read Items.Write"},
	{"scp as an array", `{"scp":["a","b"]}`, nil, "a b"},
	{"the scopes of FastAPI's guide", `{"sub":"ada","scopes":["read:items"],"exp":1}`, nil, "read:items"},
	{"no claim", `{"sub":"ada"}`, nil, ""},
	{"no claims", `{}`, nil, ""},
	{"an empty string", `{"scope":""}`, nil, ""},
	{"an empty array", `{"scope":[]}`, nil, ""},
	{"space around everything", " { \"scope\" :\t[ \"a\" ,\n \"b\" ] ,\r\"x\" : 1 } ", nil, "a b"},
	{"space in an empty array", `{"scope":[ ]}`, nil, ""},
	{"escapes", `{"scope":"a\u0020\u0062\/c"}`, nil, "a b/c"},
	{"escapes in an array", `{"scope":["\u0061"]}`, nil, "a"},
	{"an escape in the name", `{"sc\u006fpe":"a"}`, nil, "a"},
	{"a name twice in an array", `{"scope":["a","a"]}`, nil, "a"},
	{"a star", `{"scope":["*"]}`, nil, "*"},
	{"two claims that say the same", `{"scope":"a b","scp":["b","a"]}`, nil, "a b"},
	{"only the claim that was asked for", `{"scope":"a","scp":"b"}`, []string{"scp"}, "b"},
	{"a claim of another name", `{"permissions":["read:items"],"scope":7}`, []string{"permissions"}, "read:items"},
	{"what looks like a claim within another", `{"x":{"scope":"a"},"y":["scope","a",{"scp":"b"}],"z":"\"scope\":\"c\""}`, nil, ""},
	{"braces and quotes in other values", `{"a":"}]\\","b":[[{"c":"\\\""}],{}],"d":-1.5e3,"e":true,"f":null,"scope":"x","g":0}`, nil, "x"},

	{"a number", `{"scope":7}`, nil, "!"},
	{"null", `{"scope":null}`, nil, "!"},
	{"true", `{"scope":true}`, nil, "!"},
	{"an object", `{"scope":{"read":true}}`, nil, "!"},
	{"an array in an array", `{"scope":["a",["b"]]}`, nil, "!"},
	{"a number among strings", `{"scope":["a",1]}`, nil, "!"},
	{"null among strings", `{"scope":["a",null]}`, nil, "!"},
	{"an object among strings", `{"scope":["a",{}]}`, nil, "!"},
	{"an empty string among strings", `{"scope":["a",""]}`, nil, "!"},
	{"two scopes in one string of an array", `{"scope":["a b"]}`, nil, "!"},
	{"commas", `{"scope":"a, b"}`, nil, "a, b"},
	{"a double space", `{"scope":"a  b"}`, nil, "!"},
	{"a quote", `{"scope":"a\"b"}`, nil, "!"},
	{"a quote in an array", `{"scope":["a\"b"]}`, nil, "!"},
	{"a control character", `{"scope":"a\u0000"}`, nil, "!"},
	{"beyond ASCII", `{"scope":["é"]}`, nil, "!"},
	{"half a surrogate pair", `{"scope":"\ud800"}`, nil, "!"},
	{"what is not UTF-8", "{\"scope\":\"a\xff\"}", nil, "!"},
	{"two claims that do not say the same", `{"scope":"a b","scp":"a"}`, nil, "!"},
	{"a good claim and a bad one", `{"scope":"a","scopes":[1]}`, nil, "!"},
	{"a claim twice", `{"scope":"a","scope":"b"}`, nil, "!"},
	{"a claim twice with the same value", `{"scope":"a","scope":"a"}`, nil, "!"},
	{"a claim twice, once with an escape", `{"scope":"a","s\u0063ope":"a"}`, nil, "!"},
	{"another case", `{"Scope":"a"}`, nil, "!"},
	{"another case beside the right one", `{"scope":"a","SCOPE":"a b"}`, nil, "!"},
	{"another case by way of Unicode", `{"ſcope":"a"}`, nil, "!"},
	{"an array of claims", `["scope"]`, nil, "!"},
	{"a string", `"scope"`, nil, "!"},
	{"nothing", ``, nil, "!"},
	{"space", ` `, nil, "!"},
	{"what ends early", `{"scope":"a"`, nil, "!"},
	{"what goes on", `{"scope":"a"}{}`, nil, "!"},
	{"a comma too many", `{"scope":["a",]}`, nil, "!"},
	{"a thousand scopes", `{"scope":["` + strings.ReplaceAll(manyNames(1000), " ", `","`) + `"]}`, nil, "…"},
	{"a scope more", `{"scope":["` + strings.ReplaceAll(manyNames(1001), " ", `","`) + `"]}`, nil, "!"},
	{"ten thousand scopes", `{"scope":"` + manyNames(10_000) + `"}`, nil, "!"},
	{"as long as may be", `{"scope":"a","x":"` + strings.Repeat("x", maxBytes-20) + `"}`, nil, "a"},
	{"a byte longer", `{"scope":"a","x":"` + strings.Repeat("x", maxBytes-19) + `"}`, nil, "!"},
	{"very deep", `{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, nil, "!"},
}

func TestParseClaims(t *testing.T) {
	for _, test := range claimsCases {
		t.Run(test.name, func(t *testing.T) {
			got, err := scopes.ParseClaims(test.claims, test.names...)
			switch {
			case test.want == "!":
				if err == nil || got.Len() != 0 {
					t.Fatalf("ParseClaims: %q, %v; want an error alone", got, err)
				}
				if !strings.HasPrefix(err.Error(), "scopes: ") || strings.Count(err.Error(), "scopes: ") != 1 {
					t.Errorf("the error %q does not name the package once", err)
				}
			case err != nil:
				t.Fatal(err)
			case test.want == "…":
				if got.Len() != 1000 {
					t.Errorf("%d scopes", got.Len())
				}
			case !slices.Equal(slices.Collect(got.All()), slices.Collect(identity.ParseSet(test.want).All())):
				t.Errorf("ParseClaims: %q, want %q", got, test.want)
			}
		})
	}
}

func TestErrorsOfClaimsRepeatNoValue(t *testing.T) {
	for _, claims := range []string{
		`{"scope":"c0nfidential\""}`, `{"scope":["c0nfidential\""]}`, `{"scope":{"c0nfidential":1}}`, `{"scope":["a","c0nfidential d"]}`,
		`{"scope":"c0nfidential","scp":"a"}`, `{"scope":"c0nfidential"`, `{"scope":["a",["c0nfidential"]]}`,
	} {
		if _, err := scopes.ParseClaims(claims); err == nil || strings.Contains(err.Error(), "c0nfidential") {
			t.Errorf("%s: %v", claims, err)
		}
	}
}

func TestFromClaims(t *testing.T) {
	const badToken = `{"title":"Unauthorized","status":401,"code":"invalid_token","detail":"The credentials are not valid."}` + "\n"
	const challenge = `Bearer realm="example", error="invalid_token"`
	for _, test := range claimsCases {
		if test.claims == "" || test.want == "" || test.want == "…" {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			p := found{&identity.Principal{Issuer: "i", Subject: "ada", Claims: test.claims, Scopes: identity.NewSet("of", "before")}}
			wrapped := scopes.FromClaims(p, test.names...)
			if test.want == "!" {
				ask(t, scopes.Config{}, require("of"), wrapped).check(t, 401, badToken, challenge)
				return
			}
			ask(t, scopes.Config{}, require(slices.Collect(identity.ParseSet(test.want).All())...), wrapped).check(t, 200, "passed")
			if a := ask(t, scopes.Config{}, requireAny("of", "before"), wrapped); a.passed {
				t.Error("the scopes of before are still there")
			}
		})
	}
}

func TestFromClaimsLeavesTheRestToTheAuthenticator(t *testing.T) {
	nobody := scopes.FromClaims(found{nil}, "scp")
	if c := nobody.Challenge(); c.Scheme != "Bearer" || c.Realm != "example" {
		t.Errorf("Challenge: %+v", c)
	}
	ask(t, scopes.Config{}, require("a"), nobody).check(t, 401, anonymousBody, `Bearer realm="example"`)
	ask(t, scopes.Config{}, require("a"), scopes.FromClaims(found{nil})).check(t, 401, anonymousBody, `Bearer realm="example"`)

	const unavailable = `{"title":"Service Unavailable","status":503,"code":"unavailable","detail":"The service cannot decide this right now. Please try again."}` + "\n"
	ask(t, scopes.Config{}, require("a"), scopes.FromClaims(failing{})).check(t, 503, unavailable)

	// An authenticator of API keys, say, was wrapped by mistake: that must be
	// noticed, and not let its callers keep or lose scopes in silence.
	ask(t, scopes.Config{}, require("a"), scopes.FromClaims(with("a"))).check(t, 503, unavailable)
}

type failing struct{ found }

func (failing) Authenticate(*http.Request) (*identity.Principal, error) {
	return &identity.Principal{Issuer: "i", Subject: "ada", Claims: `{"scope":"a"}`}, errors.New("the store is down")
}

// The wrapped authenticator takes part in guard.Hooks.Accept.
func TestFromClaimsCanBeAccepted(t *testing.T) {
	wrapped := scopes.FromClaims(found{&identity.Principal{Issuer: "i", Subject: "ada", Claims: `{"scp":"a"}`}})
	a := ask(t, scopes.Config{}, func(m *scopes.Middleware) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return guard.Hooks{}.Accept(wrapped)(m.Require("a")(next))
		}
	}, wrapped)
	a.check(t, 200, "passed")
}
