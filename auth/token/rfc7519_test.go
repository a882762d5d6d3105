package token_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// The clauses of the standards for JSON Web Tokens, one test each: RFC 7515, RFC
// 7797, RFC 4648, RFC 7519, RFC 8725 with what its successor adds, RFC 9068. All
// tokens here are signed rightly by the verifier's own key. The many variants
// are in the attack corpus.

// refuses checks that each of the tokens is refused for the reason.
func refuses(t *testing.T, why error, tokens ...func(k *kit) string) {
	t.Helper()
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		for _, s := range tokens {
			wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+s(k))), why)
		}
	})
}

// accepts checks that each of the tokens is let in.
func accepts(t *testing.T, tokens ...func(k *kit) string) {
	t.Helper()
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		for _, s := range tokens {
			wantAccepted(t, serve(newVerifier(t, k.ring), get("Bearer "+s(k))))
		}
	})
}

func claiming(members ...string) func(*kit) string {
	return func(k *kit) string { return k.token(members...) }
}

func heading(members ...string) func(*kit) string {
	return func(k *kit) string { return k.headed(members...) }
}

func TestRFC7515Section2Base64urlWithoutPadding(t *testing.T) {
	refuses(t, token.ErrMalformed,
		func(k *kit) string { return k.token() + "=" },
		func(k *kit) string { return k.seal(b64(k.header())+"=", b64(payload())) },
		func(k *kit) string { return k.seal(b64(k.header()), b64(payload())+"=") },
		func(k *kit) string { return k.seal(b64(k.header()), "+"+b64(payload())[1:]) },
		func(k *kit) string { return k.seal(b64(k.header()), "/"+b64(payload())[1:]) })
}

func TestRFC7515Section4HeaderNamesAreUnique(t *testing.T) {
	refuses(t, token.ErrMalformed,
		func(k *kit) string { return k.raw(`{"alg":"none",`+k.header()[1:], payload()) },
		func(k *kit) string { return k.raw(`{"alg":"`+string(k.key.Algorithm)+`",`+k.header()[1:], payload()) })
	// A name that is not read decides nothing.
	accepts(t, func(k *kit) string { return k.raw(`{"x":1,"x":2,`+k.header()[1:], payload()) })
}

