package headers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/httpfield"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// CORSConfig configures [CORS].
type CORSConfig struct {
	// Methods are the methods that pages may use. Default: GET, HEAD and POST.
	Methods []string

	// Headers are request headers that pages may set beside the safelisted ones.
	// Default: Authorization and Content-Type.
	Headers []string

	// Expose are response headers that pages may read beside the safelisted ones.
	Expose []string

	// Credentials lets pages send the user's cookies and read the response.
	Credentials bool

	// MaxAge is how long browsers cache preflight responses, in whole seconds, at
	// most a day. If negative, they do not. Default: ten minutes.
	MaxAge time.Duration

	// Enforce sends the headers of this package whatever handlers did, by wrapping
	// the ResponseWriter. Default: headers are set before the handler.
	Enforce bool

	// Hooks.Observe receives an event for each origin, method or header that is
	// not allowed. Other hooks are not used.
	Hooks guard.Hooks

	// InsecureNull permits the origin "null" of sandboxed frames and local files,
	// which an attacker can make.
	InsecureNull bool

	// InsecureHTTP permits http origins of other machines together with
	// Credentials. An attacker in the network can then inject scripts and act for
	// the user.
	InsecureHTTP bool

	// InsecureSharedDomains permits wildcards under domains with open
	// registration, like "https://*.github.io", where an attacker can register.
	InsecureSharedDomains bool

	// InsecureAnyExtension permits all extensions of schemes like "moz-extension",
	// whose IDs differ by installation. Every installed extension can then read
	// responses.
	InsecureAnyExtension []string

	// InsecureAnyHeader permits "*" in Headers: pages may set every request
	// header, also headers that a proxy trusts.
	InsecureAnyHeader bool
}

// CORS lets pages of other origins read responses.
type CORS struct {
	origins origins
	enforce bool
	methods []string
	engine  *cors.Cors // answers preflight requests
	hooks   guard.Hooks

	// Of actual requests.
	credentials bool
	expose      string
}

