package integration

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// shell runs a printed line as it stands.
func shell(t *testing.T, line string) string {
	t.Helper()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

func TestPrintedCurlLineSignsIn(t *testing.T) {
	ctx := t.Context()
	for _, addr := range []string{"127.0.0.1:0", ":0"} {
		t.Run(addr, func(t *testing.T) {
			p := launch(t, "server", nil, "-addr", addr, "-db", filepath.Join(t.TempDir(), "a b", "server.db"))
			pair := wantPair(t)(answer{status: http.StatusOK, body: shell(t, p.curl)}, nil)
			want(t, http.StatusOK)(p.me(ctx, pair.Access))
		})
	}
}

func TestQuickstartSignsInAndOut(t *testing.T) {
	ctx := t.Context()
	p := launch(t, "quickstart", []string{"ADDR=127.0.0.1:0"})
	pair := wantPair(t)(answer{status: http.StatusOK, body: shell(t, p.curl)}, nil)
	me := func() answer {
		a, err := send(ctx, "GET", p.url+"/me", "", pair.Access, "")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if got := me(); got.status != http.StatusOK || got.body != "You are user 1.\n" {
		t.Errorf("signed in: %d %s", got.status, got.body)
	}
	want(t, http.StatusOK)(p.logout(ctx, pair.Access))
	if got := me(); got.status != http.StatusUnauthorized {
		t.Errorf("signed out: %d %s, want 401", got.status, got.body)
	}
	if strings.Contains(p.stderr.String(), p.password()) {
		t.Error("the log has the password")
	}
}

func TestOAuth2PackageSignsInAndRefreshes(t *testing.T) {
	p := server(t, filepath.Join(t.TempDir(), "server.db"))
	for _, tt := range []struct {
		name  string
		style oauth2.AuthStyle
	}{
		{"with its client ID in the form", oauth2.AuthStyleInParams},
		{"with its client ID in the header", oauth2.AuthStyleInHeader},
		{"finding out by itself", oauth2.AuthStyleAutoDetect},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client)
			config := &oauth2.Config{
				ClientID: "first-party",
				Endpoint: oauth2.Endpoint{TokenURL: p.url + "/token", AuthStyle: tt.style},
				Scopes:   []string{"read:items"},
			}
			refusedWith := func(err error, code string) {
				t.Helper()
				var refused *oauth2.RetrieveError
				if !errors.As(err, &refused) || refused.ErrorCode != code {
					t.Errorf("got %v, want the error code %s", err, code)
				}
			}
			_, err := config.PasswordCredentialsToken(ctx, "alice", "wrong")
			refusedWith(err, "invalid_grant")

			first, err := config.PasswordCredentialsToken(ctx, "alice", p.password())
			if err != nil {
				t.Fatal(err)
			}
			if first.Type() != "Bearer" || first.RefreshToken == "" || first.Extra("scope") != "read:items" ||
				time.Until(first.Expiry) < 10*time.Minute || time.Until(first.Expiry) > 16*time.Minute {
				t.Errorf("got type %s, scope %v, expiry %v", first.Type(), first.Extra("scope"), first.Expiry)
			}

			// As if a quarter of an hour had passed.
			stale := *first
			stale.Expiry = time.Now().Add(-time.Minute)
			source := config.TokenSource(ctx, &stale)
			second, err := source.Token()
			if err != nil {
				t.Fatal(err)
			}
			if second.AccessToken == first.AccessToken || second.RefreshToken == first.RefreshToken {
				t.Error("a token is the same as before the refresh")
			}
			if again, err := source.Token(); err != nil || again.AccessToken != second.AccessToken {
				t.Errorf("a good token was refreshed too (%v)", err)
			}
			resp, err := oauth2.NewClient(ctx, source).Get(p.url + "/users/me")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("GET /users/me: %s", resp.Status)
			}

			want(t, http.StatusOK)(p.logout(ctx, second.AccessToken))
			stale = *second
			stale.Expiry = time.Now().Add(-time.Minute)
			_, err = config.TokenSource(ctx, &stale).Token()
			refusedWith(err, "invalid_grant")
		})
	}
}

