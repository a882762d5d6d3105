package auth_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// The hosts of the benchmarks hear of events and do not write them down.
func quiet(s *setup) { s.Hooks.Observe = nil }

func BenchmarkSignIn(b *testing.B) {
	for _, bench := range []struct {
		name, login, password string
		status                int
	}{
		{"right", "alice", right, http.StatusOK},
		{"wrong", "alice", "not the password", http.StatusBadRequest},
		{"unknown", "nobody", right, http.StatusBadRequest},
		{"not a login", "аlice", right, http.StatusBadRequest},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := newHost(b, quiet, func(s *setup) { s.store.MaxSessions = 1 << 30 })
			b.ReportAllocs()
			for b.Loop() {
				status(b, h, request("/token", "username", bench.login, "password", bench.password), bench.status)
			}
		})
	}
}

func BenchmarkRefresh(b *testing.B) {
	b.Run("each successor", func(b *testing.B) {
		h := newHost(b, quiet)
		a := h.signedIn()
		b.ReportAllocs()
		for b.Loop() {
			a = answerOf(b, h.server.Refresh(), request("/token/refresh", "refresh_token", a.refresh()))
		}
		h.want(a, http.StatusOK, "")
	})
	b.Run("one session, in parallel", func(b *testing.B) {
		h := newHost(b, quiet)
		a := h.signedIn()
		h.want(h.refresh(a.refresh()), http.StatusOK, "")
		again := func() *http.Request { return request("/token/refresh", "refresh_token", a.refresh()) }
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				// Within the grace a replay, later the session is over: the
				// work is the same or less.
				h.mux.ServeHTTP(httptest.NewRecorder(), again())
			}
		})
	})
	b.Run("sessions of their own, in parallel", func(b *testing.B) {
		h := newHost(b, quiet)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			a := h.signedIn()
			for pb.Next() {
				a = answerOf(b, h.server.Refresh(), request("/token/refresh", "refresh_token", a.refresh()))
			}
			if a.status != http.StatusOK {
				b.Errorf("%d %s", a.status, a.raw)
			}
		})
	})
	b.Run("junk", func(b *testing.B) {
		h := newHost(b, quiet)
		b.ReportAllocs()
		for b.Loop() {
			status(b, h, request("/token/refresh", "refresh_token", "junk"), http.StatusBadRequest)
		}
	})
}

func BenchmarkLogout(b *testing.B) {
	h := newHost(b, quiet, func(s *setup) { s.store.MaxSessions = 1 << 30 })
	b.ReportAllocs()
	for b.Loop() {
		// The sign-in with a cheap hash is part of it: a session can be
		// ended once. BenchmarkSignIn says what to take off.
		a := answerOf(b, h.server.Token(), request("/token", "username", "alice", "password", right))
		status(b, h, bearer("POST", "/logout/", a.access()), http.StatusOK)
	}
}

func status(b *testing.B, h *host, r *http.Request, want int) {
	b.Helper()
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	if w.Code != want {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
}
