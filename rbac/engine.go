package rbac

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Config configures an [Engine]. The zero Config is ready for use.
type Config struct {
	// Permissions holds the permissions that the code declares. After [New],
	// no more can be declared. If nil, the policy declares all permissions,
	// and the code gets them from [Engine.Permission].
	Permissions *Registry

	// Roles returns the current roles of p in p.Tenant, so that a revoked
	// role is lost at the next request and not when the credential expires.
	// It is called once per request, however many guards the request passes,
	// and again for other Principals. An error is answered 503, unless it is
	// [guard.ErrInactive] or a [*guard.Denial]. Roles that the policy does
	// not have grant nothing. It must be safe for concurrent use.
	//
	// For an API key that may do less than its owner, Roles must not return
	// all roles of the owner, but only the roles in p.Roles that the owner
	// still has.
	//
	// If nil, p.Roles count, which are as old as the credential.
	Roles func(ctx context.Context, p *identity.Principal) ([]string, error)

	// Tenants refuses every caller whose Principal.Tenant is empty. The
	// tenants of an [Object] and of a caller are compared in any case.
	// Default: callers need no tenant.
	Tenants bool

	// Hooks renders refusals and receives events. Default: see [guard.Hooks].
	Hooks guard.Hooks
}

// An Engine decides by the policy in force what a caller may do. It is safe for
// concurrent use.
type Engine struct {
	config Config
	own    *Registry // of the permissions that only the policy declares
	policy atomic.Pointer[compiled]

	mu     sync.Mutex // is held to replace the policy and to record what routes require
	wanted wanted
}

// wanted has the roles and permissions that the guards of this engine require. A
// policy that lacks one would refuse all requests of the route.
type wanted struct {
	roles       map[string]bool
	permissions map[string]bool // that only the policy declares
}

// New returns an Engine that decides by the policy. The error lists up to 100
// mistakes: malformed, unknown and repeated names, cycles of inheritance, wildcards
// without a match, and a policy without roles. Mistakes in rules are reported once
// the names of all permissions and roles are correct.
func New(policy Policy, config Config) (*Engine, error) {
	config.Permissions.seal()
	c, err := compile(policy, config.Permissions.declared())
	if err != nil {
		return nil, err
	}
	e := &Engine{
		config: config,
		own:    new(Registry),
		wanted: wanted{make(map[string]bool), make(map[string]bool)},
	}
	e.policy.Store(c)
	return e, nil
}

// Reload replaces the policy. A decision under way ends with the old policy; every
// later decision uses the new one, also within the same request.
//
// Reload returns an error, and the old policy stays in force, if the new policy has
// mistakes or lacks a role or a permission that a guard of this engine requires. The
// error lists them as [New] does. [Listing.Diff] returns the changes beforehand, for
// review. Hooks.Observe receives [guard.EventAuthzChange] with the roles and permissions
// that were gained and lost.
func (e *Engine) Reload(policy Policy) error {
	c, err := compile(policy, e.config.Permissions.declared())
	if err != nil {
		return err
	}
	before, err := e.replace(c)
	if err != nil {
		return err
	}
	if e.config.Hooks.Observe != nil {
		e.config.Hooks.EmitContext(context.Background(), reloaded(before, c))
	}
	return nil
}

// replace puts c in force and returns the policy before it.
func (e *Engine) replace(c *compiled) (before *compiled, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.wanted.missing(c); err != nil {
		return nil, err
	}
	return e.policy.Swap(c), nil
}

