package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestSecretsAreMadeOnceAndForTheirUserAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new folder", "secrets")
	made, err := loadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: mode %v (%v), want %o", name, info.Mode(), err, want)
			}
		}
	}
	again, err := loadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	if !made.fresh || again.fresh {
		t.Errorf("fresh is %v when they are made and %v later", made.fresh, again.fresh)
	}
	made.fresh = false
	if !reflect.DeepEqual(made, again) {
		t.Error("the second start has other secrets")
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind %v (%v)", files, err)
	}
	if other := must(newSecrets()); string(other.RefreshKey) == string(made.RefreshKey) || other.DemoPassword == made.DemoPassword || string(other.SigningKey) == string(made.SigningKey) {
		t.Error("two servers have a secret in common")
	}
}

func TestFirstStartsAtOnceAgreeOnTheSecrets(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "secrets")
		const n = 8
		var got [n]*secrets
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { got[i], _ = loadSecrets(path) })
		}
		wg.Wait()
		fresh := 0
		for _, s := range got {
			if s == nil {
				t.Fatal("one has no secrets")
			}
			if s.fresh {
				fresh++
			}
			if string(s.RefreshKey) != string(got[0].RefreshKey) || s.DemoPassword != got[0].DemoPassword || string(s.SigningKey) != string(got[0].SigningKey) {
				t.Fatal("two have different secrets")
			}
		}
		if fresh != 1 {
			t.Fatalf("%d think that they made them, want 1", fresh)
		}
	}
}

func TestBadSecretsAreRefusedWithoutBeingPrinted(t *testing.T) {
	good := must(newSecrets())
	text := func(s *secrets) string { return string(must(json.Marshal(s))) }
	change := func(f func(s *secrets)) string {
		s := *good
		f(&s)
		return text(&s)
	}
	other := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	wrongCurve := must(x509.MarshalPKCS8PrivateKey(other))
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		says          string
	}{
		{"read by others", text(good), 0o644, "chmod 600"},
		{"read by the group", text(good), 0o640, "chmod 600"},
		{"written by others", text(good), 0o602, "chmod 600"},
		{"empty", "", 0o600, "cannot be read"},
		{"cut off", text(good)[:200], 0o600, "cannot be read"},
		{"twice in the file", text(good) + text(good), 0o600, "cannot be read"},
		{"not JSON", good.DemoPassword, 0o600, "cannot be read"},
		{"with a member that nobody knows", strings.Replace(text(good), "{", `{"pepper":"x",`, 1), 0o600, "cannot be read"},
		{"not Base64", strings.Replace(text(good), `"refresh_key":"`, `"refresh_key":"!`, 1), 0o600, "cannot be read"},
		{"an empty object", "{}", 0o600, "incomplete"},
		{"null", "null", 0o600, "incomplete"},
		{"without a signing key", change(func(s *secrets) { s.SigningKey = nil }), 0o600, "incomplete"},
		{"without a refresh key", change(func(s *secrets) { s.RefreshKey = nil }), 0o600, "incomplete"},
		{"with a refresh key of 31 bytes", change(func(s *secrets) { s.RefreshKey = s.RefreshKey[:31] }), 0o600, "incomplete"},
		{"without a demo password", change(func(s *secrets) { s.DemoPassword = "" }), 0o600, "incomplete"},
		{"with junk for a signing key", change(func(s *secrets) { s.SigningKey = []byte("junk that is no key at all") }), 0o600, "signing key"},
		{"with a signing key of another curve", change(func(s *secrets) { s.SigningKey = wrongCurve }), 0o600, "signing key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.says == "chmod 600" && runtime.GOOS == "windows" {
				t.Skip("Windows has no such modes")
			}
			folder := t.TempDir()
			path := filepath.Join(folder, "server.db.secrets")
			if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask is
				t.Fatal(err)
			}
			printed, err := refusedToStart(t, "-addr", "127.0.0.1:0", "-db", filepath.Join(folder, "server.db"))
			if message := err.Error(); !strings.Contains(message, tt.says) || !strings.Contains(message, path) {
				t.Errorf("%q does not say %q or names no file", message, tt.says)
			}
			for _, secret := range []string{
				good.DemoPassword,
				base64.StdEncoding.EncodeToString(good.SigningKey)[:20],
				base64.StdEncoding.EncodeToString(good.RefreshKey)[:20],
				"no key at all",
			} {
				if strings.Contains(err.Error()+printed, secret) {
					t.Errorf("%v\n%s\nhas a secret", err, printed)
				}
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != tt.content {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		if _, err := readSecrets(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a file") {
			t.Errorf("got %v", err)
		}
	})
}
