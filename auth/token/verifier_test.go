package token_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

func TestVerifierMistakesAreJoined(t *testing.T) {
	_, err := token.NewVerifier(nil, token.VerifierConfig{Leeway: 6 * time.Minute, MaxLifetime: -1, MaxSize: 127})
	for _, want := range []string{"KeySource is nil", "VerifierConfig.Issuer is empty", "VerifierConfig.Audience is empty", "VerifierConfig.Leeway is 6m0s", "VerifierConfig.MaxLifetime is -1ns", "VerifierConfig.MaxSize is 127", "VerifierConfig.Revoker is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewVerifier = %v, want it to mention %q", err, want)
		}
	}
	_, err = token.NewVerifier(kits()[token.HS256].ring, token.VerifierConfig{Issuer: "a\n", Audience: "\xff", Type: "\u0085", MaxSize: 65537, Leeway: -1, Revoker: revoker(nil), InsecureNoRevoker: true})
	for _, want := range []string{"VerifierConfig.Issuer is", "VerifierConfig.Audience is", "VerifierConfig.Type is", "VerifierConfig.MaxSize is 65537", "VerifierConfig.Leeway is -1ns", "VerifierConfig.InsecureNoRevoker is true beside a Revoker"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewVerifier = %v, want it to mention %q", err, want)
		}
	}
}

func TestRFC6750Section2_1AuthorizationHeader(t *testing.T) {
	k := kits()[token.HS256]
	good := k.token()
	accepted := func(t *testing.T, o outcome) { wantAccepted(t, o) }
	refused := func(t *testing.T, o outcome) { wantRefused(t, o, token.ErrMalformed) }
	for name, c := range map[string]struct {
		line string
		want func(*testing.T, outcome)
	}{
		"the usual spelling":               {"Bearer " + good, accepted},
		"in lower case":                    {"bearer " + good, accepted},
		"in upper case":                    {"BEARER " + good, accepted},
		"in both":                          {"bEaReR " + good, accepted},
		"several spaces":                   {"Bearer    " + good, accepted},
		"no token":                         {"Bearer ", refused},
		"nothing but spaces":               {"Bearer     ", refused},
		"the scheme alone":                 {"Bearer", refused},
		"the scheme alone, in lower case":  {"bearer", refused},
		"a tab for the space":              {"Bearer\t" + good, refused},
		"a space and a tab":                {"Bearer \t" + good, refused},
		"a space behind":                   {"Bearer " + good + " ", refused},
		"a tab behind":                     {"Bearer " + good + "\t", refused},
		"a parameter behind":               {"Bearer " + good + ", realm=x", refused},
		"two in one line":                  {"Bearer " + good + ", Bearer " + good, refused},
		"in quotes":                        {`Bearer "` + good + `"`, refused},
		"the scheme twice":                 {"Bearer Bearer " + good, refused},
		"junk":                             {"Bearer junk", refused},
		"the unset variable of a frontend": {"Bearer undefined", refused},
		"another scheme":                   {"Digest " + good, wantAnonymous},
		"a scheme that begins alike":       {"BearerToken " + good, wantAnonymous},
		"the scheme with a no-break space": {"Bearer\u00a0" + good, wantAnonymous},
	} {
		t.Run(name, func(t *testing.T) { c.want(t, serve(newVerifier(t, k.ring), get(c.line))) })
	}
}

func TestMaxSizeIsInclusive(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		s := k.token("x", quoted(strings.Repeat("x", 500)))
		for most, want := range map[int]error{len(s): nil, len(s) + 1: nil, len(s) - 1: token.ErrMalformed} {
			v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.MaxSize = most })
			if _, err := v.Verify(t.Context(), s); !errors.Is(err, want) {
				t.Errorf("%s: a token of %d bytes with a MaxSize of %d: %v, want %v", alg, len(s), most, err, want)
			}
		}
	}
}

