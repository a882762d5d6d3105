package token_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// An issuerToken is one token of testdata/issuers: header and claims, whose
// dates are seconds from now.
type issuerToken struct {
	Why    string         `json:"why"`
	Header map[string]any `json:"header"`
	Claims map[string]any `json:"claims"`
	Absent []string       `json:"roles_absent"`
}

// An issuerVector is one file of testdata/issuers: the shape of an issuer's
// token, the settings that accept it, the Principal that it is, and tokens that
// the same settings must reject.
type issuerVector struct {
	issuerToken
	Name      string         `json:"name"`
	Settings  issuerSettings `json:"settings_needed"`
	Principal struct {
		Issuer, Subject, Tenant, Session, Credential, Client string
		Roles, Scopes, Factors                               []string
	} `json:"principal"`
	Rejected []issuerToken `json:"must_not_be_accepted_as"`
	NotOurs  []issuerToken `json:"must_not_yield"`
}

type issuerSettings struct {
	Issuer, Audience, AudienceClaim, AudienceHeader, ClientHeader, MaxLifetime, SubjectPrefix, KeyPerID string
	Types, ClientClaims, ScopeClaims, SubjectClaims, IssuerAliases, Tenants, IgnoreHeaders, KeyUses     []string
	TenantClaim, SessionClaim, RoleKeys                                                                 []string
	CredentialClaims                                                                                    *[]string
	Roles                                                                                               [][]string
	TypeAbsent, NoClient, IDTokens, NoIssuer, IssuedAtOptional, CredentialOptional, KeyIDOptional       bool
	PaddedBase64, Secret                                                                                bool
	MaxMembers                                                                                          int
	Factors                                                                                             *struct {
		Claim  []string
		Member string
	}
	Require, Refuse []struct {
		Claim   []string
		Is      []any
		Present bool
	}
	From    map[string]string
	FromAny []any
}

var issuerVectors = sync.OnceValue(func() (all []*issuerVector) {
	files, err := filepath.Glob("testdata/issuers/*.json")
	if err != nil || len(files) < 48 {
		panic(fmt.Sprint(len(files), " vectors, ", err))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		v := new(issuerVector)
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(v); err != nil {
			panic(file + ": " + err.Error())
		}
		all = append(all, v)
	}
	return all
})

// config returns the settings of v as a host would write them.
func (v *issuerVector) config() token.VerifierConfig {
	s := v.Settings
	path := func(names []string) token.Path { return token.Path(names) }
	first := func(names []string) token.Path {
		if len(names) == 0 {
			return nil
		}
		return token.Path{names[0]}
	}
	c := token.VerifierConfig{
		Issuer: s.Issuer, Audience: s.Audience, Header: s.From["header"], Foreign: true, InsecureNoRevoker: true, MaxSize: 64 << 10, CacheSize: 4,
		MaxLifetime: 48 * time.Hour,
		Profile: token.Profile{
			Types: s.Types, NoType: s.TypeAbsent, IDTokens: s.IDTokens, NoKeyID: s.KeyIDOptional, IgnoreHeaders: s.IgnoreHeaders,
			IssuerAliases: s.IssuerAliases, Tenants: s.Tenants, NoIssuer: s.NoIssuer, SubjectPrefix: s.SubjectPrefix,
			ClientClaim: first(s.ClientClaims), ClientOptional: s.NoClient, CredentialOptional: s.CredentialOptional,
			SessionClaim: path(s.SessionClaim), IssuedAtOptional: s.IssuedAtOptional, TenantClaim: path(s.TenantClaim),
			PaddedBase64: s.PaddedBase64, AudienceHeader: s.AudienceHeader, ClientHeader: s.ClientHeader,
		},
	}
	f := &c.Profile
	if s.AudienceClaim != "" {
		f.AudienceClaim = token.Path{s.AudienceClaim}
	}
	if s.MaxLifetime != "" {
		c.MaxLifetime, _ = time.ParseDuration(s.MaxLifetime)
	}
	for _, name := range s.SubjectClaims {
		f.SubjectClaims = append(f.SubjectClaims, token.Path{name})
	}
	if ids := s.CredentialClaims; ids != nil {
		f.CredentialClaim = first(*ids)
		f.CredentialOptional = f.CredentialOptional || len(*ids) == 0
	}
	scopes := s.ScopeClaims
	if scopes == nil {
		scopes = []string{"scope"}
	}
	for _, name := range scopes {
		f.Scopes = append(f.Scopes, token.Grant{Claim: token.Path{name}, Names: token.Same(append(v.Principal.Scopes, "never:granted")...)})
	}
	for _, names := range s.Roles {
		f.Roles = append(f.Roles, token.Grant{Claim: names, Names: token.Same(append(v.Principal.Roles, "never-granted")...)})
	}
	if s.RoleKeys != nil {
		f.Roles = append(f.Roles, token.Grant{Claim: s.RoleKeys, Keys: true, Names: token.Same(append(v.Principal.Roles, "never-granted")...)})
	}
	factors := token.Grant{Claim: token.Path{"amr"}, Names: token.Same(append(v.Principal.Factors, "never")...)}
	if s.Factors != nil {
		factors.Claim, factors.Member = s.Factors.Claim, s.Factors.Member
	}
	f.Factors = []token.Grant{factors}
	for _, r := range s.Require {
		f.Require = append(f.Require, token.Condition{Claim: r.Claim, Is: r.Is})
	}
	for _, r := range s.Refuse {
		f.Refuse = append(f.Refuse, token.Condition{Claim: r.Claim, Is: r.Is})
	}
	return c
}

