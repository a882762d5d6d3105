package servers_test

import (
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

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

func TestPauseStopsEveryConnection(t *testing.T) {
	s := servers.PostgreSQL(t)
	if s.Addr == "" {
		t.Skip("a server that runs already is not paused")
	}
	db, err := sql.Open("pgx", s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context()) // made before
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Pause()
	var answered atomic.Bool
	answer := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(t.Context(), "SELECT 1")
		answered.Store(true)
		answer <- err
	}()
	time.Sleep(300 * time.Millisecond)
	if answered.Load() {
		t.Error("a server that is paused answers")
	}
	s.Continue()
	if err := <-answer; err != nil {
		t.Errorf("after the pause: %v", err)
	}
}
