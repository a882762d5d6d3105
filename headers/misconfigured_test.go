package headers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
)

// events collects the texts of events about the configuration.
type events []string

func (e *events) hooks(t *testing.T) guard.Hooks {
	return guard.Hooks{Observe: func(_ context.Context, event guard.Event) {
		if event.Name != guard.EventMisconfigured || event.Err == nil || event.Denial != nil {
			t.Errorf("event %+v", event)
		}
		*e = append(*e, event.Err.Error())
	}}
}

func TestAProxyThatIsNotTrustedIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		p := must(headers.NewTrustedProxies([]string{"10.0.0.0/8"}, headers.ProxiesConfig{Hooks: seen.hooks(t)}))
		https := must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: seen.hooks(t)}))
		h := p.Handler(https.Handler(nothing))
		ask := func(peer string, header ...string) {
			r := get("http://example.com/", header...)
			r.RemoteAddr = peer
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		ask("192.0.2.7:1")
		ask("192.0.2.7:1", "X-Real-Ip", "1.2.3.4")
		ask("10.0.0.1:1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https")
		if len(seen) != 0 {
			t.Fatalf("reported without a reason: %q", seen)
		}
		for range 5 {
			ask("192.0.2.7:1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https")
		}
		if len(seen) != 1 || !strings.Contains(seen[0], "192.0.2.7:1") || !strings.Contains(seen[0], "NewTrustedProxies") || !strings.Contains(seen[0], "X-Forwarded-For") {
			t.Fatalf("events %q, want one that names the peer and what to do", seen)
		}
		time.Sleep(59 * time.Second)
		ask("192.0.2.7:1", "Forwarded", "for=1.2.3.4;proto=https")
		if len(seen) != 1 {
			t.Errorf("%d events within a minute", len(seen))
		}
		time.Sleep(time.Second)
		ask("192.0.2.8:1", "Forwarded", "for=1.2.3.4;proto=https")
		if len(seen) != 2 || !strings.Contains(seen[1], "192.0.2.8:1") {
			t.Errorf("events %q, want another after a minute", seen)
		}
	})
}

func TestRedirectsThatNeverEndAreReported(t *testing.T) {
	for name, header := range map[string][]string{
		"X-Forwarded-Proto":  {"X-Forwarded-Proto", "https"},
		"Forwarded":          {"Forwarded", `for=1.2.3.4;proto="HTTPS"`},
		"X-Forwarded-Ssl":    {"X-Forwarded-Ssl", "on"},
		"a proxy's last one": {"X-Forwarded-Proto", "http,https"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen events
			h := must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: seen.hooks(t)})).Handler(nothing)
			for range 3 {
				h.ServeHTTP(httptest.NewRecorder(), get("http://example.com/", header...))
			}
			if len(seen) != 1 || !strings.Contains(seen[0], "NewTrustedProxies") {
				t.Errorf("events %q, want one", seen)
			}
		})
	}
	t.Run("a proxy that sends nothing about it", func(t *testing.T) {
		var seen events
		h := must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: seen.hooks(t)})).Handler(nothing)
		ask := func(peer string) {
			r := get("http://example.com/")
			r.RemoteAddr = peer
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		for range 19 {
			ask("10.0.0.1:7")
		}
		ask("10.0.0.2:7")
		for range 19 {
			ask("10.0.0.1:8")
		}
		if len(seen) != 0 {
			t.Fatalf("reported too early: %q", seen)
		}
		for range 5 {
			ask("10.0.0.1:9")
		}
		if len(seen) != 1 || !strings.Contains(seen[0], "10.0.0.1:9") {
			t.Errorf("events %q, want one", seen)
		}
	})
	t.Run("ordinary redirects", func(t *testing.T) {
		var seen events
		h := must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: seen.hooks(t)})).Handler(nothing)
		h.ServeHTTP(httptest.NewRecorder(), get("http://example.com/", "X-Forwarded-Proto", "http"))
		if len(seen) != 0 {
			t.Errorf("events %q", seen)
		}
	})
}

