package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/blacklist"
)

const (
	testIssuer   = "https://server.test"
	testPassword = "a quite usual passphrase" // of users whom tests register
)

// testSettings are without limits, for tests that are about something else.
var testSettings = settings{demo: true, issuer: testIssuer, hosts: []string{"127.0.0.1"}, insecureNoLimits: true}

// quick hashes passwords with next to no work, for tests that are about
// something else. Those that call run have the real parameters.
var quick = sync.OnceValue(func() *password.Hasher {
	return must(password.New(password.Config{
		Argon2id:         password.Argon2id{Memory: 64, Passes: 1, Lanes: 1},
		InsecureArgon2id: true,
	}))
})

// template is a database with the demo users, and the secrets that belong to
// it. It is made once and copied for each test.
var template = sync.OnceValues(func() ([]byte, *secrets) {
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "server-test-"))
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "server.db")
	db := must(openDatabase(ctx, path))
	keys := must(newSecrets())
	app := must(newApp(db, keys, quick(), testSettings, slog.New(slog.DiscardHandler)))
	ctx, stop := context.WithCancel(ctx)
	check(app.start(ctx, keys))
	stop()
	app.following.Wait()
	app.closeWays()
	// The last one to close leaves everything in this one file.
	check(db.Close())
	keys.fresh = false // each start with them is a second one
	return must(os.ReadFile(path)), keys
})

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A site is a running server with a database and a log of its own.
type site struct {
	*app
	db   *sql.DB
	path string // of the database, if it is a file
	keys *secrets
	url  string
	log  *record
}

func openSite(t *testing.T) *site {
	t.Helper()
	return openSiteAs(t, testSettings)
}

func openSiteAs(t *testing.T, how settings) *site {
	t.Helper()
	s := &site{log: new(record)}
	if onPostgres != nil {
		s.db, s.keys = onPostgres(t, &how)
	} else {
		s.db, s.path, s.keys = onFile(t, &how)
	}
	var err error
	if s.app, err = newApp(s.db, s.keys, quick(), how, slog.New(slog.NewTextHandler(s.log, nil))); err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(t.Context())
	if err := s.start(following, s.keys); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); s.following.Wait(); s.closeWays() })
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// onFile is a copy of the template, and a file of revocations beside it.
func onFile(t *testing.T, how *settings) (*sql.DB, string, *secrets) {
	t.Helper()
	file, keys := template()
	path := filepath.Join(t.TempDir(), "server.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db := openTestDatabase(t, path)
	if how.revocations == nil {
		revocations, err := blacklist.OpenFile(path+".revocations", blacklist.FileConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := revocations.Close(); err != nil {
				t.Error(err)
			}
		})
		how.revocations = revocations
	}
	return db, path, keys
}

func openTestDatabase(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := openDatabase(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// numbered is a query with $1, $2 and so on for the placeholders of SQLite.
func numbered(query string) string {
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", "$"+strconv.Itoa(n), 1)
	}
	return query
}

// exec changes the database behind the server's back.
func (s *site) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	result, err := s.db.ExecContext(t.Context(), numbered(statement), args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s: changed %d rows (%v)", statement, n, err)
	}
}

// count returns the one number that a query selects.
func (s *site) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), numbered(query), args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// client does not follow redirects and keeps a connection for each of the many
// who ask at once.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: 5 * time.Second},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       50 * time.Second,
}

// An answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; the headers are "Name: value" lines.
func do(method, target, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	observed.Store(observation{method, req.URL.Path, resp.StatusCode}, true)
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(data)}, err
}

func (s *site) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	a, err := do(method, s.url+path, body, headers...)
	if err != nil {
		t.Fatalf("%s %.80s: %v", method, path, err)
	}
	return a
}

// late is do with a body that is sent after the guards have let the request
// pass and between has returned.
func (s *site) late(t *testing.T, path, body string, between func(), headers ...string) answer {
	t.Helper()
	sent, late := io.Pipe()
	req := must(http.NewRequest("POST", s.url+path, sent))
	for _, line := range append(headers, "Expect: 100-continue") {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	begun := make(chan struct{})
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }}))
	go func() {
		<-begun // the handler reads
		between()
		_, _ = io.WriteString(late, body)
		late.Close()
	}()
	transport := &http.Transport{ExpectContinueTimeout: 20 * time.Second}
	defer transport.CloseIdleConnections()
	resp := must(transport.RoundTrip(req))
	defer resp.Body.Close()
	observed.Store(observation{req.Method, req.URL.Path, resp.StatusCode}, true)
	data := must(io.ReadAll(resp.Body))
	return answer{resp.StatusCode, resp.Header, string(data)}
}

const (
	formType = "Content-Type: application/x-www-form-urlencoded"
	jsonType = "Content-Type: application/json"
)

func bearer(token string) string { return "Authorization: Bearer " + token }

// form encodes pairs of names and values.
func form(pairs ...string) string {
	values := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// tokens is the answer of the token endpoints, the parts that tests need.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
}

func (a answer) tokens(t *testing.T) tokens {
	t.Helper()
	var all tokens
	if err := json.Unmarshal([]byte(a.body), &all); err != nil || a.status != http.StatusOK || all.Access == "" || all.Refresh == "" {
		t.Fatalf("got %d %s, want 200 and a pair of tokens", a.status, a.body)
	}
	return all
}

// refused fails the test unless a is the OAuth error of that code.
func (a answer) refused(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.code() != code {
		t.Errorf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
}

// code returns the error code of either kind of body, OAuth's or a problem.
func (a answer) code() string {
	var body struct{ Error, Code string }
	_ = json.Unmarshal([]byte(a.body), &body) // not JSON: no code
	return body.Error + body.Code
}

func (s *site) signIn(t *testing.T, username, password string, more ...string) tokens {
	t.Helper()
	pairs := append([]string{"grant_type", "password", "username", username, "password", password}, more...)
	return s.do(t, "POST", "/token", form(pairs...), formType).tokens(t)
}

func (s *site) signInAlice(t *testing.T) tokens {
	t.Helper()
	return s.signIn(t, "alice", s.keys.DemoPassword)
}

func (s *site) refresh(t *testing.T, token string) answer {
	t.Helper()
	return s.do(t, "POST", "/token/refresh", form("refresh_token", token), formType)
}

// me is GET /users/me.
func (s *site) me(t *testing.T, access string) answer {
	t.Helper()
	return s.do(t, "GET", "/users/me", "", bearer(access))
}

// register is POST /users/ with JSON made of v, or v itself if it is a string.
func (s *site) register(t *testing.T, v any) answer {
	t.Helper()
	body, ok := v.(string)
	if !ok {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		body = string(data)
	}
	return s.do(t, "POST", "/users/", body, jsonType)
}

// A record is a log or standard output that can be read while it is written.
type record struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	written chan struct{} // closed at the next write; nil: nothing waits
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.written != nil {
		close(r.written)
		r.written = nil
	}
	return r.buffer.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buffer.String()
}

// await waits until what is written fulfils a condition, which it looks at after each
// write, and returns false if it takes longer than half a minute.
func (r *record) await(fulfils func(text string) bool) bool {
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		r.mu.Lock()
		text := r.buffer.String()
		if r.written == nil {
			r.written = make(chan struct{})
		}
		written := r.written
		r.mu.Unlock()
		if fulfils(text) {
			return true
		}
		select {
		case <-written:
		case <-late.C:
			return false
		}
	}
}
