package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	keystore "github.com/gatewright/gatewright/apikey/sqlstore"
	passkeystore "github.com/gatewright/gatewright/auth/passkey/sqlstore"
	"github.com/gatewright/gatewright/auth/sqlstore"
	ticketstore "github.com/gatewright/gatewright/auth/ticket/sqlstore"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/examples/integration/servers"
	limitstore "github.com/gatewright/gatewright/ratelimit/sqlstore"
	factorstore "github.com/gatewright/gatewright/totp/sqlstore"
)

// onPostgres opens a database for a site. nil: sites are on SQLite. It is set
// while TestOnPostgreSQL runs the tests of others.
var onPostgres func(*testing.T, *settings) (*sql.DB, *secrets)

// postgresURL is that of the server of TestOnPostgreSQL.
var postgresURL string

// A cluster is a PostgreSQL in which tests have a database each.
type cluster struct {
	*servers.Server
	made atomic.Int64
}

// create makes a database, a copy of another if there is a name.
func (c *cluster) create(t *testing.T, template string) *pgx.ConnConfig {
	t.Helper()
	admin, err := pgx.Connect(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	name := fmt.Sprint("test_", c.made.Add(1))
	make := "CREATE DATABASE " + name
	if template != "" {
		make += " TEMPLATE " + template
	}
	// It may be left from another time, if the server is not of this test.
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name, make} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	config := must(parsePostgres(c.URL))
	config.Database = name
	return config
}

func openTestPostgres(t *testing.T, config *pgx.ConnConfig) *sql.DB {
	t.Helper()
	db, err := openPostgres(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// The tests of what people do, once more on PostgreSQL, where many write at once
// and nothing is a lock by itself.
func TestOnPostgreSQL(t *testing.T) {
	c := &cluster{Server: servers.PostgreSQL(t)}
	t.Run("migrations", c.migrations)
	t.Run("a server with other secrets does not start", c.otherSecrets)

	template, keys := c.create(t, ""), must(newSecrets())
	db := must(openPostgres(t.Context(), template))
	app := must(newApp(db, keys, quick(), testSettings, slog.New(slog.DiscardHandler)))
	ctx, stop := context.WithCancel(t.Context())
	check(app.start(ctx, keys))
	stop()
	app.following.Wait()
	app.closeWays()
	check(db.Close()) // a database that somebody uses cannot be copied
	keys.fresh = false

	onPostgres = func(t *testing.T, how *settings) (*sql.DB, *secrets) {
		config, given := c.create(t, template.Database), how.revocations
		db := openPool(config, requestConns)
		t.Cleanup(func() { check(db.Close()) })
		stores, err := openBackends(t.Context(), options{postgres: config, revocations: inDatabase}, db, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { check(stores.end()) })
		check(err)
		if how.backends = stores; given != nil {
			how.revocations = given
		}
		return db, keys
	}
	postgresURL = c.URL
	defer func() { onPostgres = nil }()
	for _, test := range []func(*testing.T){
		// Users.
		TestOneOfManyWhoRegisterANameAtOnceGetsIt,
		TestChangeOfPasswordEndsAllButTheOwnSession,
		TestOneOfManyChangesAtOnceCounts,
		TestSignInsDuringAChangeOfPassword,
		TestDisablingEndsAllAtOnceAndEnablingRevivesNothing,
		TestDeletedUserHasNothingLeft,
		TestSQLFromOutsideIsOnlyText,
		TestFailingDatabaseIsNotARefusalOfTheCaller,
		// Ways in.
		TestPasskeySignsInAloneAndIsASecondFactorAndStepsUp,
		TestForgottenPasswordIsReplacedByLink,
		TestMailedLinkAndCodeSignInTheBrowserThatAskedForThem,
		TestOneOfTwoUsersHasAVerifiedAddress,
		TestOwnerOfAnAddressTakesAnAccountBackThatWasRegisteredWithIt,
		// Sessions.
		TestOwnSessionsAreListedAndEnded,
		// Audit trail.
		TestTamperingWithAnyRowOfTheAuditTrailIsFound,
		TestKilledServerLeavesAChainThatVerifies,
		TestTwoNodesAppendToOneChain,
		TestAppendWhoseCommitArrivedIsNotRepeated,
		TestDatabaseThatComesBackGetsTheEventsOfTheOutage,
		TestRetentionLeavesAChainThatVerifies,
		TestRetentionCanRemoveEverything,
		TestChainBeginsAnewWithOtherSecrets,
		TestAuditTrailIsFilteredForAdministrators,
		TestAuditTrailIsExportedAsJSONLines,
		TestUsersReadTheEventsOfTheirOwnAccountOnly,
		TestUserDoesNotReadTheEventsOfAFormerUserOfTheName,
		// Roles.
		TestRightsThatWereTakenAwayAreGoneAtTheNextRequest,
		TestPermissionsOfOneUserComeOnTopOfTheirRoles,
		TestOfTwoAdministratorsWhoDemoteEachOtherOneStays,
		TestOfTwoAdministratorsWhoDisableEachOtherOneStays,
		// API keys, items, second factors, limits.
		TestAPIKeyFromItsMakingToItsEnd,
		TestAPIKeyLosesWhatItsOwnerLoses,
		TestNumberOfKeysIsBoundedForManyAtOnce,
		TestIllFormedIdentifiersAreUnknown,
		TestItemsBelongToTheirOwner,
		TestNumberOfItemsIsBoundedForManyAtOnce,
		TestSecondFactorFromItsSetupToItsEnd,
		TestSteppingUpASession,
		TestFiveAMinuteByAddress,
		TestManyGuessesAtOnceAreAFewTries,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], test)
	}
}

