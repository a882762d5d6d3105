package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
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

// What EndSessions ends, between a password and a code.
func TestChallengeEndsWithEveryFieldOfEndSessions(t *testing.T) {
	for name, which := range map[string]identity.Revocation{
		"Subject":            {Subject: alice},
		"Tenant":             {Tenant: "acme"},
		"Subject and Tenant": {Subject: alice, Tenant: "acme"},
		"Before":             {Before: time.Unix(1, 0)},
		"Spare":              {Subject: alice, Spare: "another session"},
	} {
		for _, when := range []string{"while the factor is looked up", "between password and code", "while the code is verified", "while the session is opened"} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var h *host
					armed := false
					at := func(now string) {
						if !armed || now != when {
							return
						}
						armed = false
						which := which
						if !which.Before.IsZero() {
							which.Before = time.Now()
						}
						if err := h.server.EndSessions(context.Background(), which); err != nil {
							t.Error(err)
						}
					}
					h = newHost(t, withFactor(&factor{
						required: func() (bool, error) { at("while the factor is looked up"); return true, nil },
						verify:   func(string, string) (string, error) { at("while the code is verified"); return "otp", nil },
					}), func(s *setup) {
						s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { at("while the session is opened"); return nil }}
					})
					acme := h.alice()
					acme.Tenant = "acme"
					h.setUser("alice", acme)
					armed = true
					a := h.signIn("alice", right)
					at("between password and code")
					if when == "while the factor is looked up" {
						h.want(a, http.StatusBadRequest, "invalid_grant")
						return
					}
					h.want(a, http.StatusBadRequest, "mfa_required")
					h.wrong(h.answer(a.text("mfa_token"), code))
					if left, err := h.store.Sessions(context.Background(), alice); err != nil || len(left) != 0 {
						t.Errorf("%d sessions are left, %v", len(left), err)
					}
					time.Sleep(time.Minute)
					h.wrong(h.answer(a.text("mfa_token"), code))
					// Whoever begins anew is let in.
					h.want(h.answer(h.challenged(), code), http.StatusOK, "")
				})
			})
		}
	}
}

// A user who is of another tenant by the time of the code needs another sign-in.
func TestChallengeOfAnotherTenantIsRefused(t *testing.T) {
	h := newHost(t, withFactor(&factor{}))
	challenge := h.challenged()
	moved := h.alice()
	moved.Tenant = "globex"
	h.setUser("alice", moved)
	h.wrong(h.answer(challenge, code))
}

// Someone who signs in again while the second factor is still due keeps the
// session of before; it ends with the new one.
func TestCookieSessionEndsWithTheNewOneAndNotAtTheChallenge(t *testing.T) {
	due := false
	h := newHost(t, withCookies, withFactor(&factor{required: func() (bool, error) { return due, nil }}))
	b := h.browser()
	h.want(b.signIn(), http.StatusOK, "")
	access, refresh := b.jar[accessCookie], b.jar[refreshCookie]
	due = true
	h.want(b.signIn(), http.StatusBadRequest, "mfa_required")
	h.alive(access)
	h.want(b.me(), http.StatusOK, "")
	h.want(b.send(request("/session/mfa", "code", code)), http.StatusOK, "")
	h.over(access)
	h.dead(refresh)
	h.want(b.me(), http.StatusOK, "")
}

// Two tabs that signed in as different people leave the cookies of two sessions.
func TestCookieLogoutEndsBothSessionsOfTheBrowser(t *testing.T) {
	h := newHost(t, withCookies)
	first, second := h.browser(), h.browser()
	first.signIn()
	h.want(second.send(request("/session", "username", "bob", "password", right)), http.StatusOK, "")
	mixed := h.browser()
	mixed.jar[accessCookie], mixed.jar[refreshCookie] = first.jar[accessCookie], second.jar[refreshCookie]
	h.want(mixed.send(request("/session/logout")), http.StatusOK, "")
	for _, b := range []*browser{first, second} {
		h.over(b.jar[accessCookie])
		h.dead(b.jar[refreshCookie])
	}
}

