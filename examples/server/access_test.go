package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// is fails the test unless the answer has this status and, where there is one,
// this code.
func (a answer) has(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.status != status || a.code() != code {
		t.Errorf("%s: got %d %s, want %d %s", what, a.status, a.body, status, code)
	}
}

// into reads the body of an answer that must have this status.
func into[T any](t *testing.T, a answer, status int) (v T) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d %s, want %d", a.status, a.body, status)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// key makes an API key with what body asks for.
func (s *site) key(t *testing.T, access, body string) shownKey {
	t.Helper()
	made := into[shownKey](t, s.do(t, "POST", "/keys/", body, bearer(access), jsonType), http.StatusCreated)
	if made.Key == "" {
		t.Fatal("the key is not shown")
	}
	return made
}

func withKey(key string) string { return "X-API-Key: " + key }

func (s *site) id(t *testing.T, username string) string {
	t.Helper()
	return strconv.Itoa(s.count(t, "SELECT id FROM users WHERE username = ?", username))
}

// token returns a token like the one given, but for what edit changes.
func (s *site) token(t *testing.T, access string, edit func(*identity.Principal)) string {
	t.Helper()
	ring := must(s.keys.ring())
	verifier := must(token.NewVerifier(ring, token.VerifierConfig{Issuer: testIssuer, Audience: testIssuer, Revoker: s.revoked}))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+access)
	p, err := verifier.Authenticate(r)
	if err != nil {
		t.Fatal(err)
	}
	edit(p)
	issuer := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: testIssuer, Audience: testIssuer}))
	return must(issuer.Issue(t.Context(), p, nil))
}

// The golden file is worth something only if a guard that goes missing shows
// in it.
func TestAnyGuardThatGoesMissingShowsInTheLedger(t *testing.T) {
	base := openSite(t)
	limited := testSettings
	limited.insecureNoLimits = false
	s := must(newApp(base.db, base.keys, quick(), limited, base.app.log))
	ledger := func(routes []route) (lines []string, refused bool) {
		defer func() {
			if recover() != nil {
				refused = true
			}
		}()
		mux := guard.NewMux(s.hooks, s.apiKeys)
		register(mux, s.limits.caller, routes)
		for _, one := range mux.Routes() {
			lines = append(lines, one.String())
		}
		return lines, false
	}
	ring := must(base.keys.ring())
	whole, refused := ledger(s.routes(ring))
	if refused {
		t.Fatal("the routes as they are were refused")
	}
	removed := 0
	for i, one := range s.routes(ring) {
		for j := range one.guards {
			routes := s.routes(ring)
			routes[i].guards = slices.Delete(slices.Clone(one.guards), j, j+1)
			lines, refused := ledger(routes)
			if !refused && slices.Equal(lines, whole) {
				t.Errorf("%s without its guard %d looks as it did", one.pattern, j)
			}
			removed++
		}
	}
	if removed < 30 {
		t.Errorf("only %d guards were removed", removed)
	}
}

func TestRightsThatWereTakenAwayAreGoneAtTheNextRequest(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	s.do(t, "POST", "/moderate/", "", bearer(mod.Access)).has(t, "a moderator", 200, "")

	got := s.do(t, "PUT", "/users/mod/roles", `{"roles":["user"],"permissions":[]}`, bearer(admin.Access), jsonType)
	got.has(t, "demoting", 200, "")
	s.do(t, "POST", "/moderate/", "", bearer(mod.Access)).has(t, "a moderator who was demoted", 403, "forbidden")
	// The same token, for nothing has become of it.
	got = s.do(t, "PUT", "/users/mod/roles", `{"roles":["user","moderator"],"permissions":[]}`, bearer(admin.Access), jsonType)
	got.has(t, "promoting", 200, "")
	s.do(t, "POST", "/moderate/", "", bearer(mod.Access)).has(t, "a moderator again", 200, "")

	// An administrator too, and at once.
	s.exec(t, "UPDATE users SET roles = 'user' WHERE username = 'admin'")
	got = s.do(t, "DELETE", "/users/"+s.id(t, "mod"), "", bearer(admin.Access))
	got.has(t, "an administrator who was demoted", 403, "forbidden")
	if n := s.count(t, "SELECT count(*) FROM users WHERE username = 'mod'"); n != 1 {
		t.Error("the user was deleted all the same")
	}
}

func TestPermissionsOfOneUserComeOnTopOfTheirRoles(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	alice, mod := s.signInAlice(t), s.signIn(t, "mod", s.keys.DemoPassword)
	made := into[item](t, s.do(t, "POST", "/items/", `{"name":"a chair"}`, bearer(alice.Access), jsonType), http.StatusCreated)
	path := "/items/" + strconv.FormatInt(made.ID, 10)
	s.exec(t, "UPDATE users SET roles = 'user', scopes = 'read:items write:items' WHERE username = 'mod'")
	mod = s.signIn(t, "mod", s.keys.DemoPassword)
	s.do(t, "DELETE", path, "", bearer(mod.Access)).has(t, "somebody else's item", 404, "not_found")
	got := s.do(t, "PUT", "/users/mod/roles", `{"roles":["user"],"permissions":["delete:items"]}`, bearer(admin.Access), jsonType)
	got.has(t, "granting a permission", 200, "")
	s.do(t, "DELETE", path, "", bearer(mod.Access)).has(t, "with the permission", 204, "")
	s.do(t, "DELETE", path, "", bearer(alice.Access)).has(t, "an item that is gone", 404, "not_found")
}

