package auth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// The clients of the tests: one with two secrets, whose name and first secret
// need an escape in Basic credentials, a public one, and one that may only
// refresh.
const (
	webID     = "web: back end+1%"
	phoneID   = "phone"
	readerID  = "reader"
	basicAsks = `Basic realm="token endpoint"`
)

var webSecret, spareSecret = "a secret: with + and %41", "another secret of the same client"

func withClients(s *setup) {
	hash := func(secret string) auth.SecretHash { return auth.SecretHash(sum(secret)) }
	all := identity.NewSet("password", "refresh_token")
	for _, c := range []auth.Client{
		{ID: webID, Secrets: []auth.SecretHash{hash(webSecret), hash(spareSecret)}, Grants: all},
		{ID: phoneID, Public: true, Grants: all},
		{ID: readerID, Secrets: []auth.SecretHash{hash(webSecret)}, Grants: identity.NewSet("refresh_token")},
		{ID: "unfilled", Secrets: []auth.SecretHash{{}}, Grants: all},
		{ID: "of an empty secret", Secrets: []auth.SecretHash{hash("")}, Grants: all},
		{ID: "whose last secret was taken out", Grants: all},
		{ID: "without grants", Secrets: []auth.SecretHash{hash(webSecret)}},
	} {
		if err := s.store.SetClient(c); err != nil {
			panic(err)
		}
	}
	s.Clients = s.store
}

// basic puts the credentials of a client into r, as RFC 6749 section 2.3.1
// says.
func basic(r *http.Request, id, secret string) *http.Request {
	return rawBasic(r, url.QueryEscape(id)+":"+url.QueryEscape(secret))
}

func rawBasic(r *http.Request, credentials string) *http.Request {
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
	return r
}

func signInForm(more ...string) *http.Request {
	return request("/token", append([]string{"grant_type", "password", "username", "alice", "password", right}, more...)...)
}

func sum(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// isInvalidClient fails unless a is the one refusal of clients.
func (h *host) isInvalidClient(name string, a answer) {
	h.t.Helper()
	if a.status != http.StatusUnauthorized || a.raw != errorBody("invalid_client", "The client is not known, or has not authenticated.") {
		h.t.Errorf("%s: %d %s, want 401 invalid_client", name, a.status, a.raw)
	}
	if got := a.header.Values("WWW-Authenticate"); !slices.Equal(got, []string{basicAsks}) {
		h.t.Errorf("%s: WWW-Authenticate is %q, want %q", name, got, basicAsks)
	}
}

func TestRFC6749Section2_3_1ClientsAuthenticate(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret, spareSecret)
	for name, tt := range map[string]struct {
		r      *http.Request
		client string
	}{
		"with Basic":                              {basic(signInForm(), webID, webSecret), webID},
		"with Basic and the spare secret":         {basic(signInForm(), webID, spareSecret), webID},
		"with Basic, named in the form too":       {basic(signInForm("client_id", webID), webID, webSecret), webID},
		"in the form":                             {signInForm("client_id", webID, "client_secret", webSecret), webID},
		"in the form, beside an empty Basic":      {rawBasic(signInForm("client_id", webID, "client_secret", webSecret), ":"), webID},
		"a public one, named in the form":         {signInForm("client_id", phoneID), phoneID},
		"a public one, with an empty secret":      {signInForm("client_id", phoneID, "client_secret", ""), phoneID},
		"a public one, with Basic and no secret":  {basic(signInForm(), phoneID, ""), phoneID},
		"none":                                    {signInForm(), identity.FirstParty},
		"none, with the empty Basic of libraries": {rawBasic(signInForm(), ":"), identity.FirstParty},
		"none, with a scheme that is not Basic": {func() *http.Request {
			r := signInForm()
			r.Header.Set("Authorization", "Bearer x")
			return r
		}(), identity.FirstParty},
	} {
		t.Run(name, func(t *testing.T) {
			h.events.take()
			a := h.serve(tt.r)
			h.want(a, http.StatusOK, "")
			if got := h.me(a.access()).text("client"); got != tt.client {
				t.Errorf("the token was issued to %q, want %q", got, tt.client)
			}
			if e := h.wantEvent(h.events.take(), guard.EventLoginSuccess); e.Principal.Client != tt.client {
				t.Errorf("the event is of the client %q, want %q", e.Principal.Client, tt.client)
			}
		})
	}
}

