// Command fiber guards the routes of gofiber/fiber with net/http middleware.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// use takes the place of adaptor.HTTPMiddleware, which loses the context and with it the
// caller, drops all but the last of several Authorization headers, lends out memory that
// the next request overwrites, and runs later handlers after the middleware.
func use(middleware func(http.Handler) http.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.Request().Header.Header())))
		if err != nil {
			return fiber.ErrBadRequest
		}
		r.Body = io.NopCloser(bytes.NewReader(bytes.Clone(c.BodyRaw())))
		r.RemoteAddr, r.TLS, r.Pattern = c.Context().RemoteAddr().String(), c.Context().TLSConnectionState(), r.Method+" "+c.Route().Path
		middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.SetUserContext(r.Context())
			if err = c.Next(); err != nil {
				err = c.App().ErrorHandler(c, err)
			}
			w.WriteHeader(c.Response().StatusCode()) // for middleware that reads the status
		})).ServeHTTP(writer{c, http.Header{}}, r.WithContext(c.UserContext()))
		return err
	}
}

type writer struct { // to the response of fiber
	*fiber.Ctx
	header http.Header
}

func (w writer) Header() http.Header { return w.header }
func (w writer) WriteHeader(status int) {
	for name, values := range w.header {
		for _, value := range values {
			w.Response().Header.Add(name, value)
		}
	}
	w.Status(status)
}

func newApp(hooks guard.Hooks, tokens guard.Authenticator) (*fiber.App, error) {
	scope, err1 := scopes.New(scopes.Config{Hooks: hooks})
	limit, err2 := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByPrincipal), ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("3/minute")...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.SendString("ok") })
	for _, path := range []string{"/items/:id", "/orders/:id"} {
		app.Get(path, use(hooks.Identify(tokens)), use(scope.Require("read:items")), use(limit.Handler), func(c *fiber.Ctx) error {
			caller, _ := guard.CallerFrom(c.UserContext()) // Require has refused anonymous requests
			return c.SendString("hello " + caller.Subject + ", " + c.Params("id"))
		})
	}
	app.Use(use(hooks.Require(func(*http.Request) error { return guard.NotFound(nil) })))
	return app, nil
}

func main() {
	authority := demo.New()
	app, err := newApp(demo.Log(), authority.Tokens)
	demo.Check(err)
	authority.Print("/items/7")
	demo.Check(app.Listen("127.0.0.1:8080"))
}
