package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatewright/gatewright/auth/token"
)

func TestMistakesOfAProfileAreJoined(t *testing.T) {
	k := kits()[token.HS256]
	for want, p := range map[string]token.Profile{
		`SubjectClaims has an empty Path`:                                     {SubjectClaims: []token.Path{{}}},
		`ClientClaim has the name ""`:                                         {ClientClaim: token.Path{"a", ""}},
		`Scopes has a Grant without a Claim`:                                  {Scopes: []token.Grant{{Names: token.Same("a")}}},
		`Roles: the Grant of a > b has no Names, so it grants nothing`:        {Roles: []token.Grant{{Claim: token.Path{"a", "b"}}}},
		`Factors: the Grant of a has Member and Keys`:                         {Factors: []token.Grant{{Claim: token.Path{"a"}, Names: token.Same("a"), Member: "m", Keys: true}}},
		`Scopes: the Grant of a has the name "b c"`:                           {Scopes: []token.Grant{{Claim: token.Path{"a"}, Names: map[string]string{"a": "b c"}}}},
		`Roles: the Grant of a has the name ""`:                               {Roles: []token.Grant{{Claim: token.Path{"a"}, Names: map[string]string{"a": ""}}}},
		`Require has a Condition without a Claim`:                             {Require: []token.Condition{{Is: []any{"x"}}}},
		`Refuse: a is compared with a float64`:                                {Refuse: []token.Condition{{Claim: token.Path{"a"}, Is: []any{1.5}}}},
		`Require: a is compared with an empty string`:                         {Require: []token.Condition{{Claim: token.Path{"a"}, Is: []any{""}}}},
		`IgnoreHeaders has "crit"`:                                            {IgnoreHeaders: []string{"jku", "crit"}},
		`Types has ""`:                                                        {Types: []string{""}},
		`SubjectPrefix is "spiffe://a"; end it with / or :`:                   {SubjectPrefix: "spiffe://a"},
		`NoIssuer is true without SubjectPrefix`:                              {NoIssuer: true},
		`RequireGrant is true without Scopes and Roles`:                       {RequireGrant: true},
		`IssuerAliases has ""`:                                                {IssuerAliases: []string{""}},
		`VerifierConfig.Issuer is "` + issuerName + `"; use one path segment`: {Tenants: []string{"a"}, TenantClaim: token.Path{"tid"}},
		`has the header member "kid" as audience or client`:                   {AudienceHeader: "kid"},
		`reads 73 claims; use at most 64`:                                     manyClaims(),
		`has the name "a\x00"`:                                                {TenantClaim: token.Path{"a\x00"}},
		`Profile.SubjectPrefix is "a\n/"`:                                     {SubjectPrefix: "a\n/"},
	} {
		_, err := token.NewVerifier(k.ring, token.VerifierConfig{Issuer: issuerName, Audience: audience, InsecureNoRevoker: true, Profile: p})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewVerifier = %v, want %q", err, want)
		}
	}
	for want, c := range map[string]token.VerifierConfig{
		`Issuer is "https://a/{tenantid}/" without Profile.Tenants`: {Issuer: "https://a/{tenantid}/"},
		"Profile.TenantClaim is empty":                              {Issuer: "https://a/{tenantid}/", Profile: token.Profile{Tenants: []string{"a"}}},
		"use one path segment {tenantid}":                           {Issuer: "https://{tenantid}.a/", Profile: token.Profile{Tenants: []string{"a"}, TenantClaim: token.Path{"tid"}}},
		`Tenants has "../b"`:                                        {Issuer: "https://a/{tenantid}", Profile: token.Profile{Tenants: []string{"../b"}, TenantClaim: token.Path{"tid"}}},
		"InsecureAnyTenant is true beside Tenants":                  {Issuer: "https://a/{tenantid}", Profile: token.Profile{Tenants: []string{"b"}, InsecureAnyTenant: true, TenantClaim: token.Path{"tid"}}},
		`VerifierConfig.Type is "JWT" beside Profile.Types`:         {Issuer: "a", Type: "JWT", Profile: token.Profile{Types: []string{"JWT"}}},
	} {
		c.Audience, c.InsecureNoRevoker = audience, true
		if _, err := token.NewVerifier(k.ring, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewVerifier = %v, want %q", err, want)
		}
	}
}