func TestRFC6749Section5_2InvalidClient(t *testing.T) {
	var looked int
	h := newHost(t, withClients, func(s *setup) {
		s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
			looked++
			return s.store.UserByLogin(context.Background(), login)
		}}
	})
	h.secret(webSecret, spareSecret)
	for name, r := range map[string]*http.Request{
		"unknown, with Basic":                     basic(signInForm(), "nobody", webSecret),
		"unknown, in the form":                    signInForm("client_id", "nobody"),
		"the wrong secret, with Basic":            basic(signInForm(), webID, "not the secret"),
		"the wrong secret, in the form":           signInForm("client_id", webID, "client_secret", "not the secret"),
		"no secret, with Basic":                   basic(signInForm(), webID, ""),
		"no secret, in the form":                  signInForm("client_id", webID),
		"a secret with a character behind":        basic(signInForm(), webID, webSecret+"x"),
		"a secret of another spelling":            basic(signInForm(), webID, strings.ToUpper(webSecret)),
		"the secret of another client's":          basic(signInForm(), readerID, spareSecret),
		"not encoded":                             rawBasic(signInForm(), webID+":"+webSecret),
		"encoded badly":                           rawBasic(signInForm(), "web%:x"),
		"a secret that is encoded badly":          rawBasic(signInForm(), "web:x%4"),
		"a secret without a client":               basic(signInForm(), "", webSecret),
		"a secret without a client, in the form":  signInForm("client_secret", webSecret),
		"a public one with a secret":              basic(signInForm(), phoneID, webSecret),
		"a public one with a secret, in the form": signInForm("client_id", phoneID, "client_secret", "x"),
		"an ID in another case":                   signInForm("client_id", "Phone"),
		"the name of those who name none":         signInForm("client_id", identity.FirstParty),
		"a hash that was never filled":            basic(signInForm(), "unfilled", "x"),
		"a hash that was never filled, no secret": signInForm("client_id", "unfilled"),
		"the last secret was taken out":           signInForm("client_id", "whose last secret was taken out"),
		"an empty secret whose hash is stored":    signInForm("client_id", "of an empty secret"),
		"Basic without a colon":                   rawBasic(signInForm(), "web"),
		"Basic that is not base64": func() *http.Request {
			r := signInForm()
			r.Header.Set("Authorization", "Basic !!!")
			return r
		}(),
		"Basic with nothing": func() *http.Request {
			r := signInForm()
			r.Header.Set("Authorization", "bAsIc")
			return r
		}(),
	} {
		h.events.take()
		h.isInvalidClient(name, h.serve(r))
		if e := h.wantEvent(h.events.take(), guard.EventLoginFail); e.Denial == nil || e.Denial.Status != http.StatusUnauthorized {
			t.Errorf("%s: the event is %+v", name, e)
		}
	}
	if looked != 0 {
		t.Errorf("a user was looked up %d times, for clients that are none", looked)
	}
	// At the other endpoints too, before they look at what they were given.
	a := h.signedIn()
	for path, form := range map[string][]string{
		"/token":         {"grant_type", "refresh_token", "refresh_token", a.refresh()},
		"/token/refresh": {"refresh_token", a.refresh()},
		"/revoke":        {"token", a.refresh()},
	} {
		h.isInvalidClient(path, h.serve(basic(request(path, form...), webID, "not the secret")))
	}
	h.want(h.refresh(a.refresh()), http.StatusOK, "")
}

func TestRFC6749Section2_3OneMethodInEachRequest(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret, spareSecret)
	twice := basic(signInForm(), webID, webSecret)
	twice.Header.Add("Authorization", twice.Header.Get("Authorization"))
	for name, r := range map[string]*http.Request{
		"Basic and a secret in the form": basic(signInForm("client_id", webID, "client_secret", webSecret), webID, webSecret),
		"Basic and the secret alone":     basic(signInForm("client_secret", webSecret), webID, webSecret),
		"two names":                      basic(signInForm("client_id", phoneID), webID, webSecret),
		"two Authorization lines":        twice,
		"client_id twice":                signInForm("client_id", phoneID, "client_id", phoneID),
		"the secret in the URL":          request("/token?client_secret="+url.QueryEscape(webSecret), "username", "alice", "password", right, "client_id", webID),
	} {
		if a := h.serve(r); a.status != http.StatusBadRequest || a.text("error") != guard.CodeInvalidRequest {
			t.Errorf("%s: %d %s, want 400 invalid_request", name, a.status, a.raw)
		}
	}
}

