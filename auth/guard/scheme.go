package guard

import (
	"context"
	"net/http"
	"strings"
)

type schemeKey struct{}

// WithScheme returns a context that records the scheme of the client's request:
// "https" in any case, otherwise "http". Call it only after the proxy was
// verified: the scheme decides whether cookies are Secure and whether HSTS is
// sent.
func WithScheme(ctx context.Context, scheme string) context.Context {
	settled := "http"
	if strings.EqualFold(scheme, "https") {
		settled = "https"
	}
	return context.WithValue(ctx, schemeKey{}, settled)
}

// Scheme returns "https" or "http": the scheme set by [WithScheme], or the scheme
// of the connection itself. It reads no header.
func Scheme(r *http.Request) string {
	if s, ok := r.Context().Value(schemeKey{}).(string); ok {
		return s
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
