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
		Account: func(ctx context.Context, _ *identity.Principal) (string, error) {
			u, err := a.me.Current(ctx)
			if err != nil {
				return "", err
			}
			return u.Username, nil
		},
		// A session alone changes no factor: whoever finds a token must not be
		// able to make it last.
		VerifyPassword: func(ctx context.Context, p *identity.Principal, password string) error {
			return a.signIn.VerifyPassword(ctx, p, password)
		},
		UseGrant: func(ctx context.Context, p *identity.Principal, grant string) error {
			return a.signIn.UseGrant(ctx, p, grantFactor, grant)
		},
		// A password change on another node is in the log before it is in this
		// node's memory.
		Revoked: func(ctx context.Context, p *identity.Principal) (bool, error) {
			return a.revoked.Direct().Revoked(ctx, p)
		},
		End: a.endUnderFactor,
		Notify: func(_ context.Context, c totp.Change) {
			if text := factorNotices[c.Kind]; text != "" {
				a.ways.post.tell(c.User, text)
			}
		},
		Hooks: a.hooks,
	})
	return err
}

// factorNotices are the messages to a user whose second factor changes.
var factorNotices = map[guard.EventName]string{
	totp.EventConfirmed:    "One-time codes were set up.",
	totp.EventReplaced:     "The app for one-time codes was replaced.",
	totp.EventRemoved:      "One-time codes were removed.",
	totp.EventReset:        "One-time codes were removed by an administrator.",
	totp.EventRegenerated:  "The recovery codes were replaced.",
	totp.EventRecoveryUsed: "A recovery code was used.",
	totp.EventLocked:       "One-time codes are locked after many wrong ones.",
}

// grantFactor is the purpose of the grants that change a second factor.
const grantFactor = "2fa"

// endUnderFactor revokes the API keys of a user whose factor ends: they were made
// while the factor vouched for the user.
func (a *app) endUnderFactor(ctx context.Context, c totp.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	id, err := strconv.ParseInt(c.User, 10, 64)
	if err != nil {
		return err
	}
	return a.revokeKeysOf(ctx, &user{ID: id})
}

// resetFactor is DELETE /users/{username}/2fa, for people who have lost their
// phone, with its passkeys, and their recovery codes, and have shown who they are in another way.
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
	if err := a.removeFactors(r.Context(), strconv.FormatInt(u.ID, 10)); err != nil {
		return fmt.Errorf("resetting a second factor: %w", err)
	}
	return a.endAll(r.Context(), u)
}

var _ auth.SecondFactor = (*totp.Service)(nil)
