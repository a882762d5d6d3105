package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

const newTestPassword = "quite another passphrase"

// changePassword is POST /users/me/password.
func (s *site) changePassword(t *testing.T, access, current, wanted string) answer {
	t.Helper()
	body, err := json.Marshal(map[string]string{"current_password": current, "new_password": wanted})
	if err != nil {
		t.Fatal(err)
	}
	return s.do(t, "POST", "/users/me/password", string(body), jsonType, bearer(access))
}

// is fails the test unless a has the status.
func (a answer) is(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d %s, want %d", a.status, a.body, status)
	}
}

// over fails the test unless neither token of the pair is good any more.
func (s *site) over(t *testing.T, name string, pair tokens) {
	t.Helper()
	if got := s.me(t, pair.Access); got.status != http.StatusUnauthorized || got.code() != "invalid_token" {
		t.Errorf("%s: the access token gets %d %s, want 401 invalid_token", name, got.status, got.body)
	}
	if got := s.refresh(t, pair.Refresh); got.status != http.StatusBadRequest || got.code() != "invalid_grant" {
		t.Errorf("%s: the refresh token gets %d %s, want 400 invalid_grant", name, got.status, got.body)
	}
}

// good fails the test unless both tokens of the pair are good. It returns the
// next one.
func (s *site) good(t *testing.T, name string, pair tokens) tokens {
	t.Helper()
	if got := s.me(t, pair.Access); got.status != http.StatusOK {
		t.Errorf("%s: the access token gets %d %s, want 200", name, got.status, got.body)
	}
	got := s.refresh(t, pair.Refresh)
	if got.status != http.StatusOK {
		t.Fatalf("%s: the refresh token gets %d %s, want 200", name, got.status, got.body)
	}
	return got.tokens(t)
}