func manyClaims() (p token.Profile) {
	for n := range 64 {
		p.Refuse = append(p.Refuse, token.Condition{Claim: token.Path{fmt.Sprint("c", n)}, Is: []any{"x"}})
	}
	return p
}

// TestShapesOfGrants: each shape that issuers use, and no other.
func TestShapesOfGrants(t *testing.T) {
	k := kits()[token.HS256]
	names := map[string]string{"admin": "boss", "editor": "editor"}
	for name, c := range map[string]struct {
		grant token.Grant
		json  string
		want  string // "!" for malformed
	}{
		"an array":                     {token.Grant{Claim: token.Path{"g"}, Names: names}, `["admin","other","editor"]`, "boss editor"},
		"a string":                     {token.Grant{Claim: token.Path{"g"}, Names: names}, `"admin"`, "boss"},
		"a string with a space":        {token.Grant{Claim: token.Path{"g"}, Names: names}, `"admin editor"`, ""},
		"an empty string":              {token.Grant{Claim: token.Path{"g"}, Names: names}, `""`, ""},
		"null":                         {token.Grant{Claim: token.Path{"g"}, Names: names}, `null`, ""},
		"an empty array":               {token.Grant{Claim: token.Path{"g"}, Names: names}, `[]`, ""},
		"in another case":              {token.Grant{Claim: token.Path{"g"}, Names: names}, `["Admin","ADMIN","admin "]`, ""},
		"a number":                     {token.Grant{Claim: token.Path{"g"}, Names: names}, `7`, "!"},
		"an array of numbers":          {token.Grant{Claim: token.Path{"g"}, Names: names}, `[7]`, "!"},
		"an object":                    {token.Grant{Claim: token.Path{"g"}, Names: names}, `{"admin":1}`, "!"},
		"names of members":             {token.Grant{Claim: token.Path{"g"}, Names: names, Keys: true}, `{"admin":{"x":1},"other":2}`, "boss"},
		"names of members, twice":      {token.Grant{Claim: token.Path{"g"}, Names: names, Keys: true}, `{"admin":1,"admin":2}`, "!"},
		"names of members of an array": {token.Grant{Claim: token.Path{"g"}, Names: names, Keys: true}, `["admin"]`, "!"},
		"a member of objects":          {token.Grant{Claim: token.Path{"g"}, Names: names, Member: "m"}, `[{"m":"admin","n":"editor"},{"n":"editor"},{"m":null}]`, "boss"},
		"a member of objects, twice":   {token.Grant{Claim: token.Path{"g"}, Names: names, Member: "m"}, `[{"m":"admin","m":"editor"}]`, "!"},
		"a member of a string":         {token.Grant{Claim: token.Path{"g"}, Names: names, Member: "m"}, `"admin"`, "!"},
		"a member that is a number":    {token.Grant{Claim: token.Path{"g"}, Names: names, Member: "m"}, `[{"m":1}]`, "!"},
		"a path":                       {token.Grant{Claim: token.Path{"g", "a.b", "c"}, Names: names}, `{"a.b":{"c":["admin"],"d":["editor"]},"a":{"b":{"c":["editor"]}}}`, "boss"},
		"a path that ends early":       {token.Grant{Claim: token.Path{"g", "a.b", "c"}, Names: names}, `{"a.b":null}`, ""},
		"a path through a string":      {token.Grant{Claim: token.Path{"g", "a.b", "c"}, Names: names}, `{"a.b":"admin"}`, "!"},
		"a path through an array":      {token.Grant{Claim: token.Path{"g", "0"}, Names: names}, `["admin"]`, "!"},
		"a path in two spellings":      {token.Grant{Claim: token.Path{"g", "a"}, Names: names}, `{"a":["admin"],"A":["editor"]}`, "!"},
		"all":                          {token.Grant{Claim: token.Path{"g"}, Names: names, InsecureAll: true}, `["admin","other"]`, "boss other"},
		"all, without names":           {token.Grant{Claim: token.Path{"g"}, InsecureAll: true}, `["admin","other"]`, "admin other"},
	} {
		v := newVerifier(t, k.ring, func(cfg *token.VerifierConfig) { cfg.Profile.Roles = []token.Grant{c.grant} })
		p, err := v.Verify(t.Context(), k.token("g", c.json))
		switch {
		case c.want == "!":
			if !errors.Is(err, token.ErrMalformed) {
				t.Errorf("%s: %v, %v; want it malformed", name, p, err)
			}
		case err != nil || p.Roles.String() != c.want:
			t.Errorf("%s: %v, %v; want %q", name, p, err, c.want)
		}
		if err == nil && (p.Scopes.Len() > 0 || p.Factors.Len() > 0) {
			t.Errorf("%s: scopes %v, factors %v", name, p.Scopes, p.Factors)
		}
	}
}

