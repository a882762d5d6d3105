package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// profile is a host's own user.
type profile struct{ name string }

// presented is an Authenticator that takes anybody at their word.
type presented struct{}

func (presented) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }
func (presented) Authenticate(r *http.Request) (*identity.Principal, error) {
	if name := r.Header.Get("Authorization"); name != "" {
		return &identity.Principal{Issuer: issuer, Subject: name}, nil
	}
	return nil, guard.ErrNoCredentials
}

func TestCurrentUser(t *testing.T) {
	var seen []guard.Event
	hooks := guard.Hooks{Observe: func(_ context.Context, e guard.Event) { seen = append(seen, e) }}
	tests := []struct {
		name   string
		caller string
		err    error // of the store
		status int
		code   string
		loads  int
	}{
		{"a user", "alice", nil, 200, "", 1},
		{"nobody", "", nil, 401, guard.CodeUnauthenticated, 0},
		{"somebody who is gone", "alice", auth.ErrNotFound, 401, guard.CodeInvalidToken, 1},
		{"somebody who is gone, in the words of the store", "alice", fmt.Errorf("no rows: %w", auth.ErrNotFound), 401, guard.CodeInvalidToken, 1},
		{"somebody who is disabled", "alice", guard.ErrInactive, 401, guard.CodeInvalidToken, 1},
		{"a store that does not answer", "alice", errDown, 503, guard.CodeUnavailable, 1},
		{"a refusal of the host's own", "alice", guard.Forbidden(errDown), 403, guard.CodeForbidden, 1},
	}
	for _, tt := range tests {
		for _, way := range []string{"as a guard", "for every route", "as both, with a handler that asks twice", "in the handler alone"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				seen = nil
				loads := 0
				me := auth.NewCurrentUser(func(_ context.Context, p *identity.Principal) (*profile, error) {
					loads++
					if tt.err != nil {
						return &profile{"SECRET-REASON"}, tt.err
					}
					return &profile{p.Subject}, nil
				}, auth.CurrentUserConfig{Hooks: hooks})
				ran := false
				show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for range 2 {
						u, err := me.Of(r.Context())
						if err != nil {
							if u != nil {
								t.Error("an error and a user")
							}
							hooks.Refuse(w, r, err)
							return
						}
						if u.name != "alice" {
							t.Errorf("the user is %q", u.name)
						}
					}
					ran = true
				})
				routes, handler := hooks, hooks.Authenticated(show)
				if way == "for every route" || way == "as both, with a handler that asks twice" {
					routes.Active = me.Active
				}
				if way == "as a guard" || way == "as both, with a handler that asks twice" {
					handler = me.Handler(show)
				}
				mux := guard.NewMux(routes, presented{})
				mux.Handle("/me", handler)
				r := httptest.NewRequest("GET", "/me", nil)
				if tt.caller != "" {
					r.Header.Set("Authorization", tt.caller)
				}
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				h := &host{t: t}
				a := answerOrNothing(w)
				h.want(a, tt.status, tt.code)
				if ran != (tt.status == 200) {
					t.Errorf("the handler ran: %v", ran)
				}
				if loads != tt.loads {
					t.Errorf("the user was loaded %d times, want %d", loads, tt.loads)
				}
				want := map[string]string{guard.CodeInvalidToken: `Bearer error="invalid_token"`, guard.CodeUnauthenticated: "Bearer"}[tt.code]
				if got := a.header.Get("WWW-Authenticate"); got != want {
					t.Errorf("WWW-Authenticate is %q, want %q", got, want)
				}
				if tt.status == 503 && a.header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				if len(seen) != map[bool]int{true: 0, false: 1}[tt.status == 200] {
					t.Errorf("%d events", len(seen))
				}
			})
		}
	}

	t.Run("outside of Identify it loads each time, and of a bare context nobody", func(t *testing.T) {
		loads := 0
		me := auth.NewCurrentUser(func(context.Context, *identity.Principal) (profile, error) { loads++; return profile{"alice"}, nil }, auth.CurrentUserConfig{Hooks: hooks})
		if _, err := me.Of(context.Background()); !errors.Is(err, guard.ErrNoCredentials) {
			t.Errorf("error %v, want that nobody is calling", err)
		}
		ctx := identity.NewContext(context.Background(), &identity.Principal{Subject: "alice"})
		for range 2 {
			if u, err := me.Of(ctx); err != nil || u.name != "alice" {
				t.Errorf("%v, %v", u, err)
			}
		}
		if loads != 2 {
			t.Errorf("%d loads, want 2", loads)
		}
	})
	t.Run("two of them are two users", func(t *testing.T) {
		load := func(name string) *auth.CurrentUser[profile] {
			return auth.NewCurrentUser(func(context.Context, *identity.Principal) (profile, error) { return profile{name}, nil }, auth.CurrentUserConfig{Hooks: hooks})
		}
		a, b := load("a"), load("b")
		mux := guard.NewMux(hooks, presented{})
		mux.Handle("/", a.Handler(b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ua, _ := a.Of(r.Context())
			ub, _ := b.Of(r.Context())
			fmt.Fprint(w, ua.name, ub.name)
		}))))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "alice")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Body.String() != "ab" {
			t.Errorf("the users are %s", w.Body)
		}
	})
	t.Run("a function is required", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		auth.NewCurrentUser[profile](nil, auth.CurrentUserConfig{Hooks: hooks})
	})
}

// The user who is disabled is out at the next request, whatever the token says
// (row 23 of the attack corpus).
func TestActiveUsers(t *testing.T) {
	h := newHost(t, func(s *setup) {
		me := auth.NewCurrentUser(func(ctx context.Context, p *identity.Principal) (*auth.User, error) {
			u, err := s.store.UserByID(ctx, p.Subject)
			if err == nil && u.Disabled {
				err = guard.ErrInactive
			}
			return u, err
		}, auth.CurrentUserConfig{Hooks: s.Hooks})
		s.Hooks.Active = me.Active
	})
	a := h.signedIn()
	h.alive(a.access())
	disabled := h.alice()
	disabled.Disabled = true
	h.setUser("alice", disabled)
	h.over(a.access())
	h.want(h.logout(a.access()), http.StatusUnauthorized, guard.CodeInvalidToken)
	h.want(h.signIn("alice", right), http.StatusBadRequest, "invalid_grant")
	h.dead(a.refresh())
}