// underWay signs somebody in and stops when the password is verified, before
// there is a session. finish lets it go on, and returns the answer.
func (s *site) underWay(t *testing.T, username, password string) (finish func() answer) {
	t.Helper()
	verified, goOn := make(chan struct{}), make(chan struct{})
	issuer, err := token.NewIssuer(must(s.keys.ring()), token.IssuerConfig{Issuer: testIssuer, Audience: testIssuer})
	if err != nil {
		t.Fatal(err)
	}
	slow, err := auth.New(s.users, issuer, auth.Config{
		Sessions:    s.sessions,
		RefreshKeys: []guard.Secret{guard.NewSecret(s.keys.RefreshKey)},
		Revoker:     s.revoked,
		Passwords:   s.passwords,
		Hooks:       s.hooks,
		Claims: func(context.Context, *auth.User) (any, error) {
			close(verified)
			<-goOn
			return nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(slow.Token())
	t.Cleanup(server.Close)
	done := make(chan answer, 1)
	go func() {
		a, _ := do("POST", server.URL, form("grant_type", "password", "username", username, "password", password), formType)
		done <- a
	}()
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	select {
	case <-verified:
	case a := <-done:
		t.Fatalf("the sign-in did not get to its session: %d %s", a.status, a.body)
	}
	return func() answer {
		release()
		return <-done
	}
}

func TestChangeOfPasswordEndsAllButTheOwnSession(t *testing.T) {
	s := openSite(t)
	old := s.keys.DemoPassword
	mod := s.signIn(t, "mod", old)
	// Of another day, refreshed, idle: whatever a session has gone through.
	phone, tablet, own := s.signInAlice(t), s.signInAlice(t), s.signInAlice(t)
	s.exec(t, "UPDATE gatewright_sessions SET created = created - ? WHERE id = ?", (48 * time.Hour).Microseconds(), claims(t, phone.Access).Session)
	refreshed := s.refresh(t, tablet.Refresh).tokens(t)
	finish := s.underWay(t, "alice", old)

	s.changePassword(t, own.Access, old, newTestPassword).is(t, http.StatusNoContent)

	finish().refused(t, http.StatusBadRequest, "invalid_grant")
	s.over(t, "another session", phone)
	s.over(t, "a session that was refreshed, now", refreshed)
	s.over(t, "a session that was refreshed, before", tablet)
	s.good(t, "the own session", s.good(t, "the own session", own))
	s.good(t, "somebody else", mod)
	s.do(t, "POST", "/token", form("username", "alice", "password", old), formType).refused(t, http.StatusBadRequest, "invalid_grant")
	fresh := s.signIn(t, "alice", newTestPassword)
	s.good(t, "a session that began afterwards", fresh)
	if n := s.count(t, "SELECT count(*) FROM gatewright_sessions WHERE subject = '1'"); n != 2 {
		t.Errorf("%d sessions are left, want the own one and the new one", n)
	}
	if log := s.log.String(); strings.Count(log, "authn_password_change") != 1 {
		t.Errorf("the log does not tell once that the password was changed:\n%s", log)
	}

	// The next change spares another session, and this one no more.
	s.changePassword(t, fresh.Access, newTestPassword, testPassword).is(t, http.StatusNoContent)
	s.over(t, "the session that was spared first", own)
	s.good(t, "the session that was spared last", fresh)
}

func TestChangeOfPasswordIsRefused(t *testing.T) {
	s := openSite(t)
	old := s.keys.DemoPassword
	pair, other := s.signInAlice(t), s.signInAlice(t)
	for _, tt := range []struct {
		name, current, wanted string
		status                int
		code                  string
	}{
		{"a wrong current password", "wrong", newTestPassword, 400, "wrong_password"},
		{"no current password", "", newTestPassword, 400, "wrong_password"},
		{"an over-long current password", strings.Repeat("x", 2000), newTestPassword, 400, "wrong_password"},
		{"the current password and more", old + "x", newTestPassword, 400, "wrong_password"},
		{"somebody else's password", testPassword, newTestPassword, 400, "wrong_password"},
		{"no new password", old, "", 422, "invalid_input"},
		{"a new password of 14 letters", old, newTestPassword[:14], 422, "invalid_input"},
		{"a new password of 1025 bytes", old, strings.Repeat("12345", 205), 422, "invalid_input"},
		{"the own name again and again", old, "alice-alice-alice", 422, "invalid_input"},
		{"the own address", old, "alice@example.com", 422, "invalid_input"},
		{"the name of the service", old, "gatewright-20261123", 422, "invalid_input"},
		{"letters as they lie on the keyboard", old, "qwertyuiopasdfgh", 422, "invalid_input"},
	} {
		got := s.changePassword(t, pair.Access, tt.current, tt.wanted)
		if got.status != tt.status || got.code() != tt.code {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, got.status, got.body, tt.status, tt.code)
		}
		for _, secret := range []string{tt.current, tt.wanted} {
			if secret != "" && secret != "wrong" && strings.Contains(got.body+s.log.String(), secret) {
				t.Errorf("%s: a password is in the answer or in the log", tt.name)
			}
		}
	}
	if strings.Contains(s.log.String(), "authn_password_change") {
		t.Error("the log tells that the password was changed")
	}
	if n := strings.Count(s.log.String(), "authn_login_fail"); n != 5 {
		t.Errorf("%d failures are in the log, want one for each wrong current password", n)
	}
	s.good(t, "the own session", pair)
	s.good(t, "the other session", other)
	s.signInAlice(t)

	// A hash that cannot be used is an alarm, and looks like a wrong password.
	s.exec(t, "UPDATE users SET password_hash = 'damaged' WHERE username = 'alice'")
	if got := s.changePassword(t, pair.Access, old, newTestPassword); got.status != 400 || got.code() != "wrong_password" {
		t.Errorf("with a damaged hash: got %d %s", got.status, got.body)
	}
	if !strings.Contains(s.log.String(), "sys_unavailable") {
		t.Error("the log does not tell that a hash is damaged")
	}
}

func TestChangeOfPasswordAfterAnotherIsAConflict(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	body := fmt.Sprintf(`{"current_password":%q,"new_password":%q}`, s.keys.DemoPassword, testPassword)
	s.late(t, "/users/me/password", body, func() {
		u := must(s.users.byUsername(t.Context(), "alice"))
		if done := must(s.users.changePassword(t.Context(), u.ID, u.PasswordHash, "another")); !done {
			t.Error("the password was not changed")
		}
	}, jsonType, bearer(alice.Access)).has(t, "the second change", http.StatusConflict, "conflict")
}

func TestOneOfManyChangesAtOnceCounts(t *testing.T) {
	s := openSite(t)
	old := s.keys.DemoPassword
	const n = 8
	var pairs [n]tokens
	var answers [n]answer
	for i := range n {
		pairs[i] = s.signInAlice(t)
	}
	wanted := func(i int) string { return newTestPassword + string(rune('a'+i)) }
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			body := fmt.Sprintf(`{"current_password":%q,"new_password":%q}`, old, wanted(i))
			answers[i], _ = do("POST", s.url+"/users/me/password", body, jsonType, bearer(pairs[i].Access))
		})
	}
	wg.Wait()
	winner := -1
	for i, a := range answers {
		switch {
		case a.status == http.StatusNoContent && winner < 0:
			winner = i
		case a.status == http.StatusNoContent:
			t.Errorf("%d and %d were both told that their password counts", winner, i)
		case a.status == http.StatusConflict, a.status == http.StatusUnauthorized, a.code() == "wrong_password":
		default:
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	if winner < 0 {
		t.Fatal("nobody changed the password")
	}
	s.signIn(t, "alice", wanted(winner))
	for i, pair := range pairs {
		if i != winner {
			s.over(t, "a session of another change", pair)
		}
	}
	s.good(t, "the session of the change that counts", pairs[winner])
}

// Whoever is told at the same time that they are signed in with the old
// password is signed in no more when the change is acknowledged.
func TestSignInsDuringAChangeOfPassword(t *testing.T) {
	s := openSite(t)
	old := s.keys.DemoPassword
	own := s.signInAlice(t)
	const n = 12
	var lists [n][]answer
	var answered atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := do("POST", s.url+"/token", form("username", "alice", "password", old), formType)
				if err == nil {
					lists[i] = append(lists[i], a)
					answered.Add(1)
				}
			}
		})
	}
	for deadline := time.Now().Add(20 * time.Second); answered.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no sign-in was answered")
		}
	}
	s.changePassword(t, own.Access, old, newTestPassword).is(t, http.StatusNoContent)
	close(stop)
	wg.Wait()
	signedIn, refused := 0, 0
	for _, a := range slices.Concat(lists[:]...) {
		switch a.status {
		case http.StatusOK:
			signedIn++
			s.over(t, "a sign-in with the old password", a.tokens(t))
		case http.StatusBadRequest:
			refused++
		case http.StatusServiceUnavailable: // too many at once
		default:
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	t.Logf("%d signed in, %d were refused", signedIn, refused)
	if signedIn == 0 {
		t.Error("no sign-in came before the change")
	}
	if n := s.count(t, "SELECT count(*) FROM gatewright_sessions WHERE subject = '1'"); n != 1 {
		t.Errorf("%d sessions are left, want the own one", n)
	}
	s.good(t, "the own session", own)
}

func TestChangeOfPasswordEndsMoreSessionsThanAListHas(t *testing.T) {
	s := openSite(t)
	own := s.signInAlice(t)
	now := time.Now()
	s.exec(t, `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1004)
		INSERT INTO gatewright_sessions (id, subject, tenant, client, created, expires, current_hash, rotated, idle)
		SELECT 's' || i, '1', '', '', ? - i, ?, x'00', 0, ? FROM n`, now.UnixMicro(), now.Add(time.Hour).UnixMicro(), now.Add(time.Hour).UnixMicro())
	s.changePassword(t, own.Access, s.keys.DemoPassword, newTestPassword).is(t, http.StatusNoContent)
	if n := s.count(t, "SELECT count(*) FROM gatewright_sessions WHERE subject = '1'"); n != 1 {
		t.Errorf("%d sessions are left, want the own one", n)
	}
	s.good(t, "the own session", own)
}

// A brokenLog is a log of revocations whose disk is full at times.
type brokenLog struct {
	blacklist.MemoryLog
	full atomic.Bool
}

func (l *brokenLog) Append(ctx context.Context, entries ...blacklist.Entry) (uint64, error) {
	if l.full.Load() {
		return 0, errors.New("the disk is full")
	}
	return l.MemoryLog.Append(ctx, entries...)
}

func TestLogoutThatIsNotKeptIsNotAcknowledged(t *testing.T) {
	log, how := new(brokenLog), testSettings
	how.revocations = log
	s := openSiteAs(t, how)
	alice := s.signInAlice(t)
	log.full.Store(true)
	s.do(t, "POST", "/logout/", "", bearer(alice.Access)).has(t, "while it cannot be kept", 503, "unavailable")
	log.full.Store(false)
	s.do(t, "POST", "/logout/", "", bearer(alice.Access)).is(t, http.StatusOK)
	s.me(t, alice.Access).has(t, "the token", 401, "invalid_token")
}

func TestLogoutIsRememberedAfterARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "revocations")
	var access [2]string
	for start := range 3 {
		log, err := blacklist.OpenFile(file, blacklist.FileConfig{})
		if err != nil {
			t.Fatal(err)
		}
		how := testSettings
		how.revocations = log
		t.Run(strconv.Itoa(start), func(t *testing.T) {
			s := openSiteAs(t, how)
			if start < 2 {
				alice := s.signInAlice(t)
				access[start] = alice.Access
				s.do(t, "POST", "/logout/", "", bearer(alice.Access)).is(t, http.StatusOK)
			}
			for i, token := range access[:min(start+1, 2)] {
				s.me(t, token).has(t, "token "+strconv.Itoa(i), 401, "invalid_token")
			}
		})
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadiness(t *testing.T) {
	s := openSite(t)
	ready := func(status int, want string) {
		t.Helper()
		got := s.do(t, "GET", "/readyz", "")
		// The age of what was read last is a number of its own each time.
		body := regexp.MustCompile(`"revocations_staleness_ms":\d+,`).ReplaceAllString(got.body, "")
		if got.status != status || strings.TrimSpace(body) != want || status != 200 && got.header.Get("Retry-After") == "" {
			t.Errorf("got %d %v %s, want %d %s", got.status, got.header, got.body, status, want)
		}
	}
	ready(http.StatusOK, `{"status":"ready","stores":{"database":"ok"},"limits":"local"}`)
	check(s.db.Close())
	ready(http.StatusServiceUnavailable, `{"status":"unavailable","stores":{"database":"failing"},"limits":"local"}`)
	s.do(t, "GET", "/healthz", "").is(t, http.StatusOK)
}

func TestChangeOfPasswordThatCannotEndTheOthersSaysSo(t *testing.T) {
	log, how := new(brokenLog), testSettings
	how.revocations = log
	s := openSiteAs(t, how)
	own, other := s.signInAlice(t), s.signInAlice(t)
	log.full.Store(true)
	got := s.changePassword(t, own.Access, s.keys.DemoPassword, newTestPassword)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "The password is changed") {
		t.Errorf("got %d %s, want 503 that tells how far it came", got.status, got.body)
	}
	if !strings.Contains(s.log.String(), "authn_password_change") {
		t.Error("the log does not tell that the password was changed")
	}
	if got := s.do(t, "DELETE", "/sessions/"+claims(t, other.Access).Session, "", bearer(own.Access)); got.status != http.StatusServiceUnavailable {
		t.Errorf("ending a session: got %d %s, want 503", got.status, got.body)
	}
	log.full.Store(false)
	// What failed can be done again.
	s.do(t, "DELETE", "/sessions/"+claims(t, other.Access).Session, "", bearer(own.Access)).is(t, http.StatusNoContent)
	s.over(t, "the other session", other)
	s.signIn(t, "alice", newTestPassword)
}

