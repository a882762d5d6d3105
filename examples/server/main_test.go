package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process is run in a goroutine.
type process struct {
	url         string
	out, stderr *record
	stop        context.CancelFunc
	done        chan error // what run returned
}

// start runs the server until the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{out: new(record), stderr: new(record), stop: cancel, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.done <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), p.out, p.stderr)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for range 3000 {
		if text := p.out.String(); strings.HasPrefix(text, "curl ") {
			_, after, _ := strings.Cut(text, "listens on ")
			p.url, _, _ = strings.Cut(after, "\n")
			return p
		}
		select {
		case err := <-p.done:
			t.Fatalf("the server ended: %v\n%s", err, p.stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("the server does not start:\n%s", p.stderr.String())
	return nil
}

// refusedToStart returns what a server printed that must not start, and its
// error.
func refusedToStart(t *testing.T, args ...string) (printed string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var out record
	if err = run(ctx, args, &out, &out); err == nil {
		t.Fatalf("the server started:\n%s", out.String())
	}
	return out.String(), err
}

// stopped waits for run to return.
func (p *process) stopped(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(25 * time.Second):
		t.Fatal("the server does not end")
		return nil
	}
}

// fromTemplate returns the path of a database with the demo users.
func fromTemplate(t *testing.T) string {
	t.Helper()
	file, keys := template()
	path := filepath.Join(t.TempDir(), "server.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSecrets(path+".secrets", keys); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadFlagsAreRefused(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	for _, tt := range []struct {
		name string
		args []string
		says string // a part of the error
		not  string // no part of the error
	}{
		{"an unknown flag", []string{"-bogus"}, "bogus", ""},
		{"an argument", []string{"-db", "x.db", "serve"}, `unexpected argument "serve"`, ""},
		{"a certificate without a key", []string{"-tls-cert", "c.pem"}, "-tls-key", ""},
		{"a key without a certificate", []string{"-tls-key", "k.pem"}, "-tls-cert", ""},
		{"a database server of another kind", []string{"-db", "mysql://user:hunter2@db.example/x"}, "SQLite", "hunter2"},
		{"PostgreSQL without secrets", []string{"-db", "postgres://user:hunter2@db.example/x"}, "-secrets", "hunter2"},
		{"PostgreSQL in no URL", []string{"-db", "postgres://user:hunter2/3@db.example/x", "-secrets", "s"}, "-db", "hunter2"},
		{"PostgreSQL with a setting that there is not", []string{"-db", "postgres://db.example/x?sslmode=hunter2", "-secrets", "s"}, "-db", "hunter2"},
		{"PostgreSQL that does not answer", []string{"-addr", "127.0.0.1:0", "-db", "postgres://user:hunter2@127.0.0.1:1/x?password=hunter2", "-secrets", filepath.Join(t.TempDir(), "s")}, "-db postgres://127.0.0.1:1/x", "hunter2"},
		{"PostgreSQL and a file of revocations", []string{"-db", "postgres://db.example/x", "-secrets", "s", "-revocations", "r"}, "-revocations r", ""},
		{"a Redis in no URL", []string{"-db", "x.db", "-redis", "redis://user:hunter2/3@redis.example"}, "-redis", "hunter2"},
		{"a Redis of another kind", []string{"-db", "x.db", "-redis", "http://user:hunter2@redis.example"}, "-redis", "hunter2"},
		{"a Redis with a setting that there is not", []string{"-db", "x.db", "-redis", "redis://redis.example?hunter2=1"}, "-redis", "hunter2"},
		{"a Redis that does not answer and is needed", []string{"-addr", "127.0.0.1:0", "-db", fromTemplate(t), "-redis", "redis://:hunter2@127.0.0.1:1", "-sessions", "redis"}, "-redis redis://127.0.0.1:1/0", "hunter2"},
		{"sessions in a Redis that is not named", []string{"-db", "x.db", "-sessions", "redis"}, "-sessions redis: -redis is needed", ""},
		{"revocations in a Redis that is not named", []string{"-db", "x.db", "-revocations", "redis"}, "-revocations redis: -redis is needed", ""},
		{"factors nowhere", []string{"-db", "x.db", "-factors", "file"}, "-factors", ""},
		{"an URL that no flag was given for", []string{"-db", "x.db", "redis://user:hunter2@redis.example"}, "unexpected argument", "hunter2"},
		{"an address that is none", []string{"-addr", "nowhere", "-db", "x.db"}, "nowhere", ""},
		{"no home to keep a database in", nil, "-db", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			printed, err := refusedToStart(t, tt.args...)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
			if tt.not != "" && strings.Contains(err.Error()+printed, tt.not) {
				t.Errorf("%v repeats the password", err)
			}
		})
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var out record
	if err := run(t.Context(), []string{"-help"}, io.Discard, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want flag.ErrHelp", err)
	}
	for _, name := range []string{"-addr", "-issuer", "-db", "-secrets", "-redis", "-revocations", "-sessions", "-factors", "-limit-timeout", "-tls-cert", "-tls-key", "-routes"} {
		if !strings.Contains(out.String(), "  "+name+" ") && !strings.Contains(out.String(), "  "+name+"\n") {
			t.Errorf("%s is not in the help:\n%s", name, out.String())
		}
	}
}

