package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// Refresh returns the handler of POST /token/refresh, which exchanges the
// refresh_token of the form for a new pair. The optional scope narrows the access
// token, not the session (RFC 6749 section 6).
//
// Every rejected refresh token is 400 invalid_grant, also if the user was disabled,
// which ends the session, or has lost a scope of the session.
func (s *Server) Refresh() http.Handler {
	return endpoint(s, "refresh", readForm, guided(s, byClient(s, s.rotate)))
}

// rotate is the refresh_token grant.
func (s *Server) rotate(r *http.Request, f form, c origin) (result, error) {
	if err := c.may("refresh_token"); err != nil {
		return result{}, err
	}
	given := f.get("refresh_token")
	if given == "" {
		return result{}, badRequest(http.StatusBadRequest, "The parameter refresh_token is missing.")
	}
	ctx := r.Context()
	p, err := s.refreshVerifier.Verify(ctx, given)
	if err != nil {
		return result{}, refusedToken(wrongRefresh, err)
	}
	if claims, err := token.ClaimsOf[refreshClaims](p); err != nil || claims.Type != typeRefresh || p.Session == "" {
		return result{}, invalidGrant(wrongRefresh, errors.New("not a refresh token of this package"))
	}
	if err := c.issuedTo(p, wrongRefresh); err != nil {
		return result{}, err
	}
	out, err := s.exchangeRefresh(r, f, p, c.room)
	if err != nil {
		return result{}, aboutPrincipal{err, p}
	}
	return out, nil
}

// exchangeRefresh exchanges the verified refresh token p if the user and the store
// permit it.
func (s *Server) exchangeRefresh(r *http.Request, f form, p *identity.Principal, room int) (result, error) {
	ctx := r.Context()
	e, err := s.enter(ctx)
	if err != nil {
		return result{}, err
	}
	user, err := s.current(ctx, p, wrongRefresh)
	if err != nil {
		return result{}, err
	}
	if !user.Scopes.Contains(p.Scopes) {
		return result{}, invalidGrant(wrongRefresh, errors.New("a scope of the session was withdrawn from the user"))
	}
	scopes, denial := requested(f, p.Scopes)
	if denial != nil {
		return result{}, denial
	}

	next, rotated, err := s.advance(ctx, p, e.began)
	if err != nil {
		return result{}, err
	}
	switch rotated.Outcome {
	case RefreshRotated, RefreshReplayed:
	case RefreshReused:
		// The client or an attacker presents a replaced token. Both lose the
		// session (RFC 9700 section 4.14.2).
		d := invalidGrant(wrongRefresh, errors.New("a refresh token that was replaced came back; the session is ended"))
		d.Event = guard.EventTokenReuse
		if err := s.endSession(ctx, identity.Revocation{Issuer: s.tokens.Name(), Session: p.Session}); err != nil {
			// The next attempt finds no session, so this is the only chance
			// to emit the event.
			s.hooks.Emit(r, guard.Event{Name: guard.EventTokenReuse, Principal: p, Err: fmt.Errorf("%w; %w", d.Err, err)})
			return result{}, err
		}
		return result{}, d
	default:
		// The session has ended. If ending its access tokens failed then,
		// this call ends them.
		if err := s.endSession(ctx, identity.Revocation{Issuer: s.tokens.Name(), Session: p.Session}); err != nil {
			return result{}, err
		}
		return result{}, invalidGrant(wrongRefresh, errors.New("the session has ended"))
	}

	session := &identity.Principal{
		Subject:  p.Subject,
		Tenant:   p.Tenant,
		Session:  p.Session,
		Client:   p.Client,
		Scopes:   p.Scopes,
		Factors:  p.Factors,
		AuthTime: p.AuthTime,
	}
	// Not dated before the exchanged token, which may be ahead of this clock:
	// that token was issued after the last revocation that does not match it.
	out, issued, err := s.issue(ctx, user, session, scopes, latest(e.began, p.IssuedAt),
		refreshToken{next, latest(rotated.At, p.IssuedAt), rotated.Expires}, room)
	if err != nil {
		return result{}, err
	}
	switch err := s.settle(ctx, e, p); {
	case err == errEnded:
		return result{}, s.discard(ctx, p.Session, invalidGrant(wrongRefresh, err))
	case err != nil:
		return result{}, err // the client can retry within the grace
	}
	s.hooks.Emit(r, guard.Event{Name: guard.EventTokenCreated, Principal: issued})
	return result{tokens: out}, nil
}

// refusedToken is the refusal of a refresh token or challenge that does not
// verify; err is 503 if that could not be decided.
func refusedToken(detail string, err error) error {
	if !errors.Is(err, token.ErrInvalid) {
		return unavailable("verifying a token", err)
	}
	return invalidGrant(detail, err)
}

// current loads the user of the token p. If the user is missing, disabled or in another
// tenant, current ends the session and returns a refusal with detail.
func (s *Server) current(ctx context.Context, p *identity.Principal, detail string) (*User, error) {
	user, err := s.userByID(ctx, p.Subject)
	switch {
	case err != nil:
		return nil, err
	case user != nil && !user.Disabled && user.Tenant == p.Tenant:
		return user, nil
	}
	if p.Session != "" {
		if err := s.endSessions(ctx, identity.Revocation{Session: p.Session}); err != nil {
			return nil, err
		}
	}
	return nil, invalidGrant(detail, errors.New("the user is gone, disabled, or of another tenant now"))
}

// advance replaces the refresh token p in the store, and returns the ID of its
// successor.
func (s *Server) advance(ctx context.Context, p *identity.Principal, now time.Time) (next string, _ Rotated, _ error) {
	next = successor(s.derive[0], p.Session, p.Credential)
	rotated, err := s.sessions.RotateRefresh(ctx, Rotation{
		Session: p.Session,
		Old:     hashOf(p.Credential),
		New:     hashOf(next),
		Now:     now,
		Grace:   max(s.config.RefreshGrace, s.config.LostAnswerGrace),
		Idle:    s.config.RefreshIdle,
	})
	if err != nil {
		return "", Rotated{}, unavailable("rotating a refresh token", err)
	}
	if rotated.Outcome != RefreshReplayed {
		return next, rotated, nil
	}
	// An earlier request may have used a key that is no longer the first.
	for _, key := range s.derive {
		next = successor(key, p.Session, p.Credential)
		if hashOf(next) == rotated.Current {
			return next, rotated, nil
		}
	}
	return "", Rotated{}, errors.New("auth: no key of Config.RefreshKeys leads to the current refresh token; an old one was taken out too early")
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
