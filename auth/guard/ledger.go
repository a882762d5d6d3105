package guard

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// A Kind is the subject of a [Requirement].
type Kind string

// The kinds of requirements.
const (
	KindCaller     Kind = "caller"     // a caller is required
	KindScheme     Kind = "scheme"     // identified by one of these authentication schemes
	KindScope      Kind = "scope"      // the credential must have these scopes
	KindRole       Kind = "role"       // the caller must have these roles
	KindPermission Kind = "permission" // the caller must have these permissions
	KindFactor     Kind = "factor"     // these factors must have been proven
	KindCheck      Kind = "check"      // a check of the host's own
	KindLimit      Kind = "limit"      // a rate limit, which alone guards nothing
	KindOptional   Kind = "optional"   // a caller is identified and not required; the value is the reason
	KindPublic     Kind = "public"     // no demand; the value is the reason
)

// A Requirement is one demand of a guard in the route ledger.
type Requirement struct {
	Kind   Kind
	Values []string // names of scopes, roles and so on; the reason of KindPublic and KindOptional
	Any    bool     // one of Values is enough; otherwise all are needed
}

// String returns the requirement on one line: `scope read:items`, `any role
// admin|moderator`, `public (sign-in)`.
func (q Requirement) String() string {
	switch {
	case q.Kind == KindPublic || q.Kind == KindOptional:
		return string(q.Kind) + " (" + strings.Join(q.Values, ", ") + ")"
	case len(q.Values) == 0:
		return string(q.Kind)
	case q.Any && len(q.Values) > 1:
		return "any " + string(q.Kind) + " " + strings.Join(q.Values, "|")
	}
	return string(q.Kind) + " " + strings.Join(q.Values, " ")
}

// described is a handler that knows what it demands.
type described struct {
	http.Handler
	next    http.Handler
	demands []Requirement
	settles []Authenticator // those of Identify
	accepts []Authenticator // those of Accept
}

// Describe returns h, which guards next, and makes [Requirements] report the
// demands. A middleware of the host's own between two guards calls it without
// demands, so that it does not hide the inner guard. Describe panics if h or next
// is nil.
func Describe(h, next http.Handler, demands ...Requirement) http.Handler {
	return describe(h, next, demands...)
}

func describe(h, next http.Handler, demands ...Requirement) *described {
	if isNil(next) {
		panic("guard: no handler to guard")
	}
	if isNil(h) {
		panic("guard: Describe has no handler")
	}
	return &described{Handler: h, next: next, demands: cloneAll(demands)}
}

// isNil reports whether h is nil, or the function that [http.ServeMux] refuses
// as well.
func isNil(h http.Handler) bool {
	f, ok := h.(http.HandlerFunc)
	return h == nil || ok && f == nil
}

// cloneAll copies what the ledger keeps or gives away.
func cloneAll(demands []Requirement) []Requirement {
	demands = slices.Clone(demands)
	for i := range demands {
		demands[i].Values = slices.Clone(demands[i].Values)
	}
	return demands
}

// Requirements returns the demands of h and of the guards within it, outermost
// first, none for a handler without a guard. A middleware that did not call
// [Describe] hides the guards within it.
//
// Pass middlewares that another router keeps apart from h, outermost first; they
// hide nothing.
func Requirements(h http.Handler, middlewares ...func(http.Handler) http.Handler) []Requirement {
	var all []Requirement
	for d := range stack(h, middlewares) {
		all = append(all, cloneAll(d.demands)...)
	}
	return all
}

// stack yields what is described of the middlewares and of h, outermost first.
func stack(h http.Handler, middlewares []func(http.Handler) http.Handler) iter.Seq[*described] {
	return func(yield func(*described) bool) {
		for _, middleware := range middlewares {
			inner := describe(nothing, nothing)
			for d := range layers(middleware(inner)) {
				if d == inner {
					break
				}
				if !yield(d) {
					return
				}
			}
		}
		layers(h)(yield)
	}
}

// classify reports whether the demands guard a route, and whether they leave it open.
func classify(demands []Requirement) (guarded, public bool) {
	for _, q := range demands {
		switch q.Kind {
		case KindPublic:
			public = true
		case KindLimit: // it slows callers down and demands nothing of them
		default:
			guarded = true
		}
	}
	return guarded, public
}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// layers yields what is described of h, outermost first.
func layers(h http.Handler) iter.Seq[*described] {
	return func(yield func(*described) bool) {
		for d, ok := h.(*described); ok && yield(d); {
			d, ok = d.next.(*described)
		}
	}
}

// Public returns middleware that marks a route as open without credentials, with
// the reason: sign-in, health checks, documentation. A [Mux] ignores credentials on
// a public route; an Identify around the route does not. Public panics if why is
// empty.
func Public(why string) func(http.Handler) http.Handler { return open(KindPublic, why) }

// Optional is [Public], but a [Mux] identifies callers who present credentials, and
// refuses rejected ones.
func Optional(why string) func(http.Handler) http.Handler { return open(KindOptional, why) }

func open(kind Kind, why string) func(http.Handler) http.Handler {
	if strings.TrimSpace(why) == "" {
		panic("guard: a route that is open to everybody needs a reason")
	}
	return func(next http.Handler) http.Handler {
		if isNil(next) {
			panic("guard: no handler to guard")
		}
		return Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { passes(w, r, next) }), next,
			Requirement{Kind: kind, Values: []string{why}})
	}
}
