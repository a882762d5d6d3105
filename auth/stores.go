package auth

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/auth/identity"
)

// All calls of the host's stores by identifier are here. They do not pass on
// identifiers that no store can have, so that no client can make a database fail.

// maxIdentifier is the longest login, user ID, client ID or session ID, in bytes: the
// longest that a Revoker can revoke.
const maxIdentifier = 512

// wellFormed reports whether an identifier may be passed to a store.
func wellFormed(id string) bool {
	return id != "" && len(id) <= maxIdentifier && identity.CheckNames(id) == nil
}

// userByLogin returns nil if the user does not exist.
func (s *Server) userByLogin(ctx context.Context, login string) (*User, error) {
	return s.userOf(ctx, "auth.UserByLogin", s.users.UserByLogin, login)
}

// userByID returns nil if the user does not exist.
func (s *Server) userByID(ctx context.Context, id string) (*User, error) {
	return s.userOf(ctx, "auth.UserByID", s.users.UserByID, id)
}

func (s *Server) userOf(ctx context.Context, method string, look func(context.Context, string) (*User, error), id string) (*User, error) {
	if !wellFormed(id) {
		return nil, nil
	}
	begun := s.config.Hooks.Begin()
	user, err := look(ctx, id)
	if errors.Is(err, ErrNotFound) {
		user, err = nil, nil
	}
	s.config.Hooks.Measured(ctx, begun, "store", method, err)
	switch {
	case err != nil:
		return nil, unavailable("looking a user up", err)
	}
	return user, nil
}

// clientByID returns nil if the client does not exist.
func (s *Server) clientByID(ctx context.Context, id string) (*Client, error) {
	if !wellFormed(id) {
		return nil, nil
	}
	begun := s.config.Hooks.Begin()
	client, err := s.config.Clients.ClientByID(ctx, id)
	if errors.Is(err, ErrNotFound) {
		client, err = nil, nil
	}
	s.config.Hooks.Measured(ctx, begun, "store", "auth.ClientByID", err)
	if err != nil {
		return nil, unavailable("looking a client up", err)
	}
	return client, nil
}
