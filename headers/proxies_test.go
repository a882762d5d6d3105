package headers_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
)

// denied fails the test unless err is a denial with the status.
func denied(t *testing.T, err error, status int) {
	t.Helper()
	d, ok := errors.AsType[*guard.Denial](err)
	if !ok || d.Status != status {
		t.Errorf("got %v, want a denial with %d", err, status)
	}
}

// What each header makes of address, scheme and host.
func TestTrustedProxiesResolve(t *testing.T) {
	private := []string{"10.0.0.0/8", "fd00::/8"}
	xf := headers.ProxiesConfig{}
	two := headers.ProxiesConfig{Hops: 2}
	host := headers.ProxiesConfig{Host: true}
	fwd := headers.ProxiesConfig{Header: "forwarded", Host: true}
	fwd2 := headers.ProxiesConfig{Header: headers.Forwarded, Hops: 2}
	cf := headers.ProxiesConfig{Header: "CF-Connecting-IP", SchemeHeader: "X-Forwarded-Proto"}
	const peer = "10.0.0.1:5555"
	const X, P, H, F = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"
	for _, tt := range []struct {
		name    string
		trusted []string
		config  headers.ProxiesConfig
		peer    string
		headers []string
		addr    string // empty: 400
		scheme  string
		host    string
	}{
		{"nobody is trusted", nil, xf, peer, []string{X, "1.2.3.4", P, "https", H, "evil"}, peer, "http", "example.com"},
		{"a direct peer forges all of it", private, host, "1.1.1.1:1", []string{X, "1.2.3.4", P, "https", H, "evil"}, "1.1.1.1:1", "http", "example.com"},
		{"a trusted peer is believed", private, xf, peer, []string{X, "1.2.3.4", P, "https"}, "1.2.3.4:0", "https", "example.com"},
		{"an IPv6 peer is believed", private, xf, "[fd00::1]:5", []string{X, "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"a peer with a zone is believed", []string{"fe80::/10"}, xf, "[fe80::1%eth0]:5", []string{X, "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"an IPv4 peer in IPv6 notation is believed", private, xf, "[::ffff:10.0.0.1]:5", []string{X, "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"its neighbour is not", private, xf, "11.0.0.1:5", []string{X, "1.2.3.4"}, "11.0.0.1:5", "http", "example.com"},
		{"a single address is a prefix", []string{"10.0.0.1"}, xf, peer, []string{X, "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"and its neighbour is none", []string{"10.0.0.2"}, xf, peer, []string{X, "1.2.3.4"}, peer, "http", "example.com"},
		{"a UNIX socket", []string{"unix"}, xf, "@", []string{X, "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"a UNIX socket that is not trusted", private, xf, "@", []string{X, "1.2.3.4"}, "@", "http", "example.com"},
		{"a peer without an address", private, xf, "nonsense", []string{X, "1.2.3.4"}, "nonsense", "http", "example.com"},
		{"no header is the proxy's own request", private, xf, peer, nil, peer, "http", "example.com"},
		{"what the client prepended does not count", private, xf, peer, []string{X, "6.6.6.6, 1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"nor does its line of its own", private, xf, peer, []string{X, "6.6.6.6", X, "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"nor rubbish before the last", private, xf, peer, []string{X, "unknown, \x80,,;\", 1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"nor a trusted address that the client claims", private, two, peer, []string{X, "10.6.6.6, 1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"10 kB of addresses before the last", private, xf, peer, []string{X, strings.Repeat("6.6.6.6, ", 1200) + "1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"10 kB without a comma", private, xf, peer, []string{X, strings.Repeat("1", 10_000)}, "", "", ""},
		{"10 kB of commas", private, xf, peer, []string{X, strings.Repeat(",", 10_000)}, "", "", ""},
		{"unknown", private, xf, peer, []string{X, "unknown"}, "", "", ""},
		{"empty", private, xf, peer, []string{X, ""}, "", "", ""},
		{"an empty last element", private, xf, peer, []string{X, "1.2.3.4,"}, "", "", ""},
		{"a name", private, xf, peer, []string{X, "localhost"}, "", "", ""},
		{"octal", private, xf, peer, []string{X, "010.0.0.1"}, "", "", ""},
		{"a zone", private, xf, peer, []string{X, "fe80::1%eth0"}, "", "", ""},
		{"three numbers", private, xf, peer, []string{X, "1.2.3"}, "", "", ""},
		{"spaces within", private, xf, peer, []string{X, "1.2.3.4 5.6.7.8"}, "", "", ""},
		{"quoted", private, xf, peer, []string{X, `"1.2.3.4"`}, "", "", ""},
		{"a port", private, xf, peer, []string{X, "1.2.3.4:99"}, "1.2.3.4:99", "http", "example.com"},
		{"a bad port", private, xf, peer, []string{X, "1.2.3.4:99999"}, "", "", ""},
		{"IPv6", private, xf, peer, []string{X, "2001:db8::1"}, "[2001:db8::1]:0", "http", "example.com"},
		{"IPv6 with a port", private, xf, peer, []string{X, "[2001:db8::1]:99"}, "[2001:db8::1]:99", "http", "example.com"},
		{"IPv6 in brackets", private, xf, peer, []string{X, "[2001:DB8::1]"}, "[2001:db8::1]:0", "http", "example.com"},
		{"IPv4 in brackets", private, xf, peer, []string{X, "[1.2.3.4]"}, "", "", ""},
		{"an open bracket", private, xf, peer, []string{X, "[2001:db8::1"}, "", "", ""},
		{"IPv4 in IPv6 notation is IPv4", private, xf, peer, []string{X, "::ffff:1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"also in hexadecimal", private, xf, peer, []string{X, "::ffff:102:304"}, "1.2.3.4:0", "http", "example.com"},
		{"other IPv6 that ends in IPv4 is IPv6", private, xf, peer, []string{X, "2001:db8::1.2.3.4"}, "[2001:db8::102:304]:0", "http", "example.com"},
		{"two hops", private, two, peer, []string{X, "6.6.6.6, 1.2.3.4, 10.0.0.2"}, "1.2.3.4:0", "http", "example.com"},
		{"two hops over two lines", private, two, peer, []string{X, "6.6.6.6, 1.2.3.4", X, "10.0.0.2"}, "1.2.3.4:0", "http", "example.com"},
		{"the second hop is not a proxy", private, two, peer, []string{X, "6.6.6.6, 1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"no more hops than configured", private, xf, peer, []string{X, "1.2.3.4, 10.0.0.2"}, "10.0.0.2:0", "http", "example.com"},
		{"all hops are proxies", private, headers.ProxiesConfig{Hops: 9}, peer, []string{X, "10.0.0.3, 10.0.0.2"}, "10.0.0.3:0", "http", "example.com"},
		{"the second hop is malformed", private, two, peer, []string{X, "rubbish, 10.0.0.2"}, "", "", ""},
		{"everybody is a proxy", []string{"0.0.0.0/0"}, headers.ProxiesConfig{InsecureAnyPeer: true, Hops: 2}, "8.8.8.8:1", []string{X, "6.6.6.6, 1.2.3.4, 5.6.7.8"}, "1.2.3.4:0", "http", "example.com"},

		{"scheme http", private, xf, peer, []string{X, "1.2.3.4", P, "http"}, "1.2.3.4:0", "http", "example.com"},
		{"scheme in capitals", private, xf, peer, []string{X, "1.2.3.4", P, "HTTPS"}, "1.2.3.4:0", "https", "example.com"},
		{"scheme of a WebSocket", private, xf, peer, []string{X, "1.2.3.4", P, "wss"}, "1.2.3.4:0", "https", "example.com"},
		{"scheme of nothing", private, xf, peer, []string{X, "1.2.3.4", P, "gopher"}, "", "", ""},
		{"scheme empty", private, xf, peer, []string{X, "1.2.3.4", P, ""}, "", "", ""},
		{"the client prepended a scheme", private, xf, peer, []string{X, "6.6.6.6, 1.2.3.4", P, "https, http"}, "1.2.3.4:0", "http", "example.com"},
		{"in a line of its own", private, xf, peer, []string{X, "1.2.3.4", P, "https", P, "http"}, "1.2.3.4:0", "http", "example.com"},
		{"two schemes for two hops", private, two, peer, []string{X, "1.2.3.4, 10.0.0.2", P, "https, http"}, "1.2.3.4:0", "https", "example.com"},
		{"one scheme for two hops", private, two, peer, []string{X, "1.2.3.4, 10.0.0.2", P, "https"}, "1.2.3.4:0", "https", "example.com"},
		{"two schemes for three hops", private, headers.ProxiesConfig{Hops: 3}, peer, []string{X, "1.2.3.4, 10.0.0.3, 10.0.0.2", P, "https, http"}, "", "", ""},
		{"a scheme without an address", private, xf, peer, []string{P, "https"}, peer, "https", "example.com"},

		{"a host that was not asked for", private, xf, peer, []string{X, "1.2.3.4", H, "evil.org"}, "1.2.3.4:0", "http", "example.com"},
		{"a host", private, host, peer, []string{X, "1.2.3.4", H, "shop.example.com:8443"}, "1.2.3.4:0", "http", "shop.example.com:8443"},
		{"a malformed host", private, host, peer, []string{X, "1.2.3.4", H, "a@b"}, "", "", ""},
		{"another family", private, xf, peer, []string{F, "for=1.2.3.4;proto=https", "X-Real-Ip", "1.2.3.4"}, peer, "http", "example.com"},
		{"another family, the other way", private, fwd, peer, []string{X, "1.2.3.4", P, "https", H, "evil"}, peer, "http", "example.com"},

		{"Forwarded", private, fwd, peer, []string{F, "for=1.2.3.4;proto=https;host=shop.example.com"}, "1.2.3.4:0", "https", "shop.example.com"},
		{"Forwarded in capitals, spaced", private, fwd, peer, []string{F, " For=1.2.3.4 ; PROTO=HTTPS ;by=_x"}, "1.2.3.4:0", "https", "example.com"},
		{"Forwarded with quoted IPv6", private, fwd, peer, []string{F, `for="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:4711", "http", "example.com"},
		{"Forwarded with an obfuscated port", private, fwd, peer, []string{F, `for="1.2.3.4:_x1"`}, "1.2.3.4:0", "http", "example.com"},
		{"Forwarded with escapes", private, fwd, peer, []string{F, `for="1\.2.3.4";host="a\.com"`}, "1.2.3.4:0", "http", "a.com"},
		{"Forwarded with IPv6 without brackets", private, fwd, peer, []string{F, `for="2001:db8::1"`}, "", "", ""},
		{"Forwarded unknown", private, fwd, peer, []string{F, "for=unknown"}, "", "", ""},
		{"Forwarded obfuscated", private, fwd, peer, []string{F, "for=_hidden"}, "", "", ""},
		{"Forwarded without an address", private, fwd, peer, []string{F, "proto=https"}, "", "", ""},
		{"Forwarded prepended", private, fwd, peer, []string{F, "for=6.6.6.6;proto=https;host=evil, for=1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"Forwarded prepended in its line", private, fwd, peer, []string{F, "for=6.6.6.6", F, "for=1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"Forwarded with an open quotation mark to swallow the proxy's", private, fwd, peer, []string{F, `for="6.6.6.6, for=1.2.3.4`}, "", "", ""},
		{"Forwarded with a quotation mark that the proxy's closes", private, fwd, peer, []string{F, `for=6.6.6.6;x=", for="[2001:db8::1]"`}, "", "", ""},
		{"Forwarded twice for", private, fwd, peer, []string{F, "for=1.2.3.4;for=6.6.6.6"}, "", "", ""},
		{"Forwarded with a comma in quotation marks", private, fwd, peer, []string{F, `by="a, for=6.6.6.6";for=1.2.3.4`}, "1.2.3.4:0", "http", "example.com"},
		{"Forwarded empty", private, fwd, peer, []string{F, ""}, "", "", ""},
		{"Forwarded with an empty element", private, fwd, peer, []string{F, "for=1.2.3.4,"}, "", "", ""},
		{"Forwarded with another separator", private, fwd, peer, []string{F, "for=1.2.3.4/proto=https"}, "", "", ""},
		{"Forwarded without a value", private, fwd, peer, []string{F, "for="}, "", "", ""},
		{"Forwarded without a name", private, fwd, peer, []string{F, "=1.2.3.4"}, "", "", ""},
		{"Forwarded with a space before the value", private, fwd, peer, []string{F, "for= 1.2.3.4"}, "", "", ""},
		{"Forwarded with a control character", private, fwd, peer, []string{F, "by=\"\x01\";for=1.2.3.4"}, "", "", ""},
		{"Forwarded 10 kB", private, fwd, peer, []string{F, strings.Repeat("for=1.2.3.4,", 833) + "for=1.2.3.4"}, "", "", ""},
		{"Forwarded two hops", private, fwd2, peer, []string{F, "for=6.6.6.6, for=1.2.3.4;proto=https, for=10.0.0.2;proto=http"}, "1.2.3.4:0", "https", "example.com"},
		{"Forwarded two hops, the second is no proxy", private, fwd2, peer, []string{F, "for=6.6.6.6, for=1.2.3.4"}, "1.2.3.4:0", "http", "example.com"},
		{"Forwarded host that was not asked for", private, fwd2, peer, []string{F, "for=1.2.3.4;host=evil"}, "1.2.3.4:0", "http", "example.com"},
		{"Forwarded host malformed", private, fwd, peer, []string{F, `for=1.2.3.4;host="a b"`}, "", "", ""},

		{"a vendor's", private, cf, peer, []string{"CF-Connecting-IP", "1.2.3.4", P, "https", X, "6.6.6.6"}, "1.2.3.4:0", "https", "example.com"},
		{"a vendor's twice", private, cf, peer, []string{"CF-Connecting-IP", "6.6.6.6", "CF-Connecting-IP", "1.2.3.4"}, "", "", ""},
		{"a vendor's list", private, cf, peer, []string{"CF-Connecting-IP", "6.6.6.6, 1.2.3.4"}, "", "", ""},
		{"a vendor's empty", private, cf, peer, []string{"CF-Connecting-IP", ""}, "", "", ""},
		{"a vendor's missing", private, cf, peer, nil, peer, "http", "example.com"},
		{"a vendor's from somebody else", private, cf, "1.1.1.1:1", []string{"CF-Connecting-IP", "1.2.3.4", P, "https"}, "1.1.1.1:1", "http", "example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := must(headers.NewTrustedProxies(tt.trusted, tt.config))
			r := get("http://example.com/", tt.headers...)
			r.Header.Set("Accept", "a/b")
			r.RemoteAddr = tt.peer
			before := fmt.Sprint(r.Header)
			ran := false
			w := do(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
				ran = true
				if got.RemoteAddr != tt.addr || guard.Scheme(got) != tt.scheme || got.Host != tt.host {
					t.Errorf("got %s %s://%s, want %s %s://%s", got.RemoteAddr, guard.Scheme(got), got.Host, tt.addr, tt.scheme, tt.host)
				}
				if len(got.Header) != 1 || got.Header.Get("Accept") != "a/b" {
					t.Errorf("the handler sees %v, want Accept alone", got.Header)
				}
			})), r)
			if ran != (tt.addr != "") {
				t.Errorf("next ran: %t", ran)
			}
			if !ran {
				if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" || strings.Contains(w.Body.String(), "6.6.6.6") {
					t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
				}
				_, err := m.Resolve(r)
				denied(t, err, 400)
			}
			if fmt.Sprint(r.Header) != before || r.RemoteAddr != tt.peer {
				t.Error("the caller's request was changed")
			}
		})
	}
}

func TestTrustedProxiesStripsEveryClaim(t *testing.T) {
	m := must(headers.NewTrustedProxies(nil, headers.ProxiesConfig{Header: "X-My-Edge", SchemeHeader: "X-My-Scheme"}))
	for _, name := range strings.Fields(`X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port
		X-Forwarded-Prefix X-Forwarded-Server X-Forwarded-Ssl X-Forwarded-Scheme X-Forwarded-By X-Forwarded-Anything
		Forwarded X-Real-IP True-Client-IP CF-Connecting-IP Fastly-Client-IP Fly-Client-IP X-Client-IP X-Cluster-Client-IP
		X-Original-URL X-Rewrite-URL X-Original-Host X-Host Front-End-Https X-Scheme X-Url-Scheme X-My-Edge X-My-Scheme
		X-Forward-For X-Forwarder-For X-Original-Remote-Addr X-Appengine-Remote-Addr X-Appengine-User-IP Incap-Client-IP
		Akamai-Client-IP Ali-CDN-Real-IP EO-Client-IP CDN-Src-IP X-Proto X-HTTPS X-SSL X-Client-Scheme
		X_Forwarded_For X_FORWARDED_PROTO X-Real_IP X_My_Edge X_Ssl`) {
		r, err := m.Resolve(get("http://x/", name, "x"))
		if err != nil || len(r.Header) != 0 {
			t.Errorf("%s passes: %v, %v", name, r.Header, err)
		}
	}
	r := get("http://x/", "Accept", "a/b")
	if got, _ := m.Resolve(r); got != r {
		t.Error("a request that claims nothing was copied")
	}
}

// A header that is configured is read before it goes.
func TestTrustedProxiesReadTheHeaderThatTheyStrip(t *testing.T) {
	m := must(headers.NewTrustedProxies([]string{"10.0.0.1"}, headers.ProxiesConfig{Header: "Ali-CDN-Real-IP", SchemeHeader: "X-Client-Scheme"}))
	r := get("http://x/", "Ali-CDN-Real-IP", "1.2.3.4", "X-Client-Scheme", "https", "EO-Client-IP", "6.6.6.6")
	r.RemoteAddr = "10.0.0.1:1"
	got, err := m.Resolve(r)
	if err != nil || got.RemoteAddr != "1.2.3.4:0" || guard.Scheme(got) != "https" || len(got.Header) != 0 {
		t.Errorf("got %s %s %v, %v", got.RemoteAddr, guard.Scheme(got), got.Header, err)
	}
}

// Trailers arrive behind the body, and some frameworks merge them into the
// headers.
func TestTrustedProxiesStripClaimsFromTrailers(t *testing.T) {
	m := must(headers.NewTrustedProxies(nil, headers.ProxiesConfig{Header: "X-My-Edge"}))
	const chunks = "4\r\nbody\r\n0\r\n"
	for _, tt := range []struct {
		name     string
		declared string
		trailers string
		early    string // what is declared when the handler begins
		want     string
	}{
		{"none", "", "", "map[]", "map[]"},
		{"a claim", "X-Forwarded-For", "X-Forwarded-For: 6.6.6.6\r\n", "map[]", "map[]"},
		{"a claim that was not declared", "", "X-Forwarded-For: 6.6.6.6\r\n", "map[]", "map[]"},
		{"one of ours", "X-My-Edge", "X-My-Edge: 6.6.6.6\r\n", "map[]", "map[]"},
		{"an underscore", "X_Real_Ip", "X_Real_Ip: 6.6.6.6\r\n", "map[]", "map[]"},
		{"a claim beside another", "X-Forwarded-For, Digest", "X-Forwarded-For: 6.6.6.6\r\nDigest: d\r\n", "map[Digest:[]]", "map[Digest:[d]]"},
		{"a claim that hides behind another", "Digest", "Digest: d\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n", "map[Digest:[]]", "map[Digest:[d]]"},
		{"one that does not come", "Digest", "", "map[Digest:[]]", "map[Digest:[]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran := false
			server := httptest.NewServer(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				ran = true
				if got := fmt.Sprint(r.Trailer); got != tt.early {
					t.Errorf("before the body: %s, want %s", got, tt.early)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != "body" {
					t.Errorf("body %q, %v", body, err)
				}
				if n, err := r.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("behind the end: %d, %v", n, err)
				}
				if got := fmt.Sprint(r.Trailer); got != tt.want {
					t.Errorf("behind the body: %s, want %s", got, tt.want)
				}
			})))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			declared := ""
			if tt.declared != "" {
				declared = "Trailer: " + tt.declared + "\r\n"
			}
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%s\r\n%s%s\r\n", declared, chunks, tt.trailers)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != 200 || !ran {
				t.Errorf("got %v, %v; next ran: %t", response, err, ran)
			}
		})
	}
	t.Run("over HTTP/2", func(t *testing.T) {
		server := httptest.NewUnstartedServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, r.ProtoMajor, r.Trailer)
		})))
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		r, _ := http.NewRequest("POST", server.URL, io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Forwarded-For": {"6.6.6.6"}, "Digest": {"d"}}
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, _ := io.ReadAll(response.Body); string(body) != "2 map[Digest:[d]]" {
			t.Errorf("got %s", body)
		}
	})
	t.Run("the caller's request is not changed", func(t *testing.T) {
		r := get("http://x/")
		r.Trailer = http.Header{"X-Forwarded-For": {"6.6.6.6"}, "Digest": {"d"}}
		body := r.Body
		got, err := m.Resolve(r)
		if err != nil || fmt.Sprint(got.Trailer) != "map[Digest:[d]]" || len(r.Trailer) != 2 || r.Body != body {
			t.Errorf("got %v of %v, %v", got.Trailer, r.Trailer, err)
		}
		r.Body = nil
		if got, _ := m.Resolve(r); got.Body != nil {
			t.Error("there is a body where there was none")
		}
	})
}

// A Host with well-known verdicts, and what else was found to confuse.
func TestTrustedHosts(t *testing.T) {
	list := []string{"a.com", "*.x.com", "ports.com:8443", "ports.com:9443", "*.wild.org:8080", "192.0.2.1", "[2001:db8::1]", "xn--bcher-kva.example", "under_score.example", "localhost"}
	m := must(headers.NewTrustedHosts(list, headers.HostsConfig{}))
	long := strings.Repeat("a.", 123) + "x.com" // 251 bytes
	for _, tt := range []struct {
		host string
		ok   bool
	}{
		{"a.com", true}, {"a.com.", true}, {"A.COM", true}, {"a.com:443", true}, {"a.com:8080", true}, {"a.com.:443", true},
		{"[::1]:8", false}, {"[::1]evil.com", false}, {"[::1].evil.com", false}, {"[2001:db8::1]evil.com", false},
		{"[2001:db8::1]", true}, {"[2001:db8::1]:8", true}, {"[2001:0db8::0001]", true}, {"[2001:DB8::1]", true},
		{"2001:db8::1", false}, {"[2001:db8::1", false}, {"[2001:db8::1%25eth0]", false}, {"[2001:db8::1]:", false}, {"[2001:db8::2]", false},
		{"a.com@evil", false}, {"evil.com#a.com", false}, {"evil.com?a.com", false}, {"evil.com/a.com", false}, {"evil@a.com", false},
		{"a.com\\evil", false}, {"a.com%2eevil", false}, {"a.com evil", false}, {"a.com\tevil", false}, {"a.com,evil", false}, {"a.com\x00", false},
		{"xn--bcher-kva.example", true}, {"XN--bcher-kva.example", true}, {"bücher.example", false}, {"xn--other.example", false},
		{"", false}, {".", false}, {":80", false}, {"a.com:", false}, {"a.com:0", false}, {"a.com:080", false}, {"a.com:65536", false},
		{"a.com:65535", true}, {"a.com:-1", false}, {"a.com:+1", false}, {"a.com:8a", false}, {"a.com:80:80", false}, {"a.com..", false},
		{".a.com", false}, {"a..com", false}, {"-a.com", false}, {"a-.com", false}, {"a.com-", false}, {"aXcom", false}, {"a.comX", false},
		{"a.com.evil.net", false}, {"evila.com", false}, {"b.a.com", false},
		{"x.com", false}, {"b.x.com", true}, {"a.b.x.com", true}, {"A.B.X.COM.", true}, {"a.x.com:99", true}, {"evilx.com", false},
		{".x.com", false}, {"*.x.com", false}, {"a.x.com.evil.net", false}, {"x.com.evil.net", false}, {"a.x.comevil", false},
		{"ports.com", false}, {"ports.com:8443", true}, {"ports.com:9443", true}, {"ports.com:443", false},
		{"a.wild.org:8080", true}, {"a.wild.org", false}, {"a.wild.org:80", false},
		{"192.0.2.1", true}, {"192.0.2.1:80", true}, {"192.0.2.2", false}, {"192.0.2.01", false}, {"192.0.2", false}, {"0xC0000201", false},
		{"3221225985", false}, {"192.0.513", false}, {"1.x.com", true}, {"0x1.x.com", true}, {"x.com.1", false}, {"192.0.2.1.", false},
		{"under_score.example", true}, {"localhost:3000", true},
		{long, true}, {long + ".", true}, {"aa." + long, false}, {strings.Repeat("a", 300), false}, {strings.Repeat("a", 64) + ".x.com", false},
		{strings.Repeat("a", 63) + ".x.com", true}, {strings.Repeat("a", 10_000), false}, {strings.Repeat("a.", 5_000) + "x.com", false},
	} {
		t.Run(fmt.Sprintf("%.40q gets %t", tt.host, tt.ok), func(t *testing.T) {
			r := get("http://a.com/")
			r.Host = tt.host
			ran := false
			w := do(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })), r)
			if ran != tt.ok {
				t.Errorf("next ran: %t, want %t", ran, tt.ok)
			}
			if !tt.ok {
				denied(t, m.Check(r), 400)
				if body := `{"title":"Bad Request","status":400,"code":"invalid_request","detail":"The host of this request is not served here."}` + "\n"; w.Code != 400 || w.Body.String() != body {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
			}
		})
	}
	t.Run("every host of the list is well-formed with InsecureAnyHost", func(t *testing.T) {
		m := must(headers.NewTrustedHosts([]string{"*"}, headers.HostsConfig{InsecureAnyHost: true}))
		for host, ok := range map[string]bool{
			"evil.org": true, "192.0.2.1": true, "[fe80::1]": true, "0xg.org": true, "0xg": true, "a.0x": false, "a@b": false, "": false,
			"0xC0000201": false, "0x7f.1": false, "127.1": false, "a.0xff": false, "a.1": false, "[fe80::1%eth0]": false, "[1.2.3.4]": false,
		} {
			r := get("http://a.com/")
			r.Host = host
			if got := m.Check(r) == nil; got != ok {
				t.Errorf("%q: %t", host, got)
			}
		}
	})
}

// H1, H2, H3 and the two Host lines of H4, as bytes over TCP.
func TestOverTheWire(t *testing.T) {
	stack := func(trusted ...string) http.Handler {
		return must(headers.NewTrustedProxies(trusted, headers.ProxiesConfig{Host: true})).Handler(
			must(headers.New(headers.Config{})).Handler(
				must(headers.NewTrustedHosts([]string{"good.example"}, headers.HostsConfig{})).Handler(
					must(headers.NewRedirectHTTPS(headers.HTTPSConfig{})).Handler(
						http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "handled ", r.Host) })))))
	}
	for _, tt := range []struct {
		name     string
		trusted  []string
		request  string
		status   int
		location string
		hsts     bool
	}{
		{"https in the target does not make it https", nil, "GET https://good.example/a HTTP/1.1\r\nHost: good.example\r\n\r\n", 308, "https://good.example/a", false},
		{"nor for an API", nil, "POST https://good.example/ HTTP/1.1\r\nHost: good.example\r\nContent-Length: 0\r\n\r\n", 403, "", false},
		{"the host of the target counts, not the header", nil, "GET https://evil.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n", 400, "", false},
		{"X-Forwarded-Proto of an untrusted peer", nil, "GET / HTTP/1.1\r\nHost: good.example\r\nX-Forwarded-Proto: https\r\n\r\n", 308, "https://good.example/", false},
		{"X-Forwarded-Proto of a trusted peer", []string{"127.0.0.1"}, "GET / HTTP/1.1\r\nHost: good.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", 200, "", true},
		{"X-Forwarded-Host of an untrusted peer", nil, "GET / HTTP/1.1\r\nHost: evil\r\nX-Forwarded-Host: good.example\r\n\r\n", 400, "", false},
		{"X-Forwarded-Host of a trusted peer", []string{"127.0.0.1"}, "GET / HTTP/1.1\r\nHost: evil\r\nX-Forwarded-Host: good.example\r\nX-Forwarded-Proto: https\r\n\r\n", 200, "", true},
		{"two Host lines", nil, "GET / HTTP/1.1\r\nHost: good.example\r\nHost: evil\r\n\r\n", 400, "", false},
		{"no Host line", nil, "GET / HTTP/1.0\r\n\r\n", 400, "", false},
		{"an empty Host", nil, "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "", false},
		{"a path of two slashes stays here", nil, "GET //evil.example HTTP/1.1\r\nHost: good.example\r\n\r\n", 308, "https://good.example//evil.example", false},
		{"a backslash stays here", nil, "GET /\\evil.example HTTP/1.1\r\nHost: good.example\r\n\r\n", 308, "https://good.example/%5Cevil.example", false},
		{"encoded line breaks stay encoded", nil, "GET /a%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: good.example\r\n\r\n", 308, "https://good.example/a%0d%0aSet-Cookie:x", false},
		{"net/http answers OPTIONS * before any handler", nil, "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(stack(tt.trusted...))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, tt.request)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != tt.status || response.Header.Get("Location") != tt.location {
				t.Errorf("got %d to %q, want %d to %q", response.StatusCode, response.Header.Get("Location"), tt.status, tt.location)
			}
			if hsts := response.Header.Get("Strict-Transport-Security") != ""; hsts != tt.hsts {
				t.Errorf("HSTS: %t", hsts)
			}
		})
	}
}