// NewCORS returns middleware for origins as browsers send them:
// "https://app.example.com", with a port only if it is not the default;
// "https://*.example.com" for all hosts under example.com, at any depth;
// "http://localhost:*" for every port of this machine; "*" for every origin, without
// Credentials.
func NewCORS(allowed []string, c CORSConfig) (*CORS, error) {
	p := mistakes.List{Package: "headers"}
	t := &CORS{enforce: c.Enforce, hooks: c.Hooks}
	t.origins = newOrigins(&p, allowed, c)
	t.methods = corsMethods(&p, c.Methods)
	headers := corsHeaders(&p, c)
	for i, name := range c.Expose {
		switch {
		case name == "*" && !c.Credentials:
		case name == "*":
			p.Bad(mistakes.At("CORSConfig.Expose", i), name, "names; with Credentials browsers ignore the wildcard")
		case !httpfield.IsToken(name):
			p.Bad(mistakes.At("CORSConfig.Expose", i), name, "the name of a header")
		case strings.EqualFold(name, "Set-Cookie") || strings.EqualFold(name, "Set-Cookie2"):
			p.Bad(mistakes.At("CORSConfig.Expose", i), name, "another header; browsers hide cookies from pages")
		}
	}
	switch {
	case c.MaxAge == 0:
		c.MaxAge = 10 * time.Minute
	case c.MaxAge > 24*time.Hour:
		p.Bad("CORSConfig.MaxAge", c.MaxAge, "at most 24h")
	case c.MaxAge > 0 && c.MaxAge%time.Second != 0:
		p.Bad("CORSConfig.MaxAge", c.MaxAge, "whole seconds")
	case c.MaxAge < 0:
		c.MaxAge = -time.Second
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	options := cors.Options{
		AllowedMethods:   t.methods,
		AllowedHeaders:   headers,
		ExposedHeaders:   slices.Clone(c.Expose),
		MaxAge:           int(c.MaxAge / time.Second),
		AllowCredentials: c.Credentials,
	}
	if t.origins.any {
		options.AllowedOrigins = []string{"*"}
	} else {
		options.AllowOriginVaryRequestFunc = func(_ *http.Request, o string) (bool, []string) {
			return t.origins.has(o), nil
		}
	}
	t.engine = cors.New(options)
	t.credentials = c.Credentials
	exposed := make([]string, len(c.Expose))
	for i, name := range c.Expose {
		exposed[i] = http.CanonicalHeaderKey(name)
	}
	t.expose = strings.Join(exposed, ", ")
	return t, nil
}

// Names of the headers of CORS, as http.Header has them.
const (
	hVary          = "Vary"
	hAllowOrigin   = "Access-Control-Allow-Origin"
	hAllowCreds    = "Access-Control-Allow-Credentials"
	hExpose        = "Access-Control-Expose-Headers"
	hAllowMethods  = "Access-Control-Allow-Methods"
	hAllowHeaders  = "Access-Control-Allow-Headers"
	hMaxAge        = "Access-Control-Max-Age"
	hRequestMethod = "Access-Control-Request-Method"
	hRequestHeader = "Access-Control-Request-Headers"

	varyActual    = "Origin"
	varyPreflight = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
)

// What is set beside Vary.
var (
	actualHeaders    = [...]string{hAllowOrigin, hAllowCreds, hExpose}
	preflightHeaders = [...]string{hAllowOrigin, hAllowCreds, hAllowMethods, hAllowHeaders, hMaxAge}
)

// maxValues is the room for Vary and the other headers with one value.
const maxValues = 1 + len(preflightHeaders)

// maxRequestHeaders bounds the Access-Control-Request-Headers that are read, in bytes
// over all lines. Browsers send far fewer.
const maxRequestHeaders = 4096

// Handler adds CORS headers and answers preflight requests. Other requests reach next,
// whatever their origin: the browser hides the response from the page. [Isolate]
// refuses requests.
func (t *CORS) Handler(next http.Handler) http.Handler {
	mustHandle(next)
	return guard.Describe(t.serve(next), next)
}

func (t *CORS) serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		preflight := isPreflight(r)
		if !t.decide(h, r, preflight) {
			t.hooks.Emit(r, guard.Event{Name: guard.EventCrossOrigin, Err: t.why(r, preflight)})
		}
		if preflight {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if !t.enforce {
			next.ServeHTTP(w, r)
			return
		}
		decided := make(map[string]string, len(actualHeaders))
		for _, name := range actualHeaders {
			decided[name] = strings.Join(h[name], ", ")
		}
		e := newEnforcer(w, func(h http.Header) { enforceCORS(h, decided) })
		defer e.commit()
		next.ServeHTTP(e.writer(), r)
	})
}

// decide sets the headers of the response to r. It returns false if a page of another
// origin is refused.
func (t *CORS) decide(h http.Header, r *http.Request, preflight bool) bool {
	value := varyActual
	if preflight {
		value = varyPreflight
	}
	vary := h[hVary]
	if !hasOneOrigin(r) || !t.origins.has(r.Header["Origin"][0]) || preflight && !isBounded(r) {
		// Clipped, so that append copies the array.
		h[hVary] = append(vary[:len(vary):len(vary)], value)
		return len(r.Header["Origin"]) == 0 || len(r.Header["Origin"]) == 1 && r.Header["Origin"][0] == ""
	}
	// All values are in one array of this response, clipped in the same way.
	array := make([]string, maxValues)
	if vary == nil {
		h[hVary] = array[:0:1]
	} else {
		h[hVary] = vary[:len(vary):len(vary)]
	}
	if !preflight {
		h[hVary] = append(h[hVary], value)
		if !t.allows(r.Method) {
			return false
		}
		array[1] = r.Header["Origin"][0]
		if t.origins.any {
			array[1] = "*"
		}
		h[hAllowOrigin] = array[1:2:2]
		if t.credentials {
			array[2] = "true"
			h[hAllowCreds] = array[2:3:3]
		}
		if t.expose != "" {
			array[3] = t.expose
			h[hExpose] = array[3:4:4]
		}
		return true
	}
	// The engine puts shared slices, or slices of the request, into h. Each is
	// replaced by a slice of this response. The value that the engine appends
	// to Vary becomes the first element of array.
	t.engine.HandlerFunc(headersOnly{h}, r)
	free := 1
	for _, name := range preflightHeaders {
		values, ok := h[name]
		switch {
		case !ok:
		case len(values) == 1 && free < len(array):
			array[free] = values[0]
			h[name] = array[free : free+1 : free+1]
			free++
		default:
			h[name] = slices.Clone(values)
		}
	}
	return len(h[hAllowOrigin]) > 0
}

