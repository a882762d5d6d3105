package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cristal "github.com/cristalhq/jwt/v5"
	jub0bs "github.com/jub0bs/cors"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/unrolled/secure"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

const (
	chainHost   = "api.example.com"
	chainOrigin = "https://app.example.com"
	chainIssuer = "https://auth.example.com"
	chainScope  = "read:items"
	chainQuota  = 1_000_000_000
)

// benchLifetime is how long tokens and revocations are valid. The tokens are issued
// before the first job runs, and must still be valid in the last one.
const benchLifetime = 24 * time.Hour

// A chain is one route of an API behind all guards that a public API needs: trusted
// proxies, security headers, a list of hosts, CORS, a limit for each address, a
// bearer token that may be revoked, a limit for each caller, and a scope.
type chain struct {
	handler                        http.Handler
	good, forged, revoked, noScope string // tokens
}

// items is the handler behind the guards. It allocates nothing.
func items(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(itemList)
}

var (
	jsonType = []string{"application/json"}
	itemList = []byte(`{"items":[{"id":1,"name":"pen"},{"id":2,"name":"ink"}]}`)
)

// newChain returns our chain.
func newChain() chain {
	return newChainOf(token.HS256)
}

func newChainOf(alg token.Algorithm) chain {
	key := must(token.GenerateKey(alg))
	ring := must(token.NewKeyring(key))
	revoked := new(blacklist.Memory)
	verifier := must(token.NewVerifier(ring, token.VerifierConfig{Issuer: chainIssuer, Audience: "https://" + chainHost, Revoker: revoked}))
	issuer := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: chainIssuer, Audience: "https://" + chainHost, Lifetime: benchLifetime}))
	issue := func(session string, granted ...string) string {
		return must(issuer.Issue(context.Background(), &identity.Principal{Subject: "user-1234567890", Session: session,
			Scopes: identity.NewSet(granted...), Factors: identity.NewSet("pwd")}, nil))
	}
	hooks := guard.Hooks{}
	limit := ratelimit.Limit{Quota: chainQuota, Window: time.Minute}
	scoped := must(scopes.New(scopes.Config{}))
	callers := must(ratelimit.New(ratelimit.ByCaller, ratelimit.Config{Hooks: hooks}, limit))
	addresses := must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{Fields: ratelimit.FieldsNone, Hooks: hooks}, limit))
	h := hooks.Identify(verifier)(callers.Handler(scoped.Require(chainScope)(http.HandlerFunc(items))))
	h = addresses.Handler(h)
	h = must(headers.NewCORS([]string{chainOrigin}, headers.CORSConfig{})).Handler(h)
	h = must(headers.NewTrustedHosts([]string{chainHost}, headers.HostsConfig{})).Handler(h)
	h = must(headers.New(headers.Config{})).Handler(h)
	h = must(headers.NewTrustedProxies([]string{"127.0.0.1", "192.0.2.1"}, headers.ProxiesConfig{})).Handler(h)

	c := chain{handler: h, good: issue("s-1", chainScope, "write:items"), revoked: issue("s-2", chainScope), noScope: issue("s-3", "write:items")}
	c.forged = forge(c.good)
	if err := revoked.Revoke(context.Background(), identity.Revocation{Issuer: chainIssuer, Session: "s-2", Expires: time.Now().Add(benchLifetime)}); err != nil {
		panic(err)
	}
	return c
}

