package ratelimit

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A KeyFunc adds fields to k, which it must not keep; requests with the same fields
// share a quota. An error refuses the request: a [guard.Denial] as it is, any other
// with 503.
//
// Normalise fields, and never add values that clients choose freely, like a header or
// the path: each value has its own quota.
type KeyFunc func(r *http.Request, k *KeyBuilder) error

// A KeyBuilder collects the fields of a key. Different sequences of Add and AddAddr
// make different keys.
type KeyBuilder struct {
	b       []byte
	network []byte // b with the /48 of an IPv6 address instead of its /64; empty without one
	unknown unknown
}

// A tag begins each part of a key. Tag and length determine where a part ends, so a
// key can be read in one way only.
const (
	tagLimiter byte = 1 + iota // the Config.Name of a Limiter
	tagSignIn                  // the SignInConfig.Name of a SignIn
	tagField                   // a length and so many bytes
	tagIPv4                    // 4 bytes
	tagIPv6                    // 8 bytes, a /64
	tagNetwork                 // 6 bytes, a /48
	tagNoAddr                  // nothing
	tagFrame                   // the length of the parts before it that belong together
)

// unknown is a set of missing facts about a request.
type unknown uint8

const (
	noAddress unknown = 1 << iota
	noRoute
	wideRoute
)

// Add appends a field.
func (k *KeyBuilder) Add(field string) {
	k.b = appendField(k.b, tagField, field)
	if len(k.network) > 0 {
		k.network = appendField(k.network, tagField, field)
	}
}

// AddAddr appends an IPv4 address, also in IPv4-mapped form, or the /64 of an IPv6
// address, the first of which also counts for its /48; see [Config.NetworkFactor].
// Invalid addresses count as one.
func (k *KeyBuilder) AddAddr(addr netip.Addr) {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		k.append(tagNoAddr)
	case addr.Is4():
		a := addr.As4()
		k.b = append(k.b, tagIPv4, a[0], a[1], a[2], a[3])
		if len(k.network) > 0 {
			k.network = append(k.network, tagIPv4, a[0], a[1], a[2], a[3])
		}
	default:
		a := addr.As16()
		if len(k.network) == 0 {
			k.network = append(append(k.network, k.b...), tagNetwork)
			k.network = append(k.network, a[:6]...)
			k.b = append(append(k.b, tagIPv6), a[:8]...)
			return
		}
		k.append(tagIPv6, a[:8]...)
	}
}

// append appends a part of a fixed size.
func (k *KeyBuilder) append(tag byte, part ...byte) {
	k.b = append(append(k.b, tag), part...)
	if len(k.network) > 0 {
		k.network = append(append(k.network, tag), part...)
	}
}

func appendField(b []byte, tag byte, field string) []byte {
	return append(binary.AppendUvarint(append(b, tag), uint64(len(field))), field...)
}

// reset makes k ready for the next request.
func (k *KeyBuilder) reset(tag byte, name string) {
	const most = 4 << 10 // larger buffers, for example of a long header, are not kept
	if cap(k.b) > most || cap(k.network) > most {
		*k = KeyBuilder{}
	}
	k.b, k.network, k.unknown = appendField(k.b[:0], tag, name), k.network[:0], 0
}

// ByIP counts for r.RemoteAddr. It ignores X-Forwarded-For, which clients can set:
// behind a reverse proxy, middleware that checks trusted proxies must set RemoteAddr.
// Requests without an address share one quota.
func ByIP(r *http.Request, k *KeyBuilder) error {
	addr, ok := addrOf(r.RemoteAddr)
	if !ok {
		k.unknown |= noAddress
	}
	k.AddAddr(addr)
	return nil
}

