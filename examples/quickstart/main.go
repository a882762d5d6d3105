// Command quickstart is the smallest host of Gatewright: a user signs in, calls
// a protected route and signs out. Everything is kept in memory.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

func main() {
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	self := "http://" + listener.Addr().String()
	hooks := guard.Hooks{Observe: guard.Limited(guard.Log(slog.Default()), 600)}
	revoked := new(blacklist.Memory)

	// Who may sign in: one user, whose password is made up now.
	secret, passwords := rand.Text(), must(password.New(password.Config{}))
	users := new(auth.Memory)
	check(users.SetUser("alice", auth.User{ID: "1", PasswordHash: must(passwords.Hash(context.Background(), secret))}))

	// What tokens are signed and verified with.
	ring := must(token.NewKeyring(must(token.GenerateKey(token.ES256))))
	tokens := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: self, Audience: self}))
	verifier := must(token.NewVerifier(ring, token.VerifierConfig{Issuer: self, Audience: self, Revoker: revoked}))
	signIn := must(auth.New(users, tokens, auth.Config{
		Sessions: users, RefreshKeys: []guard.Secret{guard.NewSecret([]byte(rand.Text() + rand.Text()))}, Revoker: revoked, Passwords: passwords, Hooks: hooks,
	}))

	mux := guard.NewMux(hooks, verifier)
	mux.Handle("/token", signIn.Token())
	mux.Handle("/logout/", signIn.Logout())
	mux.Handle("GET /me", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "You are user %s.\n", caller.Subject)
	})))

	fmt.Printf("curl -s %s/token -d username=alice -d password=%s\n", self, secret)
	server := http.Server{Handler: mux, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