func TestSparedSessionIsTheOnlyOneThatIsLeft(t *testing.T) {
	h := newHost(t)
	own, other, bob := h.signedIn(), h.signedIn(), h.signIn("bob", right)
	own = h.refresh(own.refresh())
	which := identity.Revocation{Subject: alice, Spare: h.me(own.access()).text("sid")}
	for range 2 {
		if err := h.server.EndSessions(t.Context(), which); err != nil {
			t.Fatal(err)
		}
	}
	h.over(other.access())
	h.dead(other.refresh())
	for _, a := range []answer{own, bob} {
		h.alive(a.access())
		a = h.refresh(a.refresh())
		h.want(a, http.StatusOK, "")
		h.alive(a.access())
	}
}

// Marks outlive what they have to stop, though the store of sessions did not.
func TestSessionThatCouldNotBeDeletedStaysOver(t *testing.T) {
	for name, which := range map[string]identity.Revocation{"Session": {}, "Subject": {Subject: alice}, "Tenant": {Tenant: "acme"}, "Before": {Before: time.Unix(1, 0)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := false
				h := newHost(t, func(s *setup) {
					s.RefreshIdle, s.RefreshAbsolute = 30*24*time.Hour, 40*24*time.Hour
					s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error {
						if down {
							return errDown
						}
						return nil
					}}
				})
				acme := h.alice()
				acme.Tenant = "acme"
				h.setUser("alice", acme)
				a := h.signedIn()
				switch name {
				case "Session":
					which.Session = h.me(a.access()).text("sid")
				case "Before":
					which.Before = time.Now()
				}
				down = true
				if err := h.server.EndSessions(t.Context(), which); !errors.Is(err, errDown) {
					t.Errorf("EndSessions = %v", err)
				}
				for _, wait := range []time.Duration{0, time.Hour, 24 * time.Hour, 28 * 24 * time.Hour} {
					time.Sleep(wait)
					h.dead(a.refresh())
				}
			})
		})
	}
}

func TestOldestSessionEndsWhenThereAreTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(s *setup) { s.MaxSessions = 3 })
		var all []answer
		for range 5 {
			all = append(all, h.signedIn())
			time.Sleep(time.Second)
		}
		bob := h.signIn("bob", right)
		for i, a := range all {
			if i < 2 {
				h.dead(a.refresh())
			} else {
				h.want(h.refresh(a.refresh()), http.StatusOK, "")
			}
		}
		h.want(h.refresh(bob.refresh()), http.StatusOK, "")
	})
	h := newHost(t)
	for range 110 {
		h.signedIn()
	}
	if left, err := h.store.Sessions(t.Context(), alice); err != nil || len(left) != 100 {
		t.Errorf("%d sessions are left by default, %v; want 100", len(left), err)
	}
}

func TestLostAnswerIsGivenAgainForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(s *setup) { s.LostAnswerGrace = 10 * time.Minute })
		lost := h.signedIn()
		successor := h.refresh(lost.refresh())
		time.Sleep(9 * time.Minute)
		again := h.refresh(lost.refresh())
		h.want(again, http.StatusOK, "")
		// The successor was presented: the old one is a copy.
		h.want(h.refresh(again.refresh()), http.StatusOK, "")
		h.dead(lost.refresh())
		h.dead(successor.refresh())

		late := h.signedIn()
		h.want(h.refresh(late.refresh()), http.StatusOK, "")
		time.Sleep(10*time.Minute + time.Second)
		h.dead(late.refresh())
	})
}

