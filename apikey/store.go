package apikey

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// ErrNotFound is what stores return for a key that does not exist, [ErrConflict]
// for a write that came too late, and [ErrTooMany] for one key too many: see
// [KeyBounder]. They may wrap them.
var (
	ErrNotFound = guard.NewReason("apikey: not found")
	ErrConflict = errors.New("apikey: the key was changed in the meantime")
	ErrTooMany  = errors.New("apikey: the owner has as many keys as one may have")
)

// A KeyStore knows the records of keys. It is safe for concurrent use.
//
// Methods that look for a key return [ErrNotFound] if there is none; any other
// error means that it could not be found out, and is answered 503. Keys that
// are inactive, expired or revoked are returned like others. Identifiers are
// compared byte for byte. The record that is returned is the caller's.
//
// A store may also be a [HashFinder], [KeyLister], [KeyWriter], [KeyBounder] and
// [UsageRecorder]. apikeytest.Run is the conformance suite for all of them.
type KeyStore interface {
	// KeyByID returns the record with this ID.
	KeyByID(ctx context.Context, id string) (*Record, error)
}

// A HashFinder is a [KeyStore] that can find the keys of an older scheme, which
// have no ID, by the hash that Config.LegacyHash makes of them.
type HashFinder interface {
	// KeyByHash returns the record with this hash and without a PepperID.
	KeyByHash(ctx context.Context, hash Hash) (*Record, error)
}

// A KeyLister is a [KeyStore] that can list the keys of somebody.
type KeyLister interface {
	// KeysByOwner returns the records whose Owner is owner and that have not
	// ended (see [Record.Ended]), those made last first, and at most 1000 of
	// them. Ended ones are left out before that is counted: however many
	// there are, they hide no key that is good.
	KeysByOwner(ctx context.Context, owner string) ([]Record, error)
}

// MaxListed is how many records KeysByOwner returns at most.
const MaxListed = 1000

// A KeyWriter is a [KeyStore] that can be changed.
type KeyWriter interface {
	KeyStore

	// WriteKeys replaces a record, or adds one, or does both in one atomic
	// step: either both happen or nothing does. Either may be nil.
	//
	// update replaces the record of its ID if that still has update's
	// Version, and is stored with the next one: of several at once that have
	// read the same version, one succeeds. Otherwise the error is
	// [ErrConflict], or [ErrNotFound] if there is no such record. LastUsedAt
	// stays as it is.
	//
	// created is stored with Version 1 and no LastUsedAt. If its ID exists,
	// the error is ErrConflict. If it were one too many for its owner, it is
	// [ErrTooMany], of stores that have such a bound: see [KeyBounder].
	//
	// When it returns nil, what was written is durable as far as the store
	// is. On one of the three errors nothing was written, on another one it
	// is not known what happened. It neither changes nor keeps the records.
	WriteKeys(ctx context.Context, update, created *Record) error
}

// A KeyBounder is a [KeyWriter] that bounds how many keys an owner may have
// that have not ended: see [Record.Ended]. WriteKeys counts in the step that
// adds the record, so that writes at once cannot get past the bound together,
// and after the update of the same call: a key that is replaced without an
// overlap makes room for its successor. A created record that has ended is not
// counted, and a call that only updates is not refused.
type KeyBounder interface {
	// KeysPerOwner returns the bound, 0 if there is none.
	KeysPerOwner() int
}

// A Use says when a key was last used.
type Use struct {
	ID string
	At time.Time // in whole seconds
}

// A UsageRecorder is a [KeyStore] that keeps when keys were last used.
type UsageRecorder interface {
	// RecordUse moves LastUsedAt of each key forward to At, never back, and
	// leaves all else as it is, the Version too. A key that does not exist
	// is skipped. Each key is there once, and the slice is the caller's.
	RecordUse(ctx context.Context, uses []Use) error
}
