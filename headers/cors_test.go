package headers_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/cors"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
)

// A corsSetup is a configuration with the origins that it lets in and those
// that it does not.
type corsSetup struct {
	name    string
	origins []string
	config  headers.CORSConfig
	yes, no []string
}

// garbage is let in by no configuration but "*".
var garbage = []string{
	"null", "NULL", "https://", "https", "://example.com", "//example.com", "https:/example.com", "https:example.com",
	"https://example.com/", "https://example.com/x", "https://example.com?x", "https://example.com#x", "https://example.com\\",
	"https://example.com:", "https://example.com:0", "https://example.com:443", "https://example.com:0443", "https://example.com:65536",
	"https://example.com:+1", "https://example.com.", "https://user@example.com", "https://user:pw@example.com", "https://@example.com",
	"https://EXAMPLE.com", "HTTPS://example.com", "https://bücher.example", "https://example.com https://example.com",
	"https://example.com,https://evil.com", " https://example.com", "https://exa mple.com", "https://example..com", "https://.example.com",
	"https://example%2ecom", "https://*.example.com", "*", "https://*", "https://[::1", "https://[::1]evil.com", "file://", "https://example.com\x00",
	"https://" + strings.Repeat("a", 10_000) + ".example.com",
}

var corsSetups = []corsSetup{
	{
		"one origin", []string{"https://example.com"}, headers.CORSConfig{},
		[]string{"https://example.com"},
		[]string{
			"http://example.com", "https://evil.com", "https://example.com.evil.com", "https://evilexample.com", "https://example.comevil.com",
			"https://example.co", "https://xample.com", "https://www.example.com", "https://example.com:8443", "https://example.com:80",
			"https://example-com", "https://exampleXcom", "ws://example.com", "chrome-extension://example.com",
		},
	},
	{
		"with credentials", []string{"https://example.com", "https://app.example.com:8443"}, headers.CORSConfig{Credentials: true},
		[]string{"https://example.com", "https://app.example.com:8443"},
		[]string{
			"https://app.example.com", "https://app.example.com:443", "https://app.example.com:84433", "https://app.example.com:844",
			"https://b.app.example.com:8443", "http://app.example.com:8443", "http://example.com", "https://evil.com",
		},
	},
	{
		"a wildcard", []string{"https://*.example.com"}, headers.CORSConfig{Credentials: true},
		[]string{"https://a.example.com", "https://a.b.example.com", "https://xn--bcher-kva.example.com", "https://a-b.example.com", "https://a_b.example.com", "https://1.example.com"},
		[]string{
			"https://example.com", "https://evilexample.com", "https://evil.com/.example.com", "https://evil.com#.example.com",
			"https://evil.com?.example.com", "https://evil.com\\.example.com", "https://evil.com:.example.com", "https://evil.com:80.example.com",
			"https://a.example.com:8443", "http://a.example.com", "https://a.example.com.evil.com", "https://a.example.comevil.com",
			"https://a@b.example.com", "https://evil.com,a.example.com", "https://a.example.com.", "https://A.example.com", "https://a..example.com",
			"https://-a.example.com", "https://a-.example.com", "https://evil.com%2f.example.com", "https://[::1].example.com", "https://a.example.com/",
			"https://" + strings.Repeat("a.", 120) + "b.example.com.evil.org", "https://" + strings.Repeat("a", 64) + ".example.com",
		},
	},
	{
		"a wildcard with a port", []string{"https://*.example.com:8443"}, headers.CORSConfig{},
		[]string{"https://a.example.com:8443", "https://a.b.example.com:8443"},
		[]string{"https://a.example.com", "https://a.example.com:443", "https://a.example.com:84431", "https://example.com:8443", "https://a.example.com:8443.evil.com", "http://a.example.com:8443"},
	},
	{
		"http without credentials", []string{"http://example.com", "http://*.internal.example"}, headers.CORSConfig{},
		[]string{"http://example.com", "http://a.internal.example"},
		[]string{"https://example.com", "http://example.com:80", "http://example.com:443", "https://a.internal.example", "http://internal.example"},
	},
	{
		"http with credentials on purpose", []string{"http://example.com"}, headers.CORSConfig{Credentials: true, InsecureHTTP: true},
		[]string{"http://example.com"}, []string{"https://example.com", "http://www.example.com"},
	},
	{
		"this machine", []string{"http://localhost:3000", "http://127.0.0.1:*", "http://[::1]:*"}, headers.CORSConfig{Credentials: true},
		[]string{"http://localhost:3000", "http://127.0.0.1", "http://127.0.0.1:5173", "http://[::1]", "http://[::1]:5173"},
		[]string{
			"http://localhost", "http://localhost:3001", "https://localhost:3000", "https://127.0.0.1:5173", "http://127.0.0.2:5173", "http://127.0.0.1:80",
			"http://127.0.0.1.evil.com:5173", "http://127.1:5173", "http://0x7f.0.0.1:5173", "http://[::2]:5173", "http://[0:0:0:0:0:0:0:1]:5173",
			"http://[::1%25lo]:5173", "http://localhost.evil.com:3000",
		},
	},
	{
		"addresses", []string{"https://192.0.2.1", "https://[2001:db8::1]:8443"}, headers.CORSConfig{Credentials: true},
		[]string{"https://192.0.2.1", "https://[2001:db8::1]:8443"},
		[]string{"https://192.0.2.01", "https://192.0.2.2", "https://3221225985", "https://[2001:db8::1]", "https://[2001:db8:0::1]:8443", "https://[2001:DB8::1]:8443", "https://192.0.2.1:8443"},
	},
	{
		"an A-label", []string{"https://xn--bcher-kva.example"}, headers.CORSConfig{},
		[]string{"https://xn--bcher-kva.example"}, []string{"https://bücher.example", "https://xn--bcher-kvb.example", "https://XN--BCHER-KVA.example", "https://b%C3%BCcher.example"},
	},
	{
		"null on purpose", []string{"null", "https://a.com"}, headers.CORSConfig{InsecureNull: true},
		[]string{"null", "https://a.com"}, []string{"NULL", "https://null", "nul", "null,https://a.com"},
	},
	{
		"a shared domain on purpose", []string{"https://*.github.io"}, headers.CORSConfig{InsecureSharedDomains: true},
		[]string{"https://evil.github.io"}, []string{"https://github.io", "https://evilgithub.io"},
	},
	{
		"an extension", []string{"chrome-extension://abcdefghijklmnopabcdefghijklmnop"}, headers.CORSConfig{Credentials: true},
		[]string{"chrome-extension://abcdefghijklmnopabcdefghijklmnop"}, []string{"chrome-extension://bbcdefghijklmnopabcdefghijklmnop", "moz-extension://abcdefghijklmnopabcdefghijklmnop"},
	},
	{
		"everybody", []string{"*"}, headers.CORSConfig{Expose: []string{"*"}},
		[]string{"https://example.com", "http://evil.com", "null", "rubbish"}, nil,
	},
}

