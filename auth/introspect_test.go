package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

const inactive = `{"active":false}` + "\n"

// service signs in the user of another service, who may introspect, and returns
// its access token.
func (h *host) service() string {
	h.t.Helper()
	h.setUser("service", auth.User{ID: "service-1", PasswordHash: h.hash, Scopes: identity.NewSet(auth.ScopeIntrospect)})
	a := h.signIn("service", right)
	h.want(a, http.StatusOK, "")
	return a.access()
}

func (h *host) introspect(caller, given string) answer {
	h.t.Helper()
	h.secret(given)
	r := request("/introspect", "token", given)
	if caller != "" {
		r.Header.Set("Authorization", "Bearer "+caller)
	}
	a := h.serve(r)
	if a.header.Get("Cache-Control") != "no-store" {
		h.t.Errorf("%d with Cache-Control %q, want no-store", a.status, a.header.Get("Cache-Control"))
	}
	return a
}

// isInactive fails unless the token is told to be no good, and nothing else of
// it.
func (h *host) isInactive(name string, a answer) {
	h.t.Helper()
	if a.status != http.StatusOK || a.raw != inactive || a.header.Get("Content-Type") != "application/json" {
		h.t.Errorf("%s: %d %q, want exactly %q", name, a.status, a.raw, inactive)
	}
}

func TestRFC7662Section2_1AnonymousCallersAreRefused(t *testing.T) {
	h := newHost(t)
	good := h.signedIn().access()
	first := h.introspect("", good)
	h.want(first, http.StatusUnauthorized, guard.CodeUnauthenticated)
	if first.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("WWW-Authenticate is %q, want Bearer", first.header.Get("WWW-Authenticate"))
	}
	// The token to ask about is no credential, and what it is makes no
	// difference.
	for _, given := range []string{"x", "", good + "="} {
		if a := h.introspect("", given); a.status != first.status || a.raw != first.raw || !sameHeader(a.header, first.header) {
			t.Errorf("%q: %d %s, want what a good token is answered", given, a.status, a.raw)
		}
	}
	h.want(h.introspect("no token", good), http.StatusUnauthorized, guard.CodeInvalidToken)
}

// Section 2.3 has 401 for them, by way of RFC 6750 section 3, whose section 3.1
// has 403 for too little scope.
func TestRFC7662Section2_1CallersWithoutTheScopeAreRefused(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	first := h.introspect(a.access(), a.access())
	h.want(first, http.StatusForbidden, guard.CodeInsufficientScope)
	if got, want := first.header.Get("WWW-Authenticate"), `Bearer scope="introspect", error="insufficient_scope"`; got != want {
		t.Errorf("WWW-Authenticate is %q, want %q", got, want)
	}
	for _, given := range []string{"x", "", a.refresh()} {
		if b := h.introspect(a.access(), given); b.status != first.status || b.raw != first.raw || !sameHeader(b.header, first.header) {
			t.Errorf("%q: %d %s, want what a good token is answered", given, b.status, b.raw)
		}
	}
}

func TestRFC7662Section2_1ItIsAPostOfAForm(t *testing.T) {
	h := newHost(t)
	caller := h.service()
	as := func(r *http.Request) answer {
		r.Header.Set("Authorization", "Bearer "+caller)
		return h.serve(r)
	}
	good := h.signedIn().access()
	get := request("/introspect", "token", good)
	get.Method = "GET"
	h.want(as(get), http.StatusMethodNotAllowed, guard.CodeInvalidRequest)
	h.want(as(request("/introspect")), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(as(request("/introspect", "token", "")), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(as(request("/introspect", "token", good, "token", good)), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(as(request("/introspect?token="+good, "token", good)), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(as(request("/introspect", "token", good, "token_type_hint", "refresh_token")), http.StatusOK, "")
}

func TestRFC7662Section2_2ActiveToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		changed := h.alice()
		changed.Tenant = "acme"
		h.setUser("alice", changed)
		caller, a := h.service(), h.signedIn("scope", "read")
		got := h.introspect(caller, a.access())
		h.want(got, http.StatusOK, "")
		payload := payloadOf(t, a.access())
		now := float64(time.Now().Unix())
		want := map[string]any{
			"active": true, "scope": "read", "client_id": identity.FirstParty, "token_type": "Bearer", "exp": now + 900, "iat": now,
			"sub": alice, "iss": issuer, "jti": payload["jti"], "auth_time": now, "amr": []any{"pwd"}, "sid": payload["sid"], "tenant": "acme",
		}
		for name := range want {
			if fmt.Sprint(got.json[name]) != fmt.Sprint(want[name]) || got.json[name] == nil {
				t.Errorf("%s is %v, want %v", name, got.json[name], want[name])
			}
		}
		if len(got.json) != len(want) {
			t.Errorf("the members are %v", got.json)
		}
		if got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the header is %v", got.header)
		}
	})
}

