package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

const (
	accessCookie  = "__Host-access_token"
	refreshCookie = "__Host-refresh_token"
	mfaCookie     = "__Host-mfa_token"
)

func withCookies(s *setup) { s.cookies = new(auth.CookieConfig) }

// A browser keeps cookies and sends them back.
type browser struct {
	*host
	jar map[string]string
}

func (h *host) browser() *browser { return &browser{h, map[string]string{}} }

// send sends r as a page of the same origin would, unless r says otherwise.
func (b *browser) send(r *http.Request) answer {
	b.t.Helper()
	for name, value := range b.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
		b.secret(value)
	}
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	w := recorded(b.mux, r)
	for _, c := range w.Result().Cookies() {
		b.secret(c.Value)
		if c.MaxAge < 0 {
			delete(b.jar, c.Name)
		} else {
			b.jar[c.Name] = c.Value
		}
	}
	a := answerOrNothing(w)
	if strings.Contains(a.raw, "eyJ") || a.access() != "" || a.refresh() != "" || a.text("mfa_token") != "" {
		b.t.Errorf("%s: the body has a token: %s", r.URL.Path, a.raw)
	}
	if a.header.Get("Cache-Control") != "no-store" && r.URL.Path != "/write" && r.URL.Path != "/me" {
		b.t.Errorf("%s: %d may be stored", r.URL.Path, a.status)
	}
	return a
}

func (b *browser) signIn() answer {
	b.t.Helper()
	return b.send(request("/session", "username", "alice", "password", right))
}

func (b *browser) me() answer { b.t.Helper(); return b.send(httptest.NewRequest("GET", "/me", nil)) }

// attributes returns the Set-Cookie lines with the values of cookies cut out.
func attributes(a answer) []string {
	var lines []string
	for _, line := range a.header["Set-Cookie"] {
		name, rest, _ := strings.Cut(line, "=")
		value, rest, _ := strings.Cut(rest, ";")
		if value != "" {
			value = "…"
		}
		lines = append(lines, name+"="+value+";"+rest)
	}
	slices.Sort(lines)
	return lines
}

var cleared = []string{
	accessCookie + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
	mfaCookie + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict",
	refreshCookie + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict",
}

var set = []string{
	accessCookie + "=…; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax",
	mfaCookie + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict",
	refreshCookie + "=…; Path=/; Max-Age=1209600; HttpOnly; Secure; SameSite=Strict",
}

func TestCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withCookies)
		b := h.browser()
		a := b.signIn()
		if a.status != http.StatusOK || a.raw != `{"expires_in":900,"scope":"read write"}`+"\n" {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if got := attributes(a); !slices.Equal(got, set) {
			t.Errorf("the cookies are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(set, "\n"))
		}
		me := b.me()
		if me.status != http.StatusOK || me.text("sub") != alice {
			t.Errorf("%d %s", me.status, me.raw)
		}
		old := b.jar[accessCookie]
		time.Sleep(time.Minute)
		a = b.send(request("/session/refresh"))
		h.want(a, http.StatusOK, "")
		if got := attributes(a); !slices.Equal(got, set) || b.jar[accessCookie] == old {
			t.Errorf("after a refresh the cookies are\n%s", strings.Join(got, "\n"))
		}
		if again := b.me(); again.text("sid") != me.text("sid") {
			t.Error("a refresh began another session")
		}
		access, refresh := b.jar[accessCookie], b.jar[refreshCookie]
		h.events.take()
		a = b.send(httptest.NewRequest("POST", "/session/logout", nil))
		if got := attributes(a); a.status != http.StatusOK || !slices.Equal(got, cleared) || len(b.jar) != 0 {
			t.Errorf("%d, the cookies are\n%s\nwant\n%s", a.status, strings.Join(got, "\n"), strings.Join(cleared, "\n"))
		}
		if e := h.wantEvent(h.events.take(), guard.EventTokenRevoked); e.Principal == nil || e.Principal.Subject != alice {
			t.Errorf("the event is of %v", e.Principal)
		}
		h.over(access)
		h.over(old)
		h.dead(refresh)
		h.want(b.me(), http.StatusUnauthorized, guard.CodeUnauthenticated)
	})
}

