package rbac

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// An Object describes an owned object to a decision.
type Object struct {
	// Tenant is the tenant of the object. It must equal the tenant of the
	// caller. Empty matches callers without a tenant only, never all callers.
	Tenant string

	// Issuer and Owner are the Principal.Issuer and Principal.Subject of the
	// owner. Both are compared, because a Subject is unique within its Issuer
	// only. If several issuers, for example of tokens and of API keys, use
	// the host's user IDs as subjects, the loader checks that the caller's
	// Issuer is among these issuers and sets Issuer to it. No caller owns an
	// object with an empty Owner.
	Issuer, Owner string

	// Visible answers refused callers of the same tenant with 403, which
	// reveals that the object exists. Default: 404, as for an object that
	// does not exist.
	Visible bool
}

// ErrNotFound is returned by the loader of [Engine.Owned] for an object that does
// not exist. The response is the same 404 as for an object that is hidden from the
// caller.
var ErrNotFound = errors.New("rbac: no such object")

// Rows filters a list to the objects that [Engine.Owned] would let the caller have.
// Tenant, All, Issuer and Owner are the arguments of
//
//	WHERE tenant = ? AND (? OR (issuer = ? AND owner = ?))
//
// [Rows.Match] of the zero Rows returns false for every object. Do not put the zero
// Rows into a query: it selects objects with neither tenant nor owner.
type Rows struct {
	Tenant        string // objects of this tenant only,
	All           bool   // of all owners,
	Issuer, Owner string // or else of this owner
}

// Match reports whether o is one of the rows.
func (w Rows) Match(o Object) bool {
	return o.Tenant == w.Tenant && (w.All || w.Owner != "" && o.Owner == w.Owner && o.Issuer == w.Issuer)
}

// Rows returns the filter for the objects that the caller in ctx may have: with the
// permission, all objects of the caller's tenant, and without it the caller's own.
// If a role denies the permission, Rows returns a 403 [*guard.Denial]. See
// [Engine.Check] for further errors.
func (e *Engine) Rows(ctx context.Context, permission Permission) (Rows, error) {
	p, _ := identity.FromContext(ctx)
	v, err := e.view(ctx, p)
	if err != nil {
		return Rows{}, err
	}
	allowed, denied, err := e.asks(v, p, permission)
	switch {
	case err != nil:
		return Rows{}, err
	case denied:
		return Rows{}, v.refuse(p, "has a role that denies, be it their own or not,", permission.name)
	}
	return Rows{Tenant: p.Tenant, All: allowed, Issuer: p.Issuer, Owner: p.Subject}, nil
}

// CheckObject decides as [Engine.Owned] does about a loaded object; see
// [Engine.Check] for the errors.
func (e *Engine) CheckObject(ctx context.Context, permission Permission, o Object) error {
	rows, err := e.Rows(ctx, permission)
	if err != nil {
		return err
	}
	return rows.check(permission, o)
}

// Owned returns a guard for a route about one object. It lets the owner and callers
// with the permission pass, within the tenant of the object only. A role that denies
// the permission denies it to the owner too.
//
// An object of another tenant is answered 404. An object that the caller may not
// have is answered 404, or 403 if it is Visible.
//
// load returns the object that the request is about, or [ErrNotFound]. Any other
// error is answered 503, unless it is a [*guard.Denial]. load is not called for
// callers that the policy refuses for every object. Let load and the handler load
// the object through [guard.Once], so that the handler uses the object that was
// checked.
//
// The route ledger lists the owner beside the permission as "(owner)". Owned panics
// if load is nil, and as [Engine.Require] does.
func (e *Engine) Owned(permission Permission, load func(*http.Request) (Object, error)) func(http.Handler) http.Handler {
	if load == nil {
		panic("rbac: Owned needs a loader")
	}
	names := e.want("Owned", []Permission{permission})
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
			return fmt.Errorf("rbac: nobody waits for the decision: %w", r.Context().Err())
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
		return notFound(fmt.Errorf("rbac: %s of tenant %s asks for an object of tenant %s",
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
