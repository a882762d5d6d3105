package headers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Kinds of requests, as [CORS.Explain] tells them apart.
const (
	KindPlain     = "plain"     // not from a page of another origin, as far as CORS is concerned
	KindPreflight = "preflight" // a browser asks before it sends the request itself
	KindActual    = "actual"    // the request itself
)

// A Verdict is what a browser makes of the answer to a request.
type Verdict struct {
	// Kind is one of the kinds above.
	Kind string

	// Allowed says that the browser goes on: after a preflight it sends the
	// request, after an actual request it hands the response to the page.
	Allowed bool

	// Credentials says that it does so as well if the page asked for cookies
	// to be sent. Without it such a page gets an error.
	Credentials bool

	// Why says what decided, for a developer.
	Why string

	// Header is what this middleware sets on the response.
	Header http.Header
}

// String returns the verdict on one line.
func (v Verdict) String() string {
	what := "refused"
	switch {
	case v.Allowed && v.Credentials:
		what = "allowed, with credentials"
	case v.Allowed:
		what = "allowed, without credentials"
	}
	return v.Kind + " " + what + ": " + v.Why
}

// Explain says what a browser does with the answer to r, and why. It reads the
// headers that the middleware really sets as the Fetch Standard tells browsers
// to, so it cannot promise what is not sent. It is for development and for
// tests; do not show Why to clients.
func (t *CORS) Explain(r *http.Request) Verdict {
	v := Verdict{Kind: KindPlain, Header: make(http.Header)}
	t.decide(v.Header, r, isPreflight(r))
	origin := r.Header.Get("Origin")
	switch {
	case len(r.Header["Origin"]) > 1:
		v.Kind = KindActual
		if isPreflight(r) {
			v.Kind = KindPreflight
		}
		v.Why = "there are two Origin headers, which no browser sends"
		return v
	case origin == "":
		v.Allowed, v.Credentials = true, true
		v.Why = "there is no Origin header: the page is of this origin, or the client is no browser"
		return v
	}
	v.Kind = KindActual
	if isPreflight(r) {
		v.Kind = KindPreflight
	}
	v.browse(r)
	v.Why = t.why(r, origin, v)
	return v
}

// browse settles what a browser does that gets v.Header: the CORS check of the
// Fetch Standard, once with each credentials mode.
func (v *Verdict) browse(r *http.Request) {
	allow, origin := v.Header[hAllowOrigin], r.Header.Get("Origin")
	v.Allowed = len(allow) == 1 && (allow[0] == "*" || allow[0] == origin)
	v.Credentials = len(allow) == 1 && allow[0] == origin && v.Header.Get(hAllowCreds) == "true"
	if v.Kind == KindPreflight {
		v.Allowed = v.Allowed && v.permits(r, false)
		v.Credentials = v.Credentials && v.permits(r, true)
	}
}

// permits is the part of CORS-preflight fetch that looks at method and headers.
func (v *Verdict) permits(r *http.Request, credentials bool) bool {
	has := func(name, value string) bool {
		for _, line := range v.Header[name] {
			for element := range strings.SplitSeq(line, ",") {
				element = trimOWS(element)
				if element == "*" && !credentials || name == hAllowMethods && element == value ||
					name == hAllowHeaders && strings.EqualFold(element, value) {
					return true
				}
			}
		}
		return false
	}
	method := r.Header.Get(hRequestMethod)
	if !isSimple(method) && !has(hAllowMethods, method) {
		return false
	}
	for _, name := range requested(r) {
		if !has(hAllowHeaders, name) {
			return false
		}
	}
	return true
}

// isSimple reports whether browsers send the method without asking.
func isSimple(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost
}

// requested returns the headers that the page wants to set.
func requested(r *http.Request) []string {
	var all []string
	for _, line := range r.Header[hRequestHeader] {
		for name := range strings.SplitSeq(line, ",") {
			if name = trimOWS(name); name != "" {
				all = append(all, name)
			}
		}
	}
	return all
}

// why finds the reason for a verdict that is already settled.
func (t *CORS) why(r *http.Request, origin string, v Verdict) string {
	method := r.Method
	if v.Kind == KindPreflight {
		method = r.Header.Get(hRequestMethod)
	}
	switch {
	case v.Kind == KindPreflight && len(r.Header[hRequestMethod]) > 1:
		return "there are two Access-Control-Request-Method headers, which no browser sends"
	case v.Kind == KindPreflight && !isBounded(r):
		return fmt.Sprintf("Access-Control-Request-Headers has more than %d bytes", maxRequestHeaders)
	case !t.origins.has(origin):
		return fmt.Sprintf("the origin %.100q is not allowed%s", origin, t.hint(origin))
	case method != http.MethodOptions && !slices.Contains(t.methods, method):
		return fmt.Sprintf("the method %.30q is not one of %s", method, strings.Join(t.methods, ", "))
	case !v.Allowed:
		return fmt.Sprintf("a header of %.100q is not allowed, or they are not in lower case and in order, as browsers send them",
			strings.Join(requested(r), ", "))
	case t.origins.any:
		return "every origin is allowed, without credentials"
	case !v.Credentials:
		return "the origin is allowed, and credentials are not"
	}
	return "the origin is allowed"
}

// hint says what is peculiar about an origin that is not allowed.
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
