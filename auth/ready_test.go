package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// keyService is a Signer like a key management system, which may fail.
type keyService struct {
	crypto.Signer
	err error
}

func (k *keyService) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	return k.Signer.Sign(random, digest, opts)
}

func TestReadySignsAndVerifiesAToken(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	service := &keyService{Signer: private}
	ring, err := token.NewKeyring(token.Key{Algorithm: token.ES256, Signer: token.NewSigner(service)})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	published := func(ring *token.Keyring) *token.KeySet {
		rec := httptest.NewRecorder()
		ring.JWKSHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		set, err := token.ParseKeySet(rec.Body.Bytes(), token.ES256)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	revoked := new(blacklist.Memory)
	server := func(keys token.KeySource) *auth.Server {
		config := auth.Config{Sessions: new(auth.Memory), RefreshKeys: []guard.Secret{refreshSecret}, Revoker: revoked}
		if keys != nil {
			if config.Verifier, err = token.NewVerifier(keys, token.VerifierConfig{Issuer: issuer, Audience: audience, Revoker: revoked}); err != nil {
				t.Fatal(err)
			}
		}
		s, err := auth.New(new(auth.Memory), tokens, config)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other, err := token.GenerateKey(token.ES256)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		server *auth.Server
		fails  error
		says   string // empty: ready
	}{
		"the ring's own Verifier":          {server(ring), nil, ""},
		"a Verifier of the published keys": {server(published(ring)), nil, ""},
		"no Verifier":                      {server(nil), nil, ""},
		"a Verifier of other keys":         {server(published(mustRing(t, other))), nil, "Config.Verifier rejects"},
		"a key service that fails":         {server(ring), errors.New("quota exceeded"), "signing a token: auth/token: signing: quota exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			service.err = c.fails
			err := c.server.Ready(t.Context())
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("Ready = %v, want %q", err, c.says)
			}
		})
	}
}

func mustRing(t *testing.T, key token.Key) *token.Keyring {
	ring, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
