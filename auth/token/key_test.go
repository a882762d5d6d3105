package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

var algorithms = []token.Algorithm{
	token.HS256, token.HS384, token.HS512, token.RS256, token.RS384, token.RS512, token.PS256, token.PS384, token.PS512,
	token.ES256, token.ES384, token.ES512, token.EdDSA,
}

func mustKey(tb testing.TB, alg token.Algorithm) token.Key {
	tb.Helper()
	k, err := token.GenerateKey(alg)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func mustRing(tb testing.TB, keys ...token.Key) *token.Keyring {
	tb.Helper()
	ring, err := token.NewKeyring(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

func serveJWKS(tb testing.TB, ring *token.Keyring, r *http.Request) *httptest.ResponseRecorder {
	tb.Helper()
	w := httptest.NewRecorder()
	ring.JWKSHandler().ServeHTTP(w, r)
	return w
}

// shared returns a key for any algorithm, of the RSA key that the kits have.
func shared(tb testing.TB, alg token.Algorithm) token.Key {
	if alg[0] == 'R' || alg[0] == 'P' {
		return token.Key{Algorithm: alg, Signer: kits()[token.RS256].key.Signer}
	}
	return mustKey(tb, alg)
}

func public(k token.Key) token.Key {
	return token.Key{Algorithm: k.Algorithm, Public: k.Signer.Public()}
}

func TestEveryAlgorithmRoundTrips(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			key := shared(t, alg)
			issuer := newIssuer(t, mustRing(t, key))
			s := issue(t, issuer, identity.Principal{}, nil)
			if !key.Signer.IsZero() {
				key = public(key)
			}
			wantAccepted(t, serve(newVerifier(t, mustRing(t, key)), get("Bearer "+s)))
			stranger := shared(t, token.EdDSA)
			wantRefused(t, serve(newVerifier(t, mustRing(t, stranger)), get("Bearer "+s)), token.ErrKey)
		})
	}
}

func TestGenerateKey(t *testing.T) {
	for _, alg := range []token.Algorithm{"", "none", "hs256", "ES256K"} {
		if k, err := token.GenerateKey(alg); err == nil {
			t.Errorf("GenerateKey(%q) = %v", alg, k)
		}
	}
	if k := mustKey(t, token.RS256); k.Signer.Unwrap().(*rsa.PrivateKey).N.BitLen() != 2048 {
		t.Error("the RSA key has not 2048 bits")
	}
	if k := mustKey(t, token.HS384); len(k.Secret.Bytes()) != 48 {
		t.Errorf("the secret of HS384 has %d bytes, want 48", len(k.Secret.Bytes()))
	}
}

func TestEd25519PointerSigns(t *testing.T) {
	private := kits()[token.EdDSA].key.Signer.Unwrap().(ed25519.PrivateKey)
	ring := mustRing(t, token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(&private)})
	wantAccepted(t, serve(newVerifier(t, ring), get("Bearer "+issue(t, newIssuer(t, ring), identity.Principal{}, nil))))
}