func TestRFC6750Section3Challenge(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
		c.Realm, c.ResourceMetadata = `the "API"`, "https://api.example.com/.well-known/oauth-protected-resource"
	})
	const standing = `Bearer realm="the \"API\""`
	const metadata = `resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"`
	if o := serve(v, get()); len(o.challenges) != 1 || o.challenges[0] != standing+", "+metadata {
		t.Errorf("without a token: %q", o.challenges)
	}
	if o := serve(v, get("Bearer junk")); len(o.challenges) != 1 || o.challenges[0] != standing+`, error="invalid_token", `+metadata {
		t.Errorf("with a bad one: %q", o.challenges)
	}
}

func TestTimesAreChecked(t *testing.T) {
	for _, alg := range everyday {
		synctest.Test(t, func(t *testing.T) {
			k := kits()[alg]
			v := newVerifier(t, k.ring)
			s := issue(t, newIssuer(t, k.ring), identity.Principal{}, nil)
			time.Sleep(15*time.Minute - time.Nanosecond)
			wantAccepted(t, serve(v, get("Bearer "+s)))
			time.Sleep(time.Nanosecond) // no leeway for exp
			wantRefused(t, serve(v, get("Bearer "+s)), token.ErrExpired)

			future := k.token("nbf", later(60), "iat", later(60), "exp", later(120))
			time.Sleep(30*time.Second - time.Nanosecond)
			wantRefused(t, serve(v, get("Bearer "+future)), token.ErrTooEarly)
			time.Sleep(time.Nanosecond)
			wantAccepted(t, serve(v, get("Bearer "+future)))
		})
	}
}

func TestRevokerDecides(t *testing.T) {
	down := errors.New("the store is down")
	for _, alg := range everyday {
		k := kits()[alg]
		var answer bool
		var failure error
		asked := 0
		v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
			c.Revoker = revoker(func(p *identity.Principal) (bool, error) {
				asked++
				if p.Issuer != issuerName || p.Credential != "id-1" {
					t.Errorf("asked about %+v", p)
				}
				return answer, failure
			})
		})
		r := get("Bearer " + k.token("sid", `"s-1"`))
		wantAccepted(t, serve(v, r))

		answer = true
		o := serve(v, r)
		if o.ran || o.status != 401 || o.body != invalidBody || len(o.challenges) != 1 || o.challenges[0] != `Bearer error="invalid_token"` {
			t.Errorf("revoked: ran %v, %d %s %q", o.ran, o.status, o.body, o.challenges)
		}
		if len(o.events) != 1 || o.events[0].Name != guard.EventLoginFail || !errors.Is(o.events[0].Denial.Err, token.ErrRevoked) {
			t.Errorf("revoked: events %+v, want %s: no alarm", o.events, guard.EventLoginFail)
		}
		wantAccepted(t, serve(newVerifier(t, k.ring), r)) // without a Revoker

		// Whatever the error, and whatever it comes with: 503.
		for name, err := range map[string]error{
			"plain":                  down,
			"deadline":               context.DeadlineExceeded,
			"cancelled":              context.Canceled,
			"its own token":          fmt.Errorf("asking: %w", token.ErrExpired),
			"its own token, generic": fmt.Errorf("asking: %w", token.ErrInvalid),
			"revoked, as an error":   token.ErrRevoked,
			"its own 401":            guard.InvalidToken("Bearer", down),
			"its own 403":            guard.Forbidden(down),
			"its own 500":            &guard.Denial{Status: 500, RetryAfter: time.Hour, Err: down},
			"its own 504":            &guard.Denial{Status: 504, RetryAfter: time.Hour, Err: down},
			"a nil Denial":           (*guard.Denial)(nil),
			"a nil Denial, wrapped":  fmt.Errorf("asking: %w", (*guard.Denial)(nil)),
			"no credentials":         fmt.Errorf("asking: %w", guard.ErrNoCredentials),
			"a 503 for want of them": guard.Unavailable(0, guard.ErrNoCredentials),
			"too large":              &http.MaxBytesError{Limit: 1},
		} {
			for _, answer = range []bool{false, true} {
				failure = err
				o := serve(v, r)
				if o.ran || o.status != 503 || o.challenges != nil || o.header.Get("Retry-After") != "1" || strings.Contains(o.body, "down") {
					t.Errorf("%s: ran %v, %d %s %v; want 503", name, o.ran, o.status, o.body, o.header)
				}
				if len(o.events) != 1 || o.events[0].Name != guard.EventUnavailable {
					t.Errorf("%s: events %+v", name, o.events)
				}
				p, verr := v.Verify(t.Context(), k.token())
				if p != nil || verr == nil || errors.Is(verr, token.ErrInvalid) || errors.Is(verr, token.ErrRevoked) {
					t.Errorf("%s: Verify = %v, %v", name, p, verr)
				}
			}
		}
		failure = down
		if _, err := v.Verify(t.Context(), k.token()); !errors.Is(err, down) {
			t.Errorf("Verify = %v, which does not wrap the store's error", err)
		}
		failure = guard.Unavailable(7*time.Second, down)
		if o := serve(v, r); o.status != 503 || o.header.Get("Retry-After") != "7" {
			t.Errorf("a store that says when to come back: %d %v", o.status, o.header)
		}
		failure = &odd{7}
		_, err := v.Verify(t.Context(), k.token())
		if found, ok := errors.AsType[*odd](err); !ok || found.code != 7 {
			t.Errorf("Verify = %v, in which the store's error is not found", err)
		}

		// It is not asked about tokens that are no good.
		before := asked
		for _, s := range []string{"junk", k.token("exp", "1"), k.token("aud", `"x"`), unsigned(k.token()) + ".AAAA"} {
			serve(v, get("Bearer "+s))
		}
		if asked != before {
			t.Error("the Revoker was asked about bad tokens")
		}
	}
}

