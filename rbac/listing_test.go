package rbac_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

func TestListing(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	l := e.Listing()
	if got, want := strings.Join(l.Roles(), " "), "admin auditor moderator root suspended user"; got != want {
		t.Errorf("roles %q, want %q", got, want)
	}
	if got, want := strings.Join(l.Permissions(), " "), "posts:edit posts:write users:delete users:read users:write"; got != want {
		t.Errorf("permissions %q, want %q", got, want)
	}
	for role, want := range map[string]string{
		"user":      "posts:write users:read",
		"admin":     "posts:edit posts:write users:delete users:read users:write",
		"auditor":   "posts:edit users:read",
		"suspended": "",
		"unknown":   "",
	} {
		if got := strings.Join(l.May(role), " "); got != want {
			t.Errorf("%s may %q, want %q", role, got, want)
		}
	}
	for permission, want := range map[string]string{
		"users:delete": "admin root",
		"users:read":   "admin auditor moderator root user",
		"unknown":      "",
	} {
		if got := strings.Join(l.Who(permission), " "); got != want {
			t.Errorf("%s is for %q, want %q", permission, got, want)
		}
	}
	want := `
              admin  auditor  moderator  root  suspended  user
posts:edit    x      x        x          x     !
posts:write   x      !        x          x     !          x
users:delete  x      !                   x     !
users:read    x      x        x          x     !          x
users:write   x      !                   x     !
`
	if got := "\n" + l.String(); got != want {
		t.Errorf("the table is%swant%s", got, want)
	}
	for _, test := range []struct{ role, permission, want string }{
		{"user", "users:read", `user allows "users:read"`},
		{"auditor", "users:read", `auditor → admin allows "users:*"`},
		{"auditor", "posts:edit", `auditor → admin → moderator allows "posts:*"`},
		{"auditor", "users:delete", `auditor denies "users:delete"`},
		{"auditor", "posts:write", `auditor denies "*:write"`},
		{"user", "users:write", "nothing allows it"},
		{"nobody", "users:write", "unknown"},
		{"user", "users:*", "unknown"},
	} {
		if got := l.Why(test.role, test.permission).String(); got != test.want {
			t.Errorf("why %s %s: %s, want %s", test.role, test.permission, got, test.want)
		}
	}

	// It is of one policy, and nobody's to change.
	l.Roles()[0], l.Permissions()[0] = "x", "y"
	if err := e.Reload(rbac.Policy{Roles: map[string]rbac.Role{"user": {}}}); err != nil {
		t.Fatal(err)
	}
	if got := "\n" + l.String(); got != want {
		t.Errorf("the table has become%s", got)
	}
}