func TestRolesThatDoNotExistCannotBeGiven(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	for _, body := range []string{
		`{"roles":["amdin"],"permissions":[]}`,
		`{"roles":["grant:delete:users"],"permissions":[]}`, // a permission is granted as one
		`{"roles":["user"],"permissions":["delete:everything"]}`,
		`{"roles":[""],"permissions":[]}`,
		`{}`,
		`{"roles":["user"]}`,
		`{"permissions":[]}`,
	} {
		got := s.do(t, "PUT", "/users/mod/roles", body, bearer(admin.Access), jsonType)
		got.has(t, body, 422, "invalid_input")
	}
	if n := s.count(t, "SELECT count(*) FROM users WHERE username = 'mod' AND roles = 'moderator'"); n != 1 {
		t.Error("the roles were changed all the same")
	}
}

func TestOfTwoAdministratorsWhoDemoteEachOtherOneStays(t *testing.T) {
	s := openSite(t)
	names := []string{"admin", "mod"}
	for range 5 {
		s.exec(t, "UPDATE users SET roles = 'admin', scopes = 'admin' WHERE username IN ('admin', 'mod')")
		var access [2]string
		for i, name := range names {
			access[i] = s.signIn(t, name, s.keys.DemoPassword).Access
		}
		var wg sync.WaitGroup
		for i := range names {
			wg.Go(func() {
				_, _ = do("PUT", s.url+"/users/"+names[1-i]+"/roles", `{"roles":["user"],"permissions":[]}`, bearer(access[i]), jsonType)
			})
		}
		wg.Wait()
		if n := s.count(t, "SELECT count(*) FROM users WHERE roles = 'admin'"); n != 1 {
			t.Fatalf("%d administrators are left", n)
		}
	}
}

func TestDeletedUserHasNothingLeft(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci","scopes":["read:items"]}`)
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "a key", 200, "")
	s.do(t, "POST", "/items/", `{"name":"a chair"}`, bearer(alice.Access), jsonType).has(t, "an item", 201, "")
	id := s.id(t, "alice")

	got := s.do(t, "DELETE", "/users/"+id, "", bearer(admin.Access))
	got.has(t, "deleting", 200, "")
	if got.body != `{"message":"User deleted"}`+"\n" {
		t.Errorf("the answer is %s", got.body)
	}
	s.me(t, alice.Access).has(t, "a token", 401, "invalid_token")
	s.refresh(t, alice.Refresh).refused(t, 400, "invalid_grant")
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "a key", 401, "invalid_token")
	got = s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType)
	got.refused(t, 400, "invalid_grant")
	if n := s.count(t, "SELECT count(*) FROM items"); n != 0 {
		t.Errorf("%d items are left", n)
	}
	s.do(t, "DELETE", "/users/"+id, "", bearer(admin.Access)).has(t, "deleting twice", 404, "not_found")
	own := "/users/" + s.id(t, "admin")
	s.do(t, "DELETE", own, "", bearer(admin.Access)).has(t, "oneself", 409, "own_account")
	for _, id := range []string{"0", "01", "-1", "x", "alice", "9999999999999999999999", "1%20OR%201=1"} {
		s.do(t, "DELETE", "/users/"+id, "", bearer(admin.Access)).has(t, id, 404, "not_found")
	}
}