func TestCookieRequests(t *testing.T) {
	h := newHost(t, withCookies)
	b := h.browser()
	b.signIn()
	good := accessCookie + "=" + b.jar[accessCookie]
	for _, tt := range []struct {
		name    string
		cookies []string // lines
		bearer  bool
		status  int
		code    string
	}{
		{"the cookie", []string{good}, false, 200, ""},
		{"the cookie among others", []string{"a=b; " + good + "; c"}, false, 200, ""},
		{"the cookie in the second line", []string{"a=b", good}, false, 200, ""},
		{"none", nil, false, 401, guard.CodeUnauthenticated},
		{"another name", []string{strings.TrimPrefix(good, "__Host-")}, false, 401, guard.CodeUnauthenticated},
		{"the name in another case", []string{strings.ToLower(accessCookie[:7]) + good[7:]}, false, 401, guard.CodeUnauthenticated},
		{"two of that name", []string{good + "; " + good}, false, 400, guard.CodeInvalidRequest},
		{"two of that name in two lines, one empty", []string{good, accessCookie + "="}, false, 400, guard.CodeInvalidRequest},
		{"two of that name, one with spaces", []string{good + ";" + accessCookie + " = x"}, false, 400, guard.CodeInvalidRequest},
		{"garbage", []string{accessCookie + "=garbage"}, false, 401, guard.CodeInvalidToken},
		{"what net/http would skip", []string{accessCookie + "=\x01"}, false, 401, guard.CodeInvalidToken},
		{"no value", []string{accessCookie}, false, 401, guard.CodeInvalidToken},
		{"the token in quotes", []string{accessCookie + `="` + b.jar[accessCookie] + `"`}, false, 401, guard.CodeInvalidToken},
		{"the refresh token in its place", []string{accessCookie + "=" + b.jar[refreshCookie]}, false, 401, guard.CodeInvalidToken},
		{"the cookie and a bearer token", []string{good}, true, 400, guard.CodeInvalidRequest},
		{"a bad cookie and a bearer token", []string{accessCookie + "=x"}, true, 400, guard.CodeInvalidRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/me", nil)
			r.Header["Cookie"] = tt.cookies
			if tt.bearer {
				r.Header.Set("Authorization", "Bearer "+b.jar[accessCookie])
			}
			a := h.serve(r)
			h.want(a, tt.status, tt.code)
			if tt.code == guard.CodeInvalidToken && !slices.Contains(a.header["Www-Authenticate"], `Cookie error="invalid_token"`) {
				t.Errorf("the challenges are %q", a.header["Www-Authenticate"])
			}
		})
	}
	t.Run("a refusal is byte-equal to that of a bearer token", func(t *testing.T) {
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Cookie", accessCookie+"=garbage")
		if a, want := h.serve(r), h.me("garbage"); a.raw != want.raw || a.status != want.status {
			t.Errorf("%d %s, want %d %s", a.status, a.raw, want.status, want.raw)
		}
	})
	t.Run("a token that was ended and comes back raises no alarm", func(t *testing.T) {
		h.revokes(b.jar[accessCookie])
		h.events.take()
		h.want(b.me(), http.StatusUnauthorized, guard.CodeInvalidToken)
		h.wantEvent(h.events.take(), guard.EventLoginFail)
	})
	t.Run("a Revoker that does not answer is 503", func(t *testing.T) {
		down := false
		h := newHost(t, withCookies, func(s *setup) {
			s.Revoker = &revoker{Memory: new(blacklist.Memory), ask: func() (bool, error) { return false, map[bool]error{true: errDown}[down] }}
		})
		b := h.browser()
		b.signIn()
		down = true
		h.want(b.me(), http.StatusServiceUnavailable, guard.CodeUnavailable)
	})
}