// Each of two machines that were started with a file of its own would refuse what
// the other one issued.
func (c *cluster) otherSecrets(t *testing.T) {
	database, folder := must(url.Parse(c.URL)), t.TempDir()
	database.Path = "/" + c.create(t, "").Database
	flags := func(file string) []string {
		return []string{"-addr", "127.0.0.1:0", "-issuer", testIssuer, "-db", database.String(), "-demo", "-secrets", filepath.Join(folder, file)}
	}
	first := start(t, flags("first")...)
	if _, err := refusedToStart(t, flags("second")...); !strings.Contains(err.Error(), "-replace-secrets") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
	// It changed nothing: the passwords of the demo users are those of the first.
	_, password, _ := strings.Cut(first.out.String(), "-d password=")
	password, _, _ = strings.Cut(password, "\n")
	(&site{url: first.url}).signIn(t, "alice", password)
	start(t, flags("first")...)
}

// tables describes what there is in a database of PostgreSQL, but for triggers.
func tables(t *testing.T, db *sql.DB, prefix string) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT concat_ws(' ', c.relname, c.relkind, c.relpersistence, c.reloptions, a.attname, format_type(a.atttypid, a.atttypmod),
			a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), pg_get_indexdef(c.oid))
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.relnamespace = 'public'::regnamespace AND starts_with(c.relname, $1)
		UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
			FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND starts_with(conrelid::regclass::text, $1)
		ORDER BY 1`, prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func (c *cluster) migrations(t *testing.T) {
	t.Run("make the tables of the library", func(t *testing.T) {
		plain := openPool(c.create(t, ""), 1)
		defer plain.Close()
		for _, statements := range []string{
			sqlstore.Schema(sqlstore.PostgreSQL), keystore.Schema(keystore.PostgreSQL), factorstore.Schema(factorstore.PostgreSQL),
			sqllog.Schema(sqllog.PostgreSQL), limitstore.Schema(limitstore.PostgreSQL),
			passkeystore.Schema(passkeystore.PostgreSQL), ticketstore.Schema(ticketstore.PostgreSQL),
		} {
			if _, err := plain.ExecContext(t.Context(), statements); err != nil {
				t.Fatal(err)
			}
		}
		got, want := tables(t, openTestPostgres(t, c.create(t, "")), "gatewright_"), tables(t, plain, "gatewright_")
		if got != want || strings.Count(want, "\n") < 50 {
			t.Errorf("the migrations make\n%s\nand the Schemas make\n%s", got, want)
		}
	})
	t.Run("can be undone and done again", func(t *testing.T) {
		db := openTestPostgres(t, c.create(t, ""))
		want := tables(t, db, "")
		if _, err := must(newProvider(db)).DownTo(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		for _, prefix := range []string{"users", "items", "gatewright", "server"} {
			if left := tables(t, db, prefix); left != "" {
				t.Errorf("left after undoing all:\n%s", left)
			}
		}
		for range 2 {
			if err := migrate(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			if got := tables(t, db, ""); got != want {
				t.Errorf("done again:\n%s\nwant\n%s", got, want)
			}
		}
	})
	t.Run("can be begun by many at once", func(t *testing.T) {
		config := c.create(t, "")
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				db, err := openPostgres(t.Context(), config)
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				if err := (users{db}).create(t.Context(), &user{Username: fmt.Sprint("user", i)}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		var names, versions int
		err := openTestPostgres(t, config).QueryRow("SELECT (SELECT count(*) FROM users), (SELECT max(n) FROM (SELECT count(*) AS n FROM goose_db_version GROUP BY version_id) v)").Scan(&names, &versions)
		if err != nil || names != 6 || versions != 1 {
			t.Errorf("%d users, want 6; a migration ran %d times (%v)", names, versions, err)
		}
	})
	t.Run("are there for each of the SQLite set", func(t *testing.T) {
		// By what they make, since the two sets are not numbered alike.
		lite := schema(t, openTestDatabase(t, filepath.Join(t.TempDir(), "lite.db")), "")
		postgres := openTestPostgres(t, c.create(t, ""))
		for line := range strings.Lines(lite) {
			if name, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
				name, _, _ = strings.Cut(name, " ")
				if name = strings.Trim(name, `"`); !strings.HasPrefix(name, "sqlite_") && tables(t, postgres, name) == "" {
					t.Errorf("SQLite has a table %s, and PostgreSQL has not", name)
				}
			}
		}
	})
}
