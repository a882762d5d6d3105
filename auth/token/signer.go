package token

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// A Signer is a private key or a key management system, as a [crypto.Signer] that
// prints as "[redacted]" under every verb of fmt and in every encoder, also in
// unexported fields of other structs.
type Signer struct {
	reveal func() crypto.Signer // fmt prints the address of a func
}

// NewSigner wraps a private key. NewSigner(nil) is the zero Signer.
func NewSigner(private crypto.Signer) Signer {
	if private == nil {
		return Signer{}
	}
	if wrapped, ok := private.(Signer); ok {
		return wrapped
	}
	return Signer{func() crypto.Signer { return private }}
}

// Unwrap returns the argument of [NewSigner], nil for the zero Signer.
func (s Signer) Unwrap() crypto.Signer {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// IsZero reports whether s has no key.
func (s Signer) IsZero() bool { return s.reveal == nil }

// Public returns the public key, nil for the zero Signer.
func (s Signer) Public() crypto.PublicKey {
	if s.reveal == nil {
		return nil
	}
	return s.reveal().Public()
}

// Sign implements [crypto.Signer].
func (s Signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.reveal == nil {
		return nil, errors.New("auth/token: Sign of a zero Signer; use NewSigner")
	}
	return s.reveal().Sign(rand, digest, opts)
}

// String returns "[redacted]".
func (Signer) String() string { return "[redacted]" }

// Format prints what String returns, whatever the verb.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns what String returns.
func (s Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String returns.
func (s Signer) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
