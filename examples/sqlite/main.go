// Command sqlite is the persistent start: users, sessions and revocations in one
// SQLite file, keys that are read from PEM files and rotated. A restart signs nobody
// out, and a user who signed out stays out.
//
//	go -C examples run ./sqlite -dir /var/lib/app
//
// The folder gets the database and the keys. To start with users of your own, replace
// users.go; everything else stays.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/ratelimit"
)

//go:embed migrations/*.sql
var migrations embed.FS

func main() {
	dir := flag.String("dir", ".", "`folder` of the database and the keys")
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener := must(net.Listen("tcp", *addr))
	self := "http://" + listener.Addr().String()
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}

	// synchronous(full): a sign-out survives a power cut.
	db := must(sql.Open("sqlite", "file:"+filepath.Join(*dir, "app.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)&_txlock=immediate"))
	defer db.Close()
	files := must(fs.Sub(migrations, "migrations"))
	must(must(goose.NewProvider(goose.DialectSQLite3, db, files)).Up(ctx))

	passwords := must(password.New(password.Config{}))
	table := users{db}
	if secret := rand.Text(); must(table.addFirst(ctx, "alice", must(passwords.Hash(ctx, secret)))) {
		fmt.Printf("curl -s %s/token -d username=alice -d password=%s\n", self, secret)
	}

	// Whatever ends sessions is in the database, and in memory for each request.
	revoked := must(blacklist.NewReplica(must(sqllog.New(db, sqllog.Config{Dialect: sqllog.SQLite})), blacklist.ReplicaConfig{Hooks: hooks}))
	check(revoked.Refresh(ctx))
	go revoked.Run(ctx)

	keys := keyFolder{filepath.Join(*dir, "keys")}
	ring := must(token.NewKeyring(must(keys.read(time.Now()))...))
	go keys.rotate(ctx, ring)
	tokens := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: self, Audience: self, Lifetime: lifetime}))
	verifier := must(token.NewVerifier(ring, token.VerifierConfig{Issuer: self, Audience: self, Revoker: revoked}))
	sessions := must(sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite}))
	signIn := must(auth.New(table, tokens, auth.Config{
		Sessions: sessions, RefreshKeys: []guard.Secret{must(keys.refreshKey())}, Revoker: revoked, Verifier: verifier,
		Passwords: passwords, Throttle: must(ratelimit.NewSignIn(ratelimit.SignInConfig{Hooks: hooks})), Hooks: hooks,
	}))
	check(signIn.Ready(ctx))
	go sweep(ctx, sessions)

	// A user who is disabled is refused at the next request.
	accounts := must(auth.NewAccounts(table.load, func(u *auth.User) auth.User { return *u }, auth.AccountsConfig{Issuers: []string{self}, Hooks: hooks}))
	hooks.Active = accounts.Active // before NewMux, which copies hooks

	mux := guard.NewMux(hooks, verifier)
	mux.Handle("/token", signIn.Token())
	mux.Handle("/token/refresh", signIn.Refresh())
	mux.Handle("/logout/", signIn.Logout())
	mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
	mux.Handle("GET /me", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := accounts.Current(r.Context())
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		fmt.Fprintf(w, "You are user %s.\n", user.ID)
	})))

	limit := must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("20/second;600/minute")...))
	server := http.Server{
		Handler:        must(headers.New(headers.Config{})).Handler(limit.Handler(mux)),
		ReadTimeout:    10 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	go func() {
		<-ctx.Done()
		server.Shutdown(context.Background())
	}()
	fmt.Println("listening on", self)
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

// sweep deletes expired sessions every hour.
func sweep(ctx context.Context, sessions *sqlstore.Store) {
	for {
		if _, err := sessions.DeleteExpired(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Error("deleting expired sessions", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
