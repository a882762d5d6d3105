package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// claims returns what a token says, without verifying it.
func claims(t *testing.T, token string) (c struct {
	ID      string   `json:"jti"`
	Session string   `json:"sid"`
	Scope   string   `json:"scope"`
	Factors []string `json:"amr"`
}) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// afterTheGrace makes the last rotation of a session half a minute older.
func (s *site) afterTheGrace(t *testing.T, session string) {
	t.Helper()
	s.exec(t, "UPDATE gatewright_sessions SET rotated = rotated - ? WHERE id = ?", (30 * time.Second).Microseconds(), session)
}

func TestThousandRefreshesAtOnceLeadToOneSuccessor(t *testing.T) {
	s := openSite(t)
	first := s.signInAlice(t)
	session := claims(t, first.Refresh).Session

	const n = 1000
	answers := make([]answer, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			answers[i], errs[i] = do("POST", s.url+"/token/refresh", form("refresh_token", first.Refresh), formType)
		})
	}
	begin := time.Now()
	close(start)
	wg.Wait()
	t.Logf("%d refreshes took %v", n, time.Since(begin))

	// All of them must be answered within the grace for what follows to be
	// promised at all.
	successors, accesses := make(map[string]int), make(map[string]bool)
	for i, a := range answers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if a.status != http.StatusOK {
			t.Fatalf("got %d %s, want 200 for everybody", a.status, a.body)
		}
		pair := a.tokens(t)
		successors[pair.Refresh]++
		accesses[pair.Access] = true
	}
	if len(successors) != 1 {
		t.Errorf("%d different successors, want 1", len(successors))
	}
	if len(accesses) != n {
		t.Errorf("%d different access tokens, want %d", len(accesses), n)
	}

	// The row has been rotated once: from the first token to the successor.
	next := answers[0].tokens(t).Refresh
	was, is := sha256.Sum256([]byte(claims(t, first.Refresh).ID)), sha256.Sum256([]byte(claims(t, next).ID))
	if got := s.count(t, "SELECT count(*) FROM gatewright_sessions WHERE id = ? AND previous_hash = ? AND current_hash = ?", session, was[:], is[:]); got != 1 {
		t.Error("the session is not one rotation away from the sign-in")
	}
	s.refresh(t, next).tokens(t)
}

func TestLostAnswerIsGivenAgain(t *testing.T) {
	s := openSite(t)
	first := s.signInAlice(t)
	lost := s.refresh(t, first.Refresh).tokens(t)
	again := s.refresh(t, first.Refresh).tokens(t)
	if lost.Refresh != again.Refresh {
		t.Error("the second answer has another refresh token")
	}
	if got := s.me(t, again.Access); got.status != http.StatusOK {
		t.Errorf("the access token of the second answer: %d %s", got.status, got.body)
	}
	// The same on the other route to a refresh.
	third := s.do(t, "POST", "/token", form("grant_type", "refresh_token", "refresh_token", first.Refresh), formType).tokens(t)
	if lost.Refresh != third.Refresh {
		t.Error("POST /token leads to another refresh token than POST /token/refresh")
	}
}