// why returns the reason for refusing r.
func (t *CORS) why(r *http.Request, preflight bool) error {
	origin, method := r.Header.Get("Origin"), r.Method
	if preflight {
		method = r.Header.Get(hRequestMethod)
	}
	switch {
	case len(r.Header["Origin"]) > 1:
		return errors.New("headers: CORS: the request has two Origin headers")
	case preflight && len(r.Header[hRequestMethod]) > 1:
		return errors.New("headers: CORS: the preflight has two Access-Control-Request-Method headers")
	case preflight && !isBounded(r):
		return fmt.Errorf("headers: CORS: Access-Control-Request-Headers has more than %d bytes", maxRequestHeaders)
	case !t.origins.has(origin):
		return &originError{t, origin}
	case !t.allows(method):
		return fmt.Errorf("headers: CORS: the method %.30q is not one of %s", method, strings.Join(t.methods, ", "))
	}
	return fmt.Errorf("headers: CORS: a header of %.100q is not allowed, or they are not in lower case and in order, as browsers send them",
		strings.Join(requested(r), ", "))
}

// allows reports whether pages may use the method. A request with OPTIONS that is no
// preflight is always allowed.
func (t *CORS) allows(method string) bool {
	return method == http.MethodOptions || slices.Contains(t.methods, method)
}

// An originError is the reason for refusing an origin. Its text is made when needed.
type originError struct {
	cors   *CORS
	origin string
}

func (e *originError) Error() string {
	return fmt.Sprintf("headers: CORS: the origin %.100q is not allowed%s", e.origin, e.cors.hint(e.origin))
}

// requested returns the headers that the page would set.
func requested(r *http.Request) []string {
	var all []string
	for _, line := range r.Header[hRequestHeader] {
		for name := range strings.SplitSeq(line, ",") {
			if name = httpfield.TrimOWS(name); name != "" {
				all = append(all, name)
			}
		}
	}
	return all
}

// hint returns the likely mistake in an origin that is not allowed.
func (t *CORS) hint(o string) string {
	if o == "null" {
		return ": sandboxed frames, local files and redirects across origins have it"
	}
	parsed, ok := parseOrigin(o)
	switch {
	case !ok:
		return ", nor is it spelled as browsers do"
	case parsed.dot:
		return ": a dot at the end makes it another one"
	case parsed.scheme == "http" && t.origins.has("https"+strings.TrimPrefix(o, "http")):
		return ": https is, http is not"
	}
	for exact := range t.origins.exact {
		if e, ok := parseOrigin(exact); ok && e.scheme == parsed.scheme && e.name == parsed.name {
			return ": with another port it is"
		}
	}
	return ""
}

// headersOnly is a ResponseWriter that takes headers and sends nothing.
type headersOnly struct{ header http.Header }

func (h headersOnly) Header() http.Header         { return h.header }
func (h headersOnly) Write(p []byte) (int, error) { return len(p), nil }
func (h headersOnly) WriteHeader(int)             {}

// isPreflight reports whether r is a preflight request.
func isPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions || len(r.Header["Origin"]) == 0 {
		return false
	}
	return r.Header["Origin"][0] != "" && r.Header.Get(hRequestMethod) != ""
}

// hasOneOrigin reports whether r has one Origin header that is not empty. Of two, this
// package and a proxy could read different ones.
func hasOneOrigin(r *http.Request) bool {
	o := r.Header["Origin"]
	return len(o) == 1 && o[0] != ""
}

// isBounded reports whether the preflight request r is of the form that browsers send.
// The engine reads only one of two methods.
func isBounded(r *http.Request) bool {
	size := 0
	for _, line := range r.Header[hRequestHeader] {
		size += len(line) + 1
	}
	return len(r.Header[hRequestMethod]) == 1 && size <= maxRequestHeaders
}

