package demo

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Client is a client of its own for each test binary, with a bound.
var Client = &http.Client{Timeout: 20 * time.Second}

// Do sends a request with the values of Authorization, and returns the response
// with its body.
func Do(t testing.TB, method, url string, authorization ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Authorization"] = authorization
	w, err := Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w, string(body)
}

// Drive is the test of a router at base with these routes: GET /healthz is public,
// GET /items/{id} and GET /orders/{id} need the scope read:items and admit three
// requests a minute of each caller, and answer "hello SUBJECT, ID". Other paths
// are refused with 404.
func Drive(t *testing.T, base string, a *Authority, events *Events) {
	ada, bob := "Bearer "+a.Token("ada", "read:items"), "Bearer "+a.Token("bob", "read:items")
	for _, test := range []struct {
		name, path    string
		authorization []string
		status        int
		challenge     string // a part of WWW-Authenticate
		body          string // a part of the body
		event         guard.EventName
	}{
		{"public", "/healthz", nil, 200, "", "ok", ""},
		{"anonymous", "/items/7", nil, 401, `Bearer realm="demo"`, `"code":"unauthenticated"`, guard.EventLoginFail},
		{"not a token", "/items/7", []string{"Bearer x"}, 401, `error="invalid_token"`, `"code":"invalid_token"`, guard.EventLoginFail},
		{"forged", "/items/7", []string{ada[:len(ada)-9] + strings.ToLower(ada[len(ada)-9:len(ada)-5]) + "AAAAA"}, 401, `error="invalid_token"`, `"code":"invalid_token"`, guard.EventLoginFail},
		{"two credentials", "/items/7", []string{ada, bob}, 400, "", `"code":"invalid_request"`, guard.EventInputFail},
		{"without the scope", "/items/7", []string{"Bearer " + a.Token("eve", "write:items")}, 403, `scope="read:items"`, `"code":"insufficient_scope"`, guard.EventAuthzFail},
		{"first", "/items/7", []string{ada}, 200, "", "hello ada, 7", ""},
		{"second", "/items/8", []string{ada}, 200, "", "hello ada, 8", ""},
		{"third", "/items/9", []string{ada}, 200, "", "hello ada, 9", ""},
		{"over the limit", "/items/7", []string{ada}, 429, "", `"code":"quota_exceeded"`, guard.EventRateLimit},
		{"over the limit with another path of the route", "/items/10", []string{ada}, 429, "", `"code":"quota_exceeded"`, guard.EventRateLimit},
		{"another route has a limit of its own", "/orders/7", []string{ada}, 200, "", "hello ada, 7", ""},
		{"another caller has a limit of their own", "/items/7", []string{bob}, 200, "", "hello bob, 7", ""},
		{"no route", "/nowhere", []string{ada}, 404, "", `"code":"not_found"`, guard.EventInputFail},
	} {
		events.Reset()
		w, body := Do(t, "GET", base+test.path, test.authorization...)
		if challenge := w.Header.Get("WWW-Authenticate"); w.StatusCode != test.status || !strings.Contains(challenge, test.challenge) || (test.challenge == "") != (challenge == "") {
			t.Errorf("%s: %d with the challenge %q, want %d with %q: %s", test.name, w.StatusCode, challenge, test.status, test.challenge, body)
		}
		if !strings.Contains(body, test.body) || test.status != 200 && strings.Contains(body, "hello") {
			t.Errorf("%s: the body is %q, want %q alone", test.name, body, test.body)
		}
		if refused := test.status != 200; refused != (w.Header.Get("Content-Type") == "application/problem+json") {
			t.Errorf("%s: the Content-Type is %q", test.name, w.Header.Get("Content-Type"))
		}
		if (test.status == 429) != (w.Header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After is %q", test.name, w.Header.Get("Retry-After"))
		}
		if guarded := strings.HasPrefix(body, "hello") || test.status == 429; guarded != (w.Header.Get("RateLimit") != "") {
			t.Errorf("%s: RateLimit is %q", test.name, w.Header.Get("RateLimit"))
		}
		if got := events.Names(); (test.event == "") != (len(got) == 0) || test.event != "" && (len(got) != 1 || got[0] != test.event) {
			t.Errorf("%s: events %v, want %q", test.name, got, test.event)
		}
	}
	if err := a.Revoke(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if w, _ := Do(t, "GET", base+"/items/7", bob); w.StatusCode != 401 {
		t.Errorf("a revoked token: %d", w.StatusCode)
	}
}

// Events records events. It is safe for concurrent use.
type Events struct {
	mu  sync.Mutex
	all []guard.Event
}

// Hooks returns hooks that record events.
func (e *Events) Hooks() guard.Hooks {
	return guard.Hooks{Observe: func(_ context.Context, event guard.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, event)
	}}
}

// Reset forgets all events.
func (e *Events) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = nil
}

// All returns the events since the last Reset.
func (e *Events) All() []guard.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]guard.Event(nil), e.all...)
}

// Names returns the names of the events since the last Reset.
func (e *Events) Names() (names []guard.EventName) {
	for _, event := range e.All() {
		names = append(names, event.Name)
	}
	return names
}
