package auth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

const refusedProof = "The sign-in was not accepted."

// proves returns a way in whose proof is always p.
func proves(p identity.Proof) auth.WayIn {
	return auth.WayIn{Name: "passkey", Second: auth.SkipIfMFA, Prove: func(*http.Request) (*identity.Proof, error) { return &p, nil }}
}

func fails(err error) auth.WayIn {
	return auth.WayIn{Name: "passkey", Prove: func(*http.Request) (*identity.Proof, error) { return nil, err }}
}

// passkeyOf is the proof of a passkey of alice.
func passkeyOf(subject string) identity.Proof {
	return identity.Proof{Subject: subject, Factors: identity.NewSet("pop", "user", "mfa")}
}

// enter signs in by a way of the host.
func (h *host) enter(w auth.WayIn, body ...string) answer {
	h.t.Helper()
	return h.serveBy(h.server.SignIn(w), request("/token/way", body...))
}

// serveBy is serve by a handler that the mux does not have.
func (h *host) serveBy(handler http.Handler, r *http.Request) answer {
	h.t.Helper()
	mux := guard.NewMux(guard.Hooks{}, silent{})
	mux.Handle("/", handler)
	before := h.mux
	h.mux = mux
	defer func() { h.mux = before }()
	return h.serve(r)
}

// silent is an authenticator that finds nothing.
type silent struct{}

func (silent) Challenge() guard.Challenge { return guard.Challenge{Scheme: "None"} }
func (silent) Authenticate(*http.Request) (*identity.Principal, error) {
	return nil, guard.ErrNoCredentials
}

func TestSignInByAnotherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		a := h.enter(proves(passkeyOf(alice)))
		h.want(a, 200, "")
		me := h.me(a.access())
		if me.text("sub") != alice || me.text("amr") != "mfa pop user" || me.text("roles") != "editor" || me.text("scope") != "read write" ||
			me.json["auth_time"] != float64(time.Now().Unix()) {
			t.Errorf("%s", me.raw)
		}
		if e := h.wantEvent(h.events.take(), guard.EventLoginSuccess); e.Way != "passkey" || e.Principal.Subject != alice {
			t.Errorf("%+v", e)
		}
		h.want(h.refresh(a.refresh()), 200, "")
		h.want(h.enter(proves(passkeyOf(alice)), "scope", "read"), 200, "")
		h.want(h.enter(proves(passkeyOf(alice)), "scope", "admin"), 400, "invalid_scope")
	})
}

