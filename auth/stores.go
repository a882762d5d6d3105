package auth

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/auth/identity"
)

// What is asked of the host's stores, each question in one place: an identifier
// that no store could have is answered here, so that no client can make a
// database fail with it.

// maxIdentifier is the longest login, user ID, client ID or session ID, in bytes:
// what a Revoker can revoke.
const maxIdentifier = 512

// wellFormed reports whether a store may be asked for an identifier.
func wellFormed(id string) bool {
	return id != "" && len(id) <= maxIdentifier && identity.CheckNames(id) == nil
}

// userByLogin returns nil if there is no such user.
func (s *Server) userByLogin(ctx context.Context, login string) (*User, error) {
	return userOf(ctx, s.users.UserByLogin, login)
}

// userByID returns nil if there is no such user.
func (s *Server) userByID(ctx context.Context, id string) (*User, error) {
	return userOf(ctx, s.users.UserByID, id)
}

func userOf(ctx context.Context, look func(context.Context, string) (*User, error), id string) (*User, error) {
	if !wellFormed(id) {
		return nil, nil
	}
	user, err := look(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, unavailable("looking a user up", err)
	}
	return user, nil
}

// clientByID returns nil if there is no such client.
func (s *Server) clientByID(ctx context.Context, id string) (*Client, error) {
	if !wellFormed(id) {
		return nil, nil
	}
	client, err := s.config.Clients.ClientByID(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, unavailable("looking a client up", err)
	}
	return client, nil
}
