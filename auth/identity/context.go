package identity

import (
	"context"
	"sync/atomic"
)

// ContextKey is the key of the *[Principal] in a context, for other implementations
// of [context.Context].
type ContextKey struct{}

type holderKey struct{}

// NewContext returns a context that carries p and reports p to the [Holder] of an
// outer middleware. If p is nil, the context is anonymous. If ctx carries another
// caller or credential, the new context is [Ambiguous], and every guard answers 400.
// To replace the caller, call NewContext(NewContext(ctx, nil), user).
func NewContext(ctx context.Context, p *Principal) context.Context {
	if p != nil {
		if found, ok := FromContext(ctx); ok && !found.Same(p) || Ambiguous(ctx) {
			return context.WithValue(ctx, ContextKey{}, ambiguous{})
		}
	}
	Tell(ctx, p)
	return context.WithValue(ctx, ContextKey{}, p)
}

// FromContext returns the principal that ctx carries, or false if the request is
// anonymous or [Ambiguous].
func FromContext(ctx context.Context) (*Principal, bool) {
	p, _ := ctx.Value(ContextKey{}).(*Principal)
	return p, p != nil
}

// Ambiguous reports whether ctx was given two different callers.
func Ambiguous(ctx context.Context) bool {
	_, two := ctx.Value(ContextKey{}).(ambiguous)
	return two
}

// ambiguous stands in the place of the Principal.
type ambiguous struct{}

// A Holder lets an outer middleware, like an access log, read the caller afterwards.
//
//	ctx, holder := identity.WithHolder(r.Context())
//	next.ServeHTTP(w, r.WithContext(ctx))
//	if p := holder.Principal(); p != nil { … }
type Holder struct{ principal atomic.Pointer[Principal] }

// WithHolder returns a context whose descendants report their principal to the
// Holder. It returns an existing Holder of ctx.
func WithHolder(ctx context.Context) (context.Context, *Holder) {
	if h, ok := ctx.Value(holderKey{}).(*Holder); ok {
		return ctx, h
	}
	h := new(Holder)
	return context.WithValue(ctx, holderKey{}, h), h
}

// Principal returns a copy of the caller at identification, or nil. It is safe for
// concurrent use.
func (h *Holder) Principal() *Principal {
	seen := h.principal.Load()
	if seen == nil {
		return nil
	}
	own := *seen
	return &own
}

// Tell reports p to the Holder of ctx. [NewContext] calls it; other implementations
// of [context.Context] with [ContextKey] must call it.
func Tell(ctx context.Context, p *Principal) {
	h, ok := ctx.Value(holderKey{}).(*Holder)
	if !ok {
		return
	}
	if p == nil {
		h.principal.Store(nil)
		return
	}
	// A copy, because the handler may change p while the log reads the copy.
	seen := *p
	h.principal.Store(&seen)
}
