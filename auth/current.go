package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A CurrentUser loads the host's user, of type U, of the caller, once per request. It
// is safe for concurrent use.
type CurrentUser[U any] struct {
	load   func(context.Context, *identity.Principal) (U, error)
	config CurrentUserConfig
}

// CurrentUserConfig configures a [CurrentUser].
type CurrentUserConfig struct {
	// FastAPIStatusCodes answers a disabled user with 400 "Inactive user", as
	// FastAPI's guide does, instead of 401 invalid_token. Clients that sign in
	// again after a 401 then do not. Default: 401.
	FastAPIStatusCodes bool

	// Hooks renders refusals and receives events. Default: see [guard.Hooks].
	Hooks guard.Hooks
}

// NewCurrentUser returns a CurrentUser that calls load. load returns [ErrNotFound]
// for a user that does not exist and [guard.ErrInactive] for a disabled one (both
// answered 401); other errors are answered 503. If tokens of other issuers are
// accepted, load must compare the Issuer too: their subject 1 is not our user 1. It
// panics if load is nil.
func NewCurrentUser[U any](load func(context.Context, *identity.Principal) (U, error), config CurrentUserConfig) *CurrentUser[U] {
	if load == nil {
		panic("auth: NewCurrentUser needs a function that loads a user")
	}
	return &CurrentUser[U]{load, config}
}

// codeInactiveUser is that of the guide's 400.
const codeInactiveUser = "inactive_user"

// Of returns the user of the caller. It returns a 401 Denial without a caller,
// [guard.ErrInactive] if the user is missing or disabled, and other errors of load
// unchanged (503).
func (c *CurrentUser[U]) Of(ctx context.Context) (U, error) {
	p, ok := identity.FromContext(ctx)
	if !ok {
		var none U
		return none, guard.Unauthenticated()
	}
	return c.of(ctx, p)
}

func (c *CurrentUser[U]) of(ctx context.Context, p *identity.Principal) (U, error) {
	user, err := guard.Once(ctx, c, func() (U, error) { return c.load(ctx, p) })
	if err == nil {
		return user, nil
	}
	var none U
	if errors.Is(err, ErrNotFound) {
		return none, fmt.Errorf("%w: %w", guard.ErrInactive, err)
	}
	if c.config.FastAPIStatusCodes && errors.Is(err, guard.ErrInactive) {
		if _, own := errors.AsType[*guard.Denial](err); !own {
			err = &guard.Denial{
				Status: http.StatusBadRequest,
				Code:   codeInactiveUser,
				Detail: "Inactive user",
				Event:  guard.EventLoginFail,
				Err:    err,
			}
		}
	}
	return none, err
}

// Active returns an error if the user of p is missing or disabled. As Hooks.Active it
// rejects disabled users on every route, without a second load in the handler.
func (c *CurrentUser[U]) Active(ctx context.Context, p *identity.Principal) error {
	_, err := c.of(ctx, p)
	return err
}

// Handler is a guard that requires a caller with an active user, as
// get_current_active_user in FastAPI's guide. The user is then loaded for
// [CurrentUser.Of].
func (c *CurrentUser[U]) Handler(next http.Handler) http.Handler {
	return c.config.Hooks.Require(func(r *http.Request) error {
		_, err := c.Of(r.Context())
		return err
	}, guard.Requirement{Kind: guard.KindCaller})(next)
}
