package main

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	keystore "github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	passkeystore "github.com/gatewright/gatewright/auth/passkey/sqlstore"
	"github.com/gatewright/gatewright/auth/sqlstore"
	ticketstore "github.com/gatewright/gatewright/auth/ticket/sqlstore"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	factorstore "github.com/gatewright/gatewright/totp/sqlstore"
)

func emptyDatabase(t *testing.T) *sql.DB {
	t.Helper()
	return openTestDatabase(t, filepath.Join(t.TempDir(), "test.db"))
}

func TestUsersAreAUserStore(t *testing.T) {
	authtest.RunUsers(t, func(t *testing.T, known map[string]auth.User) auth.UserStore {
		s := users{emptyDatabase(t)}
		for login, u := range known {
			u.Tenant = "" // the demo has no tenants
			row := &user{Username: login, Disabled: u.Disabled, PasswordHash: u.PasswordHash, Roles: u.Roles, Scopes: u.Scopes}
			if err := s.create(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			u.ID = strconv.FormatInt(row.ID, 10)
			known[login] = u
		}
		return s
	})
}

// openedSessions are sessions whose database is at hand.
type openedSessions struct {
	*sqlstore.Store
	db *sql.DB
}

func openSessions(t *testing.T) openedSessions {
	db := emptyDatabase(t)
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	return openedSessions{s, db}
}

func TestSessionsAreARefreshStore(t *testing.T) {
	authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return openSessions(t) })
}

func TestSessionsCanBeListed(t *testing.T) {
	authtest.RunSessions(t, func(t *testing.T) authtest.SessionStore { return openSessions(t) })
}

func TestListOfSessionsIsBounded(t *testing.T) {
	s := openSessions(t)
	now := time.Now().Truncate(time.Microsecond)
	// One statement, since a thousand and five commits would take their time.
	_, err := s.db.Exec(`WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1004)
		INSERT INTO gatewright_sessions (id, subject, tenant, client, created, expires, current_hash, rotated, idle)
		SELECT 's' || i, 'alice', '', '', ? - i, ?, x'00', 0, ? FROM n`, now.UnixMicro(), now.Add(time.Hour).UnixMicro(), now.Add(time.Hour).UnixMicro())
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Sessions(t.Context(), "alice")
	if err != nil || len(all) != 1000 || all[0].ID != "s0" || all[999].ID != "s999" {
		t.Errorf("%d sessions (%v), want the thousand that began last", len(all), err)
	}
}

func TestSessionsAreAChallengeStore(t *testing.T) {
	authtest.RunChallenges(t, func(t *testing.T) auth.ChallengeStore { return openSessions(t) })
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
	for _, statements := range []string{sqlstore.Schema(sqlstore.SQLite), keystore.Schema(keystore.SQLite), factorstore.Schema(factorstore.SQLite), sqllog.Schema(sqllog.SQLite), passkeystore.Schema(passkeystore.SQLite), ticketstore.Schema(ticketstore.SQLite)} {
		if _, err := plain.Exec(statements); err != nil {
			t.Fatal(err)
		}
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

// The guard has looked at the user before the password was hashed.
func TestPasswordOfADisabledUserIsNotChanged(t *testing.T) {
	s := openSite(t)
	u := must(s.users.byUsername(t.Context(), "alice"))
	s.exec(t, "UPDATE users SET disabled = true WHERE username = 'alice'")
	if done, err := s.users.changePassword(t.Context(), u.ID, u.PasswordHash, "new"); done || err != nil {
		t.Errorf("changed: %v (%v)", done, err)
	}
	s.exec(t, "UPDATE users SET disabled = false WHERE username = 'alice'")
	if done, err := s.users.changePassword(t.Context(), u.ID, u.PasswordHash, "new"); !done || err != nil {
		t.Errorf("changed of an enabled user: %v (%v)", done, err)
	}
	if done, err := s.users.changePassword(t.Context(), u.ID, u.PasswordHash, "newer"); done || err != nil {
		t.Errorf("changed though the hash is another: %v (%v)", done, err)
	}
}
