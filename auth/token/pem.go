package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParsePrivateKey returns the one unencrypted key in a PEM file: PKCS #8, SEC 1 or
// PKCS #1. The Algorithm follows from the curve, EdDSA for Ed25519; RSA keys have
// RS256, which the caller may change. Errors contain nothing of the file.
func ParsePrivateKey(file []byte) (Key, error) {
	block, rest := pem.Decode(file)
	switch {
	case block == nil:
		return Key{}, errors.New("auth/token: ParsePrivateKey: the file has no PEM block; use PKCS #8, as of openssl genpkey")
	case !bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN ")), len(bytes.TrimSpace(rest)) > 0:
		return Key{}, errors.New("auth/token: ParsePrivateKey: the file has more than one PEM block or other text; use a file with one key")
	case len(block.Headers) > 0, block.Type == "ENCRYPTED PRIVATE KEY":
		return Key{}, errors.New("auth/token: ParsePrivateKey: the key is encrypted; decrypt it with openssl pkey")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return Key{}, fmt.Errorf("auth/token: ParsePrivateKey: the file has a %.40q; use a private key", block.Type)
	}
	if err != nil {
		return Key{}, errors.New("auth/token: ParsePrivateKey: the key is damaged, or of an unknown kind")
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return Key{}, fmt.Errorf("auth/token: ParsePrivateKey: a %T does not sign; use an EC, Ed25519 or RSA key", private)
	}
	k := Key{Signer: NewSigner(signer)}
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		for _, alg := range []Algorithm{ES256, ES384, ES512} {
			if suites[alg].curve == p.Curve {
				k.Algorithm = alg
			}
		}
	case ed25519.PrivateKey:
		k.Algorithm = EdDSA
	case *rsa.PrivateKey:
		k.Algorithm = RS256
	}
	if k.Algorithm == "" {
		return Key{}, errors.New("auth/token: ParsePrivateKey: no algorithm uses the curve of the key; use P-256, P-384 or P-521")
	}
	return k, nil
}

// GeneratePrivateKey returns a new random private key as a PKCS #8 PEM file for
// [ParsePrivateKey], of 2048 bits for RSA. Write it with file mode 0600.
func GeneratePrivateKey(alg Algorithm) ([]byte, error) {
	private, err := generate(alg)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("auth/token: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