// Nothing that the token says about keys is followed (sections 4.1.2, 4.1.3,
// 4.1.5 and 4.1.6), and no request is made.
func TestRFC7515Section4_1KeysThatTheTokenBrings(t *testing.T) {
	var calls atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer evil.Close()
	refuses(t, token.ErrMalformed,
		heading("jku", quoted(evil.URL)), heading("jwk", `{"kty":"oct","k":"AAAA"}`), heading("x5u", quoted(evil.URL)), heading("x5c", `["MIIB"]`))
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestRFC7515Section4_1_9TypIsAMediaType(t *testing.T) {
	accepts(t, heading("typ", `"at+jwt"`), heading("typ", `"application/at+jwt"`), heading("typ", `"AT+JWT"`), heading("typ", `"Application/At+Jwt"`))
	refuses(t, token.ErrType, heading("typ", `"application/application/at+jwt"`), heading("typ", `"text/at+jwt"`))
}

func TestRFC7515Section4_1_11CritThatIsNotUnderstood(t *testing.T) {
	refuses(t, token.ErrMalformed,
		heading("crit", `["https://example.com/x"]`, "https://example.com/x", "true"), heading("crit", `["exp"]`, "exp", "4102444800"), heading("crit", `["alg"]`))
}

// Producers must not write it; what is done with it is left open.
func TestRFC7515Section4_1_11CritThatIsEmpty(t *testing.T) {
	refuses(t, token.ErrMalformed, heading("crit", `[]`))
}

func TestRFC7515AppendixE(t *testing.T) {
	refuses(t, token.ErrMalformed,
		func(*kit) string {
			return "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA."
		},
		heading("alg", `"none"`, "crit", `["http://example.com/UNDEFINED"]`, "http://example.com/UNDEFINED", "true"))
}

func TestRFC7515Section5_2TheHeaderIsOneObject(t *testing.T) {
	refuses(t, token.ErrMalformed,
		func(k *kit) string { return k.raw(k.header()+"{}", payload()) },
		func(k *kit) string { return k.raw("["+k.header()+"]", payload()) },
		func(k *kit) string { return k.raw(`{"x":"`+"\xff"+`",`+k.header()[1:], payload()) })
}

func TestRFC7515Section7_2OtherSerialisations(t *testing.T) {
	refuses(t, token.ErrMalformed,
		func(k *kit) string {
			p := strings.Split(k.token(), ".")
			return `{"payload":"` + p[1] + `","protected":"` + p[0] + `","signature":"` + p[2] + `"}`
		},
		func(k *kit) string {
			p := strings.Split(k.token(), ".")
			return `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] + `","signature":"` + p[2] + `"}]}`
		})
}

func TestRFC7797Section7TokensAreEncoded(t *testing.T) {
	refuses(t, token.ErrMalformed,
		heading("b64", "false"), heading("b64", "false", "crit", `["b64"]`), heading("b64", "true"),
		func(k *kit) string { return k.seal(b64(k.header("b64", "false", "crit", `["b64"]`)), payload()) })
}

func TestRFC4648Section3_3ForeignCharacters(t *testing.T) {
	for _, foreign := range []string{"\n", "\r", "\r\n", " ", "\t", "\x00", "*", "~", "\x80", "é"} {
		refuses(t, token.ErrMalformed,
			func(k *kit) string { s := b64(payload()); return k.seal(b64(k.header()), s[:9]+foreign+s[9:]) },
			func(k *kit) string { return k.seal(b64(k.header())+foreign, b64(payload())) },
			func(k *kit) string { s := k.token(); return s[:len(s)-9] + foreign + s[len(s)-9:] })
	}
}

// Decoders may refuse them, and this one does: a token has one spelling.
func TestRFC4648Section3_5BitsThatNoEncoderSets(t *testing.T) {
	padded := func(s string) string {
		for len(s)%3 == 0 {
			s += " "
		}
		return s
	}
	refuses(t, token.ErrMalformed,
		func(k *kit) string { return k.seal(withBits(b64(padded(k.header())), 1), b64(payload())) },
		func(k *kit) string { return k.seal(b64(k.header()), withBits(b64(padded(payload())), 1)) },
		func(k *kit) string { return withBits(k.token(), 1) })
}

func TestRFC7519Section2NumericDateIsANumber(t *testing.T) {
	for _, member := range []string{"exp", "nbf", "iat"} {
		for _, value := range []string{`"4102444800"`, `true`, `[4102444800]`, `{}`, `1e400`, `-1`} {
			refuses(t, token.ErrMalformed, claiming(member, value))
		}
	}
	accepts(t, claiming("exp", later(60)+".5"), claiming("iat", later(-1)+".25"))
}

func TestRFC7519Section4ClaimNamesAreUnique(t *testing.T) {
	for _, double := range []string{`"exp":4102444800,`, `"sub":"admin",`} {
		refuses(t, token.ErrMalformed, func(k *kit) string { return k.raw(k.header(), "{"+double+payload()[1:]) })
	}
	// A name that is not read decides nothing.
	accepts(t, func(k *kit) string { return k.raw(k.header(), `{"x":1,"x":1,`+payload()[1:]) })
}

func TestRFC7519Section4ClaimsThatAreNotUnderstoodAreIgnored(t *testing.T) {
	accepts(t, claiming("https://example.com/is_root", "true", "plan", `{"tier":["gold"]}`))
}

func TestRFC7519Section4_1_1IssuerIsCompared(t *testing.T) {
	refuses(t, token.ErrIssuer, claiming("iss", `"https://other.example"`), claiming("iss", `"https://AUTH.example.com"`), claiming("iss", ""))
}

func TestRFC7519Section4_1_3AudienceNamesUs(t *testing.T) {
	accepts(t, claiming("aud", quoted(audience)), claiming("aud", `[`+quoted(audience)+`]`), claiming("aud", `["https://other.example",`+quoted(audience)+`]`))
	refuses(t, token.ErrAudience, claiming("aud", `"https://other.example"`), claiming("aud", `["https://other.example"]`), claiming("aud", `[]`),
		claiming("aud", `"https://API.example.com"`), claiming("aud", ""))
}

func TestRFC7519Section4_1_4OnOrAfterExpMeansExpired(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		synctest.Test(t, func(t *testing.T) {
			v, s := newVerifier(t, k.ring), k.token("exp", later(60))
			time.Sleep(time.Minute - time.Nanosecond)
			wantAccepted(t, serve(v, get("Bearer "+s)))
			time.Sleep(time.Nanosecond)
			wantRefused(t, serve(v, get("Bearer "+s)), token.ErrExpired)
		})
	})
}

