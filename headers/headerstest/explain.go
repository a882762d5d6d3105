package headerstest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// A Verdict is the outcome of a request by a page of another origin.
type Verdict struct {
	// Preflight reports whether the browser sends a preflight request first.
	Preflight bool

	// Allowed reports whether the page can read the response. The request is not
	// sent if its preflight request fails.
	Allowed bool

	// Why names the header that decided.
	Why string
}

// String returns the verdict on one line.
func (v Verdict) String() string {
	what := "refused"
	if v.Allowed {
		what = "allowed"
	}
	if v.Preflight {
		what += " after a preflight"
	}
	return what + ": " + v.Why
}

// Explain sends r to h as a browser does for a page, by the Fetch Standard: first a
// preflight request if the method or a header of r requires one. It works for every
// implementation of CORS. The Origin of r is the page's, the other headers are set by
// its script, and credentials is true for the credentials mode "include".
func Explain(h http.Handler, r *http.Request, credentials bool) Verdict {
	origin := r.Header.Get("Origin")
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	if origin == "" || origin == scheme+"://"+r.Host {
		return Verdict{Allowed: true, Why: "the page has the origin of the server"}
	}
	var v Verdict
	names := unsafeHeaders(r.Header)
	if v.Preflight = len(names) > 0 || !isSafelisted(r.Method); v.Preflight {
		p := httptest.NewRequest(http.MethodOptions, "/", nil)
		p.URL, p.Host, p.TLS, p.RemoteAddr = r.URL, r.Host, r.TLS, r.RemoteAddr
		p.Header.Set("Origin", origin)
		p.Header.Set("Access-Control-Request-Method", r.Method)
		if len(names) > 0 {
			p.Header.Set("Access-Control-Request-Headers", strings.Join(names, ","))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, p)
		answer := w.Result().Header
		v.Why = check(answer, origin, credentials)
		switch {
		case v.Why != "":
		case w.Code < 200 || w.Code > 299:
			v.Why = fmt.Sprintf("the status is %d, not 200 to 299", w.Code)
		case !isSafelisted(r.Method) && !lists(answer, hAllowMethods, r.Method, credentials):
			v.Why = fmt.Sprintf("%s is %q and has no %s", hAllowMethods, answer.Values(hAllowMethods), r.Method)
		default:
			for _, name := range names {
				if !lists(answer, hAllowHeaders, name, credentials) {
					v.Why = fmt.Sprintf("%s is %q and has no %s", hAllowHeaders, answer.Values(hAllowHeaders), name)
					break
				}
			}
		}
		if v.Why != "" {
			v.Why = "preflight: " + v.Why
			return v
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answer := w.Result().Header
	if v.Why = check(answer, origin, credentials); v.Why != "" {
		return v
	}
	v.Allowed, v.Why = true, fmt.Sprintf("%s is %q", hAllowOrigin, answer.Get(hAllowOrigin))
	return v
}

const (
	hAllowOrigin      = "Access-Control-Allow-Origin"
	hAllowCredentials = "Access-Control-Allow-Credentials"
	hAllowMethods     = "Access-Control-Allow-Methods"
	hAllowHeaders     = "Access-Control-Allow-Headers"
)

// check is the CORS check. It returns what fails, or "".
func check(answer http.Header, origin string, credentials bool) string {
	allow := answer.Values(hAllowOrigin)
	switch {
	case len(allow) == 0:
		return "there is no " + hAllowOrigin
	case len(allow) > 1:
		return fmt.Sprintf("there are %d %s", len(allow), hAllowOrigin)
	case allow[0] == "*" && !credentials:
		return ""
	case allow[0] != origin:
		return fmt.Sprintf("%s is %q, and the origin of the page is %q", hAllowOrigin, allow[0], origin)
	case credentials && strings.Join(answer.Values(hAllowCredentials), ", ") != "true":
		return fmt.Sprintf("%s is %q, not true", hAllowCredentials, answer.Values(hAllowCredentials))
	}
	return ""
}

// lists reports whether a list of a preflight response has the value. Methods are
// compared byte by byte. The wildcard does not include Authorization.
func lists(answer http.Header, name, value string, credentials bool) bool {
	for _, line := range answer.Values(name) {
		for element := range strings.SplitSeq(line, ",") {
			element = strings.Trim(element, " \t")
			switch {
			case element == value, name == hAllowHeaders && strings.EqualFold(element, value):
				return true
			case element == "*" && !credentials && !strings.EqualFold(value, "authorization"):
				return true
			}
		}
	}
	return false
}

func isSafelisted(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost
}

// unsafeHeaders returns the headers that require a preflight request, in lower case
// and in order.
func unsafeHeaders(header http.Header) []string {
	var names []string
	for name, values := range header {
		lower := strings.ToLower(name)
		value := strings.Join(values, ", ")
		switch lower {
		case "origin", "cookie", "referer", "host", "user-agent", "accept-encoding", "connection", "content-length":
			continue // the browser's own
		case "accept", "accept-language", "content-language":
			if len(value) <= 128 {
				continue
			}
		case "content-type":
			media, _, _ := strings.Cut(strings.ToLower(value), ";")
			switch strings.TrimSpace(media) {
			case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
				continue
			}
		}
		if !strings.HasPrefix(lower, "sec-") && !strings.HasPrefix(lower, "proxy-") {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	return names
}
