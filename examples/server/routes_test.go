package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/routes.golden")

// A route that loses its guard, or a new one that nobody thought about, shows
// in the difference of this file.
func TestRoutesDemandWhatTheGoldenFileSays(t *testing.T) {
	var got bytes.Buffer
	if err := run(t.Context(), []string{"-routes"}, &got, io.Discard); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "routes.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("-routes prints\n%s\nwant\n%s\nIf that is meant: go test ./server -run Golden -update", got.String(), want)
	}
}

func TestRoutesAreListedWithoutAPortOrAFile(t *testing.T) {
	s := openSite(t) // has the port
	folder := t.TempDir()
	args := []string{"-routes", "-addr", strings.TrimPrefix(s.url, "http://"), "-db", filepath.Join(folder, "x.db")}
	if err := run(t.Context(), args, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) > 0 {
		t.Errorf("left behind %v (%v)", files, err)
	}
}

func TestRouteWithoutAGuardPanicsAtStart(t *testing.T) {
	s := openSite(t)
	defer func() {
		if recover() == nil {
			t.Error("the route was registered")
		}
	}()
	s.mux.Handle("GET /forgotten", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

func TestEachRouteInEachOutcome(t *testing.T) {
	s := openSite(t)
	alice, second, third, fourth := s.signInAlice(t), s.signInAlice(t), s.signInAlice(t), s.signInAlice(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	asAdmin := bearer(admin.Access)
	limited := bearer(s.signIn(t, "admin", s.keys.DemoPassword, "scope", "read:items").Access)
	unscoped := bearer(s.signIn(t, "admin", s.keys.DemoPassword, "scope", "introspect").Access)
	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	key := withKey(s.key(t, alice.Access, `{"name":"reader","scopes":["read:items"]}`).Key)
	newPassword := func(current, wanted string) string {
		return `{"current_password":"` + current + `","new_password":"` + wanted + `"}`
	}
	auth := bearer(alice.Access)
	// Correct but for one letter of its signature.
	forged := []byte(alice.Access)
	if c := &forged[len(forged)-10]; *c == 'A' {
		*c = 'B'
	} else {
		*c = 'A'
	}
	spoiled := bearer(string(forged))
	dora := form("username", "dora", "password", s.keys.DemoPassword)
	good := form("grant_type", "password", "username", "alice", "password", s.keys.DemoPassword)
	newcomer := `{"username":"newcomer","email":"new@example.com","full_name":"New Comer","password":"` + testPassword + `"}`
	long := strings.Repeat("x", 5<<10)

	const (
		oauth   = "application/json" // RFC 6749 section 5
		problem = "application/problem+json"
		plain   = "text/plain; charset=utf-8" // of the router itself
		data    = "application/json"
	)
	tests := []struct {
		name         string
		method, path string
		body         string
		headers      []string
		status       int
		code         string // of a refusal
		contentType  string
		challenge    string // how WWW-Authenticate begins
		allow        string
	}{
		{"signing in", "POST", "/token", good, []string{formType}, 200, "", oauth, "", ""},
		{"signing in as FastAPI's form does", "POST", "/token", strings.Replace(good, "grant_type=password&", "", 1), []string{formType}, 200, "", oauth, "", ""},
		{"signing in with a stale token at hand", "POST", "/token", good, []string{formType, spoiled}, 200, "", oauth, "", ""},
		{"signing in with parameters that nobody knows", "POST", "/token", good + "&client_id=x&resource=y", []string{formType}, 200, "", oauth, "", ""},
		{"a wrong password", "POST", "/token", form("username", "alice", "password", "wrong"), []string{formType}, 400, "invalid_grant", oauth, "", ""},
		{"an empty password", "POST", "/token", "username=alice&password=", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"an unknown user", "POST", "/token", form("username", "nobody", "password", "wrong"), []string{formType}, 400, "invalid_grant", oauth, "", ""},
		{"a disabled user", "POST", "/token", dora, []string{formType}, 400, "invalid_grant", oauth, "", ""},
		{"no username", "POST", "/token", "grant_type=password&password=x", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"no grant_type", "POST", "/token", "", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"an unknown grant_type", "POST", "/token", "grant_type=client_credentials", []string{formType}, 400, "unsupported_grant_type", oauth, "", ""},
		{"a scope that alice has not", "POST", "/token", good + "&scope=admin", []string{formType}, 400, "invalid_scope", oauth, "", ""},
		{"a repeated parameter", "POST", "/token", good + "&username=mod", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"invalid UTF-8", "POST", "/token", "username=%ff&password=x", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"a body that is no form", "POST", "/token", "username=%zz", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"a password in the URL", "POST", "/token?password=x", good, []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"a form of 5 KiB", "POST", "/token", good + "&x=" + long, []string{formType}, 413, "invalid_request", oauth, "", ""},
		{"JSON for a form", "POST", "/token", `{"username":"alice"}`, []string{jsonType}, 415, "invalid_request", oauth, "", ""},
		{"no content type", "POST", "/token", good, nil, 415, "invalid_request", oauth, "", ""},
		{"GET /token", "GET", "/token", "", nil, 405, "invalid_request", oauth, "", "POST"},

		{"refreshing", "POST", "/token/refresh", form("refresh_token", alice.Refresh), []string{formType}, 200, "", oauth, "", ""},
		{"no refresh token", "POST", "/token/refresh", "", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"junk for a refresh token", "POST", "/token/refresh", "refresh_token=junk", []string{formType}, 400, "invalid_grant", oauth, "", ""},
		{"an access token for a refresh token", "POST", "/token/refresh", form("refresh_token", alice.Access), []string{formType}, 400, "invalid_grant", oauth, "", ""},
		{"a refresh token in the URL", "POST", "/token/refresh?refresh_token=x", "", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"a refresh form of 5 KiB", "POST", "/token/refresh", "x=" + long, []string{formType}, 413, "invalid_request", oauth, "", ""},
		{"JSON for a refresh form", "POST", "/token/refresh", "{}", []string{jsonType}, 415, "invalid_request", oauth, "", ""},
		{"PUT /token/refresh", "PUT", "/token/refresh", "", nil, 405, "invalid_request", oauth, "", "POST"},

		{"logging out", "POST", "/logout/", "", []string{bearer(fourth.Access)}, 200, "", data, "", ""},
		{"logging out anonymously", "POST", "/logout/", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"logging out twice", "POST", "/logout/", "", []string{bearer(fourth.Access)}, 401, "invalid_token", problem, `Bearer error="invalid_token"`, ""},
		{"GET /logout/", "GET", "/logout/", "", []string{auth}, 405, "invalid_request", problem, "", "POST"},
		{"below /logout/", "POST", "/logout/x", "", []string{auth}, 404, "not_found", problem, "", ""},

		{"revoking a refresh token", "POST", "/revoke", form("token", third.Refresh), []string{formType}, 200, "", "", "", ""},
		{"revoking it again", "POST", "/revoke", form("token", third.Refresh, "token_type_hint", "refresh_token"), []string{formType}, 200, "", "", "", ""},
		{"revoking an access token of the session that is over", "POST", "/revoke", form("token", third.Access), []string{formType}, 200, "", "", "", ""},
		{"revoking junk", "POST", "/revoke", "token=junk", []string{formType}, 200, "", "", "", ""},
		{"revoking nothing", "POST", "/revoke", "", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"revoking a token in the URL", "POST", "/revoke?token=x", "", []string{formType}, 400, "invalid_request", oauth, "", ""},
		{"revoking with a form of 5 KiB", "POST", "/revoke", "x=" + long, []string{formType}, 413, "invalid_request", oauth, "", ""},
		{"revoking with JSON", "POST", "/revoke", "{}", []string{jsonType}, 415, "invalid_request", oauth, "", ""},
		{"GET /revoke", "GET", "/revoke", "", nil, 405, "invalid_request", oauth, "", "POST"},

		{"introspecting", "POST", "/introspect", form("token", alice.Access), []string{formType, asAdmin}, 200, "", oauth, "", ""},
		{"introspecting junk", "POST", "/introspect", "token=junk", []string{formType, asAdmin}, 200, "", oauth, "", ""},
		{"introspecting nothing", "POST", "/introspect", "", []string{formType, asAdmin}, 400, "invalid_request", oauth, "", ""},
		{"introspecting anonymously", "POST", "/introspect", form("token", alice.Access), []string{formType}, 401, "unauthenticated", problem, "Bearer", ""},
		{"introspecting with a forged token", "POST", "/introspect", form("token", alice.Access), []string{formType, spoiled}, 401, "invalid_token", problem, `Bearer error="invalid_token"`, ""},
		{"introspecting without the scope", "POST", "/introspect", form("token", alice.Access), []string{formType, auth}, 403, "insufficient_scope", problem, `Bearer scope="introspect", error="insufficient_scope"`, ""},
		{"introspecting with JSON", "POST", "/introspect", "{}", []string{jsonType, asAdmin}, 415, "invalid_request", oauth, "", ""},
		{"GET /introspect", "GET", "/introspect", "", []string{asAdmin}, 405, "invalid_request", oauth, "", "POST"},

		{"own sessions", "GET", "/sessions/", "", []string{auth}, 200, "", data, "", ""},
		{"own sessions, anonymously", "GET", "/sessions/", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"POST of sessions", "POST", "/sessions/", "", []string{auth}, 405, "method_not_allowed", problem, "", "DELETE, GET, HEAD"},
		{"ending an own session", "DELETE", "/sessions/" + claims(t, second.Access).Session, "", []string{auth}, 204, "", "", "", ""},
		{"ending it again", "DELETE", "/sessions/" + claims(t, second.Access).Session, "", []string{auth}, 404, "not_found", problem, "", ""},
		{"ending somebody else's session", "DELETE", "/sessions/" + claims(t, mod.Access).Session, "", []string{auth}, 404, "not_found", problem, "", ""},
		{"ending somebody else's session as an administrator", "DELETE", "/sessions/" + claims(t, mod.Access).Session, "", []string{asAdmin}, 404, "not_found", problem, "", ""},
		{"ending a session that never was", "DELETE", "/sessions/%27%20OR%201=1", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"ending a session anonymously", "DELETE", "/sessions/x", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"GET of a session", "GET", "/sessions/x", "", []string{auth}, 405, "method_not_allowed", problem, "", "DELETE"},

		{"registering", "POST", "/users/", newcomer, []string{jsonType}, 201, "", data, "", ""},
		{"registering with a charset", "POST", "/users/", strings.Replace(newcomer, "newcomer", "second", 1), []string{jsonType + "; charset=utf-8"}, 201, "", data, "", ""},
		{"registering a taken name", "POST", "/users/", newcomer, []string{jsonType}, 409, "username_taken", problem, "", ""},
		{"registering with broken JSON", "POST", "/users/", `{"username":`, []string{jsonType}, 400, "invalid_request", problem, "", ""},
		{"registering with 17 KiB", "POST", "/users/", strings.Repeat(" ", 17<<10) + newcomer, []string{jsonType}, 413, "invalid_request", problem, "", ""},
		{"registering with a form", "POST", "/users/", "username=x", []string{formType}, 415, "invalid_request", problem, "", ""},
		{"registering with nothing filled in", "POST", "/users/", "{}", []string{jsonType}, 422, "invalid_input", problem, "", ""},
		{"listing users", "GET", "/users/", "", []string{auth}, 405, "method_not_allowed", problem, "", "POST"},

		{"oneself", "GET", "/users/me", "", []string{auth}, 200, "", data, "", ""},
		{"oneself, with a scheme in lower case", "GET", "/users/me", "", []string{"Authorization: bearer " + alice.Access}, 200, "", data, "", ""},
		{"oneself, anonymously", "GET", "/users/me", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"oneself, with Basic", "GET", "/users/me", "", []string{"Authorization: Basic YWxpY2U6eA=="}, 401, "unauthenticated", problem, "Bearer", ""},
		{"oneself, with a forged token", "GET", "/users/me", "", []string{spoiled}, 401, "invalid_token", problem, `Bearer error="invalid_token"`, ""},
		{"oneself, with a refresh token", "GET", "/users/me", "", []string{bearer(alice.Refresh)}, 401, "invalid_token", problem, `Bearer error="invalid_token"`, ""},
		{"oneself, with a token in the URL", "GET", "/users/me?access_token=" + alice.Access, "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"oneself, with a token in a cookie", "GET", "/users/me", "", []string{"Cookie: access_token=" + alice.Access}, 401, "unauthenticated", problem, "Bearer", ""},
		{"oneself, with two tokens", "GET", "/users/me", "", []string{auth, auth}, 400, "invalid_request", problem, "", ""},
		{"POST of oneself", "POST", "/users/me", "", []string{auth}, 405, "method_not_allowed", problem, "", "DELETE, GET, HEAD"},

		{"somebody", "GET", "/users/mod", "", []string{auth}, 200, "", data, "", ""},
		{"somebody in capitals", "GET", "/users/MOD", "", []string{auth}, 200, "", data, "", ""},
		{"somebody, anonymously", "GET", "/users/mod", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"nobody, anonymously", "GET", "/users/nobody", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"nobody", "GET", "/users/nobody", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"a name that nobody can have", "GET", "/users/%00%ff", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"PATCH /users/mod", "PATCH", "/users/mod", "", []string{auth}, 405, "method_not_allowed", problem, "", "DELETE, GET, HEAD"},

		{"items", "GET", "/items/", "", []string{auth}, 200, "", data, "", ""},
		{"items with a key", "GET", "/items/", "", []string{key}, 200, "", data, "", ""},
		{"items, anonymously", "GET", "/items/", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"items without the scope", "GET", "/items/", "", []string{unscoped}, 403, "insufficient_scope", problem, `Bearer scope="read:items", error="insufficient_scope"`, ""},
		{"a new item", "POST", "/items/", `{"name":"a chair"}`, []string{auth, jsonType}, 201, "", data, "", ""},
		{"a new item, anonymously", "POST", "/items/", `{"name":"a chair"}`, []string{jsonType}, 401, "unauthenticated", problem, "Bearer", ""},
		{"a new item without the scope", "POST", "/items/", `{"name":"a chair"}`, []string{limited, jsonType}, 403, "insufficient_scope", problem, `Bearer scope="write:items", error="insufficient_scope"`, ""},
		{"a new item with a key that may read only", "POST", "/items/", `{"name":"a chair"}`, []string{key, jsonType}, 403, "insufficient_scope", problem, `ApiKey scope="write:items", error="insufficient_scope"`, ""},
		{"a new item in a form", "POST", "/items/", "name=x", []string{auth, formType}, 415, "invalid_request", problem, "", ""},
		{"a new item without a name", "POST", "/items/", "{}", []string{auth, jsonType}, 422, "invalid_input", problem, "", ""},
		{"PUT of items", "PUT", "/items/", "", []string{auth}, 405, "method_not_allowed", problem, "", "GET, HEAD, POST"},
		{"below items", "GET", "/items/1/2", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"deleting an own item", "DELETE", "/items/1", "", []string{auth}, 204, "", "", "", ""},
		{"deleting it again", "DELETE", "/items/1", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"deleting an item, anonymously", "DELETE", "/items/1", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"deleting an item without the scope", "DELETE", "/items/1", "", []string{limited}, 403, "insufficient_scope", problem, `Bearer scope="write:items", error="insufficient_scope"`, ""},

		{"with a key", "GET", "/protected/", "", []string{key}, 200, "", data, "", ""},
		{"with a key in Authorization", "GET", "/protected/", "", []string{"Authorization: ApiKey " + strings.TrimPrefix(key, "X-API-Key: ")}, 200, "", data, "", ""},
		{"without a key", "GET", "/protected/", "", nil, 401, "unauthenticated", problem, "ApiKey", ""},
		{"with a token for a key", "GET", "/protected/", "", []string{auth}, 401, "unauthenticated", problem, "ApiKey", ""},
		{"with a key of which a letter is wrong", "GET", "/protected/", "", []string{key + "x"}, 401, "invalid_token", problem, `ApiKey error="invalid_token"`, ""},
		{"with junk for a key", "GET", "/protected/", "", []string{"X-API-Key: junk"}, 401, "invalid_token", problem, `ApiKey error="invalid_token"`, ""},
		{"with an empty key", "GET", "/protected/", "", []string{"X-API-Key: "}, 401, "invalid_token", problem, `ApiKey error="invalid_token"`, ""},
		{"with two keys", "GET", "/protected/", "", []string{key, key}, 400, "invalid_request", problem, "", ""},
		{"with a key and a token", "GET", "/protected/", "", []string{key, auth}, 400, "invalid_request", problem, "", ""},
		{"with a key in the URL", "GET", "/protected/?api_key=" + strings.TrimPrefix(key, "X-API-Key: "), "", nil, 401, "unauthenticated", problem, "ApiKey", ""},
		{"POST with a key", "POST", "/protected/", "", []string{key}, 405, "method_not_allowed", problem, "", "GET, HEAD"},

		{"own keys", "GET", "/keys/", "", []string{auth}, 200, "", data, "", ""},
		{"own keys, anonymously", "GET", "/keys/", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"own keys with a key", "GET", "/keys/", "", []string{key}, 403, "forbidden", problem, "", ""},
		{"a new key", "POST", "/keys/", `{"name":"x"}`, []string{auth, jsonType}, 201, "", data, "", ""},
		{"a new key with a key", "POST", "/keys/", `{"name":"x"}`, []string{key, jsonType}, 403, "forbidden", problem, "", ""},
		{"a new key for more than one has", "POST", "/keys/", `{"name":"x","scopes":["admin"]}`, []string{auth, jsonType}, 422, "invalid_input", problem, "", ""},
		{"a new key with a misspelt member", "POST", "/keys/", `{"nmae":"x"}`, []string{auth, jsonType}, 400, "invalid_request", problem, "", ""},
		{"rotating a key that never was", "POST", "/keys/nothing/rotate", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"rotating a key, anonymously", "POST", "/keys/nothing/rotate", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"revoking a key that never was", "DELETE", "/keys/nothing", "", []string{auth}, 404, "not_found", problem, "", ""},
		{"revoking a key, anonymously", "DELETE", "/keys/nothing", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"revoking a key with a key", "DELETE", "/keys/nothing", "", []string{key}, 403, "forbidden", problem, "", ""},
		{"GET of a key", "GET", "/keys/x", "", []string{auth}, 405, "method_not_allowed", problem, "", "DELETE"},

		{"moderating", "POST", "/moderate/", "", []string{bearer(mod.Access)}, 200, "", data, "", ""},
		{"moderating as anybody", "POST", "/moderate/", "", []string{auth}, 403, "forbidden", problem, "", ""},
		{"moderating as an administrator", "POST", "/moderate/", "", []string{asAdmin}, 403, "forbidden", problem, "", ""},
		{"moderating, anonymously", "POST", "/moderate/", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"moderating with a key without the role", "POST", "/moderate/", "", []string{key}, 403, "forbidden", problem, "", ""},
		{"GET of moderating", "GET", "/moderate/", "", []string{asAdmin}, 405, "method_not_allowed", problem, "", "POST"},

		{"giving roles", "PUT", "/users/mod/roles", `{"roles":["moderator"],"permissions":[]}`, []string{asAdmin, jsonType}, 200, "", data, "", ""},
		{"giving roles that do not exist", "PUT", "/users/mod/roles", `{"roles":["king"],"permissions":[]}`, []string{asAdmin, jsonType}, 422, "invalid_input", problem, "", ""},
		{"giving oneself roles", "PUT", "/users/admin/roles", `{"roles":["admin","moderator"],"permissions":[]}`, []string{asAdmin, jsonType}, 409, "own_account", problem, "", ""},
		{"giving nobody roles", "PUT", "/users/nobody/roles", `{"roles":["user"],"permissions":[]}`, []string{asAdmin, jsonType}, 404, "not_found", problem, "", ""},
		{"giving roles as anybody", "PUT", "/users/mod/roles", `{"roles":["user"],"permissions":[]}`, []string{auth, jsonType}, 403, "forbidden", problem, "", ""},
		{"giving roles, anonymously", "PUT", "/users/mod/roles", `{"roles":["user"],"permissions":[]}`, []string{jsonType}, 401, "unauthenticated", problem, "Bearer", ""},

		{"deleting nobody", "DELETE", "/users/999", "", []string{asAdmin}, 404, "not_found", problem, "", ""},
		{"deleting somebody as anybody", "DELETE", "/users/2", "", []string{auth}, 403, "forbidden", problem, "", ""},
		{"deleting somebody without the scope", "DELETE", "/users/2", "", []string{limited}, 403, "insufficient_scope", problem, `Bearer scope="admin", error="insufficient_scope"`, ""},
		{"deleting somebody with a key", "DELETE", "/users/2", "", []string{key}, 403, "forbidden", problem, "", ""},
		{"deleting somebody, anonymously", "DELETE", "/users/2", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"deleting oneself", "DELETE", "/users/" + s.id(t, "admin"), "", []string{asAdmin}, 409, "own_account", problem, "", ""},
		{"deleting somebody", "DELETE", "/users/" + s.id(t, "dora"), "", []string{asAdmin}, 200, "", data, "", ""},

		{"a password that is too short", "POST", "/users/me/password", newPassword(s.keys.DemoPassword, "short"), []string{jsonType, auth}, 422, "invalid_input", problem, "", ""},
		{"a wrong current password", "POST", "/users/me/password", newPassword("wrong", testPassword), []string{jsonType, auth}, 400, "wrong_password", problem, "", ""},
		{"no current password", "POST", "/users/me/password", `{"new_password":"` + testPassword + `"}`, []string{jsonType, auth}, 400, "wrong_password", problem, "", ""},
		{"a password and something else", "POST", "/users/me/password", `{"new_password":"` + testPassword + `","username":"mod"}`, []string{jsonType, auth}, 400, "invalid_request", problem, "", ""},
		{"a password of 17 KiB", "POST", "/users/me/password", strings.Repeat(" ", 17<<10) + "{}", []string{jsonType, auth}, 413, "invalid_request", problem, "", ""},
		{"a password in a form", "POST", "/users/me/password", "new_password=x", []string{formType, auth}, 415, "invalid_request", problem, "", ""},
		{"a password, anonymously", "POST", "/users/me/password", newPassword(s.keys.DemoPassword, testPassword), []string{jsonType}, 401, "unauthenticated", problem, "Bearer", ""},
		{"another password", "POST", "/users/me/password", newPassword(s.keys.DemoPassword, testPassword), []string{jsonType, auth}, 204, "", "", "", ""},
		{"GET of a password", "GET", "/users/me/password", "", []string{auth}, 405, "method_not_allowed", problem, "", "POST"},

		{"disabling somebody", "POST", "/users/mod/disable", "", []string{asAdmin}, 200, "", data, "", ""},
		{"disabling somebody twice", "POST", "/users/mod/disable", "", []string{asAdmin}, 200, "", data, "", ""},
		{"being disabled", "GET", "/users/me", "", []string{bearer(mod.Access)}, 401, "invalid_token", problem, `Bearer error="invalid_token"`, ""},
		{"enabling somebody", "POST", "/users/mod/enable", "", []string{asAdmin}, 200, "", data, "", ""},
		{"enabling somebody twice", "POST", "/users/MOD/enable", "", []string{asAdmin}, 200, "", data, "", ""},
		{"disabling nobody", "POST", "/users/nobody/disable", "", []string{asAdmin}, 404, "not_found", problem, "", ""},
		{"enabling a name that nobody can have", "POST", "/users/%00/enable", "", []string{asAdmin}, 404, "not_found", problem, "", ""},
		{"disabling oneself", "POST", "/users/admin/disable", "", []string{asAdmin}, 409, "own_account", problem, "", ""},
		{"disabling oneself in capitals", "POST", "/users/ADMIN/disable", "", []string{asAdmin}, 409, "own_account", problem, "", ""},
		{"disabling somebody, anonymously", "POST", "/users/mod/disable", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"enabling somebody, anonymously", "POST", "/users/dora/enable", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"disabling somebody without the scope", "POST", "/users/mod/disable", "", []string{limited}, 403, "insufficient_scope", problem, `Bearer scope="admin", error="insufficient_scope"`, ""},
		{"disabling somebody as anybody", "POST", "/users/mod/disable", "", []string{auth}, 403, "forbidden", problem, "", ""},
		{"enabling somebody as anybody", "POST", "/users/dora/enable", "", []string{auth}, 403, "forbidden", problem, "", ""},
		{"disabling nobody as anybody", "POST", "/users/nobody/disable", "", []string{auth}, 403, "forbidden", problem, "", ""},
		{"GET of disabling", "GET", "/users/mod/disable", "", []string{asAdmin}, 405, "method_not_allowed", problem, "", "POST"},

		{"logging out everywhere, anonymously", "POST", "/logout/all", "", nil, 401, "unauthenticated", problem, "Bearer", ""},
		{"logging out everywhere", "POST", "/logout/all", "", []string{auth}, 200, "", data, "", ""},
		{"logging out everywhere twice", "POST", "/logout/all", "", []string{auth}, 401, "invalid_token", problem, `Bearer error="invalid_token"`, ""},

		{"where the endpoints are", "GET", "/.well-known/oauth-authorization-server", "", nil, 200, "", "application/json", "", ""},
		{"POST of where the endpoints are", "POST", "/.well-known/oauth-authorization-server", "", nil, 405, "method_not_allowed", problem, "", "GET, HEAD"},
		{"who issues the tokens", "GET", "/.well-known/oauth-protected-resource", "", nil, 200, "", "application/json", "", ""},
		{"POST of who issues the tokens", "POST", "/.well-known/oauth-protected-resource", "", nil, 405, "method_not_allowed", problem, "", "GET, HEAD"},

		{"the public keys", "GET", "/.well-known/jwks.json", "", nil, 200, "", "application/jwk-set+json", "", ""},
		{"POST of public keys", "POST", "/.well-known/jwks.json", "", nil, 405, "method_not_allowed", problem, "", "GET, HEAD"},
		{"health", "GET", "/healthz", "", nil, 200, "", data, "", ""},
		{"health with a stale token at hand", "GET", "/healthz", "", []string{spoiled}, 200, "", data, "", ""},
		{"POST of health", "POST", "/healthz", "", nil, 405, "method_not_allowed", problem, "", "GET, HEAD"},
		{"a page that does not exist", "GET", "/nothing", "", nil, 404, "not_found", problem, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(t, tt.method, tt.path, tt.body, tt.headers...)
			if got.status != tt.status || got.code() != tt.code {
				t.Fatalf("got %d %s, want %d %s", got.status, got.body, tt.status, tt.code)
			}
			if tt.contentType != "" && got.header.Get("Content-Type") != tt.contentType {
				t.Errorf("Content-Type is %q, want %q", got.header.Get("Content-Type"), tt.contentType)
			}
			// RFC 9110 section 15.5.2: each 401 says what would help.
			challenge := got.header.Get("WWW-Authenticate")
			if (challenge == "") != (tt.challenge == "") || !strings.HasPrefix(challenge, tt.challenge) {
				t.Errorf("WWW-Authenticate is %q, want %q", challenge, tt.challenge)
			}
			// RFC 9728 section 5.1: and where to get it.
			const where = `resource_metadata="` + testIssuer + `/.well-known/oauth-protected-resource"`
			if strings.HasPrefix(challenge, "Bearer") && !strings.HasSuffix(challenge, where) {
				t.Errorf("WWW-Authenticate is %q, want %s in it", challenge, where)
			}
			if allow := got.header.Get("Allow"); allow != tt.allow {
				t.Errorf("Allow is %q, want %q", allow, tt.allow)
			}
			if cacheable := tt.status == 200 && strings.HasPrefix(tt.path, "/.well-known/"); !cacheable && (tt.contentType == oauth || tt.contentType == problem) {
				if cached := got.header.Get("Cache-Control"); cached != "no-store" {
					t.Errorf("Cache-Control is %q, want no-store", cached)
				}
				if !json.Valid([]byte(got.body)) {
					t.Errorf("the body is not JSON: %q", got.body)
				}
			}
			// RFC 6749 sections 5.1 and 5.2.
			if strings.HasPrefix(tt.path, "/token") && got.header.Get("Pragma") != "no-cache" {
				t.Error("Pragma is not no-cache")
			}
		})
	}
}

func TestFailedSignInsCannotBeToldApart(t *testing.T) {
	s := openSite(t)
	s.exec(t, "UPDATE users SET password_hash = '' WHERE username = 'mod'")
	s.exec(t, "UPDATE users SET password_hash = 'damaged' WHERE username = 'admin'")
	var first answer
	for i, tt := range []struct{ name, username, password string }{
		{"wrong password", "alice", "wrong"},
		{"unknown", "nobody", s.keys.DemoPassword},
		{"disabled", "dora", s.keys.DemoPassword},
		{"without a password", "mod", s.keys.DemoPassword},
		{"with a damaged hash", "admin", s.keys.DemoPassword},
		{"over-long password", "alice", strings.Repeat("x", 2000)},
		{"a name that nobody can have", "ali\u0000ce", s.keys.DemoPassword},
		{"a name that looks alike", "аlice", s.keys.DemoPassword},
	} {
		got := s.do(t, "POST", "/token", form("grant_type", "password", "username", tt.username, "password", tt.password), formType)
		got.header.Del("Date")
		if i == 0 {
			first = got
			got.refused(t, http.StatusBadRequest, "invalid_grant")
			continue
		}
		if got.status != first.status || got.body != first.body || !sameHeader(got.header, first.header) {
			t.Errorf("%s: got %d %q %v, a wrong password gets %d %q %v", tt.name, got.status, got.body, got.header, first.status, first.body, first.header)
		}
	}
}

func sameHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return true
}