// exact fails the test unless the CORS headers and Vary are these and no
// others.
func exact(t *testing.T, got http.Header, want map[string]string) {
	t.Helper()
	var all []string
	for name, values := range got {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			all = append(all, name+": "+strings.Join(values, " | "))
		}
	}
	var wanted []string
	for name, value := range want {
		wanted = append(wanted, name+": "+value)
	}
	slices.Sort(all)
	slices.Sort(wanted)
	if !slices.Equal(all, wanted) {
		t.Errorf("got  %q\nwant %q", all, wanted)
	}
}

const preflightVary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

// Each row is an origin at a configuration; each is asked twice, as an actual
// and as a preflight request, and every CORS header of the answer counts.
func TestCORSOrigins(t *testing.T) {
	rows := 0
	for _, setup := range corsSetups {
		c := setup.config
		c.Methods, c.Headers, c.MaxAge = []string{"GET", "PUT"}, []string{"X-B", "X-A"}, time.Hour
		if c.Expose == nil {
			c.Expose = []string{"x-total"}
		}
		m := must(headers.NewCORS(setup.origins, c))
		check := func(origin string, allowed bool) {
			rows++
			t.Run(fmt.Sprintf("%s: %.60q is let in: %t", setup.name, origin, allowed), func(t *testing.T) {
				actual := map[string]string{"Vary": "Origin"}
				preflight := map[string]string{"Vary": preflightVary}
				if allowed {
					actual["Access-Control-Allow-Origin"] = origin
					if setup.origins[0] == "*" {
						actual["Access-Control-Allow-Origin"] = "*"
					}
					if c.Credentials {
						actual["Access-Control-Allow-Credentials"] = "true"
					}
					maps.Copy(preflight, actual)
					preflight["Vary"] = preflightVary
					preflight["Access-Control-Allow-Methods"] = "PUT"
					preflight["Access-Control-Allow-Headers"] = "x-a,x-b"
					preflight["Access-Control-Max-Age"] = "3600"
					actual["Access-Control-Expose-Headers"] = map[bool]string{true: "*", false: "X-Total"}[c.Expose[0] == "*"]
				}
				ran := false
				h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
				r := get("https://api.example.com/", "Origin", origin)
				w := do(h, r)
				if !ran {
					t.Error("the actual request did not reach next")
				}
				exact(t, w.Header(), actual)

				ran = false
				r = get("https://api.example.com/", "Origin", origin, "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-a,x-b")
				r.Method = "OPTIONS"
				w = do(h, r)
				if ran {
					t.Error("the preflight request reached next")
				}
				if w.Code != 204 || w.Body.Len() > 0 {
					t.Errorf("preflight got %d", w.Code)
				}
				exact(t, w.Header(), preflight)
			})
		}
		for _, origin := range setup.yes {
			check(origin, true)
		}
		for _, origin := range setup.no {
			check(origin, false)
		}
		if setup.origins[0] == "*" {
			continue
		}
		for _, origin := range garbage {
			if !slices.Contains(setup.yes, origin) {
				check(origin, false)
			}
		}
	}
	if rows < 200 {
		t.Errorf("%d rows, want 200", rows)
	}
}

