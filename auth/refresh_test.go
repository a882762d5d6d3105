package auth_test

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

const refusedRefresh = "The refresh token is not valid."

// dead fails unless the refresh token is refused.
func (h *host) dead(refreshToken string) {
	h.t.Helper()
	a := h.refresh(refreshToken)
	h.want(a, http.StatusBadRequest, "invalid_grant")
	if a.raw != errorBody("invalid_grant", refusedRefresh) {
		h.t.Errorf("the body is %s", a.raw)
	}
}

// alive fails unless the access token is taken; over, unless it is refused.
func (h *host) alive(accessToken string) { h.t.Helper(); h.want(h.me(accessToken), http.StatusOK, "") }
func (h *host) over(accessToken string) {
	h.t.Helper()
	h.want(h.me(accessToken), http.StatusUnauthorized, guard.CodeInvalidToken)
}

func TestRefresh(t *testing.T) {
	t.Run("a refresh token is exchanged for a new pair of the same session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			a := h.signedIn()
			before := h.me(a.access())
			h.events.take()
			time.Sleep(time.Hour)
			b := h.refresh(a.refresh())
			h.want(b, http.StatusOK, "")
			if b.access() == a.access() || b.refresh() == a.refresh() || len(b.json) != 5 || b.json["expires_in"] != 900.0 || b.json["token_type"] != "bearer" {
				t.Errorf("the answer is %v, want a new pair", b.json)
			}
			h.over(a.access()) // expired
			after := h.me(b.access())
			for _, name := range []string{"sub", "sid", "client", "scope", "roles", "amr", "auth_time"} {
				if before.json[name] != after.json[name] {
					t.Errorf("%s was %v and is %v", name, before.json[name], after.json[name])
				}
			}
			if got, want := after.json["iat"], float64(time.Now().Unix()); got != want {
				t.Errorf("iat is %v, want %v", got, want)
			}
			e := h.wantEvent(h.events.take(), guard.EventTokenCreated)
			if e.Principal == nil || e.Principal.Subject != alice || e.Principal.Session != after.text("sid") {
				t.Errorf("the event is of %v, want alice's session", e.Principal)
			}
		})
	})
	t.Run("a narrower scope narrows the token and not the session", func(t *testing.T) {
		h := newHost(t)
		b := h.refresh(h.signedIn().refresh(), "scope", "read")
		h.want(b, http.StatusOK, "")
		if got := h.me(b.access()).text("scope"); got != "read" || b.text("scope") != "read" {
			t.Errorf("the token is good for %q and the answer says %q, want read", got, b.text("scope"))
		}
		if c := h.refresh(b.refresh()); c.text("scope") != "read write" {
			t.Errorf("the scope is %q, want that of the session", c.text("scope"))
		}
	})
	t.Run("a wider scope is refused, though the user has it, and the token stays good", func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn("scope", "read")
		for _, scope := range []string{"read write", "write", "admin", "READ", "read\twrite", " ", "   "} {
			h.want(h.refresh(a.refresh(), "scope", scope), http.StatusBadRequest, "invalid_scope")
		}
		h.want(h.refresh(a.refresh(), "scope", ""), http.StatusOK, "")
	})
	t.Run("today's roles are in the token", func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		changed := h.alice()
		changed.Roles = identity.NewSet("admin", "owner")
		h.setUser("alice", changed)
		if got := h.me(h.refresh(a.refresh()).access()).text("roles"); got != "admin owner" {
			t.Errorf("the roles are %q, want those of today", got)
		}
	})
	t.Run("the time of the sign-in is kept over any number of refreshes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			began := float64(time.Now().Unix())
			a := h.signedIn()
			for range 5 {
				time.Sleep(24 * time.Hour)
				a = h.refresh(a.refresh())
				if me := h.me(a.access()); me.json["auth_time"] != began || me.text("amr") != "pwd" {
					t.Fatalf("auth_time is %v and amr %v, want %v and pwd", me.json["auth_time"], me.json["amr"], began)
				}
			}
		})
	})
}

