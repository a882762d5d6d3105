package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// Revoke returns the handler of POST /revoke (RFC 7009), which revokes the token in
// the form. A refresh token ends its session including access tokens (section 2.1);
// an access token ends alone. Possession of the token is sufficient; with
// Config.Clients, its client must authenticate as for Token.
//
// It answers 200 when the end is durable, and for unknown, expired and malformed
// tokens (section 2.2), and 503 if a store fails. It panics without
// Config.Verifier.
func (s *Server) Revoke() http.Handler {
	if s.config.Verifier == nil {
		panic("auth: Revoke needs Config.Verifier")
	}
	return endpoint(s, "token revocation", readForm, byClient(s, func(r *http.Request, f form, c origin) (revoked, error) {
		given := f.get("token")
		if given == "" {
			return revoked{}, badRequest(http.StatusBadRequest, "The parameter token is missing.")
		}
		p, err := s.revoke(r.Context(), given, c.Client)
		if err != nil {
			return revoked{}, err
		}
		if p != nil {
			s.hooks.Emit(r, guard.Event{Name: guard.EventTokenRevoked, Principal: p})
		}
		return revoked{}, nil
	}))
}

// revoked is the empty answer of RFC 7009 section 2.2.
type revoked struct{}

func (revoked) write(w http.ResponseWriter) { writeJSON(w, http.StatusOK, nil) }

// revoke returns the principal of the revoked token, or nil for an unknown token.
func (s *Server) revoke(ctx context.Context, given string, c *Client) (*identity.Principal, error) {
	p, err := s.refreshVerifier.Verify(ctx, given)
	switch {
	case err == nil:
		if err := s.mayRevoke(c, p); err != nil {
			return nil, err
		}
		return p, s.endSessions(ctx, identity.Revocation{Session: p.Session})
	case !errors.Is(err, token.ErrInvalid):
		return nil, unavailable("verifying a refresh token", err)
	}
	p, err = s.config.Verifier.Verify(ctx, given)
	switch {
	case err == nil:
		if err := s.mayRevoke(c, p); err != nil {
			return nil, err
		}
		return p, s.endCredential(ctx, p)
	case !errors.Is(err, token.ErrInvalid):
		return nil, unavailable("verifying an access token", err)
	}
	return nil, nil
}

// mayRevoke refuses a client that revokes a token of another client (RFC 7009 section
// 2.1).
func (s *Server) mayRevoke(c *Client, p *identity.Principal) error {
	if s.config.Clients == nil {
		return nil
	}
	return c.issuedTo(p, "The token was issued to another client.")
}

// endCredential ends one access token.
func (s *Server) endCredential(ctx context.Context, p *identity.Principal) error {
	err := s.config.Revoker.Revoke(guard.NestedChange(ctx), identity.Revocation{
		Issuer:     p.Issuer,
		Credential: p.Credential,
		Expires:    p.Expires,
	})
	if err != nil {
		return unavailable("revoking an access token", err)
	}
	return nil
}
