package guard_test

import (
	"crypto/tls"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

func TestTheSchemeIsTheConnectionsUnlessSettled(t *testing.T) {
	tests := []struct {
		name    string
		tls     bool
		settled []string // by WithScheme, outermost first
		want    string
	}{
		{"a plain connection is http", false, nil, "http"},
		{"a TLS connection is https", true, nil, "https"},
		{"the proxy's word counts", false, []string{"https"}, "https"},
		{"also when it says http", true, []string{"http"}, "http"},
		{"the last word counts", false, []string{"https", "http"}, "http"},
		{"case does not matter", false, []string{"HTTPS"}, "https"},
		{"anything else is not secure", true, []string{"https, http"}, "http"},
		{"nothing is not secure", true, []string{""}, "http"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := get("/", "X-Forwarded-Proto: https", "Forwarded: proto=https")
			r.URL.Scheme = "https" // an absolute-form request line proves nothing
			if test.tls {
				r.TLS = new(tls.ConnectionState)
			}
			for _, s := range test.settled {
				r = r.WithContext(guard.WithScheme(r.Context(), s))
			}
			if got := guard.Scheme(r); got != test.want {
				t.Errorf("Scheme = %q, want %q", got, test.want)
			}
		})
	}
}
