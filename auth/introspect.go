package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// ScopeIntrospect is the scope that the caller of [Server.Introspect] needs.
const ScopeIntrospect = "introspect"

// introspection is the response of RFC 7662 section 2.2. For a token that is not
// active, all members except Active are omitted.
type introspection struct {
	Active    bool         `json:"active"`
	Scope     string       `json:"scope,omitempty"`
	Client    string       `json:"client_id,omitempty"`
	TokenType string       `json:"token_type,omitempty"`
	Expires   int64        `json:"exp,omitempty"`
	IssuedAt  int64        `json:"iat,omitempty"`
	Subject   string       `json:"sub,omitempty"`
	Issuer    string       `json:"iss,omitempty"`
	ID        string       `json:"jti,omitempty"`
	AuthTime  int64        `json:"auth_time,omitempty"`
	Factors   identity.Set `json:"amr,omitzero"`
	Session   string       `json:"sid,omitempty"`
	Tenant    string       `json:"tenant,omitempty"`
}

func (i *introspection) write(w http.ResponseWriter) { writeJSON(w, http.StatusOK, i) }

// Introspect returns the handler of POST /introspect (RFC 7662), which reports to
// another service whether an access token is valid, not revoked, and of an active
// user. The caller needs the scope "introspect"; otherwise guessed and stolen
// tokens could be tried (sections 2.1 and 4).
//
// Any other token, refresh tokens included, is answered {"active":false}, and a
// failed store 503. Introspect panics without Config.Verifier.
func (s *Server) Introspect() http.Handler {
	if s.config.Verifier == nil {
		panic("auth: Introspect needs Config.Verifier")
	}
	allowed := s.config.Hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		if !p.Scopes.Has(ScopeIntrospect) {
			return &guard.Denial{
				Status:     http.StatusForbidden,
				Code:       guard.CodeInsufficientScope,
				Detail:     "The token is not good for this.",
				Challenges: []guard.Challenge{{Scheme: "Bearer", Error: guard.CodeInsufficientScope, Scope: identity.NewSet(ScopeIntrospect)}},
				Err:        errors.New("the scope introspect is missing"),
			}
		}
		return nil
	}, guard.Requirement{Kind: guard.KindScope, Values: []string{ScopeIntrospect}})
	return allowed(formHandler(s, readForm, func(r *http.Request, f form) (*introspection, error) {
		given := f.get("token")
		if given == "" {
			return nil, badRequest(http.StatusBadRequest, "The parameter token is missing.")
		}
		return s.introspect(r, given)
	}))
}

func (s *Server) introspect(r *http.Request, given string) (*introspection, error) {
	ctx := otherRequest{r.Context()}
	p, err := s.config.Verifier.Verify(ctx, given)
	switch {
	case errors.Is(err, token.ErrInvalid):
		return new(introspection), nil
	case err != nil:
		return nil, unavailable("verifying a token", err)
	}
	if active := s.config.Hooks.Active; active != nil {
		if err := active(ctx, p); refusedBy(err) {
			return new(introspection), nil
		} else if err != nil {
			return nil, unavailable("asking whether a user is active", err)
		}
	}
	out := &introspection{
		Active:    true,
		Scope:     p.Scopes.String(),
		Client:    p.Client,
		TokenType: "Bearer",
		Expires:   p.Expires.Unix(),
		IssuedAt:  p.IssuedAt.Unix(),
		Subject:   p.Subject,
		Issuer:    p.Issuer,
		ID:        p.Credential,
		Factors:   p.Factors,
		Session:   p.Session,
		Tenant:    p.Tenant,
	}
	if !p.AuthTime.IsZero() {
		out.AuthTime = p.AuthTime.Unix()
	}
	return out, nil
}

// refusedBy reports whether err is a refusal of Hooks.Active and not the failure of a
// store.
func refusedBy(err error) bool {
	if d, ok := errors.AsType[*guard.Denial](err); ok && d != nil {
		return d.Status < http.StatusInternalServerError
	}
	return errors.Is(err, guard.ErrInactive)
}

// otherRequest is the context of a request without its values, so that guard.Once does
// not mistake the user of the introspected token for the user of the caller.
type otherRequest struct{ context.Context }

func (otherRequest) Value(any) any { return nil }
