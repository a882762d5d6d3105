package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A CurrentUser loads the host's own user, of type U, for whoever is calling:
// once per request, however many guards and handlers ask. It is safe for
// concurrent use.
type CurrentUser[U any] struct {
	load   func(context.Context, *identity.Principal) (U, error)
	config CurrentUserConfig
}

// CurrentUserConfig says how a [CurrentUser] refuses.
type CurrentUserConfig struct {
	// GuideStatusCodes answers somebody who is disabled with 400 "Inactive
	// user", as FastAPI's guide does, instead of 401 invalid_token. Clients
	// that sign in anew at a 401 then do not. Default: 401.
	GuideStatusCodes bool

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// NewCurrentUser returns a CurrentUser that loads with load. load returns
// [ErrNotFound] for somebody who does not exist any more, [guard.ErrInactive]
// for somebody who is disabled (both answered 401), and another error if that
// could not be found out (503). Where tokens of other issuers are taken it looks
// at the Issuer too: their subject 1 is not our user 1. It panics if load is nil.
func NewCurrentUser[U any](load func(context.Context, *identity.Principal) (U, error), config CurrentUserConfig) *CurrentUser[U] {
	if load == nil {
		panic("auth: NewCurrentUser needs a function that loads a user")
	}
	return &CurrentUser[U]{load, config}
}

// codeInactiveUser is that of the guide's 400.
const codeInactiveUser = "inactive_user"

// Of returns the user who is calling. Nobody is: 401; gone or disabled: 401
// invalid_token; the store is down: 503.
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
	if c.config.GuideStatusCodes && errors.Is(err, guard.ErrInactive) {
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

// Active reports whether the caller still is somebody: it is made for
// Hooks.Active, where it refuses disabled users on every route. The handler
// that asks for the user afterwards costs no second load.
func (c *CurrentUser[U]) Active(ctx context.Context, p *identity.Principal) error {
	_, err := c.of(ctx, p)
	return err
}

// Handler is the guard that asks for a caller who still is somebody: the
// get_current_active_user of FastAPI's guide. The user is ready for [CurrentUser.Of].
func (c *CurrentUser[U]) Handler(next http.Handler) http.Handler {
	return c.config.Hooks.Require(func(r *http.Request) error {
		_, err := c.Of(r.Context())
		return err
	}, guard.Requirement{Kind: guard.KindCaller})(next)
}
