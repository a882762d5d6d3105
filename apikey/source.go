package apikey

import (
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
)

// scheme is what follows "Authorization:" and begins the challenge. No standard
// has registered one for API keys; this is the usual name.
const scheme = "ApiKey"

const bearerScheme = "Bearer"

// defaultHeader is the header that the guide, and most others, use.
const defaultHeader = "X-API-Key"

// A source is where keys stand in a request.
type source struct {
	header    string // in canonical form
	parameter string // of the query; empty if keys in URLs are ignored
	scheme    string // of the Authorization header

	// bearer reports whether a credential of the scheme Bearer is a key; nil
	// if none is.
	bearer func(credential string) bool
}

// newSource checks the names, which are fields of the config of that name.
func newSource(config, header, parameter string, mistake func(format string, args ...any)) source {
	if header == "" {
		header = defaultHeader
	}
	canonical := textproto.CanonicalMIMEHeaderKey(header)
	switch {
	case strings.Trim(header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		mistake("%s.Header is %q; use the name of a header: letters, digits and '-'", config, header)
	case canonical == "Authorization" || canonical == "Cookie" || canonical == "Host":
		mistake("%s.Header is %q; use another header: Authorization: %s is always read", config, header, scheme)
	}
	if strings.Trim(parameter, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		mistake("%s.InsecureQueryParameter is %q; use letters, digits, '-' and '_'", config, parameter)
	}
	return source{header: canonical, parameter: parameter, scheme: scheme}
}

// read returns the key that r carries. The error is ErrNoCredentials if r carries
// no key, not even an empty one, and a 400 if r carries several keys, because two
// programs could each use another key.
func (s source) read(r *http.Request) (string, error) {
	given := r.Header[s.header]
	found := len(given)
	var key string
	if found > 0 {
		key = given[0]
	}
	lines := r.Header["Authorization"]
	for _, line := range lines {
		k, ours := credentials(line, s.scheme)
		if !ours && s.bearer != nil {
			k, ours = credentials(line, bearerScheme)
			ours = ours && s.bearer(k)
		}
		if ours {
			key = k
			found++
			if len(lines) > 1 {
				found++ // whatever the others are
			}
		}
	}
	if s.parameter != "" && r.URL != nil && r.URL.RawQuery != "" {
		k, n := s.strip(r)
		if n > 0 {
			key = k
			found += n
		}
	}
	switch found {
	case 0:
		return "", guard.ErrNoCredentials
	case 1:
		return key, nil
	}
	return "", guard.InvalidRequest("The request carries more than one API key.",
		errors.New("apikey: keys in more than one place of the request"))
}

// credentials returns the text after the scheme in an Authorization header, and
// whether the header has the scheme, in any case of letters (RFC 9110 section
// 11.1). A tab after the scheme stays in the key, so that the key is refused: a
// request that another server would accept as one with a key must not be
// anonymous here.
func credentials(line, scheme string) (key string, ours bool) {
	if len(line) < len(scheme) || !strings.EqualFold(line[:len(scheme)], scheme) {
		return "", false
	}
	key = line[len(scheme):]
	if key != "" && key[0] != ' ' && key[0] != '\t' {
		return "", false
	}
	return strings.TrimLeft(key, " "), true
}

// strip removes the parameter from r's URL, so that no inner handler finds it,
// and returns the last value and the number of values.
func (s source) strip(r *http.Request) (key string, found int) {
	// By hand and not by url.ParseQuery, which skips pairs with a semicolon
	// that others split at, and would write the rest of the query anew.
	var kept []string
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		for part := range strings.SplitSeq(pair, ";") {
			name, value, _ := strings.Cut(part, "=")
			if name, err := url.QueryUnescape(name); err != nil || name != s.parameter {
				continue
			}
			found++
			if v, err := url.QueryUnescape(value); err == nil {
				key = v
			} else {
				key = "" // malformed, not absent
			}
			pair = ""
		}
		if pair != "" {
			kept = append(kept, pair)
		}
	}
	if found == 0 {
		return "", 0
	}
	// r is the copy for the inner handlers, which shares its URL with the
	// request of the outer handlers.
	stripped := *r.URL
	stripped.RawQuery = strings.Join(kept, "&")
	stripped.ForceQuery = false
	r.URL = &stripped
	r.RequestURI = stripped.RequestURI()
	if r.Form != nil {
		// An outer handler has parsed it, and keeps its map.
		form := make(url.Values, len(r.Form))
		for name, values := range r.Form {
			if name != s.parameter {
				form[name] = values
			}
		}
		r.Form = form
	}
	return key, found
}
