package token_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// benched is a usual token: two scopes, a session, a role.
func benched(b *testing.B, alg token.Algorithm, edit ...func(*token.VerifierConfig)) (*token.Issuer, *token.Verifier, string) {
	k := kits()[alg]
	i := newIssuer(b, k.ring)
	return i, newVerifier(b, k.ring, edit...), issue(b, i, identity.Principal{
		Session: "s-1", Scopes: identity.NewSet("read:items", "write:items"), Roles: identity.NewSet("member"),
	}, nil)
}

// forgetful is a verifier that sees each token for the first time.
func forgetful(c *token.VerifierConfig) { c.CacheSize = -1 }

func BenchmarkVerify(b *testing.B) {
	for _, alg := range append(everyday, token.PS256) {
		_, v, good := benched(b, alg, forgetful)
		last := strings.LastIndexByte(good, '.') + 1
		signature, err := decode(good[last:])
		if err != nil {
			b.Fatal(err)
		}
		signature[len(signature)-1] ^= 1
		for name, s := range map[string]string{"good": good, "bad signature": good[:last] + b64(signature)} {
			b.Run(string(alg)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(context.Background(), s); (err == nil) != (name == "good") {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(string(alg)+"/good, parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := v.Verify(context.Background(), good); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	k := kits()[token.HS256]
	v := newVerifier(b, k.ring)
	for name, s := range map[string]string{
		"1 MiB":         strings.Repeat("x", 1<<20),
		"million dots":  strings.Repeat(".", 1e6),
		"8000 dots":     strings.Repeat(".", 8000),
		"8 KiB claims":  b64(k.header()) + "." + strings.Repeat("A", 8000) + ".AAAA",
		"unknown kid":   k.headed("kid", `"x"`),
		"worst header":  unsigned(k.headed("x", worst(600))) + "." + b64(make([]byte, 32)),
		"header 64 KiB": b64(strings.Repeat("[", 49152)) + ".e30.AAAA",
	} {
		b.Run("junk/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(context.Background(), s); err == nil {
					b.Fatal("taken")
				}
			}
		})
	}
}

// worst is JSON of about n bytes that makes the strict reader compare names as
// often as can be.
func worst(n int) string {
	var members []string
	for c := 'ā'; len(members) < 64 && len(strings.Join(members, ",")) < n; c += 3 {
		members = append(members, string(c), "0")
	}
	return jsonObject(nil, members)
}

func BenchmarkMiddleware(b *testing.B) {
	for _, alg := range everyday {
		_, v, good := benched(b, alg, forgetful)
		hooks := guard.Hooks{Observe: func(context.Context, guard.Event) {}}
		mux := guard.NewMux(hooks, v)
		mux.Handle("GET /", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })))
		for name, c := range map[string]struct {
			line   string
			status int
		}{
			"good":    {"Bearer " + good, 204},
			"refused": {"Bearer " + unsigned(good) + ".AAAA", 401},
		} {
			b.Run(string(alg)+"/"+name, func(b *testing.B) {
				r := get(c.line)
				w := &writer{header: make(http.Header)}
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					if mux.ServeHTTP(w, r); w.status != c.status {
						b.Fatal(w.status)
					}
				}
			})
		}
	}
}

// BenchmarkRepeat is a caller who comes again, through all of guard. The target
// is 0.4 µs and 2 allocations for every algorithm.
func BenchmarkRepeat(b *testing.B) {
	for _, alg := range append(everyday, "several issuers") {
		var a guard.Authenticator
		var good string
		if alg == "several issuers" {
			_, other, _ := benched(b, token.EdDSA, issuedBy(partner))
			_, v, s := benched(b, token.ES256)
			all, err := token.NewVerifiers(other, v)
			if err != nil {
				b.Fatal(err)
			}
			a, good = all, s
		} else {
			_, a, good = benched(b, alg)
		}
		hooks := guard.Hooks{}
		h := hooks.Identify(a)(hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })))
		b.Run(string(alg), func(b *testing.B) {
			r, w := get("Bearer "+good), &writer{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				if h.ServeHTTP(w, r); w.status != 204 {
					b.Fatal(w.status)
				}
			}
		})
		b.Run(string(alg)+", parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r, w := get("Bearer "+good), &writer{header: make(http.Header)}
				for pb.Next() {
					if h.ServeHTTP(w, r); w.status != 204 {
						b.Error(w.status)
						return
					}
				}
			})
		})
	}
}

// BenchmarkSharing asks whether callers who come again at the same time hold one
// another up: those of one Verifier, beside those who share nothing at all. The
// two should cost the same, with -cpu 1,2 and with more.
func BenchmarkSharing(b *testing.B) {
	for _, alg := range everyday {
		_, shared, good := benched(b, alg)
		for name, of := range map[string]func() (*token.Verifier, string){
			"one Verifier": func() (*token.Verifier, string) { return shared, good },
			"one for each": func() (*token.Verifier, string) { _, v, s := benched(b, alg); return v, s },
		} {
			b.Run(string(alg)+", "+name, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					v, s := of()
					r := get("Bearer " + s)
					for pb.Next() {
						if _, err := v.Authenticate(r); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// BenchmarkFlood is ever new tokens, each of which takes another's place.
func BenchmarkFlood(b *testing.B) {
	for name, edit := range map[string]func(*token.VerifierConfig){"remembered": func(*token.VerifierConfig) {}, "not remembered": forgetful} {
		i, v, _ := benched(b, token.HS256, edit)
		tokens := make([]string, 20_000) // five times the cache
		for n := range tokens {
			tokens[n] = issue(b, i, identity.Principal{Subject: fmt.Sprint("user", n), Scopes: identity.NewSet("read:items", "write:items")}, nil)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if _, err := v.Verify(context.Background(), tokens[n%len(tokens)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// writer is a ResponseWriter that costs nothing.
type writer struct {
	header http.Header
	status int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(p []byte) (int, error) { return len(p), nil }
func (w *writer) WriteHeader(status int)      { w.status = status }

func BenchmarkIssue(b *testing.B) {
	for _, alg := range append(everyday, token.PS256) {
		i, _, _ := benched(b, alg)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p := identity.Principal{Subject: "alice", Session: "s-1", Scopes: identity.NewSet("read:items", "write:items")}
				if _, err := i.Issue(context.Background(), &p, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkForm(b *testing.B) {
	_, v, good := benched(b, token.HS256)
	body := strings.Repeat("a=%41&", 10000)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+good)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if _, err := v.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnknownKey is the flood of a stranger: key IDs that the other issuer
// does not have.
func BenchmarkUnknownKey(b *testing.B) {
	k := kits()[token.ES256]
	up, down := new(endpoint), new(endpoint)
	up.says(serves(k.ring.JWKSHandler()))
	down.says(isDown)
	s := k.headed("kid", `"unknown"`)
	for name, e := range map[string]*endpoint{"up": up, "down": down} {
		remote := newRemote(b, e)
		remote.Fetch(context.Background())
		v := newVerifier(b, remote)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := v.Verify(context.Background(), s); err == nil {
						b.Error("taken")
						return
					}
				}
			})
		})
	}
}
