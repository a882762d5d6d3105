package headers

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/mistakes"
)

// The parsers of what comes from the network are pure functions: here they
// are compared with second opinions.

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a.com", "A.com.:443", "[::1]:8", "192.0.2.1", "a.com@evil", "[::1]evil", "0x7f.1", "1.2.3", "a..b", "-a.b", "a:0", "a:70000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := parseHost(s)
		if !ok {
			if h != (host{}) && h.port != 0 {
				t.Errorf("%q: not ok, with port %d", s, h.port)
			}
			return
		}
		// What is taken has one reading: net/url's is the same.
		u, err := url.Parse("http://" + s + "/")
		if err != nil || u.User != nil || u.Host != s || u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q: net/url reads %+v, %v", s, u, err)
		}
		name := strings.TrimSuffix(u.Hostname(), ".")
		if h.ip && s[0] == '[' {
			if a, err := netip.ParseAddr(name); err != nil || "["+a.String()+"]" != h.name {
				t.Fatalf("%q: %q, net/url reads %q", s, h.name, name)
			}
		} else if h.name != name {
			t.Fatalf("%q: %q, net/url reads %q", s, h.name, name)
		}
		if port := u.Port(); port != "" && port != strconv.Itoa(int(h.port)) || port == "" && h.port != 0 {
			t.Fatalf("%q: port %d, net/url reads %q", s, h.port, port)
		}
		// And it survives a round trip.
		again := h.name
		if h.dot {
			again += "."
		}
		if h.port != 0 {
			again += ":" + strconv.Itoa(int(h.port))
		}
		if h2, ok := parseHost(again); !ok || h2 != h {
			t.Fatalf("%q gives %+v, %q gives %+v", s, h, again, h2)
		}
		for i := range len(s) {
			if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("@/\\?#%,;<>\"'*()=&+$!^|{}`~", c) >= 0 {
				t.Fatalf("%q was taken", s)
			}
		}
	})
}

func FuzzHostMatcher(f *testing.F) {
	f.Add("a.b.example.com")
	f.Add("evilexample.com")
	f.Add("a.example.com.evil.org:443")
	m, err := NewTrustedHosts([]string{"exact.org", "*.example.com"}, HostsConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m.Check(&http.Request{Host: s}) != nil {
			return
		}
		// Whatever passes is, to net/url, one of ours.
		u, err := url.Parse("http://" + s)
		if err != nil {
			t.Fatalf("%q passes: %v", s, err)
		}
		name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if name != "exact.org" && !strings.HasSuffix(name, ".example.com") || u.Path != "" || u.User != nil {
			t.Fatalf("%q passes as %q", s, name)
		}
	})
}

func FuzzOriginMatcher(f *testing.F) {
	for _, s := range []string{"https://a.example.com", "https://evil.com/.example.com", "https://a.example.com:443", "http://127.0.0.1:5", "null", "https://exact.org", "https://a@b.example.com"} {
		f.Add(s)
	}
	p := mistakes.List{Package: "headers"}
	a := newOrigins(&p, []string{"https://exact.org", "https://*.example.com", "https://*.ported.org:8443", "http://127.0.0.1:*"}, CORSConfig{})
	if p.Err() != nil {
		f.Fatal(p.Err())
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !a.has(s) {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme+"://"+u.Host != s || u.User != nil {
			t.Fatalf("%q is let in: %+v, %v", s, u, err)
		}
		name, port := u.Hostname(), u.Port()
		switch {
		case s == "https://exact.org":
		case u.Scheme == "https" && port == "" && strings.HasSuffix(name, ".example.com"):
		case u.Scheme == "https" && port == "8443" && strings.HasSuffix(name, ".ported.org"):
		case u.Scheme == "http" && name == "127.0.0.1":
		default:
			t.Fatalf("%q is let in", s)
		}
	})
}

func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{"https://a.com", "https://a.com:443", "http://[::1]:1", "null", "https://A.com", "x://a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := parseOrigin(s)
		if !ok {
			return
		}
		again := o.scheme + "://" + o.name
		if o.dot {
			again += "."
		}
		if o.port != 0 {
			again += ":" + strconv.Itoa(int(o.port))
		}
		if again != s {
			t.Fatalf("%q was taken, and is spelled %q", s, again)
		}
	})
}

