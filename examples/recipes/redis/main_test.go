package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

// signIn returns the tokens of alice.
func signIn(t *testing.T, p *kit.Process) (access, refresh string) {
	t.Helper()
	_, password, _ := strings.Cut(strings.TrimSpace(p.Line), "password=")
	return pair(t, kit.Want(t, 200, "access_token", "POST", p.URL+"/token", "username=alice&password="+password))
}

func pair(t *testing.T, body string) (access, refresh string) {
	t.Helper()
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + got.Access, got.Refresh
}

func TestTwoInstancesActAsOne(t *testing.T) {
	redis, dir := servers.Redis(t), t.TempDir()
	args := []string{"-redis", redis.Addr, "-dir", dir, "-issuer", "https://app.example.com"}
	a, b := kit.Start(t, nil, args...), kit.Start(t, nil, args...)

	access, refresh := signIn(t, a)
	for range 5 {
		kit.Want(t, 200, "You are user 1", "GET", a.URL+"/me", "", access)
		kit.Want(t, 200, "You are user 1", "GET", b.URL+"/me", "", access)
	}
	kit.Want(t, 429, "quota_exceeded", "GET", a.URL+"/me", "", access)
	kit.Want(t, 429, "quota_exceeded", "GET", b.URL+"/me", "", access)

	access, _ = pair(t, kit.Want(t, 200, "access_token", "POST", b.URL+"/token/refresh", "refresh_token="+refresh))
	kit.Want(t, 200, "", "POST", b.URL+"/logout/", "", access)
	// The other instance reads the log four times a second.
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		status, body := kit.Do(t, "GET", a.URL+"/me", "", access)
		if status == 401 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("after the logout: %d %s, want 401", status, body)
		}
	}

	// An instance that ends takes nothing with it.
	_, refresh = signIn(t, a)
	a.Kill()
	kit.Want(t, 200, "access_token", "POST", b.URL+"/token/refresh", "refresh_token="+refresh)
}
