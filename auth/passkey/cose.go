package passkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
)

// The COSE algorithms that are offered and accepted (RFC 9053 section 2, RFC 8812
// section 2), in order of preference.
const (
	algES256 = -7
	algEdDSA = -8 // with Ed25519
	algRS256 = -257
)

var algorithms = []int64{algES256, algEdDSA, algRS256}

var errKey = errors.New("the public key is not one that is accepted")

// A publicKey is the public key of a credential.
type publicKey struct{ key crypto.PublicKey }

// parseKey reads a COSE_Key (WebAuthn section 5.8.5 and 6.5.1.1): exactly the
// members of its type, in canonical order.
func parseKey(pairs []cborPair) (publicKey, error) {
	var members [5]any
	matches := func(keys ...int64) bool {
		if len(pairs) != len(keys) {
			return false
		}
		for i, k := range keys {
			if pairs[i].key != k {
				return false
			}
			members[i] = pairs[i].value
		}
		return true
	}
	bytes := func(i int) []byte { b, _ := members[i].([]byte); return b }
	const kty, alg, crv, x, y = 1, 3, -1, -2, -3
	switch {
	case matches(kty, alg, crv, x, y) && members[0] == int64(2) && members[1] == int64(algES256) && members[2] == int64(1):
		if len(bytes(3)) != 32 || len(bytes(4)) != 32 {
			return publicKey{}, errKey
		}
		point := append(append([]byte{4}, bytes(3)...), bytes(4)...)
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return publicKey{}, fmt.Errorf("%w: %w", errKey, err)
		}
		return publicKey{key}, nil
	case matches(kty, alg, crv, x) && members[0] == int64(1) && members[1] == int64(algEdDSA) && members[2] == int64(6):
		if len(bytes(3)) != ed25519.PublicKeySize {
			return publicKey{}, errKey
		}
		return publicKey{ed25519.PublicKey(bytes(3))}, nil
	case matches(kty, alg, crv, x) && members[0] == int64(3) && members[1] == int64(algRS256): // n is -1, e is -2
		return rsaKey(bytes(2), bytes(3))
	}
	return publicKey{}, errKey
}

// rsaKey returns the RSA key with the modulus n, of 2048 to 4096 bits, and the
// exponent e, neither with leading zeros.
func rsaKey(n, e []byte) (publicKey, error) {
	if len(n) < 256 || len(n) > 512 || n[0] == 0 || n[len(n)-1]%2 == 0 || len(e) == 0 || len(e) > 4 || e[0] == 0 {
		return publicKey{}, errKey
	}
	exponent := int64(0)
	for _, b := range e {
		exponent = exponent<<8 | int64(b)
	}
	modulus := new(big.Int).SetBytes(n)
	if exponent < 3 || exponent%2 == 0 || exponent > 1<<31-1 || modulus.BitLen() < 2048 {
		return publicKey{}, errKey
	}
	return publicKey{&rsa.PublicKey{N: modulus, E: int(exponent)}}, nil
}

// check returns an error for a key that could never verify a signature. parseKey
// finds all but one kind: the check of that kind takes long, so it is made once,
// when a key is registered.
func (k publicKey) check() error {
	if key, ok := k.key.(ed25519.PublicKey); ok && !onEdwards25519(key) {
		return errKey
	}
	return nil
}

// onEdwards25519 reports whether x encodes a point of the curve (RFC 8032 section
// 5.1.3), because crypto/ed25519 finds out only when a signature is verified.
func onEdwards25519(x []byte) bool {
	// p = 2^255-19; u/v = (y²-1)/(dy²+1) must be a square.
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(z *big.Int) *big.Int { return z.Mod(z, p) }
	encoded := make([]byte, len(x))
	for i, b := range x {
		encoded[len(x)-1-i] = b
	}
	encoded[0] &= 0x7f
	y := new(big.Int).SetBytes(encoded)
	if y.Cmp(p) >= 0 {
		return false
	}
	d := mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p)))
	y2 := mod(new(big.Int).Mul(y, y))
	u := mod(new(big.Int).Sub(y2, big.NewInt(1)))
	v := mod(new(big.Int).Add(new(big.Int).Mul(d, y2), big.NewInt(1)))
	x2 := mod(u.Mul(u, v.ModInverse(v, p)))
	if x2.Sign() == 0 {
		return false // the two points with x 0 are of order 1 and 2
	}
	return big.Jacobi(x2, p) == 1
}

// verifies reports whether signature is the key's signature over message
// (WebAuthn section 6.5.5).
func (k publicKey) verifies(message, signature []byte) bool {
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(key, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, signature)
	case *rsa.PublicKey:
		sum := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}
