package auth_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

func TestLogout(t *testing.T) {
	t.Run("the session is over at once, and no other", func(t *testing.T) {
		h := newHost(t)
		a, other, bob := h.signedIn(), h.signedIn(), h.signIn("bob", right)
		refreshed := h.refresh(a.refresh())
		h.events.take()
		out := h.logout(refreshed.access())
		h.want(out, http.StatusOK, "")
		if out.raw != `{"message":"Successfully logged out"}`+"\n" || out.header.Get("Cache-Control") != "no-store" || out.header.Get("Content-Type") != "application/json" {
			t.Errorf("the answer is %v %s", out.header, out.raw)
		}
		e := h.wantEvent(h.events.take(), guard.EventTokenRevoked)
		if e.Principal == nil || e.Principal.Subject != alice {
			t.Errorf("the event is of %v, want alice", e.Principal)
		}
		h.over(a.access()) // all tokens of the session
		h.over(refreshed.access())
		h.dead(a.refresh())
		h.dead(refreshed.refresh())
		h.events.take()
		h.want(h.logout(a.access()), http.StatusUnauthorized, guard.CodeInvalidToken)
		h.wantEvent(h.events.take(), guard.EventLoginFail) // whoever clicks twice raises no alarm
		for _, alive := range []answer{other, bob} {
			h.alive(alive.access())
			h.want(h.refresh(alive.refresh()), http.StatusOK, "")
		}
		h.signedIn()
	})
	t.Run("a spelling of the token that some decoders repair does not survive it", func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		h.want(h.logout(a.access()), http.StatusOK, "")
		for _, spelling := range []string{a.access() + "=", a.access()[:9] + "\t" + a.access()[9:]} {
			h.over(spelling)
		}
	})
	t.Run("it holds until the last token has expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			a := h.signedIn()
			time.Sleep(lifetime - 2*time.Second)
			b := h.refresh(a.refresh())
			h.want(h.logout(a.access()), http.StatusOK, "")
			for range 20 {
				h.over(b.access())
				h.dead(b.refresh())
				time.Sleep(time.Minute)
			}
			for range 20 {
				h.dead(b.refresh())
				time.Sleep(time.Hour)
			}
		})
	})
	tests := []struct {
		name                  string
		sessions, accessStore error
		signedIn              bool // afterwards
	}{
		{"the session store is down: signed out, though it is not certain", errDown, nil, false},
		{"the Revoker is down: the access token lives, and can try again", nil, errDown, true},
		{"a store fails with a refusal of its own", guard.Forbidden(errDown), nil, false},
		{"the Revoker fails with a refusal of its own", nil, guard.InvalidToken("Bearer", errDown), true},
		{"the Revoker is full", nil, blacklist.ErrFull, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			down := true
			h := newHost(t, func(s *setup) {
				s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error {
					if down {
						return tt.sessions
					}
					return nil
				}}
				s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error {
					if down {
						return tt.accessStore
					}
					return nil
				}}
			})
			a := h.signedIn()
			h.events.take()
			h.want(h.logout(a.access()), http.StatusServiceUnavailable, guard.CodeUnavailable)
			if n := named(h.events.take(), guard.EventTokenRevoked); n != 0 {
				t.Error("an event says that the session was ended")
			}
			down = false
			if tt.signedIn {
				h.alive(a.access())
				h.want(h.logout(a.access()), http.StatusOK, "")
			}
			h.over(a.access())
			h.dead(a.refresh())
		})
	}

	t.Run("who hangs up in the middle is signed out all the same", func(t *testing.T) {
		ctx, hangUp := context.WithCancel(context.Background())
		h := newHost(t, func(s *setup) {
			s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { hangUp(); return nil }}
			s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(ctx context.Context) error { return ctx.Err() }}
		})
		a := h.signedIn()
		h.serve(bearer("POST", "/logout/", a.access()).WithContext(ctx))
		h.over(a.access())
	})

	// Callers that others identified.
	callers := []struct {
		name   string
		caller *identity.Principal
		status int
		code   string
	}{
		{"nobody", nil, http.StatusUnauthorized, guard.CodeUnauthenticated},
		{"an API key", &identity.Principal{Issuer: "apikey:acme", Subject: alice, Credential: "key-1"}, http.StatusBadRequest, guard.CodeInvalidRequest},
		{"a token of another issuer, in a session of the same ID", &identity.Principal{Issuer: "https://other.example", Subject: alice, Session: "s"}, http.StatusBadRequest, guard.CodeInvalidRequest},
		{"a token of ours outside of a session", &identity.Principal{Issuer: issuer, Subject: alice, Credential: "c", Expires: time.Now().Add(time.Hour)}, http.StatusOK, ""},
		{"somebody with nothing to end", &identity.Principal{Issuer: issuer, Subject: alice}, http.StatusServiceUnavailable, guard.CodeUnavailable},
	}
	for _, tt := range callers {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			r := request("/logout/")
			if tt.caller != nil {
				r = r.WithContext(identity.NewContext(r.Context(), tt.caller))
			}
			h.want(h.serve(r), tt.status, tt.code)
			if tt.caller == nil || tt.caller.Credential == "" {
				return
			}
			gone, err := h.revoked.Revoked(context.Background(), tt.caller)
			if err != nil || gone != (tt.status == http.StatusOK) {
				t.Errorf("revoked is %v, %v; want %v", gone, err, tt.status == http.StatusOK)
			}
		})
	}
	t.Run("a refusal is in the form of the host's other refusals", func(t *testing.T) {
		h := newHost(t)
		a := h.serve(bearer("DELETE", "/logout/", h.signedIn().access()))
		h.want(a, http.StatusMethodNotAllowed, guard.CodeInvalidRequest)
		if a.header.Get("Allow") != "POST" || a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the header is %v", a.header)
		}
	})
}

