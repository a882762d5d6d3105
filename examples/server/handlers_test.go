package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestRegisteredUserCanSignIn(t *testing.T) {
	s := openSite(t)
	for _, tt := range []struct{ name, username, stored, password string }{
		{"a usual one", "carol", "carol", testPassword},
		{"in capitals and with spaces around", "  Dave ", "dave", testPassword},
		{"with all that is allowed in a name", "0.a_b-c", "0.a_b-c", testPassword},
		{"with a password of fifteen letters beyond ASCII", "erin", "erin", "äëïöüÿâêîôûàèìò"},
		{"with a NUL in the password", "frank", "frank", testPassword + "\x00 and more"},
		{"with the longest password", "grace", "grace", strings.Repeat("the long", 128)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.register(t, map[string]string{"username": tt.username, "password": tt.password, "full_name": "Ünï <b>Code</b>", "email": "x@example.com"})
			if got.status != http.StatusCreated || got.header.Get("Location") != "/users/"+tt.stored {
				t.Fatalf("got %d %s, Location %q", got.status, got.body, got.header.Get("Location"))
			}
			pair := s.signIn(t, tt.username, tt.password)
			me := s.me(t, pair.Access)
			var p profile
			if err := json.Unmarshal([]byte(me.body), &p); err != nil || p != (profile{tt.stored, "x@example.com", "Ünï <b>Code</b>", false}) {
				t.Errorf("GET /users/me: %d %s", me.status, me.body)
			}
			if at := s.do(t, "GET", got.header.Get("Location"), "", bearer(pair.Access)); at.status != http.StatusOK || at.body != me.body {
				t.Errorf("GET %s: %d %s", got.header.Get("Location"), at.status, at.body)
			}
			// Nothing is cut off: a password that only begins like it is wrong.
			_, last := utf8.DecodeLastRuneInString(tt.password)
			s.do(t, "POST", "/token", form("username", tt.username, "password", tt.password[:len(tt.password)-last]), formType).
				refused(t, http.StatusBadRequest, "invalid_grant")
			if strings.Contains(got.body+me.body, "argon2") || strings.Contains(got.body+me.body, "password") {
				t.Errorf("the answer tells of the password: %s", me.body)
			}
		})
	}
}

