package headers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// HostsConfig relaxes [TrustedHosts]. The zero HostsConfig is strict.
type HostsConfig struct {
	// InsecureAnyHost permits "*" in the list: every well-formed host. An
	// attacker can then make links that a handler builds from r.Host, in a
	// password reset mail for example, point to another server.
	InsecureAnyHost bool

	// InsecureSharedDomains permits wildcards under domains with open
	// registration, like "*.github.io". An attacker registers there.
	InsecureSharedDomains bool

	// Hooks renders refusals and receives events; see [guard.Hooks].
	Hooks guard.Hooks
}

// TrustedHosts refuses requests for hosts that are not in its list. It is safe
// for concurrent use.
type TrustedHosts struct {
	exact map[string]ports // by name in lower case
	under map[string]ports // by what stands after "*."
	any   bool
	hooks guard.Hooks
}

// ports are the ports that go with a name; nil means any.
type ports []uint16

func (p ports) has(port uint16) bool { return p == nil || slices.Contains(p, port) }

// NewTrustedHosts returns middleware for the given hosts: names, addresses, or
// "*.example.com" for all names under example.com at any depth, and not
// example.com itself. An element with a port matches that port only. Names beyond
// ASCII are written as A-labels ("xn--…"). The error lists all mistakes.
func NewTrustedHosts(hosts []string, c HostsConfig) (*TrustedHosts, error) {
	p := mistakes.List{Package: "headers"}
	t := &TrustedHosts{exact: make(map[string]ports), under: make(map[string]ports), hooks: c.Hooks}
	if len(hosts) == 0 {
		p.Bad("hosts", "", "the hosts of this server: without any all requests would be refused")
	}
	seen := make(map[string]bool)
	for i, s := range hosts {
		field := mistakes.At("hosts", i)
		if s == "*" {
			if !c.InsecureAnyHost {
				p.Bad(field, s, "the hosts of this server, or HostsConfig.InsecureAnyHost")
			}
			t.any = true
			continue
		}
		name, wild := strings.CutPrefix(s, "*.")
		h, ok := parseHost(name)
		switch {
		case !isASCII(s):
			p.Bad(field, s, "the A-label (xn--…) of a name beyond ASCII")
		case strings.Contains(s, "://"):
			p.Bad(field, s, "a host without a scheme")
		case strings.Contains(name, "*"):
			p.Bad(field, s, "a wildcard for whole labels at the front, as *.example.com")
		case strings.Contains(s, "/"):
			p.Bad(field, s, "a host without a path")
		case !ok:
			p.Bad(field, s, "a name, an address with IPv6 in brackets, or *.example.com, each with or without a port")
		case h.dot:
			p.Bad(field, s, "the name without the dot at its end, which requests may have")
		case wild && h.ip:
			p.Bad(field, s, "the address without a wildcard")
		case wild && strings.IndexByte(h.name, '.') < 0 && h.name != "localhost":
			p.Bad(field, s, "a wildcard under a domain of your own, as *.example.com: everybody can have a name under this one")
		case wild && isShared(lower(h.name)) && !c.InsecureSharedDomains:
			p.Bad(field, s, "the names themselves, or HostsConfig.InsecureSharedDomains: strangers have names there too")
		case seen[lower(s)]:
			p.Bad(field, s, "each host once")
		}
		seen[lower(s)] = true
		list := t.exact
		if wild {
			list = t.under
		}
		key := lower(h.name)
		known, found := list[key]
		switch {
		case h.port == 0:
			list[key] = nil
		case !found || known != nil:
			list[key] = append(known, h.port)
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Handler returns next for requests to trusted hosts and answers 400 to others.
// Behind it r.Host is well-formed and in the list, so it can be used in links.
func (t *TrustedHosts) Handler(next http.Handler) http.Handler {
	mustHandle(next)
	return guard.Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := t.Check(r); err != nil {
			t.hooks.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	}), next)
}

// Check returns nil if r is for a trusted host, and otherwise a [guard.Denial]
// with status 400.
func (t *TrustedHosts) Check(r *http.Request) error {
	// Nearly always it is a name of the list as it stands there, and so
	// well-formed too, alone or with a port.
	if ports, ok := t.exact[r.Host]; ok && ports.has(0) {
		return nil
	}
	if i := strings.LastIndexByte(r.Host, ':'); i >= 0 {
		port, ok := parsePort(r.Host[i:])
		if ports, known := t.exact[r.Host[:i]]; known && ok && ports.has(port) {
			return nil
		}
	}
	h, ok := parseHost(r.Host)
	if !ok {
		return refusedHost("malformed", r.Host)
	}
	if t.any {
		return nil
	}
	name := lower(h.name)
	if ports, ok := t.exact[name]; ok && ports.has(h.port) {
		return nil
	}
	if len(t.under) > 0 && suffixes(name, func(suffix string) bool {
		ports, ok := t.under[suffix]
		return ok && ports.has(h.port)
	}) {
		return nil
	}
	return refusedHost("not one of ours", r.Host)
}

// refusedHost says the same to the client whatever is wrong.
func refusedHost(why, got string) error {
	return guard.InvalidRequest("The host of this request is not served here.",
		fmt.Errorf("headers: the host %.100q is %s", got, why))
}
