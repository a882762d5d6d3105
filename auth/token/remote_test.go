package token_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

const jwksURL = "https://issuer.example.com/.well-known/jwks.json"

// An endpoint is where another issuer publishes its keys, in memory, so that
// its time is that of synctest.
type endpoint struct {
	calls, open atomic.Int64
	answer      atomic.Pointer[func(*http.Request) (*http.Response, error)]
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.calls.Add(1)
	e.open.Add(1)
	defer e.open.Add(-1)
	return (*e.answer.Load())(r)
}

func (e *endpoint) says(answer func(*http.Request) (*http.Response, error)) { e.answer.Store(&answer) }

// serves is an answer of h.
func serves(h http.Handler) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		response := w.Result()
		response.Request = r
		return response, nil
	}
}

// sends is an answer with the given status, type and body.
func sends(status int, contentType, body string) func(*http.Request) (*http.Response, error) {
	return serves(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
}

const jwkSet = "application/jwk-set+json"

// after answers when that time has passed, unless nobody waits any more.
func after(d time.Duration, then func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return then(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

var errDown = errors.New("connection refused")

func isDown(*http.Request) (*http.Response, error) { return nil, errDown }

// hears collects what OnError is told.
type hears struct {
	mu   sync.Mutex
	errs []error
}

func (h *hears) hear(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

func (h *hears) take() (all []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all, h.errs = h.errs, nil
	return all
}

var accepted = []token.Algorithm{token.ES256, token.EdDSA, token.RS256}

func newRemote(tb testing.TB, e http.RoundTripper, edit ...func(*token.RemoteConfig)) *token.Remote {
	tb.Helper()
	config := token.RemoteConfig{URL: jwksURL, Algorithms: accepted, Client: &http.Client{Transport: e}}
	for _, f := range edit {
		f(&config)
	}
	r, err := token.NewRemote(config)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// wantUnavailable checks for the 503 of a request that cannot be judged.
func wantUnavailable(t *testing.T, o outcome) {
	t.Helper()
	if o.ran || o.status != 503 || o.challenges != nil || o.header.Get("Retry-After") == "" {
		t.Errorf("ran %v, %d %s %v; want 503", o.ran, o.status, o.body, o.header)
	}
	for _, leak := range []string{"issuer.example.com", "refused", "fetch"} {
		if strings.Contains(o.body, leak) {
			t.Errorf("the client is told %s", o.body)
		}
	}
}

// wantNoKey checks that no published key is the token's: 503 until a fetch that
// began after the token was first seen, and 401 from then on.
func wantNoKey(t *testing.T, v *token.Verifier, s string) {
	t.Helper()
	wantUnavailable(t, bearer(v, s))
	time.Sleep(31 * time.Second)
	wantUnavailable(t, bearer(v, s)) // begins the fetch
	time.Sleep(2 * time.Second)
	synctest.Wait()
	wantRefused(t, bearer(v, s), token.ErrKey)
}

// bearer serves a request with the token.
func bearer(v *token.Verifier, s string) outcome { return serve(v, get("Bearer "+s)) }

func TestRemoteMistakesAreJoined(t *testing.T) {
	_, err := token.NewRemote(token.RemoteConfig{Refresh: -1, Cooldown: -1, MaxStale: -2, MaxSize: -1, Client: &http.Client{Timeout: -1}})
	for _, want := range []string{"URL is empty", "Algorithms is empty", "Cooldown is -1ns", "MaxStale is -2ns", "MaxSize is -1", "Client.Timeout is -1ns"} {
		if err == nil || !strings.Contains(err.Error(), "auth/token: RemoteConfig."+want) {
			t.Errorf("NewRemote = %v, want it to mention %q", err, want)
		}
	}
	_, err = token.NewRemote(token.RemoteConfig{URL: "ftp://x", Refresh: time.Second, MaxStale: time.Millisecond, MaxSize: 1 << 30, Algorithms: []token.Algorithm{"none", token.HS256, token.HS512, token.ES256}})
	for _, want := range []string{`URL is "ftp://x"; use https`, `Algorithms has "none"`, "Algorithms has HS256", "Algorithms has HS512", "Refresh is 1s", "MaxStale is 1ms", "MaxSize is 1073741824"} {
		if err == nil || !strings.Contains(err.Error(), "auth/token: RemoteConfig."+want) {
			t.Errorf("NewRemote = %v, want it to mention %q", err, want)
		}
	}
	for u, ok := range map[string]bool{
		"https://issuer.example.com/jwks": true, "HTTPS://issuer.example.com": true, "https://issuer.example.com:8443/a?b=c": true,
		"http://localhost:80/": true, "http://127.0.0.1/": true, "http://127.9.9.9:1/": true, "http://[::1]:80/": true,
		"http://issuer.example.com/": false, "http://localhost.example.com/": false, "http://127.0.0.1.example.com/": false, "http://10.0.0.1/": false, "http://0.0.0.0/": false,
		"https://": false, "https:///path": false, "https://:443/": false, "/jwks.json": false, "issuer.example.com/jwks": false, "file:///etc/jwks": false, "data:application/json,{}": false,
		"https://user:hunter2@issuer.example.com/": false, "https://issuer.example.com/#fragment": false, "https://issuer.example.com/\x00": false, "ht tp://x": false,
	} {
		for _, insecure := range []bool{false, true} {
			config := token.RemoteConfig{URL: u, Algorithms: accepted, InsecureHTTP: insecure}
			want := ok || insecure && strings.HasPrefix(u, "http://")
			r, err := token.NewRemote(config)
			if (err == nil) != want || err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("NewRemote(%q), insecure %v = %v, %v; want ok %v", u, insecure, r, err, want)
			}
		}
	}
}

func TestRemoteKeysVerify(t *testing.T) {
	for _, alg := range accepted {
		synctest.Test(t, func(t *testing.T) {
			k := kits()[alg]
			e := new(endpoint)
			e.says(func(r *http.Request) (*http.Response, error) {
				if r.Method != "GET" || r.URL.String() != jwksURL || r.Header.Get("Accept") != "application/jwk-set+json, application/json" || r.Body != nil {
					t.Errorf("requested %s %s %v", r.Method, r.URL, r.Header)
				}
				return serves(k.ring.JWKSHandler())(r)
			})
			remote := newRemote(t, e)
			v := newVerifier(t, remote)
			if err := remote.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, bearer(v, k.token()))
			wantAccepted(t, bearer(v, issue(t, newIssuer(t, k.ring), identity.Principal{}, nil)))
			other := newKit(mustKey(t, token.EdDSA))
			wantNoKey(t, v, other.token())
			wantRefused(t, bearer(v, other.headed("kid", quoted(k.kid))), token.ErrInvalid)
			wantRefused(t, bearer(v, k.headed("kid", "")), token.ErrKey)
			wantRefused(t, bearer(v, k.token("iss", `"https://other.example.com"`)), token.ErrIssuer)
			if got := fmt.Sprint(remote); got != "token.Remote("+jwksURL+")" {
				t.Errorf("it prints as %s", got)
			}
		})
	}
	t.Run("a key of an algorithm that is not accepted is none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := new(endpoint)
			es, ed := kits()[token.ES256], kits()[token.EdDSA]
			e.says(serves(mustRing(t, es.key, ed.key).JWKSHandler()))
			remote := newRemote(t, e, func(c *token.RemoteConfig) { c.Algorithms = []token.Algorithm{token.EdDSA} })
			if err := remote.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			v := newVerifier(t, remote)
			wantAccepted(t, bearer(v, ed.token()))
			wantRefused(t, bearer(v, es.token()), token.ErrAlgorithm)
			if e.calls.Load() != 1 {
				t.Error("an algorithm that is not accepted leads to a fetch")
			}
		})
	})
}

