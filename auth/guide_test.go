package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// hear returns an Observe that collects.
func hear(all *[]guard.Event) func(context.Context, guard.Event) {
	return func(_ context.Context, e guard.Event) { *all = append(*all, e) }
}

func TestFastAPIStatusCodes(t *testing.T) {
	guide := func(s *setup) { s.FastAPIStatusCodes = true }
	t.Run("a bad sign-in and a failed refresh are 401 with a challenge, and the same body", func(t *testing.T) {
		standard, h := newHost(t), newHost(t, guide)
		for name, run := range map[string]func(*host) answer{
			"a wrong password": func(h *host) answer { return h.signIn("alice", "not the password") },
			"an unknown user":  func(h *host) answer { return h.signIn("nobody", right) },
			"a refresh token":  func(h *host) answer { return h.refresh("not a token") },
			"one at the sign-in": func(h *host) answer {
				return h.post("/token", "grant_type", "refresh_token", "refresh_token", "not a token")
			},
			"one of a session that is": func(h *host) answer { a := h.signedIn(); h.logout(a.access()); return h.refresh(a.refresh()) },
		} {
			h.events.take()
			want, got := run(standard), run(h)
			h.want(got, http.StatusUnauthorized, "invalid_grant")
			if got.header.Get("WWW-Authenticate") != "Bearer" || len(got.header["Www-Authenticate"]) != 1 {
				t.Errorf("%s: WWW-Authenticate is %q, want Bearer", name, got.header["Www-Authenticate"])
			}
			standard.want(want, http.StatusBadRequest, "invalid_grant")
			if got.raw != want.raw {
				t.Errorf("%s: the body is %s, want %s", name, got.raw, want.raw)
			}
		}
	})
	t.Run("everything else is as ever", func(t *testing.T) {
		h := newHost(t, guide, withFactor(&factor{}))
		h.want(h.signIn("alice", right, "scope", "admin"), http.StatusBadRequest, "invalid_scope")
		h.want(h.signIn("", right), http.StatusBadRequest, guard.CodeInvalidRequest)
		challenge := h.challenged()
		h.wrong(h.answer(challenge, "code 000000")) // the guide's own is 400
		h.want(h.answer(challenge, code), http.StatusOK, "")
	})
	t.Run("a store that does not answer is 503", func(t *testing.T) {
		h := newHost(t, guide, func(s *setup) {
			s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) { return nil, errDown }}
		})
		h.want(h.signIn("alice", right), http.StatusServiceUnavailable, "temporarily_unavailable")
	})
}

func TestFastAPIStatusCodesOfAccounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"disabled", guard.ErrInactive, http.StatusBadRequest, "inactive_user"},
		{"disabled, in a store's words", fmt.Errorf("row 7: %w", guard.ErrInactive), http.StatusBadRequest, "inactive_user"},
		{"gone", auth.ErrNotFound, http.StatusUnauthorized, guard.CodeInvalidToken},
		{"refused in the host's own words", &guard.Denial{Status: 403, Code: "paused", Err: guard.ErrInactive}, http.StatusForbidden, "paused"},
		{"not to be found out", errDown, http.StatusServiceUnavailable, guard.CodeUnavailable},
	} {
		for _, way := range []string{"on every route", "on one route"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				h := newHost(t)
				var seen []guard.Event
				hooks := guard.Hooks{Observe: hear(&seen)}
				me := accountsOf(t, func(context.Context, *identity.Principal) (int, error) { return 0, tt.err },
					func(int) auth.User { return auth.User{} }, auth.AccountsConfig{FastAPIStatusCodes: true, Hooks: hooks})
				ran := false
				handler := hooks.Authenticated(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
				if way == "on one route" {
					handler = me.Handler(handler)
				} else {
					hooks.Active = me.Active
				}
				mux := guard.NewMux(hooks, presented{})
				mux.Handle("/me", handler)
				r := bearer("GET", "/me", "x")
				a := answerOf(t, mux, r)
				h.want(a, tt.status, tt.code)
				if ran {
					t.Error("the handler ran")
				}
				if tt.status == http.StatusBadRequest {
					if want := `{"title":"Bad Request","status":400,"code":"inactive_user","detail":"Inactive user"}` + "\n"; a.raw != want {
						t.Errorf("the body is %s, want %s", a.raw, want)
					}
					h.wantEvent(seen, guard.EventLoginFail)
				}
			})
		}
	}
}