// TestScopesOfTwoClaimsAgree: a string is a list, an array has one in each
// element, and two claims that say different things are malformed.
func TestScopesOfTwoClaimsAgree(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
		names := token.Same("a", "b")
		c.Profile.Scopes = []token.Grant{{Claim: token.Path{"scope"}, Names: names}, {Claim: token.Path{"scp"}, Names: names}}
	})
	for _, c := range []struct{ scope, scp, want string }{
		{`"a b x"`, "null", "a b"}, {"null", `["a","b"]`, "a b"}, {`"b a"`, `["a","b"]`, "a b"}, {`"a x"`, `["a","y"]`, "a"}, {"null", "null", ""}, {`"a"`, `""`, "a"},
		{`"a"`, `["a","b"]`, "!"}, {`"a  b"`, "null", "!"}, {`["a b"]`, "null", ""}, {`"a"`, `[]`, "!"}, {`7`, "null", "!"}, {`{"a":1}`, "null", "!"},
	} {
		p, err := v.Verify(t.Context(), k.token("scope", c.scope, "scp", c.scp))
		if c.want == "!" {
			if !errors.Is(err, token.ErrMalformed) {
				t.Errorf("%+v: %v, %v; want it malformed", c, p, err)
			}
		} else if err != nil || p.Scopes.String() != c.want {
			t.Errorf("%+v: %v, %v", c, p, err)
		}
	}
}

// TestDerivedCredentialIsThatOfBothSignatures: an ID that is derived depends on
// what was signed, and never on the signature.
func TestDerivedCredentialIsThatOfBothSignatures(t *testing.T) {
	for _, c := range curves {
		k := kits()[c.alg]
		v := newVerifier(t, mustRing(t, token.Key{Algorithm: c.alg, Public: k.key.Signer.Public(), ID: k.kid}), func(c *token.VerifierConfig) { c.Profile.CredentialOptional = true })
		s := k.token("jti", "")
		a, err1 := v.Verify(t.Context(), s)
		b, err2 := v.Verify(t.Context(), twinOf(t, s, c.curve))
		other, err3 := v.Verify(t.Context(), k.token("jti", "", "sub", `"other"`))
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if a.Credential != b.Credential || a.Credential == other.Credential || !strings.HasPrefix(a.Credential, "sha256-") {
			t.Errorf("the IDs are %q, %q and %q", a.Credential, b.Credential, other.Credential)
		}
		if p, err := v.Verify(t.Context(), k.token()); err != nil || p.Credential != "id-1" {
			t.Errorf("with a jti: %v, %v", p, err)
		}
	}
}

