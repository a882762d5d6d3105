package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/cors"
	"github.com/unrolled/secure"

	"github.com/gatewright/gatewright/headers"
)

// headersJobs compares what a response pays for its security headers, over
// https and with the same headers on both sides, a check of the host, and a
// request from a page of another origin.
//
// unrolled/secure writes its headers after the map was made by the server
// ("fresh") like everybody; "warm" is a map that has held them before.
func headersJobs() []job {
	next := http.HandlerFunc(handled)
	ours := must(headers.New(headers.Config{})).Handler(next)
	recorder := httptest.NewRecorder()
	ours.ServeHTTP(recorder, httptest.NewRequest("GET", "https://api.example.com/", nil))
	sent := recorder.Header()
	peer := secure.New(secure.Options{
		ContentSecurityPolicy:     sent.Get("Content-Security-Policy"),
		STSSeconds:                63072000,
		STSIncludeSubdomains:      true,
		ContentTypeNosniff:        true,
		CustomFrameOptionsValue:   "DENY",
		CustomBrowserXssValue:     "0",
		ReferrerPolicy:            "no-referrer",
		PermissionsPolicy:         sent.Get("Permissions-Policy"),
		CrossOriginOpenerPolicy:   "same-origin",
		CrossOriginResourcePolicy: "same-origin",
	}).Handler(next)

	hosts := []string{"api.example.com", "www.example.com"}
	ourHosts := must(headers.NewTrustedHosts(hosts, headers.HostsConfig{})).Handler(next)
	peerHosts := secure.New(secure.Options{AllowedHosts: hosts}).Handler(next)

	origin := "https://app.example.com"
	ourCORS := must(headers.NewCORS([]string{origin}, headers.CORSConfig{Credentials: true})).Handler(next)
	peerCORS := cors.New(cors.Options{AllowedOrigins: []string{origin}, AllowCredentials: true,
		AllowedHeaders: []string{"Authorization", "Content-Type"}, MaxAge: 600}).Handler(next)
	ourWild := must(headers.NewCORS([]string{"https://*.example.com"}, headers.CORSConfig{Credentials: true})).Handler(next)
	peerWild := cors.New(cors.Options{AllowedOrigins: []string{"https://*.example.com"}, AllowCredentials: true}).Handler(next)

	plain := func() *http.Request { return httptest.NewRequest("GET", "https://api.example.com/", nil) }
	fromPage := func() *http.Request {
		r := plain()
		r.Header.Set("Origin", origin)
		return r
	}
	preflight := func() *http.Request {
		r := fromPage()
		r.Method = http.MethodOptions
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		return r
	}
	pair := func(peer string, theirs, ours http.Handler, request func() *http.Request, fresh bool) map[string]func(*testing.B) {
		return map[string]func(*testing.B){
			peer:         func(b *testing.B) { respond(b, theirs, request(), fresh) },
			"gatewright": func(b *testing.B) { respond(b, ours, request(), fresh) },
		}
	}
	return []job{
		{"security headers, warm map", "unrolled", pair("unrolled", peer, ours, plain, false), "<= 250 ns, 1 alloc"},
		{"security headers, fresh map", "unrolled", pair("unrolled", peer, ours, plain, true), "<= 750 ns, <= 6 allocs"},
		{"host check", "unrolled", pair("unrolled", peerHosts, ourHosts, plain, false), "<= 40 ns"},
		{"CORS, actual request", "rs/cors", pair("rs/cors", peerCORS, ourCORS, fromPage, false), "<= 2"},
		{"CORS, actual request, wildcard", "rs/cors", pair("rs/cors", peerWild, ourWild, fromPage, false), "<= 2"},
		{"CORS, preflight", "rs/cors", pair("rs/cors", peerCORS, ourCORS, preflight, false), "<= 2"},
	}
}

// respond measures h with a header map that was used before, or with a new one
// each time.
func respond(b *testing.B, h http.Handler, r *http.Request, fresh bool) {
	b.ReportAllocs()
	w := &sink{header: make(http.Header)}
	for b.Loop() {
		if fresh {
			w.header = make(http.Header)
		} else {
			clear(w.header)
		}
		h.ServeHTTP(w, r)
	}
}
