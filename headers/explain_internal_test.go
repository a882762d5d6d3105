package headers

import (
	"fmt"
	"net/http"
	"testing"
)

// The browser's part of Explain, with headers that this package never sends:
// the cases are those of the Fetch Standard, "CORS check" and "CORS-preflight
// fetch".
func TestBrowse(t *testing.T) {
	const o, a, c, m, h = "https://a.com", hAllowOrigin, hAllowCreds, hAllowMethods, hAllowHeaders
	for i, tt := range []struct {
		method, names string // of a preflight; empty: an actual request
		header        http.Header
		allowed, cred bool
	}{
		{"", "", http.Header{}, false, false},
		{"", "", http.Header{a: {o}}, true, false},
		{"", "", http.Header{a: {o}, c: {"true"}}, true, true},
		{"", "", http.Header{a: {o}, c: {"TRUE"}}, true, false},
		{"", "", http.Header{a: {"*"}}, true, false},
		{"", "", http.Header{a: {"*"}, c: {"true"}}, true, false},
		{"", "", http.Header{a: {"https://b.com"}, c: {"true"}}, false, false},
		{"", "", http.Header{a: {"https://A.com"}}, false, false},
		{"", "", http.Header{a: {o, o}}, false, false},
		{"", "", http.Header{a: {o + ", " + o}}, false, false},
		{"GET", "", http.Header{a: {o}}, true, false},
		{"PUT", "", http.Header{a: {o}}, false, false},
		{"PUT", "", http.Header{a: {o}, m: {"GET, PUT"}}, true, false},
		{"put", "", http.Header{a: {o}, m: {"PUT"}}, false, false},
		{"PUT", "", http.Header{a: {o}, m: {"*"}}, true, false},
		{"PUT", "", http.Header{a: {o}, c: {"true"}, m: {"*"}}, true, false},
		{"PUT", "", http.Header{a: {o}, c: {"true"}, m: {"PUT"}}, true, true},
		{"GET", "x-a,x-b", http.Header{a: {o}}, false, false},
		{"GET", "x-a,x-b", http.Header{a: {o}, h: {"X-A"}}, false, false},
		{"GET", "x-a,x-b", http.Header{a: {o}, h: {"X-A", "x-B"}}, true, false},
		{"GET", "x-a", http.Header{a: {o}, c: {"true"}, h: {"*"}}, true, false},
		{"GET", "x-a", http.Header{a: {o}, c: {"true"}, h: {"x-a"}}, true, true},
		{"GET", "x-a", http.Header{a: {"https://b.com"}, h: {"x-a"}}, false, false},
	} {
		t.Run(fmt.Sprint(i, " ", tt.method, " ", tt.header), func(t *testing.T) {
			v := Verdict{Kind: KindActual, Header: tt.header}
			r := &http.Request{Header: http.Header{"Origin": {o}}}
			if tt.method != "" {
				v.Kind = KindPreflight
				r.Header[hRequestMethod] = []string{tt.method}
				r.Header[hRequestHeader] = []string{tt.names}
			}
			if v.browse(r); v.Allowed != tt.allowed || v.Credentials != tt.cred {
				t.Errorf("got %t, %t, want %t, %t", v.Allowed, v.Credentials, tt.allowed, tt.cred)
			}
		})
	}
}