type odd struct{ code int }

func (o *odd) Error() string { return "odd" }

func TestEachRequestHasItsOwnPrincipal(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		v := newVerifier(t, k.ring)
		s := k.token("scope", `"a b"`, "roles", `["r"]`)
		first := serve(v, get("Bearer "+s)).principal
		*first = identity.Principal{Subject: "admin", Scopes: identity.NewSet("everything"), Claims: `{"sub":"admin"}`}
		second := serve(v, get("Bearer "+s)).principal
		if second == first || second.Subject != "alice?>~ÿ" || !second.Scopes.Equal(identity.NewSet("a", "b")) || strings.Contains(second.Claims, "admin") {
			t.Errorf("the second request got %+v", *second)
		}
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for _, alg := range everyday {
		k := kits()[alg]
		i, v := newIssuer(t, k.ring), newVerifier(t, k.ring)
		for n := range 4 {
			wg.Go(func() {
				for round := range 25 {
					subject := fmt.Sprintf("user-%d-%d", n, round)
					s := issue(t, i, identity.Principal{Subject: subject}, nil)
					p, err := v.Verify(t.Context(), s)
					if err != nil || p.Subject != subject {
						t.Errorf("Verify = %v, %v; want %s", p, err, subject)
						return
					}
					p.Subject = "changed"
					// Different headers, so that what is remembered changes
					// under the readers.
					if _, err := v.Verify(t.Context(), k.headed("n", fmt.Sprint(round))); err != nil {
						t.Error(err)
					}
					last := s[len(s)-2]
					other := byte('A')
					if last == other {
						other = 'B'
					}
					if _, err := v.Verify(t.Context(), s[:len(s)-2]+string(other)+s[len(s)-1:]); !errors.Is(err, token.ErrInvalid) {
						t.Errorf("a bad token: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestFormIsPutBack(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring)
	broken := errors.New("the line broke")
	const urlencoded = "application/x-www-form-urlencoded"
	post := func(body io.Reader, contentType string) *http.Request {
		r := httptest.NewRequest("POST", "/", body)
		r.Header.Set("Authorization", "Bearer "+k.token())
		r.Header.Set("Content-Type", contentType)
		return r
	}
	for _, size := range []int{0, 1, 100, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000} {
		body := string(bytes.Repeat([]byte("a=%41&b;\xff+"), size/8+1)[:size])
		for name, reader := range map[string]io.Reader{
			"at once":              strings.NewReader(body),
			"in halves":            iotest.HalfReader(strings.NewReader(body)),
			"with the end of file": iotest.DataErrReader(strings.NewReader(body)),
		} {
			t.Run(fmt.Sprintf("%d bytes %s", size, name), func(t *testing.T) {
				r := post(struct{ io.Reader }{reader}, urlencoded+"; charset=utf-8")
				// Authenticating twice changes nothing.
				if _, err := v.Authenticate(r); err != nil {
					t.Fatal(err)
				}
				o := serve(v, r)
				wantAccepted(t, o)
				if o.form != body {
					t.Errorf("the handler read %d bytes, want the %d that were sent", len(o.form), len(body))
				}
			})
		}
		t.Run(fmt.Sprintf("%d bytes and a read error", size), func(t *testing.T) {
			o := serve(v, post(io.MultiReader(strings.NewReader(body), &once{broken}), urlencoded))
			wantAccepted(t, o)
			if o.form != body+"!"+broken.Error() {
				t.Errorf("the handler read %d bytes, want the %d before the error, and the error", len(o.form), len(body))
			}
		})
		t.Run(fmt.Sprintf("%d bytes and a limit of a middleman", size), func(t *testing.T) {
			r := post(strings.NewReader(body), urlencoded)
			r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 50)
			o := serve(v, r)
			if size <= 50 && o.form != body || size > 50 && o.form != body[:50]+"!http: request body too large" {
				t.Errorf("the handler read %d bytes: …%s", len(o.form), o.form[max(0, len(o.form)-40):])
			}
		})
	}
	t.Run("closing reaches the body", func(t *testing.T) {
		body := &closing{Reader: strings.NewReader("a=b")}
		r := post(body, urlencoded)
		r.Body = body
		if _, err := v.Authenticate(r); err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); !body.closed {
			t.Error("it does not")
		}
	})
	t.Run("a token behind 64 KiB is not looked for", func(t *testing.T) {
		wantAccepted(t, serve(v, post(strings.NewReader(strings.Repeat("a", 64<<10)+"&access_token=x"), urlencoded)))
	})
	t.Run("no other body is touched", func(t *testing.T) {
		for _, contentType := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain", ""} {
			body := &closing{Reader: strings.NewReader("access_token=x")}
			r := post(body, contentType)
			r.Body = body
			if _, err := v.Authenticate(r); err != nil || body.reads != 0 || r.Body != body {
				t.Errorf("%s: %v, read %d times", contentType, err, body.reads)
			}
		}
	})
	t.Run("a stranger's body is not read", func(t *testing.T) {
		body := &closing{Reader: strings.NewReader("access_token=x")}
		r := post(body, urlencoded)
		r.Body = body
		r.Header.Set("Authorization", "Bearer "+k.token("exp", "1"))
		wantRefused(t, serve(v, r), token.ErrExpired)
		if body.reads != 0 {
			t.Errorf("it was read %d times before the token was refused", body.reads)
		}
	})
}

// once is a reader that fails and then has ended.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

type closing struct {
	io.Reader
	closed bool
	reads  int
}

func (c *closing) Read(p []byte) (int, error) { c.reads++; return c.Reader.Read(p) }
func (c *closing) Close() error               { c.closed = true; return nil }

// Under the race detector sync.Pool forgets at random, hence some room.
func TestVerifyAllocatesLittle(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring, forgetful)
	s := issue(t, newIssuer(t, k.ring), identity.Principal{Scopes: identity.NewSet("read:items", "write:items")}, nil)
	if _, err := v.Verify(t.Context(), s); err != nil { // so that the header is known
		t.Fatal(err)
	}
	junk := strings.Repeat(".", 1<<20)
	forged := unsigned(s) + "." + b64(make([]byte, 32))
	for name, c := range map[string]struct {
		token string
		most  float64
	}{"good": {s, 8}, "forged": {forged, 6}, "junk": {junk, 1}} {
		if n := testing.AllocsPerRun(200, func() { v.Verify(t.Context(), c.token) }); n > c.most {
			t.Errorf("verifying a %s token takes %v allocations, want at most %v", name, n, c.most)
		}
	}
}

// The verdict is looked at again when a body was waited for.
func TestTokenThatIsRevokedWhileTheFormIsSent(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		sent := false
		v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
			c.Revoker = revoker(func(*identity.Principal) (bool, error) { return sent, nil })
		})
		r := postForm("a=b", "Bearer "+k.token())
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(r.Body, readerFunc(func([]byte) (int, error) { sent = true; return 0, io.EOF })), r.Body}
		wantRefused(t, serve(v, r), token.ErrRevoked)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Whoever signs for a partner must not be able to make administrators here.
// TestForeignIssuerGrantsNothingByItself: an issuer that is not ours says who the
// caller is, and nothing of what they may do or have proven.
func TestForeignIssuerGrantsNothingByItself(t *testing.T) {
	k := kits()[token.ES256]
	s := k.token("roles", `["admin"]`, "tenant", `"acme"`, "scope", `"read admin"`, "amr", `["mfa"]`, "auth_time", later(-5), "sid", `"s"`)
	for _, foreign := range []bool{false, true} {
		v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Foreign = foreign })
		for range 2 { // the second time out of the cache
			p, err := v.Verify(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if p.Roles.Has("admin") == foreign || (p.Tenant == "") != foreign || p.Scopes.Has("read") == foreign || p.Factors.Has("mfa") == foreign || p.AuthTime.IsZero() != foreign {
				t.Errorf("Foreign %t: roles %v, tenant %q, scopes %v, factors %v, auth_time %v", foreign, p.Roles, p.Tenant, p.Scopes, p.Factors, p.AuthTime)
			}
			if p.Subject == "" || p.Session != "s" || p.Credential != "id-1" || p.Client != "first-party" {
				t.Errorf("Foreign %t: %+v", foreign, p)
			}
			if claims, err := token.ClaimsOf[map[string]any](p); err != nil || claims["tenant"] != "acme" {
				t.Errorf("Foreign %t: claims %v, %v", foreign, claims, err)
			}
		}
	}
	// Whatever shape they have: they are not read.
	for _, odd := range []string{`"admin"`, `{"a":1}`, `7`, `null`, `[[]]`, `"a  b"`} {
		v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Foreign = true })
		if _, err := v.Verify(t.Context(), k.token("roles", odd, "scope", odd, "amr", odd, "auth_time", odd, "tenant", odd)); err != nil {
			t.Errorf("%s: %v", odd, err)
		}
	}
}

