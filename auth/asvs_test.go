package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

// The requirements of OWASP ASVS 5.0.0 on sign-in, sessions and logs that this
// package can keep, and section 3.2.2 of NIST SP 800-63B-4, one test each. Those
// about passwords and about tokens are in their packages.

func TestASVS6_3_1GuessesAreLimited(t *testing.T) {
	h := newHost(t, func(s *setup) { s.Throttle = &throttle{limit: 3} })
	for range 3 {
		h.want(h.signIn("alice", "guess no 1"), http.StatusBadRequest, "invalid_grant")
	}
	h.want(h.signIn("alice", right), http.StatusTooManyRequests, "temporarily_unavailable")
}

// The Throttle decides how many; this one allows the hundred of the standard.
// They are charged before the password is looked at.
func TestSP800_63B4Section3_2_2FailuresInARowAreLimited(t *testing.T) {
	h := newHost(t, func(s *setup) { s.Throttle = &throttle{limit: 100} })
	for range 50 {
		h.want(h.signIn("alice", right), http.StatusOK, "") // which is given back
	}
	for range 100 {
		h.want(h.signIn("alice", "guess no 1"), http.StatusBadRequest, "invalid_grant")
	}
	h.want(h.signIn("alice", right), http.StatusTooManyRequests, "temporarily_unavailable")
}

// That the time does not tell either is shown in package password.
func TestASVS6_3_8WhoExistsIsNotTold(t *testing.T) {
	h := newHost(t)
	disabled := h.alice()
	disabled.ID, disabled.Disabled = "user-9", true
	h.setUser("dora", disabled)
	h.setUser("eve", auth.User{ID: "user-8"})
	first := h.signIn("alice", "not the password")
	h.want(first, http.StatusBadRequest, "invalid_grant")
	for _, login := range []string{"nobody", "dora", "eve", "аlice"} {
		if a := h.signIn(login, right); a.status != first.status || a.raw != first.raw || !sameHeader(a.header, first.header) {
			t.Errorf("%s: %d %s, want what alice is answered", login, a.status, a.raw)
		}
	}
}

// The challenge is: that the code is too is the factor's affair, and shown in
// package totp.
func TestASVS6_5_1AChallengeIsGoodForOneSignIn(t *testing.T) {
	h := newHost(t, withFactor(&factor{}))
	challenge := h.challenged()
	h.want(h.answer(challenge, code), http.StatusOK, "")
	h.wrong(h.answer(challenge, code))
}

func TestASVS7_2_4SigningInEndsTheSessionThatTheBrowserHad(t *testing.T) {
	h := newHost(t, withCookies)
	b := h.browser()
	b.signIn()
	before := b.jar[accessCookie]
	b.signIn()
	if b.jar[accessCookie] == before {
		t.Error("the token is that of before")
	}
	h.over(before)
	h.want(b.me(), http.StatusOK, "")
}

func TestASVS7_2_4SteppingUpEndsTheSessionOfBefore(t *testing.T) {
	h := newHost(t, withFactor(later(nil)))
	a := h.signedIn()
	h.want(h.stepUp(a.access(), "code", code), http.StatusOK, "")
	h.over(a.access())
	h.dead(a.refresh())
}

func TestASVS7_3_1ASessionThatIsNotUsedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		time.Sleep(14 * 24 * time.Hour)
		h.dead(a.refresh())
	})
}

func TestASVS7_3_2NoSessionLastsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		for range 9 {
			time.Sleep(10*24*time.Hour - time.Minute)
			a = h.refresh(a.refresh())
			h.want(a, http.StatusOK, "")
		}
		time.Sleep(10 * time.Minute)
		h.dead(a.refresh())
	})
}

func TestASVS7_4_1AfterALogoutNothingWorks(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	b := h.refresh(a.refresh())
	h.want(h.logout(b.access()), http.StatusOK, "")
	for _, one := range []answer{a, b} {
		h.over(one.access())
		h.dead(one.refresh())
	}
}

