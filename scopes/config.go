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

// Config says what scopes and authentication contexts mean. The zero Config is
// ready for use: scopes without a hierarchy, and no authentication contexts.
type Config struct {
	// Implies says which scopes a scope includes: with "write": {"read"}, a
	// credential that is good for "write" passes where "read" is required.
	// It goes on from there: what "read" implies, "write" does too. Names are
	// literal, a "*" has no meaning.
	//
	// A circle is an error, although one could read it as equal names: by a
	// slip, {"admin": {"write"}, "write": {"admin"}} makes everybody who may
	// write an administrator. A scope that is renamed needs no circle, only
	// {"old": {"new"}}, when the routes ask for the new one.
	//
	// It must not come to more than 100 000 pairs of scopes. Default: no
	// scope implies another.
	Implies map[string][]string

	// FullIssuers are issuers whose callers have every scope, because their
	// credentials carry none: sessions of the host's own (guard.NewSessions, with
	// the Issuer "session"). The scopes of their principals are not looked at, so
	// list no issuer of tokens. Default: empty.
	FullIssuers []string

	// ACR says which factors make an authentication context that
	// [Middleware.Fresh] may name, for example "mfa": pwd and otp. A caller
	// has it who has proven all of them; the names are those of
	// identity.Principal.Factors. Default: there are no such contexts.
	ACR map[string]identity.Set

	// Leeway is how far the clock that wrote AuthTime may be ahead of ours;
	// what is further ahead counts as unknown. A sign-in that is too old gets
	// none. Up to 5 minutes. Default: 30 seconds.
	Leeway time.Duration

	// Scheme is the authentication scheme of the challenges, "DPoP" say. An
	// API key that is good for too little is challenged in "ApiKey" instead.
	// Realm and the like are taken from the authenticator of that scheme.
	// Default: "Bearer".
	Scheme string

	// FastAPIStatusCodes answers too few scopes with 401 and "Not enough
	// permissions", as FastAPI's guide does, instead of 403. Clients that
	// refresh their token at a 401 then do so in vain. Default: 403, as RFC
	// 6750 section 3.1 has it.
	FastAPIStatusCodes bool

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// A Middleware makes the guards of routes. It is safe for concurrent use.
type Middleware struct {
	implied hierarchy
	acr     map[string]identity.Set
	config  Config // without the maps
}

// New returns a Middleware. Its error lists every mistake.
func New(config Config) (*Middleware, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("scopes: "+format, args...)) }

	implied, err := newHierarchy(config.Implies)
	errs = append(errs, err)
	for _, name := range slices.Sorted(maps.Keys(config.ACR)) {
		if !isToken(name) {
			mistake("Config.ACR has the name %q, want printable ASCII without space, \" and \\, for acr_values is a list with spaces", name)
		}
		// An empty set would be a strong name for nothing at all.
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
