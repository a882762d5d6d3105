// Package headers secures requests and responses of servers for browsers: security
// headers, trusted proxies and hosts, https, CORS, and isolation from other sites. Each
// part is middleware, safe for concurrent use. Its zero configuration is strict, and its
// constructor lists all mistakes in one error:
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
// Package headerstest audits the responses of a server.
//
// # Order
//
// From the outside: recovery of panics, [TrustedProxies], [Headers], [TrustedHosts],
// [RedirectHTTPS], [CORS], limits by address, identification of callers, [Isolate] if
// cookies are used, guards, handlers. CORS comes before middleware that requires
// credentials, because preflight requests have no credentials.
//
// # Security considerations
//
// The address, scheme and host of a request are as reliable as the list of proxies. A
// proxy that passes on the client's header, or a way around the proxy, lets clients
// choose them.
//
// CORS does not refuse requests: a form on any page still sends the user's cookies. Use
// [Isolate] and SameSite cookies.
//
// A Content-Security-Policy does not replace escaping. HSTS begins after the first visit
// unless the host is preloaded. Over http, browsers ignore COOP and HSTS and send no
// Fetch Metadata.
//
// Content delivery networks may obey CDN-Cache-Control or Surrogate-Control instead of
// Cache-Control; see Config.Remove.
//
// Wildcards are refused under common domains with open registration only, not under the
// whole Public Suffix List.
//
// Responses of net/http itself (to malformed requests, two Host headers, OPTIONS *) and
// on hijacked connections have no headers of this package.
package headers
