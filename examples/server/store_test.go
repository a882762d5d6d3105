package main

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
)

func emptyDatabase(t *testing.T) *sql.DB {
	t.Helper()
	return openTestDatabase(t, filepath.Join(t.TempDir(), "test.db"))
}

func TestUsersAreAUserStore(t *testing.T) {
	authtest.RunUsers(t, func(t *testing.T, known map[string]auth.User) auth.UserStore {
		s := users{emptyDatabase(t)}
		// The database numbers them in the order of their creation.
		logins := slices.SortedFunc(maps.Keys(known), func(a, b string) int {
			return strings.Compare(known[a].ID, known[b].ID)
		})
		for _, login := range logins {
			u := known[login]
			row := &user{Username: login, Disabled: u.Disabled, PasswordHash: u.PasswordHash, Roles: u.Roles, Scopes: u.Scopes}
			if err := s.create(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			if got := strconv.FormatInt(row.ID, 10); got != u.ID {
				t.Fatalf("%s has ID %s, want %s", login, got, u.ID)
			}
		}
		return s
	})
}

func openSessions(t *testing.T) *sqlstore.Store {
	s, err := sqlstore.New(emptyDatabase(t), sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionsAreARefreshStore(t *testing.T) {
	authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return openSessions(t) })
}

func TestSessionsAreAChallengeStore(t *testing.T) {
	authtest.RunChallenges(t, func(t *testing.T) auth.ChallengeStore { return openSessions(t) })
}

func TestRevokerIsABlacklist(t *testing.T) {
	blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker { return &revoker{db: emptyDatabase(t)} })
}