// TestKeysMayBeRestrictedToAnIssuer by their member "issuer", with a place for
// the tenant or without.
func TestKeysMayBeRestrictedToAnIssuer(t *testing.T) {
	k := kits()[token.ES256]
	const mine, other = "72f988bf-0000-41af-91ab-2d7cd011db47", "9188040d-0000-4000-8000-000000000000"
	for _, c := range []struct {
		member, config string
		profile        token.Profile
		iss, tid       string
		ok             bool
	}{
		{`"https://ms/{tenantid}/v2.0"`, "https://ms/{tenantid}/v2.0", token.Profile{Tenants: []string{mine}}, "https://ms/" + mine + "/v2.0", mine, true},
		{"", "https://ms/{tenantid}/v2.0", token.Profile{Tenants: []string{mine}}, "https://ms/" + mine + "/v2.0", mine, true},
		{`"https://ms/` + mine + `/v2.0"`, "https://ms/{tenantid}/v2.0", token.Profile{Tenants: []string{mine}}, "https://ms/" + mine + "/v2.0", mine, true},
		{`"https://ms/` + other + `/v2.0"`, "https://ms/{tenantid}/v2.0", token.Profile{Tenants: []string{mine}}, "https://ms/" + mine + "/v2.0", mine, false},
		{`"https://sts/{tenantid}/"`, "https://ms/{tenantid}/v2.0", token.Profile{Tenants: []string{mine}}, "https://ms/" + mine + "/v2.0", mine, false},
		{`"https://ms/` + other + `/v2.0"`, "https://ms/{tenantid}/v2.0", token.Profile{InsecureAnyTenant: true}, "https://ms/" + mine + "/v2.0", mine, false},
		{"", "https://ms/{tenantid}/v2.0", token.Profile{InsecureAnyTenant: true}, "https://ms/" + mine + "/v2.0", mine, true},
		{"", "https://ms/{tenantid}/v2.0", token.Profile{InsecureAnyTenant: true}, "https://ms/" + mine + "/v2.0", other, false},
		{"", "https://ms/{tenantid}/v2.0", token.Profile{InsecureAnyTenant: true}, "https://ms/common/v2.0", "common", false},
		{"", "https://ms/{tenantid}/v2.0", token.Profile{InsecureAnyTenant: true}, "https://ms/" + strings.ToUpper(mine) + "/v2.0", strings.ToUpper(mine), false},
		{`"https://ms/` + other + `/v2.0"`, "https://ms/" + mine + "/v2.0", token.Profile{KeyIssuers: true}, "https://ms/" + mine + "/v2.0", mine, false},
		{`"https://ms/{tenantid}/v2.0"`, "https://ms/" + mine + "/v2.0", token.Profile{KeyIssuers: true}, "https://ms/" + mine + "/v2.0", mine, true},
		{`"https://elsewhere"`, "https://ms/" + mine + "/v2.0", token.Profile{}, "https://ms/" + mine + "/v2.0", mine, true},
		{`{"a":1}`, "https://ms/" + mine + "/v2.0", token.Profile{KeyIssuers: true}, "https://ms/" + mine + "/v2.0", mine, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			if c.member == "" {
				c.member = "null"
			}
			remote, _ := published(t, jwk(t, k, "issuer", c.member))
			c.profile.TenantClaim = token.Path{"tid"}
			v := newVerifier(t, remote, func(cfg *token.VerifierConfig) { cfg.Issuer, cfg.Profile = c.config, c.profile })
			p, err := v.Verify(t.Context(), k.token("iss", quoted(c.iss), "tid", quoted(c.tid)))
			if (err == nil) != c.ok || err == nil && (p.Issuer != c.iss || p.Tenant != c.tid) || err != nil && !errors.Is(err, token.ErrIssuer) {
				t.Errorf("%+v: %v, %v", c, p, err)
			}
		})
	}
}

// TestTokensWithoutKeyID need exactly one key of their algorithm.
func TestTokensWithoutKeyID(t *testing.T) {
	hs, es, other := kits()[token.HS256], kits()[token.ES256], newKit(mustKey(t, token.HS256))
	for _, c := range []struct {
		keys  []token.Key
		noKID bool
		ok    bool
	}{
		{[]token.Key{hs.key}, true, true}, {[]token.Key{hs.key}, false, false}, {[]token.Key{hs.key, es.key}, true, true}, {[]token.Key{hs.key, other.key}, true, false}, {[]token.Key{es.key}, true, false},
	} {
		v := newVerifier(t, mustRing(t, c.keys...), func(cfg *token.VerifierConfig) { cfg.Profile.NoKeyID = c.noKID })
		if _, err := v.Verify(t.Context(), hs.headed("kid", "")); (err == nil) != c.ok || err != nil && !errors.Is(err, token.ErrKey) {
			t.Errorf("%d keys, NoKeyID %t: %v", len(c.keys), c.noKID, err)
		}
		if _, err := v.Verify(t.Context(), hs.headed("kid", `"x"`)); !errors.Is(err, token.ErrKey) {
			t.Errorf("a key ID that no key has: %v", err)
		}
	}
}

