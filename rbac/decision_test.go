package rbac_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

func TestDecisions(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	for _, test := range []struct {
		name       string
		roles      string
		permission rbac.Permission
		want       bool
	}{
		{"no role", "", a.read, false},
		{"a role that allows it", "user", a.read, true},
		{"a role that does not", "user", a.write, false},
		{"an inherited role allows it", "moderator", a.read, true},
		{"a role inherited by an inherited one allows it", "admin", a.read, true},
		{"a wildcard allows it", "admin", a.remove, true},
		{"an inherited wildcard allows it", "admin", a.edit, true},
		{"everything is allowed", "root", a.edit, true},
		{"an heir's permission does not flow upwards", "user", a.edit, false},
		{"one of two roles allows it", "moderator admin", a.remove, true},
		{"a denial beats what is inherited", "auditor", a.remove, false},
		{"a denial by wildcard beats what is inherited", "auditor", a.write, false},
		{"a denial by wildcard beats what is inherited twice", "auditor", a.post, false},
		{"what is not denied stays", "auditor", a.read, true},
		{"a denial beats another role", "admin auditor", a.remove, false},
		{"a denial beats another role that allows everything", "auditor root", a.write, false},
		{"a role that denies everything beats root", "root suspended", a.read, false},
		{"an unknown role grants nothing", "superuser", a.read, false},
		{"an unknown role takes nothing", "superuser user", a.read, true},
		{"a role in other case is unknown", "Admin", a.remove, false},
		{"a wildcard as a role is unknown", "*", a.read, false},
		{"a permission as a role is unknown", "users:read", a.read, false},
		{"a prefix of a role is unknown", "adm", a.remove, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := caller(strings.Fields(test.roles)...)
			for range 2 { // the second time from memory
				if got := e.Can(t.Context(), p, test.permission); got != test.want {
					t.Errorf("Can is %v, want %v", got, test.want)
				}
				if err := e.Check(as(p), test.permission); (err == nil) != test.want {
					t.Errorf("Check returns %v", err)
				}
			}
		})
	}
}

func TestCheckIsAllOfAndCheckAnyOneOf(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	for _, test := range []struct {
		name        string
		roles       string
		permissions []rbac.Permission
		all, any    bool
	}{
		{"both", "admin", []rbac.Permission{a.read, a.remove}, true, true},
		{"the first", "user", []rbac.Permission{a.read, a.remove}, false, true},
		{"the last", "user", []rbac.Permission{a.remove, a.read}, false, true},
		{"neither", "user", []rbac.Permission{a.remove, a.write}, false, false},
		{"one each from two roles", "admin moderator", []rbac.Permission{a.edit, a.remove}, true, true},
		{"none asked for", "root", nil, false, false},
		{"one that is not of this engine beside one that is", "root", []rbac.Permission{a.read, {}}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := as(caller(strings.Fields(test.roles)...))
			if err := e.Check(ctx, test.permissions...); (err == nil) != test.all {
				t.Errorf("Check returns %v, want all of them %v", err, test.all)
			}
			if err := e.CheckAny(ctx, test.permissions...); (err == nil) != test.any {
				t.Errorf("CheckAny returns %v, want any of them %v", err, test.any)
			}
		})
	}
}

// A host that asks for nothing has made a mistake, which is no verdict on the
// caller. Who is nobody is told that first.
func TestAskedForNothing(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	for name, check := range map[string]func(ctx context.Context) error{
		"Check":     func(ctx context.Context) error { return e.Check(ctx) },
		"CheckAny":  func(ctx context.Context) error { return e.CheckAny(ctx) },
		"CheckRole": func(ctx context.Context) error { return e.CheckRole(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			err := check(as(caller("root")))
			if _, denied := errors.AsType[*guard.Denial](err); err == nil || denied {
				t.Errorf("%v, want an error that is no Denial", err)
			} else {
				contains(t, err.Error(), "rbac: no ", " to check; pass at least one")
			}
			refused := guard.Hooks{}.Require(func(r *http.Request) error { return check(r.Context()) })
			ask(caller("root"), refused).is(t, 503)
			ask(nil, refused).is(t, 401)
		})
	}
}

func TestRolesAreCountedAndNotCut(t *testing.T) {
	a := newApp()
	var heard audit
	e := a.engine(t, rbac.Config{Hooks: heard.hooks()})
	many := func(n int, roles ...string) *identity.Principal {
		for i := range n - len(roles) {
			roles = append(roles, fmt.Sprint("group-", i))
		}
		return caller(roles...)
	}
	for _, test := range []struct {
		name   string
		p      *identity.Principal
		status int
	}{
		{"16 with one that allows", many(16, "user"), 204},
		{"17 with one that allows", many(17, "user"), 204},
		{"256 with one that allows", many(256, "user"), 204},
		{"257 with one that allows", many(257, "user"), 403},
		{"1000 with one that allows", many(1000, "root"), 403},
		{"256 with the last that denies", many(256, "root", "suspended"), 403},
		{"1000 unknown", many(1000), 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ask(test.p, e.Require(a.read))
			got.is(t, test.status)
			if test.p.Roles.Len() > 256 {
				contains(t, heard.last(), "more than 256 roles")
			}
			if got.status == 403 && got.body != forbidden {
				t.Errorf("body %s", got.body)
			}
		})
	}
}

