package auth

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/internal/audit"
)

const (
	typeGrant     = "grant+jwt"
	grantLifetime = 5 * time.Minute

	// grantAge is how long ago the proof of a grant may have been made, and
	// grantSkew how far the clock that dated it may be ahead.
	grantAge  = 5 * time.Minute
	grantSkew = 30 * time.Second

	// clockMargin is how much longer a count of attempts is kept than it is
	// needed: a machine with a clock that is ahead may delete it, and a count
	// that is gone begins anew.
	clockMargin = time.Minute

	// proofAttempts is how many passwords VerifyPassword compares for one
	// subject in each proofWindow of the clock.
	proofAttempts = 10
	proofWindow   = 10 * time.Minute
)

// prepareGrants derives the keys of grants from Config.RefreshKeys; see prepare.
func (s *Server) prepareGrants() error {
	var keys []token.Key
	for _, secret := range s.config.RefreshKeys {
		key, err := hkdf.Key(sha256.New, secret.Bytes(), nil, "gatewright/auth/grant", sha256.Size)
		if err != nil {
			return err
		}
		keys = append(keys, token.Key{Algorithm: token.HS256, Secret: guard.NewSecret(key)})
	}
	var err error
	s.grants, s.grantVerifier, err = pair(keys, token.VerifierConfig{
		Issuer:      s.tokens.Name(),
		Audience:    s.tokens.Name(),
		Type:        typeGrant,
		MaxLifetime: grantLifetime,
		Revoker:     s.config.Revoker,
	})
	return err
}

// Grant returns a one-time grant for the caller p and one purpose, for example
// "2fa", valid for five minutes in p's session. A host calls it with a recent
// proof, for example of a passkey, and passes the grant to [Server.UseGrant] in a
// later request. It requires Config.Challenges.
//
// The proof must have the caller's subject and, if set, tenant, at least one
// factor, and a Time within the last five minutes; zero means now. Otherwise the
// error wraps [identity.ErrNotProven]. Without a session of this Server, it is a
// [*guard.Denial]. A purpose is printable ASCII without spaces, quotation marks and
// backslashes.
func (s *Server) Grant(ctx context.Context, p *identity.Principal, purpose string, proof identity.Proof) (grant string, expires time.Time, err error) {
	if err := s.ownSession(p); err != nil {
		return "", time.Time{}, err
	}
	now := moment()
	made := proof.Time
	if made.IsZero() {
		made = now
	}
	switch age := now.Sub(made); {
	case proof.Subject == "" || proof.Subject != p.Subject || proof.Tenant != "" && proof.Tenant != p.Tenant:
		return "", time.Time{}, fmt.Errorf("auth: the proof is of another subject or tenant: %w", identity.ErrNotProven)
	case proof.Factors.Len() == 0:
		return "", time.Time{}, fmt.Errorf("auth: the proof has no factor: %w", identity.ErrNotProven)
	case age > grantAge || age < -grantSkew:
		return "", time.Time{}, fmt.Errorf("auth: the proof was made at %v, not within the last %v: %w", made.UTC().Format(time.RFC3339), grantAge, identity.ErrNotProven)
	}
	use, err := purposeScope(purpose)
	if err != nil {
		return "", time.Time{}, err
	}
	g := &identity.Principal{
		Subject:  p.Subject,
		Tenant:   p.Tenant,
		Session:  p.Session,
		Client:   p.Client,
		Scopes:   use,
		Factors:  proof.Factors,
		AuthTime: made,
	}
	g.Issuer = s.tokens.Name()
	if g.IssuedAt, err = s.config.Revoker.IssueTime(ctx, g); err != nil {
		return "", time.Time{}, unavailable("dating a grant", err)
	}
	grant, err = s.grants.Issue(ctx, g, nil)
	if err != nil {
		return "", time.Time{}, unavailable("issuing a grant", err)
	}
	s.config.Hooks.EmitContext(ctx, guard.Event{Name: guard.EventTokenCreated, Principal: p, Changes: []slog.Attr{
		slog.String("grant", "issued"), slog.String("purpose", purpose), audit.Names("factors", proof.Factors), slog.Time("expires", g.Expires),
	}})
	return grant, g.Expires, nil
}

