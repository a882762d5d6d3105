package totp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Record is the entry of one user in a [Store]. Secrets are sealed. Times are in
// whole microseconds, or zero.
type Record struct {
	// Version counts the changes of the record. If zero, there is no record.
	Version int64

	// Active is the sealed secret of the factor. If empty, there is no factor.
	Active []byte

	// Pending is the sealed secret of an enrolment until PendingUntil. If
	// empty, there is no enrolment.
	Pending      []byte
	PendingUntil time.Time

	// Step is the time step of the last used code; codes up to it are refused.
	Step int64

	Recovery []RecoveryHash // of the unused recovery codes
	Guesses  Guesses
}

// Format prints no secret and no hash, except for unexported fields of other structs.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "totp.Record(version %d, active %t, pending %t, %d recovery codes)",
		r.Version, len(r.Active) > 0, len(r.Pending) > 0, len(r.Recovery))
}

// LogValue returns what Format prints.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Guesses counts wrong codes, recovery codes and proofs of a user.
type Guesses struct {
	// Failures is the number of wrong attempts since the last right code.
	Failures int

	// Retry is when the next attempt is accepted. Forgiven is when wrong
	// attempts no longer count towards the waits.
	Retry, Forgiven time.Time
}

// A RecoveryHash is the SHA-256 hash of a recovery code and its user.
type RecoveryHash [32]byte

// A Store keeps a [Record] for each user. It is safe for concurrent use, also by
// several processes. Errors are answered 503. User names have 1 to 255 bytes of UTF-8
// without NUL and are compared byte for byte. totptest.Run tests a Store.
type Store interface {
	// LoadTOTP returns the record of the user, or the zero Record. The record
	// shares no memory with the store, and includes each save that returned
	// before the call.
	LoadTOTP(ctx context.Context, user string) (Record, error)

	// SaveTOTP atomically replaces the record of the user by r, with version
	// r.Version+1, if the stored version is r.Version, and reports whether it
	// did. It keeps no memory of r. After an error the record may have been
	// replaced.
	SaveTOTP(ctx context.Context, user string, r Record) (saved bool, err error)
}

// ErrFull is returned by a full store, which evicts no factor.
var ErrFull = errors.New("totp: the store is full")
