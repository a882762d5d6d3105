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

// A challenge is the response to a correct password when a second factor is due.
type challenge struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Token       string `json:"mfa_token,omitempty"` // empty: it is in a cookie
	ExpiresIn   int64  `json:"expires_in"`
}

// challengeClaims are the additional claims of challenges: the checkpoint of the
// request that has proven the first factor, because a revocation since then ends the
// challenge, whatever the clocks show; the end of the session, in microseconds since
// 1970; and the name of the WayIn.
type challengeClaims struct {
	Checkpoint uint64 `json:"checkpoint,string"`
	Until      int64  `json:"until,string,omitempty"`
	Way        string `json:"way,omitempty"`
}

// challenge makes the proof that the password was right, to be exchanged at
// [Server.MFA]. It is signed with a key of its own, so it passes nowhere else.
func (s *Server) challenge(r *http.Request, e entry, in signIn) (*challenge, error) {
	p, err := s.principal(r.Context(), in, "")
	if err != nil {
		return nil, err
	}
	claims := challengeClaims{Checkpoint: e.checkpoint, Way: in.way}
	if !in.until.IsZero() {
		claims.Until = in.until.UnixMicro()
	}
	signed, err := s.mfa.Issue(r.Context(), p, claims)
	if err != nil {
		return nil, unavailable("issuing a challenge", err)
	}
	// EndSessions ends challenges too.
	if err := s.settle(r.Context(), e, p); err != nil {
		return nil, s.refusedAtTheDoor(err, in.refused, in.login, p)
	}
	s.hooks.Emit(r, guard.Event{Name: guard.EventTokenCreated, Principal: p, Login: in.login, Way: in.way, Changes: in.proven()})
	return &challenge{
		Error:       codeMFARequired,
		Description: "A second factor is required.",
		Token:       signed,
		ExpiresIn:   int64(time.Until(p.Expires) / time.Second),
	}, nil
}

// MFA returns the handler of POST /token/mfa, which exchanges a challenge for
// tokens. Its form of at most 8 KiB has the mfa_token of [Server.Token] and a code
// of the second factor. A challenge is valid for ten minutes, five attempts and one
// sign-in. MFA panics without Config.SecondFactor.
func (s *Server) MFA() http.Handler {
	if s.config.SecondFactor == nil {
		panic("auth: MFA needs Config.SecondFactor")
	}
	return endpoint(s, "second factor", readCodeForm, byClient(s, s.exchange))
}

func (s *Server) exchange(r *http.Request, f form, c origin) (result, error) {
	for _, name := range [...]string{"mfa_token", "code"} {
		if f.get(name) == "" {
			return result{}, badRequest(http.StatusBadRequest, "The parameter "+name+" is missing.")
		}
	}
	p, err := s.challengeVerifier.Verify(r.Context(), f.get("mfa_token"))
	if err != nil {
		return result{}, refusedToken(wrongCode, err)
	}
	claims, err := token.ClaimsOf[challengeClaims](p)
	if err != nil {
		return result{}, invalidGrant(wrongCode, fmt.Errorf("the claims of a challenge: %w", err))
	}
	if err := c.issuedTo(p, wrongCode); err != nil {
		return result{}, err
	}
	e, err := s.enter(r.Context())
	if err != nil {
		return result{}, err
	}
	e.checkpoint = min(e.checkpoint, claims.Checkpoint)
	user, method, err := s.prove(r.Context(), p, f.get("code"))
	if err != nil {
		return result{}, aboutPrincipal{err, p}
	}
	var until time.Time
	if claims.Until != 0 {
		until = time.UnixMicro(claims.Until)
	}
	return s.admit(r, e, signIn{
		user:     user,
		client:   p.Client,
		room:     c.room,
		until:    until,
		way:      claims.Way,
		scopes:   p.Scopes,
		factors:  p.Factors.With(method),
		second:   method,
		authTime: p.AuthTime,
		from:     p,
		refused:  wrongCode,
	})
}

// prove returns the user of the challenge p, and the method that code proves.
func (s *Server) prove(ctx context.Context, p *identity.Principal, code string) (user *User, method string, _ error) {
	// First, so that a failing store costs neither an attempt nor the code.
	user, err := s.userByID(ctx, p.Subject)
	switch {
	case err != nil:
		return nil, "", err
	case user == nil || user.Disabled || user.Tenant != p.Tenant || !user.Scopes.Contains(p.Scopes):
		return nil, "", invalidGrant(wrongCode, errors.New("the user is gone, disabled, of another tenant, or has lost a scope since the password"))
	}
	// Counted before the code is looked at, so that parallel guesses cannot
	// outrun the count.
	id := hashOf(p.Credential)
	allowed, err := s.challenges.AttemptChallenge(ctx, id, mfaAttempts, p.Expires.Add(clockMargin))
	if err != nil {
		return nil, "", unavailable("counting an attempt at a second factor", err)
	}
	if !allowed {
		return nil, "", invalidGrant(wrongCode, errors.New("too many attempts, or the challenge was answered before"))
	}
	method, err = s.config.SecondFactor.VerifyFactor(ctx, p, code)
	if err != nil {
		return nil, "", notVerified(err)
	}
	if method == "" {
		return nil, "", invalidGrant(wrongCode, errors.New("wrong second factor"))
	}
	first, err := s.challenges.FinishChallenge(ctx, id)
	if err != nil {
		return nil, "", unavailable("finishing a second-factor challenge", err)
	}
	if !first {
		return nil, "", invalidGrant(wrongCode, errors.New("the challenge was answered before"))
	}
	return user, method, nil
}

// notVerified is the response to a code that the SecondFactor did not compare.
func notVerified(err error) error {
	// Only a Denial itself, not a wrapped one: a store may fail with a 429 of
	// its own, which is no refusal of this attempt.
	d, ok := err.(*guard.Denial)
	switch {
	case ok && d != nil && d.Status == http.StatusTooManyRequests:
		return tooMany(max(d.RetryAfter, time.Second), "", err)
	case ok && d != nil && d.Status == http.StatusForbidden:
		return d // the factor was enrolled in the session that it would raise
	}
	return unavailable("verifying a second factor", err)
}
