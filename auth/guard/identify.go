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

// NewPrincipal returns a zero Principal for an [Authenticator] to fill in and to
// return as the caller of r. Within Identify, the first one of each request is
// part of the request's context, which saves an allocation. A Principal that is
// not returned does not count.
func NewPrincipal(r *http.Request) *identity.Principal {
	rc, ok := r.Context().(*requestContext)
	if !ok {
		// The authenticator has put a context of its own around it.
		rc, ok = r.Context().Value(requestKey{}).(*requestContext)
	}
	if ok && rc.taken.CompareAndSwap(false, true) {
		return &rc.room
	}
	return new(identity.Principal)
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
// at. A caller that an outer middleware found stays, unless Identify finds
// another: the request then has two kinds of credentials.
//
// Identify panics without authenticators, for an authenticator whose challenge
// has no scheme, and for two authenticators that would judge the same
// credential: two with the scheme Bearer, or two with equal challenges. A
// token.NewVerifiers takes the tokens of several issuers.
func (h Hooks) Identify(authenticators ...Authenticator) func(http.Handler) http.Handler {
	if len(authenticators) == 0 {
		panic("guard: Identify needs at least one Authenticator")
	}
	id := newIdentifier(h, authenticators)
	id.mustDiffer()
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
		if identity.Ambiguous(r.Context()) {
			return ambiguous()
		}
		d := Unauthenticated()
		d.Challenges, d.only = wanted, true
		rc, p := identified(r.Context())
		now, known := identity.FromContext(r.Context())
		switch {
		case rc == nil && known:
			d.Err = fmt.Errorf("guard: the host's own middleware identified the caller, and the route accepts %s credentials only", strings.Join(schemes, ", "))
		case rc == nil:
			d.Err = nothingFound(r.Context())
		case !known || !now.Same(p):
			d.Err = errors.New("guard: the host's own middleware replaced the caller after Identify, so no credentials of the route count")
		case !slices.Contains(id.authenticators, rc.by):
			d.Err = fmt.Errorf("guard: the caller was identified by %s credentials (%T), and the route accepts %s credentials of other authenticators only",
				rc.by.Challenge().Scheme, rc.by, strings.Join(schemes, ", "))
		default:
			return nil
		}
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
	challenges     []Challenge // of the authenticators, in their order
	lines          []string    // the same as they stand in the header
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
		id.challenges = append(id.challenges, c)
		c.ErrorURI = "" // like the Error it explains
		id.lines = append(id.lines, c.String())
	}
	return id
}

// mustDiffer panics if two authenticators would both judge one credential: each
// would refuse what is the other's.
func (id *identifier) mustDiffer() {
	for i, c := range id.challenges {
		for j, before := range id.challenges[:i] {
			switch {
			case strings.EqualFold(c.Scheme, "Bearer") && strings.EqualFold(before.Scheme, "Bearer"):
				panic(fmt.Sprintf("guard: authenticators %d and %d (%T, %T) both have the scheme Bearer, and each would refuse the "+
					"other's tokens; use one token.NewVerifiers for several issuers, and another scheme for what is no bearer token",
					j, i, id.authenticators[j], id.authenticators[i]))
			case id.lines[i] == id.lines[j]:
				panic(fmt.Sprintf("guard: authenticators %d and %d (%T, %T) both have the challenge %s; use one authenticator, "+
					"or two that read different headers and have different Realms", j, i, id.authenticators[j], id.authenticators[i], id.lines[i]))
			}
		}
	}
}

func (id *identifier) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := &requestContext{Context: r.Context(), id: id}
		r = r.WithContext(rc)
		p, by, err := id.identify(r)
		if err != nil {
			id.hooks.Refuse(w, r, err)
			return
		}
		if p != nil {
			if anotherCaller(rc.Context, p) {
				id.hooks.Refuse(w, r, twoKinds(fmt.Errorf("guard: an outer middleware found another caller than the %s credentials name",
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

// anotherCaller reports whether ctx, that of an outer middleware, carries another
// caller than p.
func anotherCaller(ctx context.Context, p *identity.Principal) bool {
	outer, ok := identity.FromContext(ctx)
	return ok && !outer.Same(p) || identity.Ambiguous(ctx)
}

// identify returns nil, nil, nil for an anonymous request.
func (id *identifier) identify(r *http.Request) (*identity.Principal, Authenticator, error) {
	if len(r.Header["Authorization"]) > 1 {
		return nil, nil, InvalidRequest("The request carries more than one Authorization header.",
			errors.New("guard: more than one Authorization header"))
	}
	var (
		found   Authenticator
		caller  *identity.Principal
		verdict error
	)
	for _, a := range id.authenticators {
		p, err := a.Authenticate(r)
		if noCredentials(err) {
			continue
		}
		if found != nil {
			return nil, nil, twoKinds(fmt.Errorf("guard: both %s and %s credentials", found.Challenge().Scheme, a.Challenge().Scheme))
		}
		if err == nil && (p == nil || nobody(p)) {
			err = fmt.Errorf("guard: %T returned neither a principal nor an error", a)
		}
		found, caller, verdict = a, p, err
	}
	if verdict != nil {
		return nil, nil, verdict
	}
	return caller, found, nil
}

// nobody reports whether p names no caller.
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

// ambiguous refuses a request in which two middlewares found two callers.
func ambiguous() *Denial {
	return twoKinds(errors.New("guard: two middlewares found two different callers"))
}

// nothingFound is the reason to refuse an anonymous request.
func nothingFound(ctx context.Context) error {
	if _, ok := ctx.Value(requestKey{}).(*requestContext); ok {
		return ErrNoCredentials
	}
	return errNoIdentify
}

// unclaimed adds to the reason of d, a refusal of an anonymous request, that it has
// an Authorization header all the same. What stands after the scheme may be a
// secret, and so may be a header without a scheme.
func unclaimed(r *http.Request, d *Denial) *Denial {
	lines := r.Header["Authorization"]
	rc, ok := r.Context().Value(requestKey{}).(*requestContext)
	if len(lines) == 0 || !ok {
		return d
	}
	explained := *d
	explained.Err = fmt.Errorf("%w: the Authorization header has no scheme", ErrNoCredentials)
	if scheme, _, ok := strings.Cut(lines[0], " "); ok && token(scheme) == scheme {
		explained.Err = fmt.Errorf("%w: the Authorization header has the scheme %.32q, and the authenticators take %s",
			ErrNoCredentials, scheme, strings.Join(rc.id.schemes(), ", "))
	}
	return &explained
}

// schemes returns the schemes of the challenges, each once.
func (id *identifier) schemes() []string {
	var schemes []string
	for _, c := range id.challenges {
		if !slices.Contains(schemes, c.Scheme) {
			schemes = append(schemes, c.Scheme)
		}
	}
	return schemes
}

// errNoIdentify is for the host that forgot Identify.
var errNoIdentify = fmt.Errorf("%w were looked for: no Hooks.Identify and no Mux with authenticators is around the route, and no middleware of the host found a caller", ErrNoCredentials)

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
	taken     atomic.Bool        // an authenticator has the room

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
