package headerstest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/headers/headerstest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// recovering is a host's middleware for panics.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				guard.Hooks{}.Refuse(w, r, fmt.Errorf("%v", v))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// whole is the package headers in its order.
func whole(c headers.Config) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		h := must(headers.NewIsolate(headers.IsolateConfig{})).Handler(next)
		h = must(headers.NewCORS([]string{"https://app.example.com"}, headers.CORSConfig{Credentials: true})).Handler(h)
		h = must(headers.NewRedirectHTTPS(headers.HTTPSConfig{})).Handler(h)
		h = must(headers.NewTrustedHosts([]string{"example.com"}, headers.HostsConfig{})).Handler(h)
		h = must(headers.New(c)).Handler(h)
		return recovering(must(headers.NewTrustedProxies(nil, headers.ProxiesConfig{})).Handler(h))
	}
}

func TestThePackageHeadersPasses(t *testing.T) {
	allowed := headerstest.With(httptest.NewRequest("GET", "/body", nil), "Origin", "https://app.example.com")
	c := headerstest.Config{Requests: []*http.Request{allowed}, Origins: []string{"https://app.example.com"}}
	headerstest.RunChain(t, whole(headers.Config{Enforce: true}), c)
	html := headers.HTML()
	html.Enforce = true
	headerstest.RunChain(t, whole(html), c)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	})
	headerstest.Run(t, whole(headers.Config{})(mux), headerstest.Config{Ignore: []string{"Cache-Control"}})
}

// Without Enforce, net/http's own error pages lose no-store and nothing else.
func TestWithoutEnforceErrorPagesLoseNoStore(t *testing.T) {
	found := 0
	for _, f := range headerstest.AuditChain(whole(headers.Config{}), headerstest.Config{}) {
		if f.Header != "Cache-Control" || !strings.Contains(f.Request, "over https") {
			t.Error(f)
		}
		found++
	}
	if found == 0 {
		t.Error("no finding; say in the documentation that Enforce is not needed for this")
	}
}

func TestChainAgainstMiddlewareInTheWrongOrder(t *testing.T) {
	security := must(headers.New(headers.Config{Enforce: true}))
	for _, tt := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		path string // of which something is found
	}{
		{"headers within a mux of their own", func(next http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/body", security.Handler(next))
			return recovering(mux)
		}, "/status/404"},
		{"panics that nobody recovers", func(next http.Handler) http.Handler { return security.Handler(next) }, "/panic over https: the response is missing"},
		{"nothing at all", recovering, "/early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := ""
			for _, f := range headerstest.AuditChain(tt.wrap, headerstest.Config{}) {
				all += f.String() + "\n"
			}
			if !strings.Contains(all, tt.path) {
				t.Errorf("got\n%s\nwant %q in it", all, tt.path)
			}
		})
	}
}

