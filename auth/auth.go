package auth

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// Config configures a [Server].
type Config struct {
	// Sessions stores sessions and hashes of refresh tokens. Required.
	Sessions RefreshStore

	// RefreshKeys are secrets of at least 32 random bytes, which sign no access
	// tokens. The first key makes refresh tokens; all keys verify. To rotate, put a
	// new key first, and remove the old key after RefreshIdle. With several
	// processes, first put the new key last in every process. Required.
	RefreshKeys []guard.Secret

	// Revoker ends sessions and tokens, for example a *blacklist.Replica. Give the
	// same value to the token.Verifier; otherwise logout does not end access
	// tokens. Required.
	Revoker Revoker

	// Verifier verifies the Server's access tokens on the host's routes. New
	// returns an error if the Verifier would not accept them or has another
	// Revoker. [Server.Revoke], [Server.Introspect] and [NewCookies] require it.
	Verifier *token.Verifier

	// Passwords hashes and verifies passwords. Default: password.New with the zero
	// Config.
	Passwords *password.Hasher

	// CanonicalLogin returns the form of a user name in the UserStore. An error
	// means an unknown user. Default: [CanonicalLogin].
	CanonicalLogin func(login string) (string, error)

	// Throttle limits attempts to sign in. If nil, passwords can be guessed as
	// fast as they are hashed.
	Throttle Throttle

	// SecondFactor verifies second factors. [Server.MFA] and [Server.StepUp]
	// require it. If nil, users need no second factor.
	SecondFactor SecondFactor

	// Challenges counts attempts. Required with SecondFactor, and by
	// [Server.VerifyPassword], [Server.Grant] and [Server.UseGrant].
	Challenges ChallengeStore

	// Clients holds the host's registered applications. Clients authenticate as in
	// RFC 6749 section 2.3.1, and tokens are bound to the client they were issued
	// to. A request without a client_id is from [identity.FirstParty]. If nil, all
	// requests are, and an Authorization header with a form is ignored.
	Clients ClientStore

	// Claims returns additional claims for a user's access tokens; see
	// token.Issuer.Issue. An error is answered 503.
	Claims func(ctx context.Context, u *User) (any, error)

	// RefreshIdle is the lifetime of a refresh token, and RefreshAbsolute that of a
	// session. Defaults: 14 days, 90 days.
	RefreshIdle, RefreshAbsolute time.Duration

	// RefreshGrace is how long the immediate predecessor of a refresh token
	// receives the same successor. It ends when the successor is used. Default: 10
	// seconds. At most one minute.
	RefreshGrace time.Duration

	// LostAnswerGrace extends RefreshGrace while the successor was never presented,
	// for clients that lose a response. An attacker with a copy of the replaced
	// token gains the same time. Default: RefreshGrace. At most one hour.
	LostAnswerGrace time.Duration

	// MaxSessions is how many sessions a user can have. Beyond it, the oldest
	// session ends: its refresh token is rejected, its access tokens expire, and
	// the event of the sign-in has its ID as evicted_sessions. Default: 100. At most [MaxListed].
	MaxSessions int

	// FastAPIStatusCodes answers a failed sign-in or refresh with 401 and
	// "WWW-Authenticate: Bearer", as FastAPI's guide does. Default: 400, as in RFC
	// 6749 section 5.2.
	FastAPIStatusCodes bool

	// Hooks receives events. Deny renders refusals of callers by Logout, StepUp and
	// Introspect; other endpoints answer as in RFC 6749 section 5.2.
	Hooks guard.Hooks
}

// A Server implements the token endpoints of a first-party application. Its
// handlers are public in the route ledger, except Logout, StepUp and Introspect,
// which need a caller and so run behind Hooks.Identify or in a guard.Mux. A Server
// is safe for concurrent use.
type Server struct {
	config            Config
	users             UserStore
	tokens            *token.Issuer
	sessions          RefreshStore
	challenges        ChallengeStore
	hooks             guard.Hooks // answers in the form of RFC 6749
	refresh           *token.Issuer
	refreshVerifier   *token.Verifier
	mfa               *token.Issuer
	challengeVerifier *token.Verifier // of second-factor challenges
	derive            []guard.Secret  // keys of successors, in the order of RefreshKeys
	grants            *token.Issuer
	grantVerifier     *token.Verifier
}

const (
	// typeMFA is the "typ" of second-factor challenges, which are good for
	// mfaLifetime and mfaAttempts attempts.
	typeMFA     = "mfa+jwt"
	mfaLifetime = 10 * time.Minute
	mfaAttempts = 5

	minRefreshKey = 32 // bytes
	maxGrace      = time.Minute
	maxLostAnswer = time.Hour

	maxSessions = 100 // by default
)

