package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// bearerJobs compares what a request with a bearer token pays before its
// handler: the signature, exp, nbf, iss and aud are checked and the caller is
// put into the context. golang-jwt stands in the smallest middleware that does
// so, with its struct of registered claims; ours does all that the package
// documentation of token says.
//
// golang-jwt has no memory, so to it each token is new. Ours is measured
// without its own ("first sight") and with it ("repeat").
func bearerJobs() []job {
	var all []job
	for _, a := range []struct {
		alg        token.Algorithm
		firstSight string
	}{
		{token.HS256, "<= 0.30, <= 8 allocs"},
		{token.RS256, "<= 1"},
		{token.ES256, "<= 1"},
		{token.EdDSA, "<= 1"},
	} {
		c := newBearer(a.alg)
		bearer := "bearer " + string(a.alg)
		all = append(all,
			job{bearer + ", first sight", "golang-jwt", c.serve(c.first, c.signed, http.StatusOK), a.firstSight},
			job{bearer + ", repeat", "golang-jwt", c.serve(c.again, c.signed, http.StatusOK), "<= 400 ns, 1 alloc"},
			job{bearer + ", repeat, 2 procs", "golang-jwt", c.serveParallel(c.again, c.signed), "no dearer than on one"},
		)
		if a.alg == token.HS256 {
			all = append(all, job{bearer + ", bad signature", "golang-jwt",
				c.serve(c.again, forge(c.signed), http.StatusUnauthorized), "no dearer than first sight"})
		}
	}
	return all
}

// A bearer is a token, and the handlers that take it.
type bearer struct {
	signed       string
	peer         http.Handler
	first, again http.Handler // ours, which never and which always has seen it
}

func newBearer(alg token.Algorithm) bearer {
	const (
		issuer   = "https://auth.example.com"
		audience = "https://api.example.com"
	)
	key := must(token.GenerateKey(alg))
	var public any = key.Secret.Bytes()
	if !key.Signer.IsZero() {
		public = key.Signer.Public()
	}
	ring := must(token.NewKeyring(key))
	signed := must(must(token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience, Lifetime: benchLifetime})).Issue(
		context.Background(),
		&identity.Principal{
			Subject: "user-1234567890",
			Session: "session-1234567890",
			Scopes:  identity.NewSet("read:items", "write:items"),
			Factors: identity.NewSet("pwd"),
		}, nil))

	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{string(alg)}),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
	)
	keyOf := func(*jwt.Token) (any, error) { return public, nil }
	type claimsKey struct{}
	peer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		claims := new(jwt.RegisteredClaims)
		if ok {
			_, err := parser.ParseWithClaims(given, claims, keyOf)
			ok = err == nil
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		handled(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	})

	ours := func(c token.VerifierConfig) http.Handler {
		hooks := guard.Hooks{}
		return hooks.Identify(must(token.NewVerifier(ring, c)))(hooks.Authenticated(http.HandlerFunc(handled)))
	}
	config := token.VerifierConfig{Issuer: issuer, Audience: audience, InsecureNoRevoker: true} // the peer asks nobody either
	forgetful := config
	forgetful.CacheSize = -1 // each request is the first one with its token
	return bearer{signed, peer, ours(forgetful), ours(config)}
}

// serve measures the peer and ours, one request after the other.
func (c bearer) serve(ours http.Handler, signed string, status int) map[string]func(*testing.B) {
	return map[string]func(*testing.B){
		"golang-jwt": func(b *testing.B) { serve(b, c.peer, signed, status) },
		"gatewright": func(b *testing.B) { serve(b, ours, signed, status) },
	}
}

// serveParallel measures them with requests on two processors at a time.
func (c bearer) serveParallel(ours http.Handler, signed string) map[string]func(*testing.B) {
	return map[string]func(*testing.B){
		"golang-jwt": func(b *testing.B) { serveParallel(b, c.peer, signed) },
		"gatewright": func(b *testing.B) { serveParallel(b, ours, signed) },
	}
}

func handled(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// forge changes the first character of the signature: every one of its bits
// counts, so the token is well-formed and wrong.
func forge(signed string) string {
	i := strings.LastIndexByte(signed, '.') + 1
	other := "A"
	if signed[i] == 'A' {
		other = "B"
	}
	return signed[:i] + other + signed[i+1:]
}

// serve measures h, after making sure that it answers as it should.
func serve(b *testing.B, h http.Handler, signed string, status int) {
	r := answers(b, h, signed, status)
	b.ReportAllocs()
	w := &sink{header: make(http.Header)}
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// serveParallel is serve on two processors, of a token that is good. Where
// there is one, it says nothing.
func serveParallel(b *testing.B, h http.Handler, signed string) {
	answers(b, h, signed, http.StatusOK)
	inParallel(b, h, func() *http.Request { return request(signed) })
}

// inParallel measures h on two processors, with a request for each goroutine.
func inParallel(b *testing.B, h http.Handler, newRequest func() *http.Request) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := newRequest()
		w := &sink{header: make(http.Header)}
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}

func request(signed string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+signed)
	return r
}

// answers returns a request that h was seen to answer with the status.
func answers(b *testing.B, h http.Handler, signed string, status int) *http.Request {
	r := request(signed)
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	if recorder.Code != status {
		fail(b, "status %d, want %d", recorder.Code, status)
	}
	return r
}

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("bench: %v", err))
	}
	return v
}
