package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

func TestAddressThatCannotBeUsedIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer taken.Close()
	for _, tt := range []struct {
		args []string
		says []string
	}{
		{[]string{"-addr", "8080"}, []string{`-addr "8080"`, "127.0.0.1:8080"}},
		{[]string{"-addr", "127.0.0.1"}, []string{"-addr", "127.0.0.1:8080"}},
		{[]string{"-addr", "127.0.0.1:"}, []string{"-addr", "127.0.0.1:8080"}},
		{[]string{"-addr", "127.0.0.1:99999"}, []string{"-addr", "65535"}},
		{[]string{"-addr", "::1:8080"}, []string{"-addr", "[::1]:8080"}},
		{[]string{"-addr", "http://127.0.0.1:8080"}, []string{"-addr", "127.0.0.1:8080"}},
		{[]string{"-addr", taken.Addr().String()}, []string{"-addr " + taken.Addr().String(), "another"}},
		{[]string{"-addr", "192.0.2.1:8080"}, []string{"-addr 192.0.2.1:8080"}},
		{[]string{"-issuer", "app.example.com"}, []string{"-issuer", "https://app.example.com"}},
		{[]string{"-issuer", "https://"}, []string{"-issuer"}},
		{[]string{"-issuer", "https://a.example/?x"}, []string{"-issuer", "query"}},
		{[]string{"-issuer", "https://a.example/#"}, []string{"-issuer", "fragment"}},
		{[]string{"-issuer", "ftp://a.example"}, []string{"-issuer"}},
		{[]string{"-issuer", "https://a.example:99999"}, []string{"-issuer", "port"}},
		{[]string{"-issuer", "https://ä.example"}, []string{"-issuer", "ASCII"}},
		{[]string{"-issuer", "http://0.0.0.0:8080"}, []string{"-issuer", "reach"}},
		{[]string{"-issuer", "https://hunter2@a.example"}, []string{"-issuer", "user"}},
		{[]string{"-issuer", "http://a.example", "-tls-cert", "c", "-tls-key", "k"}, []string{"-issuer", "https://", "-tls-cert"}},
		{[]string{"-host", "a.example,,b.example"}, []string{`-host ""`}},
		{[]string{"-host", "https://a.example"}, []string{`-host "https://a.example"`}},
		{[]string{"-trusted-proxy", "proxy.example"}, []string{`-trusted-proxy "proxy.example"`}},
		{[]string{"-trusted-proxy-hops", "2"}, []string{"-trusted-proxy-hops 2", "-trusted-proxy is needed"}},
		{[]string{"-trusted-proxy", "10.0.0.1", "-trusted-proxy-hops", "17"}, []string{"-trusted-proxy-hops 17", "1 to 16"}},
		{[]string{"-trusted-proxy", "10.0.0.1", "-trusted-proxy-hops", "0"}, []string{"-trusted-proxy-hops 0", "1 to 16"}},
		{[]string{"-cors-origin", "https://a.example/path"}, []string{"-cors-origin"}},
		{[]string{"-cors-origin", "*"}, []string{"-cors-origin"}},
	} {
		args := append([]string{"-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "x.db")}, tt.args...)
		_, err := refusedToStart(t, args...)
		for _, want := range tt.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v does not say %q", tt.args, err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v repeats a password", err)
		}
		for _, name := range []string{"headers:", "HostsConfig", "ProxiesConfig", "CORSConfig", "auth:"} {
			if strings.Contains(err.Error(), name) {
				t.Errorf("%v is in words of Go", err)
			}
		}
	}
}