func TestRFC7662Section2_2InactiveToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(&factor{required: func() (bool, error) { return false, nil }}))
		old := h.signedIn().access()
		time.Sleep(lifetime)
		caller, a, out, ended := h.service(), h.signedIn(), h.signedIn(), h.signedIn()
		h.want(h.logout(out.access()), http.StatusOK, "")
		h.revokes(ended.access())
		for name, given := range map[string]string{
			"garbage":                     "garbage",
			"three parts of garbage":      "a.b.c",
			"a refresh token":             a.refresh(),
			"an expired token":            old,
			"a token after the logout":    out.access(),
			"a token that was revoked":    ended.access(),
			"another spelling":            a.access() + "=",
			"another host's token":        signedBy(t, "", "https://other.example", ""),
			"ours, by another key":        signedBy(t, "", issuer, ""),
			"another issuer's by our key": signedBy(t, accessSecret, "https://other.example", ""),
			"another type":                signedBy(t, accessSecret, issuer, "id+jwt"),
		} {
			h.isInactive(name, h.introspect(caller, given))
		}
	})
	t.Run("a challenge for a second factor", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}))
		challenge := h.challenged()
		caller := signedBy(t, accessSecret, issuer, "") // without the scope
		h.want(h.introspect(caller, challenge), http.StatusForbidden, guard.CodeInsufficientScope)
		h.setUser("service", auth.User{ID: "service-1", PasswordHash: h.hash, Scopes: identity.NewSet(auth.ScopeIntrospect)})
		step := h.answer(h.signIn("service", right).text("mfa_token"), code)
		h.isInactive("a challenge", h.introspect(step.access(), challenge))
	})
}

// The caller's own user is loaded for the request, and must not be taken for
// the user of the token that is asked about, or the other way around.
func TestRFC7662Section2_2DisabledUserIsInactive(t *testing.T) {
	verdicts := map[string]struct {
		err    error
		status int
		active bool
	}{
		"in good standing":              {nil, http.StatusOK, true},
		"disabled":                      {guard.ErrInactive, http.StatusOK, false},
		"disabled, in a store's words":  {fmt.Errorf("row 7: %w", guard.ErrInactive), http.StatusOK, false},
		"gone":                          {auth.ErrNotFound, http.StatusOK, false},
		"refused by the host":           {guard.Forbidden(errDown), http.StatusOK, false},
		"not to be found out":           {errDown, http.StatusServiceUnavailable, false},
		"not to be found out, politely": {guard.Unavailable(7*time.Second, errDown), http.StatusServiceUnavailable, false},
	}
	for name, tt := range verdicts {
		for _, guide := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, guide's status codes %v", name, guide), func(t *testing.T) {
				var loaded []string
				h := newHost(t, func(s *setup) {
					me := accountsOf(t, func(_ context.Context, p *identity.Principal) (string, error) {
						loaded = append(loaded, p.Subject)
						if p.Subject == alice {
							return p.Subject, tt.err
						}
						return p.Subject, nil
					}, func(id string) auth.User { return auth.User{ID: id} }, auth.AccountsConfig{Hooks: s.Hooks, FastAPIStatusCodes: guide})
					s.Hooks.Active = me.Active
				})
				caller, a := h.service(), h.signedIn()
				got := h.introspect(caller, a.access())
				if strings.Join(loaded, " ") != "service-1 "+alice {
					t.Errorf("the users asked about are %q, want that of the caller and that of the token", loaded)
				}
				switch {
				case tt.status == http.StatusServiceUnavailable:
					h.want(got, tt.status, "temporarily_unavailable")
				case tt.active:
					if got.json["active"] != true || got.json["sub"] != alice {
						t.Errorf("the answer is %s", got.raw)
					}
				default:
					h.isInactive(name, got)
				}
			})
		}
	}
	t.Run("a caller who is disabled learns nothing", func(t *testing.T) {
		h := newHost(t, func(s *setup) {
			s.Hooks.Active = func(_ context.Context, p *identity.Principal) error {
				if p.Subject == "service-1" {
					return guard.ErrInactive
				}
				return nil
			}
		})
		h.want(h.introspect(h.service(), h.signedIn().access()), http.StatusUnauthorized, guard.CodeInvalidToken)
	})
}

// The server must find out whether a token was revoked: what it could not find
// out it does not answer.
func TestRFC7662Section4StoreFailureIs503(t *testing.T) {
	down := false
	h := newHost(t, func(s *setup) {
		memory := s.Revoker.(*blacklist.Memory)
		calls := 0
		s.Revoker = &revoker{Memory: memory, ask: func() (bool, error) {
			if !down {
				return false, nil
			}
			if calls++; calls > 2 { // the caller's own token is asked about first, and again behind the form
				return false, errDown
			}
			return false, nil
		}}
	})
	caller, a := h.service(), h.signedIn()
	down = true
	h.want(h.introspect(caller, a.access()), http.StatusServiceUnavailable, "temporarily_unavailable")
}
