package main

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"

	"github.com/gatewright/gatewright/auth/guard"
)

// run signs in at /login with a client that keeps cookies, and tries the routes.
func run(t *testing.T, mux *guard.Mux, around func(http.Handler) http.Handler, login http.HandlerFunc, proxy string, full bool) {
	outer := http.NewServeMux()
	outer.HandleFunc("POST /login", login)
	outer.Handle("/", mux)
	server := httptest.NewServer(around(outer))
	defer server.Close()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path string, want int, body string, header ...string) {
		t.Helper()
		r, _ := http.NewRequest(method, server.URL+path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		got, _ := io.ReadAll(w.Body)
		if w.StatusCode != want || !strings.Contains(string(got)+w.Header.Get("Location"), body) {
			t.Errorf("%s %s: %d %s %s, want %d %q", method, path, w.StatusCode, got, w.Header.Get("Location"), want, body)
		}
	}
	ask("GET", "/account", 401, "unauthenticated")
	ask("GET", "/account", 303, "/login?next=%2Faccount", "Accept", "text/html")
	signedIn := []string{"X-Nothing", "1"}
	if proxy != "" {
		signedIn = []string{proxy, "ada"}
	} else {
		ask("POST", "/login", 200, "")
	}
	ask("GET", "/account", 200, "hello ada", signedIn...)
	if !full {
		ask("POST", "/orders", 403, "insufficient_scope", signedIn...)
		return
	}
	ask("POST", "/orders", 200, "hello ada", signedIn...)
	ask("POST", "/orders", 403, "cross_origin", append(signedIn, "Origin", "https://evil.example")...)
	ask("POST", "/orders", 403, "cross_origin", append(signedIn, "Sec-Fetch-Site", "cross-site")...)
	ask("POST", "/orders", 200, "hello ada", signedIn...)
	ask("POST", "/orders", 429, "quota_exceeded", signedIn...)
}

func TestSessionsOfScs(t *testing.T) {
	manager := scs.New()
	manager.Cookie.Secure = false
	callers, err := byScs(manager)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := newServer(callers, "session")
	if err != nil {
		t.Fatal(err)
	}
	run(t, mux, manager.LoadAndSave, func(w http.ResponseWriter, r *http.Request) {
		manager.RenewToken(r.Context())
		manager.Put(r.Context(), "user", "ada")
	}, "", true)
}

func TestSessionsOfGorilla(t *testing.T) {
	store := sessions.NewCookieStore([]byte(rand.Text() + rand.Text())[:32])
	store.Options.Secure = false
	callers, err := byGorilla(store)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := newServer(callers, "session")
	if err != nil {
		t.Fatal(err)
	}
	run(t, mux, func(h http.Handler) http.Handler { return h }, func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.New(r, "app")
		s.Values["user"] = "ada"
		if err := s.Save(r, w); err != nil {
			t.Error(err)
		}
	}, "", true)
}

func TestSessionsOfAProxy(t *testing.T) {
	callers, err := byProxy("X-Auth-User")
	if err != nil {
		t.Fatal(err)
	}
	mux, err := newServer(callers, "proxy")
	if err != nil {
		t.Fatal(err)
	}
	run(t, mux, func(h http.Handler) http.Handler { return h }, func(http.ResponseWriter, *http.Request) {}, "X-Auth-User", true)
}

func TestASessionWithoutTheScopeIsRefused(t *testing.T) {
	callers, err := byProxy("X-Auth-User")
	if err != nil {
		t.Fatal(err)
	}
	mux, err := newServer(callers, "session") // and the issuer of these is "proxy"
	if err != nil {
		t.Fatal(err)
	}
	run(t, mux, func(h http.Handler) http.Handler { return h }, func(http.ResponseWriter, *http.Request) {}, "X-Auth-User", false)
}
