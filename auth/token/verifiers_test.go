package token_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
)

func issuedBy(name string) func(*token.VerifierConfig) {
	return func(c *token.VerifierConfig) { c.Issuer = name }
}

func mustAny(tb testing.TB, verifiers ...*token.Verifier) *token.Verifiers {
	tb.Helper()
	v, err := token.Any(verifiers...)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

const partner = "https://partner.example.com"

// published is a Remote that has fetched the given JWKs.
func published(t *testing.T, jwks ...string) (*token.Remote, *endpoint) {
	t.Helper()
	e := new(endpoint)
	e.says(sends(200, jwkSet, `{"keys":[`+strings.Join(jwks, ",")+`]}`))
	remote := newRemote(t, e)
	if err := remote.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return remote, e
}

func TestAnyMistakesAreJoined(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring)
	_, err := token.Any(v, nil, newVerifier(t, k.ring), new(token.Verifier),
		newVerifier(t, kits()[token.ES256].ring, func(c *token.VerifierConfig) { c.Realm = "other" }))
	for _, want := range []string{"Verifier 1 is nil or zero", "Verifiers 0 and 2 have the same KeySource", "Verifier 3 is nil or zero", "Verifiers 0 and 4 differ in VerifierConfig.Realm"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Any = %v, want it to mention %q", err, want)
		}
	}
	if v, err := token.Any(); v != nil || err == nil || !strings.Contains(err.Error(), "at least one") {
		t.Errorf("Any() = %v, %v", v, err)
	}
}

// TestAny takes the tokens of two issuers, and of no third one.
func TestAny(t *testing.T) {
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs, stranger := kits()[alg], newKit(mustKey(t, token.EdDSA)), newKit(mustKey(t, token.EdDSA))
				remote, e := published(t, jwk(t, theirs, "kid", `"2026"`))
				realm := func(c *token.VerifierConfig) { c.Realm = "api" }
				v := mustAny(t, newVerifier(t, ours.ring, realm), newVerifier(t, remote, realm, issuedBy(partner)))
				if c := v.Challenge(); c.Scheme != "Bearer" || c.Realm != "api" {
					t.Errorf("the challenge is %v", c)
				}
				sealed := func(k *kit, kid, iss string) string {
					return k.raw(k.header("kid", quoted(kid)), payload("iss", quoted(iss)))
				}
				v.Verify(t.Context(), stranger.token())
				time.Sleep(31 * time.Second)
				v.Verify(t.Context(), stranger.token())
				synctest.Wait()
				for range 2 { // the second time it is remembered
					for name, c := range map[string]struct {
						token, issuer string
						why           error
					}{
						"ours":                              {ours.token(), issuerName, nil},
						"theirs":                            {sealed(theirs, "2026", partner), partner, nil},
						"theirs, in our name":               {sealed(theirs, "2026", issuerName), "", token.ErrIssuer},
						"ours, in their name":               {sealed(ours, ours.kid, partner), "", token.ErrIssuer},
						"theirs, with the ID of our key":    {sealed(theirs, ours.kid, partner), "", token.ErrInvalid},
						"theirs, in our name, with our ID":  {sealed(theirs, ours.kid, issuerName), "", token.ErrInvalid},
						"ours, with the ID of their key":    {sealed(ours, "2026", issuerName), "", token.ErrInvalid},
						"a stranger's":                      {stranger.token(), "", token.ErrKey}, // after a fetch
						"a stranger's, with our ID":         {sealed(stranger, ours.kid, issuerName), "", token.ErrInvalid},
						"a stranger's, with their ID":       {sealed(stranger, "2026", partner), "", token.ErrSignature},
						"without an ID":                     {ours.headed("kid", ""), "", token.ErrKey},
						"with an ID that is a number":       {ours.headed("kid", "1"), "", token.ErrMalformed},
						"with two IDs":                      {ours.raw(strings.Replace(ours.header(), `"kid"`, `"kid":"2026","kid"`, 1), payload()), "", token.ErrMalformed},
						"with a long header":                {ours.headed("x", quoted(strings.Repeat("x", 1024))), "", token.ErrMalformed},
						"with a line break in the header":   {"\n" + ours.token(), "", token.ErrMalformed},
						"junk":                              {"junk", "", token.ErrMalformed},
						"dots":                              {"...", "", token.ErrMalformed},
						"nothing":                           {"", "", token.ErrMalformed},
						"of ours for something else":        {ours.headed("typ", `"rt+jwt"`), "", token.ErrType},
						"of ours that has expired":          {ours.token("exp", later(-1), "iat", later(-9)), "", token.ErrExpired},
						"of ours with another of our names": {sealed(ours, ours.kid, issuerName+"/"), "", token.ErrIssuer},
					} {
						p, err := v.Verify(t.Context(), c.token)
						if c.why != nil {
							if p != nil || !errors.Is(err, c.why) || !errors.Is(err, token.ErrInvalid) {
								t.Errorf("%s: %v, %v; want %v", name, p, err, c.why)
							}
							if _, err := v.Authenticate(get("Bearer " + c.token)); err == nil {
								t.Errorf("%s is let in", name)
							}
							continue
						}
						if err != nil || p.Issuer != c.issuer {
							t.Errorf("%s: %v, %v; want somebody of %s", name, p, err, c.issuer)
						}
						if p, err := v.Authenticate(get("Bearer " + c.token)); err != nil || p.Issuer != c.issuer {
							t.Errorf("%s: Authenticate = %v, %v", name, p, err)
						}
					}
				}
				if n := e.calls.Load(); n != 2 {
					t.Errorf("%d requests within two Cooldowns, want 2", n)
				}

				hooks := guard.Hooks{}
				mux := guard.NewMux(hooks, v)
				mux.Handle("GET /", hooks.Authenticated(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
				for line, want := range map[string]int{"": 401, "Bearer " + ours.token(): 200, "Bearer junk": 401, "Bearer " + sealed(theirs, "2026", partner): 200} {
					w := httptest.NewRecorder()
					r := get()
					if line != "" {
						r = get(line)
					}
					mux.ServeHTTP(w, r)
					if w.Code != want || want == 401 && len(w.Header()["Www-Authenticate"]) != 1 {
						t.Errorf("%.20s: answered %d, challenges %q; want %d and one", line, w.Code, w.Header()["Www-Authenticate"], want)
					}
				}
			})
		})
	}
}

