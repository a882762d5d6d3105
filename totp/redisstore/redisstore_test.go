package redisstore_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/redisstore"
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

// load and save return an error unless they were a success.
func load(ctx context.Context, s *redisstore.Store) error {
	r, err := s.LoadTOTP(ctx, "alice")
	if err != nil && !reflect.DeepEqual(r, totp.Record{}) {
		return nil
	}
	return err
}

func save(ctx context.Context, s *redisstore.Store) error {
	saved, err := s.SaveTOTP(ctx, "alice", totp.Record{})
	if saved {
		return nil
	}
	return err
}

var methods = map[string]func(context.Context, *redisstore.Store) error{"LoadTOTP": load, "SaveTOTP": save}

func TestNew(t *testing.T) {
	_, err := redisstore.New(nil, redisstore.Config{Prefix: "a{b}"})
	for _, want := range []string{"totp/redisstore: eval is nil", `totp/redisstore: Config.Prefix is "a{b}"; use`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q in it", err, want)
		}
	}
}

func TestFailuresAreErrors(t *testing.T) {
	down := errors.New("down")
	for name, call := range methods {
		t.Run(name, func(t *testing.T) {
			f := &redisdbtest.Server{Err: down}
			s := open(t, f, redisstore.Config{})
			if err := call(t.Context(), s); !errors.Is(err, down) || len(f.Calls) != 1 {
				t.Errorf("a server that is down: %v after %d calls, want its error after 1", err, len(f.Calls))
			}
			f.Err = nil
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.Err, f.Calls = down, nil
			if err := call(t.Context(), s); !errors.Is(err, down) || len(f.Calls) != 1 {
				t.Errorf("a server that went down: %v after %d calls, want its error after 1", err, len(f.Calls))
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			f.Err, f.Calls = nil, nil
			if err := call(cancelled, s); !errors.Is(err, context.Canceled) || len(f.Calls) != 0 {
				t.Errorf("a cancelled context: %v after %d calls", err, len(f.Calls))
			}
		})
	}
}

func TestBadAnswersAreErrors(t *testing.T) {
	for what, answer := range map[string]any{
		"nothing":                 nil,
		"an integer that is none": int64(2),
		"a negative integer":      int64(-1),
		"a string":                "OK",
		"an empty array":          []any{},
		"integers":                []any{int64(1), int64(2)},
		"nils":                    []any{nil, nil},
		"a version alone":         []any{"1", ""},
		"a record of version 0":   []any{"0", `{"User":"alice"}`},
		"no version":              []any{"x", `{"User":"alice"}`},
		"a record of nobody":      []any{"1", `{}`},
		"another user's record":   []any{"1", `{"User":"bob"}`},
		"half a hash":             []any{"1", `{"User":"alice","Recovery":"AAAA"}`},
		"an unknown field":        []any{"1", `{"User":"alice","Secret":""}`},
		"two records":             []any{"1", `{"User":"alice"}{"User":"alice"}`},
	} {
		s := open(t, &redisdbtest.Server{Answer: answer}, redisstore.Config{})
		for name, call := range methods {
			if err := call(t.Context(), s); err == nil {
				t.Errorf("%s: %s takes it for a success", what, name)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings any
		config   redisstore.Config
		ok       bool
	}{
		{"it keeps everything", redisdbtest.Good, redisstore.Config{}, true},
		{"it evicts", []any{"master", "allkeys-lru", "1"}, redisstore.Config{InsecureVolatile: true}, false},
		{"it evicts, as told", []any{"master", "allkeys-lru", "1"}, redisstore.Config{InsecureEviction: true}, true},
		{"it has no log", []any{"master", "noeviction", "0"}, redisstore.Config{InsecureEviction: true}, false},
		{"it has no log, as told", []any{"master", "noeviction", "0"}, redisstore.Config{InsecureVolatile: true}, true},
		{"it does not tell", []any{"master", "", ""}, redisstore.Config{}, false},
		{"nothing", "", redisstore.Config{InsecureEviction: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &redisdbtest.Server{Settings: tt.settings, Answer: []any{"0", ""}}
			s := open(t, f, tt.config)
			if err := load(t.Context(), s); (err == nil) != tt.ok {
				t.Errorf("LoadTOTP = %v", err)
			}
			if want := map[bool]int{true: 2, false: 1}[tt.ok]; len(f.Calls) != want {
				t.Errorf("%d calls, want %d", len(f.Calls), want)
			}
		})
	}
}
