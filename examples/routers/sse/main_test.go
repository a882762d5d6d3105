package main

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/routers/demo"
)

func start(t *testing.T, every time.Duration) (string, *demo.Authority, *demo.Events) {
	authority, events := demo.New(), new(demo.Events)
	handler, err := newHandler(events.Hooks(), authority.Tokens, authority.Revoked, every)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL + "/events", authority, events
}

// open returns a stream, or a refusal.
func open(t *testing.T, url, token string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w, err := demo.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Body.Close() })
	return w
}

// next returns the event that follows in a stream, without its ID.
func next(in *bufio.Scanner) (event string) {
	for in.Scan() && in.Text() != "" {
		if !strings.HasPrefix(in.Text(), "id: ") {
			event += in.Text() + " "
		}
	}
	return strings.TrimSpace(event)
}

func TestStreamsAreGuardedAndCounted(t *testing.T) {
	url, authority, _ := start(t, time.Millisecond)
	ada := authority.Token("ada", "read:items")
	for _, test := range []struct {
		name, token string
		status      int
		challenge   string
	}{
		{"anonymous", "", 401, `Bearer realm="demo"`},
		{"not a token", "x", 401, `error="invalid_token"`},
		{"without the scope", authority.Token("eve"), 403, `scope="read:items"`},
	} {
		if w := open(t, url, test.token); w.StatusCode != test.status || !strings.Contains(w.Header.Get("WWW-Authenticate"), test.challenge) {
			t.Errorf("%s: %d %v", test.name, w.StatusCode, w.Header)
		}
	}
	first, second := open(t, url, ada), open(t, url, ada)
	for _, w := range []*http.Response{first, second} {
		in := bufio.NewScanner(w.Body)
		for range 3 {
			if event := next(in); w.StatusCode != 200 || event != "data: hello ada" {
				t.Errorf("%d %q", w.StatusCode, event)
			}
		}
		if w.Header.Get("Content-Type") != "text/event-stream" || w.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("header %v", w.Header)
		}
	}
	if w := open(t, url, ada); w.StatusCode != 429 {
		t.Errorf("a third stream at once: %d", w.StatusCode)
	}
	if w := open(t, url, authority.Token("bob", "read:items")); w.StatusCode != 200 {
		t.Errorf("another caller: %d", w.StatusCode)
	}
	first.Body.Close()
	for began := time.Now(); ; { // until the server has seen it
		status := open(t, url, ada).StatusCode
		if status == 200 {
			break
		}
		if status != 429 || time.Since(began) > 15*time.Second {
			t.Fatalf("the place of a stream that the client closed: %d", status)
		}
	}
}

func TestTheStreamOfARevokedCallerEnds(t *testing.T) {
	url, authority, events := start(t, 5*time.Millisecond)
	token := authority.Token("ada", "read:items")
	ada, bob := open(t, url, token), open(t, url, authority.Token("bob", "read:items"))
	in := bufio.NewScanner(ada.Body)
	if event := next(in); event != "data: hello ada" {
		t.Fatalf("before: %q", event)
	}
	if err := authority.Revoke(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	var last string
	for event := next(in); event != ""; event = next(in) {
		last = event
	}
	if last != "event: refused data: invalid_token" || in.Err() != nil {
		t.Errorf("the last event is %q, %v", last, in.Err())
	}
	if all := events.All(); len(all) != 1 || all[0].Principal == nil || all[0].Principal.Subject != "ada" {
		t.Errorf("events %v", all)
	}
	if w := open(t, url, token); w.StatusCode != 401 {
		t.Errorf("coming back: %d", w.StatusCode)
	}
	if event := next(bufio.NewScanner(bob.Body)); event != "data: hello bob" {
		t.Errorf("another caller: %q", event)
	}
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	url, authority, _ := start(t, 50*time.Millisecond)
	in := bufio.NewScanner(open(t, url, authority.Brief("ada", "read:items")).Body)
	var last string
	for event := next(in); event != ""; event = next(in) {
		last = event
	}
	if last != "event: refused data: invalid_token" {
		t.Errorf("the last event is %q, %v", last, in.Err())
	}
}
