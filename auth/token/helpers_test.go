package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

const (
	issuerName = "https://auth.example.com"
	audience   = "https://api.example.com"
)

func b64[T ~string | ~[]byte](s T) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// A kit is a key with a signer that owes nothing to the package under test, so
// that tests can put a right signature on anything at all.
type kit struct {
	key  token.Key
	ring *token.Keyring
	kid  string
	sign func(input string) []byte
}

// seal signs two parts as they stand.
func (k *kit) seal(header, payload string) string {
	input := header + "." + payload
	return input + "." + b64(k.sign(input))
}

// raw encodes and signs a header and a payload, whatever they are.
func (k *kit) raw(header, payload string) string { return k.seal(b64(header), b64(payload)) }

// token is a good one, but for the given members of the claims: pairs of name
// and JSON, where no JSON leaves the member out.
func (k *kit) token(members ...string) string { return k.raw(k.header(), payload(members...)) }

// headed is a good token but for the given members of the header.
func (k *kit) headed(members ...string) string { return k.raw(k.header(members...), payload()) }

func (k *kit) header(members ...string) string {
	return jsonObject([]string{
		"alg", quoted(string(k.key.Algorithm)),
		"kid", quoted(k.kid),
		"typ", `"at+jwt"`,
	}, members)
}

func payload(members ...string) string {
	now := time.Now().Unix()
	return jsonObject([]string{
		"iss", quoted(issuerName),
		"exp", fmt.Sprint(now + 900),
		"aud", quoted(audience),
		"sub", `"alice?>~ÿ"`, // for the characters - and _ of the alphabet
		"client_id", `"first-party"`,
		"iat", fmt.Sprint(now),
		"jti", `"id-1"`,
	}, members)
}

// later is a time in seconds from now, as JSON.
func later(seconds int64) string { return fmt.Sprint(time.Now().Unix() + seconds) }

func quoted(s string) string { return `"` + s + `"` }