// A vectorKey signs the tokens of one vector, with a fresh key under the vector's
// key ID.
type vectorKey struct {
	*kit
	source token.KeySource
}

var vectorKeys = sync.OnceValue(func() map[string]vectorKey {
	keys := make(map[string]vectorKey)
	for _, v := range issuerVectors() {
		alg := token.Algorithm(v.Header["alg"].(string))
		key, err := token.GenerateKey(alg)
		if err != nil {
			panic(err)
		}
		k := vectorKey{kit: newKit(key)}
		kid, _ := v.Header["kid"].(string)
		public := token.Key{Algorithm: alg, ID: kid, Secret: key.Secret}
		if alg[0] != 'H' {
			public.Public = key.Signer.Public()
		}
		ring, err := token.NewKeyring(public)
		if err != nil {
			panic(err)
		}
		k.source = ring
		keys[v.Name] = k
	}
	return keys
})

// sign signs a token of a vector. Dates of the vectors are relative.
func (k vectorKey) sign(t issuerToken, padded bool) string {
	now := time.Now().Unix()
	absolute := func(members map[string]any) []byte {
		all := maps.Clone(members)
		for _, name := range []string{"exp", "nbf", "iat", "auth_time"} {
			if n, ok := all[name].(json.Number); ok {
				seconds, _ := n.Int64()
				all[name] = now + seconds
			}
		}
		data, err := json.Marshal(all)
		if err != nil {
			panic(err)
		}
		return data
	}
	encoding := base64.RawURLEncoding
	if padded {
		encoding = base64.URLEncoding
	}
	input := encoding.EncodeToString(absolute(t.Header)) + "." + encoding.EncodeToString(absolute(t.Claims))
	return input + "." + encoding.EncodeToString(k.kit.sign(input))
}

// TestTokensOfOtherIssuers: each shape is accepted with its settings as the
// stated Principal, and its hostile neighbours are rejected.
func TestTokensOfOtherIssuers(t *testing.T) {
	for _, v := range issuerVectors() {
		t.Run(v.Name, func(t *testing.T) {
			k := vectorKeys()[v.Name]
			verifier, err := token.NewVerifier(k.source, v.config())
			if err != nil {
				t.Fatal(err)
			}
			good := k.sign(v.issuerToken, v.Settings.PaddedBase64)
			for range 2 { // the second time out of the cache
				p, err := verifier.Verify(t.Context(), good)
				if err != nil {
					t.Fatal(err)
				}
				v.wantPrincipal(t, p, good)
			}
			for _, other := range v.Rejected {
				if p, err := verifier.Verify(t.Context(), k.sign(other, v.Settings.PaddedBase64)); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%s: %v, %v; want it rejected", other.Why, p, err)
				} else if text := err.Error(); len(text) > 1000 || strings.ContainsAny(text, "\n\r") {
					t.Errorf("%s: the reason is %q", other.Why, text)
				}
			}
			for _, other := range v.NotOurs {
				p, err := verifier.Verify(t.Context(), k.sign(other, v.Settings.PaddedBase64))
				if err != nil {
					t.Errorf("%s: %v", other.Why, err)
					continue
				}
				for _, role := range other.Absent {
					if p.Roles.Has(role) {
						t.Errorf("%s: the roles are %v", other.Why, p.Roles)
					}
				}
			}
		})
	}
}

