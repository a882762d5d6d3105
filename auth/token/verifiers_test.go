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
	v, err := token.NewVerifiers(verifiers...)
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

func TestMistakesOfNewVerifiersAreJoined(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring)
	header := func(c *token.VerifierConfig) { c.Header, c.Issuer = "X-Token", "c" }
	noIssuer := func(c *token.VerifierConfig) { c.Profile.NoIssuer, c.Profile.SubjectPrefix = true, "spiffe://a/" }
	_, err := token.NewVerifiers(v, nil, v, new(token.Verifier),
		newVerifier(t, kits()[token.ES256].ring, issuedBy("b"), func(c *token.VerifierConfig) { c.Realm = "other" }),
		newVerifier(t, k.ring, header), newVerifier(t, k.ring, noIssuer), newVerifier(t, k.ring, noIssuer))
	for _, want := range []string{"Verifier 1 is nil or zero", "Verifier 2 is Verifier 0 once more", "Verifier 3 is nil or zero", "Verifiers 0 and 4 differ in VerifierConfig.Realm",
		`Verifiers 0 and 5 differ in VerifierConfig.Header, "" and "X-Token"`, "Verifier 7 is the second one with Profile.NoIssuer"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewVerifiers = %v, want it to mention %q", err, want)
		}
	}
	if v, err := token.NewVerifiers(); v != nil || err == nil || !strings.Contains(err.Error(), "at least one") {
		t.Errorf("NewVerifiers() = %v, %v", v, err)
	}
}

