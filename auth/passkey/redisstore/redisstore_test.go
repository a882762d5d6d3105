package redisstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/redisstore"
	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
)

// The conformance suite runs on a real server in the examples module.

func errorsOf(t *testing.T, s *redisstore.Store) map[string]error {
	ctx, id := t.Context(), []byte("0123456789abcdef")
	_, list := s.Passkeys(ctx, "ada")
	_, one := s.PasskeyByID(ctx, id)
	_, use := s.UsePasskey(ctx, passkey.Use{ID: id})
	return map[string]error{
		"Passkeys": list, "PasskeyByID": one, "UsePasskey": use,
		"AddPasskey":    s.AddPasskey(ctx, passkey.Passkey{Subject: "ada", ID: id}, 1),
		"RenamePasskey": s.RenamePasskey(ctx, "ada", id, "name"),
		"RemovePasskey": s.RemovePasskey(ctx, "ada", id, true),
	}
}

func TestFailuresAndBadRepliesAreErrors(t *testing.T) {
	down := errors.New("down")
	for name, server := range map[string]*redisdbtest.Server{
		"down":          {Err: down},
		"a number":      {Answer: int64(1)},
		"a word":        {Answer: "perhaps"},
		"a short array": {Answer: []any{"1"}},
		"a damaged one": {Answer: []any{"zz", "ada", "", "", "", "", "0", "0", "0", "0"}},
		"another's":     {Answer: []any{"00", "eve", "", "", "", "", "0", "0", "0", "0"}},
	} {
		s, err := redisstore.New(server.Eval, redisstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for method, err := range errorsOf(t, s) {
			if err == nil || errors.Is(err, passkey.ErrNotFound) || !strings.HasPrefix(err.Error(), "auth/passkey/redisstore: ") {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
	}
}

func TestIllFormedSubjectsNeverReachTheServer(t *testing.T) {
	server := &redisdbtest.Server{Err: errors.New("it was used")}
	s, err := redisstore.New(server.Eval, redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	id := []byte("0123456789abcdef")
	for _, subject := range []string{"a\x00", "\xff", strings.Repeat("a", 1025)} {
		if all, err := s.Passkeys(t.Context(), subject); len(all) != 0 || err != nil {
			t.Error(all, err)
		}
		if err := s.RemovePasskey(t.Context(), subject, id, true); !errors.Is(err, passkey.ErrNotFound) {
			t.Error(err)
		}
		if err := s.RenamePasskey(t.Context(), subject, id, "name"); !errors.Is(err, passkey.ErrNotFound) {
			t.Error(err)
		}
		if err := s.AddPasskey(t.Context(), passkey.Passkey{Subject: subject, ID: id}, 1); err == nil {
			t.Error("AddPasskey returned nil")
		}
	}
	if len(server.Calls) != 0 {
		t.Errorf("%v", server.Calls)
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := redisstore.New(nil, redisstore.Config{Prefix: "a{b}"})
	if err == nil || !strings.Contains(err.Error(), "eval is nil") || !strings.Contains(err.Error(), "Config.Prefix") {
		t.Error(err)
	}
}
