package auth_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// later is a factor that nobody is asked for at the sign-in.
func later(verify func(subject, code string) (string, error)) *factor {
	return &factor{required: func() (bool, error) { return false, nil }, verify: verify}
}

func (h *host) stepUp(accessToken string, form ...string) answer {
	h.t.Helper()
	r := request("/step-up", form...)
	if accessToken != "" {
		r.Header.Set("Authorization", "Bearer "+accessToken)
	}
	return h.serve(r)
}

func TestStepUpAnswersWithANewPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(later(nil)))
		a, other := h.signedIn("scope", "read"), h.signedIn()
		b := h.refresh(a.refresh())
		before := h.me(a.access())
		time.Sleep(10 * time.Minute)
		h.events.take()
		c := h.stepUp(b.access(), "code", code)
		h.want(c, http.StatusOK, "")
		if c.header.Get("Cache-Control") != "no-store" || c.text("scope") != "read" || len(c.json) != 5 {
			t.Errorf("the answer is %v %s", c.header, c.raw)
		}
		e := h.wantEvent(h.events.take(), guard.EventLoginSuccess)
		me := h.me(c.access())
		now := float64(time.Now().Unix())
		if me.text("amr") != "otp pwd" || me.json["auth_time"] != now || me.text("scope") != "read" || me.text("sub") != alice || me.text("roles") != "editor" {
			t.Errorf("the token says %s", me.raw)
		}
		if before.text("amr") != "pwd" || before.json["auth_time"] != now-600 || me.text("sid") == before.text("sid") || e.Principal.Session != me.text("sid") {
			t.Errorf("the token said %s and says %s", before.raw, me.raw)
		}
		for _, old := range []answer{a, b} {
			h.over(old.access())
			h.dead(old.refresh())
		}
		h.alive(other.access())
		if me := h.me(h.refresh(c.refresh()).access()); me.text("amr") != "otp pwd" || me.json["auth_time"] != now {
			t.Errorf("after a refresh the token says %s", me.raw)
		}
	})
}

