// Command rotation replaces the key that signs tokens while the service runs, and no
// client notices. On SIGHUP, and every 90 days, a new key is published; a day later it
// signs; the old key verifies until its last token has expired. SIGUSR1 withdraws the
// keys after a theft: it ends all tokens.
//
//	go -C examples run ./recipes/rotation
//
// The keys are in memory here. recipes/redis and examples/sqlite keep them in files.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

const (
	lifetime = 15 * time.Minute // of a token
	lead     = 24 * time.Hour   // how long a key is published before it signs
	turn     = 90 * 24 * time.Hour
)

// A keeper has the keys of a ring, the newest last.
type keeper struct {
	ring *token.Keyring
	keys []token.Key
}

func newKeeper() *keeper {
	first := must(token.GenerateKey(token.ES256))
	return &keeper{must(token.NewKeyring(first)), []token.Key{first}}
}

// rotate publishes a new key, which signs after the lead.
func (k *keeper) rotate(now time.Time) error {
	next := must(token.GenerateKey(token.ES256))
	next.PublishFrom, next.SignFrom = now, now.Add(lead)
	keys := append([]token.Key(nil), k.keys...)
	// The last key signs until the next one does, and verifies for an hour more
	// than its tokens live.
	keys[len(keys)-1].VerifyUntil = next.SignFrom.Add(lifetime + time.Hour)
	for !keys[0].VerifyUntil.IsZero() && now.After(keys[0].VerifyUntil) {
		keys = keys[1:]
	}
	return k.replace(append(keys, next)...)
}

// withdraw is for stolen keys: their tokens are refused at once, and another key
// signs from now on.
func (k *keeper) withdraw() error {
	return k.replace(must(token.GenerateKey(token.ES256)))
}

func (k *keeper) replace(keys ...token.Key) error {
	err := k.ring.Replace(keys...)
	if err == nil {
		k.keys = keys
	}
	return err
}

// newServer returns the routes of a service with the keys of k.
func newServer(k *keeper, self string) (http.Handler, *token.Issuer) {
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}
	k.ring.Hooks = hooks // each Replace is an event
	tokens := must(token.NewIssuer(k.ring, token.IssuerConfig{Issuer: self, Audience: self, Lifetime: lifetime}))
	verifier := must(token.NewVerifier(k.ring, token.VerifierConfig{Issuer: self, Audience: self, Revoker: new(blacklist.Memory)}))
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("GET /.well-known/jwks.json", k.ring.JWKSHandler())
	mux.Handle("GET /me", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "You are %s.\n", p.Subject)
	})))
	return mux, tokens
}

func main() {
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	self := "http://" + listener.Addr().String()
	k := newKeeper()
	handler, tokens := newServer(k, self)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	go func() {
		for {
			var err error
			select {
			case s := <-signals:
				if s == syscall.SIGUSR1 {
					err = k.withdraw()
					break
				}
				err = k.rotate(time.Now())
			case <-time.After(turn):
				err = k.rotate(time.Now())
			}
			slog.Info("the keys were replaced", "keys", len(k.keys), "error", err)
		}
	}()
	access := must(tokens.Issue(context.Background(), &identity.Principal{Subject: "ada"}, nil))
	fmt.Printf("curl -s %s/me -H 'Authorization: Bearer %s'\n", self, access)
	server := http.Server{Handler: handler, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
