package integration

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/apikeytest"
	"github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// openKeys returns a store of API keys in a file of its own, on which several
// may be opened.
func openKeys(t *testing.T, path string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	return openKeysWith(t, path, sqlstore.Config{})
}

func openKeysWith(t *testing.T, path string, config sqlstore.Config) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(4)
	for range 2 { // again changes nothing
		if _, err := db.ExecContext(t.Context(), sqlstore.Schema(sqlstore.SQLite)); err != nil {
			t.Fatal(err)
		}
	}
	config.Dialect = sqlstore.SQLite
	store, err := sqlstore.New(db, config)
	if err != nil {
		t.Fatal(err)
	}
	return store, db
}

func TestAPIKeysInSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db") // one for all rules: they must not get in each other's way
	apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
		store, _ := openKeysWith(t, path, sqlstore.Config{MaxPerOwner: 10})
		return apikeytest.Open(t, store, records...)
	})
}

// Two processes rotate one key: K7 on a real database.
func TestAPIKeysInSQLiteRotateOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	format, err := apikey.NewFormat("acme")
	if err != nil {
		t.Fatal(err)
	}
	var managers []*apikey.Manager
	for range 2 {
		store, _ := openKeys(t, path)
		keys, err := apikey.New(store, apikey.Config{Format: format, Peppers: []apikey.Pepper{{ID: "1", Secret: guard.NewSecret(make([]byte, 32))}}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory)})
		if err != nil {
			t.Fatal(err)
		}
		managers = append(managers, m)
	}
	_, record, err := managers[0].Issue(t.Context(), &identity.Principal{Issuer: "test", Subject: "ada"}, apikey.Spec{Owner: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	results := make([]error, 20)
	for i := range results {
		wg.Go(func() {
			_, _, results[i] = managers[i%2].Rotate(t.Context(), &identity.Principal{Issuer: "test", Subject: "ada"}, record.ID, time.Minute)
		})
	}
	wg.Wait()
	rotated := 0
	for _, err := range results {
		switch {
		case err == nil:
			rotated++
		case !errors.Is(err, apikey.ErrAlreadyRotated):
			t.Error(err)
		}
	}
	all, err := managers[1].List(t.Context(), "ada")
	if rotated != 1 || len(all) != 2 || err != nil {
		t.Errorf("%d rotations, %d keys (%v), want 1 and 2", rotated, len(all), err)
	}
}

func TestAPIKeysInSQLiteAreDeletedAfterTheirEnd(t *testing.T) {
	store, db := openKeys(t, filepath.Join(t.TempDir(), "keys.db"))
	now := time.Now()
	old, young := now.Add(-2*time.Hour), now.Add(-time.Minute)
	for i, r := range []apikey.Record{
		{}, {RevokedAt: old}, {ExpiresAt: old}, {Successor: "x", GraceUntil: old}, {RevokedAt: young}, {ExpiresAt: now.Add(time.Hour)}, {GraceUntil: young},
	} {
		r.ID, r.Owner, r.Hash, r.PepperID = fmt.Sprint("k", i), "ada", "h", "1"
		if err := store.WriteKeys(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
	}
	n, err := store.DeleteExpired(t.Context(), now.Add(-time.Hour))
	var left string
	if err := errors.Join(err, db.QueryRow("SELECT group_concat(id) FROM (SELECT id FROM gatewright_api_keys ORDER BY id)").Scan(&left)); err != nil {
		t.Fatal(err)
	}
	if n != 3 || left != "k0,k4,k5,k6" {
		t.Errorf("%d deleted, %s left", n, left)
	}
}

// Processes that make keys at once do not get past the bound together, without
// _txlock=immediate too.
func TestAPIKeysInSQLiteAreBoundedAcrossProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	var stores []*sqlstore.Store
	for i := range 3 {
		store, _ := openKeysWith(t, path, sqlstore.Config{MaxPerOwner: 5})
		if i == 2 {
			deferred, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { deferred.Close() })
			if store, err = sqlstore.New(deferred, sqlstore.Config{Dialect: sqlstore.SQLite, MaxPerOwner: 5}); err != nil {
				t.Fatal(err)
			}
		}
		stores = append(stores, store)
	}
	var wg sync.WaitGroup
	results := make([]error, 30)
	for i := range results {
		wg.Go(func() {
			results[i] = stores[i%3].WriteKeys(t.Context(), nil, &apikey.Record{ID: fmt.Sprint("k", i), Owner: "ada", Hash: "h", PepperID: "1"})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range results {
		if err == nil {
			made++
		} else if !errors.Is(err, apikey.ErrTooMany) {
			t.Error(err)
		}
	}
	all, err := stores[0].KeysByOwner(t.Context(), "ada")
	if made != 5 || len(all) != 5 || err != nil {
		t.Errorf("%d keys were made and %d are there (%v), want 5", made, len(all), err)
	}
}

// Keys that have ended, however many, are neither listed nor read for the list.
func TestAPIKeysInSQLiteThatHaveEndedHideNone(t *testing.T) {
	store, db := openKeys(t, filepath.Join(t.TempDir(), "keys.db"))
	if err := store.WriteKeys(t.Context(), nil, &apikey.Record{ID: "stolen", Owner: "ada", Hash: "h", PepperID: "1", CreatedAt: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	// As many rotations as one likes.
	if _, err := db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
		INSERT INTO gatewright_api_keys SELECT 'k' || i, '', 'ada', '', '', '[]', '[]', 1, ? + i, 0, 0, 0, 'x', 1, '[]', '', 0, 'h', '1', 1 FROM n`,
		time.Now().UnixMicro()); err != nil {
		t.Fatal(err)
	}
	all, err := store.KeysByOwner(t.Context(), "ada")
	if err != nil || len(all) != 1 || all[0].ID != "stolen" {
		t.Errorf("%d keys (%v), want the stolen one", len(all), err)
	}
	// The plan of the store's own condition, which the index has word for word.
	var index string
	if err := db.QueryRowContext(t.Context(), `SELECT sql FROM sqlite_master WHERE name = 'gatewright_api_keys_living'`).Scan(&index); err != nil {
		t.Fatal(err)
	}
	_, ends, _ := strings.Cut(index, "(owner, ")
	rows, err := db.QueryContext(t.Context(), `EXPLAIN QUERY PLAN SELECT * FROM gatewright_api_keys WHERE owner = ? AND `+strings.TrimSuffix(ends, ")")+
		` > ? ORDER BY created DESC, id LIMIT ?`, "ada", 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if got := strings.Join(plan, "; "); rows.Err() != nil || !strings.Contains(got, "gatewright_api_keys_living (owner=? AND <expr>>?)") {
		t.Errorf("the plan is %s (%v)", got, rows.Err())
	}
}