func TestAPIKeyFromItsMakingToItsEnd(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci","scopes":["read:items"],"expires_in":3600}`)
	got := s.do(t, "GET", "/protected/", "", withKey(key.Key))
	got.has(t, "a key", 200, "")
	if got.body != `{"key_name":"ci","message":"Access granted"}`+"\n" {
		t.Errorf("the answer is %s", got.body)
	}
	s.do(t, "GET", "/protected/", "", "Authorization: ApiKey "+key.Key).has(t, "in the other header", 200, "")
	s.do(t, "GET", "/items/", "", withKey(key.Key)).has(t, "what it is good for", 200, "")
	s.do(t, "POST", "/items/", `{"name":"x"}`, withKey(key.Key), jsonType).has(t, "what it is not good for", 403, "insufficient_scope")
	s.do(t, "GET", "/keys/", "", withKey(key.Key)).has(t, "keys with a key", 403, "forbidden")
	s.do(t, "POST", "/keys/", `{"name":"x"}`, withKey(key.Key), jsonType).has(t, "a key with a key", 403, "forbidden")

	all := into[[]shownKey](t, s.do(t, "GET", "/keys/", "", bearer(alice.Access)), 200)
	if len(all) != 1 || all[0].ID != key.ID || all[0].Key != "" || all[0].Expires == nil {
		t.Errorf("listed are %+v", all)
	}
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	s.do(t, "DELETE", "/keys/"+key.ID, "", bearer(mod.Access)).has(t, "somebody else's key", 404, "not_found")
	s.do(t, "POST", "/keys/"+key.ID+"/rotate", "", bearer(mod.Access)).has(t, "somebody else's key", 404, "not_found")

	next := into[shownKey](t, s.do(t, "POST", "/keys/"+key.ID+"/rotate", `{"overlap":60}`, bearer(alice.Access), jsonType), 201)
	for what, one := range map[string]string{"the old key in the overlap": key.Key, "its successor": next.Key} {
		s.do(t, "GET", "/protected/", "", withKey(one)).has(t, what, 200, "")
	}
	s.do(t, "POST", "/keys/"+key.ID+"/rotate", "", bearer(alice.Access)).has(t, "rotating twice", 409, "conflict")
	last := into[shownKey](t, s.do(t, "POST", "/keys/"+next.ID+"/rotate", "", bearer(alice.Access)), 201)
	s.do(t, "GET", "/protected/", "", withKey(next.Key)).has(t, "a key that was replaced at once", 401, "invalid_token")
	s.do(t, "DELETE", "/keys/"+last.ID, "", bearer(alice.Access)).has(t, "revoking", 204, "")
	s.do(t, "GET", "/protected/", "", withKey(last.Key)).has(t, "a revoked key", 401, "invalid_token")
	s.do(t, "DELETE", "/keys/"+last.ID, "", bearer(alice.Access)).has(t, "revoking twice", 204, "")
}

// A key is never good for more than its owner is today.
func TestAPIKeyLosesWhatItsOwnerLoses(t *testing.T) {
	s := openSite(t)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	key := s.key(t, mod.Access, `{"name":"bot","scopes":["read:items"],"roles":["moderator"]}`)
	plain := s.key(t, mod.Access, `{"name":"reader","scopes":["read:items"]}`)
	moderate := func(what, key string, status int, code string) {
		t.Helper()
		s.do(t, "POST", "/moderate/", "", withKey(key)).has(t, what, status, code)
	}
	moderate("a key with the role", key.Key, 200, "")
	moderate("a key without the role", plain.Key, 403, "forbidden")
	s.exec(t, "UPDATE users SET roles = 'user' WHERE username = 'mod'")
	moderate("the owner is demoted", key.Key, 403, "forbidden")
	s.exec(t, "UPDATE users SET roles = 'moderator' WHERE username = 'mod'")
	moderate("the owner is promoted", key.Key, 200, "")
	s.do(t, "GET", "/items/", "", withKey(key.Key)).has(t, "a scope", 200, "")
	s.exec(t, "UPDATE users SET scopes = '' WHERE username = 'mod'")
	s.do(t, "GET", "/items/", "", withKey(key.Key)).has(t, "a scope that the owner lost", 403, "insufficient_scope")
	s.exec(t, "UPDATE users SET disabled = true WHERE username = 'mod'")
	moderate("the owner is disabled", key.Key, 401, "invalid_token")
	s.exec(t, "DELETE FROM users WHERE username = 'mod'")
	moderate("the owner is gone", key.Key, 401, "invalid_token")
}

func TestAPIKeyIsNotMadeForMoreThanItsMakerHas(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	reader := s.signIn(t, "alice", s.keys.DemoPassword, "scope", "read:items")
	for _, tt := range []struct {
		name, access, body string
	}{
		{"a scope that the user has not", alice.Access, `{"name":"x","scopes":["admin"]}`},
		{"a scope that the token has not", reader.Access, `{"name":"x","scopes":["write:items"]}`},
		{"a role that the user has not", alice.Access, `{"name":"x","roles":["admin"]}`},
		{"a scope that is none", alice.Access, `{"name":"x","scopes":["read:items\""]}`},
		{"an end before now", alice.Access, `{"name":"x","expires_in":-1}`},
		{"an end at once", alice.Access, `{"name":"x","expires_in":0}`},
		{"an end that overflows", alice.Access, `{"name":"x","expires_in":9223372036854775807}`},
		{"a name with a line break", alice.Access, `{"name":"x\ny"}`},
	} {
		got := s.do(t, "POST", "/keys/", tt.body, bearer(tt.access), jsonType)
		got.has(t, tt.name, 422, "invalid_input")
	}
	if all := into[[]shownKey](t, s.do(t, "GET", "/keys/", "", bearer(alice.Access)), 200); len(all) != 0 {
		t.Errorf("there are keys: %+v", all)
	}
}