// TestRemoteOutagesAreUnavailable: what is answered while the endpoint does this and that,
// when nothing was fetched before and when keys are there. Nobody waits.
func TestRemoteOutagesAreUnavailable(t *testing.T) {
	k, next := kits()[token.ES256], newKit(mustKey(t, token.ES256))
	set := serveJWKS(t, k.ring, get()).Body.String()
	good := sends(200, jwkSet, set)
	broken := func(body func(context.Context) io.Reader) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			response, err := good(r)
			response.Body = io.NopCloser(body(r.Context()))
			return response, err
		}
	}
	hanging := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for name, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		says   string
	}{
		"down":                    {isDown, "connection refused"},
		"hanging":                 {hanging, "deadline"},
		"slower than the timeout": {after(6*time.Second, good), "deadline"},
		"panicking":               {func(*http.Request) (*http.Response, error) { panic("SECRET") }, "panicked"},
		"truncated":               {sends(200, jwkSet, set[:len(set)/2]), "not a JWK Set"},
		"cut off": {broken(func(context.Context) io.Reader {
			return io.MultiReader(strings.NewReader(set[:20]), &once{errors.New("reset by peer")})
		}), "reset by peer"},
		"hanging in the body": {broken(func(ctx context.Context) io.Reader { return &untilDone{ctx} }), "deadline"},
		"10 MB": {broken(func(context.Context) io.Reader {
			return io.MultiReader(strings.NewReader(set), io.LimitReader(endless{}, 10<<20))
		}), "RemoteConfig.MaxSize"},
		"one byte too many":          {sends(200, jwkSet, set+strings.Repeat(" ", 256<<10-len(set)+1)), "RemoteConfig.MaxSize"},
		"without end":                {broken(func(context.Context) io.Reader { return endless{} }), "RemoteConfig.MaxSize"},
		"HTML":                       {sends(200, "text/html", set), "Content-Type"},
		"a JWT":                      {sends(200, "application/jwt", set), "Content-Type"},
		"no type":                    {sends(200, "", set), "Content-Type"},
		"two types in one":           {sends(200, "text/plain, application/json", set), "Content-Type"},
		"201":                        {sends(201, jwkSet, set), "status is 201"},
		"206":                        {sends(206, jwkSet, set), "status is 206"},
		"304":                        {sends(304, jwkSet, ""), "status is 304"},
		"404":                        {sends(404, jwkSet, set), "status is 404"},
		"500":                        {sends(500, jwkSet, set), "status is 500"},
		"empty":                      {sends(200, jwkSet, ""), "not a JWK Set"},
		"null":                       {sends(200, jwkSet, "null"), "not a JWK Set"},
		"an array":                   {sends(200, jwkSet, "[]"), "not a JWK Set"},
		"no keys member":             {sends(200, jwkSet, "{}"), `there is no "keys"`},
		"KEYS":                       {sends(200, jwkSet, strings.Replace(set, "keys", "KEYS", 1)), "not a JWK Set"},
		"keys twice":                 {sends(200, jwkSet, `{"keys":[],`+set[1:]), "not a JWK Set"},
		"keys that are an object":    {sends(200, jwkSet, `{"keys":{}}`), "not a JWK Set"},
		"keys that are null":         {sends(200, jwkSet, `{"keys":null}`), "not a JWK Set"},
		"something behind":           {sends(200, jwkSet, set+"{}"), "not a JWK Set"},
		"a byte order mark":          {sends(200, jwkSet, "\ufeff"+set), "not a JWK Set"},
		"not UTF-8":                  {sends(200, jwkSet, strings.Replace(set, `"keys"`, "\"x\":\"\xff\",\"keys\"", 1)), "not a JWK Set"},
		"65 keys":                    {sends(200, jwkSet, `{"keys":[`+strings.Repeat(`{"kty":"new"},`, 64)+`{"kty":"new"}]}`), "more than 64 keys"},
		"a redirect to another host": {redirects("https://evil.example.com/jwks"), "redirect leads"},
		"a redirect to http":         {redirects("http://issuer.example.com/jwks"), "redirect leads"},
		"a redirect to a port":       {redirects("https://issuer.example.com:444/jwks"), "redirect leads"},
		"a redirect to a file":       {redirects("file:///etc/passwd"), "redirect leads"},
		"a redirect to itself":       {redirects(jwksURL), "more than 3 redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, heard := new(endpoint), new(hears)
				remote := newRemote(t, e, func(c *token.RemoteConfig) { c.OnError = heard.hear })
				v := newVerifier(t, remote)
				request := func(s string) outcome {
					start := time.Now()
					o := bearer(v, s)
					if time.Since(start) != 0 {
						t.Errorf("a request waited for %v", time.Since(start))
					}
					return o
				}

				// From the start: nothing is known.
				e.says(c.answer)
				wantUnavailable(t, request(k.token()))
				time.Sleep(10 * time.Second)
				wantUnavailable(t, request(k.token()))
				wantUnavailable(t, request(next.token()))
				err := remote.Fetch(t.Context())
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "auth/token: fetching the keys of "+jwksURL+": ") || strings.Contains(err.Error(), "SECRET") || errors.Is(err, token.ErrInvalid) {
					t.Errorf("Fetch = %v, want an error with %q", err, c.says)
				}
				if all := heard.take(); len(all) != 1 || all[0].Error() != err.Error() {
					t.Errorf("OnError heard %v, want %v", all, err)
				}

				// It comes up: noticed within a Cooldown.
				e.says(good)
				time.Sleep(20 * time.Second)
				wantUnavailable(t, request(k.token()))
				time.Sleep(time.Second)
				wantAccepted(t, request(k.token()))

				// It goes down, or bad: what is known stays good; what is not
				// known is 503 as soon as the outage is.
				e.says(c.answer)
				last := time.Now().Add(-time.Second)
				wantUnavailable(t, request(next.token()))
				time.Sleep(30 * time.Second)
				wantUnavailable(t, request(next.token())) // a fetch begins
				time.Sleep(10 * time.Second)
				wantUnavailable(t, request(next.token()))
				wantAccepted(t, request(k.token()))
				heard.take()
				calls := e.calls.Load()
				steps := int64(0)
				for ; time.Since(last) < 23*time.Hour+30*time.Minute; steps++ {
					time.Sleep(20 * time.Minute)
					wantAccepted(t, request(k.token()))
					wantUnavailable(t, request(next.token()))
				}
				synctest.Wait()
				per := int64(1)
				if name == "a redirect to itself" {
					per = 4
				}
				if n := e.calls.Load() - calls; n != steps*per {
					t.Errorf("%d requests at %d times that were further apart than the Cooldown", n, steps)
				}
				if n := len(heard.take()); name[0] != 'h' && name[0] != 's' && n != int(steps) {
					t.Errorf("OnError heard %d times of %d fetches", n, steps)
				}
				time.Sleep(24*time.Hour - time.Since(last) - time.Nanosecond)
				wantAccepted(t, request(k.token()))
				time.Sleep(time.Nanosecond)
				wantUnavailable(t, request(k.token())) // MaxStale
				time.Sleep(time.Hour)
				wantUnavailable(t, request(k.token()))

				// And back.
				synctest.Wait()
				e.says(good)
				time.Sleep(31 * time.Second)
				wantUnavailable(t, request(k.token()))
				synctest.Wait()
				wantAccepted(t, request(k.token()))
				wantRefused(t, request(next.token()), token.ErrKey)
				time.Sleep(time.Minute)
				if e.open.Load() != 0 {
					t.Error("a fetch did not end")
				}
			})
		})
	}
}