func TestWrongProofsAndUnknownUsersAreAnsweredAlike(t *testing.T) {
	h := newHost(t, func(s *setup) {})
	h.setUser("carol", auth.User{ID: "user-3", Tenant: "acme", PasswordHash: h.hash, Disabled: true})
	h.setUser("dave", auth.User{ID: "user-4", Tenant: "acme", PasswordHash: h.hash})
	other, expired := passkeyOf("user-4"), passkeyOf(alice)
	other.Tenant = "globex"
	expired.Until = time.Now().Add(-time.Second)
	for name, w := range map[string]auth.WayIn{
		"not proven":     fails(identity.ErrNotProven),
		"wrapped":        fails(fmt.Errorf("SECRET-REASON: %w", identity.ErrNotProven)),
		"unknown":        proves(passkeyOf("nobody")),
		"disabled":       proves(passkeyOf("user-3")),
		"another tenant": proves(other),
		"expired":        proves(expired),
	} {
		a := h.enter(w)
		if a.status != 400 || a.raw != errorBody("invalid_grant", refusedProof) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	other.Tenant = "acme"
	h.want(h.enter(proves(other)), 200, "")
}

func TestProofsThatCannotBeTrueAreRefused(t *testing.T) {
	h := newHost(t)
	changed := func(change func(*identity.Proof)) identity.Proof {
		p := passkeyOf(alice)
		change(&p)
		return p
	}
	for name, w := range map[string]auth.WayIn{
		"no subject":            proves(changed(func(p *identity.Proof) { p.Subject = "" })),
		"an ill-formed one":     proves(changed(func(p *identity.Proof) { p.Subject = "a\x00" })),
		"no factor":             proves(changed(func(p *identity.Proof) { p.Factors = identity.Set{} })),
		"an unknown factor":     proves(changed(func(p *identity.Proof) { p.Factors = identity.NewSet("pwd", "Otp") })),
		"in the future":         proves(changed(func(p *identity.Proof) { p.Time = time.Now().Add(2 * time.Minute) })),
		"a hundred days ago":    proves(changed(func(p *identity.Proof) { p.Time = time.Now().Add(-100 * 24 * time.Hour) })),
		"neither":               {Name: "x", Prove: func(*http.Request) (*identity.Proof, error) { return nil, nil }},
		"a store that fails":    fails(errDown),
		"a Denial of 200":       fails(guard.NewDenial(200, "ok", "", nil)),
		"a Denial of 302":       fails(guard.NewDenial(302, "found", "", nil)),
		"a Denial of 503":       fails(guard.Unavailable(0, errDown)),
		"a Denial of elsewhere": fails(fmt.Errorf("calling it: %w", guard.Forbidden(errDown))),
	} {
		if a := h.enter(w); a.status < 500 || a.access() != "" {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if all, err := h.store.Sessions(context.Background(), alice); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	h.want(h.enter(fails(guard.InvalidRequest("The answer is malformed.", nil))), 400, "invalid_request")
	h.want(h.enter(fails(guard.TooManyAttempts(time.Minute, nil))), 429, "temporarily_unavailable")
}

func TestWhatEndsWhileAProofIsVerified(t *testing.T) {
	for name, end := range map[string]func(h *host) error{
		"the sessions": func(h *host) error {
			return h.server.EndSessions(context.Background(), identity.Revocation{Subject: alice})
		},
		"the account": func(h *host) error {
			u := h.alice()
			u.Disabled = true
			return h.store.SetUser("alice", u)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			w := proves(passkeyOf(alice))
			inner := w.Prove
			w.Prove = func(r *http.Request) (*identity.Proof, error) {
				if err := end(h); err != nil {
					t.Error(err)
				}
				return inner(r)
			}
			a := h.enter(w)
			if a.status != 400 || a.raw != errorBody("invalid_grant", refusedProof) {
				t.Errorf("%d %s", a.status, a.raw)
			}
			if all, err := h.store.Sessions(t.Context(), alice); err != nil || len(all) > 0 {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
}

func TestTheSecondFactorIsAskedForUnlessTheProofHasSeveral(t *testing.T) {
	passkey, federated := proves(passkeyOf(alice)), proves(identity.Proof{Subject: alice, Factors: identity.NewSet("fed", "mfa")})
	federated.Second = auth.AskAlways
	mail := proves(identity.Proof{Subject: alice, Factors: identity.NewSet("email")})
	h := newHost(t, withFactor(&factor{}))
	h.want(h.enter(passkey), 200, "")
	for _, w := range []auth.WayIn{federated, mail} {
		a := h.enter(w)
		h.want(a, 400, "mfa_required")
		if a.access() != "" {
			t.Error(a.raw)
		}
		h.events.take()
		in := h.answer(a.text("mfa_token"), code)
		h.want(in, 200, "")
		if e := h.wantEvent(h.events.take(), guard.EventLoginSuccess); e.Way != "passkey" || !e.Principal.Factors.Has("otp") {
			t.Errorf("%+v", e)
		}
	}
}

func TestAnOldProofKeepsItsTimeAndItsChallengeLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}))
		old := passkeyOf(alice)
		old.Time = time.Now().Add(-time.Hour).Truncate(time.Second)
		w := proves(old)
		w.Second = auth.AskAlways
		a := h.enter(w)
		h.want(a, 400, "mfa_required")
		time.Sleep(9 * time.Minute)
		in := h.answer(a.text("mfa_token"), code)
		h.want(in, 200, "")
		if me := h.me(in.access()); me.json["auth_time"] != float64(old.Time.Unix()) {
			t.Errorf("%s", me.raw)
		}
	})
}

