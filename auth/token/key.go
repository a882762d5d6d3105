package token

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/big"
	"reflect"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatewright/gatewright/auth/guard"
)

// An Algorithm is a signature algorithm of RFC 7518 section 3.1 or RFC 8037.
type Algorithm string

// The algorithms. ES256 suits most hosts. HS256 is for tokens that only the
// issuer verifies.
const (
	HS256 Algorithm = "HS256"
	HS384 Algorithm = "HS384"
	HS512 Algorithm = "HS512"
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	EdDSA Algorithm = "EdDSA" // Ed25519 keys, with the name of RFC 8037

	// Ed25519 is the RFC 9864 name of EdDSA. This package accepts either name; other
	// verifiers may accept only EdDSA.
	Ed25519 Algorithm = "Ed25519"
)

// same reports whether a and b name one algorithm.
func (a Algorithm) same(b Algorithm) bool {
	return a == b || suites[a].family == familyEdDSA && suites[b].family == familyEdDSA
}

// A Key signs or verifies tokens with one algorithm, which a token cannot change. Set
// exactly one of Secret, Signer and Public.
type Key struct {
	Algorithm Algorithm

	// Secret is the key of an HS algorithm, at least as long as the hash (RFC 7518
	// section 3.2), 32 random bytes for HS256.
	Secret guard.Secret `json:"-"`

	// Signer is a private key or a key management system.
	Signer Signer `json:"-"`

	// Public is a key that only verifies.
	Public crypto.PublicKey `json:"-"`

	// ID is another issuer's "kid" for the key of Public or Secret, and an error with
	// a Signer. Default: the thumbprint of the key (RFC 7638).
	ID string

	// AcceptHighS accepts both forms of an ECDSA signature, (r, s) and (r, n-s), as
	// for keys with an ID and of a [Remote]. Risk: a second string for a valid token.
	// For other algorithms it is an error.
	AcceptHighS bool

	// PublishFrom and VerifyUntil limit when the key verifies. It signs from SignFrom
	// to one token lifetime before VerifyUntil. Default: no limit.
	PublishFrom, SignFrom, VerifyUntil time.Time
}

// GenerateKey returns a new random key, of 2048 bits for RSA. To store a key, use
// [GeneratePrivateKey].
func GenerateKey(alg Algorithm) (Key, error) {
	s, ok := suites[alg]
	if !ok {
		return Key{}, fmt.Errorf("auth/token: unknown algorithm %q", alg)
	}
	if s.family == familyHMAC {
		material := make([]byte, s.hash.Size())
		rand.Read(material)
		return Key{Algorithm: alg, Secret: guard.NewSecret(material)}, nil
	}
	private, err := generate(alg)
	if err != nil {
		return Key{}, err
	}
	return Key{Algorithm: alg, Signer: NewSigner(private)}, nil
}

// generate returns a new private key for an algorithm with public keys.
func generate(alg Algorithm) (crypto.Signer, error) {
	s, ok := suites[alg]
	if !ok || s.family == familyHMAC {
		return nil, fmt.Errorf("auth/token: the algorithm %q has no private keys", alg)
	}
	switch s.family {
	case familyECDSA:
		return ecdsa.GenerateKey(s.curve, rand.Reader)
	case familyEdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	default:
		return rsa.GenerateKey(rand.Reader, minRSABits)
	}
}

// Format prints the algorithm for every verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "token.Key(%s)", k.Algorithm) }

type family int

const (
	familyHMAC family = iota
	familyRSA
	familyPSS
	familyECDSA
	familyEdDSA
)

// A suite is how an algorithm signs and verifies.
type suite struct {
	family family
	hash   crypto.Hash       // unused by EdDSA, which signs the message itself
	curve  elliptic.Curve    // of ECDSA
	method jwt.SigningMethod // verifies; nil for HMAC, see [key.verify]
}