func TestServerOnEveryAddressAnswersAtTheNamesItHas(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		issuer string // with PORT
		hosts  []string
	}{
		{"with an issuer", []string{"-addr", ":0", "-issuer", "http://app.example.com"}, "http://app.example.com", []string{"app.example.com", "localhost", "127.0.0.1"}},
		{"with a host", []string{"-addr", "0.0.0.0:0", "-host", "app.example.com,other.example.com"}, "http://app.example.com:PORT", []string{"app.example.com", "other.example.com", "localhost"}},
		{"with nothing else", []string{"-addr", ":0"}, "http://localhost:PORT", append(addresses(), "localhost", "127.0.0.1", "[::1]")},
		{"with nothing else, for IPv4", []string{"-addr", "0.0.0.0:0"}, "http://localhost:PORT", append(addresses(), "localhost", "127.0.0.1")},
		{"with names under a domain", []string{"-addr", ":0", "-host", "*.example.com"}, "http://localhost:PORT", []string{"a.example.com", "localhost"}},
		{"with a host for IPv6", []string{"-addr", "[::]:0", "-host", "[2001:db8::1]"}, "http://[2001:db8::1]:PORT", []string{"[2001:db8::1]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, append([]string{"-db", fromTemplate(t)}, tt.args...)...)
			port := p.url[strings.LastIndexByte(p.url, ':')+1:]
			issuer := strings.Replace(tt.issuer, "PORT", port, 1)
			if want := "Clients reach it at " + issuer + "\n"; !strings.Contains(p.out.String(), want) {
				t.Errorf("it prints\n%s", p.out.String())
			}
			for _, host := range tt.hosts {
				if got := statusFor(t, p.url, host+":"+port); got != http.StatusOK {
					t.Errorf("a request for %s: %d", host, got)
				}
			}
			if got := statusFor(t, p.url, "evil.example"); got != http.StatusBadRequest {
				t.Errorf("a request for another host: %d", got)
			}
			if out := curl(t, p); !strings.Contains(out, "access_token") {
				t.Errorf("the curl line gets %s", out)
			}
		})
	}
}

func statusFor(t *testing.T, url, host string) int {
	t.Helper()
	req := must(http.NewRequest("GET", url+"/healthz", nil))
	req.Host = host
	resp := must(client.Do(req))
	resp.Body.Close()
	return resp.StatusCode
}

func TestCurlLineWorksWhateverTheFlagsAre(t *testing.T) {
	certFile, keyFile, _ := certificate(t)
	for name, args := range map[string][]string{
		"by default":                       nil,
		"with an issuer behind TLS":        {"-issuer", "https://app.example.com"},
		"with an issuer with a path":       {"-issuer", "https://app.example.com/auth"},
		"behind a proxy on this machine":   {"-issuer", "https://app.example.com", "-trusted-proxy", "127.0.0.0/8"},
		"with TLS":                         {"-tls-cert", certFile, "-tls-key", keyFile},
		"with TLS and the name of another": {"-tls-cert", certFile, "-tls-key", keyFile, "-issuer", "https://app.example.com"},
		"with a name for an address":       {"-addr", "localhost:0"},
	} {
		p := start(t, append([]string{"-db", fromTemplate(t)}, args...)...)
		if out := curl(t, p); !strings.Contains(out, "access_token") {
			t.Errorf("%s: the curl line gets %s:\n%s", name, out, p.out.String())
		}
	}
	// From here only the proxy may come.
	p := start(t, "-db", fromTemplate(t), "-issuer", "https://app.example.com", "-trusted-proxy", "10.0.0.1")
	if !strings.HasPrefix(p.out.String(), "curl -s https://app.example.com/token ") {
		t.Errorf("it prints\n%s", p.out.String())
	}
}