// TestAnyWithClashingIDs: two issuers call their keys alike. The first one's
// tokens are taken, and the other's are refused and never mixed up.
func TestAnyWithClashingIDs(t *testing.T) {
	for _, alg := range []token.Algorithm{token.EdDSA, token.ES256} { // the same and another one
		synctest.Test(t, func(t *testing.T) {
			a, b := newKit(mustKey(t, token.EdDSA)), newKit(mustKey(t, alg))
			first, e := published(t, jwk(t, a, "kid", `"1"`))
			second, _ := published(t, jwk(t, b, "kid", `"1"`))
			v := mustAny(t, newVerifier(t, first), newVerifier(t, second, issuedBy(partner)))
			try := func(k *kit, iss string) error {
				_, err := v.Verify(t.Context(), k.raw(k.header("kid", `"1"`), payload("iss", quoted(iss))))
				return err
			}
			if err := try(a, issuerName); err != nil {
				t.Error(err)
			}
			for name, err := range map[string]error{
				"of a as b": try(a, partner), "of b": try(b, partner), "of b as a": try(b, issuerName),
			} {
				if !errors.Is(err, token.ErrInvalid) {
					t.Errorf("a token %s: %v", name, err)
				}
			}
			// The first withdraws its own, and the name is the second's.
			// Who asks for it is answered before.
			e.says(after(time.Second, sends(200, jwkSet, `{"keys":[`+jwk(t, a)+`]}`)))
			time.Sleep(5 * time.Minute)
			if err := try(a, issuerName); err != nil { // fetches
				t.Error(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if err := try(b, partner); err != nil {
				t.Error(err)
			}
			for name, err := range map[string]error{
				"of a": try(a, issuerName), "of a as b": try(a, partner), "of b as a": try(b, issuerName),
			} {
				if !errors.Is(err, token.ErrInvalid) {
					t.Errorf("a token %s: %v", name, err)
				}
			}
		})
	}
}

// TestAnyInAnOutage: one issuer's outage is no matter for the other's tokens,
// and an ID that nobody has is no verdict while one of them cannot know.
func TestAnyInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := kits()[token.ES256], kits()[token.EdDSA]
		e := new(endpoint)
		e.says(isDown)
		v := mustAny(t, newVerifier(t, newRemote(t, e), issuedBy(partner)), newVerifier(t, ours.ring))
		verify := func(s string) error {
			_, err := v.Verify(t.Context(), s)
			return err
		}
		for range 3 {
			if err := verify(ours.token()); err != nil {
				t.Error(err)
			}
			if err := verify(theirs.token()); err == nil || errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), "finding the keys of the issuers") {
				t.Errorf("an ID that nobody has: %v, want no verdict", err)
			}
			_, err := v.Authenticate(get("Bearer " + theirs.token()))
			if d, ok := errors.AsType[*guard.Denial](err); !ok || d.Status != 503 {
				t.Errorf("Authenticate = %v, want a 503 that says when to come back", err)
			}
			for _, s := range []string{"junk", ours.headed("kid", "")} {
				if err := verify(s); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%.20q: %v, want a verdict: no key would help", s, err)
				}
			}
			time.Sleep(10 * time.Second)
		}
		e.says(serves(theirs.ring.JWKSHandler()))
		time.Sleep(30 * time.Second)
		verify(theirs.token())
		synctest.Wait()
		if err := verify(theirs.raw(theirs.header(), payload("iss", quoted(partner)))); err != nil {
			t.Error(err)
		}
		stranger := newKit(mustKey(t, token.EdDSA)).token()
		if err := verify(stranger); err == nil || errors.Is(err, token.ErrInvalid) {
			t.Errorf("an ID that nobody has: %v", err)
		}
		time.Sleep(30 * time.Second)
		verify(stranger)
		synctest.Wait()
		if err := verify(stranger); err != token.ErrKey {
			t.Errorf("an ID that nobody has, after a fetch: %v", err)
		}
	})
}

