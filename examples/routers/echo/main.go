// Command echo guards the routes of labstack/echo with net/http middleware, and
// renders refusals that echo's handlers return.
package main

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// use is echo.WrapMiddleware for middleware that reads the route and the status: it
// sets r.Pattern, and errors of handlers are rendered within the middleware.
func use(middleware func(http.Handler) http.Handler) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		wrapped := echo.WrapMiddleware(middleware)(func(c echo.Context) error {
			if err := next(c); err != nil {
				c.Error(err)
			}
			return nil
		})
		return func(c echo.Context) error {
			c.Request().Pattern = c.Request().Method + " " + c.Path()
			return wrapped(c)
		}
	}
}

func newEcho(hooks guard.Hooks, tokens guard.Authenticator) (*echo.Echo, error) {
	scope, err := scopes.New(scopes.Config{Hooks: hooks})
	if err != nil {
		return nil, err
	}
	limit, err := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByPrincipal),
		ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("3/minute")...)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if _, refused := errors.AsType[*guard.Denial](err); refused && !c.Response().Committed {
			hooks.Refuse(c.Response(), c.Request(), err)
			return
		}
		e.DefaultHTTPErrorHandler(err, c)
	}
	e.RouteNotFound("/*", func(echo.Context) error { return guard.NotFound(nil) })
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok") })
	guarded := []echo.MiddlewareFunc{use(hooks.Identify(tokens)), use(scope.Require("read:items")), use(limit.Handler)}
	e.GET("/items/:id", hello, guarded...)
	e.GET("/orders/:id", hello, guarded...)
	e.DELETE("/items/:id", func(c echo.Context) error {
		return scope.Check(c.Request().Context(), "write:items") // decided in the handler
	}, use(hooks.Identify(tokens)))
	return e, nil
}

func hello(c echo.Context) error {
	caller, err := guard.Caller(c.Request())
	if err != nil { // behind no guard
		return err
	}
	return c.String(http.StatusOK, "hello "+caller.Subject+", "+c.Param("id"))
}

func main() {
	authority := demo.New()
	e, err := newEcho(demo.Log(), authority.Tokens)
	demo.Check(err)
	authority.Serve(e, "/items/7")
}
