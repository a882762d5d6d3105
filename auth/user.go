package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// A User is the part of a host's user that package auth uses.
type User struct {
	// ID becomes the subject of tokens. It must never change and never be assigned
	// to another user, so a login name is a poor choice.
	ID string

	// PasswordHash is an encoded hash of package password. Empty: the user cannot
	// sign in with a password.
	PasswordHash string

	// Disabled users cannot sign in or refresh.
	Disabled bool

	// Tenant is the organisation of the user, if any.
	Tenant string

	// Roles become the roles of access tokens.
	Roles identity.Set

	// Scopes are all scopes that a token may have; without a scope parameter, it
	// has all of them.
	Scopes identity.Set
}

// Format prints the ID under every verb, and never PasswordHash. fmt does not call
// it for a User in an unexported field. encoding/json and encoding/gob write all
// fields.
func (u User) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "user %q", u.ID) }

// LogValue returns the ID, the tenant and whether the user is disabled.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", u.ID), slog.String("tenant", u.Tenant), slog.Bool("disabled", u.Disabled))
}

// ErrNotFound is returned by stores for a user or client that does not exist.
var ErrNotFound = errors.New("auth: not found")

// A UserStore loads the host's users. It is safe for concurrent use.
// authtest.RunUsers is the conformance suite.
//
// An error wraps [ErrNotFound] if the user does not exist; other errors are
// answered 503. Logins and IDs are compared byte for byte: a store with numbers as
// IDs returns ErrNotFound for "01". Disabled users are returned too. The caller
// does not modify the User.
type UserStore interface {
	// UserByLogin returns the user with this login, in the form of
	// Config.CanonicalLogin.
	UserByLogin(ctx context.Context, login string) (*User, error)

	// UserByID returns the user with this ID.
	UserByID(ctx context.Context, id string) (*User, error)
}

// A PasswordUpdater is a [UserStore] that can replace password hashes. Hashes of
// older schemes or weaker parameters are then upgraded at sign-in.
type PasswordUpdater interface {
	// UpdatePasswordHash replaces the user's hash if it is still old, in one atomic
	// step, so that a concurrent change of the password wins.
	UpdatePasswordHash(ctx context.Context, id, old, new string) error
}

// CanonicalLogin is the default of Config.CanonicalLogin. It returns login without
// surrounding spaces, in ASCII lower case. Names that are empty, longer than 254
// bytes or not printable ASCII, because they can look like other names, are errors.
// Hosts call it at registration too.
func CanonicalLogin(login string) (string, error) {
	login = strings.Trim(login, " ")
	if login == "" || len(login) > 254 {
		return "", errors.New("auth: a login has 1 to 254 characters")
	}
	for i := range len(login) {
		if login[i] < ' ' || login[i] > '~' {
			return "", errors.New("auth: a login has printable ASCII characters only")
		}
	}
	return strings.ToLower(login), nil
}