func TestASVS7_4_2ADisabledUserIsOut(t *testing.T) {
	h := newHost(t, func(s *setup) {
		s.Hooks.Active = accountsIn(t, s.store, s.Hooks).Active
	})
	a, b := h.signedIn(), h.signedIn()
	disabled := h.alice()
	disabled.Disabled = true
	h.setUser("alice", disabled)
	for _, one := range []answer{a, b} {
		h.over(one.access())
		h.dead(one.refresh())
	}
	h.want(h.signIn("alice", right), http.StatusBadRequest, "invalid_grant")
}

func TestASVS7_4_3OtherSessionsCanBeEnded(t *testing.T) {
	h := newHost(t)
	own, other := h.signedIn(), h.signedIn()
	all, err := h.store.Sessions(t.Context(), alice)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for _, one := range all {
		if one.ID != h.me(own.access()).text("sid") {
			if err := h.server.EndSessions(t.Context(), identity.Revocation{Session: one.ID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.alive(own.access())
	h.over(other.access())
	h.dead(other.refresh())
}

func TestASVS7_4_5OneUsersSessionsOrEverybodysCanBeEnded(t *testing.T) {
	h := newHost(t)
	a, bob := h.signedIn(), h.signIn("bob", right)
	if err := h.server.EndSessions(t.Context(), identity.Revocation{Subject: alice}); err != nil {
		t.Fatal(err)
	}
	h.over(a.access())
	h.dead(a.refresh())
	h.alive(bob.access())
	if err := h.server.EndSessions(t.Context(), identity.Revocation{Before: time.Now()}); err != nil {
		t.Fatal(err)
	}
	h.over(bob.access())
	h.dead(bob.refresh())
}

// Two issuers may have one subject: who somebody is takes both.
func TestASVS10_3_3AUserIsIssuerAndSubject(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	p := &identity.Principal{Issuer: "https://other.example", Subject: alice, Session: payloadOf(t, a.access())["sid"].(string)}
	for _, path := range []string{"/logout/"} {
		r := request(path)
		h.want(h.serve(r.WithContext(identity.NewContext(r.Context(), p))), http.StatusBadRequest, guard.CodeInvalidRequest)
	}
	h.alive(a.access())
}

func TestASVS10_4_4AClientHasTheGrantsThatItNeeds(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret)
	h.want(h.serve(basic(signInForm(), readerID, webSecret)), http.StatusBadRequest, "unauthorized_client")
	h.want(h.serve(basic(signInForm(), "without grants", webSecret)), http.StatusBadRequest, "unauthorized_client")
}

func TestASVS10_4_5AReplayedRefreshTokenIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		b := h.refresh(a.refresh())
		c := h.refresh(b.refresh())
		h.dead(a.refresh())
		h.dead(c.refresh())
	})
}

func TestASVS10_4_8RefreshTokensHaveAnAbsoluteExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(s *setup) { s.RefreshIdle, s.RefreshAbsolute = time.Hour, 90*time.Minute })
		a := h.signedIn()
		time.Sleep(50 * time.Minute)
		a = h.refresh(a.refresh())
		h.want(a, http.StatusOK, "")
		time.Sleep(40 * time.Minute)
		h.dead(a.refresh())
	})
}

// The interface is the host's: it shows users their sessions, and ends the one
// that they choose. A client that has the token ends it at Revoke.
func TestASVS10_4_9RefreshTokensCanBeRevoked(t *testing.T) {
	h := newHost(t)
	chosen := h.signedIn()
	all, err := h.store.Sessions(t.Context(), alice)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := h.server.EndSessions(t.Context(), identity.Revocation{Session: all[0].ID}); err != nil {
		t.Fatal(err)
	}
	h.dead(chosen.refresh())
	h.over(chosen.access())
	a := h.signedIn()
	h.revokes(a.refresh())
	h.dead(a.refresh())
	h.over(a.access())
}

