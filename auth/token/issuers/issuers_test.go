package issuers_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/auth/token/issuers"
)

type shape struct {
	Why            string
	Header, Claims map[string]any
}

type vector struct {
	shape
	Principal struct {
		Issuer, Subject, Tenant, Session, Credential, Client string
		Roles, Scopes                                        []string
	}
	Rejected []shape `json:"must_not_be_accepted_as"`
}

func read(t *testing.T, name string) (v vector) {
	t.Helper()
	data, err := os.ReadFile("../testdata/issuers/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// sign signs a shape, whose dates are seconds from now.
func sign(t *testing.T, s shape, key crypto.Signer) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	part := func(members map[string]any) string {
		all := maps.Clone(members)
		for _, name := range []string{"exp", "nbf", "iat", "auth_time"} {
			if n, ok := all[name].(float64); ok {
				all[name] = time.Now().Unix() + int64(n)
			}
		}
		data, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return encode(data)
	}
	input := part(s.Header) + "." + part(s.Claims)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, key, digest[:])
		signature, err = make([]byte, 64), failed
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(signature)
}

// presets are those of this package with what their vectors need, and what the
// host lists for them.
func presets() map[string]issuers.Preset {
	grant := func(p issuers.Preset, scopes, roles []token.Grant) issuers.Preset {
		p.Verifier.Profile.Scopes, p.Verifier.Profile.Roles = scopes, roles
		return p
	}
	one := func(names map[string]string, path ...string) []token.Grant {
		return []token.Grant{{Claim: path, Names: names}}
	}
	entra := func(p issuers.Preset) issuers.Preset {
		return grant(p, one(token.Same("Orders.Read", "Orders.Write"), "scp"), one(token.Same("Orders.Admin"), "roles"))
	}
	github := issuers.GitHubActions("https://orders.example.com", "65", "74")
	github.Verifier.Profile.Require = append(github.Verifier.Profile.Require, token.Condition{Claim: token.Path{"ref"}, Is: []any{"refs/heads/main"}})
	return map[string]issuers.Preset{
		"keycloak-26-access": grant(issuers.Keycloak("https://sso.example.com/realms/demo", "orders-api"), one(token.Same("openid", "email", "profile"), "scope"),
			slices.Concat(one(token.Same("default-roles-demo", "offline_access", "staff"), "realm_access", "roles"), one(token.Same("editor"), "resource_access", "orders-api", "roles"))),
		"entra-v2-access":      entra(issuers.Entra("72f988bf-0000-41af-91ab-2d7cd011db47", "6e74172b-0000-4843-9ff4-e66a39bb12e3")),
		"entra-v2-multitenant": entra(issuers.EntraTenants("6e74172b-0000-4843-9ff4-e66a39bb12e3", "72f988bf-0000-41af-91ab-2d7cd011db47")),
		"auth0-default":        grant(issuers.Auth0("tenant.eu.auth0.example.com", "https://orders.example.com"), one(token.Same("openid", "profile", "read:orders"), "scope"), nil),
		"okta-custom-as": grant(issuers.Okta("https://dev-1.okta.example.com/oauth2/default", "api://default"), one(token.Same("openid", "orders.read"), "scp"),
			one(token.Same("Everyone", "Sales"), "groups")),
		"cognito-access":         grant(issuers.CognitoAccess("eu-west-1", "eu-west-1_ExaMPle", "1example23456789"), one(token.Same("openid", "orders/read"), "scope"), one(token.Same("admin"), "cognito:groups")),
		"cognito-id":             grant(issuers.CognitoID("eu-west-1", "eu-west-1_ExaMPle", "1example23456789"), nil, one(token.Same("admin"), "cognito:groups")),
		"google-id":              issuers.Google("1009120542229-web.apps.googleusercontent.example", "example.com"),
		"firebase-id":            issuers.Firebase("demo-project"),
		"github-actions":         github,
		"kubernetes-sa":          issuers.Kubernetes("https://oidc.eks.eu-west-1.amazonaws.com/id/05631FE9BC883BD8", "https://orders.example.com", "devops"),
		"cloudflare-access-user": issuers.CloudflareAccess("yourteam.cloudflareaccess.example.com", "32eafc7626e974616deaf0dc3ce63d7bcbed58a2731e84d06bc3cdf1b53c4228"),
		"cloudflare-access-service": issuers.CloudflareAccess("yourteam.cloudflareaccess.example.com",
			"32eafc7626e974616deaf0dc3ce63d7bcbed58a2731e84d06bc3cdf1b53c4228"),
		"google-iap":     issuers.GoogleIAP("/projects/1234567890/global/backendServices/9876543210"),
		"supabase-es256": grant(issuers.Supabase("https://abcdefghijklmnop.supabase.example.com"), nil, one(token.Same("authenticated"), "role")),
	}
}

