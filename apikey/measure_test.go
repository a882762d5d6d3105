package apikey_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
)

// TestOnlyFailuresOfTheStoreAreMeasuredAsUndecided: a client that sends unknown keys
// must not look like a store that is down.
func TestOnlyFailuresOfTheStoreAreMeasuredAsUndecided(t *testing.T) {
	var got []guard.Outcome
	r := open(t, apikey.Config{MissTTL: -1, Hooks: guard.Hooks{Measure: func(_ context.Context, m guard.Measurement) {
		if m.Operation == "store" && m.Name == "apikey.KeyByID" {
			got = append(got, m.Outcome)
		}
	}}})
	// A key of another store.
	unknown, _ := open(t, apikey.Config{}).issue(nil)
	r.get(with(unknown))
	r.store.set(errors.New("no route to host"), nil)
	r.get(with(unknown))
	if len(got) != 2 || got[0] != guard.Succeeded || got[1] != guard.Undecided {
		t.Errorf("the outcomes are %v, want succeeded for an unknown key and undecided for a store that fails", got)
	}
}