// Row 28 of the attack corpus.
func TestRefreshAfterTheUserChanged(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*auth.User) error
		ends    bool // the session, for good
		refused bool
	}{
		{"disabled", func(u *auth.User) error { u.Disabled = true; return nil }, true, true},
		{"gone", func(*auth.User) error { return auth.ErrNotFound }, true, true},
		{"gone, in the words of the store", func(*auth.User) error { return errors.Join(errors.New("no rows"), auth.ErrNotFound) }, true, true},
		{"of another tenant", func(u *auth.User) error { u.Tenant = "globex"; return nil }, true, true},
		{"without one scope of the session", func(u *auth.User) error { u.Scopes = identity.NewSet("read"); return nil }, false, true},
		{"without any scope", func(u *auth.User) error { u.Scopes = identity.Set{}; return nil }, false, true},
		{"with one scope more", func(u *auth.User) error { u.Scopes = u.Scopes.With("admin"); return nil }, false, false},
		{"without a password", func(u *auth.User) error { u.PasswordHash = ""; return nil }, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			change := func(*auth.User) error { return nil }
			h := newHost(t, func(s *setup) {
				s.users = &users{UserStore: s.store, byID: func(id string) (*auth.User, error) {
					u, err := s.store.UserByID(context.Background(), id)
					if err == nil {
						err = change(u)
					}
					return u, err
				}}
			})
			a, other := h.signedIn(), h.signIn("bob", right)
			change = tt.change
			h.events.take()
			if !tt.refused {
				b := h.refresh(a.refresh())
				h.want(b, http.StatusOK, "")
				if b.text("scope") != "read write" {
					t.Errorf("scope %q, want that of the session", b.text("scope"))
				}
				return
			}
			h.dead(a.refresh())
			if e := h.wantEvent(h.events.take(), guard.EventLoginFail); e.Principal == nil || e.Principal.Subject != alice {
				t.Errorf("the event concerns %v, want alice", e.Principal)
			}
			change = func(*auth.User) error { return nil } // and back again
			if tt.ends {
				h.over(a.access())
				h.dead(a.refresh())
			} else {
				h.alive(a.access())
				h.want(h.refresh(a.refresh()), http.StatusOK, "")
			}
			h.alive(other.access())
			h.want(h.refresh(other.refresh()), http.StatusOK, "")
			h.want(h.signIn("alice", right), http.StatusOK, "") // a new session is another matter
		})
	}
}

// Rows 26 and 29: any number of refreshes at once lead to one successor.
func TestRefreshRace(t *testing.T) {
	var mu sync.Mutex
	outcomes := map[auth.RotationOutcome]int{}
	h := newHost(t, func(s *setup) {
		s.Sessions = &sessions{Memory: s.store, rotate: func(r auth.Rotation) (auth.Rotated, error) {
			got, err := s.store.RotateRefresh(context.Background(), r)
			mu.Lock()
			defer mu.Unlock()
			outcomes[got.Outcome]++
			return got, err
		}}
		s.RefreshGrace = time.Minute // of real time, which a slow machine may need
	})
	a := h.signedIn()
	const n = 1000
	answers := make([]answer, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			path, grant := "/token/refresh", ""
			if i%2 == 0 {
				path, grant = "/token", "refresh_token"
			}
			answers[i] = h.serve(request(path, "refresh_token", a.refresh(), "grant_type", grant))
		})
	}
	close(start)
	all.Wait()
	access := map[string]bool{}
	for _, b := range answers {
		h.want(b, http.StatusOK, "")
		if b.refresh() != answers[0].refresh() {
			t.Fatalf("two successors:\n%s\n%s", b.refresh(), answers[0].refresh())
		}
		access[b.access()] = true
	}
	if outcomes[auth.RefreshRotated] != 1 || outcomes[auth.RefreshReplayed] != n-1 {
		t.Errorf("the outcomes are %v, want 1 rotation and %d replays", outcomes, n-1)
	}
	if len(access) != n {
		t.Errorf("%d different access tokens, want %d: each has an ID of its own", len(access), n)
	}
	if n := named(h.events.list(), guard.EventTokenReuse); n != 0 {
		t.Errorf("%d alarms, want none", n)
	}
	h.want(h.refresh(answers[0].refresh()), http.StatusOK, "")
}