// TestPresets: each preset accepts its issuer's token, and rejects the hostile
// neighbours.
func TestPresets(t *testing.T) {
	for name, p := range presets() {
		t.Run(name, func(t *testing.T) {
			v := read(t, name)
			alg := token.Algorithm(v.Header["alg"].(string))
			if !slices.Contains(p.Keys.Algorithms, alg) {
				t.Errorf("the algorithms are %v, want %s", p.Keys.Algorithms, alg)
			}
			key, err := token.GenerateKey(alg)
			if err != nil {
				t.Fatal(err)
			}
			ring, err := token.NewKeyring(token.Key{Algorithm: alg, Public: key.Signer.Public(), ID: v.Header["kid"].(string)})
			if err != nil {
				t.Fatal(err)
			}
			p.Verifier.InsecureNoRevoker = true
			verifier, err := token.NewVerifier(ring, p.Verifier)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/", nil)
			set := func(s string) {
				if p.Verifier.Header != "" {
					r.Header.Set(p.Verifier.Header, s)
				} else {
					r.Header.Set("Authorization", "Bearer "+s)
				}
			}
			set(sign(t, v.shape, key.Signer.Unwrap()))
			got, err := verifier.Authenticate(r)
			if err != nil {
				t.Fatal(err)
			}
			want := v.Principal
			if got.Issuer != want.Issuer || got.Subject != want.Subject || got.Tenant != want.Tenant || got.Session != want.Session || got.Client != want.Client ||
				want.Credential != "(derived)" && got.Credential != want.Credential || want.Credential == "(derived)" && !strings.HasPrefix(got.Credential, "sha256-") {
				t.Errorf("the Principal is %+v, want %+v", got, want)
			}
			if !slices.Equal(slices.Collect(got.Roles.All()), slices.Sorted(slices.Values(want.Roles))) || !slices.Equal(slices.Collect(got.Scopes.All()), slices.Sorted(slices.Values(want.Scopes))) {
				t.Errorf("roles %v, scopes %v; want %v, %v", got.Roles, got.Scopes, want.Roles, want.Scopes)
			}
			for _, other := range v.Rejected {
				set(sign(t, other, key.Signer.Unwrap()))
				p, err := verifier.Authenticate(r)
				if d, ok := errors.AsType[*guard.Denial](err); !ok || d.Status != 401 || p != nil {
					t.Errorf("%s: %v, %v; want 401", other.Why, p, err)
				}
			}
			// Where the token does not belong, it is not looked for.
			if p.Verifier.Header != "" {
				r.Header.Del(p.Verifier.Header)
				r.Header.Set("Authorization", "Bearer "+sign(t, v.shape, key.Signer.Unwrap()))
				if _, err := verifier.Authenticate(r); err != guard.ErrNoCredentials {
					t.Errorf("as a bearer token: %v", err)
				}
			}
		})
	}
}

// TestPresetsMakeRemotes: the keys of each preset are configured rightly, and a
// Revoker is missing.
func TestPresetsMakeRemotes(t *testing.T) {
	for name, p := range presets() {
		if _, _, err := p.NewVerifier(); err == nil || !strings.Contains(err.Error(), "VerifierConfig.Revoker") {
			t.Errorf("%s: %v, want only the Revoker to be missing", name, err)
		}
		p.Verifier.InsecureNoRevoker = true
		v, keys, err := p.NewVerifier()
		if err != nil || v == nil || keys == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPresetsWithoutWhatTellsTheCaller are errors, and accept nobody.
func TestPresetsWithoutWhatTellsTheCaller(t *testing.T) {
	for name, p := range map[string]issuers.Preset{
		"no repository":      issuers.GitHubActions("a", "1"),
		"no subject":         issuers.GoogleServiceAccount("a"),
		"no namespace":       issuers.Kubernetes("https://k.example.com", "a"),
		"no hosted domain":   issuers.Google("client", ""),
		"no tenant":          issuers.EntraTenants("app"),
		"no scopes or roles": issuers.Entra("72f988bf-0000-41af-91ab-2d7cd011db47", "app"),
	} {
		p.Verifier.InsecureNoRevoker = true
		if _, _, err := p.NewVerifier(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func Example() {
	preset := issuers.Keycloak("https://sso.example.com/realms/demo", "orders-api")
	preset.Verifier.InsecureNoRevoker = true // or preset.Verifier.Revoker = revoked
	preset.Verifier.Profile.Roles = []token.Grant{{
		Claim: token.Path{"resource_access", "orders-api", "roles"},
		Names: map[string]string{"editor": "editor", "boss": "admin"},
	}}
	verifier, _, err := preset.NewVerifier()
	if err != nil {
		panic(err)
	}
	hooks := guard.Hooks{}
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("GET /orders", hooks.Authenticated(http.NotFoundHandler()))
	fmt.Println(preset.Verifier.Issuer, preset.Keys.URL)
	fmt.Println(preset.Verifier.Profile.Require)
	// Output:
	// https://sso.example.com/realms/demo https://sso.example.com/realms/demo/protocol/openid-connect/certs
	// [typ is one of ["Bearer"]]
}
