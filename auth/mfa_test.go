package auth_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

const refusedCode = "The code is not right, or the challenge has ended."

func withFactor(f *factor) func(*setup) { return func(s *setup) { s.SecondFactor = f } }

// challenged signs alice in up to the challenge.
func (h *host) challenged(more ...string) string {
	h.t.Helper()
	a := h.signIn("alice", right, more...)
	h.want(a, http.StatusBadRequest, "mfa_required")
	return a.text("mfa_token")
}

func (h *host) answer(challenge, code string) answer {
	h.t.Helper()
	return h.post("/token/mfa", "mfa_token", challenge, "code", code)
}

// wrong fails unless the answer to a challenge is refused.
func (h *host) wrong(a answer) {
	h.t.Helper()
	h.want(a, http.StatusBadRequest, "invalid_grant")
	if a.raw != errorBody("invalid_grant", refusedCode) {
		h.t.Errorf("the body is %s", a.raw)
	}
}

func TestSecondFactor(t *testing.T) {
	t.Run("a right password is answered with a challenge and no tokens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, withFactor(&factor{}))
			a := h.signIn("alice", right)
			h.want(a, http.StatusBadRequest, "mfa_required")
			if a.access() != "" || a.refresh() != "" || a.text("mfa_token") == "" || a.json["expires_in"] != 600.0 || len(a.json) != 4 {
				t.Errorf("the answer is %s", a.raw)
			}
			e := h.wantEvent(h.events.take(), guard.EventTokenCreated)
			if e.Login != "alice" || e.Principal == nil || e.Principal.Subject != alice || e.Principal.Session != "" {
				t.Errorf("the event is %+v, want that alice's password was right", e)
			}
			h.over(a.text("mfa_token"))
			h.dead(a.text("mfa_token"))
		})
	})
	t.Run("a wrong password is answered as ever, and nobody asks for the factor", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{required: func() (bool, error) { t.Error("the factor was asked for"); return true, nil }}))
		for _, login := range []string{"alice", "nobody"} {
			a := h.signIn(login, "not the password")
			h.want(a, http.StatusBadRequest, "invalid_grant")
			if a.raw != errorBody("invalid_grant", refusedSignIn) {
				t.Errorf("the body is %s", a.raw)
			}
		}
		h.want(h.signIn("alice", right, "scope", "admin"), http.StatusBadRequest, "invalid_scope")
	})
	t.Run("nobody is asked who has none set up", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{required: func() (bool, error) { return false, nil }}))
		h.signedIn()
	})
	t.Run("the right code is answered with a pair that says how and when", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, withFactor(&factor{}))
			began := float64(time.Now().Unix())
			challenge := h.challenged("scope", "read")
			time.Sleep(9 * time.Minute)
			h.events.take()
			a := h.answer(challenge, code)
			h.want(a, http.StatusOK, "")
			if a.text("scope") != "read" || a.json["expires_in"] != 900.0 {
				t.Errorf("the answer is %s", a.raw)
			}
			e := h.wantEvent(h.events.take(), guard.EventLoginSuccess)
			if e.Principal == nil || e.Principal.Subject != alice {
				t.Errorf("the event is of %v", e.Principal)
			}
			for range 2 {
				me := h.me(a.access())
				if me.text("amr") != "otp pwd" || me.json["auth_time"] != began || me.text("roles") != "editor" || me.text("scope") != "read" {
					t.Errorf("the token says %s", me.raw)
				}
				a = h.refresh(a.refresh()) // where they are kept
			}
		})
	})
	t.Run("a wrong code is refused, and the audit trail tells whose it was", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}))
		challenge := h.challenged()
		h.events.take()
		h.wrong(h.answer(challenge, "code 000000"))
		if e := h.wantEvent(h.events.take(), guard.EventLoginFail); e.Principal == nil || e.Principal.Subject != alice {
			t.Errorf("the event concerns %v, want alice", e.Principal)
		}
		h.want(h.answer(challenge, code), http.StatusOK, "")
	})
	t.Run("the fifth attempt may be right, the sixth may not", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}))
		five, six := h.challenged(), h.challenged()
		for range 4 {
			h.wrong(h.answer(five, "code 000000"))
			h.wrong(h.answer(six, "code 000000"))
		}
		h.wrong(h.answer(six, "code 000000"))
		h.want(h.answer(five, code), http.StatusOK, "")
		h.wrong(h.answer(six, code))
	})
	t.Run("of many guesses at once five are looked at", func(t *testing.T) {
		var looked atomic.Int64
		h := newHost(t, withFactor(&factor{verify: func(string, string) (string, error) { looked.Add(1); return "", nil }}))
		challenge := h.challenged()
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { h.wrong(h.answer(challenge, "code 000000")) })
		}
		all.Wait()
		if n := looked.Load(); n != 5 {
			t.Errorf("%d codes were looked at, want 5", n)
		}
	})
	t.Run("a challenge is good for one sign-in", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}))
		challenge := h.challenged()
		h.want(h.answer(challenge, code), http.StatusOK, "")
		h.wrong(h.answer(challenge, code))
	})
	t.Run("of right codes at once one signs in", func(t *testing.T) {
		// All five attempts are looked at together.
		var together sync.WaitGroup
		together.Add(5)
		var created atomic.Int64
		h := newHost(t, withFactor(&factor{verify: func(string, string) (string, error) {
			together.Done()
			together.Wait()
			return "otp", nil
		}}), func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { created.Add(1); return nil }}
		})
		challenge := h.challenged()
		var in atomic.Int64
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if a := h.answer(challenge, code); a.status == http.StatusOK {
					in.Add(1)
				} else {
					h.wrong(a)
				}
			})
		}
		all.Wait()
		if in.Load() != 1 || created.Load() != 1 {
			t.Errorf("%d sign-ins and %d sessions, want 1", in.Load(), created.Load())
		}
	})
	t.Run("a challenge ends after ten minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, withFactor(&factor{}))
			challenge := h.challenged()
			time.Sleep(10 * time.Minute)
			h.wrong(h.answer(challenge, code))
		})
	})
	t.Run("a missing parameter is not an attempt", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{verify: func(_, given string) (string, error) {
			if given == "" {
				t.Error("an empty code was verified")
			}
			return "otp", nil
		}}))
		challenge := h.challenged()
		for range 6 {
			h.want(h.post("/token/mfa", "mfa_token", challenge), http.StatusBadRequest, guard.CodeInvalidRequest)
			h.want(h.answer(challenge, ""), http.StatusBadRequest, guard.CodeInvalidRequest)
			h.want(h.post("/token/mfa", "code", code), http.StatusBadRequest, guard.CodeInvalidRequest)
		}
		h.want(h.answer(challenge, code), http.StatusOK, "")
	})

	changes := []struct {
		name   string
		change func(*auth.User) error
		status int
	}{
		{"disabled", func(u *auth.User) error { u.Disabled = true; return nil }, http.StatusBadRequest},
		{"gone", func(*auth.User) error { return auth.ErrNotFound }, http.StatusBadRequest},
		{"without a scope", func(u *auth.User) error { u.Scopes = identity.NewSet("read"); return nil }, http.StatusBadRequest},
		{"not to be found out", func(*auth.User) error { return errDown }, http.StatusServiceUnavailable},
		{"with another role", func(u *auth.User) error { u.Roles = identity.NewSet("admin"); return nil }, http.StatusOK},
	}
	for _, tt := range changes {
		t.Run("between password and code the user is "+tt.name, func(t *testing.T) {
			h := newHost(t, withFactor(&factor{}), func(s *setup) {
				s.users = &users{UserStore: s.store, byID: func(id string) (*auth.User, error) {
					u, err := s.store.UserByID(context.Background(), id)
					if err == nil {
						err = tt.change(u)
					}
					return u, err
				}}
			})
			a := h.answer(h.challenged(), code)
			switch tt.status {
			case http.StatusBadRequest:
				h.wrong(a)
			case http.StatusServiceUnavailable:
				h.want(a, tt.status, "temporarily_unavailable")
			default:
				h.want(a, tt.status, "")
				if got := h.me(a.access()).text("roles"); got != "admin" {
					t.Errorf("the roles are %q, want those of now", got)
				}
			}
		})
	}
	t.Run("a user store that fails once costs neither the challenge nor the code", func(t *testing.T) {
		down := true
		used := 0
		h := newHost(t, withFactor(&factor{verify: func(string, string) (string, error) { used++; return "otp", nil }}), func(s *setup) {
			s.users = &users{UserStore: s.store, byID: func(id string) (*auth.User, error) {
				if down {
					return nil, errDown
				}
				return s.store.UserByID(context.Background(), id)
			}}
		})
		challenge := h.challenged()
		h.want(h.answer(challenge, code), http.StatusServiceUnavailable, "temporarily_unavailable")
		if used != 0 {
			t.Error("the code was used up")
		}
		down = false
		h.want(h.answer(challenge, code), http.StatusOK, "")
	})
}