// TestIssuerChoosesTheVerifier: the tokens of two issuers are accepted, each by
// its own keys and settings, and those of no third one.
func TestIssuerChoosesTheVerifier(t *testing.T) {
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
				sealed := func(k *kit, kid, iss string, more ...string) string {
					return k.raw(k.header("kid", quoted(kid)), payload(append(more, "iss", quoted(iss))...))
				}
				for range 2 { // the second time it is remembered
					for name, c := range map[string]struct {
						token, issuer string
						why           error
					}{
						"ours":                              {ours.token(), issuerName, nil},
						"theirs":                            {sealed(theirs, "2026", partner), partner, nil},
						"theirs, in our name":               {sealed(theirs, "2026", issuerName), "", token.ErrKey},
						"ours, in their name":               {sealed(ours, "2026", partner), "", token.ErrInvalid},
						"theirs, with the ID of our key":    {sealed(theirs, ours.kid, issuerName), "", token.ErrInvalid},
						"ours, with the ID of their key":    {sealed(ours, "2026", issuerName), "", token.ErrKey},
						"a stranger's, with our ID":         {sealed(stranger, ours.kid, issuerName), "", token.ErrInvalid},
						"a stranger's, with their ID":       {sealed(stranger, "2026", partner), "", token.ErrSignature},
						"of a third issuer":                 {sealed(theirs, "2026", "https://third.example.com"), "", token.ErrIssuer},
						"without an issuer":                 {ours.token("iss", ""), "", token.ErrIssuer},
						"with an issuer that is a number":   {ours.token("iss", "1"), "", token.ErrMalformed},
						"with two issuers":                  {ours.raw(ours.header(), `{"iss":`+quoted(partner)+","+payload()[1:]), "", token.ErrMalformed},
						"with an issuer in another case":    {ours.raw(ours.header(), `{"ISS":`+quoted(partner)+","+payload()[1:]), "", token.ErrMalformed},
						"without an ID":                     {ours.headed("kid", ""), "", token.ErrKey},
						"with an ID that is a number":       {ours.headed("kid", "1"), "", token.ErrMalformed},
						"with a long header":                {ours.headed("x", quoted(strings.Repeat("x", 1024))), "", token.ErrMalformed},
						"with a line break in the header":   {"\n" + ours.token(), "", token.ErrMalformed},
						"junk":                              {"junk", "", token.ErrMalformed},
						"dots":                              {"...", "", token.ErrMalformed},
						"nothing":                           {"", "", token.ErrMalformed},
						"claims that are no JSON":           {ours.raw(ours.header(), "x"), "", token.ErrMalformed},
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
				if n := e.calls.Load(); n != 1 {
					t.Errorf("%d requests for keys that are known, want 1", n)
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

// TestIssuersMayShareKeyIDs: key IDs of two issuers have nothing to do with one
// another.
func TestIssuersMayShareKeyIDs(t *testing.T) {
	for _, alg := range []token.Algorithm{token.EdDSA, token.ES256} { // the same and another one
		synctest.Test(t, func(t *testing.T) {
			a, b := newKit(mustKey(t, token.EdDSA)), newKit(mustKey(t, alg))
			first, _ := published(t, jwk(t, a, "kid", `"1"`))
			second, _ := published(t, jwk(t, b, "kid", `"1"`))
			v := mustAny(t, newVerifier(t, first), newVerifier(t, second, issuedBy(partner)))
			try := func(k *kit, iss string) error {
				_, err := v.Verify(t.Context(), k.raw(k.header("kid", `"1"`), payload("iss", quoted(iss))))
				return err
			}
			if err := errors.Join(try(a, issuerName), try(b, partner)); err != nil {
				t.Error(err)
			}
			for name, err := range map[string]error{"of a as b": try(a, partner), "of b as a": try(b, issuerName)} {
				if !errors.Is(err, token.ErrInvalid) {
					t.Errorf("a token %s: %v", name, err)
				}
			}
		})
	}
}

// TestOneKeySourceMayServeTwoIssuers: issuers of one provider have their keys in
// one set.
func TestOneKeySourceMayServeTwoIssuers(t *testing.T) {
	k := kits()[token.ES256]
	v := mustAny(t, newVerifier(t, k.ring), newVerifier(t, k.ring, issuedBy(partner)))
	for _, iss := range []string{issuerName, partner} {
		if p, err := v.Verify(t.Context(), k.token("iss", quoted(iss))); err != nil || p.Issuer != iss {
			t.Errorf("%s: %v, %v", iss, p, err)
		}
	}
}

// TestVerifiersOfOneIssuerAreToldApart: by one claim or by the type, and never by
// trying one after the other.
func TestVerifiersOfOneIssuerAreToldApart(t *testing.T) {
	k := kits()[token.ES256]
	use := func(values ...any) func(*token.VerifierConfig) {
		return func(c *token.VerifierConfig) {
			c.Profile.Require = append(c.Profile.Require, token.Condition{Claim: token.Path{"token_use"}, Is: values})
			c.Profile.Roles = []token.Grant{{Claim: token.Path{"roles"}, Names: map[string]string{"r": fmt.Sprint(values[0])}}}
		}
	}
	types := func(types ...string) func(*token.VerifierConfig) {
		return func(c *token.VerifierConfig) { c.Profile.Types = types }
	}
	noType := func(c *token.VerifierConfig) { c.Profile.NoType = true; c.Profile.Types = []string{"x+jwt"} }
	client := func(id string) func(*token.VerifierConfig) {
		return func(c *token.VerifierConfig) { c.Profile.AudienceClaim, c.Audience = token.Path{"client_id"}, id }
	}
	for name, c := range map[string]struct {
		a, b func(*token.VerifierConfig)
		ok   bool
	}{
		"by a claim":                         {use("access"), use("id"), true},
		"by several values":                  {use("access", "machine"), use("id", true), true},
		"by values of different types":       {use("true"), use(true), true},
		"by values one of which is in both":  {use("access", "id"), use("id"), false},
		"by a claim that one does not name":  {use("access"), types("JWT"), true}, // by the type, then
		"by a claim of one only":             {use("access"), func(*token.VerifierConfig) {}, false},
		"by nothing":                         {func(*token.VerifierConfig) {}, func(*token.VerifierConfig) {}, false},
		"by the type":                        {types("JWT"), types("at+jwt"), true},
		"by the type, in another case":       {types("JWT"), types("jwt"), false},
		"by a type or none":                  {types("JWT"), noType, true},
		"by none twice":                      {noType, noType, false},
		"by a claim that is the audience":    {client("a"), client("b"), true},
		"by a claim that is one audience":    {client("a"), client("a"), false},
		"by an audience that may be several": {func(c *token.VerifierConfig) { c.Audience = "a" }, func(c *token.VerifierConfig) { c.Audience = "b" }, false},
	} {
		_, err := token.NewVerifiers(newVerifier(t, k.ring, c.a), newVerifier(t, k.ring, c.b))
		if (err == nil) != c.ok {
			t.Errorf("told apart %s: %v, want ok %v", name, err, c.ok)
		}
	}
	v := mustAny(t, newVerifier(t, k.ring, use("access")), newVerifier(t, k.ring, use("id")), newVerifier(t, k.ring, issuedBy(partner)))
	for value, want := range map[string]string{`"access"`: "access", `"id"`: "id", `"other"`: "", `["access"]`: "", `true`: "", `null`: ""} {
		p, err := v.Verify(t.Context(), k.token("token_use", value, "roles", `["r"]`))
		if want == "" && !errors.Is(err, token.ErrClaim) || want != "" && (err != nil || p.Roles.String() != want) {
			t.Errorf("token_use %s: %v, %v; want the rules of %q", value, p, err, want)
		}
	}
	v = mustAny(t, newVerifier(t, k.ring, types("JWT")), newVerifier(t, k.ring, types("x+jwt")))
	for value, ok := range map[string]bool{`"JWT"`: true, `"jwt"`: true, `"x+jwt"`: true, `"at+jwt"`: false, "": false, "7": false} {
		if _, err := v.Verify(t.Context(), k.headed("typ", value)); (err == nil) != ok || err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("typ %s: %v", value, err)
		}
	}
}

// TestOutageOfOneIssuerIsNoMatterForOthers: a token that names the issuer whose
// keys cannot be known is no verdict, and all others are decided.
func TestOutageOfOneIssuerIsNoMatterForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := kits()[token.ES256], kits()[token.EdDSA]
		e := new(endpoint)
		e.says(isDown)
		v := mustAny(t, newVerifier(t, newRemote(t, e), issuedBy(partner)), newVerifier(t, ours.ring))
		of := func(k *kit) string { return k.token("iss", quoted(partner)) }
		verify := func(s string) error {
			_, err := v.Verify(t.Context(), s)
			return err
		}
		for range 3 {
			if err := verify(ours.token()); err != nil {
				t.Error(err)
			}
			if err := verify(of(theirs)); err == nil || errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), "finding the keys of") {
				t.Errorf("a token of the issuer: %v, want no verdict", err)
			}
			_, err := v.Authenticate(get("Bearer " + of(theirs)))
			if d := guard.DenialOf(t.Context(), err); d.Status != 503 {
				t.Errorf("Authenticate = %v, want a 503 that says when to come back", err)
			}
			for _, s := range []string{"junk", ours.headed("kid", ""), theirs.token(), theirs.token("iss", quoted(partner), "exp", later(-1), "iat", later(-9)), theirs.token("iss", quoted(partner), "aud", `"x"`)} {
				if err := verify(s); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%.20q: %v, want a verdict: no key would help", s, err)
				}
			}
			time.Sleep(10 * time.Second)
		}
		e.says(serves(theirs.ring.JWKSHandler()))
		time.Sleep(30 * time.Second)
		verify(of(theirs))
		synctest.Wait()
		if err := verify(of(theirs)); err != nil {
			t.Error(err)
		}
	})
}

