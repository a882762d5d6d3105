package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// staticPrefix makes the Issuer of static keys.
const staticPrefix = "static"

// minStatic is how long a static key must be, in bytes. A random one of
// letters and digits has 95 bits then.
const minStatic = 16

// errNoStatic does not include the key, which may be a misplaced secret.
var errNoStatic = guard.NewReason("apikey: none of the static keys", ErrUnknown)

// A StaticKey is a configured key.
type StaticKey struct {
	// Name is the Subject and Credential of its Principal. Required.
	Name string

	// Key is random, 16 to 256 visible ASCII characters, as from `openssl rand -hex
	// 32`. Required.
	Key Secret

	Roles, Scopes identity.Set
}

// StaticConfig configures a [StaticAuthenticator]; see [Config] for fields
// without a comment.
type StaticConfig struct {
	Header                 string
	InsecureQueryParameter string

	// Bearer reads keys from "Authorization: Bearer" instead of "Authorization:
	// ApiKey". guard.Hooks.Identify panics if another authenticator has that
	// scheme.
	Bearer bool

	// FastAPIStatusCodes answers bad keys with 403 "Could not validate API key"
	// and missing keys as in [Config].
	FastAPIStatusCodes bool
	Realm              string
	Hooks              guard.Hooks
}

// A StaticAuthenticator accepts a few configured keys, which end only with a
// restart. The Issuer of its Principals is "apikey:static". It is safe for
// concurrent use.
type StaticAuthenticator struct {
	config StaticConfig
	source source
	keys   []staticKey
}

type staticKey struct {
	// equals returns 1 for the key's own sum, else 0. The sum is inside a
	// function, so that printing the authenticator does not reveal it.
	equals    func(given sum) int
	principal identity.Principal
}

var _ guard.Authenticator = (*StaticAuthenticator)(nil)

// NewStatic returns an authenticator of the given keys. The error lists all
// mistakes, such as an empty key.
func NewStatic(config StaticConfig, keys ...StaticKey) (*StaticAuthenticator, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("apikey: "+format, args...)) }
	s := &StaticAuthenticator{
		config: config,
		source: newSource("StaticConfig", config.Header, config.InsecureQueryParameter, mistake),
	}
	if config.Bearer {
		s.source.scheme = bearerScheme
	}
	if len(keys) == 0 {
		mistake("NewStatic has no key; pass at least one")
	}
	for i, k := range keys {
		plain := k.Key.Plain()
		switch {
		case plain == "":
			mistake("key %d is empty; use at least %d random characters", i, minStatic)
		case len(plain) < minStatic || len(plain) > maxLegacy:
			mistake("key %d has %d bytes; use %d to %d", i, len(plain), minStatic, maxLegacy)
		case !visible(plain):
			mistake("key %d has a character that is not visible ASCII; remove it, because headers may not carry it", i)
		}
		if k.Name == "" {
			mistake("key %d has no Name; set one for the log", i)
		}
		own := sha256.Sum256([]byte(plain))
		equals := func(given sum) int { return subtle.ConstantTimeCompare(given[:], own[:]) }
		one := staticKey{equals, identity.Principal{
			Issuer:     "apikey:" + staticPrefix,
			Subject:    k.Name,
			Credential: k.Name,
			Client:     identity.FirstParty,
			Roles:      k.Roles,
			Scopes:     k.Scopes,
		}}
		if slices.ContainsFunc(s.keys, func(other staticKey) bool { return other.equals(own) == 1 }) {
			mistake("key %d is the same as an earlier one; pass each key once", i)
		}
		if slices.ContainsFunc(s.keys, func(other staticKey) bool { return other.principal.Subject == k.Name }) {
			mistake("key %d has the Name %q of an earlier one; use each Name once", i, k.Name)
		}
		s.keys = append(s.keys, one)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Challenge returns the challenge of the scheme ApiKey or, with
// StaticConfig.Bearer, Bearer.
func (s *StaticAuthenticator) Challenge() guard.Challenge {
	return guard.Challenge{Scheme: s.source.scheme, Realm: s.config.Realm}
}

// Authenticate returns the Principal of the key that r carries.
func (s *StaticAuthenticator) Authenticate(r *http.Request) (*identity.Principal, error) {
	key, err := s.source.read(r)
	if err != nil {
		return nil, err
	}
	if len(key) <= maxLegacy {
		// Hashes are compared, so that lengths do not matter, and all of them, so
		// that the time does not depend on which key matches.
		given := sha256.Sum256([]byte(key))
		found := -1
		for i := range s.keys {
			found = subtle.ConstantTimeSelect(s.keys[i].equals(given), i, found)
		}
		if found >= 0 {
			p := guard.NewPrincipal(r)
			*p = s.keys[found].principal
			return p, nil
		}
	}
	if s.config.FastAPIStatusCodes {
		return nil, &guard.Denial{Status: http.StatusForbidden, Code: guard.CodeInvalidToken, Detail: "Could not validate API key",
			Event: guard.EventLoginFail, Err: errNoStatic}
	}
	return nil, guard.InvalidToken(s.source.scheme, errNoStatic)
}

// Handler is middleware for routes that accept only these keys; see
// [Authenticator.Handler].
func (s *StaticAuthenticator) Handler(next http.Handler) http.Handler {
	return s.config.Hooks.Identify(s)(demand(s.config.Hooks, s, "apikey:"+staticPrefix, s.config.FastAPIStatusCodes)(next))
}