// newPeersChain returns the same chain of the libraries that are used today, the
// fastest of each kind: unrolled/secure, jub0bs/cors, go-limiter and cristalhq/jwt,
// with a list of revoked tokens and a check of scopes written by hand. Like the
// documentation of go-limiter it takes the address from the connection.
func newPeersChain() chain {
	secret := []byte("0123456789abcdef0123456789abcdef")
	verifier := must(cristal.NewVerifierHS(cristal.HS256, secret))
	signer := cristal.NewBuilder(must(cristal.NewSignerHS(cristal.HS256, secret)))
	type claims struct {
		cristal.RegisteredClaims
		Scope string `json:"scope"`
	}
	var revoked struct {
		sync.RWMutex
		ids map[string]bool
	}
	revoked.ids = map[string]bool{"t-2": true}
	type claimsKey struct{}
	refuse := func(w http.ResponseWriter, status int, challenge string) {
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, http.StatusText(status), status)
	}
	scoped := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(claimsKey{}).(*claims)
		if c == nil || !slices.Contains(strings.Fields(c.Scope), chainScope) {
			refuse(w, http.StatusForbidden, `Bearer error="insufficient_scope"`)
			return
		}
		items(w, r)
	})
	limiter := func(key httplimit.KeyFunc) *httplimit.Middleware {
		// After its first interval go-limiter admits Interval/Tokens requests in each,
		// in nanoseconds: 60 a minute with this quota and a minute. So the first
		// interval is as long as the run.
		store := must(memorystore.New(&memorystore.Config{Tokens: chainQuota, Interval: benchLifetime}))
		return must(httplimit.NewMiddleware(store, key))
	}
	byCaller := limiter(func(r *http.Request) (string, error) {
		c, ok := r.Context().Value(claimsKey{}).(*claims)
		if !ok {
			return "", fmt.Errorf("no caller")
		}
		return c.Subject, nil
	}).Handle(scoped)
	identified := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			refuse(w, http.StatusUnauthorized, "Bearer")
			return
		}
		parsed, err := cristal.Parse([]byte(given), verifier)
		c := new(claims)
		if err == nil {
			err = json.Unmarshal(parsed.Claims(), c)
		}
		if err != nil || !c.IsValidAt(time.Now()) || !c.IsForAudience("https://"+chainHost) || !c.IsIssuer(chainIssuer) {
			refuse(w, http.StatusUnauthorized, `Bearer error="invalid_token"`)
			return
		}
		revoked.RLock()
		gone := revoked.ids[c.ID]
		revoked.RUnlock()
		if gone {
			refuse(w, http.StatusUnauthorized, `Bearer error="invalid_token"`)
			return
		}
		byCaller.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, c)))
	})
	cors := must(jub0bs.NewMiddleware(jub0bs.Config{Origins: []string{chainOrigin}, RequestHeaders: []string{"Authorization", "Content-Type"}}))
	sent := httptest.NewRecorder()
	must(headers.New(headers.Config{})).Handler(http.HandlerFunc(handled)).ServeHTTP(sent, httptest.NewRequest("GET", "https://"+chainHost+"/", nil))
	h := secure.New(secure.Options{
		AllowedHosts:              []string{chainHost},
		ContentSecurityPolicy:     sent.Header().Get("Content-Security-Policy"),
		STSSeconds:                63072000,
		STSIncludeSubdomains:      true,
		ContentTypeNosniff:        true,
		CustomFrameOptionsValue:   "DENY",
		CustomBrowserXssValue:     "0",
		ReferrerPolicy:            "no-referrer",
		PermissionsPolicy:         sent.Header().Get("Permissions-Policy"),
		CrossOriginOpenerPolicy:   "same-origin",
		CrossOriginResourcePolicy: "same-origin",
		SSLProxyHeaders:           map[string]string{"X-Forwarded-Proto": "https"},
	}).Handler(cors.Wrap(limiter(httplimit.IPKeyFunc()).Handle(identified)))

	issue := func(id, scope string) string {
		return must(signer.Build(&claims{cristal.RegisteredClaims{
			ID: id, Issuer: chainIssuer, Audience: cristal.Audience{"https://" + chainHost}, Subject: "user-1234567890",
			IssuedAt: cristal.NewNumericDate(time.Now()), ExpiresAt: cristal.NewNumericDate(time.Now().Add(benchLifetime)),
		}, scope})).String()
	}
	c := chain{handler: h, good: issue("t-1", "read:items write:items"), revoked: issue("t-2", "read:items"), noScope: issue("t-3", "write:items")}
	c.forged = forge(c.good)
	return c
}

// newBare returns the handler without guards, and with the headers of our chain's
// response written by hand.
func newBare(ours chain) (bare, sameHeaders http.Handler) {
	w := httptest.NewRecorder()
	ours.handler.ServeHTTP(w, ours.request(ours.good))
	sent := w.Header().Clone()
	sent.Del("Content-Type")
	sent.Del("Content-Length")
	return http.HandlerFunc(items), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, values := range sent {
			h[name] = values
		}
		items(w, r)
	})
}

