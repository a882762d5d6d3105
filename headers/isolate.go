package headers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// IsolateConfig configures [Isolate].
type IsolateConfig struct {
	// TrustedOrigins are origins whose pages may send any request. Include the
	// origins of CORS with Credentials.
	TrustedOrigins []string

	// InsecureAnyExtension trusts all extensions of schemes; see [CORSConfig].
	// Every installed extension can then send any request.
	InsecureAnyExtension []string

	// InsecureSameSite lets other hosts of the same site load resources with GET.
	// An attacker with a forgotten subdomain can then probe the user's access.
	InsecureSameSite bool

	// InsecureExempt are paths that every site may load with GET, HEAD and
	// OPTIONS; "/public/" is everything under it. If a response depends on the
	// caller, other sites learn about the caller.
	InsecureExempt []string

	Hooks guard.Hooks
}

// Isolate refuses requests that pages of other sites make a browser send: forged
// requests, by [http.CrossOriginProtection], and loading of resources, by Fetch
// Metadata. Links and clients that are not browsers pass.
//
// Forms require a Referrer-Policy other than no-referrer, with which they have Origin:
// null and are refused over http and from old browsers; see [HTML].
type Isolate struct {
	protection *http.CrossOriginProtection
	trusted    map[string]bool
	extensions anyExtension
	sameSite   bool
	exempt     exempt
	hooks      guard.Hooks
}

// NewIsolate returns the middleware.
func NewIsolate(c IsolateConfig) (*Isolate, error) {
	p := mistakes.List{Package: "headers"}
	t := &Isolate{
		protection: http.NewCrossOriginProtection(),
		trusted:    make(map[string]bool),
		extensions: newAnyExtension(&p, "IsolateConfig.InsecureAnyExtension", c.InsecureAnyExtension),
		sameSite:   c.InsecureSameSite,
		exempt:     newExempt(&p, "IsolateConfig.InsecureExempt", c.InsecureExempt),
		hooks:      c.Hooks,
	}
	for i, s := range c.TrustedOrigins {
		field := mistakes.At("IsolateConfig.TrustedOrigins", i)
		if o, ok := parseOrigin(s); !ok || o.dot {
			p.Bad(field, s, "an origin by name, as browsers send it: https://example.com")
			continue
		}
		if slices.Contains(c.TrustedOrigins[:i], s) {
			p.Bad(field, s, "each origin once")
		}
		t.trusted[s] = true
		if err := t.protection.AddTrustedOrigin(s); err != nil {
			p.Bad(field, s, "an origin that net/http accepts: "+err.Error())
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Handler returns next for requests that pass [Isolate.Check] and answers 403 to
// others.
func (t *Isolate) Handler(next http.Handler) http.Handler {
	mustHandle(next)
	return guard.Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A cache must not serve the response to another site.
		vary := w.Header()[hVary]
		w.Header()[hVary] = append(vary[:len(vary):len(vary)], "Sec-Fetch-Dest, Sec-Fetch-Mode, Sec-Fetch-Site")
		if err := t.Check(r); err != nil {
			t.hooks.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	}), next)
}

// Check returns nil if r may pass, and otherwise a [guard.Denial] with status 403.
// Call it behind [TrustedProxies].
func (t *Isolate) Check(r *http.Request) error {
	for _, name := range [...]string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"} {
		if len(r.Header[name]) > 1 {
			return crossOrigin(fmt.Errorf("headers: %s occurs more than once", name))
		}
	}
	from := r.Header.Get("Origin")
	o, ok := parseOrigin(from)
	if from != "" && from != "null" && !ok {
		// net/http compares the host of url.Parse only, and accepts a user
		// name (golang.org/issue/78563).
		return crossOrigin(fmt.Errorf("headers: the origin %.100q is malformed", from))
	}
	site := r.Header.Get("Sec-Fetch-Site")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return t.load(r, from, site)
	}
	if ok && site == "" && o.scheme == "http" && guard.Scheme(r) == "https" && !t.trusted[from] {
		// Without Fetch Metadata net/http compares hosts only. An attacker
		// in the network can be this host in clear text.
		return crossOrigin(errors.New("headers: a page in the clear sent this to https"))
	}
	if from == "null" && site == "" {
		// net/http accepts it for a request without a host.
		return crossOrigin(errors.New("headers: the origin is null"))
	}
	if t.extensions.has(from) {
		return nil
	}
	if err := t.protection.Check(r); err != nil {
		return crossOrigin(fmt.Errorf("headers: %w", err))
	}
	return nil
}

// load decides on requests that change nothing but whose response may leak
// information, by a resource isolation policy
// (https://web.dev/articles/fetch-metadata).
func (t *Isolate) load(r *http.Request, from, site string) error {
	mode := r.Header.Get("Sec-Fetch-Mode")
	socket := mode == "websocket" || lower(r.Header.Get("Upgrade")) == "websocket"
	switch site {
	case "same-origin", "none":
		return nil
	case "":
		// Old browsers, other clients, and all requests over http. Pages of
		// all origins can read a WebSocket, so its handshake is checked.
		if socket && from != "" && !t.trusts(from) && !t.isOwn(r, from) {
			return crossOrigin(fmt.Errorf("headers: a WebSocket from %.100q", from))
		}
		return nil
	case "same-site":
		if t.sameSite && !socket {
			return nil
		}
	}
	if t.trusts(from) {
		return nil
	}
	if t.exempt.has(r) && !socket {
		return nil
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	// A link was followed. X-Frame-Options prevents frames.
	if mode == "navigate" && r.Method != http.MethodOptions && (dest == "document" || dest == "") {
		return nil
	}
	return crossOrigin(fmt.Errorf("headers: %.20q as %.20q, mode %.20q", site, dest, mode))
}

// trusts reports whether the configuration trusts the origin.
func (t *Isolate) trusts(from string) bool { return t.trusted[from] || t.extensions.has(from) }

// isOwn reports whether from is the origin of the server.
func (t *Isolate) isOwn(r *http.Request, from string) bool {
	o, ok := parseOrigin(from)
	h, valid := parseHost(r.Host)
	if !ok || !valid || !isWeb(o.scheme) || o.scheme == "http" && guard.Scheme(r) == "https" {
		return false
	}
	port := h.port
	if port == defaultPort(o.scheme) {
		port = 0
	}
	return o.name == lower(h.name) && o.dot == h.dot && o.port == port
}

func crossOrigin(err error) error {
	d := guard.NewDenial(http.StatusForbidden, "cross_origin", "A page of another site made this request.", err)
	d.Event = guard.EventCrossOrigin
	return d
}