func TestRFC6749Section5_2UnauthorizedClient(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret, spareSecret)
	a := h.signedIn()
	refreshing := func(path string) *http.Request {
		return request(path, "grant_type", "refresh_token", "refresh_token", a.refresh())
	}
	for name, r := range map[string]*http.Request{
		"a sign-in by one that may only refresh": basic(signInForm(), readerID, webSecret),
		"a sign-in in the guide's form":          basic(request("/token", "username", "alice", "password", right), readerID, webSecret),
		"a sign-in by one without grants":        basic(signInForm(), "without grants", webSecret),
		"a refresh by one without grants":        basic(refreshing("/token"), "without grants", webSecret),
		"the same at the other endpoint":         basic(refreshing("/token/refresh"), "without grants", webSecret),
	} {
		got := h.serve(r)
		if got.status != http.StatusBadRequest || got.raw != errorBody("unauthorized_client", "The client may not use this grant type.") {
			t.Errorf("%s: %d %s, want 400 unauthorized_client", name, got.status, got.raw)
		}
	}
	h.want(h.refresh(a.refresh()), http.StatusOK, "")
}

// A refresh token is bound to its client, as section 10.4 says too: to another
// one it is worth nothing, and its session is none the worse for the attempt.
func TestRFC6749Section6RefreshTokensAreOfOneClient(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret, spareSecret)
	signIns := map[string]*http.Request{"": signInForm(), webID: basic(signInForm(), webID, webSecret), phoneID: signInForm("client_id", phoneID)}
	as := func(r *http.Request, client string) *http.Request {
		switch client {
		case webID:
			return basic(r, webID, spareSecret)
		case phoneID:
			return basic(r, phoneID, "")
		}
		return r
	}
	for owner, signIn := range signIns {
		a := h.serve(signIn)
		h.want(a, http.StatusOK, "")
		for _, path := range []string{"/token", "/token/refresh"} {
			for other := range signIns {
				if other == owner {
					continue
				}
				h.events.take()
				got := h.serve(as(request(path, "grant_type", "refresh_token", "refresh_token", a.refresh()), other))
				h.want(got, http.StatusBadRequest, "invalid_grant")
				if got.raw != errorBody("invalid_grant", refusedRefresh) {
					t.Errorf("%q refreshes for %q: %s", other, owner, got.raw)
				}
				if e := h.wantEvent(h.events.take(), guard.EventLoginFail); e.Principal == nil || e.Principal.Subject != alice {
					t.Errorf("the event is of %v, want alice", e.Principal)
				}
			}
			a = h.serve(as(request(path, "grant_type", "refresh_token", "refresh_token", a.refresh()), owner))
			h.want(a, http.StatusOK, "")
			want := owner
			if want == "" {
				want = identity.FirstParty
			}
			if got := h.me(a.access()).text("client"); got != want {
				t.Errorf("after a refresh the client is %q, want %q", got, want)
			}
		}
	}
}

func TestRFC7009Section2_1ClientsAuthenticate(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret, spareSecret)
	a := h.serve(basic(signInForm(), webID, webSecret))
	for name, r := range map[string]*http.Request{
		"no secret":                  request("/revoke", "token", a.refresh(), "client_id", webID),
		"no secret, with Basic":      basic(request("/revoke", "token", a.refresh()), webID, ""),
		"the wrong secret":           basic(request("/revoke", "token", a.refresh()), webID, "not the secret"),
		"unknown":                    basic(request("/revoke", "token", a.refresh()), "nobody", webSecret),
		"of a token that is no good": basic(request("/revoke", "token", "garbage"), webID, "not the secret"),
	} {
		h.isInvalidClient(name, h.serve(r))
	}
	h.alive(a.access())
	if got := h.serve(basic(request("/revoke", "token", a.refresh()), webID, webSecret)); got.status != http.StatusOK {
		t.Errorf("%d %s, want 200", got.status, got.raw)
	}
	h.over(a.access())
}

