package rbac_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/rbac"
)

func TestMistakesInAPolicyAreErrorsThatNameThem(t *testing.T) {
	type roles = map[string]rbac.Role
	for _, test := range []struct {
		name   string
		policy rbac.Policy
		want   []string // each part of the error, line by line
	}{
		{"empty", rbac.Policy{}, []string{"Policy.Roles is empty; define at least one role"}},
		{"permissions but no roles", rbac.Policy{Permissions: []string{"a"}}, []string{"Policy.Roles is empty"}},
		{"a blank role name", rbac.Policy{Roles: roles{"": {}}}, []string{`Policy.Roles[""]: the name is empty`}},
		{"a role name with a space", rbac.Policy{Roles: roles{"the boss": {}}}, []string{`Policy.Roles["the boss"]: the name has the character ' '`}},
		{"a role name with a wildcard", rbac.Policy{Roles: roles{"team:*": {}}}, []string{`Policy.Roles["team:*"]: the name has a *; use wildcards in Allow and Deny only`}},
		{"a role name with a line break", rbac.Policy{Roles: roles{"a\nb": {}}}, []string{`has the character '\n'`}},
		{"a role name beyond ASCII", rbac.Policy{Roles: roles{"ädmin": {}}}, []string{`Policy.Roles["ädmin"]`}},
		{"a role name of 129 bytes", rbac.Policy{Roles: roles{strings.Repeat("r", 129): {}}}, []string{"the name has 129 bytes; use at most 128"}},
		{"role names that differ in case", rbac.Policy{Roles: roles{"admin": {}, "Admin": {}}}, []string{`Policy.Roles["admin"] differs from "Admin" in upper and lower case only`}},
		{"a blank permission", rbac.Policy{Permissions: []string{""}, Roles: roles{"a": {}}}, []string{`Policy.Permissions[0] is "": the name is empty`}},
		{"a permission with an empty segment", rbac.Policy{Permissions: []string{"users:"}, Roles: roles{"a": {}}}, []string{`Policy.Permissions[0] is "users:": the name has an empty segment`}},
		{"a permission with a wildcard", rbac.Policy{Permissions: []string{"users:*"}, Roles: roles{"a": {}}}, []string{`Policy.Permissions[0] is "users:*": the name has a *`}},
		{"a permission that is there twice", rbac.Policy{Permissions: []string{"x", "x"}, Roles: roles{"a": {}}}, []string{`Policy.Permissions[1] is "x", which is listed twice`}},
		{"a permission of the code that is there twice", rbac.Policy{Permissions: []string{"users:read", "users:read"}, Roles: roles{"a": {}}}, []string{`Policy.Permissions[1] is "users:read", which is listed twice`}},
		{"permissions that differ in case", rbac.Policy{Permissions: []string{"x", "X"}, Roles: roles{"a": {}}}, []string{`Policy.Permissions[1] is "X", which differs from "x" in upper and lower case only`}},
		{"a permission that differs from the code's in case", rbac.Policy{Permissions: []string{"Users:read"}, Roles: roles{"a": {}}}, []string{`is "Users:read", which differs from "users:read" in upper`}},
		{"an unknown parent", rbac.Policy{Roles: roles{"a": {Inherits: []string{"b"}}}}, []string{`Policy.Roles["a"].Inherits[0] is "b", which is not a role of the policy`}},
		{"a parent that is there twice", rbac.Policy{Roles: roles{"a": {Inherits: []string{"b", "b"}}, "b": {}}}, []string{`Policy.Roles["a"].Inherits[1] is "b", which is listed twice`}},
		{"an unknown permission in Allow", rbac.Policy{Roles: roles{"a": {Allow: []string{"users:raed"}}}}, []string{`Policy.Roles["a"].Allow[0] is "users:raed", which is not a declared permission`}},
		{"an unknown permission in Deny", rbac.Policy{Roles: roles{"a": {Deny: []string{"users:raed"}}}}, []string{`Policy.Roles["a"].Deny[0] is "users:raed", which is not a declared permission`}},
		{"a blank rule", rbac.Policy{Roles: roles{"a": {Allow: []string{""}}}}, []string{`Policy.Roles["a"].Allow[0] is "": the name is empty`}},
		{"a rule that is there twice", rbac.Policy{Roles: roles{"a": {Allow: []string{"users:read", "users:read"}}}}, []string{`Allow[1] is "users:read", which is listed twice`}},
		{"a wildcard that is there twice", rbac.Policy{Roles: roles{"a": {Deny: []string{"*", "*"}}}}, []string{`Deny[1] is "*", which is listed twice`}},
		{"a wildcard for nothing in Allow", rbac.Policy{Roles: roles{"a": {Allow: []string{"usres:*"}}}}, []string{`Policy.Roles["a"].Allow[0] is "usres:*", which matches no declared permission`}},
		{"a wildcard for nothing in Deny", rbac.Policy{Roles: roles{"a": {Deny: []string{"*:raed"}}}}, []string{`Policy.Roles["a"].Deny[0] is "*:raed", which matches no declared permission`}},
		{"a wildcard beneath a name without segments", rbac.Policy{Roles: roles{"a": {Allow: []string{"users:read:*"}}}}, []string{`which matches no declared permission`}},
		{"a wildcard beside characters", rbac.Policy{Roles: roles{"a": {Allow: []string{"users:re*"}}}}, []string{`Allow[0] is "users:re*": the name has a * beside other characters`}},
		{"two stars", rbac.Policy{Roles: roles{"a": {Allow: []string{"users:**"}}}}, []string{`has a * beside other characters`}},
		{"a role that inherits itself", rbac.Policy{Roles: roles{"a": {Inherits: []string{"a"}}}}, []string{"Policy.Roles has a cycle of inheritance: a → a"}},
		{"a cycle of three", rbac.Policy{Roles: roles{
			"top": {Inherits: []string{"c"}}, "c": {Inherits: []string{"a"}}, "a": {Inherits: []string{"b"}}, "b": {Inherits: []string{"c"}},
		}}, []string{"Policy.Roles has a cycle of inheritance: a → b → c → a"}},
		{"everything at once", rbac.Policy{Roles: roles{
			"a": {Inherits: []string{"nobody"}, Allow: []string{"nothing", "none:*"}},
			"b": {Inherits: []string{"b"}},
			"c": {Deny: []string{"*x"}},
		}}, []string{
			`Policy.Roles["a"].Allow[0] is "nothing"`,
			`Policy.Roles["a"].Allow[1] is "none:*"`,
			`Policy.Roles["a"].Inherits[0] is "nobody"`,
			`Policy.Roles["c"].Deny[0] is "*x"`,
			"cycle of inheritance: b → b",
		}},
		{"all that is wrong with names at once", rbac.Policy{Permissions: []string{"a b", "x", "x"}, Roles: roles{"": {}, "*": {}}}, []string{
			`Policy.Permissions[0] is "a b"`, `Policy.Permissions[2] is "x"`, `Policy.Roles[""]`, `Policy.Roles["*"]`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newApp()
			e, err := rbac.New(test.policy, rbac.Config{Permissions: &a.perms})
			if err == nil || e != nil {
				t.Fatalf("New returned %v, %v, want an error and no Engine", e, err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(lines), len(test.want), err)
			}
			for i, line := range lines {
				contains(t, line, "rbac: ", test.want[i])
			}
		})
	}
}

