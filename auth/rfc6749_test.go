package auth_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

// The clauses of RFC 6749 that a token endpoint of a first-party application
// has to keep, one test each. What lies between them is in the tests of the
// single endpoints.

func TestRFC6749Section3_2PostOnly(t *testing.T) {
	h := newHost(t)
	for _, path := range []string{"/token", "/token/refresh"} {
		r := request(path, "grant_type", "password", "username", "alice", "password", right)
		r.Method = "GET"
		a := h.serve(r)
		h.want(a, http.StatusMethodNotAllowed, guard.CodeInvalidRequest)
		if a.header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q", path, a.header.Get("Allow"))
		}
	}
}

func TestRFC6749Section3_2RepeatedParameterIsInvalidRequest(t *testing.T) {
	h := newHost(t)
	h.want(h.signIn("alice", right, "password", right), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(h.signIn("alice", right, "scope", "read", "scope", "read"), http.StatusBadRequest, guard.CodeInvalidRequest)
}

func TestRFC6749Section3_2UnknownParameterIsIgnored(t *testing.T) {
	h := newHost(t)
	h.want(h.signIn("alice", right, "resource", "https://other.example", "x", "y"), http.StatusOK, "")
}

func TestRFC6749Section3_2ParameterWithoutValueIsOmitted(t *testing.T) {
	h := newHost(t)
	if a := h.signedIn("scope", ""); a.text("scope") != "read write" {
		t.Errorf("the scope is %q, want all of the user's", a.text("scope"))
	}
	h.want(h.signIn("", right), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(h.refresh(""), http.StatusBadRequest, guard.CodeInvalidRequest)
}

// A password that is missing is treated as an empty one, and that as a wrong one.
func TestRFC6749Section4_3_2ThePasswordGrant(t *testing.T) {
	h := newHost(t)
	form := map[string]string{"username": "alice", "password": right, "scope": "read"}
	post := func(without string) answer {
		all := []string{"grant_type", "password"}
		for name, value := range form {
			if name != without {
				all = append(all, name, value)
			}
		}
		return h.post("/token", all...)
	}
	h.want(post(""), http.StatusOK, "")
	h.want(post("scope"), http.StatusOK, "")
	h.want(post("username"), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(post("password"), http.StatusBadRequest, guard.CodeInvalidRequest)
}

func TestRFC6749Section4_3_2BruteForceIsLimited(t *testing.T) {
	h := newHost(t, func(s *setup) { s.Throttle = &throttle{limit: 3} })
	for range 3 {
		h.want(h.signIn("alice", "guess no 1"), http.StatusBadRequest, "invalid_grant")
	}
	a := h.signIn("alice", right)
	h.want(a, http.StatusTooManyRequests, "temporarily_unavailable")
	if a.header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After is %q, want 60", a.header.Get("Retry-After"))
	}
}

func TestRFC6749Section5_1SuccessfulResponse(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	if a.access() == "" || a.refresh() == "" || !strings.EqualFold(a.text("token_type"), "bearer") {
		t.Errorf("the answer is %s", a.raw)
	}
	if n, ok := a.json["expires_in"].(float64); !ok || n < 1 || n > 900 {
		t.Errorf("expires_in is %v, want a number of seconds", a.json["expires_in"])
	}
}

func TestRFC6749Section5_1NothingIsStored(t *testing.T) {
	h := newHost(t)
	in := h.signedIn()
	for _, a := range []answer{in, h.refresh(in.refresh()), h.signIn("alice", "not the password"), h.refresh("x")} {
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%d with the header %v", a.status, a.header)
		}
	}
}

func TestRFC6749Section5_1ScopeIsTold(t *testing.T) {
	h := newHost(t)
	for asked, want := range map[string]string{"": "read write", "read": "read", "write read": "read write"} {
		if a := h.signedIn("scope", asked); a.text("scope") != want {
			t.Errorf("asked for %q, the scope is %q, want %q", asked, a.text("scope"), want)
		}
	}
}

func TestRFC6749Section5_2InvalidGrant(t *testing.T) {
	h := newHost(t)
	disabled := h.alice()
	disabled.ID, disabled.Disabled = "user-9", true
	h.setUser("dora", disabled)
	for _, a := range []answer{h.signIn("alice", "not the password"), h.signIn("dora", right), h.signIn("nobody", right), h.refresh("x")} {
		h.want(a, http.StatusBadRequest, "invalid_grant")
		if a.header.Get("WWW-Authenticate") != "" {
			t.Errorf("a 400 has the challenge %q", a.header.Get("WWW-Authenticate"))
		}
	}
}

func TestRFC6749Section5_2UnsupportedGrantType(t *testing.T) {
	h := newHost(t)
	for _, grant := range []string{"client_credentials", "authorization_code", "Password", "urn:ietf:params:oauth:grant-type:device_code"} {
		h.want(h.post("/token", "grant_type", grant, "username", "alice", "password", right), http.StatusBadRequest, "unsupported_grant_type")
	}
}

func TestRFC6749Section5_2InvalidScope(t *testing.T) {
	h := newHost(t)
	h.want(h.signIn("alice", right, "scope", "read admin"), http.StatusBadRequest, "invalid_scope")
}

// Without Config.Clients there are none to authenticate, so the empty Basic that
// some libraries send is not looked at, as with any scheme that nobody claims.
// RFC 6749 section 4.3.2 has a client authenticated that tries to be; it is a
// standard for servers that have clients.
func TestWithoutClientsTheirAuthenticationIsNotLookedAt(t *testing.T) {
	h := newHost(t)
	for _, credentials := range []string{":", "web:", "web:secret"} {
		r := request("/token", "grant_type", "password", "username", "alice", "password", right)
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
		h.want(h.serve(r), http.StatusOK, "")
	}
}

func TestRFC6749Section5_2ErrorsAreOfTheAllowedCharacters(t *testing.T) {
	h := newHost(t)
	allowed := regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]*$`)
	evil := "\"\\\x01\u00e9<script>"
	for _, a := range []answer{
		h.signIn(evil, "x"),
		h.signIn("alice", right, "scope", evil),
		h.post("/token", "grant_type", evil),
		h.post("/token"),
		h.refresh("\u00e9\"\\"),
		h.refresh(""),
		h.signIn("alice", right, "scope", "a", "scope", "b"),
	} {
		if a.status != http.StatusBadRequest || a.text("error") == "" {
			t.Errorf("%d %s, want an error", a.status, a.raw)
		}
		for name := range a.json {
			if !allowed.MatchString(a.text(name)) {
				t.Errorf("%s is %q", name, a.text(name))
			}
		}
	}
}

// The section says so of the client's secret. The others go the same way.
func TestRFC6749Section2_3_1NoSecretsInTheURL(t *testing.T) {
	h := newHost(t)
	for _, name := range []string{"password", "client_secret", "refresh_token"} {
		h.want(h.post("/token?"+name+"="+url.QueryEscape(right), "username", "alice", "password", right), http.StatusBadRequest, guard.CodeInvalidRequest)
	}
}

func TestRFC6749Section3_3NeverMoreThanTheUserHas(t *testing.T) {
	h := newHost(t)
	for _, scope := range []string{"admin", "read admin", "READ", "read,write", "read\twrite", "read\x00", `read"`, "  "} {
		h.want(h.signIn("alice", right, "scope", scope), http.StatusBadRequest, "invalid_scope")
	}
}

