package guard_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// trivial is an authenticator that costs the allocation of a Principal.
func trivial() guard.Authenticator {
	return &authenticator{
		challenge: guard.Challenge{Scheme: "Bearer", Realm: "api"},
		authenticate: func(*http.Request) (*identity.Principal, error) {
			return &identity.Principal{Issuer: "tokens", Subject: "ada"}, nil
		},
	}
}

func anonymous() guard.Authenticator {
	return &authenticator{
		challenge:    guard.Challenge{Scheme: "Bearer", Realm: "api"},
		authenticate: func(*http.Request) (*identity.Principal, error) { return nil, guard.ErrNoCredentials },
	}
}

func benchmark(b *testing.B, h http.Handler) {
	b.ReportAllocs()
	w, r := &discard{http.Header{}}, httptest.NewRequest("GET", "/", nil)
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func benchmarkParallel(b *testing.B, h http.Handler) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w, r := &discard{http.Header{}}, httptest.NewRequest("GET", "/", nil)
		for pb.Next() {
			h.ServeHTTP(w, r)
		}
	})
}

func BenchmarkIdentifyAnonymous(b *testing.B) {
	benchmark(b, guard.Hooks{}.Identify(anonymous())(nothing))
}

func BenchmarkIdentifyAnonymousParallel(b *testing.B) {
	benchmarkParallel(b, guard.Hooks{}.Identify(anonymous())(nothing))
}

func BenchmarkIdentify(b *testing.B) {
	benchmark(b, guard.Hooks{}.Identify(trivial())(nothing))
}

func BenchmarkIdentifyParallel(b *testing.B) {
	benchmarkParallel(b, guard.Hooks{}.Identify(trivial())(nothing))
}

// BenchmarkAuthenticated is the guard alone, in the context that Identify
// leaves behind.
func BenchmarkAuthenticated(b *testing.B) {
	b.ReportAllocs()
	guard.Hooks{}.Identify(trivial())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := guard.Hooks{}.Authenticated(nothing)
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})).ServeHTTP(&discard{http.Header{}}, httptest.NewRequest("GET", "/", nil))
}

func BenchmarkRefuse(b *testing.B) {
	hooks := guard.Hooks{}
	benchmark(b, hooks.Identify(anonymous())(hooks.Authenticated(nothing)))
}

func BenchmarkChallengeString(b *testing.B) {
	b.ReportAllocs()
	c := guard.Challenge{Scheme: "Bearer", Realm: "api", Error: guard.CodeInsufficientScope,
		Scope: identity.NewSet("read:items", "write:items"), ResourceMetadata: "https://api.example/.well-known/oauth-protected-resource"}
	for b.Loop() {
		_ = c.String()
	}
}

// BenchmarkObserveHostile is the audit event of a request made of control
// characters.
func BenchmarkObserveHostile(b *testing.B) {
	b.ReportAllocs()
	r := httptest.NewRequest("GET", "/", nil)
	r.URL.Path = dirty["long with line breaks"]
	r.Header.Set("User-Agent", dirty["very long"])
	hooks := guard.Hooks{Observe: new(events).count}
	for b.Loop() {
		hooks.Emit(r, guard.Event{Name: guard.EventLoginFail, Login: dirty["invalid UTF-8"]})
	}
}
