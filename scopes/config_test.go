package scopes_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	m, err := scopes.New(scopes.Config{
		Implies: map[string][]string{"a b": {"c", `d"`}, "": nil},
		ACR:     map[string]identity.Set{"strong": {}, "two words": identity.NewSet("pwd"), "": identity.NewSet("pwd")},
		Leeway:  -time.Second,
		Scheme:  "Bearer realm",
	})
	if m != nil || err == nil {
		t.Fatalf("New: %v, %v; want an error alone", m, err)
	}
	for _, want := range []string{
		`scopes: Config.Implies has the scope ""; use`,
		`scopes: Config.Implies has the scope "a b"; use`,
		`scopes: Config.Implies["a b"] has the scope "d\""; use`,
		`scopes: Config.ACR["strong"] is empty; add at least one factor`,
		`scopes: Config.ACR has the name "two words"; use`,
		`scopes: Config.ACR has the name ""; use`,
		`scopes: Config.Leeway is -1s; use 0 to 5m`,
		`scopes: Config.Scheme is "Bearer realm"; use`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "scopes: "); n != 8 {
		t.Errorf("%d mistakes, want 8:\n%v", n, err)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config scopes.Config
		want   string
	}{
		{"a leeway that is no leeway any more", scopes.Config{Leeway: 5*time.Minute + 1}, "use 0 to 5m"},
		{"a scheme that ends the line", scopes.Config{Scheme: "Bearer\r\nX"}, "Config.Scheme"},
		{"a scope that implies itself", scopes.Config{Implies: map[string][]string{"a": {"a"}}}, "cycle a → a;"},
		{"two scopes that imply each other", scopes.Config{Implies: map[string][]string{"admin": {"write"}, "write": {"admin"}}}, "cycle admin → write → admin;"},
		{
			"a circle behind an entrance, with its exit left out",
			scopes.Config{Implies: map[string][]string{"in": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a", "out"}, "out": {"end"}}},
			"cycle a → b → c → a;",
		},
		{
			"a circle behind an entrance whose name comes first",
			scopes.Config{Implies: map[string][]string{"0": {"a", "b"}, "a": {"b"}, "b": {"a"}}},
			"cycle a → b → a;",
		},
		{"a chain whose end is a million pairs away", scopes.Config{Implies: chain(1500)}, "more than 100000 pairs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := scopes.New(test.config)
			if m != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: %v, %v; want an error with %q", m, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "out") {
				t.Errorf("the error names what is not on the circle: %v", err)
			}
		})
	}
}

func TestNewNamesEveryCircle(t *testing.T) {
	_, err := scopes.New(scopes.Config{Implies: map[string][]string{"a": {"b"}, "b": {"a"}, "x": {"y"}, "y": {"x"}, "ok": {"a"}}})
	if err == nil || !strings.Contains(err.Error(), "a → b → a") || !strings.Contains(err.Error(), "x → y → x") ||
		strings.Count(err.Error(), "cycle") != 2 {
		t.Errorf("New: %v, want both circles, once each", err)
	}
}

// chain is of scopes of which each implies the next.
func chain(n int) map[string][]string {
	implies := make(map[string][]string)
	for i := range n {
		implies[fmt.Sprint("s", i)] = []string{fmt.Sprint("s", i+1)}
	}
	return implies
}

func TestNewTakesHierarchiesThatAreNone(t *testing.T) {
	for name, implies := range map[string]map[string][]string{
		"empty":                    {},
		"a scope without lesser":   {"a": {}, "b": nil},
		"a lesser scope twice":     {"a": {"b", "b"}},
		"a diamond":                {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}},
		"a long chain":             chain(400),
		"one above twenty hundred": {"admin": strings.Fields(strings.Repeat("x ", 10) + manyNames(2000))},
	} {
		if _, err := scopes.New(scopes.Config{Implies: implies}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// manyNames are n scopes of a list.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d ", i)
	}
	return strings.TrimSuffix(b.String(), " ")
}

func TestConfigIsCopied(t *testing.T) {
	implies := map[string][]string{"write": {"read"}}
	acr := map[string]identity.Set{"mfa": identity.NewSet("otp")}
	m := must(scopes.New(scopes.Config{Implies: implies, ACR: acr}))
	implies["write"][0] = "other"
	implies["other"] = []string{"read"}
	acr["mfa"] = identity.NewSet("pwd")

	p := as(&identity.Principal{Scopes: identity.NewSet("write"), Factors: identity.NewSet("pwd")})
	if err := m.Check(p, "read"); err != nil {
		t.Errorf("the hierarchy changed: %v", err)
	}
	if err := m.Check(as(&identity.Principal{Scopes: identity.NewSet("other")}), "read"); err == nil {
		t.Error("the hierarchy grew")
	}
	if err := m.CheckFresh(p, 0, "mfa"); err == nil {
		t.Error("the authentication context changed")
	}
}
