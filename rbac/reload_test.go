package rbac_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/rbac"
)

func TestReload(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	p := caller("user")
	if e.Can(t.Context(), p, a.remove) {
		t.Fatal("a user can delete before")
	}
	next := appPolicy()
	next.Roles["user"] = rbac.Role{Allow: []string{"users:*"}}
	if err := e.Reload(next); err != nil {
		t.Fatal(err)
	}
	if !e.Can(t.Context(), p, a.remove) {
		t.Error("the new policy is not in force")
	}
	// The engine has what it needs of the policy.
	next.Roles["user"].Allow[0] = "posts:*"
	delete(next.Roles, "admin")
	if !e.Can(t.Context(), p, a.remove) || len(e.Listing().Who("users:delete")) != 4 {
		t.Errorf("whoever changes the literal changes the policy: %v", e.Listing().Who("users:delete"))
	}
	if got, want := e.Listing().Why("user", "users:delete").String(), `user allows "users:*"`; got != want {
		t.Errorf("the reason is %s, want %s", got, want)
	}
}

func TestReloadIsAnEventWithTheDifference(t *testing.T) {
	var events []guard.Event
	a := newApp()
	e := a.engine(t, rbac.Config{Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) { events = append(events, e) }}})
	next := appPolicy()
	delete(next.Roles, "root")
	next.Roles["user"] = rbac.Role{Allow: []string{"users:read", "users:delete"}}
	next.Roles["guest"] = rbac.Role{Allow: []string{"users:delete"}}
	next.Permissions = []string{"reports:print"}
	if err := e.Reload(next); err != nil {
		t.Fatal(err)
	}
	if e.Reload(rbac.Policy{}) == nil {
		t.Error("an empty policy is no mistake")
	}
	if len(events) != 1 || events[0].Name != guard.EventAuthzChange || events[0].Target != "policy" {
		t.Fatalf("%+v", events)
	}
	got := map[string]string{}
	for _, c := range events[0].Changes {
		got[c.Key] = c.Value.String()
	}
	for key, want := range map[string]string{"gained": "[guest users:delete moderator users:delete user users:delete]", "gained_count": "3", "roles_added": "[guest]", "roles_removed": "[root]", "permissions_added": "[reports:print]"} {
		if got[key] != want {
			t.Errorf("%s = %q, want %q", key, got[key], want)
		}
	}
	if !strings.Contains(got["lost"], "root ") || !strings.Contains(got["lost"], "user posts:write") {
		t.Errorf("lost = %q", got["lost"])
	}
}

func TestABadPolicyLeavesTheOldOneInForce(t *testing.T) {
	a := newApp()
	policy := appPolicy()
	policy.Permissions = []string{"reports:print"}
	e := must(rbac.New(policy, rbac.Config{Permissions: &a.perms}))(t)
	e.RequireRole("user", "moderator")
	e.RequireRole("admin")
	e.Require(a.read, must(e.Permission("reports:print"))(t))
	before := e.Listing().String()
	for _, test := range []struct {
		name string
		next rbac.Policy
		want []string
	}{
		{"empty", rbac.Policy{}, []string{"Policy.Roles is empty"}},
		{"a typo", rbac.Policy{Roles: map[string]rbac.Role{"user": {Allow: []string{"users:raed"}}}}, []string{`"users:raed"`}},
		{"without what guards ask for", rbac.Policy{Roles: map[string]rbac.Role{"user": {Allow: []string{"*"}}}}, []string{
			`rbac: Policy.Roles has no "admin", which a guard requires` + "\n",
			`rbac: Policy.Roles has no "moderator", which a guard requires` + "\n",
			`rbac: Policy.Permissions has no "reports:print", which a guard requires`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := e.Reload(test.next)
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, err.Error(), test.want...)
			if after := e.Listing().String(); after != before {
				t.Errorf("the policy is now\n%s", after)
			}
			if !e.Can(t.Context(), caller("admin"), a.remove) || e.Can(t.Context(), caller("user"), a.remove) {
				t.Error("the old policy is not in force")
			}
		})
	}
}

// Two policies that each decide one way for two permissions at once: a
// decision that mixed them would show.
func TestReloadUnderLoad(t *testing.T) {
	var perms rbac.Registry
	left, right, never := perms.Permission("left"), perms.Permission("right"), perms.Permission("never")
	policies := [2]rbac.Policy{
		{Permissions: []string{"x", "extra"}, Roles: map[string]rbac.Role{"r": {Allow: []string{"left", "extra"}}, "s": {}, "base": {}}},
		{Permissions: []string{"extra"}, Roles: map[string]rbac.Role{"base": {Allow: []string{"right"}}, "r": {Inherits: []string{"base"}}, "s": {Allow: []string{"extra"}}}},
	}
	e := must(rbac.New(policies[0], rbac.Config{Permissions: &perms}))(t)
	extra := must(e.Permission("extra"))(t)

	var stop atomic.Bool
	var asking, reloading sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			both, p := as(caller("r", "s")), caller("r")
			for range 5_000 {
				if e.Check(both, left, right) == nil {
					t.Error("a decision saw two policies")
				}
				if e.CheckAny(both, left, right) != nil {
					t.Error("a decision saw no policy")
				}
				if e.Can(both, p, never) {
					t.Error("nobody may ever")
				}
				if err := e.Check(both, extra); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reloading.Go(func() {
		for i := 1; !stop.Load(); i++ {
			if err := e.Reload(policies[i%2]); err != nil {
				t.Error(err)
			}
			if e.Reload(rbac.Policy{}) == nil {
				t.Error("an empty policy was taken")
			}
		}
	})
	reloading.Go(func() {
		for !stop.Load() { // routes may be added while it serves
			e.RequireRole("r")
			e.Require(left, extra)
			e.Listing().May("r")
		}
	})
	asking.Wait()
	stop.Store(true)
	reloading.Wait()
}

// More sets of roles than are remembered, from several goroutines: what is
// remembered of one must never answer for another.
func TestManySetsOfRoles(t *testing.T) {
	var perms rbac.Registry
	policy := rbac.Policy{Roles: map[string]rbac.Role{}}
	var all []rbac.Permission
	for i := range 12 {
		name := string(rune('a' + i))
		all = append(all, perms.Permission(name))
		policy.Roles[name] = rbac.Role{Allow: []string{name}}
	}
	e := must(rbac.New(policy, rbac.Config{Permissions: &perms}))(t)
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for set := range 1 << len(all) {
				var roles []string
				for i, p := range all {
					if set>>i&1 != 0 {
						roles = append(roles, p.String())
					}
				}
				p := caller(roles...)
				for i, permission := range all {
					if got, want := e.Can(t.Context(), p, permission), set>>i&1 != 0; got != want {
						t.Errorf("%v can %s: %v, want %v", roles, permission, got, want)
						return
					}
				}
			}
		})
	}
	asking.Wait()
}
