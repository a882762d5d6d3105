package rbac

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// An Object is what a decision needs to know of a thing that somebody owns.
type Object struct {
	// Tenant is the tenant that the object belongs to. It must be the
	// caller's: empty is a tenant like any other here, that of callers who
	// have none, and never all of them.
	Tenant string

	// Issuer and Owner are the Principal.Issuer and Principal.Subject of who
	// owns the object. Both are compared, for a Subject means nothing without
	// its Issuer. Where the subjects of several issuers are the host's own
	// user IDs, tokens and API keys say, a loader sets Issuer to that of the
	// caller once it has made sure that it is one of these. An empty Owner
	// is nobody.
	Issuer, Owner string

	// Visible says that callers of the tenant may know that the object is
	// there: who may not have it is told 403. Default: they are told 404,
	// as if it were not.
	Visible bool
}

// ErrNotFound is what the loader of [Engine.Owned] returns for an object that
// does not exist. It is answered like one that the caller must not know of.
var ErrNotFound = errors.New("rbac: no such object")

// Rows says which objects a caller may have, for lists of them. A list that
// is filtered by it shows what [Engine.Owned] would let through one by one:
//
//	WHERE tenant = ? AND (? OR (issuer = ? AND owner = ?))
//
// with Tenant, All, Issuer and Owner in the places. The zero Rows is none.
type Rows struct {
	Tenant        string // those of this tenant,
	All           bool   // whoever owns them,
	Issuer, Owner string // or else those of this owner
}

// Match reports whether o is one of the rows.
func (w Rows) Match(o Object) bool {
	return o.Tenant == w.Tenant && (w.All || w.Owner != "" && o.Owner == w.Owner && o.Issuer == w.Issuer)
}

// Rows returns which objects the caller that ctx carries may have: with the
// permission all of their tenant, without it their own, and if a role denies
// it none, which is an error. See [Engine.Check] for the errors.
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

// CheckObject is the decision of [Engine.Owned] about an object that was
// loaded already; see [Engine.Check].
func (e *Engine) CheckObject(ctx context.Context, permission Permission, o Object) error {
	rows, err := e.Rows(ctx, permission)
	if err != nil {
		return err
	}
	return rows.check(permission, o)
}

// Owned returns the guard of a route about one object: who owns it passes, and
// who has the permission, both within the tenant of the object only. A role
// that denies the permission denies it to the owner too.
//
// An object of another tenant is answered 404, and so is what the caller may
// not have, unless it is Visible. load tells which object r is about. It is
// called for callers whom the policy does not refuse outright. It returns
// [ErrNotFound] if there is none; another error is answered 503, unless it is
// a [*guard.Denial]. Let it load through [guard.Once], and the handler read
// the same: what was checked is then what is used.
//
// In the route ledger the owner stands beside the permission as "(owner)".
// Owned panics if load is nil, and as [Engine.Require] does.
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
			return fmt.Errorf("rbac: loading the object: %w", err)
		case r.Context().Err() != nil:
			// What a loader returns to nobody may be half of it.
			return fmt.Errorf("rbac: nobody waits for the decision: %w", r.Context().Err())
		}
		return rows.check(permission, o)
	}, guard.Requirement{Kind: guard.KindPermission, Values: append(names, owner), Any: true})
}

// owner stands for the owner in the route ledger. No permission can have this
// name.
const owner = "(owner)"

// check returns the refusal of an object that is not one of the rows.
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

// notFound returns the 404, which is that of a [guard.Mux] for a path that
// leads nowhere. For the log it is what it is, a refusal.
func notFound(why error) *guard.Denial {
	d := guard.NotFound(why)
	if !errors.Is(why, ErrNotFound) {
		d.Event = guard.EventAuthzFail
	}
	return d
}