// TestRevokerIsThatOfTheChosenVerifier also for tokens that are remembered.
func TestRevokerIsThatOfTheChosenVerifier(t *testing.T) {
	a, b := kits()[token.ES256], kits()[token.EdDSA]
	ra, rb := new(counted), &counted{revoked: true}
	v := mustAny(t, newVerifier(t, a.ring, func(c *token.VerifierConfig) { c.Revoker = ra }), newVerifier(t, b.ring, issuedBy(partner), func(c *token.VerifierConfig) { c.Revoker = rb }))
	theirs := b.token("iss", quoted(partner))
	for range 2 {
		if _, err := v.Verify(t.Context(), a.token()); err != nil {
			t.Error(err)
		}
		_, err := v.Authenticate(get("Bearer " + theirs))
		if d, ok := errors.AsType[*guard.Denial](err); !ok || d.Status != 401 || d.Event != "" {
			t.Errorf("a revoked token: %v", err)
		}
	}
	if ra.asked != 2 || rb.asked != 2 {
		t.Errorf("asked %d and %d times, want 2 each", ra.asked, rb.asked)
	}
}

func TestVerifiersAreSafeForConcurrentUse(t *testing.T) {
	a, b := newKit(mustKey(t, token.HS256)), newKit(mustKey(t, token.EdDSA))
	v := mustAny(t, newVerifier(t, a.ring), newVerifier(t, b.ring, issuedBy(partner)))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 60 {
				k, iss := a, issuerName
				if (g+n)%2 == 1 {
					k, iss = b, partner
				}
				id := fmt.Sprintf("%d-%d", g, n)
				// Ever new headers: more than are remembered.
				p, err := v.Verify(context.Background(), k.raw(k.header("n", quoted(id)), payload("jti", quoted(id), "iss", quoted(iss))))
				if err != nil || p.Credential != id {
					t.Errorf("Verify = %v, %v; want %s", p, err, id)
				}
			}
		})
	}
	wg.Wait()
}
