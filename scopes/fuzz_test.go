package scopes_test

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

// grammar is that of RFC 6749 section 3.3, as it stands there.
var grammar = regexp.MustCompile(`\A[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*\z`)

// FuzzParse: what is parsed is what the grammar allows, has the scopes that a
// naive reading finds, comes back from its own spelling, and fits into a
// challenge without an escape.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", " ", "a", "a b", "a  b", "a b ", `a"`, `a\`, "a\tb", "é", "a a", allBytes, "\x7f", manyNames(1001)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := scopes.Parse(s)
		fields := strings.Fields(s)
		want := s == "" || grammar.MatchString(s) && len(s) <= maxBytes && len(fields) <= maxScopes
		if (err == nil) != want {
			t.Fatalf("Parse(%q): %v, want it to be good: %v", s, err, want)
		}
		if err != nil {
			if got.Len() != 0 {
				t.Fatalf("%q with an error", got)
			}
			return
		}
		slices.Sort(fields)
		if !slices.Equal(slices.Collect(got.All()), slices.Compact(fields)) {
			t.Fatalf("Parse(%q): %q, want %q", s, got, fields)
		}
		again, err := scopes.Parse(got.String())
		if err != nil || !again.Equal(got) {
			t.Fatalf("%q came back as %q, %v", got, again, err)
		}
		if line := (guard.Challenge{Scheme: "X", Scope: got}).String(); got.Len() > 0 && line != `X scope="`+got.String()+`"` {
			t.Fatalf("challenge %s", line)
		}
	})
}

// FuzzParseClaims: it agrees with a second reading, made of encoding/json and
// no code in common.
func FuzzParseClaims(f *testing.F) {
	for _, test := range claimsCases {
		if len(test.claims) < 1000 {
			f.Add(test.claims)
		}
	}
	f.Fuzz(func(t *testing.T, claims string) {
		for _, names := range [][]string{nil, {"scp"}, {"a", "b"}} {
			got, err := scopes.ParseClaims(claims, names...)
			want, ok := naive(claims, names)
			if (err == nil) != ok || !got.Equal(want) {
				t.Fatalf("ParseClaims(%q, %q): %q, %v; another reading has %q, %v", claims, names, got, err, want, ok)
			}
		}
	})
}

// naive reads claims token by token.
func naive(claims string, names []string) (identity.Set, bool) {
	if len(names) == 0 {
		names = []string{"scope", "scp", "scopes"}
	}
	none := identity.Set{}
	if len(claims) > maxBytes {
		return none, false
	}
	d := json.NewDecoder(strings.NewReader(claims))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return none, false
	}
	found := make(map[string]identity.Set)
	good := true
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return none, false
		}
		name := key.(string)
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return none, false
		}
		exact := slices.Contains(names, name)
		if !exact {
			// Folding alone makes them the same.
			good = good && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
			continue
		}
		if _, twice := found[name]; twice {
			good = false
		}
		var one string
		var all []*string
		switch {
		case bytes.Equal(value, []byte("null")):
			good = false
		case json.Unmarshal(value, &one) == nil:
			if one != "" && (!grammar.MatchString(one) || strings.Count(one, " ") >= maxScopes) {
				good = false
			}
			found[name] = identity.NewSet(strings.Fields(one)...)
		case json.Unmarshal(value, &all) == nil && len(all) <= maxScopes:
			var list []string
			for _, s := range all {
				if s == nil || !grammar.MatchString(*s) || strings.Contains(*s, " ") {
					good = false
					continue
				}
				list = append(list, *s)
			}
			found[name] = identity.NewSet(list...)
		default:
			good = false
		}
	}
	if _, err := d.Token(); err != nil {
		return none, false
	}
	if _, err := d.Token(); err != io.EOF {
		return none, false
	}
	scopes, first := none, true
	for _, s := range found {
		if !first && !s.Equal(scopes) {
			good = false
		}
		scopes, first = s, false
	}
	if !good {
		return none, false
	}
	return scopes, true
}

// FuzzCheck: who has a scope, or none that implies it, passes or does not as
// the words say, whatever they are.
func FuzzCheck(f *testing.F) {
	f.Add("users:read users:readall", "users:read")
	f.Add("*", "a")
	f.Add("A", "a")
	f.Add("", "")
	f.Add("write", "read")
	f.Fuzz(func(t *testing.T, granted, wanted string) {
		m := must(scopes.New(scopes.Config{Implies: map[string][]string{"write": {"read"}}}))
		have := strings.Split(granted, " ")
		err := m.Check(as(&identity.Principal{Scopes: identity.ParseSet(granted)}), wanted)
		want := wanted != "" && (slices.Contains(have, wanted) || wanted == "read" && slices.Contains(have, "write"))
		if (err == nil) != want {
			t.Fatalf("Check(%q) of %q: %v, want it to pass: %v", wanted, granted, err, want)
		}
		if err != nil && utf8.ValidString(wanted) && grammar.MatchString(wanted) && !strings.Contains(wanted, " ") {
			if d := denialOf(t, err); d.Status != 403 || !d.Challenges[0].Scope.Has(wanted) {
				t.Fatalf("%+v", d)
			}
		}
	})
}