// What else is in a request than one origin.
func TestCORSRequests(t *testing.T) {
	const origin, other = "https://example.com", "https://b.example.com"
	const O, M, H = "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"
	allow := func(method, names string) map[string]string {
		m := map[string]string{"Vary": preflightVary, "Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": method, "Access-Control-Max-Age": "600"}
		if names != "" {
			m["Access-Control-Allow-Headers"] = names
		}
		return m
	}
	none := map[string]string{"Vary": preflightVary}
	plain := map[string]string{"Vary": "Origin"}
	all := headers.CORSConfig{Headers: []string{"*"}, InsecureAnyHeader: true}
	for _, tt := range []struct {
		name    string
		config  headers.CORSConfig
		method  string
		headers []string
		next    bool
		want    map[string]string
		refused bool
		reason  string // of the event
	}{
		{"no origin", headers.CORSConfig{}, "GET", nil, true, plain, false, ""},
		{"an empty origin", headers.CORSConfig{}, "GET", []string{O, ""}, true, plain, false, ""},
		{"two origins", headers.CORSConfig{}, "GET", []string{O, origin, O, other}, true, plain, true, "two Origin"},
		{"the same origin twice", headers.CORSConfig{}, "GET", []string{O, origin, O, origin}, true, plain, true, "two Origin"},
		{"two origins, preflight", headers.CORSConfig{}, "OPTIONS", []string{O, origin, O, other, M, "GET"}, false, none, true, "two Origin"},
		{"an empty origin before another", headers.CORSConfig{}, "GET", []string{O, "", O, origin}, true, plain, true, ""},
		{"OPTIONS without a method to ask for reaches the handler", headers.CORSConfig{}, "OPTIONS", []string{O, origin}, true,
			map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": origin}, false, ""},
		{"OPTIONS with an empty one as well", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, ""}, true,
			map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": origin}, false, ""},
		{"OPTIONS without an origin reaches the handler", headers.CORSConfig{}, "OPTIONS", []string{M, "GET"}, true, plain, false, ""},
		{"a preflight for another origin never reaches it", headers.CORSConfig{}, "OPTIONS", []string{O, other, M, "GET"}, false, none, true, "the origin"},
		{"POST is allowed by default", headers.CORSConfig{}, "POST", []string{O, origin}, true,
			map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": origin}, false, ""},
		{"PUT is not", headers.CORSConfig{}, "PUT", []string{O, origin}, true, plain, true, `the method "PUT"`},
		{"nor in a preflight", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "PUT"}, false, none, true, `the method "PUT"`},
		{"methods are compared byte by byte", headers.CORSConfig{Methods: []string{"PATCH"}}, "OPTIONS", []string{O, origin, M, "patch"}, false, none, true, "the method"},
		{"HEAD is allowed by default", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "HEAD"}, false, allow("HEAD", ""), false, ""},
		{"two methods", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", M, "DELETE"}, false, none, true, "two Access-Control-Request-Method"},
		{"the default headers", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "authorization,content-type"}, false, allow("GET", "authorization,content-type"), false, ""},
		{"spaced", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "authorization, content-type"}, false, allow("GET", "authorization, content-type"), false, ""},
		{"split over lines", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "authorization", H, "content-type"}, false, allow("GET", "authorization | content-type"), false, ""},
		{"not in order", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "content-type,authorization"}, false, none, true, "a header of"},
		{"in capitals", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "Authorization"}, false, none, true, "a header of"},
		{"twice", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "authorization,authorization"}, false, none, true, ""},
		{"one that is not allowed", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, "authorization,x-evil"}, false, none, true, "a header of"},
		{"an empty list", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, ""}, false, allow("GET", ""), false, ""},
		{"64 kB of headers", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, strings.Repeat("authorization,", 4700)}, false, none, true, "Access-Control-Request-Headers has more than"},
		{"64 kB of commas", headers.CORSConfig{}, "OPTIONS", []string{O, origin, M, "GET", H, strings.Repeat(",", 64<<10)}, false, none, true, "Access-Control-Request-Headers has more than"},
		{"every header", all, "OPTIONS", []string{O, origin, M, "GET", H, "x-anything"}, false, allow("GET", "x-anything"), false, ""},
		{"64 kB of every header are not sent back", all, "OPTIONS", []string{O, origin, M, "GET", H, strings.Repeat("a,", 32<<10)}, false, none, true, ""},
		{"10 000 lines of every header are not sent back", all, "OPTIONS", slices.Concat([]string{O, origin, M, "GET"}, slices.Repeat([]string{H, ""}, 10_000)), false, none, true, ""},
		{"browsers are told to ask each time", headers.CORSConfig{MaxAge: -1}, "OPTIONS", []string{O, origin, M, "GET"}, false,
			with(allow("GET", ""), "Access-Control-Max-Age", "0"), false, ""},
		{"http where https is allowed", headers.CORSConfig{}, "GET", []string{O, "http://example.com"}, true, plain, true, "https is, http is not"},
		{"another port", headers.CORSConfig{}, "GET", []string{O, "https://example.com:99"}, true, plain, true, "with another port it is"},
		{"a dot at the end", headers.CORSConfig{}, "GET", []string{O, "https://example.com."}, true, plain, true, "a dot at the end"},
		{"null", headers.CORSConfig{}, "GET", []string{O, "null"}, true, plain, true, "sandboxed frames"},
		{"rubbish", headers.CORSConfig{}, "GET", []string{O, "https://example.com/"}, true, plain, true, "nor is it spelled as browsers do"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reason := ""
			tt.config.Hooks.Observe = func(_ context.Context, e guard.Event) {
				if e.Name != guard.EventCrossOrigin || e.Denial != nil || reason != "" {
					t.Errorf("event %+v", e)
				}
				reason = e.Err.Error()
			}
			m := must(headers.NewCORS([]string{origin}, tt.config))
			r := get("https://api.example.com/", tt.headers...)
			r.Method = tt.method
			ran := false
			w := do(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { ran = true; w.WriteHeader(418) })), r)
			if ran != tt.next || w.Code != map[bool]int{true: 418, false: 204}[tt.next] {
				t.Errorf("next ran: %t, status %d", ran, w.Code)
			}
			exact(t, w.Header(), tt.want)
			if (reason != "") != tt.refused || !strings.Contains(reason, tt.reason) {
				t.Errorf("the event has the reason %q, want %q", reason, tt.reason)
			}
		})
	}
}