func TestNewComparesItsVerifierWithItsIssuer(t *testing.T) {
	secret := guard.NewSecret([]byte("an access token secret of 32 b.."))
	newRing := func() *token.Keyring {
		ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	ring, revoked := newRing(), new(blacklist.Memory)
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		keys   token.KeySource
		change func(*token.VerifierConfig)
		want   string
	}{
		"the same":            {ring, func(*token.VerifierConfig) {}, ""},
		"an issuer":           {ring, func(c *token.VerifierConfig) { c.Issuer += "/" }, "Issuer is"},
		"an audience":         {ring, func(c *token.VerifierConfig) { c.Audience = "https://other.example" }, "Audience is"},
		"a type":              {ring, func(c *token.VerifierConfig) { c.Type = "JWT" }, "Type is"},
		"a keyring":           {newRing(), func(*token.VerifierConfig) {}, "another Keyring"},
		"a Revoker":           {ring, func(c *token.VerifierConfig) { c.Revoker = new(blacklist.Memory) }, "Revoker is another one"},
		"a Revoker of a type": {ring, func(c *token.VerifierConfig) { c.Revoker = &revoker{Memory: revoked} }, "Revoker is another one"},
		"no Revoker":          {ring, func(c *token.VerifierConfig) { c.Revoker, c.InsecureNoRevoker = nil, true }, "Revoker is nil"},
		"a short lifetime":    {ring, func(c *token.VerifierConfig) { c.MaxLifetime = time.Hour - 1 }, "MaxLifetime is 59m59.999999999s"},
		"as long a lifetime":  {ring, func(c *token.VerifierConfig) { c.MaxLifetime = time.Hour }, ""},
		"a short leeway":      {ring, func(c *token.VerifierConfig) { c.Leeway = 9 * time.Second }, "Leeway is 9s"},
	} {
		t.Run(name, func(t *testing.T) {
			config := token.VerifierConfig{Issuer: issuer, Audience: audience, Revoker: revoked}
			tt.change(&config)
			verifier, err := token.NewVerifier(tt.keys, config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = auth.New(new(auth.Memory), tokens, auth.Config{Sessions: new(auth.Memory), RefreshKeys: []guard.Secret{refreshSecret}, Revoker: revoked, Verifier: verifier})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("New = %v, want %q in it", err, tt.want)
			}
		})
	}
	t.Run("a refresh key that also signs", func(t *testing.T) {
		_, err := auth.New(new(auth.Memory), tokens, auth.Config{Sessions: new(auth.Memory), RefreshKeys: []guard.Secret{refreshSecret, secret}, Revoker: revoked})
		if err == nil || !strings.Contains(err.Error(), "RefreshKeys[1] is also a key that signs") {
			t.Errorf("New = %v", err)
		}
	})
	t.Run("interfaces that hold a nil pointer", func(t *testing.T) {
		_, err := auth.New((*auth.Memory)(nil), tokens, auth.Config{
			Sessions: (*auth.Memory)(nil), RefreshKeys: []guard.Secret{refreshSecret}, Revoker: (*blacklist.Memory)(nil),
			SecondFactor: (*factor)(nil), Challenges: (*auth.Memory)(nil), Throttle: (*throttle)(nil), Clients: (*auth.Memory)(nil),
		})
		for _, want := range []string{"UserStore", "Config.Sessions", "Config.Revoker", "Config.SecondFactor", "Config.Challenges", "Config.Throttle", "Config.Clients"} {
			if err == nil || !strings.Contains(err.Error(), want+" is a nil *") {
				t.Errorf("New = %v, want that %s is a nil pointer", err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "use &blacklist.Memory") {
			t.Errorf("New advises a Revoker that forgets: %v", err)
		}
	})
}

// No client can make a store fail by what it calls itself.
func TestIllFormedIdentifiersReachNoStore(t *testing.T) {
	bad := []string{"\xff", "a\x00b", "\xed\xa0\x80", strings.Repeat("x", 513)}
	var asked []string
	note := func(id string) { asked = append(asked, id) }
	h := newHost(t, func(s *setup) {
		s.CanonicalLogin = func(login string) (string, error) { return login, nil }
		s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
			note(login)
			return nil, auth.ErrNotFound
		}}
		s.Clients = askedClients(func(id string) (*auth.Client, error) {
			note(id)
			return nil, auth.ErrNotFound
		})
	})
	for _, id := range bad {
		if slices.Contains([]string{"\xff", "\xed\xa0\x80"}, id) {
			// A form is UTF-8; Basic may carry anything.
			h.want(h.signIn(id, right), http.StatusBadRequest, guard.CodeInvalidRequest)
		} else {
			h.want(h.signIn(id, right), http.StatusBadRequest, "invalid_grant")
			h.want(h.signIn("alice", right, "client_id", id, "client_secret", "x"), http.StatusUnauthorized, "invalid_client")
		}
		r := request("/token", "username", "alice", "password", right)
		r.SetBasicAuth(strings.NewReplacer("\xff", "%ff", "\x00", "%00", "\xed\xa0\x80", "%ed%a0%80").Replace(id), "secret")
		h.want(h.serve(r), http.StatusUnauthorized, "invalid_client")
	}
	for _, id := range asked {
		if slices.Contains(bad, id) {
			t.Errorf("a store was asked for %.20q", id)
		}
	}
	// A user whose ID could not be revoked is let in nowhere.
	for _, id := range bad {
		h := newHost(t, func(s *setup) {
			s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) {
				u, err := s.store.UserByID(context.Background(), alice)
				u.ID = id
				return u, err
			}}
		})
		if a := h.signIn("alice", right); a.status != http.StatusServiceUnavailable {
			t.Errorf("the user %.20q: %d %s", id, a.status, a.raw)
		}
	}
}

