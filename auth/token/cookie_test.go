package token_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
)

// TestTokenInACookie: by name and once, with the protection against cross-site
// requests that sessions of guard have.
func TestTokenInACookie(t *testing.T) {
	k := kits()[token.ES256]
	one := newVerifier(t, k.ring)
	several := mustAny(t, newVerifier(t, k.ring), newVerifier(t, kits()[token.EdDSA].ring, issuedBy(partner)))
	for name, inCookie := range map[string]func(string, guard.SessionConfig) (*guard.Sessions, error){
		"Verifier": one.InCookie, "Verifiers": several.InCookie,
	} {
		sessions, err := inCookie("__session", guard.SessionConfig{ExplicitWins: []string{"X-Api-Key"}, TrustedOrigins: []string{"https://app.example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		good := k.token()
		for what, c := range map[string]struct {
			method string
			header http.Header
			status int
		}{
			"no cookie":             {"GET", http.Header{}, 401},
			"another cookie":        {"GET", http.Header{"Cookie": {"session=" + good}}, 401},
			"a name in capitals":    {"GET", http.Header{"Cookie": {"__SESSION=" + good}}, 401},
			"an empty cookie":       {"GET", http.Header{"Cookie": {"__session="}}, 401},
			"a token":               {"GET", http.Header{"Cookie": {"a=b; __session=" + good}}, 200},
			"an expired token":      {"GET", http.Header{"Cookie": {"__session=" + k.token("exp", later(-1), "iat", later(-9))}}, 401},
			"a forged token":        {"GET", http.Header{"Cookie": {"__session=" + newKit(mustKey(t, token.ES256)).token()}}, 401},
			"a token with a scheme": {"GET", http.Header{"Cookie": {"__session=Bearer " + good}}, 401},
			"a token in quotes":     {"GET", http.Header{"Cookie": {`__session="` + good + `"`}}, 401},
			"a malformed one":       {"GET", http.Header{"Cookie": {"__session=\x01" + good}}, 401},
			"two cookies":           {"GET", http.Header{"Cookie": {"__session=" + good + "; __session=" + good}}, 400},
			"two lines of cookies":  {"GET", http.Header{"Cookie": {"__session=" + good, "__session="}}, 400},
			"an explicit header":    {"GET", http.Header{"Cookie": {"__session=" + good}, "X-Api-Key": {"k"}}, 401},
			"in Authorization":      {"GET", http.Header{"Authorization": {"Bearer " + good}}, 401},
			"POST of a program":     {"POST", http.Header{"Cookie": {"__session=" + good}}, 200},
			"POST of its own page":  {"POST", http.Header{"Cookie": {"__session=" + good}, "Sec-Fetch-Site": {"same-origin"}}, 200},
			"POST of another site":  {"POST", http.Header{"Cookie": {"__session=" + good}, "Sec-Fetch-Site": {"cross-site"}}, 403},
			"POST of a subdomain":   {"POST", http.Header{"Cookie": {"__session=" + good}, "Sec-Fetch-Site": {"same-site"}, "Origin": {"https://x.example.com"}}, 403},
			"POST of a null origin": {"POST", http.Header{"Cookie": {"__session=" + good}, "Origin": {"null"}}, 403},
			"POST of a friend":      {"POST", http.Header{"Cookie": {"__session=" + good}, "Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.example.com"}}, 200},
			"WebSocket of a site":   {"GET", http.Header{"Cookie": {"__session=" + good}, "Sec-Fetch-Site": {"cross-site"}, "Upgrade": {"websocket"}, "Origin": {"https://x.example"}}, 403},
			"GET of another site":   {"GET", http.Header{"Cookie": {"__session=" + good}, "Sec-Fetch-Site": {"cross-site"}}, 200},
		} {
			r := get()
			r.Method, r.Header = c.method, c.header
			if o := serve(sessions, r); o.status != c.status || o.ran != (c.status == 200) {
				t.Errorf("%s, %s: %d, want %d", name, what, o.status, c.status)
			} else if o.status == 401 && (len(o.challenges) != 1 || !strings.HasPrefix(o.challenges[0], "Session")) {
				t.Errorf("%s, %s: the challenges are %q", name, what, o.challenges)
			}
		}
	}
	for _, name := range []string{"", "a b", "a=b", "a;b", "ä"} {
		_, err := one.InCookie(name, guard.SessionConfig{ExplicitWins: []string{"Cookie"}})
		if err == nil || !strings.Contains(err.Error(), "InCookie has the name") || !strings.Contains(err.Error(), "ExplicitWins[0]") {
			t.Errorf("the cookie %q: %v, want both mistakes", name, err)
		}
	}
	for what, try := range map[string]func(string, guard.SessionConfig) (*guard.Sessions, error){
		"nil Verifier": (*token.Verifier)(nil).InCookie, "zero Verifier": new(token.Verifier).InCookie,
		"nil Verifiers": (*token.Verifiers)(nil).InCookie, "zero Verifiers": new(token.Verifiers).InCookie,
	} {
		if _, err := try("__session", guard.SessionConfig{}); err == nil {
			t.Errorf("InCookie of a %s has no error", what)
		}
	}
}

// TestOutageOfKeysForACookieIsUnavailable and no verdict on the cookie.
func TestOutageOfKeysForACookieIsUnavailable(t *testing.T) {
	e := new(endpoint)
	e.says(isDown)
	sessions, err := newVerifier(t, newRemote(t, e)).InCookie("__session", guard.SessionConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r := get()
	r.Header.Set("Cookie", "__session="+kits()[token.ES256].token())
	wantUnavailable(t, serve(sessions, r))
}
