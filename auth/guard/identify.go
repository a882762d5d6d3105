package guard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/identity"
)

// An Authenticator says who sent a request. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate returns the caller, whose Principal is this request's
	// own. It returns [ErrNoCredentials], and no Denial, if the request does
	// not carry the kind of credential it looks for, a [*Denial] for a
	// credential that is no good, and any other error if it could not
	// decide, which is answered 503. It does not write to the response.
	Authenticate(r *http.Request) (*identity.Principal, error)

	// Challenge says how to ask for the credential. It is the same at every
	// call, names a Scheme, and has no Error.
	Challenge() Challenge
}

// An IntoAuthenticator is an [Authenticator] that fills in a Principal which
// guard has room for in the request's context, instead of making one: it spares
// the busiest path an allocation.
type IntoAuthenticator interface {
	Authenticator

	// AuthenticateInto does what Authenticate does, and writes the caller to
	// p, which is zero before. What it leaves in p with an error does not
	// count.
	AuthenticateInto(r *http.Request, p *identity.Principal) error
}

// Identify returns the middleware that settles who is calling.
//
//   - No credentials: the request goes on anonymously, and the route's guard
//     decides. The authenticators' challenges are on every 401 that follows.
//   - Bad credentials: 401 at once. The request is never treated as anonymous,
//     and the next authenticator is not asked to save it.
//   - Credentials of two kinds, or two Authorization lines: 400
//     invalid_request, for two parts of a system could each believe another
//     (RFC 6750 section 2).
//   - A store that does not answer: 503.
//
// An Authorization header whose scheme no authenticator claims is not looked
// at. A caller whom an outer Identify found stays, unless this one finds
// another: that is two kinds of credentials. Identify panics if it is given no
// authenticator, or one without a scheme.
func (h Hooks) Identify(authenticators ...Authenticator) func(http.Handler) http.Handler {
	if len(authenticators) == 0 {
		panic("guard: Identify needs at least one Authenticator")
	}
	id := newIdentifier(h, authenticators)
	return func(next http.Handler) http.Handler {
		d := describe(id.handler(next), next)
		d.settles = id.authenticators
		return d
	}
}

// Accept returns the guard for a route that takes the credentials of some
// authenticators only: a caller whom another one identified is refused as if
// they had shown nothing, and asked for the accepted credentials alone.
// It panics if it is given none, or one that cannot be compared, and so does
// [Mux.Handle] where nobody looks for the credentials of one of them.
func (h Hooks) Accept(authenticators ...Authenticator) func(http.Handler) http.Handler {
	if len(authenticators) == 0 {
		panic("guard: Accept needs at least one Authenticator")
	}
	// Only for the checks it makes and the challenges it collects.
	id := newIdentifier(h, authenticators)
	var schemes []string
	var wanted []Challenge
	for i, c := range id.challenges {
		if !reflect.ValueOf(id.authenticators[i]).Comparable() {
			panic(fmt.Sprintf("guard: Accept cannot compare authenticator %d (%T), use a pointer to it", i, id.authenticators[i]))
		}
		c.ErrorURI = ""
		schemes = append(schemes, c.Scheme)
		wanted = append(wanted, c)
	}
	check := func(r *http.Request) error {
		if rc, p := identified(r.Context()); rc != nil && slices.Contains(id.authenticators, rc.by) {
			// Not if the host put somebody else in between.
			if now, ok := identity.FromContext(r.Context()); ok && sameCaller(now, p) {
				return nil
			}
		}
		d := Unauthenticated()
		d.Challenges, d.only = wanted, true
		return d
	}
	return func(next http.Handler) http.Handler {
		d := h.guarded(next, check, Requirement{Kind: KindScheme, Values: schemes, Any: true})
		d.accepts = id.authenticators
		return d
	}
}

// identifier is what Identify settles once.
type identifier struct {
	hooks          Hooks
	authenticators []Authenticator
	into           []IntoAuthenticator // the same, nil for those that are none
	challenges     []Challenge         // of the authenticators, in their order
	lines          []string            // the same as they stand in the header
}

