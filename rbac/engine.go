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
	// Permissions holds the permissions that the code declares. After
	// [New], no more can be declared. If nil, only the policy declares
	// permissions.
	Permissions *Registry

	// Roles returns the current roles of p in p.Tenant, for example the method Roles
	// of auth.Accounts. It is called once per request, and again for other Principals.
	// For an API key with restricted roles, return only the roles in p.Roles that the
	// owner still has.
	//
	// Errors are answered 503, except [guard.ErrInactive] and a [*guard.Denial]. Roles
	// must be safe for concurrent use. If nil, p.Roles count, as old as the
	// credential.
	Roles func(ctx context.Context, p *identity.Principal) ([]string, error)

	// Tenants refuses callers without a Principal.Tenant. Tenants of
	// objects are always compared.
	Tenants bool

	// Hooks renders refusals and receives events.
	Hooks guard.Hooks
}

// An Engine decides by a policy what callers may do. It is safe for concurrent use.
type Engine struct {
	config Config
	own    *Registry // of the permissions that only the policy declares
	policy atomic.Pointer[compiled]

	mu       sync.Mutex // is held to replace the policy and to record what routes require
	required required
}

// required has the roles and permissions that guards require. Without one of them, a
// policy would refuse every request of a route.
type required struct {
	roles       map[string]bool
	permissions map[string]bool // that only the policy declares
}

// New returns an Engine. The error lists up to 100 mistakes of the policy: malformed,
// unknown and repeated names, inheritance cycles, wildcards without a match, no
// roles. Rules are checked once all names are correct.
func New(policy Policy, config Config) (*Engine, error) {
	config.Permissions.seal()
	c, err := compile(policy, config.Permissions.declared())
	if err != nil {
		return nil, err
	}
	e := &Engine{
		config:   config,
		own:      new(Registry),
		required: required{make(map[string]bool), make(map[string]bool)},
	}
	e.policy.Store(c)
	return e, nil
}

// Reload replaces the policy for all later decisions; see [Listing.Diff] for a
// preview. If the policy has mistakes, or lacks a role or permission that a guard
// requires, Reload returns an error and changes nothing. Otherwise Hooks.Observe
// receives a [guard.EventAuthzChange] with the differences.
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
	if err := e.required.missing(c); err != nil {
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
	var gained, lost, denials, added, removed []string
	for _, c := range (&Listing{before}).Diff(&Listing{after}) {
		switch name := c.Role + " " + c.Permission; {
		case c.Role == "" && c.After.Verdict == Unknown:
			removed = append(removed, c.Permission)
		case c.Role == "":
			added = append(added, c.Permission)
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
	add("permissions_added", added)
	add("permissions_removed", removed)
	return e
}

func (w required) missing(c *compiled) error {
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(w.roles)) {
		if c.roles[name] == nil {
			mistakes = append(mistakes, fmt.Errorf("rbac: Policy.Roles has no %q, which a guard requires", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.permissions)) {
		if _, ok := c.bits[name]; !ok {
			mistakes = append(mistakes, fmt.Errorf("rbac: Policy.Permissions has no %q, which a guard requires", name))
		}
	}
	return errors.Join(mistakes...)
}

// Permission returns the permission with a name that is known at run time only, or an
// error if neither code nor policy declares the name. A permission that a later
// policy does not declare is refused to all callers.
func (e *Engine) Permission(name string) (Permission, error) {
	bit, ok := e.policy.Load().bits[name]
	switch {
	case !ok:
		return Permission{}, fmt.Errorf("rbac: permission %q is not declared", name)
	case bit < len(e.config.Permissions.declared()):
		return Permission{e.config.Permissions, name, bit}, nil
	}
	return Permission{e.own, name, byName}, nil
}

// declares reports whether p is a permission of this engine.
func (e *Engine) declares(p Permission) bool {
	return p.of != nil && (p.of == e.config.Permissions || p.of == e.own)
}

// Can reports whether a role of p allows the permission and no role denies it. On
// errors it returns false.
func (e *Engine) Can(ctx context.Context, p *identity.Principal, permission Permission) bool {
	v, err := e.view(ctx, p)
	if err != nil || !e.declares(permission) {
		return false
	}
	bit, ok := v.bit(permission)
	if !ok {
		return false
	}
	allowed, denied := v.decide(bit)
	return allowed && !denied
}

// Check decides as [Engine.Require] does about the caller in ctx. It returns nil or a
// [*guard.Denial], and other errors without permissions, if Config.Roles fails, and
// if ctx has ended. [guard.Hooks.Refuse] answers them 503, unless the cause is a
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

// CheckAny decides as [Engine.RequireAny] does and returns errors as [Engine.Check]
// does.
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

// CheckRole decides as [Engine.RequireRole] does and returns errors as [Engine.Check]
// does. It refuses unknown roles.
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
	switch allowed, denied, err := e.decide(v, p, permission); {
	case err != nil:
		return err
	case denied:
		return v.refuse(p, "has a role that denies", permission.name)
	case !allowed:
		return v.refuse(p, "has no role that allows", permission.name)
	}
	return nil
}

// decide calls view.decide for a permission of this engine that the policy declares. A
// policy cannot deny an undeclared permission, so owners are refused it too.
func (e *Engine) decide(v view, p *identity.Principal, permission Permission) (allowed, denied bool, err error) {
	if !e.declares(permission) {
		return false, false, v.refuse(p, "needs a permission that is not of this Engine:", permission.name)
	}
	bit, ok := v.bit(permission)
	if !ok {
		return false, false, v.refuse(p, "needs a permission that the policy does not declare:", permission.name)
	}
	allowed, denied = v.decide(bit)
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
		return view{}, fmt.Errorf("rbac: the context has ended: %w", err)
	}
	roles := &p.Roles
	if e.config.Roles != nil {
		var err error
		if roles, err = e.today(ctx, p); err != nil {
			return view{}, err
		}
	}
	if roles.Len() > maxRolesOfCaller {
		return view{}, guard.Forbidden(errTooManyRoles)
	}
	return view{e.policy.Load(), roles}, nil
}

// verdictOf wraps an error of a function of the host. Only a refusal that the
// function itself returned counts: a wrapped one may be another system's.
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