func TestAProxyInFrontOfTheCountedOnesIsReported(t *testing.T) {
	const X, F = "X-Forwarded-For", "Forwarded"
	for _, tt := range []struct {
		name   string
		config headers.ProxiesConfig
		header []string
		client string
		want   bool
	}{
		{"two proxies, both trusted", headers.ProxiesConfig{}, []string{X, "1.2.3.4, 10.0.0.2"}, "10.0.0.2:0", true},
		{"two proxies, the outer one not trusted but private", headers.ProxiesConfig{}, []string{X, "1.2.3.4, 192.168.0.2"}, "192.168.0.2:0", true},
		{"or in shared space", headers.ProxiesConfig{}, []string{X, "1.2.3.4, 100.64.0.2"}, "100.64.0.2:0", true},
		{"on lines of their own", headers.ProxiesConfig{}, []string{X, "1.2.3.4", X, "10.0.0.2"}, "10.0.0.2:0", true},
		{"by Forwarded", headers.ProxiesConfig{Header: F}, []string{F, "for=1.2.3.4, for=10.0.0.2"}, "10.0.0.2:0", true},
		{"three proxies and two hops", headers.ProxiesConfig{Hops: 2}, []string{X, "1.2.3.4, 10.0.0.3, 10.0.0.2"}, "10.0.0.3:0", true},
		{"two proxies and two hops", headers.ProxiesConfig{Hops: 2}, []string{X, "6.6.6.6, 1.2.3.4, 10.0.0.2"}, "1.2.3.4:0", false},
		{"what a client prepends", headers.ProxiesConfig{}, []string{X, "10.0.0.2, 1.2.3.4"}, "1.2.3.4:0", false},
		{"the same by Forwarded", headers.ProxiesConfig{Header: F}, []string{F, "for=10.0.0.2, for=1.2.3.4"}, "1.2.3.4:0", false},
		{"a client in the network", headers.ProxiesConfig{}, []string{X, "10.0.0.2"}, "10.0.0.2:0", false},
		{"rubbish that a client prepends", headers.ProxiesConfig{}, []string{X, "\x80, 1.2.3.4"}, "1.2.3.4:0", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen events
			tt.config.Hooks = seen.hooks(t)
			p := must(headers.NewTrustedProxies([]string{"10.0.0.0/8"}, tt.config))
			client := ""
			h := p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { client = r.RemoteAddr }))
			for range 3 {
				r := httptest.NewRequest("GET", "http://example.com/", nil)
				r.RemoteAddr = "10.0.0.1:5"
				for i := 0; i < len(tt.header); i += 2 {
					r.Header.Add(tt.header[i], tt.header[i+1])
				}
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			if client != tt.client {
				t.Errorf("the client is %s, want %s", client, tt.client)
			}
			if tt.want != (len(seen) == 1) || len(seen) > 1 {
				t.Errorf("events %q", seen)
			}
			if tt.want && (!strings.Contains(seen[0], "ProxiesConfig.Hops") || !strings.Contains(seen[0], tt.client)) {
				t.Errorf("event %q", seen[0])
			}
		})
	}
}