func TestReplayAfterTheGraceEndsTheSession(t *testing.T) {
	s := openSite(t)
	other := s.signInAlice(t)
	first := s.signInAlice(t)
	second := s.refresh(t, first.Refresh).tokens(t)
	s.afterTheGrace(t, claims(t, first.Refresh).Session)

	s.refresh(t, first.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	if !strings.Contains(s.log.String(), "authn_token_reuse") {
		t.Error("the log does not tell that a token was reused")
	}
	s.refresh(t, second.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	for name, access := range map[string]string{"first": first.Access, "second": second.Access} {
		if got := s.me(t, access); got.status != http.StatusUnauthorized || got.code() != "invalid_token" {
			t.Errorf("the %s access token: %d %s, want 401 invalid_token", name, got.status, got.body)
		}
	}
	// The same user's other session has nothing to do with it.
	if got := s.me(t, other.Access); got.status != http.StatusOK {
		t.Errorf("the access token of another session: %d %s", got.status, got.body)
	}
	s.refresh(t, other.Refresh).tokens(t)
}

func TestReplayOfTheLastTokenButOneEndsTheSessionWithinTheGrace(t *testing.T) {
	s := openSite(t)
	first := s.signInAlice(t)
	second := s.refresh(t, first.Refresh).tokens(t)
	third := s.refresh(t, second.Refresh).tokens(t)
	s.refresh(t, first.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	s.refresh(t, third.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	if got := s.me(t, third.Access); got.status != http.StatusUnauthorized {
		t.Errorf("the last access token: %d %s, want 401", got.status, got.body)
	}
}

func TestDisabledUserIsOutAtTheNextRequest(t *testing.T) {
	s := openSite(t)
	pair := s.signInAlice(t)
	if got := s.me(t, pair.Access); got.status != http.StatusOK {
		t.Fatalf("before: %d %s", got.status, got.body)
	}
	s.exec(t, "UPDATE users SET disabled = true WHERE username = 'alice'")
	if got := s.me(t, pair.Access); got.status != http.StatusUnauthorized || got.code() != "invalid_token" ||
		!strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("the access token: %d %s %q, want 401 invalid_token", got.status, got.body, got.header["Www-Authenticate"])
	}
	// Everywhere: this route does not load the user by itself.
	if got := s.do(t, "POST", "/logout/", "", bearer(pair.Access)); got.status != http.StatusUnauthorized {
		t.Errorf("logging out: %d %s, want 401", got.status, got.body)
	}
	s.refresh(t, pair.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType).
		refused(t, http.StatusBadRequest, "invalid_grant")

	// Being enabled again does not bring the session back.
	s.exec(t, "UPDATE users SET disabled = false WHERE username = 'alice'")
	s.refresh(t, pair.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	s.signInAlice(t)
}

func TestDeletedUserIsOutAtTheNextRequest(t *testing.T) {
	s := openSite(t)
	pair := s.signInAlice(t)
	s.exec(t, "DELETE FROM users WHERE username = 'alice'")
	if got := s.me(t, pair.Access); got.status != http.StatusUnauthorized {
		t.Errorf("the access token: %d %s, want 401", got.status, got.body)
	}
	s.refresh(t, pair.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
}

func TestWithdrawnScopeEndsTheRefresh(t *testing.T) {
	s := openSite(t)
	narrow := s.signIn(t, "alice", s.keys.DemoPassword, "scope", "read:items")
	wide := s.signInAlice(t)
	s.exec(t, "UPDATE users SET scopes = 'read:items' WHERE username = 'alice'")
	s.refresh(t, wide.Refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	if got := s.refresh(t, narrow.Refresh).tokens(t); got.Scope != "read:items" {
		t.Errorf("the session that did without the scope has %q now", got.Scope)
	}
}

func TestScopeIsNeverMoreThanTheSessionHas(t *testing.T) {
	s := openSite(t)
	pair := s.signIn(t, "alice", s.keys.DemoPassword, "scope", "read:items")
	if pair.Scope != "read:items" || claims(t, pair.Access).Scope != "read:items" {
		t.Errorf("got %q in the answer and %q in the token, want read:items", pair.Scope, claims(t, pair.Access).Scope)
	}
	widen := func(scope string) answer {
		return s.do(t, "POST", "/token/refresh", form("refresh_token", pair.Refresh, "scope", scope), formType)
	}
	for _, scope := range []string{"read:items write:items", "write:items", "admin", "READ:ITEMS", `read:items" x="`, "read:items\twrite:items"} {
		widen(scope).refused(t, http.StatusBadRequest, "invalid_scope")
	}
	widen("read:items").tokens(t)
}

func TestLogoutEndsBothTokensOfTheSession(t *testing.T) {
	s := openSite(t)
	other, pair := s.signInAlice(t), s.signInAlice(t)
	next := s.refresh(t, pair.Refresh).tokens(t)
	if got := s.do(t, "POST", "/logout/", "", bearer(next.Access)); got.status != http.StatusOK {
		t.Fatalf("logout: %d %s", got.status, got.body)
	}
	for _, access := range []string{pair.Access, next.Access} {
		if got := s.me(t, access); got.status != http.StatusUnauthorized {
			t.Errorf("an access token: %d %s, want 401", got.status, got.body)
		}
	}
	for _, refresh := range []string{pair.Refresh, next.Refresh} {
		s.refresh(t, refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	}
	if got := s.do(t, "POST", "/logout/", "", bearer(next.Access)); got.status != http.StatusUnauthorized {
		t.Errorf("a second logout: %d %s, want 401", got.status, got.body)
	}
	if got := s.me(t, other.Access); got.status != http.StatusOK {
		t.Errorf("another session: %d %s", got.status, got.body)
	}
}

func TestNeitherTokenPassesAsTheOther(t *testing.T) {
	s := openSite(t)
	pair := s.signInAlice(t)
	if got := s.me(t, pair.Refresh); got.status != http.StatusUnauthorized || got.code() != "invalid_token" {
		t.Errorf("a refresh token as access token: %d %s", got.status, got.body)
	}
	s.refresh(t, pair.Access).refused(t, http.StatusBadRequest, "invalid_grant")
}
