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
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/identity"
)

// An Authenticator finds the caller of a request. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate returns the caller as a new Principal; see [NewPrincipal]. It
	// returns [ErrNoCredentials] if the request does not carry its kind of
	// credential, a [*Denial] for a rejected credential, and any other error if it
	// cannot decide (503). It does not write to the response.
	Authenticate(r *http.Request) (*identity.Principal, error)

	// Challenge returns the challenge for the credential, the same at every call,
	// with a Scheme and without an Error.
	Challenge() Challenge
}

// NewPrincipal returns a zero Principal for an [Authenticator] to fill in and
// return. Within Identify, the first one of each request saves an allocation. A
// Principal that is not returned has no effect.
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

// Identify returns middleware that finds the caller.
//
//   - No credentials: the request is anonymous, and the route's guard decides.
//     Every 401 that follows carries the challenges of the authenticators.
//   - Rejected credentials: 401. No other authenticator can accept the request.
//   - Credentials of two kinds, or two Authorization headers: 400 invalid_request
//     (RFC 6750 section 2). This includes a caller that an outer middleware found.
//   - An authenticator that cannot decide: 503.
//
// An Authorization header with a scheme that no authenticator has is ignored.
//
// An authenticator of another scheme shares "Authorization: Bearer" by a method
//
//	ClaimsBearer(credential string) bool
//
// which returns true for its credentials; authenticators with the scheme Bearer are
// not called for them. API keys do so with apikey.Config.Bearer.
//
// Identify panics without authenticators, for a challenge without a scheme, and for
// two authenticators that would judge the same credential: two with the scheme
// Bearer, also if one belongs to an Identify within next, or two with equal
// challenges. token.NewVerifiers takes the tokens of several issuers.
func (h Hooks) Identify(authenticators ...Authenticator) func(http.Handler) http.Handler {
	if len(authenticators) == 0 {
		panic("guard: Identify needs at least one Authenticator")
	}
	id := newIdentifier(h, authenticators)
	id.mustDiffer()
	return func(next http.Handler) http.Handler {
		for inner := range layers(next) {
			id.mustNotJudgeAgain(inner.settles)
		}
		d := describe(id.handler(next), next)
		d.settles = id.authenticators
		return d
	}
}

// Accept returns a guard that takes callers of the given authenticators only. Other
// callers receive the 401 of an anonymous request, with the challenges of these
// authenticators. Accept panics without authenticators and for one that cannot be
// compared.
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
		var reason error
		rc, p := identified(r.Context())
		now, known := identity.FromContext(r.Context())
		switch {
		case rc == nil && known:
			reason = fmt.Errorf("guard: the host's own middleware identified the caller, and the route accepts %s credentials only", strings.Join(schemes, ", "))
		case rc == nil:
			reason = nothingFound(r.Context())
		case !known || !now.Same(p):
			reason = errors.New("guard: the host's own middleware replaced the caller after Identify, so no credentials of the route count")
		case !slices.Contains(id.authenticators, rc.by):
			reason = fmt.Errorf("guard: the caller was identified by %s credentials (%T), and the route accepts %s credentials of other authenticators only",
				rc.by.Challenge().Scheme, rc.by, strings.Join(schemes, ", "))
		default:
			return nil
		}
		d := Unauthenticated()
		d.Challenges, d.only, d.Err = wanted, true, reason
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
	invalid        []string    // the lines that answer an invalid credential
	claimers       []bearerClaimer
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
		id.invalid = append(id.invalid, invalidToken(c.Scheme).on(id.challenges[i]).String())
		if claimer, ok := a.(bearerClaimer); ok && !strings.EqualFold(c.Scheme, "Bearer") {
			id.claimers = append(id.claimers, claimer)
		}
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

// mustNotJudgeAgain panics if an Identify within judges bearer tokens with another
// authenticator: each of the two would refuse the tokens of the other.
func (id *identifier) mustNotJudgeAgain(inner []Authenticator) {
	for i, outer := range id.authenticators {
		for _, a := range inner {
			same := reflect.ValueOf(outer).Comparable() && reflect.ValueOf(a).Comparable() && outer == a
			if id.bearer(i) && !same && strings.EqualFold(a.Challenge().Scheme, "Bearer") {
				panic(fmt.Sprintf("guard: an Identify within another one has another authenticator with the scheme Bearer (%T, %T), and each would "+
					"refuse the other's tokens; use one token.NewVerifiers for several issuers, or one Identify for each group of routes", outer, a))
			}
		}
	}
}

func (id *identifier) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { id.serve(w, r, next) })
}