// TestForeignIssuerGrantsWhatIsListed: each kind of right, by name.
func TestForeignIssuerGrantsWhatIsListed(t *testing.T) {
	k := kits()[token.ES256]
	authTime := later(-5)
	s := k.token("roles", `["admin","editor"]`, "tenant", `"acme"`, "scope", `"read admin"`, "amr", `["mfa","pwd"]`, "auth_time", authTime, "ROLES", `["x"]`, "groups", `["g"]`)
	v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
		c.Profile = token.Profile{
			Scopes:        []token.Grant{{Claim: token.Path{"scope"}, Names: token.Same("read", "write")}},
			Roles:         []token.Grant{{Claim: token.Path{"groups"}, Names: map[string]string{"g": "moderator"}}},
			Factors:       []token.Grant{{Claim: token.Path{"amr"}, Names: map[string]string{"pwd": "pwd"}}},
			TenantClaim:   token.Path{"tenant"},
			AuthTimeClaim: token.Path{"auth_time"},
		}
	})
	p, err := v.Verify(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if p.Scopes.String() != "read" || p.Roles.String() != "moderator" || p.Factors.String() != "pwd" || p.Tenant != "acme" || fmt.Sprint(p.AuthTime.Unix()) != authTime {
		t.Errorf("%+v", p)
	}
}