var suites = map[Algorithm]suite{
	HS256: {family: familyHMAC, hash: crypto.SHA256},
	HS384: {family: familyHMAC, hash: crypto.SHA384},
	HS512: {family: familyHMAC, hash: crypto.SHA512},
	RS256: {family: familyRSA, hash: crypto.SHA256, method: jwt.SigningMethodRS256},
	RS384: {family: familyRSA, hash: crypto.SHA384, method: jwt.SigningMethodRS384},
	RS512: {family: familyRSA, hash: crypto.SHA512, method: jwt.SigningMethodRS512},
	PS256: {family: familyPSS, hash: crypto.SHA256, method: exactSalt(jwt.SigningMethodPS256)},
	PS384: {family: familyPSS, hash: crypto.SHA384, method: exactSalt(jwt.SigningMethodPS384)},
	PS512: {family: familyPSS, hash: crypto.SHA512, method: exactSalt(jwt.SigningMethodPS512)},
	ES256: {family: familyECDSA, hash: crypto.SHA256, curve: elliptic.P256(), method: jwt.SigningMethodES256},
	ES384: {family: familyECDSA, hash: crypto.SHA384, curve: elliptic.P384(), method: jwt.SigningMethodES384},
	ES512: {family: familyECDSA, hash: crypto.SHA512, curve: elliptic.P521(), method: jwt.SigningMethodES512},
	EdDSA: {family: familyEdDSA, method: jwt.SigningMethodEdDSA},

	Ed25519: {family: familyEdDSA, method: jwt.SigningMethodEdDSA},
}

// halfOrders are the largest s of ECDSA signatures that keys of a Keyring make and
// accept: n/2, rounded down, for the order n of the curve. Of (r, s) and (r, n-s),
// exactly one has such an s.
var halfOrders = func() map[elliptic.Curve][]byte {
	half := make(map[elliptic.Curve][]byte)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		n := curve.Params().N
		half[curve] = new(big.Int).Rsh(n, 1).FillBytes(make([]byte, (n.BitLen()+7)/8))
	}
	return half
}()

// exactSalt is the method with the only salt length of RFC 7518 section 3.5;
// golang-jwt accepts any.
func exactSalt(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          m.Options,
		VerifyOptions:    &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: m.Hash},
	}
}

const (
	// minRSABits is the floor of RFC 7518 sections 3.3 and 3.5; maxRSABits
	// bounds what one verification may cost.
	minRSABits = 2048
	maxRSABits = 8192

	// maxKeyID leaves the rest of a header, of maxHeader bytes, its room.
	maxKeyID = 256
)

