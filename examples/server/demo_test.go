package main

import (
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// again starts the server on the database of s, as after a restart.
func (s *site) again(t *testing.T, keys *secrets, how settings) *app {
	t.Helper()
	next := must(newApp(s.db, keys, quick(), how, slog.New(slog.DiscardHandler)))
	if err := next.start(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestDemoUsersThatAreDeletedStayDeleted(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	s.do(t, "DELETE", "/users/"+s.id(t, "alice"), "", bearer(admin.Access)).is(t, http.StatusOK)
	next := s.again(t, s.keys, testSettings)
	if n := s.count(t, "SELECT count(*) FROM users"); n != len(demoUsers)-1 {
		t.Errorf("%d users after a restart, want %d", n, len(demoUsers)-1)
	}
	// Who is printed is who can sign in.
	for _, u := range must(next.demoUsers(t.Context(), s.keys)) {
		if u.Username == "alice" {
			t.Error("alice is printed")
		}
	}
	// The last one too, and with new secrets.
	s.exec(t, "DELETE FROM users")
	s.again(t, s.keys, testSettings)
	s.again(t, must(newSecrets()), testSettings)
	if n := s.count(t, "SELECT count(*) FROM users"); n != 0 {
		t.Errorf("%d users came back", n)
	}
}

func TestDemoUsersAreForNewDatabasesOnly(t *testing.T) {
	without := testSettings
	without.demo = false
	open := func() *site {
		s := &site{keys: must(newSecrets())}
		s.db = openTestDatabase(t, filepath.Join(t.TempDir(), "server.db"))
		return s
	}
	t.Run("not asked for", func(t *testing.T) {
		s := open()
		s.again(t, s.keys, without)
		s.again(t, s.keys, testSettings) // too late
		if n := s.count(t, "SELECT count(*) FROM users"); n != 0 {
			t.Errorf("%d users", n)
		}
	})
	t.Run("after a user registered", func(t *testing.T) {
		s := open()
		check(users{s.db}.create(t.Context(), &user{Username: "alice", PasswordHash: "her own"}))
		next := s.again(t, s.keys, testSettings)
		if n := s.count(t, "SELECT count(*) FROM users WHERE password_hash = 'her own'"); n != 1 || s.count(t, "SELECT count(*) FROM users") != 1 {
			t.Error("the database was changed")
		}
		if left := must(next.demoUsers(t.Context(), s.keys)); len(left) != 0 {
			t.Errorf("printed are %v", left)
		}
	})
	t.Run("from before the server remembered it", func(t *testing.T) {
		s := openSite(t)
		s.exec(t, "UPDATE users SET password_hash = 'their own' WHERE username <> 'alice'")
		provider := must(newProvider(s.db))
		must(provider.DownTo(t.Context(), 9))
		check(func() error { _, err := provider.Up(t.Context()); return err }())
		s.exec(t, "DELETE FROM users WHERE username = 'mod'")
		next := s.again(t, s.keys, testSettings)
		if n := s.count(t, "SELECT count(*) FROM users"); n != len(demoUsers)-1 {
			t.Errorf("%d users", n)
		}
		if left := must(next.demoUsers(t.Context(), s.keys)); len(left) != 1 || left[0].Username != "alice" {
			t.Errorf("printed are %v", left)
		}
	})
}

func TestPostgreSQLGetsNoDemoUsersUnlessAsked(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{[]string{"-db", "x.db"}, true},
		{[]string{"-db", "x.db", "-demo=false"}, false},
		{[]string{"-db", "postgres://127.0.0.1/x", "-secrets", "s"}, false},
		{[]string{"-db", "postgres://127.0.0.1/x", "-secrets", "s", "-demo"}, true},
	} {
		o, err := parse(tt.args, os.Stderr)
		if err != nil || o.demo.on != tt.want {
			t.Errorf("%q: demo is %v (%v), want %v", tt.args, o.demo.on, err, tt.want)
		}
	}
}

func TestServerWithoutDemoUsersPrintsHowToBegin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.db")
	p := start(t, "-db", path, "-demo=false")
	if strings.Contains(p.out.String(), "username=") || !strings.Contains(p.out.String(), "no demo users") {
		t.Errorf("it prints\n%s", p.out.String())
	}
	if out := curl(t, p); !strings.Contains(out, `"username":"user-`) {
		t.Errorf("the curl line gets %s", out)
	}
	name := func() string {
		_, after, _ := strings.Cut(p.out.String(), `"username":"`)
		name, _, _ := strings.Cut(after, `"`)
		return name
	}()
	var out record
	if err := run(t.Context(), []string{"-db", path, "-make-admin", strings.ToUpper(name)}, &out, &out); err != nil || !strings.Contains(out.String(), name+" is an administrator") {
		t.Errorf("-make-admin: %v\n%s", err, out.String())
	}
	// Again changes nothing.
	check(run(t.Context(), []string{"-db", path, "-make-admin", name}, &out, &out))
	if _, err := refusedToStart(t, "-db", path, "-secrets", path+".other", "-make-admin", name); !strings.Contains(err.Error(), "-secrets "+path+".other") {
		t.Errorf("-make-admin without secrets: %v", err)
	}
	if _, err := refusedToStart(t, "-db", path, "-make-admin", "nobody"); !strings.Contains(err.Error(), "-make-admin nobody") {
		t.Errorf("-make-admin of nobody: %v", err)
	}
	p.stop()
	check(p.stopped(t))
	s := &site{db: openTestDatabase(t, path)}
	// One row by the program, in an unbroken chain, although it was called while the
	// server ran.
	rows := must(rowsAfter(t.Context(), s.db, 0, 1000))
	rows = slices.DeleteFunc(rows, func(r auditRow) bool { return r.name != "authz_change" })
	if len(rows) != 1 || rows[0].subject != "" || rows[0].target != "1" || !strings.Contains(rows[0].event, `"changes":{"program":"-make-admin","roles_before":"user","roles":"admin user"}`) {
		t.Errorf("the rows are %+v", rows)
	}
	var report record
	if err := run(t.Context(), []string{"-db", path, "-verify-audit"}, &report, &report); err != nil {
		t.Errorf("-verify-audit: %v\n%s", err, report.String())
	}
	if n := s.count(t, "SELECT count(*) FROM users WHERE username = ? AND roles LIKE '%admin%'", name); n != 1 || s.count(t, "SELECT count(*) FROM users") != 1 {
		t.Error("the user is not an administrator, or there are others")
	}
}

// curl runs the curl line that a server printed.
func curl(t *testing.T, p *process) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	_, after, _ := strings.Cut(p.out.String(), "curl ")
	line, _, _ := strings.Cut(after, "\n")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "curl -m 20 "+line).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", line, err, out)
	}
	return string(out)
}