// Somebody has to wait before another code is looked at: the client is told how
// long, by either endpoint.
func TestSecondFactorThatMakesItsUserWait(t *testing.T) {
	waits := &guard.Denial{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: 90 * time.Second, Err: errDown}
	h := newHost(t, withFactor(&factor{verify: func(string, string) (string, error) { return "", waits }}))
	got := h.answer(h.challenged(), code)
	h.want(got, http.StatusTooManyRequests, "temporarily_unavailable")
	if after := got.header.Get("Retry-After"); after != "90" {
		t.Errorf("Retry-After is %q, want 90", after)
	}
	if n := named(h.events.take(), guard.EventLoginFailMax); n != 1 {
		t.Errorf("%d events say that an attempt was not looked at, want 1", n)
	}
}

// A route for a second factor that nobody can have is a mistake, found when it
// is registered.
func TestMFAWithoutSecondFactor(t *testing.T) {
	h := newHost(t, withCookies)
	for name, build := range map[string]func() http.Handler{
		"MFA": h.server.MFA, "StepUp": h.server.StepUp, "MFA ": h.cookies.MFA, "StepUp ": h.cookies.StepUp,
	} {
		func() {
			defer func() {
				if got, want := recover(), "auth: "+strings.TrimSpace(name)+" needs Config.SecondFactor"; got != want {
					t.Errorf("%s panics with %v, want %q", name, got, want)
				}
			}()
			build()
		}()
	}
}
