// Package rbac decides what a caller may do: roles that inherit, permissions that
// are allowed and denied, and objects with an owner and a tenant.
//
//	var perms rbac.Registry
//
//	var (
//		ReadUsers   = perms.Permission("users:read")
//		DeleteUsers = perms.Permission("users:delete")
//	)
//
//	roles, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
//		"user":  {Allow: []string{"users:read"}},
//		"admin": {Inherits: []string{"user"}, Allow: []string{"users:*"}},
//	}}, rbac.Config{Permissions: &perms, Roles: accounts.Roles, Hooks: hooks})
//	if err != nil {
//		return err // lists the mistakes of the policy
//	}
//	mux.Handle("DELETE /users/{id}", roles.Require(DeleteUsers)(deleteUser))
//
// A misspelt permission in the code does not compile. A misspelt permission in the
// policy, which may be a JSON file, is an error of [New].
//
// # Decisions
//
// A permission is granted if one of the caller's roles allows it, itself or by
// inheritance, and no role denies it. A denial wins over every rule that allows,
// over wildcards and over ownership. A permission that no rule matches is refused.
// A caller is refused without a subject, with more than [MaxRoles] roles, or, with
// Config.Tenants, without a tenant. A request without a caller is 401, a store that
// fails is 503, and every other refusal is the same 403; Denial.Err has the reason,
// for the log. [Engine.Reload] replaces the policy for all later decisions.
//
// [Engine.Owned] guards a route about one object: its owner may pass, and callers
// with the permission, within the object's tenant. [Engine.Rows] returns the same
// decision for a list, as values for a WHERE clause.
//
// All tenants share one policy, and Config.Roles returns the roles that the caller
// has in Principal.Tenant.
//
// # Order
//
// [guard.Hooks.Identify] or a [guard.Mux] identifies the caller first. Config.Roles
// is called once per request.
//
// # Security considerations
//
// Set Config.Roles, for example to the method Roles of auth.Accounts. Without it, a
// role counts until the credential expires, and every issuer of accepted tokens can
// make its users administrators.
//
// Roles describe the caller, not the credential: a token with one scope has all
// roles of its user. Guard routes for limited tokens by package scopes too.
// See Config.Roles for API keys.
//
// A role that the policy does not have neither grants nor denies anything. A typo in
// the name of a role that only denies, for example "suspended", restores the denied
// permissions: disable accounts by [guard.Hooks.Active] instead.
//
// A guard does not see what the handler does. A permission to change users covers
// all fields, unless the handler calls [Engine.Can] for a field. Lists, searches and
// exports show what their queries select; filter them by [Engine.Rows].
// [Engine.Owned] states how an object is loaded once for guard and handler.
//
// A connection that outlives its request is checked when it begins. For each later
// message, call [Engine.Check] with a context that does not descend from the
// request's, which remembers roles:
//
//	err := roles.Check(identity.NewContext(context.Background(), p), SendMessages)
//
// A 404 for an object that the caller may not see hides it from status and body, not
// from the time that loading takes.
package rbac
