package guard

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
)

// A Secret holds key material and prints as "[redacted]" in fmt, log/slog,
// encoding/json and every encoder that calls MarshalText, also as a field of
// another struct. The zero Secret is empty.
type Secret struct {
	// fmt does not call methods of unexported fields, so bytes in a field
	// would be printed as soon as a Secret is one. Of a func, fmt and every
	// other walk by reflection see the address only.
	reveal func() []byte
}

// NewSecret returns a Secret with a copy of material.
func NewSecret(material []byte) Secret {
	if len(material) == 0 {
		return Secret{}
	}
	kept := bytes.Clone(material)
	return Secret{func() []byte { return kept }}
}

// Bytes returns a copy of the material, nil for the zero Secret.
func (s Secret) Bytes() []byte {
	if s.reveal == nil {
		return nil
	}
	return bytes.Clone(s.reveal())
}

// IsZero reports whether s is empty.
func (s Secret) IsZero() bool { return s.reveal == nil }

// String returns "[redacted]".
func (Secret) String() string { return "[redacted]" }

// Format writes "[redacted]" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns "[redacted]". There is no UnmarshalText, so a redacted Secret
// cannot be read back.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