func TestOtherSecretsChangeNothingUnlessAsked(t *testing.T) {
	path := fromTemplate(t)
	p := start(t, "-db", path, "-insecure-no-limits")
	s := &site{url: p.url, keys: must(readSecrets(path + ".secrets"))}
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci"}`)
	s.enrol(t, s.signIn(t, "mod", s.keys.DemoPassword).Access)
	p.stop()
	check(p.stopped(t))
	before := must(os.ReadFile(path + ".secrets"))

	// The file is lost: the start is refused, and again with the file that the
	// first one made.
	check(os.Remove(path + ".secrets"))
	for range 2 {
		_, err := refusedToStart(t, "-addr", "127.0.0.1:0", "-db", path)
		for _, want := range []string{"-secrets " + path + ".secrets", path, "-replace-secrets", "revokes all API keys", "second factors"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not name %q", err, want)
			}
		}
	}
	// It is found again, and nothing has happened.
	check(os.WriteFile(path+".secrets", before, 0o600))
	p = start(t, "-db", path, "-insecure-no-limits")
	s.url = p.url
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "the key", 200, "")
	s.do(t, "POST", "/token", form("username", "mod", "password", s.keys.DemoPassword), formType).refused(t, 400, "mfa_required")
	p.stop()
	check(p.stopped(t))

	// It stays lost.
	check(os.Remove(path + ".secrets"))
	p = start(t, "-db", path, "-insecure-no-limits", "-replace-secrets")
	s.url = p.url
	if !strings.Contains(p.stderr.String(), "the secrets are replaced") {
		t.Error("the log does not say so")
	}
	if out := p.out.String(); strings.Contains(out, "username=alice") {
		t.Errorf("a password is printed that alice does not have:\n%s", out)
	}
	s.signInAlice(t) // with the password that she had
	s.signIn(t, "mod", s.keys.DemoPassword)
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "a key of before", 401, "invalid_token")
	s.refresh(t, alice.Refresh).refused(t, 400, "invalid_grant")
	if all := into[[]shownKey](t, s.do(t, "GET", "/keys/", "", bearer(s.signInAlice(t).Access)), 200); len(all) != 0 {
		t.Errorf("keys are listed that nobody can use: %+v", all)
	}
	p.stop()
	check(p.stopped(t))
	p = start(t, "-db", path) // from now on these are the secrets
	if strings.Contains(p.stderr.String(), "replaced") {
		t.Error("replaced once more")
	}
}
