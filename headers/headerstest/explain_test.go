package headerstest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/cors"

	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/headers/headerstest"
)

const page = "https://a.example"

// answering is a server whose every response has the header.
func answering(status int, header http.Header) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
	})
}

// The cases are those of the Fetch Standard, "CORS check" and "CORS-preflight
// fetch".
func TestExplainJudgesAsBrowsersDo(t *testing.T) {
	const a, c, m, h = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"
	for i, tt := range []struct {
		method, name  string // of a header that the script sets
		status        int
		header        http.Header
		without, with bool // credentials
	}{
		{"GET", "", 200, http.Header{}, false, false},
		{"GET", "", 200, http.Header{a: {page}}, true, false},
		{"GET", "", 500, http.Header{a: {page}}, true, false},
		{"GET", "", 200, http.Header{a: {page}, c: {"true"}}, true, true},
		{"GET", "", 200, http.Header{a: {page}, c: {"TRUE"}}, true, false},
		{"GET", "", 200, http.Header{a: {page}, c: {"true", "true"}}, true, false},
		{"GET", "", 200, http.Header{a: {"*"}}, true, false},
		{"GET", "", 200, http.Header{a: {"*"}, c: {"true"}}, true, false},
		{"GET", "", 200, http.Header{a: {"https://b.example"}, c: {"true"}}, false, false},
		{"GET", "", 200, http.Header{a: {"https://A.example"}}, false, false},
		{"GET", "", 200, http.Header{a: {page, page}}, false, false},
		{"GET", "", 200, http.Header{a: {page + ", " + page}}, false, false},
		{"PUT", "", 200, http.Header{a: {page}}, false, false},
		{"PUT", "", 200, http.Header{a: {page}, m: {"GET, PUT"}}, true, false},
		{"PUT", "", 405, http.Header{a: {page}, m: {"GET, PUT"}}, false, false},
		{"PUT", "", 302, http.Header{a: {page}, m: {"GET, PUT"}}, false, false},
		{"put", "", 200, http.Header{a: {page}, m: {"PUT"}}, false, false},
		{"PUT", "", 200, http.Header{a: {page}, m: {"*"}}, true, false},
		{"PUT", "", 200, http.Header{a: {page}, c: {"true"}, m: {"*"}}, true, false},
		{"PUT", "", 200, http.Header{a: {page}, c: {"true"}, m: {"PUT"}}, true, true},
		{"POST", "X-A", 200, http.Header{a: {page}}, false, false},
		{"POST", "X-A", 200, http.Header{a: {page}, h: {"X-B"}}, false, false},
		{"POST", "X-A", 200, http.Header{a: {page}, h: {"x-b", "X-a"}}, true, false},
		{"POST", "X-A", 200, http.Header{a: {page}, c: {"true"}, h: {"*"}}, true, false},
		{"POST", "Authorization", 200, http.Header{a: {"*"}, h: {"*"}}, false, false},
		{"POST", "Authorization", 200, http.Header{a: {"*"}, h: {"*, authorization"}}, true, false},
		{"POST", "Accept-Language", 200, http.Header{a: {page}}, true, false},
		{"GET", "X-A", 200, http.Header{a: {"https://b.example"}, h: {"x-a"}}, false, false},
	} {
		t.Run(fmt.Sprint(i, " ", tt.method, " ", tt.name, " ", tt.header), func(t *testing.T) {
			for credentials, want := range map[bool]bool{false: tt.without, true: tt.with} {
				r := httptest.NewRequest(tt.method, "https://api.example.com/x", nil)
				r.Header.Set("Origin", page)
				if tt.name != "" {
					r.Header.Set(tt.name, "1")
				}
				if v := headerstest.Explain(answering(tt.status, tt.header), r, credentials); v.Allowed != want || v.Why == "" {
					t.Errorf("credentials %v: %v, want allowed %v", credentials, v, want)
				}
			}
		})
	}
	for _, media := range []string{"application/json", "text/plain;charset=utf-8", "multipart/form-data; boundary=x", ""} {
		r := httptest.NewRequest("POST", "https://api.example.com/x", nil)
		r.Header.Set("Origin", page)
		r.Header.Set("Content-Type", media)
		if v := headerstest.Explain(answering(200, http.Header{a: {page}}), r, false); v.Preflight != (media == "application/json" || media == "") {
			t.Errorf("%q: %v", media, v)
		}
	}
	r := httptest.NewRequest("PUT", "https://api.example.com/x", nil)
	r.Header.Set("Origin", "https://api.example.com")
	if v := headerstest.Explain(answering(200, nil), r, true); !v.Allowed || v.Preflight {
		t.Errorf("the same origin: %v", v)
	}
}

// Ours and another implementation, from the outside.
func TestExplainWorksForEveryImplementation(t *testing.T) {
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	ours, err := headers.NewCORS([]string{page}, headers.CORSConfig{Methods: []string{"GET", "PUT"}, Credentials: true})
	if err != nil {
		t.Fatal(err)
	}
	theirs := cors.New(cors.Options{AllowedOrigins: []string{page}, AllowedMethods: []string{"GET", "PUT"}, AllowedHeaders: []string{"Authorization"}, AllowCredentials: true})
	for name, h := range map[string]http.Handler{"headers": ours.Handler(next), "rs/cors": theirs.Handler(next)} {
		for _, tt := range []struct {
			origin, method, header string
			want                   bool
		}{
			{page, "GET", "", true}, {page, "PUT", "", true}, {page, "PUT", "Authorization", true}, {page, "DELETE", "", false},
			{page, "GET", "X-Secret", false}, {"https://b.example", "GET", "", false}, {"null", "PUT", "", false},
		} {
			r := httptest.NewRequest(tt.method, "https://api.example.com/x", nil)
			r.Header.Set("Origin", tt.origin)
			if tt.header != "" {
				r.Header.Set(tt.header, "1")
			}
			if v := headerstest.Explain(h, r, true); v.Allowed != tt.want || strings.Contains(v.String(), "allowed") != tt.want && !strings.Contains(v.Why, "Allow") {
				t.Errorf("%s: %v: %v", name, tt, v)
			}
		}
	}
}