// Whatever the order, nothing of a session is left after its logout.
func TestLogoutDuringRefresh(t *testing.T) {
	for range 300 {
		h := newHost(t)
		a := h.signedIn()
		answers := make([]answer, 4)
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range answers {
			all.Go(func() {
				<-start
				for range i {
					runtime.Gosched()
				}
				answers[i] = h.refresh(a.refresh())
			})
		}
		all.Go(func() {
			<-start
			h.want(h.logout(a.access()), http.StatusOK, "")
		})
		close(start)
		all.Wait()
		for _, b := range append(answers, a) {
			if b.status != http.StatusOK {
				h.want(b, http.StatusBadRequest, "invalid_grant")
				continue
			}
			h.dead(b.refresh())
			h.over(b.access())
		}
	}
}

func TestEndSessions(t *testing.T) {
	ctx := context.Background()
	tests := []struct {
		name         string
		which        func(h *host, a answer) identity.Revocation
		first, other bool // of alice's two sessions, whether they live afterwards
		bob          bool
	}{
		{"one session", func(h *host, a answer) identity.Revocation {
			return identity.Revocation{Session: h.me(a.access()).text("sid")}
		}, false, true, true},
		{"a person", func(*host, answer) identity.Revocation { return identity.Revocation{Subject: alice} }, false, false, true},
		{"a person, named with another issuer", func(*host, answer) identity.Revocation {
			return identity.Revocation{Issuer: "https://other.example", Subject: alice, Expires: time.Now()}
		}, false, false, true},
		{"a tenant", func(*host, answer) identity.Revocation { return identity.Revocation{Tenant: "acme"} }, false, false, true},
		{"a person in a tenant they are not in", func(*host, answer) identity.Revocation {
			return identity.Revocation{Subject: alice, Tenant: "globex"}
		}, true, true, true},
		{"everybody up to now", func(*host, answer) identity.Revocation {
			return identity.Revocation{Before: time.Now().Add(time.Microsecond)}
		}, false, false, false},
		{"everybody up to a moment ago, which is now", func(*host, answer) identity.Revocation {
			return identity.Revocation{Before: time.Now().Add(-time.Minute)}
		}, false, false, false},
		{"a person's of yesterday", func(*host, answer) identity.Revocation {
			return identity.Revocation{Subject: alice, Before: time.Now().Add(-24 * time.Hour)}
		}, true, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t)
				tenant := h.alice()
				tenant.Tenant = "acme"
				h.setUser("alice", tenant)
				a, b, c := h.signedIn(), h.signedIn(), h.signIn("bob", right)
				if err := h.server.EndSessions(ctx, tt.which(h, a)); err != nil {
					t.Fatal(err)
				}
				check := func(a answer, lives bool) {
					t.Helper()
					if lives {
						h.alive(a.access())
						h.want(h.refresh(a.refresh()), http.StatusOK, "")
					} else {
						h.over(a.access())
						h.dead(a.refresh())
					}
				}
				check(a, tt.first)
				check(b, tt.other)
				check(c, tt.bob)
				// It is about what was, and not about what will be.
				time.Sleep(time.Millisecond)
				check(h.signedIn(), true)
				check(h.signIn("bob", right), true)
				time.Sleep(time.Hour)
				if !tt.first {
					h.dead(a.refresh())
				}
			})
		})
	}

	// What an old session was given since then belongs to it all the same.
	t.Run("before a moment in the past: the old sessions with all they have, and no other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			old, bob := h.signedIn(), h.signIn("bob", right)
			time.Sleep(time.Hour)
			before := time.Now()
			time.Sleep(10 * time.Minute)
			refreshed, recent := h.refresh(old.refresh()), h.signedIn()
			bob = h.refresh(bob.refresh())
			time.Sleep(2 * time.Minute)
			for range 2 { // again is no error
				if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice, Before: before}); err != nil {
					t.Fatal(err)
				}
			}
			h.over(refreshed.access())
			h.dead(refreshed.refresh())
			for _, other := range []answer{recent, bob} {
				h.alive(other.access())
				h.want(h.refresh(other.refresh()), http.StatusOK, "")
			}
			time.Sleep(lifetime) // the revocation is forgotten
			h.dead(refreshed.refresh())
		})
	})
	t.Run("up to now: also what an old session is given while it is ended", func(t *testing.T) {
		for _, which := range []identity.Revocation{{Subject: alice}, {Subject: alice, Before: time.Unix(1, 0)}, {Before: time.Unix(1, 0)}} {
			synctest.Test(t, func(t *testing.T) {
				var h *host
				var a, b answer
				armed := false
				h = newHost(t, func(s *setup) {
					s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error {
						if armed {
							armed = false
							time.Sleep(time.Second)
							b = h.refresh(a.refresh())
							time.Sleep(time.Second)
						}
						return nil
					}}
				})
				a = h.signedIn()
				armed = true
				if !which.Before.IsZero() {
					which.Before = time.Now()
				}
				if err := h.server.EndSessions(ctx, which); err != nil {
					t.Fatal(err)
				}
				h.want(b, http.StatusBadRequest, "invalid_grant")
				h.over(a.access())
				h.dead(a.refresh())
			})
		}
	})
	t.Run("before a moment in the past, in a tenant", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			a := h.signedIn()
			time.Sleep(time.Hour)
			before := time.Now()
			time.Sleep(2 * time.Minute)
			b := h.refresh(a.refresh())
			if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice, Tenant: "acme", Before: before}); err != nil {
				t.Fatal(err)
			}
			h.alive(b.access())
			h.want(h.refresh(b.refresh()), http.StatusOK, "")
		})
	})
	t.Run("before a moment in the past, with a store that fails: all of it can be ended again", func(t *testing.T) {
		for _, broken := range []string{"listing", "revoking access tokens", "ending sessions"} {
			synctest.Test(t, func(t *testing.T) {
				down := ""
				fail := func(step string) error {
					if step == down {
						return errDown
					}
					return nil
				}
				h := newHost(t, func(s *setup) {
					s.Sessions = &listing{
						sessions: &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return fail("ending sessions") }},
						fail:     func() error { return fail("listing") },
					}
					s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return fail("revoking access tokens") }}
				})
				a := h.signedIn()
				time.Sleep(time.Hour)
				before := time.Now()
				time.Sleep(2 * time.Minute)
				b := h.refresh(a.refresh())
				down = broken
				which := identity.Revocation{Subject: alice, Before: before}
				if err := h.server.EndSessions(ctx, which); !errors.Is(err, errDown) {
					t.Errorf("%s: error %v, want that of the store", broken, err)
				}
				down = ""
				if err := h.server.EndSessions(ctx, which); err != nil {
					t.Error(err)
				}
				h.over(b.access())
				h.dead(b.refresh())
			})
		}
	})
	t.Run("before a moment in the past, which cannot be done exactly: an error, and nothing ends", func(t *testing.T) {
		past := time.Now().Add(-time.Hour)
		for name, which := range map[string]identity.Revocation{
			"everybody": {Before: past}, "a tenant": {Tenant: "acme", Before: past}, "a store without a list": {Subject: alice, Before: past},
			"one session": {Session: "s", Before: past}, "one session, now": {Session: "s", Before: time.Now()},
		} {
			h := newHost(t, func(s *setup) {
				if name == "a store without a list" {
					s.Sessions = struct{ auth.RefreshStore }{s.store}
				}
			})
			a := h.signedIn()
			if err := h.server.EndSessions(ctx, which); err == nil || !strings.Contains(err.Error(), "leave Before zero") {
				t.Errorf("%s: error %v, want one that names the way out", name, err)
			}
			h.alive(a.access())
			h.want(h.refresh(a.refresh()), http.StatusOK, "")
		}
	})
	t.Run("before a moment in the past, with more sessions than are listed: nobody is told that all have ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			old := h.signedIn()
			time.Sleep(time.Hour)
			before := time.Now()
			time.Sleep(2 * time.Minute)
			old = h.refresh(old.refresh())
			for i := range auth.MaxListed {
				s := auth.Session{ID: strconv.Itoa(i), Subject: alice, Created: time.Now(), Expires: time.Now().Add(time.Hour)}
				if _, err := h.store.CreateRefresh(ctx, s, auth.TokenHash{1}, time.Now().Add(time.Hour), auth.MaxListed); err != nil {
					t.Fatal(err)
				}
			}
			which := identity.Revocation{Subject: alice, Before: before}
			if err := h.server.EndSessions(ctx, which); err == nil || !strings.Contains(err.Error(), "leave Before zero") {
				t.Errorf("error %v, want one that names the way out", err)
			}
			which.Before = time.Time{}
			if err := h.server.EndSessions(ctx, which); err != nil {
				t.Fatal(err)
			}
			h.over(old.access())
			h.dead(old.refresh())
		})
	})
	t.Run("a host that forgot to say whose is told so", func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		for _, which := range []identity.Revocation{{}, {Issuer: issuer}, {Expires: time.Now()}, {Credential: "c"}, {Subject: alice, Credential: "c"}, {Session: "s", Spare: "s"}, {Spare: "s"}, {Session: "\xff"}, {Subject: "a\x00"}, {Tenant: strings.Repeat("t", 513)}, {Subject: alice, Spare: "\xff"}} {
			if err := h.server.EndSessions(ctx, which); err == nil {
				t.Errorf("EndSessions(%+v) returned nil", which)
			}
		}
		h.alive(a.access())
		h.want(h.refresh(a.refresh()), http.StatusOK, "")
	})
	t.Run("the errors of both stores are told", func(t *testing.T) {
		for _, broken := range []string{"sessions", "revoker"} {
			h := newHost(t, func(s *setup) {
				if broken == "sessions" {
					s.Sessions = &sessions{Memory: s.store, revoke: func(identity.Revocation) error { return errDown }}
				} else {
					s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error { return errDown }}
				}
			})
			if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice}); !errors.Is(err, errDown) {
				t.Errorf("%s: error %v, want that of the store", broken, err)
			}
		}
	})

	// A thief who signs in with the old password while the owner changes it.
	// Wherever in the sign-in it happens, nothing of it is left, also when
	// revocations have been forgotten.
	steps := []string{"before the user is looked up", "after the user was looked up", "before the session is opened", "after the session was opened"}
	for _, step := range steps {
		t.Run("a sign-in that is under way is ended too: "+step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var h *host
				armed := false
				end := func(at string) {
					if at == step && armed {
						armed = false
						changed := h.alice()
						changed.PasswordHash = ""
						h.setUser("alice", changed)
						if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice}); err != nil {
							t.Error(err)
						}
					}
				}
				h = newHost(t, func(s *setup) {
					s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
						end("before the user is looked up")
						defer end("after the user was looked up")
						return s.store.UserByLogin(ctx, login)
					}}
					s.Sessions = &lateSessions{Memory: s.store, create: func(create func() error) error {
						end("before the session is opened")
						defer end("after the session was opened")
						return create()
					}}
				})
				armed = true
				a := h.signIn("alice", right)
				if a.status != http.StatusOK {
					h.want(a, http.StatusBadRequest, "invalid_grant")
					return
				}
				h.over(a.access())
				time.Sleep(24 * time.Hour)
				h.dead(a.refresh())
			})
		})
	}
	t.Run("a sign-in that is under way is ended too: done between the steps of EndSessions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var h *host
			var a answer
			h = newHost(t, func(s *setup) {
				s.Revoker = &revoker{Memory: s.Revoker.(*blacklist.Memory), revoke: func(context.Context) error {
					a = h.signedIn() // the clock of the test stands still: it began before
					return nil
				}}
			})
			if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice}); err != nil {
				t.Fatal(err)
			}
			h.over(a.access())
			time.Sleep(24 * time.Hour)
			if b := h.refresh(a.refresh()); b.status == http.StatusOK {
				t.Error("the session came back to life when the revocation was forgotten")
			}
		})
	})
	t.Run("a refresh that is under way is ended too", func(t *testing.T) {
		for _, first := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				var h *host
				end := func() {}
				h = newHost(t, func(s *setup) {
					s.Sessions = &sessions{Memory: s.store, rotate: func(r auth.Rotation) (auth.Rotated, error) {
						if first {
							end()
						} else {
							defer end()
						}
						return s.store.RotateRefresh(ctx, r)
					}}
				})
				a := h.signedIn()
				end = func() {
					time.Sleep(time.Second)
					if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice}); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second) // before it is signed
				}
				b := h.refresh(a.refresh())
				end = func() {}
				if b.status != http.StatusOK {
					h.want(b, http.StatusBadRequest, "invalid_grant")
					return
				}
				h.over(b.access())
				h.dead(b.refresh())
				time.Sleep(24 * time.Hour)
				h.dead(b.refresh())
			})
		}
	})
	t.Run("a challenge that was not answered yet is ended too, for as long as it lives", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, func(s *setup) { s.SecondFactor = &factor{}; s.lifetime = time.Minute })
			a := h.signIn("alice", right)
			if err := h.server.EndSessions(ctx, identity.Revocation{Subject: alice}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
			h.want(h.post("/token/mfa", "mfa_token", a.text("mfa_token"), "code", code), http.StatusBadRequest, "invalid_grant")
		})
	})
}

// listing is a RefreshStore whose list of sessions may fail.
type listing struct {
	*sessions
	fail func() error
}

func (l *listing) Sessions(ctx context.Context, subject string) ([]auth.Session, error) {
	if err := l.fail(); err != nil {
		return nil, err
	}
	return l.sessions.Sessions(ctx, subject)
}

// lateSessions is a RefreshStore that opens sessions when a test lets it.
type lateSessions struct {
	*auth.Memory
	create func(create func() error) error
	opened func(auth.Session)
}

func (s *lateSessions) CreateRefresh(ctx context.Context, one auth.Session, first auth.TokenHash, idle time.Time, most int) (evicted []string, err error) {
	if s.opened != nil {
		s.opened(one)
	}
	err = s.create(func() error {
		evicted, err = s.Memory.CreateRefresh(ctx, one, first, idle, most)
		return err
	})
	return evicted, err
}

var _ token.Revoker = (*revoker)(nil)
