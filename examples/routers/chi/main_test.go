package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/guard/guardtest"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestTheLedgerHasEveryRoute(t *testing.T) {
	_, routes, err := newRouter(guard.Hooks{}, demo{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprint(r.String(), r.Schemes))
	}
	want := []string{
		"DELETE /users/{id}\tcaller, role admin[Bearer]",
		"GET /admin/report\tcaller, role admin[Bearer]",
		"GET /healthz\tpublic (health check)[]",
		"GET /items/{id}\tcaller[Bearer]",
		"GET /users/me\tcaller[Bearer]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnUnguardedRouteStopsTheStart(t *testing.T) {
	hooks := guard.Hooks{}
	h := func(http.ResponseWriter, *http.Request) {}
	for name, add := range map[string]func(chi.Router){
		"at the root": func(r chi.Router) { r.Get("/open", h) },
		"in a group":  func(r chi.Router) { r.Group(func(r chi.Router) { r.Use(hooks.Identify(demo{})); r.Get("/open", h) }) },
		"in a route": func(r chi.Router) {
			r.Route("/a", func(r chi.Router) { r.With(hooks.Identify(demo{})).Get("/open", h) })
		},
		"mounted": func(r chi.Router) {
			sub := chi.NewRouter()
			sub.Post("/open", h)
			r.Mount("/sub", sub)
		},
	} {
		r := chi.NewRouter()
		r.With(guard.Public("health check")).Get("/healthz", h)
		add(r)
		var byWalk, byChi guard.Ledger
		walk(&byWalk, r, "")
		if err := chi.Walk(r, byChi.Add); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{byWalk.Err(), byChi.Err()} {
			if err == nil || !strings.Contains(err.Error(), "/open") || strings.Contains(err.Error(), "healthz") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestRequestsAreServedAndRefused(t *testing.T) {
	var log bytes.Buffer
	router, _, err := newRouter(guard.Hooks{Observe: guard.Log(slog.New(slog.NewTextHandler(&log, nil)))}, demo{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(router)
	defer server.Close()
	for _, test := range []struct {
		method, path, token string
		status              int
		body                string
	}{
		{"GET", "/healthz", "", 200, "hello from /healthz"},
		{"GET", "/users/me", "", 401, "unauthenticated"},
		{"GET", "/users/me", "ada", 200, "hello from /users/me"},
		{"GET", "/items/7", "ada", 200, "hello from /items/{id}"},
		{"DELETE", "/users/7", "ada", 403, "Access denied"},
		{"GET", "/admin/report", "ada", 403, "Access denied"},
		{"GET", "/nowhere", "", 404, "not_found"},
		{"PUT", "/healthz", "", 405, "method_not_allowed"},
	} {
		log.Reset()
		r, _ := http.NewRequest(test.method, server.URL+test.path, nil)
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(w.Body)
		w.Body.Close()
		if w.StatusCode != test.status || !strings.Contains(string(body), test.body) {
			t.Errorf("%s %s: %d %s, want %d %q", test.method, test.path, w.StatusCode, body, test.status, test.body)
		}
		if (test.status == 404 || test.status == 405) && !strings.Contains(log.String(), "level=INFO") {
			t.Errorf("%d: %s", test.status, &log)
		}
	}
	admin := guardtest.Caller{Name: "admin", By: demo{}, Principal: identity.Principal{Issuer: "demo", Subject: "eve", Roles: identity.NewSet("admin")}}
	user := guardtest.Caller{Name: "user", By: demo{}, Principal: identity.Principal{Issuer: "demo", Subject: "ada"}}
	guardtest.OnlyFor(t, router, httptest.NewRequest("DELETE", "/users/7", nil), []guardtest.Caller{admin, user}, "admin")
	guardtest.OnlyFor(t, router, httptest.NewRequest("GET", "/admin/report", nil), []guardtest.Caller{admin, user}, "admin")
}
