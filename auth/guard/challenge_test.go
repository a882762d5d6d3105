package guard_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestChallengeString(t *testing.T) {
	tests := []struct {
		name      string
		challenge guard.Challenge
		want      string
	}{
		{"a scheme alone", guard.Challenge{Scheme: "Bearer"}, `Bearer`},
		{"no scheme is no challenge", guard.Challenge{Realm: "api"}, ``},
		{
			"RFC 6750 section 3, insufficient scope",
			guard.Challenge{Scheme: "Bearer", Realm: "example", Scope: identity.ParseSet("b a"), Error: "insufficient_scope",
				ErrorDescription: "More is needed", ErrorURI: "https://example.com/help"},
			`Bearer realm="example", scope="a b", error="insufficient_scope", error_description="More is needed", error_uri="https://example.com/help"`,
		},
		{
			"RFC 9470 section 3, step-up",
			guard.Challenge{Scheme: "Bearer", Error: "insufficient_user_authentication",
				ErrorDescription: "A different authentication level is required", ACRValues: []string{"myACR", "other"}, MaxAge: 5 * time.Minute},
			`Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR other", max_age="300"`,
		},
		{"a max_age has whole seconds", guard.Challenge{Scheme: "Bearer", MaxAge: 5500 * time.Millisecond}, `Bearer max_age="5"`},
		{"a negative max_age is none", guard.Challenge{Scheme: "Bearer", MaxAge: -time.Second}, `Bearer`},
		{
			"RFC 9728 section 5.1, resource metadata",
			guard.Challenge{Scheme: "Bearer", ResourceMetadata: "https://resource.example.com/.well-known/oauth-protected-resource"},
			`Bearer resource_metadata="https://resource.example.com/.well-known/oauth-protected-resource"`,
		},
		{
			"parameters of other standards",
			guard.Challenge{Scheme: "DPoP", Params: []guard.Param{{"algs", "ES256 PS256"}, {"nonce", "n"}, {"empty", ""}}},
			`DPoP algs="ES256 PS256", nonce="n"`,
		},
		{
			"a parameter that repeats a field is left out",
			guard.Challenge{Scheme: "Bearer", Realm: "a", Error: "e", Params: []guard.Param{{"REALM", "b"}, {"er ror", "x"}, {"max_age", "1"}}},
			`Bearer realm="a", error="e", max_age="1"`,
		},
		{
			"a parameter that repeats another is left out",
			guard.Challenge{Scheme: "X", Params: []guard.Param{{"a", "1"}, {"A", "2"}, {"b", ""}, {"b", "3"}}},
			`X a="1", b="3"`,
		},
		{"a scope that ends the string is escaped", guard.Challenge{Scheme: "Bearer", Scope: identity.NewSet(`a" , error=x`)}, `Bearer scope="a\" , error=x"`},
		{"a scope that escapes the quote is escaped", guard.Challenge{Scheme: "Bearer", Scope: identity.NewSet(`a\`)}, `Bearer scope="a\\"`},
		{"the scope of a tab", guard.Challenge{Scheme: "Bearer", Scope: identity.NewSet("a\tb")}, `Bearer scope="a?b"`},
		{"a realm that begins a header", guard.Challenge{Scheme: "Bearer", Realm: "a\r\nSet-Cookie: b=c"}, `Bearer realm="a??Set-Cookie: b=c"`},
		{"a realm with NUL and DEL", guard.Challenge{Scheme: "Bearer", Realm: "a\x00b\x7f"}, `Bearer realm="a?b?"`},
		{"a realm beyond ASCII", guard.Challenge{Scheme: "Bearer", Realm: "é\u2028"}, `Bearer realm="?????"`},
		{"a realm of invalid UTF-8", guard.Challenge{Scheme: "Bearer", Realm: "\xff"}, `Bearer realm="?"`},
		{
			"the error parameters have no escapes (RFC 6750 section 3)",
			guard.Challenge{Scheme: "Bearer", Error: `a"b`, ErrorDescription: `\"quoted\"`, ErrorURI: `https://e.example/a b"\`},
			`Bearer error="a'b", error_description="/'quoted/'", error_uri="https://e.example/a%20b'/"`,
		},
		{"a scheme that brings a parameter", guard.Challenge{Scheme: `Bearer realm="x",`}, `Bearerrealmx`},
		{"a parameter name that brings a value", guard.Challenge{Scheme: "X", Params: []guard.Param{{`a="b", c`, "d"}, {`"`, "e"}}}, `X abc="d"`},
		{"an acr value that ends the string", guard.Challenge{Scheme: "X", ACRValues: []string{`a"`, "\n"}}, `X acr_values="a\" ?"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.challenge.String()
			if got != test.want {
				t.Errorf("String\n got %s\nwant %s", got, test.want)
			}
			if got == "" {
				return
			}
			if _, _, err := parseChallenge(got); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		})
	}
}

// FuzzChallenge states what no input can change: the header is exactly one
// challenge of RFC 9110, with each parameter once and the values that were
// given, cleaned.
func FuzzChallenge(f *testing.F) {
	f.Add("Bearer", "api", "read:items write:items", "insufficient_scope", "More is needed", "acr", "nonce", "n", int64(300))
	f.Add("Bearer", `a" , error=x`, `a" , error=x`, `a" , error=x`, `a" , error=x`, `a" , error=x`, `a" , error`, `x`, int64(0))
	f.Add("Bearer", "\r\nSet-Cookie: a=b", "\x00\x7f\x80", `\`, `\\"`, "é\u2028", "realm", "twice", int64(-1))
	f.Add("", "", "", "", "", "", "", "", int64(1))
	f.Add("Basic realm=", " ", ",", "=", ";", "\t", "Scope", "s", int64(1<<62))
	f.Fuzz(func(t *testing.T, scheme, realm, scope, code, description, acr, name, value string, seconds int64) {
		c := guard.Challenge{
			Scheme:           scheme,
			Realm:            realm,
			Scope:            identity.NewSet(scope),
			Error:            code,
			ErrorDescription: description,
			ErrorURI:         value,
			ACRValues:        []string{acr},
			MaxAge:           time.Duration(seconds),
			ResourceMetadata: realm,
			Params:           []guard.Param{{Name: name, Value: value}, {Name: name, Value: realm}},
		}
		header := c.String()
		if wantScheme := tokenOnly(scheme); wantScheme == "" {
			if header != "" {
				t.Fatalf("%q has no scheme", header)
			}
			return
		}
		gotScheme, got, err := parseChallenge(header)
		if err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if gotScheme != tokenOnly(scheme) {
			t.Errorf("scheme = %q, want %q", gotScheme, tokenOnly(scheme))
		}
		want := map[string]string{}
		add := func(name, value string) {
			if _, ok := want[name]; !ok && name != "" && value != "" {
				want[name] = value
			}
		}
		noEscapes := func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, `"`, "'"), `\`, "/") }
		add("realm", printable(realm))
		add("scope", printable(scope))
		add("error", noEscapes(printable(code)))
		add("error_description", noEscapes(printable(description)))
		add("error_uri", strings.ReplaceAll(noEscapes(printable(value)), " ", "%20"))
		add("acr_values", printable(acr))
		if seconds > 0 {
			add("max_age", strconv.FormatInt(int64(time.Duration(seconds)/time.Second), 10))
		}
		add("resource_metadata", printable(realm))
		add(strings.ToLower(tokenOnly(name)), printable(value))
		add(strings.ToLower(tokenOnly(name)), printable(realm))
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s = %q, want %q in %s", name, got[name], value, header)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s has %d parameters, want %d", header, len(got), len(want))
		}
	})
}

// printable is what a quoted-string keeps of s.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b)
}

// tchar is the alphabet of a token (RFC 9110 section 5.6.2).
const tchar = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func tokenOnly(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(tchar, c) >= 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parseChallenge reads a WWW-Authenticate value that has exactly one challenge
// with auth-params (RFC 9110 section 11.6.1), and is stricter than that: bytes
// above ASCII and repeated names are errors. Names come back in lower case.
func parseChallenge(s string) (scheme string, params map[string]string, err error) {
	next := func() string {
		n := 0
		for n < len(s) && strings.IndexByte(tchar, s[n]) >= 0 {
			n++
		}
		word := s[:n]
		s = s[n:]
		return word
	}
	accept := func(prefix string) bool {
		rest, ok := strings.CutPrefix(s, prefix)
		if ok {
			s = rest
		}
		return ok
	}
	if scheme = next(); scheme == "" {
		return "", nil, errors.New("no scheme")
	}
	params = map[string]string{}
	if s == "" {
		return scheme, params, nil
	}
	if !accept(" ") {
		return "", nil, errors.New("no space after the scheme")
	}
	for {
		name := strings.ToLower(next())
		if name == "" {
			return "", nil, errors.New("no parameter name")
		}
		if !accept(`="`) {
			return "", nil, errors.New(name + " has no quoted value")
		}
		var value strings.Builder
		for !accept(`"`) {
			if s == "" {
				return "", nil, errors.New(name + " does not end")
			}
			if s[0] == '\\' {
				s = s[1:]
			}
			if s == "" || s[0] < 0x20 || s[0] > 0x7e {
				return "", nil, errors.New(name + " has a byte that may not stand in it")
			}
			value.WriteByte(s[0])
			s = s[1:]
		}
		if _, again := params[name]; again {
			return "", nil, errors.New(name + " is there twice")
		}
		params[name] = value.String()
		if s == "" {
			return scheme, params, nil
		}
		if !accept(", ") {
			return "", nil, errors.New("no comma after " + name)
		}
	}
}