// UseGrant uses up a grant of [Server.Grant]: of all calls with one grant, on all
// machines, one returns nil. The error wraps [identity.ErrNotProven] for a grant
// that is malformed, expired, used, revoked or for another subject, session or
// purpose. Without a session of this Server, it is a [*guard.Denial]. Other errors
// are failures of a store (503) or invalid arguments.
func (s *Server) UseGrant(ctx context.Context, p *identity.Principal, purpose, grant string) error {
	if err := s.ownSession(p); err != nil {
		return err
	}
	use, err := purposeScope(purpose)
	if err != nil {
		return err
	}
	g, err := s.grantVerifier.Verify(ctx, grant)
	if err != nil {
		if errors.Is(err, token.ErrInvalid) {
			return fmt.Errorf("auth: %w: %v", identity.ErrNotProven, err)
		}
		return unavailable("verifying a grant", err)
	}
	if g.Subject != p.Subject || g.Tenant != p.Tenant || g.Session != p.Session || !g.Scopes.Contains(use) {
		return fmt.Errorf("auth: the grant was made for another subject, session or purpose: %w", identity.ErrNotProven)
	}
	first, err := s.challenges.AttemptChallenge(ctx, hashOf("grant "+g.Credential), 1, g.Expires.Add(clockMargin))
	if err != nil {
		return unavailable("using up a grant", err)
	}
	if !first {
		return fmt.Errorf("auth: the grant was used before: %w", identity.ErrNotProven)
	}
	s.config.Hooks.EmitContext(ctx, guard.Event{Name: guard.EventTokenRevoked, Principal: p, Changes: []slog.Attr{
		slog.String("grant", "used"), slog.String("purpose", purpose),
	}})
	return nil
}

// VerifyPassword verifies the password of the caller p, before a change that a
// stolen access token must not be able to make. The error wraps
// [identity.ErrNotProven] for a wrong password and for a user that is missing,
// disabled or in another tenant. It is a [*guard.Denial] without a session of this
// Server, and, with status 429, after ten calls for one subject in ten minutes.
// Other errors are failures of a store (503). VerifyPassword requires
// Config.Challenges.
func (s *Server) VerifyPassword(ctx context.Context, p *identity.Principal, given string) error {
	if err := s.ownSession(p); err != nil {
		return err
	}
	user, err := s.userByID(ctx, p.Subject)
	if err != nil {
		return err
	}
	if user == nil || user.Disabled || user.Tenant != p.Tenant {
		return fmt.Errorf("auth: the user is gone, disabled or in another tenant: %w", identity.ErrNotProven)
	}
	// Counted before the work, so that parallel guesses cannot outrun the count.
	window := moment().Truncate(proofWindow)
	until := window.Add(proofWindow)
	allowed, err := s.challenges.AttemptChallenge(ctx, hashOf(fmt.Sprintf("password %d %s", window.Unix(), p.Subject)), proofAttempts, until.Add(clockMargin))
	switch {
	case err != nil:
		return unavailable("counting an attempt at a password", err)
	case !allowed:
		return guard.TooManyAttempts(max(time.Until(until), time.Second), errors.New("auth: too many attempts at a password"))
	}
	begun := s.config.Hooks.Begin()
	ok, _, err := s.config.Passwords.Verify(ctx, given, user.PasswordHash)
	s.measureHash(ctx, begun, ok, err)
	switch {
	case errors.Is(err, password.ErrMalformed), errors.Is(err, password.ErrUnsupported):
		return fmt.Errorf("auth: a stored password hash: %w: %v", identity.ErrNotProven, err)
	case err != nil:
		return unavailable("verifying a password", err)
	case !ok || user.PasswordHash == "":
		return fmt.Errorf("auth: wrong password: %w", identity.ErrNotProven)
	}
	return nil
}

// ownSession returns an error unless p is a caller with a session of s, and s can
// count what the caller tries.
func (s *Server) ownSession(p *identity.Principal) error {
	switch {
	case s.config.Challenges == nil:
		return errors.New("auth: Config.Challenges is nil; grants and VerifyPassword count attempts there")
	case p == nil:
		return guard.Unauthenticated()
	case p.Issuer != s.tokens.Name() || p.Session == "":
		return guard.Forbidden(errors.New("auth: the credentials do not belong to a session of this server"))
	}
	return nil
}

// purposeScope returns the purpose of a grant as the scope of its token.
func purposeScope(purpose string) (identity.Set, error) {
	for i := range len(purpose) {
		if c := purpose[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return identity.Set{}, fmt.Errorf("auth: the purpose of a grant is %q; use printable ASCII without spaces, quotation marks and backslashes", purpose)
		}
	}
	if purpose == "" {
		return identity.Set{}, errors.New("auth: the purpose of a grant is empty")
	}
	return identity.NewSet(purpose), nil
}