func TestCookiesFromOtherOrigins(t *testing.T) {
	const trusted = "https://app.example.com"
	for _, tt := range []struct {
		name    string
		method  string
		header  []string
		refused bool
	}{
		{"a page of the same origin", "POST", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"something the person typed", "POST", []string{"Sec-Fetch-Site", "none"}, false},
		{"an older browser, same origin", "POST", []string{"Origin", "https://example.com"}, false},
		{"a page of another site", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, true},
		{"a page of a subdomain", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.example.com"}, true},
		{"an invented value", "POST", []string{"Sec-Fetch-Site", "Same-Origin"}, true},
		{"an older browser, another site", "POST", []string{"Origin", "https://evil.example"}, true},
		{"an older browser, a sandbox", "POST", []string{"Origin", "null"}, true},
		{"a name that begins like ours", "POST", []string{"Origin", "https://example.com.evil.example"}, true},
		{"a name that begins like the trusted one", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", trusted + ".evil.example"}, true},
		{"the trusted origin without TLS", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://app.example.com"}, true},
		{"the trusted origin", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", trusted}, false},
		{"PUT of another site", "PUT", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"DELETE of another site", "DELETE", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"an invented method of another site", "get", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"a link on another site", "GET", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"a WebSocket of another site", "GET", []string{"Sec-Fetch-Site", "cross-site", "Upgrade", "websocket", "Connection", "Upgrade"}, true},
		{"a WebSocket of another site in an older browser", "GET", []string{"Origin", "https://evil.example", "Upgrade", "websocket"}, true},
		{"a WebSocket of our own", "GET", []string{"Sec-Fetch-Site", "same-origin", "Upgrade", "websocket"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, func(s *setup) {
				s.cookies = &auth.CookieConfig{TrustedOrigins: []string{trusted}}
				s.SecondFactor = later(nil)
			})
			b := h.browser()
			b.signIn()
			jar := fmt.Sprint(b.jar)
			attack := func(path string, form ...string) answer {
				t.Helper()
				r := request(path, form...)
				r.Method = tt.method
				for i := 0; i < len(tt.header); i += 2 {
					r.Header.Set(tt.header[i], tt.header[i+1])
				}
				return b.send(r)
			}
			a := attack("/write")
			if tt.refused {
				h.want(a, http.StatusForbidden, guard.CodeForbidden)
			} else {
				h.want(a, http.StatusOK, "")
			}
			if (h.wrote == 0) != tt.refused {
				t.Errorf("something was written %d times", h.wrote)
			}
			if !tt.refused {
				return
			}
			// Nor can it sign anybody in, out, or on.
			for _, a := range []answer{
				attack("/session", "username", "bob", "password", right),
				attack("/session/refresh"),
				attack("/session/mfa", "code", code),
				attack("/session/step-up", "code", code),
				attack("/session/logout"),
			} {
				if a.status != http.StatusForbidden && a.status != http.StatusMethodNotAllowed || len(a.header["Set-Cookie"]) != 0 {
					t.Errorf("%d %s with the cookies %q", a.status, a.raw, a.header["Set-Cookie"])
				}
				if tt.method == "POST" && a.status != http.StatusForbidden {
					t.Errorf("%d, want 403", a.status)
				}
			}
			if fmt.Sprint(b.jar) != jar {
				t.Error("the cookies have changed")
			}
			h.want(b.me(), http.StatusOK, "")
		})
	}
}

func TestCookieMFA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withCookies, withFactor(&factor{}))
		b := h.browser()
		a := b.signIn()
		if a.status != http.StatusBadRequest || a.raw != `{"error":"mfa_required","error_description":"A second factor is required.","expires_in":600}`+"\n" {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if got, want := attributes(a), []string{mfaCookie + "=…; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Strict"}; !slices.Equal(got, want) {
			t.Errorf("the cookies are %q, want %q", got, want)
		}
		h.want(b.me(), http.StatusUnauthorized, guard.CodeUnauthenticated)
		h.wrong(b.send(request("/session/mfa", "code", "code 000000")))
		h.want(b.send(request("/session/mfa", "code", code, "mfa_token", "x")), http.StatusBadRequest, guard.CodeInvalidRequest)
		a = b.send(request("/session/mfa", "code", code))
		h.want(a, http.StatusOK, "")
		if got := attributes(a); !slices.Equal(got, set) {
			t.Errorf("the cookies are %q", got)
		}
		if got := b.me().text("amr"); got != "otp pwd" {
			t.Errorf("the factors are %q", got)
		}
		h.want(b.send(request("/session/mfa", "code", code)), http.StatusBadRequest, guard.CodeInvalidRequest)
		before := b.jar[accessCookie]
		a = b.send(request("/session/step-up", "code", code))
		h.want(a, http.StatusOK, "")
		if got := attributes(a); !slices.Equal(got, set) || b.jar[accessCookie] == before {
			t.Errorf("after the step-up the cookies are %q", got)
		}
		h.over(before)
		h.want(b.me(), http.StatusOK, "")
	})
}

