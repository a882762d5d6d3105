package headers_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/headers"
)

func TestWordsOfTheCurrentSpecificationsAreTaken(t *testing.T) {
	sum256, sum512 := sha256.Sum256([]byte("\xff\xfe alert(5)")), sha512.Sum512([]byte("x>>??"))
	standard := "'sha256-" + base64.StdEncoding.EncodeToString(sum256[:]) + "'"
	for _, tt := range []struct {
		name   string
		change func(*headers.CSP)
		want   string // in the header
	}{
		{"'report-sha256'", func(p *headers.CSP) { p.ScriptSrc = append(p.ScriptSrc, "'report-sha256'") }, "'strict-dynamic' 'report-sha256'"},
		{"'report-sha384'", func(p *headers.CSP) { p.ScriptSrc = append(p.ScriptSrc, "'report-sha384'") }, "'report-sha384'"},
		{"'report-sha512'", func(p *headers.CSP) { p.ScriptSrc = append(p.ScriptSrc, "'report-sha512'") }, "'report-sha512'"},
		{"'trusted-types-eval'", func(p *headers.CSP) {
			p.ScriptSrc, p.RequireTrustedTypes = append(p.ScriptSrc, "'trusted-types-eval'"), true
		}, "'trusted-types-eval'"},
		{"'inline-speculation-rules'", func(p *headers.CSP) { p.ScriptSrc = append(p.ScriptSrc, "'inline-speculation-rules'") }, "'inline-speculation-rules'"},
		{"'unsafe-webtransport-hashes'", func(p *headers.CSP) { p.ConnectSrc = []string{"'self'", "'unsafe-webtransport-hashes'"} }, "connect-src 'self' 'unsafe-webtransport-hashes'"},
		{"trusted-types *", func(p *headers.CSP) { p.TrustedTypes = []string{"*"} }, "trusted-types *"},
		{"trusted-types * with duplicates", func(p *headers.CSP) { p.TrustedTypes = []string{"*", "'allow-duplicates'"} }, "trusted-types * 'allow-duplicates'"},
		{"a hash", func(p *headers.CSP) { p.StyleSrc = []string{standard} }, "style-src " + standard},
		{"a hash in the alphabet of URLs", func(p *headers.CSP) {
			p.StyleSrc = []string{"'sha256-" + base64.URLEncoding.EncodeToString(sum256[:]) + "'"}
		}, "style-src " + standard},
		{"and without padding", func(p *headers.CSP) {
			p.StyleSrc = []string{"'sha256-" + base64.RawURLEncoding.EncodeToString(sum256[:]) + "'"}
		}, "style-src " + standard},
		{"of 512 bits", func(p *headers.CSP) {
			p.StyleSrc = []string{"'sha512-" + base64.RawURLEncoding.EncodeToString(sum512[:]) + "'"}
		}, "style-src 'sha512-" + base64.StdEncoding.EncodeToString(sum512[:]) + "'"},
		{"of a URL", func(p *headers.CSP) {
			p.ScriptSrc = append(p.ScriptSrc, strings.Replace(standard, "sha", "url-sha", 1))
		}, "'url-sha256-"},
		{"of a string that is evaluated", func(p *headers.CSP) {
			p.ScriptSrc = append(p.ScriptSrc, strings.Replace(standard, "sha", "eval-sha", 1))
		}, "'eval-sha256-"},
		{"sandbox with access to storage", func(p *headers.CSP) { p.Sandbox = []string{"allow-storage-access-by-user-activation"} }, "sandbox allow-storage-access-by-user-activation"},
		{"sandbox with cookies of the site", func(p *headers.CSP) { p.Sandbox = []string{"allow-same-site-none-cookies"} }, "sandbox allow-same-site-none-cookies"},
		{"an app as a frame", func(p *headers.CSP) { p.FrameSrc = []string{"app://-", "app://-/x", "capacitor://localhost"} }, "frame-src app://- app://-/x capacitor://localhost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := headers.HTML()
			tt.change(c.CSP)
			h, err := headers.New(c)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.Handler(nothing).ServeHTTP(w, get("https://example.com/"))
			if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, tt.want) {
				t.Errorf("%s\nwant %s in it", got, tt.want)
			}
		})
	}
	for name, change := range map[string]func(*headers.CSP){
		"a hash that is too short": func(p *headers.CSP) {
			p.StyleSrc = []string{"'sha256-" + base64.URLEncoding.EncodeToString(sum256[:31]) + "'"}
		},
		"a hash with the length of another": func(p *headers.CSP) {
			p.StyleSrc = []string{"'sha256-" + base64.URLEncoding.EncodeToString(sum512[:]) + "'"}
		},
		"a hash without its quotation mark": func(p *headers.CSP) { p.StyleSrc = []string{standard[:len(standard)-1]} },
		"a hash of another algorithm": func(p *headers.CSP) {
			p.StyleSrc = []string{"'sha1-" + base64.StdEncoding.EncodeToString(sum256[:20]) + "'"}
		},
		"'strict-dynamic' beside hashes of eval": func(p *headers.CSP) {
			p.ScriptSrc = []string{headers.StrictDynamic, strings.Replace(standard, "sha", "eval-sha", 1)}
		},
		"'report-sha1'":                             func(p *headers.CSP) { p.ScriptSrc = append(p.ScriptSrc, "'report-sha1'") },
		"report-sha256 without quotation marks":     func(p *headers.CSP) { p.ScriptSrc = append(p.ScriptSrc, "report-sha256") },
		"'report-sha256' for targets of forms":      func(p *headers.CSP) { p.FormAction = []string{"'report-sha256'"} },
		"a flag of the sandbox that does not exist": func(p *headers.CSP) { p.Sandbox = []string{"allow-everything"} },
		"an app with a query":                       func(p *headers.CSP) { p.FrameSrc = []string{"app://-/x?y"} },
		"an app without a host":                     func(p *headers.CSP) { p.FrameSrc = []string{"app:///x"} },
	} {
		c := headers.HTML()
		change(c.CSP)
		if _, err := headers.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Pages of this origin can use passkeys, and no other feature is allowed by it.
func TestPagesOfThisOriginMayUsePasskeys(t *testing.T) {
	for name, c := range map[string]headers.Config{"the zero Config": {}, "HTML": headers.HTML()} {
		h, err := headers.New(c)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.Handler(nothing).ServeHTTP(w, get("https://example.com/"))
		for feature := range strings.SplitSeq(w.Header().Get("Permissions-Policy"), ", ") {
			feature, allow, _ := strings.Cut(feature, "=")
			want := "()"
			if strings.HasPrefix(feature, "publickey-credentials-") {
				want = "(self)"
			}
			if allow != want {
				t.Errorf("%s: %s=%s, want %s", name, feature, allow, want)
			}
		}
	}
}
