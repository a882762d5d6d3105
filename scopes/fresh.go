package scopes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Fresh returns a guard that requires a sign-in not older than maxAge, unless it is
// zero, and with one of the authentication contexts acr, if any. Their order is a
// preference for the client.
//
// Other callers are answered 401 insufficient_user_authentication with max_age and
// acr_values (RFC 9470 section 3). A sign-in at an unknown time is too old, so any
// maxAge refuses API keys.
//
// Fresh panics if maxAge is zero and acr is empty, if maxAge is negative or not a
// whole number of seconds, and if an acr is not in Config.ACR.
func (m *Middleware) Fresh(maxAge time.Duration, acr ...string) func(http.Handler) http.Handler {
	if err := m.usable(maxAge, acr); err != nil {
		panic("scopes: Fresh: " + err.Error())
	}
	acr = slices.Clone(acr)
	var demands []guard.Requirement
	if len(acr) > 0 {
		demands = append(demands, guard.Requirement{Kind: guard.KindFactor, Values: acr, Any: true})
	}
	if maxAge > 0 {
		age := fmt.Sprintf("max_age=%d", maxAge/time.Second)
		demands = append(demands, guard.Requirement{Kind: guard.KindFactor, Values: []string{age}})
	}
	return m.config.Hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		return m.fresh(p, maxAge, acr)
	}, demands...)
}

// CheckFresh decides as [Middleware.Fresh] does about the caller in ctx. It returns
// nil, or a [*guard.Denial] for guard.Hooks.Refuse. If Fresh would panic, it returns
// another error, which is answered 503.
func (m *Middleware) CheckFresh(ctx context.Context, maxAge time.Duration, acr ...string) error {
	p, err := guard.CallerFrom(ctx)
	if err != nil {
		return err
	}
	if err := m.usable(maxAge, acr); err != nil {
		return fmt.Errorf("scopes: CheckFresh: %w", err)
	}
	return m.fresh(p, maxAge, acr)
}

// usable returns what is wrong with the arguments of Fresh.
func (m *Middleware) usable(maxAge time.Duration, acr []string) error {
	switch {
	case maxAge == 0 && len(acr) == 0:
		return errors.New("maxAge is zero and acr is empty; pass one of them")
	case maxAge < 0 || maxAge%time.Second != 0:
		return fmt.Errorf("maxAge is %v; use whole seconds", maxAge)
	}
	for _, name := range acr {
		if _, ok := m.acr[name]; !ok {
			return fmt.Errorf("the acr %q is not in Config.ACR", name)
		}
	}
	return nil
}

func (m *Middleware) fresh(p *identity.Principal, maxAge time.Duration, acr []string) error {
	reason := ""
	if maxAge > 0 {
		// A missing time and a time in the future must be refused too.
		switch age := time.Since(p.AuthTime); {
		case p.AuthTime.IsZero():
			reason = "the time of the sign-in is unknown"
		case age < -m.config.Leeway:
			reason = "the time of the sign-in is in the future"
		case age > maxAge:
			reason = "the sign-in is too old"
		}
	}
	if len(acr) > 0 && !slices.ContainsFunc(acr, func(name string) bool { return p.Factors.Contains(m.acr[name]) }) {
		if reason != "" {
			reason += ", and "
		}
		reason += "none of " + strings.Join(acr, ", ") + " is proven"
	}
	if reason == "" {
		return nil
	}
	return m.stepUp(maxAge, acr, reason)
}

// stepUp returns the refusal of RFC 9470. The response depends on the route alone.
// API keys are challenged in the scheme of tokens, because a key never gains a
// sign-in.
func (m *Middleware) stepUp(maxAge time.Duration, acr []string, reason string) *guard.Denial {
	// The first two texts are from the examples in RFC 9470 section 3.
	description := "A different authentication level is required"
	switch {
	case len(acr) == 0:
		description = "More recent authentication is required"
	case maxAge > 0:
		description = "A more recent authentication of a different level is required"
	}
	return guard.StepUp(guard.Challenge{
		Scheme:           m.config.Scheme,
		ErrorDescription: description,
		ACRValues:        acr,
		MaxAge:           maxAge,
	}, errors.New("scopes: "+reason))
}