// Or whoever finds a token for little gets a key for much.
func TestKeyIsNotRotatedForLessThanItIsGoodFor(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci","scopes":["read:items","write:items"]}`)
	reader := s.signIn(t, "alice", s.keys.DemoPassword, "scope", "read:items")
	s.do(t, "POST", "/keys/"+key.ID+"/rotate", "", bearer(reader.Access)).has(t, "with a token for less", 403, "forbidden")
	s.do(t, "GET", "/items/", "", withKey(key.Key)).has(t, "the key", 200, "")
	into[shownKey](t, s.do(t, "POST", "/keys/"+key.ID+"/rotate", "", bearer(alice.Access)), 201)
}

// A token that was found is no way to something that lasts longer.
func TestKeysAreMadeSoonAfterSigningIn(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci"}`)
	if key.Expires == nil || key.Expires.After(time.Now().Add(usualLife+time.Minute)) {
		t.Errorf("a key that was asked for without an end lasts until %v", key.Expires)
	}
	old := s.token(t, alice.Access, func(p *identity.Principal) { p.AuthTime = time.Now().Add(-11 * time.Minute) })
	for _, path := range []string{"/keys/", "/keys/" + key.ID + "/rotate"} {
		got := s.do(t, "POST", path, `{"name":"x"}`, bearer(old), jsonType)
		got.has(t, path, 401, "insufficient_user_authentication")
	}
	s.do(t, "DELETE", "/keys/"+key.ID, "", bearer(old)).has(t, "revoking", 204, "")
}

func TestKeysEndWithWhatTheirOwnerHas(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	first := s.key(t, mod.Access, `{"name":"first"}`)
	s.administer(t, admin.Access, "mod", "disable").is(t, http.StatusOK)
	s.administer(t, admin.Access, "mod", "enable").is(t, http.StatusOK)
	s.do(t, "GET", "/protected/", "", withKey(first.Key)).has(t, "a key of somebody who was disabled and enabled", 401, "invalid_token")
	mod = s.signIn(t, "mod", s.keys.DemoPassword)
	second := s.key(t, mod.Access, `{"name":"second"}`)
	s.changePassword(t, mod.Access, s.keys.DemoPassword, testPassword).is(t, http.StatusNoContent)
	s.do(t, "GET", "/protected/", "", withKey(second.Key)).has(t, "a key of somebody who changed the password", 401, "invalid_token")
}

// A key is being stored while what its maker has is ended: whoever ends the keys
// has listed them before this one is there.
func TestKeyDoesNotOutliveTheSessionThatItIsMadeIn(t *testing.T) {
	s := openSite(t)
	other := openTestDatabase(t, s.path)
	alice := s.signInAlice(t)
	old := s.key(t, alice.Access, `{"name":"old"}`)
	for path, body := range map[string]string{"/keys/": `{"name":"new"}`, "/keys/" + old.ID + "/rotate": ""} {
		alice = s.signInAlice(t)
		writer := must(other.BeginTx(t.Context(), nil)) // all others wait for it
		answered := make(chan answer)
		go func() { answered <- must(do("POST", s.url+path, body, bearer(alice.Access), jsonType)) }()
		time.Sleep(200 * time.Millisecond) // enough for the request to come to the store
		before := time.Now().Add(time.Microsecond)
		check(s.revoked.Revoke(t.Context(), identity.Revocation{
			Issuer: testIssuer, Subject: s.id(t, "alice"), Before: before, Expires: before.Add(time.Hour),
		}))
		check(writer.Rollback())
		(<-answered).has(t, path, 401, "invalid_token")
		if n := s.count(t, "SELECT count(*) FROM gatewright_api_keys WHERE revoked = 0 AND id <> ?", old.ID); n != 0 {
			t.Errorf("%s: %d keys are left", path, n)
		}
	}
}

// The body comes late, and the caller was signed out in between.
func TestRequestThatWasHeldOpenIsRefusedInTheEnd(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	for _, tt := range []struct {
		name string
		end  func(access string)
	}{
		{"signed out", func(access string) { s.do(t, "POST", "/logout/", "", bearer(access)).is(t, http.StatusOK) }},
		{"disabled", func(string) { s.exec(t, "UPDATE users SET disabled = true WHERE username = 'alice'") }},
		{"deleted", func(string) { s.exec(t, "DELETE FROM users WHERE username = 'alice'") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.exec(t, "UPDATE users SET disabled = false WHERE username = 'alice'")
			alice = s.signInAlice(t)
			s.late(t, "/items/", `{"name":"late"}`, func() { tt.end(alice.Access) }, bearer(alice.Access), jsonType).is(t, http.StatusUnauthorized)
			if n := s.count(t, "SELECT count(*) FROM items"); n != 0 {
				t.Errorf("%d items were made", n)
			}
		})
	}
}

func TestAPIKeyIsForItsNetworksOnly(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	here := s.key(t, alice.Access, `{"name":"here","allowed_prefixes":["127.0.0.0/8"]}`)
	there := s.key(t, alice.Access, `{"name":"there","allowed_prefixes":["192.0.2.0/24"]}`)
	s.do(t, "GET", "/protected/", "", withKey(here.Key)).has(t, "from an allowed network", 200, "")
	s.do(t, "GET", "/protected/", "", withKey(there.Key)).has(t, "from another network", 403, "forbidden")
}

