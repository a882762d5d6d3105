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

func TestCacheUseCountsGoodKeysOnly(t *testing.T) {
	r := open(t, apikey.Config{})
	key, _ := r.issue(nil)
	for range 3 {
		r.get(with(key))
		r.get(with(wrongSecret(t, key)))
	}
	if hits, misses := r.keys.CacheUse(); hits != 2 || misses != 1 {
		t.Errorf("%d hits and %d misses, want 2 and 1", hits, misses)
	}
	r = open(t, apikey.Config{CacheTTL: -1})
	key, _ = r.issue(nil)
	r.get(with(key))
	if hits, misses := r.keys.CacheUse(); hits != 0 || misses != 0 {
		t.Errorf("without a cache: %d hits and %d misses", hits, misses)
	}
}
