package passkey

import (
	"encoding/binary"
	"errors"
)

// The flags of authenticator data (WebAuthn section 6.1).
const (
	flagUserPresent    = 1 << 0
	flagUserVerified   = 1 << 2
	flagBackupEligible = 1 << 3
	flagBackedUp       = 1 << 4
	flagCredential     = 1 << 6
	flagExtensions     = 1 << 7
)

const (
	minID, maxID = 16, 1023 // bytes of a credential ID (WebAuthn section 4)

	authDataHeader = 37 // bytes in front of what the flags announce
	cborDepth      = 4  // of keys and extensions
)

var errAuthData = errors.New("malformed authenticator data")

// An authData is parsed authenticator data.
type authData struct {
	rpIDHash  [32]byte
	flags     byte
	signCount uint32

	// With flagCredential only.
	id  []byte
	key publicKey
}

func (d authData) has(flag byte) bool { return d.flags&flag != 0 }

// parseAuthData reads authenticator data (WebAuthn section 6.1). What the flags
// announce must be there, and nothing else.
func parseAuthData(b []byte) (authData, error) {
	if len(b) < authDataHeader {
		return authData{}, errAuthData
	}
	d := authData{rpIDHash: [32]byte(b), flags: b[32], signCount: binary.BigEndian.Uint32(b[33:])}
	rest := b[authDataHeader:]
	if d.has(flagCredential) {
		const beforeID = 16 + 2 // the AAGUID and the length
		if len(rest) < beforeID {
			return authData{}, errAuthData
		}
		size := int(binary.BigEndian.Uint16(rest[16:]))
		if size < minID || size > maxID || len(rest) < beforeID+size {
			return authData{}, errAuthData
		}
		d.id = rest[beforeID : beforeID+size : beforeID+size]
		item, after, err := cborItem(rest[beforeID+size:], cborDepth)
		if err != nil {
			return authData{}, err
		}
		pairs, _ := item.([]cborPair)
		if d.key, err = parseKey(pairs); err != nil {
			return authData{}, err
		}
		rest = after
	}
	if d.has(flagExtensions) {
		item, after, err := cborItem(rest, cborDepth)
		if err != nil {
			return authData{}, err
		}
		if _, ok := item.([]cborPair); !ok {
			return authData{}, errAuthData
		}
		rest = after
	}
	if len(rest) > 0 {
		return authData{}, errAuthData
	}
	if d.has(flagBackedUp) && !d.has(flagBackupEligible) {
		return authData{}, errors.New("the authenticator data says backed up but not eligible for backup")
	}
	return d, nil
}