// proxied is the header with which a trusted proxy passes on a client's address.
func proxied(addr string) string { return "X-Forwarded-For: " + addr }

func TestOwnersAreToldWhenAKeyIsUsedFromANewNetwork(t *testing.T) {
	how := testSettings
	how.outbox, how.trustedProxies = true, []string{"127.0.0.1"}
	s := openSiteAs(t, how)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci","scopes":["read:items"]}`)
	for _, addr := range []string{"192.0.2.1", "192.0.2.77", "198.51.100.9", "192.0.2.1", "198.51.100.9"} {
		s.do(t, "GET", "/protected/", "", withKey(key.Key), proxied(addr)).has(t, "a key from "+addr, 200, "")
	}
	// The first network of all is no news.
	told := s.letters(t, "alice@example.com", "notice", 1)
	if len(told) != 1 || !strings.Contains(told[0].Text, "The API key "+key.ID+" was used from a new network, 198.51.100.0/24.") || !strings.Contains(told[0].Text, "revoke the key") {
		t.Errorf("the notices are %+v", told)
	}
	const query = "?event=apikey_new_network&order=seq"
	own := into[[]ownEvent](t, s.do(t, "GET", "/users/me/audit"+query, "", bearer(alice.Access)), 200)
	if len(own) != 2 || own[0].Network != "192.0.2.0/24" || own[1].Network != "198.51.100.0/24" || own[1].Key != key.ID || own[1].By != "you" || own[1].Address != "198.51.100.9:0" {
		t.Errorf("the owner sees %+v", own)
	}
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	all := s.do(t, "GET", "/audit/"+query, "", bearer(admin.Access)).body
	if strings.Count(all, `"name":"apikey_new_network"`) != 2 || !strings.Contains(all, `"networks":2`) {
		t.Errorf("administrators see %s", all)
	}
}

func TestNothingIsNotNull(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	for _, body := range []string{`{"name":"x","allowed_prefixes":null}`, `{"name":"x","expires_in":null}`, `{"name":null}`} {
		s.do(t, "POST", "/keys/", body, bearer(alice.Access), jsonType).has(t, body, 400, "invalid_request")
	}
}

func TestIllFormedIdentifiersAreUnknown(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	for _, id := range []string{"%ff", "%00", "a%00b", "%ed%a0%80", strings.Repeat("a", 2000)} {
		s.do(t, "DELETE", "/keys/"+id, "", bearer(alice.Access)).has(t, "DELETE /keys/"+id[:min(3, len(id))], 404, "not_found")
		if got := s.do(t, "GET", "/users/"+id, "", bearer(alice.Access)); got.status >= 500 {
			t.Errorf("GET /users/%s: %d %s", id[:min(3, len(id))], got.status, got.body)
		}
		if got := s.do(t, "POST", "/token", "username=alice&password=x&client_id="+id, formType); got.status >= 500 {
			t.Errorf("POST /token with client_id=%s: %d %s", id[:min(3, len(id))], got.status, got.body)
		}
		if got := s.do(t, "POST", "/token", "username="+id+"&password=x", formType); got.status >= 500 {
			t.Errorf("POST /token with username=%s: %d %s", id[:min(3, len(id))], got.status, got.body)
		}
	}
}

