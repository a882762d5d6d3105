package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/felixge/httpsnoop"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/ratelimit"
)

// What stands in front of the routes, and what limits them.

// A front is what requests pass before they are routed.
type front struct {
	proxies  *headers.TrustedProxies
	security *headers.Headers
	docs     *headers.Headers // of /docs/
	page     *headers.Headers // of the page at /
	mailed   *headers.Headers // of the pages that mailed links open
	hosts    *headers.TrustedHosts
	https    *headers.RedirectHTTPS // nil: the server speaks http
	cors     *headers.CORS          // nil: pages of other origins get nothing
	valve    *ratelimit.Valve
	address  *ratelimit.Limiter
}

// newFront makes it of what the command line says.
func newFront(s settings, memory *ratelimit.Memory, hooks guard.Hooks) (*front, error) {
	var f front
	var errs [10]error
	f.proxies, errs[0] = headers.NewTrustedProxies(s.trustedProxies, headers.ProxiesConfig{Hops: s.hops, Hooks: hooks})
	// Enforced, so that net/http's own error pages, which drop Cache-Control,
	// are no-store for callers too.
	f.security, errs[1] = headers.New(headers.Config{Enforce: true})
	f.docs, errs[7] = docsHeaders()
	f.page, errs[8] = pageHeaders()
	// Not enforced: these pages set a Content-Security-Policy with the hash of
	// their script.
	f.mailed, errs[9] = headers.New(headers.Config{})
	f.hosts, errs[2] = headers.NewTrustedHosts(s.hosts, headers.HostsConfig{Hooks: hooks})
	if s.https {
		// A health check comes from next door and has nothing to hide.
		f.https, errs[3] = headers.NewRedirectHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"/healthz"}, Hooks: hooks})
	}
	if len(s.corsOrigins) > 0 {
		f.cors, errs[4] = headers.NewCORS(s.corsOrigins, headers.CORSConfig{
			Methods: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"},
			Headers: []string{"Authorization", "Content-Type", "X-API-Key"},
			Expose:  []string{"Location", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate"},
		})
	}
	// These protect the process from a flood, and are its own: to ask for each
	// request what the others have seen would carry the flood on to the store.
	if !s.insecureNoLimits {
		f.valve, errs[5] = ratelimit.NewValve(3000, ratelimit.ValveConfig{Hooks: hooks})
		f.address, errs[6] = ratelimit.New(ratelimit.ByIP, ratelimit.Config{Store: memory, Name: "address", Fields: ratelimit.FieldsNone, NetworkFactor: 2, Hooks: hooks},
			named("address", "1500/second;20000/minute")...)
	}
	return &f, errors.Join(errs[:]...)
}

// chain is next with all that stands in front of it, the outermost last.
func (a *app) chain(next http.Handler) http.Handler {
	f := a.front
	next = a.announced(a.inTime(next))
	next = f.limited(next)
	if f.cors != nil {
		next = f.cors.Handler(next)
	}
	if f.https != nil {
		next = f.https.Handler(next)
	}
	next = f.hosts.Handler(next)
	api, docs, page, mailed := f.security.Handler(next), f.docs.Handler(next), f.page.Handler(next), f.mailed.Handler(next)
	next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isDocs(r.URL.Path):
			docs.ServeHTTP(w, r)
		case isPage(r.URL.Path):
			page.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/account/"):
			mailed.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
	return a.accessLog(a.recoverPanics(noteProxies(f.proxies.Handler(next))))
}

// limited is next behind the limits of all routes.
func (f *front) limited(next http.Handler) http.Handler {
	if f.address == nil {
		return next
	}
	// The addresses first: what is refused there must not take a place of others at
	// the valve.
	return f.address.Handler(f.valve.Handler(next))
}

