package scopes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Require returns a guard that requires all of the scopes. It panics without scopes,
// and if one is malformed (RFC 6749 section 3.3).
func (m *Middleware) Require(scopes ...string) func(http.Handler) http.Handler {
	scopes = mustBeScopes("Require", scopes)
	shown := identity.NewSet(scopes...)
	return m.config.Hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		if !m.hasAll(p.Scopes, scopes) {
			return m.refuse(p, scopes, shown)
		}
		return nil
	}, guard.Requirement{Kind: guard.KindScope, Values: scopes})
}

// RequireAny returns a guard that requires one of the scopes. Its challenge names the
// first scope only, so put the scope with the least power first. It panics as
// [Middleware.Require] does.
func (m *Middleware) RequireAny(scopes ...string) func(http.Handler) http.Handler {
	scopes = mustBeScopes("RequireAny", scopes)
	shown := identity.NewSet(scopes[0])
	return m.config.Hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		if !m.hasAny(p.Scopes, scopes) {
			return m.refuse(p, scopes, shown)
		}
		return nil
	}, guard.Requirement{Kind: guard.KindScope, Values: scopes, Any: true})
}

// Check decides as [Middleware.Require] does about the caller in ctx. It returns nil,
// or a [*guard.Denial] for guard.Hooks.Refuse. If Require would panic, it returns
// another error, which is answered 503; call [Parse] first for scopes that a client
// sends.
func (m *Middleware) Check(ctx context.Context, scopes ...string) error {
	p, err := guard.CallerFrom(ctx)
	if err != nil {
		return err
	}
	if len(scopes) == 0 {
		return errNone
	}
	if !m.hasAll(p.Scopes, scopes) {
		return m.refuse(p, slices.Clone(scopes), identity.NewSet(scopes...))
	}
	return nil
}

// hasAll reports whether granted has, or implies, each of the scopes.
func (m *Middleware) hasAll(granted identity.Set, scopes []string) bool {
	for _, name := range scopes {
		if !m.implied.passes(granted, name) {
			return false
		}
	}
	return true
}

// hasAny reports whether granted has, or implies, one of the scopes.
func (m *Middleware) hasAny(granted identity.Set, scopes []string) bool {
	return slices.ContainsFunc(scopes, func(name string) bool { return m.implied.passes(granted, name) })
}

// CheckAny decides as [Middleware.RequireAny] does and returns errors as
// [Middleware.Check] does. A malformed scope is no error if the caller has another
// one.
func (m *Middleware) CheckAny(ctx context.Context, scopes ...string) error {
	p, err := guard.CallerFrom(ctx)
	if err != nil {
		return err
	}
	if len(scopes) == 0 {
		return errNone
	}
	if !m.hasAny(p.Scopes, scopes) {
		return m.refuse(p, slices.Clone(scopes), identity.NewSet(scopes[0]))
	}
	return nil
}

var errNone = errors.New("scopes: no scope to check; pass at least one")

// mustBeScopes returns a copy of scopes. It panics without scopes and for malformed
// ones.
func mustBeScopes(method string, scopes []string) []string {
	if len(scopes) == 0 {
		panic("scopes: " + method + " needs at least one scope")
	}
	for _, name := range scopes {
		if !isToken(name) {
			panic(fmt.Sprintf("scopes: %s has the scope %q; use %s", method, name, tokenGrammar))
		}
	}
	return slices.Clone(scopes)
}

// refuse returns the refusal of p, which lacks some of the required scopes, unless p
// is of a full issuer. The response lists shown and does not depend on p. A malformed
// scope is a mistake of the host, not a refusal. The refusal keeps required.
func (m *Middleware) refuse(p *identity.Principal, required []string, shown identity.Set) error {
	for _, name := range required {
		if !isToken(name) {
			return fmt.Errorf("scopes: the scope %q is malformed; use %s", name, tokenGrammar)
		}
	}
	if slices.Contains(m.config.FullIssuers, p.Issuer) {
		return nil
	}
	scheme := m.config.Scheme
	if isKey(p) {
		scheme = "ApiKey"
	}
	d := guard.InsufficientScope(scheme, shown, &missingError{m.implied, p.Scopes, required})
	if m.config.FastAPIStatusCodes {
		d.Status, d.Detail = http.StatusUnauthorized, "Not enough permissions"
	}
	return d
}

// A missingError is the reason for refusing a caller that lacks scopes. Its text is
// made when needed.
type missingError struct {
	implied  hierarchy
	granted  identity.Set
	required []string
}

func (e *missingError) Error() string {
	text := "scopes: missing"
	for _, name := range e.required {
		if !e.implied.passes(e.granted, name) {
			text += " " + name
		}
	}
	return text
}

// isKey reports whether p is the caller of an API key, by the form of issuers that
// identity.Principal documents.
func isKey(p *identity.Principal) bool { return strings.HasPrefix(p.Issuer, "apikey:") }
