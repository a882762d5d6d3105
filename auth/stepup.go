package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// StepUp returns the handler that verifies a second factor of a signed-in caller
// (RFC 9470). It reads code from a form or a JSON object of at most 8 KiB and
// answers with new tokens for the scopes of the caller's token. The new tokens have
// the added factor, and the time of authentication is now. A wrong code is 400
// invalid_grant. A session has five attempts in ten minutes; more are answered 429.
//
// The new session ends no later than an [identity.Proof.Until] of the caller's. The
// caller's session ends; if anything fails before that, it continues unchanged.
// StepUp panics without Config.SecondFactor.
func (s *Server) StepUp() http.Handler {
	if s.config.SecondFactor == nil {
		panic("auth: StepUp needs Config.SecondFactor")
	}
	return s.config.Hooks.Authenticated(formHandler(s, readCode, func(r *http.Request, f form) (result, error) { return s.stepUpForm(r, f, 0) }))
}

func (s *Server) stepUpForm(r *http.Request, f form, room int) (result, error) {
	p, err := guard.Caller(r)
	if err != nil {
		return result{}, err
	}
	if p.Issuer != s.tokens.Name() || p.Session == "" {
		return result{}, badRequest(http.StatusBadRequest, "These credentials are not of a session.")
	}
	if f.get("code") == "" {
		return result{}, badRequest(http.StatusBadRequest, "The parameter code is missing.")
	}
	return s.stepUp(r, p, f.get("code"), room)
}

func (s *Server) stepUp(r *http.Request, p *identity.Principal, code string, room int) (result, error) {
	ctx := r.Context()
	e, err := s.enter(ctx)
	if err != nil {
		return result{}, err
	}
	user, err := s.current(ctx, p, wrongCode)
	if err != nil {
		return result{}, err
	}
	if !user.Scopes.Contains(p.Scopes) {
		return result{}, invalidGrant(wrongCode, errors.New("a scope of the session was withdrawn from the user"))
	}
	id, until := stepUpWindow(p.Session, e.began)
	allowed, err := s.challenges.AttemptChallenge(ctx, id, mfaAttempts, until.Add(clockMargin))
	switch {
	case err != nil:
		return result{}, unavailable("counting an attempt at a second factor", err)
	case !allowed:
		return result{}, tooMany(time.Until(until), "", errors.New("too many attempts at a second factor"))
	}
	method, err := s.config.SecondFactor.VerifyFactor(ctx, p, code)
	if err != nil {
		return result{}, notVerified(err)
	}
	if method == "" {
		return result{}, invalidGrant(wrongCode, errors.New("wrong second factor"))
	}
	// The new session first: if that fails, the caller still has the old session.
	in := signIn{
		user:     user,
		client:   p.Client,
		room:     room,
		scopes:   p.Scopes,
		factors:  p.Factors.With(method),
		second:   method,
		authTime: e.began,
		until:    endOf(p.Session),
		from:     p,
		refused:  wrongCode,
	}
	out, issued, evicted, err := s.open(ctx, e, in)
	if err != nil {
		return result{}, err
	}
	if err := s.endSessions(ctx, identity.Revocation{Session: p.Session}); err != nil {
		if len(evicted) > 0 {
			s.hooks.EmitContext(ctx, s.evicted(issued, evicted))
		}
		return result{}, s.discard(ctx, issued.Session, err)
	}
	s.hooks.Emit(r, guard.Event{Name: guard.EventLoginSuccess, Principal: issued, Changes: append(
		append(in.proven(), slog.String("ended_session", p.Session)), evictions(evicted)...),
	})
	return result{tokens: out}, nil
}

// stepUpWindow returns the name of the counter for the attempts of a session at now,
// and when the next counter begins.
func stepUpWindow(session string, now time.Time) (TokenHash, time.Time) {
	window := now.Truncate(mfaLifetime)
	return hashOf(fmt.Sprintf("step-up %d %s", window.Unix(), session)), window.Add(mfaLifetime)
}