func TestTheReasonNamesUnknownRoles(t *testing.T) {
	a := newApp()
	for _, test := range []struct {
		roles []string
		want  string
	}{
		{[]string{"user"}, `rbac: "ada" has no role that allows "users:delete"`},
		{nil, `rbac: "ada" has no role that allows "users:delete"`},
		{[]string{"user", "admn"}, `rbac: "ada" has no role that allows "users:delete"; the policy does not have 1 of the 2 roles: "admn"`},
		{[]string{"admin", "suspended"}, `rbac: "ada" has a role that denies "users:delete"`},
		{[]string{"e", "d", "c", "b\nx", "a"}, `rbac: "ada" has no role that allows "users:delete"; the policy does not have 5 of the 5 roles: "a", "b\nx", "c", …`},
		{[]string{"x", "y", "z"}, `rbac: "ada" has no role that allows "users:delete"; the policy does not have 3 of the 3 roles: "x", "y", "z"`},
		{[]string{strings.Repeat("x", 64)}, `rbac: "ada" has no role that allows "users:delete"; the policy does not have 1 of the 1 roles: "` + strings.Repeat("x", 64) + `"`},
		{[]string{strings.Repeat("x", 65)}, `rbac: "ada" has no role that allows "users:delete"; the policy does not have 1 of the 1 roles: "` + strings.Repeat("x", 64) + `"…`},
		{[]string{strings.Repeat("x", 1000)}, `rbac: "ada" has no role that allows "users:delete"; the policy does not have 1 of the 1 roles: "` + strings.Repeat("x", 64) + `"…`},
	} {
		var heard audit
		e := a.engine(t, rbac.Config{Hooks: heard.hooks()})
		got := ask(caller(test.roles...), e.Require(a.remove))
		got.is(t, 403)
		if got.body != forbidden {
			t.Errorf("the body tells more than it should: %s", got.body)
		}
		if heard.last() != test.want {
			t.Errorf("reason %s\nwant   %s", heard.last(), test.want)
		}
		if name := heard.events[0].Name; name != guard.EventAuthzFail {
			t.Errorf("event %s, want %s", name, guard.EventAuthzFail)
		}
	}
}

// naive decides by reading the policy anew each time, with a regular
// expression for each rule.
type naive struct {
	policy  rbac.Policy
	matched map[[2]string]bool
}

// regexpOf says what a rule stands for in other words.
func regexpOf(rule string) *regexp.Regexp {
	segments := strings.Split(rule, ":")
	for i, s := range segments {
		switch {
		case s == "*" && i == len(segments)-1:
			segments[i] = ".+"
		case s == "*":
			segments[i] = "[^:]+"
		default:
			segments[i] = regexp.QuoteMeta(s)
		}
	}
	return regexp.MustCompile("^" + strings.Join(segments, ":") + "$")
}

func (n *naive) matches(rules []string, permission string) bool {
	return slices.ContainsFunc(rules, func(rule string) bool {
		matched, known := n.matched[[2]string{rule, permission}]
		if !known {
			matched = regexpOf(rule).MatchString(permission)
			n.matched[[2]string{rule, permission}] = matched
		}
		return matched
	})
}

// asks walks through a role and all that it inherits, by every path.
func (n *naive) asks(role, permission string) (allowed, denied bool) {
	r := n.policy.Roles[role]
	allowed, denied = n.matches(r.Allow, permission), n.matches(r.Deny, permission)
	for _, parent := range r.Inherits {
		a, d := n.asks(parent, permission)
		allowed, denied = allowed || a, denied || d
	}
	return allowed, denied
}

func (n *naive) can(roles []string, permission string) bool {
	var allowed, denied bool
	for _, role := range roles {
		a, d := n.asks(role, permission)
		allowed, denied = allowed || a, denied || d
	}
	return allowed && !denied
}