// TestKeysOfOthersHaveTheirNames: the key of an issuer who names it otherwise than
// by its thumbprint.
func TestKeysOfOthersHaveTheirNames(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		if k.key.Signer.IsZero() {
			continue
		}
		named := public(k.key)
		named.ID = "2026/01 é"
		ring := mustRing(t, named)
		v := newVerifier(t, ring)
		wantAccepted(t, serve(v, get("Bearer "+k.headed("kid", `"2026/01 é"`))))
		wantRefused(t, serve(v, get("Bearer "+k.token())), token.ErrKey)
		wantRefused(t, serve(v, get("Bearer "+k.headed("kid", ""))), token.ErrKey)
		if got := serveJWKS(t, ring, get()).Body.String(); !strings.Contains(got, `"kid":"2026/01 é"`) || strings.Contains(got, k.kid) {
			t.Errorf("published %s", got)
		}
	}
	a, b := mustKey(t, token.ES256), mustKey(t, token.EdDSA)
	thumbprint := newKit(b).kid
	with := func(k token.Key, id string) token.Key { k.ID = id; return k }
	for name, c := range map[string]struct {
		keys []token.Key
		want string
	}{
		"a key that signs":          {[]token.Key{with(a, "x")}, "key 0: the ID is set beside a Signer"},
		"a control character":       {[]token.Key{with(public(a), "x\n")}, "key 0: the ID is"},
		"no UTF-8":                  {[]token.Key{with(public(a), "\xff")}, "key 0: the ID is"},
		"too long":                  {[]token.Key{with(public(a), strings.Repeat("x", 257))}, "use up to 256 bytes"},
		"two of one name":           {[]token.Key{with(public(a), "x"), with(public(b), "x")}, `key 1: another key has the ID "x"`},
		"the thumbprint of another": {[]token.Key{with(public(a), thumbprint), b}, "key 1: another key has the ID"},
		"one key under two names":   {[]token.Key{with(public(a), "x"), with(public(a), "y")}, "key 1: the same key material"},
		"one key, with and without": {[]token.Key{a, with(public(a), "y")}, "key 1: the same key material"},
	} {
		if _, err := token.NewKeyring(c.keys...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestKeysTakeTurns walks through a change of keys.
func TestKeysTakeTurns(t *testing.T) {
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) {
			old, next := shared(t, alg), mustKey(t, alg)
			before := mustRing(t, old)
			oldToken := issue(t, newIssuer(t, before), identity.Principal{}, nil)
			retired := old
			if !old.Signer.IsZero() {
				retired = public(old)
			}
			after := mustRing(t, next, retired)
			newToken := issue(t, newIssuer(t, after), identity.Principal{}, nil)
			v := newVerifier(t, after)
			wantAccepted(t, serve(v, get("Bearer "+oldToken)))
			wantAccepted(t, serve(v, get("Bearer "+newToken)))
			wantRefused(t, serve(newVerifier(t, before), get("Bearer "+newToken)), token.ErrKey)
			wantRefused(t, serve(newVerifier(t, mustRing(t, next)), get("Bearer "+oldToken)), token.ErrKey)
		})
	}
	t.Run("the first key that can sign signs", func(t *testing.T) {
		verifyOnly, first, second := public(mustKey(t, token.ES256)), mustKey(t, token.EdDSA), mustKey(t, token.HS256)
		s := issue(t, newIssuer(t, mustRing(t, verifyOnly, first, second)), identity.Principal{}, nil)
		wantAccepted(t, serve(newVerifier(t, mustRing(t, first)), get("Bearer "+s)))
	})
}

// TestRingIsACopy changes the host's keys after they were given away.
func TestRingIsACopy(t *testing.T) {
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) {
			k := kits()[alg]
			secret := k.key.Secret.Bytes()
			key := token.Key{Algorithm: alg, Secret: guard.NewSecret(secret)}
			spoil := func() { clear(secret) }
			if !k.key.Signer.IsZero() {
				key.Secret = guard.Secret{}
			}
			switch private := k.key.Signer.Unwrap().(type) {
			case *ecdsa.PrivateKey:
				pub := private.PublicKey
				other := mustKey(t, alg).Signer.Public().(*ecdsa.PublicKey)
				key.Public, spoil = &pub, func() { pub = *other }
			case *rsa.PrivateKey:
				pub := rsa.PublicKey{N: new(big.Int).Set(private.N), E: private.E}
				key.Public, spoil = &pub, func() { pub.N.SetInt64(15); pub.E = 1 }
			case ed25519.PrivateKey:
				pub := append(ed25519.PublicKey(nil), private[32:]...)
				key.Public, spoil = pub, func() { clear(pub) }
			}
			v := newVerifier(t, mustRing(t, key))
			spoil()
			wantAccepted(t, serve(v, get("Bearer "+k.token())))
		})
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	for _, alg := range algorithms {
		key := shared(t, alg)
		ring := mustRing(t, key)
		var secrets []string
		add := func(b []byte) {
			secrets = append(secrets, string(b), fmt.Sprint(b)[1:20], fmt.Sprintf("%x", b), b64(b), base64.StdEncoding.EncodeToString(b), fmt.Sprintf("%#v", b)[8:30])
		}
		switch private := key.Signer.Unwrap().(type) {
		case nil:
			add(key.Secret.Bytes())
		case *ecdsa.PrivateKey:
			d, err := private.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			add(d)
			secrets = append(secrets, new(big.Int).SetBytes(d).String())
		case ed25519.PrivateKey:
			add(private.Seed())
		case *rsa.PrivateKey:
			secrets = append(secrets, private.D.String(), private.Primes[0].String())
			add(private.D.Bytes())
			add(private.Primes[0].Bytes())
		}
		issuer, verifier := newIssuer(t, ring), newVerifier(t, ring)
		for _, printed := range []any{key, &key, []token.Key{key}, map[string]token.Key{"k": key}, struct{ K token.Key }{key}, ring, issuer, verifier} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%p", "%U"} {
				if strings.Contains(fmt.Sprintf("%T", printed), "token.Key") && verb == "%p" && printed != any(ring) {
					continue // see Key.Format
				}
				out := fmt.Sprintf(verb, printed)
				asJSON, err := json.Marshal(printed)
				if err != nil {
					t.Fatal(err)
				}
				for _, secret := range secrets {
					if strings.Contains(out, secret) || strings.Contains(string(asJSON), secret) {
						t.Errorf("%s of %T with %s shows the secret: %s %s", verb, printed, alg, out, asJSON)
					}
				}
			}
		}
		if got, want := fmt.Sprintf("%+v", key), "token.Key("+string(alg)+")"; got != want {
			t.Errorf("%%+v = %s, want %s", got, want)
		}
		if got, want := fmt.Sprint(ring), "token.Keyring("+string(alg)+" "; !strings.HasPrefix(got, want) {
			t.Errorf("the ring prints as %s, want %s…", got, want)
		}
	}
}

