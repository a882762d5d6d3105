package rbac

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Config says how an [Engine] decides. The zero Config is ready for use.
type Config struct {
	// Permissions are those that the code declares. [New] ends the
	// declaring. Default: the policy declares all there are, and the code
	// gets them from [Engine.Permission].
	Permissions *Registry

	// Roles returns the roles that p has now, in p.Tenant, so that a role
	// that was taken away is gone at the next request and not when the
	// credential expires. It is called once per request, whatever number of
	// guards ask; its error is answered 503, unless it is [guard.ErrInactive]
	// or a [*guard.Denial]. Roles that the policy does not have grant nothing.
	// It must be safe for concurrent use.
	//
	// It decides for API keys too. A key that may do less than its owner
	// must not get the owner's roles: return those of p.Roles that the owner
	// still has.
	//
	// Default: p.Roles, which are as old as the credential.
	Roles func(ctx context.Context, p *identity.Principal) ([]string, error)

	// Tenants says that every caller acts in a tenant: one whose
	// Principal.Tenant is empty is refused, whatever their roles. The tenants
	// of an [Object] and of a caller are compared either way.
	// Default: callers need no tenant.
	Tenants bool

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// An Engine decides who may do what, by the policy it was last given. It is safe
// for concurrent use.
type Engine struct {
	config Config
	own    *Registry // that permissions of the policy alone are of
	policy atomic.Pointer[compiled]

	mu     sync.Mutex // is held to replace the policy and to note what routes ask for
	wanted wanted
}

// wanted is what the guards of this engine ask for. A policy without it would
// close routes for good.
type wanted struct {
	roles       map[string]bool
	permissions map[string]bool // those of the policy alone
}

// New returns an Engine that decides by the policy. Its error lists every
// mistake in it: names that are malformed, unknown or there twice, cycles of
// inheritance, wildcards that stand for nothing, no role.
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

// Reload replaces the policy. Decisions that are under way end with the one
// they began with; those that begin later see the new one, also within the
// same request.
//
// If there are mistakes in the policy, or if it lacks a role or a permission
// of its own that a guard of this engine asks for, Reload returns all of them
// and the old policy stays in force. [Listing.Diff] says beforehand what will
// change, for review and for the audit trail.
func (e *Engine) Reload(policy Policy) error {
	c, err := compile(policy, e.config.Permissions.declared())
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.wanted.missing(c); err != nil {
		return err
	}
	e.policy.Store(c)
	return nil
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

// Permission returns the permission of that name, which the code or the
// policy in force declares: the way to one that is known at run time only,
// from a configuration say. Once a later policy does not declare it any more,
// nobody has it.
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

// knows reports whether p can be asked of this engine.
func (e *Engine) knows(p Permission) bool {
	return p.of != nil && (p.of == e.config.Permissions || p.of == e.own)
}

// Can reports whether p may do what the permission is about: whether one of
// their roles allows it and none denies it. It is false whenever that could
// not be decided, because Config.Roles fails or ctx has ended; [Engine.Check]
// tells why.
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

// Check is the decision of [Engine.Require] about the caller that ctx
// carries: nil, a [*guard.Denial], or the error of what could not answer.
// Where Require panics for want of permissions it returns an error that is no
// Denial and is answered 503: a mistake of the host is no verdict on the caller.
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

// CheckAny is the decision of [Engine.RequireAny]; see [Engine.Check].
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
	return err // of the last, for one must do
}

// CheckRole is the decision of [Engine.RequireRole]; see [Engine.Check].
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

// asks is that of the view, for a permission that may be anything. What the
// policy does not declare any more it cannot deny either, so that is an error
// and not merely nothing that is allowed.
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

// view returns the policy as p sees it, or why p, who may be nil, is refused
// whatever it says.
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

// rolesKey is where guard.Once remembers the roles of a request's caller.
type rolesKey struct{ *Engine }

// loaded is what Config.Roles said about somebody.
type loaded struct {
	issuer, subject, tenant, credential string
	roles                               identity.Set
	err                                 error
}

// today returns the roles that p has now.
func (e *Engine) today(ctx context.Context, p *identity.Principal) (*identity.Set, error) {
	load := func() (*loaded, error) {
		l := &loaded{issuer: p.Issuer, subject: p.Subject, tenant: p.Tenant, credential: p.Credential}
		names, err := e.config.Roles(ctx, p)
		if err == nil {
			// A list that was cut off by the end of ctx may lack a role that
			// denies, whether or not the host has noticed.
			err = ctx.Err()
		}
		if err != nil {
			l.err = fmt.Errorf("rbac: the roles of %s: %w", quote(p.Subject), err)
		} else {
			l.roles = identity.NewSet(names...)
		}
		return l, nil
	}
	l, _ := guard.Once(ctx, rolesKey{e}, load)
	if l.issuer != p.Issuer || l.subject != p.Subject || l.tenant != p.Tenant || l.credential != p.Credential {
		// Somebody else than the first, or the same in another tenant: a
		// handler may ask about anybody.
		l, _ = load()
	}
	return &l.roles, l.err
}
