package headers_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/headers"
)

const (
	firefox  = "moz-extension://2d0a5d4e-0b6c-4a4b-9f0e-0d6f0a8f7c11"
	safari   = "safari-web-extension://2D0A5D4E-0B6C-4A4B-9F0E-0D6F0A8F7C11"
	chromium = "chrome-extension://amnnhclgmbldmfcfamonoggjhfidemmm"
)

// allows reports whether a preflight request of the origin is allowed.
func allows(c *headers.CORS, origin string) bool {
	r := get("https://api.example.com/", "Origin", origin, "Access-Control-Request-Method", "POST")
	r.Method = "OPTIONS"
	w := httptest.NewRecorder()
	c.Handler(nothing).ServeHTTP(w, r)
	return w.Header().Get("Access-Control-Allow-Origin") == origin
}

// forges reports whether a POST of a page of the origin passes.
func forges(i *headers.Isolate, origin string, more ...string) bool {
	r := get("https://api.example.com/", append([]string{"Origin", origin, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, more...)...)
	r.Method = "POST"
	return i.Check(r) == nil
}

func TestOriginsOfOtherSchemesKeepTheirSpelling(t *testing.T) {
	for _, tt := range []struct {
		origin string
		others []string
	}{
		{"app://-", []string{"app://", "app://.", "app://--", "App://-", "https://-", "app://-/", "app://-:80"}},
		{"app://.", []string{"app://-", "app://..", "app://"}},
		{"app://obsidian.md", []string{"app://OBSIDIAN.md", "https://obsidian.md", "app://x.obsidian.md"}},
		{"capacitor://localhost", []string{"ionic://localhost", "capacitor://Localhost"}},
		{"vscode-webview://1a2B3c", []string{"vscode-webview://1a2b3c"}},
		{"app://My_App:8080", []string{"app://My_App", "app://my_app:8080"}},
		{safari, []string{strings.ToLower(safari)}},
		{firefox, []string{strings.ToUpper(firefox), firefox[:len(firefox)-1] + "2", firefox + ":1"}},
		{"app://[2001:db8::1]", []string{"app://2001:db8::1"}},
	} {
		t.Run(tt.origin, func(t *testing.T) {
			for _, credentials := range []bool{false, true} {
				c, err := headers.NewCORS([]string{tt.origin}, headers.CORSConfig{Credentials: credentials})
				if err != nil {
					t.Fatal(err)
				}
				if !allows(c, tt.origin) {
					t.Error("CORS: not allowed")
				}
				for _, other := range append(tt.others, "null", "https://evil.example") {
					if allows(c, other) {
						t.Errorf("CORS: %q is allowed too", other)
					}
				}
			}
			i, err := headers.NewIsolate(headers.IsolateConfig{TrustedOrigins: []string{tt.origin}})
			if err != nil {
				t.Fatal(err)
			}
			if !forges(i, tt.origin) {
				t.Error("Isolate: refused")
			}
			for _, other := range append(tt.others, "null", "https://evil.example") {
				if forges(i, other) {
					t.Errorf("Isolate: %q passes too", other)
				}
			}
		})
	}
	for _, bad := range []string{"app://", "app://a b", "app://a/b", "app://a?b", "app://a#b", "app://u@a", "app://a:b", "app://a:0", "app://a|b", "app://a\\b",
		"app://a<b", "app://é", "App://a", "1app://a", "file:///x", "file://x", "app://[::1", "app://a\x00", "app://*", "app://*.x", "app://a,b", "app://a%41\"",
		"https://EXAMPLE.com", "http://-"} {
		if _, err := headers.NewCORS([]string{bad}, headers.CORSConfig{}); err == nil {
			t.Errorf("CORS takes %q", bad)
		}
		if _, err := headers.NewIsolate(headers.IsolateConfig{TrustedOrigins: []string{bad}}); err == nil {
			t.Errorf("Isolate takes %q", bad)
		}
	}
}

func TestEveryExtensionOfASchemeIsAllowedByName(t *testing.T) {
	for _, credentials := range []bool{false, true} {
		c, err := headers.NewCORS([]string{"https://app.example.com"}, headers.CORSConfig{
			Credentials: credentials, InsecureAnyExtension: []string{"moz-extension", "safari-web-extension"}})
		if err != nil {
			t.Fatal(err)
		}
		only, err := headers.NewCORS(nil, headers.CORSConfig{Credentials: credentials, InsecureAnyExtension: []string{"moz-extension", "safari-web-extension"}})
		if err != nil {
			t.Fatal(err)
		}
		i, err := headers.NewIsolate(headers.IsolateConfig{InsecureAnyExtension: []string{"moz-extension", "safari-web-extension"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, origin := range []string{firefox, safari, strings.Replace(firefox, "2d", "3e", 1)} {
			if !allows(c, origin) || !allows(only, origin) || !forges(i, origin) {
				t.Errorf("%s is not allowed", origin)
			}
		}
		for _, origin := range []string{chromium, "moz-extension://", "moz-extension://a.b", "moz-extension://a/b", "moz-extension://a:1", "moz-extension://a@b",
			"Moz-Extension://abc", "xmoz-extension://abc", "https://moz-extension", "null", "moz-extension:abc", firefox + "/", firefox + " "} {
			if allows(c, origin) || allows(only, origin) || forges(i, origin) {
				t.Errorf("%s is allowed", origin)
			}
		}
		if !allows(c, "https://app.example.com") || allows(only, "https://app.example.com") {
			t.Error("the listed origin")
		}
	}
	i, _ := headers.NewIsolate(headers.IsolateConfig{InsecureAnyExtension: []string{"moz-extension"}})
	for origin, want := range map[string]bool{firefox: true, chromium: false} {
		r := get("https://api.example.com/", "Origin", origin, "Upgrade", "websocket")
		if passes := i.Check(r) == nil; passes != want {
			t.Errorf("a WebSocket of %s passes: %v", origin, passes)
		}
		r = get("https://api.example.com/", "Origin", origin, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
		if passes := i.Check(r) == nil; passes != want {
			t.Errorf("loading by %s passes: %v", origin, passes)
		}
	}
	// A scheme that is not of the web is never this server's own.
	i, _ = headers.NewIsolate(headers.IsolateConfig{})
	if r := get("https://api.example.com/", "Origin", "app://api.example.com", "Upgrade", "websocket"); i.Check(r) == nil {
		t.Error("a WebSocket of app://api.example.com passes")
	}
	for _, bad := range []string{"https", "moz-extension://", "*", "", "file", "moz-extension://*"} {
		if _, err := headers.NewCORS([]string{"https://a.example"}, headers.CORSConfig{InsecureAnyExtension: []string{bad}}); err == nil || !strings.Contains(err.Error(), "CORSConfig.InsecureAnyExtension[0]") {
			t.Errorf("CORS takes %q: %v", bad, err)
		}
		if _, err := headers.NewIsolate(headers.IsolateConfig{InsecureAnyExtension: []string{bad}}); err == nil || !strings.Contains(err.Error(), "IsolateConfig.InsecureAnyExtension[0]") {
			t.Errorf("Isolate takes %q: %v", bad, err)
		}
	}
	for _, wild := range []string{"moz-extension://*", "chrome-extension://*"} {
		if _, err := headers.NewCORS([]string{wild}, headers.CORSConfig{}); err == nil || !strings.Contains(err.Error(), "CORSConfig.InsecureAnyExtension") {
			t.Errorf("%s: %v", wild, err)
		}
	}
}

func TestEmptyListsAreNamedAsEmpty(t *testing.T) {
	_, hosts := headers.NewTrustedHosts(nil, headers.HostsConfig{})
	_, origins := headers.NewCORS(nil, headers.CORSConfig{})
	_, policy := headers.New(headers.Config{CSP: &headers.CSP{}})
	for want, err := range map[string]error{"headers: hosts is empty; use": hosts, "headers: origins is empty; use": origins, "Config.CSP.DefaultSrc is empty": policy} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), `is ""`) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