func TestRFC7009Section2_1TokenOfAnotherClientIsNotItsToEnd(t *testing.T) {
	h := newHost(t, withClients)
	h.secret(webSecret, spareSecret)
	a, own := h.serve(basic(signInForm(), webID, webSecret)), h.signedIn()
	for name, r := range map[string]*http.Request{
		"a refresh token, nobody":            request("/revoke", "token", a.refresh()),
		"an access token, nobody":            request("/revoke", "token", a.access()),
		"a refresh token, another client":    request("/revoke", "token", a.refresh(), "client_id", phoneID),
		"an access token, another client":    request("/revoke", "token", a.access(), "client_id", phoneID),
		"a token of none, by one that is":    basic(request("/revoke", "token", own.refresh()), webID, webSecret),
		"an access token of none, by one":    basic(request("/revoke", "token", own.access()), webID, webSecret),
		"a hint makes no difference, nobody": request("/revoke", "token", a.access(), "token_type_hint", "access_token"),
	} {
		if got := h.serve(r); got.status != http.StatusBadRequest || got.raw != errorBody("invalid_grant", "The token was issued to another client.") {
			t.Errorf("%s: %d %s, want 400 invalid_grant", name, got.status, got.raw)
		}
	}
	for _, token := range []string{a.access(), own.access()} {
		h.alive(token)
	}
	for _, given := range []string{a.access(), a.refresh(), "garbage"} {
		if got := h.serve(basic(request("/revoke", "token", given), webID, webSecret)); got.status != http.StatusOK || got.raw != "" {
			t.Errorf("by its own client: %d %s, want 200", got.status, got.raw)
		}
	}
	h.over(a.access())
	h.revokes(own.refresh())
	h.over(own.access())
}

func TestClientStoreThatFailsIs503(t *testing.T) {
	h := newHost(t, withClients, func(s *setup) { s.Clients = brokenClients{} })
	h.secret(webSecret)
	a := h.signedIn() // which asks for no client
	for _, r := range []*http.Request{
		basic(signInForm(), webID, webSecret), signInForm("client_id", phoneID),
		request("/token/refresh", "refresh_token", a.refresh(), "client_id", phoneID), request("/revoke", "token", a.access(), "client_id", phoneID),
	} {
		h.want(h.serve(r), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	h.alive(a.access())
}

type brokenClients struct{}

func (brokenClients) ClientByID(context.Context, string) (*auth.Client, error) {
	// Its own verdict about something else says nothing about the client.
	return nil, fmt.Errorf("%w: %w", errDown, guard.InvalidToken("Bearer", errDown))
}

// The client of a sign-in stays that of the session, whatever is proven later.
func TestClientsWithASecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withClients, withFactor(&factor{}))
		h.secret(webSecret, spareSecret)
		challenge := h.serve(basic(signInForm(), webID, webSecret)).text("mfa_token")
		form := []string{"mfa_token", challenge, "code", code}
		h.isInvalidClient("the wrong secret", h.serve(basic(request("/token/mfa", form...), webID, "not the secret")))
		h.want(h.serve(request("/token/mfa", form...)), http.StatusBadRequest, "invalid_grant")
		h.want(h.serve(request("/token/mfa", append(form, "client_id", phoneID)...)), http.StatusBadRequest, "invalid_grant")
		a := h.serve(basic(request("/token/mfa", form...), webID, webSecret))
		h.want(a, http.StatusOK, "")
		b := h.stepUp(a.access(), "code", code)
		h.want(b, http.StatusOK, "")
		for _, one := range []answer{a, b} {
			if got := payloadOf(t, one.access())["client_id"]; got != webID {
				t.Errorf("the client is %q, want %q", got, webID)
			}
		}
		h.dead(b.refresh())
		h.want(h.serve(basic(request("/token/refresh", "refresh_token", b.refresh()), webID, webSecret)), http.StatusOK, "")
	})
}

// Browser pages have no client: theirs is the host's own application.
func TestClientsAndCookies(t *testing.T) {
	h := newHost(t, withClients, withCookies)
	b := h.browser()
	h.want(b.signIn(), http.StatusOK, "")
	if got := b.me().text("client"); got != identity.FirstParty {
		t.Errorf("the client is %q", got)
	}
	b.jar[refreshCookie] = h.serve(basic(signInForm(), webID, webSecret)).refresh()
	h.secret(webSecret)
	h.want(b.send(request("/session/refresh")), http.StatusBadRequest, "invalid_grant")
}

