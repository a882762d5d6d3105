package rbac

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// An Object describes an object with an owner.
type Object struct {
	// Tenant must equal the tenant of the caller. Empty matches callers
	// without a tenant only.
	Tenant string

	// Issuer and Owner are the Principal.Issuer and Principal.Subject of the owner;
	// both must match. If several issuers use the host's user IDs as subjects, set
	// Issuer to the caller's after checking that it is one of these. An empty Owner
	// matches no caller.
	Issuer, Owner string

	// Visible answers refused callers of the same tenant with 403, which
	// reveals that the object exists. Default: 404.
	Visible bool
}

// ErrNotFound is returned by the loader of [Engine.Owned] for objects that do not
// exist. The 404 is the same as for hidden objects.
var ErrNotFound = errors.New("rbac: no such object")

// Rows filters a list as [Engine.Owned] does an object. Its fields are the arguments
// of
//
//	WHERE tenant = ? AND (? OR (issuer = ? AND owner = ?))
//
// The zero Rows matches nothing. Do not use it in a query: it selects objects with
// neither tenant nor owner.
type Rows struct {
	Tenant        string // objects of this tenant only,
	All           bool   // of all owners,
	Issuer, Owner string // or else of this owner
}

// Match reports whether o is one of the rows.
func (w Rows) Match(o Object) bool {
	return o.Tenant == w.Tenant && (w.All || w.Owner != "" && o.Owner == w.Owner && o.Issuer == w.Issuer)
}

// Rows returns the filter for the caller in ctx: with the permission, all objects of
// the tenant, otherwise the caller's own. If a role denies the permission, it returns
// a 403 [*guard.Denial]; see [Engine.Check] for other errors.
func (e *Engine) Rows(ctx context.Context, permission Permission) (Rows, error) {
	p, _ := identity.FromContext(ctx)
	v, err := e.view(ctx, p)
	if err != nil {
		return Rows{}, err
	}
	allowed, denied, err := e.decide(v, p, permission)
	switch {
	case err != nil:
		return Rows{}, err
	case denied:
		return Rows{}, v.refuse(p, "has a role that denies, for own objects too,", permission.name)
	}
	return Rows{Tenant: p.Tenant, All: allowed, Issuer: p.Issuer, Owner: p.Subject}, nil
}

// CheckObject decides as [Engine.Owned] does about a loaded object. See
// [Engine.Check] for errors.
func (e *Engine) CheckObject(ctx context.Context, permission Permission, o Object) error {
	rows, err := e.Rows(ctx, permission)
	if err != nil {
		return err
	}
	return rows.check(permission, o)
}

// Owned returns a guard for a route about one object. Within the object's tenant, it
// passes the owner and callers with the permission. A denial applies to the owner
// too. Refused callers are answered 404, or 403 in the tenant of a Visible object.
//
// load returns the object, or [ErrNotFound]. Other errors are answered 503, except a
// [*guard.Denial]. It is not called if the policy refuses the caller for every
// object. Load the object through [guard.Once], so that the handler uses the checked
// object.
//
// The route ledger shows the owner as "(owner)". Owned panics without load, and as
// [Engine.Require] does.
func (e *Engine) Owned(permission Permission, load func(*http.Request) (Object, error)) func(http.Handler) http.Handler {
	if load == nil {
		panic("rbac: Owned needs a loader")
	}
	names := e.require("Owned", []Permission{permission})
	return e.config.Hooks.Require(func(r *http.Request) error {
		rows, err := e.Rows(r.Context(), permission)
		if err != nil {
			return err
		}
		o, err := load(r)
		switch {
		case errors.Is(err, ErrNotFound):
			return notFound(err)
		case err != nil:
			return verdictOf("rbac: loading the object", err)
		case r.Context().Err() != nil:
			// After the end of the context, the object may be incomplete.
			return fmt.Errorf("rbac: the context has ended: %w", r.Context().Err())
		}
		return rows.check(permission, o)
	}, guard.Requirement{Kind: guard.KindPermission, Values: append(names, owner), Any: true})
}

// owner denotes the owner in the route ledger. No permission can have this name.
const owner = "(owner)"

// check returns nil for an object that matches, and otherwise the refusal.
func (w Rows) check(permission Permission, o Object) error {
	switch {
	case w.Match(o):
		return nil
	case o.Tenant != w.Tenant:
		return notFound(fmt.Errorf("rbac: %s of tenant %s requests an object of tenant %s",
			quote(w.Owner), quote(w.Tenant), quote(o.Tenant)))
	}
	why := fmt.Errorf("rbac: %s of issuer %s neither owns the object, which is %s's of issuer %s, nor has a role that allows %q",
		quote(w.Owner), quote(w.Issuer), quote(o.Owner), quote(o.Issuer), permission.name)
	if o.Visible {
		return guard.Forbidden(why)
	}
	return notFound(why)
}

// notFound returns the same 404 as a [guard.Mux] for an unknown path. The event of a
// hidden object is an authorization failure.
func notFound(why error) *guard.Denial {
	d := guard.NotFound(why)
	if !errors.Is(why, ErrNotFound) {
		d.Event = guard.EventAuthzFail
	}
	return d
}
