package headers

import "strings"

// An origin is the value of an Origin header that is not "null", in the one
// spelling that browsers send (URL Standard, "serialization of an origin").
type origin struct {
	scheme string
	host
}

// parseOrigin reads "https://example.com:8443" and nothing that a browser
// would spell in another way: no upper case, no path, no userinfo, no port
// that the scheme has anyway.
func parseOrigin(s string) (o origin, ok bool) {
	if len(s) > maxOrigin {
		return origin{}, false
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found || !isScheme(scheme) {
		return origin{}, false
	}
	for i := range len(rest) {
		if 'A' <= rest[i] && rest[i] <= 'Z' {
			return origin{}, false
		}
	}
	o.scheme = scheme
	if o.host, ok = parseHost(rest); !ok {
		return origin{}, false
	}
	if o.port != 0 && o.port == defaultPort(scheme) {
		return origin{}, false
	}
	// An address that browsers would write in another way.
	if o.ip && !strings.HasPrefix(rest, o.name) {
		return origin{}, false
	}
	return o, true
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
