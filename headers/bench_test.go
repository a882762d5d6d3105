package headers_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/cors"

	"github.com/gatewright/gatewright/headers"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func get(target string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// warm measures h with a header map that is emptied each time, as cold does
// with one that is new.
func warm(b *testing.B, h http.Handler, r *http.Request) {
	b.ReportAllocs()
	w := &sink{make(http.Header)}
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

func cold(b *testing.B, h http.Handler, r *http.Request) {
	b.ReportAllocs()
	w := &sink{}
	for b.Loop() {
		w.header = make(http.Header)
		h.ServeHTTP(w, r)
	}
}

func parallel(b *testing.B, h http.Handler, r *http.Request) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := &sink{make(http.Header)}
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}

func BenchmarkHeaders(b *testing.B) {
	api := must(headers.New(headers.Config{})).Handler(nothing)
	enforce := must(headers.New(headers.Config{Enforce: true})).Handler(nothing)
	html := must(headers.New(headers.HTML()))
	read := html.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { headers.Nonce(w, r) }))
	r := get("https://example.com/")
	private := get("https://example.com/", "Authorization", "Bearer x")
	b.Run("warm", func(b *testing.B) { warm(b, api, r) })
	b.Run("warm authenticated", func(b *testing.B) { warm(b, api, private) })
	b.Run("fresh", func(b *testing.B) { cold(b, api, r) })
	b.Run("parallel", func(b *testing.B) { parallel(b, api, r) })
	b.Run("enforce", func(b *testing.B) { warm(b, enforce, r) })
	b.Run("html, nonce not read", func(b *testing.B) { warm(b, html.Handler(nothing), r) })
	b.Run("html, nonce read", func(b *testing.B) { warm(b, read, r) })
}

func BenchmarkTrustedHosts(b *testing.B) {
	t := must(headers.NewTrustedHosts([]string{"example.com", "*.example.com"}, headers.HostsConfig{}))
	for _, host := range []string{
		"example.com", "example.com:8443", "a.b.example.com", "EXAMPLE.com",
		"evil.org", strings.Repeat("a.", 126) + "a", strings.Repeat("x", 10_000),
	} {
		r := get("http://example.com/")
		r.Host = host
		b.Run(host[:min(len(host), 20)], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Check(r)
			}
		})
	}
}

func BenchmarkTrustedProxies(b *testing.B) {
	t := must(headers.NewTrustedProxies([]string{"10.0.0.0/8"}, headers.ProxiesConfig{}))
	direct := get("http://example.com/")
	proxied := get("http://example.com/", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https")
	proxied.RemoteAddr = "10.0.0.1:1"
	hostile := get("http://example.com/", "X-Forwarded-For", strings.Repeat("1.2.3.4, ", 1200)+"5.6.7.8")
	hostile.RemoteAddr = "10.0.0.1:1"
	for name, r := range map[string]*http.Request{"direct": direct, "proxied": proxied, "hostile": hostile} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Resolve(r)
			}
		})
	}
}

func BenchmarkCORS(b *testing.B) {
	origin := "https://app.example.com"
	ours := must(headers.NewCORS([]string{origin}, headers.CORSConfig{Credentials: true})).Handler(nothing)
	wild := must(headers.NewCORS([]string{"https://*.example.com"}, headers.CORSConfig{Credentials: true})).Handler(nothing)
	bare := cors.New(cors.Options{AllowedOrigins: []string{origin}, AllowCredentials: true}).Handler(nothing)
	r := get("https://api.example.com/", "Origin", origin)
	b.Run("rs", func(b *testing.B) { warm(b, bare, r) })
	b.Run("ours", func(b *testing.B) { warm(b, ours, r) })
	b.Run("wildcard", func(b *testing.B) { warm(b, wild, r) })
	b.Run("no origin", func(b *testing.B) { warm(b, ours, get("https://api.example.com/")) })
	preflight := get("https://api.example.com/", "Origin", origin, "Access-Control-Request-Method", "GET",
		"Access-Control-Request-Headers", "authorization,content-type")
	preflight.Method = "OPTIONS"
	b.Run("preflight", func(b *testing.B) { warm(b, ours, preflight) })
	b.Run("preflight rs", func(b *testing.B) { warm(b, bare, preflight) })
	hostile := preflight.Clone(b.Context())
	hostile.Header.Set("Access-Control-Request-Headers", strings.Repeat("a,", 32<<10))
	b.Run("hostile preflight", func(b *testing.B) { warm(b, ours, hostile) })
}

func BenchmarkIsolate(b *testing.B) {
	t := must(headers.NewIsolate(headers.IsolateConfig{}))
	r := get("https://example.com/", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
	b.Run("same origin", func(b *testing.B) { warm(b, t.Handler(nothing), r) })
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
