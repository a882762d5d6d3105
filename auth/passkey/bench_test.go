package passkey_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

// An assertion in parts, to verify its signature alone.
type bare struct{ data, client, signature []byte }

// BenchmarkAssertion compares, for each algorithm, the bare signature check of the
// standard library with Prove from the body of a request: JSON, challenge, record,
// store and all other checks. The ratio of the two is what this package adds.
func BenchmarkAssertion(b *testing.B) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for _, alg := range []struct {
		name   string
		key    crypto.Signer
		verify func(message, signature []byte) bool
	}{
		{"ES256", ec, func(m, sig []byte) bool { sum := sha256.Sum256(m); return ecdsa.VerifyASN1(&ec.PublicKey, sum[:], sig) }},
		{"EdDSA", ed, func(m, sig []byte) bool { return ed25519.Verify(ed.Public().(ed25519.PublicKey), m, sig) }},
		{"RS256", rs, func(m, sig []byte) bool {
			sum := sha256.Sum256(m)
			return rsa.VerifyPKCS1v15(&rs.PublicKey, crypto.SHA256, sum[:], sig) == nil
		}},
	} {
		s := newBenchSite(b)
		a := passkeytest.New(origin)
		a.Key = alg.key
		s.register(caller("ada"), a)
		assertion := []byte(s.assertion(a))
		parts := partsOf(b, assertion)
		b.Run(alg.name+"/signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hash := sha256.Sum256(parts.client)
				if !alg.verify(append(bytes.Clone(parts.data), hash[:]...), parts.signature) {
					b.Fatal("refused")
				}
			}
		})
		b.Run(alg.name+"/Prove", func(b *testing.B) {
			b.ReportAllocs()
			header := http.Header{"Content-Type": {"application/json"}}
			for b.Loop() {
				r := &http.Request{Method: "POST", Header: header, Body: io.NopCloser(bytes.NewReader(assertion)), ContentLength: int64(len(assertion))}
				if _, err := s.rp.Prove(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// newBenchSite returns a site that lets a challenge be used again.
func newBenchSite(tb testing.TB) *site {
	s := &site{TB: tb, store: &passkey.Memory{}}
	s.config = siteConfig(s)
	s.config.Once = func(context.Context, [32]byte, time.Time) (bool, error) { return true, nil }
	s.open()
	return s
}

func partsOf(tb testing.TB, assertion []byte) bare {
	var c struct {
		Response struct{ AuthenticatorData, ClientDataJSON, Signature string }
	}
	if err := json.Unmarshal(assertion, &c); err != nil {
		tb.Fatal(err)
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	return bare{decode(c.Response.AuthenticatorData), decode(c.Response.ClientDataJSON), decode(c.Response.Signature)}
}
