package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// The clauses of the best current practice for OAuth, and of those about
// refusals and step-up that concern this package, one test each.

func TestRFC9700Section2_2_2RefreshTokensRotate(t *testing.T) {
	h := newHost(t, withClients)
	a := h.serve(signInForm("client_id", phoneID))
	seen := map[string]bool{a.refresh(): true}
	for range 5 {
		a = h.post("/token", "grant_type", "refresh_token", "refresh_token", a.refresh(), "client_id", phoneID)
		h.want(a, http.StatusOK, "")
		if seen[a.refresh()] {
			t.Fatal("a refresh token was given twice")
		}
		seen[a.refresh()] = true
	}
}

// What is offered for discovery is no password grant; where it is served it is
// the sign-in form of the host's own application.
func TestRFC9700Section2_4ThePasswordGrantIsNotAdvertised(t *testing.T) {
	if a := metadata(t, issuer, everywhere); strings.Contains(a.raw, "password") {
		t.Errorf("the document is %s", a.raw)
	}
	c := auth.Client{ID: "somebody else's", Public: true}
	if c.Grants.Has("password") {
		t.Error("a client may use the password grant unless somebody forbids it")
	}
}

func TestRFC9700Section2_5ConfidentialClientsAuthenticate(t *testing.T) {
	h := newHost(t, withClients)
	for _, r := range []*http.Request{
		signInForm("client_id", webID),
		request("/token/refresh", "refresh_token", "x", "client_id", webID),
		request("/revoke", "token", "x", "client_id", webID),
	} {
		h.isInvalidClient(r.URL.Path, h.serve(r))
	}
}

func TestRFC9700Section4_14_2AReusedTokenEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		b := h.refresh(a.refresh())
		time.Sleep(time.Minute)
		h.events.take()
		h.dead(a.refresh())
		h.wantEvent(h.events.take(), guard.EventTokenReuse)
		h.dead(b.refresh())
		h.over(b.access())
	})
}

func TestRFC9700Section4_14_2RefreshTokensAreBoundToTheirScope(t *testing.T) {
	h := newHost(t)
	a := h.signedIn("scope", "read")
	h.want(h.refresh(a.refresh(), "scope", "write"), http.StatusBadRequest, "invalid_scope")
	if b := h.refresh(a.refresh()); b.text("scope") != "read" {
		t.Errorf("the scope is %q, want that of the sign-in", b.text("scope"))
	}
}

func TestRFC9700Section4_14_2RefreshTokensExpireWhenTheyAreNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(s *setup) { s.RefreshIdle = time.Hour })
		a := h.signedIn()
		time.Sleep(time.Hour)
		h.dead(a.refresh())
	})
}

func TestRFC9700Section4_14_2LogoutAndAChangeOfPasswordEndThem(t *testing.T) {
	h := newHost(t)
	a, b := h.signedIn(), h.signedIn()
	h.want(h.logout(a.access()), http.StatusOK, "")
	h.dead(a.refresh())
	// The host has stored the new hash.
	if err := h.server.EndSessions(t.Context(), identity.Revocation{Subject: alice}); err != nil {
		t.Fatal(err)
	}
	h.dead(b.refresh())
	h.over(b.access())
}

// No token is issued to a client for itself, so the name of a client cannot be
// taken for that of a user, even where they are the same.
func TestRFC9700Section4_15_1ClientsAreNoSubjects(t *testing.T) {
	h := newHost(t, func(s *setup) {
		if err := s.store.SetClient(auth.Client{ID: alice, Public: true, Grants: identity.NewSet("password", "refresh_token", "client_credentials")}); err != nil {
			t.Fatal(err)
		}
		s.Clients = s.store
	})
	h.want(h.post("/token", "grant_type", "client_credentials", "client_id", alice), http.StatusBadRequest, "unsupported_grant_type")
	a := h.post("/token", "grant_type", "password", "username", "bob", "password", right, "client_id", alice)
	h.want(a, http.StatusOK, "")
	if claims := payloadOf(t, a.access()); claims["sub"] != "user-2" || claims["client_id"] != alice {
		t.Errorf("the claims are %v", claims)
	}
}

func TestRFC6750Section3_1InsufficientScope(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	got := h.introspect(a.access(), a.access())
	h.want(got, http.StatusForbidden, guard.CodeInsufficientScope)
	if want := `Bearer scope="introspect", error="insufficient_scope"`; got.header.Get("WWW-Authenticate") != want {
		t.Errorf("WWW-Authenticate is %q, want %q", got.header.Get("WWW-Authenticate"), want)
	}
}

