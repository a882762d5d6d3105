package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
)

// users is the host's own table as an auth.UserStore.
type users struct{ db *sql.DB }

func (u users) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	return u.one(ctx, "login = ?", login)
}

func (u users) UserByID(ctx context.Context, id string) (*auth.User, error) {
	return u.one(ctx, "CAST(id AS TEXT) = ?", id)
}

func (u users) one(ctx context.Context, where, arg string) (*auth.User, error) {
	var found auth.User
	var roles, scopes string
	err := u.db.QueryRowContext(ctx, "SELECT id, password_hash, disabled, roles, scopes FROM users WHERE "+where, arg).
		Scan(&found.ID, &found.PasswordHash, &found.Disabled, &roles, &scopes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, auth.ErrNotFound
	}
	found.Roles, found.Scopes = identity.ParseSet(roles), identity.ParseSet(scopes)
	return &found, err
}

// UpdatePasswordHash stores the hash of today's cost when a user signs in.
func (u users) UpdatePasswordHash(ctx context.Context, id, from, to string) error {
	_, err := u.db.ExecContext(ctx, "UPDATE users SET password_hash = ? WHERE CAST(id AS TEXT) = ? AND password_hash = ?", to, id, from)
	return err
}

// load returns the user of a request.
func (u users) load(ctx context.Context, p *identity.Principal) (*auth.User, error) {
	return u.UserByID(ctx, p.Subject)
}

// addFirst adds a user to an empty table, and reports whether it was empty.
func (u users) addFirst(ctx context.Context, login, hash string) (bool, error) {
	result, err := u.db.ExecContext(ctx, "INSERT INTO users (login, password_hash) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM users)", login, hash)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}
