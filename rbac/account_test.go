package rbac_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/rbac"
)

// A user who is moved to another tenant, or loses a role, loses what it opened at
// the next request, with the old token and with the old API key.
func TestMovedUserLosesTheOldTenantWithTokenAndKey(t *testing.T) {
	ada := auth.User{ID: "ada", Tenant: "acme", Roles: identity.NewSet("auditor")}
	loads := 0
	accounts, err := auth.NewAccounts(func(context.Context, *identity.Principal) (auth.User, error) { loads++; return ada, nil },
		func(u auth.User) auth.User { return u }, auth.AccountsConfig{Issuers: []string{"demo"}, KeyIssuers: []string{"apikey:acme"}})
	if err != nil {
		t.Fatal(err)
	}
	hooks := guard.Hooks{Active: accounts.Active}
	var perms rbac.Registry
	readNotes := perms.Permission("notes:read")
	roles, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{"auditor": {Allow: rbac.Names(readNotes)}}},
		rbac.Config{Permissions: &perms, Roles: accounts.Roles, Tenants: true, Hooks: hooks})
	if err != nil {
		t.Fatal(err)
	}
	format, err := apikey.NewFormat("acme")
	if err != nil {
		t.Fatal(err)
	}
	store := new(apikey.Memory)
	keys, err := apikey.New(store, apikey.Config{Format: format, OwnerRights: accounts.Rights, Hooks: hooks,
		Peppers: []apikey.Pepper{{ID: "1", Secret: guard.NewSecret(make([]byte, 32))}}})
	if err != nil {
		t.Fatal(err)
	}
	manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory)})
	if err != nil {
		t.Fatal(err)
	}
	token := &identity.Principal{Issuer: "demo", Subject: "ada", Tenant: "acme", Roles: identity.NewSet("auditor")}
	key, _, err := manager.Issue(t.Context(), token, apikey.Spec{Owner: "ada", Tenant: "acme", Roles: identity.NewSet("auditor")})
	if err != nil {
		t.Fatal(err)
	}
	mux := guard.NewMux(hooks, actors{"ada": token}, keys)
	mux.Handle("GET /notes/{tenant}", roles.Owned(readNotes, func(r *http.Request) (rbac.Object, error) {
		return rbac.Object{Tenant: r.PathValue("tenant"), Issuer: "demo", Owner: "bob"}, nil
	})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	get := func(tenant, header, value string) int {
		loads = 0
		r := httptest.NewRequest("GET", "/notes/"+tenant, nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if loads != 1 {
			t.Errorf("%s with %s: %d loads", tenant, header, loads)
		}
		return w.Code
	}
	check := func(when string, acme, globex int) {
		t.Helper()
		for header, value := range map[string]string{"Authorization": "Bearer ada", "X-API-Key": key.Plain()} {
			if a, g := get("acme", header, value), get("globex", header, value); a != acme || g != globex {
				t.Errorf("%s, with %s: %d in acme and %d in globex, want %d and %d", when, header, a, g, acme, globex)
			}
		}
	}
	check("in acme", 200, 404)
	ada.Tenant = "globex"
	check("moved to globex", 401, 401)
	ada.Tenant, ada.Roles = "acme", identity.Set{}
	check("without the role", 404, 404)
	ada.Roles = identity.NewSet("auditor")
	check("back", 200, 404)
	ada.Disabled = true
	check("disabled", 401, 401)
}