func TestTheReasonIsTheNearestRule(t *testing.T) {
	l := must(rbac.Policy{Permissions: []string{"x"}, Roles: map[string]rbac.Role{
		"root": {Inherits: []string{"a"}},
		"a":    {Inherits: []string{"b", "far"}},
		"b":    {Inherits: []string{"far"}},
		"far":  {Allow: []string{"x"}},
	}}.Listing(nil))(t)
	if got, want := l.Why("root", "x").String(), `root → a → far allows "x"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A ladder has so many paths that nothing may walk along each of them.
func TestALadderOfRolesIsNoWork(t *testing.T) {
	policy := rbac.Policy{Permissions: []string{"x", "y"}, Roles: map[string]rbac.Role{
		"left-0":  {Deny: []string{"y"}},
		"right-0": {Allow: []string{"*"}},
	}}
	for i := 1; i <= 100; i++ {
		r := rbac.Role{Inherits: []string{fmt.Sprint("left-", i-1), fmt.Sprint("right-", i-1)}}
		policy.Roles[fmt.Sprint("left-", i)] = r
		policy.Roles[fmt.Sprint("right-", i)] = r
	}
	l := must(policy.Listing(nil))(t)
	if w := l.Why("left-100", "x"); len(w.Path) != 101 || w.Rule != "*" {
		t.Errorf("the reason is %s", w)
	}
	if w := l.Why("right-100", "y"); w.Verdict != rbac.Denied || len(w.Path) != 101 {
		t.Errorf("the reason is %s", w)
	}
}

func TestDiff(t *testing.T) {
	a := newApp()
	before := must(appPolicy().Listing(&a.perms))(t)
	next := appPolicy()
	next.Permissions = []string{"reports:print"}
	next.Roles["user"] = rbac.Role{Allow: []string{"users:read"}}
	next.Roles["suspended"] = rbac.Role{Deny: []string{"users:*", "posts:*"}}
	next.Roles["intern"] = rbac.Role{Inherits: []string{"user"}, Deny: []string{"users:delete"}}
	delete(next.Roles, "auditor")
	after := must(next.Listing(&a.perms))(t)
	got := before.Diff(after).String()
	want := `! reports:print: declared; before, not declared
- auditor posts:edit: unknown; before, auditor → admin → moderator allows "posts:*"
! auditor posts:write: unknown; before, auditor denies "*:write"
! auditor users:delete: unknown; before, auditor denies "users:delete"
- auditor users:read: unknown; before, auditor → admin allows "users:*"
! auditor users:write: unknown; before, auditor denies "*:write"
! intern users:delete: intern denies "users:delete"; before, unknown
+ intern users:read: intern → user allows "users:read"; before, unknown
+ root reports:print: root allows "*"; before, unknown
- user posts:write: nothing allows it; before, user allows "posts:write"
`
	if got != want {
		t.Errorf("the difference is\n%swant\n%s", got, want)
	}
	if same := before.Diff(must(appPolicy().Listing(&a.perms))(t)); len(same) != 0 || same.String() != "" {
		t.Errorf("a policy differs from itself:\n%v", same)
	}
	// The same in other words.
	spelled := appPolicy()
	spelled.Roles["admin"] = rbac.Role{Inherits: []string{"user"}, Allow: []string{"*:delete", "users:write", "posts:edit"}}
	if same := before.Diff(must(spelled.Listing(&a.perms))(t)); len(same) != 0 {
		t.Errorf("the same in other words differs:\n%v", same)
	}
}

func TestDiffHasPermissionsThatOnlyOnePolicyDeclares(t *testing.T) {
	policy := func(permissions ...string) rbac.Policy {
		return rbac.Policy{Permissions: permissions, Roles: map[string]rbac.Role{"user": {Allow: []string{"x"}}}}
	}
	one, two := policy("x"), policy("x", "y")
	less, more := must(one.Listing(nil))(t), must(two.Listing(nil))(t)
	if got, want := more.Diff(less).String(), "! y: not declared; before, declared\n"; got != want {
		t.Errorf("a dropped permission is %q, want %q", got, want)
	}
	if got, want := less.Diff(more).String(), "! y: declared; before, not declared\n"; got != want {
		t.Errorf("a new permission is %q, want %q", got, want)
	}

	// The difference is real: owners have declared permissions only.
	e := must(rbac.New(two, rbac.Config{}))(t)
	y := must(e.Permission("y"))(t)
	ctx := identity.NewContext(t.Context(), &identity.Principal{Subject: "ada", Roles: identity.NewSet("user")})
	if _, err := e.Rows(ctx, y); err != nil {
		t.Errorf("an owner is refused what the policy declares: %v", err)
	}
	if err := e.Reload(one); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Rows(ctx, y); err == nil {
		t.Error("an owner has what the policy does not declare")
	}
}

// proves reports whether the witness is a reason for the verdict that the
// policy itself has.
func proves(n *naive, role, permission string, w rbac.Witness) bool {
	allowed, denied := n.asks(role, permission)
	_, known := n.policy.Roles[role]
	known = known && (slices.Contains(codeNames, permission) || slices.Contains(n.policy.Permissions, permission))
	var rules []string
	switch {
	case !known:
		return w.Verdict == rbac.Unknown && w.Path == nil && w.Rule == ""
	case !allowed && !denied:
		return w.Verdict == rbac.Unallowed && w.Path == nil && w.Rule == ""
	case len(w.Path) == 0 || w.Path[0] != role:
		return false
	}
	last := n.policy.Roles[w.Path[len(w.Path)-1]]
	if denied {
		rules = last.Deny
	} else {
		rules = last.Allow
	}
	for i := range len(w.Path) - 1 {
		if !slices.Contains(n.policy.Roles[w.Path[i]].Inherits, w.Path[i+1]) {
			return false
		}
	}
	return (w.Verdict == rbac.Denied) == denied && slices.Contains(rules, w.Rule) && regexpOf(w.Rule).MatchString(permission)
}

func TestDifferencesAgreeWithBruteForce(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var perms rbac.Registry
	for _, name := range codeNames {
		perms.Permission(name)
	}
	names := slices.Sorted(slices.Values(slices.Concat(codeNames, ownNames)))
	// In the order of their names, as changes are.
	var roles []string
	for i := range 13 {
		roles = append(roles, fmt.Sprint("role-", i))
	}
	slices.Sort(roles)
	kinds := make(map[string]int)
	for range 1000 {
		var all [2]*naive
		var listings [2]*rbac.Listing
		var declared [2]map[string]bool
		for i := range all {
			all[i] = &naive{randomPolicy(random, codeNames, ownNames[:random.IntN(len(ownNames)+1)]), make(map[[2]string]bool)}
			listings[i] = must(all[i].policy.Listing(&perms))(t)
			declared[i] = make(map[string]bool)
			for _, permission := range listings[i].Permissions() {
				declared[i][permission] = true
			}
		}
		changes := listings[0].Diff(listings[1])
		for _, permission := range names {
			if was, is := declared[0][permission], declared[1][permission]; was != is {
				if len(changes) == 0 || changes[0].Role != "" || changes[0].Permission != permission ||
					(changes[0].Before.Verdict == rbac.Unknown) == was || (changes[0].After.Verdict == rbac.Unknown) == is {
					t.Fatalf("the declaration of %s is not, or not in its place, among\n%v", permission, changes)
				}
				changes = changes[1:]
			}
		}
		for _, role := range roles {
			for _, permission := range names {
				// What a policy does not declare nobody is allowed or denied.
				var wasAllowed, wasDenied, isAllowed, isDenied bool
				if declared[0][permission] {
					wasAllowed, wasDenied = all[0].asks(role, permission)
				}
				if declared[1][permission] {
					isAllowed, isDenied = all[1].asks(role, permission)
				}
				wasAllowed, isAllowed = wasAllowed && !wasDenied, isAllowed && !isDenied
				if wasAllowed == isAllowed && wasDenied == isDenied {
					continue
				}
				if len(changes) == 0 || changes[0].Role != role || changes[0].Permission != permission {
					t.Fatalf("%s %s is not, or not in its place, among\n%v\nfrom %+v\nto %+v", role, permission, changes, all[0].policy, all[1].policy)
				}
				c := changes[0]
				changes = changes[1:]
				if c.Gained() != (isAllowed && !wasAllowed) || c.Lost() != (wasAllowed && !isAllowed) {
					t.Fatalf("%v: gained %v, lost %v", c, c.Gained(), c.Lost())
				}
				if !proves(all[0], role, permission, c.Before) || !proves(all[1], role, permission, c.After) {
					t.Fatalf("%v proves nothing\nfrom %+v\nto %+v", c, all[0].policy, all[1].policy)
				}
				kinds[c.String()[:1]]++
			}
		}
		if len(changes) != 0 {
			t.Fatalf("no difference, but listed:\n%v", changes)
		}
	}
	if kinds["+"] < 1000 || kinds["-"] < 1000 || kinds["!"] < 1000 {
		t.Errorf("%v: too few to prove much", kinds)
	}
}