func TestPortInUseIsAnErrorBeforeAnythingIsMade(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	folder := t.TempDir()
	refusedToStart(t, "-addr", listener.Addr().String(), "-db", filepath.Join(folder, "x.db"))
	if files, err := os.ReadDir(folder); err != nil || len(files) > 0 {
		t.Errorf("made %v (%v)", files, err)
	}
}

func TestFirstStartMakesADatabaseThatTheSecondStartUses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "server.db")
	first := start(t, "-db", path)
	_, password, _ := strings.Cut(first.out.String(), "-d password=")
	password, _, _ = strings.Cut(password, "\n")
	pair := (&site{url: first.url}).signIn(t, "alice", password)
	first.stop()
	if err := first.stopped(t); err != nil {
		t.Fatalf("the first: %v", err)
	}
	second := start(t, "-db", path, "-issuer", first.url)
	if !strings.Contains(second.out.String(), "password="+password+"\n") {
		t.Error("the second start prints another password")
	}
	s := &site{url: second.url}
	s.signIn(t, "alice", password)
	if got := s.me(t, pair.Access); got.status != http.StatusOK {
		t.Errorf("the token of the first start: %d %s", got.status, got.body)
	}
	s.refresh(t, pair.Refresh).tokens(t)
}

// certificate writes a certificate for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der := must(x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key))
	folder := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(folder, name)
		check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	pool = x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))), pool
}

func TestServerSpeaksTLS(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	p := start(t, "-db", fromTemplate(t), "-tls-cert", certFile, "-tls-key", keyFile)
	if !strings.HasPrefix(p.url, "https://") || !strings.HasPrefix(p.out.String(), "curl -s -k https://") {
		t.Errorf("it prints\n%s", p.out.String())
	}
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer secure.CloseIdleConnections()
	resp, err := secure.Get(p.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("got %s over %s, want 200 over HTTP/2", resp.Status, resp.Proto)
	}
	// RFC 9325 section 3.1.1: nothing before TLS 1.2.
	old, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 was accepted")
	}
	if a, err := do("GET", "http://"+strings.TrimPrefix(p.url, "https://")+"/healthz", ""); err == nil && a.status == http.StatusOK {
		t.Error("plain HTTP was answered")
	}
}

func TestCertificateThatCannotBeReadEndsTheServer(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.pem")
	_, err := refusedToStart(t, "-addr", "127.0.0.1:0", "-db", fromTemplate(t), "-tls-cert", missing, "-tls-key", missing)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}

