package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// The demo users, and the first administrator of a server without them.

// A demoUser is a user that a new database gets.
type demoUser struct {
	user
	note string
}

var demoUsers = []demoUser{
	{user{Username: "alice", Email: "alice@example.com", FullName: "Alice Example",
		Roles: identity.NewSet("user"), Scopes: identity.NewSet("read:items", "write:items")}, "may read and write items"},
	{user{Username: "mod", Email: "mod@example.com", FullName: "Mo Derator",
		Roles: identity.NewSet("moderator"), Scopes: identity.NewSet("read:items")}, "is a moderator"},
	{user{Username: "admin", Email: "admin@example.com", FullName: "Ad Ministrator",
		Roles: identity.NewSet("admin"), Scopes: identity.NewSet("read:items", "write:items", "admin", "introspect")}, "is an administrator"},
	{user{Username: "dora", Email: "dora@example.com", FullName: "Dora Disabled", Disabled: true,
		Roles: identity.NewSet("user")}, "is disabled: signing in fails"},
}

// seed makes the demo users if the database is new and they are wanted, and
// records in either case that the database is not new any more: a demo user who
// is deleted does not come back.
func (a *app) seed(ctx context.Context, keys *secrets, wanted bool) error {
	err := a.db.QueryRowContext(ctx, "SELECT password_hash FROM server_demo").Scan(&a.demoHash)
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	hash := ""
	if wanted {
		// One for all: they have the same password in any case.
		if hash, err = a.passwords.Hash(ctx, keys.DemoPassword); err != nil {
			return err
		}
	}
	// Of several processes that start at once one does it, and the others wait
	// for its transaction: it is whole or not there.
	err = locked(ctx, a.db, func(tx *sql.Tx) error {
		first, err := changed(tx.ExecContext(ctx, `INSERT INTO server_demo (one, password_hash)
			SELECT 1, CASE WHEN EXISTS (SELECT 1 FROM users) THEN '' ELSE CAST($1 AS TEXT) END WHERE true ON CONFLICT (one) DO NOTHING`, hash))
		if err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "SELECT password_hash FROM server_demo").Scan(&a.demoHash); err != nil || !first || a.demoHash == "" {
			return err
		}
		for _, demo := range demoUsers {
			u := demo.user
			u.PasswordHash, u.EmailVerified = hash, true
			// Somebody may have registered under the name meanwhile.
			if err := createUser(ctx, tx, &u); err != nil && !errors.Is(err, errTaken) {
				return err
			}
		}
		return nil
	})
	return err
}

// demoUsers returns the demo users that still have the password of the secrets,
// an enabled one first.
func (a *app) demoUsers(ctx context.Context, keys *secrets) ([]demoUser, error) {
	if a.demoHash == "" {
		return nil, nil
	}
	// The secrets may have been replaced, which changes no password.
	if ok, _, err := a.passwords.Verify(ctx, keys.DemoPassword, a.demoHash); err != nil || !ok {
		return nil, err
	}
	var left []demoUser
	for _, demo := range demoUsers {
		u, err := a.users.byUsername(ctx, demo.Username)
		if errors.Is(err, auth.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if u.PasswordHash == a.demoHash && (u.Disabled == demo.Disabled) {
			left = append(left, demo)
		}
	}
	if !slices.ContainsFunc(left, func(u demoUser) bool { return !u.Disabled }) {
		return nil, nil
	}
	return left, nil
}

// makeAdministrator is -make-admin. The change and its row of the audit trail, which is
// chained with the secrets, are one transaction.
func makeAdministrator(ctx context.Context, o options, w io.Writer) (err error) {
	keys, err := readSecrets(o.secrets)
	if err != nil {
		return fmt.Errorf("-make-admin: -secrets %s: %w; the audit trail needs the secrets of the server", o.secrets, err)
	}
	db, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := keys.agree(ctx, db, o.secrets, o.db); err != nil {
		return err
	}
	name, err := auth.CanonicalLogin(o.makeAdmin)
	if err != nil {
		return fmt.Errorf("-make-admin %q: this is no name that a user can have", o.makeAdmin)
	}
	all := users{db}
	u, err := all.byUsername(ctx, name)
	if errors.Is(err, auth.ErrNotFound) {
		return fmt.Errorf("-make-admin %s: there is no such user in %s; register the user first", name, o.db)
	}
	if err != nil {
		return err
	}
	trail, err := newTrail(db, keys, 0, nil)
	if err != nil {
		return err
	}
	err = trail.exclusively(ctx, func(tx *sql.Tx) error {
		if isPostgres(db) {
			if _, err := tx.ExecContext(ctx, "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", u.ID); err != nil {
				return err
			}
		}
		u, err := userByID(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		if u.Disabled {
			return fmt.Errorf("-make-admin %s: the account is disabled", name)
		}
		if u.Roles.Has("admin") {
			return nil // no change, and no row
		}
		roles := u.Roles.With("admin")
		if _, err := tx.ExecContext(ctx, "UPDATE users SET roles = $2 WHERE id = $1", u.ID, roles.String()); err != nil {
			return err
		}
		end, err := trail.last(ctx, tx)
		if err != nil {
			return err
		}
		return trail.insert(ctx, tx, &end, []auditRow{rowOf(ctx, guard.Event{
			Name: guard.EventAuthzChange, Target: strconv.FormatInt(u.ID, 10), Changes: []slog.Attr{
				slog.String("program", "-make-admin"), slog.String("roles_before", u.Roles.String()), slog.String("roles", roles.String()),
			},
		})})
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s is an administrator. Tokens have the scopes of administrators from the next sign-in on.\n", name)
	return err
}

// replaceSecrets ends what was made with secrets that are not there any more,
// and makes keys those of the database.
func (a *app) replaceSecrets(ctx context.Context, keys *secrets) error {
	ids, err := a.users.ids(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		u := &user{ID: id}
		if err := errors.Join(a.endAll(ctx, u), a.revokeKeysOf(ctx, u), a.factors.Reset(ctx, strconv.FormatInt(id, 10))); err != nil {
			return fmt.Errorf("-replace-secrets: ending what user %d has: %w", id, err)
		}
	}
	if err := a.audit.restart(ctx); err != nil {
		return fmt.Errorf("-replace-secrets: the audit trail: %w", err)
	}
	if err := keys.adopt(ctx, a.db); err != nil {
		return fmt.Errorf("-replace-secrets: %w", err)
	}
	a.log.Warn("the secrets are replaced: all sessions are ended, all API keys revoked, all second factors removed; passwords are as they were", "users", len(ids))
	return nil
}