func TestASVS10_4_10ConfidentialClientsAuthenticate(t *testing.T) {
	h := newHost(t, withClients)
	for _, r := range []*http.Request{signInForm("client_id", webID), request("/revoke", "token", "x", "client_id", webID)} {
		h.isInvalidClient(r.URL.Path, h.serve(r))
	}
}

// newHost fails a test in whose log there is a password, a token or a code; this
// one says what it looked for.
func TestASVS16_2_5CredentialsAreNotLogged(t *testing.T) {
	h := newHost(t, withClients, withFactor(later(nil)))
	h.secret(webSecret, "a wrong password", "a wrong secret")
	a := h.signedIn()
	h.signIn("alice", "a wrong password")
	h.serve(basic(signInForm(), webID, "a wrong secret"))
	h.serve(basic(signInForm(), webID, webSecret))
	b := h.refresh(a.refresh())
	h.refresh(a.refresh() + "x")
	h.me(b.access() + "x")
	h.stepUp(b.access(), "code", "code 000000")
	h.logout(b.access())
	if h.log.Len() == 0 || len(h.secrets) < 8 {
		t.Errorf("the log has %d bytes, and %d secrets are looked for", h.log.Len(), len(h.secrets))
	}
	h.noSecrets()
}

func TestASVS16_3_1SignInsAreLoggedWhetherTheySucceedOrNot(t *testing.T) {
	h := newHost(t)
	h.signedIn()
	if e := h.wantEvent(h.events.take(), guard.EventLoginSuccess); e.Principal == nil || e.Principal.Subject != alice || !e.Principal.Factors.Has("pwd") || e.Request.RemoteAddr == "" {
		t.Errorf("the event is %+v", e)
	}
	h.signIn("alice", "not the password")
	if e := h.wantEvent(h.events.take(), guard.EventLoginFail); e.Login != "alice" || e.Denial == nil || e.Request.RemoteAddr == "" {
		t.Errorf("the event is %+v", e)
	}
}

func TestASVS16_4_1NothingBeginsALineOfTheLog(t *testing.T) {
	var log bytes.Buffer
	h := newHost(t, func(s *setup) {
		s.Hooks.Observe = guard.Log(slog.New(slog.NewTextHandler(&log, nil)))
	})
	h.signIn("alice\r\nlevel=INFO msg=authn_login_success", "x")
	h.signIn("alice\u2028\x1b[2J\x00", "x")
	if lines := strings.Count(log.String(), "\n"); lines != 2 || strings.ContainsAny(log.String(), "\r\x1b\x00\u2028") {
		t.Errorf("the log has %d lines, want 2: %q", lines, log.String())
	}
}

func TestASVS16_5_1ClientsAreToldNoReasons(t *testing.T) {
	h := newHost(t, func(s *setup) {
		s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) { return nil, errDown }}
	})
	if a := h.signIn("alice", right); a.status != http.StatusServiceUnavailable || strings.Contains(a.raw, "SECRET-REASON") {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

// Nothing that fails lets anybody in.
func TestASVS16_5_3FailuresFailClosed(t *testing.T) {
	for name, breaks := range map[string]func(*setup){
		"users": func(s *setup) {
			s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) { return nil, errDown }}
		},
		"sessions": func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { return errDown }}
		},
		"revoker": func(s *setup) {
			s.Revoker = &revoker{Memory: new(blacklist.Memory), ask: func() (bool, error) { return false, errDown }}
		},
		"throttle": func(s *setup) { s.Throttle = &throttle{err: errDown} },
		"factor":   func(s *setup) { s.SecondFactor = &factor{required: func() (bool, error) { return false, errDown }} },
		"claims": func(s *setup) {
			s.Claims = func(context.Context, *auth.User) (any, error) { return nil, fmt.Errorf("x: %w", errDown) }
		},
	} {
		h := newHost(t, breaks)
		if a := h.signIn("alice", right); a.status != http.StatusServiceUnavailable || a.access() != "" {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}
