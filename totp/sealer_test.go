package totp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/totp"
)

func TestNewKeyringReportsEveryMistake(t *testing.T) {
	tests := []struct {
		name    string
		secrets [][]byte
		want    []string
	}{
		{"one of 32 bytes", [][]byte{sealKey}, nil},
		{"a longer one", [][]byte{bytes.Repeat(sealKey, 3)}, nil},
		{"none", nil, []string{"the Keyring is empty; use at least one secret of 32 random bytes"}},
		{"every mistake at once", [][]byte{sealKey, {}, sealKey[:31], sealKey}, []string{
			"secret 1 of the Keyring has 0 bytes", "secret 2 of the Keyring has 31 bytes", "secret 3 of the Keyring equals secret 0",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := totp.NewKeyring(tt.secrets...)
			if (err == nil) != (len(tt.want) == 0) || (k == nil) != (err != nil) {
				t.Fatalf("%v, %v", k, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not tell that %s", err, want)
				}
			}
		})
	}
}

func TestKeyringOpensOnlyWhatItSealed(t *testing.T) {
	k := keyring(t)
	box, err := k.Seal(ctx, []byte("the secret"), []byte("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, stale, err := k.Open(ctx, box, []byte("alice")); string(plain) != "the secret" || stale || err != nil {
		t.Errorf("%q, %t, %v", plain, stale, err)
	}
	if bytes.Contains(box, []byte("secret")) {
		t.Error("the box has the secret in clear")
	}
	again, err := k.Seal(ctx, []byte("the secret"), []byte("alice"))
	if err != nil || bytes.Equal(box, again) {
		t.Errorf("sealing twice gives one box, %v", err)
	}
	if _, _, err := k.Open(ctx, box, []byte("bob")); err == nil {
		t.Error("it opens for another purpose")
	}
	for i := range box {
		bad := bytes.Clone(box)
		bad[i] ^= 1
		if plain, _, err := k.Open(ctx, bad, []byte("alice")); err == nil || plain != nil {
			t.Errorf("with another byte %d it opens", i)
		}
		if plain, _, err := k.Open(ctx, box[:i], []byte("alice")); err == nil || plain != nil {
			t.Errorf("cut to %d bytes it opens", i)
		}
	}
}

// A new key in front: secrets of the old one open, and are sealed anew with the
// next right code. Then the old one is not needed any more.
func TestRotationSealsWithTheNewKeyAtTheNextCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := sealKey, []byte("a new key of thirty-two bytes!!!")
		store := new(totp.Memory)
		with := func(secrets ...[]byte) *totp.Service {
			s, err := totp.New(store, keyring(t, secrets...), totp.Config{Issuer: "Example", VerifyPassword: verifyPassword})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		secret, recovery := enrol(t, with(old), "alice")
		sealed := func() []byte {
			r, err := store.LoadTOTP(ctx, "alice")
			if err != nil {
				t.Fatal(err)
			}
			return r.Active
		}
		before := sealed()
		both := with(fresh, old)
		if _, err := both.Verify(ctx, "alice", recovery[0]); err != nil || !bytes.Equal(sealed(), before) {
			t.Errorf("a recovery code, for which no secret is opened: %v", err)
		}
		if _, err := both.Verify(ctx, "alice", wrong(t, secret, time.Now())); !isWrong(err) || !bytes.Equal(sealed(), before) {
			t.Errorf("a wrong code: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := both.Verify(ctx, "alice", next(t, secret)); err != nil || bytes.Equal(sealed(), before) {
			t.Fatalf("a right code, and the secret is sealed as before: %v", err)
		}
		if _, err := with(fresh).Verify(ctx, "alice", next(t, secret)); err != nil {
			t.Errorf("without the old key: %v", err)
		}
		if _, err := with(old).Verify(ctx, "alice", next(t, secret)); err == nil || isWrong(err) || !strings.Contains(err.Error(), "is not in the Keyring") {
			t.Errorf("without the new key: %v", err)
		}
		now := sealed()
		if _, err := both.Verify(ctx, "alice", codeAt(t, secret, time.Now().Add(30*time.Second))); err != nil || !bytes.Equal(sealed(), now) {
			t.Errorf("a secret under the current key is sealed anew: %v", err)
		}
	})
}

