package blacklist

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/httpfield"
)

// Config says how a [Guard] refuses. The zero Config is ready for use.
type Config struct {
	// Scheme is the authentication scheme of the credentials, for the
	// challenge that goes with 401. Default: "Bearer".
	Scheme string

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// ErrRevoked is why a [Guard] refuses a credential, for the log.
var ErrRevoked = errors.New("blacklist: the credential was revoked")

// A Guard lets through callers whose credentials were not revoked. It is for
// hosts whose login is their own: the authenticators of this module ask by
// themselves. With the Revoker of [Replica.Direct] it is for dangerous routes
// of any host. It is safe for concurrent use.
type Guard struct {
	revoker interface {
		Revoked(ctx context.Context, p *identity.Principal) (bool, error)
	}
	scheme  string
	hooks   guard.Hooks
	demands []guard.Requirement
}

// New returns the guard that asks the revoker, a [Revoker] or a value with its
// method Revoked. Its error lists every mistake.
func New(revoker interface {
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}, config Config) (*Guard, error) {
	if config.Scheme == "" {
		config.Scheme = "Bearer"
	}
	var errs []error
	if revoker == nil {
		errs = append(errs, errors.New("blacklist: the Revoker is nil, want a *Replica, a *Memory, or one of your own"))
	}
	if !httpfield.IsToken(config.Scheme) {
		errs = append(errs, fmt.Errorf("blacklist: Config.Scheme is %q, want a name such as %q, without spaces", config.Scheme, "Bearer"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	demand := "not revoked"
	if _, ok := revoker.(direct); ok {
		demand = "not revoked, as the log says now"
	}
	return &Guard{revoker, config.Scheme, config.Hooks, []guard.Requirement{
		{Kind: guard.KindCaller},
		{Kind: guard.KindCheck, Values: []string{demand}},
	}}, nil
}

// Handler returns next behind the guard. An anonymous request is refused with
// 401, a revoked credential with 401 invalid_token, and every caller with 503
// while the Revoker cannot answer.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return g.hooks.Require(func(r *http.Request) error { return g.Check(r.Context()) }, g.demands...)(next)
}

// Check decides what [Guard.Handler] does, about the caller whom ctx carries: in
// a WebSocket that is open for long, or another protocol. It returns nil, a
// [*guard.Denial] for guard.Hooks.Refuse, or the error of ctx.
func (g *Guard) Check(ctx context.Context) error {
	p, err := guard.CallerFrom(ctx)
	if err != nil {
		return err
	}
	revoked, err := g.revoker.Revoked(ctx, p)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err() // nobody waits for the answer
	case err != nil:
		// Whatever the error is, a 401 of some other service even, it is no
		// verdict on this caller.
		return guard.Unavailable(0, fmt.Errorf("blacklist: asking whether a credential is revoked: %w", err))
	case revoked:
		d := guard.InvalidToken(g.scheme, fmt.Errorf("%w: %q of session %q, subject %q", ErrRevoked, p.Credential, p.Session, p.Subject))
		d.Event = guard.EventTokenReuse
		return d
	}
	return nil
}
