package passkey

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/gatewright/gatewright/internal/strictjson"
)

const (
	maxResponse   = 16 << 10 // bytes of a credential as JSON
	maxTransports = 16
)

var errResponse = errors.New("malformed credential")

// A response is what PublicKeyCredential.toJSON returns (WebAuthn section 5.1):
// of a registration with attestationObject, of an assertion with
// authenticatorData, signature and userHandle.
type response struct {
	id             []byte
	clientDataJSON []byte

	attestationObject []byte
	transports        []string
	notDiscoverable   bool   // credProps says that rk is false
	name              string // a member of ours: the name of the passkey

	authenticatorData, signature, userHandle []byte
}

// parseResponse reads a credential. Members that it does not know are skipped,
// because clients add some.
func parseResponse(text string) (*response, error) {
	if len(text) > maxResponse {
		return nil, errResponse
	}
	var c response
	var rawID []byte
	var kind string
	err := strictjson.Object(text, []string{"id", "rawId", "type", "response", "clientExtensionResults", "name"}, func(name string, v strictjson.Value) error {
		switch name {
		case "id":
			return base64url(&c.id, v)
		case "rawId":
			return base64url(&rawID, v)
		case "type":
			return stringInto(&kind, v)
		case "name":
			return stringInto(&c.name, v)
		case "response":
			return c.readResponse(v)
		case "clientExtensionResults":
			return c.readExtensions(v)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case kind != "public-key" || len(c.id) == 0 || string(c.id) != string(rawID) || len(c.clientDataJSON) == 0:
		return nil, errResponse
	}
	return &c, nil
}

func (c *response) readResponse(v strictjson.Value) error {
	known := []string{"clientDataJSON", "attestationObject", "transports", "authenticatorData", "signature", "userHandle"}
	return v.Object(known, func(name string, v strictjson.Value) error {
		switch name {
		case "clientDataJSON":
			return base64url(&c.clientDataJSON, v)
		case "attestationObject":
			return base64url(&c.attestationObject, v)
		case "authenticatorData":
			return base64url(&c.authenticatorData, v)
		case "signature":
			return base64url(&c.signature, v)
		case "userHandle":
			if v.Null() {
				return nil
			}
			return base64url(&c.userHandle, v)
		case "transports":
			return v.Array(func(v strictjson.Value) error {
				var t string
				if err := stringInto(&t, v); err != nil || len(c.transports) == maxTransports {
					return errResponse
				}
				if isTransport(t) { // others are skipped, as those unknown are
					c.transports = append(c.transports, t)
				}
				return nil
			})
		}
		return nil
	})
}

// readExtensions reads the output of the extension credProps (WebAuthn section
// 10.1.3).
func (c *response) readExtensions(v strictjson.Value) error {
	return v.Object([]string{"credProps"}, func(_ string, v strictjson.Value) error {
		return v.Object([]string{"rk"}, func(_ string, v strictjson.Value) error {
			discoverable, ok := v.Bool()
			if !ok {
				return errResponse
			}
			c.notDiscoverable = !discoverable
			return nil
		})
	})
}

func stringInto(to *string, v strictjson.Value) error {
	s, ok := v.Text()
	if !ok {
		return errResponse
	}
	*to = s
	return nil
}

// base64url decodes the one spelling of base64url without padding (RFC 4648
// section 5).
func base64url(to *[]byte, v strictjson.Value) error {
	s, ok := v.Text()
	if !ok || hasLineBreak(s) {
		return errResponse
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return errResponse
	}
	*to = b
	return nil
}

// hasLineBreak reports whether s has one, which decoders of base64 would skip.
func hasLineBreak(s string) bool {
	return strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0
}

// clientData is the part of CollectedClientData that is checked (WebAuthn section
// 5.8.1).
type clientData struct {
	kind, origin, topOrigin string
	challenge               []byte
	crossOrigin             bool
}

func parseClientData(raw []byte) (clientData, error) {
	var c clientData
	text := strings.TrimPrefix(string(raw), "\ufeff") // as "UTF-8 decode" does
	err := strictjson.Object(text, []string{"type", "challenge", "origin", "crossOrigin", "topOrigin"}, func(name string, v strictjson.Value) error {
		switch name {
		case "type":
			return stringInto(&c.kind, v)
		case "challenge":
			return base64url(&c.challenge, v)
		case "origin":
			return stringInto(&c.origin, v)
		case "topOrigin":
			return stringInto(&c.topOrigin, v)
		case "crossOrigin":
			var ok bool
			if c.crossOrigin, ok = v.Bool(); !ok {
				return errResponse
			}
		}
		return nil
	})
	return c, err
}