// announced refuses a form that a signed-in client announces as larger than any
// that is read here, before the verifier waits for it to look for a second token
// in it. What comes without a token is refused by the endpoint, in its own form.
func (a *app) announced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maxForm := int64(4 << 10) // of auth and totp
		if r.URL.Path == "/2fa/verify/" || r.URL.Path == "/session/step-up" {
			maxForm = 8 << 10 // of auth, where the code may be the JSON of a passkey
		}
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if r.ContentLength > maxForm && strings.EqualFold(scheme, "Bearer") {
			if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/x-www-form-urlencoded" {
				a.hooks.Refuse(w, r, &http.MaxBytesError{Limit: maxForm})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// longestRequest is how long a request may take: less than the server's
// WriteTimeout, so that there is an answer for one that waits for a store which
// says nothing, and more than its ReadTimeout.
const longestRequest = 20 * time.Second

// inTime ends what requests wait for, or those to a database that is cut off
// would be there as long as it is.
func (a *app) inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.longestRequest)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// recoverPanics answers 500 for a handler that panics. The headers that were
// set before stay, those of security and CORS among them.
func (a *app) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := false
		watched := httpsnoop.Wrap(w, httpsnoop.Hooks{
			WriteHeader: func(f httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
				return func(status int) { begun = begun || status >= 200; f(status) }
			},
			Write: func(f httpsnoop.WriteFunc) httpsnoop.WriteFunc {
				return func(b []byte) (int, error) { begun = true; return f(b) }
			},
			ReadFrom: func(f httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
				return func(src io.Reader) (int64, error) { begun = true; return f(src) }
			},
			Flush: func(f httpsnoop.FlushFunc) httpsnoop.FlushFunc {
				return func() { begun = true; f() }
			},
			Hijack: func(f httpsnoop.HijackFunc) httpsnoop.HijackFunc {
				return func() (net.Conn, *bufio.ReadWriter, error) { begun = true; return f() }
			},
		})
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			// Not the value: it may hold anything that came with the request.
			a.log.Error("a handler panicked", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			if begun {
				panic(http.ErrAbortHandler) // so that the client does not take half an answer for a whole one
			}
			a.hooks.Refuse(w, r, &guard.Denial{
				Status: http.StatusInternalServerError,
				Code:   "internal_error",
				Detail: "Something went wrong here.",
				Err:    errors.New("a handler panicked"),
			})
		}()
		next.ServeHTTP(watched, r)
	})
}

// accessLog writes a line for each request. The holder lets it name the
// caller, who is identified further in.
func (a *app) accessLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, holder := identity.WithHolder(r.Context())
		r = r.WithContext(ctx)
		m := httpsnoop.CaptureMetrics(next, w, r)
		attrs := []slog.Attr{
			slog.String("method", r.Method),
			slog.String("path", r.URL.Path), // never the query
			slog.Int("status", m.Code),
			slog.Int64("bytes", m.Written),
			slog.Duration("duration", m.Duration),
		}
		if p := holder.Principal(); p != nil {
			attrs = append(attrs, slog.Any("principal", p))
		}
		a.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
	})
}

// limits are those of some routes and of who is calling.
type limits struct {
	caller   func(http.Handler) http.Handler // all guarded routes
	register func(http.Handler) http.Handler // POST /users/
	five     func(http.Handler) http.Handler // GET /limited/
	messages func(http.Handler) http.Handler // routes that send a message, by client address
	attempts func(http.Handler) http.Handler // names signIn in the ledger, and limits nothing itself
	mail     *ratelimit.Limiter              // messages to one address; nil: none
	signIn   *ratelimit.SignIn               // nil: none
	keys     *ratelimit.KeyThrottle          // at API keys; nil: none
}

// named returns limits whose names begin with that of their limiter: metrics, and the
// tables of a Memory, tell limits apart by name and window.
func named(limiter, text string) []ratelimit.Limit {
	all := ratelimit.MustParse(text)
	for i := range all {
		all[i].Name = limiter + "-" + all[i].Name
	}
	return all
}