// Rows 27 and 29.
func TestRefreshReplay(t *testing.T) {
	reuse := func(h *host) {
		h.t.Helper()
		e := h.wantEvent(h.events.take(), guard.EventTokenReuse)
		if e.Principal == nil || e.Principal.Subject != alice || e.Principal.Session == "" {
			h.t.Errorf("the alarm concerns %v, want alice's session", e.Principal)
		}
	}
	tests := []struct {
		name string
		run  func(h *host, a answer)
	}{
		{"an answer that was lost is given again, to the byte", func(h *host, a answer) {
			b := h.refresh(a.refresh())
			time.Sleep(10 * time.Second)
			c := h.refresh(a.refresh())
			h.want(c, http.StatusOK, "")
			if b.refresh() != c.refresh() {
				h.t.Errorf("another successor:\n%s\n%s", b.refresh(), c.refresh())
			}
			h.alive(c.access())
			h.want(h.refresh(c.refresh()), http.StatusOK, "")
		}},
		{"after the grace the session is dead, and so are its access tokens", func(h *host, a answer) {
			other := h.signIn("alice", right)
			b := h.refresh(a.refresh())
			time.Sleep(10*time.Second + time.Microsecond)
			h.events.take()
			h.dead(a.refresh())
			reuse(h)
			h.over(a.access())
			h.over(b.access())
			h.dead(b.refresh())
			h.alive(other.access())
			h.want(h.refresh(other.refresh()), http.StatusOK, "")
		}},
		{"replays do not make the grace longer", func(h *host, a answer) {
			h.refresh(a.refresh())
			for range 3 {
				time.Sleep(3 * time.Second)
				h.want(h.refresh(a.refresh()), http.StatusOK, "")
			}
			time.Sleep(3 * time.Second)
			h.dead(a.refresh())
		}},
		{"a token two generations old is a reuse, within the grace too", func(h *host, a answer) {
			b := h.refresh(a.refresh())
			c := h.refresh(b.refresh())
			h.want(c, http.StatusOK, "")
			h.events.take()
			h.dead(a.refresh())
			reuse(h)
			h.over(c.access())
			h.dead(c.refresh())
		}},
		{"a thief who comes second is found out when the owner goes on", func(h *host, a answer) {
			owner := h.refresh(a.refresh())
			thief := h.refresh(a.refresh()) // within the grace: the same successor
			time.Sleep(time.Minute)
			owner = h.refresh(owner.refresh())
			h.want(owner, http.StatusOK, "")
			time.Sleep(time.Minute)
			h.events.take()
			h.dead(thief.refresh())
			reuse(h)
			h.dead(owner.refresh())
			h.over(owner.access())
		}},
		{"the alarm is raised once, and what follows is refused quietly or as revoked", func(h *host, a answer) {
			h.refresh(a.refresh())
			time.Sleep(time.Minute)
			h.dead(a.refresh())
			h.events.take()
			time.Sleep(time.Hour) // the revocation of access tokens is forgotten by now
			h.dead(a.refresh())
			h.wantEvent(h.events.take(), guard.EventLoginFail)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t)
				tt.run(h, h.signedIn())
			})
		})
	}

	t.Run("a reuse is told of even if the access tokens cannot be ended, and the next try ends them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			down := errors.New("up")
			down = nil
			h := newHost(t, func(s *setup) {
				s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return down }}
			})
			a := h.signedIn()
			b := h.refresh(a.refresh())
			time.Sleep(time.Minute)
			h.events.take()
			down = errDown
			h.want(h.refresh(a.refresh()), http.StatusServiceUnavailable, "temporarily_unavailable")
			reuse(h)
			down = nil
			h.dead(a.refresh())
			h.over(b.access())
		})
	})
	t.Run("who hangs up after a reuse was found cannot keep the access tokens alive", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hangUp := func() {}
			h := newHost(t, func(s *setup) {
				s.Sessions = &sessions{Memory: s.store, rotate: func(r auth.Rotation) (auth.Rotated, error) {
					defer hangUp()
					return s.store.RotateRefresh(context.Background(), r)
				}}
				s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(ctx context.Context) error { return ctx.Err() }}
			})
			a := h.signedIn()
			b := h.refresh(a.refresh())
			time.Sleep(time.Minute)
			ctx, cancel := context.WithCancel(context.Background())
			hangUp = cancel
			h.serve(request("/token/refresh", "refresh_token", a.refresh()).WithContext(ctx))
			h.over(b.access())
		})
	})
}

