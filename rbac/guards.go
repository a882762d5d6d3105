package rbac

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
)

// Require returns a guard that lets callers with all of the permissions pass. It
// panics without permissions, if a permission is not of this engine, and if the
// policy in force no longer declares it.
func (e *Engine) Require(permissions ...Permission) func(http.Handler) http.Handler {
	permissions = slices.Clone(permissions)
	names := e.want("Require", permissions)
	return e.config.Hooks.Require(func(r *http.Request) error {
		return e.Check(r.Context(), permissions...)
	}, guard.Requirement{Kind: guard.KindPermission, Values: names})
}

// RequireAny returns a guard that lets callers with at least one of the permissions
// pass. It panics as [Engine.Require] does.
func (e *Engine) RequireAny(permissions ...Permission) func(http.Handler) http.Handler {
	permissions = slices.Clone(permissions)
	names := e.want("RequireAny", permissions)
	return e.config.Hooks.Require(func(r *http.Request) error {
		return e.CheckAny(r.Context(), permissions...)
	}, guard.Requirement{Kind: guard.KindPermission, Values: names, Any: true})
}

// RequireRole returns a guard that lets callers pass if they have at least one of
// the roles, or a role that inherits one. To require two roles, nest two guards.
// RequireRole panics without roles, and if the policy in force lacks a role; later
// policies must have the roles too.
//
// Prefer [Engine.Require]: the route then names what it does, and the policy decides
// which roles may do it. Use RequireRole where the role itself matters.
func (e *Engine) RequireRole(roles ...string) func(http.Handler) http.Handler {
	if len(roles) == 0 {
		panic("rbac: RequireRole needs a role")
	}
	roles = slices.Clone(roles)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range roles {
		if e.policy.Load().roles[name] == nil {
			panic(fmt.Sprintf("rbac: RequireRole(%q): the policy has no such role", name))
		}
	}
	for _, name := range roles {
		e.wanted.roles[name] = true
	}
	return e.config.Hooks.Require(func(r *http.Request) error {
		return e.CheckRole(r.Context(), roles...)
	}, guard.Requirement{Kind: guard.KindRole, Values: roles, Any: true})
}

// want records that a route requires the permissions and returns their names. It
// panics if the policy in force cannot grant them.
func (e *Engine) want(guard string, permissions []Permission) []string {
	if len(permissions) == 0 {
		panic(fmt.Sprintf("rbac: %s needs a permission", guard))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.policy.Load()
	for _, p := range permissions {
		if !e.knows(p) {
			panic(fmt.Sprintf("rbac: %s(%q): the permission is not of Config.Permissions nor from Engine.Permission", guard, p.name))
		}
		if _, ok := c.bit(p); !ok {
			panic(fmt.Sprintf("rbac: %s(%q): the policy does not declare it any more", guard, p.name))
		}
	}
	for _, p := range permissions {
		if p.bit == byName {
			e.wanted.permissions[p.name] = true
		}
	}
	return Names(permissions...)
}
