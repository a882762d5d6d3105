package integration

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/apikeytest"
	"github.com/gatewright/gatewright/apikey/sqlstore"
)

// openKeys returns a store of API keys in a file of its own, on which several
// may be opened.
func openKeys(t *testing.T, path string) (*sqlstore.Store, *sql.DB) {
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
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	return store, db
}

func TestAPIKeysInSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db") // one for all rules: they must not get in each other's way
	apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
		store, _ := openKeys(t, path)
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
		keys, err := apikey.New(store, apikey.Config{Format: format, Peppers: []apikey.Pepper{{ID: "1", Secret: make([]byte, 32)}}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := apikey.NewManager(keys, store, apikey.ManagerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		managers = append(managers, m)
	}
	_, record, err := managers[0].Issue(t.Context(), apikey.Spec{Owner: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	results := make([]error, 20)
	for i := range results {
		wg.Go(func() { _, _, results[i] = managers[i%2].Rotate(t.Context(), record.ID, time.Minute) })
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
	n, err := store.DeleteEnded(t.Context(), now.Add(-time.Hour))
	var left string
	if err := errors.Join(err, db.QueryRow("SELECT group_concat(id) FROM (SELECT id FROM gatewright_api_keys ORDER BY id)").Scan(&left)); err != nil {
		t.Fatal(err)
	}
	if n != 3 || left != "k0,k4,k5,k6" {
		t.Errorf("%d deleted, %s left", n, left)
	}
}