func TestCookieRefresh(t *testing.T) {
	t.Run("one that is no good clears the cookies", func(t *testing.T) {
		for _, guide := range []bool{false, true} {
			h := newHost(t, withCookies, func(s *setup) { s.FastAPIStatusCodes = guide })
			b := h.browser()
			b.signIn()
			h.revokes(b.jar[refreshCookie])
			a := b.send(request("/session/refresh"))
			h.want(a, map[bool]int{false: 400, true: 401}[guide], "invalid_grant")
			if got := attributes(a); !slices.Equal(got, cleared) {
				t.Errorf("the cookies are %q", got)
			}
		}
	})
	t.Run("a store that does not answer leaves them", func(t *testing.T) {
		h := newHost(t, withCookies, func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, rotate: func(auth.Rotation) (auth.Rotated, error) { return auth.Rotated{}, errDown }}
		})
		b := h.browser()
		b.signIn()
		a := b.send(request("/session/refresh"))
		h.want(a, http.StatusServiceUnavailable, "temporarily_unavailable")
		if len(a.header["Set-Cookie"]) != 0 {
			t.Errorf("the cookies are %q", attributes(a))
		}
	})
	t.Run("it takes the token from the cookie and from nowhere else", func(t *testing.T) {
		h := newHost(t, withCookies)
		given := h.signedIn().refresh()
		b := h.browser()
		h.want(b.send(request("/session/refresh", "refresh_token", given)), http.StatusBadRequest, guard.CodeInvalidRequest)
		b.signIn()
		h.want(b.send(request("/session/refresh", "refresh_token", given)), http.StatusBadRequest, guard.CodeInvalidRequest)
		h.want(b.send(request("/session", "grant_type", "refresh_token", "refresh_token", given)), http.StatusBadRequest, "unsupported_grant_type")
		twice := request("/session/refresh")
		twice.Header.Set("Cookie", refreshCookie+"=x")
		h.want(b.send(twice), http.StatusBadRequest, guard.CodeInvalidRequest)
	})
}