func TestRFC7519Section4_1_5BeforeNbfMeansTooEarly(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		synctest.Test(t, func(t *testing.T) {
			v, s := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Leeway = time.Nanosecond }), k.token("nbf", later(60))
			time.Sleep(time.Minute - 2*time.Nanosecond)
			wantRefused(t, serve(v, get("Bearer "+s)), token.ErrTooEarly)
			time.Sleep(2 * time.Nanosecond)
			wantAccepted(t, serve(v, get("Bearer "+s)))
		})
	})
}

func TestRFC7519Section4_1_7IDsAreTheirOwn(t *testing.T) {
	i, seen := newIssuer(t, kits()[token.ES256].ring), map[string]bool{}
	for range 100 {
		p := identity.Principal{Subject: "alice"}
		if _, err := i.Issue(t.Context(), &p, nil); err != nil {
			t.Fatal(err)
		}
		if len(p.Credential) < 22 || seen[p.Credential] {
			t.Fatalf("the ID %q is short or was there before", p.Credential)
		}
		seen[p.Credential] = true
	}
}

func TestRFC7519Section5_2NestedTokens(t *testing.T) {
	refuses(t, token.ErrMalformed, heading("cty", `"JWT"`), func(k *kit) string { return k.raw(k.header("cty", `"JWT"`), k.token()) })
}

func TestRFC7519Section6UnsecuredTokens(t *testing.T) {
	refuses(t, token.ErrMalformed,
		func(k *kit) string { return unsigned(k.headed("alg", `"none"`)) + "." },
		func(k *kit) string { return b64(`{"alg":"none"}`) + "." + b64(payload()) + "." })
	refuses(t, token.ErrAlgorithm, heading("alg", `"none"`))
}

func TestRFC7519Section7_2TheClaimsAreOneObject(t *testing.T) {
	for _, claims := range []string{"null", "[]", `"x"`, "1", ""} {
		refuses(t, token.ErrMalformed, func(k *kit) string { return k.raw(k.header(), claims) })
	}
	refuses(t, token.ErrMalformed,
		func(k *kit) string { return k.raw(k.header(), payload()+"{}") },
		func(k *kit) string { return k.raw(k.header(), "\ufeff"+payload()) })
}

// Names are compared as they are, without any change of case or form.
func TestRFC7519Section7_3NamesAreComparedAsTheyAre(t *testing.T) {
	refuses(t, token.ErrMalformed, claiming("exp", "", "EXP", later(60)), claiming("sub", "", "ſub", `"admin"`), heading("kid", "", "\u212aid", `"x"`))
}

func TestRFC8725Section3_1OneKeyOneAlgorithm(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		for _, other := range append([]token.Algorithm{"none", "hs256", ""}, algorithms...) {
			s := k.headed("alg", quoted(string(other)))
			if o := serve(newVerifier(t, k.ring), get("Bearer "+s)); other == alg {
				wantAccepted(t, o)
			} else {
				wantRefused(t, o, token.ErrInvalid)
			}
		}
	}
	pair := kits()[token.RS256].key.Signer
	if _, err := token.NewKeyring(token.Key{Algorithm: token.RS256, Signer: token.NewSigner(pair)}, token.Key{Algorithm: token.PS256, Signer: token.NewSigner(pair)}); err == nil {
		t.Error("a ring took one key for two algorithms")
	}
}

func TestRFC8725Section3_2NoNone(t *testing.T) {
	if _, err := token.NewKeyring(token.Key{Algorithm: "none", Secret: guard.NewSecret(random(32))}); err == nil {
		t.Error("a ring took a key for none")
	}
	refuses(t, token.ErrAlgorithm, heading("alg", `"none"`), heading("alg", `"NONE"`))
}

