package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

func TestKeysAreMadeUsedAndRevoked(t *testing.T) {
	dir := t.TempDir()
	p := kit.Start(t, nil, "-dir", dir)
	_, admin, _ := strings.Cut(p.Line, "-H '")
	admin, _, _ = strings.Cut(admin, "'")

	kit.Want(t, 401, "unauthenticated", "GET", p.URL+"/reports/", "")
	kit.Want(t, 403, "insufficient_scope", "GET", p.URL+"/reports/", "", admin)
	kit.Want(t, 400, "invalid_request", "POST", p.URL+"/keys/", "name=", admin)
	var made struct{ ID, Key string }
	if err := json.Unmarshal([]byte(kit.Want(t, 200, "acme_live_", "POST", p.URL+"/keys/", "name=billing&scope=read:reports", admin)), &made); err != nil {
		t.Fatal(err)
	}
	billing := "X-API-Key: " + made.Key
	kit.Want(t, 200, "for billing", "GET", p.URL+"/reports/", "", billing)
	kit.Want(t, 403, "insufficient_scope", "POST", p.URL+"/keys/", "name=more&scope=admin", billing)
	p.Kill()
	if strings.Contains(p.Log.String(), made.Key) {
		t.Error("the log has a key")
	}

	// The keys survive a restart, and no second administrator is made.
	p = kit.Start(t, nil, "-dir", dir)
	if strings.Contains(p.Line, "curl") {
		t.Errorf("a second start prints %q", p.Line)
	}
	kit.Want(t, 200, "for billing", "GET", p.URL+"/reports/", "", billing)
	kit.Want(t, 204, "", "DELETE", p.URL+"/keys/"+made.ID, "", admin)
	kit.Want(t, 404, "not_found", "DELETE", p.URL+"/keys/nothing", "", admin)
	kit.Want(t, 401, "invalid_token", "GET", p.URL+"/reports/", "", billing)
}