func TestDamagedFileOfRevocationsIsRefusedInWordsOfTheCommandLine(t *testing.T) {
	path := fromTemplate(t)
	p := start(t, "-db", path)
	s := &site{url: p.url, keys: must(readSecrets(path + ".secrets"))}
	for range 3 {
		s.do(t, "POST", "/logout/", "", bearer(s.signInAlice(t).Access)).is(t, http.StatusOK)
	}
	p.stop()
	check(p.stopped(t))
	data := must(os.ReadFile(path + ".revocations"))
	data[len(data)/2] ^= 0xff
	check(os.WriteFile(path+".revocations", data, 0o600))
	_, err := refusedToStart(t, "-addr", "127.0.0.1:0", "-db", path)
	if text := err.Error(); !strings.Contains(text, "-revocations "+path) || !strings.Contains(text, "-insecure-skip-damaged") || strings.Contains(text, "FileConfig") {
		t.Errorf("got %v", err)
	}
	if p := start(t, "-db", path, "-insecure-skip-damaged"); !strings.Contains(p.stderr.String(), "-insecure-skip-damaged") {
		t.Error("the log does not warn")
	}
}

func TestHopsAreTheNumberOfProxies(t *testing.T) {
	client := func(hops int) string {
		s := testSettings
		s.trustedProxies, s.hops = []string{"127.0.0.0/8", "10.0.0.0/8"}, hops
		f := must(newFront(s, new(ratelimit.Memory), openSite(t).hooks))
		var addr string
		r := must(http.NewRequest("GET", "/", nil))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1"
		r.Header.Set("X-Forwarded-For", "192.0.2.7, 10.0.0.2")
		f.proxies.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { addr = r.RemoteAddr })).ServeHTTP(discard{}, r)
		return addr
	}
	if got := client(1); strings.HasPrefix(got, "192.0.2.7") {
		t.Errorf("behind one proxy the client is %s", got)
	}
	if got := client(2); !strings.HasPrefix(got, "192.0.2.7") {
		t.Errorf("behind two proxies the client is %s, want 192.0.2.7", got)
	}
}

type discard struct{}

func (discard) Header() http.Header         { return make(http.Header) }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestWhatIsInsecureIsInTheLogAtStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		says string // empty: nothing
	}{
		{"by default", nil, ""},
		{"no limits", []string{"-insecure-no-limits"}, "-insecure-no-limits"},
		{"in the clear at another address", []string{"-addr", ":0", "-issuer", "http://app.example.com"}, "in the clear"},
		{"names that are not known", []string{"-addr", ":0"}, "-host"},
		{"demo users for everybody", []string{"-addr", ":0", "-issuer", "http://app.example.com"}, "the demo users"},
		{"demo users behind a proxy", []string{"-issuer", "https://app.example.com", "-trusted-proxy", "10.0.0.1"}, "the demo users"},
		{"an unknown proxy", []string{"-issuer", "https://app.example.com"}, "-trusted-proxy"},
		{"an origin in the clear", []string{"-cors-origin", "http://app.example.com"}, "-cors-origin"},
		{"an origin of this machine", []string{"-cors-origin", "http://localhost:3000"}, ""},
		{"demo users too late", []string{"-db", "NEW", "-demo"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"-db", fromTemplate(t)}, tt.args...)
			for i := range args {
				args[i] = strings.Replace(args[i], "NEW", filepath.Join(t.TempDir(), "new.db"), 1)
			}
			p := start(t, args...)
			log := p.stderr.String()
			if tt.says == "" && strings.Contains(log, "level=WARN") || !strings.Contains(log, tt.says) {
				t.Errorf("want %q in\n%s", tt.says, log)
			}
		})
	}
	o, err := parse([]string{"-db", "postgres://u@db.example.com/x?sslmode=require", "-secrets", "s", "-redis", "redis://cache.example.com"}, io.Discard)
	check(err)
	text := strings.Join(o.warnings(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, false), "\n")
	for _, want := range []string{"-db", "verify-full", "-redis", "rediss://"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %s", text, want)
		}
	}
}