// administer disables or enables a user.
func (s *site) administer(t *testing.T, access, username, what string) answer {
	t.Helper()
	return s.do(t, "POST", "/users/"+username+"/"+what, "", bearer(access))
}

func TestDisablingEndsAllAtOnceAndEnablingRevivesNothing(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	phone, tablet := s.signInAlice(t), s.signInAlice(t)
	later := s.refresh(t, tablet.Refresh).tokens(t)
	during, until := s.underWay(t, "alice", s.keys.DemoPassword), s.underWay(t, "alice", s.keys.DemoPassword)

	got := s.administer(t, admin.Access, "alice", "disable")
	got.is(t, http.StatusOK)
	if !strings.Contains(got.body, `"disabled":true`) {
		t.Errorf("the answer is %s", got.body)
	}
	// Before anybody comes back and is found out to be disabled.
	if n := s.count(t, "SELECT count(*) FROM gatewright_sessions WHERE subject = '1'"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	during().refused(t, http.StatusBadRequest, "invalid_grant")
	for name, pair := range map[string]tokens{"a session": phone, "a session that was refreshed": later} {
		s.over(t, name+", disabled", pair)
	}
	s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType).
		refused(t, http.StatusBadRequest, "invalid_grant")

	got = s.administer(t, admin.Access, "alice", "enable")
	got.is(t, http.StatusOK)
	if !strings.Contains(got.body, `"disabled":false`) {
		t.Errorf("the answer is %s", got.body)
	}
	for name, pair := range map[string]tokens{"a session": phone, "a session that was refreshed": later} {
		s.over(t, name+", enabled again", pair)
	}
	until().refused(t, http.StatusBadRequest, "invalid_grant")
	fresh := s.signInAlice(t)
	s.good(t, "a sign-in after that", fresh)
	s.administer(t, admin.Access, "alice", "enable").is(t, http.StatusOK)
	s.good(t, "a session of somebody who was enabled once more", fresh)
	s.good(t, "the administrator", admin)
	if n := strings.Count(s.log.String(), "msg=authz_change"); n != 2 {
		t.Errorf("the log tells of %d changes of rights, want 2", n)
	}

	// Disabled behind the server's back, as by a script: nothing was ended
	// then, and comes back all the same.
	s.exec(t, "UPDATE users SET disabled = true WHERE username = 'alice'")
	s.administer(t, admin.Access, "alice", "enable").is(t, http.StatusOK)
	s.over(t, "a session of somebody whom a script disabled", fresh)
}

