package apikey

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret holds an API key. In fmt and encoders, also within other structs, it
// prints as its public part: acme_live_4kT9xQ2mWb7Z_[redacted].
type Secret struct {
	// A function, since fmt calls no methods of unexported fields of other
	// structs, and follows a pointer there under the wrong verb.
	reveal func() (plain, shown string)
}

func newSecret(plain, shown string) Secret {
	return Secret{func() (string, string) { return plain, shown }}
}

const redacted = "[redacted]"

// NewSecret returns a Secret with the given text, for [NewStatic].
func NewSecret(plain string) Secret { return newSecret(plain, redacted) }

// Plain returns the key. Show it to its owner once and do not store it.
func (s Secret) Plain() string {
	if s.reveal == nil {
		return ""
	}
	plain, _ := s.reveal()
	return plain
}

// String returns the key with its secret part redacted.
func (s Secret) String() string {
	if s.reveal == nil {
		return redacted
	}
	_, shown := s.reveal()
	return shown
}

// Format prints String.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns String. For a response with the key use [Secret.Plain].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
