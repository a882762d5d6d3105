package auth

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
)

// Config says how people sign in. Sessions, RefreshKeys and Revoker are
// required.
type Config struct {
	// Sessions keeps refresh tokens. Required.
	Sessions RefreshStore

	// RefreshKeys are secrets of at least 32 random bytes, apart from the
	// keys that sign access tokens. The first makes refresh tokens and
	// their successors; the others still verify. Put a new one first, and
	// take the old one out when RefreshIdle has passed. If there are several
	// processes, put the new one last in all of them before it becomes the
	// first in any. Required.
	RefreshKeys []guard.Secret

	// Revoker ends access tokens at logout. Give the same one to the
	// token.Verifier, or logging out ends nothing before they expire.
	// Required.
	Revoker Revoker

	// Verifier verifies the access tokens that the Server issues: the one
	// that guards the host's routes. [Server.Revoke], [Server.Introspect]
	// and [NewCookies] need it. Default: none.
	Verifier *token.Verifier

	// Passwords hashes and verifies. Default: password.New of its zero
	// Config.
	Passwords *password.Hasher

	// CanonicalLogin brings what somebody typed into the form under which
	// the UserStore knows it. An error is treated like an unknown name.
	// Default: [CanonicalLogin].
	CanonicalLogin func(login string) (string, error)

	// Throttle limits attempts to sign in. Default: none, and passwords can
	// be guessed as fast as they are hashed.
	Throttle Throttle

	// SecondFactor asks who must prove more than a password. [Server.MFA] and
	// [Server.StepUp] need it. Default: nobody.
	SecondFactor SecondFactor

	// Challenges counts the attempts at a second factor. Required with a
	// SecondFactor.
	Challenges ChallengeStore

	// Clients knows the applications of the host that are to be told from one
	// another: they authenticate as RFC 6749 section 2.3.1 says, tokens are
	// bound to them, and what names no client is [identity.FirstParty].
	// Default: that is all there is, and an Authorization header that comes
	// with a form is not looked at.
	Clients ClientStore

	// Claims returns what is added to the access tokens of a user, as
	// token.Issuer.Issue takes it. An error is answered 503. Default:
	// nothing.
	Claims func(ctx context.Context, u *User) (any, error)

	// RefreshIdle is how long a refresh token is good for, and
	// RefreshAbsolute how long a session lasts however often it is
	// refreshed. Defaults: 14 days, 90 days.
	RefreshIdle, RefreshAbsolute time.Duration

	// RefreshGrace is how long a refresh token that was replaced may come
	// back, to be answered with the same successor: see the package
	// documentation. It is for the immediate predecessor only, and ends
	// when the successor is used. Default: 10 seconds. At most one minute.
	RefreshGrace time.Duration

	// GuideStatusCodes answers a bad sign-in and a failed refresh with 401
	// and "WWW-Authenticate: Bearer", as FastAPI's guide does, instead of
	// the 400 of RFC 6749 section 5.2. The body stays the same. Default:
	// 400.
	GuideStatusCodes bool

	// Hooks says who hears of events. Its Deny is not called by the endpoints
	// that read a form, which answer as RFC 6749 section 5.2 says; refusals of
	// callers by Logout, StepUp and Introspect do call it. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// A Server signs people in: the token endpoints of a first-party application.
// It is safe for concurrent use if what it was given is.
type Server struct {
	config  Config
	users   UserStore
	tokens  *token.Issuer
	hooks   guard.Hooks // answers in the form of RFC 6749
	refresh *token.Issuer
	opener  *token.Verifier // of refresh tokens
	mfa     *token.Issuer
	asked   *token.Verifier // of second-factor challenges
	derive  []guard.Secret  // keys of successors, in the order of RefreshKeys

	// room is how long an access token may be, in bytes, to fit into what
	// will carry it. Zero: any length.
	room int
}

const (
	// typeMFA is the "typ" of second-factor challenges, which are good for
	// mfaLifetime and mfaAttempts attempts.
	typeMFA     = "mfa+jwt"
	mfaLifetime = 10 * time.Minute
	mfaAttempts = 5

	minRefreshKey = 32 // bytes
	maxGrace      = time.Minute

	// endTimeout is how long a Revoker may take.
	endTimeout = 5 * time.Second
)

// New returns a server that signs in the users of the store and issues access
// tokens with tokens. Its error lists every mistake in config.
func New(users UserStore, tokens *token.Issuer, config Config) (*Server, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("auth: "+format, args...)) }
	if users == nil {
		mistake("the UserStore is nil")
	}
	if tokens == nil {
		mistake("the token.Issuer is nil, want one from token.NewIssuer")
	}
	if config.Sessions == nil {
		mistake("Config.Sessions is nil, want a RefreshStore such as sqlstore.New(db, …), or &auth.Memory{} in tests")
	}
	if config.Revoker == nil {
		mistake("Config.Revoker is nil, want one such as &blacklist.Memory{}, the same as the token.Verifier has")
	}
	if len(config.RefreshKeys) == 0 {
		mistake("Config.RefreshKeys is empty, want at least one secret of %d random bytes", minRefreshKey)
	}
	for i, secret := range config.RefreshKeys {
		k := secret.Bytes()
		if len(k) < minRefreshKey {
			mistake("Config.RefreshKeys[%d] has %d bytes, want at least %d random ones", i, len(k), minRefreshKey)
		} else if len(bytes.Trim(k, "\x00")) == 0 {
			mistake("Config.RefreshKeys[%d] is all zeros, want random bytes: it was made and never filled", i)
		}
	}
	if config.SecondFactor != nil && config.Challenges == nil {
		mistake("Config.SecondFactor is set and Config.Challenges is nil, want a ChallengeStore such as sqlstore.New(db, …)")
	}
	duration := func(name string, d *time.Duration, byDefault, atLeast, atMost time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
		if *d < atLeast || *d > atMost {
			mistake("Config.%s is %v, want %v to %v", name, *d, atLeast, atMost)
		}
	}
	const day = 24 * time.Hour
	duration("RefreshIdle", &config.RefreshIdle, 14*day, time.Second, 400*day) // tokens expire on whole seconds
	duration("RefreshAbsolute", &config.RefreshAbsolute, 90*day, time.Second, 400*day)
	duration("RefreshGrace", &config.RefreshGrace, 10*time.Second, time.Microsecond, maxGrace)
	if config.RefreshAbsolute < config.RefreshIdle {
		mistake("Config.RefreshAbsolute is %v, want at least RefreshIdle, %v", config.RefreshAbsolute, config.RefreshIdle)
	}
	if config.Passwords == nil {
		h, err := password.New(password.Config{})
		if err != nil {
			errs = append(errs, err)
		}
		config.Passwords = h
	}
	if config.CanonicalLogin == nil {
		config.CanonicalLogin = CanonicalLogin
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := &Server{config: config, users: users, tokens: tokens, hooks: config.Hooks}
	s.hooks.Deny = denyOAuth
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare derives the keys of refresh tokens, their successors and challenges
// from Config.RefreshKeys, so that one secret serves three purposes and none
// of the three can be passed off as another (RFC 8725 section 3.12).
func (s *Server) prepare() error {
	var signing, challenge []token.Key
	for _, secret := range s.config.RefreshKeys {
		purpose := func(info string) guard.Secret {
			key, err := hkdf.Key(sha256.New, secret.Bytes(), nil, "gatewright/auth/"+info, sha256.Size)
			if err != nil { // a length that HKDF cannot make: it is constant
				panic(err)
			}
			return guard.NewSecret(key)
		}
		signing = append(signing, token.Key{Algorithm: token.HS256, Secret: purpose("refresh token")})
		challenge = append(challenge, token.Key{Algorithm: token.HS256, Secret: purpose("mfa challenge")})
		s.derive = append(s.derive, purpose("refresh successor"))
	}
	var err error
	s.refresh, s.opener, err = pair(signing, token.VerifierConfig{
		Issuer:      s.tokens.Name(),
		Audience:    s.tokens.Name(),
		Type:        token.TypeRefresh,
		MaxLifetime: s.config.RefreshIdle,
		Revoker:     s.config.Revoker,
	})
	if err != nil {
		return err
	}
	s.mfa, s.asked, err = pair(challenge, token.VerifierConfig{
		Issuer:      s.tokens.Name(),
		Audience:    s.tokens.Name(),
		Type:        typeMFA,
		MaxLifetime: mfaLifetime,
		Revoker:     s.config.Revoker,
	})
	return err
}

// pair returns the issuer and the verifier of one kind of token.
func pair(keys []token.Key, config token.VerifierConfig) (*token.Issuer, *token.Verifier, error) {
	ring, err := token.NewKeyring(keys...)
	if err != nil {
		return nil, nil, fmt.Errorf("auth: Config.RefreshKeys: %w", err)
	}
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{
		Issuer:   config.Issuer,
		Audience: config.Audience,
		Type:     config.Type,
		Lifetime: config.MaxLifetime,
	})
	if err != nil {
		return nil, nil, err
	}
	verifier, err := token.NewVerifier(ring, config)
	return issuer, verifier, err
}