// untilDone is a body that hangs.
type untilDone struct{ ctx context.Context }

func (u *untilDone) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func redirects(to string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != jwksURL {
			return nil, fmt.Errorf("led to %s", r.URL)
		}
		response, err := sends(302, jwkSet, "")(r)
		response.Header.Set("Location", to)
		return response, err
	}
}

func TestRemoteAcceptsOddResponses(t *testing.T) {
	k := kits()[token.ES256]
	set := serveJWKS(t, k.ring, get()).Body.String()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"the type of RFC 7517":     sends(200, jwkSet, set),
		"JSON with a parameter":    sends(200, "Application/JSON; charset=utf-8", set),
		"the largest size":         sends(200, jwkSet, set+strings.Repeat(" ", 256<<10-len(set))),
		"members it does not know": sends(200, jwkSet, `{"x":{"keys":[]},`+set[1:]),
		"64 keys":                  sends(200, jwkSet, strings.Replace(set, "[", "["+strings.Repeat(`{"kty":"new"},`, 63), 1)),
		"2 s later":                after(2*time.Second, sends(200, jwkSet, set)),
		"a redirect on the same host": func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/moved" {
				return sends(200, jwkSet, set)(r)
			}
			return redirects("/moved")(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := new(endpoint)
				e.says(answer)
				remote := newRemote(t, e)
				if err := remote.Fetch(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantAccepted(t, bearer(newVerifier(t, remote), k.token()))
			})
		})
	}
	t.Run("the client's own rule about redirects is asked too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := new(endpoint)
			e.says(redirects("/moved"))
			never := errors.New("never")
			client := &http.Client{Transport: e, CheckRedirect: func(*http.Request, []*http.Request) error { return never }}
			remote := newRemote(t, e, func(c *token.RemoteConfig) { c.Client = client })
			if err := remote.Fetch(t.Context()); !errors.Is(err, never) {
				t.Errorf("Fetch = %v, want %v", err, never)
			}
			if client.Timeout != 0 {
				t.Error("the host's client was changed")
			}
		})
	})
}