func (v *issuerVector) wantPrincipal(t *testing.T, p *identity.Principal, good string) {
	t.Helper()
	want := v.Principal
	if want.Credential == "(derived)" {
		sum := sha256.Sum256([]byte(good[:strings.LastIndexByte(good, '.')]))
		want.Credential = "sha256-" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	got := []string{p.Issuer, p.Subject, p.Tenant, p.Session, p.Credential, p.Client}
	if wanted := []string{want.Issuer, want.Subject, want.Tenant, want.Session, want.Credential, want.Client}; !slices.Equal(got, wanted) {
		t.Errorf("the Principal is %q, want %q", got, wanted)
	}
	for name, c := range map[string]struct {
		got  identity.Set
		want []string
	}{"roles": {p.Roles, want.Roles}, "scopes": {p.Scopes, want.Scopes}, "factors": {p.Factors, want.Factors}} {
		if !c.got.Equal(identity.NewSet(c.want...)) {
			t.Errorf("%s are %v, want %q", name, c.got, c.want)
		}
	}
	if !p.AuthTime.IsZero() {
		t.Errorf("the authentication time is %v, and no setting names it", p.AuthTime)
	}
}

// TestTokensOfAllIssuersInOneProgram: with the verifiers of all issuers that take
// bearer tokens, each token is accepted by its own rules, and a hostile neighbour
// is accepted by the rules of none that it was not issued for.
func TestTokensOfAllIssuersInOneProgram(t *testing.T) {
	var verifiers []*token.Verifier
	var used []*issuerVector
	seen := make(map[string]bool)
	for _, v := range issuerVectors() {
		c := v.config()
		c.Header = ""
		// Vectors of one issuer with different settings, whose keys the
		// vectors have under one ID: the first of each issuer.
		if seen[c.Issuer] {
			continue
		}
		if len(c.Profile.Tenants) > 0 { // covers the issuer of the others of Entra
			continue
		}
		seen[c.Issuer] = true
		one, err := token.NewVerifier(vectorKeys()[v.Name].source, c)
		if err != nil {
			t.Fatal(err)
		}
		verifiers, used = append(verifiers, one), append(used, v)
	}
	all, err := token.NewVerifiers(verifiers...)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range used {
		k := vectorKeys()[v.Name]
		good := k.sign(v.issuerToken, v.Settings.PaddedBase64)
		p, err := all.Verify(t.Context(), good)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		v.wantPrincipal(t, p, good)
		for _, other := range v.Rejected {
			if p, err := all.Verify(t.Context(), k.sign(other, v.Settings.PaddedBase64)); !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%s, %s: %v, %v; want it rejected", v.Name, other.Why, p, err)
			}
		}
		// Signed by another issuer, in this one's name.
		for _, stranger := range used {
			if k2 := vectorKeys()[stranger.Name]; stranger != v && stranger.Header["alg"] == v.Header["alg"] {
				if p, err := all.Verify(t.Context(), k2.sign(v.issuerToken, v.Settings.PaddedBase64)); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%s, signed by %s: %v, %v", v.Name, stranger.Name, p, err)
				}
			}
		}
	}
}

// settingsOf returns a setter for each setting that a vector needs beyond its
// issuer and audience.
func settingsOf(full token.Profile) map[string]func(*token.Profile) {
	setters := make(map[string]func(*token.Profile))
	from := reflect.ValueOf(full)
	for i := range from.NumField() {
		if from.Field(i).IsZero() {
			continue
		}
		setters[from.Type().Field(i).Name] = func(to *token.Profile) {
			reflect.ValueOf(to).Elem().Field(i).Set(from.Field(i))
		}
	}
	return setters
}

// TestPowersetOfSettings: for each subset of the settings that three issuers
// need, a token that is accepted is granted nothing beyond what the whole set
// grants, no neighbour that the whole set rejects is accepted with more rights
// than it, and the settings that accept it are necessary.
func TestPowersetOfSettings(t *testing.T) {
	for _, name := range []string{"keycloak-26-access", "entra-v2-multitenant", "supabase-es256"} {
		i := slices.IndexFunc(issuerVectors(), func(v *issuerVector) bool { return v.Name == name })
		v := issuerVectors()[i]
		k := vectorKeys()[name]
		full := v.config()
		setters := settingsOf(full.Profile)
		names := slices.Sorted(maps.Keys(setters))
		verify := func(c token.VerifierConfig, s string) (*identity.Principal, error) {
			verifier, err := token.NewVerifier(k.source, c)
			if err != nil {
				return nil, err
			}
			return verifier.Verify(t.Context(), s)
		}
		good := k.sign(v.issuerToken, false)
		whole, err := verify(full, good)
		if err != nil {
			t.Fatal(err)
		}
		accepted := 0
		for subset := range 1 << len(names) {
			c := full
			c.Profile = token.Profile{}
			for bit, setting := range names {
				if subset&(1<<bit) != 0 {
					setters[setting](&c.Profile)
				}
			}
			p, err := verify(c, good)
			if err != nil {
				continue
			}
			accepted++
			if !whole.Scopes.Contains(p.Scopes) || !whole.Roles.Contains(p.Roles) || !whole.Factors.Contains(p.Factors) || p.Tenant != "" && p.Tenant != whole.Tenant || p.Subject != whole.Subject {
				t.Errorf("%s with settings %b: %+v has more than %+v", name, subset, p, whole)
			}
			for _, setting := range []string{"Types", "ClientClaim"} {
				if setters[setting] != nil && subset&(1<<slices.Index(names, setting)) == 0 && !c.Profile.ClientOptional {
					t.Errorf("%s is accepted without the setting %s", name, setting)
				}
			}
			for _, other := range v.Rejected {
				if p, err := verify(c, k.sign(other, false)); err == nil && (!whole.Scopes.Contains(p.Scopes) || !whole.Roles.Contains(p.Roles)) {
					t.Errorf("%s with settings %b: %s is granted %v %v", name, subset, other.Why, p.Scopes, p.Roles)
				}
			}
		}
		if accepted == 0 || accepted == 1<<len(names) {
			t.Errorf("%s: %d of %d subsets accept the token", name, accepted, 1<<len(names))
		}
	}
}