func TestASessionEndsWithItsProof(t *testing.T) {
	for _, second := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, withFactor(&factor{}))
			until := time.Now().Add(time.Hour)
			p := passkeyOf(alice)
			p.Until = until
			w := proves(p)
			a := answer{}
			if second {
				w.Second = auth.AskAlways
				a = h.answer(h.enter(w).text("mfa_token"), code)
			} else {
				a = h.enter(w)
			}
			h.want(a, 200, "")
			all, err := h.store.Sessions(t.Context(), alice)
			if err != nil || len(all) != 1 || all[0].Expires.Sub(until).Abs() > time.Millisecond {
				t.Fatalf("%v, %v", all, err)
			}
			time.Sleep(50 * time.Minute)
			a = h.refresh(a.refresh())
			h.want(a, 200, "")
			time.Sleep(10*time.Minute + time.Second)
			h.want(h.refresh(a.refresh()), 400, "invalid_grant")
			h.want(h.me(a.access()), 401, "invalid_token")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		p := passkeyOf(alice)
		p.Until = time.Now().Add(1000 * 24 * time.Hour)
		h.want(h.enter(proves(p)), 200, "")
		all, err := h.store.Sessions(t.Context(), alice)
		if err != nil || all[0].Expires.After(time.Now().Add(90*24*time.Hour)) {
			t.Errorf("%v, %v", all, err)
		}
	})
}

func TestAStepUpKeepsTheEndOfTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(later(nil)))
		p := identity.Proof{Subject: alice, Factors: identity.NewSet("fed"), Until: time.Now().Add(time.Hour)}
		a := h.enter(proves(p))
		h.want(a, 200, "")
		for range 2 {
			a = h.stepUp(a.access(), "code", code)
			h.want(a, 200, "")
		}
		all, err := h.store.Sessions(t.Context(), alice)
		if err != nil || len(all) != 1 || all[0].Expires.Sub(p.Until).Abs() > time.Millisecond {
			t.Errorf("%v, %v, want one session until %v", all, err, p.Until)
		}
		time.Sleep(50 * time.Minute)
		a = h.refresh(a.refresh())
		h.want(a, 200, "")
		time.Sleep(10*time.Minute + time.Second)
		h.want(h.refresh(a.refresh()), 400, "invalid_grant")
		h.want(h.me(a.access()), 401, "invalid_token")
	})
}

