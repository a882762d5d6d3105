package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// rbacNames are the permissions of the random policies.
var rbacNames = []string{"a:read", "a:write", "a:read:x", "b:read", "b:write", "b:read:y", "c:read", "d"}

// rbacStands are rules and, spelled out by hand, what they stand for.
var rbacStands = map[string][]string{
	"*":        rbacNames,
	"*:*":      {"a:read", "a:write", "a:read:x", "b:read", "b:write", "b:read:y", "c:read"},
	"a:*":      {"a:read", "a:write", "a:read:x"},
	"*:read":   {"a:read", "b:read", "c:read"},
	"*:read:*": {"a:read:x", "b:read:y"},
	"*:*:y":    {"b:read:y"},
}

// TestRBACAgreesWithCedar decides 100,000 random questions about random
// policies by rbac and by cedar-go, whose forbid overrides every permit as
// Deny does, and whose hierarchy is its own. Each question is about an object,
// so ownership and tenants count too.
func TestRBACAgreesWithCedar(t *testing.T) {
	const policies, questions = 200, 500
	random := rand.New(rand.NewPCG(7, 8))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	roleName := func(i int) string { return fmt.Sprint("role-", i) }
	var perms rbac.Registry
	permissions := make(map[string]rbac.Permission)
	for _, name := range rbacNames {
		permissions[name] = perms.Permission(name)
	}
	yes := 0
	for range policies {
		// The same policy in two languages.
		policy := rbac.Policy{Roles: make(map[string]rbac.Role)}
		var text strings.Builder
		text.WriteString("permit(principal, action, resource) when { resource.tenant == principal.tenant && resource.owner == principal };\n")
		entities := make(cedar.EntityMap)
		rules := func(role, effect, when string, most int) (list []string) {
			for range random.IntN(most + 1) {
				rule := pick(rbacNames...)
				stands := []string{rule}
				if random.IntN(5) == 0 {
					rule = pick("*", "*:*", "a:*", "*:read", "*:read:*", "*:*:y")
					stands = rbacStands[rule]
				}
				if slices.Contains(list, rule) {
					continue
				}
				list = append(list, rule)
				var actions []string
				for _, name := range stands {
					actions = append(actions, fmt.Sprintf("Action::%q", name))
				}
				fmt.Fprintf(&text, "%s(principal in Role::%q, action in [%s], resource)%s;\n", effect, role, strings.Join(actions, ", "), when)
			}
			return list
		}
		n := 1 + random.IntN(10)
		for i := range n {
			name := roleName(i)
			var r rbac.Role
			var parents []cedar.EntityUID
			for range random.IntN(3) {
				if i == 0 {
					break
				}
				if parent := roleName(random.IntN(i)); !slices.Contains(r.Inherits, parent) {
					r.Inherits = append(r.Inherits, parent)
					parents = append(parents, cedar.NewEntityUID("Role", cedar.String(parent)))
				}
			}
			r.Allow = rules(name, "permit", " when { resource.tenant == principal.tenant }", 3)
			if random.IntN(3) == 0 {
				r.Deny = rules(name, "forbid", "", 2)
			}
			policy.Roles[name] = r
			uid := cedar.NewEntityUID("Role", cedar.String(name))
			entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...)}
		}
		ours := must(rbac.New(policy, rbac.Config{Permissions: &perms}))
		theirs := must(cedar.NewPolicySetFromBytes("policy.cedar", []byte(text.String())))

		for range questions {
			p := &identity.Principal{Issuer: "us", Subject: pick("ada", "bob"), Tenant: pick("acme", "globex")}
			o := rbac.Object{Tenant: pick("acme", "acme", "globex"), Issuer: "us", Owner: pick("ada", "bob", "carl", "dora", "eve")}
			var roles []string
			var parents []cedar.EntityUID
			for range random.IntN(4) {
				role := roleName(random.IntN(n + 1)) // the last one is unknown
				roles = append(roles, role)
				parents = append(parents, cedar.NewEntityUID("Role", cedar.String(role)))
			}
			p.Roles = identity.NewSet(roles...)
			name := pick(rbacNames...)

			who := cedar.NewEntityUID("User", cedar.String(p.Subject))
			what := cedar.NewEntityUID("Object", "o")
			entities[who] = cedar.Entity{
				UID: who, Parents: cedar.NewEntityUIDSet(parents...),
				Attributes: cedar.NewRecord(cedar.RecordMap{"tenant": cedar.String(p.Tenant)}),
			}
			entities[what] = cedar.Entity{UID: what, Attributes: cedar.NewRecord(cedar.RecordMap{
				"tenant": cedar.String(o.Tenant), "owner": cedar.NewEntityUID("User", cedar.String(o.Owner)),
			})}
			decision, diagnostic := cedar.Authorize(theirs, entities, cedar.Request{
				Principal: who, Action: cedar.NewEntityUID("Action", cedar.String(name)), Resource: what,
			})
			if len(diagnostic.Errors) > 0 {
				t.Fatal(diagnostic.Errors)
			}
			want := decision == cedar.Allow

			ctx := identity.NewContext(context.Background(), p)
			err := ours.CheckObject(ctx, permissions[name], o)
			if (err == nil) != want {
				t.Fatalf("%s of %s with %s, %s of %+v: cedar says %v, rbac %v, by\n%+v\n%s",
					p.Subject, p.Tenant, p.Roles, name, o, want, err, policy, &text)
			}
			// Where neither ownership nor tenants matter, Can says the same.
			if o.Owner != p.Subject && o.Tenant == p.Tenant && ours.Can(ctx, p, permissions[name]) != want {
				t.Fatalf("%s with %s, %s: cedar says %v, Can does not, by\n%+v", p.Subject, p.Roles, name, want, policy)
			}
			if want {
				yes++
			}
		}
	}
	t.Logf("%d decisions, %d of them yes", policies*questions, yes)
	if part := float64(yes) / (policies * questions); part < 0.1 || part > 0.9 {
		t.Errorf("%.2f of the decisions are yes: too uniform to prove much", part)
	}
}

// TestRBACAgreesWithCasbin asks both about every permission of the policy that
// the jobs measure, so that they measure the same thing.
func TestRBACAgreesWithCasbin(t *testing.T) {
	c := newRBAC()
	yes := 0
	for name, permission := range c.permissions {
		want := must(c.casbin.Enforce(rbacUser, name))
		if got := c.ours.Can(t.Context(), c.caller, permission); got != want {
			t.Errorf("%s: %v, casbin says %v", name, got, want)
		}
		if want {
			yes++
		}
	}
	if yes == 0 || yes == len(c.permissions) {
		t.Errorf("%d of %d are yes", yes, len(c.permissions))
	}
}