func TestNumberOfKeysIsBoundedForManyAtOnce(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	for i := range maxKeys - 2 {
		s.key(t, alice.Access, fmt.Sprintf(`{"name":"%d"}`, i))
	}
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a, err := do("POST", s.url+"/keys/", `{"name":"x"}`, bearer(alice.Access), jsonType); err == nil && a.status == 201 {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 2 {
		t.Errorf("%d were made where there was room for 2", made.Load())
	}
	all := into[[]shownKey](t, s.do(t, "GET", "/keys/", "", bearer(alice.Access)), 200)
	s.do(t, "POST", "/keys/"+all[0].ID+"/rotate", `{"overlap":60}`, bearer(alice.Access), jsonType).has(t, "one more by rotation", 409, "too_many")
	into[shownKey](t, s.do(t, "POST", "/keys/"+all[0].ID+"/rotate", "", bearer(alice.Access)), 201)
}

func TestNumberOfKeysIsBounded(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	first := s.key(t, alice.Access, `{"name":"0"}`)
	for i := 1; i < maxKeys; i++ {
		s.key(t, alice.Access, fmt.Sprintf(`{"name":"%d"}`, i))
	}
	s.do(t, "POST", "/keys/", `{"name":"x"}`, bearer(alice.Access), jsonType).has(t, "one more", 409, "too_many")
	s.do(t, "DELETE", "/keys/"+first.ID, "", bearer(alice.Access)).has(t, "revoking", 204, "")
	s.key(t, alice.Access, `{"name":"x"}`)
}

func TestRevokedKeyStaysRevokedAfterARestart(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	good, ended := s.key(t, alice.Access, `{"name":"good"}`), s.key(t, alice.Access, `{"name":"ended"}`)
	s.do(t, "DELETE", "/keys/"+ended.ID, "", bearer(alice.Access)).has(t, "revoking", 204, "")
	again := must(newApp(s.db, s.keys, quick(), testSettings, slog.New(slog.DiscardHandler)))
	check(again.start(t.Context(), s.keys))
	server := httptest.NewServer(again.handler())
	defer server.Close()
	for key, want := range map[string]int{good.Key: 200, ended.Key: 401} {
		if got := must(do("GET", server.URL+"/protected/", "", withKey(key))); got.status != want {
			t.Errorf("after a restart: got %d %s, want %d", got.status, got.body, want)
		}
	}
}

func TestItemsBelongToTheirOwner(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	s.register(t, map[string]string{"username": "bob", "password": testPassword}).has(t, "registering", 201, "")
	bob := s.signIn(t, "bob", testPassword)
	made := into[item](t, s.do(t, "POST", "/items/", `{"name":" a chair "}`, bearer(alice.Access), jsonType), 201)
	if made.Name != "a chair" || made.ID == 0 || made.Created.IsZero() {
		t.Errorf("made is %+v", made)
	}
	if all := into[[]item](t, s.do(t, "GET", "/items/", "", bearer(alice.Access)), 200); len(all) != 1 || all[0] != (item{made.ID, made.Name, made.Created, 0}) {
		t.Errorf("alice has %+v", all)
	}
	if got := s.do(t, "GET", "/items/", "", bearer(bob.Access)); got.body != "[]\n" {
		t.Errorf("bob has %s", got.body)
	}
	path := "/items/" + strconv.FormatInt(made.ID, 10)
	s.do(t, "DELETE", path, "", bearer(bob.Access)).has(t, "somebody else's", 404, "not_found")
	key := s.key(t, alice.Access, `{"name":"ci","scopes":["write:items"]}`)
	s.do(t, "DELETE", path, "", withKey(key.Key)).has(t, "one's own with a key", 204, "")

	for name, body := range map[string]string{
		"no name": `{}`, "a blank name": `{"name":"  "}`, "a long name": `{"name":"` + strings.Repeat("x", 201) + `"}`, "a control character": `{"name":"a\u0000b"}`,
	} {
		s.do(t, "POST", "/items/", body, bearer(alice.Access), jsonType).has(t, name, 422, "invalid_input")
	}
}

func TestNumberOfItemsIsBoundedForManyAtOnce(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	for i := range maxItems - 3 {
		must(s.items.create(t.Context(), int64(s.count(t, "SELECT id FROM users WHERE username = 'alice'")), strconv.Itoa(i)))
	}
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a, err := do("POST", s.url+"/items/", `{"name":"x"}`, bearer(alice.Access), jsonType); err == nil && a.status == 201 {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 3 {
		t.Errorf("%d were made where there was room for 3", made.Load())
	}
}

// The scopes of administrators go with the role, and come with it.
func TestScopesOfAdministratorsFollowTheRole(t *testing.T) {
	s := openSite(t)
	admin, alice := s.signIn(t, "admin", s.keys.DemoPassword), s.signInAlice(t)
	introspect := func(access string) answer {
		return s.do(t, "POST", "/introspect", form("token", alice.Access), formType, bearer(access))
	}
	introspect(admin.Access).is(t, http.StatusOK)
	s.do(t, "PUT", "/users/mod/roles", `{"roles":["admin"],"permissions":[]}`, bearer(admin.Access), jsonType).is(t, http.StatusOK)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	introspect(mod.Access).is(t, http.StatusOK)
	s.do(t, "PUT", "/users/admin/roles", `{"roles":["user"],"permissions":[]}`, bearer(mod.Access), jsonType).is(t, http.StatusOK)
	introspect(admin.Access).has(t, "a token from before", 403, "forbidden")
	if again := s.signIn(t, "admin", s.keys.DemoPassword); strings.Contains(again.Scope, "admin") || strings.Contains(again.Scope, "introspect") {
		t.Errorf("the scope is %q", again.Scope)
	}
}

// Refusals do not tell what the policy is.
func TestAllThatIsForbiddenIsSaidInTheSameWords(t *testing.T) {
	s := openSite(t)
	// A token with the scope, of somebody who is nothing any more.
	nobody := s.signIn(t, "admin", s.keys.DemoPassword)
	s.exec(t, "UPDATE users SET roles = 'user' WHERE username = 'admin'")
	var bodies []string
	for _, one := range []struct{ method, path, body string }{
		{"POST", "/moderate/", ""},
		{"DELETE", "/users/" + s.id(t, "mod"), ""},
		{"DELETE", "/users/nobody", ""},
		{"POST", "/users/mod/disable", ""},
		{"PUT", "/users/mod/roles", `{"roles":["user"],"permissions":[]}`},
	} {
		got := s.do(t, one.method, one.path, one.body, bearer(nobody.Access), jsonType)
		got.has(t, one.path, 403, "forbidden")
		bodies = append(bodies, got.body)
	}
	if slices.Sort(bodies); bodies[0] != bodies[len(bodies)-1] {
		t.Errorf("the bodies differ: %q", slices.Compact(bodies))
	}
	// The reason is in the log.
	for _, want := range []string{"moderate:content", "write:users"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not tell of %s", want)
		}
	}
}

// A counter connects to a database and counts what it is asked.
type counter struct {
	driver  driver.Driver
	name    string
	queries atomic.Int64 // that look a user up
}

func (c *counter) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	return countingConn{conn.(wholeConn), &c.queries}, nil
}

