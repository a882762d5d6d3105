package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
)

// serve returns the address of app.
func serve(t *testing.T, app *fiber.App) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go app.Listener(listener)
	t.Cleanup(func() { app.Shutdown() })
	return listener.Addr().String()
}

func TestRoutesAreGuardedAndLimited(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	app, err := newApp(events.Hooks(), authority.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	demo.Drive(t, "http://"+serve(t, app), authority, events)
}

// fasthttp uses the memory of a request again for the next one of the connection, so
// what a guard keeps must not change with it.
func TestRequestsOfOneConnectionShareNothing(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	app, err := newApp(events.Hooks(), authority.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", serve(t, app))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	do := func(path, token string) int {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer %s\r\n\r\n", path, token)
		w, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.Body.Close()
		return w.StatusCode
	}
	good := authority.Token("ada", "read:items")
	forged := good[:len(good)-20] + strings.Repeat("A", 20)
	for i, test := range []struct {
		path, token string
		want        int
	}{{"/items/1", good, 200}, {"/items/2", forged, 401}, {"/items/3", good, 200}, {"/orders/secret", forged, 401}, {"/x", good, 404}} {
		if got := do(test.path, test.token); got != test.want {
			t.Errorf("request %d: %d, want %d", i, got, test.want)
		}
	}
	var paths []string
	for _, event := range events.All() {
		paths = append(paths, event.Request.Path)
	}
	if got, want := fmt.Sprint(paths), "[/items/2 /orders/secret /x]"; got != want {
		t.Errorf("the audit trail has the paths %s, want %s", got, want)
	}
}

func TestHandlersRunWithinTheMiddleware(t *testing.T) {
	limited := func(config ratelimit.Config, limit ratelimit.Limit) fiber.Handler {
		limiter, err := ratelimit.New(ratelimit.ByIP, config, limit)
		if err != nil {
			t.Fatal(err)
		}
		return use(limiter.Handler)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(recover.New())
	refund := ratelimit.Config{Refund: func(status int) bool { return status == 409 }}
	app.Get("/refund", limited(refund, ratelimit.MustParse("1/hour")[0]), func(*fiber.Ctx) error { return fiber.ErrConflict })
	app.Get("/panic", limited(ratelimit.Config{}, ratelimit.InFlight(1)), func(*fiber.Ctx) error { panic("on purpose") })
	base := "http://" + serve(t, app)
	for range 3 {
		for path, want := range map[string]int{"/refund": 409, "/panic": 500} {
			if w, body := demo.Do(t, "GET", base+path); w.StatusCode != want {
				t.Errorf("%s: %d %s, want %d", path, w.StatusCode, body, want)
			}
		}
	}
}

// A guard.Mux, handlers included, can also stand behind the adaptor of fiber, if its
// hooks and handlers keep no string of a request.
func TestMuxBehindTheAdaptor(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	mux := guard.NewMux(events.Hooks(), authority.Tokens)
	mux.Handle("GET /admin/report", events.Hooks().Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := guard.Caller(r)
		fmt.Fprint(w, "hello ", caller.Subject)
	})))
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use("/admin", adaptor.HTTPHandler(mux))
	base := "http://" + serve(t, app)
	for token, want := range map[string]int{"": 401, "x": 401, authority.Token("ada"): 200} {
		if w, body := demo.Do(t, "GET", base+"/admin/report", "Bearer "+token); w.StatusCode != want {
			t.Errorf("%d %s, want %d", w.StatusCode, body, want)
		}
	}
	if w, _ := demo.Do(t, "GET", base+"/admin/nothing"); w.StatusCode != 404 {
		t.Errorf("no route: %d", w.StatusCode)
	}
}

// adaptor.HTTPMiddleware loses the caller: guards that stand in two of them refuse
// everybody, and no request passes unguarded.
func TestGuardsBehindHTTPMiddlewareFailClosed(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(adaptor.HTTPMiddleware(events.Hooks().Identify(authority.Tokens)))
	app.Use(adaptor.HTTPMiddleware(events.Hooks().Authenticated))
	app.Get("/items/:id", func(c *fiber.Ctx) error { return c.SendString("unguarded") })
	if w, body := demo.Do(t, "GET", "http://"+serve(t, app)+"/items/7", "Bearer "+authority.Token("ada")); w.StatusCode != 401 {
		t.Errorf("%d %s", w.StatusCode, body)
	}
}