func FuzzParseNode(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "1.2.3.4:5", "[2001:db8::1]:5", "::ffff:1.2.3.4", "unknown", "_x", "", "fe80::1%x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseNode(s)
		if err != nil {
			if a.IsValid() {
				t.Fatalf("%q: %v with an error", s, a)
			}
			return
		}
		if !a.IsValid() || a.Addr().Is4In6() || a.Addr().Zone() != "" {
			t.Fatalf("%q: %v", s, a)
		}
		if b, err := parseNode(a.String()); err != nil || b != a {
			t.Fatalf("%q gives %v, which gives %v, %v", s, a, b, err)
		}
	})
}

func FuzzFromRight(f *testing.F) {
	f.Add("a, b,c", "d")
	f.Add("", ",")
	f.Fuzz(func(t *testing.T, one, two string) {
		lines := []string{one, two}
		var got []string
		fromRight(lines, func(element string) bool {
			got = append(got, element)
			return true
		})
		want := strings.Split(strings.Join(lines, ","), ",")
		slices.Reverse(want)
		for i := range want {
			want[i] = strings.Trim(want[i], " \t")
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: got %q, want %q", lines, got, want)
		}
	})
}

// Whatever a client sends first, the element that the proxy appends is the one
// that is read, or nothing is.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{`for=6.6.6.6`, `for="6.6.6.6`, `x="`, `x=\"`, `x="\`, "", ",", `for=6.6.6.6;host=",`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, client string) {
		for _, appended := range []string{`for=1.2.3.4;proto=https`, `for="[2001:db8::1]:5";proto=https`} {
			want, err := parseForwarded([]string{appended})
			if err != nil || len(want) != 1 {
				t.Fatal(want, err)
			}
			for _, lines := range [][]string{{client + ", " + appended}, {client, appended}} {
				got, err := parseForwarded(lines)
				if err == nil && got[len(got)-1] != want[0] {
					t.Fatalf("%q is read as %+v", lines, got)
				}
			}
		}
	})
}

// The same for X-Forwarded-For, where the client can do nothing at all.
func FuzzXForwarded(f *testing.F) {
	f.Add("6.6.6.6", "https")
	f.Add(",,\"", "")
	m, err := NewTrustedProxies([]string{"10.0.0.1"}, ProxiesConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, client, proto string) {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Host: "a.com", Header: http.Header{
			XForwarded: {client, "6.6.6.6, " + client + ",1.2.3.4"}, "X-Forwarded-Proto": {proto, "http"}, "X-Forwarded-Host": {client},
		}}
		got, err := m.Resolve(r)
		if err != nil || got.RemoteAddr != "1.2.3.4:0" || got.Host != "a.com" || len(got.Header) != 0 {
			t.Fatalf("%q: %v %s %v", client, err, got.RemoteAddr, got.Header)
		}
	})
}

// Redirects never leave the host, whatever the path.
func FuzzRedirect(f *testing.F) {
	f.Add("/x", "", "a=b")
	f.Add("//evil.org", "", "")
	f.Add("/", "", "#%")
	f.Add("/\\evil.org", "/%5cevil.org", "\r\nX: y")
	m, err := NewRedirectHTTPS(HTTPSConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, raw, query string) {
		r := &http.Request{Method: "GET", Host: "a.com", URL: &url.URL{Path: path, RawPath: raw, RawQuery: query}}
		location, err := m.Check(r)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(location)
		if err != nil || u.Scheme != "https" || u.Host != "a.com" || !isPlain(location) {
			t.Fatalf("%q: %v", location, err)
		}
	})
}

// No list of sources makes more directives than it was configured for.
func FuzzCSPSource(f *testing.F) {
	for _, s := range []string{"'self'", "a.com; script-src *", "a,b", "'nonce-x'", "https://a.com/x;y", "\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		c := &CSP{DefaultSrc: []string{None}, ImgSrc: []string{source}, BaseURI: []string{None}}
		p := mistakes.List{Package: "headers"}
		lintCSP(&p, "Config.CSP", c, nil)
		if p.Err() != nil {
			return
		}
		value := c.compile(false).with("n")
		if value == "" {
			value = c.compile(false).without
		}
		if strings.Count(value, ";") != 2 || strings.ContainsAny(value, ",\r\n") {
			t.Fatalf("%q gives %q", source, value)
		}
	})
}
