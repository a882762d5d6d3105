package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// profile is a host's own user.
type profile struct{ name string }

// presented is an Authenticator that takes anybody at their word.
type presented struct{}

func (presented) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }
func (presented) Authenticate(r *http.Request) (*identity.Principal, error) {
	if name := r.Header.Get("Authorization"); name != "" {
		return &identity.Principal{Issuer: issuer, Subject: name}, nil
	}
	return nil, guard.ErrNoCredentials
}

// accountsOf returns Accounts of the issuer of most tests.
func accountsOf[U any](t *testing.T, load func(context.Context, *identity.Principal) (U, error), describe func(U) auth.User, config auth.AccountsConfig) *auth.Accounts[U] {
	t.Helper()
	config.Issuers = []string{issuer}
	accounts, err := auth.NewAccounts(load, describe, config)
	if err != nil {
		t.Fatal(err)
	}
	return accounts
}

// accountsIn returns Accounts of the users of a store.
func accountsIn(t *testing.T, store auth.UserStore, hooks guard.Hooks) *auth.Accounts[*auth.User] {
	t.Helper()
	return accountsOf(t, func(ctx context.Context, p *identity.Principal) (*auth.User, error) {
		return store.UserByID(ctx, p.Subject)
	},
		func(u *auth.User) auth.User { return *u }, auth.AccountsConfig{Hooks: hooks})
}

func byName(u profile) auth.User { return auth.User{ID: u.name} }

func TestAccountsOfTheCaller(t *testing.T) {
	var seen []guard.Event
	hooks := guard.Hooks{Observe: func(_ context.Context, e guard.Event) { seen = append(seen, e) }}
	tests := []struct {
		name   string
		caller string
		err    error // of the store
		status int
		code   string
		loads  int
	}{
		{"a user", "alice", nil, 200, "", 1},
		{"nobody", "", nil, 401, guard.CodeUnauthenticated, 0},
		{"somebody who is gone", "alice", auth.ErrNotFound, 401, guard.CodeInvalidToken, 1},
		{"somebody who is gone, in the words of the store", "alice", fmt.Errorf("no rows: %w", auth.ErrNotFound), 401, guard.CodeInvalidToken, 1},
		{"somebody who is disabled", "alice", guard.ErrInactive, 401, guard.CodeInvalidToken, 1},
		{"a store that does not answer", "alice", errDown, 503, guard.CodeUnavailable, 1},
		{"a refusal of the host's own", "alice", guard.Forbidden(errDown), 403, guard.CodeForbidden, 1},
	}
	for _, tt := range tests {
		for _, way := range []string{"as a guard", "for every route", "as both, with a handler that asks twice", "in the handler alone"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				seen = nil
				loads := 0
				me := accountsOf(t, func(_ context.Context, p *identity.Principal) (*profile, error) {
					loads++
					if tt.err != nil {
						return &profile{"SECRET-REASON"}, tt.err
					}
					return &profile{p.Subject}, nil
				}, func(u *profile) auth.User { return auth.User{ID: u.name} }, auth.AccountsConfig{Hooks: hooks})
				ran := false
				show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for range 2 {
						u, err := me.Current(r.Context())
						if err != nil {
							if u != nil {
								t.Error("an error and a user")
							}
							hooks.Refuse(w, r, err)
							return
						}
						if u.name != "alice" {
							t.Errorf("the user is %q", u.name)
						}
					}
					ran = true
				})
				routes, handler := hooks, hooks.Authenticated(show)
				if way == "for every route" || way == "as both, with a handler that asks twice" {
					routes.Active = me.Active
				}
				if way == "as a guard" || way == "as both, with a handler that asks twice" {
					handler = me.Handler(show)
				}
				mux := guard.NewMux(routes, presented{})
				mux.Handle("/me", handler)
				r := httptest.NewRequest("GET", "/me", nil)
				if tt.caller != "" {
					r.Header.Set("Authorization", tt.caller)
				}
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				h := &host{t: t}
				a := answerOrNothing(w)
				h.want(a, tt.status, tt.code)
				if ran != (tt.status == 200) {
					t.Errorf("the handler ran: %v", ran)
				}
				if loads != tt.loads {
					t.Errorf("the user was loaded %d times, want %d", loads, tt.loads)
				}
				want := map[string]string{guard.CodeInvalidToken: `Bearer error="invalid_token"`, guard.CodeUnauthenticated: "Bearer"}[tt.code]
				if got := a.header.Get("WWW-Authenticate"); got != want {
					t.Errorf("WWW-Authenticate is %q, want %q", got, want)
				}
				if tt.status == 503 && a.header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				if len(seen) != map[bool]int{true: 0, false: 1}[tt.status == 200] {
					t.Errorf("%d events", len(seen))
				}
			})
		}
	}

	t.Run("outside of Identify it loads each time, and of a bare context nobody", func(t *testing.T) {
		loads := 0
		me := accountsOf(t, func(context.Context, *identity.Principal) (profile, error) { loads++; return profile{"alice"}, nil }, byName, auth.AccountsConfig{Hooks: hooks})
		if _, err := me.Current(context.Background()); !errors.Is(err, guard.ErrNoCredentials) {
			t.Errorf("error %v, want that nobody is calling", err)
		}
		ctx := identity.NewContext(context.Background(), &identity.Principal{Issuer: issuer, Subject: "alice"})
		for range 2 {
			if u, err := me.Current(ctx); err != nil || u.name != "alice" {
				t.Errorf("%v, %v", u, err)
			}
		}
		if loads != 2 {
			t.Errorf("%d loads, want 2", loads)
		}
	})
	t.Run("two of them are two users", func(t *testing.T) {
		load := func(name string) *auth.Accounts[profile] {
			return accountsOf(t, func(context.Context, *identity.Principal) (profile, error) { return profile{name}, nil },
				func(profile) auth.User { return auth.User{ID: "alice"} }, auth.AccountsConfig{Hooks: hooks})
		}
		a, b := load("a"), load("b")
		mux := guard.NewMux(hooks, presented{})
		mux.Handle("/", a.Handler(b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ua, _ := a.Current(r.Context())
			ub, _ := b.Current(r.Context())
			fmt.Fprint(w, ua.name, ub.name)
		}))))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "alice")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Body.String() != "ab" {
			t.Errorf("the users are %s", w.Body)
		}
	})
}

