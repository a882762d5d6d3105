package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist/sqllog"
)

// TestMain is the program itself when a test has started this binary again.
func TestMain(m *testing.M) {
	if os.Getenv("SQLITE_EXAMPLE") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start starts the program, and returns its URL and the curl line of a first start.
func start(t *testing.T, dir, addr string) (base, curl string, stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-dir", dir, "-addr", addr)
	cmd.Env = append(os.Environ(), "SQLITE_EXAMPLE=1")
	cmd.WaitDelay = 5 * time.Second
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cmd.Process.Signal(os.Interrupt)
			cmd.Wait()
		}
	}
	t.Cleanup(stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "curl ") {
			curl = line
		}
		if url, ok := strings.CutPrefix(line, "listening on "); ok {
			return url, curl, stop
		}
	}
	stop()
	t.Fatalf("the program ended:\n%s", &log)
	return
}

func post(t *testing.T, address string, form url.Values, bearer string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	json.Unmarshal(b, &body)
	return a.StatusCode, body
}

func me(t *testing.T, base string, bearer any) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer.(string))
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func TestSessionsAndTheirEndSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	// The address is the issuer of the tokens, so that it must stay.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	base, curl, stop := start(t, dir, addr)
	_, secret, ok := strings.Cut(curl, "password=")
	if !ok {
		t.Fatalf("the first start prints %q", curl)
	}
	signIn := func() map[string]any {
		t.Helper()
		status, tokens := post(t, base+"/token", url.Values{"username": {"alice"}, "password": {secret}}, "")
		if status != 200 {
			t.Fatalf("%d %v", status, tokens)
		}
		return tokens
	}
	stays, ends := signIn(), signIn()
	if status, body := post(t, base+"/logout/", nil, ends["access_token"].(string)); status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	stop()

	base, again, _ := start(t, dir, addr)
	if again != "" {
		t.Errorf("the second start prints %q", again)
	}
	if status, body := me(t, base, stays["access_token"]); status != 200 || body != "You are user 1.\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := post(t, base+"/token/refresh", url.Values{"refresh_token": {stays["refresh_token"].(string)}}, ""); status != 200 {
		t.Errorf("%d %v", status, body)
	}
	if status, _ := me(t, base, ends["access_token"]); status != 401 {
		t.Errorf("a session that was ended before the restart: %d", status)
	}
	if status, _ := post(t, base+"/token/refresh", url.Values{"refresh_token": {ends["refresh_token"].(string)}}, ""); status != 400 {
		t.Errorf("its refresh token: %d", status)
	}
}

func openTest(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func migrated(t *testing.T) *sql.DB {
	t.Helper()
	db := openTest(t)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestUsersAreAUserStore(t *testing.T) {
	authtest.RunUsers(t, func(t *testing.T, known map[string]auth.User) auth.UserStore {
		db := migrated(t)
		for login, u := range known {
			err := db.QueryRow("INSERT INTO users (login, password_hash, disabled, roles, scopes) VALUES (?, ?, ?, ?, ?) RETURNING CAST(id AS TEXT)",
				login, u.PasswordHash, u.Disabled, u.Roles.String(), u.Scopes.String()).Scan(&u.ID)
			if err != nil {
				t.Fatal(err)
			}
			u.Tenant = ""
			known[login] = u
		}
		return users{db}
	})
}

// tables returns the statements of the library's tables.
func tables(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.Query("SELECT name, sql FROM sqlite_master WHERE name LIKE 'gatewright_%' AND sql IS NOT NULL")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		all[name] = strings.Join(strings.Fields(strings.ReplaceAll(text, "IF NOT EXISTS ", "")), " ")
	}
	return all
}

func TestMigrationsMakeTheTablesOfTheLibrary(t *testing.T) {
	own, library := migrated(t), openTest(t)
	for _, schema := range []string{sqlstore.Schema(sqlstore.SQLite), sqllog.Schema(sqllog.SQLite)} {
		if _, err := library.Exec(schema); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := tables(t, own), tables(t, library); !maps.Equal(a, b) {
		t.Errorf("the migrations make\n%q, want\n%q", a, b)
	}
}

func TestKeysTakeTurnsWithoutAGap(t *testing.T) {
	f := keyFolder{filepath.Join(t.TempDir(), "keys")}
	now := time.Now().Truncate(time.Second)
	keys, err := f.read(now)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	ring, err := token.NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err = f.read(now.Add(turn - lead + time.Hour)); err != nil || len(keys) != 2 {
		t.Fatalf("%v, %v", keys, err)
	}
	if again, err := f.read(now.Add(turn - lead + 2*time.Hour)); err != nil || len(again) != 2 {
		t.Fatalf("%v, %v; want no third key", again, err)
	}
	if err := ring.Replace(keys...); err != nil {
		t.Error(err)
	}
	first, next := keys[0], keys[1]
	if got := next.SignFrom.Sub(next.PublishFrom); got != lead {
		t.Errorf("the next key is published %v before it signs", got)
	}
	if !first.VerifyUntil.After(next.SignFrom.Add(lifetime)) {
		t.Errorf("tokens of the first key end before they expire: %v, %v", first.VerifyUntil, next.SignFrom)
	}
}