func TestRevokerRemembersAcrossARestart(t *testing.T) {
	ctx := t.Context()
	db := emptyDatabase(t)
	now := time.Now()
	before := &revoker{db: db}
	for _, r := range []identity.Revocation{
		{Issuer: "i", Credential: "token", Expires: now.Add(time.Hour)},
		{Issuer: "i", Session: "session", Expires: now.Add(time.Hour)},
		{Issuer: "i", Subject: "for ever"},
		{Issuer: "i", Tenant: "tenant", Before: now, Expires: now.Add(time.Hour)},
		{Issuer: "i", Session: "over", Expires: now.Add(time.Millisecond)},
	} {
		if err := before.Revoke(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := before.Revoke(ctx, identity.Revocation{Issuer: "i"}); err == nil {
		t.Error("a revocation of everything for ever was taken")
	}
	if err := before.forget(ctx, now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}

	after := &revoker{db: db}
	if err := after.load(ctx); err != nil {
		t.Fatalf("loading: %v", err)
	}
	for _, tt := range []struct {
		name string
		p    identity.Principal
		want bool
	}{
		{"a token", identity.Principal{Issuer: "i", Credential: "token"}, true},
		{"a session", identity.Principal{Issuer: "i", Credential: "x", Session: "session"}, true},
		{"a subject", identity.Principal{Issuer: "i", Subject: "for ever"}, true},
		{"a tenant, issued before", identity.Principal{Issuer: "i", Tenant: "tenant", IssuedAt: now.Add(-time.Second)}, true},
		{"a tenant, issued after", identity.Principal{Issuer: "i", Tenant: "tenant", IssuedAt: now.Add(time.Second)}, false},
		{"another issuer", identity.Principal{Issuer: "j", Credential: "token"}, false},
		{"what has expired", identity.Principal{Issuer: "i", Session: "over"}, false},
	} {
		if got, err := after.Revoked(ctx, &tt.p); err != nil || got != tt.want {
			t.Errorf("%s: revoked = %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	var rows int
	if err := db.QueryRow("SELECT count(*) FROM revocations").Scan(&rows); err != nil || rows != 4 {
		t.Errorf("%d rows (%v) after dropping what has expired, want 4", rows, err)
	}
}

// schema returns the statements that made the tables of db which begin with
// prefix, and their indexes, without the spaces that do not matter.
func schema(t *testing.T, db *sql.DB, prefix string) string {
	t.Helper()
	rows, err := db.Query("SELECT sql FROM sqlite_master WHERE substr(tbl_name, 1, ?) = ? AND sql IS NOT NULL ORDER BY name", len(prefix), prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Join(strings.Fields(statement), " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func TestMigrationsMakeTheTablesOfSqlstore(t *testing.T) {
	plain, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "plain.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Exec(sqlstore.Schema(sqlstore.SQLite)); err != nil {
		t.Fatal(err)
	}
	got, want := schema(t, emptyDatabase(t), "gatewright_"), schema(t, plain, "gatewright_")
	if got != want || want == "" {
		t.Errorf("the migrations make\n%s\nand sqlstore.Schema makes\n%s", got, want)
	}
}

func TestMigrationsCanBeUndoneAndDoneAgain(t *testing.T) {
	db := emptyDatabase(t)
	tables := func() string { return schema(t, db, "") }
	want := tables()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if left := tables(); regexp.MustCompile(`users|gatewright|revocations`).MatchString(left) {
		t.Errorf("left after undoing all:\n%s", left)
	}
	if err := migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if got := tables(); got != want {
		t.Errorf("done again:\n%s\nwant\n%s", got, want)
	}
	if err := migrate(t.Context(), db); err != nil {
		t.Errorf("with nothing to do: %v", err)
	}
}

func TestDatabaseCanBeOpenedByManyAtOnce(t *testing.T) {
	for round := range 4 {
		path := filepath.Join(t.TempDir(), "shared.db")
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range 8 {
			wg.Go(func() {
				<-begin
				db, err := openDatabase(t.Context(), path)
				if err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
				defer db.Close()
				u := &user{Username: fmt.Sprint("user", i)}
				if err := (users{db}).create(t.Context(), u); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		close(begin)
		wg.Wait()
		db := openTestDatabase(t, path)
		var names, versions int
		if err := db.QueryRow("SELECT (SELECT count(*) FROM users), (SELECT max(n) FROM (SELECT count(*) AS n FROM goose_db_version GROUP BY version_id))").Scan(&names, &versions); err != nil {
			t.Fatal(err)
		}
		if names != 8 || versions != 1 {
			t.Errorf("round %d: %d users, want 8; a migration ran %d times", round, names, versions)
		}
	}
}

func TestOpeningTheDatabaseWaitsForNobodyLongerThanItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held.db")
	release, err := lockStart(t.Context(), path+".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if db, err := openDatabase(ctx, path); err == nil {
		db.Close()
		t.Error("opened while another process was at it")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("gave up after %v, its context ended after 200ms", took)
	}
}

func TestDatabaseOpensUnderAnyPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{
		"plain.db",
		"with space.db",
		"a?mode=memory.db",
		"a#b.db",
		"100%.db",
		"a%41b.db",
		"a&b=c;d.db",
		"naïve–データ.db",
		":memory:",
		"file:memdb",
		"it's \"quoted\".db",
		"new/folder/of its own?/x.db",
		"-dash.db",
	} {
		t.Run(path, func(t *testing.T) {
			db, err := openDatabase(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if err := (users{db}).create(t.Context(), &user{Username: "someone"}); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			// What counts is that this very file has it now.
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() == 0 {
				t.Fatal("the file is empty: the database is somewhere else")
			}
			if info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
				t.Errorf("the mode is %o, want 600", info.Mode().Perm())
			}
			again := openTestDatabase(t, path)
			if _, err := (users{again}).byUsername(t.Context(), "someone"); err != nil {
				t.Errorf("after opening it again: %v", err)
			}
		})
	}
}

func TestDatabaseThatCannotBeOpenedIsAnErrorThatNamesIt(t *testing.T) {
	folder := t.TempDir()
	junk := filepath.Join(folder, "junk.db")
	if err := os.WriteFile(junk, []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, junk} {
		db, err := openDatabase(t.Context(), path)
		if err == nil {
			db.Close()
			t.Errorf("%s was opened", path)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%q does not name %s", err, path)
		}
	}
	if got, err := os.ReadFile(junk); err != nil || !strings.HasPrefix(string(got), "this is no database") {
		t.Errorf("the file was changed: %.40q, %v", got, err)
	}
}