// key is a Key that was checked, ready for use.
type key struct {
	id       string // the "kid": material, or the name that another issuer gave it
	material string // RFC 7638 thumbprint
	alg      Algorithm
	suite    suite
	public   any       // verifies; nil for HMAC
	macs     sync.Pool // of *mac, which are costly to set up
	jwk      any       // the public key as it is published; nil for HMAC
	issuer   string    // the only one whose tokens it verifies, or a template of it; "" for any
	maxS     []byte    // the largest s of an ECDSA signature; nil if any

	publishFrom, signFrom, verifyUntil time.Time

	// publishedSince is since when this process has published the key, or
	// will: what Keyring.Replace goes by.
	publishedSince time.Time

	// The private material is in these functions only, because fmt prints the
	// content of unexported fields, but only the address of a function.
	newMAC func() hash.Hash // of HMAC
	remote bool             // signer may be anywhere, and needs a deadline
	signer func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

type mac struct {
	hash.Hash
	sum []byte
}

// newKey checks k. Its errors name the field and the fix.
func newKey(k Key) (*key, error) {
	s, ok := suites[k.Algorithm]
	if !ok {
		return nil, fmt.Errorf("the Algorithm is %q; use one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519", string(k.Algorithm))
	}
	set := 0
	for _, given := range [...]bool{!k.Secret.IsZero(), !k.Signer.IsZero(), k.Public != nil} {
		if given {
			set++
		}
	}
	if set != 1 {
		return nil, fmt.Errorf("%d of Secret, Signer and Public are set; set exactly one", set)
	}
	if err := checkTimes(k); err != nil {
		return nil, err
	}
	if k.ID != "" && !k.Signer.IsZero() {
		return nil, errors.New("the ID is set beside a Signer; leave it empty, because the ID of a key that signs is its thumbprint")
	}
	if !plainText(k.ID) || len(k.ID) > maxKeyID {
		return nil, fmt.Errorf("the ID is %.100q; use up to %d bytes of UTF-8 without control characters", k.ID, maxKeyID)
	}
	out := &key{
		alg:         k.Algorithm,
		suite:       s,
		publishFrom: k.PublishFrom,
		signFrom:    k.SignFrom,
		verifyUntil: k.VerifyUntil,
	}
	if k.AcceptHighS && s.family != familyECDSA {
		return nil, fmt.Errorf("the AcceptHighS is true, but signatures of %s have no s; leave it out", k.Algorithm)
	}
	if s.family == familyECDSA && !k.AcceptHighS && k.ID == "" {
		out.maxS = halfOrders[s.curve]
	}
	if s.family == familyHMAC {
		err := out.setSecret(k)
		out.material = out.id
		out.id = cmp.Or(k.ID, out.id)
		return out, err
	}
	if !k.Secret.IsZero() {
		return nil, fmt.Errorf("the Secret is set, but %s needs Signer or Public", k.Algorithm)
	}
	public := k.Public
	if private := k.Signer.Unwrap(); private != nil {
		if err := checkSigner(private); err != nil {
			return nil, err
		}
		if public = private.Public(); public == nil {
			return nil, errors.New("the Signer's Public() returns nil")
		}
		out.signer = private.Sign
		out.remote = !inMemory(private)
	}
	return out, out.setPublic(public, k.ID)
}

// checkSigner returns an error for private keys that would panic later: nil
// pointers and incomplete keys.
func checkSigner(s crypto.Signer) error {
	if v := reflect.ValueOf(s); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("the Signer is a nil %T", s)
	}
	switch private := s.(type) {
	case *rsa.PrivateKey:
		if private.N == nil || private.D == nil {
			return errors.New("the Signer is an incomplete *rsa.PrivateKey")
		}
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 PrivateKey.Bytes panics where this returns an error.
		if private.Curve == nil || private.D == nil {
			return errors.New("the Signer is an incomplete *ecdsa.PrivateKey")
		}
	case *ed25519.PrivateKey:
		return checkSigner(*private)
	case ed25519.PrivateKey:
		if len(private) != ed25519.PrivateKeySize {
			return fmt.Errorf("the Signer is an Ed25519 key of %d bytes instead of %d", len(private), ed25519.PrivateKeySize)
		}
	}
	return nil
}

// inMemory reports whether s is a private key of the standard library, which
// signs without waiting for anything.
func inMemory(s crypto.Signer) bool {
	switch s.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, *ed25519.PrivateKey:
		return true
	}
	return false
}

func (k *key) setSecret(from Key) error {
	secret := from.Secret.Bytes()
	if len(secret) == 0 {
		return fmt.Errorf("%s needs Secret", k.alg)
	}
	if want := k.suite.hash.Size(); len(secret) < want {
		return fmt.Errorf("the Secret has %d bytes; use at least %d random bytes (RFC 7518 section 3.2)", len(secret), want)
	}
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		// A public key is no secret: any client may know it.
		return errors.New("the Secret is a PEM file; use random bytes, or pass a private key as Signer")
	}
	if len(bytes.Trim(secret, "\x00")) == 0 {
		return errors.New("the Secret is all zeros; fill it with random bytes")
	}
	k.newMAC = func() hash.Hash { return hmac.New(k.suite.hash.New, secret) }
	k.macs.New = func() any {
		return &mac{Hash: k.newMAC(), sum: make([]byte, 0, k.suite.hash.Size())}
	}
	// RFC 7638 section 3.2: the required members of the JWK, in order.
	k.id = thumbprint(fmt.Sprintf(`{"k":%q,"kty":"oct"}`, encode(secret)))
	return nil
}

