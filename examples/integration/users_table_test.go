package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/identity"
)

// memberTable is a UserStore over a table as hosts have them: the database makes
// the IDs, each member belongs to an organisation, and a role implies the scopes.
type memberTable struct{ db *sql.DB }

const memberSchema = `CREATE TABLE members (
	id            TEXT PRIMARY KEY DEFAULT ('mem_' || lower(hex(randomblob(12)))),
	email         TEXT NOT NULL UNIQUE,
	display_name  TEXT NOT NULL CHECK (display_name <> ''),
	password_hash TEXT NOT NULL CHECK (password_hash <> ''),
	organisation  TEXT NOT NULL CHECK (organisation <> ''),
	role          TEXT NOT NULL CHECK (role IN ('viewer', 'editor')),
	suspended_at  TEXT
)`

var scopesOf = map[string]identity.Set{
	"viewer": identity.NewSet("documents:read"),
	"editor": identity.NewSet("documents:read", "documents:write"),
}

func (m memberTable) user(ctx context.Context, where string, arg string) (*auth.User, error) {
	var u auth.User
	var role string
	err := m.db.QueryRowContext(ctx, `SELECT id, password_hash, organisation, role, suspended_at IS NOT NULL FROM members WHERE `+where, arg).
		Scan(&u.ID, &u.PasswordHash, &u.Tenant, &role, &u.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, auth.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading a member: %w", err)
	}
	u.Roles, u.Scopes = identity.NewSet(role), scopesOf[role]
	return &u, nil
}

func (m memberTable) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	return m.user(ctx, "email = ?", login)
}

func (m memberTable) UserByID(ctx context.Context, id string) (*auth.User, error) {
	return m.user(ctx, "id = ?", id)
}

func (m memberTable) UpdatePasswordHash(ctx context.Context, id, from, to string) error {
	_, err := m.db.ExecContext(ctx, `UPDATE members SET password_hash = ? WHERE id = ? AND password_hash = ?`, to, id, from)
	return err
}

func TestTableOfAHostIsAUserStore(t *testing.T) {
	authtest.RunUsers(t, func(t *testing.T, users map[string]auth.User) auth.UserStore {
		db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "members.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		if _, err := db.Exec(memberSchema); err != nil {
			t.Fatal(err)
		}
		for login, u := range users {
			var suspended any
			if u.Disabled {
				suspended = "2026-01-01"
			}
			err := db.QueryRow(`INSERT INTO members (email, display_name, password_hash, organisation, role, suspended_at) VALUES (?, ?, ?, ?, 'editor', ?) RETURNING id`,
				login, login, u.PasswordHash, u.Tenant, suspended).Scan(&u.ID)
			if err != nil {
				t.Fatal(err)
			}
			u.Roles, u.Scopes = identity.NewSet("editor"), scopesOf["editor"]
			users[login] = u
		}
		return memberTable{db}
	})
}
