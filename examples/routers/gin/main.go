// Command gin guards the routes of gin-gonic/gin with net/http middleware.
package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// use returns middleware as a gin.HandlerFunc. Later handlers run within it, see its
// request and write to its ResponseWriter.
func use(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		outer, passed := c.Writer, false
		c.Request.Pattern = c.Request.Method + " " + c.FullPath() // for ratelimit.ByRoute and events
		middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed, c.Request, c.Writer = true, r, &writer{outer, w}
			c.Next()
		})).ServeHTTP(outer, c.Request)
		if c.Writer = outer; !passed {
			c.Abort()
		}
	}
}

// A writer is what a middleware has put around the ResponseWriter of gin.
type writer struct {
	gin.ResponseWriter
	inner http.ResponseWriter
}

func (w *writer) WriteHeader(status int)            { w.inner.WriteHeader(status) }
func (w *writer) Write(p []byte) (int, error)       { return w.inner.Write(p) }
func (w *writer) WriteString(s string) (int, error) { return w.inner.Write([]byte(s)) }

func newEngine(hooks guard.Hooks, tokens guard.Authenticator) (*gin.Engine, error) {
	scope, err := scopes.New(scopes.Config{Hooks: hooks})
	if err != nil {
		return nil, err
	}
	limit, err := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByPrincipal),
		ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("3/minute")...)
	if err != nil {
		return nil, err
	}
	engine := gin.New()
	engine.Use(gin.Recovery())
	engine.NoRoute(func(c *gin.Context) { hooks.Refuse(c.Writer, c.Request, guard.NotFound(nil)) })
	engine.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok") })
	guarded := engine.Group("/", use(hooks.Identify(tokens)), use(scope.Require("read:items")), use(limit.Handler))
	guarded.GET("/items/:id", hello)
	guarded.GET("/orders/:id", hello)
	return engine, nil
}

func hello(c *gin.Context) {
	caller, err := guard.Caller(c.Request)
	if err != nil { // behind no guard
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.String(http.StatusOK, "hello %s, %s", caller.Subject, c.Param("id"))
}

func main() {
	authority := demo.New()
	engine, err := newEngine(demo.Log(), authority.Tokens)
	demo.Check(err)
	authority.Serve(engine, "/items/7")
}
