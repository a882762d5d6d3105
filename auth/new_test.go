package auth_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

func TestNew(t *testing.T) {
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("an access token secret of 32 b.."))})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	good := func() auth.Config {
		return auth.Config{Sessions: new(auth.Memory), RefreshKeys: []guard.Secret{guard.NewSecret([]byte("0123456789abcdef0123456789abcdef"))}, Revoker: new(blacklist.Memory)}
	}
	tests := []struct {
		name   string
		change func(*auth.Config)
		want   []string // in the error; none: no error
	}{
		{"what is required is enough", func(*auth.Config) {}, nil},
		{"no store of sessions", func(c *auth.Config) { c.Sessions = nil }, []string{"Config.Sessions is nil"}},
		{"no Revoker", func(c *auth.Config) { c.Revoker = nil }, []string{"Config.Revoker is nil"}},
		{"no refresh key", func(c *auth.Config) { c.RefreshKeys = nil }, []string{"Config.RefreshKeys is empty"}},
		{"a short refresh key behind", func(c *auth.Config) {
			c.RefreshKeys = append(c.RefreshKeys, guard.NewSecret([]byte("thirty-one bytes are not enough")))
		}, []string{"Config.RefreshKeys[1] has 31 bytes; use at least 32"}},
		{"a nil refresh key", func(c *auth.Config) { c.RefreshKeys = []guard.Secret{{}} }, []string{"Config.RefreshKeys[0] has 0 bytes"}},
		{"a refresh key that was never filled", func(c *auth.Config) { c.RefreshKeys = []guard.Secret{guard.NewSecret(make([]byte, 32))} }, []string{"Config.RefreshKeys[0] is all zeros; use random bytes"}},
		{"the same refresh key twice", func(c *auth.Config) { c.RefreshKeys = append(c.RefreshKeys, c.RefreshKeys[0]) }, []string{"Config.RefreshKeys"}},
		{"a second factor without challenges", func(c *auth.Config) { c.SecondFactor = &factor{} }, []string{"Config.SecondFactor is set and Config.Challenges is nil"}},
		{"a second factor with challenges", func(c *auth.Config) { c.SecondFactor, c.Challenges = &factor{}, new(auth.Memory) }, nil},
		{"negative durations", func(c *auth.Config) { c.RefreshIdle, c.RefreshGrace = -1, -1 }, []string{"Config.RefreshIdle is -1ns", "Config.RefreshGrace is -1ns"}},
		{"an idle time of less than a second", func(c *auth.Config) { c.RefreshIdle = time.Second - 1 }, []string{"Config.RefreshIdle is 999.999999ms; use 1s"}},
		{"a grace of more than a minute", func(c *auth.Config) { c.RefreshGrace = time.Minute + 1 }, []string{"Config.RefreshGrace is 1m0.000000001s"}},
		{"sessions for ever", func(c *auth.Config) { c.RefreshAbsolute = 401 * 24 * time.Hour }, []string{"Config.RefreshAbsolute is 9624h0m0s"}},
		{"sessions shorter than their idle time", func(c *auth.Config) { c.RefreshAbsolute = time.Hour }, []string{"Config.RefreshAbsolute is 1h0m0s; use at least RefreshIdle, 336h0m0s"}},
		{"every mistake at once", func(c *auth.Config) {
			*c = auth.Config{SecondFactor: &factor{}, RefreshGrace: time.Hour, RefreshKeys: []guard.Secret{guard.NewSecret([]byte{1})}, RefreshIdle: -1}
		}, []string{"Sessions is nil", "Revoker is nil", "RefreshKeys[0] has 1 bytes", "Challenges is nil", "RefreshGrace is 1h0m0s", "RefreshIdle is -1ns"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := good()
			tt.change(&config)
			s, err := auth.New(new(auth.Memory), tokens, config)
			if len(tt.want) == 0 {
				if err != nil || s == nil {
					t.Fatalf("%v, %v; want a server", s, err)
				}
				return
			}
			if err == nil || s != nil {
				t.Fatalf("%v, %v; want an error and no server", s, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is\n%v\nand does not tell that %s", err, want)
				}
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "auth: ") {
					t.Errorf("the line %q does not begin with the package", line)
				}
			}
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		s, err := auth.New(nil, nil, auth.Config{})
		if err == nil || s != nil {
			t.Fatalf("%v, %v; want an error and no server", s, err)
		}
		for _, want := range []string{"UserStore is nil", "token.Issuer is nil", "Config.Sessions", "Config.Revoker", "Config.RefreshKeys"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error is\n%v\nand does not tell of %s", err, want)
			}
		}
	})
	t.Run("the keys may be overwritten afterwards", func(t *testing.T) {
		key := []byte("0123456789abcdef0123456789abcdef")
		h := newHost(t, func(s *setup) { s.RefreshKeys = []guard.Secret{guard.NewSecret(key)} })
		a := h.signedIn()
		clear(key)
		h.want(h.refresh(a.refresh()), 200, "")
	})
	t.Run("the defaults are those of the documentation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			payload := payloadOf(t, h.signedIn().refresh())
			if got := payload["exp"].(float64) - payload["iat"].(float64); got != 14*24*3600 {
				t.Errorf("a refresh token is good for %v s, want 14 days", got)
			}
			if payload["type"] != "refresh" || payload["aud"] != issuer || payload["iss"] != issuer {
				t.Errorf("a refresh token says %v", payload)
			}
			if _, ok := payload["roles"]; ok {
				t.Error("a refresh token has roles, which would be those of yesterday")
			}
		})
	})
}