// Limits of sign-ins: how many attempts may fail.
var (
	failuresOfPair    = ratelimit.Limit{Quota: 5, Window: 15 * time.Minute}
	failuresOfAddress = ratelimit.Limit{Quota: 50, Window: 15 * time.Minute}
	failuresOfLogin   = ratelimit.Limit{Quota: 100, Window: 24 * time.Hour}
	failuresOfAll     = ratelimit.Limit{Quota: 600, Window: time.Minute}
)

// newLimits makes them. If the processes of the server share a store they count
// together there, and each for itself, in memory, while it does not answer.
func newLimits(s settings, memory *ratelimit.Memory, secret []byte, hooks guard.Hooks) (*limits, error) {
	config := func(name string) ratelimit.Config {
		c := ratelimit.Config{Store: memory, Name: name, Timeout: s.limitTimeout, Hooks: hooks}
		if s.limits != nil {
			c.Store, c.Local, c.Secret = s.limits, memory, guard.NewSecret(secret)
		}
		return c
	}
	unlimited := func(next http.Handler) http.Handler { return next }
	l := &limits{caller: unlimited, register: unlimited, messages: unlimited, attempts: unlimited}
	five, err := ratelimit.New(ratelimit.ByIP, config("five"), named("five", "5/minute")...)
	if err != nil {
		return nil, err
	}
	l.five = five.Handler
	if s.insecureNoLimits {
		return l, nil
	}
	caller, errCaller := ratelimit.New(ratelimit.ByCaller, config("caller"), named("caller", "100/second;6000/minute")...)
	// Each registration costs a password hash.
	register, errRegister := ratelimit.New(ratelimit.ByIP, config("register"), named("register", "20/hour")...)
	keys, errKeys := ratelimit.NewKeyThrottle(config("keys"), named("keys", "60/minute")...)
	common := config("sign-in")
	signIn, errSignIn := ratelimit.NewSignIn(ratelimit.SignInConfig{
		Pair: failuresOfPair, Address: failuresOfAddress, Login: failuresOfLogin, Global: failuresOfAll,
		Store: common.Store, Local: common.Local, Name: common.Name, Secret: common.Secret, Timeout: common.Timeout, Hooks: hooks,
	})
	messages, errMessages := ratelimit.New(ratelimit.ByIP, config("messages"), named("messages", "30/hour")...)
	mail, errMail := ratelimit.New(ratelimit.ByIP, config("mail"), named("mail", "5 per 15 minutes;20/day")...)
	if err := errors.Join(errMessages, errMail, errCaller, errRegister, errSignIn, errKeys); err != nil {
		return nil, err
	}
	l.messages, l.mail = messages.Handler, mail
	l.caller, l.register, l.signIn, l.keys = caller.Handler, register.Handler, signIn, keys
	l.attempts = func(next http.Handler) http.Handler {
		return guard.Describe(next, next, guard.Requirement{Kind: guard.KindLimit, Values: []string{"failed " + common.Name,
			failuresOfPair.String() + " of a login from an address,", failuresOfAddress.String() + " of an address,",
			failuresOfLogin.String() + " of a login,", failuresOfAll.String() + " in all"}})
	}
	return l, nil
}

// hostsOf are the hosts that requests may be for: that of the issuer, that of
// the address, and, if only this machine can reach it, what this machine calls
// itself.
func hostsOf(issuer, addr string, more []string) []string {
	hosts := slices.Clone(more)
	if u, err := url.Parse(issuer); err == nil && u.Hostname() != "" {
		hosts = append(hosts, bracketed(u.Hostname()))
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return hosts
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		hosts = append(hosts, host)
	case ip.IsLoopback():
		hosts = append(hosts, bracketed(ip.String()), "localhost", "127.0.0.1", "[::1]")
	case !ip.IsUnspecified():
		hosts = append(hosts, bracketed(ip.String()))
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// bracketed returns a host as it stands in a URL.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// limited is GET /limited/.
func (a *app) limited(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"message": "This endpoint is rate limited"})
}