func TestRFC8725Section3_3TheSignatureIsValidated(t *testing.T) {
	refuses(t, token.ErrSignature,
		func(k *kit) string { return unsigned(k.token()) + "." + b64(random(32)) },
		func(k *kit) string {
			s := k.token()
			return unsigned(k.token("sub", `"mallory"`)) + s[strings.LastIndexByte(s, '.'):]
		})
}

func TestRFC8725Section3_4PointsAreOnTheirCurve(t *testing.T) {
	es := kits()[token.ES256]
	zero := quoted(b64(make([]byte, 32)))
	wantNotTaken(t, jwk(t, es, "x", zero, "y", zero), es)
	ed := kits()[token.EdDSA]
	wantNotTaken(t, jwk(t, ed, "x", zero), ed)
}

func TestRFC8725Section3_5KeysHaveEntropy(t *testing.T) {
	for alg, least := range map[token.Algorithm]int{token.HS256: 32, token.HS384: 48, token.HS512: 64} {
		for _, secret := range [][]byte{nil, {}, random(least - 1), make([]byte, least), []byte("password")} {
			if _, err := token.NewKeyring(token.Key{Algorithm: alg, Secret: guard.NewSecret(secret)}); err == nil {
				t.Errorf("%s: a secret of %d bytes was taken", alg, len(secret))
			}
		}
	}
}

func TestRFC8725Section3_6NoCompression(t *testing.T) {
	refuses(t, token.ErrMalformed, heading("zip", `"DEF"`))
}

func TestRFC8725Section3_7UTF8(t *testing.T) {
	refuses(t, token.ErrMalformed, claiming("sub", "\"\xff\""), claiming("x", "\"\xc0\x80\""), claiming("sub", `"\ud800"`),
		func(k *kit) string { return k.raw(k.header(), "\x00{\x00}") })
}

func TestRFC8725Section3_8TheKeyIsTheIssuers(t *testing.T) {
	ours, theirs := kits()[token.ES256], newKit(mustKey(t, token.ES256))
	v := newVerifier(t, ours.ring)
	wantRefused(t, serve(v, get("Bearer "+theirs.token())), token.ErrKey)
	wantRefused(t, serve(v, get("Bearer "+theirs.headed("kid", quoted(ours.kid)))), token.ErrSignature)
	wantRefused(t, serve(v, get("Bearer "+ours.token("iss", `"https://other.example"`))), token.ErrIssuer)
}

func TestRFC8725Section3_8TheSubjectStillExists(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		o := serveWhile(func(context.Context, *identity.Principal) error { return guard.ErrInactive }, newVerifier(t, k.ring), get("Bearer "+k.token()))
		if o.ran || o.status != 401 || o.body != invalidBody {
			t.Errorf("ran %v, %d %s", o.ran, o.status, o.body)
		}
	})
}

func TestRFC8725Section3_9AudienceIsRequired(t *testing.T) {
	refuses(t, token.ErrAudience, claiming("aud", ""), claiming("aud", `[]`))
	if _, err := token.NewVerifier(kits()[token.ES256].ring, token.VerifierConfig{Issuer: issuerName, InsecureNoRevoker: true}); err == nil {
		t.Error("a Verifier of every audience was made")
	}
}

func TestRFC8725Section3_10KidIsNoPathAndNoQuery(t *testing.T) {
	for _, kid := range []string{"../../dev/null", "' OR '1'='1", "http://127.0.0.1:1/key", "*)(uid=*"} {
		refuses(t, token.ErrKey, heading("kid", quoted(kid)))
	}
}

func TestRFC8725Section3_11ExplicitTyping(t *testing.T) {
	refuses(t, token.ErrType, heading("typ", ""), heading("typ", `"JWT"`), heading("typ", `"secevent+jwt"`))
}

func TestRFC8725Section3_12KindsOfTokensExcludeOneAnother(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		kinds := []string{token.TypeAccess, token.TypeRefresh, "mfa+jwt", "logout+jwt"}
		for _, wanted := range kinds {
			v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Type = wanted })
			for _, typ := range kinds {
				o := serve(v, get("Bearer "+k.headed("typ", quoted(typ))))
				if typ == wanted {
					wantAccepted(t, o)
				} else {
					wantRefused(t, o, token.ErrType)
				}
			}
		}
	})
}