// Each row spoils one header of a server that is in order; this is what is
// found, and nothing else.
func TestAuditFinds(t *testing.T) {
	const api = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	csp := func(from, to string) func(http.Header) {
		return func(h http.Header) { h.Set("Content-Security-Policy", strings.Replace(api, from, to, 1)) }
	}
	set := func(name string, values ...string) func(http.Header) {
		return func(h http.Header) {
			h.Del(name)
			for _, v := range values {
				h.Add(name, v)
			}
		}
	}
	private := headerstest.With(httptest.NewRequest("GET", "/", nil), "Authorization", "Bearer x")
	stranger := headerstest.With(httptest.NewRequest("GET", "/", nil), "Origin", "https://headerstest.invalid")
	friend := headerstest.With(httptest.NewRequest("GET", "/", nil), "Origin", "https://a.com")
	for _, tt := range []struct {
		name    string
		spoil   func(http.Header)
		request *http.Request
		header  string // none: nothing is found
		problem string
		detail  string
		cite    string
	}{
		{"nothing", func(http.Header) {}, nil, "", "", "", ""},
		{"no HSTS", set("Strict-Transport-Security"), nil, "Strict-Transport-Security", headerstest.Missing, "a year", "3.4.1"},
		{"two HSTS", set("Strict-Transport-Security", "max-age=63072000; includeSubDomains", "max-age=0"), nil, "Strict-Transport-Security", headerstest.Duplicate, "2 values", "3.4.1"},
		{"a day of HSTS", set("Strict-Transport-Security", "max-age=86400; includeSubDomains"), nil, "Strict-Transport-Security", headerstest.Weak, "31536000", "3.4.1"},
		{"HSTS of the host alone", set("Strict-Transport-Security", "max-age=63072000"), nil, "Strict-Transport-Security", headerstest.Weak, "includeSubDomains", "3.4.1"},
		{"HSTS of rubbish", set("Strict-Transport-Security", "includeSubDomains"), nil, "Strict-Transport-Security", headerstest.Weak, "max-age", "3.4.1"},
		{"preload without subdomains", set("Strict-Transport-Security", "max-age=63072000; preload"), nil, "Strict-Transport-Security", headerstest.Weak, "with preload", "3.4.1"},
		{"no CSP", set("Content-Security-Policy"), nil, "Content-Security-Policy", headerstest.Missing, "a policy", "3.4.3"},
		{"two CSPs", set("Content-Security-Policy", api, api), nil, "Content-Security-Policy", headerstest.Duplicate, "2 values", "3.4.3"},
		{"a CSP without scripts", csp("default-src 'none'", "script-src-elem 'none'; object-src 'none'"), nil, "Content-Security-Policy", headerstest.Weak, "script-src or default-src", "3.4.3"},
		{"a CSP with a wide script-src", csp("default-src 'none'", "default-src 'none'; script-src https:"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from https://*:*", csp("default-src 'none'", "default-src 'none'; script-src https://*:*"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from http://*/x/", csp("default-src 'none'", "default-src 'none'; script-src http://*/x/"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from *:8443", csp("default-src 'none'", "default-src 'none'; script-src *:8443"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from wss://*", csp("default-src 'none'", "default-src 'none'; script-src wss://*"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from ftp:", csp("default-src 'none'", "default-src 'none'; script-src ftp:"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from *.com", csp("default-src 'none'", "default-src 'none'; script-src *.com"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts from https://*.com:443/", csp("default-src 'none'", "default-src 'none'; script-src https://*.com:443/"), nil, "Content-Security-Policy", headerstest.Weak, "hosts by name", "3.4.3"},
		{"a CSP with scripts of named hosts", csp("default-src 'none'", "default-src 'none'; script-src https://a.com:*/x/ *.example.com http://localhost:3000 'sha256-x'"), nil, "", "", "", ""},
		{"a CSP with unsafe-inline", csp("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'"), nil, "Content-Security-Policy", headerstest.Weak, "nonces or hashes", "3.4.3"},
		{"unsafe-inline beside a nonce is for old browsers", csp("default-src 'none'", "default-src 'none'; script-src 'nonce-x' 'strict-dynamic' https: 'unsafe-inline'"), nil, "", "", "", ""},
		{"a CSP with unsafe-eval", csp("default-src 'none'", "default-src 'none'; script-src 'unsafe-eval'"), nil, "Content-Security-Policy", headerstest.Weak, "'unsafe-eval'", "3.4.3"},
		{"a CSP with an unquoted keyword", csp("default-src 'none'", "default-src 'none'; script-src self"), nil, "Content-Security-Policy", headerstest.Weak, "quotation marks", "3.4.3"},
		{"a CSP with every object", csp("default-src 'none'", "default-src 'none'; object-src *"), nil, "Content-Security-Policy", headerstest.Weak, "object-src", "3.4.3"},
		{"a CSP without base-uri", csp("base-uri 'none'; ", ""), nil, "Content-Security-Policy", headerstest.Weak, "base-uri", "3.4.3"},
		{"a CSP with a directive twice", csp("base-uri 'none'", "base-uri 'none'; base-uri *"), nil, "Content-Security-Policy", headerstest.Weak, "once", "3.4.3"},
		{"a CSP without frame-ancestors", csp("; frame-ancestors 'none'", ""), nil, "Content-Security-Policy frame-ancestors", headerstest.Missing, "'none'", "3.4.6"},
		{"a CSP with every frame ancestor", csp("frame-ancestors 'none'", "frame-ancestors *"), nil, "Content-Security-Policy frame-ancestors", headerstest.Weak, "'none'", "3.4.6"},
		{"a CSP with every frame ancestor on any port", csp("frame-ancestors 'none'", "frame-ancestors https://*:*"), nil, "Content-Security-Policy frame-ancestors", headerstest.Weak, "'none'", "3.4.6"},
		{"a CSP without form-action", csp("form-action 'none'; ", ""), nil, "Content-Security-Policy form-action", headerstest.Missing, "fall back", "OWASP"},
		{"no nosniff", set("X-Content-Type-Options"), nil, "X-Content-Type-Options", headerstest.Missing, "nosniff", "3.4.4"},
		{"sniff", set("X-Content-Type-Options", "sniff"), nil, "X-Content-Type-Options", headerstest.Weak, "nosniff", "3.4.4"},
		{"no referrer policy", set("Referrer-Policy"), nil, "Referrer-Policy", headerstest.Missing, "no-referrer", "3.4.5"},
		{"an unsafe referrer policy", set("Referrer-Policy", "unsafe-url"), nil, "Referrer-Policy", headerstest.Weak, "no-referrer", "3.4.5"},
		{"no X-Frame-Options", set("X-Frame-Options"), nil, "X-Frame-Options", headerstest.Missing, "DENY", "OWASP"},
		{"two X-Frame-Options", set("X-Frame-Options", "DENY", "SAMEORIGIN"), nil, "X-Frame-Options", headerstest.Duplicate, "2 values", "OWASP"},
		{"an X-Frame-Options for all", set("X-Frame-Options", "ALLOWALL"), nil, "X-Frame-Options", headerstest.Weak, "deny", "OWASP"},
		{"the guide's X-XSS-Protection", set("X-XSS-Protection", "1; mode=block"), nil, "X-XSS-Protection", headerstest.Weak, "use 0", "OWASP"},
		{"no X-XSS-Protection is fine", set("X-XSS-Protection"), nil, "", "", "", ""},
		{"no COOP", set("Cross-Origin-Opener-Policy"), nil, "Cross-Origin-Opener-Policy", headerstest.Missing, "same-origin", "3.4.8"},
		{"a weak COOP", set("Cross-Origin-Opener-Policy", "unsafe-none"), nil, "Cross-Origin-Opener-Policy", headerstest.Weak, "same-origin", "3.4.8"},
		{"no CORP", set("Cross-Origin-Resource-Policy"), nil, "Cross-Origin-Resource-Policy", headerstest.Missing, "same-origin", "3.5.8"},
		{"no Permissions-Policy", set("Permissions-Policy"), nil, "Permissions-Policy", headerstest.Missing, "camera", "OWASP"},
		{"a cacheable answer to one caller", set("Cache-Control", "public"), private, "Cache-Control", headerstest.Weak, "no-store", "14.3.2"},
		{"an answer to one caller that says nothing of caches", set("Cache-Control"), private, "Cache-Control", headerstest.Missing, "no-store", "14.3.2"},
		{"a cookie that is cached", set("Set-Cookie", "a=b"), nil, "Cache-Control", headerstest.Missing, "no-store", "14.3.2"},
		{"a cacheable answer to everybody is fine", set("Cache-Control", "public"), nil, "", "", "", ""},
		{"text without a charset", set("Content-Type", "text/html"), nil, "Content-Type", headerstest.Weak, "charset", "4.1.1"},
		{"no type", func(h http.Header) { h["Content-Type"] = nil }, nil, "Content-Type", headerstest.Missing, "type", "4.1.1"},
		{"everybody may read", set("Access-Control-Allow-Origin", "*"), nil, "Access-Control-Allow-Origin", headerstest.Weak, "by name", "3.4.2"},
		{"everybody may act", func(h http.Header) {
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Credentials", "true")
		}, nil, "Access-Control-Allow-Origin", headerstest.Weak, "with credentials", "3.4.2"},
		{"a stranger may read", set("Access-Control-Allow-Origin", "https://headerstest.invalid"), stranger, "Access-Control-Allow-Origin", headerstest.Weak, "unknown origins", "3.4.2"},
		{"two origins may read", set("Access-Control-Allow-Origin", "https://a.com", "https://b.com"), nil, "Access-Control-Allow-Origin", headerstest.Duplicate, "2 values", "3.4.2"},
		{"two origins in one may read", set("Access-Control-Allow-Origin", "https://a.com, https://b.com"), nil, "Access-Control-Allow-Origin", headerstest.Weak, "one origin", "3.4.2"},
		{"an origin without Vary", set("Access-Control-Allow-Origin", "https://a.com"), friend, "Access-Control-Allow-Origin", headerstest.Weak, "Vary", "3.4.2"},
		{"an origin with Vary is fine", func(h http.Header) {
			h.Set("Access-Control-Allow-Origin", "https://a.com")
			h.Set("Vary", "Accept, Origin")
		}, friend, "", "", "", ""},
		{"a way back to http", set("Location", "http://example.com/"), nil, "Location", headerstest.Weak, "https", "4.1.2"},
		{"a version", set("Server", "nginx/1.18.0"), nil, "Server", headerstest.Leak, "remove the version", "13.4.6"},
		{"a name without a version is fine", set("Server", "nginx"), nil, "", "", "", ""},
		{"what it is made with", set("X-Powered-By", "PHP"), nil, "X-Powered-By", headerstest.Leak, "remove it", "13.4.6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := must(headers.New(headers.Config{})).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.TLS != nil {
					tt.spoil(w.Header())
				}
				io.WriteString(w, "{}")
			}))
			r := tt.request
			if r == nil {
				r = httptest.NewRequest("GET", "/", nil)
			}
			findings := headerstest.Audit(h, headerstest.Config{SkipBuiltIn: true, Requests: []*http.Request{r}})
			if tt.header == "" {
				if len(findings) > 0 {
					t.Errorf("got %v, want nothing", findings)
				}
				return
			}
			if len(findings) != 1 {
				t.Fatalf("got %d findings, %v, want one", len(findings), findings)
			}
			f := findings[0]
			if f.Header != tt.header || f.Problem != tt.problem || !strings.Contains(f.Detail, tt.detail) || !strings.Contains(f.Cite, tt.cite) ||
				!strings.HasPrefix(f.Request, "GET / over https") || !strings.HasSuffix(strings.SplitN(f.String(), ": ", 3)[0], "over https"+suffix(r)) {
				t.Errorf("got %v", f)
			}
			if again := headerstest.Audit(h, headerstest.Config{SkipBuiltIn: true, Requests: []*http.Request{r}, Ignore: []string{strings.ToUpper(tt.header)}}); len(again) > 0 {
				t.Errorf("got %v although it is ignored", again)
			}
		})
	}
}

