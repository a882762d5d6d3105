package token_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
)

// site answers by URL.
func site(pages map[string]func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if page := pages[r.URL.String()]; page != nil {
			return page(r)
		}
		return sends(404, "text/plain", r.URL.String())(r)
	}
}

// TestKeysAreFoundByDiscovery: the metadata names the place of the keys, and must
// be that of the configured issuer.
func TestKeysAreFoundByDiscovery(t *testing.T) {
	k := kits()[token.ES256]
	const (
		issuer = "https://issuer.example.com/realm"
		where  = issuer + "/.well-known/openid-configuration"
		keys   = "https://issuer.example.com/keys"
	)
	metadata := func(issuer, jwks string) string {
		return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"scopes_supported":["a"],"x":{"issuer":"other"},"x":1}`, issuer, jwks)
	}
	for name, c := range map[string]struct {
		metadata, contentType string
		edit                  func(*token.RemoteConfig)
		says                  string // "": it works
	}{
		"as it should be":           {metadata(issuer, keys), "application/json", nil, ""},
		"with a slash at its end":   {metadata(issuer+"/", keys), "application/json", func(c *token.RemoteConfig) { c.Issuer += "/" }, ""},
		"of another issuer":         {metadata("https://issuer.example.com/other", keys), "application/json", nil, `the issuer is "https://issuer.example.com/other" instead of RemoteConfig.Issuer, "` + issuer + `"`},
		"but for a slash":           {metadata(issuer+"/", keys), "application/json", nil, "the issuer is"},
		"in another case":           {metadata(strings.ToUpper(issuer), keys), "application/json", nil, "the issuer is"},
		"without an issuer":         {`{"jwks_uri":"` + keys + `"}`, "application/json", nil, "the issuer is"},
		"with two issuers":          {`{"issuer":"x",` + metadata(issuer, keys)[1:], "application/json", nil, "second spelling"},
		"without keys":              {`{"issuer":"` + issuer + `"}`, "application/json", nil, "the jwks_uri is empty"},
		"keys on another host":      {metadata(issuer, "https://keys.example.com/keys"), "application/json", nil, `on the host "keys.example.com"`},
		"keys on a host by name":    {metadata(issuer, "https://keys.example.com/keys"), "application/json", func(c *token.RemoteConfig) { c.KeyHosts = []string{"keys.example.com"} }, ""},
		"keys on another port":      {metadata(issuer, "https://issuer.example.com:444/keys"), "application/json", nil, "on the host"},
		"keys in clear":             {metadata(issuer, "http://issuer.example.com/keys"), "application/json", nil, "use https"},
		"keys in a file":            {metadata(issuer, "file:///etc/passwd"), "application/json", nil, "jwks_uri"},
		"keys with a password":      {metadata(issuer, "https://a:b@issuer.example.com/keys"), "application/json", nil, "user name or password"},
		"as HTML":                   {metadata(issuer, keys), "text/html", nil, "Content-Type"},
		"larger than it should be":  {metadata(issuer, keys) + strings.Repeat(" ", 256<<10), "application/json", nil, "RemoteConfig.MaxSize"},
		"with a place that is none": {metadata(issuer, "https://issuer.example.com/\x7f"), "application/json", nil, "metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := new(endpoint)
				set := serves(k.ring.JWKSHandler())
				e.says(site(map[string]func(*http.Request) (*http.Response, error){
					where: sends(200, c.contentType, c.metadata), keys: set, "https://keys.example.com/keys": set,
				}))
				remote := newRemote(t, e, func(r *token.RemoteConfig) { r.URL, r.Issuer = "", issuer }, func(r *token.RemoteConfig) {
					if c.edit != nil {
						c.edit(r)
					}
				})
				err := remote.Fetch(t.Context())
				if c.says != "" {
					if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "a:b@") {
						t.Errorf("Fetch = %v, want an error with %q", err, c.says)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				wantAccepted(t, bearer(newVerifier(t, remote), k.token()))
				if n := e.calls.Load(); n != 2 {
					t.Errorf("%d requests, want one for the metadata and one for the keys", n)
				}
				time.Sleep(10 * time.Minute)
				if err := remote.Fetch(t.Context()); err != nil || e.calls.Load() != 3 {
					t.Errorf("%v, %d requests; want one more, for the keys", err, e.calls.Load())
				}
			})
		})
	}
}

func TestMistakesOfDiscoveryAreJoined(t *testing.T) {
	for want, c := range map[string]token.RemoteConfig{
		"RemoteConfig.URL is \"https://a.example/\" beside Issuer": {URL: "https://a.example/", Issuer: "https://a.example"},
		"RemoteConfig.MetadataURL is \"http://a.example":           {Issuer: "http://a.example"},
		"MetadataURL or KeyHosts is set without Issuer":            {URL: "https://a.example/", KeyHosts: []string{"b.example"}},
		"RemoteConfig.URL is empty":                                {},
	} {
		c.Algorithms = accepted
		if _, err := token.NewRemote(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewRemote = %v, want %q", err, want)
		}
	}
}

// TestCacheHeadersAreObeyedWithinBounds: a shorter age is obeyed down to the
// Cooldown, and none makes the keys older than Refresh.
func TestCacheHeadersAreObeyedWithinBounds(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                              5 * time.Minute,
		"public, max-age=60":            time.Minute,
		"max-age=60, max-age=3600":      time.Minute,
		`max-age="90"`:                  90 * time.Second,
		"max-age=3600":                  5 * time.Minute,
		"max-age=1":                     30 * time.Second,
		"max-age=0":                     30 * time.Second,
		"no-store":                      30 * time.Second,
		"No-Cache":                      30 * time.Second,
		"max-age=-5":                    5 * time.Minute,
		"max-age=x":                     5 * time.Minute,
		"max-age=99999999999999999999":  5 * time.Minute,
		"s-maxage=1, stale-if-error=10": 5 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			k, e := kits()[token.ES256], new(endpoint)
			e.says(after(time.Second, serves(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", jwkSet)
				w.Header().Set("Cache-Control", header)
				io.WriteString(w, `{"keys":[`+jwk(t, k)+`]}`)
			}))))
			remote := newRemote(t, e)
			start := time.Now()
			if err := remote.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			v := newVerifier(t, remote)
			for e.calls.Load() == 1 {
				if time.Since(start) > time.Hour {
					break
				}
				time.Sleep(time.Second)
				wantAccepted(t, bearer(v, k.token()))
				synctest.Wait()
			}
			if got := time.Since(start); got != want {
				t.Errorf("Cache-Control %q: fetched again after %v, want %v", header, got, want)
			}
			wantNoKey(t, v, newKit(mustKey(t, token.ES256)).token())
		})
	}
}

// TestRotationWithoutPublishingFirst: the issuer signs with a key at the moment it
// publishes it. Its tokens are 503 until the keys are fetched, and never 401.
func TestRotationWithoutPublishingFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kits []*kit
		for range 6 {
			kits = append(kits, newKit(mustKey(t, token.ES256)))
		}
		e := new(endpoint)
		publish := func(k *kit) { e.says(after(time.Second, serves(k.ring.JWKSHandler()))) }
		publish(kits[0])
		remote := newRemote(t, e)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, remote)
		for n, k := range kits {
			publish(k)
			accepted := false
			for range 60 {
				start := time.Now()
				o := bearer(v, k.token())
				if time.Since(start) != 0 {
					t.Fatal("a request waited")
				}
				switch {
				case o.status == 200:
					accepted = true
				case o.status != 503 || o.header.Get("Retry-After") == "" || accepted:
					t.Fatalf("rotation %d: a good token is answered %d %v", n, o.status, o.header)
				}
				time.Sleep(time.Second)
			}
			if !accepted {
				t.Errorf("rotation %d: not noticed within a minute", n)
			}
		}
	})
}

// TestSetsThatFlip: an endpoint answers with two sets in turn. Tokens of both
// issuers' keys are accepted or 503, and never 401.
func TestSetsThatFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newKit(mustKey(t, token.ES256)), newKit(mustKey(t, token.ES256))
		e := new(endpoint)
		var n atomic.Int64
		e.says(func(r *http.Request) (*http.Response, error) {
			return serves([]*kit{a, b}[n.Add(1)%2].ring.JWKSHandler())(r)
		})
		remote := newRemote(t, e)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, remote)
		accepted := make(map[*kit]int)
		start := time.Now()
		for range 600 {
			for _, k := range []*kit{a, b} {
				switch o := bearer(v, k.token()); o.status {
				case 200:
					accepted[k]++
				case 503:
				default:
					t.Fatalf("a good token is answered %d", o.status)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if accepted[a] == 0 || accepted[b] == 0 || e.calls.Load() > int64(time.Since(start)/(30*time.Second))+2 {
			t.Errorf("accepted %d and %d times, %d fetches", accepted[a], accepted[b], e.calls.Load())
		}
	})
}

// TestTokensThatNoKeyWouldSaveAreRejected while their key is unknown, and no
// fetch begins for them.
func TestTokensThatNoKeyWouldSaveAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, next := kits()[token.ES256], newKit(mustKey(t, token.ES256))
		e := new(endpoint)
		e.says(serves(known.ring.JWKSHandler()))
		remote := newRemote(t, e)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, remote)
		time.Sleep(time.Minute) // a fetch may begin
		for name, c := range map[string]struct {
			token string
			why   error
		}{
			"typ": {next.headed("typ", `"JWT"`), token.ErrType},
			"alg": {next.headed("alg", `"HS256"`), token.ErrAlgorithm},
			"iss": {next.token("iss", quoted(partner)), token.ErrIssuer},
			"aud": {next.token("aud", `"other"`), token.ErrAudience},
			"exp": {next.token("exp", later(-1), "iat", later(-9)), token.ErrExpired},
			"sub": {next.token("sub", ""), token.ErrMalformed},
		} {
			o := bearer(v, c.token)
			wantRefused(t, o, c.why)
			if len(o.events) != 1 || name != "sub" && !strings.Contains(o.events[0].Denial.Err.Error(), "the signature was not verified") {
				t.Errorf("%s: the reason is %v", name, o.events)
			}
		}
		synctest.Wait()
		if n := e.calls.Load(); n != 1 {
			t.Errorf("%d fetches, want none for tokens that are rejected anyway", n)
		}
		wantUnavailable(t, bearer(v, next.token()))
	})
}

func TestKeysOfAFile(t *testing.T) {
	es, ed := kits()[token.ES256], kits()[token.EdDSA]
	set := `{"keys":[` + jwk(t, es) + `,` + jwk(t, ed) + `,{"kty":"new"}]}`
	keys, err := token.ParseKeySet([]byte(set), token.ES256)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, keys)
	wantAccepted(t, bearer(v, es.token()))
	wantRefused(t, bearer(v, ed.token()), token.ErrKey)
	if got := fmt.Sprint(keys); got != "token.KeySet(ES256 "+es.kid+")" {
		t.Errorf("it prints as %s", got)
	}
	for name, c := range map[string]struct {
		set  string
		algs []token.Algorithm
	}{
		"no algorithm": {set, nil}, "a shared secret": {set, []token.Algorithm{token.HS256}}, "no set": {"x", accepted}, "none that fits": {set, []token.Algorithm{token.RS256}},
		"a private key": {`{"keys":[` + jwk(t, es, "d", `"AA"`) + `,` + jwk(t, ed) + `]}`, accepted}, "a malformed key": {`{"keys":[` + jwk(t, es, "x", `"AA"`) + `,` + jwk(t, ed) + `]}`, accepted},
	} {
		if _, err := token.ParseKeySet([]byte(c.set), c.algs...); err == nil || !strings.HasPrefix(err.Error(), "auth/token: ParseKeySet: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, zero := range []token.KeySource{(*token.KeySet)(nil), new(token.KeySet)} {
		if _, err := token.NewVerifier(zero, token.VerifierConfig{Issuer: "i", Audience: "a", InsecureNoRevoker: true}); err == nil {
			t.Error("a KeySet that ParseKeySet did not return is used")
		}
	}
}

// TestVerifySignatureChecksTheSignatureOnly of a token with whatever claims.
func TestVerifySignatureChecksTheSignatureOnly(t *testing.T) {
	k := kits()[token.ES256]
	keys, err := token.ParseKeySet([]byte(`{"keys":[`+jwk(t, k)+`]}`), token.ES256)
	if err != nil {
		t.Fatal(err)
	}
	for _, claims := range []string{payload(), payload("exp", "1", "iss", `"x"`), `{"x":1}`, "not JSON"} {
		got, err := token.VerifySignature(keys, k.raw(k.header("typ", `"anything"`), claims))
		if err != nil || string(got) != claims {
			t.Errorf("%s: %s, %v", claims, got, err)
		}
	}
	for name, s := range map[string]string{
		"another key": newKit(mustKey(t, token.ES256)).token(), "no key": k.headed("kid", ""), "crit": k.headed("crit", `["exp"]`), "alg": k.headed("alg", `"none"`),
		"junk": "junk", "changed": unsigned(k.token("sub", `"mallory"`)) + k.token()[strings.LastIndexByte(k.token(), '.'):], "padded": k.token() + "=",
	} {
		if got, err := token.VerifySignature(keys, s); got != nil || !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := token.VerifySignature(nil, k.token()); err == nil {
		t.Error("no keys")
	}
}

// TestKeyUsesAreNamed: keys for another use are left out unless they are named.
func TestKeyUsesAreNamed(t *testing.T) {
	k := kits()[token.ES256]
	for _, uses := range [][]string{nil, {"sig"}, {"jwt-svid"}, {"sig", "jwt-svid"}} {
		synctest.Test(t, func(t *testing.T) {
			for use, ok := range map[string]bool{`"sig"`: len(uses) != 1 || uses[0] == "sig", `"jwt-svid"`: len(uses) > 0 && uses[len(uses)-1] == "jwt-svid", `"enc"`: false, `"x509-svid"`: false, "": true} {
				e := new(endpoint)
				e.says(sends(200, jwkSet, `{"keys":[`+jwk(t, k, "use", use)+`]}`))
				remote := newRemote(t, e, func(c *token.RemoteConfig) { c.Uses = uses })
				if err := remote.Fetch(t.Context()); (err == nil) != ok {
					t.Errorf("use %s with Uses %v: %v", use, uses, err)
				}
			}
		})
	}
}

// TestTokenInAnotherHeader: by name, alone, once.
func TestTokenInAnotherHeader(t *testing.T) {
	k := kits()[token.ES256]
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Header = "X-Goog-Iap-Jwt-Assertion" })
	if c := v.Challenge(); c.Scheme != "X-Goog-Iap-Jwt-Assertion" {
		t.Errorf("the challenge is %v", c)
	}
	good := k.token()
	r := get()
	if o := serve(v, r); o.ran || o.status != 401 {
		t.Errorf("without a token: %d", o.status)
	}
	r.Header.Set("X-Goog-Iap-Jwt-Assertion", good)
	wantAccepted(t, serve(v, r))
	r.Header.Set("Authorization", "Basic eDp5")
	wantAccepted(t, serve(v, r))
	r.Header.Add("X-Goog-Iap-Jwt-Assertion", good)
	wantAmbiguous(t, serve(v, r))
	r.Header.Set("X-Goog-Iap-Jwt-Assertion", "Bearer "+good)
	if o := serve(v, r); o.ran || o.status != 401 || len(o.challenges) != 1 || !strings.HasPrefix(o.challenges[0], "X-Goog-Iap-Jwt-Assertion ") {
		t.Errorf("with a scheme: %d %q", o.status, o.challenges)
	}
	if o := serve(v, get("Bearer "+good)); o.ran || o.status != 401 {
		t.Errorf("in the Authorization header: %d", o.status)
	}
	for _, name := range []string{"authorization", "Authorization", "Cookie", "x-token", "X Token", "X-Tökén"} {
		_, err := token.NewVerifier(k.ring, token.VerifierConfig{Issuer: "i", Audience: "a", InsecureNoRevoker: true, Header: name})
		if err == nil || !strings.Contains(err.Error(), "VerifierConfig.Header") {
			t.Errorf("the header %q: %v", name, err)
		}
	}
}

// TestReasonsNameWhatIsDifferent: the member, the value that came and the one that
// was expected, bounded and escaped, for the log and not for the client.
func TestReasonsNameWhatIsDifferent(t *testing.T) {
	k := kits()[token.ES256]
	long := strings.Repeat("x", 500)
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
		c.Profile = token.Profile{Types: []string{"at+jwt", "JWT"}, ClientOptional: true, RequireGrant: true, Scopes: []token.Grant{{Claim: token.Path{"scope"}, Names: token.Same("read")}},
			TenantClaim: token.Path{"org", "a b"}, Require: []token.Condition{{Claim: token.Path{"k.io", "ns"}, Is: []any{"dev", "prod", true, 7}}}, Refuse: []token.Condition{{Claim: token.Path{"sts"}, Is: []any{"pending"}}}}
	})
	plain := newVerifier(t, k.ring)
	good := []string{"scope", `"read"`, "k.io", `{"ns":"dev"}`}
	with := func(members ...string) string {
		for i := 0; i < len(good); i += 2 {
			if !slices.Contains(members, good[i]) {
				members = append(members, good[i], good[i+1])
			}
		}
		return k.token(members...)
	}
	wantAccepted(t, bearer(v, with()))
	for _, c := range []struct {
		v     *token.Verifier
		token string
		why   error
		says  []string
	}{
		{v, with("aud", `["a","b"]`), token.ErrAudience, []string{`aud is ["a","b"]; expected "` + audience + `"`}},
		{v, with("aud", ""), token.ErrAudience, []string{"aud is missing"}},
		{v, with("iss", quoted(issuerName+"/")), token.ErrIssuer, []string{`iss is "` + issuerName + `/"; expected "` + issuerName + `"`}},
		{v, with("exp", later(-60), "iat", later(-90)), token.ErrExpired, []string{"exp is", "expected later than"}},
		{v, with("nbf", later(90)), token.ErrTooEarly, []string{"nbf or iat", "expected at most 30s later than"}},
		{v, with("exp", later(90000)), token.ErrLifetime, []string{`"25h0m0s"`, "24h0m0s"}},
		{v, with("sub", ""), token.ErrMalformed, []string{"sub is missing"}},
		{v, with("jti", `7`), token.ErrMalformed, []string{"jti is 7; expected a string"}},
		{plain, k.token("client_id", ""), token.ErrMalformed, []string{"client_id is missing; expected a client"}},
		{plain, k.token("roles", `"admin"`), token.ErrMalformed, []string{`roles is "admin"`}},
		{plain, k.token("jti", `"a\nb\u202e`+long+`"`), token.ErrMalformed, []string{`jti is "`, "…"}},
		{v, k.headed("typ", `"logout+jwt"`), token.ErrType, []string{`typ is "logout+jwt"; expected "at+jwt" or "JWT"`}},
		{v, k.headed("alg", `"RS256"`), token.ErrAlgorithm, []string{`alg is "RS256"; expected [ES256]`, k.kid}},
		{v, k.headed("kid", `"`+long[:200]+`"`), token.ErrKey, []string{"kid is", "expected one of", k.kid}},
		{v, k.headed("jku", `"https://evil.example"`), token.ErrMalformed, []string{`jku is "https://evil.example"; expected no such member`}},
		{v, unsigned(k.token()) + with()[strings.LastIndexByte(with(), '.'):], token.ErrSignature, []string{"does not match the key", "ES256"}},
		{v, with("k.io", `{"ns":"evil"}`), token.ErrClaim, []string{`k.io > ns is "evil"; expected one of ["dev" "prod" true 7]`}},
		{v, with("k.io", `{"ns":"true"}`), token.ErrClaim, []string{`is "true"; expected one of`}},
		{v, with("k.io", `{"ns":1,"ns":2}`), token.ErrMalformed, []string{"k.io; expected an object", "each name once"}},
		{v, with("sts", `"pending"`), token.ErrClaim, []string{`sts is "pending"; expected none of ["pending"]`}},
		{v, with("scope", `"write"`), token.ErrClaim, []string{"a value that grants a scope or a role"}},
		{v, with("org", `{"a b":7}`), token.ErrMalformed, []string{`org > "a b" is 7`}},
		{v, k.raw(k.header("typ", `"JWT"`), payload("scope", `"read"`, "k.io", `{"ns":"dev"}`, "nonce", `"n"`)), token.ErrType, []string{`nonce is "n"; expected none in an access token`}},
		{v, k.raw(k.header("typ", `"JWT"`), payload("scope", `"read"`, "k.io", `{"ns":"dev"}`, "events", `{}`)), token.ErrType, []string{`events is {}`}},
		{v, strings.Repeat("x", 9000), token.ErrMalformed, []string{"the length of the token in bytes is 9000; at most 8192 is accepted"}},
		{v, "a secret of something else", token.ErrMalformed, []string{"expected three parts"}},
	} {
		o := bearer(c.v, c.token)
		wantRefused(t, o, c.why)
		if len(o.events) == 0 || o.events[0].Denial == nil {
			continue
		}
		text := o.events[0].Denial.Err.Error()
		for _, says := range c.says {
			if !strings.Contains(text, says) {
				t.Errorf("the reason is %q, want it to say %q", text, says)
			}
		}
		if len(text) > 900 || strings.ContainsAny(text, "\n\r\u202e") || strings.Contains(text, "secret of something") {
			t.Errorf("the reason is %q", text)
		}
	}
}

func TestUnavailableKeysSayWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, next := kits()[token.ES256], newKit(mustKey(t, token.ES256))
		e := new(endpoint)
		e.says(serves(known.ring.JWKSHandler()))
		remote := newRemote(t, e)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		v := newVerifier(t, remote)
		if o := bearer(v, next.token()); len(o.events) != 1 || o.events[0].Name != guard.EventUnavailable {
			t.Errorf("without OnError the events are %+v", o.events)
		}
		_, err := v.Authenticate(get("Bearer " + next.token()))
		if d := guard.DenialOf(t.Context(), err); d.Status != 503 || d.RetryAfter != 20*time.Second {
			t.Errorf("%d, retry after %v; want 503 and the rest of the Cooldown", d.Status, d.RetryAfter)
		}
	})
}

// TestUnknownKeyIDsAreReportedOnceAFetch, however many tokens have them.
func TestUnknownKeyIDsAreReportedOnceAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, next := kits()[token.ES256], newKit(mustKey(t, token.ES256))
		e, heard := new(endpoint), new(hears)
		e.says(after(time.Second, serves(known.ring.JWKSHandler())))
		remote := newRemote(t, e, func(c *token.RemoteConfig) { c.OnError = heard.hear })
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, remote)
		for n := range 500 {
			o := bearer(v, next.headed("kid", fmt.Sprintf(`"%d"`, n)))
			wantUnavailable(t, o)
			if len(o.events) != 0 {
				t.Fatalf("a request has the event %+v beside OnError", o.events[0])
			}
		}
		time.Sleep(31 * time.Second)
		wantUnavailable(t, bearer(v, next.token("exp", later(600))))
		time.Sleep(2 * time.Second)
		if all := heard.take(); len(all) != 1 || !strings.Contains(all[0].Error(), " 501 tokens with key IDs") {
			t.Errorf("OnError heard %v, want one report", all)
		}
		time.Sleep(31 * time.Second)
		if err := remote.Fetch(t.Context()); err != nil || len(heard.take()) != 0 {
			t.Errorf("%v, and a report without an unknown key ID", err)
		}
	})
}
