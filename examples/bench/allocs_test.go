package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard/guardtest"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/rbac"
	"github.com/gatewright/gatewright/scopes"
)

var (
	update       = flag.Bool("update", false, "write testdata/allocs.txt")
	raceDetector bool
)

const allocsFile = "testdata/allocs.txt"

// TestAllocationsOfEachGuard compares the allocations of a request with
// testdata/allocs.txt, for each guard, the whole chain, and each refusal. Unlike
// times they do not depend on the machine.
func TestAllocationsOfEachGuard(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates too")
	}
	var got bytes.Buffer
	for _, row := range allocRows(t) {
		w := httptest.NewRecorder()
		row.handler.ServeHTTP(w, row.request)
		if w.Code != row.status {
			t.Fatalf("%s: status %d, want %d: %s", row.name, w.Code, row.status, w.Body)
		}
		kept := &sink{header: make(http.Header)}
		n := testing.AllocsPerRun(500, func() {
			clear(kept.header)
			row.handler.ServeHTTP(kept, row.request)
		})
		fmt.Fprintf(&got, "%3.0f  %d  %s\n", n, row.status, row.name)
	}
	if *update {
		if err := os.WriteFile(allocsFile, got.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(allocsFile); err != nil || !bytes.Equal(want, got.Bytes()) {
		t.Errorf("the allocations are\n%s\nand not those of %s (%v)\n%s\nif they should be, run go test -run Allocations -update", got.Bytes(), allocsFile, err, want)
	}
}

type allocRow struct {
	name    string
	status  int
	handler http.Handler
	request *http.Request
}

func allocRows(t *testing.T) []allocRow {
	next := http.HandlerFunc(items)
	c := newChain()
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	rows := []allocRow{
		{"chain", 200, c.handler, c.request(c.good)},
		{"chain, page of another origin, proxy", 200, c.handler, c.proxied(c.good)},
		{"chain, no token", 401, c.handler, c.request("")},
		{"chain, bad signature", 401, c.handler, c.request(c.forged)},
		{"chain, revoked", 401, c.handler, c.request(c.revoked)},
		{"chain, no scope", 403, c.handler, c.request(c.noScope)},
	}
	add := func(name string, status int, h http.Handler, change func(*http.Request)) {
		r := httptest.NewRequest("GET", "https://"+chainHost+"/items/", nil)
		if change != nil {
			change(r)
		}
		rows = append(rows, allocRow{name, status, h, r})
	}

	for _, alg := range []token.Algorithm{token.HS256, token.RS256, token.ES256, token.EdDSA} {
		b := newBearer(alg)
		with := func(signed string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+signed) }
		}
		add("auth/token "+string(alg)+", seen before", 200, b.again, with(b.signed))
		if alg == token.HS256 {
			add("auth/token HS256, first sight", 200, b.first, with(b.signed))
			add("auth/token HS256, bad signature", 401, b.again, with(forge(b.signed)))
			add("auth/token HS256, malformed", 401, b.again, with("x"))
		}
	}

	keys := newKeyed()
	add("apikey, seen before", 200, keys.ours, func(r *http.Request) { r.Header.Set("X-API-Key", keys.key) })
	add("apikey, junk", 401, keys.ours, func(r *http.Request) { r.Header.Set("X-API-Key", "junk") })

	limit := func(quota int64) http.Handler {
		return must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{}, ratelimit.Limit{Quota: quota, Window: 24 * time.Hour})).Handler(next)
	}
	add("ratelimit", 200, limit(chainQuota), nil)
	over := limit(1)
	over.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	add("ratelimit, over the limit", 429, over, nil)

	p := identity.Principal{Issuer: "test", Subject: "1", Roles: identity.NewSet("editor"), Scopes: identity.NewSet(chainScope, "write:items")}
	caller := func(r *http.Request) { *r = *guardtest.As(r, guardtest.Caller{Name: "editor", Principal: p}) }
	scoped := must(scopes.New(scopes.Config{}))
	add("scopes", 200, scoped.Require(chainScope)(next), caller)
	add("scopes, refused", 403, scoped.Require("admin:items")(next), caller)
	var permissions rbac.Registry
	write, remove := permissions.Permission("items:write"), permissions.Permission("items:delete")
	roles := must(rbac.New(rbac.Policy{Roles: map[string]rbac.Role{"editor": {Allow: []string{"items:write"}}}}, rbac.Config{Permissions: &permissions}))
	add("rbac", 200, roles.Require(write)(next), caller)
	add("rbac, refused", 403, roles.Require(remove)(next), caller)

	add("headers", 200, must(headers.New(headers.Config{})).Handler(next), nil)
	hosts := must(headers.NewTrustedHosts([]string{chainHost}, headers.HostsConfig{})).Handler(next)
	add("headers, trusted host", 200, hosts, nil)
	add("headers, another host", 400, hosts, func(r *http.Request) { r.Host = "evil.example" })
	cors := must(headers.NewCORS([]string{chainOrigin}, headers.CORSConfig{})).Handler(next)
	add("headers, CORS", 200, cors, func(r *http.Request) { r.Header.Set("Origin", chainOrigin) })
	add("headers, CORS, preflight", 204, cors, func(r *http.Request) {
		r.Method = http.MethodOptions
		r.Header.Set("Origin", chainOrigin)
		r.Header.Set("Access-Control-Request-Method", "GET")
		r.Header.Set("Access-Control-Request-Headers", "authorization")
	})
	add("headers, CORS, another origin", 200, cors, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
	add("headers, trusted proxy", 200, must(headers.NewTrustedProxies([]string{"192.0.2.1"}, headers.ProxiesConfig{})).Handler(next), func(r *http.Request) {
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		r.Header.Set("X-Forwarded-Proto", "https")
	})
	return rows
}
