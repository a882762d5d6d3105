package auth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

func (h *host) revoke(given string, more ...string) answer {
	h.t.Helper()
	return h.post("/revoke", append([]string{"token", given}, more...)...)
}

// revokes fails unless a revocation is answered as RFC 7009 section 2.2 says.
func (h *host) revokes(given string, more ...string) {
	h.t.Helper()
	a := h.revoke(given, more...)
	if a.status != http.StatusOK || a.raw != "" {
		h.t.Fatalf("%d %q, want 200 and no body", a.status, a.raw)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "" {
		h.t.Errorf("the header is %v", a.header)
	}
}

// signedBy returns a token of somebody with the given key, or with that of
// another host if it is empty.
func signedBy(t testing.TB, secret, iss, typ string) string {
	t.Helper()
	if secret == "" {
		secret = "the secret of somebody else, 32 b"
	}
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte(secret))})
	if err != nil {
		t.Fatal(err)
	}
	i, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: iss, Audience: audience, Type: typ, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := i.Issue(t.Context(), &identity.Principal{Subject: alice, Session: "s", Client: identity.FirstParty}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// accessSecret is the key of the access tokens of a host.
const accessSecret = "an access token secret of 32 b.."

func TestRFC7009Section2_1RefreshTokenEndsItsSessionAndAccessTokens(t *testing.T) {
	h := newHost(t)
	a, other := h.signedIn(), h.signedIn()
	b := h.refresh(a.refresh())
	h.events.take()
	h.revokes(b.refresh())
	if e := h.wantEvent(h.events.take(), guard.EventTokenRevoked); e.Principal == nil || e.Principal.Subject != alice {
		t.Errorf("the event is of %v, want alice", e.Principal)
	}
	h.over(a.access())
	h.over(b.access())
	h.dead(a.refresh())
	h.dead(b.refresh())
	h.alive(other.access())
	h.want(h.refresh(other.refresh()), http.StatusOK, "")
}

func TestRFC7009Section2_1AccessTokenEndsAlone(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	b := h.refresh(a.refresh())
	h.events.take()
	h.revokes(b.access())
	h.wantEvent(h.events.take(), guard.EventTokenRevoked)
	h.over(b.access())
	h.alive(a.access())
	h.want(h.refresh(b.refresh()), http.StatusOK, "")
}

func TestRFC7009Section2_1HintsDoNotMatter(t *testing.T) {
	for _, hint := range []string{"access_token", "refresh_token", "nonsense", ""} {
		h := newHost(t)
		a := h.signedIn()
		h.revokes(a.access(), "token_type_hint", hint)
		h.over(a.access())
		h.revokes(a.refresh(), "token_type_hint", hint)
		h.dead(a.refresh())
	}
}

func TestRFC7009Section2_1TokenIsRequired(t *testing.T) {
	h := newHost(t)
	h.want(h.post("/revoke"), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(h.revoke(""), http.StatusBadRequest, guard.CodeInvalidRequest)
}

func TestRFC7009Section2_1TokenInTheURLIs400(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	for _, path := range []string{"/revoke?token=" + a.access(), "/revoke?token=", "/revoke?t%6Fken=x"} {
		h.want(h.post(path, "token", a.access()), http.StatusBadRequest, guard.CodeInvalidRequest)
	}
	h.alive(a.access())
}

func TestRFC7009Section2_2UnknownTokenIs200(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(&factor{required: func() (bool, error) { return false, nil }}))
		a := h.signedIn()
		ended, spent := h.signedIn(), h.signedIn()
		h.want(h.logout(ended.access()), http.StatusOK, "")
		expired := a.access()
		time.Sleep(lifetime)
		live := h.signedIn()
		h.events.take()
		for name, given := range map[string]string{
			"garbage":                         "garbage",
			"three parts of garbage":          "a.b.c",
			"control characters":              "\x00\n",
			"another host's access token":     signedBy(t, "", "https://other.example", ""),
			"ours, by somebody else's key":    signedBy(t, "", issuer, ""),
			"another issuer's, by our key":    signedBy(t, accessSecret, "https://other.example", ""),
			"our key, another type":           signedBy(t, accessSecret, issuer, "id+jwt"),
			"a refresh token by another key":  signedBy(t, "", issuer, token.TypeRefresh),
			"an expired access token":         expired,
			"an access token that was ended":  ended.access(),
			"a refresh token that was ended":  ended.refresh(),
			"a token with a byte too many":    live.access() + "=",
			"something longer than any token": strings.Repeat("x", 3000),
		} {
			a := h.revoke(given)
			if a.status != http.StatusOK || a.raw != "" {
				t.Errorf("%s: %d %q, want 200 and no body", name, a.status, a.raw)
			}
		}
		if n := named(h.events.take(), guard.EventTokenRevoked); n != 0 {
			t.Errorf("%d events say that something was ended", n)
		}
		h.alive(live.access())
		h.want(h.refresh(spent.refresh()), http.StatusOK, "")
	})
}

func TestRFC7009Section2_2_1StoreFailureIs503(t *testing.T) {
	down := false
	fail := func() error {
		if down {
			return errDown
		}
		return nil
	}
	type breaking struct {
		name   string
		breaks func(*setup)
		given  func(answer) string
	}
	access, refresh := answer.access, answer.refresh
	for _, tt := range []breaking{
		{"sessions", func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return fail() }}
		}, refresh},
		{"Revoke, of a session", func(s *setup) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return fail() }}
		}, refresh},
		{"Revoke, of an access token", func(s *setup) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return fail() }}
		}, access},
		{"Revoked, of a refresh token", func(s *setup) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), ask: func() (bool, error) { return false, fail() }}
		}, refresh},
		{"Revoked, of an access token", func(s *setup) {
			s.Revoker = &revoker{Memory: new(blacklist.Memory), ask: func() (bool, error) { return false, fail() }}
		}, access},
	} {
		t.Run(tt.name, func(t *testing.T) {
			down = false
			h := newHost(t, tt.breaks)
			a := h.signedIn()
			h.events.take()
			down = true
			h.want(h.revoke(tt.given(a)), http.StatusServiceUnavailable, "temporarily_unavailable")
			if n := named(h.events.take(), guard.EventTokenRevoked); n != 0 {
				t.Error("an event says that it was ended")
			}
			down = false
			h.revokes(tt.given(a)) // which the client may do again
		})
	}
}

func TestRevokeNeedsAVerifier(t *testing.T) {
	signIn, _ := exampleServer(new(blacklist.Memory))
	for name, build := range map[string]func(){"Revoke": func() { signIn.Revoke() }, "Introspect": func() { signIn.Introspect() }} {
		func() {
			defer func() {
				if recover() != "auth: "+name+" needs Config.Verifier" {
					t.Errorf("%s does not panic without Config.Verifier, or with other words", name)
				}
			}()
			build()
		}()
	}
}

var _ auth.Revoker = (*revoker)(nil)