func TestRedirectHTTPS(t *testing.T) {
	plain := headers.HTTPSConfig{InsecureExempt: []string{"/.well-known/acme-challenge/", "/healthz"}}
	type row struct {
		name     string
		config   headers.HTTPSConfig
		method   string
		target   string
		headers  []string
		status   int // 200: next ran
		location string
	}
	rows := []row{
		{"https passes", plain, "POST", "https://a.com/x", []string{"Authorization", "Bearer x"}, 200, ""},
		{"GET is redirected", plain, "GET", "http://a.com/x?y=1&z", nil, 308, "https://a.com/x?y=1&z"},
		{"HEAD is redirected", plain, "HEAD", "http://a.com/", nil, 308, "https://a.com/"},
		{"the port is dropped", plain, "GET", "http://a.com:8080/", nil, 308, "https://a.com/"},
		{"the dot is dropped", plain, "GET", "http://a.com.:8080/", nil, 308, "https://a.com/"},
		{"IPv6", plain, "GET", "http://[2001:db8::1]:8080/", nil, 308, "https://[2001:db8::1]/"},
		{"an empty path", plain, "GET", "http://a.com", nil, 308, "https://a.com/"},
		{"escapes stay", plain, "GET", "http://a.com/%2f%2e%0d%0a%E2%82%AC", nil, 308, "https://a.com/%2f%2e%0d%0a%E2%82%AC"},
		{"bytes beyond ASCII are escaped", plain, "GET", "http://a.com/?q=\xe2\x82\xac", nil, 308, "https://a.com/?q=%E2%82%AC"},
		{"two slashes", plain, "GET", "http://a.com//evil", nil, 308, "https://a.com//evil"},
		{"a configured port", headers.HTTPSConfig{Port: 8443}, "GET", "http://a.com:8080/", nil, 308, "https://a.com:8443/"},
		{"the usual port is not written", headers.HTTPSConfig{Port: 443}, "GET", "http://a.com:8080/", nil, 308, "https://a.com/"},
		{"a configured host", headers.HTTPSConfig{Host: "www.a.com:99"}, "GET", "http://evil/", nil, 308, "https://www.a.com:99/"},
		{"exempt", plain, "GET", "http://a.com/healthz", nil, 200, ""},
		{"exempt, whatever the method", plain, "POST", "http://a.com/healthz", nil, 200, ""},
		{"exempt, everything under it", plain, "GET", "http://a.com/.well-known/acme-challenge/token", nil, 200, ""},
		{"exempt itself", plain, "GET", "http://a.com/.well-known/acme-challenge/", nil, 200, ""},
		{"not its parent", plain, "GET", "http://a.com/.well-known/acme-challenge", nil, 308, "https://a.com/.well-known/acme-challenge"},
		{"not its neighbour", plain, "GET", "http://a.com/healthz2", nil, 308, "https://a.com/healthz2"},
		{"nor what is under a single path", plain, "GET", "http://a.com/healthz/x", nil, 308, "https://a.com/healthz/x"},
		{"nor a way out of it", plain, "GET", "http://a.com/.well-known/acme-challenge/../../admin", nil, 308, "https://a.com/.well-known/acme-challenge/../../admin"},
		{"nor an encoded one", plain, "GET", "http://a.com/.well-known/acme-challenge/%2e%2e/admin", nil, 308, "https://a.com/.well-known/acme-challenge/%2e%2e/admin"},
		{"nor an encoded way in", plain, "GET", "http://a.com/.well-known/acme-challenge%2fx", nil, 308, "https://a.com/.well-known/acme-challenge%2fx"},
		{"nor an encoded slash", plain, "GET", "http://a.com/.well-known/acme-challenge/..%2fadmin", nil, 308, "https://a.com/.well-known/acme-challenge/..%2fadmin"},
		{"Authorization", plain, "GET", "http://a.com/", []string{"Authorization", "Bearer x"}, 403, ""},
		{"an empty Authorization", plain, "GET", "http://a.com/", []string{"Authorization", ""}, 403, ""},
		{"Proxy-Authorization", plain, "GET", "http://a.com/", []string{"Proxy-Authorization", "Basic x"}, 403, ""},
		{"an API key", plain, "GET", "http://a.com/", []string{"X-API-Key", "x"}, 403, ""},
		{"a cookie", plain, "GET", "http://a.com/", []string{"Cookie", "a=b"}, 403, ""},
		{"a cookie that may", headers.HTTPSConfig{InsecureRedirectCookies: true}, "GET", "http://a.com/", []string{"Cookie", "a=b"}, 308, "https://a.com/"},
		{"Authorization never may", headers.HTTPSConfig{InsecureRedirectCookies: true}, "GET", "http://a.com/", []string{"Authorization", "x"}, 403, ""},
		{"a configured credential", headers.HTTPSConfig{Credentials: []string{"x-token"}}, "GET", "http://a.com/", []string{"X-Token", "x"}, 403, ""},
		{"X-Forwarded-Proto is nobody's word", plain, "GET", "http://a.com/", []string{"X-Forwarded-Proto", "https"}, 308, "https://a.com/"},
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "QUERY"} {
		rows = append(rows, row{method + " is refused", plain, method, "http://a.com/", nil, 403, ""})
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			m := must(headers.NewRedirectHTTPS(tt.config))
			r := get(tt.target, tt.headers...)
			r.Method = tt.method
			ran := false
			w := do(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })), r)
			if ran != (tt.status == 200) {
				t.Errorf("next ran: %t", ran)
			}
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			want(t, w.Header(), map[string]string{"Location": tt.location})
			location, err := m.Check(r)
			if location != tt.location || (err != nil) != (tt.status == 403) {
				t.Errorf("Check says %q, %v", location, err)
			}
			if tt.status == 403 && !strings.Contains(w.Body.String(), `"code":"https_required"`) {
				t.Errorf("got %s", w.Body)
			}
			if tt.status != 200 {
				want(t, w.Header(), map[string]string{"Cache-Control": "no-store"})
			}
		})
	}
	t.Run("a malformed host is 400, never a Location", func(t *testing.T) {
		for _, host := range []string{"", "a@b", "a b", "a/b", "[::1]evil.com"} {
			r := get("http://a.com/")
			r.Host = host
			w := do(must(headers.NewRedirectHTTPS(plain)).Handler(nothing), r)
			if w.Code != 400 || w.Header().Get("Location") != "" {
				t.Errorf("%q: %d %v", host, w.Code, w.Header())
			}
		}
	})
	t.Run("an absolute-form target", func(t *testing.T) {
		r := get("http://a.com/x")
		r.URL.Scheme, r.URL.Host, r.URL.User = "https", "evil.org", nil
		if location, err := must(headers.NewRedirectHTTPS(plain)).Check(r); location != "https://a.com/x" || err != nil {
			t.Errorf("got %q, %v", location, err)
		}
	})
	t.Run("a target that is opaque", func(t *testing.T) {
		r := get("http://a.com/x")
		r.URL.Opaque, r.URL.Path = "evil.org", ""
		if location, _ := must(headers.NewRedirectHTTPS(plain)).Check(r); location != "https://a.com/" {
			t.Errorf("got %q", location)
		}
	})
}