func newIdentifier(h Hooks, authenticators []Authenticator) *identifier {
	id := &identifier{hooks: h}
	for i, a := range authenticators {
		if a == nil {
			panic(fmt.Sprintf("guard: authenticator %d is nil", i))
		}
		c := a.Challenge()
		if token(c.Scheme) == "" || token(c.Scheme) != c.Scheme {
			panic(fmt.Sprintf("guard: authenticator %d (%T) has the challenge scheme %q, want a token of RFC 9110", i, a, c.Scheme))
		}
		if c.Error != "" || c.ErrorDescription != "" {
			panic(fmt.Sprintf("guard: authenticator %d (%T) has a standing Error, want none: it would accuse anonymous requests", i, a))
		}
		id.authenticators = append(id.authenticators, a)
		into, _ := a.(IntoAuthenticator)
		id.into = append(id.into, into)
		id.challenges = append(id.challenges, c)
		c.ErrorURI = "" // like the Error it explains
		id.lines = append(id.lines, c.String())
	}
	return id
}

func (id *identifier) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := &requestContext{Context: r.Context(), id: id}
		r = r.WithContext(rc)
		p, by, err := id.identify(r, &rc.room)
		if err != nil {
			id.hooks.Refuse(w, r, err)
			return
		}
		if p != nil {
			if _, outer := identified(rc.Context); outer != nil && !sameCaller(outer, p) {
				id.hooks.Refuse(w, r, twoKinds(fmt.Errorf("guard: an outer Identify found another caller than the %s credentials name",
					by.Challenge().Scheme)))
				return
			}
			rc.by = by
			rc.principal.Store(p)
			identity.Tell(rc.Context, p)
			if id.hooks.Active != nil {
				if err := id.hooks.Active(rc, p); err != nil {
					id.hooks.Refuse(w, r, err)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// identify returns nil, nil, nil for an anonymous request. The caller is in
// room if the authenticator can use it.
func (id *identifier) identify(r *http.Request, room *identity.Principal) (*identity.Principal, Authenticator, error) {
	if len(r.Header["Authorization"]) > 1 {
		return nil, nil, InvalidRequest("The request carries more than one Authorization header.",
			errors.New("guard: more than one Authorization header"))
	}
	var (
		found   Authenticator
		caller  *identity.Principal
		verdict error
	)
	for i, a := range id.authenticators {
		var p *identity.Principal
		var err error
		if into := id.into[i]; into != nil && found == nil {
			p = room
			err = into.AuthenticateInto(r, p)
		} else {
			p, err = a.Authenticate(r)
		}
		if noCredentials(err) {
			if p == room {
				*room = identity.Principal{}
			}
			continue
		}
		if found != nil {
			return nil, nil, twoKinds(fmt.Errorf("guard: both %s and %s credentials", found.Challenge().Scheme, a.Challenge().Scheme))
		}
		if err == nil && (p == nil || p == room && nobody(p)) {
			err = fmt.Errorf("guard: %T returned neither a principal nor an error", a)
		}
		found, caller, verdict = a, p, err
	}
	if verdict != nil {
		return nil, nil, verdict
	}
	return caller, found, nil
}

// nobody reports whether nothing was written to p that says who it is.
func nobody(p *identity.Principal) bool {
	return p.Issuer == "" && p.Subject == "" && p.Credential == ""
}

// noCredentials reports whether err says that there was nothing to judge. A
// Denial never does, whatever its reason: it has judged.
func noCredentials(err error) bool {
	if err == ErrNoCredentials { // the usual case, and fast
		return true
	}
	if !errors.Is(err, ErrNoCredentials) {
		return false
	}
	_, judged := errors.AsType[*Denial](err)
	return !judged
}

func twoKinds(err error) *Denial {
	return InvalidRequest("The request carries more than one kind of credential.", err)
}

// challenges returns the WWW-Authenticate lines of a refusal.
func challenges(ctx context.Context, d *Denial) []string {
	if len(d.Challenges) == 0 && d.Status != http.StatusUnauthorized {
		return nil
	}
	var lines []string
	for _, c := range d.Challenges {
		if line := completed(ctx, c).String(); line != "" {
			lines = append(lines, line)
		}
	}
	if d.Status != http.StatusUnauthorized || d.only {
		return lines
	}
	for rc := range identifies(ctx) {
		for i, base := range rc.id.challenges {
			if line := rc.id.lines[i]; !mentions(d.Challenges, base.Scheme) && !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) == 0 {
		lines = []string{"Bearer"}
	}
	return lines
}

// completed returns c with what the authenticator of its scheme adds.
func completed(ctx context.Context, c Challenge) Challenge {
	for rc := range identifies(ctx) {
		for _, base := range rc.id.challenges {
			if strings.EqualFold(base.Scheme, c.Scheme) {
				return c.on(base)
			}
		}
	}
	return c
}

func mentions(challenges []Challenge, scheme string) bool {
	for _, c := range challenges {
		if strings.EqualFold(c.Scheme, scheme) {
			return true
		}
	}
	return false
}

// requestContext is what Identify puts around the request's context. It
// answers two keys and holds the memo and the caller, so a request costs one
// allocation for all four.
type requestContext struct {
	context.Context
	id *identifier

	// principal is nil while anonymous. It is atomic because authenticators
	// are given this context before it is settled, and may leave goroutines
	// behind that log with it. by, which of them found it, is written before.
	principal atomic.Pointer[identity.Principal]
	by        Authenticator
	room      identity.Principal // where principal points, if it can

	memo memo
}

type requestKey struct{}

func (rc *requestContext) Value(key any) any {
	switch key.(type) {
	case identity.ContextKey:
		// An anonymous request keeps the caller that a host's own
		// middleware may have found before.
		if p := rc.principal.Load(); p != nil {
			return p
		}
	case requestKey:
		return rc
	}
	return rc.Context.Value(key)
}

// identifies yields what the middlewares of Identify around ctx settled, the
// innermost first. More than one is rare, but a Mux within a router that
// identifies by itself is no mistake.
func identifies(ctx context.Context) iter.Seq[*requestContext] {
	return func(yield func(*requestContext) bool) {
		for {
			rc, ok := ctx.Value(requestKey{}).(*requestContext)
			if !ok || !yield(rc) {
				return
			}
			ctx = rc.Context
		}
	}
}

// identified returns the innermost Identify that found a caller, and whom.
func identified(ctx context.Context) (*requestContext, *identity.Principal) {
	for rc := range identifies(ctx) {
		if p := rc.principal.Load(); p != nil {
			return rc, p
		}
	}
	return nil, nil
}

// sameCaller reports whether a and b are one caller with one credential.
func sameCaller(a, b *identity.Principal) bool {
	return a == b || a.Issuer == b.Issuer && a.Subject == b.Subject && a.Tenant == b.Tenant && a.Credential == b.Credential
}

// memo remembers what was loaded for one request.
type memo struct {
	mu      sync.Mutex
	entries map[any]any // memoKey[T] to func() (T, error)
}

// memoKey has the type of the value in its own, so that a nil interface value
// needs no type assertion and two types under one key are two entries.
type memoKey[T any] struct{ key any }

// Once returns what load returns, and calls it once per request for each key:
// several guards and the handler that need the caller's user share one load,
// errors included. Keys are compared like map keys; use a type or a pointer of
// your own. Outside of Identify there is no request to remember for, and load
// is called each time; an Identify within another begins anew, for it may have
// found another caller.
func Once[T any](ctx context.Context, key any, load func() (T, error)) (T, error) {
	rc, ok := ctx.Value(requestKey{}).(*requestContext)
	if !ok {
		return load()
	}
	return entry(&rc.memo, key, load)()
}

// entry returns the function that loads what key stands for.
func entry[T any](m *memo, key any, load func() (T, error)) func() (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := memoKey[T]{key}
	if e, ok := m.entries[k]; ok {
		return e.(func() (T, error))
	}
	if m.entries == nil {
		m.entries = make(map[any]any)
	}
	// OnceValues: a second goroutine of the request waits for the first
	// without holding up other keys.
	e := sync.OnceValues(load)
	m.entries[k] = e
	return e
}
