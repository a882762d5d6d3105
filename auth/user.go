package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// A User is what signing in needs to know of a host's user.
type User struct {
	// ID becomes the subject of tokens. It never changes and is never given
	// to somebody else; a login name is a poor choice.
	ID string

	// PasswordHash is an encoded hash of package password. Empty: the user
	// has no password and cannot sign in with one.
	PasswordHash string

	// Disabled users cannot sign in or refresh.
	Disabled bool

	// Tenant is the organisation the user belongs to, empty for none.
	Tenant string

	// Roles become the roles of access tokens.
	Roles identity.Set

	// Scopes is the most that a token of this user may be good for. A
	// sign-in that names no scope gets all of it.
	Scopes identity.Set
}

// Format prints the ID, whatever the verb, and never PasswordHash. fmt does not
// call it for a User in an unexported field of another struct: do not print those.
// encoding/json and encoding/gob write all fields.
func (u User) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "user %q", u.ID) }

// LogValue returns the ID, the tenant and whether the user is disabled.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", u.ID), slog.String("tenant", u.Tenant), slog.Bool("disabled", u.Disabled))
}

// ErrNotFound is what stores return for a user who does not exist.
var ErrNotFound = errors.New("auth: not found")

// A UserStore knows the host's users. It is safe for concurrent use.
//
// Both methods return [ErrNotFound], which they may wrap, for a user who does
// not exist; any other error means that it could not be found out, and is
// answered 503. Logins and IDs are compared byte for byte: to a store whose IDs
// are numbers, "01" is nobody. Disabled users are returned like others. The
// caller does not change what is returned.
//
// authtest.RunUsers is its conformance suite.
type UserStore interface {
	// UserByLogin returns the user who signs in with this name, which is in
	// the form that Config.CanonicalLogin gives it.
	UserByLogin(ctx context.Context, login string) (*User, error)

	// UserByID returns the user with this ID.
	UserByID(ctx context.Context, id string) (*User, error)
}

// A PasswordUpdater is a [UserStore] that can also replace password hashes, so
// that those of older schemes or weaker parameters are upgraded when their
// users sign in.
type PasswordUpdater interface {
	// UpdatePasswordHash replaces the user's hash if it still is old, and
	// does nothing otherwise: a password that was changed in the meantime
	// must win. It is one atomic step.
	UpdatePasswordHash(ctx context.Context, id, old, new string) error
}

// CanonicalLogin is the default of Config.CanonicalLogin: a login without
// surrounding spaces, in ASCII lower case. Names with letters beyond ASCII,
// with control characters, or of more than 254 bytes are refused, for they
// could look like other names; a host whose users have such names normalises
// them by a function of its own, and applies it when they register too.
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