func TestJWKSHandlerServesPublicKeys(t *testing.T) {
	var keys []token.Key
	var want []string
	for _, alg := range []token.Algorithm{token.HS256, token.HS512, token.ES256, token.ES384, token.ES512, token.EdDSA, token.RS256} {
		keys = append(keys, shared(t, alg))
		if alg[0] != 'H' {
			want = append(want, string(alg))
		}
	}
	ps := mustKey(t, token.PS256)
	keys = append(keys, public(ps))
	want = append(want, "PS256")
	ring := mustRing(t, keys...)

	w := serveJWKS(t, ring, get())
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/jwk-set+json" || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("answered %d %v", w.Code, w.Header())
	}
	etag := w.Header().Get("Etag")
	if len(etag) < 10 || etag[0] != '"' {
		t.Errorf("Etag %s, want a strong one", etag)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	var got []string
	members := map[string]string{
		"EC":  "alg crv kid kty use x y",
		"RSA": "alg e kid kty n use",
		"OKP": "alg crv kid kty use x",
	}
	for _, jwk := range set.Keys {
		got = append(got, fmt.Sprint(jwk["alg"]))
		if jwk["use"] != "sig" {
			t.Errorf("%v has use %v, want sig", jwk["alg"], jwk["use"])
		}
		names := strings.Fields(members[fmt.Sprint(jwk["kty"])])
		if len(names) != len(jwk) {
			t.Errorf("%v has the members %v, want %v", jwk["alg"], jwk, names)
		}
		required := []string{}
		for _, name := range names {
			if jwk[name] == nil {
				t.Errorf("%v has no %s", jwk["alg"], name)
			}
			if name != "alg" && name != "kid" && name != "use" {
				required = append(required, fmt.Sprintf("%q:%q", name, jwk[name]))
			}
		}
		// RFC 7638 section 3, from what is published.
		if thumb := b64(sha("{" + strings.Join(required, ",") + "}")); jwk["kid"] != thumb {
			t.Errorf("%v has the kid %v, want its thumbprint %s", jwk["alg"], jwk["kid"], thumb)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("published %v, want %v", got, want)
	}

	for name, c := range map[string]struct {
		method string
		match  string
		status int
		body   bool
	}{
		"HEAD has no body":                  {"HEAD", "", 200, false},
		"a GET that knows it is told so":    {"GET", etag, 304, false},
		"a HEAD that knows it is told so":   {"HEAD", etag, 304, false},
		"a weak match is one":               {"GET", `"x", W/` + etag, 304, false},
		"a GET that knows another is given": {"GET", `"other"`, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/", nil)
			if c.match != "" {
				r.Header.Set("If-None-Match", c.match)
			}
			w := serveJWKS(t, ring, r)
			if w.Code != c.status || (w.Body.Len() > 0) != c.body || w.Header().Get("Etag") != etag {
				t.Errorf("answered %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
			}
		})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w := serveJWKS(t, ring, httptest.NewRequest(method, "/", nil))
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || strings.Contains(w.Body.String(), "kty") {
			t.Errorf("%s answered %d, Allow %q, %s", method, w.Code, w.Header().Get("Allow"), w.Body)
		}
	}
	t.Run("a ring of secrets publishes none", func(t *testing.T) {
		if got := serveJWKS(t, mustRing(t, keys[0]), get()).Body.String(); got != `{"keys":[]}` {
			t.Errorf("published %s", got)
		}
	})
	t.Run("it is public in the ledger", func(t *testing.T) {
		if q := guard.Requirements(ring.JWKSHandler()); len(q) != 1 || q[0].Kind != guard.KindPublic {
			t.Errorf("requirements %v, want public", q)
		}
	})
	t.Run("another ring has another Etag", func(t *testing.T) {
		if serveJWKS(t, mustRing(t, keys[2]), get()).Header().Get("Etag") == etag {
			t.Error("it has the same")
		}
	})
}

func TestSignersThatFail(t *testing.T) {
	down := errors.New("the vault is sealed")
	pub := func(alg token.Algorithm) any { return shared(t, alg).Signer.Public() }
	for name, c := range map[string]struct {
		alg    token.Algorithm
		signer fakeSigner
		want   string
	}{
		"an error":                        {token.ES256, fakeSigner{err: down}, "sealed"},
		"an error of RSA":                 {token.RS256, fakeSigner{err: down}, "sealed"},
		"an error of EdDSA":               {token.EdDSA, fakeSigner{err: down}, "sealed"},
		"an error beside a signature":     {token.EdDSA, fakeSigner{signature: make([]byte, 64), err: down}, "sealed"},
		"nothing for ECDSA":               {token.ES256, fakeSigner{}, "ASN.1"},
		"noise for ECDSA":                 {token.ES256, fakeSigner{signature: []byte("noise")}, "ASN.1"},
		"R and S side by side":            {token.ES256, fakeSigner{signature: random(64)}, "ASN.1"},
		"bytes behind the ASN.1":          {token.ES256, fakeSigner{signature: []byte{0x30, 6, 2, 1, 1, 2, 1, 1, 0}}, "ASN.1"},
		"one number only":                 {token.ES256, fakeSigner{signature: []byte{0x30, 3, 2, 1, 1}}, "ASN.1"},
		"R of zero":                       {token.ES256, fakeSigner{signature: []byte{0x30, 6, 2, 1, 0, 2, 1, 1}}, "range"},
		"S below zero":                    {token.ES256, fakeSigner{signature: []byte{0x30, 6, 2, 1, 1, 2, 1, 0xff}}, "range"},
		"R wider than the curve":          {token.ES256, fakeSigner{signature: append(append([]byte{0x30, 0x26, 2, 0x21, 1}, make([]byte, 32)...), 2, 1, 1)}, "range"},
		"nothing for EdDSA":               {token.EdDSA, fakeSigner{}, "64"},
		"a byte too many for EdDSA":       {token.EdDSA, fakeSigner{signature: make([]byte, 65)}, "64"},
		"nothing for RSA":                 {token.RS256, fakeSigner{}, "256"},
		"a signature of another RSA size": {token.PS256, fakeSigner{signature: make([]byte, 512)}, "256"},
	} {
		t.Run(name, func(t *testing.T) {
			c.signer.public = pub(c.alg)
			issuer := newIssuer(t, mustRing(t, token.Key{Algorithm: c.alg, Signer: token.NewSigner(c.signer)}))
			s, err := issuer.Issue(t.Context(), &identity.Principal{Subject: "alice"}, nil)
			if s != "" || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Issue = %q, %v; want an error with %q", s, err, c.want)
			}
			if c.signer.err != nil && !errors.Is(err, down) {
				t.Errorf("Issue = %v, which does not wrap the error of the Signer", err)
			}
			if errors.Is(err, token.ErrInvalid) {
				t.Errorf("Issue = %v, which would be answered 401", err)
			}
		})
	}
}

