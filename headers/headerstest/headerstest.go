// Package headerstest reports security headers that are missing, duplicate or weak in
// the responses of a handler:
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
// [Run] sends the given requests and some with unknown paths, methods and origins, once
// with TLS and once without. [RunChain] tests middleware with every kind of response of
// net/http: redirects, errors, a panic, a timeout, early hints, a stream. To pass, it
// recovers panics and uses headers.Config.Enforce. [Explain] tests CORS.
//
// Findings cite the OWASP Application Security Verification Standard 5.0 and the OWASP
// Secure Headers Project.
//
// # Security considerations
//
// The audit reads headers only. It does not test that pages work with the policy, nor
// what the hosts in the policy serve.
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

// Config selects the requests and rules.
type Config struct {
	// Host is the Host of requests without one, or with the "example.com" of
	// httptest.NewRequest. Default: "example.com".
	Host string

	// Requests are sent after the built-in ones, with their method, path, Host,
	// headers and body.
	Requests []*http.Request

	// SkipBuiltIn omits the built-in requests.
	SkipBuiltIn bool

	// Origins are the origins that CORS allows. Other origins must be refused.
	Origins []string

	// Ignore are headers without rules.
	Ignore []string
}

// Problems of a header.
const (
	Missing   = "missing"
	Duplicate = "duplicate"
	Weak      = "weak"
	Leak      = "leak" // it reveals internals
)

// A Finding is one problem of one response.
type Finding struct {
	Request string // "GET /x over https: 404"
	Header  string // "X-Frame-Options"; empty if there was no response
	Problem string // Missing, Duplicate, Weak or Leak
	Detail  string // the value, and what to use
	Cite    string // "ASVS 5.0 3.4.6"
}

// String returns the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s is %s: %s (%s)", f.Request, cmp.Or(f.Header, "the response"), f.Problem, f.Detail, f.Cite)
}

// With returns r with a header set.
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

// Audit sends requests to h and returns the findings in the order of the requests.
func Audit(h http.Handler, c Config) []Finding {
	all := c.Requests
	if !c.SkipBuiltIn {
		all = slices.Concat(builtIn(), all)
	}
	return audit(h, c, all)
}

// AuditChain wraps handlers with every kind of response and returns the findings. The
// requests of c are sent too; their paths do not exist.
func AuditChain(wrap func(http.Handler) http.Handler, c Config) []Finding {
	handler, requests := everyResponse()
	return audit(wrap(handler), c, slices.Concat(requests, builtIn(), c.Requests))
}

// builtIn returns requests for every server.
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

// strangers are origins that no server allows.
var strangers = [...]string{"https://headerstest.invalid", "null"}

// audit sends each request over TLS and in clear text.
func audit(h http.Handler, c Config, requests []*http.Request) []Finding {
	bodies := make([][]byte, len(requests))
	for i, r := range requests {
		if r.Body != nil {
			bodies[i], _ = io.ReadAll(r.Body) // the readable part is sent
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

// try sends one request and returns the findings, also of early responses.
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
			Detail: "the connection was closed without a response; recover panics: " + err.Error(),
		}})
	}
	// A stream may be endless; only its headers matter.
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

// keep removes the findings of Config.Ignore.
func (c Config) keep(findings []Finding) []Finding {
	return slices.DeleteFunc(findings, func(f Finding) bool {
		return slices.ContainsFunc(c.Ignore, func(s string) bool { return strings.EqualFold(s, f.Header) })
	})
}
