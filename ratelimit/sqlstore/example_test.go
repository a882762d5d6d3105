package sqlstore_test

import (
	"context"
	"database/sql"
	"log"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// A host counts in its PostgreSQL, and cleans up every minute.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://localhost/app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(20)
	if _, err := db.ExecContext(ctx, sqlstore.Schema(sqlstore.PostgreSQL)); err != nil {
		log.Fatal(err)
	}
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for now := range time.Tick(time.Minute) {
			if _, err := store.DeleteExpired(ctx, now); err != nil {
				log.Print(err)
			}
		}
	}()
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
		Store:  store,
		Name:   "api",
		Secret: guard.NewSecret([]byte("32 bytes of crypto/rand, the same in all processes")),
		Nodes:  2, // each takes its part of the quota while the database is down
	}, ratelimit.MustParse("5/second;1000/hour")...)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", limiter.Handler(http.NotFoundHandler())))
}
