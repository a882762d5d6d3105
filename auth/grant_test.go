package auth_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// callerOf returns the caller that an access token identifies.
func (h *host) callerOf(access string) *identity.Principal {
	h.t.Helper()
	me := h.me(access)
	return &identity.Principal{Issuer: issuer, Subject: me.text("sub"), Tenant: me.text("tenant"), Session: me.text("sid"), Client: me.text("client"), Factors: identity.NewSet("pwd")}
}

func notProven(err error) bool { return errors.Is(err, identity.ErrNotProven) }

func TestGrantIsGoodOnceForItsPurposeAndSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		ctx := t.Context()
		p, other := h.callerOf(h.signedIn().access()), h.callerOf(h.signedIn().access())
		proof := identity.Proof{Subject: alice, Factors: identity.NewSet("hwk")}
		grant := func() string {
			t.Helper()
			g, expires, err := h.server.Grant(ctx, p, "2fa", proof)
			if err != nil || time.Until(expires) > 5*time.Minute {
				t.Fatal(expires, err)
			}
			return g
		}
		bob := *p
		bob.Subject = "user-2"
		tenant := *p
		tenant.Tenant = "another"
		g := grant()
		for name, err := range map[string]error{
			"another purpose": h.server.UseGrant(ctx, p, "passkey", g),
			"another session": h.server.UseGrant(ctx, other, "2fa", g),
			"another subject": h.server.UseGrant(ctx, &bob, "2fa", g),
			"another tenant":  h.server.UseGrant(ctx, &tenant, "2fa", g),
			"nothing":         h.server.UseGrant(ctx, p, "2fa", ""),
			"a changed grant": h.server.UseGrant(ctx, p, "2fa", g[:len(g)-4]+"AAAA"),
			"an access token": h.server.UseGrant(ctx, p, "2fa", h.signedIn().access()),
			"a refresh token": h.server.UseGrant(ctx, p, "2fa", h.signedIn().refresh()),
		} {
			if !notProven(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := h.server.UseGrant(ctx, p, "2fa", g); err != nil {
			t.Errorf("a refusal used the grant up: %v", err)
		}
		if err := h.server.UseGrant(ctx, p, "2fa", g); !notProven(err) {
			t.Errorf("a second time: %v", err)
		}
		g = grant()
		time.Sleep(5*time.Minute + time.Second)
		if err := h.server.UseGrant(ctx, p, "2fa", g); !notProven(err) {
			t.Errorf("after five minutes: %v", err)
		}
		g = grant()
		if err := h.server.EndSessions(ctx, identity.Revocation{Session: p.Session}); err != nil {
			t.Fatal(err)
		}
		if err := h.server.UseGrant(ctx, p, "2fa", g); !notProven(err) {
			t.Errorf("after the session ended: %v", err)
		}
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Authorization", "Bearer "+grant2(h, ctx, other))
		if got := h.serve(r); got.status != 401 {
			t.Errorf("a grant as an access token: %d", got.status)
		}
	})
}

func grant2(h *host, ctx context.Context, p *identity.Principal) string {
	h.t.Helper()
	g, _, err := h.server.Grant(ctx, p, "2fa", identity.Proof{Subject: alice, Factors: identity.NewSet("hwk")})
	if err != nil {
		h.t.Fatal(err)
	}
	return g
}

// A forgetful store deletes challenges on a machine whose clock is ahead.
type forgetful struct {
	*auth.Memory
	expires map[auth.TokenHash]time.Time
}

func (f forgetful) AttemptChallenge(ctx context.Context, id auth.TokenHash, limit int, expires time.Time) (bool, error) {
	if e, ok := f.expires[id]; ok && !time.Now().Add(identity.MaxClockSkew).Before(e) {
		id[0]++ // as if it had not been there
	} else {
		f.expires[id] = expires
	}
	return f.Memory.AttemptChallenge(ctx, id, limit, expires)
}

