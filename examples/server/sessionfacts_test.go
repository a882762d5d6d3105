package main

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const phoneAgent = "User-Agent: Phone/1"

func (s *site) signInOnPhone(t *testing.T) tokens {
	t.Helper()
	return s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType, phoneAgent).tokens(t)
}

func TestSessionsShowFromWhereTheyBeganAndWhenTheyWereUsed(t *testing.T) {
	s := openSite(t)
	pair := s.signInOnPhone(t)
	one := s.list(t, pair.Access)[0]
	if one.Began != wayPassword || one.Address != "127.0.0.1" || one.UserAgent != "Phone/1" || one.Used.Before(one.Created) || time.Since(one.Used) > time.Minute {
		t.Errorf("the session is %+v", one)
	}
	// Uses are in memory until they are written, together.
	s.do(t, "GET", "/users/me", "", bearer(pair.Access)).is(t, http.StatusOK)
	recorded := func() (used int64) {
		check(s.db.QueryRowContext(t.Context(), "SELECT used FROM session_beginnings WHERE session = $1", one.ID).Scan(&used))
		return used
	}
	before, last := recorded(), s.uses.last(one.ID)
	if last <= before {
		t.Errorf("the last use is %d, and %d is recorded", last, before)
	}
	check(s.storeUses(t.Context(), s.uses.take()))
	if got := recorded(); got != last || s.uses.last(one.ID) != 0 {
		t.Errorf("%d is recorded, want %d", got, last)
	}
	check(s.storeUses(t.Context(), map[string]int64{one.ID: before})) // of a machine whose clock is behind
	if got := recorded(); got != last {
		t.Errorf("%d is recorded, want %d", got, last)
	}
}

func TestUsesOfSessionsAreBounded(t *testing.T) {
	var u uses
	u.note("first")
	for n := range maxUses + 10 {
		u.note(strconv.Itoa(n))
	}
	u.note("first")
	if n := len(u.take()); n > maxUses {
		t.Errorf("%d uses are kept", n)
	}
}

func TestAllSessionsButOneEndInOneCall(t *testing.T) {
	s := openSite(t)
	first, second, third := s.signInAlice(t), s.signInOnPhone(t), s.signInAlice(t)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	s.do(t, "DELETE", "/sessions/", "", bearer(second.Access)).is(t, http.StatusNoContent)
	s.over(t, "the first session", first)
	s.over(t, "the third session", third)
	s.good(t, "another user's session", mod)
	second = s.good(t, "the session that asked", second)
	if n := len(s.list(t, second.Access)); n != 1 {
		t.Errorf("%d sessions are listed, want 1", n)
	}
	s.do(t, "DELETE", "/sessions/", "").is(t, http.StatusUnauthorized)
}

func TestUsersAreToldOfNewDevicesAndOfReplays(t *testing.T) {
	how := testSettings
	how.outbox = true
	s := openSiteAs(t, how)
	pair := s.signInAlice(t) // the first sign-in of all is no news
	s.signInAlice(t)
	s.signInOnPhone(t)
	if told := s.letters(t, "alice@example.com", "notice", 1); !strings.Contains(told[0].Text, "a new browser or program, from 127.0.0.1") {
		t.Errorf("the notice is %q", told[0].Text)
	}
	s.signInOnPhone(t)
	next := s.refresh(t, pair.Refresh).tokens(t)
	next = s.refresh(t, next.Refresh).tokens(t)
	s.refresh(t, pair.Refresh).is(t, http.StatusBadRequest) // no predecessor any more
	if told := s.letters(t, "alice@example.com", "notice", 2); !strings.Contains(told[0].Text+told[1].Text, "used twice") {
		t.Errorf("the notices are %q", told)
	}
	s.over(t, "the session with a replayed token", next)
}
