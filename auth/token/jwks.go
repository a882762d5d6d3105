package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// JWKSHandler serves the public keys of the ring as a JWK Set (RFC 7517
// section 5), by custom at /.well-known/jwks.json, so that other services can
// verify the tokens. HS keys are never in it. Clients may keep it for five
// minutes. It is public in the route ledger.
func (ring *Keyring) JWKSHandler() http.Handler {
	sum := sha256.Sum256(ring.jwks)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return guard.Public("public keys")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			guard.Hooks{}.Refuse(w, r, &guard.Denial{Status: http.StatusMethodNotAllowed, Code: guard.CodeInvalidRequest})
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/jwk-set+json") // RFC 7517 section 8.5.2
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(ring.jwks))
	}))
}