func TestRefreshExpires(t *testing.T) {
	const day = 24 * time.Hour
	t.Run("a session that is not used ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			a, b := h.signedIn(), h.signedIn()
			time.Sleep(14*day - time.Second)
			h.want(h.refresh(a.refresh()), http.StatusOK, "")
			time.Sleep(time.Second)
			h.dead(b.refresh())
		})
	})
	t.Run("a session that is used ends too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(700 * time.Millisecond) // within a second
			h := newHost(t)
			a := h.signedIn()
			for range 8 {
				time.Sleep(11 * day)
				a = h.refresh(a.refresh())
				h.want(a, http.StatusOK, "")
			}
			time.Sleep(2*day - 5*time.Minute)
			a = h.refresh(a.refresh())
			h.want(a, http.StatusOK, "")
			// An access token does not outlive its session either.
			if in := a.json["expires_in"].(float64); in > 300 {
				t.Errorf("an access token is good for %v seconds, the session for 300", in)
			}
			time.Sleep(5 * time.Minute)
			h.dead(a.refresh())
			h.over(a.access())
		})
	})
	t.Run("in its last second a session is refreshed or over, never an error", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(700 * time.Millisecond)
			for left := 1500 * time.Millisecond; left >= 0; left -= 100 * time.Millisecond {
				h := newHost(t, func(s *setup) { s.RefreshIdle, s.RefreshAbsolute = time.Hour, time.Hour })
				a := h.signedIn()
				time.Sleep(time.Hour - left)
				if b := h.refresh(a.refresh()); b.status != http.StatusOK {
					h.want(b, http.StatusBadRequest, "invalid_grant")
				}
			}
		})
	})
}

