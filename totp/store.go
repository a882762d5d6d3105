package totp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Record is what a [Store] keeps of one user. It holds no secret in clear. Times
// have whole microseconds; zero times stay zero.
type Record struct {
	// Version counts the changes of the record; zero: there is no record.
	Version int64

	// Active is the sealed secret of the factor, empty without one.
	Active []byte

	// Pending is the sealed secret of an enrolment that can be confirmed until
	// PendingUntil, empty without one.
	Pending      []byte
	PendingUntil time.Time

	// Step is the last time step of which a code was used. Codes of this and of
	// earlier steps are refused.
	Step int64

	// Recovery has the hashes of the unused recovery codes.
	Recovery []RecoveryHash

	// Guesses counts wrong attempts.
	Guesses Guesses
}

// Format prints the version and the number of recovery codes, and no secret and no
// hash. fmt does not call it for a Record in an unexported field.
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

	// Retry is when the next attempt is accepted, Forgiven when no wrong attempt
	// counts towards the waits any more.
	Retry, Forgiven time.Time
}

// A RecoveryHash is the SHA-256 hash of a recovery code and its user.
type RecoveryHash [32]byte

// A Store keeps a [Record] for each user. It is safe for concurrent use, by several
// processes if the host has several. An error is answered 503. User names have 1 to
// 255 bytes of UTF-8 without NUL and are compared byte for byte. totptest.Run is
// the conformance suite.
type Store interface {
	// LoadTOTP returns the record of the user, the zero Record if there is none. It
	// shares no memory with the store, and is at least as new as the last save that
	// returned before the call.
	LoadTOTP(ctx context.Context, user string) (Record, error)

	// SaveTOTP replaces the record of the user by r, with version r.Version+1, if
	// the stored version is r.Version, and reports whether it did. It is one atomic
	// step: of any number of saves on one version, one succeeds. It keeps no memory
	// of r. After an error the record may have been replaced.
	SaveTOTP(ctx context.Context, user string, r Record) (saved bool, err error)
}

// ErrFull is returned by a store of bounded size, which never evicts a factor.
var ErrFull = errors.New("totp: the store is full")
