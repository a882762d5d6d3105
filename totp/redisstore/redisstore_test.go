package redisstore_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/redisstore"
)

// These tests have no server: they are about what is made of answers. What the
// scripts do is shown on a real server in examples/integration.

// A fake is a server that answers what it is told.
type fake struct {
	settings, answer any
	err              error
	calls            int
}

func (f *fake) eval(_ context.Context, script string, keys []string, args ...any) (any, error) {
	f.calls++
	for _, a := range args {
		if _, ok := a.(string); !ok {
			return nil, errors.New("an argument is no string")
		}
	}
	if len(keys) != 1 {
		return nil, errors.New("there is not one key")
	}
	if strings.Contains(script, "INFO") {
		return f.settings, f.err
	}
	return f.answer, f.err
}

var good = []any{"noeviction", "1"}

func open(t *testing.T, f *fake, config redisstore.Config) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(f.eval, config)
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
	for _, want := range []string{"redisstore: eval is nil", `redisstore: Config.Prefix is "a{b}", want`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q in it", err, want)
		}
	}
}

func TestFailuresAreErrors(t *testing.T) {
	down := errors.New("down")
	for name, call := range methods {
		t.Run(name, func(t *testing.T) {
			f := &fake{settings: good, err: down}
			s := open(t, f, redisstore.Config{})
			if err := call(t.Context(), s); !errors.Is(err, down) || f.calls != 1 {
				t.Errorf("a server that is down: %v after %d calls, want its error after 1", err, f.calls)
			}
			f.err = nil
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.err, f.calls = down, 0
			if err := call(t.Context(), s); !errors.Is(err, down) || f.calls != 1 {
				t.Errorf("a server that went down: %v after %d calls, want its error after 1", err, f.calls)
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			f.err, f.calls = nil, 0
			if err := call(cancelled, s); !errors.Is(err, context.Canceled) || f.calls != 0 {
				t.Errorf("a cancelled context: %v after %d calls", err, f.calls)
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
		s := open(t, &fake{settings: good, answer: answer}, redisstore.Config{})
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
		{"it keeps everything", good, redisstore.Config{}, true},
		{"it evicts", []any{"allkeys-lru", "1"}, redisstore.Config{InsecureVolatile: true}, false},
		{"it evicts, as told", []any{"allkeys-lru", "1"}, redisstore.Config{InsecureEviction: true}, true},
		{"it has no log", []any{"noeviction", "0"}, redisstore.Config{InsecureEviction: true}, false},
		{"it has no log, as told", []any{"noeviction", "0"}, redisstore.Config{InsecureVolatile: true}, true},
		{"it does not tell", []any{"", ""}, redisstore.Config{}, false},
		{"nothing", nil, redisstore.Config{InsecureEviction: true, InsecureVolatile: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{settings: tt.settings, answer: []any{"0", ""}}
			s := open(t, f, tt.config)
			if err := load(t.Context(), s); (err == nil) != tt.ok {
				t.Errorf("LoadTOTP = %v", err)
			}
			if want := map[bool]int{true: 2, false: 1}[tt.ok]; f.calls != want {
				t.Errorf("%d calls, want %d", f.calls, want)
			}
		})
	}
}
