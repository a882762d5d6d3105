package apikey

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret is an API key in plain text. It prints as its public part,
// acme_live_4kT9xQ2mWb7Z_[redacted], under every verb of fmt, in slog and in
// encoding/json, also as a field of other structs, so that a log of something
// that has a Secret somewhere inside does not give it away. [Secret.Plain] is
// the only way to the text.
type Secret struct {
	// A function, since fmt calls no methods of unexported fields of other
	// structs, and follows a pointer there under the wrong verb.
	reveal func() (plain, shown string)
}

func newSecret(plain, shown string) Secret {
	return Secret{func() (string, string) { return plain, shown }}
}

const redacted = "[redacted]"

// NewSecret returns the Secret of a key that the host has from elsewhere, for
// [NewStatic]. Nothing of it is shown.
func NewSecret(plain string) Secret { return newSecret(plain, redacted) }

// Plain returns the key itself, which is shown to its owner once and kept
// nowhere. It is empty for the zero Secret.
func (s Secret) Plain() string {
	if s.reveal == nil {
		return ""
	}
	plain, _ := s.reveal()
	return plain
}

// String returns what may be shown of the key.
func (s Secret) String() string {
	if s.reveal == nil {
		return redacted
	}
	_, shown := s.reveal()
	return shown
}

// Format prints String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for encoding/json and others: a response that shall
// carry the key takes [Secret.Plain].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