// TestHeaderAndClaimsMustAgree where the header has claims of a load balancer.
func TestHeaderAndClaimsMustAgree(t *testing.T) {
	k := kits()[token.ES256]
	exp := later(60)
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
		c.Profile = token.Profile{AudienceHeader: "signer", ClientHeader: "client"}
	})
	for name, c := range map[string]struct {
		header []string
		why    error
	}{
		"as it should be":  {[]string{"signer", quoted(audience), "client", `"c"`, "iss", quoted(issuerName), "exp", exp}, nil},
		"without iss, exp": {[]string{"signer", quoted(audience), "client", `"c"`}, nil},
		"another issuer":   {[]string{"signer", quoted(audience), "client", `"c"`, "iss", quoted(partner)}, token.ErrIssuer},
		"another expiry":   {[]string{"signer", quoted(audience), "client", `"c"`, "exp", later(61)}, token.ErrClaim},
		"another signer":   {[]string{"signer", `"x"`, "client", `"c"`}, token.ErrAudience},
		"no signer":        {[]string{"client", `"c"`}, token.ErrAudience},
		"no client":        {[]string{"signer", quoted(audience)}, token.ErrMalformed},
		"a signer twice":   {[]string{"signer", quoted(audience), "Signer", quoted(audience), "client", `"c"`}, token.ErrMalformed},
	} {
		for range 2 { // the header is remembered
			p, err := v.Verify(t.Context(), k.raw(k.header(c.header...), payload("exp", exp, "aud", `"ignored"`, "client_id", `"ignored"`)))
			if !errors.Is(err, c.why) || err == nil && p.Client != "c" {
				t.Errorf("%s: %v, %v; want %v", name, p, err, c.why)
			}
		}
	}
}

// TestHeadersThatCarryKeysAreIgnoredByName and never used.
func TestHeadersThatCarryKeysAreIgnoredByName(t *testing.T) {
	k := kits()[token.ES256]
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Profile.IgnoreHeaders = []string{"jku", "x5c"} })
	for member, ok := range map[string]bool{"jku": true, "x5c": true, "x5u": false, "jwk": false, "crit": false, "b64": false, "zip": false, "cty": false} {
		if _, err := v.Verify(t.Context(), k.headed(member, `"https://evil.example"`)); (err == nil) != ok {
			t.Errorf("%s: %v", member, err)
		}
	}
}

// TestConditionsCompareTypes: "true" is not true, and 1 is not "1".
func TestConditionsCompareTypes(t *testing.T) {
	k := kits()[token.HS256]
	for _, c := range []struct {
		is   []any
		json string
		ok   bool
	}{
		{[]any{"a"}, `"a"`, true}, {[]any{"a"}, `"A"`, false}, {[]any{"a"}, `["a"]`, false}, {[]any{"a"}, `null`, false}, {[]any{"a", "b"}, `"b"`, true},
		{[]any{true}, `true`, true}, {[]any{true}, `"true"`, false}, {[]any{"true"}, `true`, false}, {[]any{false}, `false`, true}, {[]any{false}, `null`, false}, {[]any{false}, `0`, false},
		{[]any{1}, `1`, true}, {[]any{int64(1)}, `1`, true}, {[]any{1}, `"1"`, false}, {[]any{1}, `1.0`, false}, {[]any{1}, `01`, false},
		{nil, `"x"`, true}, {nil, `0`, true}, {nil, `[]`, true}, {nil, `null`, false}, {nil, `""`, false},
	} {
		condition := []token.Condition{{Claim: token.Path{"c"}, Is: c.is}}
		required := newVerifier(t, k.ring, func(cfg *token.VerifierConfig) { cfg.Profile.Require = condition })
		refused := newVerifier(t, k.ring, func(cfg *token.VerifierConfig) { cfg.Profile.Refuse = condition })
		s := k.token("c", c.json)
		if _, err := required.Verify(t.Context(), s); (err == nil) != c.ok {
			t.Errorf("required %v, %s: %v", condition[0], c.json, err)
		}
		if _, err := refused.Verify(t.Context(), s); (err == nil) == c.ok && c.json != "01" {
			t.Errorf("refused %v, %s: %v", condition[0], c.json, err)
		}
	}
}

