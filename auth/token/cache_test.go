package token_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// counted is a Revoker that nothing is revoked for, and that counts.
type counted struct {
	mu      sync.Mutex
	asked   int
	revoked bool
}

func (c *counted) Revoked(context.Context, *identity.Principal) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.revoked, nil
}

// twin is a verifier that remembers and one that does not.
func twin(t *testing.T, keys token.KeySource, edit ...func(*token.VerifierConfig)) (warm, cold *token.Verifier) {
	t.Helper()
	none := func(c *token.VerifierConfig) { c.CacheSize = -1 }
	return newVerifier(t, keys, edit...), newVerifier(t, keys, append(edit, none)...)
}

// TestCacheHitIsCheckedAgain ends a remembered token in each way there is.
func TestCacheHitIsCheckedAgain(t *testing.T) {
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) {
			t.Run("expired", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := kits()[alg]
					v, _ := twin(t, k.ring)
					s := k.token("exp", later(60))
					wantAccepted(t, serve(v, get("Bearer "+s)))
					time.Sleep(time.Minute - time.Nanosecond)
					wantAccepted(t, serve(v, get("Bearer "+s)))
					time.Sleep(time.Nanosecond)
					wantRefused(t, serve(v, get("Bearer "+s)), token.ErrExpired)
				})
			})
			t.Run("revoked", func(t *testing.T) {
				k, store := kits()[alg], new(counted)
				v, _ := twin(t, k.ring, func(c *token.VerifierConfig) { c.Revoker = store })
				s := k.token()
				for range 3 {
					wantAccepted(t, serve(v, get("Bearer "+s)))
				}
				if store.asked != 3 {
					t.Errorf("the Revoker was asked %d times about 3 requests", store.asked)
				}
				store.revoked = true
				if o := serve(v, get("Bearer "+s)); o.ran || o.status != 401 || !errors.Is(o.events[0].Denial.Err, token.ErrRevoked) {
					t.Errorf("revoked: ran %v, %d %+v", o.ran, o.status, o.events)
				}
				store.revoked = false
				wantAccepted(t, serve(v, get("Bearer "+s)))
			})
			t.Run("of a user who was disabled", func(t *testing.T) {
				k := kits()[alg]
				v, _ := twin(t, k.ring)
				var disabled error
				asked := 0
				hooks := guard.Hooks{Active: func(context.Context, *identity.Principal) error { asked++; return disabled }}
				h := hooks.Identify(v)(hooks.Authenticated(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
				s := k.token()
				for _, c := range []struct {
					err  error
					want int
				}{{nil, 200}, {nil, 200}, {guard.ErrInactive, 401}, {errors.New("the store is down"), 503}, {nil, 200}} {
					disabled = c.err
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, get("Bearer "+s)); w.Code != c.want {
						t.Errorf("Active says %v: answered %d, want %d", c.err, w.Code, c.want)
					}
				}
				if asked != 5 {
					t.Errorf("Active was asked %d times about 5 requests", asked)
				}
			})
			t.Run("of a key that was withdrawn", func(t *testing.T) {
				k := kits()[alg]
				other := mustKey(t, token.EdDSA)
				ring := mustRing(t, k.key, other)
				v, _ := twin(t, ring)
				s := k.token()
				wantAccepted(t, serve(v, get("Bearer "+s)))
				wantAccepted(t, serve(v, get("Bearer "+s)))
				if err := ring.Replace(other); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, serve(v, get("Bearer "+s)), token.ErrKey)
				back := k.key
				back.SignFrom = time.Now().Add(time.Hour)
				if err := ring.Replace(other, back); err != nil {
					t.Fatal(err)
				}
				wantAccepted(t, serve(v, get("Bearer "+s)))
			})
			t.Run("of a key that is retired", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := kits()[alg]
					key := k.key
					key.VerifyUntil = time.Now().Add(time.Minute)
					v, _ := twin(t, mustRing(t, key))
					s := k.token() // for longer than the key
					wantAccepted(t, serve(v, get("Bearer "+s)))
					time.Sleep(time.Minute - time.Nanosecond)
					wantAccepted(t, serve(v, get("Bearer "+s)))
					time.Sleep(time.Nanosecond)
					wantRefused(t, serve(v, get("Bearer "+s)), token.ErrKey)
				})
			})
		})
	}
	t.Run("by a request that ends itself", func(t *testing.T) {
		k := kits()[token.HS256]
		v, _ := twin(t, k.ring)
		s := k.token()
		wantAccepted(t, serve(v, get("Bearer "+s)))
		wantAmbiguous(t, serve(v, httptestGet("/?access_token=x", s)))
	})
}

func httptestGet(target, s string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Authorization", "Bearer "+s)
	return r
}

