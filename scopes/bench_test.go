package scopes_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

// ten are the scopes of a usual token, of which three are asked for.
var ten = identity.ParseSet("admin:users delete:items openid orders:read orders:write profile read:items read:users write:items write:users")

var (
	threeDirect  = []string{"read:items", "orders:read", "write:items"}
	threeImplied = []string{"list:items", "list:orders", "draft:items"}
	usualImplies = map[string][]string{
		"write:items":  {"draft:items", "read:items"},
		"read:items":   {"list:items"},
		"orders:write": {"orders:read"},
		"orders:read":  {"list:orders"},
		"admin":        {"write:items", "orders:write"},
	}
)

func BenchmarkCheck(b *testing.B) {
	flat := must(scopes.New(scopes.Config{}))
	tall := must(scopes.New(scopes.Config{Implies: usualImplies}))
	p := as(&identity.Principal{Issuer: "tokens", Scopes: ten})
	for _, test := range []struct {
		name   string
		m      *scopes.Middleware
		scopes []string
	}{
		{"three of ten", flat, threeDirect},
		{"three of ten beside a hierarchy", tall, threeDirect},
		{"three of ten, all implied", tall, threeImplied},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := test.m.Check(p, test.scopes...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCheckHostile has ten thousand scopes on both sides.
func BenchmarkCheckHostile(b *testing.B) {
	implies := make(map[string][]string)
	var granted []string
	for i := range 10_000 {
		implies[fmt.Sprintf("group%d", i)] = []string{"wanted"}
		granted = append(granted, fmt.Sprintf("scope%d", i))
	}
	m := must(scopes.New(scopes.Config{Implies: implies}))
	p := as(&identity.Principal{Issuer: "tokens", Scopes: identity.NewSet(granted...)})
	b.ReportAllocs()
	for b.Loop() {
		if m.Check(p, "wanted") == nil {
			b.Fatal("passed")
		}
	}
}

func BenchmarkRequire(b *testing.B) {
	tall := must(scopes.New(scopes.Config{Implies: usualImplies}))
	for _, test := range []struct {
		name string
		h    http.Handler
	}{
		{"one", tall.Require("read:items")(nothing)},
		{"three of ten", tall.Require(threeDirect...)(nothing)},
		{"three of ten, all implied", tall.Require(threeImplied...)(nothing)},
		{"any of three", tall.RequireAny("a", "b", "read:items")(nothing)},
		{"fresh", must(scopes.New(scopes.Config{ACR: levels})).Fresh(time.Hour, "mfa")(nothing)},
	} {
		b.Run(test.name, func(b *testing.B) { benchmark(b, test.h) })
		b.Run(test.name+", parallel", func(b *testing.B) { benchmarkParallel(b, test.h) })
	}
}

func BenchmarkRefused(b *testing.B) {
	m := must(scopes.New(scopes.Config{ACR: levels}))
	b.Run("insufficient_scope", func(b *testing.B) { benchmark(b, m.Require("missing")(nothing)) })
	b.Run("step-up", func(b *testing.B) { benchmark(b, m.Fresh(time.Second, "hwk")(nothing)) })
}

func BenchmarkParse(b *testing.B) {
	s := ten.String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := scopes.Parse(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseClaims(b *testing.B) {
	const usual = `{"iss":"https://login.example.com/0f3a/v2.0","sub":"AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ","aud":"api://items",` +
		`"exp":1764000000,"iat":1763996400,"nbf":1763996400,"azp":"6731de76-14a6-49ae-97bc-6eba6914391e","ver":"2.0",` +
		`"name":"Ada Lovelace","scp":"Items.Read Items.Write User.Read","groups":["a","b","c"],"tid":"9122040d-6c67-4c5b-b112-36a304b66dad"}`
	for _, test := range []struct{ name, claims string }{
		{"usual", usual},
		{"hostile, nested and escaped", `{"a":` + strings.Repeat(`[`, 5000) + `"` + strings.Repeat(`\"`, 10_000) + `"` + strings.Repeat(`]`, 5000) + `,"scp":"a"}`},
		{"hostile, many members", `{` + strings.Repeat(`"scopf":0,`, 6000) + `"scp":"a"}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scopes.ParseClaims(test.claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// inside runs f within what Identify leaves behind.
func inside(f func(*http.Request)) {
	guard.Hooks{}.Identify(found{&identity.Principal{Issuer: "tokens", Subject: "ada", Scopes: ten,
		Factors: identity.NewSet("otp", "pwd"), AuthTime: time.Now()}})(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r) }),
	).ServeHTTP(&discard{http.Header{}}, httptest.NewRequest("GET", "/", nil))
}

// benchmark measures the guard h alone.
func benchmark(b *testing.B, h http.Handler) {
	inside(func(r *http.Request) {
		b.ReportAllocs()
		w := &discard{http.Header{}}
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})
}

func benchmarkParallel(b *testing.B, h http.Handler) {
	inside(func(r *http.Request) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			w := &discard{http.Header{}}
			for pb.Next() {
				h.ServeHTTP(w, r)
			}
		})
	})
}
