package headers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
)

// do answers r with h.
func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// want fails the test unless the headers have these values and no others; an
// empty value means that the header is missing.
func want(t *testing.T, got http.Header, pairs map[string]string) {
	t.Helper()
	for name, value := range pairs {
		values := got[http.CanonicalHeaderKey(name)]
		switch {
		case value == "" && len(values) > 0:
			t.Errorf("%s is %q, want none", name, values)
		case value != "" && (len(values) != 1 || values[0] != value):
			t.Errorf("%s is %q, want exactly %q", name, values, value)
		}
	}
}

const apiCSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// strict is what the zero Config sends over https.
var strict = map[string]string{
	"Content-Security-Policy":      apiCSP,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"X-XSS-Protection":             "0",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Strict-Transport-Security":    "max-age=63072000; includeSubDomains",
	"Permissions-Policy": "accelerometer=(), autoplay=(), bluetooth=(), camera=(), display-capture=(), encrypted-media=(), " +
		"fullscreen=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), " +
		"midi=(), payment=(), picture-in-picture=(), publickey-credentials-create=(self), publickey-credentials-get=(self), " +
		"screen-wake-lock=(), serial=(), usb=(), web-share=(), xr-spatial-tracking=()",
	"Cross-Origin-Embedder-Policy":        "",
	"Content-Security-Policy-Report-Only": "",
	"Reporting-Endpoints":                 "",
}

func with(base map[string]string, pairs ...string) map[string]string {
	m := maps.Clone(base)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestNewSetsTheHeaders(t *testing.T) {
	guide := map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "X-XSS-Protection": "1; mode=block",
		"Strict-Transport-Security": "max-age=31536000", "Cache-Control": "",
	}
	for name := range strict {
		if _, ok := guide[name]; !ok {
			guide[name] = ""
		}
	}
	custom := headers.Config{
		CSP: &headers.CSP{
			DefaultSrc: []string{headers.Self}, ScriptSrc: []string{headers.Self, "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"},
			ImgSrc: []string{"*", "data:"}, ConnectSrc: []string{"wss://live.example.com:8443", "*.example.com:*"},
			FrameAncestors: []string{headers.Self}, Sandbox: []string{}, TrustedTypes: []string{"app", "'allow-duplicates'"},
			RequireTrustedTypes: true, UpgradeInsecureRequests: true, ReportTo: "csp", ReportURI: []string{"/csp"},
		},
		CSPReportOnly:      &headers.CSP{DefaultSrc: []string{headers.None}, ReportTo: "csp"},
		ReportingEndpoints: []headers.ReportingEndpoint{{Name: "csp", URL: "https://r.example.com/csp"}},
		HSTS:               headers.HSTS{MaxAge: 365 * 24 * time.Hour, Preload: true},
		Frame:              "SAMEORIGIN", Referrer: "same-origin", Opener: "same-origin-allow-popups", Resource: "cross-origin", Embedder: "credentialless",
		Permissions: []headers.Permission{{Feature: "camera"}, {Feature: "fullscreen", Allow: []string{"self", "https://v.example.com"}}},
	}
	for _, tt := range []struct {
		name   string
		config headers.Config
		r      *http.Request
		want   map[string]string
	}{
		{"the zero Config is strict over https", headers.Config{}, get("https://example.com/"), with(strict, "Cache-Control", "")},
		{"HSTS is not sent over http", headers.Config{}, get("http://example.com/"), with(strict, "Strict-Transport-Security", "")},
		{
			"X-Forwarded-Proto is nobody's word", headers.Config{}, get("http://example.com/", "X-Forwarded-Proto", "https"),
			with(strict, "Strict-Transport-Security", ""),
		},
		{
			"what guard.Scheme says counts", headers.Config{},
			get("http://example.com/").WithContext(guard.WithScheme(context.Background(), "https")), strict,
		},
		{
			"and counts against TLS", headers.Config{},
			get("https://example.com/").WithContext(guard.WithScheme(context.Background(), "http")),
			with(strict, "Strict-Transport-Security", ""),
		},
		{"an answer to Authorization is no-store", headers.Config{}, get("https://x/", "Authorization", "Bearer x"), with(strict, "Cache-Control", "no-store")},
		{"an answer to a cookie is no-store", headers.Config{}, get("https://x/", "Cookie", "a=b"), with(strict, "Cache-Control", "no-store")},
		{"an answer to an API key is no-store", headers.Config{}, get("https://x/", "X-Api-Key", "k"), with(strict, "Cache-Control", "no-store")},
		{
			"an answer to a configured credential is no-store", headers.Config{Credentials: []string{"x-my-key"}},
			get("https://x/", "X-My-Key", "k"), with(strict, "Cache-Control", "no-store"),
		},
		{
			"the guide's four", headers.FastAPI(), get("https://x/", "Authorization", "Bearer x"), guide,
		},
		{
			"the guide's four without HSTS over http", headers.FastAPI(), get("http://x/"), with(guide, "Strict-Transport-Security", ""),
		},
		{
			"a page without its nonce runs no script", headers.HTML(), get("https://x/"),
			map[string]string{
				"Content-Security-Policy": "default-src 'self'; script-src 'strict-dynamic'; style-src 'self'; img-src 'self' data:; " +
					"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; upgrade-insecure-requests",
				"Referrer-Policy": "strict-origin-when-cross-origin", "Cache-Control": "",
			},
		},
		{
			"upgrade-insecure-requests is not sent over http", headers.HTML(), get("http://x/"),
			map[string]string{
				"Content-Security-Policy": "default-src 'self'; script-src 'strict-dynamic'; style-src 'self'; img-src 'self' data:; " +
					"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			},
		},
		{
			"every field is rendered", custom, get("https://x/"),
			map[string]string{
				"Content-Security-Policy": "default-src 'self'; script-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; " +
					"img-src * data:; connect-src wss://live.example.com:8443 *.example.com:*; frame-ancestors 'self'; sandbox; " +
					"require-trusted-types-for 'script'; trusted-types app 'allow-duplicates'; report-to csp; report-uri /csp; upgrade-insecure-requests",
				"Content-Security-Policy-Report-Only": "default-src 'none'; report-to csp",
				"Reporting-Endpoints":                 `csp="https://r.example.com/csp"`,
				"Strict-Transport-Security":           "max-age=31536000; includeSubDomains; preload",
				"X-Frame-Options":                     "SAMEORIGIN", "Referrer-Policy": "same-origin",
				"Cross-Origin-Opener-Policy": "same-origin-allow-popups", "Cross-Origin-Resource-Policy": "cross-origin",
				"Cross-Origin-Embedder-Policy": "credentialless",
				"Permissions-Policy":           `camera=(), fullscreen=(self "https://v.example.com")`,
			},
		},
		{
			"HSTS can be taken back", headers.Config{HSTS: headers.HSTS{InsecureForget: true}}, get("https://x/"),
			with(strict, "Strict-Transport-Security", "max-age=0"),
		},
		{
			"HSTS can be tried out", headers.Config{HSTS: headers.HSTS{InsecureShort: true, MaxAge: time.Minute}}, get("https://x/"),
			with(strict, "Strict-Transport-Security", "max-age=60; includeSubDomains"),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, enforce := range []bool{false, true} {
				tt.config.Enforce = enforce
				ran := false
				h := must(headers.New(tt.config)).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
				w := do(h, tt.r)
				if !ran {
					t.Error("next did not run")
				}
				want(t, w.Result().Header, tt.want)
			}
		})
	}
}

