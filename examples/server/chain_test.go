package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers/headerstest"
)

const testOrigin = "https://app.test"

// chained are the settings of a server with everything in front of it.
var chained = settings{
	issuer:         testIssuer,
	hosts:          []string{"127.0.0.1"},
	trustedProxies: []string{"192.0.2.1"}, // nobody is
	corsOrigins:    []string{testOrigin},
}

// behind returns the settings of a server whose clients come through a proxy.
func behind(s settings) settings {
	s.trustedProxies = []string{"127.0.0.1"}
	return s
}

// secured fails the test unless the answer has the security headers.
func (a answer) secured(t *testing.T, what string) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"X-Xss-Protection":             "0",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
	} {
		if got := a.header.Values(name); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %d with %s %q, want %s once", what, a.status, name, got, want)
		}
	}
}

// A page of an allowed origin can read why it was refused, whatever refused it.
func TestEveryErrorHasTheHeadersOfSecurityAndCORS(t *testing.T) {
	s := openSiteAs(t, chained)
	alice := s.signInAlice(t)
	origin := "Origin: " + testOrigin
	for range 5 {
		s.do(t, "GET", "/limited/", "")
	}
	for _, tt := range []struct {
		status             int
		method, path, body string
		headers            []string
	}{
		{200, "GET", "/healthz", "", nil},
		{307, "GET", "/limited", "", nil},
		{400, "POST", "/token", "username=%zz", []string{formType}},
		{400, "GET", "/users/me", "", []string{bearer(alice.Access), bearer(alice.Access)}},
		{401, "GET", "/users/me", "", nil},
		{401, "GET", "/users/me", "", []string{bearer("x")}},
		{401, "GET", "/protected/", "", nil},
		{403, "POST", "/moderate/", "", []string{bearer(alice.Access)}},
		{404, "GET", "/nothing", "", nil},
		{405, "POST", "/healthz", "", nil},
		{409, "POST", "/users/", `{"username":"alice","password":"` + testPassword + `"}`, []string{jsonType}},
		{413, "POST", "/users/", strings.Repeat(" ", 17<<10) + "{}", []string{jsonType}},
		{415, "POST", "/users/", "x", nil},
		{422, "POST", "/users/", "{}", []string{jsonType}},
		{429, "GET", "/limited/", "", nil},
	} {
		what := fmt.Sprintf("%d %s %s", tt.status, tt.method, tt.path)
		got := s.do(t, tt.method, tt.path, tt.body, append(tt.headers, origin)...)
		if got.status != tt.status {
			t.Errorf("%s: got %d %s", what, got.status, got.body)
		}
		got.secured(t, what)
		if allowed := got.header.Values("Access-Control-Allow-Origin"); !slices.Equal(allowed, []string{testOrigin}) {
			t.Errorf("%s: Access-Control-Allow-Origin is %q", what, allowed)
		}
		other := s.do(t, tt.method, tt.path, tt.body, append(tt.headers, "Origin: https://evil.test")...)
		if allowed := other.header.Values("Access-Control-Allow-Origin"); len(allowed) > 0 {
			t.Errorf("%s: Access-Control-Allow-Origin is %q for another origin", what, allowed)
		}
	}
	// The database is gone.
	check(s.db.Close())
	got := s.do(t, "GET", "/users/me", "", bearer(alice.Access), origin)
	got.has(t, "without a database", 503, "unavailable")
	got.secured(t, "503")
	if got.header.Get("Access-Control-Allow-Origin") != testOrigin {
		t.Error("503 without CORS headers")
	}
}

// withHandler serves h behind the whole chain and a mux of our own, at GET /.
func withHandler(t *testing.T, how settings, h http.HandlerFunc) *site {
	t.Helper()
	s := openSiteAs(t, how)
	mux := guard.NewMux(s.hooks, s.apiKeys)
	mux.Handle("GET /", guard.Public("a test")(h))
	server := httptest.NewServer(s.chain(mux))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func TestPanicIsAnsweredWithAllHeadersAndNoWordOfIt(t *testing.T) {
	s := withHandler(t, chained, func(http.ResponseWriter, *http.Request) { panic("the secret is 42") })
	got := s.do(t, "GET", "/", "", "Origin: "+testOrigin)
	got.has(t, "a panic", 500, "internal_error")
	got.secured(t, "500")
	if got.header.Get("Access-Control-Allow-Origin") != testOrigin {
		t.Error("500 without CORS headers")
	}
	if log := s.log.String(); strings.Contains(log, "is 42") || strings.Contains(got.body, "42") || !strings.Contains(log, "a handler panicked") || !strings.Contains(log, "status=500") {
		t.Errorf("the log is %s", log)
	}
}

// A database that is cut off says nothing: that is not the caller's fault, and
// not a reason to wait for ever.
func TestRequestThatWaitsForNothingIsAnswered(t *testing.T) {
	how := chained
	how.longestRequest = 50 * time.Millisecond
	var s *site
	s = withHandler(t, how, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		s.hooks.Refuse(w, r, r.Context().Err())
	})
	got := s.do(t, "GET", "/", "")
	got.has(t, "a request that waits", 503, "unavailable")
	if got.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestPanicInTheMiddleOfAnAnswerCutsItOff(t *testing.T) {
	s := withHandler(t, chained, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", 8<<10))
		panic("too late")
	})
	if got, err := do("GET", s.url+"/", ""); err == nil {
		t.Errorf("the client took %d with %d bytes for a whole answer", got.status, len(got.body))
	}
}

