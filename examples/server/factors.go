package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
	factorstore "github.com/gatewright/gatewright/totp/sqlstore"
)

// Second factors.

// joinFactors makes what is about second factors. It comes before auth.New,
// which asks for them at each sign-in.
func (a *app) joinFactors(db *sql.DB, keys *secrets) error {
	seal, errSeal := keys.derive("second factors")
	ring, errRing := totp.NewKeyring(seal)
	store, errStore := a.backends.factors, error(nil)
	if store == nil {
		store, errStore = factorstore.New(db, factorstore.Config{Dialect: dialect(db, factorstore.SQLite, factorstore.PostgreSQL)})
	}
	if err := errors.Join(errSeal, errRing, errStore); err != nil {
		return err
	}
	var err error
	a.factors, err = totp.New(store, ring, totp.Config{
		Issuer: service,
		// The routes let nobody in who has no session. Whose session ended
		// while the code was sent must not set a factor up, which would keep
		// the owner out.
		User: func(ctx context.Context, p *identity.Principal) (string, error) { return p.Subject, a.stillThere(ctx) },
		// What people see in their app beside the name of this service.
		Account: func(ctx context.Context, p *identity.Principal) (string, error) {
			u, err := a.loadUser(ctx, p)
			if err != nil {
				return "", err
			}
			return u.Username, nil
		},
		Hooks: a.hooks,
	})
	return err
}

// resetFactor is DELETE /users/{username}/2fa, for people who have lost their
// phone and their recovery codes, and have shown who they are in another way.
// Their sessions end, since nobody knows who has the phone.
func (a *app) resetFactor(w http.ResponseWriter, r *http.Request) {
	err := a.resetFactorOf(r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *app) resetFactorOf(r *http.Request) error {
	by, err := a.current(r)
	if err != nil {
		return err
	}
	u, err := a.named(r)
	if err != nil {
		return err
	}
	if u.ID == by.ID {
		return ownAccount()
	}
	// Once more, and not as it was when the request began.
	now, err := a.users.byID(r.Context(), strconv.FormatInt(by.ID, 10))
	if err != nil {
		return gone(err)
	}
	if err := a.mayAdminister(now, u, writeUsers); err != nil {
		return err
	}
	// Now, or a session of theirs sets another factor up as soon as there is
	// none; and once more below, for whoever signs in with the old one before.
	if err := a.endAll(r.Context(), u); err != nil {
		return err
	}
	if err := a.factors.Reset(r.Context(), strconv.FormatInt(u.ID, 10)); err != nil {
		return fmt.Errorf("resetting a second factor: %w", err)
	}
	a.hooks.Emit(r, guard.Event{Name: guard.EventUserUpdated, Login: u.Username})
	return a.endAll(r.Context(), u)
}

var _ auth.SecondFactor = (*totp.Service)(nil)
