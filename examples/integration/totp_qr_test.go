package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

// needsProgram skips a test if a program is missing, and fails it if variable is
// 1 in the environment.
func needsProgram(t *testing.T, program, variable string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv(variable) == "1" {
			t.Fatalf("needs %s: %v", program, err)
		}
		t.Skipf("needs %s: %v", program, err)
	}
}

// tool returns what a program prints.
func tool(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, &stderr)
	}
	return string(out)
}

func caller(name string) *identity.Principal {
	return &identity.Principal{Subject: name, Session: "session"}
}

func verifyFactorPassword(_ context.Context, _ *identity.Principal, password string) error {
	if password != factorPassword {
		return identity.ErrNotProven
	}
	return nil
}

// newFactors returns a service whose records are in memory.
func newFactors(t *testing.T, config totp.Config) *totp.Service {
	t.Helper()
	keys, err := totp.NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	config.VerifyPassword = verifyFactorPassword
	s, err := totp.New(new(totp.Memory), keys, config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A picture is a QR code in a file, and what it should say.
type picture struct{ file, uri string }

// pictures draws the QR codes of short and long URIs in many sizes.
func pictures(t *testing.T) (all []picture) {
	t.Helper()
	folder := t.TempDir()
	for i, name := range []struct{ issuer, account string }{
		{"Example", "alice@example.com"},
		{"Your App", "a"},
		{"Émile & Co.", "жанна+test@example.com"},
		{strings.Repeat("Long name ", 6) + "inc.", strings.Repeat("a", 240) + "@example.com"},
	} {
		for j, algorithm := range []totp.Algorithm{totp.SHA1, totp.SHA512} {
			s := newFactors(t, totp.Config{Issuer: name.issuer, Algorithm: algorithm, Account: func(context.Context, *identity.Principal) (string, error) { return name.account, nil }})
			e, err := s.Begin(t.Context(), caller("alice"))
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{128, 160, 200, 256, 320, 333, 400, 512} {
				b, err := e.PNG(size)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(folder, fmt.Sprintf("%d-%d-%d.png", i, j, size))
				if err := os.WriteFile(file, b, 0o600); err != nil {
					t.Fatal(err)
				}
				all = append(all, picture{file, e.URI()})
			}
		}
	}
	return all
}

func TestZbarReadsEveryQRCode(t *testing.T) {
	needsProgram(t, "zbarimg", "GATEWRIGHT_REQUIRE_ZBAR")
	for _, p := range pictures(t) {
		if got := strings.TrimSpace(tool(t, "", "zbarimg", "--quiet", "--raw", p.file)); got != p.uri {
			t.Errorf("%s: zbar reads %q, want %q", filepath.Base(p.file), got, p.uri)
		}
	}
}

func TestJSQRReadsEveryQRCode(t *testing.T) {
	missing := t.Skipf
	if os.Getenv("GATEWRIGHT_REQUIRE_NODE") == "1" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("needs node: %v", err)
	}
	if _, err := os.Stat(filepath.Join("qr", "node_modules", "jsqr")); err != nil {
		missing("needs jsqr, run npm --prefix examples/integration/qr ci: %v", err)
	}
	all := pictures(t)
	args := []string{"read.mjs"}
	for _, p := range all {
		args = append(args, p.file)
	}
	var got []string
	if err := json.Unmarshal([]byte(tool(t, "qr", "node", args...)), &got); err != nil || len(got) != len(all) {
		t.Fatalf("%d answers, %v", len(got), err)
	}
	for i, p := range all {
		if got[i] != p.uri {
			t.Errorf("%s: jsQR reads %q, want %q", filepath.Base(p.file), got[i], p.uri)
		}
	}
}

// The codes of another program are good here, whatever the algorithm.
func TestOathtoolMakesTheSameCodes(t *testing.T) {
	needsProgram(t, "oathtool", "GATEWRIGHT_REQUIRE_OATHTOOL")
	for _, algorithm := range []totp.Algorithm{totp.SHA1, totp.SHA256, totp.SHA512} {
		for _, digits := range []int{6, 8} {
			t.Run(fmt.Sprintf("%v, %d digits", algorithm, digits), func(t *testing.T) {
				s := newFactors(t, totp.Config{Issuer: "Example", Algorithm: algorithm, Digits: digits})
				e, err := s.Begin(t.Context(), caller("alice"))
				if err != nil {
					t.Fatal(err)
				}
				code := func(more ...string) string {
					args := []string{"--totp=" + algorithm.String(), "--digits=" + strconv.Itoa(digits), "--base32", e.Secret()}
					return strings.TrimSpace(tool(t, "", "oathtool", slices.Concat(args, more)...))
				}
				if _, err := s.Confirm(t.Context(), caller("alice"), code(), totp.Password(factorPassword)); err != nil {
					t.Errorf("Confirm: %v", err)
				}
				soon := time.Now().Add(30 * time.Second).UTC().Format("2006-01-02 15:04:05 UTC")
				if _, err := s.Verify(t.Context(), "alice", code("--now", soon)); err != nil {
					t.Errorf("Verify: %v", err)
				}
			})
		}
	}
}