func jsonObject(base, edits []string) string {
	var members []string
	for i := 0; i < len(base); i += 2 {
		json := base[i+1]
		for j := 0; j < len(edits); j += 2 {
			if edits[j] == base[i] {
				json = edits[j+1]
			}
		}
		if json != "" {
			members = append(members, quoted(base[i])+":"+json)
		}
	}
	for j := 0; j < len(edits); j += 2 {
		known := false
		for i := 0; i < len(base); i += 2 {
			known = known || base[i] == edits[j]
		}
		if !known {
			members = append(members, quoted(edits[j])+":"+edits[j+1])
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// kits are made once: RSA keys take their time, and all their algorithms share
// two.
var kits = sync.OnceValue(func() map[token.Algorithm]*kit {
	all := make(map[token.Algorithm]*kit)
	for _, alg := range algorithms {
		var key token.Key
		var err error
		switch like := all[token.RS256]; {
		case like == nil || alg[0] != 'R' && alg[0] != 'P':
			key, err = token.GenerateKey(alg)
		case alg == token.PS256: // apart from that of RS256, for tests that have both in a ring
			key, err = token.GenerateKey(alg)
		default:
			key = token.Key{Algorithm: alg, Signer: like.key.Signer}
			if alg[0] == 'P' {
				key.Signer = all[token.PS256].key.Signer
			}
		}
		if err != nil {
			panic(err)
		}
		all[alg] = newKit(key)
	}
	return all
})

// everyday are the algorithms that most tests are run with, one of each kind.
var everyday = []token.Algorithm{token.HS256, token.ES256, token.EdDSA, token.RS256}

// hashOf is the hash of an algorithm (RFC 7518 section 3.1).
func hashOf(alg token.Algorithm) crypto.Hash {
	switch alg[2:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	return crypto.SHA256
}

func newKit(key token.Key) *kit {
	k := &kit{key: key}
	var err error
	if k.ring, err = token.NewKeyring(key); err != nil {
		panic(err)
	}
	hash := hashOf(key.Algorithm)
	digest := func(input string) []byte {
		h := hash.New()
		io.WriteString(h, input)
		return h.Sum(nil)
	}
	var jwk string // RFC 7638 section 3.2
	switch private := key.Signer.Unwrap().(type) {
	case nil:
		jwk = `{"k":"` + b64(key.Secret.Bytes()) + `","kty":"oct"}`
		k.sign = func(input string) []byte {
			h := hmac.New(hash.New, key.Secret.Bytes())
			io.WriteString(h, input)
			return h.Sum(nil)
		}
	case *ecdsa.PrivateKey:
		point, err := private.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		width := (len(point) - 1) / 2
		jwk = `{"crv":"` + private.Params().Name + `","kty":"EC","x":"` + b64(point[1:1+width]) + `","y":"` + b64(point[1+width:]) + `"}`
		k.sign = func(input string) []byte {
			r, s, err := ecdsa.Sign(rand.Reader, private, digest(input))
			if err != nil {
				panic(err)
			}
			return wide(r, low(s, private.Curve), width)
		}
	case ed25519.PrivateKey:
		jwk = `{"crv":"Ed25519","kty":"OKP","x":"` + b64(private[32:]) + `"}`
		k.sign = func(input string) []byte { return ed25519.Sign(private, []byte(input)) }
	case *rsa.PrivateKey:
		e := big.NewInt(int64(private.E)).Bytes()
		jwk = `{"e":"` + b64(e) + `","kty":"RSA","n":"` + b64(private.N.Bytes()) + `"}`
		k.sign = func(input string) []byte {
			signature, err := rsa.SignPKCS1v15(nil, private, hash, digest(input))
			if key.Algorithm[0] == 'P' {
				signature, err = rsa.SignPSS(rand.Reader, private, hash, digest(input), &rsa.PSSOptions{SaltLength: hash.Size()})
			}
			if err != nil {
				panic(err)
			}
			return signature
		}
	}
	k.kid = b64(sha(jwk))
	return k
}

func sha(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// low returns the smaller of s and n-s: the one that issuers of this package
// write.
func low(s *big.Int, curve elliptic.Curve) *big.Int {
	if twin := new(big.Int).Sub(curve.Params().N, s); twin.Cmp(s) < 0 {
		return twin
	}
	return s
}

// wide is a JWS signature of ECDSA: r and s side by side, each of that many
// bytes.
func wide(r, s *big.Int, width int) []byte {
	out := make([]byte, 2*width)
	r.FillBytes(out[:width])
	s.FillBytes(out[width:])
	return out
}

func newVerifier(tb testing.TB, ring token.KeySource, edit ...func(*token.VerifierConfig)) *token.Verifier {
	tb.Helper()
	config := token.VerifierConfig{Issuer: issuerName, Audience: audience}
	for _, e := range edit {
		e(&config)
	}
	if config.Revoker == nil {
		config.InsecureNoRevoker = true
	}
	v, err := token.NewVerifier(ring, config)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func newIssuer(tb testing.TB, ring *token.Keyring) *token.Issuer {
	tb.Helper()
	i, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuerName, Audience: audience})
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func issue(tb testing.TB, i *token.Issuer, p identity.Principal, extra any) string {
	tb.Helper()
	if p.Subject == "" {
		p.Subject = "alice"
	}
	s, err := i.Issue(context.Background(), &p, extra)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// An outcome is what became of a request.
type outcome struct {
	ran        bool // the handler was reached
	principal  *identity.Principal
	form       string // what the handler read from the body
	status     int
	header     http.Header
	challenges []string
	body       string
	events     []guard.Event
}

// serve sends r through the middleware to a route that needs a caller.
func serve(v guard.Authenticator, r *http.Request) outcome { return serveWhile(nil, v, r) }

// serveWhile is serve with Hooks.Active.
func serveWhile(active func(context.Context, *identity.Principal) error, v guard.Authenticator, r *http.Request) outcome {
	var o outcome
	hooks := guard.Hooks{Active: active, Observe: func(_ context.Context, e guard.Event) { o.events = append(o.events, e) }}
	h := hooks.Identify(v)(hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.ran = true
		o.principal, _ = identity.FromContext(r.Context())
		body, err := io.ReadAll(r.Body)
		o.form = string(body)
		if err != nil {
			o.form += "!" + err.Error()
		}
		io.WriteString(w, "hello")
	})))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	o.status, o.body, o.header, o.challenges = w.Code, w.Body.String(), w.Header(), w.Header()["Www-Authenticate"]
	return o
}

func get(authorization ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if authorization != nil {
		r.Header["Authorization"] = authorization
	}
	return r
}

// invalidBody is what everybody whose token is no good is told.
const invalidBody = `{"title":"Unauthorized","status":401,"code":"invalid_token","detail":"The credentials are not valid."}` + "\n"

// wantRefused checks that o is the one refusal of invalid tokens, and that why
// it was refused is in the audit event only.
func wantRefused(t *testing.T, o outcome, why error) {
	t.Helper()
	if o.ran {
		t.Error("the handler ran")
	}
	if o.status != 401 || o.body != invalidBody {
		t.Errorf("answered %d %s, want 401 %s", o.status, o.body, invalidBody)
	}
	if want := `Bearer error="invalid_token"`; len(o.challenges) != 1 || o.challenges[0] != want {
		t.Errorf("challenges %q, want %q", o.challenges, want)
	}
	if got := o.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", got)
	}
	if len(o.header) != 3 {
		t.Errorf("headers %v, want Cache-Control, Content-Type and WWW-Authenticate only", o.header)
	}
	if len(o.events) != 1 || o.events[0].Denial == nil {
		t.Fatalf("events %+v, want one refusal", o.events)
	}
	e := o.events[0]
	if e.Name != guard.EventLoginFail {
		t.Errorf("event %q, want %q", e.Name, guard.EventLoginFail)
	}
	if !errors.Is(e.Denial.Err, why) || !errors.Is(e.Denial.Err, token.ErrInvalid) {
		t.Errorf("reason %v, want %v", e.Denial.Err, why)
	}
	if e.Principal != nil {
		t.Errorf("the event names %v", e.Principal)
	}
}

func wantAccepted(t *testing.T, o outcome) {
	t.Helper()
	if !o.ran || o.status != 200 || o.body != "hello" || o.principal == nil || len(o.events) != 0 {
		t.Fatalf("ran %v, %d %q, principal %v, events %+v; want the handler's answer", o.ran, o.status, o.body, o.principal, o.events)
	}
}

// wantAmbiguous checks for the 400 of a request with two tokens.
func wantAmbiguous(t *testing.T, o outcome) {
	t.Helper()
	if o.ran || o.status != 400 || !strings.Contains(o.body, `"invalid_request"`) || o.challenges != nil {
		t.Errorf("ran %v, %d %s, challenges %q; want 400 invalid_request", o.ran, o.status, o.body, o.challenges)
	}
	if len(o.events) != 1 || o.events[0].Name != guard.EventInputFail {
		t.Errorf("events %+v, want %s", o.events, guard.EventInputFail)
	}
}

// wantAnonymous checks for the 401 of a request without credentials.
func wantAnonymous(t *testing.T, o outcome) {
	t.Helper()
	if o.ran || o.status != 401 || len(o.challenges) != 1 || o.challenges[0] != "Bearer" || !strings.Contains(o.body, `"unauthenticated"`) {
		t.Errorf("ran %v, %d %s, challenges %q; want the 401 of an anonymous request", o.ran, o.status, o.body, o.challenges)
	}
}