func TestStepUp(t *testing.T) {
	t.Run("a wrong code is 400, and the session goes on", func(t *testing.T) {
		h := newHost(t, withFactor(later(nil)))
		a := h.signedIn()
		h.events.take()
		h.want(h.stepUp(a.access(), "code", "code 000000"), http.StatusBadRequest, "invalid_grant")
		if e := h.wantEvent(h.events.take(), guard.EventLoginFail); e.Principal == nil || e.Principal.Subject != alice {
			t.Errorf("the event is of %v", e.Principal)
		}
		h.alive(a.access())
		h.want(h.stepUp(a.access(), "code", code), http.StatusOK, "")
	})
	t.Run("a missing code is no attempt", func(t *testing.T) {
		h := newHost(t, withFactor(later(nil)))
		a := h.signedIn()
		for range 6 {
			h.want(h.stepUp(a.access()), http.StatusBadRequest, guard.CodeInvalidRequest)
			h.want(h.stepUp(a.access(), "code", ""), http.StatusBadRequest, guard.CodeInvalidRequest)
		}
		h.want(h.stepUp(a.access(), "code", code), http.StatusOK, "")
	})
	t.Run("the sixth attempt is 429 until the ten minutes are over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, withFactor(later(nil)))
			time.Sleep(3 * time.Minute) // into a window
			a, other := h.signedIn(), h.signedIn()
			for range 5 {
				h.want(h.stepUp(a.access(), "code", "code 000000"), http.StatusBadRequest, "invalid_grant")
			}
			h.events.take()
			got := h.stepUp(a.access(), "code", code)
			h.want(got, http.StatusTooManyRequests, "temporarily_unavailable")
			if got.header.Get("Retry-After") != "420" {
				t.Errorf("Retry-After is %q, want 420", got.header.Get("Retry-After"))
			}
			h.wantEvent(h.events.take(), guard.EventLoginFailMax)
			h.want(h.stepUp(other.access(), "code", code), http.StatusOK, "") // counted by itself
			time.Sleep(7 * time.Minute)
			h.want(h.stepUp(a.access(), "code", code), http.StatusOK, "")
		})
	})
	t.Run("of many guesses at once five are looked at, whatever the token of the session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var looked, refused atomic.Int64
			h := newHost(t, withFactor(later(func(string, string) (string, error) { looked.Add(1); return "", nil })))
			a := h.signedIn()
			b := h.refresh(a.refresh())
			var all sync.WaitGroup
			for i := range 200 {
				all.Go(func() {
					got := h.stepUp([]answer{a, b}[i%2].access(), "code", "code 000000")
					if got.status == http.StatusTooManyRequests && got.header.Get("Retry-After") != "" {
						refused.Add(1)
					}
				})
			}
			all.Wait()
			if looked.Load() != 5 || refused.Load() != 195 {
				t.Errorf("%d codes were looked at and %d refused unseen, want 5 and 195", looked.Load(), refused.Load())
			}
		})
	})
	t.Run("nobody, and who has no session of ours, is refused", func(t *testing.T) {
		h := newHost(t, withFactor(later(func(string, string) (string, error) { t.Error("a code was looked at"); return "", nil })))
		h.want(h.stepUp("", "code", code), http.StatusUnauthorized, guard.CodeUnauthenticated)
		for _, p := range []*identity.Principal{
			{Issuer: "apikey:acme", Subject: alice, Credential: "k"},
			{Issuer: "https://other.example", Subject: alice, Session: "s"},
			{Issuer: issuer, Subject: alice, Credential: "c"},
		} {
			r := request("/step-up", "code", code)
			h.want(h.serve(r.WithContext(identity.NewContext(r.Context(), p))), http.StatusBadRequest, guard.CodeInvalidRequest)
		}
		get := bearer("GET", "/step-up", h.signedIn().access())
		h.want(h.serve(get), http.StatusMethodNotAllowed, guard.CodeInvalidRequest)
	})
	t.Run("somebody who changed is out", func(t *testing.T) {
		for name, change := range map[string]func(*auth.User){
			"disabled":                     func(u *auth.User) { u.Disabled = true },
			"without a scope of the token": func(u *auth.User) { u.Scopes = identity.NewSet("read") },
			"of another tenant":            func(u *auth.User) { u.Tenant = "globex" },
		} {
			h := newHost(t, withFactor(later(nil)))
			a := h.signedIn()
			changed := h.alice()
			change(&changed)
			h.setUser("alice", changed)
			if got := h.stepUp(a.access(), "code", code); got.status != http.StatusBadRequest || got.text("error") != "invalid_grant" {
				t.Errorf("%s: %d %s", name, got.status, got.raw)
			}
		}
	})
	// Whoever was told "logged out" is, whatever else was under way.
	for _, end := range []string{"logout", "EndSessions of the session", "EndSessions of the person"} {
		for _, step := range []string{"the code is verified", "the new session is opened", "the Revoker was asked about the new session"} {
			t.Run("after a "+end+" while "+step+" the new session is over", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var h *host
					var a answer
					var given []string // IDs of sessions that were opened
					armed, asked := false, 0
					at := func(now string) {
						if !armed || now != step {
							return
						}
						armed = false
						which := identity.Revocation{Subject: alice}
						switch end {
						case "logout":
							if got := h.logout(a.access()); got.status != http.StatusOK {
								t.Errorf("the logout: %d %s", got.status, got.raw)
							}
							return
						case "EndSessions of the session":
							which = identity.Revocation{Session: given[0]}
						}
						if err := h.server.EndSessions(context.Background(), which); err != nil {
							t.Error(err)
						}
					}
					h = newHost(t, withFactor(later(func(string, string) (string, error) { at("the code is verified"); return "otp", nil })), func(s *setup) {
						memory := s.Revoker.(*blacklist.Memory)
						s.Sessions = &lateSessions{Memory: s.store, create: func(create func() error) error {
							at("the new session is opened")
							return create()
						}, opened: func(one auth.Session) { given = append(given, one.ID) }}
						s.Revoker = &asking{Memory: memory, asked: func() {
							if asked++; armed && asked == 1 {
								at("the Revoker was asked about the new session")
							}
						}}
					})
					a = h.signedIn()
					armed, asked = true, 0
					b := h.stepUp(a.access(), "code", code)
					h.want(b, http.StatusBadRequest, "invalid_grant")
					h.over(a.access())
					left, err := h.store.Sessions(context.Background(), alice)
					if err != nil || len(left) != 0 || len(given) != 2 {
						t.Errorf("%d sessions are left of %d, %v; want none of 2", len(left), len(given), err)
					}
					if n := named(h.events.list(), guard.EventLoginSuccess); n != 1 {
						t.Errorf("%d events say that somebody signed in, want that of the sign-in", n)
					}
				})
			})
		}
	}
	t.Run("what ends everything in between ends the new session too", func(t *testing.T) {
		var h *host
		h = newHost(t, withFactor(later(func(string, string) (string, error) {
			return "otp", h.server.EndSessions(context.Background(), identity.Revocation{Subject: alice})
		})))
		a := h.signedIn()
		b := h.stepUp(a.access(), "code", code)
		h.want(b, http.StatusBadRequest, "invalid_grant")
		h.over(a.access())
	})
}

// asking is a Revoker that says when it has answered.
type asking struct {
	*blacklist.Memory
	asked func()
}

func (r *asking) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	revoked, err := r.Memory.RevokedSince(ctx, p, checkpoint)
	r.asked()
	return revoked, err
}

func TestStepUpWithStoresThatFail(t *testing.T) {
	down := false
	fail := func() error {
		if down {
			return errDown
		}
		return nil
	}
	for name, breaks := range map[string]func(*setup){
		"UserByID": func(s *setup) {
			s.users = &users{UserStore: s.store, byID: func(id string) (*auth.User, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return s.store.UserByID(context.Background(), id)
			}}
		},
		"AttemptChallenge": func(s *setup) {
			s.Challenges = &sessions{Memory: s.store, attempt: func() (bool, error) { return true, fail() }}
		},
		"VerifyFactor": func(s *setup) { s.SecondFactor = later(func(string, string) (string, error) { return "otp", fail() }) },
		"RevokeRefresh": func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return fail() }}
		},
		"Revoke": func(s *setup) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return fail() }}
		},
		"CreateRefresh": func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { return fail() }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			down = false
			h := newHost(t, withFactor(later(nil)), breaks)
			a := h.signedIn()
			down = true
			got := h.stepUp(a.access(), "code", code)
			h.want(got, http.StatusServiceUnavailable, "temporarily_unavailable")
			down = false
			if name == "RevokeRefresh" { // the session is revoked, and not yet deleted
				h.over(a.access())
				h.dead(a.refresh())
				return
			}
			h.want(h.refresh(a.refresh()), http.StatusOK, "")
			b := h.stepUp(a.access(), "code", code)
			h.want(b, http.StatusOK, "")
			h.over(a.access())
			h.alive(b.access())
		})
	}
}
