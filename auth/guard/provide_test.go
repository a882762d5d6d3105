package guard_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

func TestProvidedHooksReachPackagesWithoutHooks(t *testing.T) {
	var events []guard.Event
	given := guard.Hooks{
		Deny:    func(w http.ResponseWriter, _ *http.Request, d *guard.Denial) { w.Write([]byte("given " + d.Code)) },
		Observe: func(_ context.Context, e guard.Event) { events = append(events, e) },
	}
	own := guard.Hooks{Deny: func(w http.ResponseWriter, _ *http.Request, d *guard.Denial) { w.Write([]byte("own " + d.Code)) }}
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		hooks guard.Hooks
		body  string
	}{
		"none":      {guard.Hooks{}, "given unauthenticated"},
		"a Deny":    {own, "own unauthenticated"},
		"the given": {given, "given unauthenticated"},
	} {
		events = nil
		guarded := given.Provide(c.hooks.Authenticated(handler))
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 401 || w.Body.String() != c.body || len(events) != 1 || events[0].Denial == nil {
			t.Errorf("a package with the hooks %s: %d %q, events %v", name, w.Code, w.Body, events)
		}
		if got := guard.Requirements(guarded); len(got) != 1 || got[0].Kind != guard.KindCaller {
			t.Errorf("Provide hides the requirements %v", got)
		}
	}
	events = nil
	given.Provide(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		guard.Hooks{}.Emit(r, guard.Event{Name: guard.EventUserUpdated})
		guard.Hooks{}.EmitContext(r.Context(), guard.Event{Name: guard.EventUserUpdated})
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if len(events) != 2 || events[0].Request.Method != "GET" {
		t.Errorf("the events are %v", events)
	}
}