func TestFetchWaitsForTheKeys(t *testing.T) {
	k := kits()[token.ES256]
	t.Run("many wait for one request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := new(endpoint)
			e.says(after(2*time.Second, serves(k.ring.JWKSHandler())))
			remote := newRemote(t, e)
			var wg sync.WaitGroup
			for n := range 50 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if n%2 == 0 { // they leave, and the fetch goes on for the others
						if err := remote.Fetch(ctx); !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Fetch = %v, want its own deadline", err)
						}
					} else if err := remote.Fetch(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := e.calls.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if err := remote.Fetch(t.Context()); err != nil || e.calls.Load() != 1 {
				t.Errorf("within the Cooldown: %v, %d requests", err, e.calls.Load())
			}
			time.Sleep(30 * time.Second)
			if err := remote.Fetch(t.Context()); err != nil || e.calls.Load() != 2 {
				t.Errorf("after it: %v, %d requests", err, e.calls.Load())
			}
		})
	})
	t.Run("a fetch that takes longer than the Cooldown is still the only one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := new(endpoint)
			e.says(after(time.Minute, serves(k.ring.JWKSHandler())))
			remote := newRemote(t, e, func(c *token.RemoteConfig) { c.Client.Timeout = 2 * time.Minute })
			v := newVerifier(t, remote)
			for range 59 {
				wantUnavailable(t, bearer(v, k.token()))
				time.Sleep(time.Second)
			}
			if n := e.calls.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			time.Sleep(2 * time.Second)
			wantAccepted(t, bearer(v, k.token()))
		})
	})
	t.Run("OnError may fetch, and may panic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := new(endpoint)
			e.says(isDown)
			var remote *token.Remote
			heard := 0
			remote = newRemote(t, e, func(c *token.RemoteConfig) {
				c.OnError = func(err error) {
					heard++
					if again := remote.Fetch(t.Context()); again == nil || again.Error() != err.Error() {
						t.Errorf("Fetch in OnError = %v, want %v", again, err)
					}
					panic("a host's mistake")
				}
			})
			if err := remote.Fetch(t.Context()); !errors.Is(err, errDown) {
				t.Error(err)
			}
			synctest.Wait()
			if heard != 1 {
				t.Errorf("heard %d times", heard)
			}
		})
	})
}

// TestRemoteFollowsTheSet: keys that come, and keys that go.
func TestRemoteFollowsTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := kits()[token.ES256], kits()[token.EdDSA], kits()[token.RS256]
		e := new(endpoint)
		publish := func(kits ...*kit) {
			var keys []token.Key
			for _, k := range kits {
				keys = append(keys, k.key)
			}
			e.says(serves(mustRing(t, keys...).JWKSHandler()))
		}
		remote := newRemote(t, e)
		store := new(counted)
		v := newVerifier(t, remote, func(c *token.VerifierConfig) { c.Revoker = store })
		publish(a)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantAccepted(t, bearer(v, a.token()))

		// One more: an unknown ID brings it, after the Cooldown.
		publish(a, b)
		time.Sleep(30*time.Second - 1)
		wantUnavailable(t, bearer(v, b.token()))
		synctest.Wait()
		wantUnavailable(t, bearer(v, b.token()))
		time.Sleep(time.Nanosecond)
		wantUnavailable(t, bearer(v, b.token())) // which nobody waits for
		synctest.Wait()
		wantAccepted(t, bearer(v, b.token()))
		wantAccepted(t, bearer(v, a.token()))

		// Another: without an unknown ID it comes when the keys are due.
		publish(a, b, c)
		s := a.token()
		for range 5 {
			wantAccepted(t, bearer(v, s))
			time.Sleep(time.Minute)
		}
		calls := e.calls.Load()
		wantAccepted(t, bearer(v, s)) // due, and not waited for
		synctest.Wait()
		if n := e.calls.Load() - calls; n != 1 {
			t.Errorf("%d requests for keys that are due, want 1", n)
		}
		wantAccepted(t, bearer(v, c.token()))

		// One is withdrawn: from the next fetch on nothing of it is good, not
		// even what is remembered.
		publish(b, c)
		time.Sleep(5 * time.Minute)
		wantAccepted(t, bearer(v, s))
		synctest.Wait()
		wantNoKey(t, v, s)
		wantAccepted(t, bearer(v, b.token()))

		// All are: that is a mistake of somebody, and no key is good.
		e.says(sends(200, jwkSet, `{"keys":[]}`))
		time.Sleep(5 * time.Minute)
		wantAccepted(t, bearer(v, b.token()))
		synctest.Wait()
		wantUnavailable(t, bearer(v, b.token()))
		if err := remote.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "no key of the JWK Set can be used") {
			t.Errorf("Fetch = %v", err)
		}
	})
}

// TestRemoteIsUnsureAfterIdling: nobody asked for an hour, and the keys have changed.
// Whether the key is known cannot be said at once, and is a moment later.
func TestRemoteIsUnsureAfterIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := kits()[token.ES256], newKit(mustKey(t, token.ES256))
		e := new(endpoint)
		e.says(serves(old.ring.JWKSHandler()))
		remote := newRemote(t, e)
		v := newVerifier(t, remote)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.says(after(time.Second, serves(next.ring.JWKSHandler())))
		time.Sleep(time.Hour)
		if e.calls.Load() != 1 {
			t.Errorf("%d requests while nobody needs them", e.calls.Load())
		}
		wantUnavailable(t, bearer(v, next.token()))
		wantAccepted(t, bearer(v, old.token()))
		time.Sleep(2 * time.Second)
		wantAccepted(t, bearer(v, next.token()))
		wantNoKey(t, v, old.token())
	})
}

