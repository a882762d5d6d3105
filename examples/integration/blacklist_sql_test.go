package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

// openRevocations returns another view of the log in a file.
func openRevocations(t *testing.T, path string) (*sqllog.Log, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(4)
	return revocationsIn(t, db, sqllog.SQLite), db
}

// openPostgreSQL returns another pool of connections to the server.
func openPostgreSQL(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(8)
	return db
}

func revocationsIn(t *testing.T, db *sql.DB, dialect sqllog.Dialect) *sqllog.Log {
	t.Helper()
	for range 2 { // again changes nothing
		if _, err := db.ExecContext(t.Context(), sqllog.Schema(dialect)); err != nil {
			t.Fatal(err)
		}
	}
	log, err := sqllog.New(db, sqllog.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestRevocationsInSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations.db")
	open := func(t *testing.T) blacklist.Log {
		log, _ := openRevocations(t, path)
		return log
	}
	t.Run("conformance", func(t *testing.T) { blacklisttest.RunLog(t, open) })
	t.Run("conformance of a replica", func(t *testing.T) { replicaKeepsTheRules(t, open) })
	t.Run("a reader sees everything in order while several processes append", func(t *testing.T) { readWhileAppending(t, open) })
	t.Run("a logout is known elsewhere within a second", func(t *testing.T) { logoutElsewhere(t, open) })
	t.Run("tables", func(t *testing.T) {
		log, db := openRevocations(t, filepath.Join(t.TempDir(), "tables.db"))
		sqlTables(t, log, db)
	})
}

func TestRevocationsInPostgreSQL(t *testing.T) {
	server := servers.PostgreSQL(t)
	open := func(t *testing.T) blacklist.Log {
		return revocationsIn(t, openPostgreSQL(t, server.URL), sqllog.PostgreSQL)
	}
	t.Run("conformance", func(t *testing.T) { blacklisttest.RunLog(t, open) })
	t.Run("a stricter level of isolation changes nothing", func(t *testing.T) {
		readWhileAppending(t, func(t *testing.T) blacklist.Log {
			return revocationsIn(t, openPostgreSQL(t, server.URL+"&default_transaction_isolation=serializable"), sqllog.PostgreSQL)
		})
	})
	t.Run("conformance of a replica", func(t *testing.T) { replicaKeepsTheRules(t, open) })
	t.Run("a reader sees everything in order while several processes append", func(t *testing.T) { readWhileAppending(t, open) })
	t.Run("a logout is known elsewhere within a second", func(t *testing.T) { logoutElsewhere(t, open) })
	ownServer(t, "GATEWRIGHT_POSTGRES")
	t.Run("a logout is synchronous, and its transaction does not stay open", func(t *testing.T) {
		db := openPostgreSQL(t, server.URL+"&synchronous_commit=off")
		log := revocationsIn(t, db, sqllog.PostgreSQL)
		if _, err := db.ExecContext(t.Context(), `
			CREATE TABLE settings (value TEXT);
			CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN INSERT INTO settings VALUES (current_setting('synchronous_commit')
					|| ' ' || current_setting('idle_in_transaction_session_timeout')); RETURN NULL; END $$;
			CREATE TRIGGER note AFTER INSERT ON gatewright_revocations EXECUTE FUNCTION note()`); err != nil {
			t.Fatal(err)
		}
		_, err := log.Append(t.Context(), someEntry(0))
		var value string
		if err := errors.Join(err, db.QueryRow(`SELECT string_agg(value, ',') FROM settings`).Scan(&value)); err != nil || value != "on 5s" {
			t.Errorf("%q, %v, want on 5s", value, err)
		}
		if _, err := db.ExecContext(t.Context(), `DROP TRIGGER note ON gatewright_revocations`); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("killed and started again, it has every acknowledged revocation", func(t *testing.T) {
		acknowledgedSurvive(t, server, open)
	})
	t.Run("tables", func(t *testing.T) {
		db := openPostgreSQL(t, server.URL)
		sqlTables(t, revocationsIn(t, db, sqllog.PostgreSQL), db)
	})
}

// sqlTables changes the tables under the log. It leaves them empty.
func sqlTables(t *testing.T, log *sqllog.Log, db *sql.DB) {
	ctx := t.Context()
	do := func(statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(ctx, fmt.Sprintf(statement, args...)); err != nil {
			t.Fatal(err)
		}
	}
	add := func() uint64 {
		t.Helper()
		n, err := log.Append(ctx, someEntry(0))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	do(`DELETE FROM gatewright_revocations`)
	do(`DELETE FROM gatewright_revocations_end`)
	if entries, last, err := log.Since(ctx, 0, 10); len(entries) != 0 || last != 0 || err != nil {
		t.Errorf("an empty log: %v, %d, %v", entries, last, err)
	}
	if _, _, err := log.Since(ctx, 1, 10); !errors.Is(err, blacklist.ErrRewound) {
		t.Errorf("an empty log after number 1: %v, want ErrRewound", err)
	}

	old := add()
	restored := add()
	lost := add()
	do(`DELETE FROM gatewright_revocations WHERE number > %d`, restored)
	do(`UPDATE gatewright_revocations_end SET last = %d`, restored)
	if _, _, err := log.Since(ctx, lost, 10); !errors.Is(err, blacklist.ErrRewound) {
		t.Errorf("restored from a backup: %v, want ErrRewound", err)
	}
	if again := add(); again <= lost {
		t.Errorf("restored from a backup, it gives the number %d after %d", again, lost)
	}
	if entries, _, err := log.Since(ctx, old, 10); len(entries) != 2 || err != nil {
		t.Errorf("%d entries, %v, want the one of the backup and the new one", len(entries), err)
	}

	future := time.Now().Add(time.Hour).UnixMicro()
	do(`UPDATE gatewright_revocations_end SET last = %d`, future)
	if n := add(); n != uint64(future)+1 {
		t.Errorf("with the clock set back, %d follows %d", n, future)
	}
	do(`DELETE FROM gatewright_revocations`) // as Compact does when all have expired
	if n := add(); n != uint64(future)+2 {
		t.Errorf("without entries, %d follows %d", n, future+1)
	}

	for _, change := range []string{"kind = 16", "kind = 300", "kind = -1", "id = substr(id, 2)", "spare = substr(id, 2)", "kind = 0", "number = number + 10"} {
		do(`DELETE FROM gatewright_revocations`)
		start := add()
		add()
		do(`UPDATE gatewright_revocations SET %s WHERE number > %d`, change, start)
		if entries, last, err := log.Since(ctx, start-1, 10); err == nil || entries != nil || last != 0 {
			t.Errorf("%s: %v, %d, %v, want an error", change, entries, last, err)
		}
	}
	do(`DELETE FROM gatewright_revocations`)
	do(`UPDATE gatewright_revocations_end SET last = 9223372036854775807`)
	if _, err := log.Append(ctx, someEntry(0)); err == nil {
		t.Error("there is a number after the last one")
	}
	do(`DELETE FROM gatewright_revocations_end`)
	do(`DROP TABLE gatewright_revocations`)
	if _, _, err := log.Since(ctx, 0, 10); err == nil {
		t.Error("no error without the table")
	}
	if _, err := log.Append(ctx, someEntry(0)); err == nil {
		t.Error("no error without the table")
	}
	if _, err := log.DeleteExpired(ctx, time.Now()); err == nil {
		t.Error("no error without the table")
	}
}

// What follows is for the log in Redis as well.

// ownServer ends a test that would do harm to a server that was there before.
func ownServer(t *testing.T, variable string) {
	t.Helper()
	if os.Getenv(variable) != "" {
		t.Skipf("what follows ends the server or its data, and %s is somebody's", variable)
	}
}

func someEntry(mark int64) blacklist.Entry {
	e := blacklist.Entry{Kind: blacklist.KindSession, Before: mark, Expires: time.Now().Add(time.Hour).UnixMicro()}
	rand.Read(e.ID[:])
	return e
}

// node starts a replica with a log of its own, and ends it with the test.
func node(t *testing.T, log blacklist.Log, config blacklist.ReplicaConfig) *blacklist.Replica {
	t.Helper()
	r, err := blacklist.NewReplica(log, config)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log is read", func() error { return r.Refresh(t.Context()) })
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return r
}

// replicaKeepsTheRules asks a replica of a log, which has what other subtests have
// written.
func replicaKeepsTheRules(t *testing.T, open func(*testing.T) blacklist.Log) {
	blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker {
		return node(t, open(t), blacklist.ReplicaConfig{MaxStale: time.Minute})
	})
}

func sessionOf(name string) *identity.Principal {
	return &identity.Principal{Issuer: issuer, Subject: "ada", Session: name}
}

func logout(ctx context.Context, r *blacklist.Replica, name string) error {
	return r.Revoke(ctx, identity.Revocation{Issuer: issuer, Session: name, Expires: time.Now().Add(time.Hour)})
}

// eventually waits until there is no error any more.
func eventually(t *testing.T, what string, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s: not after %v: %v", what, time.Since(began), err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// refused returns an error as long as a node does not refuse a session.
func refused(r *blacklist.Replica, name string) error {
	switch revoked, err := r.Revoked(context.Background(), sessionOf(name)); {
	case err != nil:
		return err
	case !revoked:
		return fmt.Errorf("%s is let in", name)
	}
	return nil
}

func logoutElsewhere(t *testing.T, open func(*testing.T) blacklist.Log) {
	nodes := []*blacklist.Replica{}
	for range 3 {
		nodes = append(nodes, node(t, open(t), blacklist.ReplicaConfig{}))
	}
	var took []time.Duration
	for i := range 10 {
		name := rand.Text()
		if err := logout(t.Context(), nodes[i%3], name); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, r := range nodes {
			eventually(t, "refused everywhere", func() error { return refused(r, name) })
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("refused by three nodes after %v (median) to %v", took[5], took[9])
	if took[5] > time.Second {
		t.Errorf("refused by three nodes after %v, half the time", took)
	}
}

// readWhileAppending appends from several clients, while another one reads in
// small pages. What it has read at the end must be the log from its beginning,
// every acknowledged entry in it, in the order of the numbers.
func readWhileAppending(t *testing.T, open func(*testing.T) blacklist.Log) {
	ctx := t.Context()
	reader := open(t)
	var start uint64
	for {
		entries, last, err := reader.Since(ctx, start, 1000)
		if err != nil {
			t.Fatal(err)
		}
		start = last
		if len(entries) == 0 {
			break
		}
	}
	const clients, writers, each = 3, 4, 20
	var mu sync.Mutex
	numbers := map[blacklist.ID]uint64{} // of acknowledged entries
	var all sync.WaitGroup
	for range clients {
		log := open(t)
		for range writers {
			all.Go(func() {
				for i := range each {
					batch := []blacklist.Entry{someEntry(0), someEntry(1), someEntry(2)}[:1+i%3]
					last, err := log.Append(ctx, batch...)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for i, e := range batch {
						numbers[e.ID] = last - uint64(len(batch)-1-i)
					}
					mu.Unlock()
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	var seen []blacklist.Entry
	for after, last := start, false; ; {
		select {
		case <-over:
			last = true
		default:
		}
		entries, next, err := reader.Since(ctx, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		seen, after = append(seen, entries...), next
		if last && len(entries) < 7 {
			break
		}
	}
	final, _, err := reader.Since(ctx, start, 10000)
	if err != nil || !slices.Equal(seen, final) {
		t.Errorf("read %d entries while they were written, and %d afterwards (%v), want the same", len(seen), len(final), err)
	}
	var previous uint64
	for i, e := range final {
		n, ok := numbers[e.ID]
		if !ok || n <= previous {
			t.Fatalf("entry %d has the number %d (%v) after %d", i, n, ok, previous)
		}
		previous = n
	}
	if want := clients * writers * (each*2 - 1); len(final) != len(numbers) || len(final) != want {
		t.Errorf("%d entries, %d acknowledged, %d sent", len(final), len(numbers), want)
	}
}

// acknowledgedSurvive kills a server while people log out, twice, and starts it
// again. It returns a node that was there all the time, and who was logged out.
func acknowledgedSurvive(t *testing.T, server *servers.Server, open func(*testing.T) blacklist.Log) (*blacklist.Replica, []string) {
	fast := blacklist.ReplicaConfig{Poll: 50 * time.Millisecond, WriteTimeout: time.Second}
	old := node(t, open(t), fast)
	writer := node(t, open(t), fast)
	var names []string // of acknowledged logouts
	failed := 0
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var all sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		before := len(names)
		for range 4 {
			all.Go(func() {
				for ctx.Err() == nil {
					name := rand.Text()
					err := logout(ctx, writer, name)
					mu.Lock()
					if err == nil {
						names = append(names, name)
						if len(names) == before+40 {
							once.Do(func() { close(enough) })
						}
					} else {
						failed++
					}
					mu.Unlock()
					if err != nil {
						time.Sleep(20 * time.Millisecond)
					}
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(30 * time.Second):
			t.Error("forty logouts take half a minute")
		}
		server.Kill(t)
		time.Sleep(250 * time.Millisecond) // logouts fail, and the server's own processes end
		cancel()
		all.Wait()
		for _, name := range names {
			if err := refused(writer, name); err != nil {
				t.Fatalf("with the server down: %v", err)
			}
		}
		server.Start(t)
	}
	if failed == 0 {
		t.Error("no logout failed while the server was down")
	}
	fresh := node(t, open(t), fast)
	took := eventually(t, "the old node reads again", func() error { return old.Refresh(t.Context()) })
	for _, name := range names {
		for _, r := range []*blacklist.Replica{fresh, old, writer} {
			if err := refused(r, name); err != nil {
				t.Fatalf("after %d acknowledged logouts: %v", len(names), err)
			}
		}
	}
	t.Logf("%d acknowledged logouts are there, %d failed; read again after %v", len(names), failed, took)
	return old, names
}

// protected returns who is let in by a node.
func protected(t *testing.T, r *blacklist.Replica) func(name string) int {
	t.Helper()
	g, err := blacklist.NewGuard(r, blacklist.GuardConfig{})
	if err != nil {
		t.Fatal(err)
	}
	h := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	return func(name string) int {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(""))
		h.ServeHTTP(w, req.WithContext(identity.NewContext(req.Context(), sessionOf(name))))
		return w.Code
	}
}
