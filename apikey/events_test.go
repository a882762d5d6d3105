package apikey_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestChangesOfAKeyAreOneEventWithTheCallerAndTheKey(t *testing.T) {
	r := open(t, apikey.Config{})
	seen := new(events)
	m := must(apikey.NewManager(r.keys, r.store, apikey.ManagerConfig{Revoker: new(revoker), Hooks: guard.Hooks{Observe: seen.observe}}))
	admin := &identity.Principal{Issuer: "https://auth.example.com", Subject: "admin"}
	ctx := identity.NewContext(t.Context(), admin)
	_, record := r.issue(nil)

	var made apikey.Record
	for _, step := range []struct {
		name guard.EventName
		says string
		call func() (target string, err error)
	}{
		{guard.EventAuthzChange, "active=false", func() (string, error) { return record.ID, m.SetActive(ctx, record.ID, false) }},
		{"", "", func() (string, error) { return "", m.SetActive(ctx, record.ID, false) }},
		{guard.EventAuthzChange, "active=true", func() (string, error) { return record.ID, m.SetActive(ctx, record.ID, true) }},
		{guard.EventTokenCreated, "replaces=" + record.ID, func() (string, error) {
			var err error
			_, made, err = m.Rotate(ctx, admin, record.ID, time.Hour)
			return made.ID, err
		}},
		{guard.EventTokenRevoked, "owner=" + record.Owner, func() (string, error) { return made.ID, m.Revoke(ctx, made.ID) }},
		{"", "", func() (string, error) { return "", m.Revoke(ctx, made.ID) }},
	} {
		seen.all = nil
		target, err := step.call()
		if err != nil {
			t.Fatal(err)
		}
		if step.name == "" {
			if len(seen.all) != 0 {
				t.Errorf("a call without a change: %d events", len(seen.all))
			}
			continue
		}
		if len(seen.all) != 1 {
			t.Fatalf("%s: %d events, want 1", step.name, len(seen.all))
		}
		if e := seen.all[0]; e.Name != step.name || e.Target != target || e.Principal == nil || e.Principal.Subject != "admin" {
			t.Errorf("event %s of %q by %v, want %s of %q by admin", e.Name, e.Target, e.Principal, step.name, target)
		} else if got := fmt.Sprint(e.Changes); !strings.Contains(got, step.says) {
			t.Errorf("%s: %s, want %s", e.Name, got, step.says)
		}
	}
}