func TestAddressesOfAVendorWithAPort(t *testing.T) {
	const cloudfront = "CloudFront-Viewer-Address"
	for _, tt := range []struct {
		header string
		port   bool
		value  string
		want   string // empty: 400
	}{
		{cloudfront, false, "198.51.100.10:46532", "198.51.100.10:46532"},
		{cloudfront, false, "2600:300:f:abcd::9:9985", "[2600:300:f:abcd::9]:9985"},
		{cloudfront, false, "2600:300:f:abcd::9:46532", "[2600:300:f:abcd::9]:46532"},
		{cloudfront, false, "2001:db8:85a3:0:0:8a2e:370:7334:46532", "[2001:db8:85a3::8a2e:370:7334]:46532"},
		{cloudfront, false, "2001:db8:85a3:0:0:8a2e:370:7334:9985", "[2001:db8:85a3::8a2e:370:7334]:9985"},
		{cloudfront, true, "2600:300:f:::9985", "[2600:300:f::]:9985"},
		{cloudfront, false, "::1:80", "[::1]:80"},
		{cloudfront, false, "::ffff:192.0.2.1:80", "192.0.2.1:80"},
		{cloudfront, false, "[2001:db8::1]:80", "[2001:db8::1]:80"},
		{cloudfront, false, "2600:300:f::9985", ""}, // an address without a port
		{cloudfront, false, "2001:db8:85a3:0:0:8a2e:370:7334", ""},
		{cloudfront, false, "198.51.100.10", ""},
		{cloudfront, false, "198.51.100.10:", ""},
		{cloudfront, false, "198.51.100.10:0", ""},
		{cloudfront, false, "198.51.100.10:99999", ""},
		{cloudfront, false, "198.51.100.10:80:80", ""},
		{cloudfront, false, "[2001:db8::1:80", ""},
		{cloudfront, false, "2001:db8::1]:80", ""},
		{cloudfront, false, "[[2001:db8::1]]:80", ""},
		{cloudfront, false, "fe80::1%eth0:80", ""},
		{cloudfront, false, ":80", ""},
		{cloudfront, false, "", ""},
		{cloudfront, false, "unknown:80", ""},
		{"X-Viewer", true, "2600:300:f:abcd::9:9985", "[2600:300:f:abcd::9]:9985"},
		{"X-Viewer", true, "2600:300:f:abcd::9", ""}, // an address without a port
		{"X-Viewer", false, "2600:300:f:abcd::9:9985", "[2600:300:f:abcd::9:9985]:0"},
		{"X-Viewer", false, "2001:db8:85a3:0:0:8a2e:370:7334:46532", ""},
		{"X-Viewer", false, "198.51.100.10", "198.51.100.10:0"},
	} {
		p := must(headers.NewTrustedProxies([]string{"10.0.0.0/8"}, headers.ProxiesConfig{Header: tt.header, Port: tt.port}))
		r := get("http://example.com/", tt.header, tt.value)
		r.RemoteAddr = "10.0.0.1:5"
		settled, err := p.Resolve(r)
		if tt.want == "" {
			denied(t, err, 400)
			continue
		}
		if err != nil || settled.RemoteAddr != tt.want {
			t.Errorf("%s: %q is %s, %v; want %s", tt.header, tt.value, settled.RemoteAddr, err, tt.want)
		}
	}
	for _, header := range []string{"", headers.Forwarded} {
		if _, err := headers.NewTrustedProxies(nil, headers.ProxiesConfig{Header: header, Port: true}); err == nil || !strings.Contains(err.Error(), "ProxiesConfig.Port") {
			t.Errorf("%q with Port: %v", header, err)
		}
	}
}

func TestHeadersThatClaimAnotherPathOrMethodAreRemoved(t *testing.T) {
	p := must(headers.NewTrustedProxies([]string{"10.0.0.0/8"}, headers.ProxiesConfig{}))
	for _, peer := range []string{"10.0.0.1:5", "192.0.2.7:1"} {
		for _, name := range []string{
			"X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Original-Path", "X-Original-Host", "X-Rewrite-URL", "X-Rewrite-URI",
			"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Prefix", "X_Original_Uri",
			"X-Envoy-Original-Path", "X-Request-URI", "X-Original_Method",
		} {
			r := httptest.NewRequest("GET", "http://example.com/", nil)
			r.RemoteAddr = peer
			r.Header[http.CanonicalHeaderKey(name)] = []string{"/admin"}
			r.Header.Set("X-Ordinary", "1")
			settled, err := p.Resolve(r)
			if err != nil || len(settled.Header) != 1 {
				t.Errorf("%s from %s: %v, %v", name, peer, settled.Header, err)
			}
		}
	}
}