// TestFloodOfUnknownKeyIDsCausesOneFetchPerCooldown: ten thousand requests a second, each with a key ID
// of its own. At most one fetch per cooldown, nobody waits, good tokens go on,
// and what cannot be known is not called invalid.
func TestFloodOfUnknownKeyIDsCausesOneFetchPerCooldown(t *testing.T) {
	hangs := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	for name, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		before bool // whether the keys were fetched before
	}{
		"up":                          {nil, true},
		"down":                        {isDown, true},
		"slow":                        {after(2*time.Second, isDown), true},
		"hanging":                     {hangs, true},
		"down from the start":         {isDown, false},
		"hanging from the start":      {hangs, false},
		"answering nonsense for ever": {sends(200, jwkSet, "{}"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := kits()[token.ES256]
				e := new(endpoint)
				e.says(serves(k.ring.JWKSHandler()))
				if !c.before {
					e.says(c.answer)
				}
				remote := newRemote(t, e)
				v := newVerifier(t, remote)
				if err := remote.Fetch(t.Context()); (err == nil) != c.before {
					t.Fatal(err)
				}
				if c.answer != nil {
					e.says(c.answer)
				}
				good, calls, start := k.token("exp", later(3600)), e.calls.Load(), time.Now()
				_, tail, _ := strings.Cut(good, ".")
				const seconds, goroutines = 32, 20
				perSecond := 10_000
				switch {
				case raced:
					perSecond = 500
				case !c.before: // which is answered before a key is looked for
					perSecond = 1000
				}
				var serial atomic.Int64
				for second := range seconds {
					if time.Sleep(time.Second); second == 0 {
						time.Sleep(30 * time.Second) // until a fetch may begin
						start = time.Now()
					}
					var verified, refused, unsure, waited atomic.Int64
					began := time.Now()
					var wg sync.WaitGroup
					for range goroutines {
						wg.Go(func() {
							for range perSecond / goroutines {
								n := serial.Add(1)
								alg := accepted[n%int64(len(accepted))]
								s := b64(`{"alg":"`+string(alg)+`","typ":"at+jwt","kid":"`+strconv.FormatInt(n, 10)+`"}`) + "." + tail
								switch _, err := v.Verify(t.Context(), s); {
								case errors.Is(err, token.ErrKey):
									refused.Add(1)
								case err != nil && !errors.Is(err, token.ErrInvalid):
									unsure.Add(1)
								default:
									t.Errorf("Verify = %v", err)
								}
							}
							if _, err := v.Verify(t.Context(), good); err == nil {
								verified.Add(1)
							}
							if time.Since(began) != 0 {
								waited.Add(1)
							}
						})
					}
					wg.Wait()
					if waited.Load() != 0 {
						t.Errorf("second %d: somebody waited", second)
					}
					if got := verified.Load(); got != goroutines && c.before || got != 0 && !c.before {
						t.Errorf("second %d: %d good tokens were verified of %d", second, got, goroutines)
					}
					if refused.Load() != 0 || unsure.Load() == 0 {
						t.Errorf("second %d: %d were refused and %d not judged", second, refused.Load(), unsure.Load())
					}
				}
				fetches := e.calls.Load() - calls
				if most := int64(time.Since(start)/(30*time.Second)) + 1; fetches > most || fetches < most-1 {
					t.Errorf("%d fetches in %v, want one per 30s", fetches, time.Since(start))
				}
				// What a request is answered.
				if unknown := k.headed("kid", `"unknown"`, "exp", later(3600)); c.answer == nil {
					wantNoKey(t, v, unknown)
				} else {
					wantUnavailable(t, bearer(v, unknown))
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestManyRequestsAtOnceCauseOneFetch: of those that find at the same moment that a fetch is due,
// one begins it.
func TestManyRequestsAtOnceCauseOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kits()[token.ES256]
		e := new(endpoint)
		e.says(serves(k.ring.JWKSHandler()))
		v, unknown := newVerifier(t, newRemote(t, e)), k.raw(k.header("kid", `"unknown"`), payload("exp", later(86000)))
		for range 200 {
			time.Sleep(30 * time.Second)
			before := e.calls.Load()
			start := make(chan struct{})
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					<-start
					v.Verify(t.Context(), unknown)
				})
			}
			synctest.Wait()
			close(start)
			wg.Wait()
			synctest.Wait() // for the fetch
			if n := e.calls.Load() - before; n != 1 {
				t.Fatalf("%d fetches, want 1", n)
			}
		}
	})
}