// The user who is disabled is out at the next request, whatever the token says
// (row 23 of the attack corpus).
func TestActiveUsers(t *testing.T) {
	h := newHost(t, func(s *setup) {
		s.Hooks.Active = accountsIn(t, s.store, s.Hooks).Active
	})
	a := h.signedIn()
	h.alive(a.access())
	disabled := h.alice()
	disabled.Disabled = true
	h.setUser("alice", disabled)
	h.over(a.access())
	h.want(h.logout(a.access()), http.StatusUnauthorized, guard.CodeInvalidToken)
	h.want(h.signIn("alice", right), http.StatusBadRequest, "invalid_grant")
	h.dead(a.refresh())
}

// member is a user of a host with tenants.
type member struct {
	id, tenant string
	disabled   bool
	roles      string
	scopes     string
}

func (m member) account() auth.User {
	return auth.User{ID: m.id, Tenant: m.tenant, Disabled: m.disabled, Roles: identity.ParseSet(m.roles), Scopes: identity.ParseSet(m.scopes)}
}

func TestAccountsCompareIssuerTenantAndState(t *testing.T) {
	table := map[string]member{
		"1": {"1", "math", false, "user admin", "read write"},
		"2": {"2", "math", true, "user", "read"},
		"3": {"3", "", false, "user", "read"},
		"4": {"7", "math", false, "user", "read"}, // a load that returns another user
	}
	accounts, err := auth.NewAccounts(func(_ context.Context, p *identity.Principal) (member, error) {
		m, ok := table[p.Subject]
		switch {
		case p.Subject == "down":
			return m, errDown
		case !ok:
			return m, auth.ErrNotFound
		}
		return m, nil
	}, member.account, auth.AccountsConfig{Issuers: []string{issuer, "https://other.example"}, KeyIssuers: []string{"apikey:acme"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name                  string
		issuer, user, tenant  string
		roles                 string // of the credential
		status                int
		wantRoles, wantScopes string
		says                  string
	}{
		{"a token: the roles of today", issuer, "1", "math", "user", 200, "admin user", "read write", ""},
		{"a token of the second issuer", "https://other.example", "1", "math", "", 200, "admin user", "read write", ""},
		{"an API key: no more than its own roles", "apikey:acme", "1", "math", "user auditor", 200, "user", "read write", ""},
		{"an API key without roles", "apikey:acme", "1", "math", "", 200, "", "read write", ""},
		{"another issuer's subject of that name", "https://evil.example", "1", "math", "", 401, "", "", `"https://evil.example"`},
		{"a key of another prefix", "apikey:other", "1", "math", "", 401, "", "", `"apikey:other"`},
		{"no issuer", "", "1", "math", "", 401, "", "", `""`},
		{"moved to another tenant, with a token", issuer, "1", "physics", "user", 401, "", "", `"math", and the credential is for tenant "physics"`},
		{"moved to another tenant, with a key", "apikey:acme", "1", "physics", "user", 401, "", "", `"physics"`},
		{"moved out of all tenants", issuer, "3", "math", "user", 401, "", "", `tenant ""`},
		{"moved into a first tenant", issuer, "1", "", "user", 401, "", "", `tenant ""`},
		{"disabled", issuer, "2", "math", "user", 401, "", "", `"2" is disabled`},
		{"disabled and moved", issuer, "2", "physics", "user", 401, "", "", `disabled`},
		{"gone", issuer, "9", "math", "user", 401, "", "", "not found"},
		{"the store is down", issuer, "down", "math", "user", 503, "", "", ""},
		{"the load returns another user", issuer, "4", "math", "user", 503, "", "", `"7"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &identity.Principal{Issuer: tt.issuer, Subject: tt.user, Tenant: tt.tenant, Roles: identity.ParseSet(tt.roles)}
			ctx := identity.NewContext(t.Context(), p)
			user, errUser := accounts.Current(ctx)
			roles, errRoles := accounts.Roles(ctx, p)
			ownRoles, scopes, errRights := accounts.Rights(ctx, p)
			for name, err := range map[string]error{"Active": accounts.Active(ctx, p), "Current": errUser, "Roles": errRoles, "Rights": errRights} {
				switch {
				case tt.status == 200 && err != nil:
					t.Errorf("%s: %v", name, err)
				case tt.status != 200 && (err == nil || guard.DenialOf(ctx, err).Status != tt.status || !strings.Contains(err.Error(), tt.says)):
					t.Errorf("%s: %v, want status %d and %s", name, err, tt.status, tt.says)
				}
			}
			if got := identity.NewSet(roles...).String(); got != tt.wantRoles {
				t.Errorf("Roles returns %q, want %q", got, tt.wantRoles)
			}
			if scopes.String() != tt.wantScopes || tt.status != 200 && (ownRoles.Len() != 0 || user != member{}) {
				t.Errorf("Rights returns %q and %q, Current %v", ownRoles, scopes, user)
			}
		})
	}
}

// Within one request the user is loaded once for a caller, and apart for others.
func TestAccountsLoadOnceForEachUserOfARequest(t *testing.T) {
	var loads []string
	accounts := accountsOf(t, func(_ context.Context, p *identity.Principal) (member, error) {
		loads = append(loads, p.Subject+"@"+p.Tenant)
		return member{id: p.Subject, tenant: p.Tenant}, nil
	}, member.account, auth.AccountsConfig{})
	hooks := guard.Hooks{Active: accounts.Active}
	mux := guard.NewMux(hooks, presented{})
	mux.Handle("/", accounts.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		accounts.Roles(r.Context(), p)
		accounts.Rights(r.Context(), p)
		accounts.Current(r.Context())
		other := &identity.Principal{Issuer: issuer, Subject: "other"}
		if u, err := accounts.Roles(r.Context(), other); err != nil {
			t.Error(u, err)
		}
		accounts.Rights(r.Context(), &identity.Principal{Issuer: issuer, Subject: p.Subject, Tenant: "elsewhere"})
	})))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "alice")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if got := strings.Join(loads, " "); w.Code != 200 || got != "alice@ other@ alice@elsewhere" {
		t.Errorf("%d, loaded %q", w.Code, got)
	}
}

func TestNewAccountsNamesEveryMistake(t *testing.T) {
	_, err := auth.NewAccounts[member](nil, nil, auth.AccountsConfig{KeyIssuers: []string{""}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"load is nil", "describe is nil", "AccountsConfig.Issuers is empty", "issuer 0 is empty"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
