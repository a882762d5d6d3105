package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
)

const refusedSignIn = "The login or the password is not right."

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.setUser("carol", auth.User{ID: "user-3", PasswordHash: h.hash, Tenant: "acme", Roles: identity.NewSet("editor"), Scopes: identity.NewSet("write", "read")})
		a := h.signIn(" Carol ", right)
		h.want(a, http.StatusOK, "")
		// RFC 6749 section 5.1.
		for name, want := range map[string]any{"token_type": "bearer", "expires_in": 900.0, "scope": "read write"} {
			if a.json[name] != want {
				t.Errorf("%s is %v, want %v", name, a.json[name], want)
			}
		}
		if a.access() == "" || a.refresh() == "" || len(a.json) != 5 {
			t.Errorf("the members are %v, want access_token, refresh_token, token_type, expires_in and scope", a.json)
		}
		me := h.me(a.access())
		h.want(me, http.StatusOK, "")
		sid, _ := me.json["sid"].(string)
		now := float64(time.Now().Unix())
		for name, want := range map[string]any{
			"sub": "user-3", "tenant": "acme", "client": identity.FirstParty, "scope": "read write", "roles": "editor", "amr": "pwd",
			"auth_time": now, "iat": now, "exp": now + 900,
		} {
			if me.json[name] != want {
				t.Errorf("%s is %v, want %v", name, me.json[name], want)
			}
		}
		if len(sid) < 20 {
			t.Errorf("the session is %q, want an ID that cannot be guessed", sid)
		}
		e := h.wantEvent(h.events.take(), guard.EventLoginSuccess)
		if e.Login != "carol" || e.Principal == nil || e.Principal.Subject != "user-3" || e.Principal.Session != sid || e.Denial != nil {
			t.Errorf("the event is %+v, want carol's session", e)
		}
	})

	tests := []struct {
		name  string
		form  []string
		scope string // "": refused
		code  string
	}{
		{"the form of RFC 6749", []string{"grant_type", "password", "username", "alice", "password", right}, "read write", ""},
		{"the form of FastAPI's guide, without a grant_type", []string{"username", "alice", "password", right}, "read write", ""},
		{"an empty grant_type is as if it were left out", []string{"grant_type", "", "username", "alice", "password", right}, "read write", ""},
		{"what Swagger UI sends", []string{"grant_type", "password", "username", "alice", "password", right, "scope", "", "client_id", "", "client_secret", ""}, "read write", ""},
		{"a smaller scope", []string{"username", "alice", "password", right, "scope", "read"}, "read", ""},
		{"the whole scope in another order", []string{"username", "alice", "password", right, "scope", "write read"}, "read write", ""},
		{"a scope beyond the user's", []string{"username", "alice", "password", right, "scope", "read admin"}, "", "invalid_scope"},
		{"a scope in another case", []string{"username", "alice", "password", right, "scope", "Read"}, "", "invalid_scope"},
		{"scopes separated by a tab", []string{"username", "alice", "password", right, "scope", "read\twrite"}, "", "invalid_scope"},
		{"scopes separated by a comma", []string{"username", "alice", "password", right, "scope", "read,write"}, "", "invalid_scope"},
		{"a scope that would end a quoted string", []string{"username", "alice", "password", right, "scope", `read" , error=x`}, "", "invalid_scope"},
		{"a scope of spaces, which names nothing", []string{"username", "alice", "password", right, "scope", "  "}, "", "invalid_scope"},
		{"a scope with a NUL", []string{"username", "alice", "password", right, "scope", "read\x00"}, "", "invalid_scope"},
		{"a wrong password and a scope beyond", []string{"username", "alice", "password", "wrong", "scope", "admin"}, "", "invalid_grant"},
		{"an unknown grant_type", []string{"grant_type", "client_credentials", "username", "alice", "password", right}, "", "unsupported_grant_type"},
		{"a grant_type in another case", []string{"grant_type", "Password", "username", "alice", "password", right}, "", "unsupported_grant_type"},
		{"no grant_type and no username", []string{"password", right}, "", "invalid_request"},
		{"a password grant without a password", []string{"grant_type", "password", "username", "alice"}, "", "invalid_request"},
		{"an empty password", []string{"username", "alice", "password", ""}, "", "invalid_request"},
		{"a password grant without a username", []string{"grant_type", "password", "password", right}, "", "invalid_request"},
		{"an empty username", []string{"grant_type", "password", "username", "", "password", right}, "", "invalid_request"},
		{"nothing at all", nil, "", "invalid_request"},
		{"a refresh without a token", []string{"grant_type", "refresh_token"}, "", "invalid_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			a := h.post("/token", tt.form...)
			if tt.scope == "" {
				h.want(a, http.StatusBadRequest, tt.code)
				if a.access() != "" || a.refresh() != "" {
					t.Errorf("tokens in a refusal: %s", a.raw)
				}
				if n := named(h.events.list(), guard.EventLoginSuccess); n != 0 {
					t.Errorf("%d events say that somebody signed in", n)
				}
				return
			}
			h.want(a, http.StatusOK, "")
			if a.text("scope") != tt.scope {
				t.Errorf("scope %q, want %q", a.text("scope"), tt.scope)
			}
			if me := h.me(a.access()); me.text("scope") != tt.scope {
				t.Errorf("the token is good for %q, want %q", me.text("scope"), tt.scope)
			}
		})
	}

	t.Run("a refresh_token grant refreshes", func(t *testing.T) {
		h := newHost(t)
		a := h.signedIn()
		b := h.post("/token", "grant_type", "refresh_token", "refresh_token", a.refresh())
		h.want(b, http.StatusOK, "")
		if b.refresh() == a.refresh() || b.access() == a.access() {
			t.Error("the pair is the old one, want a new one")
		}
	})
	t.Run("the audit trail tells whose password was right when the scope is not", func(t *testing.T) {
		h := newHost(t)
		h.signIn("alice", right, "scope", "admin")
		if e := h.wantEvent(h.events.take(), guard.EventAuthzFail); e.Login != "alice" {
			t.Errorf("the login is %q, want alice", e.Login)
		}
	})
	t.Run("a user without scopes gets an answer without the member, for an empty scope is no scope", func(t *testing.T) {
		h := newHost(t)
		h.setUser("carol", auth.User{ID: "user-3", PasswordHash: h.hash})
		a := h.signIn("carol", right)
		h.want(a, http.StatusOK, "")
		if s, ok := a.json["scope"]; ok {
			t.Errorf("scope is %q, want none (RFC 6749 section 3.3)", s)
		}
	})
	t.Run("a stale bearer token does not keep anybody from signing in", func(t *testing.T) {
		h := newHost(t)
		r := request("/token", "username", "alice", "password", right)
		r.Header.Set("Authorization", "Bearer stale")
		h.want(h.serve(r), http.StatusOK, "")
	})
	t.Run("claims of the host's own are in the access token", func(t *testing.T) {
		h := newHost(t, func(s *setup) {
			s.Claims = func(_ context.Context, u *auth.User) (any, error) {
				return map[string]string{"plan": "of " + u.ID}, nil
			}
		})
		for _, a := range []answer{h.signedIn(), h.refresh(h.signedIn().refresh())} {
			if payload := payloadOf(t, a.access()); payload["plan"] != "of user-1" {
				t.Errorf("the claims are %v, want the plan", payload)
			}
		}
	})
	t.Run("a user whose scopes make a refresh token that no form can bring back is told at once", func(t *testing.T) {
		h := newHost(t)
		var scopes []string
		for i := range 200 {
			scopes = append(scopes, fmt.Sprintf("resource:%04d:read", i))
		}
		h.setUser("carol", auth.User{ID: "user-3", PasswordHash: h.hash, Scopes: identity.NewSet(scopes...)})
		a := h.signIn("carol", right)
		if a.status == http.StatusOK {
			h.want(h.refresh(a.refresh()), http.StatusOK, "")
		}
		h.want(h.signIn("carol", right, "scope", "resource:0001:read"), http.StatusOK, "")
	})
}

