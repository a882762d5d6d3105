package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Accounts adapts the host's user of type U to the functions that other packages
// take. It loads the user once per request. If the user is disabled, missing or in
// another tenant than the credential, the request is refused (401).
//
//	accounts, err := auth.NewAccounts(load, describe, auth.AccountsConfig{Issuers: …, KeyIssuers: …})
//	…
//	hooks.Active = accounts.Active                          // guard.Hooks
//	rbac.Config{Roles: accounts.Roles, Tenants: true}
//	apikey.Config{OwnerRights: accounts.Rights}
//	user, err := accounts.Current(r.Context())              // in handlers
//
// Accounts is safe for concurrent use.
type Accounts[U any] struct {
	load     func(context.Context, *identity.Principal) (U, error)
	describe func(U) User
	config   AccountsConfig
}

// AccountsConfig configures [Accounts]. Issuers is required.
type AccountsConfig struct {
	// Issuers are the issuers of tokens whose subjects are IDs of the host's users,
	// for example token.Issuer.Name. Other Principals are refused. Required.
	Issuers []string

	// KeyIssuers are the issuers of API keys: "apikey:" and the keys' prefix. A key
	// has the roles of its record that its owner still has. Default: API keys are
	// refused.
	KeyIssuers []string

	// FastAPIStatusCodes answers a disabled user with 400 "Inactive user", as
	// FastAPI's guide does. Default: 401 invalid_token, after which clients sign in
	// again.
	FastAPIStatusCodes bool

	// Hooks renders refusals of [Accounts.Handler] and receives events.
	Hooks guard.Hooks
}

// NewAccounts returns Accounts that load the user p.Subject with load. Of the User
// from describe, ID, Tenant, Disabled, Roles and Scopes count.
//
// load returns [ErrNotFound] for a missing user (401), a [*guard.Denial] to choose
// the response, and any other error if the user cannot be loaded (503). If users
// belong to several tenants, load returns the membership in p.Tenant, and describe
// returns that Tenant. The error of NewAccounts lists every mistake.
func NewAccounts[U any](load func(ctx context.Context, p *identity.Principal) (U, error), describe func(U) User, config AccountsConfig) (*Accounts[U], error) {
	var errs []error
	if load == nil {
		errs = append(errs, errors.New("auth: NewAccounts: load is nil; use a function that loads the user p.Subject"))
	}
	if describe == nil {
		errs = append(errs, errors.New("auth: NewAccounts: describe is nil; use a function that returns the User's ID, Tenant, Disabled, Roles and Scopes"))
	}
	if len(config.Issuers) == 0 {
		errs = append(errs, errors.New("auth: AccountsConfig.Issuers is empty; use the Name of the token.Issuer"))
	}
	for i, name := range slices.Concat(config.Issuers, config.KeyIssuers) {
		if name == "" {
			errs = append(errs, fmt.Errorf("auth: AccountsConfig: issuer %d is empty", i))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	config.Issuers, config.KeyIssuers = slices.Clone(config.Issuers), slices.Clone(config.KeyIssuers)
	return &Accounts[U]{load, describe, config}, nil
}

// Active implements guard.Hooks.Active. The error wraps [guard.ErrInactive] unless
// the user of p is active and in p.Tenant; with FastAPIStatusCodes, it is the 400
// Denial for a disabled user. Other errors of load are returned unchanged.
func (a *Accounts[U]) Active(ctx context.Context, p *identity.Principal) error {
	_, _, err := a.of(ctx, p)
	return err
}

// Roles implements rbac.Config.Roles. It returns the user's current roles; for an
// API key, only those that p.Roles has too.
func (a *Accounts[U]) Roles(ctx context.Context, p *identity.Principal) ([]string, error) {
	_, account, err := a.of(ctx, p)
	if err != nil {
		return nil, err
	}
	roles := slices.Collect(account.Roles.All())
	if slices.Contains(a.config.KeyIssuers, p.Issuer) {
		roles = slices.DeleteFunc(roles, func(role string) bool { return !p.Roles.Has(role) })
	}
	return roles, nil
}

// Rights implements apikey.Config.OwnerRights. It returns the current roles and
// scopes of p's user.
func (a *Accounts[U]) Rights(ctx context.Context, p *identity.Principal) (roles, scopes identity.Set, err error) {
	_, account, err := a.of(ctx, p)
	return account.Roles, account.Scopes, err
}

// Current returns the user of the caller in ctx, a 401 Denial without a caller, and
// otherwise the errors of Active.
func (a *Accounts[U]) Current(ctx context.Context) (U, error) {
	p, ok := identity.FromContext(ctx)
	if !ok {
		var none U
		return none, guard.Unauthenticated()
	}
	user, _, err := a.of(ctx, p)
	return user, err
}

// Handler is the guard for routes that need an active user, like FastAPI's
// get_current_active_user.
func (a *Accounts[U]) Handler(next http.Handler) http.Handler {
	return a.config.Hooks.Require(func(r *http.Request) error {
		_, err := a.Current(r.Context())
		return err
	}, guard.Requirement{Kind: guard.KindCaller})(next)
}

// accountKey is what one load of a request is remembered under. It names the user
// and not the request's caller: apikey.Manager loads the rights of other owners.
type accountKey struct {
	accounts        any
	issuer, subject string
	tenant          string
}

// of returns the user of p and its state, both zero with an error.
func (a *Accounts[U]) of(ctx context.Context, p *identity.Principal) (user U, account User, err error) {
	if !slices.Contains(a.config.Issuers, p.Issuer) && !slices.Contains(a.config.KeyIssuers, p.Issuer) {
		return user, account, fmt.Errorf("%w: issuer %.200q is in neither Issuers nor KeyIssuers of auth.AccountsConfig", guard.ErrInactive, p.Issuer)
	}
	found, err := guard.Once(ctx, accountKey{a, p.Issuer, p.Subject, p.Tenant}, func() (U, error) { return a.load(ctx, p) })
	switch {
	case errors.Is(err, ErrNotFound):
		return user, account, fmt.Errorf("%w: %w", guard.ErrInactive, err)
	case errors.Is(err, guard.ErrInactive):
		return user, account, a.inactive(err)
	case err != nil:
		return user, account, err
	}
	state := a.describe(found)
	switch {
	case state.ID != p.Subject:
		return user, account, fmt.Errorf("auth: NewAccounts: for the user %.200q, load returned another user, with the ID %.200q", p.Subject, state.ID)
	case state.Disabled:
		return user, account, a.inactive(fmt.Errorf("%w: user %.200q is disabled", guard.ErrInactive, p.Subject))
	case state.Tenant != p.Tenant:
		return user, account, fmt.Errorf("%w: user %.200q is in tenant %.200q, and the credential is for tenant %.200q", guard.ErrInactive, p.Subject, state.Tenant, p.Tenant)
	}
	return found, state, nil
}

// codeInactiveUser is the code of the guide's 400.
const codeInactiveUser = "inactive_user"

// inactive returns the refusal of a disabled user.
func (a *Accounts[U]) inactive(err error) error {
	if _, own := errors.AsType[*guard.Denial](err); own || !a.config.FastAPIStatusCodes {
		return err
	}
	d := guard.NewDenial(http.StatusBadRequest, codeInactiveUser, "Inactive user", err)
	d.Event = guard.EventLoginFail
	return d
}
