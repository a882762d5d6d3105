package token_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/token"
)

func TestPrivateKeysAreStoredAsPEM(t *testing.T) {
	for _, alg := range []token.Algorithm{token.ES256, token.ES384, token.ES512, token.EdDSA, token.RS256} {
		file, err := token.GeneratePrivateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the same file is the same key
			k, err := token.ParsePrivateKey(file)
			if err != nil || k.Algorithm != alg {
				t.Fatalf("%s: %v, %v", alg, k, err)
			}
			mustRing(t, k)
		}
	}
	for _, alg := range []token.Algorithm{token.HS256, "none", ""} {
		if file, err := token.GeneratePrivateKey(alg); err == nil {
			t.Errorf("%q: %s", alg, file)
		}
	}
}

func TestFilesOfOtherKindsAreNoPrivateKey(t *testing.T) {
	good, err := token.GeneratePrivateKey(token.ES256)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der, Headers: headers})
	}
	decoded, _ := pem.Decode(good)
	private, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := x509.MarshalPKCS8PrivateKey(agreement)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty":                  {nil, "no PEM block"},
		"DER":                    {decoded.Bytes, "no PEM block"},
		"two keys":               {append(bytes.Clone(good), good...), "more than one"},
		"text before the key":    {append([]byte("secret note\n"), good...), "other text"},
		"text behind the key":    {append(bytes.Clone(good), "secret note"...), "other text"},
		"an encrypted key":       {block("ENCRYPTED PRIVATE KEY", decoded.Bytes, nil), "encrypted"},
		"an encrypted old key":   {block("EC PRIVATE KEY", decoded.Bytes, map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}), "encrypted"},
		"a public key":           {block("PUBLIC KEY", decoded.Bytes, nil), `a "PUBLIC KEY"`},
		"a certificate":          {block("CERTIFICATE", decoded.Bytes, nil), `a "CERTIFICATE"`},
		"a damaged key":          {block("PRIVATE KEY", decoded.Bytes[:40], nil), "damaged"},
		"a curve of no use":      {block("PRIVATE KEY", p224, nil), "P-256"},
		"a key that only agrees": {block("PRIVATE KEY", x25519, nil), "does not sign"},
	} {
		if k, err := token.ParsePrivateKey(c.file); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret note") {
			t.Errorf("%s: %v, %v; want an error with %q", name, k, err, c.says)
		}
	}
}

func FuzzParsePrivateKey(f *testing.F) {
	good, err := token.GeneratePrivateKey(token.EdDSA)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, file []byte) {
		// Whatever is returned can be printed, and NewKeyring takes or refuses it.
		k, err := token.ParsePrivateKey(file)
		if err != nil {
			return
		}
		if _, err := token.NewKeyring(k); err != nil && strings.Contains(err.Error(), "BEGIN") {
			t.Error(err)
		}
	})
}