func suffix(r *http.Request) string {
	switch {
	case r.Header.Get("Authorization") != "":
		return ", Authorization"
	case r.Header.Get("Origin") != "":
		return ", Origin " + r.Header.Get("Origin")
	}
	return ""
}

func TestAuditFindsHSTSOverHTTP(t *testing.T) {
	h := must(headers.New(headers.Config{})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}))
	findings := headerstest.Audit(h, headerstest.Config{SkipBuiltIn: true, Requests: []*http.Request{httptest.NewRequest("GET", "/", nil)}})
	if len(findings) != 1 || findings[0].Cite != "RFC 6797 7.2" || findings[0].Request != "GET / over http: 200" {
		t.Errorf("got %v", findings)
	}
}

// Bodies reach the server both times, and requests the host of the Config.
func TestRequestsAreSentAsTheyAre(t *testing.T) {
	var got []string
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprint(r.Method, " ", r.Host, r.URL, " ", r.Header.Get("X-A"), " ", string(body)))
	})
	r := headerstest.With(httptest.NewRequest("PUT", "/x?y=%2f", strings.NewReader("body")), "X-A", "a")
	own := httptest.NewRequest("GET", "http://own.example/", nil)
	headerstest.Audit(h, headerstest.Config{SkipBuiltIn: true, Host: "api.example.com", Requests: []*http.Request{r, own}})
	want := "[PUT api.example.com/x?y=%2f a body GET own.example/   PUT api.example.com/x?y=%2f a body GET own.example/  ]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %q\nwant %q", fmt.Sprint(got), want)
	}
}