func TestEveryLimitOfTheServerIsSet(t *testing.T) {
	s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 || s.ErrorLog == nil {
		t.Errorf("a limit is missing: %+v", s)
	}
	// An answer must be possible after the slowest request that is read.
	if s.WriteTimeout <= s.ReadTimeout {
		t.Errorf("WriteTimeout is %v, not more than ReadTimeout, %v", s.WriteTimeout, s.ReadTimeout)
	}
	if longestRequest <= s.ReadTimeout || longestRequest >= s.WriteTimeout {
		t.Errorf("a request may take %v, want more than ReadTimeout and less than WriteTimeout", longestRequest)
	}
}

func TestHeaderOf64KiBIsRefused(t *testing.T) {
	p := start(t, "-db", fromTemplate(t))
	for _, line := range []string{
		"X-Long: " + strings.Repeat("x", 64<<10),
		bearer(strings.Repeat("x", 64<<10)),
	} {
		if got, err := do("GET", p.url+"/healthz", "", line); err != nil || got.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%.20s…: got %d %v, want 431", line, got.status, err)
		}
	}
	// A header of usual size that is too long for a token is not an error of
	// the server either.
	if got, err := do("GET", p.url+"/users/me", "", bearer(strings.Repeat("x", 12<<10))); err != nil || got.status != http.StatusUnauthorized {
		t.Errorf("a token of 12 KiB: got %d %v, want 401", got.status, err)
	}
}

