package guard

import (
	"context"
	"net/http"
	"strings"
)

type schemeKey struct{}

// WithScheme returns a context that says which scheme the client used: "https",
// in any case of letters; everything else counts as "http". Only what has
// verified the proxy in front of the server may call it: whoever settles this
// settles whether cookies are Secure and whether HSTS is sent.
func WithScheme(ctx context.Context, scheme string) context.Context {
	settled := "http"
	if strings.EqualFold(scheme, "https") {
		settled = "https"
	}
	return context.WithValue(ctx, schemeKey{}, settled)
}

// Scheme returns "https" or "http": what [WithScheme] settled, and otherwise
// whether the connection itself is TLS. No header is looked at.
func Scheme(r *http.Request) string {
	if s, ok := r.Context().Value(schemeKey{}).(string); ok {
		return s
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