func TestCookieSignIn(t *testing.T) {
	t.Run("the session that the browser had ends", func(t *testing.T) {
		h := newHost(t, withCookies)
		b := h.browser()
		b.signIn()
		access, refresh := b.jar[accessCookie], b.jar[refreshCookie]
		h.want(b.send(request("/session", "username", "alice", "password", "not the password")), http.StatusBadRequest, "invalid_grant")
		h.alive(access)
		b.signIn()
		h.over(access)
		h.dead(refresh)
		h.want(b.me(), http.StatusOK, "")
	})
	t.Run("a token that browsers would drop without a word is an error, and no session", func(t *testing.T) {
		opened := 0
		size := 0
		h := newHost(t, withCookies, func(s *setup) {
			s.Claims = func(context.Context, *auth.User) (any, error) {
				return map[string]string{"x": strings.Repeat("x", size)}, nil
			}
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { opened++; return nil }}
		})
		for size = 2000; size < 4000; size += 20 {
			b := h.browser()
			opened = 0
			a := b.signIn()
			if a.status == http.StatusOK {
				for _, line := range a.header["Set-Cookie"] {
					if len(line) > 4096 {
						t.Fatalf("a cookie has %d bytes", len(line))
					}
				}
				continue
			}
			h.want(a, http.StatusServiceUnavailable, "temporarily_unavailable")
			if opened != 0 || len(a.header["Set-Cookie"]) != 0 {
				t.Errorf("%d sessions were opened, and the cookies are %q", opened, attributes(a))
			}
			if size < 2500 {
				t.Errorf("refused with a claim of %d bytes already", size)
			}
			h.want(h.signIn("alice", right), http.StatusOK, "") // without cookies there is room
			return
		}
		t.Error("nothing was too large")
	})
}

func TestCookieLogout(t *testing.T) {
	out := func() *http.Request { return httptest.NewRequest("POST", "/session/logout", nil) }
	t.Run("with either cookie, with bad ones and with none", func(t *testing.T) {
		for _, keep := range []string{accessCookie, refreshCookie, "neither", "garbage"} {
			h := newHost(t, withCookies)
			b := h.browser()
			b.signIn()
			access, refresh := b.jar[accessCookie], b.jar[refreshCookie]
			for name := range b.jar {
				if keep == "garbage" {
					b.jar[name] = "garbage"
				} else if name != keep {
					delete(b.jar, name)
				}
			}
			a := b.send(out())
			h.want(a, http.StatusOK, "")
			if got := attributes(a); !slices.Equal(got, cleared) || a.raw != `{"message":"Successfully logged out"}`+"\n" {
				t.Errorf("%s: the cookies are %q, the body %s", keep, got, a.raw)
			}
			if keep == accessCookie || keep == refreshCookie {
				h.over(access)
				h.dead(refresh)
			} else {
				h.alive(access)
			}
		}
	})
	t.Run("a store that does not answer is 503, and the cookies stay", func(t *testing.T) {
		h := newHost(t, withCookies, func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return errDown }}
		})
		b := h.browser()
		b.signIn()
		a := b.send(out())
		h.want(a, http.StatusServiceUnavailable, guard.CodeUnavailable)
		if len(a.header["Set-Cookie"]) != 0 {
			t.Errorf("the cookies are %q", attributes(a))
		}
	})
	t.Run("a GET logs nobody out", func(t *testing.T) {
		h := newHost(t, withCookies)
		b := h.browser()
		b.signIn()
		a := b.send(httptest.NewRequest("GET", "/session/logout", nil))
		h.want(a, http.StatusMethodNotAllowed, guard.CodeInvalidRequest)
		if a.header.Get("Allow") != "POST" {
			t.Errorf("Allow is %q", a.header.Get("Allow"))
		}
		h.want(b.me(), http.StatusOK, "")
	})
}

