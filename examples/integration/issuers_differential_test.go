package integration_test

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/gatewright/gatewright/auth/token"
)

type issuerShape struct {
	Why            string
	Header, Claims map[string]any
}

type issuerShapes struct {
	issuerShape
	Name     string
	Settings struct{ Issuer, Audience string } `json:"settings_needed"`
	Rejected []issuerShape                     `json:"must_not_be_accepted_as"`
}

// signShape signs with go-jose, whose dates are seconds from now.
func signShape(t *testing.T, s issuerShape, alg jose.SignatureAlgorithm, key any) string {
	t.Helper()
	claims := maps.Clone(s.Claims)
	for _, name := range []string{"exp", "nbf", "iat", "auth_time"} {
		if n, ok := claims[name].(float64); ok {
			claims[name] = time.Now().Unix() + int64(n)
		}
	}
	options := new(jose.SignerOptions)
	for name, value := range s.Header {
		if name != "alg" && name != "kid" {
			options.WithHeader(jose.HeaderKey(name), value)
		}
	}
	kid, _ := s.Header["kid"].(string)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// TestOtherLibrariesOnTokensOfOtherIssuers verifies the tokens of
// auth/token/testdata/issuers with go-jose and jwx (issuer, audience and times) and
// with go-oidc (as ID tokens). All accept the good ones where they have what these
// libraries require. The hostile neighbours that they accept, and this library
// rejects, are in testdata/issuers.golden; UPDATE_GOLDEN=1 writes it.
func TestOtherLibrariesOnTokensOfOtherIssuers(t *testing.T) {
	files, err := filepath.Glob("../../auth/token/testdata/issuers/*.json")
	if err != nil || len(files) < 48 {
		t.Fatal(len(files), err)
	}
	var table strings.Builder
	table.WriteString("vector\tgood: go-jose, jwx, go-oidc\thostile\taccepted by go-jose\taccepted by jwx\taccepted by go-oidc\n")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v issuerShapes
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		alg := jose.SignatureAlgorithm(v.Header["alg"].(string))
		key, err := token.GenerateKey(token.Algorithm(alg))
		if err != nil {
			t.Fatal(err)
		}
		var private, public any = key.Secret.Bytes(), key.Secret.Bytes()
		if !key.Signer.IsZero() {
			private, public = key.Signer.Unwrap(), key.Signer.Public()
		}
		byJose := func(s string) error {
			parsed, err := jwt.ParseSigned(s, []jose.SignatureAlgorithm{alg})
			if err != nil {
				return err
			}
			var claims jwt.Claims
			if err := parsed.Claims(public, &claims); err != nil {
				return err
			}
			return claims.Validate(jwt.Expected{Issuer: v.Settings.Issuer, AnyAudience: jwt.Audience{v.Settings.Audience}, Time: time.Now()})
		}
		byJWX := func(s string) error {
			signature, ok := jwa.LookupSignatureAlgorithm(string(alg))
			if !ok {
				t.Fatalf("jwx has no %s", alg)
			}
			_, err := jwxjwt.Parse([]byte(s), jwxjwt.WithKey(signature, public), jwxjwt.WithIssuer(v.Settings.Issuer), jwxjwt.WithAudience(v.Settings.Audience))
			return err
		}
		byOIDC := func(s string) error {
			if _, ok := public.([]byte); ok {
				return fmt.Errorf("no shared secrets")
			}
			keys := &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{public}}
			_, err := oidc.NewVerifier(v.Settings.Issuer, keys, &oidc.Config{ClientID: v.Settings.Audience, SupportedSigningAlgs: []string{string(alg)}}).Verify(context.Background(), s)
			return err
		}
		good := signShape(t, v.issuerShape, alg, private)
		verdict := func(err error) string {
			if err == nil {
				return "yes"
			}
			return "no"
		}
		// What these libraries require: an audience, and the issuer to the letter.
		_, hasAudience := v.Claims["aud"]
		if hasAudience && v.Claims["iss"] == v.Settings.Issuer {
			if err := byJose(good); err != nil {
				t.Errorf("%s: go-jose: %v", v.Name, err)
			}
			if err := byJWX(good); err != nil {
				t.Errorf("%s: jwx: %v", v.Name, err)
			}
			if err := byOIDC(good); err != nil && alg != jose.HS256 {
				t.Errorf("%s: go-oidc: %v", v.Name, err)
			}
		}
		var jose1, jwx1, oidc1 []string
		for _, other := range v.Rejected {
			s := signShape(t, other, alg, private)
			if byJose(s) == nil {
				jose1 = append(jose1, other.Why)
			}
			if byJWX(s) == nil {
				jwx1 = append(jwx1, other.Why)
			}
			if byOIDC(s) == nil {
				oidc1 = append(oidc1, other.Why)
			}
		}
		fmt.Fprintf(&table, "%s\t%s, %s, %s\t%d\t%d: %s\t%d: %s\t%d: %s\n", v.Name, verdict(byJose(good)), verdict(byJWX(good)), verdict(byOIDC(good)), len(v.Rejected),
			len(jose1), strings.Join(jose1, "; "), len(jwx1), strings.Join(jwx1, "; "), len(oidc1), strings.Join(oidc1, "; "))
	}
	const golden = "testdata/issuers.golden"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != table.String() {
		t.Errorf("the table has changed (%v), want %s:\n%s", err, golden, table.String())
	}
}
