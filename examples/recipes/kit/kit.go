// Package kit runs a recipe as a process and sends requests to it, for the tests of
// the recipes.
package kit

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const variable = "GATEWRIGHT_RECIPE"

// Main is the TestMain of a recipe: it runs the recipe if [Start] has started the
// test binary, and the tests otherwise.
func Main(m *testing.M, recipe func()) {
	if os.Getenv(variable) == "1" {
		recipe()
		return
	}
	os.Exit(m.Run())
}

// A Process is a recipe that runs.
type Process struct {
	URL  string // as in the first line
	Line string // the first line that it printed
	Log  *strings.Builder
	cmd  *exec.Cmd
}

// Start runs the recipe on a free port, with further variables of the environment,
// until the test ends. It returns when the first line is printed.
func Start(t testing.TB, env []string, args ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd: exec.Command(self, args...), Log: new(strings.Builder)}
	p.cmd.Env = append(append(os.Environ(), variable+"=1", "ADDR=127.0.0.1:0"), env...)
	p.cmd.Stderr = p.Log // read it after the process has ended
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	p.Line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.Kill()
		t.Fatalf("the recipe printed no line: %v\n%s", err, p.Log)
	}
	for _, word := range strings.Fields(p.Line) {
		if u, err := url.Parse(word); err == nil && u.Host != "" {
			p.URL = u.Scheme + "://" + u.Host
		}
	}
	return p
}

// Signal sends a signal to the recipe.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends the recipe.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}

// Client sends the requests of [Do].
var Client = &http.Client{
	Timeout:       20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do sends a request with a body, and headers as "Name: value", and returns status
// and body of the response.
func Do(t testing.TB, method, target, body string, headers ...string) (status int, got string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	} else if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "":
		case "Host":
			r.Host = value
		default:
			r.Header.Set(name, value)
		}
	}
	w, err := Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(b)
}

// Want fails the test unless the response to a request has a status and a part of
// the body. It returns the body.
func Want(t testing.TB, status int, part, method, target, body string, headers ...string) string {
	t.Helper()
	gotStatus, got := Do(t, method, target, body, headers...)
	if gotStatus != status || !strings.Contains(got, part) {
		t.Fatalf("%s %s: %d %s, want %d with %q", method, target, gotStatus, got, status, part)
	}
	return got
}