// reloaded returns the event of a change of the policy.
func reloaded(before, after *compiled) guard.Event {
	e := guard.Event{Name: guard.EventAuthzChange, Target: "policy"}
	add := func(key string, names []string) {
		if len(names) > 0 {
			e.Changes = append(e.Changes, slog.Int(key+"_count", len(names)), slog.Any(key, names))
		}
	}
	var gained, lost, denials []string
	for _, c := range (&Listing{before}).Diff(&Listing{after}) {
		switch name := c.Role + " " + c.Permission; {
		case c.Gained():
			gained = append(gained, name)
		case c.Lost():
			lost = append(lost, name)
		default:
			denials = append(denials, name)
		}
	}
	add("gained", gained)
	add("lost", lost)
	add("denials_changed", denials)
	without := func(all []string, others map[string]*role) []string {
		return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return others[name] != nil })
	}
	add("roles_added", without(after.names, before.roles))
	add("roles_removed", without(before.names, after.roles))
	return e
}

func (w wanted) missing(c *compiled) error {
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(w.roles)) {
		if c.roles[name] == nil {
			mistakes = append(mistakes, fmt.Errorf("rbac: Policy.Roles has no %q, which a guard asks for", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.permissions)) {
		if _, ok := c.bits[name]; !ok {
			mistakes = append(mistakes, fmt.Errorf("rbac: Policy.Permissions has no %q, which a guard asks for", name))
		}
	}
	return errors.Join(mistakes...)
}

// Permission returns the permission of that name, for names that are known at run
// time only, for example from a configuration. It returns an error if neither the
// code nor the policy in force declares the name. A permission that a later policy
// no longer declares is refused to all callers.
func (e *Engine) Permission(name string) (Permission, error) {
	bit, ok := e.policy.Load().bits[name]
	switch {
	case !ok:
		return Permission{}, fmt.Errorf("rbac: %q is no permission that is declared", name)
	case bit < len(e.config.Permissions.declared()):
		return Permission{e.config.Permissions, name, bit}, nil
	}
	return Permission{e.own, name, byName}, nil
}

// knows reports whether p is a permission of this engine.
func (e *Engine) knows(p Permission) bool {
	return p.of != nil && (p.of == e.config.Permissions || p.of == e.own)
}

// Can reports whether one of p's roles allows the permission and no role denies it.
// It returns false if that cannot be decided, because Config.Roles fails or ctx has
// ended; [Engine.Check] returns the reason.
func (e *Engine) Can(ctx context.Context, p *identity.Principal, permission Permission) bool {
	v, err := e.view(ctx, p)
	if err != nil || !e.knows(permission) {
		return false
	}
	bit, ok := v.bit(permission)
	if !ok {
		return false
	}
	allowed, denied := v.asks(bit)
	return allowed && !denied
}

// Check returns nil if [Engine.Require] would let the caller in ctx pass, and a
// [*guard.Denial] if it would refuse the caller. If Config.Roles fails or ctx has
// ended, Check returns an error that wraps the cause; without permissions, it returns
// an error too. [guard.Hooks.Refuse] answers both with 503, unless the cause is a
// Denial or [guard.ErrInactive], or the client has closed the request.
func (e *Engine) Check(ctx context.Context, permissions ...Permission) error {
	p, _ := identity.FromContext(ctx)
	v, err := e.view(ctx, p)
	if err != nil {
		return err
	}
	if len(permissions) == 0 {
		return errNoPermission
	}
	for _, permission := range permissions {
		if err := e.check(v, p, permission); err != nil {
			return err
		}
	}
	return nil
}

// CheckAny decides as [Engine.RequireAny] does; see [Engine.Check] for the errors.
func (e *Engine) CheckAny(ctx context.Context, permissions ...Permission) error {
	p, _ := identity.FromContext(ctx)
	v, err := e.view(ctx, p)
	if err != nil {
		return err
	}
	if len(permissions) == 0 {
		return errNoPermission
	}
	for _, permission := range permissions {
		if err = e.check(v, p, permission); err == nil {
			return nil
		}
	}
	return err // of the last permission
}

// CheckRole decides as [Engine.RequireRole] does; see [Engine.Check] for the errors.
// A role that the policy does not have is refused.
func (e *Engine) CheckRole(ctx context.Context, roles ...string) error {
	p, _ := identity.FromContext(ctx)
	v, err := e.view(ctx, p)
	if err != nil {
		return err
	}
	if len(roles) == 0 {
		return errNoRole
	}
	for _, name := range roles {
		if r := v.compiled.roles[name]; r != nil && v.has(r) {
			return nil
		}
	}
	return v.refuse(p, "has none of the roles", roles...)
}

// check decides one permission.
func (e *Engine) check(v view, p *identity.Principal, permission Permission) error {
	switch allowed, denied, err := e.asks(v, p, permission); {
	case err != nil:
		return err
	case denied:
		return v.refuse(p, "has a role that denies", permission.name)
	case !allowed:
		return v.refuse(p, "has no role that allows", permission.name)
	}
	return nil
}

// asks calls the method asks of the view, after checking the permission. A policy
// cannot deny a permission that it no longer declares, so such a permission is an
// error and not only one that is not allowed.
func (e *Engine) asks(v view, p *identity.Principal, permission Permission) (allowed, denied bool, err error) {
	if !e.knows(permission) {
		return false, false, v.refuse(p, "was asked for what is no permission of this Engine:", permission.name)
	}
	bit, ok := v.bit(permission)
	if !ok {
		return false, false, v.refuse(p, "was asked for what the policy does not declare any more:", permission.name)
	}
	allowed, denied = v.asks(bit)
	return allowed, denied, nil
}

// view returns the policy for the roles of p, or the error that refuses p under any
// policy. p may be nil.
func (e *Engine) view(ctx context.Context, p *identity.Principal) (view, error) {
	switch {
	case p == nil:
		return view{}, guard.Unauthenticated()
	case p.Subject == "":
		return view{}, guard.Forbidden(errNoSubject)
	case e.config.Tenants && p.Tenant == "":
		return view{}, guard.Forbidden(errNoTenant)
	}
	if err := ctx.Err(); err != nil {
		return view{}, fmt.Errorf("rbac: nobody waits for the decision: %w", err)
	}
	roles := &p.Roles
	if e.config.Roles != nil {
		var err error
		if roles, err = e.today(ctx, p); err != nil {
			return view{}, err
		}
	}
	if roles.Len() > MaxRoles {
		return view{}, guard.Forbidden(errTooManyRoles)
	}
	return view{e.policy.Load(), roles}, nil
}

// verdictOf returns the error of a function of the host. A refusal counts only if
// the function returns it itself: one that a store's error wraps is the verdict of
// another system on another request.
func verdictOf(doing string, err error) error {
	if d, ok := err.(*guard.Denial); ok && d != nil || errors.Is(err, guard.ErrInactive) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return guard.CannotDecide(doing, err)
}

// rolesKey is the key under which guard.Once keeps the roles of a request's caller.
type rolesKey struct{ *Engine }

// loaded is a result of Config.Roles, and the caller it is for.
type loaded struct {
	issuer, subject, tenant, credential string
	roles                               identity.Set
	err                                 error
}

// today returns the current roles of p.
func (e *Engine) today(ctx context.Context, p *identity.Principal) (*identity.Set, error) {
	load := func() (*loaded, error) {
		l := &loaded{issuer: p.Issuer, subject: p.Subject, tenant: p.Tenant, credential: p.Credential}
		names, err := e.config.Roles(ctx, p)
		if err == nil {
			// A list that the end of ctx has cut off may lack a role that
			// denies, even if Roles returned no error.
			err = ctx.Err()
		}
		if err != nil {
			l.err = verdictOf("rbac: the roles of "+quote(p.Subject), err)
		} else {
			l.roles = identity.NewSet(names...)
		}
		return l, nil
	}
	l, _ := guard.Once(ctx, rolesKey{e}, load)
	if l.issuer != p.Issuer || l.subject != p.Subject || l.tenant != p.Tenant || l.credential != p.Credential {
		// p is another caller than the remembered one, or the same caller in
		// another tenant: a handler may pass any Principal.
		l, _ = load()
	}
	return &l.roles, l.err
}