func (c *counter) Driver() driver.Driver { return c.driver }

// wholeConn is what the driver's connections are.
type wholeConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type countingConn struct {
	wholeConn
	queries *atomic.Int64
}

func (c countingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.Contains(query, "FROM users WHERE id = $1") {
		c.queries.Add(1)
	}
	return c.wholeConn.QueryContext(ctx, query, args)
}

func TestUserIsLoadedOncePerRequest(t *testing.T) {
	s := openSite(t)
	alice, mod := s.signInAlice(t), s.signIn(t, "mod", s.keys.DemoPassword)
	made := into[item](t, s.do(t, "POST", "/items/", `{"name":"x"}`, bearer(alice.Access), jsonType), 201)
	key := s.key(t, mod.Access, `{"name":"bot","scopes":["read:items"],"roles":["moderator"]}`)

	count := &counter{driver: s.db.Driver(), name: dsn(s.path, "immediate", "busy_timeout(10000)")}
	db := sql.OpenDB(count)
	defer db.Close()
	counted := must(newApp(db, s.keys, quick(), testSettings, slog.New(slog.NewTextHandler(io.Discard, nil))))
	check(counted.start(t.Context(), s.keys))
	server := httptest.NewServer(counted.handler())
	defer server.Close()
	for _, one := range []struct{ name, method, path, credential string }{
		{"Active and a role", "POST", "/moderate/", bearer(mod.Access)},
		{"Active, a role, and the rights behind a key", "POST", "/moderate/", withKey(key.Key)},
		{"Active, a scope and the handler", "GET", "/items/", bearer(alice.Access)},
		{"Active, a scope and the handler, with a key", "GET", "/items/", withKey(key.Key)},
		{"Active, a scope and an owner", "DELETE", "/items/" + strconv.FormatInt(made.ID, 10), bearer(alice.Access)},
	} {
		count.queries.Store(0)
		got := must(do(one.method, server.URL+one.path, "", one.credential))
		if n := count.queries.Load(); n != 1 || got.status >= 300 {
			t.Errorf("%s: the user was loaded %d times, for %d %s", one.name, n, got.status, got.body)
		}
	}
}

// As has_permission in the guide: whether the user has it by a role or alone.
func TestPermissionAloneOpensTheRoute(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	alice := s.signInAlice(t)
	give := func(permissions string) {
		t.Helper()
		s.do(t, "PUT", "/users/alice/roles", `{"roles":["user"],"permissions":[`+permissions+`]}`, bearer(admin.Access), jsonType).is(t, http.StatusOK)
	}
	as := func(what, method, path, body string, status int, code string) {
		t.Helper()
		s.do(t, method, path, body, bearer(alice.Access), jsonType).has(t, what, status, code)
	}
	as("without", "POST", "/moderate/", "", 403, "forbidden")
	give(`"moderate:content"`)
	as("moderate:content", "POST", "/moderate/", "", 200, "")
	as("moderate:content", "POST", "/users/dora/enable", "", 403, "forbidden")
	give(`"write:users"`)
	as("write:users", "POST", "/users/dora/enable", "", 200, "")
	as("write:users", "POST", "/users/dora/disable", "", 200, "")
	as("write:users", "PUT", "/users/dora/roles", `{"roles":["user"],"permissions":["write:users"]}`, 200, "")
	as("write:users", "DELETE", "/users/"+s.id(t, "dora"), "", 403, "forbidden")
	// It is not every other permission too.
	as("an administrator made", "PUT", "/users/dora/roles", `{"roles":["admin"],"permissions":[]}`, 403, "forbidden")
	as("a right that alice has not", "PUT", "/users/dora/roles", `{"roles":["user"],"permissions":["delete:users"]}`, 403, "forbidden")
	as("a role that alice has not", "PUT", "/users/dora/roles", `{"roles":["moderator"],"permissions":[]}`, 403, "forbidden")
	as("an administrator disabled", "POST", "/users/admin/disable", "", 403, "forbidden")
	as("an administrator demoted", "PUT", "/users/admin/roles", `{"roles":["user"],"permissions":[]}`, 403, "forbidden")
	give(`"delete:users"`)
	as("an administrator deleted", "DELETE", "/users/"+s.id(t, "admin"), "", 403, "forbidden")
	as("delete:users", "DELETE", "/users/"+s.id(t, "dora"), "", 200, "")
	give("")
	as("taken away", "DELETE", "/users/"+s.id(t, "mod"), "", 403, "forbidden")
}

