package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The OpenAPI document as other tools read it, which are packages of npm.

// npm runs a program of examples/integration/openapi/node_modules in a folder.
func npm(t *testing.T, folder, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	path, err := filepath.Abs(filepath.Join("openapi", "node_modules", ".bin", program))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true", "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// servedDocument starts a server and returns the file of its /openapi.json.
func servedDocument(t *testing.T) (*process, string) {
	t.Helper()
	p := launch(t, "server", nil, "-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "server.db"))
	document := want(t, http.StatusOK)(send(t.Context(), "GET", p.url+"/openapi.json", "", "", ""))
	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, []byte(document.body), 0o600); err != nil {
		t.Fatal(err)
	}
	return p, file
}

func TestLintersFindNoErrorInTheOpenAPIDocument(t *testing.T) {
	needsNode(t, "openapi", "@redocly/cli")
	_, file := servedDocument(t)
	// The check itself can fail.
	broken := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(broken, []byte(`{"openapi":"3.1.0","info":{},"paths":{"/a":{"get":{}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, linter := range [][]string{
		{"spectral", "lint", "--fail-severity=error"},
		{"redocly", "lint", "--config=redocly.yaml", "--format=stylish"},
	} {
		if out, err := npm(t, "openapi", linter[0], append(linter[1:], file)...); err != nil {
			t.Errorf("%s: %v\n%s", linter[0], err, out)
		}
		if out, err := npm(t, "openapi", linter[0], append(linter[1:], broken)...); err == nil {
			t.Errorf("%s accepts a broken document:\n%s", linter[0], out)
		}
	}
}

func TestGeneratedClientSignsInAndCallsRoutes(t *testing.T) {
	needsNode(t, "openapi", "openapi-typescript")
	p, file := servedDocument(t)
	// The generated files are beside a copy of the client.
	folder := t.TempDir()
	for _, name := range []string{"client.ts", "tsconfig.json", "package.json"} {
		content, err := os.ReadFile(filepath.Join("openapi", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	modules, err := filepath.Abs(filepath.Join("openapi", "node_modules"))
	if err == nil {
		err = os.Symlink(modules, filepath.Join(folder, "node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range [][]string{{"openapi-typescript", file, "-o", "schema.d.ts"}, {"tsc"}} {
		if out, err := npm(t, folder, step[0], step[1:]...); err != nil {
			t.Fatalf("%s: %v\n%s", step[0], err, out)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "client.js", p.url, "alice", p.password())
	cmd.Dir = folder
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v, after\n%s", err, out)
	}
	wants := []map[string]any{
		{"step": "signed in", "status": 200.0, "token_type": "bearer", "scope": "read:items write:items"},
		{"step": "me", "status": 200.0, "username": "alice"},
		{"step": "added", "status": 201.0, "name": "a chair"},
		{"step": "refused", "status": 403.0, "code": "forbidden"},
		{"step": "signed out", "status": 200.0},
		{"step": "after", "status": 401.0, "code": "invalid_token"},
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