// Behind a reverse proxy, a backend's CORS headers make two, which browsers
// refuse.
func TestCORSEnforce(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Vary", "Accept")
	}))
	defer backend.Close()
	to, _ := url.Parse(backend.URL)
	proxy := httputil.NewSingleHostReverseProxy(to)
	m := must(headers.NewCORS([]string{"https://a.com"}, headers.CORSConfig{Enforce: true}))
	exact(t, do(m.Handler(proxy), get("https://x/", "Origin", "https://a.com")).Result().Header,
		map[string]string{"Access-Control-Allow-Origin": "https://a.com", "Vary": "Origin | Accept"})
	exact(t, do(m.Handler(proxy), get("https://x/", "Origin", "https://b.com")).Result().Header, map[string]string{"Vary": "Origin | Accept"})
	exact(t, do(m.Handler(proxy), get("https://x/")).Result().Header, map[string]string{"Vary": "Origin | Accept"})
	vandal := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { clear(w.Header()); io.WriteString(w, "x") })
	exact(t, do(m.Handler(vandal), get("https://x/", "Origin", "https://a.com")).Result().Header,
		map[string]string{"Access-Control-Allow-Origin": "https://a.com", "Vary": "Origin"})
	star := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Vary", "Accept, ORIGIN") })
	exact(t, do(m.Handler(star), get("https://x/")).Result().Header, map[string]string{"Vary": "Accept, ORIGIN"})
}