// Row 19: no kind of token passes for another.
func TestTokensAreOfOneUse(t *testing.T) {
	h := newHost(t, func(s *setup) {
		s.SecondFactor = &factor{required: func() (bool, error) { return false, nil }}
	})
	a := h.signedIn()
	withFactor := newHost(t, func(s *setup) { s.SecondFactor = &factor{} })
	challenge := withFactor.signIn("alice", right).text("mfa_token")
	if challenge == "" {
		t.Fatal("no challenge")
	}
	h.secret(challenge)

	// The same keys, another issuer.
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("an access token secret of 32 b.."))})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: "https://other.example", Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	other, err := auth.New(h.store, tokens, auth.Config{
		Sessions: h.store, RefreshKeys: []guard.Secret{guard.NewSecret([]byte("0123456789abcdef0123456789abcdef"))}, Revoker: h.revoked,
		Passwords: cheap(t, password.Config{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign := answerOf(t, other.Token(), request("/token", "username", "alice", "password", right))
	h.secret(foreign.access(), foreign.refresh())

	for _, tt := range []struct{ name, token string }{
		{"a refresh token", a.refresh()},
		{"an mfa_token", challenge},
		{"an access token of another issuer with the same key", foreign.access()},
		{"a refresh token of another issuer", foreign.refresh()},
	} {
		t.Run(tt.name+" is no bearer token", func(t *testing.T) { h.over(tt.token) })
	}
	for _, tt := range []struct{ name, token string }{
		{"an access token", a.access()},
		{"an mfa_token", challenge},
		{"a refresh token of another issuer with the same key", foreign.refresh()},
		{"a refresh token with a line break", a.refresh()[:20] + "\n" + a.refresh()[20:]},
		{"a refresh token with a space after", a.refresh() + " "},
		{"a refresh token with padding", a.refresh() + "="},
		{"half a refresh token", a.refresh()[:len(a.refresh())/2]},
		{"no token at all", "x"},
	} {
		t.Run(tt.name+" is no refresh token", func(t *testing.T) { h.dead(tt.token) })
	}
	for _, tt := range []struct{ name, token string }{
		{"an access token", a.access()},
		{"a refresh token", a.refresh()},
		{"nothing much", "x"},
	} {
		t.Run(tt.name+" is no mfa_token", func(t *testing.T) {
			h.want(h.post("/token/mfa", "mfa_token", tt.token, "code", code), http.StatusBadRequest, "invalid_grant")
		})
	}
	h.want(h.refresh(a.refresh()), http.StatusOK, "") // all of this hurt nobody
	h.alive(a.access())
}

// How refresh keys are derived is kept: otherwise an update would sign
// everybody out. And a token of the right key and type must still be whole.
func TestForgedRefreshTokens(t *testing.T) {
	h := newHost(t)
	a := h.signedIn()
	key, err := hkdf.Key(sha256.New, []byte("0123456789abcdef0123456789abcdef"), nil, "gatewright/auth/refresh token", 32)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret(key)})
	if err != nil {
		t.Fatal(err)
	}
	forge, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer, Type: token.TypeRefresh, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	real := payloadOf(t, a.refresh())
	sid, jti := real["sid"].(string), real["jti"].(string)
	tests := []struct {
		name         string
		session, typ string
		subject      string
		status       int
	}{
		{"the type is missing", sid, "", alice, 400},
		{"the type is another", sid, "access", alice, 400},
		{"the session is missing", "", "refresh", alice, 400},
		{"the session is unknown", "nowhere", "refresh", alice, 400},
		{"the user is unknown", "nowhere", "refresh", "user-9", 400},
		{"all is right", sid, "refresh", alice, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var extra any
			if tt.typ != "" {
				extra = map[string]string{"type": tt.typ}
			}
			signed, err := forge.Issue(t.Context(), &identity.Principal{Subject: tt.subject, Session: tt.session, Credential: jti}, extra)
			if err != nil {
				t.Fatal(err)
			}
			if tt.status == 200 {
				h.want(h.refresh(signed), 200, "")
				return
			}
			h.dead(signed)
		})
	}
}

// The ring of refresh keys turns without signing anybody out.
func TestRefreshKeyRotation(t *testing.T) {
	older, newer := guard.NewSecret([]byte("an older refresh secret of 32 by")), guard.NewSecret([]byte("a newer refresh secret of 32 byt"))
	synctest.Test(t, func(t *testing.T) {
		store, revoked := new(auth.Memory), new(blacklist.Memory)
		with := func(keys ...guard.Secret) *host {
			return newHost(t, func(s *setup) {
				s.users, s.Sessions, s.Challenges, s.Revoker, s.RefreshKeys = store, store, store, revoked, keys
			})
		}
		before := with(older)
		if err := store.SetUser("alice", before.alice()); err != nil {
			t.Fatal(err)
		}
		during, after := with(newer, older), with(newer)
		id := func(a answer) any { return payloadOf(t, a.refresh())["jti"] }

		a := before.signedIn()
		b := during.refresh(a.refresh())
		during.want(b, http.StatusOK, "")
		c := before.signedIn()
		d := before.refresh(c.refresh())
		retried := during.refresh(c.refresh())
		during.want(retried, http.StatusOK, "")
		if id(d) != id(retried) {
			t.Errorf("a retry across the change leads to %v, want %v", id(retried), id(d))
		}
		again := during.refresh(a.refresh())
		during.want(again, http.StatusOK, "")
		if again.refresh() != b.refresh() {
			t.Error("a retry after the change leads to another successor")
		}
		e := during.refresh(retried.refresh())
		during.want(e, http.StatusOK, "")

		after.want(after.refresh(e.refresh()), http.StatusOK, "")
		old := before.signedIn()
		after.dead(old.refresh())
		during.want(during.refresh(old.refresh()), http.StatusOK, "") // nothing was spoilt by the attempt
	})
}