// TestFloodOverHTTPBlocksNoRequest is the same over real connections, with the client that a
// Remote has by default.
func TestFloodOverHTTPBlocksNoRequest(t *testing.T) {
	k := kits()[token.ES256]
	var calls atomic.Int64
	release := make(chan struct{})
	var hang atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if hang.Load() {
			<-release
		}
		k.ring.JWKSHandler().ServeHTTP(w, r)
	}))
	defer server.Close()
	defer close(release)
	remote, err := token.NewRemote(token.RemoteConfig{URL: server.URL, Algorithms: accepted, Refresh: time.Second, Cooldown: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, remote, forgetful)
	wantAccepted(t, bearer(v, k.token()))
	hang.Store(true)
	unknown := k.headed("kid", `"unknown"`)
	var slowest atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for time.Since(start) < 1500*time.Millisecond {
				began := time.Now()
				if _, err := v.Verify(t.Context(), unknown); err == nil {
					t.Error("taken")
				}
				if took := int64(time.Since(began)); took > slowest.Load() {
					slowest.Store(took)
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	wg.Wait()
	if n := calls.Load(); n != 2 {
		t.Errorf("%d requests were made, want 2: one a second, and the second hangs", n)
	}
	if most := time.Duration(slowest.Load()); most > 500*time.Millisecond {
		t.Errorf("a look-up took %v, and the endpoint hangs", most)
	}
	wantAccepted(t, bearer(v, k.token()))
}

// jwk is a key as another issuer would publish it, with members of one's own:
// pairs of name and JSON, where no JSON leaves the member out.
func jwk(t *testing.T, k *kit, edits ...string) string {
	t.Helper()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(serveJWKS(t, k.ring, get()).Body.Bytes(), &set); err != nil || len(set.Keys) != 1 {
		t.Fatal(err, set)
	}
	var base []string
	for name, value := range set.Keys[0] {
		base = append(base, name, quoted(value))
	}
	return jsonObject(base, edits)
}

// TestPublishedKeysAreUsedOrLeftOut publishes one key after the other beside a good one: it is taken, or
// left out, or refused and reported.
func TestPublishedKeysAreUsedOrLeftOut(t *testing.T) {
	es, ed, rs := kits()[token.ES256], kits()[token.EdDSA], kits()[token.RS256]
	other := kits()[token.PS256]
	beside := newKit(mustKey(t, token.EdDSA))
	point, err := es.key.Signer.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	modulus := func(bits uint) string {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return quoted(b64(n.SetBit(n, 0, 1).Bytes()))
	}
	type verdict int
	const (
		taken verdict = iota
		left
		refused
	)
	tests := []struct {
		name string
		jwk  string
		want verdict
		says string
		sign *kit // with its kid
		kid  string
	}{
		{"as it should be", jwk(t, es), taken, "", es, es.kid},
		{"with what is not known", jwk(t, es, "x5c", `["MII"]`, "x5t#S256", `"a"`, "nbf", "1", "other", `{"a":[]}`, "ext", "true"), taken, "", es, es.kid},
		{"EdDSA", jwk(t, ed), taken, "", ed, ed.kid},
		{"RSA", jwk(t, rs), taken, "", rs, rs.kid},
		{"another name", jwk(t, es, "kid", `"2026-03"`), taken, "", es, "2026-03"},
		{"without a name: its thumbprint", jwk(t, es, "kid", ""), taken, "", es, es.kid},
		{"without a name: its thumbprint, EdDSA", jwk(t, ed, "kid", ""), taken, "", ed, ed.kid},
		{"without a name: its thumbprint, RSA", jwk(t, rs, "kid", ""), taken, "", rs, rs.kid},
		{"without an algorithm that the curve tells", jwk(t, es, "alg", ""), taken, "", es, es.kid},
		{"without an algorithm that the curve tells, EdDSA", jwk(t, ed, "alg", ""), taken, "", ed, ed.kid},
		{"without an algorithm, one of RSA is accepted", jwk(t, rs, "alg", ""), taken, "", rs, rs.kid},
		{"without a use", jwk(t, es, "use", ""), taken, "", es, es.kid},
		{"for verifying", jwk(t, es, "use", "", "key_ops", `["verify"]`), taken, "", es, es.kid},
		{"for more than verifying", jwk(t, es, "key_ops", `["sign","verify"]`), taken, "", es, es.kid},

		{"for encryption", jwk(t, es, "use", `"enc"`), left, "", es, es.kid},
		{"for encrypting", jwk(t, es, "use", "", "key_ops", `["encrypt","wrapKey"]`), left, "", es, es.kid},
		{"operations that are empty", jwk(t, es, "key_ops", `[]`), taken, "", es, es.kid},
		{"operations that are null", jwk(t, es, "key_ops", `null`), taken, "", es, es.kid},
		{"a use that is null", jwk(t, es, "use", `null`), taken, "", es, es.kid},
		{"a use that is empty", jwk(t, es, "use", `""`), taken, "", es, es.kid},
		{"an algorithm that is null", jwk(t, es, "alg", `null`), taken, "", es, es.kid},
		{"a type that is null", jwk(t, es, "kty", `null`), refused, `no "kty"`, es, es.kid},
		{"a coordinate that is null", jwk(t, es, "y", `null`), refused, "32 and 0 bytes", es, es.kid},
		{"each private member null or empty", jwk(t, rs, "d", "null", "p", `""`, "q", "[]", "dp", "{}", "dq", "[ ]", "qi", "null", "oth", "null", "k", `""`), taken, "", rs, rs.kid},
		{"named with the Ed25519 of RFC 9864", jwk(t, kits()[token.EdDSA], "alg", `"Ed25519"`), taken, "", kits()[token.EdDSA], kits()[token.EdDSA].kid},
		{"for signing only", jwk(t, es, "key_ops", `["sign"]`), left, "", es, es.kid},
		{"for encryption, and an operation", jwk(t, es, "use", `"enc"`, "key_ops", `["verify"]`), left, "", es, es.kid},
		{"of an unknown type", jwk(t, es, "kty", `"AKP"`), left, "", es, es.kid},
		{"of an unknown curve", jwk(t, es, "crv", `"secp256k1"`), left, "", es, es.kid},
		{"of a curve that is not accepted", jwk(t, es, "crv", `"P-384"`), left, "", es, es.kid},
		{"of an unknown algorithm", jwk(t, es, "alg", `"ES256K"`), left, "", es, es.kid},
		{"of an algorithm that is not accepted", jwk(t, other), left, "", other, other.kid},
		{"of none", jwk(t, es, "alg", `"none"`), left, "", es, es.kid},
		{"of an HMAC algorithm", jwk(t, es, "alg", `"HS256"`), left, "", es, es.kid},
		{"of an algorithm of another type", jwk(t, es, "alg", `"RS256"`), left, "", es, es.kid},
		{"X25519", jwk(t, ed, "crv", `"X25519"`, "alg", `"ECDH-ES"`), left, "", ed, ed.kid},

		{"with d", jwk(t, es, "d", quoted(b64(x))), refused, `published with "d"`, es, es.kid},
		{"with d that is null", jwk(t, es, "d", "null"), taken, "", es, es.kid},
		{"with p", jwk(t, rs, "p", `"AQAB"`), refused, `published with "p"`, rs, rs.kid},
		{"with q", jwk(t, rs, "q", `"AQAB"`), refused, `published with "q"`, rs, rs.kid},
		{"with dp", jwk(t, rs, "dp", `"AQAB"`), refused, `published with "dp"`, rs, rs.kid},
		{"with dq", jwk(t, rs, "dq", `"AQAB"`), refused, `published with "dq"`, rs, rs.kid},
		{"with qi", jwk(t, rs, "qi", `"AQAB"`), refused, `published with "qi"`, rs, rs.kid},
		{"with oth that is empty", jwk(t, rs, "oth", `[]`), taken, "", rs, rs.kid},
		{"with oth", jwk(t, rs, "oth", `[{"r":"AA","d":"AA","t":"AA"}]`), refused, `published with "oth"`, rs, rs.kid},
		{"with k", jwk(t, es, "k", `"AQAB"`), refused, `published with "k"`, es, es.kid},
		{"with D", jwk(t, es, "D", quoted(b64(x))), refused, "second spelling", es, es.kid},
		{"a secret", `{"kty":"oct","kid":"secret","alg":"HS256","k":"` + b64(random(32)) + `"}`, refused, `published with "k"`, es, "secret"},
		{"private, for encryption", jwk(t, es, "use", `"enc"`, "d", `"AQAB"`), refused, `published with "d"`, es, es.kid},
		{"no type", jwk(t, es, "kty", ""), refused, `no "kty"`, es, es.kid},
		{"a type that is null", jwk(t, es, "kty", "null"), refused, "kty", es, es.kid},
		{"a use that is a number", jwk(t, es, "use", "1"), refused, "use", es, es.kid},
		{"operations that are a string", jwk(t, es, "key_ops", `"verify"`), refused, "key_ops", es, es.kid},
		{"a name that is a number", jwk(t, es, "kid", "1"), refused, "kid", es, "1"},
		{"a name that is empty", jwk(t, es, "kid", `""`), taken, "", es, es.kid},
		{"a name with a line break", jwk(t, es, "kid", `"a\nb"`), refused, "kid", es, es.kid},
		{"no x", jwk(t, es, "x", ""), refused, "0 and 32 bytes", es, es.kid},
		{"no y", jwk(t, es, "y", ""), refused, "32 and 0 bytes", es, es.kid},
		{"x that is short", jwk(t, es, "x", quoted(b64(x[1:]))), refused, "31 and 32 bytes", es, es.kid},
		{"x with a zero in front", jwk(t, es, "x", quoted(b64(append([]byte{0}, x...)))), refused, "33 and 32 bytes", es, es.kid},
		{"x and y exchanged", jwk(t, es, "x", quoted(b64(y)), "y", quoted(b64(x))), refused, "not a point", es, es.kid},
		{"the point of zeros", jwk(t, es, "x", quoted(b64(make([]byte, 32))), "y", quoted(b64(make([]byte, 32)))), refused, "not a point", es, es.kid},
		{"x with padding", jwk(t, es, "x", quoted(b64(x)+"=")), refused, "x is malformed", es, es.kid},
		{"x with a line break", jwk(t, es, "x", quoted(b64(x)+`\n`)), refused, "x is malformed", es, es.kid},
		{"x in the other alphabet", jwk(t, es, "x", quoted("+/"+b64(x)[2:])), refused, "x is malformed", es, es.kid},
		{"x with bits that nobody sets", jwk(t, es, "x", quoted(withBits(b64(x), 1))), refused, "x is malformed", es, es.kid},
		{"Ed25519 that is short", jwk(t, ed, "x", quoted(b64(x[1:]))), refused, "31 bytes", ed, ed.kid},
		{"Ed25519 without x", jwk(t, ed, "x", ""), refused, "0 bytes", ed, ed.kid},
		{"Ed25519 of zeros", jwk(t, ed, "x", quoted(b64(make([]byte, 32)))), refused, "small order", ed, ed.kid},
		{"no n", jwk(t, rs, "n", ""), refused, "n or e", rs, rs.kid},
		{"no e", jwk(t, rs, "e", ""), refused, "n or e", rs, rs.kid},
		{"n with a zero in front", jwk(t, rs, "n", quoted(b64(append([]byte{0}, random(256)...)))), refused, "zero byte", rs, rs.kid},
		{"n that is even", jwk(t, rs, "n", quoted(b64(append(bytes.Repeat([]byte{255}, 255), 0)))), refused, "even", rs, rs.kid},
		{"n of 2047 bits", jwk(t, rs, "n", modulus(2047)), refused, "2047 bits", rs, rs.kid},
		{"n of 8193 bits", jwk(t, rs, "n", modulus(8193)), refused, "8193 bits", rs, rs.kid},
		{"n of 100 KiB", jwk(t, rs, "n", modulus(100<<13)), refused, "819200 bits", rs, rs.kid},
		{"e of 1", jwk(t, rs, "e", `"AQ"`), refused, "exponent 1", rs, rs.kid},
		{"e of 2", jwk(t, rs, "e", `"Ag"`), refused, "exponent 2", rs, rs.kid},
		{"e of 2^32-1", jwk(t, rs, "e", `"_____w"`), refused, "exponent", rs, rs.kid},
		{"e of 2^64+1", jwk(t, rs, "e", `"AQAAAAAAAAAB"`), refused, "n or e", rs, rs.kid},
		{"a string", `"key"`, refused, "malformed JSON", es, es.kid},
		{"null", `null`, refused, "malformed JSON", es, es.kid},
		{"an array", `[]`, refused, "malformed JSON", es, es.kid},
		{"an empty object", `{}`, refused, `no "kty"`, es, es.kid},
		{"a name in another case", strings.Replace(jwk(t, es), `"kty"`, `"Kty"`, 1), refused, "second spelling", es, es.kid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, heard := new(endpoint), new(hears)
				e.says(sends(200, jwkSet, `{"keys":[`+test.jwk+`,`+jwk(t, beside)+`]}`))
				remote := newRemote(t, e, func(c *token.RemoteConfig) { c.OnError = heard.hear })
				if err := remote.Fetch(t.Context()); err != nil {
					t.Fatal(err) // the other key is there
				}
				synctest.Wait()
				v := newVerifier(t, remote)
				wantAccepted(t, bearer(v, beside.token()))
				s := test.sign.headed("kid", quoted(test.kid))
				if test.want == taken {
					wantAccepted(t, bearer(v, s))
				} else if test.sign != other {
					wantUnavailable(t, bearer(v, s))
				} else {
					wantRefused(t, bearer(v, s), token.ErrAlgorithm)
				}
				all := heard.take()
				if test.want != taken && test.sign != other {
					wantNoKey(t, v, s)
				}
				if (len(all) > 0) != (test.want == refused) {
					t.Errorf("OnError heard %v", all)
				}
				for _, err := range all {
					if !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "auth/token: in the keys of "+jwksURL+": key 0") {
						t.Errorf("OnError heard %v, want it to mention %q", err, test.says)
					}
				}
			})
		})
	}
}

