package headers

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// HTTPSConfig configures [RedirectHTTPS].
type HTTPSConfig struct {
	// Host is the host of redirects, with or without a port. Default: the host of
	// the request without its port; see [TrustedHosts].
	Host string

	// Port is the port of redirects to the request's own host. Default: 443.
	Port int

	// Credentials are headers with secrets, beside Authorization,
	// Proxy-Authorization, Cookie and X-Api-Key.
	Credentials []string

	// InsecureExempt are paths served in clear text; "/public/" is everything
	// under it. An attacker in the network reads and changes these requests.
	InsecureExempt []string

	// InsecureRedirectCookies redirects a GET with cookies instead of refusing it.
	// An attacker in the network then reads session cookies without Secure.
	InsecureRedirectCookies bool

	Hooks guard.Hooks
}

// RedirectHTTPS redirects or refuses requests in clear text. It reports
// [guard.EventMisconfigured] if redirects look endless, for example because of a proxy
// that is not trusted.
type RedirectHTTPS struct {
	loops       warning
	redirects   redirects
	host, port  string
	credentials []string
	exempt      exempt
	hooks       guard.Hooks
}

// NewRedirectHTTPS returns the middleware.
func NewRedirectHTTPS(c HTTPSConfig) (*RedirectHTTPS, error) {
	p := mistakes.List{Package: "headers"}
	t := &RedirectHTTPS{
		host:        c.Host,
		exempt:      newExempt(&p, "HTTPSConfig.InsecureExempt", c.InsecureExempt),
		credentials: append(names(&p, "HTTPSConfig.Credentials", c.Credentials), "Authorization", "Proxy-Authorization", "X-Api-Key"),
		hooks:       c.Hooks,
	}
	if !c.InsecureRedirectCookies {
		t.credentials = append(t.credentials, "Cookie")
	}
	if c.Host != "" {
		if h, ok := parseHost(c.Host); !ok || h.dot {
			p.Bad("HTTPSConfig.Host", c.Host, "an ASCII host without a scheme, for example www.example.com")
		}
		if c.Port != 0 {
			p.Bad("HTTPSConfig.Port", c.Port, "0 with Host, which has its own port")
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		p.Bad("HTTPSConfig.Port", c.Port, "1 to 65535")
	} else if c.Port != 0 && c.Port != 443 {
		t.port = ":" + strconv.Itoa(c.Port)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Handler returns next for requests over https. It answers 308 to a GET or HEAD in
// clear text without secrets, and 403 to other requests (ASVS 5.0, 4.1.2).
func (t *RedirectHTTPS) Handler(next http.Handler) http.Handler {
	mustHandle(next)
	return guard.Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		location, err := t.Check(r)
		switch {
		case err != nil:
			t.hooks.Refuse(w, r, err)
		case location != "":
			h := w.Header()
			h["Location"] = []string{location}
			// A cached redirect would answer requests that must be refused.
			h[hCache] = []string{"no-store"}
			h["Content-Length"] = []string{"0"}
			t.warn(r)
			w.WriteHeader(http.StatusPermanentRedirect)
		default:
			next.ServeHTTP(w, r)
		}
	}), next)
}

// redirects counts consecutive redirects of one address.
type redirects struct {
	mu   sync.Mutex
	peer string // without its port
	n    int
}

// manyInARow is the number of consecutive redirects that look like a loop.
const manyInARow = 20

// many counts a redirect and reports whether it looks like a loop.
func (c *redirects) many(remoteAddr string) bool {
	peer := remoteAddr[:max(strings.LastIndexByte(remoteAddr, ':'), 0)]
	c.mu.Lock()
	defer c.mu.Unlock()
	if peer != c.peer {
		c.peer, c.n = strings.Clone(peer), 0
	}
	c.n++
	return c.n >= manyInARow
}

// warn reports redirects that may be endless.
func (t *RedirectHTTPS) warn(r *http.Request) {
	why := ""
	switch {
	case saysHTTPS(r.Header):
		why = "a header of the request claims https"
	case t.redirects.many(r.RemoteAddr):
		why = fmt.Sprintf("this peer was redirected %d times or more in a row", manyInARow)
	default:
		return
	}
	if t.loops.due() {
		t.hooks.Emit(r, guard.Event{Name: guard.EventMisconfigured, Err: fmt.Errorf(
			"headers: redirected to https, and %s; if a proxy terminates TLS in front of this server, list it in NewTrustedProxies, "+
				"or the redirects never end (peer %.64q)", why, r.RemoteAddr)})
	}
}

// saysHTTPS reports whether a proxy that is not trusted marked the request as https.
// TrustedProxies removes these headers and has its own event.
func saysHTTPS(header http.Header) bool {
	for _, name := range [...]string{"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "Forwarded", "Cloudfront-Forwarded-Proto"} {
		for _, line := range header[name] {
			if l := strings.ToLower(line); strings.Contains(l, "https") || l == "on" {
				return true
			}
		}
	}
	return false
}

// Check returns an empty location if r may pass, the URL of the redirect, or a
// [guard.Denial].
func (t *RedirectHTTPS) Check(r *http.Request) (location string, err error) {
	if guard.Scheme(r) == "https" || t.exempt.has(r) {
		return "", nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "", inTheClear(fmt.Errorf("headers: %.20q over http", r.Method))
	}
	for _, name := range t.credentials {
		if len(r.Header[name]) > 0 {
			return "", inTheClear(fmt.Errorf("headers: %s over http", name))
		}
	}
	to := t.host
	if to == "" {
		h, ok := parseHost(r.Host)
		if !ok {
			return "", refusedHost("malformed", r.Host)
		}
		to = h.name + t.port
	}
	// Only path and query: the client chooses scheme and host of an
	// absolute-form target.
	u := url.URL{Scheme: "https", Host: to, Path: r.URL.Path, RawPath: r.URL.RawPath}
	// Fragments are not sent to servers, so the # belongs to the query.
	u.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "#", "%23")
	if !strings.HasPrefix(u.Path, "/") {
		u.Path, u.RawPath = "/", ""
	}
	return escapeNonASCII(u.String()), nil
}

func inTheClear(err error) error {
	d := guard.NewDenial(http.StatusForbidden, "https_required",
		"This is served over https only. What was sent in the clear should be replaced.",
		fmt.Errorf("headers: not over https: %w", err))
	d.Event = guard.EventInputFail // the caller is not identified yet
	return d
}

// escapeNonASCII escapes a query for use in a header.
func escapeNonASCII(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