// Problem details are not to replace a format that there is: the token endpoints
// answer as RFC 6749 says, everything else with problems.
func TestRFC9457Section4ProblemsAreOfResourcesOnly(t *testing.T) {
	h := newHost(t)
	for _, a := range []answer{h.signIn("alice", "not the password"), h.refresh("x"), h.post("/token"), h.post("/revoke")} {
		if a.header.Get("Content-Type") != "application/json" || a.text("error") == "" || a.json["status"] != nil || a.json["title"] != nil {
			t.Errorf("%v %s, want the error of RFC 6749", a.header, a.raw)
		}
	}
	for _, a := range []answer{h.me("x"), h.logout("x"), h.introspect("", "x")} {
		if a.header.Get("Content-Type") != "application/problem+json" || a.json["status"] != float64(a.status) || a.json["error"] != nil {
			t.Errorf("%v %s, want a problem", a.header, a.raw)
		}
	}
}

// A route of the host's that asks for a second factor of the last five minutes
// is told so by a challenge, which StepUp satisfies.
func TestRFC9470Section3StepUpSatisfiesTheChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hooks guard.Hooks
		h := newHost(t, withFactor(later(nil)), func(s *setup) { hooks = s.Hooks })
		const recent = 5 * time.Minute
		h.mux.Handle("GET /vault", hooks.Require(func(r *http.Request) error {
			p, err := guard.Caller(r)
			if err != nil {
				return err
			}
			if p.Factors.Has("otp") && time.Since(p.AuthTime) <= recent {
				return nil
			}
			return &guard.Denial{Status: http.StatusUnauthorized, Code: "insufficient_user_authentication", Err: errors.New("the sign-in is old or weak"), Challenges: []guard.Challenge{
				{Scheme: "Bearer", Error: "insufficient_user_authentication", ACRValues: []string{"otp"}, MaxAge: recent},
			}}
		})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })))
		a := h.signedIn()
		got := h.serve(bearer("GET", "/vault", a.access()))
		h.want(got, http.StatusUnauthorized, "insufficient_user_authentication")
		if want := `Bearer error="insufficient_user_authentication", acr_values="otp", max_age="300"`; got.header.Get("WWW-Authenticate") != want {
			t.Errorf("WWW-Authenticate is %q, want %q", got.header.Get("WWW-Authenticate"), want)
		}
		a = h.stepUp(a.access(), "code", code)
		h.want(h.serve(bearer("GET", "/vault", a.access())), http.StatusOK, "")
		time.Sleep(recent + time.Second)
		h.want(h.serve(bearer("GET", "/vault", h.refresh(a.refresh()).access())), http.StatusUnauthorized, "insufficient_user_authentication")
	})
}

// The section has auth_time, and acr, for which the amr of RFC 9068 section 2.2.1
// stands here. Neither changes when the token is renewed.
func TestRFC9470Section6_1AuthenticationIsInTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(later(nil)))
		a := h.signedIn()
		time.Sleep(10 * time.Minute)
		b := h.stepUp(a.access(), "code", code)
		before, after := payloadOf(t, a.access()), payloadOf(t, b.access())
		if after["auth_time"].(float64)-before["auth_time"].(float64) != 600 || after["amr"].([]any)[0] != "otp" {
			t.Errorf("the token said %v and says %v", before, after)
		}
		time.Sleep(10 * time.Minute)
		renewed := payloadOf(t, h.refresh(b.refresh()).access())
		if renewed["auth_time"] != after["auth_time"] || fmt.Sprint(renewed["amr"]) != fmt.Sprint(after["amr"]) {
			t.Errorf("the token said %v and says after a refresh %v", after, renewed)
		}
	})
}

func TestRFC9470Section6_2AuthenticationIsInTheIntrospection(t *testing.T) {
	h := newHost(t, withFactor(later(nil)))
	a := h.stepUp(h.signedIn().access(), "code", code)
	got, claims := h.introspect(h.service(), a.access()), payloadOf(t, a.access())
	if got.json["auth_time"] != claims["auth_time"] || len(got.json["amr"].([]any)) != 2 {
		t.Errorf("the answer is %s", got.raw)
	}
}
