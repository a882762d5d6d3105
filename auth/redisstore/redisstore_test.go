package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/redisstore"
	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
)

// These tests have no server: they are about what is made of answers. What the
// scripts do is shown on a real server in examples/integration.

func open(t *testing.T, f *redisdbtest.Server, config redisstore.Config) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(f.Eval, config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// methods call each method, and return an error unless it was a success.
func methods(s *redisstore.Store) map[string]func(context.Context) error {
	now := time.Now()
	return map[string]func(context.Context) error{
		"CreateRefresh": func(ctx context.Context) error {
			evicted, err := s.CreateRefresh(ctx, auth.Session{ID: "s", Created: now, Expires: now}, auth.TokenHash{}, now, auth.MaxListed)
			if len(evicted) > 0 {
				return nil
			}
			return err
		},
		"RotateRefresh": func(ctx context.Context) error {
			out, err := s.RotateRefresh(ctx, auth.Rotation{Session: "s", Now: now})
			if err != nil && out != (auth.Rotated{}) {
				return nil // an error with an outcome is no error
			}
			return err
		},
		"RevokeRefresh": func(ctx context.Context) error { return s.RevokeRefresh(ctx, identity.Revocation{Subject: "alice"}) },
		"Sessions": func(ctx context.Context) error {
			all, err := s.Sessions(ctx, "alice")
			if len(all) > 0 {
				return nil
			}
			return err
		},
		"CountSessions": func(ctx context.Context) error {
			n, err := s.CountSessions(ctx)
			if n > 0 {
				return nil
			}
			return err
		},
		"AttemptChallenge": func(ctx context.Context) error {
			ok, err := s.AttemptChallenge(ctx, auth.TokenHash{}, 1, now)
			if ok {
				return nil
			}
			return err
		},
		"FinishChallenge": func(ctx context.Context) error {
			ok, err := s.FinishChallenge(ctx, auth.TokenHash{})
			if ok {
				return nil
			}
			return err
		},
	}
}

func TestNew(t *testing.T) {
	_, err := redisstore.New(nil, redisstore.Config{Prefix: "a{b}"})
	for _, want := range []string{"auth/redisstore: eval is nil", `auth/redisstore: Config.Prefix is "a{b}"; use`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q in it", err, want)
		}
	}
	if _, err := redisstore.New(new(redisdbtest.Server).Eval, redisstore.Config{Prefix: strings.Repeat("x", 65)}); err == nil {
		t.Error("New with a Prefix of 65 is no error")
	}
}

