package totp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Record is what a [Store] keeps of one user. It holds no secret in clear.
// Times have whole microseconds; those that are zero stay zero.
type Record struct {
	// Version counts the changes of the record. Zero: there is none.
	Version int64

	// Active is the sealed secret of the factor in use. Empty: the user has
	// no second factor.
	Active []byte

	// Pending is the sealed secret of an enrolment that waits for its first
	// code until PendingUntil. Empty: there is none.
	Pending      []byte
	PendingUntil time.Time

	// Step is the last time step whose code was used. Codes of it and of all
	// before are refused.
	Step int64

	// Recovery are the hashes of the recovery codes that were not used yet.
	Recovery []RecoveryHash

	// Guesses is what is held against further attempts.
	Guesses Guesses
}

// Format prints the version and the number of recovery codes, and no secret and
// no hash, whatever the verb. fmt does not call it for a Record in an unexported
// field of another struct.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "totp.Record(version %d, active %t, pending %t, %d recovery codes)",
		r.Version, len(r.Active) > 0, len(r.Pending) > 0, len(r.Recovery))
}

// LogValue returns what Format prints.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Guesses are the wrong codes of a user, of whatever kind.
type Guesses struct {
	// Failures is how many there were since the last right code.
	Failures int

	// Retry is when the next attempt is taken, and Forgiven when none of
	// them counts towards the waits any more.
	Retry, Forgiven time.Time
}

// A RecoveryHash is the SHA-256 hash of a recovery code and its user.
type RecoveryHash [32]byte

// A Store keeps a [Record] for each user. It is safe for concurrent use, by
// several processes if the host has several. An error means that the store did
// not answer, and is answered 503.
//
// Names of users are compared byte for byte. They have 1 to 255 bytes of UTF-8
// without NUL; [Service] sees to that.
//
// totptest.Run is its conformance suite.
type Store interface {
	// LoadTOTP returns the record of the user, the zero Record if there is
	// none. It is the caller's own, and is at least as new as the last save
	// that was reported as done before LoadTOTP was called.
	LoadTOTP(ctx context.Context, user string) (Record, error)

	// SaveTOTP replaces the record of the user by r, with the version
	// r.Version + 1, if the version that is stored still is r.Version, and
	// reports whether it did. It is one atomic step: of any number of saves
	// on one version, one is done. It keeps nothing of r's memory.
	//
	// After an error it is not known whether the record was replaced.
	SaveTOTP(ctx context.Context, user string, r Record) (saved bool, err error)
}

// ErrFull is what a store of bounded size returns instead of forgetting a
// second factor.
var ErrFull = errors.New("totp: the store is full")
