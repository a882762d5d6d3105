// Command apikeys is a service for programs, which have API keys and nothing else.
// The keys are in an SQLite file; their pepper is in a file beside it. The key that
// is printed at the first start has the scope admin and makes the others.
//
//	go -C examples run ./recipes/apikeys -dir /var/lib/app
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
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

	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

func main() {
	dir := flag.String("dir", ".", "`folder` of the database and the pepper")
	flag.Parse()
	ctx := context.Background()
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}

	db := must(sql.Open("sqlite", "file:"+filepath.Join(*dir, "keys.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)&_txlock=immediate"))
	must(db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)))
	store := must(sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite}))
	keys := must(apikey.New(store, apikey.Config{
		Format:   must(apikey.NewFormat("acme", "live")),
		Peppers:  []apikey.Pepper{{ID: "1", Secret: must(pepper(filepath.Join(*dir, "pepper")))}},
		Throttle: must(ratelimit.NewKeyThrottle(ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("20/15minutes")...)),
		Hooks:    hooks,
	}))
	// One process: the database keeps what is revoked. Several share a log, as
	// recipes/redis does.
	manager := must(apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory), Hooks: hooks}))

	const operator = "operator"
	if len(must(manager.List(ctx, operator))) == 0 {
		key, _, err := manager.Issue(ctx, &identity.Principal{Issuer: "setup", Subject: operator}, apikey.Spec{Owner: operator, Name: "first", Scopes: identity.NewSet("admin")})
		check(err)
		fmt.Printf("curl -s http://%s/keys/ -H 'X-API-Key: %s' -d name=billing -d scope=read:reports\n", listener.Addr(), key.Plain())
	}

	scope := must(scopes.New(scopes.Config{Scheme: "ApiKey", Hooks: hooks}))
	mux := guard.NewMux(hooks, keys)
	mux.Handle("GET /reports/", scope.Require("read:reports")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "The reports, for %s.\n", p.Subject)
	})))
	mux.Handle("POST /keys/", scope.Require("admin")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		key, record, err := manager.Issue(r.Context(), p, apikey.Spec{
			Owner: r.FormValue("name"), Name: r.FormValue("name"), Scopes: identity.ParseSet(r.FormValue("scope")),
			ExpiresAt: time.Now().AddDate(1, 0, 0),
		})
		if errors.Is(err, apikey.ErrSpec) {
			err = guard.InvalidRequest("The key cannot be made with this name and scope.", err)
		}
		if errors.Is(err, apikey.ErrTooMany) {
			err = guard.NewDenial(http.StatusConflict, "too_many_keys", "There are too many keys. Revoke one.", err)
		}
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"id": record.ID, "key": key.Plain()}) // shown once
	})))
	mux.Handle("DELETE /keys/{id}", scope.Require("admin")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := manager.Revoke(r.Context(), r.PathValue("id"))
		if errors.Is(err, apikey.ErrNotFound) {
			err = guard.NotFound(err)
		}
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})))
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := http.Server{Handler: mux, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

// pepper reads the secret of the keyed hashes, and makes it if it is missing.
func pepper(name string) (guard.Secret, error) {
	secret, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		secret = []byte(rand.Text() + rand.Text())
		err = os.WriteFile(name, secret, 0o600)
	}
	return guard.NewSecret(secret), err
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