func TestRegistrationRefusesBadInput(t *testing.T) {
	s := openSite(t)
	before := s.count(t, "SELECT count(*) FROM users")
	named := func(username string) map[string]string {
		return map[string]string{"username": username, "password": testPassword}
	}
	with := func(member, value string) map[string]string {
		return map[string]string{"username": "newcomer", "password": testPassword, member: value}
	}
	const rest = `"username":"newcomer","password":"` + testPassword + `"`
	for _, tt := range []struct {
		name   string
		body   any // a string is sent as it is
		status int
		says   string // a part of the answer
	}{
		{"an unknown member", `{` + rest + `,"roles":["admin"]}`, 400, ""},
		{"a member that is a column", `{` + rest + `,"disabled":false}`, 400, ""},
		{"a member in another case", `{` + rest + `,"FULL_NAME":"x"}`, 400, ""},
		{"a name in another case", `{"Username":"newcomer","password":"` + testPassword + `"}`, 400, ""},
		{"a member twice", `{"username":"somebody",` + rest + `}`, 400, ""},
		{"a member twice, once escaped", `{"\u0075sername":"somebody",` + rest + `}`, 400, ""},
		{"a second object", `{` + rest + `}{}`, 400, ""},
		{"something after the object", `{` + rest + `} x`, 400, ""},
		{"a comma after the last member", `{` + rest + `,}`, 400, ""},
		{"a member without a value", `{` + rest + `,"email"}`, 400, ""},
		{"an array", `[{` + rest + `}]`, 400, ""},
		{"null", `null`, 400, ""},
		{"a string", `"username"`, 400, ""},
		{"nothing", ``, 400, ""},
		{"half an object", `{` + rest, 400, ""},
		{"a number for a name", `{"username":1,"password":"` + testPassword + `"}`, 400, ""},
		{"an object for a name", `{"username":{"$gt":""},"password":"` + testPassword + `"}`, 400, ""},
		{"deep nesting", `{"username":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`, 400, ""},
		{"invalid UTF-8", "{" + rest + ",\"full_name\":\"\xff\"}", 400, ""},
		{"a byte order mark", "\ufeff{" + rest + "}", 400, ""},
		{"16 KiB and a byte", `{` + rest + strings.Repeat(" ", maxBody-len(rest)-1) + `}`, 413, ""},

		{"null for a name", `{"username":null,"password":"` + testPassword + `"}`, 400, ""},
		{"no name", named(""), 422, "username"},
		{"spaces for a name", named("   "), 422, "username"},
		{"the name of oneself's page", named("me"), 422, "username"},
		{"the name of oneself's page in capitals", named("ME"), 422, "username"},
		{"a path for a name", named("../x"), 422, "username"},
		{"dots for a name", named(".."), 422, "username"},
		{"a dot for a name", named("."), 422, "username"},
		{"a name like a flag", named("--help"), 422, "username"},
		{"a slash in a name", named("a/b"), 422, "username"},
		{"an escaped slash in a name", named("a%2fb"), 422, "username"},
		{"SQL for a name", named("x'; DROP TABLE users; --"), 422, "username"},
		{"a NUL in a name", named("new\x00comer"), 422, "username"},
		{"a line break in a name", named("newcomer\n"), 422, "username"},
		{"a name beyond ASCII", named("аlice"), 422, "username"},
		{"the Kelvin sign in a name", named("\u212Aim"), 422, "username"},
		{"a name that is a number", named("2"), 422, "username"},
		{"a name of 65 letters", named(strings.Repeat("x", 65)), 422, "username"},
		{"a name of 10,000 letters", named(strings.Repeat("x", 10_000)), 422, "username"},
		{"a password of 14 letters", with("password", strings.Repeat("p", 14)), 422, "password"},
		{"a password of 8 letters that are 16 bytes", with("password", strings.Repeat("é", 8)), 422, "password"},
		{"a password of 1025 bytes", with("password", strings.Repeat("p", 1025)), 422, "password"},
		{"a password that is one letter", with("password", strings.Repeat("p", 15)), 422, "password"},
		{"the name of the service for a password", with("password", "Gatewright-2026!"), 422, "password"},
		{"the own name for a password", with("password", "newcomer-newcomer"), 422, "password"},
		{"no password", map[string]string{"username": "newcomer"}, 422, "password"},
		{"no address", with("email", "nobody"), 422, "email"},
		{"an address with a name", with("email", "Carol <carol@example.com>"), 422, "email"},
		{"two addresses", with("email", "a@example.com, b@example.com"), 422, "email"},
		{"a header in an address", with("email", "a@example.com\r\nBcc: b@example.com"), 422, "email"},
		{"an address of 300 bytes", with("email", strings.Repeat("a", 290)+"@example.com"), 422, "email"},
		{"a name of 201 bytes", with("full_name", strings.Repeat("n", 201)), 422, "full_name"},
		{"a NUL in a full name", with("full_name", "Carol\x00"), 422, "full_name"},
		{"an escape sequence in a full name", with("full_name", "\x1b[2JCarol"), 422, "full_name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.register(t, tt.body)
			if got.status != tt.status || !strings.Contains(got.body, tt.says) {
				t.Errorf("got %d %s, want %d and a word of %q", got.status, got.body, tt.status, tt.says)
			}
			if got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type is %q", got.header.Get("Content-Type"))
			}
			if strings.Contains(got.body, testPassword) {
				t.Error("the answer has the password")
			}
		})
	}
	if after := s.count(t, "SELECT count(*) FROM users"); after != before {
		t.Errorf("%d users were registered after all", after-before)
	}
}

func TestRegistrationNamesEveryMistake(t *testing.T) {
	s := openSite(t)
	got := s.register(t, map[string]string{"username": "..", "email": "x", "full_name": "\n", "password": "short"})
	for _, member := range []string{"username", "email", "full_name", "password"} {
		if !strings.Contains(got.body, member+":") {
			t.Errorf("%s does not tell what is wrong with the %s", got.body, member)
		}
	}
}

func TestTakenNameIsTakenInAnySpelling(t *testing.T) {
	s := openSite(t)
	hash := func() (h string) {
		if err := s.db.QueryRow("SELECT password_hash FROM users WHERE username = 'alice'").Scan(&h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hash()
	for _, name := range []string{"alice", "ALICE", " Alice "} {
		if got := s.register(t, map[string]string{"username": name, "password": testPassword}); got.status != http.StatusConflict || got.code() != "username_taken" {
			t.Errorf("%q: got %d %s, want 409", name, got.status, got.body)
		}
	}
	if hash() != before {
		t.Error("alice has another password now")
	}
}

func TestOneOfManyWhoRegisterANameAtOnceGetsIt(t *testing.T) {
	s := openSite(t)
	const n = 20
	var answers [n]answer
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			body := fmt.Sprintf(`{"username":"wanted","full_name":"number %d","password":%q}`, i, testPassword)
			answers[i], _ = do("POST", s.url+"/users/", body, jsonType)
		})
	}
	wg.Wait()
	created := 0
	for _, a := range answers {
		switch a.status {
		case http.StatusCreated:
			created++
		case http.StatusConflict, http.StatusServiceUnavailable: // taken, or too many hashes at once
		default:
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	if rows := s.count(t, "SELECT count(*) FROM users WHERE username = 'wanted'"); created != 1 || rows != 1 {
		t.Errorf("%d were told that they have the name, and %d have it; want 1", created, rows)
	}
}

// FuzzDecodeObject compares with encoding/json: what is taken is an object
// that it reads the same way.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{
		`{"a":"x","b":"y"}`, `{}`, `{"a":"x","a":"y"}`, `{"A":"x"}`, `{"a":"x"}{}`, `{"a":"x",}`, `{"a"}`,
		`{"a":1}`, `{"a":null}`, `{"\u0061":"x"}`, ` { "b" : "\ud800" } `, `[]`, `null`, `{"a":"x"`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var a, b string
		if decodeObject(body, map[string]any{"a": &a, "b": &b}) != "" {
			return
		}
		var all map[string]*string
		if err := json.Unmarshal(body, &all); err != nil || all == nil {
			t.Fatalf("%q was taken: %v", body, err)
		}
		for name, value := range all {
			if got := map[string]*string{"a": &a, "b": &b}[name]; value == nil || got == nil || *got != *value {
				t.Fatalf("%q: %s is %v, want %v", body, name, got, value)
			}
		}
	})
}