func TestRequestInFlightFinishesBeforeTheServerEnds(t *testing.T) {
	p := start(t, "-db", fromTemplate(t))
	addr := strings.TrimPrefix(p.url, "http://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	body := `{"username":"late","password":"` + testPassword + `"}`
	fmt.Fprintf(conn, "POST /users/ HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", addr, len(body))
	reader := bufio.NewReader(conn)
	// The handler asks for the body: the request is in flight.
	if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("got %q, %v; want 100 Continue", line, err)
	}
	if _, err := reader.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.stop()
	// Once nobody new is let in, the server is about to end.
	for range 1000 {
		probe, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		probe.Close()
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatalf("the request was cut off: %v", err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("got %s %s, %v; want 201", resp.Status, text, err)
	}
	if err := p.stopped(t); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

func TestLogOfAWholeSessionHasNoSecret(t *testing.T) {
	path := fromTemplate(t)
	_, keys := template()
	p := start(t, "-db", path)
	s := &site{url: p.url}
	const wrong = "wr0ng-but-almost-right"
	secret := []string{
		keys.DemoPassword, testPassword, newTestPassword, wrong, "sh0rt-and-new",
		base64.StdEncoding.EncodeToString(keys.RefreshKey),
		base64.StdEncoding.EncodeToString(keys.SigningKey)[:40],
		"argon2id",
	}
	keep := func(pair tokens) tokens {
		for _, token := range []string{pair.Access, pair.Refresh} {
			// Neither the whole nor the part that makes it good.
			secret = append(secret, token, token[strings.LastIndexByte(token, '.')+1:])
		}
		return pair
	}
	token := func(pairs ...string) answer { return s.do(t, "POST", "/token", form(pairs...), formType) }

	s.register(t, map[string]string{"username": "logged", "password": testPassword})
	s.register(t, map[string]string{"username": "logged", "password": testPassword})
	s.register(t, map[string]string{"username": "..", "password": testPassword})
	s.register(t, `{"username":"x","password":"`+testPassword+`"`)
	first := keep(s.signIn(t, "logged", testPassword))
	keep(s.signIn(t, "alice", keys.DemoPassword))
	admin := keep(s.signIn(t, "admin", keys.DemoPassword))
	changing := keep(s.signIn(t, "alice", keys.DemoPassword))
	s.changePassword(t, changing.Access, wrong, newTestPassword)
	s.changePassword(t, changing.Access, keys.DemoPassword, "sh0rt-and-new")
	s.changePassword(t, changing.Access, keys.DemoPassword, newTestPassword)
	s.do(t, "POST", "/introspect", form("token", changing.Access), formType, bearer(admin.Access))
	s.do(t, "POST", "/introspect?token="+changing.Access, "", formType, bearer(admin.Access))
	s.do(t, "POST", "/revoke", form("token", changing.Refresh), formType)
	s.do(t, "POST", "/revoke?token="+changing.Refresh, "", formType)
	s.administer(t, admin.Access, "alice", "disable")
	token("username", "logged", "password", wrong)
	token("username", "nobody", "password", wrong)
	token("grant_type", wrong, "password", wrong)
	token("username", "logged", "password", wrong, "scope", "admin")
	s.do(t, "POST", "/token?username=logged&password="+wrong, "", formType)
	s.do(t, "POST", "/token/refresh?refresh_token="+first.Refresh, "", formType)
	s.me(t, first.Access)
	s.me(t, first.Refresh)
	s.me(t, first.Access+"x")
	s.do(t, "GET", "/users/me?access_token="+first.Access, "", bearer(first.Access))
	s.do(t, "GET", "/users/me", "", bearer(first.Access), bearer(first.Access))
	s.do(t, "GET", "/users/me", "", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("logged:"+testPassword)))
	s.do(t, "POST", "/token", form("username", "logged", "password", testPassword), formType, "Authorization: Basic "+first.Access)
	s.do(t, "GET", "/users/me", "", "Cookie: token="+first.Access)
	second := keep(s.refresh(t, first.Refresh).tokens(t))
	third := keep(s.refresh(t, second.Refresh).tokens(t))
	s.refresh(t, first.Refresh) // a reuse, which ends the session
	s.refresh(t, third.Refresh)
	s.me(t, third.Access)
	s.refresh(t, first.Refresh+"x")
	s.refresh(t, wrong)
	last := keep(s.signIn(t, "logged", testPassword))
	s.do(t, "POST", "/logout/", "", bearer(last.Access))
	s.me(t, last.Access)
	p.stop()
	if err := p.stopped(t); err != nil {
		t.Fatal(err)
	}

	log := p.stderr.String()
	for _, text := range secret {
		if text != "" && strings.Contains(log, text) {
			t.Errorf("the log has %.30q…", text)
		}
	}
	// Neither has the audit trail.
	for _, r := range must(rowsAfter(t.Context(), openTestDatabase(t, path), 0, 1000)) {
		for _, text := range secret {
			if text != "" && strings.Contains(r.event+r.login+r.target+r.subject, text) {
				t.Errorf("row %d of the audit trail has %.30q…", r.seq, text)
			}
		}
	}
	// It is a log all the same.
	for _, name := range []string{"authn_login_success", "authn_login_fail", "authn_token_created", "authn_token_reuse", "authn_token_revoked", "authn_password_change", "authz_change", "user_created", "input_validation_fail", "msg=request"} {
		if !strings.Contains(log, name) {
			t.Errorf("the log does not tell of %s", name)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
	// Standard output has the demo password, on purpose, and nothing else.
	for _, text := range secret[1:] {
		if strings.Contains(p.out.String(), text) {
			t.Errorf("standard output has %.30q…", text)
		}
	}
}

func TestNothingFromOutsideBeginsALineOfTheLog(t *testing.T) {
	s := openSite(t)
	s.do(t, "POST", "/token", form("username", "x\nlevel=INFO msg=authn_login_success login=admin", "password", "x"), formType,
		"User-Agent: a b\tc\"d")
	s.do(t, "GET", "/users/a%0alevel=INFO%20msg=forged", "")
	s.do(t, "GET", "/%1b%5b2J%0d%0aforged", "")
	for line := range strings.Lines(s.log.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log is %q", line)
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\r\x00") {
			t.Errorf("a line of the log has control characters: %q", line)
		}
	}
}
