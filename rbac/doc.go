// Package rbac decides who may do what: roles that inherit, permissions that
// are allowed and denied, and objects that belong to somebody.
//
// The code declares permissions, the policy says which roles have them, and a
// route asks for permissions:
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
//	}}, rbac.Config{Permissions: &perms, Roles: rolesOfToday, Hooks: hooks})
//	if err != nil {
//		return err // all the mistakes of the policy, each by name
//	}
//	mux.Handle("DELETE /users/{id}", roles.Require(DeleteUsers)(deleteUser))
//
// A misspelt permission does not compile; a misspelt one in the policy, which
// may as well be a JSON file, keeps the server from starting.
//
// # How a decision is made
//
// A caller may do something if one of their roles allows it, itself or by what
// it inherits, and none denies it. A denial wins over everything: over what
// the same role allows, over wildcards, over other roles, over ownership.
// What no rule is about is refused, and so is a caller without a subject, with
// more than [MaxRoles] roles, or, with Config.Tenants, without a tenant.
// Nobody identified is 401; a store that fails is 503; every other refusal is
// the same 403, whose reason only the audit trail has (Denial.Err).
//
// A policy is compiled when it is loaded: hierarchy and wildcards are worked
// out then, and a decision looks at a few bits. [Engine.Reload] replaces it at
// once for all later decisions.
//
// # Objects and lists
//
// A permission alone does not say whose note somebody may edit. [Engine.Owned]
// guards a route about one object, for its owner or who has the permission,
// within the tenant of the object; [Engine.Rows] says the same for a list, as
// values for a WHERE clause.
//
// # Tenants
//
// There is one policy for all tenants, and a caller has roles in the tenant
// they act in: Config.Roles is given a Principal with its Tenant. Roles of a
// tenant's own are roles whose names begin with it, "acme:approver", which
// Config.Roles returns in that tenant only.
//
// # Order
//
// Something must have identified the caller: [guard.Hooks.Identify], or a
// [guard.Mux]. Config.Roles is asked once per request there, and at each guard
// without.
//
// # Security considerations
//
// Roles are what the caller is, not what the credential may be used for. A
// token with the scope "read:items" alone has all the roles of whoever signed
// in: put a guard for scopes beside this one. API keys need care with
// Config.Roles, whose comment says how.
//
// Without Config.Roles, a role that was taken away still counts until the
// credential that says so expires, and a role counts whoever issued the
// credential: a host that takes tokens of others lets them make administrators.
// Give Config.Roles there, which goes by Issuer and Subject.
//
// A role that the policy does not have grants nothing, and denies nothing
// either. Where a role such as "suspended" is to take rights away, a typo in
// the user's record gives them back; end accounts by [guard.Hooks.Active]
// instead. Reasons of refusals name unknown roles.
//
// A guard sees the request, not what the handler does with it. A permission to
// change users is one to change any field of them, unless the handler asks
// [Engine.Can] about that field. A list, a search or an export shows what its
// query selects: filter it by [Engine.Rows]. An object that was loaded for the
// guard may have changed hands when the handler loads it again; see
// [Engine.Owned] for how to load it once. Connections that outlive a request,
// WebSockets for example, were checked when they began: ask [Engine.Check]
// again for each message, with a context that has the caller but is not the
// request's, which remembers what Config.Roles said in the beginning:
//
//	err := roles.Check(identity.NewContext(context.Background(), p), SendMessages)
//
// That a caller is answered 404 for objects they may not have hides them from
// the status and the body, not from the time it takes to load them.
package rbac
