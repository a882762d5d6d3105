// Command chi shows guards of this module with go-chi/chi: a ledger of all routes
// through With, Route, Group and Mount, and a start that fails for unguarded ones.
package main

import (
	"fmt"
	"log"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// newRouter returns the router and its ledger. The error lists unguarded routes.
func newRouter(hooks guard.Hooks, tokens guard.Authenticator) (http.Handler, []guard.Route, error) {
	role := func(name string) func(http.Handler) http.Handler {
		return hooks.Require(func(r *http.Request) error {
			p, err := guard.Caller(r)
			if err == nil && !p.Roles.Has(name) {
				err = guard.Forbidden(fmt.Errorf("%s has no role %s", p.Subject, name))
			}
			return err
		}, guard.Requirement{Kind: guard.KindRole, Values: []string{name}})
	}
	hello := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from", chi.RouteContext(r.Context()).RoutePattern())
	}

	router := chi.NewRouter()
	router.Use(middleware.Recoverer)
	router.NotFound(func(w http.ResponseWriter, r *http.Request) { hooks.Refuse(w, r, guard.NotFound(nil)) })
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) { hooks.Refuse(w, r, guard.MethodNotAllowed(w)) })
	router.With(guard.Public("health check")).Get("/healthz", hello)
	router.Group(func(r chi.Router) {
		r.Use(hooks.Identify(tokens), hooks.Authenticated)
		r.Get("/users/me", hello)
		r.With(role("admin")).Delete("/users/{id}", hello)
		r.Route("/items", func(r chi.Router) { r.Get("/{id}", hello) })
		r.Mount("/admin", admin(role("admin"), hello))
	})

	var ledger guard.Ledger
	walk(&ledger, router, "")
	return router, ledger.Routes(), ledger.Err()
}

func admin(guarded func(http.Handler) http.Handler, h http.HandlerFunc) http.Handler {
	r := chi.NewRouter()
	r.Use(guarded)
	r.Get("/report", h)
	return r
}

// demo takes "Authorization: Bearer ada"; a token.Verifier takes its place.
type demo struct{}

func (demo) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }
func (demo) Authenticate(r *http.Request) (*identity.Principal, error) {
	if r.Header.Get("Authorization") != "Bearer ada" {
		return nil, guard.ErrNoCredentials
	}
	return &identity.Principal{Issuer: "demo", Subject: "ada"}, nil
}

func main() {
	router, routes, err := newRouter(guard.Hooks{Observe: guard.Log(slog.Default())}, demo{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(routes)
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", router))
}