func TestAPolicyHasBounds(t *testing.T) {
	roles := func(n int) map[string]rbac.Role {
		m := make(map[string]rbac.Role)
		for i := range n {
			m[fmt.Sprint("role-", i)] = rbac.Role{}
		}
		return m
	}
	permissions := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("%d:x", i))
		}
		return names
	}
	wildcards := func(n int) (rules []string) {
		for i := range n {
			rules = append(rules, fmt.Sprintf("%d:*", i))
		}
		return rules
	}
	for _, test := range []struct {
		name   string
		policy rbac.Policy
		want   string
	}{
		{"4096 roles", rbac.Policy{Roles: roles(4096)}, ""},
		{"4097 roles", rbac.Policy{Roles: roles(4097)}, "Policy.Roles has 4097 roles; use at most 4096"},
		{"16384 permissions", rbac.Policy{Permissions: permissions(16384), Roles: roles(1)}, ""},
		{"16385 permissions", rbac.Policy{Permissions: permissions(16385), Roles: roles(1)}, "Policy.Permissions makes 16385 with Config.Permissions; use at most 16384"},
		{"4096 wildcards", rbac.Policy{Permissions: permissions(4096), Roles: map[string]rbac.Role{"r": {Allow: wildcards(4096)}}}, ""},
		{"4099 wildcards", rbac.Policy{Permissions: permissions(4099), Roles: map[string]rbac.Role{"r": {Allow: wildcards(4099)}}}, "more than 4096 different wildcards"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.policy.Listing(nil)
			if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestAWildcardStandsForWholeSegments(t *testing.T) {
	names := []string{"users:read", "users:read:own", "users", "usersx:read", "posts:read", "posts:read:all", "posts:x:all"}
	for _, test := range []struct{ rule, want string }{
		{"*", "posts:read posts:read:all posts:x:all users users:read users:read:own usersx:read"},
		{"users:*", "users:read users:read:own"},
		{"*:read", "posts:read users:read usersx:read"},
		{"*:*", "posts:read posts:read:all posts:x:all users:read users:read:own usersx:read"},
		{"*:read:*", "posts:read:all users:read:own"},
		{"posts:*:all", "posts:read:all posts:x:all"},
		{"*:*:all", "posts:read:all posts:x:all"},
		{"users", "users"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			l := must(rbac.Policy{Permissions: names, Roles: map[string]rbac.Role{"r": {Allow: []string{test.rule}}}}.Listing(nil))(t)
			if got := strings.Join(l.May("r"), " "); got != test.want {
				t.Errorf("stands for %q, want %q", got, test.want)
			}
		})
	}
}

func TestMistakesAreToldUpToAHundred(t *testing.T) {
	everything := rbac.Policy{Roles: map[string]rbac.Role{}}
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprint("role-", i))
	}
	for _, name := range names {
		everything.Roles[name] = rbac.Role{Inherits: names}
	}
	var unknown []string
	for i := range 150 {
		unknown = append(unknown, fmt.Sprint("unknown-", i))
	}
	for _, test := range []struct {
		name   string
		policy rbac.Policy
		lines  int
	}{
		{"cycles", everything, 101},
		{"100 unknown permissions", rbac.Policy{Roles: map[string]rbac.Role{"r": {Allow: unknown[:100]}}}, 100},
		{"101 unknown permissions", rbac.Policy{Roles: map[string]rbac.Role{"r": {Allow: unknown[:101]}}}, 101},
		{"150 unknown permissions", rbac.Policy{Roles: map[string]rbac.Role{"r": {Allow: unknown}}}, 101},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.policy.Listing(nil)
			lines := strings.Split(fmt.Sprint(err), "\n")
			if more := lines[len(lines)-1] == "rbac: Policy has more mistakes than these"; len(lines) != test.lines || more != (test.lines == 101) {
				t.Errorf("%d lines, want %d; the last is %.200s", len(lines), test.lines, lines[len(lines)-1])
			}
		})
	}
}