// recorder is a testing.TB that notes errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper()           {}
func (r *recorder) Error(args ...any) { r.errors = append(r.errors, fmt.Sprint(args...)) }

func TestRunFailsForEachFinding(t *testing.T) {
	for name, run := range map[string]func(testing.TB){
		"Run":      func(tb testing.TB) { headerstest.Run(tb, http.NotFoundHandler(), headerstest.Config{}) },
		"RunChain": func(tb testing.TB) { headerstest.RunChain(tb, recovering, headerstest.Config{}) },
	} {
		r := &recorder{TB: t}
		run(r)
		if len(r.errors) < 10 || !strings.Contains(strings.Join(r.errors, "\n"), "GET / over https: 404: X-Frame-Options is missing: use DENY (OWASP Secure Headers)") {
			t.Errorf("%s: got %q", name, r.errors)
		}
	}
}

func Example() {
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<h1>hello</h1>") })
	for _, f := range headerstest.Audit(bare, headerstest.Config{
		SkipBuiltIn: true,
		Requests:    []*http.Request{httptest.NewRequest("GET", "/", nil)},
	})[:3] {
		fmt.Println(f)
	}
	// Output:
	// GET / over https: 200: Strict-Transport-Security is missing: use max-age of a year or more; includeSubDomains (ASVS 5.0 3.4.1)
	// GET / over https: 200: Content-Security-Policy is missing: use a policy (ASVS 5.0 3.4.3)
	// GET / over https: 200: X-Content-Type-Options is missing: use nosniff (ASVS 5.0 3.4.4)
}
