package headers

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/httpfield"
)

// Headers sets the security headers of responses.
type Headers struct {
	plain, secure set // over http and over https
	credentials   []string
	remove        []string
	noStore       bool
	nonce         bool
	enforce       bool
}

// New returns the Headers for c.
func New(c Config) (*Headers, error) { return c.compile() }

// Handler returns next with the headers, set before next runs; see Config.Enforce. Put
// middleware that writes responses, like http.TimeoutHandler, inside of it.
func (h *Headers) Handler(next http.Handler) http.Handler {
	mustHandle(next)
	return guard.Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &h.plain
		if guard.Scheme(r) == "https" {
			s = &h.secure
		}
		private := h.noStore && h.authenticated(r)
		s.apply(w.Header(), private)
		var n *nonce
		if h.nonce {
			n = &nonce{set: s}
			r = r.WithContext(context.WithValue(r.Context(), nonceKey{}, n))
		}
		if !h.enforce {
			next.ServeHTTP(w, r)
			return
		}
		e := newEnforcer(w, func(header http.Header) { h.enforceOn(header, s, n, private) })
		// Also if next panics: the response of the recovering handler has these.
		defer e.commit()
		next.ServeHTTP(e.writer(), r)
	}), next)
}

// authenticated reports whether the response to r is for one caller only.
func (h *Headers) authenticated(r *http.Request) bool {
	if len(r.Header["Authorization"]) > 0 || len(r.Header["Cookie"]) > 0 || len(r.Header["X-Api-Key"]) > 0 {
		return true
	}
	for _, name := range h.credentials {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}

// enforceOn corrects header just before it is sent.
func (h *Headers) enforceOn(header http.Header, s *set, n *nonce, private bool) {
	cache := header[hCache]
	s.apply(header, false)
	value, read := n.peek()
	if read {
		s.applyNonce(header, value)
	}
	for _, name := range h.remove {
		delete(header, name)
	}
	if !h.noStore && !read {
		return
	}
	switch {
	case (private || read || len(header["Set-Cookie"]) > 0) && !slices.ContainsFunc(cache, forOneOnly):
		// A reverse proxy clears the no-store of apply after early hints.
		cache = []string{"no-store"}
	case len(cache) > 1 && slices.ContainsFunc(cache, forbidsStoring):
		// One line of apply and one of a backend: together they mean no-store.
		cache = []string{"no-store"}
	case len(cache) > 1:
		cache = []string{strings.Join(cache, ", ")}
	}
	if len(cache) > 0 {
		header[hCache] = cache
	}
}

func forbidsStoring(cacheControl string) bool {
	return hasDirective(cacheControl, "no-store")
}

// forOneOnly reports whether no shared cache keeps the response.
func forOneOnly(cacheControl string) bool {
	return hasDirective(cacheControl, "no-store") || hasDirective(cacheControl, "private")
}

// hasDirective reports whether a line of Cache-Control has the directive without an
// argument. With one it differs: private="X-User" lets shared caches keep the response
// without that header.
func hasDirective(line, directive string) bool {
	begin, quoted := 0, false
	for i := 0; i <= len(line); i++ {
		switch {
		case i == len(line) || line[i] == ',' && !quoted:
			if strings.EqualFold(httpfield.TrimOWS(line[begin:i]), directive) {
				return true
			}
			begin = i + 1
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '\\' && quoted:
			i++
		}
	}
	return false
}

// A set has all headers for one scheme.
type set struct {
	names, values []string
	csp, only     policy
}

// apply sets the headers. Each response gets its own array, clipped so that neither
// assigning nor appending to a value affects another header or response.
func (s *set) apply(header http.Header, private bool) {
	n := len(s.names)
	own := make([]string, n+1)
	copy(own, s.values)
	for i, name := range s.names {
		header[name] = own[i : i+1 : i+1]
	}
	if private {
		own[n] = "no-store"
		header[hCache] = own[n : n+1 : n+1]
	}
}

func (s *set) applyNonce(header http.Header, value string) {
	if s.csp.around != nil {
		header[hCSP] = []string{s.csp.with(value)}
	}
	if s.only.around != nil {
		header[hReportOnly] = []string{s.only.with(value)}
	}
}

type nonceKey struct{}

// A nonce is made on the first read.
type nonce struct {
	set *set

	mu    sync.Mutex
	value string
}

func (n *nonce) read() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.value == "" {
		n.value = rand.Text()
	}
	return n.value
}

// peek returns the nonce if it was read.
func (n *nonce) peek() (value string, read bool) {
	if n == nil {
		return "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.value, n.value != ""
}

// Nonce returns the nonce of this response, for script and style elements, and adds it
// to the Content-Security-Policy of w. It has at least 128 bits and makes the response
// no-store. Call it before the first Write. Without [Headers] and [NonceSource] it
// matches nothing.
func Nonce(w http.ResponseWriter, r *http.Request) string {
	n, ok := r.Context().Value(nonceKey{}).(*nonce)
	if !ok {
		return ""
	}
	value := n.read()
	n.set.applyNonce(w.Header(), value)
	w.Header()[hCache] = []string{"no-store"}
	return value
}

// ClearSite makes the browser delete the cookies and storage of this origin, over
// https only. It does not clear the cache.
func ClearSite(w http.ResponseWriter) {
	// Clearing the cache too blocks Chromium for seconds.
	w.Header()["Clear-Site-Data"] = []string{`"cookies", "storage"`}
}

// mustHandle panics if next is nil, like [http.ServeMux].
func mustHandle(next http.Handler) {
	f, ok := next.(http.HandlerFunc)
	if next == nil || ok && f == nil {
		panic("headers: the next handler is nil")
	}
}