// TestAnyRevoker asks the Revoker of the one whose token it is.
func TestAnyRevoker(t *testing.T) {
	a, b := kits()[token.ES256], kits()[token.EdDSA]
	ra, rb := new(counted), &counted{revoked: true}
	v := mustAny(t, newVerifier(t, a.ring, func(c *token.VerifierConfig) { c.Revoker = ra }), newVerifier(t, b.ring, func(c *token.VerifierConfig) { c.Revoker = rb }))
	for range 2 {
		if _, err := v.Verify(t.Context(), a.token()); err != nil {
			t.Error(err)
		}
		_, err := v.Authenticate(get("Bearer " + b.token()))
		if d, ok := errors.AsType[*guard.Denial](err); !ok || d.Status != 401 || d.Event != "" {
			t.Errorf("a revoked token: %v", err)
		}
	}
	if ra.asked != 2 || rb.asked != 2 {
		t.Errorf("asked %d and %d times, want 2 each", ra.asked, rb.asked)
	}
}

func TestAnyConcurrently(t *testing.T) {
	a, b := newKit(mustKey(t, token.HS256)), newKit(mustKey(t, token.EdDSA))
	v := mustAny(t, newVerifier(t, a.ring), newVerifier(t, b.ring))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 60 {
				k := []*kit{a, b}[(g+n)%2]
				id := fmt.Sprintf("%d-%d", g, n)
				// Ever new headers: more than are remembered.
				p, err := v.Verify(context.Background(), k.raw(k.header("n", quoted(id)), payload("jti", quoted(id))))
				if err != nil || p.Credential != id {
					t.Errorf("Verify = %v, %v; want %s", p, err, id)
				}
			}
		})
	}
	wg.Wait()
}