func TestRequestForAnotherHostIsRefusedBeforeCORS(t *testing.T) {
	s := openSiteAs(t, chained)
	for _, host := range []string{"evil.test", "127.0.0.1.evil.test", "evil.test:80", "127.0.0.1@evil.test"} {
		req := must(http.NewRequest("GET", s.url+"/healthz", nil))
		req.Host = host
		req.Header.Set("Origin", testOrigin)
		resp := must(client.Do(req))
		body := must(io.ReadAll(resp.Body))
		resp.Body.Close()
		got := answer{resp.StatusCode, resp.Header, string(body)}
		if got.status != 400 || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got %d, %v", host, got.status, got.header)
		}
		if strings.Contains(got.body, "evil") {
			t.Errorf("%s: the body is %s", host, got.body)
		}
		if !strings.Contains(host, "@") { // which net/http answers itself
			got.secured(t, host)
		}
	}
}

func TestPlainHTTPIsRedirectedOrRefused(t *testing.T) {
	how := behind(chained)
	how.https = true
	s := openSiteAs(t, how)
	secure := "X-Forwarded-Proto: https"
	from := "X-Forwarded-For: 203.0.113.7"
	got := s.do(t, "GET", "/limited/?x=1", "", from, "X-Forwarded-Proto: http")
	if got.status != http.StatusPermanentRedirect || !strings.HasPrefix(got.header.Get("Location"), "https://127.0.0.1/limited/?x=1") {
		t.Errorf("a GET: got %d to %q", got.status, got.header.Get("Location"))
	}
	got.secured(t, "a redirect")
	if got.header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS over http")
	}
	got = s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType, from, "X-Forwarded-Proto: http", "Origin: "+testOrigin)
	if got.status != http.StatusForbidden || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a password in the clear: got %d %s", got.status, got.body)
	}
	got.secured(t, "a refusal")
	if got := s.do(t, "GET", "/healthz", "", from, "X-Forwarded-Proto: http"); got.status != 200 {
		t.Errorf("a health check: got %d", got.status)
	}
	got = s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType, from, secure)
	if got.status != 200 || got.header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over https: got %d, HSTS %q", got.status, got.header.Get("Strict-Transport-Security"))
	}
}

func TestFiveAMinuteByAddress(t *testing.T) {
	s := openSiteAs(t, behind(chained))
	ask := func(addr string) answer { return s.do(t, "GET", "/limited/", "", "X-Forwarded-For: "+addr) }
	for i := range 5 {
		if got := ask("203.0.113.7"); got.status != 200 || got.body != `{"message":"This endpoint is rate limited"}`+"\n" {
			t.Errorf("request %d: got %d %s", i+1, got.status, got.body)
		}
	}
	got := ask("203.0.113.7")
	got.has(t, "the sixth", 429, "quota_exceeded")
	if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 || after > 66 {
		t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
	}
	if got.header.Get("RateLimit") == "" || got.header.Get("RateLimit-Policy") == "" {
		t.Errorf("the headers are %v", got.header)
	}
	if got := ask("203.0.113.8"); got.status != 200 {
		t.Errorf("another address: got %d", got.status)
	}
	for i := range 6 { // hosts of one network
		if got := ask(fmt.Sprintf("2001:db8::%d", i)); (got.status == 200) != (i < 5) {
			t.Errorf("host %d of a /64: got %d", i, got.status)
		}
	}
}

