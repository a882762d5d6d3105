package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// The clauses of RFC 7517, RFC 7638, RFC 7518 and RFC 8017 about keys, one test
// each. The many variants are in TestPublishedKeysAreUsedOrLeftOut and row 20 of the attack corpus, the
// published vectors in the tests of keys.

// takes reports whether a Remote takes a published key: whether a token of k,
// whose kid it has, is let in. A good key stands beside it.
func takes(t *testing.T, published string, k *kit) (taken bool) {
	t.Helper()
	beside := newKit(mustKey(t, token.EdDSA))
	synctest.Test(t, func(t *testing.T) {
		e := new(endpoint)
		e.says(sends(200, jwkSet, `{"keys":[`+published+`,`+jwk(t, beside)+`]}`))
		remote := newRemote(t, e)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, remote)
		wantAccepted(t, bearer(v, beside.token()))
		o := bearer(v, k.token())
		if taken = o.ran; !taken {
			wantUnavailable(t, o)
			wantNoKey(t, v, k.token("exp", later(3600)))
		}
	})
	return taken
}

func wantTaken(t *testing.T, published string, k *kit) {
	t.Helper()
	if !takes(t, published, k) {
		t.Errorf("%s was not taken", published)
	}
}

func wantNotTaken(t *testing.T, published string, k *kit) {
	t.Helper()
	if takes(t, published, k) {
		t.Errorf("%s was taken", published)
	}
}

// publishedKeys is what a ring of every algorithm publishes.
func publishedKeys(t *testing.T) (raw string, keys []map[string]any) {
	t.Helper()
	var all []token.Key
	for _, alg := range algorithms {
		if alg[0] == 'R' && alg != token.RS256 || alg[0] == 'P' && alg != token.PS256 {
			continue // they share their keys, and one key has one algorithm
		}
		all = append(all, kits()[alg].key)
	}
	raw = serveJWKS(t, mustRing(t, all...), get()).Body.String()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(raw), &set); err != nil {
		t.Fatal(err)
	}
	return raw, set.Keys
}

// The standard leaves it open to take the last of two: the key is left out.
func TestRFC7517Section4MemberNamesAreUnique(t *testing.T) {
	es := kits()[token.ES256]
	for _, double := range []string{`"kty":"EC",`, `"use":"sig",`} {
		synctest.Test(t, func(t *testing.T) {
			e := new(endpoint)
			e.says(sends(200, jwkSet, `{"keys":[{`+double+jwk(t, es)[1:]+`]}`))
			remote := newRemote(t, e)
			if err := remote.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "no key of the JWK Set") {
				t.Errorf("%s: Fetch = %v", double, err)
			}
			wantUnavailable(t, bearer(newVerifier(t, remote), es.token()))
		})
	}
}

func TestRFC7517Section4MembersThatAreNotUnderstoodAreIgnored(t *testing.T) {
	es := kits()[token.ES256]
	wantTaken(t, jwk(t, es, "https://example.com/x", `{"a":[1]}`, "x5t", `"abc"`), es)
	wantTaken(t, `{"other":1,"other":1,"Other":1,`+jwk(t, es)[1:], es)
}

func TestRFC7517Section4_2Use(t *testing.T) {
	es := kits()[token.ES256]
	wantTaken(t, jwk(t, es, "use", `"sig"`), es)
	wantTaken(t, jwk(t, es, "use", ""), es)
	wantNotTaken(t, jwk(t, es, "use", `"enc"`), es)
}

func TestRFC7517Section4_3KeyOperations(t *testing.T) {
	es := kits()[token.ES256]
	wantTaken(t, jwk(t, es, "use", "", "key_ops", `["verify"]`), es)
	wantNotTaken(t, jwk(t, es, "use", "", "key_ops", `["sign"]`), es)
	wantNotTaken(t, jwk(t, es, "use", "", "key_ops", `["encrypt","wrapKey"]`), es)
}

func TestRFC7517Section4_4AlgorithmOfAKey(t *testing.T) {
	es := kits()[token.ES256]
	for _, alg := range []string{`"ES384"`, `"RS256"`, `"HS256"`, `"none"`} {
		wantNotTaken(t, jwk(t, es, "alg", alg), es)
	}
}

func TestRFC7517Section5UnknownKeysAreLeftOut(t *testing.T) {
	es := kits()[token.ES256]
	for _, edits := range [][]string{{"kty", `"AKP"`}, {"crv", `"secp256k1"`}, {"x", ""}, {"y", ""}} {
		wantNotTaken(t, jwk(t, es, edits...), es)
	}
}

func TestRFC7517Section8_5_1MediaType(t *testing.T) {
	if got := serveJWKS(t, kits()[token.ES256].ring, get()).Header().Get("Content-Type"); got != "application/jwk-set+json" {
		t.Errorf("Content-Type is %q", got)
	}
}

func TestRFC7517Section9_2NothingPrivateIsPublished(t *testing.T) {
	raw, keys := publishedKeys(t)
	for _, key := range keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if key[private] != nil {
				t.Errorf("%v has %s", key["kid"], private)
			}
		}
	}
	for _, alg := range []token.Algorithm{token.HS256, token.HS384, token.HS512} {
		if k := kits()[alg]; strings.Contains(raw, k.kid) || strings.Contains(raw, b64(k.key.Secret.Bytes())) {
			t.Errorf("the key of %s is published", alg)
		}
	}
}

func TestRFC7517Section9_2PrivateKeysOfOthersAreNotUsed(t *testing.T) {
	es, rs := kits()[token.ES256], kits()[token.RS256]
	wantNotTaken(t, jwk(t, es, "d", quoted(b64(random(32)))), es)
	wantNotTaken(t, jwk(t, rs, "p", `"AQAB"`), rs)
}