// request returns a request of a program, which comes by HTTPS without a proxy.
func (c chain) request(signed string) *http.Request {
	r := httptest.NewRequest("GET", "https://"+chainHost+"/items/", nil)
	r.RemoteAddr = "198.51.100.7:1234"
	if signed != "" {
		r.Header.Set("Authorization", "Bearer "+signed)
	}
	return r
}

// proxied returns a request of a page of another origin, which a proxy passes on.
func (c chain) proxied(signed string) *http.Request {
	r := httptest.NewRequest("GET", "http://"+chainHost+"/items/", nil) // from 192.0.2.1
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("Origin", chainOrigin)
	r.Header.Set("Authorization", "Bearer "+signed)
	return r
}

// check returns an error unless the guards let the good request pass and refuse the
// others.
func (c chain) check() error {
	for _, tt := range []struct {
		name   string
		signed string
		origin string
		host   string
		status []int
		shared string // Access-Control-Allow-Origin
	}{
		{"a good token", c.good, "", chainHost, []int{200}, ""},
		{"a page", c.good, chainOrigin, chainHost, []int{200}, chainOrigin},
		{"a page of another origin", c.good, "https://evil.example", chainHost, []int{200}, ""},
		{"no token", "", "", chainHost, []int{401}, ""},
		{"a forged token", c.forged, "", chainHost, []int{401}, ""},
		{"a revoked token", c.revoked, "", chainHost, []int{401}, ""},
		{"a token without the scope", c.noScope, "", chainHost, []int{403}, ""},
		{"another host", c.good, "", "evil.example", []int{400, 421, 500}, ""}, // 500: unrolled/secure
	} {
		for by, r := range map[string]*http.Request{"directly": c.request(tt.signed), "by a proxy": c.proxied(tt.signed)} {
			r.Host = tt.host
			r.Header.Del("Origin")
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			if tt.signed == "" {
				r.Header.Del("Authorization")
			}
			w := httptest.NewRecorder()
			c.handler.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin"); !slices.Contains(tt.status, w.Code) || got != tt.shared {
				return fmt.Errorf("%s, %s: status %d, want %d, Access-Control-Allow-Origin %q: %s", tt.name, by, w.Code, tt.status, got, w.Body)
			}
		}
	}
	return nil
}

// chainJobs compares the whole chain in process.
func chainJobs() []job {
	ours, peers := newChain(), newPeersChain()
	pair := func(request func(chain) *http.Request, measure func(*testing.B, http.Handler, func() *http.Request)) map[string]func(*testing.B) {
		run := func(c chain) func(*testing.B) {
			return func(b *testing.B) {
				if err := c.check(); err != nil {
					fail(b, "%v", err)
				}
				measure(b, c.handler, func() *http.Request { return request(c) })
			}
		}
		return map[string]func(*testing.B){"peers": run(peers), "gatewright": run(ours)}
	}
	warm := func(b *testing.B, h http.Handler, request func() *http.Request) { respond(b, h, request(), false) }
	fresh := func(b *testing.B, h http.Handler, request func() *http.Request) { respond(b, h, request(), true) }
	direct := func(token func(chain) string) func(chain) *http.Request {
		return func(c chain) *http.Request { return c.request(token(c)) }
	}
	good := direct(func(c chain) string { return c.good })
	return []job{
		{"chain", "peers", pair(good, warm), "<= 0.08, 3 allocs"},
		{"chain, fresh map", "peers", pair(good, fresh), "<= 0.1"},
		{"chain, 2 procs", "peers", pair(good, inParallel), "<= 0.08"},
		{"chain, page of another origin, proxy", "peers", pair(func(c chain) *http.Request { return c.proxied(c.good) }, warm), "< 1"},
		{"chain, no token", "peers", pair(direct(func(chain) string { return "" }), warm), "<= serving"},
		{"chain, bad signature", "peers", pair(direct(func(c chain) string { return c.forged }), warm), "<= serving"},
		{"chain, revoked", "peers", pair(direct(func(c chain) string { return c.revoked }), warm), "<= serving"},
		{"chain, no scope", "peers", pair(direct(func(c chain) string { return c.noScope }), warm), "<= serving"},
	}
}