func TestAddressIsNotWhatAStrangerClaims(t *testing.T) {
	s := openSiteAs(t, chained) // the proxies are elsewhere
	refused := 0
	for i := range 20 {
		addr := fmt.Sprintf("203.0.113.%d", i)
		got := s.do(t, "GET", "/limited/", "", "X-Forwarded-For: "+addr, "X-Real-Ip: "+addr, "Forwarded: for="+addr, "True-Client-Ip: "+addr)
		if got.status == 429 {
			refused++
		}
	}
	if refused != 15 {
		t.Errorf("%d of 20 were refused, want 15", refused)
	}
}

func TestManyGuessesAtOnceAreAFewTries(t *testing.T) {
	s := openSiteAs(t, chained)
	alice := s.signInAlice(t)
	guess := func(login string) (tried, refused int64) {
		var wg sync.WaitGroup
		var t400, t429 atomic.Int64
		for range 60 {
			wg.Go(func() {
				got, err := do("POST", s.url+"/token", form("username", login, "password", "wrong"), formType)
				switch {
				case err == nil && got.status == 400:
					t400.Add(1)
				case err == nil && got.status == 429 && got.header.Get("Retry-After") != "":
					t429.Add(1)
				}
			})
		}
		wg.Wait()
		return t400.Load(), t429.Load()
	}
	for _, login := range []string{"mod", "nobody"} { // who exists, and who does not
		if tried, refused := guess(login); tried != 5 || refused != 55 {
			t.Errorf("of 60 guesses for %s %d were tried and %d refused, want 5 and 55", login, tried, refused)
		}
	}
	// Nobody who is signed in notices, and others can sign in.
	s.me(t, alice.Access).has(t, "a session", 200, "")
	s.refresh(t, alice.Refresh).tokens(t)
	s.signInAlice(t)
}

// A token is no way around the limits of guessing.
func TestGuessesAtTheCurrentPasswordCountAsSignInsDo(t *testing.T) {
	s := openSiteAs(t, chained)
	alice := s.signInAlice(t)
	for range 5 {
		s.changePassword(t, alice.Access, "wrong", testPassword).has(t, "a guess", 400, "wrong_password")
	}
	got := s.changePassword(t, alice.Access, s.keys.DemoPassword, testPassword)
	got.has(t, "one guess more", 429, "too_many_attempts")
	if got.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	got = s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType)
	got.refused(t, 429, "temporarily_unavailable")
}

// Who is over a limit of their own takes no place of others.
func TestFloodFromOneAddressLeavesOthersAlone(t *testing.T) {
	s := openSiteAs(t, behind(chained))
	flood, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	handler := s.handler()
	from := func(addr string) int {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/healthz", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-Forwarded-For", addr)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	for range 200 {
		wg.Go(func() {
			for flood.Err() == nil {
				from("203.0.113.7")
			}
		})
	}
	served := 0
	for range 50 {
		if from("203.0.113.8") == http.StatusOK {
			served++
		}
	}
	stop()
	wg.Wait()
	if served != 50 {
		t.Errorf("%d of 50 were served", served)
	}
}

func TestGuessedAPIKeysAreLimitedAndGoodOnesAreNot(t *testing.T) {
	s := openSiteAs(t, chained)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci"}`)
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "a key", 200, "")
	other := openSiteAs(t, chained)
	refused := 0
	for i := range 70 {
		// Well-formed, and of no use here.
		forged := other.key(t, other.signInAlice(t).Access, fmt.Sprintf(`{"name":"%d"}`, i))
		if i >= 40 {
			other.do(t, "DELETE", "/keys/"+forged.ID, "", bearer(other.signInAlice(t).Access))
		}
		if got := s.do(t, "GET", "/protected/", "", withKey(forged.Key)); got.status == 429 {
			refused++
		} else {
			got.has(t, "a forged key", 401, "invalid_token")
		}
	}
	if refused != 10 {
		t.Errorf("%d of 70 were refused, want 10", refused)
	}
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "a key that was good a moment ago", 200, "")
}

func TestPreflightNeedsNoCredentials(t *testing.T) {
	s := openSiteAs(t, chained)
	for _, path := range []string{"/items/", "/protected/", "/keys/", "/nothing"} {
		got := s.do(t, "OPTIONS", path, "", "Origin: "+testOrigin, "Access-Control-Request-Method: DELETE", "Access-Control-Request-Headers: authorization,x-api-key")
		if got.status >= 300 || got.header.Get("Access-Control-Allow-Origin") != testOrigin || got.header.Get("Access-Control-Allow-Methods") == "" {
			t.Errorf("%s: got %d %v", path, got.status, got.header)
		}
		got = s.do(t, "OPTIONS", path, "", "Origin: https://evil.test", "Access-Control-Request-Method: DELETE")
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: another origin is allowed: %v", path, got.header)
		}
	}
}