// Who takes Config.Clients out again must not make every client's refresh
// tokens those of nobody.
func TestClientsThatAreGone(t *testing.T) {
	store, revoked := new(auth.Memory), new(blacklist.Memory)
	same := func(s *setup) {
		s.users, s.Sessions, s.Challenges, s.Revoker, s.store = store, store, store, revoked, store
	}
	with := newHost(t, same, withClients)
	if err := store.SetUser("alice", with.alice()); err != nil {
		t.Fatal(err)
	}
	with.secret(webSecret)
	a := with.serve(basic(signInForm(), webID, webSecret))
	with.want(a, http.StatusOK, "")
	without := newHost(t, same)
	without.dead(a.refresh())
	// Whoever has a token may end it, where nobody is asked for a client.
	without.revokes(a.access())
	without.over(a.access())
}

// A store that knows a client of the name that stands for none does not make
// one of it: requests without a client would have to show its secret.
func TestNoClientIsCalledAsThoseWithoutOne(t *testing.T) {
	h := newHost(t, func(s *setup) { s.Clients = anyClient{} })
	h.want(h.serve(signInForm("client_id", "anybody")), http.StatusOK, "")
	h.isInvalidClient("first-party", h.serve(signInForm("client_id", identity.FirstParty)))
}

type anyClient struct{}

func (anyClient) ClientByID(_ context.Context, id string) (*auth.Client, error) {
	return &auth.Client{ID: id, Public: true, Grants: identity.NewSet("password")}, nil
}

func TestNewClientSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		secret, hash := auth.NewClientSecret()
		if raw, err := base64.RawURLEncoding.DecodeString(secret); err != nil || len(raw) != 32 || seen[secret] || hash != auth.SecretHash(sum(secret)) {
			t.Fatalf("%q, %x, %v", secret, hash, err)
		}
		seen[secret] = true
	}
}

func TestMemoryClients(t *testing.T) {
	m := new(auth.Memory)
	for _, id := range []string{"", identity.FirstParty} {
		if err := m.SetClient(auth.Client{ID: id}); err == nil {
			t.Errorf("a client %q was taken", id)
		}
	}
	secrets := []auth.SecretHash{{1}}
	if err := m.SetClient(auth.Client{ID: "web", Secrets: secrets}); err != nil {
		t.Fatal(err)
	}
	secrets[0] = auth.SecretHash{2}
	if c, err := m.ClientByID(context.Background(), "web"); err != nil || c.Secrets[0] != (auth.SecretHash{1}) {
		t.Errorf("%+v, %v; want what was set", c, err)
	}
	if c, err := m.ClientByID(context.Background(), "other"); c != nil || err == nil {
		t.Errorf("%+v, %v; want none", c, err)
	}
}

// FuzzClient sends whatever it likes for a client's credentials: no token is
// issued in the name of a client whose secret it does not have, and every 401
// says how to show one.
func FuzzClient(f *testing.F) {
	f.Add("", "", "", false)
	f.Add("Basic OjpAOg==", webID, "x", false)
	f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(webID)+":x")), "", "", true)
	f.Add("basic d2ViOiU0", phoneID, "", true)
	f.Add("Bearer x", "first-party", "\xff", false)
	f.Fuzz(func(t *testing.T, authorization, id, secret string, twice bool) {
		h := newHost(t, withClients)
		clear(h.secrets) // what is sent here is no secret
		r := signInForm("client_id", id, "client_secret", secret)
		r.Header["Authorization"] = []string{authorization}
		if twice {
			r.Header.Add("Authorization", authorization)
		}
		a := h.serve(r)
		clear(h.secrets)
		switch a.status {
		case http.StatusOK:
			if got := payloadOf(t, a.access())["client_id"]; got != identity.FirstParty && got != phoneID || twice {
				t.Errorf("%q, %q and %q were taken for %q", authorization, id, secret, got)
			}
		case http.StatusUnauthorized:
			h.isInvalidClient(authorization, a)
		case http.StatusBadRequest:
		default:
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
}
