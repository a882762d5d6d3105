package auth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
)

var (
	_ auth.UserStore       = (*auth.Memory)(nil)
	_ auth.PasswordUpdater = (*auth.Memory)(nil)
	_ auth.RefreshStore    = (*auth.Memory)(nil)
	_ auth.ChallengeStore  = (*auth.Memory)(nil)
	_ auth.ClientStore     = (*auth.Memory)(nil)
)

func TestMemoryConformance(t *testing.T) {
	t.Run("users", func(t *testing.T) {
		authtest.RunUsers(t, func(t *testing.T, users map[string]auth.User) auth.UserStore {
			m := new(auth.Memory)
			for login, u := range users {
				if err := m.SetUser(login, u); err != nil {
					t.Fatal(err)
				}
			}
			return m
		})
	})
	t.Run("sessions", func(t *testing.T) {
		authtest.RunRefresh(t, func(*testing.T) auth.RefreshStore { return new(auth.Memory) })
	})
	t.Run("lists of sessions", func(t *testing.T) {
		authtest.RunSessions(t, func(*testing.T) authtest.SessionStore { return new(auth.Memory) })
	})
	t.Run("challenges", func(t *testing.T) {
		authtest.RunChallenges(t, func(*testing.T) auth.ChallengeStore { return new(auth.Memory) })
	})
}

func TestMemorySetUser(t *testing.T) {
	tests := []struct {
		name, login string
		user        auth.User
		ok          bool
	}{
		{"a new user is added", "carol", auth.User{ID: "3"}, true},
		{"a user may be changed", "alice", auth.User{ID: "1", Disabled: true}, true},
		{"a user may have two logins", "alice@example.com", auth.User{ID: "1"}, true},
		{"a login of somebody else is taken", "ALICE ", auth.User{ID: "2"}, false},
		{"a login that nobody can type is refused", "аlice", auth.User{ID: "3"}, false},
		{"a user without an ID is refused", "carol", auth.User{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := new(auth.Memory)
			if err := m.SetUser("alice", auth.User{ID: "1"}); err != nil {
				t.Fatal(err)
			}
			err := m.SetUser(tt.login, tt.user)
			if (err == nil) != tt.ok {
				t.Fatalf("error %v, want ok %v", err, tt.ok)
			}
			u, err := m.UserByLogin(context.Background(), "alice")
			if err != nil || u.ID != "1" {
				t.Errorf("alice is %v, %v; want the user 1", u, err)
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	ctx := context.Background()
	open := func(m *auth.Memory, i int, idle time.Duration) error {
		now := time.Now()
		_, err := m.CreateRefresh(ctx, auth.Session{ID: fmt.Sprint(i), Subject: fmt.Sprint(i), Created: now, Expires: now.Add(24 * time.Hour)}, auth.TokenHash{byte(i)}, now.Add(idle), auth.MaxListed)
		return err
	}
	attempt := func(m *auth.Memory, i int) error {
		_, err := m.AttemptChallenge(ctx, auth.TokenHash{byte(i), byte(i >> 8)}, 5, time.Now().Add(time.Minute))
		return err
	}
	t.Run("a full one refuses new sessions and keeps the old ones", func(t *testing.T) {
		m := &auth.Memory{MaxSessions: 3}
		for i := range 3 {
			if err := open(m, i, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if err := open(m, 3, time.Hour); !errors.Is(err, auth.ErrFull) {
			t.Fatalf("error %v, want ErrFull", err)
		}
		got, err := m.RotateRefresh(ctx, auth.Rotation{Session: "0", Old: auth.TokenHash{0}, New: auth.TokenHash{9}, Now: time.Now(), Idle: time.Hour})
		if err != nil || got.Outcome != auth.RefreshRotated {
			t.Errorf("the first session: %v, %v; want it to be alive", got.Outcome, err)
		}
	})
	t.Run("what has expired makes room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &auth.Memory{MaxSessions: 3}
			for i := range 3 {
				if err := errors.Join(open(m, i, time.Hour), attempt(m, i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Hour)
			if err := errors.Join(open(m, 3, time.Hour), attempt(m, 3)); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("challenges that are full do not keep anybody from signing in without one", func(t *testing.T) {
		m := &auth.Memory{MaxSessions: 3}
		for i := range 3 {
			if err := attempt(m, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := attempt(m, 3); !errors.Is(err, auth.ErrFull) {
			t.Errorf("a fourth challenge: %v, want ErrFull", err)
		}
		if err := attempt(m, 2); err != nil {
			t.Errorf("a challenge that is known: %v, want it to go on", err)
		}
		if err := open(m, 0, time.Hour); err != nil {
			t.Errorf("a session: %v, want room for it", err)
		}
	})
	t.Run("the default is 100,000", func(t *testing.T) {
		m := new(auth.Memory)
		for i := range 100_000 {
			if err := open(m, i, time.Hour); err != nil {
				t.Fatalf("session %d: %v", i, err)
			}
		}
		if err := open(m, 100_000, time.Hour); !errors.Is(err, auth.ErrFull) {
			t.Errorf("error %v, want ErrFull", err)
		}
	})
}