// TestCacheHitEqualsMiss compares a verifier that remembers with one that does not.
func TestCacheHitEqualsMiss(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		warm, cold := twin(t, k.ring)
		for name, s := range map[string]string{
			"plain":        k.token(),
			"full":         k.token("scope", `"a b"`, "roles", `["r","s"]`, "amr", `["pwd","otp"]`, "sid", `"s"`, "tenant", `"t"`, "auth_time", later(-60), "nbf", later(-1), "x", `{"y":[1]}`),
			"escaped":      k.token("sub", `"\u0061\ud83d\ude00"`),
			"fractions":    k.token("iat", later(-5)+".123456", "exp", later(60)+".5"),
			"ahead":        k.token("iat", later(20), "nbf", later(25)),
			"long":         k.token("x", quoted(strings.Repeat("x", 3000))),
			"2048 or more": k.token("x", quoted(strings.Repeat("x", 1500))),
		} {
			want, err := cold.Verify(t.Context(), s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for range 3 {
				got, err := warm.Verify(t.Context(), s)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %s: %+v, %v; want %+v", alg, name, got, err, want)
				}
				if got, err := warm.Authenticate(get("Bearer " + s)); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %s, of a request: %+v, %v; want %+v", alg, name, got, err, want)
				}
			}
		}
	}
}

// TestCacheHitsShareNoMemory: what a handler does to all that it can reach from its
// Principal changes nothing for the next request, nor for one at the same time.
func TestCacheHitsShareNoMemory(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		v, _ := twin(t, k.ring)
		s := k.token("scope", `"a b"`, "roles", `["r","s"]`, "amr", `["pwd"]`, "plan", `{"tier":"gold"}`)
		want, err := v.Verify(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		type custom struct {
			Plan map[string]string `json:"plan"`
		}
		hooks := guard.Hooks{}
		spoil := func(p *identity.Principal) {
			claims, err := token.ClaimsOf[custom](p)
			if err != nil || claims.Plan["tier"] != "gold" {
				t.Errorf("claims %v, %v", claims, err)
				return
			}
			claims.Plan["tier"] = "lead"
			for _, set := range []*identity.Set{&p.Scopes, &p.Roles, &p.Factors} {
				_ = set.With("admin")
				if err := set.UnmarshalJSON([]byte(`["admin","root"]`)); err != nil {
					t.Error(err)
				}
			}
			value := reflect.ValueOf(p).Elem()
			for i := range value.NumField() {
				value.Field(i).SetZero()
			}
			p.Subject, p.Claims = "admin", `{"sub":"admin"}`
		}
		h := hooks.Identify(v)(hooks.Authenticated(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p, _ := identity.FromContext(r.Context())
			if !reflect.DeepEqual(p, want) {
				t.Errorf("%s: %+v, want %+v", alg, p, want)
			}
			spoil(p)
		})))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 25 {
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, get("Bearer "+s)); w.Code != 200 {
						t.Errorf("answered %d", w.Code)
					}
					p, err := v.Verify(t.Context(), s)
					if err != nil || !reflect.DeepEqual(p, want) {
						t.Errorf("%s: %+v, %v; want %+v", alg, p, err, want)
						return
					}
					spoil(p)
				}
			})
		}
		wg.Wait()
	}
}