// Every class of failure is answered alike, and does the same work.
func TestSignInFailuresAreAlike(t *testing.T) {
	classes := []struct {
		name, login, password string
		reason                string // in the event
	}{
		{"unknown user", "nobody", right, "no such user"},
		{"wrong password", "alice", "not the password", "wrong password"},
		{"over-long password", "alice", strings.Repeat("x", 1025), "wrong password"},
		{"right password with a suffix", "alice", right + "\x00", "wrong password"},
		{"disabled user, right password", "disabled", right, "disabled"},
		{"disabled user, wrong password", "disabled", "not the password", "disabled"},
		{"user without a password", "passwordless", right, "no password"},
		{"stored hash that is damaged", "damaged", right, "cannot be used"},
		{"stored hash that asks for 4 TiB", "greedy", right, "cannot be used"},
		{"stored hash with no passes", "passes", right, "cannot be used"},
		{"stored hash of cost 31", "cost", right, "cannot be used"},
		{"stored hash of another scheme", "scheme", right, "cannot be used"},
		{"homoglyph", "аlice", right, "no such user"}, // the first letter is Cyrillic
		{"full-width letters", "ａｌｉｃｅ", right, "no such user"},
		{"control character", "ali\x07ce", right, "no such user"},
		{"NUL", "alice\x00", right, "no such user"},
		{"line break, to inject into the log", "alice\r\nauthn_login_success", right, "no such user"},
		{"login of 255 bytes", strings.Repeat("a", 255), right, "no such user"},
		{"login of spaces", "   ", right, "no such user"},
	}
	open := func(t *testing.T, changes ...func(*setup)) *host {
		h := newHost(t, changes...)
		for login, u := range map[string]auth.User{
			"disabled":     {PasswordHash: h.hash, Disabled: true},
			"passwordless": {},
			"damaged":      {PasswordHash: "$argon2id$v=19$m=8,t=1,p=1$!!!$???"},
			"greedy":       {PasswordHash: "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("A", 43)},
			"passes":       {PasswordHash: "$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("A", 43)},
			"cost":         {PasswordHash: "$2b$31$" + strings.Repeat("a", 53)},
			"scheme":       {PasswordHash: "pbkdf2_sha256$260000$salt$hash"},
		} {
			u.ID = "id of " + login
			h.setUser(login, u)
		}
		return h
	}
	try := func(h *host, login, pw string) answer { return h.signIn(login, pw) }

	var first answer
	h := open(t)
	for i, class := range classes {
		t.Run(class.name, func(t *testing.T) {
			h.events.take()
			a := try(h, class.login, class.password)
			h.want(a, http.StatusBadRequest, "invalid_grant")
			if a.raw != errorBody("invalid_grant", refusedSignIn) {
				t.Errorf("the body is %s", a.raw)
			}
			if i == 0 {
				first = a
			} else if a.raw != first.raw || !sameHeader(a.header, first.header) {
				t.Errorf("the answer differs from that for %s:\n%v %s\n%v %s", classes[0].name, a.header, a.raw, first.header, first.raw)
			}
			all := h.events.take()
			if class.reason == "cannot be used" {
				// Which the host must hear about, with the account.
				if e := all[0]; len(all) != 2 || e.Name != guard.EventLoginFail || e.Denial != nil || e.Login != class.login ||
					!errors.Is(e.Err, password.ErrMalformed) && !errors.Is(e.Err, password.ErrUnsupported) ||
					e.Principal == nil || e.Principal.Issuer != issuer || e.Principal.Subject != "id of "+class.login {
					t.Errorf("the events are %+v, want one about the user's hash first", all)
				}
				all = all[1:]
			}
			e := h.wantEvent(all, guard.EventLoginFail)
			if len(all) != 1 || e.Denial == nil || !strings.Contains(e.Denial.Error(), class.reason) {
				t.Errorf("the event tells %v, want %q", e.Denial, class.reason)
			}
			if e.Login == "" || strings.ContainsFunc(e.Login, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("the login in the event is %q, want one without control characters", e.Login)
			}
		})
	}
	if lines := strings.Count(h.log.String(), "\n"); lines < len(classes) || strings.Contains(h.log.String(), "\r") {
		t.Errorf("the log has %d lines, want one or two for each failure", lines)
	}
	for line := range strings.Lines(h.log.String()) {
		if !strings.HasPrefix(line, `{"time"`) || strings.Contains(line, `"msg":"authn_login_success"`) {
			t.Errorf("a login wrote the line %q", line)
		}
	}

	// The work: a hasher that takes no more asks. If some class did not hash,
	// it would be answered otherwise.
	budget, err := password.NewBudget(password.BudgetConfig{Concurrent: 1, MaxWaiting: -1})
	if err != nil {
		t.Fatal(err)
	}
	// One run of this takes its while, and while it runs there is no permit.
	slow := cheap(t, password.Config{Argon2id: password.Argon2id{Memory: 16 << 10, Passes: 16, Lanes: 1}, Budget: budget})
	busy := open(t, func(s *setup) { s.Passwords = cheap(t, password.Config{Budget: budget}) })
	var stop atomic.Bool
	var hashing sync.WaitGroup
	hashing.Go(func() {
		for !stop.Load() {
			slow.Hash(context.Background(), right)
		}
	})
	defer func() { stop.Store(true); hashing.Wait() }()
	var overloaded answer
	for i, class := range classes {
		t.Run("hashes are computed for: "+class.name, func(t *testing.T) {
			var a answer
			for range 10_000 { // until it comes while a hash is computed
				if a = try(busy, class.login, class.password); a.status == http.StatusServiceUnavailable {
					break
				}
			}
			busy.want(a, http.StatusServiceUnavailable, "temporarily_unavailable")
			if i == 0 {
				overloaded = a
			} else if a.raw != overloaded.raw || !sameHeader(a.header, overloaded.header) {
				t.Errorf("the answer differs from that for %s: %v %s", classes[0].name, a.header, a.raw)
			}
		})
	}
}

// A disabled user is answered after the work of any failure, also when the
// password is right: otherwise the time would tell that it is.
func TestSignInOfDisabledUserTakesItsTime(t *testing.T) {
	h := newHost(t, func(s *setup) {
		// A success costs next to nothing, a failure that and a bcrypt.
		s.Passwords = cheap(t, password.Config{Imported: []password.Scheme{password.Bcrypt(8)}})
	})
	h.setUser("disabled", auth.User{ID: "user-3", PasswordHash: h.hash, Disabled: true})
	fastest := func(login string) time.Duration {
		least := time.Hour
		for range 5 {
			began := time.Now()
			h.want(h.signIn(login, right), http.StatusBadRequest, "invalid_grant")
			least = min(least, time.Since(began))
		}
		return least
	}
	unknown, disabled := fastest("nobody"), fastest("disabled")
	if disabled < unknown/2 {
		t.Errorf("a disabled user is refused after %v, an unknown one after %v", disabled, unknown)
	}
}

func TestPasswordUpgrade(t *testing.T) {
	stronger := password.Argon2id{Memory: 16, Passes: 2, Lanes: 1}
	open := func(t *testing.T, users func(*auth.Memory) auth.UserStore) *host {
		return newHost(t, func(s *setup) {
			s.Passwords = cheap(t, password.Config{Argon2id: stronger})
			if users != nil {
				s.users = users(s.store)
			}
		})
	}
	stored := func(h *host) string {
		u, err := h.store.UserByID(context.Background(), alice)
		if err != nil {
			h.t.Fatal(err)
		}
		return u.PasswordHash
	}
	t.Run("a hash of weaker parameters is replaced at a sign-in, and the password stays good", func(t *testing.T) {
		h := open(t, nil)
		h.signedIn()
		if got := stored(h); !strings.HasPrefix(got, "$argon2id$v=19$m=16,t=2,p=1$") {
			t.Errorf("the stored hash is %s", got)
		}
		e := h.wantEvent(h.events.take(), guard.EventUserUpdated)
		if e.Principal == nil || e.Principal.Subject != alice || e.Principal.Issuer != issuer || e.Login != "alice" || e.Err != nil {
			t.Errorf("the event is %+v, want that alice's record was changed", e)
		}
		h.signedIn()
		if n := named(h.events.take(), guard.EventUserUpdated); n != 0 {
			t.Error("an event says that the new hash was replaced")
		}
	})
	t.Run("not after a wrong password, and not of a disabled user", func(t *testing.T) {
		h := open(t, nil)
		h.signIn("alice", "not the password")
		disabled := h.alice()
		disabled.Disabled = true
		h.setUser("alice", disabled)
		h.signIn("alice", right)
		if got := stored(h); got != h.hash {
			t.Errorf("the stored hash is %s, want the old one", got)
		}
	})
	t.Run("a store that cannot replace hashes lets people sign in", func(t *testing.T) {
		h := open(t, func(m *auth.Memory) auth.UserStore { return &users{UserStore: m} })
		h.signedIn()
	})
	t.Run("a store that fails to does so too, and the host hears of it", func(t *testing.T) {
		h := open(t, func(m *auth.Memory) auth.UserStore { return failingUpdater{m} })
		h.signedIn()
		if e := h.wantEvent(h.events.take(), guard.EventUnavailable); !errors.Is(e.Err, errDown) || e.Principal == nil || e.Principal.Subject != alice {
			t.Errorf("the event is %+v, want the error of the store, and whose hash it is", e)
		}
	})
}

type failingUpdater struct{ *auth.Memory }

func (failingUpdater) UpdatePasswordHash(context.Context, string, string, string) error {
	return errDown
}

// Row 33 of the attack corpus: many sign-ins at once are shed and do not pile
// up.
func TestSignInUnderLoad(t *testing.T) {
	budget, err := password.NewBudget(password.BudgetConfig{Memory: 8 << 20, Concurrent: 1, MaxWaiting: 2, MaxWait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, func(s *setup) {
		s.Passwords = cheap(t, password.Config{Argon2id: password.Argon2id{Memory: 4 << 10, Passes: 2, Lanes: 1}, Budget: budget})
	})
	const timeout = 2 * time.Second
	var mu sync.Mutex
	count := map[int]int{}
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 200 {
		all.Go(func() {
			<-start
			login := []string{"alice", "nobody"}[i%2]
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			began := time.Now()
			a := h.serve(request("/token", "username", login, "password", "not the password").WithContext(ctx))
			if took := time.Since(began); took > 2*timeout {
				t.Errorf("a request was held for %v, its context ended after %v", took, timeout)
			}
			if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "2" {
				t.Errorf("Retry-After is %q, want 2", a.header.Get("Retry-After"))
			}
			mu.Lock()
			count[a.status]++
			mu.Unlock()
		})
	}
	close(start)
	all.Wait()
	if count[http.StatusServiceUnavailable] == 0 || count[http.StatusBadRequest] == 0 || len(count) != 2 {
		t.Errorf("the statuses are %v, want some 400 and some 503", count)
	}
	h.signedIn() // afterwards all is well
}

// TestCanonicalLogin has the corpus row 34 on top.
func TestCanonicalLogin(t *testing.T) {
	tests := []struct {
		name, login, want string // "": refused
	}{
		{"lower case stays", "alice", "alice"},
		{"upper case becomes lower case", "AliCE", "alice"},
		{"surrounding spaces go", "  alice ", "alice"},
		{"inner spaces stay", "alice  b", "alice  b"},
		{"an e-mail address", "Alice+tag@Example.COM", "alice+tag@example.com"},
		{"every printable ASCII character", "!~\"'\\%_{}", "!~\"'\\%_{}"},
		{"254 bytes", strings.Repeat("A", 254), strings.Repeat("a", 254)},
		{"254 bytes between spaces", " " + strings.Repeat("A", 254) + " ", strings.Repeat("a", 254)},
		{"255 bytes", strings.Repeat("a", 255), ""},
		{"nothing", "", ""},
		{"spaces only", "   ", ""},
		{"a tab before", "\talice", ""},
		{"a line break after", "alice\n", ""},
		{"a NUL", "alice\x00", ""},
		{"DEL", "alice\x7f", ""},
		{"a Cyrillic letter", "аlice", ""},
		{"the Kelvin sign, whose lower case is ASCII", "\u212Aate", ""},
		{"the long s, whose upper case is ASCII", "ali\u017Fe", ""},
		{"a dotless i", "al\u0131ce", ""},
		{"a composed letter", "ren\u00e9", ""},
		{"the same decomposed", "rene\u0301", ""},
		{"a no-break space", "alice\u00a0", ""},
		{"a zero-width space", "ali\u200bce", ""},
		{"right-to-left override", "\u202ealice", ""},
		{"invalid UTF-8", "alice\xff", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.CanonicalLogin(tt.login)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("CanonicalLogin(%q) = %q, %v; want %q", tt.login, got, err, tt.want)
			}
		})
	}

	t.Run("it is what sign-in uses by default", func(t *testing.T) {
		h := newHost(t)
		h.want(h.signIn(" ALICE ", right), http.StatusOK, "")
	})
	t.Run("a host may have another", func(t *testing.T) {
		var asked []string
		h := newHost(t, func(s *setup) {
			s.CanonicalLogin = func(login string) (string, error) { return strings.TrimPrefix(login, "acme\\"), nil }
			s.users = &users{UserStore: s.store, byLogin: func(login string) (*auth.User, error) {
				asked = append(asked, login)
				return s.store.UserByLogin(context.Background(), login)
			}}
		})
		h.want(h.signIn(`acme\alice`, right), http.StatusOK, "")
		h.want(h.signIn("ALICE", right), http.StatusBadRequest, "invalid_grant") // nobody lowered it
		if want := []string{"alice", "ALICE"}; !slices.Equal(asked, want) {
			t.Errorf("the store was asked for %q, want %q", asked, want)
		}
	})
}

func FuzzCanonicalLogin(f *testing.F) {
	for _, s := range []string{"alice", " A ", "\u212Aate", "a\x00", strings.Repeat("x", 255), "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, login string) {
		once, err := auth.CanonicalLogin(login)
		if err != nil {
			if once != "" {
				t.Errorf("an error and %q", once)
			}
			return
		}
		if once == "" || len(once) > 254 || strings.Trim(once, " ") != once || strings.ToLower(once) != once {
			t.Errorf("%q became %q", login, once)
		}
		for i := range len(once) {
			if once[i] < ' ' || once[i] > '~' {
				t.Errorf("%q became %q, which is not printable ASCII", login, once)
			}
		}
		if twice, err := auth.CanonicalLogin(once); twice != once || err != nil {
			t.Errorf("%q became %q, and that %q, %v", login, once, twice, err)
		}
	})
}