func TestPresetsNeverPreload(t *testing.T) {
	for _, c := range []headers.Config{{}, headers.HTML(), headers.FastAPI()} {
		if v := do(must(headers.New(c)).Handler(nothing), get("https://x/")).Header().Get("Strict-Transport-Security"); strings.Contains(v, "preload") {
			t.Errorf("got %q, want no preload", v)
		}
	}
}

// Every way in which a response comes about, over a real connection.
func TestHeadersAreOnEveryResponse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, code := range []int{204, 301, 304, 308, 400, 401, 403, 429, 500, 503} {
		mux.HandleFunc(fmt.Sprint("GET /", code), status(code))
	}
	mux.HandleFunc("GET /200", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /silent", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /refused", func(w http.ResponseWriter, r *http.Request) {
		guard.Hooks{}.Refuse(w, r, guard.Forbidden(nil))
	})
	mux.HandleFunc("GET /tree/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("POST /413", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 3)); err != nil {
			guard.Hooks{}.Refuse(w, r, err)
		}
	})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	mux.HandleFunc("GET /error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) })
	mux.Handle("GET /timeout", http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "late"))
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	mux.HandleFunc("GET /nofile", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file+"x") })
	mux.HandleFunc("GET /sse", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		io.WriteString(w, "data: 1\n\n")
	})
	mux.HandleFunc("GET /103", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</x.css>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(200)
	})
	mux.HandleFunc("GET /101", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) })

	recovering := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					http.Error(w, "sorry", 500)
				}
			}()
			next.ServeHTTP(w, r)
		})
	}
	for _, enforce := range []bool{false, true} {
		server := httptest.NewTLSServer(recovering(must(headers.New(headers.Config{Enforce: enforce})).Handler(mux)))
		defer server.Close()
		client := server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for _, tt := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/200", 200}, {"HEAD", "/200", 200}, {"GET", "/silent", 200}, {"GET", "/204", 204}, {"GET", "/301", 301},
			{"GET", "/tree", 307}, {"GET", "//200", 307}, {"GET", "/304", 304}, {"GET", "/308", 308}, {"GET", "/400", 400}, {"GET", "/401", 401},
			{"GET", "/403", 403}, {"GET", "/refused", 403}, {"GET", "/nowhere", 404}, {"POST", "/200", 405}, {"POST", "/413", 413},
			{"GET", "/429", 429}, {"GET", "/500", 500}, {"GET", "/error", 500}, {"GET", "/panic", 500}, {"GET", "/503", 503},
			{"GET", "/timeout", 503}, {"GET", "/file", 200}, {"GET", "/nofile", 404}, {"GET", "/sse", 200}, {"GET", "/103", 200},
			{"GET", "/101", 101},
		} {
			t.Run(fmt.Sprintf("%s %s gives %d with them, enforced %t", tt.method, tt.path, tt.status, enforce), func(t *testing.T) {
				r, err := http.NewRequest(tt.method, server.URL+tt.path, strings.NewReader(map[string]string{"POST": "too long"}[tt.method]))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer x")
				early := 0
				r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
						early++
						want(t, http.Header(h), strict)
						return nil
					},
				}))
				response, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				if response.StatusCode != tt.status {
					t.Errorf("status %d, want %d", response.StatusCode, tt.status)
				}
				if (early > 0) != (tt.path == "/103") {
					t.Errorf("%d early responses", early)
				}
				want(t, response.Header, strict)
				// http.Error and http.ServeFile delete Cache-Control.
				if enforce || tt.path != "/nofile" && tt.path != "/error" && tt.path != "/panic" {
					want(t, response.Header, map[string]string{"Cache-Control": "no-store"})
				}
			})
		}
	}
}