func TestAdministratorsAreThoseWhoAreItNow(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	s.administer(t, admin.Access, "mod", "disable").is(t, http.StatusOK)

	// Demoted: the token is good, and says otherwise.
	s.exec(t, "UPDATE users SET roles = 'user' WHERE username = 'admin'")
	for _, what := range []string{"disable", "enable"} {
		if got := s.administer(t, admin.Access, "mod", what); got.status != http.StatusForbidden || got.code() != "forbidden" {
			t.Errorf("demoted, %s: got %d %s, want 403", what, got.status, got.body)
		}
	}
	s.exec(t, "UPDATE users SET roles = 'admin', disabled = true WHERE username = 'admin'")
	for _, what := range []string{"disable", "enable"} {
		if got := s.administer(t, admin.Access, "mod", what); got.status != http.StatusUnauthorized {
			t.Errorf("disabled, %s: got %d %s, want 401", what, got.status, got.body)
		}
	}
	s.exec(t, "UPDATE users SET disabled = false WHERE username = 'admin'")
	if n := s.count(t, "SELECT count(*) FROM users WHERE username = 'mod' AND disabled"); n != 1 {
		t.Error("mod was enabled by somebody who may not")
	}
	// With the role, and a token that was made for less.
	reader := s.signIn(t, "admin", s.keys.DemoPassword, "scope", "read:items")
	if got := s.administer(t, reader.Access, "mod", "enable"); got.status != http.StatusForbidden || got.code() != "insufficient_scope" {
		t.Errorf("with a token to read: got %d %s, want 403", got.status, got.body)
	}
	for _, name := range []string{"admin", "ADMIN", "%20admin"} {
		if got := s.administer(t, admin.Access, name, "disable"); got.status != http.StatusConflict || got.code() != "own_account" {
			t.Errorf("oneself as %s: got %d %s, want 409", name, got.status, got.body)
		}
	}
	s.good(t, "the administrator", admin)
}

