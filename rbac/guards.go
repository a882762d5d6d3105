package rbac

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
)

// Require returns a guard that passes callers with all of the permissions. It panics
// without permissions, and if one is not of this engine or not in the policy.
func (e *Engine) Require(permissions ...Permission) func(http.Handler) http.Handler {
	permissions = slices.Clone(permissions)
	names := e.require("Require", permissions)
	return e.config.Hooks.Require(func(r *http.Request) error {
		return e.Check(r.Context(), permissions...)
	}, guard.Requirement{Kind: guard.KindPermission, Values: names})
}

// RequireAny returns a guard that passes callers with one of the permissions. It
// panics as [Engine.Require] does.
func (e *Engine) RequireAny(permissions ...Permission) func(http.Handler) http.Handler {
	permissions = slices.Clone(permissions)
	names := e.require("RequireAny", permissions)
	return e.config.Hooks.Require(func(r *http.Request) error {
		return e.CheckAny(r.Context(), permissions...)
	}, guard.Requirement{Kind: guard.KindPermission, Values: names, Any: true})
}

// RequireRole returns a guard that passes callers with one of the roles, or with a
// role that inherits one. It panics without roles, and if the policy lacks one; later
// policies need the roles too. Prefer [Engine.Require], and let the policy decide
// about routes.
func (e *Engine) RequireRole(roles ...string) func(http.Handler) http.Handler {
	if len(roles) == 0 {
		panic("rbac: RequireRole needs a role")
	}
	roles = slices.Clone(roles)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range roles {
		if e.policy.Load().roles[name] == nil {
			panic(fmt.Sprintf("rbac: RequireRole(%q): the policy does not have the role", name))
		}
	}
	for _, name := range roles {
		e.required.roles[name] = true
	}
	return e.config.Hooks.Require(func(r *http.Request) error {
		return e.CheckRole(r.Context(), roles...)
	}, guard.Requirement{Kind: guard.KindRole, Values: roles, Any: true})
}

// require records that a route requires the permissions and returns their names. It
// panics if the policy in force cannot grant them.
func (e *Engine) require(guard string, permissions []Permission) []string {
	if len(permissions) == 0 {
		panic(fmt.Sprintf("rbac: %s needs a permission", guard))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.policy.Load()
	for _, p := range permissions {
		if !e.declares(p) {
			panic(fmt.Sprintf("rbac: %s(%q): the permission is neither in Config.Permissions nor from Engine.Permission", guard, p.name))
		}
		if _, ok := c.bit(p); !ok {
			panic(fmt.Sprintf("rbac: %s(%q): the policy does not declare it", guard, p.name))
		}
	}
	for _, p := range permissions {
		if p.bit == byName {
			e.required.permissions[p.name] = true
		}
	}
	return Names(permissions...)
}