// setPublic checks and copies the public key, so that the host cannot change the
// key of the ring. Its ID is name, or else its thumbprint.
func (k *key) setPublic(public crypto.PublicKey, name string) error {
	if v := reflect.ValueOf(public); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("the key is a nil %T", public)
	}
	switch pub := public.(type) {
	case *ecdsa.PublicKey:
		if k.suite.family != familyECDSA {
			return fmt.Errorf("the key is an ECDSA key, which %s cannot use", k.alg)
		}
		//lint:ignore SA1019 PublicKey.Bytes panics where this returns an error.
		if pub.Curve == nil || pub.X == nil || pub.Y == nil {
			return errors.New("the key is an incomplete *ecdsa.PublicKey")
		}
		if pub.Curve != k.suite.curve {
			return fmt.Errorf("the key is on curve %s; use %s for %s (RFC 7518 section 3.4)", pub.Params().Name, k.suite.curve.Params().Name, k.alg)
		}
		point, err := pub.Bytes() // which checks that it is on the curve
		if err != nil {
			return fmt.Errorf("the key is not a point of its curve: %w", err)
		}
		size := (len(point) - 1) / 2 // after the 0x04 of an uncompressed point
		jwk := ecJWK{"EC", k.suite.curve.Params().Name, encode(point[1 : 1+size]), encode(point[1+size:]), jwkUse{"sig", string(k.alg), ""}}
		k.material = thumbprint(fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, jwk.Curve, jwk.X, jwk.Y))
		k.id = cmp.Or(name, k.material)
		jwk.KeyID = k.id
		k.jwk = jwk
		if k.public, err = ecdsa.ParseUncompressedPublicKey(k.suite.curve, point); err != nil {
			return fmt.Errorf("the key is not a point of its curve: %w", err)
		}
	case *rsa.PublicKey:
		if k.suite.family != familyRSA && k.suite.family != familyPSS {
			return fmt.Errorf("the key is an RSA key, which %s cannot use", k.alg)
		}
		if pub.N == nil || pub.N.Sign() <= 0 || pub.N.Bit(0) == 0 {
			return errors.New("the RSA key has a modulus that is missing, negative or even")
		}
		if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("the RSA key has %d bits; use %d to %d (RFC 7518 section 3.3)", bits, minRSABits, maxRSABits)
		}
		if pub.E < 3 || pub.E%2 == 0 || pub.E > math.MaxInt32 {
			// crypto/rsa refuses larger ones at each use.
			return fmt.Errorf("the RSA key has the public exponent %d; use an odd one from 3 to 2^31-1", pub.E)
		}
		jwk := rsaJWK{"RSA", encode(pub.N.Bytes()), encode(big.NewInt(int64(pub.E)).Bytes()), jwkUse{"sig", string(k.alg), ""}}
		k.material = thumbprint(fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, jwk.E, jwk.N))
		k.id = cmp.Or(name, k.material)
		jwk.KeyID = k.id
		k.jwk = jwk
		k.public = &rsa.PublicKey{N: new(big.Int).Set(pub.N), E: pub.E}
	case ed25519.PublicKey:
		if k.suite.family != familyEdDSA {
			return fmt.Errorf("the key is an Ed25519 key, which %s cannot use", k.alg)
		}
		if len(pub) != ed25519.PublicKeySize {
			return fmt.Errorf("the Ed25519 key has %d bytes instead of %d", len(pub), ed25519.PublicKeySize)
		}
		if smallOrder(pub) {
			return errors.New("the Ed25519 key is a point of small order, under which any client can sign; use a generated key")
		}
		jwk := okpJWK{"OKP", "Ed25519", encode(pub), jwkUse{"sig", string(k.alg), ""}}
		k.material = thumbprint(fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, jwk.X))
		k.id = cmp.Or(name, k.material)
		jwk.KeyID = k.id
		k.jwk = jwk
		k.public = ed25519.PublicKey(bytes.Clone(pub))
	default:
		return fmt.Errorf("the key is a %T; use an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey", public)
	}
	return nil
}