// What the standard library does to headers, and where Enforce is the answer.
func TestEnforcePutsTheHeadersRight(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		w.Header().Add("Content-Security-Policy", "default-src *")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("X-Powered-By", "PHP/5.2")
	}))
	defer backend.Close()
	to, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)

	t.Run("a backend's headers double ours without it", func(t *testing.T) {
		w := do(must(headers.New(headers.Config{})).Handler(proxy), get("https://x/"))
		if got := w.Header()["X-Frame-Options"]; !slices.Equal(got, []string{"DENY", "SAMEORIGIN"}) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a backend's headers give way with it", func(t *testing.T) {
		h := must(headers.New(headers.Config{Enforce: true, Remove: []string{"x-powered-by"}})).Handler(proxy)
		w := do(h, get("https://x/"))
		want(t, w.Result().Header, with(strict, "Cache-Control", "public, max-age=60", "X-Powered-By", ""))
		w = do(h, get("https://x/", "Cookie", "a=b"))
		want(t, w.Result().Header, with(strict, "Cache-Control", "no-store"))
	})
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		cookie  bool
		want    map[string]string
	}{
		{"a handler that deletes all", func(w http.ResponseWriter, _ *http.Request) { clear(w.Header()); io.WriteString(w, "x") }, false, strict},
		{"a handler that deletes all and is silent", func(w http.ResponseWriter, _ *http.Request) { clear(w.Header()) }, false, strict},
		{"a handler that adds", func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("X-Frame-Options", "ALLOWALL") }, false, strict},
		{
			"a response that sets a cookie is no-store", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Set-Cookie", "s=1")
			}, false, with(strict, "Cache-Control", "no-store"),
		},
		{
			"even if the handler thinks it public", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Set-Cookie", "s=1")
				w.Header().Set("Cache-Control", "public")
			}, false, with(strict, "Cache-Control", "no-store"),
		},
		{
			"private will do for a cookie", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Set-Cookie", "s=1")
				w.Header().Set("Cache-Control", "private")
			}, false, with(strict, "Cache-Control", "private"),
		},
		{
			"a deleted no-store comes back", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Del("Cache-Control")
				w.WriteHeader(404)
			}, true, with(strict, "Cache-Control", "no-store"),
		},
		{
			"a handler's own answer to the caching of an authenticated response stands", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "private, max-age=5")
			}, true, with(strict, "Cache-Control", "private, max-age=5"),
		},
		{
			"and so does a no-store with more to it", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=0, no-store")
			}, true, with(strict, "Cache-Control", "max-age=0, no-store"),
		},
		{
			"a public answer to one caller is no-store", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=600")
			}, true, with(strict, "Cache-Control", "no-store"),
		},
		{
			"and stays public without a caller", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=600")
			}, false, with(strict, "Cache-Control", "public, max-age=600"),
		},
		{
			"no-cache, which shared caches keep, is no-store", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "no-cache")
			}, true, with(strict, "Cache-Control", "no-store"),
		},
		{
			"private fields are not a private answer", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", `max-age=600, private="X-User, X-Group"`)
			}, true, with(strict, "Cache-Control", "no-store"),
		},
		{
			"the word in a quoted string is none", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", `max-age=600, a="\", private, no-store, "`)
			}, true, with(strict, "Cache-Control", "no-store"),
		},
		{
			"nor within another word", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=600, x-no-storefront, privateer")
			}, true, with(strict, "Cache-Control", "no-store"),
		},
		{
			"capitals, spaces and a second line are a private answer", func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Cache-Control"] = []string{"max-age=5", "a=\"b\" ,\tPrivate"}
			}, true, with(strict, "Cache-Control", "max-age=5, a=\"b\" ,\tPrivate"),
		},
		{
			"two Cache-Control lines become one", func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Cache-Control"] = []string{"public", "max-age=5"}
			}, false, with(strict, "Cache-Control", "public, max-age=5"),
		},
		{
			"what comes after the first byte is nobody's business", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(200)
				w.Header().Set("X-Frame-Options", "x")
				w.WriteHeader(500)
			}, false, strict,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get("https://x/")
			if tt.cookie {
				r.Header.Set("Cookie", "a=b")
			}
			want(t, do(must(headers.New(headers.Config{Enforce: true})).Handler(tt.handler), r).Result().Header, tt.want)
		})
	}
	t.Run("early hints are not the response yet", func(t *testing.T) {
		server := httptest.NewTLSServer(must(headers.New(headers.Config{Enforce: true})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			clear(w.Header())
			w.WriteHeader(103)
			clear(w.Header())
			w.Header().Add("X-Frame-Options", "ALLOWALL")
			w.WriteHeader(200)
		})))
		defer server.Close()
		early := 0
		r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				early++
				want(t, http.Header(h), strict)
				return nil
			},
		}), "GET", server.URL, nil)
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		want(t, response.Header, strict)
		if early != 1 {
			t.Errorf("%d early responses", early)
		}
	})
	t.Run("a reverse proxy clears all headers after early hints", func(t *testing.T) {
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			io.WriteString(w, "x")
		}))
		defer backend.Close()
		to, err := url.Parse(backend.URL)
		if err != nil {
			t.Fatal(err)
		}
		for _, enforce := range []bool{false, true} {
			cors := must(headers.NewCORS([]string{"https://a.com"}, headers.CORSConfig{Enforce: enforce}))
			h := must(headers.New(headers.Config{Enforce: enforce})).Handler(cors.Handler(httputil.NewSingleHostReverseProxy(to)))
			server := httptest.NewTLSServer(h)
			r, _ := http.NewRequest("GET", server.URL, nil)
			r.Header.Set("Origin", "https://a.com")
			response, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			server.Close()
			if !enforce && response.Header.Get("X-Frame-Options") == "" {
				continue // as net/http does it today
			}
			want(t, response.Header, with(strict, "Access-Control-Allow-Origin", "https://a.com", "Vary", "Origin"))
		}
	})
	t.Run("a reverse proxy that clears no-store after early hints leaves no public answer to one caller", func(t *testing.T) {
		for _, config := range []headers.Config{{Enforce: true}, {Enforce: true, Credentials: []string{"X-My-Key"}}, {Enforce: true, InsecureOmit: []string{"Cache-Control"}}} {
			for _, header := range []string{"Authorization", "Cookie", "X-My-Key", "X-Other"} {
				backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Link", "</a>")
					w.WriteHeader(103)
					w.Header().Set("Cache-Control", "public, max-age=600")
					io.WriteString(w, "secret")
				}))
				to, err := url.Parse(backend.URL)
				if err != nil {
					t.Fatal(err)
				}
				server := httptest.NewTLSServer(must(headers.New(config)).Handler(httputil.NewSingleHostReverseProxy(to)))
				r, _ := http.NewRequest("GET", server.URL, nil)
				r.Header.Set(header, "x=y")
				response, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				server.Close()
				backend.Close()
				cache := "no-store"
				if len(config.InsecureOmit) > 0 || header == "X-Other" || header == "X-My-Key" && len(config.Credentials) == 0 {
					cache = "public, max-age=600"
				}
				want(t, response.Header, with(strict, "Cache-Control", cache))
			}
		}
	})
	for name, send := range map[string]func(http.ResponseWriter){
		"Flush":               func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"FlushError":          func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
		"Write":               func(w http.ResponseWriter) { w.Write(nil) },
		"WriteString":         func(w http.ResponseWriter) { io.WriteString(w, "x") },
		"WriteHeader":         func(w http.ResponseWriter) { w.WriteHeader(204) },
		"switching protocols": func(w http.ResponseWriter) { w.WriteHeader(101) },
	} {
		t.Run(name+" sends the headers that are configured, and sends them once", func(t *testing.T) {
			h := must(headers.New(headers.Config{Enforce: true})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				clear(w.Header())
				send(w)
				w.Header().Set("X-Frame-Options", "too late")
			}))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, get("https://x/"))
			want(t, w.Result().Header, strict)
			want(t, w.Header(), map[string]string{"X-Frame-Options": "too late"})
		})
	}
	t.Run("a panic leaves the headers for whoever recovers", func(t *testing.T) {
		w := httptest.NewRecorder()
		func() {
			defer func() { recover() }()
			must(headers.New(headers.Config{Enforce: true})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				clear(w.Header())
				panic("boom")
			})).ServeHTTP(w, get("https://x/"))
		}()
		want(t, w.Header(), strict)
	})
}

// A handler edits the slices that it finds; no later response may change.
func TestHandlersCannotPoisonTheNextResponse(t *testing.T) {
	vandal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range w.Header() {
			for i := range values {
				values[i] = "poison"
			}
			_ = append(values, "poison")
			w.Header()[name] = append(values[:0], "poison")
		}
		if r.URL.Path == "/nonce" {
			headers.Nonce(w, r)
		}
	})
	origin := "https://app.example.com"
	cors := must(headers.NewCORS([]string{origin}, headers.CORSConfig{Credentials: true, Expose: []string{"X-Total"}, MaxAge: time.Hour}))
	any := must(headers.NewCORS([]string{"*"}, headers.CORSConfig{}))
	isolate := must(headers.NewIsolate(headers.IsolateConfig{}))
	for _, config := range []headers.Config{{}, {Enforce: true}, headers.HTML()} {
		h := must(headers.New(config))
		for name, stack := range map[string]func(http.Handler) http.Handler{
			"headers":      func(next http.Handler) http.Handler { return h.Handler(next) },
			"CORS":         func(next http.Handler) http.Handler { return h.Handler(cors.Handler(next)) },
			"CORS for all": func(next http.Handler) http.Handler { return h.Handler(any.Handler(isolate.Handler(next))) },
		} {
			quiet := stack(nothing)
			request := func(method string) *http.Request {
				r := get("https://api.example.com/nonce", "Origin", origin, "Cookie", "a=b")
				r.Method = method
				if method == "OPTIONS" {
					r.Header.Set("Access-Control-Request-Method", "POST")
					r.Header.Set("Access-Control-Request-Headers", "content-type")
				}
				return r
			}
			// Copies: what they are compared with must not be poisoned itself.
			actual, preflight := do(quiet, request("GET")).Header().Clone(), do(quiet, request("OPTIONS")).Header().Clone()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 25 {
						do(stack(vandal), request("GET"))
						// An outer middleware edits what a preflight left.
						w := do(quiet, request("OPTIONS"))
						for _, values := range w.Header() {
							values[0] = "poison"
						}
						if w := do(quiet, request("GET")); !maps.EqualFunc(w.Header(), actual, slices.Equal) {
							t.Errorf("%s: got %v, want %v", name, w.Header(), actual)
						}
						if w := do(quiet, request("OPTIONS")); !maps.EqualFunc(w.Header(), preflight, slices.Equal) {
							t.Errorf("%s preflight: got %v, want %v", name, w.Header(), preflight)
						}
					}
				})
			}
			all.Wait()
		}
	}
}

// Values of one response do not share room either.
func TestAppendingToOneHeaderLeavesTheOthers(t *testing.T) {
	h := must(headers.New(headers.Config{})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range w.Header() {
			if cap(values) != 1 {
				t.Errorf("%s has room for %d more values", name, cap(values)-1)
			}
			w.Header()[name] = append(values, "more")
		}
	}))
	for name, values := range do(h, get("https://x/", "Cookie", "a=b")).Header() {
		if len(values) != 2 || values[1] != "more" || values[0] == "more" {
			t.Errorf("%s is %q", name, values)
		}
	}
}

// An outer middleware's Vary shares an array with others.
func TestVaryIsAppendedWithoutWritingToTheArrayOfOthers(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"CORS":    must(headers.NewCORS([]string{"https://a.com"}, headers.CORSConfig{})).Handler(nothing),
		"Isolate": must(headers.NewIsolate(headers.IsolateConfig{})).Handler(nothing),
	} {
		for _, r := range []*http.Request{get("https://x/"), get("https://x/", "Origin", "https://a.com")} {
			shared := []string{"Accept", "untouched"}
			w := httptest.NewRecorder()
			w.Header()["Vary"] = shared[:1]
			h.ServeHTTP(w, r)
			if shared[1] != "untouched" {
				t.Errorf("%s wrote %q", name, shared[1])
			}
			if len(w.Header()["Vary"]) != 2 || w.Header()["Vary"][0] != "Accept" {
				t.Errorf("%s: Vary is %q", name, w.Header()["Vary"])
			}
		}
	}
}

func TestTheNonceIsOfOneResponse(t *testing.T) {
	page := func(w http.ResponseWriter, r *http.Request) {
		n := headers.Nonce(w, r)
		if again := headers.Nonce(w, r); again != n {
			panic("two nonces in one response")
		}
		io.WriteString(w, n)
	}
	for name, h := range map[string]http.Handler{
		"set before":   must(headers.New(headers.HTML())).Handler(http.HandlerFunc(page)),
		"enforced":     must(headers.New(enforced(headers.HTML()))).Handler(http.HandlerFunc(page)),
		"in a timeout": must(headers.New(headers.HTML())).Handler(http.TimeoutHandler(http.HandlerFunc(page), time.Minute, "late")),
		"enforced around a timeout": must(headers.New(enforced(headers.HTML()))).Handler(
			http.TimeoutHandler(http.HandlerFunc(page), time.Minute, "late")),
	} {
		t.Run(name, func(t *testing.T) {
			w := do(h, get("https://x/"))
			n := w.Body.String()
			if len(n) < 22 || strings.Trim(n, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != "" {
				t.Errorf("the nonce is %q, want 128 bits in the alphabet of base64", n)
			}
			want(t, w.Result().Header, map[string]string{
				"Content-Security-Policy": "default-src 'self'; script-src 'nonce-" + n + "' 'strict-dynamic'; style-src 'self' 'nonce-" + n +
					"'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; upgrade-insecure-requests",
				"Cache-Control": "no-store",
			})
		})
	}
	t.Run("10^6 of them differ", func(t *testing.T) {
		n := 1_000_000
		if testing.Short() {
			n = 10_000
		}
		seen := make(map[string]struct{}, n)
		h := must(headers.New(headers.HTML())).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen[headers.Nonce(w, r)] = struct{}{}
		}))
		r, w := get("https://x/"), &sink{make(http.Header)}
		for range n {
			h.ServeHTTP(w, r)
		}
		if len(seen) != n {
			t.Errorf("%d nonces in %d responses", len(seen), n)
		}
	})
	t.Run("a cached page has none", func(t *testing.T) {
		h := must(headers.New(enforced(headers.HTML()))).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			headers.Nonce(w, r)
			w.Header().Set("Cache-Control", "public, max-age=3600")
		}))
		want(t, do(h, get("https://x/")).Result().Header, map[string]string{"Cache-Control": "no-store"})
	})
	t.Run("without Headers it is empty", func(t *testing.T) {
		w := httptest.NewRecorder()
		if n := headers.Nonce(w, get("https://x/")); n != "" || len(w.Header()) > 0 {
			t.Errorf("got %q and %v", n, w.Header())
		}
	})
	t.Run("with a policy that has no nonces it is empty", func(t *testing.T) {
		h := must(headers.New(headers.Config{})).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := headers.Nonce(w, r); n != "" {
				t.Errorf("got %q", n)
			}
		}))
		want(t, do(h, get("https://x/")).Result().Header, with(strict, "Cache-Control", ""))
	})
	t.Run("unsafe-inline does not come to life without the nonce", func(t *testing.T) {
		c := headers.HTML()
		c.CSP.StyleSrc = []string{headers.NonceSource, headers.UnsafeInline}
		c.CSP.InsecureUnsafeInline = true
		c.CSPReportOnly = &headers.CSP{DefaultSrc: []string{headers.NonceSource}, BaseURI: []string{headers.None}, ReportURI: []string{"/r"}}
		h := do(must(headers.New(c)).Handler(nothing), get("https://x/")).Header()
		if v := h.Get("Content-Security-Policy"); !strings.Contains(v, "style-src 'none';") {
			t.Errorf("got %q", v)
		}
		want(t, h, map[string]string{"Content-Security-Policy-Report-Only": "default-src 'none'; base-uri 'none'; report-uri /r"})
	})
}

func enforced(c headers.Config) headers.Config {
	c.Enforce = true
	return c
}

func TestClearSite(t *testing.T) {
	w := httptest.NewRecorder()
	headers.ClearSite(w)
	want(t, w.Header(), map[string]string{"Clear-Site-Data": `"cookies", "storage"`})
	w.Header()["Clear-Site-Data"][0] = "poison"
	w = httptest.NewRecorder()
	headers.ClearSite(w)
	want(t, w.Header(), map[string]string{"Clear-Site-Data": `"cookies", "storage"`})
}

// everything is each middleware of the package around next.
func everything(next http.Handler) http.Handler {
	return must(headers.NewTrustedProxies(nil, headers.ProxiesConfig{})).Handler(
		must(headers.New(headers.Config{Enforce: true})).Handler(
			must(headers.NewTrustedHosts([]string{"127.0.0.1"}, headers.HostsConfig{})).Handler(
				must(headers.NewRedirectHTTPS(headers.HTTPSConfig{})).Handler(
					must(headers.NewCORS([]string{"https://a.com"}, headers.CORSConfig{Enforce: true})).Handler(
						must(headers.NewIsolate(headers.IsolateConfig{})).Handler(next))))))
}

func TestStreamingWorksThroughEverything(t *testing.T) {
	serve := func(t *testing.T, h http.HandlerFunc) *httptest.Server {
		server := httptest.NewTLSServer(everything(h))
		t.Cleanup(server.Close)
		return server
	}
	t.Run("server-sent events arrive one by one", func(t *testing.T) {
		next := make(chan struct{})
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			f := w.(http.Flusher)
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				f.Flush()
				<-next
			}
		})
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		want(t, response.Header, strict)
		lines := bufio.NewReader(response.Body)
		for i := range 3 {
			if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Errorf("event %d: %q, %v", i, line, err)
			}
			lines.ReadString('\n')
			next <- struct{}{}
		}
	})
	t.Run("server-sent events over HTTP/2", func(t *testing.T) {
		next := make(chan struct{})
		server := httptest.NewUnstartedServer(everything(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto)
			w.(http.Flusher).Flush()
			<-next
		})))
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		want(t, response.Header, strict)
		b := make([]byte, 8)
		if _, err := io.ReadFull(response.Body, b); err != nil || string(b) != "HTTP/2.0" {
			t.Errorf("got %q, %v", b, err)
		}
		close(next)
	})
	t.Run("a WebSocket takes the connection over", func(t *testing.T) {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			conn, buffer, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			line, err := buffer.ReadString('\n')
			fmt.Fprint(conn, "echo "+line, err)
		})
		r, _ := http.NewRequest("GET", server.URL, nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != 101 {
			t.Fatalf("status %d", response.StatusCode)
		}
		conn := response.Body.(io.ReadWriteCloser)
		io.WriteString(conn, "hello\n")
		if b, _ := io.ReadAll(conn); string(b) != "echo hello\n<nil>" {
			t.Errorf("got %q", b)
		}
	})
	t.Run("http.ResponseController reaches the connection", func(t *testing.T) {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			fmt.Fprint(w, errors.Join(c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Now().Add(time.Minute)),
				c.EnableFullDuplex(), c.Flush()))
		})
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		want(t, response.Header, strict)
		if b, _ := io.ReadAll(response.Body); string(b) != "<nil>" {
			t.Errorf("got %q", b)
		}
	})
	t.Run("http.ResponseController hijacks", func(t *testing.T) {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			io.WriteString(conn, "HTTP/1.0 299 Mine\r\n\r\n")
			conn.Close()
		})
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 299 {
			t.Errorf("status %d", response.StatusCode)
		}
	})
	t.Run("io.ReaderFrom reaches the writer underneath", func(t *testing.T) {
		under := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
		cors := must(headers.NewCORS([]string{"https://a.com"}, headers.CORSConfig{Enforce: true}))
		h := must(headers.New(headers.Config{Enforce: true})).Handler(cors.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			clear(w.Header())
			n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("content"))
			if n != 7 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})))
		h.ServeHTTP(under, get("https://x/"))
		if under.called != 1 || under.Body.String() != "content" {
			t.Errorf("ReadFrom was called %d times with %q", under.called, under.Body)
		}
		want(t, under.Result().Header, strict)
		w := do(h, get("https://x/")) // and where there is none
		if w.Body.String() != "content" {
			t.Errorf("got %q", w.Body)
		}
		want(t, w.Result().Header, strict)
	})
}

type readerFrom struct {
	*httptest.ResponseRecorder
	called int
}

func (r *readerFrom) ReadFrom(from io.Reader) (int64, error) {
	r.called++
	return io.Copy(r.ResponseRecorder, from)
}

// A wrapper must not claim what the writer underneath cannot do.
func TestEnforceHasTheMethodsOfTheWriterUnderneath(t *testing.T) {
	type plain struct{ http.ResponseWriter }
	type onlyHijacks struct {
		http.ResponseWriter
		http.Hijacker
	}
	for _, tt := range []struct {
		name             string
		w                http.ResponseWriter
		flushes, hijacks bool
	}{
		{"nothing", plain{httptest.NewRecorder()}, false, false},
		{"flush", httptest.NewRecorder(), true, false},
		{"flush, within a wrapper", wrapped{httptest.NewRecorder()}, true, false},
		{"hijack", onlyHijacks{httptest.NewRecorder(), hijackable{}}, false, true},
		{"both", struct {
			*httptest.ResponseRecorder
			http.Hijacker
		}{httptest.NewRecorder(), hijackable{}}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			must(headers.New(headers.Config{Enforce: true})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				f, flushes := w.(http.Flusher)
				h, hijacks := w.(http.Hijacker)
				if flushes != tt.flushes || hijacks != tt.hijacks {
					t.Errorf("flushes %t, hijacks %t; want %t, %t", flushes, hijacks, tt.flushes, tt.hijacks)
				}
				if hijacks {
					if _, _, err := h.Hijack(); !errors.Is(err, errHijack) {
						t.Errorf("Hijack: %v", err)
					}
				}
				if flushes {
					f.Flush()
				}
				clear(w.Header())
				io.WriteString(w, "x")
			})).ServeHTTP(tt.w, get("https://x/"))
			if !tt.flushes {
				want(t, tt.w.Header(), strict)
			}
		})
	}
}

func TestEnforceOnAHijackedConnection(t *testing.T) {
	w := struct {
		*httptest.ResponseRecorder
		hijacked
	}{ResponseRecorder: httptest.NewRecorder()}
	must(headers.New(headers.Config{Enforce: true})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		clear(w.Header())
		if _, _, err := w.(http.Hijacker).Hijack(); err != nil {
			t.Error(err)
		}
		want(t, w.Header(), strict) // what a reverse proxy writes to the connection
		clear(w.Header())
	})).ServeHTTP(w, get("https://x/"))
	if len(w.Header()) > 0 {
		t.Errorf("headers were set after the connection was gone: %v", w.Header())
	}
}

type hijacked struct{}

func (hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type hijackable struct{}

var errHijack = errors.New("not today")

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errHijack }

// Each middleware that refuses tells the host's hooks, and lets them write the
// body.
func TestRefusalsGoThroughTheHooks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		build  func(guard.Hooks) http.Handler
		r      *http.Request
		status int
		event  guard.EventName
		reason string
	}{
		{
			"TrustedProxies", func(h guard.Hooks) http.Handler {
				return must(headers.NewTrustedProxies([]string{"192.0.2.1"}, headers.ProxiesConfig{Hooks: h})).Handler(nothing)
			}, get("http://a.com/", "X-Forwarded-For", "rubbish"), 400, guard.EventInputFail,
			`X-Forwarded-For from the trusted proxy "192.0.2.1:1234": the client's address is malformed`,
		},
		{
			"TrustedHosts", func(h guard.Hooks) http.Handler {
				return must(headers.NewTrustedHosts([]string{"b.com"}, headers.HostsConfig{Hooks: h})).Handler(nothing)
			}, get("http://a.com/"), 400, guard.EventInputFail, `the host "a.com" is not in the list`,
		},
		{
			"RedirectHTTPS", func(h guard.Hooks) http.Handler {
				return must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: h})).Handler(nothing)
			}, get("http://a.com/", "Authorization", "secret"), 403, guard.EventInputFail, "Authorization over http",
		},
		{
			"Isolate", func(h guard.Hooks) http.Handler {
				return must(headers.NewIsolate(headers.IsolateConfig{Hooks: h})).Handler(nothing)
			}, get("http://a.com/", "Origin", "https://x@a.com"), 403, guard.EventCrossOrigin, `the origin "https://x@a.com" is malformed`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events []guard.Event
			w := do(tt.build(guard.Hooks{
				Observe: func(_ context.Context, e guard.Event) { events = append(events, e) },
				Deny:    func(w http.ResponseWriter, _ *http.Request, d *guard.Denial) { io.WriteString(w, "mine: "+d.Code) },
			}), tt.r)
			if w.Code != tt.status || !strings.HasPrefix(w.Body.String(), "mine: ") {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if len(events) != 1 || events[0].Name != tt.event || !strings.Contains(events[0].Denial.Error(), tt.reason) {
				t.Fatalf("got %+v", events)
			}
			if strings.Contains(events[0].Denial.Error(), "secret") {
				t.Errorf("the log holds a secret: %v", events[0].Denial)
			}
		})
	}
}

// The route ledger sees the guards behind every middleware of the package.
func TestTheLedgerSeesThrough(t *testing.T) {
	mux := guard.NewMux(guard.Hooks{})
	mux.Handle("GET /open", everything(guard.Public("a test")(nothing)))
	mux.Handle("GET /guarded", everything(guard.Hooks{}.Authenticated(nothing)))
	for i, want := range []guard.Kind{guard.KindCaller, guard.KindPublic} {
		q := mux.Routes()[i].Requirements
		if len(q) != 1 || q[0].Kind != want {
			t.Errorf("got %v, want %v alone", q, want)
		}
	}
}

func TestNoHandlerPanics(t *testing.T) {
	defer func() {
		if v := recover(); v != "headers: the next handler is nil" {
			t.Errorf("got %v", v)
		}
	}()
	must(headers.New(headers.Config{})).Handler(nil)
}
