package auth

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/internal/body"
)

// anyForm lets a handler that reads application/x-www-form-urlencoded take the
// member code as the handlers of package totp do: in a JSON object or in
// multipart/form-data too. It is for endpoints that no RFC defines.
func (s *Server) anyForm(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.Method != http.MethodPost || media != "application/json" && media != "multipart/form-data" {
			next.ServeHTTP(w, r)
			return
		}
		members, err := body.Members(w, r, maxForm, "code")
		if err != nil {
			s.hooks.Refuse(w, r, err)
			return
		}
		f := make(url.Values)
		for name, value := range members {
			f.Set(name, value)
		}
		encoded := f.Encode()
		r = r.Clone(r.Context())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(encoded)), int64(len(encoded))
		next.ServeHTTP(w, r)
	})
}
