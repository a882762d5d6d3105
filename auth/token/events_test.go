package token_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
)

func TestReplacingKeysIsAnEventThatNamesThem(t *testing.T) {
	old, next := shared(t, token.HS256), mustKey(t, token.ES256)
	next.SignFrom = time.Now().Add(time.Hour)
	ring := mustRing(t, old)
	var events []guard.Event
	ring.Hooks.Observe = func(_ context.Context, e guard.Event) { events = append(events, e) }
	first := ring.Keys()[0].ID
	if ring.Replace() == nil {
		t.Error("no keys are no mistake")
	}
	if err := ring.Replace(old, next); err != nil {
		t.Fatal(err)
	}
	second := ring.Keys()[0].ID
	if err := ring.Replace(old); err != nil {
		t.Fatal(err)
	}
	want := []string{"[added=[" + second + "] removed=[] keys=2]", "[added=[] removed=[" + second + "] keys=1]"}
	for i, e := range events {
		if got := fmt.Sprint(e.Changes); i >= len(want) || got != want[i] || e.Name != guard.EventKeysReplaced || e.Principal != nil {
			t.Errorf("event %d: %s %s", i, e.Name, got)
		}
	}
	if len(events) != len(want) || first == second {
		t.Errorf("%d events, want %d", len(events), len(want))
	}
}
