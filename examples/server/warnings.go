package main

import (
	"crypto/tls"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// warnings returns one line for each thing about the options that is insecure,
// or that will surprise.
func (o *options) warnings(listening net.Addr, demo bool) []string {
	var all []string
	warn := func(text string) { all = append(all, text) }
	if o.insecureNoLimits {
		warn("-insecure-no-limits: passwords, codes and API keys can be guessed without end; only for load tests on a machine of your own")
	}
	if o.skipDamaged {
		warn("-insecure-skip-damaged: sessions and keys that a damaged part of the file of revocations ended are good again until they expire")
	}
	reachable := isWildcard(listening) || !isLoopback(listening.String())
	behindTLS := o.tlsCert == "" && strings.HasPrefix(o.issuer, "https:")
	switch {
	case behindTLS && len(o.trustedProxies) == 0:
		warn("requests in the clear are not refused, because it is not known which proxy ends TLS: -trusted-proxy says so")
	case o.tlsCert == "" && !behindTLS && (reachable || !isLoopback(hostOf(o.issuer))):
		warn("passwords and tokens cross the network in the clear: -tls-cert and -tls-key serve https, or -issuer https://… and -trusted-proxy name the proxy that does")
	}
	if demo && (reachable || behindTLS) {
		warn("the demo users, an administrator among them, can sign in from other machines with the password that is printed: delete them, or begin with a new database and -demo=false")
	}
	for _, origin := range o.corsOrigins {
		if strings.HasPrefix(origin, "http://") && !isLoopback(hostOf(origin)) {
			warn("-cors-origin " + origin + ": whoever is on the way to this page can change it, and use the server through it; want https://")
		}
	}
	if isWildcard(listening) && o.issuerMissing {
		warn("-addr " + o.addr + " is every address of this machine, and requests for other names than " + strings.Join(o.hosts, ", ") +
			" are answered 400: -issuer, and -host for more, say by which names clients reach the server")
	}
	if o.postgres != nil {
		if in := plaintextTo(o.postgres); in != "" {
			warn("-db: connections to PostgreSQL on " + in + " may be in the clear, or to another server than is meant: want sslmode=verify-full")
		}
		if o.issuerMissing {
			warn("each server that shares the database has an issuer of its own, and refuses the tokens of the others: -issuer says where clients reach them all")
		}
	}
	if r := o.redisOptions; r != nil && r.TLSConfig == nil && !isLoopback(r.Addr) {
		warn("-redis: connections to " + r.Addr + " are in the clear: want rediss://")
	}
	return all
}

// hostOf returns the host of a URL, with its port.
func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}

// isLoopback reports whether an address, with or without a port, is one that
// other machines cannot reach.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// plaintextTo returns the first host to which a connection is not both encrypted
// and verified, empty if there is none.
func plaintextTo(config *pgx.ConnConfig) string {
	type target struct {
		host     string
		verified bool
	}
	hosts := []target{{config.Host, verifies(config.TLSConfig)}}
	for _, f := range config.Fallbacks {
		hosts = append(hosts, target{f.Host, verifies(f.TLSConfig)})
	}
	for _, h := range hosts {
		if !h.verified && !strings.HasPrefix(h.host, "/") && !isLoopback(h.host) {
			return h.host
		}
	}
	return ""
}

// verifies reports whether a connection with this configuration is encrypted,
// and the certificate of the server checked.
func verifies(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil)
}