// TestReplacedKeysInvalidateTheCache verifies while keys come and go.
func TestReplacedKeysInvalidateTheCache(t *testing.T) {
	a, b := newKit(mustKey(t, token.HS256)), newKit(mustKey(t, token.HS384))
	stays := newKit(mustKey(t, token.EdDSA))
	ring := mustRing(t, stays.key, a.key)
	v, _ := twin(t, ring, func(c *token.VerifierConfig) { c.CacheSize = 8 })
	var tokens []string
	for n := range 6 {
		tokens = append(tokens, stays.token("jti", quoted(fmt.Sprint(n))), a.token("jti", quoted(fmt.Sprint(n))))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s := tokens[i%len(tokens)]
				p, err := v.Verify(t.Context(), s)
				switch {
				case i%len(tokens)%2 == 0 && (err != nil || p.Credential != fmt.Sprint(i%len(tokens)/2)):
					t.Errorf("a token of the key that stays: %v, %v", p, err)
					return
				case err != nil && !errors.Is(err, token.ErrKey):
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 300 {
		keys := []token.Key{stays.key, a.key}
		if n%2 == 0 {
			later := b.key
			later.SignFrom = time.Now().Add(time.Hour)
			keys[1] = later
		} else {
			keys[1].SignFrom = time.Now().Add(time.Hour)
		}
		if err := ring.Replace(keys...); err != nil {
			t.Fatal(err)
		}
		// From the moment that Replace returns.
		if _, err := v.Verify(t.Context(), tokens[1]); (n%2 == 0) != errors.Is(err, token.ErrKey) || n%2 == 1 && err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
	}
	close(stop)
	wg.Wait()
}

// TestVerifiersDoNotShareTheirCaches: a token that one verifier remembers is nothing to another
// one of the same ring.
func TestVerifiersDoNotShareTheirCaches(t *testing.T) {
	k := kits()[token.HS256]
	access := newVerifier(t, k.ring)
	s := k.token()
	for range 2 {
		wantAccepted(t, serve(access, get("Bearer "+s)))
	}
	for want, edit := range map[error]func(*token.VerifierConfig){
		token.ErrAudience: func(c *token.VerifierConfig) { c.Audience = "https://other.example.com" },
		token.ErrIssuer:   func(c *token.VerifierConfig) { c.Issuer = "https://other.example.com" },
		token.ErrType:     func(c *token.VerifierConfig) { c.Type = token.TypeRefresh },
		token.ErrLifetime: func(c *token.VerifierConfig) { c.MaxLifetime = time.Minute },
	} {
		v := newVerifier(t, k.ring, edit)
		for range 2 {
			wantRefused(t, serve(v, get("Bearer "+s)), want)
		}
	}
}

// TestCachedTokenHasOneSpelling edits each byte of tokens that the verifier
// has just seen.
func TestCachedTokenHasOneSpelling(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		v := newVerifier(t, k.ring)
		good := k.token()
		if _, err := v.Verify(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		for at := range good {
			for _, edited := range []string{
				good[:at] + string(good[at]^1) + good[at+1:], good[:at] + string(good[at]^0x20) + good[at+1:], // bits
				good[:at] + good[at+1:], good[:at] + "\n" + good[at:], good[:at] + "A" + good[at:], good[:at], // bytes
			} {
				if edited == good {
					continue
				}
				if p, err := v.Verify(t.Context(), edited); p != nil || !errors.Is(err, token.ErrInvalid) {
					t.Fatalf("%s: %q is taken for %q: %v, %v", alg, edited, good, p, err)
				}
			}
		}
		for _, s := range respellings(good) {
			if p, err := v.Verify(t.Context(), s); p != nil || !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%s: %q is taken for %q: %v, %v", alg, s, good, p, err)
			}
		}
		if _, err := v.Verify(t.Context(), good); err != nil {
			t.Error(err)
		}
	}
}

func heap() uint64 {
	for range 2 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCacheMemoryIsFixed remembers a hundred thousand tokens, of which 256 have
// a place.
func TestCacheMemoryIsFixed(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.CacheSize = 256 })
	now := time.Now().Unix()
	header, filler := b64(k.header()), strings.Repeat("x", 300)
	flood := func(from, to int) {
		for n := from; n < to; n++ {
			s := k.seal(header, b64(fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"s%d","jti":"%d","client_id":%q,"iat":%d,"exp":%d}`,
				issuerName, audience, n, n, filler, now, now+3600)))
			if _, err := v.Verify(context.Background(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	flood(0, 5000)
	before := heap()
	flood(5000, 100_000)
	if after := heap(); after > before+256<<10 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	runtime.KeepAlive(v)
}

func TestCacheSizeIsBounded(t *testing.T) {
	ring := kits()[token.HS256].ring
	config := token.VerifierConfig{Issuer: issuerName, Audience: audience, InsecureNoRevoker: true}
	for size, ok := range map[int]bool{math.MinInt: true, -1: true, 0: true, 1: true, 1 << 20: true, 1<<20 + 1: false} {
		config.CacheSize = size
		_, err := token.NewVerifier(ring, config)
		if ok && err != nil || !ok && (err == nil || !strings.Contains(err.Error(), "Config.CacheSize is 1048577")) {
			t.Errorf("CacheSize %d: %v", size, err)
		}
	}
}

// A repeated token costs the Principal and nothing else. Under the race
// detector sync.Pool forgets at random, but a hit needs none.
func TestCacheHitAllocatesLittle(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Revoker = new(counted) })
		s := k.token("scope", `"a b"`)
		if n := testing.AllocsPerRun(200, func() {
			if _, err := v.Verify(context.Background(), s); err != nil {
				t.Error(err)
			}
		}); n > 1 {
			t.Errorf("%s: Verify takes %v allocations, want at most 1", alg, n)
		}
		any, err := token.NewVerifiers(newVerifier(t, mustRing(t, mustKey(t, token.HS256)), issuedBy(partner)), v)
		if err != nil {
			t.Fatal(err)
		}
		for name, a := range map[string]guard.Authenticator{"a Verifier": v, "Verifiers": any} {
			hooks := guard.Hooks{}
			mux := guard.NewMux(hooks, a)
			mux.Handle("GET /", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(204)
			})))
			r, w := get("Bearer "+s), &writer{header: make(http.Header)}
			if n := testing.AllocsPerRun(200, func() {
				if mux.ServeHTTP(w, r); w.status != 204 {
					t.Error(w.status)
				}
			}); n > 2 {
				t.Errorf("%s: a request through %s takes %v allocations, want at most 2", alg, name, n)
			}
		}
	}
}
