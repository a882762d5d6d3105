package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// rbacJobs compares one decision under a policy of 100 roles, ten deep, and
// 1,000 permissions, about a caller with three of the roles. casbin has the
// policy with its wildcards worked out, and the order of conditions that is
// quickest for it; its cached enforcer remembers the answer to the very same
// question.
func rbacJobs() []job {
	c := newRBAC()
	return []job{
		{"rbac decision, 100 roles, 1000 permissions", "casbin",
			c.decide(func() bool { return must(c.casbin.Enforce(rbacUser, rbacPermission)) }), "<= 30 ns, 0 allocs"},
		{"rbac decision, the same question again", "casbin, cached",
			c.decide(func() bool { return must(c.cached.Enforce(rbacUser, rbacPermission)) }), "<= 30 ns, 0 allocs"},
		{"rbac decision, 2 procs", "casbin, cached", c.decideParallel(), "no dearer than on one"},
		{"rbac guard", "casbin, cached", c.serve(rbacPermission, http.StatusOK), "<= 60 ns"},
		{"rbac guard, refused", "casbin, cached", c.serve(rbacForbidden, http.StatusForbidden), ""},
	}
}

const (
	rbacUser       = "user-1234567890"
	rbacPermission = "resource-42:action-05"
	rbacForbidden  = "resource-50:action-00"
)

// An rbacPeers is the same policy for each of them.
type rbacPeers struct {
	casbin      *casbin.Enforcer
	cached      *casbin.SyncedCachedEnforcer
	ours        *rbac.Engine
	permissions map[string]rbac.Permission
	caller      *identity.Principal
}

const rbacModel = `
[request_definition]
r = sub, act
[policy_definition]
p = sub, act, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.act == p.act && g(r.sub, p.sub)
`

func newRBAC() rbacPeers {
	c := rbacPeers{
		casbin:      must(casbin.NewEnforcer(must(model.NewModelFromString(rbacModel)))),
		cached:      must(casbin.NewSyncedCachedEnforcer(must(model.NewModelFromString(rbacModel)))),
		permissions: make(map[string]rbac.Permission),
		caller: &identity.Principal{
			Issuer:  "https://auth.example.com",
			Subject: rbacUser,
			Roles:   identity.NewSet("role-17", "role-42", "role-99"),
		},
	}
	var perms rbac.Registry
	for i := range 1000 {
		name := fmt.Sprintf("resource-%02d:action-%02d", i/10, i%10)
		c.permissions[name] = perms.Permission(name)
	}
	policy := rbac.Policy{Roles: make(map[string]rbac.Role)}
	var rules, groups [][]string
	for i := range 100 {
		name := fmt.Sprintf("role-%02d", i)
		r := rbac.Role{Allow: []string{fmt.Sprintf("resource-%02d:*", i)}}
		for action := range 10 {
			rules = append(rules, []string{name, fmt.Sprintf("resource-%02d:action-%02d", i, action), "allow"})
		}
		if i%10 != 0 {
			parent := fmt.Sprintf("role-%02d", i-1)
			r.Inherits = []string{parent}
			groups = append(groups, []string{name, parent})
		}
		if i%7 == 0 {
			denied := fmt.Sprintf("resource-%02d:action-09", i)
			r.Deny = []string{denied}
			rules = append(rules, []string{name, denied, "deny"})
		}
		policy.Roles[name] = r
	}
	for role := range c.caller.Roles.All() {
		groups = append(groups, []string{rbacUser, role})
	}
	must(c.casbin.AddPolicies(rules))
	must(c.casbin.AddGroupingPolicies(groups))
	must(c.cached.AddPolicies(rules))
	must(c.cached.AddGroupingPolicies(groups))
	c.ours = must(rbac.New(policy, rbac.Config{Permissions: &perms}))
	return c
}

// decide measures a yes.
func (c rbacPeers) decide(peer func() bool) map[string]func(*testing.B) {
	ctx := context.Background()
	permission := c.permissions[rbacPermission]
	ours := func() bool { return c.ours.Can(ctx, c.caller, permission) }
	measure := func(decide func() bool) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !decide() {
					fail(b, "no, want yes")
				}
			}
		}
	}
	return map[string]func(*testing.B){
		"casbin": measure(peer), "casbin, cached": measure(peer), "gatewright": measure(ours),
	}
}

func (c rbacPeers) decideParallel() map[string]func(*testing.B) {
	ctx := context.Background()
	permission := c.permissions[rbacPermission]
	measure := func(decide func() bool) func(*testing.B) {
		return func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
			b.ReportAllocs()
			var wrong atomic.Bool
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if !decide() {
						wrong.Store(true)
						return
					}
				}
			})
			if wrong.Load() {
				fail(b, "no, want yes")
			}
		}
	}
	return map[string]func(*testing.B){
		"casbin, cached": measure(func() bool { return must(c.cached.Enforce(rbacUser, rbacPermission)) }),
		"gatewright":     measure(func() bool { return c.ours.Can(ctx, c.caller, permission) }),
	}
}

// serve measures the guard of a route alone, for a caller who was identified
// before.
func (c rbacPeers) serve(permission string, status int) map[string]func(*testing.B) {
	peer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := identity.FromContext(r.Context())
		if ok {
			ok = must(c.cached.Enforce(p.Subject, permission))
		}
		if !ok {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		handled(w, r)
	})
	measure := func(h http.Handler) func(*testing.B) {
		return func(b *testing.B) {
			guard.Hooks{}.Identify(rbacKnown{c.caller})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				recorder := httptest.NewRecorder()
				h.ServeHTTP(recorder, r)
				if recorder.Code != status {
					fail(b, "status %d, want %d", recorder.Code, status)
				}
				b.ReportAllocs()
				w := &sink{header: make(http.Header)}
				for b.Loop() {
					clear(w.header)
					h.ServeHTTP(w, r)
				}
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		}
	}
	return map[string]func(*testing.B){
		"casbin, cached": measure(peer),
		"gatewright":     measure(c.ours.Require(c.permissions[permission])(http.HandlerFunc(handled))),
	}
}

// rbacKnown is an authenticator that takes everybody for one caller.
type rbacKnown struct{ p *identity.Principal }

func (k rbacKnown) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }

func (k rbacKnown) Authenticate(*http.Request) (*identity.Principal, error) {
	own := *k.p
	return &own, nil
}
