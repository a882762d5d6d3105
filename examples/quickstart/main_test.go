package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain is the program itself when a test has started this binary again,
// since main does not return.
func TestMain(m *testing.M) {
	if os.Getenv("QUICKSTART") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program returns the quickstart as a process that listens on addr.
func program(t *testing.T, addr string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "QUICKSTART=1", "ADDR="+addr)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

var client = &http.Client{Timeout: 10 * time.Second}

func TestUserSignsInIsGreetedAndSignsOut(t *testing.T) {
	cmd := program(t, "127.0.0.1:0")
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	// curl -s URL -d username=alice -d password=SECRET
	words := strings.Fields(line)
	if len(words) != 7 || words[0] != "curl" {
		t.Fatalf("it prints %q", line)
	}
	at, secret := words[2], strings.TrimPrefix(words[6], "password=")
	base := strings.TrimSuffix(at, "/token")

	sent := func(method, path, token string, form url.Values) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, base+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := sent("GET", "/me", "", nil); status != http.StatusUnauthorized {
		t.Errorf("anonymously: %d %s, want 401", status, body)
	}
	if status, body := sent("POST", "/token", "", url.Values{"username": {"alice"}, "password": {"wrong"}}); status != http.StatusBadRequest {
		t.Errorf("with a wrong password: %d %s, want 400", status, body)
	}
	status, body := sent("POST", "/token", "", url.Values{"username": {"alice"}, "password": {secret}})
	var pair struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(body), &pair); err != nil || status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	if status, body := sent("GET", "/me", pair.Access, nil); status != http.StatusOK || body != "You are user 1.\n" {
		t.Errorf("signed in: %d %s, want a greeting", status, body)
	}
	if status, body := sent("POST", "/logout/", pair.Access, nil); status != http.StatusOK {
		t.Errorf("signing out: %d %s", status, body)
	}
	if status, body := sent("GET", "/me", pair.Access, nil); status != http.StatusUnauthorized {
		t.Errorf("signed out: %d %s, want 401", status, body)
	}
	if status, body := sent("POST", "/token", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {pair.Refresh}}); status != http.StatusBadRequest {
		t.Errorf("refreshing after that: %d %s, want 400", status, body)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for _, text := range []string{secret, pair.Access, pair.Refresh} {
		if strings.Contains(log.String(), text) {
			t.Errorf("the log has %.20q…", text)
		}
	}
	if !strings.Contains(log.String(), "authn_login_success") {
		t.Errorf("the log does not tell of the sign-in:\n%s", log.String())
	}
}

func TestPortInUseEndsTheProgram(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	out, err := program(t, listener.Addr().String()).CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); !exited || strings.Contains(string(out), "curl") {
		t.Errorf("got %v and %s, want a failure before the curl line", err, out)
	}
}
