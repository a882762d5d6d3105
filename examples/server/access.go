package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
	"github.com/gatewright/gatewright/scopes"
)

// Who may do what. The permissions are declared here, so a misspelt one does
// not compile; which role has which is in policy.json, so that it can be read,
// reviewed and compared by people who do not write Go.

var permissions rbac.Registry

var (
	readUsers       = permissions.Permission("read:users")
	writeUsers      = permissions.Permission("write:users")
	deleteUsers     = permissions.Permission("delete:users")
	deleteItems     = permissions.Permission("delete:items")
	moderateContent = permissions.Permission("moderate:content")
	readAudit       = permissions.Permission("read:audit")
)

//go:embed policy.json
var policyFile []byte

// grantRole is the prefix of the roles that a permission of one user stands
// for: users.permissions has "delete:users", and the policy a role for it.
const grantRole = "grant:"

// newPolicy is the policy of the file, with a role for each permission that a
// user may have alone.
func newPolicy() (rbac.Policy, error) {
	policy, err := policyOf(policyFile)
	if err != nil {
		return rbac.Policy{}, fmt.Errorf("policy.json: %w", err)
	}
	return policy, nil
}

// policyOf is newPolicy for another text.
func policyOf(text []byte) (rbac.Policy, error) {
	policy, err := rbac.ParsePolicy(text)
	if err != nil {
		return rbac.Policy{}, err
	}
	for _, name := range grantable() {
		policy.Roles[grantRole+name] = rbac.Role{Allow: []string{name}}
	}
	return policy, nil
}

// grantable are the permissions that a user may have without a role.
func grantable() []string {
	return rbac.Names(readUsers, writeUsers, deleteUsers, deleteItems, moderateContent, readAudit)
}

// newAccess joins what decides about rights with where they are kept: the
// roles are those that the user has now, whatever the token says.
func newAccess(today func(context.Context, *identity.Principal) ([]string, error), hooks guard.Hooks) (*rbac.Engine, error) {
	policy, err := newPolicy()
	if err != nil {
		return nil, err
	}
	return rbac.New(policy, rbac.Config{Permissions: &permissions, Roles: today, Hooks: hooks})
}

// impliedScopes are the scopes that others include.
var impliedScopes = map[string][]string{"write:items": {"read:items"}}

func newScopes(hooks guard.Hooks) (*scopes.Middleware, error) {
	return scopes.New(scopes.Config{
		Implies: impliedScopes,
		ACR:     map[string]identity.Set{"mfa": identity.NewSet("pwd", "otp"), "phr": identity.NewSet("pop"), "pwd": identity.NewSet("pwd"), "otp": identity.NewSet("otp")},
		Hooks:   hooks,
	})
}

// rights are the roles of a user, with those that stand for permissions of
// their own.
func (u *user) rights() identity.Set {
	if u.Permissions.Len() == 0 {
		return u.Roles
	}
	all := slices.Collect(u.Roles.All())
	for name := range u.Permissions.All() {
		all = append(all, grantRole+name)
	}
	return identity.NewSet(all...)
}

// ofAdministrators are the scopes that come and go with the role.
var ofAdministrators = []string{"admin", "introspect"}

// grantable are the scopes that a token or key of the user may have today.
func (u *user) grantable() identity.Set {
	all := slices.DeleteFunc(slices.Collect(u.Scopes.All()), func(scope string) bool { return slices.Contains(ofAdministrators, scope) })
	if u.Roles.Has("admin") {
		all = append(all, ofAdministrators...)
	}
	return identity.NewSet(all...)
}

// adminScope refuses a token of an administrator that was issued for less than
// an administrator may do. A user who has only the permission has no such scope.
func (a *app) adminScope(r *http.Request) error {
	u, err := a.current(r)
	if err != nil || !u.Roles.Has("admin") {
		return err
	}
	return a.scopes.Check(r.Context(), "admin")
}

// may is mayAdminister for one permission.
func (a *app) may(permission rbac.Permission) judgement {
	return func(by, u *user) error { return a.mayAdminister(by, u, permission) }
}

// mayAdminister decides by both users as they are now: accounts of
// administrators are for administrators.
func (a *app) mayAdminister(by, u *user, permission rbac.Permission) error {
	if by.Disabled || !a.holds(by, rbac.Names(permission)[0]) {
		return guard.Forbidden(errors.New("demoted or disabled at the same time"))
	}
	if u.Roles.Has("admin") && !by.Roles.Has("admin") {
		return guard.Forbidden(errors.New("the account of an administrator"))
	}
	return nil
}

// mayGive refuses to turn now into then if that adds a right which by does not
// have: otherwise write:users would be every other permission too.
func (a *app) mayGive(by, now, then *user) error {
	if then.Roles.Has("admin") && !now.Roles.Has("admin") && !by.Roles.Has("admin") {
		return guard.Forbidden(errors.New("only administrators make administrators"))
	}
	if by.Roles.Has("admin") {
		return nil
	}
	for _, name := range a.access.Listing().Permissions() {
		if a.holds(then, name) && !a.holds(now, name) && !a.holds(by, name) {
			return guard.Forbidden(fmt.Errorf("%s is not the caller's to give", name))
		}
	}
	return nil
}

// holds reports whether u has a permission today, by a role or alone.
func (a *app) holds(u *user, permission string) bool {
	list, allowed := a.access.Listing(), false
	for role := range u.rights().All() {
		switch list.Why(role, permission).Verdict {
		case rbac.Denied:
			return false
		case rbac.Allowed:
			allowed = true
		}
	}
	return allowed
}

// rolesOfPeople are the roles that an administrator may give to somebody.
func rolesOfPeople(l *rbac.Listing) []string {
	return slices.DeleteFunc(l.Roles(), func(name string) bool { return strings.HasPrefix(name, grantRole) })
}

// unknown returns those of names that are not among known.
func unknown(names, known []string) []string {
	missing := make(map[string]bool)
	for _, name := range names {
		if !slices.Contains(known, name) {
			missing[name] = true
		}
	}
	return slices.Sorted(maps.Keys(missing))
}