// randomPolicy returns a policy of up to 12 roles about some permissions of
// the code and some of its own. Parents come earlier, so there is no cycle.
func randomPolicy(random *rand.Rand, code, own []string) rbac.Policy {
	names := slices.Concat(code, own)
	rules := []string{"*", "*:read", "*:*", "a:*", "b:*", "*:*:x", "*:read:*"}
	rules = slices.DeleteFunc(rules, func(rule string) bool {
		return !slices.ContainsFunc(names, regexpOf(rule).MatchString)
	})
	some := func(from []string, most int) []string {
		var list []string
		for range random.IntN(most + 1) {
			if len(from) == 0 {
				break
			}
			if name := from[random.IntN(len(from))]; !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		return list
	}
	p := rbac.Policy{Permissions: own, Roles: map[string]rbac.Role{}}
	var roles []string
	for i := range 1 + random.IntN(12) {
		r := rbac.Role{Inherits: some(roles, 2), Allow: some(names, 4)}
		if random.IntN(4) == 0 {
			r.Allow = append(r.Allow, some(rules, 1)...)
		}
		if random.IntN(3) == 0 {
			r.Deny = some(names, 2)
		}
		if random.IntN(10) == 0 {
			r.Deny = append(r.Deny, some(rules, 1)...)
		}
		name := fmt.Sprint("role-", i)
		p.Roles[name] = r
		roles = append(roles, name)
	}
	return p
}

var (
	codeNames = []string{"a:read", "a:write", "b:read", "b:write", "c:read:x", "c:write:x"}
	ownNames  = []string{"a:delete", "b:read:y", "d", "a:read:x"}
)

func TestAMillionDecisionsAgreeWithANaiveEvaluator(t *testing.T) {
	const policies, decisions = 500, 2000
	random := rand.New(rand.NewPCG(1, 2))
	var perms rbac.Registry
	var code []rbac.Permission
	for _, name := range codeNames {
		code = append(code, perms.Permission(name))
	}
	granted := 0
	for i := range policies {
		policy := randomPolicy(random, codeNames, ownNames[:random.IntN(len(ownNames)+1)])
		if i%2 == 0 { // by way of JSON
			printed := must(json.Marshal(policy))(t)
			policy = must(rbac.ParsePolicy(printed))(t)
		}
		e, err := rbac.New(policy, rbac.Config{Permissions: &perms})
		if err != nil {
			t.Fatalf("%+v: %v", policy, err)
		}
		all := slices.Clone(code)
		for _, name := range policy.Permissions {
			all = append(all, must(e.Permission(name))(t))
		}
		want := &naive{policy, make(map[[2]string]bool)}
		for d := 0; d < decisions; {
			// Any roles, one of them now and then unknown.
			var roles []string
			for range random.IntN(5) {
				roles = append(roles, fmt.Sprint("role-", random.IntN(len(policy.Roles)+1)))
			}
			p := caller(roles...)
			for range 20 {
				permission := all[random.IntN(len(all))]
				expected := want.can(roles, permission.String())
				if got := e.Can(t.Context(), p, permission); got != expected {
					t.Fatalf("%v can %s: %v, want %v by\n%+v", roles, permission, got, expected, policy)
				}
				if expected {
					granted++
				}
				d++
			}
		}
	}
	if part := float64(granted) / (policies * decisions); part < 0.1 || part > 0.9 {
		t.Errorf("%.2f of the decisions are yes: too uniform to prove much", part)
	}
}

func TestADecisionAllocatesNothing(t *testing.T) {
	e, all := large(t, rbac.Config{})
	ctx, p := t.Context(), employee()
	p.Roles = p.Roles.With("unknown")
	for _, who := range []*identity.Principal{employee(), p} {
		if n := testing.AllocsPerRun(100, func() { e.Can(ctx, who, all[425]) }); n != 0 {
			t.Errorf("%v allocations for roles %s, want none", n, who.Roles)
		}
	}
}

// What is remembered takes memory, so it is only sets that are small and the
// policy's own: those of a stranger's making leave nothing behind.
func TestSetsThatAreLargeOrUnknownAreNotRemembered(t *testing.T) {
	e, all := large(t, rbac.Config{})
	for name, roles := range map[string]func(i int) []string{
		"more than 16 roles": func(i int) (roles []string) {
			for n := range 17 {
				roles = append(roles, fmt.Sprintf("role-%02d", (i+n)%100))
			}
			return roles
		},
		"an unknown role": func(i int) []string { return []string{"role-42", fmt.Sprint("unknown-", i)} },
	} {
		t.Run(name, func(t *testing.T) {
			var callers []*identity.Principal
			for i := range 101 { // each once, and one to warm up with
				callers = append(callers, caller(roles(i)...))
			}
			i := 0
			if n := testing.AllocsPerRun(100, func() { e.Can(t.Context(), callers[i], all[425]); i++ }); n != 0 {
				t.Errorf("%v allocations a set, want none", n)
			}
		})
	}
}

// The names in a principal are often parts of a whole token, which must not
// stay in memory for them.
func TestWhatIsRememberedKeepsNothingElseInMemory(t *testing.T) {
	e, all := large(t, rbac.Config{})
	before := heap()
	for i := range 32 {
		token := strings.Repeat("x", 1<<20) + fmt.Sprintf("role-%02d", i)
		e.Can(t.Context(), caller(token[1<<20:]), all[425])
	}
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("%d MB stay in memory after 32 tokens of one each", grown>>20)
	}
	runtime.KeepAlive(e)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one found in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