func TestOfTwoAdministratorsWhoDisableEachOtherOneStays(t *testing.T) {
	s := openSite(t)
	s.exec(t, "UPDATE users SET roles = 'admin', scopes = 'admin' WHERE username = 'mod'")
	for range 5 {
		names := []string{"admin", "mod"}
		var answers [2]answer
		var pairs [2]tokens
		for i, name := range names {
			pairs[i] = s.signIn(t, name, s.keys.DemoPassword)
		}
		var wg sync.WaitGroup
		for i := range names {
			wg.Go(func() {
				answers[i], _ = do("POST", s.url+"/users/"+names[1-i]+"/disable", "", bearer(pairs[i].Access))
			})
		}
		wg.Wait()
		if n := s.count(t, "SELECT count(*) FROM users WHERE username IN ('admin', 'mod') AND disabled = false"); n != 1 {
			t.Fatalf("%d of the two are left: %d %s, %d %s", n, answers[0].status, answers[0].body, answers[1].status, answers[1].body)
		}
		s.exec(t, "UPDATE users SET disabled = false")
	}
	// What the race may miss.
	admin, mod := must(s.users.byUsername(t.Context(), "admin")), must(s.users.byUsername(t.Context(), "mod"))
	s.exec(t, "UPDATE users SET disabled = true WHERE username = 'admin'")
	err := s.users.setDisabled(t.Context(), mod.ID, admin.ID, s.may(writeUsers), true)
	if denial, ok := errors.AsType[*guard.Denial](err); !ok || denial.Status != http.StatusForbidden {
		t.Errorf("a disabled administrator disables somebody: %v", err)
	}
}