// FuzzSettings: whatever the settings and the token, a token that is accepted was
// signed with the key, names the issuer, and is granted what the settings list
// and nothing else.
func FuzzSettings(f *testing.F) {
	f.Add(uint64(0), `{"alg":"HS256","typ":"JWT","kid":"k"}`, payload(), true)
	for i, v := range issuerVectors() {
		header, _ := json.Marshal(v.Header)
		claims, _ := json.Marshal(v.Claims)
		f.Add(uint64(i)*0x9e3779b97f4a7c15, string(header), string(claims), i%2 == 0)
	}
	secret := guard.NewSecret([]byte("a fixed secret for what the fuzzer finds"))
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: secret, ID: "k"})
	if err != nil {
		f.Fatal(err)
	}
	k := newKit(token.Key{Algorithm: token.HS256, Secret: secret})
	f.Fuzz(func(t *testing.T, settings uint64, header, claims string, signed bool) {
		r := rand.New(rand.NewPCG(settings, settings))
		c := token.VerifierConfig{Issuer: issuerName, Audience: audience, InsecureNoRevoker: true, Foreign: true, CacheSize: -1, MaxLifetime: 200 * 365 * 24 * time.Hour}
		// Settings of some vector, each with a half chance.
		full := issuerVectors()[settings%uint64(len(issuerVectors()))].config()
		for _, set := range settingsOf(full.Profile) {
			if r.IntN(2) == 0 {
				set(&c.Profile)
			}
		}
		if r.IntN(2) == 0 {
			c.Issuer, c.Audience = full.Issuer, full.Audience
		}
		v, err := token.NewVerifier(ring, c)
		if err != nil {
			return // such as NoIssuer without SubjectPrefix
		}
		encoding := base64.RawURLEncoding
		if c.Profile.PaddedBase64 {
			encoding = base64.URLEncoding
		}
		input := encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(claims))
		signature := k.sign(input)
		if !signed {
			signature[len(signature)-1] ^= 1
		}
		p, err := v.Verify(t.Context(), input+"."+encoding.EncodeToString(signature))
		if err != nil {
			if p != nil || !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%v, %v", p, err)
			}
			return
		}
		var h struct{ Alg, Kid string }
		if err := json.Unmarshal([]byte(header), &h); err != nil || !signed || h.Alg != "HS256" || h.Kid != "k" && !(h.Kid == "" && c.Profile.NoKeyID) {
			t.Fatalf("header %s is accepted, signed %t", header, signed)
		}
		var said struct {
			Iss any `json:"iss"`
		}
		_ = json.Unmarshal([]byte(claims), &said)
		if said.Iss != p.Issuer && !slices.Contains(c.Profile.IssuerAliases, fmt.Sprint(said.Iss)) && !(said.Iss == nil && c.Profile.NoIssuer) {
			t.Errorf("iss %v is accepted as %q", said.Iss, p.Issuer)
		}
		if len(c.Profile.Tenants) == 0 && p.Issuer != c.Issuer || p.Subject == "" || p.Credential == "" || !p.Expires.After(time.Now()) {
			t.Errorf("%s became %+v", claims, p)
		}
		for what, g := range map[string]struct {
			got  identity.Set
			from []token.Grant
		}{"scopes": {p.Scopes, c.Profile.Scopes}, "roles": {p.Roles, c.Profile.Roles}, "factors": {p.Factors, c.Profile.Factors}} {
			for name := range g.got.All() {
				if !slices.ContainsFunc(g.from, func(grant token.Grant) bool {
					return slices.Contains(slices.Collect(maps.Values(grant.Names)), name)
				}) {
					t.Errorf("%s: %q is granted, and the settings do not list it", what, name)
				}
			}
		}
		if p.Tenant != "" && c.Profile.TenantClaim == nil || !p.AuthTime.IsZero() {
			t.Errorf("tenant %q, authenticated at %v: no setting names them", p.Tenant, p.AuthTime)
		}
	})
}
