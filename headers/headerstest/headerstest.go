// Package headerstest looks at the responses of a server as a browser and an
// auditor do, and reports each security header that is missing, there twice,
// or weak. A host runs it from a test, with its own handler as it stands in
// front of the network:
//
//	func TestHeaders(t *testing.T) {
//		headerstest.Run(t, server, headerstest.Config{
//			Host: "api.example.com",
//			Requests: []*http.Request{
//				httptest.NewRequest("GET", "/items/", nil),
//				headerstest.With(httptest.NewRequest("GET", "/users/me", nil), "Authorization", "Bearer "+token),
//			},
//		})
//	}
//
// [Run] tries the host's requests and some that reach every server: a path
// that is not there, a method that nobody has, an origin that nobody knows.
// [RunChain] takes the middleware alone, puts handlers of its own behind it
// and walks every way in which net/http makes a response: redirects, 404 and
// 405 of a ServeMux, 413, 429, 500, a panic, a timeout, early hints, a stream.
// What passes recovers panics and has headers.Config.Enforce: without that
// http.FileServer takes Cache-Control away on errors.
//
// Each request is sent twice, over TLS and in the clear, by a real connection:
// what is looked at is what a client receives.
//
// Findings cite the OWASP Application Security Verification Standard 5.0 and
// the OWASP Secure Headers Project.
//
// # Security considerations
//
// A server that passes sends headers that are in order; what it does is
// another matter. A policy is judged by its own words: that pages work with it
// and that nothing is let through by a listed host, this cannot see.
package headerstest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Config says what to try.
type Config struct {
	// Host is the Host of all requests that have none of their own
	// (httptest.NewRequest gives them "example.com").
	// Default: "example.com".
	Host string

	// Requests are tried beside the built-in ones, as httptest.NewRequest
	// makes them: only method, path, Host, headers and body count.
	// Default: none.
	Requests []*http.Request

	// SkipBuiltIn tries Requests alone. Default: false.
	SkipBuiltIn bool

	// Origins are origins that CORS lets in. Others must not be. Default:
	// none.
	Origins []string

	// Ignore names rules that do not apply: names of headers, for a host
	// that leaves one out on purpose. Default: none.
	Ignore []string
}

// What is wrong with a header.
const (
	Missing   = "missing"
	Duplicate = "duplicate"
	Weak      = "weak"
	Leak      = "leak" // it tells what should not be told
)

// A Finding is one thing that is wrong with one response.
type Finding struct {
	Request string // "GET /x over https: 404"
	Header  string // "X-Frame-Options"; empty if there was no response
	Problem string // one of the constants above
	Detail  string // what is there and what should be
	Cite    string // "ASVS 5.0 3.4.6"
}

// String returns the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s is %s: %s (%s)", f.Request, cmp.Or(f.Header, "the response"), f.Problem, f.Detail, f.Cite)
}