func TestWhatIsUsedUpStaysSoWhileClocksDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}), func(s *setup) { s.Challenges = forgetful{s.store, map[auth.TokenHash]time.Time{}} })
		began, challenge := time.Now(), h.challenged()
		in := h.answer(challenge, code)
		h.want(in, 200, "")
		p := h.callerOf(in.access())
		grant, expires, err := h.server.Grant(t.Context(), p, "2fa", identity.Proof{Subject: alice, Factors: identity.NewSet("hwk")})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.server.UseGrant(t.Context(), p, "2fa", grant); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(expires) - identity.MaxClockSkew + time.Second)
		if err := h.server.UseGrant(t.Context(), p, "2fa", grant); !notProven(err) {
			t.Errorf("a grant passes again: %v", err)
		}
		time.Sleep(time.Until(began.Add(10*time.Minute - identity.MaxClockSkew + time.Second)))
		h.want(h.answer(challenge, code), 400, "invalid_grant")
	})
}

func TestOfManyUsesOfOneGrantOneSucceeds(t *testing.T) {
	h := newHost(t)
	p := h.callerOf(h.signedIn().access())
	g := grant2(h, t.Context(), p)
	var mu sync.Mutex
	good := 0
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			err := h.server.UseGrant(t.Context(), p, "2fa", g)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			} else if !notProven(err) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if good != 1 {
		t.Errorf("%d uses of one grant, want 1", good)
	}
}

func TestGrantNeedsARecentProofOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		p := h.callerOf(h.signedIn().access())
		hwk := identity.NewSet("hwk")
		now := time.Now()
		for name, tt := range map[string]struct {
			proof identity.Proof
			good  bool
		}{
			"now":                        {identity.Proof{Subject: alice, Factors: hwk}, true},
			"five minutes ago":           {identity.Proof{Subject: alice, Factors: hwk, Time: now.Add(-5 * time.Minute)}, true},
			"more than five minutes ago": {identity.Proof{Subject: alice, Factors: hwk, Time: now.Add(-5*time.Minute - time.Second)}, false},
			"30 seconds ahead":           {identity.Proof{Subject: alice, Factors: hwk, Time: now.Add(30 * time.Second)}, true},
			"more than 30 seconds ahead": {identity.Proof{Subject: alice, Factors: hwk, Time: now.Add(31 * time.Second)}, false},
			"another subject":            {identity.Proof{Subject: "user-2", Factors: hwk}, false},
			"no subject":                 {identity.Proof{Factors: hwk}, false},
			"another tenant":             {identity.Proof{Subject: alice, Tenant: "another", Factors: hwk}, false},
			"no factor":                  {identity.Proof{Subject: alice}, false},
		} {
			g, _, err := h.server.Grant(t.Context(), p, "2fa", tt.proof)
			if tt.good != (err == nil && g != "") || err != nil && !notProven(err) {
				t.Errorf("%s: %q, %v", name, g, err)
			}
		}
		proof := identity.Proof{Subject: alice, Factors: hwk}
		for _, purpose := range []string{"", "a b", "a\nb", `a"b`, `a\b`, "é"} {
			if _, _, err := h.server.Grant(t.Context(), p, purpose, proof); err == nil || notProven(err) {
				t.Errorf("the purpose %q: %v", purpose, err)
			}
			if err := h.server.UseGrant(t.Context(), p, purpose, "x"); err == nil || notProven(err) {
				t.Errorf("the purpose %q: %v", purpose, err)
			}
		}
		for name, change := range map[string]func(*identity.Principal){
			"an API key": func(p *identity.Principal) { p.Session = "" }, "another issuer": func(p *identity.Principal) { p.Issuer = "https://other" },
		} {
			q := *p
			change(&q)
			_, _, err := h.server.Grant(t.Context(), &q, "2fa", proof)
			for _, err := range []error{err, h.server.UseGrant(t.Context(), &q, "2fa", "x"), h.server.VerifyPassword(t.Context(), &q, right)} {
				if d, _ := errors.AsType[*guard.Denial](err); d == nil || d.Status != 403 {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		without := newHost(t, func(s *setup) { s.Challenges = nil })
		if err := without.server.UseGrant(t.Context(), p, "2fa", "x"); err == nil || !strings.Contains(err.Error(), "Config.Challenges is nil") {
			t.Errorf("without a ChallengeStore: %v", err)
		}
	})
}

func TestVerifyPasswordIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		time.Sleep(3 * time.Minute) // into a window
		p, other := h.callerOf(h.signedIn().access()), h.callerOf(h.signedIn().access())
		for range 5 {
			if err := h.server.VerifyPassword(t.Context(), p, "wrong"); !notProven(err) {
				t.Fatal(err)
			}
			if err := h.server.VerifyPassword(t.Context(), other, right); err != nil {
				t.Fatal(err)
			}
		}
		err := h.server.VerifyPassword(t.Context(), other, right)
		if d, ok := err.(*guard.Denial); !ok || d.Status != 429 || d.RetryAfter != 7*time.Minute {
			t.Errorf("the eleventh: %v", err)
		}
		bob := *p
		bob.Subject = "user-2"
		if err := h.server.VerifyPassword(t.Context(), &bob, right); err != nil {
			t.Errorf("another subject: %v", err)
		}
		time.Sleep(7 * time.Minute)
		if err := h.server.VerifyPassword(t.Context(), p, right); err != nil {
			t.Errorf("in the next window: %v", err)
		}
		moved := *p
		moved.Tenant = "the tenant of before"
		if err := h.server.VerifyPassword(t.Context(), &moved, right); !notProven(err) {
			t.Errorf("a user of another tenant now: %v", err)
		}
		u := h.alice()
		u.Disabled = true
		h.setUser("alice", u)
		if err := h.server.VerifyPassword(t.Context(), p, right); !notProven(err) {
			t.Errorf("a disabled user: %v", err)
		}
		u = h.alice()
		u.PasswordHash = ""
		h.setUser("alice", u)
		for _, given := range []string{right, ""} {
			if err := h.server.VerifyPassword(t.Context(), p, given); !notProven(err) {
				t.Errorf("a user without a password: %v", err)
			}
		}
	})
}

// What the SecondFactor knows to be enrolled in the session does not raise it.
func TestStepUpWithAFactorOfTheSameSessionIsRefused(t *testing.T) {
	denial := guard.NewDenial(403, "factor_enrolled_in_session", "Sign in again.", errors.New("enrolled here"))
	h := newHost(t, withFactor(later(func(string, string) (string, error) { return "", denial })))
	a := h.signedIn()
	h.want(h.stepUp(a.access(), "code", code), 403, "factor_enrolled_in_session")
	h.alive(a.access())
}

func TestStepUpTakesTheFormsOfAPage(t *testing.T) {
	const data = "--X\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\n" + code + "\r\n--X--\r\n"
	for _, tt := range []struct {
		contentType, body string
		status            int
		text              string
	}{
		{"application/json", `{"code":"` + code + `"}`, 200, "access_token"},
		{"multipart/form-data; boundary=X", data, 200, "access_token"},
		{"application/json", `{"code":"wrong"}`, 400, "invalid_grant"},
		{"application/json", `{"code":314159}`, 400, "The member code must be a string"},
		{"application/json", `{}`, 400, "The parameter code is missing."},
		{"application/json", `{"code":"x","user":"bob"}`, 400, "no others"},
		{"text/plain", code, 415, "invalid_request"},
	} {
		h := newHost(t, withFactor(later(nil)))
		r := httptest.NewRequest("POST", "/step-up", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.contentType)
		r.Header.Set("Authorization", "Bearer "+h.signedIn().access())
		got := h.serve(r)
		if got.status != tt.status || !strings.Contains(got.raw, tt.text) {
			t.Errorf("%s %s: %d %s", tt.contentType, tt.body, got.status, got.raw)
		}
	}
}