func TestWildcardsAgreeWithRegularExpressions(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	name := func(alphabet []string) string {
		segments := make([]string, 1+random.IntN(4))
		for i := range segments {
			segments[i] = alphabet[random.IntN(len(alphabet))]
		}
		return strings.Join(segments, ":")
	}
	stood := 0
	for range 5000 {
		rule := name([]string{"a", "b", "*", "*"})
		var names []string
		for range 12 {
			if n := name([]string{"a", "b", "ab"}); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		slices.Sort(names)
		want := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !regexpOf(rule).MatchString(n) })
		l, err := rbac.Policy{Permissions: names, Roles: map[string]rbac.Role{"r": {Allow: []string{rule}}}}.Listing(nil)
		if (err == nil) != (len(want) > 0) {
			t.Fatalf("%s among %v: %v, want %v", rule, names, err, want)
		}
		if err == nil && !slices.Equal(l.May("r"), want) {
			t.Fatalf("%s among %v stands for %v, want %v", rule, names, l.May("r"), want)
		}
		stood += len(want)
	}
	if stood < 5000 {
		t.Errorf("only %d matches: too few to prove much", stood)
	}
}

func TestParsePolicyReadsWhatIsDocumented(t *testing.T) {
	p, err := rbac.ParsePolicy([]byte(`{
		"permissions": ["users:read", "users:write"],
		"roles": {
			"user": {"allow": ["users:read"]},
			"admin": {"inherits": ["user"], "allow": ["*"], "deny": ["users:wri\u0074e"]},
			"nobody": {}
		}
	}`))
	want := rbac.Policy{
		Permissions: []string{"users:read", "users:write"},
		Roles: map[string]rbac.Role{
			"user":   {Allow: []string{"users:read"}},
			"admin":  {Inherits: []string{"user"}, Allow: []string{"*"}, Deny: []string{"users:write"}},
			"nobody": {},
		},
	}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Fatalf("read %+v, %v", p, err)
	}
	printed, err := json.Marshal(p)
	if want := `{"permissions":["users:read","users:write"],"roles":{"admin":{"inherits":["user"],"allow":["*"],"deny":["users:write"]},"nobody":{},"user":{"allow":["users:read"]}}}`; err != nil || string(printed) != want {
		t.Errorf("printed %s, %v", printed, err)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"nothing", ``, "unexpected EOF"},
		{"null", `null`, "found <nil> instead of {"},
		{"an array", `[]`, "found [ instead of {"},
		{"no JSON", `roles: {}`, "invalid character"},
		{"half of it", `{"roles":{"a":{}`, "EOF"},
		{"half of a list", `{"permissions":["a"`, "EOF"},
		{"a byte order mark", "\ufeff{}", "invalid character"},
		{"an unknown member", `{"rolls":{}}`, `unknown member "rolls"`},
		{"an unknown member of a role", `{"roles":{"a":{"allows":[]}}}`, `unknown member "allows"`},
		{"a member in upper case", `{"Roles":{}}`, `unknown member "Roles"`},
		{"a member of a role in upper case", `{"roles":{"a":{"DENY":[]}}}`, `unknown member "DENY"`},
		{"a member with a letter that folds", `{"role\u017f":{}}`, "unknown member"},
		{"a member that is there twice", `{"roles":{"a":{}},"roles":{"b":{}}}`, `the member "roles" is repeated`},
		{"a member that is there twice by an escape", `{"roles":{"a":{}},"r\u006fles":{"b":{}}}`, `the member "roles" is repeated`},
		{"a member of a role that is there twice", `{"roles":{"a":{"deny":["x"],"deny":[]}}}`, `the member "deny" is repeated`},
		{"a role that is there twice", `{"roles":{"a":{},"a":{}}}`, `the member "a" is repeated`},
		{"a role that is there twice in other case", `{"roles":{"a":{},"A":{}}}`, `the member "A" is repeated`},
		{"another value after it", `{"roles":{"a":{}}} {}`, "trailing data after the policy"},
		{"a bracket after it", `{"roles":{"a":{}}}}`, "trailing data after the policy"},
		{"roles that are null", `{"roles":null}`, "found <nil> instead of {"},
		{"a role that is null", `{"roles":{"a":null}}`, "found <nil> instead of {"},
		{"a list that is null", `{"roles":{"a":{"deny":null}}}`, "found <nil> instead of ["},
		{"a list that is a string", `{"roles":{"a":{"deny":"*"}}}`, "found * instead of ["},
		{"a name that is a number", `{"roles":{"a":{"deny":[1]}}}`, "found 1 instead of a string"},
		{"a name that is null", `{"permissions":[null]}`, "found <nil> instead of a string"},
		{"a name that is a list", `{"permissions":[["a"]]}`, "found [ instead of a string"},
		{"deep nesting", `{"permissions":` + strings.Repeat("[", 100_000), "found [ instead of a string"},
		{"deep nesting of objects", `{"roles":` + strings.Repeat(`{"a":`, 100_000), `unknown member "a"`},
		{"a trailing comma", `{"permissions":["a",]}`, "invalid character"},
		{"a missing comma", `{"permissions":["a" "b"]}`, "invalid character"},
		{"a wildcard as a permission", `{"permissions":["a:*"]}`, `the name "a:*" has a *`},
		{"a wildcard as a parent", `{"roles":{"a":{"inherits":["*"]}}}`, `the name "*" has a *`},
		{"a role with a blank name", `{"roles":{"":{}}}`, `the name "" of a role is empty`},
		{"a name with a space", `{"roles":{"a":{"allow":["a b"]}}}`, `the name "a b" has the character ' '`},
		{"a name that is not UTF-8", "{\"permissions\":[\"\xff\"]}", "has the character"},
		{"half a surrogate pair", `{"permissions":["\ud800"]}`, "has the character"},
		{"a megabyte and a byte", `{"permissions":["` + strings.Repeat("a", 1<<20) + `"]}`, "bytes; use at most 1048576"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := rbac.ParsePolicy([]byte(test.data))
			if err == nil {
				t.Fatalf("read %+v", p)
			}
			contains(t, err.Error(), "rbac: the JSON of the policy", test.want)
			if !reflect.DeepEqual(p, rbac.Policy{}) {
				t.Errorf("half a policy came with the error: %+v", p)
			}
		})
	}
}