// list is GET /sessions/.
func (s *site) list(t *testing.T, access string) (all []listed) {
	t.Helper()
	got := s.do(t, "GET", "/sessions/", "", bearer(access))
	got.is(t, http.StatusOK)
	if err := json.Unmarshal([]byte(got.body), &all); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	return all
}

func TestOwnSessionsAreListedAndEnded(t *testing.T) {
	s := openSite(t)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	first, second, third := s.signInAlice(t), s.signInAlice(t), s.signInAlice(t)
	id := func(pair tokens) string { return claims(t, pair.Access).Session }
	second = s.refresh(t, second.Refresh).tokens(t)

	var ids []string
	for _, one := range s.list(t, second.Access) {
		ids = append(ids, one.ID)
		if one.Current != (one.ID == id(second)) {
			t.Errorf("%+v: current is wrong", one)
		}
		if age, left := time.Since(one.Created), time.Until(one.Expires); age < 0 || age > time.Minute || left < 89*24*time.Hour {
			t.Errorf("%+v: the times are wrong", one)
		}
	}
	if !slices.Equal(ids, []string{id(third), id(second), id(first)}) {
		t.Errorf("the sessions are %v, want the own three, the newest first", ids)
	}

	// Somebody else's, in any spelling, looks like one that does not exist.
	for _, path := range []string{id(mod), "nothing", "%00", "'%20OR%20''='", strings.ToLower(id(first)), id(first) + "%20"} {
		got := s.do(t, "DELETE", "/sessions/"+path, "", bearer(first.Access))
		if got.status != http.StatusNotFound || got.body != s.do(t, "DELETE", "/sessions/unknown", "", bearer(first.Access)).body {
			t.Errorf("ending %s: got %d %s, want the 404 of any", path, got.status, got.body)
		}
	}
	mod = s.good(t, "somebody else", mod)

	s.do(t, "DELETE", "/sessions/"+id(third), "", bearer(first.Access)).is(t, http.StatusNoContent)
	s.over(t, "the session that was ended", third)
	second = s.good(t, "another session", second)
	if n := len(s.list(t, first.Access)); n != 2 {
		t.Errorf("%d sessions are listed, want 2", n)
	}
	// One's own is as good as signing out.
	s.do(t, "DELETE", "/sessions/"+id(first), "", bearer(first.Access)).is(t, http.StatusNoContent)
	s.over(t, "the own session", first)

	finish := s.underWay(t, "alice", s.keys.DemoPassword)
	fourth := s.signInAlice(t)
	s.do(t, "POST", "/logout/all", "", bearer(second.Access)).is(t, http.StatusOK)
	s.over(t, "the session that ended all", second)
	s.over(t, "another of all", fourth)
	finish().refused(t, http.StatusBadRequest, "invalid_grant")
	s.good(t, "somebody else", mod)
	if all := s.list(t, s.signInAlice(t).Access); len(all) != 1 || !all[0].Current {
		t.Errorf("the sessions are %+v, want the new one", all)
	}
}