func TestNewCookies(t *testing.T) {
	h := newHost(t)
	for _, tt := range []struct {
		config auth.CookieConfig
		want   string // in the error; none: no error
	}{
		{auth.CookieConfig{}, ""},
		{auth.CookieConfig{Name: "shop-2_B", TrustedOrigins: []string{"https://app.example.com", "http://localhost:3000"}}, ""},
		{auth.CookieConfig{Name: "a b"}, "Name"},
		{auth.CookieConfig{Name: "a;Domain=example.com"}, "Name"},
		{auth.CookieConfig{Name: strings.Repeat("x", 33)}, "Name"},
		{auth.CookieConfig{TrustedOrigins: []string{"http://app.example.com"}}, "https"},
		{auth.CookieConfig{TrustedOrigins: []string{"https://app.example.com/"}}, "not an origin"},
		{auth.CookieConfig{TrustedOrigins: []string{"https://App.example.com"}}, "not an origin"},
		{auth.CookieConfig{TrustedOrigins: []string{"https://app.example.com:443"}}, "not an origin"},
		{auth.CookieConfig{TrustedOrigins: []string{"*"}}, "TrustedOrigins"},
		{auth.CookieConfig{TrustedOrigins: []string{"null"}}, "TrustedOrigins"},
	} {
		c, err := auth.NewCookies(h.server, tt.config)
		if (err == nil) != (tt.want == "") || (c == nil) != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want one about %q", tt.config, err, tt.want)
		}
	}
	signIn, _ := exampleServer(new(blacklist.Memory))
	for _, s := range []*auth.Server{nil, signIn} {
		if c, err := auth.NewCookies(s, auth.CookieConfig{Name: " "}); c != nil || err == nil || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("%v, want two mistakes", err)
		}
	}
	t.Run("names of two applications on one host do not meet", func(t *testing.T) {
		h := newHost(t, func(s *setup) { s.cookies = &auth.CookieConfig{Name: "shop"} })
		b := h.browser()
		b.signIn()
		if b.jar["__Host-shop-access_token"] == "" || b.jar["__Host-shop-refresh_token"] == "" || len(b.jar) != 2 {
			t.Errorf("%d cookies", len(b.jar))
		}
		h.want(b.me(), http.StatusOK, "")
	})
	t.Run("the ledger tells what they demand", func(t *testing.T) {
		h := newHost(t, withCookies, withFactor(&factor{}))
		want := map[string]string{
			"/session": "public (sign-in)", "/session/refresh": "public (refresh)", "/session/mfa": "public (second factor)",
			"/session/logout": "public (logout)", "/session/step-up": "caller",
		}
		for _, route := range h.mux.Routes() {
			if w, ok := want[route.Pattern]; ok && route.String() != route.Pattern+"\t"+w {
				t.Errorf("%s, want %s", route, w)
			}
			if route.Pattern == "GET /me" && fmt.Sprint(route.Schemes) != "[Bearer Cookie]" {
				t.Errorf("the schemes are %v", route.Schemes)
			}
		}
	})
}

// FuzzCookieHeader compares with net/http: whatever that finds is not anonymous
// here, and nothing that is sent signs anybody in.
func FuzzCookieHeader(f *testing.F) {
	for _, line := range []string{accessCookie + "=a.b.c", "a=b; " + accessCookie + "=x", accessCookie + `="x"`, accessCookie, ";;=;", accessCookie + " =\t; " + accessCookie + "=", accessCookie + "\r"} {
		f.Add(line)
	}
	h := newHost(f, withCookies)
	f.Fuzz(func(t *testing.T, line string) {
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header["Cookie"] = []string{line}
		p, err := h.cookies.Authenticate(r)
		if p != nil || err == nil {
			t.Fatalf("%q signs somebody in", line)
		}
		if len(r.CookiesNamed(accessCookie)) > 0 && err == guard.ErrNoCredentials {
			t.Fatalf("%q is anonymous, and has the cookie for net/http", line)
		}
	})
}

var _ guard.Authenticator = (*auth.Cookies)(nil)

// TestRefreshWithCookiesNeedsNoBody: what fetch(url, {method: "POST"}) sends.
func TestRefreshWithCookiesNeedsNoBody(t *testing.T) {
	h := newHost(t, withCookies)
	b := h.browser()
	h.want(b.signIn(), http.StatusOK, "")
	h.want(b.send(httptest.NewRequest("POST", "/session/refresh", nil)), http.StatusOK, "")
	h.want(b.send(httptest.NewRequest("POST", "/session/refresh", strings.NewReader("scope=read"))), http.StatusUnsupportedMediaType, guard.CodeInvalidRequest)
	h.want(b.send(httptest.NewRequest("POST", "/session/refresh?refresh_token=x", nil)), http.StatusBadRequest, guard.CodeInvalidRequest)
	h.want(b.send(httptest.NewRequest("POST", "/session", nil)), http.StatusUnsupportedMediaType, guard.CodeInvalidRequest)
}