// With returns r with a header set, for tables of requests.
func With(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

// Run fails the test for each finding of [Audit].
func Run(t testing.TB, h http.Handler, c Config) {
	t.Helper()
	report(t, Audit(h, c))
}

// RunChain fails the test for each finding of [AuditChain].
func RunChain(t testing.TB, wrap func(http.Handler) http.Handler, c Config) {
	t.Helper()
	report(t, AuditChain(wrap, c))
}

func report(t testing.TB, findings []Finding) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

// Audit sends requests to h and returns what is wrong with the responses, in
// the order of the requests.
func Audit(h http.Handler, c Config) []Finding {
	all := c.Requests
	if !c.SkipBuiltIn {
		all = slices.Concat(builtIn(), all)
	}
	return audit(h, c, all)
}

// AuditChain puts handlers behind wrap that make every kind of response, and
// returns what is wrong with them. The requests of c are tried as well; what
// they ask for is not there.
func AuditChain(wrap func(http.Handler) http.Handler, c Config) []Finding {
	handler, requests := everyResponse()
	return audit(wrap(handler), c, slices.Concat(requests, builtIn(), c.Requests))
}

// builtIn are requests that make sense for every server.
func builtIn() []*http.Request {
	nowhere := "/headerstest-no-such-path"
	return []*http.Request{
		httptest.NewRequest("GET", "/", nil),
		httptest.NewRequest("HEAD", "/", nil),
		httptest.NewRequest("GET", nowhere, nil),
		httptest.NewRequest("GET", nowhere+"//..//x", nil),
		httptest.NewRequest("HEADERSTEST", "/", nil),
		httptest.NewRequest("POST", nowhere, strings.NewReader("x=y")),
		With(httptest.NewRequest("GET", "/", nil), "Authorization", "Bearer headerstest"),
		With(httptest.NewRequest("GET", nowhere, nil), "Cookie", "headerstest=1"),
		With(httptest.NewRequest("GET", "/", nil), "Origin", strangers[0]),
		With(httptest.NewRequest("GET", "/", nil), "Origin", "null"),
		With(With(httptest.NewRequest("OPTIONS", "/", nil), "Origin", strangers[0]), "Access-Control-Request-Method", "PUT"),
		forHost(httptest.NewRequest("GET", "/", nil), "headerstest.invalid"),
		forHost(httptest.NewRequest("GET", "/", nil), "a@b"),
	}
}

// forHost returns r for another host.
func forHost(r *http.Request, host string) *http.Request {
	r.Host = host
	return r
}

// strangers are origins that no server has a reason to know.
var strangers = [...]string{"https://headerstest.invalid", "null"}

// audit sends each request over TLS and in the clear.
func audit(h http.Handler, c Config, requests []*http.Request) []Finding {
	bodies := make([][]byte, len(requests))
	for i, r := range requests {
		if r.Body != nil {
			bodies[i], _ = io.ReadAll(r.Body) // of a test: what can be read is sent
		}
	}
	var findings []Finding
	quiet := log.New(io.Discard, "", 0)
	for _, secure := range []bool{true, false} {
		server := httptest.NewUnstartedServer(h)
		server.Config.ErrorLog = quiet
		if secure {
			server.StartTLS()
		} else {
			server.Start()
		}
		client := server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		client.Timeout = 10 * time.Second
		for i, r := range requests {
			findings = append(findings, c.try(client, server.URL, secure, r, bodies[i])...)
		}
		server.CloseClientConnections()
		server.Close()
	}
	return findings
}

// try sends one request and judges what comes back, early responses included.
func (c Config) try(client *http.Client, base string, secure bool, r *http.Request, body []byte) []Finding {
	scheme := map[bool]string{true: "https", false: "http"}[secure]
	name := fmt.Sprintf("%s %s over %s", r.Method, r.URL.RequestURI(), scheme)
	for _, header := range []string{"Authorization", "Cookie", "Origin"} {
		if v := r.Header.Get(header); v != "" {
			name += ", " + header
			if header == "Origin" {
				name += " " + v
			}
		}
	}
	if r.Host != "example.com" && r.Host != c.Host {
		name += ", Host " + r.Host
	}

	var early []response
	sent := r.Clone(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			early = append(early, response{status: code, header: http.Header(h)})
			return nil
		},
	}))
	to, err := url.Parse(base)
	if err != nil {
		panic(err) // httptest made it
	}
	sent.RequestURI = ""
	sent.Body, sent.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		sent.Body = nil
	}
	sent.URL.Scheme, sent.URL.Host = to.Scheme, to.Host
	if c.Host != "" && (r.Host == "example.com" || r.Host == "") {
		sent.Host = c.Host
	}
	got, err := client.Do(sent)
	if err != nil {
		return c.keep([]Finding{{
			Request: name, Problem: Missing, Cite: "ASVS 5.0 16.5.4",
			Detail: "the connection was closed without one; is a panic not recovered? " + err.Error(),
		}})
	}
	// A stream may have no end; its headers are all that matters.
	first, _ := io.ReadAll(io.LimitReader(got.Body, 1))
	got.Body.Close()
	seen := append(early, response{status: got.StatusCode, header: got.Header, body: len(first) > 0})
	var findings []Finding
	for _, s := range seen {
		s.request, s.secure = r, secure
		for _, f := range s.judge(c) {
			f.Request = fmt.Sprintf("%s: %d", name, s.status)
			findings = append(findings, f)
		}
	}
	return c.keep(findings)
}

// keep leaves out what Config.Ignore names.
func (c Config) keep(findings []Finding) []Finding {
	return slices.DeleteFunc(findings, func(f Finding) bool {
		return slices.ContainsFunc(c.Ignore, func(s string) bool { return strings.EqualFold(s, f.Header) })
	})
}