func (id *identifier) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rc := &requestContext{Context: r.Context(), id: id}
	rc.request = *r.WithContext(rc)
	r = &rc.request
	rc.source = sourceOf(r)
	begun := id.hooks.Begin()
	p, at, err := id.identify(r)
	scheme := ""
	if at >= 0 {
		scheme = id.challenges[at].Scheme
	}
	id.hooks.Measured(rc, begun, "identify", scheme, err)
	if err != nil {
		id.hooks.Refuse(w, r, err)
		return
	}
	if p != nil {
		if anotherCaller(rc.Context, p) {
			id.hooks.Refuse(w, r, twoKinds(fmt.Errorf("guard: an outer middleware found another caller than the %s credentials name", scheme)))
			return
		}
		rc.by = id.authenticators[at]
		rc.principal.Store(p)
		identity.Tell(rc.Context, p)
		if id.hooks.Active != nil {
			begun := id.hooks.Begin()
			err := id.hooks.Active(rc, p)
			id.hooks.Measured(rc, begun, "active", "", err)
			if err != nil {
				id.hooks.Refuse(w, r, err)
				return
			}
		}
	}
	next.ServeHTTP(w, r)
}

// anotherCaller reports whether ctx, that of an outer middleware, carries another
// caller than p.
func anotherCaller(ctx context.Context, p *identity.Principal) bool {
	outer, ok := identity.FromContext(ctx)
	return ok && !outer.Same(p) || identity.Ambiguous(ctx)
}

// identify returns nil, -1, nil for an anonymous request, and with an error the index of
// the authenticator that returned it.
func (id *identifier) identify(r *http.Request) (caller *identity.Principal, at int, verdict error) {
	if len(r.Header["Authorization"]) > 1 {
		return nil, -1, InvalidRequest("The request carries more than one Authorization header.",
			errors.New("guard: more than one Authorization header"))
	}
	at = -1
	claimed := id.bearerClaimed(r)
	for i, a := range id.authenticators {
		if claimed && id.bearer(i) {
			continue
		}
		p, err := a.Authenticate(r)
		if noCredentials(err) {
			continue
		}
		if at >= 0 {
			return nil, -1, twoKinds(fmt.Errorf("guard: both %s and %s credentials", id.challenges[at].Scheme, id.challenges[i].Scheme))
		}
		if err == nil && (p == nil || nobody(p)) {
			err = fmt.Errorf("guard: %T returned neither a principal nor an error", a)
		}
		caller, at, verdict = p, i, err
	}
	return caller, at, verdict
}

// nobody reports whether p names no caller.
func nobody(p *identity.Principal) bool {
	return p.Issuer == "" && p.Subject == "" && p.Credential == ""
}

// A bearerClaimer is an authenticator of another scheme than Bearer that also reads
// some credentials from "Authorization: Bearer", and recognises them by their
// spelling.
type bearerClaimer interface{ ClaimsBearer(credential string) bool }

// bearerClaimed reports whether the request's Bearer credential belongs to a
// bearerClaimer, so that the authenticators with the scheme Bearer must not judge
// it.
func (id *identifier) bearerClaimed(r *http.Request) bool {
	if len(id.claimers) == 0 {
		return false
	}
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	credential = strings.TrimLeft(credential, " ")
	return slices.ContainsFunc(id.claimers, func(c bearerClaimer) bool { return c.ClaimsBearer(credential) })
}

// bearer reports whether authenticator i has the scheme Bearer.
func (id *identifier) bearer(i int) bool { return strings.EqualFold(id.challenges[i].Scheme, "Bearer") }

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

// contains reports whether a is one of all. Those that Accept has can be compared.
func contains(all []Authenticator, a Authenticator) bool { return slices.Contains(all, a) }

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

// appendChallenges appends the WWW-Authenticate lines of a refusal to lines, which is
// empty.
func appendChallenges(ctx context.Context, lines []string, d *Denial) []string {
	for i := range d.Challenges {
		if line := completed(ctx, &d.Challenges[i]); line != "" {
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
		lines = append(lines, "Bearer")
	}
	return lines
}

// completed returns the line of c with the additions of the authenticator of its
// scheme.
func completed(ctx context.Context, c *Challenge) string {
	for rc := range identifies(ctx) {
		for i := range rc.id.challenges {
			base := &rc.id.challenges[i]
			switch {
			case !strings.EqualFold(base.Scheme, c.Scheme):
			case c.isInvalidToken() && c.Scheme == base.Scheme:
				return rc.id.invalid[i]
			default:
				return c.on(*base).String()
			}
		}
	}
	return c.String()
}

func mentions(challenges []Challenge, scheme string) bool {
	for _, c := range challenges {
		if strings.EqualFold(c.Scheme, scheme) {
			return true
		}
	}
	return false
}

// requestContext is the context that Identify puts around the request's context. It
// also has the request with this context, the memo and the caller, so a request costs
// one allocation for all of them.
type requestContext struct {
	context.Context
	id      *identifier
	request http.Request

	// principal is nil while anonymous. It is atomic because authenticators
	// are given this context before it is settled, and may leave goroutines
	// behind that log with it. by, which of them found it, is written before.
	principal atomic.Pointer[identity.Principal]
	by        Authenticator
	room      identity.Principal // where principal points, if it can
	taken     atomic.Bool        // an authenticator has the room

	memo   memo
	source requestSource // for events
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
