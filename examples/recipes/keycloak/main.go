// Command keycloak is a service that accepts the access tokens of a Keycloak realm
// and issues none. Roles are those that the realm gives for this service.
//
//	go -C examples run ./recipes/keycloak -issuer https://sso.example.com/realms/demo -audience orders-api
//
// For Entra, Auth0, Okta, Cognito, Google and others replace the preset; see package
// auth/token/issuers.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/auth/token/issuers"
	"github.com/gatewright/gatewright/rbac"
)

func main() {
	issuer := flag.String("issuer", "", "`URL` of the realm")
	audience := flag.String("audience", "orders-api", "`name` of this service in the realm")
	flag.Parse()
	if *issuer == "" {
		check(errors.New("-issuer is needed: the URL of the realm, as https://sso.example.com/realms/demo"))
	}
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}

	preset := issuers.Keycloak(*issuer, *audience)
	preset.Keys.URL, preset.Keys.Issuer = "", *issuer // find the keys by the realm's discovery document
	preset.Keys.Cooldown = time.Second                // after a rotation nobody waits longer
	preset.Keys.OnError = func(err error) { slog.Warn("keys of the realm", "error", err) }
	preset.Verifier.Realm = "orders"
	// Keycloak does not tell which tokens it has ended: let them live some minutes.
	preset.Verifier.InsecureNoRevoker = true
	preset.Verifier.MaxLifetime = 15 * time.Minute
	preset.Verifier.Profile.Roles = []token.Grant{{
		Claim: token.Path{"resource_access", *audience, "roles"},
		Names: map[string]string{"editor": "editor"}, // theirs: ours
	}}
	verifier, keys, err := preset.NewVerifier()
	check(err)
	if err := keys.Fetch(context.Background()); err != nil {
		slog.Warn("the realm does not answer; requests are 503 until it does", "error", err)
	}

	roles := must(rbac.New(rbac.Policy{
		Permissions: []string{"orders:write"},
		Roles:       map[string]rbac.Role{"editor": {Allow: []string{"orders:write"}}},
	}, rbac.Config{Hooks: hooks}))
	write := must(roles.Permission("orders:write"))

	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "You are %s, by %s.\n", p.Subject, p.Client)
	})
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("GET /me", hooks.Authenticated(hello))
	mux.Handle("POST /orders", roles.Require(write)(hello))
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := http.Server{Handler: mux, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