func TestRevocationAndIntrospectionAgree(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	active := func(token string) bool {
		t.Helper()
		got := s.do(t, "POST", "/introspect", form("token", token), formType, bearer(admin.Access))
		got.is(t, http.StatusOK)
		var out struct {
			Active bool
			Sub    string
		}
		if err := json.Unmarshal([]byte(got.body), &out); err != nil {
			t.Fatal(err)
		}
		if !out.Active && strings.TrimSpace(got.body) != `{"active":false}` {
			t.Errorf("of a token that is not active it tells %s", got.body)
		}
		return out.Active
	}
	revoke := func(token string) {
		t.Helper()
		if got := s.do(t, "POST", "/revoke", form("token", token), formType); got.status != http.StatusOK || got.body != "" {
			t.Errorf("revoking: got %d %s", got.status, got.body)
		}
	}
	pair := s.signInAlice(t)
	if !active(pair.Access) {
		t.Error("a good token is not active")
	}
	for name, token := range map[string]string{"a refresh token": pair.Refresh, "junk": "junk", "half a token": pair.Access[:len(pair.Access)/2]} {
		if active(token) {
			t.Errorf("%s is active", name)
		}
	}
	revoke(pair.Access)
	if active(pair.Access) {
		t.Error("a token that was revoked is active")
	}
	if got := s.me(t, pair.Access); got.status != http.StatusUnauthorized {
		t.Errorf("a token that was revoked gets %d %s", got.status, got.body)
	}
	// It alone: the session goes on.
	next := s.refresh(t, pair.Refresh).tokens(t)
	if !active(next.Access) {
		t.Error("the next access token is not active")
	}
	revoke(next.Refresh)
	if active(next.Access) {
		t.Error("the access token of a session that was revoked is active")
	}
	s.over(t, "a session whose refresh token was revoked", next)

	disabled := s.signInAlice(t)
	s.exec(t, "UPDATE users SET disabled = true WHERE username = 'alice'")
	if active(disabled.Access) {
		t.Error("the token of a disabled user is active")
	}
	if !active(admin.Access) {
		t.Error("the administrator is taken for the user of the token")
	}
}