// successor returns the ID of the refresh token that follows the one with the
// ID old. It depends on nothing else, so everybody who presents the same token
// is led to the same successor, and only who has the key can tell which.
func successor(key guard.Secret, session, old string) string {
	h := hmac.New(sha256.New, key.Bytes())
	fmt.Fprintf(h, "%d:%s%s", len(session), session, old)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func hashOf(id string) TokenHash { return sha256.Sum256([]byte(id)) }

// EndSessions ends the sessions that match which, and the access tokens issued
// in them, now: what logout does for one session, and what a host does for a
// person when a password was stolen or an account is closed. Session, Subject,
// Tenant and Before narrow it down, and one of them must be set; Issuer and
// Expires are filled in. It spares no session, and with a Spare it is an error.
// A host that changes a password or disables an account does that first.
// Sign-ins that are under way are ended too; whoever signs in afterwards is let
// in.
//
// When it returns nil, all that is certain to hold, where several processes
// have clocks that agree. After an error it should be called again.
//
// A zero Before, or one of the last minute, means up to now. With an earlier one
// the sessions that began since then are spared. That takes a Subject, and
// Config.Sessions that lists sessions as sqlstore.Store and [Memory] do, for only
// the ID of a session tells a token that an old one was given today from those of
// a new one; otherwise it is an error, and ends nothing. It is also one, after
// what was issued before then has been ended, if the subject has as many sessions
// as are listed, [MaxListed], so that old ones may be missing from the list.
func (s *Server) EndSessions(ctx context.Context, which identity.Revocation) error {
	if which.Session == "" && which.Subject == "" && which.Tenant == "" && which.Before.IsZero() {
		return errors.New("auth: EndSessions needs a Session, Subject, Tenant or Before")
	}
	if which.Credential != "" {
		return errors.New("auth: EndSessions ends sessions, not a single Credential; use the Revoker")
	}
	if which.Session != "" && !which.Before.IsZero() {
		return errors.New("auth: EndSessions ends a Session whenever it began; leave Before zero")
	}
	if which.Spare != "" {
		return errors.New("auth: EndSessions spares no session; leave Spare empty, or end the others one by one")
	}
	which.Issuer = s.tokens.Name()
	now := moment()
	upToNow := !which.Before.After(now) // also if it is zero
	switch {
	case which.Before.IsZero() || !upToNow:
	case now.Sub(which.Before) > time.Minute:
		return s.endEarlier(ctx, which)
	default:
		which.Before = now.Add(time.Microsecond)
	}
	// The refresh tokens first: if the second step fails, whoever asked is
	// still signed in and can ask again.
	if err := s.config.Sessions.RevokeRefresh(ctx, which); err != nil {
		return unavailable("ending sessions", err)
	}
	if which.Session != "" {
		return s.endAccess(ctx, which)
	}
	access := which
	if upToNow {
		// Access tokens are dated before their session was asked for, so
		// this has all of the sessions that are gone, and none of a session
		// that begins from now on.
		access.Before = moment().Add(time.Microsecond)
	}
	if err := s.endAccess(ctx, access); err != nil {
		return err
	}
	// A sign-in that was under way may have opened its session in between.
	// Those that do so from now on ask the Revoker: see open.
	if upToNow {
		which.Before = access.Before
	}
	if err := s.config.Sessions.RevokeRefresh(ctx, which); err != nil {
		return unavailable("ending sessions", err)
	}
	return nil
}

// endEarlier ends the sessions of a subject that began before a moment in the
// past, and none that began since.
func (s *Server) endEarlier(ctx context.Context, which identity.Revocation) error {
	lists, ok := s.config.Sessions.(interface {
		Sessions(ctx context.Context, subject string) ([]Session, error)
	})
	if !ok || which.Subject == "" {
		return fmt.Errorf("auth: EndSessions with the Before %v, in the past, needs a Subject and Config.Sessions that lists sessions; leave Before zero to end everything up to now", which.Before)
	}
	// What was issued before that moment. A sign-in that dates from then and is
	// under way ends itself from now on, see open: so the list is complete.
	if err := s.endAccess(ctx, which); err != nil {
		return err
	}
	all, err := lists.Sessions(ctx, which.Subject)
	if err != nil {
		return unavailable("listing sessions", err)
	}
	if len(all) >= MaxListed {
		return fmt.Errorf("auth: EndSessions with the Before %v, in the past, cannot see all sessions of a subject with %d or more; leave Before zero to end everything up to now", which.Before, MaxListed)
	}
	// Their access tokens before the sessions, which are in the next list as
	// long as they are there, should this fail.
	for _, one := range all {
		if !one.Created.Before(which.Before) || which.Tenant != "" && one.Tenant != which.Tenant {
			continue
		}
		if err := s.endAccess(ctx, identity.Revocation{Issuer: which.Issuer, Session: one.ID}); err != nil {
			return err
		}
	}
	if err := s.config.Sessions.RevokeRefresh(ctx, which); err != nil {
		return unavailable("ending sessions", err)
	}
	return nil
}

// endAccess revokes the access tokens of sessions, and the second-factor
// challenges that would become sessions. No refresh is possible any more, so
// the last of them expires one lifetime from now; one that is being signed at
// this moment gets another minute.
//
// It goes on when the client hangs up: whoever is found out with a stolen token
// must not be able to stop it.
func (s *Server) endAccess(ctx context.Context, which identity.Revocation) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	which.Expires = time.Now().Add(max(s.tokens.Lifetime(), mfaLifetime) + time.Minute)
	if err := s.config.Revoker.Revoke(ctx, which); err != nil {
		return unavailable("revoking access tokens", err)
	}
	return nil
}
