package passkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"testing"
)

// A COSE key has one accepted form. Each is one difference to a key that is accepted.
func TestKeysHaveOneForm(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := []byte(edPublic)
	odd := func(size int) []byte { return append(bytes.Repeat([]byte{0xff}, size-1), 1) }
	offCurve := bytes.Clone(x)
	for bytes.Equal(offCurve, x) || onP256(offCurve, y) {
		offCurve[31]++
	}
	type m = []cborPair
	k := func(key, value any) cborPair { return cborPair{int64(key.(int)), value} }
	es256 := func(change ...cborPair) m {
		return replace(m{k(1, int64(2)), k(3, int64(-7)), k(-1, int64(1)), k(-2, x), k(-3, y)}, change)
	}
	eddsa := func(change ...cborPair) m {
		return replace(m{k(1, int64(1)), k(3, int64(-8)), k(-1, int64(6)), k(-2, ed)}, change)
	}
	rs256 := func(change ...cborPair) m {
		return replace(m{k(1, int64(3)), k(3, int64(-257)), k(-1, odd(256)), k(-2, []byte{1, 0, 1})}, change)
	}
	for name, pairs := range map[string]m{
		"ES256": es256(), "EdDSA": eddsa(), "RS256": rs256(), "RS256 with 4096 bits": rs256(k(-1, odd(512))), "RS256 with e 3": rs256(k(-2, []byte{3})),
		"RS256 with the highest e": rs256(k(-2, []byte{0x7f, 0xff, 0xff, 0xff})),
	} {
		if key, err := parseKey(pairs); err != nil || key.check() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, pairs := range map[string]m{
		"nothing": {}, "no y": es256()[:4], "another member": append(es256(), k(-4, x)), "a key operation": append(es256(), k(4, []any{int64(2)})),
		"another order":        {es256()[1], es256()[0], es256()[2], es256()[3], es256()[4]},
		"kty 2 with alg RS256": es256(k(3, int64(-257))), "kty 2 with alg EdDSA": es256(k(3, int64(-8))), "kty 3 with alg ES256": rs256(k(3, int64(-7))),
		"kty 1 with alg ES256": eddsa(k(3, int64(-7))), "kty as text": es256(k(1, "EC2")), "alg ES384": es256(k(3, int64(-35))), "alg ESP256": es256(k(3, int64(-9))),
		"alg Ed25519": eddsa(k(3, int64(-19))), "alg PS256": rs256(k(3, int64(-37))), "alg RS1": rs256(k(3, int64(-65535))),
		"P-384": es256(k(-1, int64(2))), "secp256k1": es256(k(-1, int64(8))), "X25519": eddsa(k(-1, int64(4))), "Ed448": eddsa(k(-1, int64(7))),
		"x of 31 bytes": es256(k(-2, x[:31])), "x of 33 bytes": es256(k(-2, append([]byte{0}, x...))), "y of 31 bytes": es256(k(-3, y[:31])),
		"a compressed point": es256(k(-3, true)), "y false": es256(k(-3, false)), "x as text": es256(k(-2, string(x))), "off the curve": es256(k(-2, offCurve)),
		"the point zero": es256(k(-2, make([]byte, 32)), k(-3, make([]byte, 32))), "x beyond the field": es256(k(-2, bytes.Repeat([]byte{0xff}, 32))),
		"Ed25519 of 31 bytes": eddsa(k(-2, ed[:31])), "Ed25519 of 33 bytes": eddsa(k(-2, append(bytes.Clone(ed), 0))), "Ed25519 beyond the field": eddsa(k(-2, bytes.Repeat([]byte{0xff}, 32))),
		"Ed25519 off the curve": eddsa(k(-2, append([]byte{2}, make([]byte, 31)...))),
		"Ed25519 of order 1":    eddsa(k(-2, append([]byte{1}, make([]byte, 31)...))),
		"Ed25519 of order 2":    eddsa(k(-2, append(append([]byte{0xec}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f))),
		"RSA with 1024 bits":    rs256(k(-1, odd(128))), "RSA with 2040 bits": rs256(k(-1, odd(255))), "RSA with 2047 bits": rs256(k(-1, append([]byte{0x7f}, odd(255)...))),
		"RSA with 8192 bits": rs256(k(-1, odd(1024))), "RSA with 4104 bits": rs256(k(-1, odd(513))), "n with a leading zero": rs256(k(-1, append([]byte{0}, odd(256)...))),
		"an even n": rs256(k(-1, bytes.Repeat([]byte{0xfe}, 256))), "no n": rs256(k(-1, []byte{})), "no e": rs256(k(-2, []byte{})), "e 0": rs256(k(-2, []byte{0})),
		"e 1": rs256(k(-2, []byte{1})), "e 2": rs256(k(-2, []byte{2})), "an even e": rs256(k(-2, []byte{1, 0, 0})), "e with a leading zero": rs256(k(-2, []byte{0, 1, 0, 1})),
		"e of 32 bits": rs256(k(-2, []byte{0xff, 0xff, 0xff, 0xff})), "e of 5 bytes": rs256(k(-2, []byte{1, 0, 0, 0, 1})), "e as a number": rs256(k(-2, int64(65537))),
	} {
		if key, err := parseKey(pairs); err == nil && key.check() == nil {
			t.Errorf("%s is accepted: %v", name, key)
		}
	}
}

// replace returns pairs with other values for the keys of change.
func replace(pairs, change []cborPair) []cborPair {
	for _, c := range change {
		for i := range pairs {
			if pairs[i].key == c.key {
				pairs[i].value = c.value
			}
		}
	}
	return pairs
}

func onP256(x, y []byte) bool {
	_, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	return err == nil
}

// A signature has the form of its algorithm (WebAuthn section 6.5.5): DER for ES256,
// S below the order of the group for EdDSA.
func TestSignaturesHaveTheFormOfTheirAlgorithm(t *testing.T) {
	message := []byte("authenticator data and a hash")
	sum := sha256.Sum256(message)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ecdsa.SignASN1(rand.Reader, ec, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	marshal := func(r, s *big.Int) []byte {
		b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := ed25519.Sign(edKey, message)
	// S + L is the same number modulo L, and a second spelling (RFC 8032 section
	// 5.1.7).
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	reverse := func(b []byte) []byte {
		out := make([]byte, len(b))
		for i := range b {
			out[len(b)-1-i] = b[i]
		}
		return out
	}
	sum2 := new(big.Int).Add(new(big.Int).SetBytes(reverse(ed[32:])), l)
	edPlus := append(bytes.Clone(ed[:32]), reverse(sum2.FillBytes(make([]byte, 32)))...)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaSig, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	pss, err := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	es256, eddsa, rs256 := publicKey{&ec.PublicKey}, publicKey{edKey.Public().(ed25519.PublicKey)}, publicKey{&rsaKey.PublicKey}
	for _, test := range []struct {
		name string
		key  publicKey
		sig  []byte
		want bool
	}{
		{"DER", es256, der, true},
		{"n-S in place of S", es256, marshal(rs.R, new(big.Int).Sub(n, rs.S)), true},
		{"r and s", es256, append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...), false},
		{"a long length", es256, append([]byte{0x30, 0x81}, der[1:]...), false},
		{"an indefinite length", es256, append(append([]byte{0x30, 0x80}, der[2:]...), 0, 0), false},
		{"a tail", es256, append(bytes.Clone(der), 0), false},
		{"cut", es256, der[:len(der)-1], false},
		{"r zero", es256, marshal(new(big.Int), rs.S), false},
		{"s zero", es256, marshal(rs.R, new(big.Int)), false},
		{"both zero", es256, marshal(new(big.Int), new(big.Int)), false},
		{"s plus n", es256, marshal(rs.R, new(big.Int).Add(rs.S, n)), false},
		{"negative s", es256, marshal(rs.R, new(big.Int).Neg(rs.S)), false},
		{"empty", es256, nil, false},
		{"64 bytes", eddsa, ed, true},
		{"S plus L", eddsa, edPlus, false},
		{"a tail", eddsa, append(bytes.Clone(ed), 0), false},
		{"63 bytes", eddsa, ed[:63], false},
		{"empty", eddsa, nil, false},
		{"PKCS #1", rs256, rsaSig, true},
		{"PSS", rs256, pss, false},
		{"a leading zero", rs256, append([]byte{0}, rsaSig...), false},
		{"zeros", rs256, make([]byte, 256), false},
		{"empty", rs256, nil, false},
	} {
		if got := test.key.verifies(message, test.sig); got != test.want {
			t.Errorf("%T, %s: %t", test.key.key, test.name, got)
		}
	}
}
