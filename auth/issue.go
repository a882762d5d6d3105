package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A response is the answer of RFC 6749 section 5.1.
type response struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope,omitempty"`

	refreshUntil time.Time
}

// refreshClaims are the additional claims of refresh tokens: the claim "type", by which
// FastAPI's guide distinguishes refresh tokens from access tokens.
type refreshClaims struct {
	Type string `json:"type"`
}

const typeRefresh = "refresh"

// maxRefresh is the longest refresh token, which leaves some of the form to the
// other parameters.
const maxRefresh = maxForm - 512

// refreshToken describes a refresh token.
type refreshToken struct {
	id        string
	at, until time.Time
}

// issue signs the tokens of the session that p describes: an access token for scopes,
// issued at now, and a refresh token with all scopes of p. now is earlier than the call
// of the store, so that a revocation after the store has ended the session includes the
// token. If room is not 0, an access token of more bytes is an error.
func (s *Server) issue(ctx context.Context, user *User, p *identity.Principal, scopes identity.Set, now time.Time, next refreshToken, room int) (*response, *identity.Principal, error) {
	access := *p
	access.Scopes = scopes
	access.Roles = user.Roles
	access.IssuedAt = now
	access.Expires = now.Add(s.tokens.Lifetime())
	if access.Expires.After(next.until) {
		access.Expires = next.until // nor does it outlive its session
	}
	var extra any
	if s.config.Claims != nil {
		var err error
		if extra, err = s.config.Claims(ctx, user); err != nil {
			return nil, nil, unavailable("the claims of a user", err)
		}
	}
	accessToken, err := s.tokens.Issue(ctx, &access, extra)
	if err != nil {
		return nil, nil, unavailable("issuing an access token", err)
	}
	if room > 0 && len(accessToken) > room {
		return nil, nil, fmt.Errorf("auth: the access token has %d bytes and a cookie has room for %d: the user has too many scopes, roles or claims", len(accessToken), room)
	}
	refresh := *p
	refresh.Credential, refresh.IssuedAt, refresh.Expires = next.id, next.at, next.until
	signed, err := s.refresh.Issue(ctx, &refresh, refreshClaims{typeRefresh})
	if err != nil {
		return nil, nil, unavailable("issuing a refresh token", err)
	}
	if len(signed) > maxRefresh {
		return nil, nil, fmt.Errorf("auth: the refresh token has %d bytes and could not be sent back, for a form may have %d: the user has too many scopes", len(signed), maxForm)
	}
	return &response{
		AccessToken:  accessToken,
		TokenType:    "bearer",
		ExpiresIn:    int64(time.Until(access.Expires) / time.Second),
		RefreshToken: signed,
		Scope:        scopes.String(),
		refreshUntil: next.until,
	}, &access, nil
}
