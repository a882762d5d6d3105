package auth

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// StepUp returns the handler with which somebody who is signed in proves a
// second factor: it takes the code of the form and answers with a new pair of
// tokens for the scopes that the caller's token has. Their factors include the
// new one, and the time of authentication is now, which is what a challenge of
// RFC 9470 asks for. The session that the caller had ends, as a new level of
// trust should not revive what an earlier one has leaked. A session has five
// attempts in each ten minutes of the clock; more are answered 429.
//
// It demands a caller with a session, and so runs behind Hooks.Identify or in a
// guard.Mux. A wrong code is 400 invalid_grant. It answers 404 without
// Config.SecondFactor.
func (s *Server) StepUp() http.Handler {
	signedIn := s.config.Hooks.Authenticated
	if s.config.SecondFactor == nil {
		return signedIn(http.NotFoundHandler())
	}
	return signedIn(s.formHandler(s.stepUpForm))
}

func (s *Server) stepUpForm(r *http.Request, f form) (any, error) {
	p, err := guard.Caller(r)
	if err != nil {
		return nil, err
	}
	if p.Issuer != s.tokens.Name() || p.Session == "" {
		return nil, badRequest(http.StatusBadRequest, "These credentials are not of a session.")
	}
	if f.get("code") == "" {
		return nil, badRequest(http.StatusBadRequest, "The parameter code is missing.")
	}
	return s.stepUp(r, p, f.get("code"))
}

func (s *Server) stepUp(r *http.Request, p *identity.Principal, code string) (any, error) {
	ctx := r.Context()
	began := moment()
	user, err := s.current(ctx, p, wrongCode)
	if err != nil {
		return nil, err
	}
	if !user.Scopes.Contains(p.Scopes) {
		return nil, invalidGrant(wrongCode, errors.New("a scope of the session was withdrawn from the user"))
	}
	id, until := stepUpWindow(p.Session, began)
	allowed, err := s.config.Challenges.AttemptChallenge(ctx, id, mfaAttempts, until)
	switch {
	case err != nil:
		return nil, unavailable("counting an attempt at a second factor", err)
	case !allowed:
		return nil, &guard.Denial{
			Status:     http.StatusTooManyRequests,
			Code:       codeUnavailable,
			Detail:     "There were too many attempts. Please wait.",
			RetryAfter: time.Until(until),
			Event:      guard.EventLoginFailMax,
			Err:        errors.New("too many attempts at a second factor"),
		}
	}
	method, err := s.config.SecondFactor.VerifyFactor(ctx, p.Subject, code)
	if err != nil {
		return nil, unavailable("verifying a second factor", err)
	}
	if method == "" {
		return nil, invalidGrant(wrongCode, errors.New("wrong second factor"))
	}
	// The old session first: if that fails the caller still has it.
	if err := s.EndSessions(ctx, identity.Revocation{Session: p.Session}); err != nil {
		return nil, err
	}
	return s.begin(r, user, &identity.Principal{
		Subject:  p.Subject,
		Scopes:   p.Scopes,
		Factors:  p.Factors.With(method),
		AuthTime: began,
	}, "", began)
}

// stepUpWindow returns under which name the attempts of a session are counted
// at now, and when the count begins anew.
func stepUpWindow(session string, now time.Time) (TokenHash, time.Time) {
	window := now.Truncate(mfaLifetime)
	return hashOf(fmt.Sprintf("step-up %d %s", window.Unix(), session)), window.Add(mfaLifetime)
}