// askedClients is a ClientStore.
type askedClients func(id string) (*auth.Client, error)

func (f askedClients) ClientByID(_ context.Context, id string) (*auth.Client, error) { return f(id) }

func TestFormWithoutAPasswordCountsAsNoAttempt(t *testing.T) {
	th := &throttle{limit: 1}
	h := newHost(t, func(s *setup) { s.Throttle = th })
	for _, form := range [][]string{
		{"username", "alice"}, {"username", "alice", "password", ""}, {"grant_type", "password", "username", "alice"},
		{"password", right}, {"grant_type", "password", "password", right}, {"username", "", "password", right},
	} {
		a := h.post("/token", form...)
		h.want(a, http.StatusBadRequest, guard.CodeInvalidRequest)
		missing := "password"
		if slices.Contains(form, right) {
			missing = "username"
		}
		if want := fmt.Sprintf("The parameter %s is missing.", missing); a.text("error_description") != want {
			t.Errorf("%q is answered %q, want %q", form, a.text("error_description"), want)
		}
	}
	if len(th.reserved) != 0 {
		t.Errorf("the throttle was charged %d times", len(th.reserved))
	}
	if n := named(h.events.list(), guard.EventLoginFail); n != 0 {
		t.Errorf("%d events say that somebody failed to sign in", n)
	}
	h.signedIn()
}

// A grant ends with everything else, and one of a session that began afterwards
// is good, though it is dated ahead.
func TestGrantEndsWithTheSessionsAndIsGoodAfterwards(t *testing.T) {
	for name, which := range map[string]identity.Revocation{
		"Subject": {Subject: alice}, "Before": {Before: time.Unix(1, 0)}, "Session": {Session: "own"}, "Spare": {Subject: alice, Spare: "another session"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			proof := identity.Proof{Subject: alice, Factors: identity.NewSet("pwd")}
			caller := func(a answer) *identity.Principal {
				return &identity.Principal{Issuer: issuer, Subject: alice, Session: h.me(a.access()).text("sid"), Client: identity.FirstParty}
			}
			p := caller(h.signedIn())
			grant, _, err := h.server.Grant(t.Context(), p, "2fa", proof)
			if err != nil {
				t.Fatal(err)
			}
			if which.Session != "" {
				which.Session = p.Session
			}
			if !which.Before.IsZero() {
				which.Before = time.Now()
			}
			if err := h.server.EndSessions(t.Context(), which); err != nil {
				t.Fatal(err)
			}
			if err := h.server.UseGrant(t.Context(), p, "2fa", grant); !errors.Is(err, identity.ErrNotProven) {
				t.Errorf("UseGrant = %v after EndSessions", err)
			}
			p = caller(h.signedIn())
			if grant, _, err = h.server.Grant(t.Context(), p, "2fa", proof); err != nil {
				t.Fatal(err)
			}
			if err := h.server.UseGrant(t.Context(), p, "2fa", grant); err != nil {
				t.Errorf("UseGrant = %v in a session that began afterwards", err)
			}
		})
	}
}
