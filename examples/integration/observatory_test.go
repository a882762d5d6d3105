package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A rating is a line of observatory/rate.mjs.
type rating struct {
	Path     string            `json:"path"`
	Status   int               `json:"status"`
	Score    int               `json:"score"`
	Grade    string            `json:"grade"`
	Results  map[string]string `json:"results"`
	Policy   string            `json:"policy"`
	Findings []string          `json:"findings"`
}

// rate rates the answers of a handler behind a proxy that speaks TLS and redirects
// http to https.
func rate(t *testing.T, handler http.Handler, secure *httptest.Server, paths ...string) []rating {
	t.Helper()
	secure.Config.Handler = handler
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.Path, http.StatusMovedPermanently)
	}))
	t.Cleanup(plain.Close)
	certificate := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}

	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{"rate.mjs", "127.0.0.1", port(plain.URL), port(secure.URL)}, paths...)...)
	cmd.Dir = "observatory"
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+certificate)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v, after\n%s%s", err, out, &stderr)
	}
	var ratings []rating
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r rating
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		ratings = append(ratings, r)
	}
	if len(ratings) != len(paths) {
		t.Fatalf("%d of %d paths were rated:\n%s", len(ratings), len(paths), out)
	}
	return ratings
}

func TestObservatoryAndCSPEvaluatorRateEveryKindOfAnswer(t *testing.T) {
	needsNode(t, "observatory", "csp_evaluator")
	secure := httptest.NewUnstartedServer(nil)
	p := launch(t, "server", nil, "-addr", "127.0.0.1:0", "-issuer", "https://"+secure.Listener.Addr().String(),
		"-trusted-proxy", "127.0.0.1", "-db", filepath.Join(t.TempDir(), "server.db"), "-demo")
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
	paths := []string{"/", "/docs/", "/openapi.json", "/users/me"}
	statuses := []int{200, 200, 200, 401}
	for i, r := range rate(t, proxy, secure, paths...) {
		t.Logf("%s: %d %s, %s", r.Path, r.Score, r.Grade, r.Policy)
		if r.Status != statuses[i] {
			t.Errorf("%s: status %d, want %d", r.Path, r.Status, statuses[i])
		}
		if r.Score < 130 || r.Grade != "A+" || len(r.Results) < 10 {
			t.Errorf("%s: %d %s, want 130 A+: %v", r.Path, r.Score, r.Grade, r.Results)
		}
		if len(r.Findings) > 0 {
			t.Errorf("%s: the CSP Evaluator finds %q in %s", r.Path, r.Findings, r.Policy)
		}
	}
}

// TestObservatoryAndCSPEvaluatorFindWeakHeaders shows that the two can fail.
func TestObservatoryAndCSPEvaluatorFindWeakHeaders(t *testing.T) {
	needsNode(t, "observatory", "csp_evaluator")
	weak := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "script-src 'unsafe-inline' *")
	})
	r := rate(t, weak, httptest.NewUnstartedServer(nil), "/")[0]
	unsafe := slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, "unsafe-inline") })
	if r.Score >= 50 || !unsafe {
		t.Errorf("%d %s, findings %q, want a score below 50 and one of 'unsafe-inline'", r.Score, r.Grade, r.Findings)
	}
}
