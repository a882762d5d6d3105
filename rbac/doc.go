// Package rbac authorizes callers by role: roles that inherit, permissions that are
// allowed and denied, and objects with an owner and a tenant.
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
// # Decisions
//
// A permission is granted if a role of the caller allows it, directly or by
// inheritance, and no role denies it. A denial wins over every rule that allows, and
// over ownership. Callers without a subject or with more than 256 roles are refused.
// All tenants share one policy.
//
// Without a caller the response is 401, if Config.Roles fails 503, and otherwise the
// same 403. Denial.Err has the reason, for the log.
//
// # Order
//
// [guard.Hooks.Identify] or a [guard.Mux] identifies the caller first.
//
// # Security considerations
//
// Set Config.Roles. Without it, a role counts until the credential expires, and every
// accepted issuer can make its users administrators.
//
// A token with one scope has all roles of its user: guard routes for limited tokens
// by package scopes too. For API keys see Config.Roles.
//
// Roles that the policy does not have neither grant nor deny. A typo in a role that
// only denies restores the permissions: disable accounts by [guard.Hooks.Active]
// instead.
//
// A guard decides about the route only. Check fields with [Engine.Can] and filter
// lists with [Engine.Rows].
//
// A long connection is checked when it begins. For later messages, call
// [Engine.Check] with a new context, because the request's context remembers roles:
//
//	err := roles.Check(identity.NewContext(context.Background(), p), SendMessages)
//
// A 404 for a hidden object does not hide the time that loading takes.
package rbac
