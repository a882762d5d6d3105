package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
)

// start returns the URL of the server.
func start(t *testing.T, every time.Duration) (string, *demo.Authority, *demo.Events) {
	authority, events := demo.New(), new(demo.Events)
	handler, err := newHandler(events.Hooks(), authority.Tokens, authority.Revoked, every)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/chat", authority, events
}

// dial returns a connection, or the status of a refused handshake.
func dial(t *testing.T, url, token string, header http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	if header == nil {
		header = http.Header{}
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	conn, response, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if response == nil {
			t.Fatal(err)
		}
		return nil, response
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn, response
}

// say sends a message and returns the answer, or the code of closing.
func say(t *testing.T, conn *websocket.Conn, message string) (string, websocket.StatusCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if message != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			return "", websocket.CloseStatus(err)
		}
	}
	_, answer, err := conn.Read(ctx)
	if err != nil && websocket.CloseStatus(err) == -1 {
		t.Errorf("%q: %v", message, err)
	}
	return string(answer), websocket.CloseStatus(err)
}

func TestHandshakesAreGuardedAndConnectionsCounted(t *testing.T) {
	url, authority, _ := start(t, time.Hour)
	ada := authority.Token("ada", "read:items")
	for _, test := range []struct {
		name, token string
		header      http.Header
		status      int
	}{
		{"anonymous", "", nil, 401},
		{"not a token", "x", nil, 401},
		{"without the scope", authority.Token("eve"), nil, 403},
		{"a page of another origin", authority.Token("mallory", "read:items"), http.Header{"Origin": {"https://evil.example"}}, 403},
		{"first", ada, nil, 101},
		{"second", ada, nil, 101},
		{"third at once", ada, nil, 429},
		{"of another caller", authority.Token("bob", "read:items"), nil, 101},
	} {
		if _, response := dial(t, url, test.token, test.header); response.StatusCode != test.status || (test.status == 401) != (response.Header.Get("WWW-Authenticate") != "") && test.status != 403 {
			t.Errorf("%s: %d %v, want %d", test.name, response.StatusCode, response.Header, test.status)
		}
	}
}

func TestMessagesAreLimitedOverAllConnections(t *testing.T) {
	url, authority, events := start(t, time.Hour)
	token := authority.Token("ada", "read:items")
	first, _ := dial(t, url, token, nil)
	second, _ := dial(t, url, token, nil)
	for i, conn := range []*websocket.Conn{first, second, first} {
		if answer, _ := say(t, conn, "hi"); answer != "hello ada, hi" {
			t.Errorf("message %d: %q", i, answer)
		}
	}
	if answer, code := say(t, second, "hi"); code != websocket.StatusTryAgainLater {
		t.Errorf("over the limit: %q, %d", answer, code)
	}
	if names := events.Names(); len(names) != 1 || names[0] != guard.EventRateLimit {
		t.Errorf("events %v", names)
	}
}

func TestARevokedCallerIsDisconnectedWhileIdle(t *testing.T) {
	url, authority, events := start(t, 10*time.Millisecond)
	ada, _ := dial(t, url, authority.Token("ada", "read:items"), nil)
	bob, _ := dial(t, url, authority.Token("bob", "read:items"), nil)
	if answer, _ := say(t, ada, "hi"); answer != "hello ada, hi" {
		t.Fatalf("before: %q", answer)
	}
	if err := authority.Revoke(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if answer, code := say(t, ada, ""); code != 3000 {
		t.Errorf("idle: %q, %d", answer, code)
	}
	if answer, _ := say(t, bob, "hi"); answer != "hello bob, hi" {
		t.Errorf("another caller: %q", answer)
	}
	if all := events.All(); len(all) != 1 || all[0].Name != guard.EventLoginFail && all[0].Name != guard.EventTokenReuse || all[0].Principal == nil || all[0].Principal.Subject != "ada" {
		t.Errorf("events %v", all)
	}
}

func TestAMessageOfARevokedCallerIsNotAnswered(t *testing.T) {
	url, authority, _ := start(t, time.Hour)
	ada, _ := dial(t, url, authority.Token("ada", "read:items"), nil)
	if err := authority.Revoke(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if answer, code := say(t, ada, "hi"); code != 3000 {
		t.Errorf("%q, %d", answer, code)
	}
}

func TestAnIdleConnectionEndsWithItsToken(t *testing.T) {
	url, authority, _ := start(t, 50*time.Millisecond)
	ada, response := dial(t, url, authority.Brief("ada", "read:items"), nil)
	if ada == nil {
		t.Fatal(response.Status)
	}
	if answer, code := say(t, ada, ""); code != 3000 {
		t.Errorf("%q, %d", answer, code)
	}
}