func TestEventsReachTheClientAtOnce(t *testing.T) {
	goOn := make(chan struct{})
	s := withHandler(t, chained, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: one\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		<-goOn
		io.WriteString(w, "data: two\n\n")
	})
	resp := must(client.Get(s.url))
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "data: one" {
		t.Errorf("the first line is %q", lines.Text())
	}
	close(goOn)
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if !slices.Contains(rest, "data: two") {
		t.Errorf("the rest is %q", rest)
	}
	answer{status: resp.StatusCode, header: resp.Header}.secured(t, "a stream")
}

func TestConnectionCanBeHijacked(t *testing.T) {
	s := withHandler(t, chained, func(w http.ResponseWriter, r *http.Request) {
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		defer conn.Close()
		fmt.Fprint(buffer, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		buffer.Flush()
		line, _ := buffer.ReadString('\n')
		fmt.Fprint(buffer, line)
		buffer.Flush()
	})
	conn := must(net.Dial("tcp", strings.TrimPrefix(s.url, "http://")))
	defer conn.Close()
	check(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
	answer := string(must(io.ReadAll(conn)))
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.HasSuffix(answer, "\r\n\r\nhello\n") {
		t.Errorf("got %q", answer)
	}
}

func TestDeadlinesAndFilesReachTheConnection(t *testing.T) {
	s := withHandler(t, chained, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Now().Add(time.Minute)), c.EnableFullDuplex()); err != nil {
			t.Errorf("ResponseController: %v", err)
		}
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Errorf("a %T is no io.ReaderFrom", w)
		}
		io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 1<<20))})
	})
	if got := s.do(t, "GET", "/", ""); len(got.body) != 1<<20 {
		t.Errorf("got %d bytes", len(got.body))
	}
}

func TestHostsOfTheServer(t *testing.T) {
	for _, tt := range []struct {
		issuer, addr string
		more, want   []string
	}{
		{"http://127.0.0.1:8080", "127.0.0.1:8080", nil, []string{"127.0.0.1", "[::1]", "localhost"}},
		{"https://api.example.com/x", "[::]:443", nil, []string{"api.example.com"}},
		{"https://api.example.com", "192.0.2.7:443", []string{"www.example.com"}, []string{"192.0.2.7", "api.example.com", "www.example.com"}},
		{"http://[2001:db8::1]:80", "[2001:db8::1]:80", nil, []string{"[2001:db8::1]"}},
	} {
		if got := hostsOf(tt.issuer, tt.addr, tt.more); !slices.Equal(got, tt.want) {
			t.Errorf("%s at %s: %q, want %q", tt.issuer, tt.addr, got, tt.want)
		}
	}
}

func TestFlagsOfTheChainAreChecked(t *testing.T) {
	for _, args := range [][]string{
		{"-cors-origin", "*.example.com"},
		{"-cors-origin", "https://app.example.com/"},
		{"-trusted-proxy", "10.0.0.0/33"},
		{"-trusted-proxy", "0.0.0.0/0"},
		{"-host", "exa mple.com"},
		{"-limit-timeout", "1h"},
	} {
		dir := t.TempDir()
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		err := run(ctx, append(args, "-addr", "127.0.0.1:0", "-db", dir+"/x.db"), io.Discard, io.Discard)
		stop()
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(args[1], "https://")) {
			t.Errorf("%q: the error is %v", args, err)
		}
	}
}

func TestAuditFindsNothing(t *testing.T) {
	s := openSiteAs(t, chained)
	alice := bearer(s.signInAlice(t).Access)
	authorization := strings.TrimPrefix(alice, "Authorization: ")
	ask := func(method, path string) *http.Request {
		return headerstest.With(httptest.NewRequest(method, "http://127.0.0.1"+path, nil), "Authorization", authorization)
	}
	audit := headerstest.Config{
		Host:    "127.0.0.1",
		Origins: []string{testOrigin},
		Requests: []*http.Request{
			httptest.NewRequest("GET", "http://127.0.0.1/healthz", nil),
			httptest.NewRequest("GET", "http://127.0.0.1/.well-known/jwks.json", nil),
			httptest.NewRequest("GET", "http://127.0.0.1/limited/", nil),
			httptest.NewRequest("POST", "http://127.0.0.1/token", nil),
			ask("GET", "/users/me"), ask("GET", "/items/"), ask("POST", "/moderate/"), ask("GET", "/protected/"), ask("GET", "/nothing"),
		},
	}
	headerstest.Run(t, s.handler(), audit)
	// And with handlers that do everything a handler can do.
	headerstest.RunChain(t, s.chain, audit)
}