// Who may load what.
func TestIsolateLoading(t *testing.T) {
	const trusted = "https://app.example.com"
	m := must(headers.NewIsolate(headers.IsolateConfig{TrustedOrigins: []string{trusted}, InsecureExempt: []string{"/public/"}}))
	lax := must(headers.NewIsolate(headers.IsolateConfig{InsecureSameSite: true}))
	sites := []string{"", "same-origin", "same-site", "cross-site", "none", "martian"}
	modes := []string{"", "navigate", "cors", "no-cors", "same-origin", "websocket"}
	dests := []string{"", "document", "iframe", "frame", "embed", "object", "image", "script", "empty"}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"} {
		for _, site := range sites {
			for _, mode := range modes {
				for _, dest := range dests {
					own := site == "" || site == "same-origin" || site == "none"
					followed := mode == "navigate" && (dest == "document" || dest == "")
					safe := method == "GET" || method == "HEAD" || method == "OPTIONS"
					want := own || method != "OPTIONS" && safe && followed
					r := get("https://example.com/")
					r.Method = method
					for name, value := range map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest} {
						if value != "" {
							r.Header.Set(name, value)
						}
					}
					name := fmt.Sprintf("%s site %q mode %q dest %q", method, site, mode, dest)
					ran := false
					w := do(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })), r)
					if ran != want || !want && w.Code != 403 {
						t.Errorf("%s: next ran: %t, status %d; want %t", name, ran, w.Code, want)
					}
					if got := lax.Check(r) == nil; got != (want || safe && site == "same-site" && mode != "websocket") {
						t.Errorf("%s with InsecureSameSite: %t", name, got)
					}
					r.Header.Set("Origin", trusted)
					if got := m.Check(r) == nil; !got {
						t.Errorf("%s from a trusted origin is refused", name)
					}
					r.Header.Set("Origin", "https://evil.com")
					evil := want && (safe || site != "") && !(site == "" && mode == "websocket")
					if got := m.Check(r) == nil; got != evil {
						t.Errorf("%s from an evil origin: %t, want %t", name, got, evil)
					}
					r.Header.Del("Origin")
					r.URL.Path = "/public/logo.png"
					if got := m.Check(r) == nil; got != (want || safe && mode != "websocket") {
						t.Errorf("%s of a public path: %t", name, got)
					}
				}
			}
		}
	}
}

