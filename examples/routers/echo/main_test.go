package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
)

func TestRoutesAreGuardedAndLimited(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	e, err := newEcho(events.Hooks(), authority.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	defer server.Close()
	demo.Drive(t, server.URL, authority, events)

	for _, test := range []struct {
		name      string
		token     string
		status    int
		challenge string
	}{
		{"anonymous", "", 401, `Bearer realm="demo"`},
		{"a reader", authority.Token("ada", "read:items"), 403, `scope="write:items"`},
		{"a writer", authority.Token("ada", "write:items"), 200, ""},
	} {
		var authorization []string
		if test.token != "" {
			authorization = []string{"Bearer " + test.token}
		}
		w, body := demo.Do(t, "DELETE", server.URL+"/items/7", authorization...)
		if w.StatusCode != test.status || !strings.Contains(w.Header.Get("WWW-Authenticate"), test.challenge) {
			t.Errorf("a refusal that a handler returned, %s: %d %v %s", test.name, w.StatusCode, w.Header, body)
		}
	}
}

// The handlers of echo run within the middleware: a refund reads the status of an
// error that a handler returned, and a place of a concurrent limit is free again
// after a panic.
func TestHandlersRunWithinTheMiddleware(t *testing.T) {
	limited := func(config ratelimit.Config, limit ratelimit.Limit) echo.MiddlewareFunc {
		limiter, err := ratelimit.New(ratelimit.ByIP, config, limit)
		if err != nil {
			t.Fatal(err)
		}
		return use(limiter.Handler)
	}
	e := echo.New()
	e.Logger.SetOutput(t.Output())
	e.Use(middleware.Recover())
	refund := ratelimit.Config{Refund: func(status int) bool { return status == 409 }}
	e.GET("/refund", func(echo.Context) error { return echo.NewHTTPError(409, "conflict") }, limited(refund, ratelimit.MustParse("1/hour")[0]))
	e.GET("/panic", func(echo.Context) error { panic("on purpose") }, limited(ratelimit.Config{}, ratelimit.InFlight(1)))
	server := httptest.NewServer(e)
	defer server.Close()
	for range 3 {
		for path, want := range map[string]int{"/refund": 409, "/panic": 500} {
			if w, body := demo.Do(t, "GET", server.URL+path); w.StatusCode != want {
				t.Errorf("%s: %d %s, want %d", path, w.StatusCode, body, want)
			}
		}
	}
}
