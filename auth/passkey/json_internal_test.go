package passkey

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
)

// FuzzClientData: what is read, encoding/json and encoding/base64 read alike, so no
// other program takes another origin, challenge or type from the same bytes.
func FuzzClientData(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Registration.ClientDataJSON))
		f.Add([]byte(v.Authentication.ClientDataJSON))
	}
	f.Add([]byte("\ufeff" + `{"type":"webauthn.get","challenge":"AAAA","origin":"https://example.org","crossOrigin":true,"topOrigin":"https://a.example","x":{"origin":[1,null]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parseClientData(raw)
		if err != nil {
			return
		}
		var want struct {
			Type, Challenge, Origin, TopOrigin string
			CrossOrigin                        bool
		}
		if err := json.Unmarshal(bytes.TrimPrefix(raw, []byte("\ufeff")), &want); err != nil {
			t.Fatalf("%q is read, and encoding/json: %v", raw, err)
		}
		challenge, err := base64.RawURLEncoding.Strict().DecodeString(want.Challenge)
		if err != nil || !bytes.Equal(challenge, got.challenge) || want.Type != got.kind || want.Origin != got.origin || want.TopOrigin != got.topOrigin || want.CrossOrigin != got.crossOrigin {
			t.Errorf("%q is read as %+v, and by encoding/json as %+v", raw, got, want)
		}
	})
}

// FuzzResponse: a credential that is read has one spelling of each of its values.
func FuzzResponse(f *testing.F) {
	f.Add(`{"id":"AAAAAAAAAAAAAAAAAAAAAA","rawId":"AAAAAAAAAAAAAAAAAAAAAA","type":"public-key","name":"x","clientExtensionResults":{"credProps":{"rk":true}},` +
		`"response":{"clientDataJSON":"e30","attestationObject":"AA","transports":["usb","x"],"authenticatorData":"AQ","signature":"Ag","userHandle":"Aw"}}`)
	f.Add(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","userHandle":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseResponse(text)
		if err != nil {
			return
		}
		var want struct {
			ID, RawID string
			Response  struct{ ClientDataJSON, AttestationObject, AuthenticatorData, Signature, UserHandle string }
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q is read, and encoding/json: %v", text, err)
		}
		for name, v := range map[string]struct {
			text string
			read []byte
		}{
			"id": {want.ID, got.id}, "rawId": {want.RawID, got.id}, "clientDataJSON": {want.Response.ClientDataJSON, got.clientDataJSON},
			"attestationObject": {want.Response.AttestationObject, got.attestationObject}, "authenticatorData": {want.Response.AuthenticatorData, got.authenticatorData},
			"signature": {want.Response.Signature, got.signature}, "userHandle": {want.Response.UserHandle, got.userHandle},
		} {
			if encode(v.read) != v.text {
				t.Errorf("%s %q is read as %x", name, v.text, v.read)
			}
		}
	})
}
