// Command hashes takes over the users of a passlib, Django or WordPress application
// with their password hashes: nobody has to choose a new password. Each hash is
// replaced by argon2id when its user signs in.
//
//	go -C examples run ./recipes/hashes -users users.txt
//
// The file has a login and a hash in each line. Package password verifies argon2id,
// bcrypt, bcrypt_sha256, PBKDF2 and scrypt. The MD5 hashes of WordPress before 6.8,
// $P$…, are too weak for it: the adapter in phpass.go verifies them, and shows how another
// scheme is verified until its last hash is gone.
package main

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/ratelimit"
)

func main() {
	file := flag.String("users", "users.txt", "`file` with a login and a hash in each line")
	bcrypt := flag.Int("bcrypt", 12, "highest `cost` of the bcrypt hashes")
	pbkdf2 := flag.Uint("pbkdf2", 600_000, "highest `number` of iterations of the PBKDF2 hashes")
	flag.Parse()
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	self := "http://" + listener.Addr().String()
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}

	// A host with a database implements auth.UserStore and auth.PasswordUpdater.
	users := new(auth.Memory)
	check(load(users, *file))
	passwords := must(password.New(password.Config{
		// What is stored, at its highest cost: each failure does that work. Remove
		// a scheme with its last hash.
		Imported: []password.Scheme{password.Bcrypt(*bcrypt), password.BcryptSHA256(*bcrypt), password.PBKDF2SHA256(uint32(*pbkdf2))},
	}))
	revoked := new(blacklist.Memory)
	ring := must(token.NewKeyring(must(token.GenerateKey(token.ES256))))
	tokens := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: self, Audience: self}))
	verifier := must(token.NewVerifier(ring, token.VerifierConfig{Issuer: self, Audience: self, Revoker: revoked}))
	signIn := must(auth.New(users, tokens, auth.Config{
		Sessions: users, RefreshKeys: []guard.Secret{guard.NewSecret([]byte(rand.Text() + rand.Text()))}, Revoker: revoked, Verifier: verifier,
		Passwords: passwords, Throttle: must(ratelimit.NewSignIn(ratelimit.SignInConfig{Hooks: hooks})), Hooks: hooks,
	}))

	mux := guard.NewMux(hooks, verifier)
	// Without hashes of phpass this is signIn.Token().
	mux.Handle("/token", signIn.SignIn(auth.WayIn{
		Name:  "imported",
		Login: func(r *http.Request) (string, error) { return r.PostFormValue("username"), nil },
		Prove: adapter{users, passwords}.prove,
	}))
	mux.Handle("/token/refresh", signIn.Refresh())
	mux.Handle("/logout/", signIn.Logout())
	mux.Handle("GET /me", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		u, err := users.UserByID(r.Context(), p.Subject)
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		scheme, _, _ := strings.Cut(strings.TrimPrefix(u.PasswordHash, "$"), "$")
		fmt.Fprintf(w, "You are user %s, your hash is %s.\n", u.ID, scheme)
	})))
	fmt.Printf("listening on %s\n", self)
	server := http.Server{Handler: mux, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

// load reads the users.
func load(users *auth.Memory, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for id := 1; lines.Scan(); id++ {
		login, hash, _ := strings.Cut(lines.Text(), " ")
		if err := users.SetUser(login, auth.User{ID: strconv.Itoa(id), PasswordHash: hash}); err != nil {
			return err
		}
	}
	return lines.Err()
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