// The kid is the hash of the required members, in the order of their names and
// without a space (sections 3.2 and 3.3).
func TestRFC7638Section3KeyIDsAreThumbprints(t *testing.T) {
	required := map[string]string{"EC": "crv kty x y", "RSA": "e kty n", "OKP": "crv kty x"}
	_, keys := publishedKeys(t)
	if len(keys) != 6 {
		t.Errorf("%d keys are published", len(keys))
	}
	for _, key := range keys {
		var members []string
		for _, name := range strings.Fields(required[fmt.Sprint(key["kty"])]) {
			members = append(members, fmt.Sprintf("%q:%q", name, key[name]))
		}
		if want := b64(sha("{" + strings.Join(members, ",") + "}")); key["kid"] != want {
			t.Errorf("%v has the kid %v, want %s", key["alg"], key["kid"], want)
		}
	}
}

func TestRFC7518Section3_2SecretsAreAsLongAsTheirHash(t *testing.T) {
	for alg, least := range map[token.Algorithm]int{token.HS256: 32, token.HS384: 48, token.HS512: 64} {
		if _, err := token.NewKeyring(token.Key{Algorithm: alg, Secret: guard.NewSecret(random(least - 1))}); err == nil || !strings.Contains(err.Error(), "RFC 7518 section 3.2") {
			t.Errorf("%s with %d bytes: %v", alg, least-1, err)
		}
		if _, err := token.NewKeyring(token.Key{Algorithm: alg, Secret: guard.NewSecret(random(least))}); err != nil {
			t.Errorf("%s with %d bytes: %v", alg, least, err)
		}
	}
}

func TestRFC7518Section3_3RSAHas2048Bits(t *testing.T) {
	short := &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), 2046), 0, 1), E: 65537}
	for _, alg := range algorithms {
		if alg[0] != 'R' && alg[0] != 'P' {
			continue
		}
		if _, err := token.NewKeyring(token.Key{Algorithm: alg, Public: short}); err == nil || !strings.Contains(err.Error(), "2047 bits") {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// The exponent is at least 3 and has no factor in common with an even number, so
// it is odd. RFC 7518 says nothing of its own.
func TestRFC8017Section3_1RSAExponents(t *testing.T) {
	n := kits()[token.RS256].key.Signer.Unwrap().(*rsa.PrivateKey).N
	for e, ok := range map[int]bool{-1: false, 0: false, 1: false, 2: false, 3: true, 4: false, 65536: false, 65537: true} {
		if _, err := token.NewKeyring(token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: n, E: e}}); (err == nil) != ok {
			t.Errorf("e = %d: %v", e, err)
		}
	}
}

func TestRFC7518Section3_4SignaturesHaveTheWidthOfTheCurve(t *testing.T) {
	for _, c := range curves {
		k, width := kits()[c.alg], (c.curve.Params().BitSize+7)/8
		s := issue(t, newIssuer(t, k.ring), identity.Principal{}, nil)
		signature, err := decode(s[strings.LastIndexByte(s, '.')+1:])
		if err != nil || len(signature) != 2*width {
			t.Errorf("%s: a signature of %d bytes, %v; want %d", c.alg, len(signature), err, 2*width)
		}
		v := newVerifier(t, k.ring)
		wantAccepted(t, serve(v, get("Bearer "+s)))
		input := unsigned(k.token())
		good := k.sign(input)
		for _, wrong := range [][]byte{good[1:], append([]byte{0}, good...), good[:len(good)-1], append(bytes.Clone(good), 0)} {
			wantRefused(t, serve(v, get("Bearer "+input+"."+b64(wrong))), token.ErrSignature)
		}
	}
}

func TestRFC7518Section3_4EachAlgorithmHasItsCurve(t *testing.T) {
	for _, c := range curves {
		for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
			private, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := token.NewKeyring(token.Key{Algorithm: c.alg, Signer: token.NewSigner(private)}); (err == nil) != (curve == c.curve) {
				t.Errorf("%s with %s: %v", c.alg, curve.Params().Name, err)
			}
		}
	}
}

func TestRFC7518Section3_5TheSaltIsAsLongAsTheHash(t *testing.T) {
	for _, alg := range []token.Algorithm{token.PS256, token.PS384, token.PS512} {
		k, hash := kits()[alg], hashOf(alg)
		v, input := newVerifier(t, k.ring), unsigned(k.token())
		h := hash.New()
		io.WriteString(h, input)
		for _, salt := range []int{0, hash.Size() - 1, hash.Size(), hash.Size() + 1} {
			if salt == 0 {
				salt = 1 // zero would be rsa.PSSSaltLengthAuto
			}
			signature, err := rsa.SignPSS(rand.Reader, k.key.Signer.Unwrap().(*rsa.PrivateKey), hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			if o := serve(v, get("Bearer "+input+"."+b64(signature))); salt == hash.Size() {
				wantAccepted(t, o)
			} else {
				wantRefused(t, o, token.ErrSignature)
			}
		}
	}
}

func TestRFC7518Section3_6NoneIsNoAlgorithm(t *testing.T) {
	for _, alg := range []token.Algorithm{"none", "None", ""} {
		if _, err := token.NewKeyring(token.Key{Algorithm: alg, Secret: guard.NewSecret(random(64))}); err == nil {
			t.Errorf("%q was taken", alg)
		}
	}
}

func TestRFC7518Section6_2_1_2CoordinatesAreOfFullSize(t *testing.T) {
	es := kits()[token.ES256]
	point, err := es.key.Signer.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	wantNotTaken(t, jwk(t, es, "x", quoted(b64(append([]byte{0}, point[1:33]...)))), es)
	wantNotTaken(t, jwk(t, es, "x", quoted(b64(point[2:33]))), es)
}