func TestMetadataSaysWhereTheEndpointsAre(t *testing.T) {
	for _, tt := range []struct{ issuer, server, resource string }{
		{"https://server.test", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"},
		{"https://server.test/auth", "/.well-known/oauth-authorization-server/auth", "/.well-known/oauth-protected-resource/auth"},
		{"http://[::]:8080", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"},
	} {
		t.Run(tt.issuer, func(t *testing.T) {
			origin := openSite(t)
			a, err := newApp(origin.db, origin.keys, quick(), settings{issuer: tt.issuer, hosts: []string{"127.0.0.1"}, insecureNoLimits: true}, origin.app.log)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(a.handler())
			t.Cleanup(server.Close)
			s := &site{app: a, url: server.URL}
			var doc struct {
				Issuer        string
				Token         string   `json:"token_endpoint"`
				Revocation    string   `json:"revocation_endpoint"`
				Introspection string   `json:"introspection_endpoint"`
				Keys          string   `json:"jwks_uri"`
				Grants        []string `json:"grant_types_supported"`
				Resource      string
				Servers       []string `json:"authorization_servers"`
			}
			for _, path := range []string{tt.server, tt.resource} {
				got := s.do(t, "GET", path, "")
				got.is(t, http.StatusOK)
				if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
					t.Fatal(err)
				}
			}
			if doc.Issuer != tt.issuer || doc.Resource != tt.issuer || !slices.Equal(doc.Servers, []string{tt.issuer}) {
				t.Errorf("the issuer and the resource are %+v", doc)
			}
			for name, at := range map[string]string{"/token": doc.Token, "/revoke": doc.Revocation, "/introspect": doc.Introspection, "/.well-known/jwks.json": doc.Keys} {
				if at != tt.issuer+name {
					t.Errorf("%s is said to be at %s", name, at)
				}
			}
			want := `resource_metadata="` + tt.issuer[:strings.IndexByte(tt.issuer[8:]+"/", '/')+8] + tt.resource + `"`
			if challenge := s.do(t, "GET", "/users/me", "").header.Get("WWW-Authenticate"); !strings.Contains(challenge, want) {
				t.Errorf("the challenge is %s, want %s in it", challenge, want)
			}
		})
	}
	s := openSite(t)
	for _, issuer := range []string{"gatewright", "https://", "ftp://server.test", "https://server.test/?x=y", "https://server.test/#x", "https://user@server.test"} {
		if _, err := newApp(s.db, s.keys, quick(), settings{issuer: issuer, hosts: []string{"127.0.0.1"}, insecureNoLimits: true}, s.app.log); err == nil {
			t.Errorf("the issuer %q was taken", issuer)
		}
	}
}

// Whoever has the password can open sessions without end before it is changed.
func TestPasswordChangeEndsThousandsOfSessionsAndTheirKeys(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"a thief's"}`)
	s.exec(t, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
		INSERT INTO gatewright_sessions (id, subject, tenant, client, created, expires, current_hash, rotated, idle)
		SELECT 'thief' || i, '1', '', '', ?, ?, x'00', 0, ? FROM n`,
		time.Now().UnixMicro(), time.Now().Add(time.Hour).UnixMicro(), time.Now().Add(time.Hour).UnixMicro())
	s.changePassword(t, alice.Access, s.keys.DemoPassword, newTestPassword).is(t, http.StatusNoContent)
	if n := s.count(t, "SELECT count(*) FROM gatewright_sessions WHERE subject = '1'"); n != 1 {
		t.Errorf("%d sessions are left, want the own one", n)
	}
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "the key", 401, "invalid_token")
	s.good(t, "the own session", alice)
}

func TestBlockedPasswordsAreRefusedWhereverOneIsChosen(t *testing.T) {
	const blocked, why = "Correct Horse Battery STAPLE", "is on a list of passwords that are often used"
	how := withOutbox()
	how.blocklist = must(password.ReadBlocklist(strings.NewReader("correct horse battery staple\n")))
	s := openSiteAs(t, how)
	refused := func(what string, got answer, status int) {
		t.Helper()
		if got.status != status || !strings.Contains(got.body, why) || strings.Contains(strings.ToLower(got.body), "horse") {
			t.Errorf("%s: %d %s, want %d and the reason", what, got.status, got.body, status)
		}
	}
	refused("at sign-up", s.register(t, map[string]string{"username": "carol", "password": blocked}), 422)
	alice := s.signInAlice(t)
	body := `{"current_password":"` + s.keys.DemoPassword + `","new_password":"` + blocked + `"}`
	refused("at a change", s.do(t, "POST", "/users/me/password", body, bearer(alice.Access), jsonType), 422)
	s.do(t, "POST", "/forgot/", form("email", "alice@example.com"), formType).is(t, 202)
	secret := secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	refused("at a reset", s.do(t, "POST", "/account/reset-password", form("token", secret, "password", blocked), formType), 400)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	s.do(t, "POST", "/invitations/", `{"email":"dan@example.com"}`, bearer(admin.Access), jsonType)
	secret = secretOf(t, s.letters(t, "dan@example.com", "invitation", 1)[0])
	refused("at an invitation", s.do(t, "POST", "/account/invitation", form("token", secret, "username", "dan", "password", blocked), formType), 400)
	// One that is not on the list is fine, with the same link.
	s.do(t, "POST", "/account/invitation", form("token", secret, "username", "dan", "password", testPassword), formType).is(t, 303)
}
