package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"

	programs "github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
)

// A limit by route counts methods of one pattern apart and paths of one pattern
// together; where chi has matched only the outer router, routes share a quota, and an
// event reports it.
func TestLimitsByRouteHaveTheMethodAndReportWildcards(t *testing.T) {
	events := new(programs.Events)
	limit := func() func(http.Handler) http.Handler {
		limiter, err := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByIP), ratelimit.Config{Hooks: events.Hooks()}, ratelimit.MustParse("1/hour")...)
		if err != nil {
			t.Fatal(err)
		}
		return limiter.Handler
	}
	ok := func(http.ResponseWriter, *http.Request) {}
	router, each := chi.NewRouter(), limit()
	router.With(each).Get("/items/{id}", ok)
	router.With(each).Delete("/items/{id}", ok)
	router.Group(func(r chi.Router) { r.Use(each); r.Get("/orders/{id}", ok) })
	router.Route("/sub", func(r chi.Router) {
		r.Use(limit())
		r.Get("/a", ok)
		r.Get("/b", ok)
	})
	server := httptest.NewServer(router)
	defer server.Close()
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/items/1", 200}, {"DELETE", "/items/1", 200}, {"GET", "/orders/1", 200},
		{"GET", "/items/2", 429}, {"DELETE", "/items/2", 429}, {"GET", "/orders/2", 429},
	} {
		if w, _ := programs.Do(t, test.method, server.URL+test.path); w.StatusCode != test.status {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, w.StatusCode, test.status)
		}
	}
	events.Reset()
	first, _ := programs.Do(t, "GET", server.URL+"/sub/a")
	second, _ := programs.Do(t, "GET", server.URL+"/sub/b")
	if first.StatusCode != 200 || second.StatusCode != 429 {
		t.Errorf("behind a wildcard: %d, %d", first.StatusCode, second.StatusCode)
	}
	if names := events.Names(); len(names) == 0 || names[0] != ratelimit.EventSharedQuota {
		t.Errorf("events %v", names)
	}
}
