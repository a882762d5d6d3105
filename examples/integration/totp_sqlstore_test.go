package integration

import (
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/sqlstore"
	"github.com/gatewright/gatewright/totp/totptest"
)

// openFactors returns a store of second factors in a file, on which several may
// be opened.
func openFactors(t *testing.T, path string) totp.Store {
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
	return store
}

func TestFactorsInSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "factors.db") // one for all rules: they must not get in each other's way
	totptest.Run(t, func(t *testing.T) totp.Store { return openFactors(t, path) })
}

// What is stored outlives the process that stored it, and several processes on
// one file let one of them save.
func TestFactorsInSQLiteOfSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "factors.db")
	var stores []totp.Store
	for range 2 {
		stores = append(stores, openFactors(t, path))
	}
	for version := range int64(20) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		won := map[int]bool{}
		for i := range 20 {
			wg.Go(func() {
				saved, err := stores[i%2].SaveTOTP(t.Context(), "alice", totp.Record{Version: version, Step: int64(i)})
				if err != nil {
					t.Error(err)
				}
				if saved {
					mu.Lock()
					defer mu.Unlock()
					won[i] = true
				}
			})
		}
		wg.Wait()
		r, err := openFactors(t, path).LoadTOTP(t.Context(), "alice")
		if err != nil || len(won) != 1 || !won[int(r.Step)] || r.Version != version+1 {
			t.Fatalf("%v saved version %d, and it is %+v, %v", won, version, r, err)
		}
	}
}