func TestFailuresAreErrors(t *testing.T) {
	down := errors.New("down")
	for name := range methods(nil) {
		t.Run(name, func(t *testing.T) {
			f := &redisdbtest.Server{Err: down}
			s := open(t, f, redisstore.Config{})
			if err := methods(s)[name](t.Context()); !errors.Is(err, down) || len(f.Calls) != 1 {
				t.Errorf("a server that is down: %v after %d calls, want its error after 1", err, len(f.Calls))
			}
			f.Err = nil
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.Err, f.Calls = down, nil
			if err := methods(s)[name](t.Context()); !errors.Is(err, down) || len(f.Calls) != 1 {
				t.Errorf("a server that went down: %v after %d calls, want its error after 1", err, len(f.Calls))
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			f.Err, f.Calls = nil, nil
			if err := methods(s)[name](cancelled); !errors.Is(err, context.Canceled) || len(f.Calls) != 0 {
				t.Errorf("a cancelled context: %v after %d calls", err, len(f.Calls))
			}
		})
	}
}

func TestBadAnswersAreErrors(t *testing.T) {
	now := "1764000000000000"
	hash := strings.Repeat("00", 32)
	for what, answer := range map[string]any{
		"nothing":                       nil,
		"an integer that is none":       int64(2),
		"a negative integer":            int64(-1),
		"a string":                      "OK",
		"an empty array":                []any{},
		"integers":                      []any{int64(1), int64(2), int64(3), int64(4)},
		"another outcome":               []any{"", hash, now, now},
		"no hash":                       []any{"rotated", "zz", now, now},
		"a short hash":                  []any{"replayed", "00", now, now},
		"another hash than was written": []any{"rotated", strings.Repeat("11", 32), now, now},
		"no time":                       []any{"rotated", hash, "", now},
		"a time that is too long":       []any{"replayed", hash, now, "9007199254740993"},
		"a negative time":               []any{"replayed", hash, "-1", now},
		"too short":                     []any{"rotated", hash, now},
		"another one's session":         []any{"", "s", "bob", "", "", now, now},
		"a session without a time":      []any{"", "s", "alice", "", "", "", now},
		"what leads nowhere":            []any{"done", "a", "b"},
		"not done":                      []any{"", ""},
	} {
		t.Run(what, func(t *testing.T) {
			s := open(t, &redisdbtest.Server{Answer: answer}, redisstore.Config{})
			for name, call := range methods(s) {
				if err := call(t.Context()); err == nil {
					t.Errorf("%s takes it for a success", name)
				}
			}
		})
	}
	t.Run("an answer that goes round in circles", func(t *testing.T) {
		s := open(t, &redisdbtest.Server{Answer: []any{"done", "a"}}, redisstore.Config{})
		if err := methods(s)["RevokeRefresh"](t.Context()); err == nil {
			t.Error("RevokeRefresh takes it for a success")
		}
		s = open(t, &redisdbtest.Server{Answer: []any{"a"}}, redisstore.Config{})
		if err := methods(s)["Sessions"](t.Context()); err == nil {
			t.Error("Sessions takes it for a success")
		}
	})
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings any
		config   redisstore.Config
		ok       bool
	}{
		{"it keeps everything", redisdbtest.Good, redisstore.Config{}, true},
		{"in bytes", []any{"master", []byte("noeviction"), []byte("1")}, redisstore.Config{}, true},
		{"it evicts", []any{"master", "allkeys-lru", "1"}, redisstore.Config{}, false},
		{"it evicts what expires", []any{"master", "volatile-ttl", "1"}, redisstore.Config{InsecureVolatile: true}, false},
		{"it evicts, as told", []any{"master", "allkeys-lru", "1"}, redisstore.Config{InsecureEviction: true}, true},
		{"it has no log", []any{"master", "noeviction", "0"}, redisstore.Config{InsecureEviction: true}, false},
		{"it has no log, as told", []any{"master", "noeviction", "0"}, redisstore.Config{InsecureVolatile: true}, true},
		{"it does not tell", []any{"master", "", ""}, redisstore.Config{}, false},
		{"nothing", "", redisstore.Config{InsecureEviction: true}, false},
		{"half of it", []any{"master", "noeviction"}, redisstore.Config{}, false},
		{"integers", []any{"master", int64(1), int64(1)}, redisstore.Config{InsecureEviction: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &redisdbtest.Server{Settings: tt.settings, Answer: []any{"unknown", "", "0", "0"}}
			s := open(t, f, tt.config)
			if err := methods(s)["RotateRefresh"](t.Context()); (err == nil) != tt.ok {
				t.Errorf("RotateRefresh = %v", err)
			}
			if want := map[bool]int{true: 2, false: 1}[tt.ok]; len(f.Calls) != want {
				t.Errorf("%d calls, want %d", len(f.Calls), want)
			}
			if err := s.Ready(t.Context()); (err == nil) != tt.ok {
				t.Errorf("Ready = %v", err)
			}
		})
	}
}

func TestRevocationsThatAreRefused(t *testing.T) {
	f := &redisdbtest.Server{Answer: []any{"done", ""}}
	s := open(t, f, redisstore.Config{})
	for _, which := range []identity.Revocation{{}, {Issuer: "i"}, {Session: "s", Credential: "c"}} {
		if err := s.RevokeRefresh(t.Context(), which); err == nil || len(f.Calls) != 0 {
			t.Errorf("RevokeRefresh(%+v) = %v after %d calls", which, err, len(f.Calls))
		}
	}
}
