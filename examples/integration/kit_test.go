package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/gatewright/gatewright/auth"
	_ "github.com/gatewright/gatewright/auth/sqlstore"
	_ "github.com/gatewright/gatewright/blacklist"
)

// bin is the folder of the programs that TestMain has built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if os.Getenv(workerVariable) != "" {
			return m.Run()
		}
		folder, err := os.MkdirTemp("", "gatewright-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		bin = folder
		build := exec.Command("go", "build", "-o", folder+string(filepath.Separator), "../server", "../quickstart")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// noticeChanges reads what the programs are made of. The go command repeats an
// old result when nothing has changed that a test has read or imports, and
// does not know what this one builds. The imports above that are not named are
// there for the same reason. Only what is read during a test counts.
var noticeChanges = sync.OnceFunc(func() {
	for _, pattern := range []string{"../go.mod", "../server/*", "../server/*/*", "../server/*/*/*", "../quickstart/*"} {
		files, _ := filepath.Glob(pattern) // the patterns are well formed
		for _, name := range files {
			_, _ = os.ReadFile(name) // it may be a folder
		}
	}
})

// issuer is the same over restarts, whatever the port is.
const issuer = "https://gatewright.test"

// A process is a program that listens.
type process struct {
	cmd    *exec.Cmd
	url    string // without a slash at the end
	curl   string // the line that it printed
	lines  chan string
	stdout *record
	stderr *record
	ended  chan struct{} // closed when it has
	err    error         // of its end
}

// launch starts a program and returns when it has printed its curl line.
func launch(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	p := begin(t, program, env, args...)
	p.ready(t)
	return p
}

// begin starts a program, which is killed at the end of the test.
func begin(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	noticeChanges()
	p := &process{
		cmd:    exec.Command(filepath.Join(bin, program), args...),
		lines:  make(chan string, 1),
		stdout: new(record),
		stderr: new(record),
		ended:  make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = 5 * time.Second
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		scanner := bufio.NewScanner(stdout)
		for found := false; scanner.Scan(); {
			fmt.Fprintln(p.stdout, scanner.Text())
			if line := scanner.Text(); !found && strings.HasPrefix(line, "curl ") {
				found = true
				p.lines <- line
			}
		}
		close(p.lines)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// ready waits for the curl line.
func (p *process) ready(t *testing.T) {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			<-p.ended
			t.Fatalf("%v ended: %v\n%s", p.cmd, p.err, p.stderr)
		}
		p.curl = line
	case <-time.After(30 * time.Second):
		t.Fatalf("%v does not start:\n%s", p.cmd, p.stderr)
	}
	for _, word := range strings.Fields(p.curl) {
		if u, err := url.Parse(word); err == nil && u.Scheme == "http" {
			p.url = "http://" + u.Host
		}
	}
}

// server starts the reference server on the database at path.
func server(t *testing.T, path string) *process {
	t.Helper()
	return launch(t, "server", nil, flags(path)...)
}

func flags(path string) []string {
	// Without limits, for these tests load the server on purpose.
	return []string{"-addr", "127.0.0.1:0", "-issuer", issuer, "-db", path, "-insecure-no-limits"}
}

// kill ends the process as a power cut would, from its point of view.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// password returns the one in the curl line.
func (p *process) password() string {
	_, after, _ := strings.Cut(p.curl, "-d password=")
	return after
}

// A record collects what a process writes.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// client waits for nothing longer than a sign-in may wait for its turn.
var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 300, IdleConnTimeout: 5 * time.Second},
	Timeout:   20 * time.Second,
}

// An answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(ctx context.Context, method, target, contentType, token, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return read(client.Do(req))
}

func read(resp *http.Response, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(data)}, err
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func (p *process) signIn(ctx context.Context, username, password string) (answer, error) {
	form := url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}}
	return send(ctx, "POST", p.url+"/token", formType, "", form.Encode())
}

func (p *process) refresh(ctx context.Context, token string) (answer, error) {
	return send(ctx, "POST", p.url+"/token/refresh", formType, "", url.Values{"refresh_token": {token}}.Encode())
}

func (p *process) register(ctx context.Context, username, password string) (answer, error) {
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	if err != nil {
		return answer{}, err
	}
	return send(ctx, "POST", p.url+"/users/", jsonType, "", string(body))
}

func (p *process) logout(ctx context.Context, access string) (answer, error) {
	return send(ctx, "POST", p.url+"/logout/", "", access, "")
}

func (p *process) changePassword(ctx context.Context, access, current, wanted string) (answer, error) {
	body, err := json.Marshal(map[string]string{"current_password": current, "new_password": wanted})
	if err != nil {
		return answer{}, err
	}
	return send(ctx, "POST", p.url+"/users/me/password", jsonType, access, string(body))
}

// administer disables or enables a user.
func (p *process) administer(ctx context.Context, access, username, what string) (answer, error) {
	return send(ctx, "POST", p.url+"/users/"+username+"/"+what, "", access, "")
}

func (p *process) revoke(ctx context.Context, token string) (answer, error) {
	return send(ctx, "POST", p.url+"/revoke", formType, "", url.Values{"token": {token}}.Encode())
}

// session returns the ID of the session in which access was issued.
func (p *process) session(ctx context.Context, access string) (string, error) {
	a, err := send(ctx, "GET", p.url+"/sessions/", "", access, "")
	if err != nil {
		return "", err
	}
	var all []struct {
		ID      string
		Current bool
	}
	if err := json.Unmarshal([]byte(a.body), &all); err != nil {
		return "", fmt.Errorf("got %d %s: %w", a.status, a.body, err)
	}
	for _, one := range all {
		if one.Current {
			return one.ID, nil
		}
	}
	return "", fmt.Errorf("no session is the current one: %s", a.body)
}

func (p *process) endSession(ctx context.Context, access, id string) (answer, error) {
	return send(ctx, "DELETE", p.url+"/sessions/"+id, "", access, "")
}

func (p *process) logoutAll(ctx context.Context, access string) (answer, error) {
	return send(ctx, "POST", p.url+"/logout/all", "", access, "")
}

func (p *process) me(ctx context.Context, access string) (answer, error) {
	return send(ctx, "GET", p.url+"/users/me", "", access, "")
}

func (p *process) user(ctx context.Context, access, username string) (answer, error) {
	return send(ctx, "GET", p.url+"/users/"+username, "", access, "")
}

// tokens is a pair of them.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// pair reads the answer of a token endpoint.
func (a answer) pair() (tokens, error) {
	var pair tokens
	if err := json.Unmarshal([]byte(a.body), &pair); err != nil || a.status != http.StatusOK || pair.Access == "" || pair.Refresh == "" {
		return tokens{}, fmt.Errorf("got %d %s, want 200 and a pair of tokens", a.status, a.body)
	}
	return pair, nil
}

// want fails the test unless a request was answered with the status.
func want(t *testing.T, status int) func(answer, error) answer {
	return func(a answer, err error) answer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if a.status != status {
			t.Fatalf("got %d %s, want %d", a.status, a.body, status)
		}
		return a
	}
}

// wantPair fails the test unless a request was answered with tokens.
func wantPair(t *testing.T) func(answer, error) tokens {
	return func(a answer, err error) tokens {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		pair, err := a.pair()
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
}