// TestEd25519HasTwoNames: RFC 9864 renames EdDSA for Ed25519 keys, and each
// place takes either name.
func TestEd25519HasTwoNames(t *testing.T) {
	k := kits()[token.EdDSA]
	names := []token.Algorithm{token.EdDSA, token.Ed25519}
	for _, configured := range names {
		ring := mustRing(t, token.Key{Algorithm: configured, Signer: k.key.Signer})
		if got := ring.Keys()[0].Algorithm; got != configured {
			t.Errorf("a key of %s is %s", configured, got)
		}
		issued := issue(t, newIssuer(t, ring), identity.Principal{}, nil)
		encoded, _, _ := strings.Cut(issued, ".")
		if header, err := decode(encoded); err != nil || !strings.Contains(string(header), `"alg":"`+string(configured)+`"`) {
			t.Errorf("a token of %s has the header %s", configured, header)
		}
		wantAccepted(t, serve(newVerifier(t, ring), get("Bearer "+issued)))
		for _, written := range names {
			s := k.headed("alg", quoted(string(written)))
			wantAccepted(t, serve(newVerifier(t, ring), get("Bearer "+s)))
			synctest.Test(t, func(t *testing.T) {
				for _, member := range []string{`"EdDSA"`, `"Ed25519"`, "", "null"} {
					e := new(endpoint)
					e.says(sends(200, jwkSet, `{"keys":[`+jwk(t, k, "alg", member)+`]}`))
					for _, algs := range [][]token.Algorithm{{configured}, names} {
						remote := newRemote(t, e, func(c *token.RemoteConfig) { c.Algorithms = algs })
						if err := remote.Fetch(t.Context()); err != nil {
							t.Fatalf("%s, published with %q: %v", algs, member, err)
						}
						wantAccepted(t, bearer(newVerifier(t, remote), k.headed("alg", quoted(string(written)))))
					}
				}
			})
		}
	}
	for _, alg := range []string{"ed25519", "Ed448", "EDDSA", "EdDSA ", "ES256", "HS256", "none"} {
		wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+k.headed("alg", quoted(alg)))), token.ErrAlgorithm)
	}
	if _, err := token.NewKeyring(k.key, token.Key{Algorithm: token.Ed25519, Signer: k.key.Signer}); err == nil {
		t.Error("one key is in the ring by two names")
	}
	if _, err := token.GenerateKey(token.Ed25519); err != nil {
		t.Error(err)
	}
}