// A key has roles, and a permission that its owner has alone is no role.
func TestKeyDoesNotHaveThePermissionsThatItsOwnerHasAlone(t *testing.T) {
	s := openSite(t)
	s.exec(t, "UPDATE users SET permissions = 'delete:users moderate:content' WHERE username = 'alice'")
	key := s.key(t, s.signInAlice(t).Access, `{"name":"x","roles":["user"]}`)
	s.do(t, "POST", "/moderate/", "", withKey(key.Key)).has(t, "a key", 403, "forbidden")
}

func TestRefusedBodyNamesTheMemberAndItsType(t *testing.T) {
	s := openSite(t)
	alice, admin := s.signInAlice(t), s.signIn(t, "admin", s.keys.DemoPassword)
	for _, one := range []struct{ method, path, credential, body, says string }{
		{"POST", "/keys/", alice.Access, `{"name":"x","allowed_prefixes":["127.0.0.1"]}`, "allowed_prefixes must be an array of networks in CIDR notation"},
		{"POST", "/keys/", alice.Access, `{"name":"x","allowed_prefixes":"10.0.0.0/8"}`, "allowed_prefixes must be an array"},
		{"POST", "/keys/", alice.Access, `{"name":"x","expires_in":1e30}`, "expires_in must be a whole number"},
		{"POST", "/keys/", alice.Access, `{"name":"x","expires_in":1.5}`, "expires_in must be a whole number"},
		{"POST", "/keys/", alice.Access, `{"name":"x","expires_in":"60"}`, "expires_in must be a whole number"},
		{"POST", "/keys/", alice.Access, `{"name":"x","scopes":"read:items"}`, "scopes must be an array of strings"},
		{"POST", "/keys/", alice.Access, `{"name":"x","scopes":[null]}`, "scopes must be an array of strings"},
		{"POST", "/keys/", alice.Access, `{"name":"x","roles":[1]}`, "roles must be an array of strings"},
		{"POST", "/keys/", alice.Access, `{"name":null}`, "name must be a string"},
		{"POST", "/users/", "", `{"username":"x","full_name":7}`, "full_name must be a string"},
		{"POST", "/users/", "", `{"username":["x"]}`, "username must be a string"},
		{"POST", "/users/", "", `{"username":"x","Password":"y"}`, `member \"Password\"`},
		{"POST", "/users/", "", `{"username":"x","username":"y"}`, "username twice"},
		{"POST", "/users/me/password", alice.Access, `{"current_password":1}`, "current_password must be a string"},
		{"PUT", "/users/mod/roles", admin.Access, `{"roles":{}}`, "roles must be an array of strings"},
		{"POST", "/items/", alice.Access, `{"name":{}}`, "name must be a string"},
	} {
		headers := []string{jsonType}
		if one.credential != "" {
			headers = append(headers, bearer(one.credential))
		}
		got := s.do(t, one.method, one.path, one.body, headers...)
		got.has(t, one.body, 400, "invalid_request")
		if !strings.Contains(got.body, one.says) {
			t.Errorf("%s %s gets %s, want %q", one.path, one.body, got.body, one.says)
		}
	}
	// What has the right type and a wrong value.
	for _, one := range []struct{ body, says string }{
		{`{"name":""}`, "name"}, {`{"name":"a\u0000"}`, "name is"}, {`{"name":"` + strings.Repeat("x", 2000) + `"}`, "name has"}, {`{"name":"x","expires_in":0}`, "expires_in: must be"},
	} {
		got := s.do(t, "POST", "/keys/", one.body, bearer(alice.Access), jsonType)
		if got.status == http.StatusCreated && one.body == `{"name":""}` {
			continue
		}
		got.has(t, one.body[:min(40, len(one.body))], 422, "invalid_input")
		if !strings.Contains(got.body, one.says) || strings.Contains(got.body, "Spec") || strings.Contains(got.body, "apikey:") {
			t.Errorf("%.60s gets %s, want %q", one.body, got.body, one.says)
		}
	}
}

func TestNumbersInPathsHaveOneSpelling(t *testing.T) {
	s := openSite(t)
	alice, admin := s.signInAlice(t), s.signIn(t, "admin", s.keys.DemoPassword)
	for range 8 {
		s.do(t, "POST", "/items/", `{"name":"x"}`, bearer(alice.Access), jsonType).is(t, http.StatusCreated)
	}
	for _, id := range []string{"+6", "07", "006", "%2B6", "%206", "6%20", "6.0", "0x6", "6_0", "-6", "٦", "0", "00", ""} {
		s.do(t, "DELETE", "/items/"+id, "", bearer(alice.Access)).is(t, map[bool]int{true: 405, false: 404}[id == ""])
		s.do(t, "DELETE", "/users/"+id, "", bearer(admin.Access)).is(t, map[bool]int{true: 405, false: 404}[id == ""])
	}
	if n := s.count(t, "SELECT count(*) FROM items"); n != 8 {
		t.Errorf("%d items are left of 8", n)
	}
}