// New returns a server that signs in the users of the store and issues access
// tokens with tokens. The error lists every mistake.
func New(users UserStore, tokens *token.Issuer, config Config) (*Server, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("auth: "+format, args...)) }
	if tokens == nil {
		mistake("the token.Issuer is nil; use token.NewIssuer")
	}
	for _, joint := range [...]struct {
		name, use string
		value     any
		optional  bool
	}{
		{"the UserStore", "use your table of users, or &auth.Memory{} in tests", users, false},
		{"Config.Sessions", "use sqlstore.New or redisstore.New", config.Sessions, false},
		{"Config.Revoker", "use blacklist.NewReplica of a log that outlives the process, the same value as VerifierConfig.Revoker", config.Revoker, false},
		{"Config.Throttle", "leave it out or use ratelimit.NewSignIn", config.Throttle, true},
		{"Config.SecondFactor", "leave it out or use totp.New", config.SecondFactor, true},
		{"Config.Challenges", "leave it out or use sqlstore.New or redisstore.New", config.Challenges, true},
		{"Config.Clients", "leave it out", config.Clients, true},
	} {
		switch v := reflect.ValueOf(joint.value); {
		case joint.value == nil && !joint.optional:
			mistake("%s is nil; %s", joint.name, joint.use)
		case joint.value != nil && nilable(v) && v.IsNil():
			mistake("%s is a nil %T; %s", joint.name, joint.value, joint.use)
		}
	}
	mistakes.Secrets(mistake, "Config.RefreshKeys", minRefreshKey, config.RefreshKeys)
	for i, secret := range config.RefreshKeys {
		if tokens != nil && tokens.UsesSecret(secret.Bytes()) {
			mistake("Config.RefreshKeys[%d] is also a key that signs access tokens; use another secret", i)
		}
	}
	if config.Verifier != nil && tokens != nil && config.Revoker != nil {
		if err := config.Verifier.CheckIssuer(tokens, config.Revoker); err != nil {
			mistake("Config.Verifier: %w", err)
		}
	}
	if config.SecondFactor != nil && config.Challenges == nil {
		mistake("Config.SecondFactor is set and Config.Challenges is nil; use sqlstore.New or redisstore.New")
	}
	duration := func(name string, d *time.Duration, byDefault, atLeast, atMost time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
		if *d < atLeast || *d > atMost {
			mistake("Config.%s is %v; use %v to %v", name, *d, atLeast, atMost)
		}
	}
	const day = 24 * time.Hour
	duration("RefreshIdle", &config.RefreshIdle, 14*day, time.Second, 400*day) // tokens expire on whole seconds
	duration("RefreshAbsolute", &config.RefreshAbsolute, 90*day, time.Second, 400*day)
	duration("RefreshGrace", &config.RefreshGrace, 10*time.Second, time.Microsecond, maxGrace)
	if config.RefreshAbsolute < config.RefreshIdle {
		mistake("Config.RefreshAbsolute is %v; use at least RefreshIdle, %v", config.RefreshAbsolute, config.RefreshIdle)
	}
	duration("LostAnswerGrace", &config.LostAnswerGrace, config.RefreshGrace, time.Microsecond, maxLostAnswer)
	if config.MaxSessions == 0 {
		config.MaxSessions = maxSessions
	}
	if config.MaxSessions < 1 || config.MaxSessions > MaxListed {
		mistake("Config.MaxSessions is %d; use 1 to %d", config.MaxSessions, MaxListed)
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
	s := &Server{config: config, users: users, tokens: tokens, hooks: config.Hooks,
		sessions: measuredSessions{config.Sessions, config.Hooks}, challenges: measuredChallenges{config.Challenges, config.Hooks}}
	s.hooks.Deny = denyOAuth
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s, nil
}

// nilable reports whether IsNil of v does not panic.
func nilable(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice:
		return true
	}
	return false
}

// prepare derives separate keys for refresh tokens, their successors and challenges
// from Config.RefreshKeys, so that a token of one kind is not accepted as another (RFC
// 8725 section 3.12).
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
	s.refresh, s.refreshVerifier, err = pair(signing, token.VerifierConfig{
		Issuer:      s.tokens.Name(),
		Audience:    s.tokens.Name(),
		Type:        token.TypeRefresh,
		MaxLifetime: s.config.RefreshIdle,
		Revoker:     s.config.Revoker,
	})
	if err != nil {
		return err
	}
	s.mfa, s.challengeVerifier, err = pair(challenge, token.VerifierConfig{
		Issuer:      s.tokens.Name(),
		Audience:    s.tokens.Name(),
		Type:        typeMFA,
		MaxLifetime: mfaLifetime,
		Revoker:     s.config.Revoker,
	})
	if err != nil {
		return err
	}
	return s.prepareGrants()
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

// successor returns the ID of the refresh token that follows the token with the ID
// old. All requests with the same token receive the same successor, which cannot be
// computed without the key.
func successor(key guard.Secret, session, old string) string {
	h := hmac.New(sha256.New, key.Bytes())
	fmt.Fprintf(h, "%d:%s%s", len(session), session, old)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func hashOf(id string) TokenHash { return sha256.Sum256([]byte(id)) }
