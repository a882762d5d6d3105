package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

const site = "app.example.com"

// A front is a proxy that runs.
type front struct {
	addr string
	pool *x509.CertPool
}

// start runs a proxy with a configuration file of this folder. In it, replaced says
// what is different here: the ports, the certificate.
func start(t *testing.T, program, file string, replaced func(addr, backend, cert, key string) *strings.Replacer, args func(path string) []string) (*front, *kit.Process) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: %v", program, err)
	}
	p := kit.Start(t, nil)
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	f := &front{listener.Addr().String(), pool}
	listener.Close()
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	config = []byte(replaced(f.addr, strings.TrimPrefix(p.URL, "http://"), cert, key).Replace(string(config)))
	if program == "nginx" {
		config = []byte("pid " + dir + "/pid;\nevents {}\nhttp {\naccess_log off;\n" + string(config) + "}\n")
	} else {
		config = append([]byte("{\nadmin off\nauto_https disable_redirects\n}\n"), config...)
	}
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, args(path)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", f.addr)
		if err == nil {
			conn.Close()
			return f, p
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, out.String())
		default:
		}
		if time.Since(began) > 20*time.Second {
			cmd.Process.Kill()
			<-ended
			t.Fatalf("%s does not listen: %v\n%s", program, err, out.String())
		}
	}
}

// certificate writes a certificate of the site and its key.
func certificate(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{site}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool = x509.NewCertPool()
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return cert, key, pool
}

// get sends a request to the site from an address of this machine.
func (f *front) get(t *testing.T, from string, header http.Header) (*http.Response, string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.pool},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", f.addr)
		},
	}
	defer transport.CloseIdleConnections()
	_, port, _ := net.SplitHostPort(f.addr)
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+net.JoinHostPort(site, port)+"/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	w, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w, string(body)
}

// check tries a service behind f.
func (f *front) check(t *testing.T, p *kit.Process) {
	forged := http.Header{
		"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"http"}, "X-Real-Ip": {"203.0.113.9"},
		"Forwarded": {"for=203.0.113.9"},
	}
	w, body := f.get(t, "127.0.0.2", forged)
	if w.StatusCode != 200 || !strings.HasPrefix(body, "127.0.0.2") || !strings.Contains(body, " by https at "+site) {
		t.Errorf("behind the proxy: %d %s, want 127.0.0.2 by https", w.StatusCode, body)
	}
	if len(w.Header["Strict-Transport-Security"]) != 1 || len(w.Header["Content-Security-Policy"]) != 1 {
		t.Errorf("the headers are %v", w.Header)
	}
	// The limit is that of each client, and not of the proxy.
	for range 4 {
		f.get(t, "127.0.0.2", nil)
	}
	if w, _ := f.get(t, "127.0.0.2", forged); w.StatusCode != 429 {
		t.Errorf("the sixth request: %d, want 429", w.StatusCode)
	}
	if w, _ := f.get(t, "127.0.0.3", nil); w.StatusCode != 200 {
		t.Errorf("another client: %d", w.StatusCode)
	}
	// Past the proxy, in the clear.
	kit.Want(t, 308, "", "GET", "http://"+strings.TrimPrefix(p.URL, "http://")+"/whoami", "", "Host: "+site)
}

func TestBehindNginx(t *testing.T) {
	f, p := start(t, "nginx", "nginx.conf", func(addr, backend, cert, key string) *strings.Replacer {
		return strings.NewReplacer("443 ssl", addr+" ssl", "127.0.0.1:8080", backend,
			"/etc/ssl/app.example.com.pem", cert, "/etc/ssl/app.example.com.key", key)
	}, func(path string) []string {
		return []string{"-p", filepath.Dir(path), "-c", path, "-e", "stderr", "-g", "daemon off;"}
	})
	f.check(t, p)
}

func TestBehindCaddy(t *testing.T) {
	f, p := start(t, "caddy", "Caddyfile", func(addr, backend, cert, key string) *strings.Replacer {
		_, port, _ := net.SplitHostPort(addr)
		return strings.NewReplacer("\napp.example.com {", "\nhttps://app.example.com:"+port+" {\n\tbind 127.0.0.1\n\ttls "+cert+" "+key, "127.0.0.1:8080", backend)
	}, func(path string) []string { return []string{"run", "--config", path, "--adapter", "caddyfile"} })
	f.check(t, p)
}