func TestAPolicyWithinOtherJSONIsReadAsStrictly(t *testing.T) {
	var config struct{ Policy rbac.Policy }
	if err := json.Unmarshal([]byte(`{"Policy":{"roles":{"a":{}}}}`), &config); err != nil || len(config.Policy.Roles) != 1 {
		t.Errorf("read %+v, %v", config, err)
	}
	if err := json.Unmarshal([]byte(`{"Policy":{"roles":{"a":{}},"ROLES":{}}}`), &config); err == nil {
		t.Errorf("read %+v", config)
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"roles":{}}`, `{"permissions":[],"roles":{"a":{"allow":[]}}}`,
		`{"permissions":["a:b"],"roles":{"a":{"inherits":["b"],"allow":["*"],"deny":["a:*"]},"b":{}}}`,
		`{"roles":{"a":{},"A":{}}}`, `{"roles":{"\u0061":{}}}`, `{"roles":{"a":{}}} x`, `{"Roles":{}}`, `{"roles":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := rbac.ParsePolicy(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("read what is not JSON: %q", data)
		}
		printed, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := rbac.ParsePolicy(printed)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%q was read as %+v, printed as %s and read again as %+v, %v", data, p, printed, again, err)
		}
		// The lenient reader of the standard library, where this one agrees
		// to read at all, reads the same.
		var lenient struct {
			Permissions []string
			Roles       map[string]rbac.Role
		}
		if err := json.Unmarshal(data, &lenient); err != nil {
			t.Fatal(err)
		}
		if len(lenient.Permissions) != len(p.Permissions) || len(lenient.Roles) != len(p.Roles) {
			t.Fatalf("read %+v, encoding/json %+v", p, lenient)
		}
		// Whatever it says, it compiles or is refused.
		if _, err := p.Listing(nil); err != nil {
			contains(t, err.Error(), "rbac: Policy.")
		}
	})
}