// needsNode skips a test if node is missing, or a library in the node_modules of a
// folder.
func needsNode(t *testing.T, folder, library string) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("GATEWRIGHT_REQUIRE_NODE") == "1" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("needs node: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", library)); err != nil {
		missing("needs %s, run npm --prefix examples/integration/%s ci: %v", library, folder, err)
	}
}

func TestOAuth4WebAPIFindsAndUsesEveryEndpoint(t *testing.T) {
	needsNode(t, "jose", "oauth4webapi")
	// The issuer is where the server is: what the metadata says is used.
	p := launch(t, "server", nil, "-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "server.db"))
	admin := wantPair(t)(p.signIn(t.Context(), "admin", p.password()))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "client.mjs", p.url, "alice", p.password(), admin.Access)
	cmd.Dir = "jose"
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v, after\n%s", err, out)
	}

	wants := []map[string]any{
		{"step": "challenge", "scheme": "bearer", "error": "invalid_token", "resource_metadata": p.url + "/.well-known/oauth-protected-resource"},
		{"step": "resource", "resource": p.url},
		{"step": "server", "issuer": p.url, "token_endpoint": p.url + "/token", "revocation_endpoint": p.url + "/revoke",
			"introspection_endpoint": p.url + "/introspect", "jwks_uri": p.url + "/.well-known/jwks.json"},
		{"step": "signed in", "token_type": "bearer", "scope": "read:items"},
		{"step": "introspected", "active": true, "sub": "1", "scope": "read:items", "iss": p.url, "client_id": "first-party"},
		{"step": "refreshed", "token_type": "bearer", "scope": "read:items", "replaced": true},
		{"step": "used", "status": 200.0, "username": "alice"},
		{"step": "revoked the access token", "active": false},
		{"step": "refreshed again", "active": true, "sub": "1"},
		{"step": "revoked the refresh token", "active": false},
		{"step": "refused", "error": "invalid_grant", "status": 400.0},
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(wants) {
		t.Fatalf("%d steps, want %d:\n%s", len(lines), len(wants), out)
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for name, value := range wants[i] {
			if got[name] != value {
				t.Errorf("%s: %s is %v, want %v", line, name, got[name], value)
			}
		}
	}
}

func TestJoseVerifiesATokenWithThePublishedKeys(t *testing.T) {
	needsNode(t, "jose", "jose")
	p := server(t, filepath.Join(t.TempDir(), "server.db"))
	pair := wantPair(t)(p.signIn(t.Context(), "alice", p.password()))
	verify := func(token, issuer, audience string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "node", "verify.mjs", p.url+"/.well-known/jwks.json", issuer, audience)
		cmd.Dir = "jose"
		cmd.Stdin = strings.NewReader(token)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	out, err := verify(pair.Access, issuer, issuer)
	var claims struct{ Sub, Scope, Jti, Sid string }
	if err := errors.Join(err, json.Unmarshal([]byte(out), &claims)); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if claims.Sub != "1" || claims.Scope != "read:items write:items" || claims.Jti == "" || claims.Sid == "" {
		t.Errorf("jose reads %s", out)
	}

	// The check itself can fail.
	forged := []byte(pair.Access)
	if c := &forged[len(forged)-10]; *c == 'A' {
		*c = 'B'
	} else {
		*c = 'A'
	}
	for _, tt := range []struct{ name, token, issuer, audience, code string }{
		{"a forged token", string(forged), issuer, issuer, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{"another audience", pair.Access, issuer, "https://other.test", "ERR_JWT_CLAIM_VALIDATION_FAILED"},
		{"a refresh token", pair.Refresh, issuer, issuer, "ERR_JOSE_ALG_NOT_ALLOWED"},
	} {
		if out, err := verify(tt.token, tt.issuer, tt.audience); err == nil || out != tt.code {
			t.Errorf("%s: jose says %s (%v), want %s", tt.name, out, err, tt.code)
		}
	}
}
