package headers_test

import (
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
)

// A server behind a reverse proxy on the same machine, with a page on another
// host.
func Example() {
	hooks := guard.Hooks{}
	proxies := must(headers.NewTrustedProxies([]string{"127.0.0.1", "::1"}, headers.ProxiesConfig{Hooks: hooks}))
	security := must(headers.New(headers.Config{}))
	hosts := must(headers.NewTrustedHosts([]string{"api.example.com"}, headers.HostsConfig{Hooks: hooks}))
	https := must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: hooks}))
	cors := must(headers.NewCORS([]string{"https://app.example.com"}, headers.CORSConfig{}))

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s over %s", r.RemoteAddr, guard.Scheme(r))
	})
	server := proxies.Handler(security.Handler(hosts.Handler(https.Handler(cors.Handler(mux)))))

	for _, request := range []struct{ host, scheme string }{
		{"api.example.com", "https"},
		{"api.example.com", "http"},
		{"evil.example", "https"},
	} {
		r := httptest.NewRequest("GET", "/hello", nil)
		r.RemoteAddr = "127.0.0.1:40000" // the proxy
		r.Host = request.host
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r.Header.Set("X-Forwarded-Proto", request.scheme)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		h := w.Header()
		fmt.Println(w.Code, h.Get("Location")+w.Body.String())
		fmt.Printf("%s %q\n", h.Get("X-Content-Type-Options"), h.Get("Strict-Transport-Security"))
	}
	// Output:
	// 200 hello 203.0.113.9:0 over https
	// nosniff "max-age=63072000; includeSubDomains"
	// 308 https://api.example.com/hello
	// nosniff ""
	// 400 {"title":"Bad Request","status":400,"code":"invalid_request","detail":"The host of this request is not served here."}
	//
	// nosniff "max-age=63072000; includeSubDomains"
}

// A page whose inline script runs because it carries the nonce of the response.
func ExampleNonce() {
	page := template.Must(template.New("").Parse(`<script nonce="{{.}}">greet()</script>`))
	h := must(headers.New(headers.HTML())).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page.Execute(w, headers.Nonce(w, r))
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	fmt.Println(len(w.Body.String()), w.Header().Get("Cache-Control"))
	// Output: 59 no-store
}

// A rollout of HSTS that begins with five minutes.
func ExampleHSTS() {
	h := must(headers.New(headers.Config{HSTS: headers.HSTS{MaxAge: 5 * time.Minute, InsecureShort: true}}))
	w := httptest.NewRecorder()
	h.Handler(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	fmt.Println(w.Header().Get("Strict-Transport-Security"))
	// Output: max-age=300; includeSubDomains
}

// A sign-out clears what the browser keeps of this origin.
func ExampleClearSite() {
	w := httptest.NewRecorder()
	headers.ClearSite(w)
	fmt.Println(w.Header().Get("Clear-Site-Data"))
	// Output: "cookies", "storage"
}

// A decision without a ResponseWriter.
func ExampleTrustedHosts_Check() {
	hosts := must(headers.NewTrustedHosts([]string{"*.example.com"}, headers.HostsConfig{}))
	for _, host := range []string{"a.b.example.com:8443", "example.com", "evilexample.com", "[::1].example.com"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		fmt.Println(host, hosts.Check(r) == nil)
	}
	// Output:
	// a.b.example.com:8443 true
	// example.com false
	// evilexample.com false
	// [::1].example.com false
}

// What a trusted proxy says replaces what the connection says; what the client
// had put in front of it, and headers of other families, are gone.
func ExampleTrustedProxies_Resolve() {
	proxies := must(headers.NewTrustedProxies([]string{"10.0.0.0/8"}, headers.ProxiesConfig{}))
	for _, peer := range []string{"10.0.0.7:1234", "198.51.100.1:1234"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", "6.6.6.6, 203.0.113.9")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Real-Ip", "6.6.6.6")
		r, err := proxies.Resolve(r)
		fmt.Println(r.RemoteAddr, guard.Scheme(r), r.Header, err)
	}
	// Output:
	// 203.0.113.9:0 https map[] <nil>
	// 198.51.100.1:1234 http map[] <nil>
}

// The decision on a request in the clear.
func ExampleRedirectHTTPS_Check() {
	https := must(headers.NewRedirectHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"/healthz"}}))
	for _, path := range []string{"/page?id=1", "/healthz"} {
		location, err := https.Check(httptest.NewRequest("GET", path, nil))
		fmt.Printf("%q %v\n", location, err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer secret")
	_, err := https.Check(r)
	fmt.Println(err != nil)
	// Output:
	// "https://example.com/page?id=1" <nil>
	// "" <nil>
	// true
}

// A form on another site is refused, a link from there is followed.
func ExampleIsolate_Check() {
	isolate := must(headers.NewIsolate(headers.IsolateConfig{}))
	form := httptest.NewRequest("POST", "/transfer", nil)
	form.Header.Set("Sec-Fetch-Site", "cross-site")
	link := httptest.NewRequest("GET", "/account", nil)
	link.Header.Set("Sec-Fetch-Site", "cross-site")
	link.Header.Set("Sec-Fetch-Mode", "navigate")
	link.Header.Set("Sec-Fetch-Dest", "document")
	fmt.Println(isolate.Check(form) == nil, isolate.Check(link) == nil)
	// Output: false true
}

// Incorrect: everybody may read, and the cookies of the user go along. Every
// page on the web could act for the user, so this is an error.
func ExampleNewCORS_incorrect() {
	_, err := headers.NewCORS([]string{"*"}, headers.CORSConfig{Credentials: true})
	fmt.Println(err)
	// Output: headers: origins[0] is "*"; use origins by name; with Credentials every page could act for the user
}