func TestStoresThatFailGiveNoToken(t *testing.T) {
	for name, change := range map[string]func(*setup){
		"the factor": withFactor(&factor{required: func() (bool, error) { return false, errDown }}),
		"the sessions": func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error { return errDown }}
		},
		"the users": func(s *setup) {
			s.users = &users{UserStore: s.store, byID: func(string) (*auth.User, error) { return nil, errDown }}
		},
	} {
		h := newHost(t, change)
		w := proves(passkeyOf(alice))
		w.Second = auth.AskAlways
		if a := h.enter(w); a.status != 503 || a.access() != "" {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}

func TestAttemptsByAnotherWayAreThrottledApart(t *testing.T) {
	settled := func(w auth.WayIn) (string, guard.Outcome) {
		t.Helper()
		th := new(throttle)
		h := newHost(t, func(s *setup) { s.Throttle = th })
		func() {
			defer func() { _ = recover() }()
			h.enter(w)
		}()
		if len(th.reserved) != 1 || len(th.settled) != 1 {
			t.Fatalf("%d reserved, %d settled", len(th.reserved), len(th.settled))
		}
		return th.reserved[0], th.settled[0]
	}
	ldap := fails(identity.ErrNotProven)
	ldap.Login = func(*http.Request) (string, error) { return "Alice", nil }
	panics := auth.WayIn{Name: "passkey", Prove: func(*http.Request) (*identity.Proof, error) { panic("a mistake") }}
	const unguessable = "\x00passkey\x00192.0.2.1"
	for _, test := range []struct {
		name    string
		way     auth.WayIn
		login   string
		outcome guard.Outcome
	}{
		{"proven", proves(passkeyOf(alice)), unguessable, guard.Succeeded},
		{"not proven", fails(identity.ErrNotProven), unguessable, guard.Failed},
		{"unknown user", proves(passkeyOf("nobody")), unguessable, guard.Failed},
		{"malformed", fails(guard.InvalidRequest("", nil)), unguessable, guard.Failed},
		{"a store that fails", fails(errDown), unguessable, guard.Undecided},
		{"a claimed login", ldap, "alice", guard.Failed},
		{"a panic", panics, unguessable, guard.Failed},
	} {
		if login, outcome := settled(test.way); login != test.login || outcome != test.outcome {
			t.Errorf("%s: %q %v, want %q %v", test.name, login, outcome, test.login, test.outcome)
		}
	}
	th := &throttle{limit: 1}
	h := newHost(t, func(s *setup) { s.Throttle = th })
	h.enter(fails(identity.ErrNotProven))
	h.want(h.enter(proves(passkeyOf(alice))), 429, "temporarily_unavailable")
}

func TestRequestsToSignInAreBounded(t *testing.T) {
	h := newHost(t)
	called := 0
	w := proves(passkeyOf(alice))
	inner := w.Prove
	w.Prove = func(r *http.Request) (*identity.Proof, error) {
		called++
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != `{"id":"x"}` {
			t.Errorf("Prove read %q, %v", b, err)
		}
		return inner(r)
	}
	send := func(method, media, body string) answer {
		r := httptest.NewRequest(method, "/token/way", strings.NewReader(body))
		if media != "" {
			r.Header["Content-Type"] = strings.Split(media, "|")
		}
		return h.serveBy(h.server.SignIn(w), r)
	}
	h.want(send("GET", "application/json", ""), 405, "method_not_allowed")
	h.want(send("POST", "application/json", strings.Repeat(" ", 17<<10)), 413, "invalid_request")
	h.want(send("POST", "application/json|application/json", "{}"), 415, "invalid_request")
	h.want(send("POST", "", "{}"), 415, "invalid_request")
	h.want(send("POST", "text/plain", "{}"), 415, "invalid_request")
	h.want(send("POST", "application/x-www-form-urlencoded", "a=1&a=2"), 400, "invalid_request")
	if called > 0 {
		t.Error("Prove was called")
	}
	h.want(send("POST", "application/json; charset=utf-8", `{"id":"x"}`), 200, "")
}

func TestAClientNeedsTheNameAmongItsGrants(t *testing.T) {
	secret, hash := auth.NewClientSecret()
	grants := identity.NewSet("password", "refresh_token")
	h := newHost(t, func(s *setup) {
		s.Clients = clientsFunc(func(id string) (*auth.Client, error) {
			if id != "web" {
				return nil, auth.ErrNotFound
			}
			return &auth.Client{ID: "web", Secrets: []auth.SecretHash{hash}, Grants: grants}, nil
		})
	})
	w := proves(passkeyOf(alice))
	called := false
	inner := w.Prove
	w.Prove = func(r *http.Request) (*identity.Proof, error) { called = true; return inner(r) }
	h.want(h.enter(w, "client_id", "web", "client_secret", secret), 400, "unauthorized_client")
	h.want(h.enter(w, "client_id", "web", "client_secret", "wrong"), 401, "invalid_client")
	if called {
		t.Error("Prove was called")
	}
	grants = grants.With("passkey")
	a := h.enter(w, "client_id", "web", "client_secret", secret)
	h.want(a, 200, "")
	if me := h.me(a.access()); me.text("client") != "web" {
		t.Errorf("%s", me.raw)
	}
	h.want(h.enter(w), 200, "")
}

// clientsFunc is a ClientStore of one function.
type clientsFunc func(id string) (*auth.Client, error)

func (f clientsFunc) ClientByID(_ context.Context, id string) (*auth.Client, error) { return f(id) }

func TestSignInWithCookies(t *testing.T) {
	h := newHost(t, func(s *setup) { s.cookies = new(auth.CookieConfig) })
	w := proves(passkeyOf(alice))
	called := 0
	inner := w.Prove
	w.Prove = func(r *http.Request) (*identity.Proof, error) { called++; return inner(r) }
	handler := h.cookies.SignIn(w)
	send := func(site, refresh string) (answer, map[string]*http.Cookie) {
		t.Helper()
		r := request("/session/passkey")
		r.Header.Set("Sec-Fetch-Site", site)
		if refresh != "" {
			r.AddCookie(&http.Cookie{Name: "__Host-refresh_token", Value: refresh})
		}
		a := h.serveBy(handler, r)
		cookies := map[string]*http.Cookie{}
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			cookies[c.Name] = c
			h.secret(c.Value)
		}
		return a, cookies
	}
	a, cookies := send("cross-site", "")
	h.want(a, 403, "forbidden")
	if called > 0 || len(cookies) > 0 {
		t.Error("a page of another origin signed the visitor in")
	}
	a, cookies = send("same-origin", "")
	h.want(a, 200, "")
	if a.access() != "" || a.refresh() != "" {
		t.Error(a.raw)
	}
	first := cookies["__Host-refresh_token"].Value
	a, cookies = send("same-origin", first)
	h.want(a, 200, "")
	if cookies["__Host-refresh_token"].Value == first {
		t.Error("the refresh token is the same")
	}
	if all, err := h.store.Sessions(t.Context(), alice); err != nil || len(all) != 1 {
		t.Errorf("%d sessions, %v: the one that the browser had must end", len(all), err)
	}
}

