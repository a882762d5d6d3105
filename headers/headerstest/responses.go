package headerstest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing/fstest"
	"time"
)

// everyResponse returns a handler with every kind of response, and its requests.
func everyResponse() (http.Handler, []*http.Request) {
	mux := http.NewServeMux()
	var requests []*http.Request
	add := func(method, path string, h http.HandlerFunc) {
		mux.HandleFunc(method+" "+path, h)
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader(strings.Repeat("x", 100))
		}
		requests = append(requests, httptest.NewRequest(method, path, body))
	}
	text := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain; charset=utf-8") }

	for _, status := range []int{200, 204, 301, 302, 304, 308, 400, 401, 403, 404, 409, 415, 429, 500, 502, 503} {
		add("GET", fmt.Sprint("/status/", status), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
		})
	}
	add("GET", "/silent", func(http.ResponseWriter, *http.Request) {})
	add("GET", "/body", func(w http.ResponseWriter, _ *http.Request) {
		text(w)
		io.WriteString(w, "body")
	})
	add("GET", "/error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "error", 500) })
	add("GET", "/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/body", http.StatusSeeOther) })
	add("POST", "/large", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10))
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		}
	})
	files := http.FileServerFS(fstest.MapFS{"files/there.txt": {Data: []byte("file")}})
	add("GET", "/files/there.txt", files.ServeHTTP)
	add("GET", "/files/missing.txt", files.ServeHTTP)
	add("GET", "/timeout", http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}), time.Millisecond, "timeout").ServeHTTP)
	add("GET", "/panic", func(http.ResponseWriter, *http.Request) { panic("headerstest: a panic on purpose") })
	add("GET", "/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "data: 1\n\n")
	})
	add("GET", "/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	})
	add("GET", "/tree/", func(http.ResponseWriter, *http.Request) {})
	more := []*http.Request{
		httptest.NewRequest("GET", "/tree", nil),    // redirect of the mux
		httptest.NewRequest("GET", "//body", nil),   // the same for a path that is not clean
		httptest.NewRequest("GET", "/nowhere", nil), // 404 of the mux
		httptest.NewRequest("PUT", "/body", nil),    // 405 of the mux
		httptest.NewRequest("HEAD", "/body", nil),
		With(httptest.NewRequest("GET", "/body", nil), "Authorization", "Bearer headerstest"),
		With(httptest.NewRequest("GET", "/body", nil), "Cookie", "headerstest=1"),
		// Where net/http deletes Cache-Control.
		With(httptest.NewRequest("GET", "/error", nil), "Cookie", "headerstest=1"),
		With(httptest.NewRequest("GET", "/files/missing.txt", nil), "Cookie", "headerstest=1"),
	}
	return mux, append(requests, more...)
}
