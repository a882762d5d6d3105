// Package headers makes responses safe to show in a browser and requests safe
// to believe: security headers, trusted proxies and hosts, https, CORS and
// isolation from other sites.
//
// Each part is a middleware of its own, and its zero configuration is the
// strict one. A server behind one reverse proxy, with a page on another host,
// stands like this:
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
// Constructors report every mistake at once and name what to write instead.
// Fields that begin with Insecure weaken something, and say what an attacker
// gains. headerstest.Audit looks at the responses of the finished server.
//
// # Order
//
// From the outside: recovery of panics, [TrustedProxies], [Headers],
// [TrustedHosts], [RedirectHTTPS], [CORS], limits by address, identification
// of callers, [Isolate] where cookies are used, guards, handlers.
//
// TrustedProxies settles r.RemoteAddr, r.Host and [guard.Scheme] for all that
// follow. Headers comes before whatever refuses, so that refusals have them
// too. CORS comes before everything that needs credentials, for preflight
// requests have none, and so that a page can read why it was refused. Isolate
// comes behind it and lets the same origins through, by TrustedOrigins.
//
// An http.TimeoutHandler or another middleware that makes responses of its own
// belongs within Headers.
//
// # Handlers
//
// Headers are set before the handler runs, in slices that belong to the one
// response. A handler may change them for its route; nothing it does reaches
// another response. There is no wrapper around the ResponseWriter, so
// streaming, hijacking and sendfile work as ever. With Config.Enforce there is
// one: it has the methods of the writer underneath and Unwrap, and what is
// configured is what is sent, once.
//
// # Security considerations
//
// The address, scheme and host that a trusted proxy claims are as good as the
// list of proxies and their own configuration: a proxy that passes on what
// clients send in the header that is read makes them up. Make sure that the
// server cannot be reached around the proxy from the listed prefixes.
//
// CORS tells browsers whom to hand responses to. It does not keep requests
// away: a form on any page still sends them, with cookies, and clients that are
// no browsers ignore it. [Isolate] and SameSite cookies are against the first,
// credentials against the second.
//
// A Content-Security-Policy limits what injected markup can do; it does not
// escape it. HSTS begins to work after the first visit, unless the host is
// preloaded. Browsers ignore COOP and HSTS over http, and send no Fetch
// Metadata there.
//
// Some networks that deliver content obey a header of their own in place of
// Cache-Control, such as CDN-Cache-Control or Surrogate-Control: these are left
// as handlers set them, unless Config.Remove names them.
//
// The list of domains that strangers share is short and not the Public Suffix
// List: a wildcard under a suffix that it does not know is taken.
//
// Requests that net/http answers itself (malformed ones, two Host lines,
// OPTIONS *) and responses that a handler writes to a hijacked connection carry
// no headers of this package.
package headers