// enforceCORS corrects h just before it is sent.
func enforceCORS(h http.Header, decided map[string]string) {
	for name, value := range decided {
		if value == "" {
			delete(h, name)
		} else {
			h[name] = []string{value}
		}
	}
	for _, line := range h[hVary] {
		for field := range strings.SplitSeq(line, ",") {
			if f := httpfield.TrimOWS(field); f == "*" || strings.EqualFold(f, "Origin") {
				return
			}
		}
	}
	vary := h[hVary]
	h[hVary] = append(vary[:len(vary):len(vary)], varyActual)
}

// origins are the allowed origins.
type origins struct {
	any   bool
	exact map[string]bool      // as browsers spell them
	under map[string][]pattern // by the name after "*."
	ports map[string][]pattern // names of this machine that go with any port

	extensions anyExtension
}

// A pattern is the scheme and port of a name. In ports the port is ignored.
type pattern struct {
	scheme string
	port   uint16
}

// has reports whether o, the value of an Origin header, is allowed.
func (a *origins) has(o string) bool {
	if a.any || a.exact[o] {
		return true
	}
	if a.extensions.has(o) {
		return true
	}
	if len(a.under) == 0 && len(a.ports) == 0 {
		return false
	}
	parsed, ok := parseOrigin(o)
	if !ok || parsed.dot {
		return false
	}
	if slices.Contains(a.ports[parsed.name], pattern{parsed.scheme, 0}) {
		return true
	}
	return suffixes(parsed.name, func(suffix string) bool {
		return slices.Contains(a.under[suffix], pattern{parsed.scheme, parsed.port})
	})
}

func newOrigins(p *mistakes.List, allowed []string, c CORSConfig) origins {
	a := origins{exact: make(map[string]bool), under: make(map[string][]pattern), ports: make(map[string][]pattern)}
	a.extensions = newAnyExtension(p, "CORSConfig.InsecureAnyExtension", c.InsecureAnyExtension)
	if len(allowed) == 0 && len(a.extensions) == 0 {
		p.Bad("origins", "", `the origins whose pages may read responses, or no CORS`)
	}
	for i, s := range allowed {
		field := mistakes.At("origins", i)
		if slices.Contains(allowed[:i], s) {
			p.Bad(field, s, "each origin once")
			continue
		}
		switch s {
		case "*":
			if c.Credentials {
				p.Bad(field, s, "origins by name; with Credentials every page could act for the user")
			}
			if len(allowed) > 1 {
				p.Bad(field, s, "it alone, or the other origins without it")
			}
			a.any = true
		case "null":
			if !c.InsecureNull {
				p.Bad(field, s, "an origin by name, or CORSConfig.InsecureNull; every sandboxed page has this origin")
			}
			a.exact[s] = true
		default:
			a.add(p, field, s, c)
		}
	}
	return a
}