// User names, and what else an Origin can be.
func TestIsolateOrigins(t *testing.T) {
	m := must(headers.NewIsolate(headers.IsolateConfig{TrustedOrigins: []string{"https://app.example.com"}}))
	for _, tt := range []struct {
		name    string
		method  string
		target  string
		headers []string
		ok      bool
	}{
		{"a user name in the origin", "POST", "https://example.com/", []string{"Origin", "https://evil@example.com"}, false},
		{"even with GET", "GET", "https://example.com/", []string{"Origin", "https://evil@example.com"}, false},
		{"even same-origin", "POST", "https://example.com/", []string{"Origin", "https://evil@example.com", "Sec-Fetch-Site", "same-origin"}, false},
		{"a path in the origin", "POST", "https://example.com/", []string{"Origin", "https://example.com/x"}, false},
		{"no scheme", "POST", "https://example.com/", []string{"Origin", "//example.com"}, false},
		{"two origins", "POST", "https://example.com/", []string{"Origin", "https://example.com", "Origin", "https://evil.com"}, false},
		{"two Sec-Fetch-Site", "POST", "https://example.com/", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		{"null", "POST", "https://example.com/", []string{"Origin", "null"}, false},
		{"null without a host", "POST", "", []string{"Origin", "null"}, false},
		{"null of the same origin", "POST", "https://example.com/", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, true},
		{"null that reads", "GET", "https://example.com/", []string{"Origin", "null"}, true},
		{"its own", "POST", "https://example.com/", []string{"Origin", "https://example.com"}, true},
		{"its own with a port", "POST", "https://example.com:8443/", []string{"Origin", "https://example.com:8443"}, true},
		{"another port", "POST", "https://example.com:8443/", []string{"Origin", "https://example.com"}, false},
		{"its own in the clear", "POST", "https://example.com/", []string{"Origin", "http://example.com"}, false},
		{"its own in the clear, all of it", "POST", "http://example.com/", []string{"Origin", "http://example.com"}, true},
		{"another", "POST", "https://example.com/", []string{"Origin", "https://evil.com"}, false},
		{"a trusted one", "POST", "https://example.com/", []string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "same-site"}, true},
		{"a trusted one of an old browser", "POST", "https://example.com/", []string{"Origin", "https://app.example.com"}, true},
		{"no browser at all", "DELETE", "https://example.com/", nil, true},
		{"a WebSocket of an old browser", "GET", "https://example.com/", []string{"Origin", "https://evil.com", "Upgrade", "WebSocket"}, false},
		{"a WebSocket of its own", "GET", "https://example.com/", []string{"Origin", "https://example.com", "Upgrade", "websocket"}, true},
		{"a WebSocket of its own with the port written", "GET", "https://example.com:443/", []string{"Origin", "https://example.com", "Upgrade", "websocket"}, true},
		{"a WebSocket of its own on another port", "GET", "https://example.com:444/", []string{"Origin", "https://example.com", "Upgrade", "websocket"}, false},
		{"a WebSocket from the clear", "GET", "https://example.com/", []string{"Origin", "http://example.com", "Upgrade", "websocket"}, false},
		{"a WebSocket of a trusted one", "GET", "https://example.com/", []string{"Origin", "https://app.example.com", "Upgrade", "websocket"}, true},
		{"a WebSocket of no browser", "GET", "https://example.com/", []string{"Upgrade", "websocket"}, true},
		{"a WebSocket from null", "GET", "https://example.com/", []string{"Origin", "null", "Upgrade", "websocket"}, false},
		{"10 kB of origin", "GET", "https://example.com/", []string{"Origin", "https://" + strings.Repeat("a", 10_000)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get(cmp.Or(tt.target, "https://example.com/"), tt.headers...)
			r.Method = tt.method
			if tt.target == "" {
				r.Host = ""
			}
			ran := false
			w := do(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })), r)
			if ran != tt.ok || !tt.ok && w.Code != 403 {
				t.Errorf("next ran: %t, status %d", ran, w.Code)
			}
			if !tt.ok {
				denied(t, m.Check(r), 403)
				if !strings.Contains(w.Body.String(), `"code":"cross_origin"`) {
					t.Errorf("got %s", w.Body)
				}
			}
			want(t, w.Header(), map[string]string{"Vary": "Sec-Fetch-Dest, Sec-Fetch-Mode, Sec-Fetch-Site"})
		})
	}
}

// This package answers actual requests itself, and preflight requests with rs/cors.
func TestActualRequestsAreAnsweredAsByRsCors(t *testing.T) {
	const origin = "https://app.example.com"
	for _, c := range []headers.CORSConfig{
		{},
		{Credentials: true},
		{Expose: []string{"x-total", "ETag"}},
		{Credentials: true, Expose: []string{"X-Total"}, Methods: []string{"GET", "PUT"}},
	} {
		for _, allowed := range []string{origin, "*"} {
			if allowed == "*" && c.Credentials {
				continue
			}
			ours, err := headers.NewCORS([]string{allowed}, c)
			if err != nil {
				t.Fatal(err)
			}
			methods := c.Methods
			if methods == nil {
				methods = []string{"GET", "HEAD", "POST"}
			}
			theirs := cors.New(cors.Options{AllowedOrigins: []string{allowed}, AllowedMethods: methods,
				ExposedHeaders: c.Expose, AllowCredentials: c.Credentials})
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "\"", ""} {
				for _, from := range []string{origin, "https://evil.example", origin + ".evil.example", origin + ":443", "null", "*", origin + ",x", "\x00"} {
					r := httptest.NewRequest("GET", "https://api.example.com/", nil)
					r.Method = method
					r.Header.Set("Origin", from)
					for _, before := range []http.Header{{}, {"Vary": {"Accept-Encoding"}}} {
						got, want := httptest.NewRecorder(), httptest.NewRecorder()
						maps.Copy(got.Header(), before.Clone())
						maps.Copy(want.Header(), before.Clone())
						ours.Handler(nothing).ServeHTTP(got, r)
						theirs.Handler(nothing).ServeHTTP(want, r)
						if !reflect.DeepEqual(got.Header(), want.Header()) {
							t.Errorf("%+v, %s: %q from %q is answered %v, by rs/cors %v", c, allowed, method, from, got.Header(), want.Header())
						}
						for _, values := range got.Header() {
							_ = append(values, "poison")
						}
						if !reflect.DeepEqual(got.Header(), want.Header()) {
							t.Errorf("appending to a header changed another: %v", got.Header())
						}
					}
				}
			}
		}
	}
}
