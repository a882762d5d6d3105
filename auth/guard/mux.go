package guard

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A Mux is a [http.ServeMux] that lists what each route demands and identifies
// callers after routing. It panics at registration for a route that has no guard
// and is not [Public]. Register all routes before serving. Serving is safe for
// concurrent use.
type Mux struct {
	hooks   Hooks
	mux     http.ServeMux
	id      *identifier // nil without authenticators
	schemes []string
	routes  []Route
	writers sync.Pool // of *unmatched, to spare each request one
}

// A Route is a line of the route ledger.
type Route struct {
	Pattern      string        // as it was registered
	Schemes      []string      // how callers are identified; empty on a public route
	Requirements []Requirement // outermost first
}

// String returns the route on one line.
func (r Route) String() string {
	demands := make([]string, len(r.Requirements))
	for i, q := range r.Requirements {
		demands[i] = q.String()
	}
	return r.Pattern + "\t" + strings.Join(demands, ", ")
}

// NewMux returns a Mux that identifies the callers of its guarded routes with the
// authenticators as [Hooks.Identify] does, and that panics for the same mistakes.
// Without authenticators, a middleware around the Mux has to identify callers.
func NewMux(hooks Hooks, authenticators ...Authenticator) *Mux {
	m := &Mux{hooks: hooks}
	if len(authenticators) > 0 {
		m.id = newIdentifier(hooks, authenticators)
		m.id.mustDiffer()
		for _, c := range m.id.challenges {
			m.schemes = append(m.schemes, c.Scheme)
		}
	}
	return m
}

// Handle registers h for pattern. It panics as ServeMux.Handle does, and if h has
// no guard and is not [Public], if h has both, or if an Accept within h names an
// authenticator that neither the Mux nor an Identify within h calls. [Requirements]
// states which guards it sees.
func (m *Mux) Handle(pattern string, h http.Handler) {
	if isNil(h) {
		panic(fmt.Sprintf("guard: route %q has no handler", pattern))
	}
	demands := Requirements(h)
	guarded, public := classify(demands)
	route := Route{Pattern: pattern, Requirements: demands}
	switch {
	case !guarded && !public:
		panic(fmt.Sprintf("guard: route %q has no guard. Put one around its handler, or guard.Public with the reason; "+
			"a middleware around a guard hides it unless it calls guard.Describe", pattern))
	case guarded && public:
		panic(fmt.Sprintf("guard: route %q is public and guarded at once: %v", pattern, demands))
	case guarded:
		route.Schemes = m.schemes
		if m.id != nil {
			m.mustLookFor(pattern, h)
			h = m.id.handler(h)
		}
	}
	m.mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, ok := w.(*unmatched); ok {
			w = u.ResponseWriter // it did match: nothing stands between
		}
		h.ServeHTTP(w, r)
	}))
	m.routes = append(m.routes, route)
}

// mustLookFor panics if an Accept of h wants credentials that nobody looks for.
// Schemes would not tell: two issuers of tokens are both "Bearer".
func (m *Mux) mustLookFor(pattern string, h http.Handler) {
	asked := slices.Clone(m.id.authenticators)
	for d := range layers(h) {
		m.id.mustNotJudgeAgain(d.settles)
		asked = append(asked, d.settles...)
		for _, wanted := range d.accepts {
			// All that Accept has can be compared, and so with anything.
			if !slices.Contains(asked, wanted) {
				panic(fmt.Sprintf("guard: route %q accepts %s credentials, which nobody looks for: give NewMux the very "+
					"authenticator (%T) that Accept has", pattern, wanted.Challenge().Scheme, wanted))
			}
		}
	}
}

// ServeHTTP calls the handler of the best matching pattern. Without one it refuses
// the request: 404 "not_found", or 405 "method_not_allowed" with Allow. The
// redirects of ServeMux to clean paths remain.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u, ok := m.writers.Get().(*unmatched)
	if !ok {
		u = new(unmatched)
	}
	*u = unmatched{ResponseWriter: w, mux: m, request: r}
	m.mux.ServeHTTP(u, r)
	// Nobody has it any more: a handler that was found has never seen it.
	*u = unmatched{}
	m.writers.Put(u)
}

// unmatched is what the ServeMux itself writes to, as opposed to a handler that
// it found. It puts our refusal in the place of its plain text.
type unmatched struct {
	http.ResponseWriter
	mux     *Mux
	request *http.Request
	refused bool
}

func (u *unmatched) WriteHeader(status int) {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		u.refused = true
		d := NotFound(errNoRoute)
		if status == http.StatusMethodNotAllowed {
			d = MethodNotAllowed(u.ResponseWriter)
			d.Err = errNoRoute
		}
		u.mux.hooks.Refuse(u.ResponseWriter, u.request, d)
	default:
		u.ResponseWriter.WriteHeader(status)
	}
}

func (u *unmatched) Write(p []byte) (int, error) {
	if u.refused {
		return len(p), nil // the ServeMux's own words
	}
	return u.ResponseWriter.Write(p)
}

var errNoRoute = errors.New("guard: no route matches")

// Routes returns the ledger ordered by pattern.
func (m *Mux) Routes() []Route { return sortedRoutes(m.routes) }

func sortedRoutes(routes []Route) []Route {
	routes = slices.Clone(routes)
	for i := range routes {
		routes[i].Schemes = slices.Clone(routes[i].Schemes)
		routes[i].Requirements = cloneAll(routes[i].Requirements)
	}
	slices.SortFunc(routes, func(a, b Route) int { return strings.Compare(a.Pattern, b.Pattern) })
	return routes
}
