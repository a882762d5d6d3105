// Command sessions guards the routes of a host that has sessions already: by
// alexedwards/scs, by gorilla/sessions, or by a proxy that signs users in.
package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// user returns the caller for the ID in a session, nil for none. A host looks the
// user up here, and returns guard.ErrInactive for one who is disabled.
func user(id string) (*identity.Principal, error) {
	if id == "" {
		return nil, nil
	}
	return &identity.Principal{Subject: id}, nil
}

func byScs(m *scs.SessionManager) (*guard.Sessions, error) {
	return guard.NewSessions(func(r *http.Request) (*identity.Principal, error) {
		return user(m.GetString(r.Context(), "user"))
	}, guard.SessionConfig{ExplicitWins: []string{"Authorization"}})
}

func byGorilla(store sessions.Store) (*guard.Sessions, error) {
	return guard.NewSessions(func(r *http.Request) (*identity.Principal, error) {
		s, _ := store.Get(r, "app") // a new session if the cookie is not good
		id, _ := s.Values["user"].(string)
		return user(id)
	}, guard.SessionConfig{})
}

// byProxy trusts a header, which only the proxy may set: the server must not be
// reachable by another way.
func byProxy(header string) (*guard.Sessions, error) {
	return guard.NewSessions(func(r *http.Request) (*identity.Principal, error) {
		return user(r.Header.Get(header))
	}, guard.SessionConfig{Issuer: "proxy"})
}

// newServer returns the routes for one of them.
func newServer(callers *guard.Sessions, issuer string) (*guard.Mux, error) {
	hooks := guard.Hooks{SignIn: guard.SignInPage("/login")}
	scope, err1 := scopes.New(scopes.Config{FullIssuers: []string{issuer}, Hooks: hooks})
	limit, err2 := ratelimit.New(ratelimit.ByPrincipal, ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("2/minute")...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintln(w, "hello", p.Subject)
	})
	mux := guard.NewMux(hooks, callers)
	mux.Handle("GET /account", hooks.Authenticated(hello))
	mux.Handle("POST /orders", scope.Require("write:orders")(limit.Handler(hello)))
	return mux, nil
}

func main() {
	manager := scs.New()
	manager.Cookie.Name, manager.Cookie.Secure = "__Host-session", true
	callers, err := byScs(manager)
	demo.Check(err)
	mux, err := newServer(callers, "session")
	demo.Check(err)
	demo.Check(http.ListenAndServe("127.0.0.1:8080", manager.LoadAndSave(mux)))
}
