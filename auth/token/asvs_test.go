package token_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/token"
)

// The requirements of OWASP ASVS 5.0.0 on self-contained tokens, one test each.

func TestASVS9_1_1TheSignatureComesFirst(t *testing.T) {
	// The claims would be refused for other reasons, were they looked at.
	refuses(t, token.ErrSignature,
		func(k *kit) string { return unsigned(k.token("exp", "1")) + ".AAAA" },
		func(k *kit) string { return unsigned(k.raw(k.header(), "not JSON")) + ".AAAA" })
}

func TestASVS9_1_2AlgorithmsAreAllowedByKey(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		for _, other := range append([]token.Algorithm{"none", "None"}, algorithms...) {
			if other != alg {
				wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+k.headed("alg", quoted(string(other))))), token.ErrAlgorithm)
			}
		}
	}
	if _, err := token.NewRemote(token.RemoteConfig{URL: jwksURL, Algorithms: []token.Algorithm{token.ES256, token.HS256}}); err == nil {
		t.Error("secrets of another issuer are accepted")
	}
}

func TestASVS9_1_3KeysComeFromTheConfiguration(t *testing.T) {
	var calls atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer evil.Close()
	refuses(t, token.ErrMalformed, heading("jku", quoted(evil.URL)), heading("x5u", quoted(evil.URL)), heading("jwk", `{"kty":"oct","k":"AAAA"}`), heading("x5c", `["MIIB"]`))
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestASVS9_2_1OnlyWithinTheirTime(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		synctest.Test(t, func(t *testing.T) {
			v, s := newVerifier(t, k.ring), k.token("nbf", later(60), "exp", later(120))
			wantRefused(t, serve(v, get("Bearer "+s)), token.ErrTooEarly)
			time.Sleep(time.Minute)
			wantAccepted(t, serve(v, get("Bearer "+s)))
			time.Sleep(time.Minute)
			wantRefused(t, serve(v, get("Bearer "+s)), token.ErrExpired)
		})
	})
	refuses(t, token.ErrMalformed, claiming("exp", ""))
}

func TestASVS9_2_2OnlyTheRightType(t *testing.T) {
	refuses(t, token.ErrType, heading("typ", `"JWT"`), heading("typ", `"rt+jwt"`), heading("typ", ""))
}

func TestASVS9_2_3OnlyForThisAudience(t *testing.T) {
	refuses(t, token.ErrAudience, claiming("aud", `"https://other.example"`), claiming("aud", `[]`), claiming("aud", ""))
}

func TestASVS9_2_4IssuedTokensNameTheirAudience(t *testing.T) {
	k := kits()[token.ES256]
	if _, claims := issued(t, k); claims["aud"] != audience {
		t.Errorf("the claims are %v", claims)
	}
	if _, err := token.NewIssuer(k.ring, token.IssuerConfig{Issuer: issuerName}); err == nil {
		t.Error("an Issuer of tokens for everybody was made")
	}
}
