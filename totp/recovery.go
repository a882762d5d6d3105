package totp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

const (
	recoveryCodes = 10
	recoverySize  = 15 // bytes: 120 bits
	recoveryText  = recoverySize * 8 / 5
	recoveryGroup = 4 // characters between two hyphens
)

// RecoveryCodes are new recovery codes, to be shown to the user once. Only All reveals
// them; fmt, slog and JSON do not.
type RecoveryCodes struct{ show func() []string }

// All returns the codes, each of 24 characters in groups of four. When a code is
// entered, case and hyphens are ignored.
func (c RecoveryCodes) All() []string { return slices.Clone(c.show()) }

// Format writes no code.
func (c RecoveryCodes) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue logs no code.
func (c RecoveryCodes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes no code.
func (c RecoveryCodes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// newRecovery returns new recovery codes of the user and their hashes.
func newRecovery(user string) (*RecoveryCodes, []RecoveryHash) {
	codes := make([]string, recoveryCodes)
	hashes := make([]RecoveryHash, recoveryCodes)
	for i := range codes {
		code := make([]byte, recoverySize)
		rand.Read(code)
		hashes[i] = hashRecovery(user, code)
		groups := slices.Collect(slices.Chunk([]byte(base32Text.EncodeToString(code)), recoveryGroup))
		parts := make([]string, len(groups))
		for j, g := range groups {
			parts[j] = string(g)
		}
		codes[i] = strings.Join(parts, "-")
	}
	return &RecoveryCodes{func() []string { return codes }}, hashes
}

// hashRecovery binds a recovery code to its user. The code has 120 random bits, so a
// plain hash suffices (OWASP ASVS 5.0, 6.5.2).
func hashRecovery(user string, code []byte) RecoveryHash {
	b := []byte("gatewright/totp/recovery\x00")
	b = binary.BigEndian.AppendUint32(b, uint32(len(user)))
	b = append(b, user...)
	return sha256.Sum256(append(b, code...))
}

// hasRecovery reports whether r has a recovery code with that hash.
func (r *Record) hasRecovery(hash RecoveryHash) bool {
	found := 0
	for _, kept := range r.Recovery {
		found |= subtle.ConstantTimeCompare(kept[:], hash[:])
	}
	return found == 1
}

// dropRecovery removes the recovery code with that hash from r.
func (r *Record) dropRecovery(hash RecoveryHash) {
	var left []RecoveryHash
	for _, kept := range r.Recovery {
		if kept != hash {
			left = append(left, kept)
		}
	}
	r.Recovery = left
}
