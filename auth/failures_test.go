package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// Whatever fails, and however: 503, and never a verdict.
func TestStoresThatFail(t *testing.T) {
	failures := []error{
		errDown,
		context.DeadlineExceeded,
		auth.ErrFull,
		guard.ErrInactive,
		guard.ErrNoCredentials,
		token.ErrInvalid,
		token.ErrRevoked,
		&http.MaxBytesError{Limit: 1},
		guard.Unauthenticated(),
		guard.InvalidToken("Bearer", errDown),
		&guard.Denial{Status: http.StatusOK},
		&guard.Denial{Status: http.StatusTooManyRequests},
		guard.Unavailable(1, errDown),
		(*guard.Denial)(nil),
	}
	signIn := func(h *host, _ answer) answer { return h.signIn("alice", right) }
	refresh := func(h *host, a answer) answer { return h.refresh(a.refresh()) }
	mfa := func(h *host, a answer) answer { return h.answer(a.text("mfa_token"), code) }
	logout := func(h *host, a answer) answer { return h.logout(a.access()) }
	tests := []struct {
		name   string
		factor bool
		breaks func(s *setup, fail func() error)
		run    func(*host, answer) answer
	}{
		{"UserByLogin, signing in", false, func(s *setup, fail func() error) {
			s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return s.store.UserByLogin(context.Background(), login)
			}}
		}, signIn},
		{"CreateRefresh, signing in", false, func(s *setup, fail func() error) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { return fail() }}
		}, signIn},
		{"Claims, signing in", false, func(s *setup, fail func() error) {
			s.Claims = func(context.Context, *auth.User) (any, error) { return nil, fail() }
		}, signIn},
		{"Required, signing in", true, func(s *setup, fail func() error) {
			s.SecondFactor = &factor{required: func() (bool, error) { return false, fail() }}
		}, signIn},
		{"Revoked, signing in", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), ask: func() (bool, error) { return false, fail() }}
		}, signIn},
		{"Checkpoint, signing in", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), checkpoint: fail}
		}, signIn},
		{"IssueTime, signing in", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), issue: fail}
		}, signIn},
		{"Checkpoint, refreshing", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), checkpoint: fail}
		}, refresh},
		{"Checkpoint, answering a challenge", true, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), checkpoint: fail}
		}, mfa},
		{"RevokedSince, refreshing", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), since: func(*identity.Principal) (bool, error) { return false, fail() }}
		}, refresh},
		{"RevokedSince, answering a challenge", true, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), since: func(*identity.Principal) (bool, error) { return false, fail() }}
		}, mfa},
		{"UserByID, refreshing", false, func(s *setup, fail func() error) {
			s.users = &users{UserStore: s.store, byID: func(id string) (*auth.User, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return s.store.UserByID(context.Background(), id)
			}}
		}, refresh},
		{"RotateRefresh, refreshing", false, func(s *setup, fail func() error) {
			s.Sessions = &sessions{Memory: s.store, rotate: func(r auth.Rotation) (auth.Rotated, error) {
				if err := fail(); err != nil {
					return auth.Rotated{}, err
				}
				return s.store.RotateRefresh(context.Background(), r)
			}}
		}, refresh},
		{"Revoked, refreshing", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), ask: func() (bool, error) { return false, fail() }}
		}, refresh},
		{"RevokeRefresh, refreshing for a disabled user", false, func(s *setup, fail func() error) {
			s.users = &users{UserStore: s.store, byID: func(string) (*auth.User, error) {
				if fail() == nil {
					return &auth.User{ID: alice, Scopes: identity.NewSet("read", "write")}, nil
				}
				return nil, auth.ErrNotFound
			}}
			s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return fail() }}
		}, refresh},
		{"Claims, refreshing", false, func(s *setup, fail func() error) {
			s.Claims = func(context.Context, *auth.User) (any, error) { return nil, fail() }
		}, refresh},
		{"Revoked, answering a challenge", true, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), ask: func() (bool, error) { return false, fail() }}
		}, mfa},
		{"UserByID, answering a challenge", true, func(s *setup, fail func() error) {
			s.users = &users{UserStore: s.store, byID: func(id string) (*auth.User, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return s.store.UserByID(context.Background(), id)
			}}
		}, mfa},
		{"AttemptChallenge, answering a challenge", true, func(s *setup, fail func() error) {
			s.Challenges = &sessions{Memory: s.store, attempt: func() (bool, error) { return true, fail() }}
		}, mfa},
		{"VerifyFactor, answering a challenge", true, func(s *setup, fail func() error) {
			s.SecondFactor = &factor{verify: func(string, string) (string, error) { return "otp", fail() }}
		}, mfa},
		{"FinishChallenge, answering a challenge", true, func(s *setup, fail func() error) {
			s.Challenges = &sessions{Memory: s.store, finish: func() (bool, error) { return true, fail() }}
		}, mfa},
		{"CreateRefresh, answering a challenge", true, func(s *setup, fail func() error) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { return fail() }}
		}, mfa},
		{"RevokeRefresh, logging out", false, func(s *setup, fail func() error) {
			s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return fail() }}
		}, logout},
		{"Revoke, logging out", false, func(s *setup, fail func() error) {
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return fail() }}
		}, logout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, failure := range failures {
				if errors.Is(failure, auth.ErrNotFound) {
					t.Fatal("ErrNotFound is an answer")
				}
				var now error
				h := newHost(t, func(s *setup) {
					if tt.factor {
						s.SecondFactor = &factor{}
					}
					tt.breaks(s, func() error { return now })
				})
				a := h.signIn("alice", right)
				h.events.take()
				now = fmt.Errorf("the store: %w", failure)
				got := tt.run(h, a)
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || got.access() != "" || got.refresh() != "" {
					t.Errorf("%v (%T): %d %s", failure, failure, got.status, got.raw)
				}
				if n := named(h.events.take(), guard.EventUnavailable); n != 1 {
					t.Errorf("%v: %d events say that something is down, want 1", failure, n)
				}
			}
		})
	}
}

// A request whose client hung up raises no alarm.
func TestClientThatHangsUp(t *testing.T) {
	h := newHost(t, func(s *setup) {
		s.users = &users{UserStore: s.store, byLogin: func(string) (*auth.User, error) { return nil, context.Canceled }}
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.serve(request("/token", "username", "alice", "password", right).WithContext(ctx))
	if got := h.log.String(); !strings.Contains(got, `"level":"INFO"`) || strings.Contains(got, `"level":"ERROR"`) {
		t.Errorf("the log is %s, want information", got)
	}
}