func TestSQLFromOutsideIsOnlyText(t *testing.T) {
	s := openSite(t)
	pair := s.signInAlice(t)
	dump := func() string {
		rows, err := s.db.Query(`SELECT id || username || email || full_name || disabled || password_hash || roles || scopes FROM users ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var all []string
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				t.Fatal(err)
			}
			all = append(all, row)
		}
		return strings.Join(all, "\n")
	}
	before, sessions := dump(), s.count(t, "SELECT count(*) FROM gatewright_sessions")
	for _, injection := range []string{
		"' OR '1'='1",
		"' OR '1'='1' --",
		"alice'--",
		"alice' /*",
		"x'; DROP TABLE users; --",
		"x'; UPDATE users SET disabled = 1; --",
		"x'); DELETE FROM gatewright_sessions; --",
		"' UNION SELECT 1,'alice','','',0,'x','admin','admin' --",
		`" OR ""="`,
		"%", "_lice", "a*", "?", "$1", ":name", "alice\x00", `\' OR 1=1 --`,
	} {
		s.do(t, "POST", "/token", form("username", injection, "password", injection), formType).
			refused(t, http.StatusBadRequest, "invalid_grant")
		s.refresh(t, injection).refused(t, http.StatusBadRequest, "invalid_grant")
		if got := s.do(t, "GET", "/users/"+url.PathEscape(injection), "", bearer(pair.Access)); got.status != http.StatusNotFound {
			t.Errorf("GET /users/%s: %d %s, want 404", injection, got.status, got.body)
		}
		if got := s.me(t, url.PathEscape(injection)); got.status != http.StatusUnauthorized {
			t.Errorf("as a token, %s: %d %s, want 401", injection, got.status, got.body)
		}
		if got := s.register(t, map[string]string{"username": injection, "password": testPassword}); got.status != http.StatusUnprocessableEntity {
			t.Errorf("registering %s: %d %s, want 422", injection, got.status, got.body)
		}
	}
	if after := dump(); after != before {
		t.Errorf("the users are\n%s\nand were\n%s", after, before)
	}
	if after := s.count(t, "SELECT count(*) FROM gatewright_sessions"); after != sessions {
		t.Errorf("%d sessions, were %d", after, sessions)
	}
	// Where text is free, it comes back as it was sent.
	const bobby = `Robert'); DROP TABLE users;--`
	if got := s.register(t, map[string]string{"username": "bobby", "password": testPassword, "full_name": bobby}); got.status != http.StatusCreated {
		t.Fatalf("registering bobby: %d %s", got.status, got.body)
	}
	if got := s.do(t, "GET", "/users/bobby", "", bearer(pair.Access)); !strings.Contains(got.body, bobby) {
		t.Errorf("bobby is %s", got.body)
	}
}

func TestFailingDatabaseIsNotARefusalOfTheCaller(t *testing.T) {
	s := openSite(t)
	pair := s.signInAlice(t)
	if _, err := s.db.Exec("ALTER TABLE users RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]answer{
		"signing in":  s.do(t, "POST", "/token", form("username", "alice", "password", "x"), formType),
		"refreshing":  s.refresh(t, pair.Refresh),
		"oneself":     s.me(t, pair.Access),
		"registering": s.register(t, map[string]string{"username": "carol", "password": testPassword}),
	} {
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %s, Retry-After %q; want 503 with one", name, got.status, got.body, got.header.Get("Retry-After"))
		}
		if strings.Contains(got.body, "users") || strings.Contains(got.body, "SQL") {
			t.Errorf("%s: the client reads %s", name, got.body)
		}
	}
}
