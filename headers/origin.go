package headers

import (
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/httpfield"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// An origin is the value of an Origin header that is not "null", as browsers serialize
// it (URL Standard, "serialization of an origin").
type origin struct {
	scheme string
	host
}

// parseOrigin reads "https://example.com:8443" in the spelling of browsers only: no
// upper case, path, userinfo or default port. For other schemes than the ones of the
// web, for example of an app, the host may be any opaque host in its original case.
func parseOrigin(s string) (o origin, ok bool) {
	if len(s) > maxOrigin {
		return origin{}, false
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found || !isScheme(scheme) || scheme == "file" {
		return origin{}, false
	}
	o.scheme = scheme
	if !isWeb(scheme) {
		o.host, ok = parseOpaque(rest)
		return o, ok
	}
	for i := range len(rest) {
		if 'A' <= rest[i] && rest[i] <= 'Z' {
			return origin{}, false
		}
	}
	if o.host, ok = parseHost(rest); !ok {
		return origin{}, false
	}
	if o.port != 0 && o.port == defaultPort(scheme) {
		return origin{}, false
	}
	// Browsers write this address differently.
	if o.ip && !strings.HasPrefix(rest, o.name) {
		return origin{}, false
	}
	return o, true
}

// isWeb reports whether hosts of the scheme are domains and addresses (URL Standard,
// "special scheme").
func isWeb(scheme string) bool {
	switch scheme {
	case "https", "http", "wss", "ws", "ftp":
		return true
	}
	return false
}

// parseOpaque reads the host of another scheme, with or without a port (URL Standard,
// "opaque-host parser"): "-", ".", "localhost", a UUID.
func parseOpaque(s string) (h host, ok bool) {
	h.name = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		h.name = s[:i]
		if h.port, ok = parsePort(s[i:]); !ok {
			return host{}, false
		}
	}
	if strings.HasPrefix(h.name, "[") {
		v6, ok := parseIPv6(h.name)
		return host{name: v6.name, port: h.port, ip: true}, ok
	}
	return h, h.name != "" && isPlain(h.name) && !strings.ContainsAny(h.name, `#/:<>?@[\]^|*,"'`+"`{}")
}

// extensions are schemes of browser extensions.
var extensions = []string{
	"chrome-extension", "moz-extension", "safari-web-extension", "safari-extension", "ms-browser-extension", "extension",
}

// An anyExtension has the schemes whose extensions are all allowed.
type anyExtension []string

func newAnyExtension(p *mistakes.List, field string, schemes []string) anyExtension {
	for i, s := range schemes {
		if !slices.Contains(extensions, s) {
			p.Bad(mistakes.At(field, i), s, "a scheme of browser extensions: "+strings.Join(extensions, ", "))
		}
	}
	return slices.Clone(schemes)
}

// has reports whether o is the origin of an extension of these schemes. IDs have
// letters, digits and dashes.
func (a anyExtension) has(o string) bool {
	if len(a) == 0 {
		return false
	}
	parsed, ok := parseOrigin(o)
	if !ok || parsed.port != 0 || !slices.Contains(a, parsed.scheme) {
		return false
	}
	for i := range len(parsed.name) {
		if !httpfield.IsAlnum(parsed.name[i]) && parsed.name[i] != '-' {
			return false
		}
	}
	return true
}

const maxOrigin = len("chrome-extension://") + maxHost

func defaultPort(scheme string) uint16 {
	switch scheme {
	case "https", "wss":
		return 443
	case "http", "ws":
		return 80
	}
	return 0
}