func (a *origins) add(p *mistakes.List, field, s string, c CORSConfig) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found || scheme == "" {
		p.Bad(field, s, "an origin with its scheme, for example https://example.com")
		return
	}
	name, wild := strings.CutPrefix(rest, "*.")
	name, anyPort := strings.CutSuffix(name, ":*")
	want := ""
	web := isWeb(scheme)
	switch {
	case slices.Contains(extensions, scheme) && strings.Contains(rest, "*"):
		want = "an extension by its ID, or CORSConfig.InsecureAnyExtension with " + scheme
	case scheme == "*" || strings.Contains(name, "*"):
		want = "a wildcard for whole labels at the front of the host, for example https://*.example.com"
	case scheme == "file":
		want = "another origin; files have the origin null"
	case !isASCII(s):
		want = "the A-label (xn--…) of a name beyond ASCII"
	case s != strings.ToLower(s) && web, scheme != strings.ToLower(scheme):
		want = "lower case, as browsers send it: " + mistakes.Shown(strings.ToLower(s))
	case strings.HasSuffix(s, "/"):
		want = "no slash at the end: " + mistakes.Shown(strings.TrimRight(s, "/"))
	case strings.ContainsAny(rest, "/?#"):
		want = "scheme, host and port only"
	case strings.Contains(rest, "@"):
		want = "an origin without a user"
	case !isScheme(scheme):
		want = "a scheme, for example https"
	}
	if want != "" {
		p.Bad(field, s, want)
		return
	}
	o, ok := parseOrigin(scheme + "://" + name)
	switch {
	case strings.HasSuffix(name, fmt.Sprint(":", defaultPort(scheme))) && web:
		want = "no port, because it is the default of the scheme"
	case !ok && !web:
		want = "an origin as its pages send it, for example app://-"
	case !ok:
		want = "an origin as browsers send it: https://example.com, with a port only if it is not the default"
	case o.dot:
		want = "the host without the dot at its end"
	case wild && (o.ip || !web):
		want = "no wildcard with an address or with a scheme other than http and https"
	case anyPort && (!isLoopback(o.name) || wild || o.port != 0):
		want = "one port; :* is for localhost, 127.0.0.1 and [::1] only"
	case wild && strings.IndexByte(o.name, '.') < 0 && o.name != "localhost":
		want = "a wildcard under your own domain; an attacker can register under this one"
	case wild && isShared(o.name) && !c.InsecureSharedDomains:
		want = "the origins themselves, or CORSConfig.InsecureSharedDomains; an attacker can register there"
	case scheme == "http" && c.Credentials && !isLoopback(o.name) && !c.InsecureHTTP:
		want = "https, or CORSConfig.InsecureHTTP; an attacker in the network can change that page and act for the user"
	}
	switch {
	case want != "":
		p.Bad(field, s, want)
	case anyPort:
		a.ports[o.name] = append(a.ports[o.name], pattern{o.scheme, 0})
	case wild:
		a.under[o.name] = append(a.under[o.name], pattern{o.scheme, o.port})
	default:
		a.exact[s] = true
	}
}

// corsMethods checks Methods and returns a copy, with the default.
func corsMethods(p *mistakes.List, all []string) []string {
	if len(all) == 0 {
		return []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	for i, m := range all {
		field := mistakes.At("CORSConfig.Methods", i)
		switch {
		case m == "*":
			p.Bad(field, m, "methods by name")
		case !httpfield.IsToken(m):
			p.Bad(field, m, "a method")
		case slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, strings.ToUpper(m)):
			p.Bad(field, m, "another method; browsers refuse to send this one")
		case m != strings.ToUpper(m):
			p.Bad(field, m, mistakes.Shown(strings.ToUpper(m))+"; methods are compared byte by byte")
		case slices.Contains(all[:i], m):
			p.Bad(field, m, "each method once")
		}
	}
	return slices.Clone(all)
}

// corsHeaders checks Headers and returns a copy, with the default.
func corsHeaders(p *mistakes.List, c CORSConfig) []string {
	if len(c.Headers) == 0 {
		return []string{"Authorization", "Content-Type"}
	}
	for i, name := range c.Headers {
		field := mistakes.At("CORSConfig.Headers", i)
		lower := strings.ToLower(name)
		switch {
		case name == "*":
			if !c.InsecureAnyHeader {
				p.Bad(field, name, "headers by name, or CORSConfig.InsecureAnyHeader")
			}
			if len(c.Headers) > 1 {
				p.Bad(field, name, "it alone, or the other headers without it")
			}
		case !httpfield.IsToken(name):
			p.Bad(field, name, "the name of a header")
		case slices.Contains(forbidden, lower) || strings.HasPrefix(lower, "sec-") || strings.HasPrefix(lower, "proxy-"):
			p.Bad(field, name, "another header; browsers refuse to set this one")
		case strings.HasPrefix(lower, "access-control-allow-") || lower == "access-control-expose-headers":
			p.Bad(field, name, "a request header; this one belongs to responses")
		case slices.ContainsFunc(c.Headers[:i], func(s string) bool { return strings.EqualFold(s, name) }):
			p.Bad(field, name, "each header once")
		}
	}
	return slices.Clone(c.Headers)
}

// forbidden are the request headers that no page can set (Fetch Standard,
// "forbidden request-header").
var forbidden = []string{
	"accept-charset", "accept-encoding", "access-control-request-headers", "access-control-request-method",
	"connection", "content-length", "cookie", "cookie2", "date", "dnt", "expect", "host", "keep-alive", "origin",
	"referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "via",
}