// The successor of RFC 8725 is a draft; its clauses are named and not numbered.
func TestRFC8725bisAlgorithmIsComparedInItsCase(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+k.headed("alg", quoted(swapCase(string(alg)))))), token.ErrAlgorithm)
	}
}

func TestRFC8725bisOnlyTheCharactersOfATokenAreAToken(t *testing.T) {
	k := kits()[token.ES256]
	v := newVerifier(t, k.ring)
	const legal = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	for c := range 256 {
		if s := k.token(); strings.IndexByte(legal, byte(c)) < 0 {
			wantRefused(t, serve(v, get("Bearer "+s[:9]+string([]byte{byte(c)})+s[9:])), token.ErrMalformed)
		}
	}
}

func TestRFC8725bisSignedIsNotEncrypted(t *testing.T) {
	refuses(t, token.ErrMalformed,
		heading("enc", `"A256GCM"`),
		func(k *kit) string { return k.token() + ".AAAA.AAAA" },
		func(k *kit) string { return b64(k.header("alg", `"dir"`, "enc", `"A256GCM"`)) + "..AAAA.AAAA.AAAA" })
}

func TestRFC8725bisTypWithoutASlashIsAnApplication(t *testing.T) {
	accepts(t, heading("typ", `"at+jwt"`), heading("typ", `"application/at+jwt"`))
}

// issued returns the header and the claims of a token that an Issuer made.
func issued(t *testing.T, k *kit) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(issue(t, newIssuer(t, k.ring), identity.Principal{}, nil), ".")
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := decode(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func TestRFC9068Section2_1TypOfAccessTokens(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		if header, _ := issued(t, k); header["typ"] != "at+jwt" {
			t.Errorf("the header is %v", header)
		}
	})
}

func TestRFC9068Section2_2ClaimsThatAreRequired(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		_, claims := issued(t, k)
		for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
			if claims[name] == nil {
				t.Errorf("an issued token has no %s: %v", name, claims)
			}
			wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+k.token(name, ""))), token.ErrInvalid)
		}
	})
}

func TestRFC9068Section2_2_1AuthenticationIsTold(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		p := serve(newVerifier(t, k.ring), get("Bearer "+k.token("auth_time", later(-600), "amr", `["pwd","otp"]`))).principal
		if p == nil || !p.Factors.Equal(identity.NewSet("otp", "pwd")) || time.Since(p.AuthTime).Round(time.Minute) != 10*time.Minute {
			t.Errorf("the principal is %+v", p)
		}
	})
}

func TestRFC9068Section4OtherTypesAreRefused(t *testing.T) {
	accepts(t, heading("typ", `"application/at+jwt"`), heading("typ", `"at+JWT"`)) // which its example says
	for _, typ := range []string{`"JWT"`, `"rt+jwt"`, `"id_token"`, `"at+jwt;v=1"`, ""} {
		refuses(t, token.ErrType, heading("typ", typ))
	}
}

func TestRFC9068Section4IssuerMatchesExactly(t *testing.T) {
	refuses(t, token.ErrIssuer, claiming("iss", `"https://auth.example.com/"`), claiming("iss", `"https://auth.example.co"`), claiming("iss", `"http://auth.example.com"`))
}

func TestRFC9068Section4AudienceSignatureAndExpiry(t *testing.T) {
	refuses(t, token.ErrAudience, claiming("aud", `"https://other.example"`))
	refuses(t, token.ErrSignature, func(k *kit) string { return unsigned(k.token()) + ".AAAA" })
	refuses(t, token.ErrAlgorithm, heading("alg", `"none"`))
	refuses(t, token.ErrExpired, claiming("exp", later(-1)))
}

// Whichever check fails, the answer is invalid_token: wantRefused compares all
// of it.
func TestRFC9068Section4EveryFailureIsInvalidToken(t *testing.T) {
	refuses(t, token.ErrInvalid, claiming("iss", ""), claiming("aud", ""), claiming("exp", later(-1)), heading("typ", ""), heading("kid", `"x"`),
		func(k *kit) string { return unsigned(k.token()) + ".AAAA" })
}
