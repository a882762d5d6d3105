package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// jwksMaxAge is how long clients may cache the JWK Set. A key is published for
// longer before it signs; see publishLead.
const jwksMaxAge = 5 * time.Minute

// JWKSHandler returns a public handler that serves the JWK Set of the ring (RFC 7517
// section 5), without HS keys. Clients may cache it for five minutes.
func (ring *Keyring) JWKSHandler() http.Handler {
	cacheControl := fmt.Sprintf("public, max-age=%d", int(jwksMaxAge.Seconds()))
	return guard.Public("public keys")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			guard.Hooks{}.Refuse(w, r, &guard.Denial{Status: http.StatusMethodNotAllowed, Code: guard.CodeInvalidRequest})
			return
		}
		body, err := ring.load().jwks(time.Now())
		if err != nil {
			guard.Hooks{}.Refuse(w, r, err)
			return
		}
		sum := sha256.Sum256(body)
		h := w.Header()
		h.Set("Content-Type", "application/jwk-set+json") // RFC 7517 section 8.5.1
		h.Set("Cache-Control", cacheControl)
		h.Set("Etag", `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
}