// TestSignersThatAnswerWithHighS: a KMS may return either signature of ECDSA.
func TestSignersThatAnswerWithHighS(t *testing.T) {
	for _, alg := range []token.Algorithm{token.ES256, token.ES384, token.ES512} {
		signer := highS{kits()[alg].key.Signer.Unwrap().(*ecdsa.PrivateKey)}
		ring := mustRing(t, token.Key{Algorithm: alg, Signer: token.NewSigner(signer)})
		for range 8 {
			wantAccepted(t, serve(newVerifier(t, ring), get("Bearer "+issue(t, newIssuer(t, ring), identity.Principal{}, nil))))
		}
	}
}

// highS signs with the larger s, always.
type highS struct{ *ecdsa.PrivateKey }

func (h highS) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand, h.PrivateKey, digest)
	if err != nil {
		return nil, err
	}
	n := h.Params().N
	if twin := new(big.Int).Sub(n, s); twin.Cmp(s) > 0 {
		s = twin
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

func TestErrorsOfReplaceShowNoMonotonicClock(t *testing.T) {
	k := mustKey(t, token.ES256)
	k.PublishFrom, k.SignFrom = time.Now(), time.Now().Add(time.Second)
	ring := mustRing(t, mustKey(t, token.ES256))
	if _, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuerName, Audience: audience}); err != nil {
		t.Fatal(err)
	}
	late, never := mustKey(t, token.ES256), mustKey(t, token.ES256)
	late.SignFrom, late.PublishFrom = time.Now().Add(2*time.Hour), time.Now().Add(time.Hour)
	never.VerifyUntil = time.Now().Add(-time.Hour)
	never.PublishFrom = time.Now()
	for _, keys := range [][]token.Key{{k}, {late}, {never}} {
		err := ring.Replace(keys...)
		if err == nil || strings.Contains(err.Error(), "m=") || strings.Contains(err.Error(), " +0000") {
			t.Errorf("Replace = %v", err)
		}
	}
}
