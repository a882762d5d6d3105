package main

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/password"
)

func TestMetricsOfAJourneyAreServedOnTheirOwnListenerOnly(t *testing.T) {
	hashing := must(password.NewBudget(password.BudgetConfig{}))
	how := testSettings
	how.meter = must(newMeter("127.0.0.1:0", hashing, slog.New(slog.DiscardHandler)))
	t.Cleanup(func() { check(how.meter.close()) })
	how.insecureNoLimits = false
	s := openSiteAs(t, how)
	alice := s.signInAlice(t)
	key := s.key(t, alice.Access, `{"name":"ci","scopes":["read:items"]}`)
	s.do(t, "GET", "/protected/", "", "X-API-Key: "+key.Key)
	s.do(t, "POST", "/moderate/", "", bearer(alice.Access)).is(t, http.StatusForbidden)
	s.do(t, "GET", "/users/me", "").is(t, http.StatusUnauthorized)
	s.refresh(t, alice.Refresh)
	s.register(t, map[string]string{"username": "erin", "password": testPassword}).is(t, http.StatusCreated)
	s.do(t, "POST", "/users/me/password", `{"current_password":"wrong","new_password":"`+testPassword+`"}`, bearer(alice.Access), jsonType).is(t, http.StatusBadRequest)

	resp := must(client.Get("http://" + how.meter.server.Addr + "/metrics"))
	defer resp.Body.Close()
	text := string(must(io.ReadAll(resp.Body)))
	for _, series := range []string{
		`{name="Bearer",operation="identify",outcome="succeeded"}`,
		`{name="ApiKey",operation="identify",outcome="succeeded"}`,
		`{name="caller",operation="guard",outcome="failed"}`,
		`{name="password.Verify",operation="hash",outcome="succeeded"} 1`, `{name="password.Verify",operation="hash",outcome="failed"} 1`,
		`{name="password.Hash",operation="hash",outcome="succeeded"} 1`,
		"\ngatewright_sessions 1\n",
		`{name="auth.UserByLogin",operation="store",outcome="succeeded"}`,
		`{name="auth.CreateRefresh",operation="store",outcome="succeeded"}`,
		`{name="auth.RotateRefresh",operation="store",outcome="succeeded"}`,
		`{name="apikey.KeyByID",operation="store",outcome="succeeded"}`,
		`{name="apikey.WriteKeys",operation="store",outcome="succeeded"}`,
		`{name="totp.LoadTOTP",operation="store",outcome="succeeded"}`,
		`{name="blacklist.Since",operation="store",outcome="succeeded"}`,
		`operation="limit",outcome="succeeded"}`,
		`gatewright_events_total{event="authn_login_success"} 1`,
		`gatewright_cache_lookups_total{cache="tokens",result="hit"}`, `gatewright_cache_lookups_total{cache="keys",result="miss"} 1`,
		`gatewright_refusals_total{code="forbidden",operation="guard"} 1`,
		`gatewright_limit_table_load_ratio{limit="address-second"}`, `gatewright_limit_table_load_ratio{limit="caller-minute"}`,
		`gatewright_limit_table_load_ratio{limit="keys-minute"}`, `gatewright_limit_table_load_ratio{limit="sign-in Pair"}`,
		`gatewright_limit_table_evictions_total{limit="register-hour"} 0`,
		`gatewright_revocations_staleness_seconds`, `gatewright_hashes_waiting 0`, `go_goroutines`,
	} {
		if !strings.Contains(text, series) {
			t.Errorf("there is no %s in\n%s", series, text)
		}
	}
	for _, secret := range []string{"alice", key.Key, "127.0.0.1"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics contain %q", secret)
		}
	}
	s.do(t, "GET", "/metrics", "").is(t, http.StatusNotFound)
}

func TestMetricsAreForThisMachineOnly(t *testing.T) {
	for addr, fine := range map[string]bool{
		"": true, "127.0.0.1:9090": true, "[::1]:0": true, "localhost:9090": true,
		":9090": false, "0.0.0.0:9090": false, "192.0.2.1:9090": false, "[::]:9090": false, "example.com:9090": false, "127.0.0.1": false,
	} {
		if err := checkMetricsAddr(addr); (err == nil) != fine {
			t.Errorf("-metrics-addr %q: %v", addr, err)
		}
		if _, err := parse([]string{"-metrics-addr", addr}, io.Discard); !fine && (err == nil || !strings.Contains(err.Error(), "-metrics-addr")) {
			t.Errorf("-metrics-addr %q: %v", addr, err)
		}
	}
}
