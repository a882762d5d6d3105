package blacklist

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/httpfield"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// GuardConfig configures a [Guard]. The zero GuardConfig is ready for use.
type GuardConfig struct {
	Optional bool // accept requests without a caller, otherwise 401

	Scheme string // of the challenge; default: "Bearer"

	// Hooks.Deny writes refusals and Hooks.Observe receives events. No other hook
	// is called.
	Hooks guard.Hooks
}

// ErrRevoked is wrapped by the refusal of a revoked credential, for logs.
var ErrRevoked = errors.New("blacklist: the credential was revoked")

// A Guard refuses revoked callers, for hosts with their own sign-in, and for routes
// that require [Replica.Direct]. Authenticators of this module call a Revoker
// themselves. It is safe for concurrent use.
type Guard struct {
	revoker  revocationChecker
	optional bool
	scheme   string
	hooks    guard.Hooks
	demands  []guard.Requirement
}

type revocationChecker interface {
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}

// NewGuard returns a Guard that calls revoker.Revoked. The error lists all
// mistakes.
func NewGuard(revoker interface {
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}, config GuardConfig) (*Guard, error) {
	wrong := mistakes.List{Package: "blacklist"}
	if revoker == nil {
		wrong.Add("the revoker is nil; pass a *Replica, a *Memory, or a Revoker of your own")
	}
	if config.Scheme == "" {
		config.Scheme = "Bearer"
	}
	if !httpfield.IsToken(config.Scheme) {
		wrong.Bad("GuardConfig.Scheme", config.Scheme, `a name without spaces such as "Bearer"`)
	}
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	demand := "not revoked"
	if _, ok := revoker.(direct); ok {
		demand = "not revoked, as the log says now"
	}
	demands := []guard.Requirement{{Kind: guard.KindCheck, Values: []string{demand}}}
	if !config.Optional {
		demands = append([]guard.Requirement{{Kind: guard.KindCaller}}, demands...)
	}
	return &Guard{revoker, config.Optional, config.Scheme, config.Hooks, demands}, nil
}

// Handler is middleware that refuses a revoked caller with 401 invalid_token, and
// every caller with 503 while the revoker fails.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return g.hooks.Require(func(r *http.Request) error { return g.Check(r.Context()) }, g.demands...)(next)
}

// Check decides like Handler about the caller in ctx, for example of an open
// WebSocket. It returns nil, a *guard.Denial, or the error of ctx.
func (g *Guard) Check(ctx context.Context) error {
	if _, ok := identity.FromContext(ctx); !ok && g.optional && !identity.Ambiguous(ctx) {
		return nil
	}
	p, err := guard.CallerFrom(ctx)
	if err != nil {
		return err
	}
	revoked, err := g.revoker.Revoked(ctx, p)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err() // the client is gone
	case err != nil:
		// A refusal of another system inside err is no verdict on this caller.
		return guard.Unavailable(0, fmt.Errorf("blacklist: checking whether a credential is revoked: %w", err))
	case revoked:
		d := guard.InvalidToken(g.scheme, fmt.Errorf("%w: %q of session %q, subject %q", ErrRevoked, p.Credential, p.Session, p.Subject))
		d.Event = guard.EventTokenReuse
		return d
	}
	return nil
}