// Whoever writes the table puts his own secret into somebody else's row: it is
// an error, and no code is good.
func TestSealedSecretsCannotBeSwapped(t *testing.T) {
	tests := []struct {
		name string
		swap func(mallory, alice totp.Record) totp.Record // into alice's row
	}{
		{"another user's secret", func(m, a totp.Record) totp.Record { a.Active = m.Active; return a }},
		{"another user's secret that waits to be confirmed", func(m, a totp.Record) totp.Record { a.Active = m.Pending; return a }},
		{"one's own secret that waits to be confirmed", func(_, a totp.Record) totp.Record { a.Active = a.Pending; return a }},
		{"no box", func(_, a totp.Record) totp.Record { a.Active = []byte("JBSWY3DPEHPK3PXP"); return a }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(totp.Memory)
				s := service(t, store, totp.Config{})
				secrets := map[string]string{}
				pending := map[string]string{}
				records := map[string]totp.Record{}
				for _, user := range []string{"mallory", "alice"} {
					secrets[user], _ = enrol(t, s, user)
					e, err := s.Begin(ctx, caller(user))
					if err != nil {
						t.Fatal(err)
					}
					pending[user] = e.Secret()
					if records[user], err = store.LoadTOTP(ctx, user); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				if saved, err := store.SaveTOTP(ctx, "alice", tt.swap(records["mallory"], records["alice"])); !saved || err != nil {
					t.Fatal(saved, err)
				}
				for _, secret := range []string{secrets["mallory"], pending["mallory"], secrets["alice"], pending["alice"]} {
					if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now())); err == nil || isWrong(err) {
						t.Errorf("Verify = %v, want an error", err)
					}
				}
			})
		})
	}
	t.Run("another user's secret as the one to confirm", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := new(totp.Memory)
			s := service(t, store, totp.Config{})
			e, err := s.Begin(ctx, caller("mallory"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Begin(ctx, caller("alice")); err != nil {
				t.Fatal(err)
			}
			from, _ := store.LoadTOTP(ctx, "mallory")
			into, _ := store.LoadTOTP(ctx, "alice")
			into.Pending = from.Pending
			if saved, err := store.SaveTOTP(ctx, "alice", into); !saved || err != nil {
				t.Fatal(saved, err)
			}
			if codes, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), byPassword); err == nil || isWrong(err) || codes != nil {
				t.Errorf("Confirm = %v", err)
			}
		})
	})
	t.Run("another user's recovery codes", func(t *testing.T) {
		store := new(totp.Memory)
		s := service(t, store, totp.Config{})
		_, recovery := enrol(t, s, "mallory")
		enrol(t, s, "alice")
		from, _ := store.LoadTOTP(ctx, "mallory")
		into, _ := store.LoadTOTP(ctx, "alice")
		into.Recovery = from.Recovery
		if saved, err := store.SaveTOTP(ctx, "alice", into); !saved || err != nil {
			t.Fatal(saved, err)
		}
		if _, err := s.Verify(ctx, "alice", recovery[0]); !isWrong(err) {
			t.Errorf("Verify = %v", err)
		}
	})
}

// What is stored tells nobody a code: no secret in clear, in any spelling.
func TestNothingIsStoredInClear(t *testing.T) {
	store := new(totp.Memory)
	s := service(t, store, totp.Config{})
	secret, recovery := enrol(t, s, "alice")
	r, err := store.LoadTOTP(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	everything := fmt.Sprintf("%s %s %x", text, r.Active, r.Active)
	raw := decode32(t, secret)
	for _, clear := range append(recovery, secret, string(raw), fmt.Sprintf("%x", raw), string(decode32(t, strings.ReplaceAll(recovery[0], "-", "")))) {
		if strings.Contains(everything, clear) {
			t.Errorf("the record has %q", clear)
		}
	}
}
