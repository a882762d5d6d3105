package servers_test

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/examples/integration/servers"
)

func TestRedisKeepsWhatItAcknowledged(t *testing.T) {
	s := servers.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	if err := client.Get(t.Context(), "key").Err(); err == nil {
		t.Error("a server that was killed answers")
	}
	s.Start(t)
	if got, err := client.Get(t.Context(), "key").Result(); err != nil || got != "value" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	s.Kill(t)
	s.Lose(t)
	s.Start(t)
	if err := client.Get(t.Context(), "key").Err(); err != redis.Nil {
		t.Errorf("after its data was lost: %v", err)
	}
}

func TestPostgreSQLKeepsWhatItAcknowledged(t *testing.T) {
	s := servers.PostgreSQL(t)
	db, err := sql.Open("pgx", s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE kept (n INTEGER); INSERT INTO kept VALUES (42)"); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Start(t)
	var n int
	for range 3 { // connections from before are found to be dead
		if err = db.QueryRowContext(t.Context(), "SELECT n FROM kept").Scan(&n); err == nil {
			break
		}
	}
	if err != nil || n != 42 {
		t.Errorf("after a restart: %d, %v", n, err)
	}
}
