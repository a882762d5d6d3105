package guard

import (
	"context"
	"net/http"
	"strings"
)

type schemeKey struct{}

// WithScheme returns a context that records the scheme of the client's request:
// "https" in any case, otherwise "http". Call it only for a verified proxy: the
// scheme decides whether cookies are Secure and whether HSTS is sent.
func WithScheme(ctx context.Context, scheme string) context.Context {
	settled := schemeHTTP
	if strings.EqualFold(scheme, "https") {
		settled = schemeHTTPS
	}
	return context.WithValue(ctx, schemeKey{}, settled)
}

// The schemes as interface values, which saves an allocation per request.
var schemeHTTP, schemeHTTPS any = "http", "https"

// Scheme returns "https" or "http": the scheme set by [WithScheme], otherwise that
// of the connection. It reads no header.
func Scheme(r *http.Request) string {
	if s, ok := r.Context().Value(schemeKey{}).(string); ok {
		return s
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