// addrOf reads an address with or without a port.
func addrOf(s string) (netip.Addr, bool) {
	host := s
	switch i := strings.LastIndexByte(s, ':'); {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 || end+1 < len(s) && s[end+1] != ':' {
			return netip.Addr{}, false
		}
		host = s[1:end]
	case i >= 0 && strings.IndexByte(s, ':') == i: // with two colons it is IPv6 without a port
		host = s[:i]
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// ByPrincipal counts for the tenant, issuer and subject of the caller, and refuses
// anonymous requests with 401.
func ByPrincipal(r *http.Request, k *KeyBuilder) error {
	p, err := guard.Caller(r)
	if err != nil {
		return err
	}
	addPrincipal(p, k)
	return nil
}

// ByCaller is [ByPrincipal] for identified callers and [ByIP] for anonymous ones.
func ByCaller(r *http.Request, k *KeyBuilder) error {
	p, ok := identity.FromContext(r.Context())
	if !ok {
		k.Add("address")
		return ByIP(r, k)
	}
	k.Add("caller")
	addPrincipal(p, k)
	return nil
}

func addPrincipal(p *identity.Principal, k *KeyBuilder) {
	k.Add(p.Tenant)
	k.Add(p.Issuer)
	k.Add(p.Subject)
}

// ByPerson counts for a user across credentials: callers of the issuers share a quota by
// tenant and subject:
//
//	ratelimit.ByPerson("https://api.example.com", "apikey:acme_live")
//
// Other callers count as with [ByPrincipal]. The issuers' subjects must be users of the
// host; otherwise an issuer can spend the quota of a user. ByPerson refuses anonymous
// requests with 401, and panics without issuers.
func ByPerson(issuers ...string) KeyFunc {
	if len(issuers) == 0 {
		panic("ratelimit: ByPerson has no issuers; use the issuers whose subjects are users of the host")
	}
	issuers = slices.Clone(issuers)
	return func(r *http.Request, k *KeyBuilder) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		if !slices.Contains(issuers, p.Issuer) {
			k.Add("caller")
			addPrincipal(p, k)
			return nil
		}
		k.Add("person")
		k.Add(p.Tenant)
		k.Add(p.Subject)
		return nil
	}
}

// ByTenant counts for the tenant of the caller, or as [ByPrincipal] without one. It
// refuses anonymous requests with 401.
func ByTenant(r *http.Request, k *KeyBuilder) error {
	p, err := guard.Caller(r)
	if err != nil {
		return err
	}
	k.Add(p.Tenant)
	if p.Tenant == "" {
		addPrincipal(p, k)
	}
	return nil
}

// ByRoute counts for the method and r.Pattern of http.ServeMux or chi, never the path.
// If the pattern has no method, the request's counts, with HEAD as GET, and all
// methods outside RFC 9110 and RFC 5789 as one. In front of the mux all requests share
// one quota, and so do routes behind one wildcard; see [EventSharedQuota].
func ByRoute(r *http.Request, k *KeyBuilder) error {
	method, pattern := r.Method, r.Pattern
	if m, rest, ok := strings.Cut(pattern, " "); ok {
		method, pattern = m, strings.TrimLeft(rest, " \t")
	}
	switch {
	case pattern == "":
		k.unknown |= noRoute
		k.Add("")
		return nil
	case isWide(pattern, r):
		k.unknown |= wideRoute
	}
	k.Add(countedMethod(method))
	k.Add(pattern)
	return nil
}

// countedMethod returns one of a few names, so that clients cannot get quotas by
// inventing methods.
func countedMethod(method string) string {
	switch method {
	case "", http.MethodGet, http.MethodHead:
		return http.MethodGet
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}

// isWide reports whether a pattern ends in a wildcard for several routes: * of
// chi, or {name...} or a final slash of http.ServeMux, unless the request has
// exactly that path.
func isWide(pattern string, r *http.Request) bool {
	switch {
	case strings.HasSuffix(pattern, "*"), strings.HasSuffix(pattern, "...}"):
		return true
	case strings.HasSuffix(pattern, "/"):
		path := r.URL.Path
		return !strings.HasSuffix(path, "/") || strings.Count(path, "/") > strings.Count(pattern, "/")
	}
	return false
}

// InsecureByHeader counts for the first value of a header. Unless a proxy sets it on
// every request, clients get a new quota with each value, and can spend the quota of
// another client.
func InsecureByHeader(name string) KeyFunc {
	name = http.CanonicalHeaderKey(name)
	return func(r *http.Request, k *KeyBuilder) error {
		value := ""
		if values := r.Header[name]; len(values) > 0 {
			value = values[0]
		}
		k.Add(value)
		return nil
	}
}

// Join counts for the combination of keys: Join(ByRoute, ByIP) gives each address a
// quota per route. It panics without keys.
func Join(keys ...KeyFunc) KeyFunc {
	if len(keys) == 0 {
		panic("ratelimit: Join has no keys; use at least one")
	}
	for _, key := range keys {
		if key == nil {
			panic("ratelimit: a key of Join is nil; use a KeyFunc")
		}
	}
	keys = append([]KeyFunc(nil), keys...)
	return func(r *http.Request, k *KeyBuilder) error {
		for _, key := range keys {
			// Framed with its length, because a key may add any number of
			// fields.
			begin, beginNetwork := len(k.b), len(k.network)
			if err := key(r, k); err != nil {
				return err
			}
			if len(k.network) > 0 && beginNetwork == 0 {
				beginNetwork = begin // it was copied from b up to there
			}
			k.b = frame(k.b, begin)
			if len(k.network) > 0 {
				k.network = frame(k.network, beginNetwork)
			}
		}
		return nil
	}
}

// frame appends the length of the bytes from begin on.
func frame(b []byte, begin int) []byte {
	return binary.AppendUvarint(append(b, tagFrame), uint64(len(b)-begin))
}