func TestKeysWithOneIDAreToldApartByAlgorithm(t *testing.T) {
	es, ed, rs := kits()[token.ES256], kits()[token.EdDSA], kits()[token.RS256]
	fetch := func(t *testing.T, algs []token.Algorithm, keys ...string) (*token.Verifier, []error, error) {
		e, heard := new(endpoint), new(hears)
		e.says(sends(200, jwkSet, `{"keys":[`+strings.Join(keys, ",")+`]}`))
		remote := newRemote(t, e, func(c *token.RemoteConfig) { c.OnError, c.Algorithms = heard.hear, algs })
		err := remote.Fetch(t.Context())
		synctest.Wait()
		return newVerifier(t, remote), heard.take(), err
	}
	es2 := newKit(mustKey(t, token.ES256))
	rs512 := newKit(token.Key{Algorithm: token.RS512, Signer: rs.key.Signer})
	named := func(k *kit, edit ...string) string { return jwk(t, k, append(edit, "kid", `"x"`)...) }
	for name, c := range map[string]struct {
		keys  []string
		taken []*kit
		says  []string // one for each entry that is refused
	}{
		"two keys of one name and two algorithms":     {[]string{named(es), named(ed)}, []*kit{es, ed}, nil},
		"three keys of one name and three algorithms": {[]string{named(es), named(rs), named(ed)}, []*kit{es, ed, rs}, nil},
		"one key for two algorithms":                  {[]string{named(rs), named(rs512)}, []*kit{rs, rs512}, nil},
		"one key twice":                               {[]string{named(es), named(es)}, []*kit{es}, nil},
		"one key twice, once without an algorithm":    {[]string{named(es, "alg", ""), named(es)}, []*kit{es}, nil},
		"an Ed25519 key by both names":                {[]string{named(ed), named(ed, "alg", `"Ed25519"`)}, []*kit{ed}, nil},
		"another one is malformed":                    {[]string{named(es), named(es2, "x", `"AA"`)}, []*kit{es}, []string{"1 and 32 bytes"}},
		"another one is malformed and first":          {[]string{named(ed, "x", `7`), named(es)}, []*kit{es}, []string{"value of x"}},
		"another one is no object":                    {[]string{`7`, `null`, `"x"`, `[]`, named(es)}, []*kit{es}, []string{"malformed JSON", "malformed JSON", "malformed JSON", "malformed JSON"}},
		"another one is private":                      {[]string{named(es), named(ed, "d", `"AA"`)}, []*kit{es}, []string{`published with "d"`}},
		"its private half stands beside it":           {[]string{named(es), named(es, "d", `"AA"`)}, nil, []string{`published with "d"`, "private half"}},
		"the same under another name and algorithm":   {[]string{named(rs), jwk(t, rs512, "kid", `"y"`, "d", `"AA"`)}, nil, []string{`published with "d"`, "private half"}},
		"two different keys":                          {[]string{named(es), named(es2)}, nil, []string{"two different keys", "two different keys"}},
		"two different keys, one name is escaped":     {[]string{named(es), jwk(t, es2, "kid", `"\u0078"`)}, nil, []string{"two different keys", "two different keys"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				beside := newKit(mustKey(t, token.ES256))
				v, heard, err := fetch(t, append(accepted, token.RS512), append(c.keys, jwk(t, beside))...)
				if err != nil {
					t.Fatal(err)
				}
				var all string
				if len(heard) > 0 {
					all = heard[0].Error()
				}
				for _, says := range c.says {
					before, after, found := strings.Cut(all, says)
					if all = before + after; !found {
						t.Errorf("OnError heard %v, want %q", heard, says)
					}
				}
				if c.says == nil && heard != nil {
					t.Errorf("OnError heard %v", heard)
				}
				for _, k := range []*kit{es, es2, ed, rs, rs512} {
					o := bearer(v, k.headed("kid", `"x"`))
					switch {
					case slices.Contains(c.taken, k):
						wantAccepted(t, o)
					case c.taken == nil:
						wantUnavailable(t, o)
					case o.status != 401:
						t.Errorf("a token of another key with %s is answered %d", k.key.Algorithm, o.status)
					}
				}
				wantAccepted(t, bearer(v, beside.token()))
			})
		})
	}
	t.Run("a name that is another's thumbprint", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v, heard, err := fetch(t, accepted, jwk(t, es, "kid", ""), jwk(t, es2, "kid", quoted(es.kid)), jwk(t, rs))
			if err != nil || len(heard) != 1 {
				t.Errorf("%v, heard %v", err, heard)
			}
			wantNoKey(t, v, es.token())
			wantRefused(t, bearer(v, es2.headed("kid", quoted(es.kid))), token.ErrKey)
		})
	})
	t.Run("one of the name is for encryption", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v, heard, err := fetch(t, accepted, jwk(t, es, "kid", `"x"`), jwk(t, ed, "kid", `"x"`, "use", `"enc"`))
			if err != nil || heard != nil {
				t.Errorf("%v, heard %v", err, heard)
			}
			wantAccepted(t, bearer(v, es.headed("kid", `"x"`)))
		})
	})
	t.Run("no algorithm, and several that it could be", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, heard, err := fetch(t, []token.Algorithm{token.RS256, token.PS256, token.RS256}, jwk(t, rs, "alg", ""))
			if err == nil || len(heard) != 1 || !strings.Contains(heard[0].Error(), `there is no "alg", and it fits [RS256 PS256]`) {
				t.Errorf("%v, heard %v", err, heard)
			}
		})
	})
	t.Run("a key with two names that are alike is left out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v, heard, err := fetch(t, accepted, jwk(t, es, "KID", `"x"`), jwk(t, ed))
			if err != nil || len(heard) != 1 {
				t.Errorf("%v, heard %v", err, heard)
			}
			wantAccepted(t, bearer(v, ed.token()))
		})
	})
	t.Run("none that can be used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v, heard, err := fetch(t, []token.Algorithm{token.ES384}, jwk(t, es), jwk(t, ed))
			if err == nil || len(heard) != 1 || !strings.Contains(err.Error(), "no key of the JWK Set can be used with [ES384]") {
				t.Errorf("%v, heard %v", err, heard)
			}
			wantRefused(t, bearer(v, es.token()), token.ErrAlgorithm)
		})
	})
}