// smallOrder reports whether pub is a point of order 1, 2, 4 or 8, in any encoding,
// for example an unfilled key of zeros. Such signatures need no private key.
func smallOrder(pub ed25519.PublicKey) bool {
	y := [ed25519.PublicKeySize]byte(pub)
	y[31] &= 0x7f // the sign of x
	switch hex.EncodeToString(y[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // 0
		"0100000000000000000000000000000000000000000000000000000000000000", // 1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // -1
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, another 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": // p+1, another 1
		return true
	}
	return false
}

// canSign reports whether the key can sign.
func (k *key) canSign() bool { return k.newMAC != nil || k.signer != nil }

// sign returns the signature of RFC 7515 section 5.1 over input.
func (k *key) sign(input []byte) ([]byte, error) {
	switch k.suite.family {
	case familyHMAC:
		h := k.newMAC()
		h.Write(input)
		return h.Sum(nil), nil
	case familyEdDSA:
		signature, err := k.signer(rand.Reader, input, crypto.Hash(0))
		return k.sized(signature, err, ed25519.SignatureSize)
	}
	h := k.suite.hash.New()
	h.Write(input)
	var opts crypto.SignerOpts = k.suite.hash
	if k.suite.family == familyPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: k.suite.hash}
	}
	signature, err := k.signer(rand.Reader, h.Sum(nil), opts)
	if rsaKey, ok := k.public.(*rsa.PublicKey); ok {
		return k.sized(signature, err, rsaKey.Size())
	}
	if err != nil {
		return nil, err
	}
	// A crypto.Signer returns ASN.1, a JWS has R and S side by side at the
	// curve's width (RFC 7518 section 3.4).
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &rs); err != nil || len(rest) > 0 {
		return nil, errors.New("the Signer returned something other than an ECDSA signature in ASN.1")
	}
	width := (k.suite.curve.Params().BitSize + 7) / 8
	if rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > width*8 || rs.S.BitLen() > width*8 {
		return nil, errors.New("the Signer returned an ECDSA signature out of range")
	}
	out := make([]byte, 2*width)
	rs.R.FillBytes(out[:width])
	rs.S.FillBytes(out[width:])
	if bytes.Compare(out[width:], halfOrders[k.suite.curve]) > 0 {
		n := k.suite.curve.Params().N
		if rs.S.Cmp(n) >= 0 {
			return nil, errors.New("the Signer returned an ECDSA signature out of range")
		}
		rs.S.Sub(n, rs.S).FillBytes(out[width:])
	}
	return out, nil
}

// sized returns the signature of a Signer if it has the right size.
func (k *key) sized(signature []byte, err error, size int) ([]byte, error) {
	if err == nil && len(signature) != size {
		err = fmt.Errorf("the Signer returned %d bytes instead of the %d of a signature", len(signature), size)
	}
	if err != nil {
		return nil, err
	}
	return signature, nil
}

// verify reports whether signature is this key's over input, which is also given as a
// string. A pooled HMAC state costs half of a new one; golang-jwt verifies the rest.
func (k *key) verify(input string, inputBytes, signature []byte) bool {
	if k.suite.family != familyHMAC {
		if k.maxS != nil && (len(signature) != 2*len(k.maxS) || bytes.Compare(signature[len(k.maxS):], k.maxS) > 0) {
			return false
		}
		return k.suite.method.Verify(input, signature, k.public) == nil
	}
	m := k.macs.Get().(*mac)
	m.Reset()
	m.Write(inputBytes)
	m.sum = m.Sum(m.sum[:0])
	ok := hmac.Equal(m.sum, signature)
	k.macs.Put(m)
	return ok
}

// The published forms, RFC 7518 section 6 and RFC 8037 section 2. They have no
// private members, so none can slip out.
type (
	jwkUse struct {
		Use   string `json:"use"`
		Alg   string `json:"alg"`
		KeyID string `json:"kid"`
	}
	ecJWK struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
		X     string `json:"x"`
		Y     string `json:"y"`
		jwkUse
	}
	rsaJWK struct {
		Type string `json:"kty"`
		N    string `json:"n"`
		E    string `json:"e"`
		jwkUse
	}
	okpJWK struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
		X     string `json:"x"`
		jwkUse
	}
)

// thumbprint returns the key ID of RFC 7638 section 3.
func thumbprint(canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return encode(sum[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
