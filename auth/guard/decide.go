package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/identity"
)

// WithCaller returns a context whose caller is p, found by the authenticator by,
// for interceptors of other protocols and for tests; see package guardtest. An
// Identify or a Mux within keeps the caller if the request has no credentials.
// Hooks.Active is not called. WithCaller panics if p or by is nil.
func WithCaller(ctx context.Context, p *identity.Principal, by Authenticator) context.Context {
	if p == nil || by == nil {
		panic("guard: WithCaller needs a Principal and an Authenticator")
	}
	rc := &requestContext{Context: ctx, id: &identifier{}, by: by}
	if anotherCaller(ctx, p) {
		return identity.NewContext(ctx, p) // which makes it ambiguous
	}
	rc.principal.Store(p)
	identity.Tell(ctx, p)
	return rc
}

// Decide runs the guards of h for r and returns the [*Denial] of the one that
// refuses, nil if all let r pass. It is for tests; see package guardtest.
//
// If h is a [Mux] or a guarded handler, the handler behind the last guard is not
// called. Another router hides its guards: its handlers are called with a
// ResponseWriter that discards, and what they write with [Hooks.Refuse] is returned
// too. If the handler that answers has no guard, Decide returns another error.
func Decide(h http.Handler, r *http.Request) error {
	w := &trial{header: make(http.Header), serves: !endsInGuards(h)}
	h.ServeHTTP(w, r)
	switch {
	case w.denial != nil:
		return w.denial
	case w.admitted:
		return nil
	}
	return fmt.Errorf("guard: Decide: no guard was asked, and the handler answered %d", w.status)
}

// endsInGuards reports whether all guards of h are seen from the outside.
func endsInGuards(h http.Handler) bool {
	guarded, public := classify(Requirements(h))
	for d := range layers(h) {
		h = d.next
	}
	_, mux := h.(*Mux)
	return mux || guarded || public
}

// A trial is the ResponseWriter of Decide.
type trial struct {
	header   http.Header
	serves   bool // handlers are called
	denial   *Denial
	admitted bool
	status   int
}

func (t *trial) Header() http.Header { return t.header }

func (t *trial) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
}

func (t *trial) Write(p []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	return len(p), nil
}

// passes calls next for a request that a guard lets pass. For Decide it stops at the
// last guard.
func passes(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if t, ok := w.(*trial); ok {
		t.admitted = true
		switch next.(type) {
		case *described, *Mux:
		default:
			if !t.serves {
				return
			}
		}
	}
	next.ServeHTTP(w, r)
}

// A Ledger is the route ledger of another router than [Mux]. The zero Ledger is
// ready for use. It is not safe for concurrent use.
//
//	var ledger guard.Ledger
//	err := chi.Walk(router, ledger.Add)
//	err = errors.Join(err, ledger.Err()) // refuse to start
//
// Before chi 5.3, chi.Walk omits the middlewares of a Group around a Route or a Mount;
// examples/routers/chi has a walk with them.
type Ledger struct {
	routes []Route
	errs   []error
}

// Add adds a route with the middlewares around its handler, outermost first. It has
// the signature of chi.WalkFunc and always returns nil; see [Ledger.Err].
func (l *Ledger) Add(method, pattern string, h http.Handler, middlewares ...func(http.Handler) http.Handler) error {
	route := Route{Pattern: pattern}
	if method != "" {
		route.Pattern = method + " " + pattern
	}
	if isNil(h) {
		l.errs = append(l.errs, fmt.Errorf("auth/guard: route %q has no handler", route.Pattern))
		return nil
	}
	if mux, ok := h.(*Mux); ok { // mounted: it has refused what is unguarded
		for _, r := range mux.Routes() {
			r.Pattern = route.Pattern + " > " + r.Pattern
			l.routes = append(l.routes, r)
		}
		return nil
	}
	var called []Authenticator
	var accepts []Authenticator
	for d := range stack(h, middlewares) {
		route.Requirements = append(route.Requirements, cloneAll(d.demands)...)
		called, accepts = append(called, d.settles...), append(accepts, d.accepts...)
	}
	guarded, public := classify(route.Requirements)
	switch {
	case !guarded && !public:
		l.errs = append(l.errs, fmt.Errorf("auth/guard: route %q has no guard; put one around its handler, or guard.Public with the reason", route.Pattern))
	case guarded && public:
		l.errs = append(l.errs, fmt.Errorf("auth/guard: route %q is public and guarded at once: %v", route.Pattern, route.Requirements))
	}
	for _, wanted := range accepts {
		if !contains(called, wanted) {
			l.errs = append(l.errs, fmt.Errorf("auth/guard: route %q accepts %s credentials of an authenticator (%T) that no Identify around it calls",
				route.Pattern, wanted.Challenge().Scheme, wanted))
		}
	}
	if guarded {
		for _, a := range called {
			route.Schemes = append(route.Schemes, a.Challenge().Scheme)
		}
	}
	l.routes = append(l.routes, route)
	return nil
}

// Err returns an error for each mistake for which [Mux.Handle] panics, for example
// a route without a guard, and for a Ledger without routes.
func (l *Ledger) Err() error {
	if len(l.routes) == 0 && len(l.errs) == 0 {
		return errors.New("auth/guard: the ledger has no routes")
	}
	return errors.Join(l.errs...)
}

// Routes returns the ledger ordered by pattern.
func (l *Ledger) Routes() []Route { return sortedRoutes(l.routes) }
