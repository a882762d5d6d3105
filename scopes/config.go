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

// Config configures a [Middleware]. The zero Config is ready for use: scopes without
// a hierarchy, and no authentication contexts.
type Config struct {
	// Implies maps a scope to the scopes that it includes: with
	// "write": {"read"}, a credential with "write" passes where "read" is
	// required. Implication is transitive. Names are literal; a "*" has no
	// meaning. At most 100,000 pairs of scopes, indirect ones included.
	//
	// A cycle is an error, because a mistake like {"admin": {"write"},
	// "write": {"admin"}} would be a privilege escalation from write to admin.
	// To rename a scope, set {"old": {"new"}} and require the new one.
	//
	// Default: no scope implies another.
	Implies map[string][]string

	// FullIssuers are issuers whose callers have every scope, for the host's
	// own sessions, which carry no scopes (guard.NewSessions, with the Issuer
	// "session"). Principal.Scopes of these callers is ignored, so list no
	// issuer of tokens. Default: empty.
	FullIssuers []string

	// ACR defines the authentication contexts for [Middleware.Fresh] by their
	// factors, for example "mfa" by pwd and otp. A caller has a context if
	// identity.Principal.Factors contains all its factors. Default: no
	// contexts.
	ACR map[string]identity.Set

	// Leeway is how far AuthTime may be ahead of the local clock; any maxAge
	// refuses an AuthTime further ahead. Leeway does not extend maxAge. Up to
	// 5 minutes. Default: 30 seconds.
	Leeway time.Duration

	// Scheme is the authentication scheme of challenges, for example "DPoP".
	// An API key without the scopes is challenged with "ApiKey" instead. The
	// authenticator of the scheme supplies the realm and further parameters.
	// Default: "Bearer".
	Scheme string

	// FastAPIStatusCodes answers missing scopes with 401 and "Not enough
	// permissions", as FastAPI's guide does, instead of 403. Clients that
	// refresh their token after a 401 then do so in vain. Default: 403 (RFC
	// 6750 section 3.1).
	FastAPIStatusCodes bool

	// Hooks renders refusals and receives events. Default: see [guard.Hooks].
	Hooks guard.Hooks
}

// A Middleware returns guards for routes. It is safe for concurrent use.
type Middleware struct {
	implied hierarchy
	acr     map[string]identity.Set
	config  Config // without the maps
}

// New returns a Middleware. The error lists every mistake in config, except that
// cycles in Implies are reported once its names are correct.
func New(config Config) (*Middleware, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("scopes: "+format, args...)) }

	implied, err := newHierarchy(config.Implies)
	errs = append(errs, err)
	for _, name := range slices.Sorted(maps.Keys(config.ACR)) {
		if !isToken(name) {
			mistake("Config.ACR has the name %q, want printable ASCII without space, \" and \\, for acr_values is a list with spaces", name)
		}
		// An empty set would be a context that every caller has.
		if config.ACR[name].Len() == 0 {
			mistake("Config.ACR[%q] is empty, want at least one factor", name)
		}
	}
	for i, issuer := range config.FullIssuers {
		if issuer == "" || strings.HasPrefix(issuer, "apikey:") {
			mistake("Config.FullIssuers[%d] is %q, want the issuer of sessions; API keys have scopes of their own", i, issuer)
		}
	}
	if config.Leeway < 0 || config.Leeway > 5*time.Minute {
		mistake("Config.Leeway is %v, want 0 to 5m", config.Leeway)
	}
	config.Leeway = cmp.Or(config.Leeway, 30*time.Second)
	config.Scheme = cmp.Or(config.Scheme, "Bearer")
	if strings.Trim(config.Scheme, schemeBytes) != "" {
		mistake("Config.Scheme is %q, want letters, digits and '-'", config.Scheme)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	acr := maps.Clone(config.ACR)
	config.Implies, config.ACR = nil, nil
	config.FullIssuers = slices.Clone(config.FullIssuers)
	return &Middleware{implied, acr, config}, nil
}