// A browser sends no SameSite=Strict cookie when an identity provider redirects to the
// callback, so the refresh token is missing there.
func TestASignInRedirectEndsTheSessionOfTheBrowser(t *testing.T) {
	h := newHost(t, withCookies)
	session := func(w *httptest.ResponseRecorder) string {
		for _, c := range w.Result().Cookies() {
			if c.Name == accessCookie {
				return c.Value
			}
		}
		t.Fatalf("%d %v", w.Code, w.Header())
		return ""
	}
	before := session(recorded(h.cookies.SignIn(proves(passkeyOf(alice))), request("/session/passkey")))
	h.events.take()
	r := httptest.NewRequest("GET", "/callback", nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.AddCookie(&http.Cookie{Name: accessCookie, Value: before})
	after := session(recorded(h.cookies.SignInRedirect(proves(passkeyOf(alice)), "/home"), r))
	if all, err := h.store.Sessions(t.Context(), alice); err != nil || len(all) != 1 {
		t.Errorf("%d sessions, %v: the session that the browser had must end", len(all), err)
	}
	if all := h.events.take(); named(all, guard.EventTokenRevoked) != 1 {
		t.Errorf("%v", all)
	}
	h.want(h.me(before), 401, "invalid_token")
	h.want(h.me(after), 200, "")
}

func TestSignInRedirect(t *testing.T) {
	h := newHost(t, func(s *setup) {
		s.cookies = new(auth.CookieConfig)
		s.SecondFactor = &factor{}
	})
	// The state of the flow stands in a cookie, and the code passes once.
	var mu sync.Mutex
	used := map[string]bool{}
	w := auth.WayIn{Name: "oidc", Second: auth.SkipIfMFA, Prove: func(r *http.Request) (*identity.Proof, error) {
		mu.Lock()
		defer mu.Unlock()
		state, err := r.Cookie("__Host-state")
		if err != nil || state.Value != r.FormValue("state") || used[r.FormValue("code")] {
			return nil, identity.ErrNotProven
		}
		used[r.FormValue("code")] = true
		p := passkeyOf(alice)
		if r.FormValue("code") == "weak" {
			p.Factors = identity.NewSet("fed")
		}
		return &p, nil
	}}
	handler := h.cookies.SignInRedirect(w, "/home")
	send := func(method, query string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/callback?"+query, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	check := func(name string, w *httptest.ResponseRecorder, status int, location string, cookies int) {
		t.Helper()
		if w.Code != status || w.Header().Get("Location") != location || len(w.Result().Cookies()) != cookies {
			t.Errorf("%s: %d %q %v", name, w.Code, w.Header().Get("Location"), w.Result().Cookies())
		}
	}
	state := []string{"Cookie", "__Host-state=s", "Sec-Fetch-Mode", "navigate"}
	check("without state", send("GET", "state=s&code=1"), 303, "/home?error=invalid_grant", 0)
	check("as a subresource", send("GET", "state=s&code=1", "Cookie", "__Host-state=s", "Sec-Fetch-Mode", "no-cors"), 403, "", 0)
	check("by POST", send("POST", "state=s&code=1", state...), 405, "", 0)
	check("signed in", send("GET", "state=s&code=1", state...), 303, "/home", 3)
	check("the same code", send("GET", "state=s&code=1", state...), 303, "/home?error=invalid_grant", 0)
	check("a second factor is due", send("GET", "state=s&code=weak", state...), 303, "/home?error=mfa_required", 1)

	for _, to := range []string{"", "home", "//evil.example", `/\evil.example`, "https://evil.example", "/a?b", "/a#b", "/a\r\nb"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("SignInRedirect to %q does not panic", to)
				}
			}()
			h.cookies.SignInRedirect(w, to)
		}()
	}
}

func TestIncompleteWaysInPanic(t *testing.T) {
	h := newHost(t)
	prove := func(*http.Request) (*identity.Proof, error) { return nil, errors.New("x") }
	for _, w := range []auth.WayIn{{}, {Name: "a"}, {Prove: prove}, {Name: "A", Prove: prove}, {Name: "a b", Prove: prove}, {Name: strings.Repeat("a", 33), Prove: prove}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v does not panic", w)
				}
			}()
			h.server.SignIn(w)
		}()
	}
}
