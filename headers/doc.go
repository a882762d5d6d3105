// Package headers secures requests and responses of a server that browsers use:
// security headers, trusted proxies and hosts, https, CORS, and isolation from other
// sites.
//
// Each part is middleware of its own, and its zero configuration is strict. A server
// behind one reverse proxy, with its pages on another host:
//
//	proxies, err := headers.NewTrustedProxies([]string{"10.0.0.0/8"}, headers.ProxiesConfig{})
//	security, err := headers.New(headers.Config{})
//	hosts, err := headers.NewTrustedHosts([]string{"api.example.com"}, headers.HostsConfig{})
//	https, err := headers.NewRedirectHTTPS(headers.HTTPSConfig{})
//	cors, err := headers.NewCORS([]string{"https://app.example.com"}, headers.CORSConfig{})
//
//	h := cors.Handler(mux)
//	h = https.Handler(h)
//	h = hosts.Handler(h)
//	h = security.Handler(h)
//	h = proxies.Handler(h)
//	h = recoverPanics(h) // the host's own
//
// Package headerstest audits the responses of the finished server.
//
// # Order
//
// From the outside: recovery of panics, [TrustedProxies], [Headers], [TrustedHosts],
// [RedirectHTTPS], [CORS], limits by address, identification of callers, [Isolate] if
// cookies are used, guards, handlers.
//
// Headers comes before every middleware that refuses requests, so that refusals have
// the headers too. CORS comes before every middleware that needs credentials, because
// preflight requests have no credentials. Isolate comes after CORS and trusts the same
// origins.
//
// # Security considerations
//
// The address, scheme and host of a request are as reliable as the list of proxies and
// their configuration. A proxy that passes on the header of clients lets clients choose
// them, and so does a way around the proxy.
//
// CORS lets pages read responses; it does not refuse requests. A form on any page still
// sends its request with the user's cookies: use [Isolate] and SameSite cookies.
//
// A Content-Security-Policy limits injected markup; it does not replace escaping. HSTS
// begins after the first visit unless the host is preloaded. Browsers ignore COOP and
// HSTS over http, and send no Fetch Metadata there.
//
// Some content delivery networks obey CDN-Cache-Control or Surrogate-Control instead of
// Cache-Control. This package does not change them; see Config.Remove.
//
// The list of domains with open registration is short and is not the Public Suffix
// List: wildcards under other public suffixes are accepted.
//
// Responses that net/http writes itself (malformed requests, two Host headers,
// OPTIONS *), and responses on hijacked connections, carry no headers of this package.
package headers