func TestNothingIsPrintedOrMadeForACertificateThatCannotBeRead(t *testing.T) {
	certFile, keyFile, _ := certificate(t)
	folder := t.TempDir()
	for _, pair := range [][2]string{{certFile, filepath.Join(folder, "none")}, {filepath.Join(folder, "none"), keyFile}, {keyFile, certFile}} {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-db", filepath.Join(folder, "x.db"), "-tls-cert", pair[0], "-tls-key", pair[1]}, &out, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "-tls-cert "+pair[0]) || !strings.Contains(err.Error(), "-tls-key "+pair[1]) {
			t.Errorf("got %v, want an error that names the flags", err)
		}
		if files, _ := filepath.Glob(filepath.Join(folder, "x.db*")); out.Len() != 0 || len(files) != 0 {
			t.Errorf("printed %q, made %v", out.String(), files)
		}
	}
}

// A body that is announced as too large is refused without waiting for it.
func TestAnnouncedBodyThatIsTooLargeIsRefusedAtOnce(t *testing.T) {
	s := openSite(t)
	alice, admin := s.signInAlice(t), s.signIn(t, "admin", s.keys.DemoPassword)
	for _, one := range []struct{ method, path, kind, credential, length string }{
		{"POST", "/token", formType, "", "5000"},
		{"POST", "/token/mfa", formType, "", "9000"},
		{"POST", "/token/refresh", formType, "", "5000"},
		{"POST", "/revoke", formType, "", "5000"},
		{"POST", "/introspect", formType, bearer(admin.Access), "5000"},
		{"POST", "/2fa/setup/", formType, bearer(alice.Access), "5000"},
		{"POST", "/2fa/confirm/", formType, bearer(alice.Access), "5000"},
		{"POST", "/2fa/verify/", formType, bearer(alice.Access), "9000"},
		{"POST", "/2fa/recovery/", formType, bearer(alice.Access), "5000"},
		{"DELETE", "/2fa/", formType, bearer(alice.Access), "5000"},
		{"POST", "/users/", jsonType, "", "20000"},
		{"POST", "/users/me/password", jsonType, bearer(alice.Access), "20000"},
		{"PUT", "/users/alice/roles", jsonType, bearer(admin.Access), "20000"},
		{"POST", "/items/", jsonType, bearer(alice.Access), "20000"},
		{"POST", "/keys/", jsonType, bearer(alice.Access), "20000"},
	} {
		conn := must(net.Dial("tcp", strings.TrimPrefix(s.url, "http://")))
		check(conn.SetDeadline(time.Now().Add(3 * time.Second)))
		lines := []string{one.method + " " + one.path + " HTTP/1.1", "Host: 127.0.0.1", one.kind, "Content-Length: " + one.length}
		if one.credential != "" {
			lines = append(lines, one.credential)
		}
		_ = must(io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"))
		answer := make([]byte, len("HTTP/1.1 413"))
		if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 413" {
			t.Errorf("%s %s: got %q (%v), want 413 at once", one.method, one.path, answer, err)
		}
		conn.Close()
	}
}

func TestBlockedPasswordsAreAFileWithOneALine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		check(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for _, tt := range []struct{ path, says string }{
		{filepath.Join(dir, "missing"), "-passwords-blocked"},
		{file("empty", "\n\n"), "no password of 15 characters"},
		{file("short", "123456\nqwerty\n"), "no password of 15 characters"},
		{file("line", strings.Repeat("a", 5000)), "-passwords-blocked " + filepath.Join(dir, "line")},
		{file("large", strings.Repeat(strings.Repeat("a", 1023)+"\n", 16<<10+1)), "more than 16777216 bytes"},
	} {
		if _, err := parse([]string{"-passwords-blocked", tt.path}, io.Discard); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.says)
		}
	}
	o := must(parse([]string{"-passwords-blocked", file("good", "\ufeffcorrect horse battery staple\r\nshort\n")}, io.Discard))
	if n := o.blocklist.Count(0); n != 2 {
		t.Errorf("%d passwords are read, want 2", n)
	}
	must(o.settle(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
	for _, f := range o.features(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, "http://localhost:8080/", true, true) {
		if f.name == "blocked passwords" && f.state == on && strings.HasPrefix(f.how, "1 of 15 characters or more") {
			return
		}
	}
	t.Error("the summary does not name the blocked passwords")
}
