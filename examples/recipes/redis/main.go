// Command redis is one of several instances of a service that share a Redis:
// sessions, revocations and limits are in it, so that a user signs in at one instance
// and out at another, and limits hold for all together. The instances share the
// folder of the secrets, too, which the first makes: start it alone.
//
//	go -C examples run ./recipes/redis -redis 127.0.0.1:6379 -dir /etc/app -issuer https://app.example.com
//
// The Redis keeps what it acknowledges: appendonly yes, appendfsync always,
// maxmemory-policy noeviction.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/redisstore"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/ratelimit"
	limitstore "github.com/gatewright/gatewright/ratelimit/redisstore"
)

func main() {
	addr := flag.String("redis", "127.0.0.1:6379", "`address` of the Redis")
	dir := flag.String("dir", ".", "`folder` of the secrets, the same for all instances")
	self := flag.String("issuer", "http://localhost:8080", "`URL` at which clients reach the instances")
	flag.Parse()
	ctx := context.Background()
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}

	client := redis.NewClient(&redis.Options{Addr: *addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
	}
	revoked := must(blacklist.NewReplica(must(redislog.New(eval, redislog.Config{})), blacklist.ReplicaConfig{Hooks: hooks}))
	check(revoked.Refresh(ctx))
	go revoked.Run(ctx)
	counts := must(limitstore.New(eval, limitstore.Config{}))
	secret := func(name string) guard.Secret {
		return guard.NewSecret(must(once(filepath.Join(*dir, name), func() ([]byte, error) { return []byte(rand.Text() + rand.Text()), nil })))
	}
	throttle := must(ratelimit.NewSignIn(ratelimit.SignInConfig{Store: counts, Name: "sign-in", Secret: secret("limits.key"), Hooks: hooks}))
	limit := must(ratelimit.New(ratelimit.ByPrincipal, ratelimit.Config{Store: counts, Name: "api", Secret: secret("limits.key"), Hooks: hooks}, ratelimit.MustParse("10/minute")...))

	key := must(token.ParsePrivateKey(must(once(filepath.Join(*dir, "signing.pem"), func() ([]byte, error) { return token.GeneratePrivateKey(token.ES256) }))))
	ring := must(token.NewKeyring(key))
	tokens := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: *self, Audience: *self}))
	verifier := must(token.NewVerifier(ring, token.VerifierConfig{Issuer: *self, Audience: *self, Revoker: revoked}))

	// The host's users: here one, with a password in the folder.
	word := string(must(once(filepath.Join(*dir, "password"), func() ([]byte, error) { return []byte(rand.Text()), nil })))
	passwords := must(password.New(password.Config{}))
	users := new(auth.Memory)
	check(users.SetUser("alice", auth.User{ID: "1", PasswordHash: must(passwords.Hash(ctx, word))}))
	signIn := must(auth.New(users, tokens, auth.Config{
		Sessions: must(redisstore.New(eval, redisstore.Config{})), RefreshKeys: []guard.Secret{secret("refresh.key")},
		Revoker: revoked, Verifier: verifier, Passwords: passwords, Throttle: throttle, Hooks: hooks,
	}))

	mux := guard.NewMux(hooks, verifier)
	mux.Handle("/token", signIn.Token())
	mux.Handle("/token/refresh", signIn.Refresh())
	mux.Handle("/logout/", signIn.Logout())
	mux.Handle("GET /me", hooks.Authenticated(limit.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "You are user %s.\n", p.Subject)
	}))))
	fmt.Printf("curl -s http://%s/token -d username=alice -d password=%s\n", listener.Addr(), word)
	server := http.Server{Handler: mux, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

// once reads a file, and makes it if it is missing.
func once(name string, content func() ([]byte, error)) ([]byte, error) {
	data, err := os.ReadFile(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if data, err = content(); err != nil {
		return nil, err
	}
	return data, os.WriteFile(name, data, 0o600)
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
