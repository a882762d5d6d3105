package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
)

func TestThrottle(t *testing.T) {
	var order []string
	fail := error(nil)
	busy, err := password.NewBudget(password.BudgetConfig{Concurrent: 1, MaxWaiting: -1})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		change  func(*setup)
		login   string
		given   string
		more    []string
		status  int
		settled []guard.Outcome
	}{
		{"success gives the attempt back", nil, "alice", right, nil, http.StatusOK, []guard.Outcome{guard.Succeeded}},
		{"a wrong password stays charged", nil, "alice", "not the password", nil, http.StatusBadRequest, []guard.Outcome{guard.Failed}},
		{"an unknown user stays charged", nil, "nobody", right, nil, http.StatusBadRequest, []guard.Outcome{guard.Failed}},
		{"a login that nobody can have stays charged", nil, "аlice", right, nil, http.StatusBadRequest, []guard.Outcome{guard.Failed}},
		{"a right password gives it back though the scope is refused", nil, "alice", right, []string{"scope", "admin"}, http.StatusBadRequest, []guard.Outcome{guard.Succeeded}},
		{"a right password gives it back though a second factor is due", withFactor(&factor{}), "alice", right, nil, http.StatusBadRequest, []guard.Outcome{guard.Succeeded}},
		{"a user store that does not answer gives it back", func(*setup) { fail = errDown }, "alice", right, nil, http.StatusServiceUnavailable, []guard.Outcome{guard.Undecided}},
		{"a user store that fails with a 401 of its own gives it back", func(*setup) { fail = guard.InvalidToken("Bearer", errDown) }, "alice", right, nil, http.StatusServiceUnavailable, []guard.Outcome{guard.Undecided}},
		{"a session store that does not answer gives it back", func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { return errDown }}
		}, "alice", right, nil, http.StatusServiceUnavailable, []guard.Outcome{guard.Succeeded}},
		{"too many hashes at once give it back", func(s *setup) { s.Passwords = cheap(t, password.Config{Budget: busy}) }, "alice", right, nil, http.StatusServiceUnavailable, []guard.Outcome{guard.Undecided}},
		{"a form that cannot be read is not charged", nil, "", right, nil, http.StatusBadRequest, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			order, fail = nil, nil
			th := new(throttle)
			h := newHost(t, func(s *setup) {
				s.Throttle = th
				s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
					order = append(order, "user")
					if len(th.reserved) != 1 {
						t.Error("the user was looked up before the attempt was charged")
					}
					if fail != nil {
						return nil, fail
					}
					return s.store.UserByLogin(context.Background(), login)
				}}
				if tt.change != nil {
					tt.change(s)
				}
			})
			if h.server == nil {
				t.Fatal("no server")
			}
			release := func() {}
			if tt.status == http.StatusServiceUnavailable && fail == nil {
				release = occupy(t, busy)
			}
			a := h.signIn(tt.login, tt.given, tt.more...)
			release()
			if a.status != tt.status {
				t.Fatalf("status %d, want %d: %s", a.status, tt.status, a.raw)
			}
			if got := th.settlements(); !slices.Equal(got, tt.settled) {
				t.Errorf("settle was called with %v, want %v", got, tt.settled)
			}
		})
	}

	t.Run("it is asked for the canonical login, and the address without the port", func(t *testing.T) {
		th := new(throttle)
		h := newHost(t, func(s *setup) { s.Throttle = th })
		for _, addr := range []string{"192.0.2.1:1234", "[2001:db8::1]:443", "192.0.2.7", "@"} {
			r := request("/token", "username", " ALICE ", "password", right)
			r.RemoteAddr = addr
			h.want(h.serve(r), http.StatusOK, "")
		}
		h.signIn("nobody", right)
		h.signIn("al\x00ice", right)
		h.signIn("аlice", right)
		if want := []string{"alice", "alice", "alice", "alice", "nobody", "", ""}; !slices.Equal(th.reserved, want) {
			t.Errorf("logins %q, want %q", th.reserved, want)
		}
		if want := []string{"192.0.2.1", "2001:db8::1", "192.0.2.7", "@"}; !slices.Equal(th.addrs[:4], want) {
			t.Errorf("addresses %q, want %q", th.addrs[:4], want)
		}
	})
	t.Run("a refusal costs no work and tells when to come back", func(t *testing.T) {
		th := &throttle{wait: 90*time.Second + time.Millisecond}
		var looked atomic.Bool
		h := newHost(t, func(s *setup) {
			s.Throttle = th
			s.Passwords = cheap(t, password.Config{Budget: busy})
			s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) { looked.Store(true); return nil, errDown }}
		})
		defer occupy(t, busy)() // a hash would be answered 503
		first := h.signIn("alice", right)
		for _, login := range []string{"alice", "nobody", "аlice"} {
			h.events.take()
			a := h.signIn(login, "not the password")
			h.want(a, http.StatusTooManyRequests, "temporarily_unavailable")
			if a.raw != first.raw || !sameHeader(a.header, first.header) || a.header.Get("Retry-After") != "91" {
				t.Errorf("the answer is %v %s", a.header, a.raw)
			}
			if e := h.wantEvent(h.events.take(), guard.EventLoginFailMax); e.Login == "" {
				t.Error("the event does not name the login")
			}
		}
		if looked.Load() {
			t.Error("the user was looked up")
		}
	})
	for _, err := range []error{errDown, guard.Forbidden(errDown), guard.ErrInactive} {
		t.Run("an error is 503: "+err.Error(), func(t *testing.T) {
			th := &throttle{err: err}
			h := newHost(t, func(s *setup) { s.Throttle = th })
			h.want(h.signIn("alice", right), http.StatusServiceUnavailable, "temporarily_unavailable")
		})
	}
	t.Run("a Throttle that returns nothing is 503", func(t *testing.T) {
		h := newHost(t, func(s *setup) { s.Throttle = nothing{} })
		h.want(h.signIn("alice", right), http.StatusServiceUnavailable, "temporarily_unavailable")
	})
	t.Run("a refresh is not charged", func(t *testing.T) {
		th := new(throttle)
		h := newHost(t, func(s *setup) { s.Throttle = th })
		h.want(h.refresh(h.signedIn().refresh()), http.StatusOK, "")
		if len(th.reserved) != 1 {
			t.Errorf("%d attempts were charged, want that of the sign-in", len(th.reserved))
		}
	})
	t.Run("guesses at once do not slip through", func(t *testing.T) {
		th := &throttle{limit: 7}
		var guesses atomic.Int64
		h := newHost(t, func(s *setup) {
			s.Throttle = th
			s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
				guesses.Add(1)
				return s.store.UserByLogin(context.Background(), login)
			}}
		})
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				if a := h.signIn("alice", "not the password"); a.status != http.StatusBadRequest && a.status != http.StatusTooManyRequests {
					t.Errorf("status %d", a.status)
				}
			})
		}
		all.Wait()
		if n := guesses.Load(); n != 7 {
			t.Errorf("%d guesses were made, want 7", n)
		}
	})
	t.Run("a panic leaves the attempt charged, and nothing under way", func(t *testing.T) {
		th := new(throttle)
		h := newHost(t, func(s *setup) {
			s.Throttle = th
			s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) { panic("a mistake in the store") }}
		})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			h.mux.ServeHTTP(httptest.NewRecorder(), request("/token", "username", "alice", "password", right))
		}()
		if got := th.settlements(); !slices.Equal(got, []guard.Outcome{guard.Failed}) {
			t.Errorf("settle was called with %v, want once with true", got)
		}
	})
}

type nothing struct{}

func (nothing) Reserve(context.Context, string, string) (func(guard.Outcome), time.Duration, error) {
	return nil, 0, nil
}

// occupy takes the budget, so that whoever hashes is told that it is busy,
// until the function that it returns is called.
func occupy(t *testing.T, budget *password.Budget) (release func()) {
	t.Helper()
	slow := cheap(t, password.Config{Argon2id: password.Argon2id{Memory: 64 << 10, Passes: 16, Lanes: 1}, Budget: budget})
	var done sync.WaitGroup
	done.Go(func() {
		for { // until it has got the better of the probe
			if _, err := slow.Hash(context.Background(), right); !errors.Is(err, password.ErrBusy) {
				return
			}
		}
	})
	probe := cheap(t, password.Config{Budget: budget})
	for {
		if _, err := probe.Hash(context.Background(), right); err != nil {
			return done.Wait
		}
		time.Sleep(time.Millisecond)
	}
}