// TestGenericTypesRejectIDTokens: nonce and hashes are claims of ID tokens, and
// events of notifications.
func TestGenericTypesRejectIDTokens(t *testing.T) {
	k := kits()[token.HS256]
	for _, c := range []struct {
		profile token.Profile
		typ     string
		claim   string
		ok      bool
	}{
		{token.Profile{Types: []string{"JWT"}}, `"JWT"`, "nonce", false}, {token.Profile{Types: []string{"JWT"}}, `"JWT"`, "at_hash", false},
		{token.Profile{Types: []string{"JWT"}}, `"JWT"`, "c_hash", false}, {token.Profile{Types: []string{"JWT"}}, `"JWT"`, "s_hash", false},
		{token.Profile{Types: []string{"JWT"}}, `"JWT"`, "events", false}, {token.Profile{Types: []string{"JWT"}}, `"JWT"`, "other", true},
		{token.Profile{Types: []string{"JWT"}, IDTokens: true}, `"JWT"`, "nonce", true}, {token.Profile{Types: []string{"JWT"}, IDTokens: true}, `"JWT"`, "events", false},
		{token.Profile{NoType: true}, "", "nonce", false}, {token.Profile{NoType: true}, `"at+jwt"`, "nonce", true}, {token.Profile{Types: []string{"x+jwt"}}, `"x+jwt"`, "nonce", false},
		{token.Profile{Types: []string{"JWT", "at+jwt"}}, `"at+jwt"`, "nonce", true}, {token.Profile{}, `"at+jwt"`, "events", true},
	} {
		v := newVerifier(t, k.ring, func(cfg *token.VerifierConfig) { cfg.Foreign, cfg.Profile = true, c.profile })
		_, err := v.Verify(t.Context(), k.raw(k.header("typ", c.typ), payload(c.claim, `"x"`)))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, token.ErrType) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// Of our own issuer: with a type that others write too.
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Type = "JWT" })
	if _, err := v.Verify(t.Context(), k.raw(k.header("typ", `"JWT"`), payload("nonce", `"n"`))); !errors.Is(err, token.ErrType) {
		t.Errorf("an ID token: %v", err)
	}
}

// TestProfileIsACopy: a host that changes its Profile changes no Verifier.
func TestProfileIsACopy(t *testing.T) {
	k := kits()[token.HS256]
	p := token.Profile{
		Types: []string{"JWT"}, IgnoreHeaders: []string{"jku"}, SubjectClaims: []token.Path{{"uid"}}, TenantClaim: token.Path{"org", "id"},
		Roles:   []token.Grant{{Claim: token.Path{"r", "s"}, Names: token.Same("a")}},
		Require: []token.Condition{{Claim: token.Path{"use"}, Is: []any{"x"}}},
	}
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Profile = p })
	p.Types[0], p.IgnoreHeaders[0], p.SubjectClaims[0][0], p.TenantClaim[1] = "at+jwt", "jwk", "sub", "x"
	p.Roles[0].Claim[0], p.Roles[0].Names["b"], p.Require[0].Is[0], p.Require[0].Claim[0] = "x", "admin", "y", "z"
	s := k.raw(k.header("typ", `"JWT"`, "jku", `"x"`), payload("uid", `"u"`, "org", `{"id":"o"}`, "r", `{"s":["a","b"]}`, "use", `"x"`))
	got, err := v.Verify(t.Context(), s)
	if err != nil || got.Subject != "u" || got.Tenant != "o" || got.Roles.String() != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = v.Verify(t.Context(), k.raw(k.header("typ", `"JWT"`), payload("uid", `"u"`, "use", `"y"`)))
	if err == nil || !strings.Contains(err.Error(), `use is "y"; expected one of ["x"]`) {
		t.Errorf("%v", err)
	}
}

func TestSubjectPrefixIsFollowedByAName(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Profile.SubjectPrefix = "spiffe://example.org/" })
	for sub, ok := range map[string]bool{"spiffe://example.org/a": true, "spiffe://example.org/": false, "spiffe://example.org": false, "spiffe://example.org.evil/a": false, "SPIFFE://example.org/a": false, "a": false} {
		if _, err := v.Verify(t.Context(), k.token("sub", quoted(sub))); (err == nil) != ok || err != nil && !errors.Is(err, token.ErrClaim) {
			t.Errorf("%s: %v", sub, err)
		}
	}
}

func TestTokensWithoutIssuerHaveNone(t *testing.T) {
	k := kits()[token.HS256]
	without := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
		c.Profile.NoIssuer, c.Profile.SubjectPrefix = true, "spiffe://example.org/"
	})
	both := mustAny(t, without, newVerifier(t, k.ring, issuedBy(partner)))
	for iss, ok := range map[string]bool{"": true, quoted(issuerName): false, quoted(partner): false, `""`: false, "null": false, "7": false} {
		s := k.token("iss", iss, "sub", `"spiffe://example.org/a"`)
		if p, err := without.Verify(t.Context(), s); (err == nil) != ok || err != nil && !errors.Is(err, token.ErrInvalid) || ok && p.Issuer != issuerName {
			t.Errorf("iss %s: %v, %v", iss, p, err)
		}
		if p, err := both.Verify(t.Context(), s); (err == nil) != (ok || iss == quoted(partner)) || err == nil && (p.Issuer == issuerName) != ok {
			t.Errorf("iss %s, with another Verifier: %v, %v", iss, p, err)
		}
	}
}