func TestRFC6749Section6RefreshNarrowsAndNeverWidens(t *testing.T) {
	h := newHost(t)
	a := h.signedIn("scope", "read")
	h.want(h.refresh(a.refresh(), "scope", "read write"), http.StatusBadRequest, "invalid_scope")
	wide := h.signedIn()
	if b := h.refresh(wide.refresh(), "scope", "read"); b.text("scope") != "read" || h.me(b.access()).text("scope") != "read" {
		t.Errorf("the answer is %s", b.raw)
	} else if c := h.refresh(b.refresh()); c.text("scope") != "read write" { // the new refresh token has the scope of the old one
		t.Errorf("after a narrow one the answer is %s", c.raw)
	}
}

// 128 bits are what a guess with a probability of 2^-128 takes.
func TestRFC6749Section10_10TokensCannotBeGuessed(t *testing.T) {
	h := newHost(t)
	seen := map[string]bool{}
	for range 20 {
		a := h.signedIn()
		for _, b := range []answer{a, h.refresh(a.refresh())} {
			access, refresh := payloadOf(t, b.access()), payloadOf(t, b.refresh())
			for _, id := range []any{access["jti"], refresh["jti"]} {
				s, _ := id.(string)
				if len(s) < 22 || seen[s] { // 22 characters of base64 are 132 bits, 26 of base32 are 130
					t.Fatalf("the ID %q is short or was there before", s)
				}
				seen[s] = true
			}
		}
	}
}
