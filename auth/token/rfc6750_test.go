package token_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// The clauses of RFC 6750 and its neighbours that whoever takes bearer tokens has
// to keep, one test each. What lies between them is in the attack corpus and in
// the tests of the Verifier.

// each runs a test with one algorithm of each kind.
func each(t *testing.T, test func(t *testing.T, k *kit)) {
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) { test(t, kits()[alg]) })
	}
}

func postForm(body string, authorization ...string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != nil {
		r.Header["Authorization"] = authorization
	}
	return r
}

func inTheQuery(s string, authorization ...string) *http.Request {
	r := get(authorization...)
	r.URL.RawQuery = "access_token=" + s
	return r
}

func TestRFC6750Section2OneMethodInEachRequest(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		v, s := newVerifier(t, k.ring), k.token()
		wantAmbiguous(t, serve(v, inTheQuery(s, "Bearer "+s)))
		wantAmbiguous(t, serve(v, postForm("access_token="+s, "Bearer "+s)))
		wantAmbiguous(t, serve(v, get("Bearer "+s, "Bearer "+s)))
	})
}

// A b64token may have more characters than a JWS has; none that it has not is
// taken.
func TestRFC6750Section2_1OnlyItsCharacters(t *testing.T) {
	k := kits()[token.ES256]
	v := newVerifier(t, k.ring)
	for c := range 256 {
		s := k.token() + string([]byte{byte(c)})
		wantRefused(t, serve(v, get("Bearer "+s)), token.ErrInvalid)
	}
}

// Sections 2.2 and 2.3 may be supported, and are not: RFC 9700 section 4.3.2
// says why not the query.
func TestRFC6750Section2_2TheFormIsNoPlaceForTokens(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		wantAnonymous(t, serve(newVerifier(t, k.ring), postForm("access_token="+k.token())))
	})
}

func TestRFC9700Section4_3_2TheQueryIsNoPlaceForTokens(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		wantAnonymous(t, serve(newVerifier(t, k.ring), inTheQuery(k.token())))
	})
}

// challengeOf is the grammar of RFC 9110 section 11.6.1 with quoted-strings.
var challengeOf = regexp.MustCompile(`^Bearer(?: [a-z_]+="(?:[^"\\]|\\.)*"(?:, [a-z_]+="(?:[^"\\]|\\.)*")*)?$`)

// unauthorized are the ways to be answered 401.
func unauthorized(t *testing.T, k *kit, edit ...func(*token.VerifierConfig)) map[string]outcome {
	v := newVerifier(t, k.ring, edit...)
	ended := newVerifier(t, k.ring, append(edit, func(c *token.VerifierConfig) {
		c.Revoker = revoker(func(*identity.Principal) (bool, error) { return true, nil })
	})...)
	gone := func(context.Context, *identity.Principal) error { return guard.ErrInactive }
	return map[string]outcome{
		"no credentials":          serve(v, get()),
		"another scheme":          serve(v, get("Basic YTpi")),
		"no token":                serve(v, get("Bearer")),
		"malformed":               serve(v, get("Bearer x")),
		"expired":                 serve(v, get("Bearer "+k.token("exp", later(-1)))),
		"forged":                  serve(v, get("Bearer "+unsigned(k.token())+".AAAA")),
		"revoked":                 serve(ended, get("Bearer "+k.token())),
		"of somebody who is gone": serveWhile(gone, v, get("Bearer "+k.token())),
	}
}

func TestRFC6750Section3Every401HasAChallenge(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for name, o := range unauthorized(t, k, func(c *token.VerifierConfig) {
			c.Realm, c.ResourceMetadata = `a "realm"\`, "https://api.example.com/.well-known/oauth-protected-resource"
		}) {
			if o.ran || o.status != 401 || len(o.challenges) != 1 || !challengeOf.MatchString(o.challenges[0]) || !strings.HasPrefix(o.challenges[0], `Bearer realm="a \"realm\"\\"`) {
				t.Errorf("%s: ran %v, %d with %q, want 401 and one challenge of one parameter or more", name, o.ran, o.status, o.challenges)
			}
		}
	})
}

// Section 3 says so of realm, scope and error, RFC 9110 section 11.2 of all.
func TestRFC6750Section3EachParameterOnce(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for name, o := range unauthorized(t, k, func(c *token.VerifierConfig) { c.Realm, c.ResourceMetadata = "r", "https://api.example.com/m" }) {
			for _, parameter := range []string{" realm=", " scope=", " error=", " resource_metadata="} {
				if n := strings.Count(" "+strings.Join(o.challenges, " "), parameter); n > 1 {
					t.Errorf("%s: %d times%s in %q", name, n, parameter, o.challenges)
				}
			}
		}
	})
}

func TestRFC6750Section3_1NoErrorForWhoeverShowedNothing(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		all := unauthorized(t, k)
		for _, name := range []string{"no credentials", "another scheme"} {
			if o := all[name]; len(o.challenges) != 1 || o.challenges[0] != "Bearer" || strings.Contains(o.body, "invalid") {
				t.Errorf("%s: %q %s", name, o.challenges, o.body)
			}
		}
	})
}

func TestRFC6750Section3_1InvalidToken(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for name, o := range unauthorized(t, k) {
			if name == "no credentials" || name == "another scheme" {
				continue
			}
			if o.status != 401 || o.body != invalidBody || len(o.challenges) != 1 || o.challenges[0] != `Bearer error="invalid_token"` {
				t.Errorf("%s: %d %s %q", name, o.status, o.body, o.challenges)
			}
		}
	})
}

func TestRFC6750Section3_1InvalidRequest(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		s := k.token()
		if o := serve(newVerifier(t, k.ring), get("Bearer "+s, "Bearer "+s)); o.status != 400 || !strings.Contains(o.body, `"invalid_request"`) {
			t.Errorf("%d %s, want 400 invalid_request", o.status, o.body)
		}
	})
}

func TestRFC9110Section11_1TheSchemeIsInAnyCase(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for _, scheme := range []string{"Bearer", "bearer", "BEARER", "bEaReR"} {
			wantAccepted(t, serve(newVerifier(t, k.ring), get(scheme+" "+k.token())))
		}
	})
}

func TestRFC9110Section15_5_2A401HasAChallenge(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for name, o := range unauthorized(t, k) {
			if o.status != 401 || len(o.challenges) == 0 {
				t.Errorf("%s: %d with %q", name, o.status, o.challenges)
			}
		}
	})
}

func TestRFC9728Section5_1MetadataInTheChallenge(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		const where = "https://api.example.com/.well-known/oauth-protected-resource"
		for name, o := range unauthorized(t, k, func(c *token.VerifierConfig) { c.ResourceMetadata = where }) {
			if len(o.challenges) != 1 || !strings.Contains(o.challenges[0], ` resource_metadata="`+where+`"`) {
				t.Errorf("%s: %q", name, o.challenges)
			}
		}
	})
}

func TestRFC9457Section3RefusalsAreProblems(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for name, o := range unauthorized(t, k) {
			if got := o.header.Get("Content-Type"); got != "application/problem+json" || !strings.Contains(o.body, `"status":401`) {
				t.Errorf("%s: %s %s", name, got, o.body)
			}
		}
	})
}
