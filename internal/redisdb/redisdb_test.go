package redisdb_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/redisdb"
	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
)

func open(t *testing.T, s *redisdbtest.Server, settings redisdb.Settings) *redisdb.DB {
	t.Helper()
	settings.DefaultPrefix, settings.Keeps, settings.Rights = "p", "everything", "+eval +set"
	d, err := redisdb.New("room/store", s.Eval, settings)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := redisdb.New("room/store", nil, redisdb.Settings{Prefix: "a{b}"})
	for _, want := range []string{"room/store: eval is nil", `room/store: Config.Prefix is "a{b}"; use 1 to 64`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q in it", err, want)
		}
	}
	for prefix, ok := range map[string]bool{"": true, "a": true, "A.b:c_d-e/9": true, strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false, " ": false, "a}": false, "ä": false, "a\n": false} {
		if _, err := redisdb.New("p", new(redisdbtest.Server).Eval, redisdb.Settings{Prefix: prefix}); (err == nil) != ok {
			t.Errorf("Prefix %q: %v", prefix, err)
		}
	}
	if got := open(t, new(redisdbtest.Server), redisdb.Settings{}).Prefix(); got != "p" {
		t.Errorf("the default is %q", got)
	}
}

func TestAServerThatForgetsIsRefusedUntilItKeeps(t *testing.T) {
	both := redisdb.Settings{AllowEviction: true, AllowVolatile: true}
	for _, tt := range []struct {
		name     string
		reply    any
		settings redisdb.Settings
		want     string // of the error
	}{
		{"it keeps everything", redisdbtest.Good, redisdb.Settings{}, ""},
		{"in bytes", []any{[]byte("master"), []byte("noeviction"), []byte("1")}, redisdb.Settings{}, ""},
		{"a replica", []any{"slave", "noeviction", "1"}, both, "the server is a replica"},
		{"the role is not shown", []any{"", "noeviction", "1"}, redisdb.Settings{}, ""},
		{"it evicts", []any{"master", "allkeys-lru", "1"}, redisdb.Settings{AllowVolatile: true}, "maxmemory-policy"},
		{"it evicts, as allowed", []any{"master", "allkeys-lru", "1"}, redisdb.Settings{AllowEviction: true}, ""},
		{"it has no log", []any{"master", "noeviction", "0"}, redisdb.Settings{AllowEviction: true}, "aof_enabled"},
		{"it has no log, as allowed", []any{"master", "noeviction", "0"}, redisdb.Settings{AllowVolatile: true}, ""},
		{"nothing is shown", []any{"", "", ""}, redisdb.Settings{}, "maxmemory-policy"},
		{"nothing", "", redisdb.Settings{}, "instead of an array"},
		{"a part of it", []any{"master", "noeviction"}, both, "2 parts"},
		{"integers", []any{int64(1), int64(1), int64(1)}, both, "int64 at 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &redisdbtest.Server{Settings: tt.reply, Answer: "yes"}
			d := open(t, s, tt.settings)
			err := d.Ready(t.Context(), "p:ready")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Ready: %v", err)
			}
			if tt.settings == both {
				return // not checked by Run
			}
			s.Calls = nil
			d = open(t, s, tt.settings)
			for range 2 {
				got, err := d.Run(t.Context(), "script", []string{"k"})
				if (err == nil) != (tt.want == "") || err == nil && got != "yes" {
					t.Errorf("Run: %v, %v", got, err)
				}
			}
			want := 3 // once Ready, twice the script
			if tt.want != "" {
				want = 2 // twice Ready
			}
			if len(s.Calls) != want || !s.Calls[0].Ready() {
				t.Errorf("%d calls, want %d: %+v", len(s.Calls), want, s.Calls)
			}
			s.Settings = redisdbtest.Good
			if _, err := d.Run(t.Context(), "script", []string{"k"}); err != nil {
				t.Errorf("a server that keeps everything now: %v", err)
			}
		})
	}
}

func TestACancelledContextCallsNothing(t *testing.T) {
	s := new(redisdbtest.Server)
	d := open(t, s, redisdb.Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err1 := d.Run(ctx, "script", []string{"k"})
	_, err2 := d.RunUnchecked(ctx, "script", []string{"k"})
	for _, err := range []error{err1, err2, d.Ready(ctx, "k:ready")} {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if len(s.Calls) != 0 {
		t.Errorf("%+v", s.Calls)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	d := open(t, new(redisdbtest.Server), redisdb.Settings{})
	if d.Wrap(nil, "d") != nil {
		t.Error("no error became one")
	}
	for text, want := range map[string]string{
		"READONLY You can't write against a read only replica.":                                                        "connect to the primary",
		"NOPERM this user has no permissions to run the 'eval' command":                                                "the user of the server needs +eval +set and the keys of prefix p",
		"ERR The user executing the script can't run this command or subcommand":                                       "+eval +set",
		"ERR ACL failure in script: User u has no permissions to run the 'info' command script: 0, on @user_script:1.": "'info'",
		"connection refused": "connection refused",
	} {
		cause := errors.New(text)
		err := d.Wrap(cause, "doing this")
		if !strings.HasPrefix(err.Error(), "room/store: doing this: ") || !strings.Contains(err.Error(), want) || !errors.Is(err, cause) {
			t.Errorf("%s: %v", text, err)
		}
		if errors.Is(err, redisdb.ErrReplica) != strings.HasPrefix(text, "READONLY") {
			t.Errorf("%s: ErrReplica is %t", text, errors.Is(err, redisdb.ErrReplica))
		}
	}
}

func TestRepliesOfAnotherTypeAreErrors(t *testing.T) {
	failed := errors.New("failed")
	for _, reply := range []any{nil, int64(2), int64(-1), 1.5, []any{nil}, []any{int64(1)}, map[any]any{}} {
		if got, err := redisdb.Word(reply, nil); err == nil {
			t.Errorf("Word(%v) = %q", reply, got)
		}
		if got, err := redisdb.Words(reply, nil); err == nil {
			t.Errorf("Words(%v) = %q", reply, got)
		}
		if got, err := redisdb.Yes(reply, nil); err == nil || got {
			t.Errorf("Yes(%v) = %t", reply, got)
		}
	}
	if _, err := redisdb.Word("a", failed); err != failed {
		t.Error(err)
	}
	if _, err := redisdb.Words([]any{"a"}, failed); err != failed {
		t.Error(err)
	}
	if got, err := redisdb.Yes(int64(1), failed); err != failed || got {
		t.Error(err)
	}
	if got, err := redisdb.Yes(int64(1), nil); !got || err != nil {
		t.Error(got, err)
	}
	if got, err := redisdb.Yes(int64(0), nil); got || err != nil {
		t.Error(got, err)
	}
	for s, want := range map[string]int64{"0": 0, "9007199254740992": 1 << 53, "": -1, "-1": -1, "x": -1, "9007199254740993": -1} {
		if got, err := redisdb.Number(s); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("Number(%q) = %d, %v", s, got, err)
		}
	}
}

func TestTimesThatLuaCannotTellApartAreErrors(t *testing.T) {
	for year, ok := range map[int]bool{1969: false, 1970: true, 2026: true, 2254: true, 2255: false} {
		when := time.Date(year, 6, 1, 2, 3, 4, 5000, time.UTC)
		all, err := redisdb.Micros(time.Unix(1, 0), when)
		if (err == nil) != ok {
			t.Errorf("%d: %v", year, err)
		}
		if err != nil {
			continue
		}
		if back, err := redisdb.Instant(all[1]); err != nil || !back.Equal(when) {
			t.Errorf("%v became %v, %v", when, back, err)
		}
	}
}
