package ratelimit

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A KeyFunc says for whom a request counts, by adding fields to k: requests
// that add the same fields share a quota. It must not keep k. An error refuses
// the request: a [guard.Denial] as it says, any other with 503.
//
// A field is compared byte for byte, so what can be spelled in two ways is put
// into one form first. Never add what the client may choose freely, a header or
// the path: every new value would have a quota of its own.
type KeyFunc func(r *http.Request, k *KeyBuilder) error

// A KeyBuilder collects the fields of a key. Fields are told apart by their
// lengths, so that no choice of bytes makes two different keys alike.
type KeyBuilder struct {
	b       []byte
	network []byte // b with the /48 of an address of IPv6 in the place of its /64; empty without one
	unknown unknown
}

// unknown says what could not be found out about a request.
type unknown uint8

const (
	noAddress unknown = 1 << iota
	noRoute
)

// Add appends a field.
func (k *KeyBuilder) Add(field string) {
	k.b = appendField(k.b, field)
	if len(k.network) > 0 {
		k.network = appendField(k.network, field)
	}
}

// AddAddr appends an address: of IPv4, also in the form of IPv6, all of it; of
// IPv6 the first 64 bits, for each customer has at least so many addresses.
// The first address of IPv6 of a key makes the request count a second time, for
// all that share its first 48 bits, against [Config.NetworkFactor] times the
// quota. An invalid address is one that nobody has: all requests without an
// address count together.
func (k *KeyBuilder) AddAddr(addr netip.Addr) {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		k.Add("")
		return
	case addr.Is4():
		a := addr.As4()
		k.b = append(append(k.b, 4), a[:]...)
		if len(k.network) > 0 {
			k.network = append(append(k.network, 4), a[:]...)
		}
		return
	}
	a := addr.As16()
	if len(k.network) == 0 {
		k.network = append(append(k.network, k.b...), 6)
		k.network = append(k.network, a[:6]...)
	} else {
		k.network = append(append(k.network, 8), a[:8]...)
	}
	k.b = append(append(k.b, 8), a[:8]...)
}

func appendField(b []byte, field string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// reset makes k ready for the next request.
func (k *KeyBuilder) reset(namespace string) {
	const most = 4 << 10 // a header may be long; what it needed is not kept
	if cap(k.b) > most || cap(k.network) > most {
		*k = KeyBuilder{}
	}
	k.b, k.network, k.unknown = appendField(k.b[:0], namespace), k.network[:0], 0
}

// ByIP counts for the address in r.RemoteAddr, as [KeyBuilder.AddAddr] groups
// it; the port does not count. Behind a proxy that is the proxy's address,
// unless something that knows which proxies to trust has put the client's
// there, as the headers package does. No header is looked at here: whoever
// believes X-Forwarded-For of anybody lets everybody choose who they are.
//
// Requests without an address, over a UNIX socket say, share one quota, and
// [EventNoAddress] says so.
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

// ByPrincipal counts for who is calling: tenant, issuer and subject. An
// anonymous request is refused with 401, so it belongs behind Identify.
func ByPrincipal(r *http.Request, k *KeyBuilder) error {
	p, err := guard.Caller(r)
	if err != nil {
		return err
	}
	addPrincipal(p, k)
	return nil
}

// ByCaller is [ByPrincipal] for who is identified and [ByIP] for who is not.
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

// ByTenant counts for the organisation of who is calling. An anonymous request
// is refused with 401; callers without a tenant count by themselves.
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

// ByRoute counts for the pattern that the request matched, which http.ServeMux
// and chi write to r.Pattern, and never for its path, which has as many
// spellings as the client likes. It counts nothing by itself worth having: use it
// with [Join]. In front of the mux nothing has been matched yet, and some routers
// tell nothing; then all requests share one quota, and [EventNoRoute] says so.
func ByRoute(r *http.Request, k *KeyBuilder) error {
	if r.Pattern == "" {
		k.unknown |= noRoute
	}
	k.Add(r.Pattern)
	return nil
}

// InsecureByHeader counts for the first value of a header. Unless a proxy that
// every request passes sets the header and strips what the client sent, a
// client gets a new quota whenever it invents a value, and uses up somebody
// else's by sending theirs.
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

// Join counts for the combination of keys: Join(ByRoute, ByIP) gives each
// address a quota for each route. It panics without keys.
func Join(keys ...KeyFunc) KeyFunc {
	if len(keys) == 0 {
		panic("ratelimit: Join needs keys")
	}
	for _, key := range keys {
		if key == nil {
			panic("ratelimit: Join has a key that is nil")
		}
	}
	keys = append([]KeyFunc(nil), keys...)
	return func(r *http.Request, k *KeyBuilder) error {
		for _, key := range keys {
			// Framed with its length, for a key may add as many fields as it
			// likes.
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

// frame appends the length of what begins at begin: read from the end, where
// the number has a fixed size, it can be taken apart in one way only.
func frame(b []byte, begin int) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(len(b)-begin))
}
