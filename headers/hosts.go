package headers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// HostsConfig configures [TrustedHosts].
type HostsConfig struct {
	// InsecureAnyHost permits "*": every well-formed host. An attacker can then
	// direct links built from r.Host, for example in password reset mails, to
	// another server.
	InsecureAnyHost bool

	// InsecureSharedDomains permits wildcards under domains with open
	// registration, like "*.github.io", where an attacker can register.
	InsecureSharedDomains bool

	Hooks guard.Hooks
}

// TrustedHosts refuses requests for other hosts.
type TrustedHosts struct {
	exact map[string]ports // by name in lower case
	under map[string]ports // by the name after "*."
	any   bool
	hooks guard.Hooks
}

// ports are the ports of a name; nil means any.
type ports []uint16

func (p ports) has(port uint16) bool { return p == nil || slices.Contains(p, port) }

// NewTrustedHosts returns middleware for hosts: names, addresses, or "*.example.com"
// for all names under example.com, at any depth. An element with a port matches that
// port only. Names beyond ASCII are A-labels ("xn--…").
func NewTrustedHosts(hosts []string, c HostsConfig) (*TrustedHosts, error) {
	p := mistakes.List{Package: "headers"}
	t := &TrustedHosts{exact: make(map[string]ports), under: make(map[string]ports), hooks: c.Hooks}
	if len(hosts) == 0 {
		p.Bad("hosts", "", "the hosts of this server; otherwise all requests are refused")
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
			p.Bad(field, s, "a wildcard for whole labels at the front, for example *.example.com")
		case strings.Contains(s, "/"):
			p.Bad(field, s, "a host without a path")
		case !ok:
			p.Bad(field, s, "a name, an address with IPv6 in brackets, or *.example.com, each with or without a port")
		case h.dot:
			p.Bad(field, s, "the name without the dot at its end")
		case wild && h.ip:
			p.Bad(field, s, "the address without a wildcard")
		case wild && strings.IndexByte(h.name, '.') < 0 && h.name != "localhost":
			p.Bad(field, s, "a wildcard under your own domain, for example *.example.com; an attacker can register under this one")
		case wild && isShared(lower(h.name)) && !c.InsecureSharedDomains:
			p.Bad(field, s, "the names themselves, or HostsConfig.InsecureSharedDomains; an attacker can register there")
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

// Handler returns next for trusted hosts and answers 400 to others. Behind it, links
// can be built from r.Host.
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

// Check returns nil for a trusted host, and otherwise a [guard.Denial] with status
// 400.
func (t *TrustedHosts) Check(r *http.Request) error {
	// The common case: a host as in the list, with or without a port.
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
	return refusedHost("not in the list", r.Host)
}

// refusedHost returns the same response for every reason.
func refusedHost(why, got string) error {
	return guard.InvalidRequest("The host of this request is not served here.", &hostError{got, why})
}

// A hostError is the reason for refusing a host. Its text is made when needed.
type hostError struct{ host, why string }

func (e *hostError) Error() string {
	return fmt.Sprintf("headers: the host %.100q is %s", e.host, e.why)
}
