package scopes

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Config configures a [Middleware]. The zero Config is ready for use.
type Config struct {
	// Implies maps a scope to the scopes that it includes, transitively: with "write":
	// {"read"}, "write" passes where "read" is required. At most 100,000 pairs,
	// indirect ones included. A cycle is an error, because it is a privilege
	// escalation. To rename a scope, set {"old": {"new"}} and require the new one.
	Implies map[string][]string

	// FullIssuers are issuers of the host's own sessions, for example
	// "session" of guard.NewSessions, whose callers have every scope. List
	// no issuer of tokens. The API keys that such a caller makes are still
	// limited by apikey.Config.OwnerRights.
	FullIssuers []string

	// ACR defines authentication contexts for [Middleware.Fresh] by the
	// factors that identity.Principal.Factors must contain.
	ACR map[string]identity.Set

	// Leeway is how far AuthTime may be ahead of the local clock, up to 5
	// minutes. It does not extend maxAge. Default: 30 seconds.
	Leeway time.Duration

	// Scheme is the scheme of challenges, for example "DPoP". Its authenticator
	// supplies further parameters. API keys that lack scopes are challenged with
	// "ApiKey". Default: "Bearer".
	Scheme string

	// FastAPIStatusCodes answers missing scopes with 401 "Not enough permissions", as
	// FastAPI's guide does, although a new token does not help. Default: 403 (RFC 6750
	// section 3.1).
	FastAPIStatusCodes bool

	// Hooks renders refusals and receives events.
	Hooks guard.Hooks
}

// A Middleware returns guards for routes. It is safe for concurrent use.
type Middleware struct {
	implied hierarchy
	acr     map[string]identity.Set
	config  Config // without the maps
}

// New returns a Middleware. The error lists every mistake in config; cycles are
// reported once the names in Implies are correct.
func New(config Config) (*Middleware, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("scopes: "+format, args...)) }

	implied, err := newHierarchy(config.Implies)
	errs = append(errs, err)
	for _, name := range slices.Sorted(maps.Keys(config.ACR)) {
		if !isToken(name) {
			mistake("Config.ACR has the name %q; use printable ASCII without space, \" and \\", name)
		}
		// An empty set would be a context that every caller has.
		if config.ACR[name].Len() == 0 {
			mistake("Config.ACR[%q] is empty; add at least one factor", name)
		}
	}
	for i, issuer := range config.FullIssuers {
		if issuer == "" || strings.HasPrefix(issuer, "apikey:") {
			mistake("Config.FullIssuers[%d] is %q; use the issuer of sessions", i, issuer)
		}
	}
	if config.Leeway < 0 || config.Leeway > 5*time.Minute {
		mistake("Config.Leeway is %v; use 0 to 5m", config.Leeway)
	}
	config.Leeway = cmp.Or(config.Leeway, 30*time.Second)
	config.Scheme = cmp.Or(config.Scheme, "Bearer")
	if strings.Trim(config.Scheme, schemeBytes) != "" {
		mistake("Config.Scheme is %q; use letters, digits and '-'", config.Scheme)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	acr := maps.Clone(config.ACR)
	config.Implies, config.ACR = nil, nil
	config.FullIssuers = slices.Clone(config.FullIssuers)
	return &Middleware{implied, acr, config}, nil
}
