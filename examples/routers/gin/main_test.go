package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
)

func TestRoutesAreGuardedAndLimited(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	authority, events := demo.New(), new(demo.Events)
	engine, err := newEngine(events.Hooks(), authority.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(engine)
	defer server.Close()
	demo.Drive(t, server.URL, authority, events)
}

// The handlers of gin run within the middleware: a refund reads the status that a
// handler of gin has written, a place of a concurrent limit is free again after a
// panic, and handlers after a refusal do not run.
func TestHandlersRunWithinTheMiddleware(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	limited := func(config ratelimit.Config, limit ratelimit.Limit) gin.HandlerFunc {
		limiter, err := ratelimit.New(ratelimit.ByIP, config, limit)
		if err != nil {
			t.Fatal(err)
		}
		return use(limiter.Handler)
	}
	engine := gin.New()
	engine.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }))
	refund := ratelimit.Config{Refund: func(status int) bool { return status == 409 }}
	engine.GET("/refund", limited(refund, ratelimit.MustParse("1/hour")[0]), func(c *gin.Context) { c.String(409, "conflict") })
	engine.GET("/panic", limited(ratelimit.Config{}, ratelimit.InFlight(1)), func(*gin.Context) { panic("on purpose") })
	var ran bool
	var hooks guard.Hooks
	closed := hooks.Require(func(*http.Request) error { return guard.Forbidden(nil) })
	engine.GET("/closed", use(closed), func(*gin.Context) { ran = true }, func(*gin.Context) { ran = true })
	server := httptest.NewServer(engine)
	defer server.Close()
	for range 3 {
		for path, want := range map[string]int{"/refund": 409, "/panic": 500, "/closed": 403} {
			if w, body := demo.Do(t, "GET", server.URL+path); w.StatusCode != want || want == 403 && strings.Count(body, "{") != 1 {
				t.Errorf("%s: %d %s, want %d", path, w.StatusCode, body, want)
			}
		}
	}
	if ran {
		t.Error("a handler ran after the refusal")
	}
}
