package passkeytest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// Flags of authenticator data (WebAuthn Level 3 section 6.1).
const (
	UserPresent    = 1 << 0
	UserVerified   = 1 << 2
	BackupEligible = 1 << 3
	BackedUp       = 1 << 4
)

// An Authenticator is a software browser and authenticator for tests of servers.
// Tests may change its fields between calls. It is not safe for concurrent use.
type Authenticator struct {
	Origin    string // of the page
	Flags     byte   // of every response
	SignCount uint32 // of the next response

	ID     []byte // credential ID
	Handle []byte // user handle, set by Create
	Key    crypto.Signer

	// TopOrigin, if not empty, is the origin of the page around the frame.
	TopOrigin string

	// Type, if not empty, replaces the type of the client data.
	Type string
}

// New returns an authenticator with an ES256 key and a present, verified user.
func New(origin string) *Authenticator {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	id := make([]byte, 32)
	rand.Read(id)
	return &Authenticator{Origin: origin, Flags: UserPresent | UserVerified, ID: id, Key: key}
}

var encode = base64.RawURLEncoding.EncodeToString

// Create returns the JSON of a new credential for
// PublicKeyCredentialCreationOptionsJSON.
func (a *Authenticator) Create(options []byte) ([]byte, error) {
	var o struct {
		RP        struct{ ID string }
		User      struct{ ID string }
		Challenge string
	}
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, err
	}
	handle, err := base64.RawURLEncoding.DecodeString(o.User.ID)
	if err != nil || o.Challenge == "" {
		return nil, errors.New("passkeytest: malformed creation options")
	}
	key, err := coseKey(a.Key.Public())
	if err != nil {
		return nil, err
	}
	a.Handle = handle
	data := a.authData(o.RP.ID, a.Flags|1<<6)
	data = append(data, make([]byte, 16)...) // AAGUID
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), key...)
	object := []byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData")
	object = cborBytes(object, data)
	return json.Marshal(map[string]any{
		"id": encode(a.ID), "rawId": encode(a.ID), "type": "public-key", "authenticatorAttachment": "platform",
		"clientExtensionResults": map[string]any{"credProps": map[string]bool{"rk": true}},
		"response": map[string]any{
			"clientDataJSON":    encode(a.clientData("webauthn.create", o.Challenge)),
			"attestationObject": encode(object),
			"transports":        []string{"internal", "hybrid"},
		},
	})
}

// Get returns the JSON of an assertion for PublicKeyCredentialRequestOptionsJSON.
func (a *Authenticator) Get(options []byte) ([]byte, error) {
	var o struct{ RPID, Challenge string }
	if err := json.Unmarshal(options, &o); err != nil || o.Challenge == "" {
		return nil, fmt.Errorf("passkeytest: malformed request options: %w", err)
	}
	data := a.authData(o.RPID, a.Flags)
	client := a.clientData("webauthn.get", o.Challenge)
	hash := sha256.Sum256(client)
	message := append(append([]byte{}, data...), hash[:]...)
	signature, err := a.sign(message)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"id": encode(a.ID), "rawId": encode(a.ID), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON":    encode(client),
			"authenticatorData": encode(data),
			"signature":         encode(signature),
			"userHandle":        encode(a.Handle),
		},
	})
}

func (a *Authenticator) authData(rpID string, flags byte) []byte {
	hash := sha256.Sum256([]byte(rpID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.SignCount)
}

func (a *Authenticator) clientData(kind, challenge string) []byte {
	c := map[string]any{"type": cmp.Or(a.Type, kind), "challenge": challenge, "origin": a.Origin, "crossOrigin": a.TopOrigin != ""}
	if a.TopOrigin != "" {
		c["topOrigin"] = a.TopOrigin
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

func (a *Authenticator) sign(message []byte) ([]byte, error) {
	if _, ok := a.Key.Public().(ed25519.PublicKey); ok {
		return a.Key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return a.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// coseKey returns the COSE_Key of a P-256, Ed25519 or RSA key.
func coseKey(public crypto.PublicKey) ([]byte, error) {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		b := cborBytes([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21}, point[1:33])
		return cborBytes(append(b, 0x22), point[33:]), nil
	case ed25519.PublicKey:
		return cborBytes([]byte{0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21}, key), nil
	case *rsa.PublicKey:
		b := cborBytes([]byte{0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20}, key.N.Bytes())
		return cborBytes(append(b, 0x21), big.NewInt(int64(key.E)).Bytes()), nil
	}
	return nil, fmt.Errorf("passkeytest: no COSE key for a %T", public)
}

// cborBytes appends a byte string.
func cborBytes(b, data []byte) []byte {
	switch n := len(data); {
	case n < 24:
		b = append(b, 0x40|byte(n))
	case n < 1<<8:
		b = append(b, 0x58, byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 0x59), uint16(n))
	}
	return append(b, data...)
}
