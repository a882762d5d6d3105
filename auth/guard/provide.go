package guard

import (
	"context"
	"net/http"
)

// Provide is a middleware that gives h to all guards and packages inside next:
// where their own Hooks have no Deny, SignIn, Observe or Measure, they use that of
// h. A host that puts it outermost sets Hooks once:
//
//	server.Handler = hooks.Provide(limit.Handler(mux))
//
// Active is not given: it belongs to [Hooks.Identify]. Events and measurements
// outside of requests, such as of a log that cannot be read, need the Hooks of
// their package.
func (h Hooks) Provide(next http.Handler) http.Handler {
	if h.Measure != nil {
		measureProvided.Store(true)
	}
	return describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &providedContext{Context: r.Context(), hooks: &h}
		p.request = *r.WithContext(p)
		r = &p.request
		p.source = sourceOf(r)
		next.ServeHTTP(w, r)
	}), next)
}

type providedContext struct {
	context.Context
	hooks   *Hooks
	request http.Request // with this context: one allocation for both
	source  requestSource
}

type providedKey struct{}

func (p *providedContext) Value(key any) any {
	if _, ok := key.(providedKey); ok {
		return p
	}
	return p.Context.Value(key)
}

// within returns h, completed by the Hooks of Provide around ctx.
func (h Hooks) within(ctx context.Context) Hooks {
	if h.Deny != nil && h.SignIn != nil && h.Observe != nil {
		return h
	}
	provided, ok := ctx.Value(providedKey{}).(*providedContext)
	if !ok {
		return h
	}
	outer := provided.hooks
	if h.Deny == nil {
		h.Deny = outer.Deny
	}
	if h.SignIn == nil {
		h.SignIn = outer.SignIn
	}
	if h.Observe == nil {
		h.Observe = outer.Observe
	}
	return h
}
