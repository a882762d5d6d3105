package apikey

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Errors of stores, which may wrap them.
var (
	ErrNotFound = guard.NewReason("apikey: not found")
	ErrConflict = errors.New("apikey: the key was changed in the meantime")
	ErrTooMany  = errors.New("apikey: the owner has as many keys as one may have")
)

// A KeyStore finds the records of keys, also of inactive and ended ones. It is safe
// for concurrent use. IDs are compared byte for byte. A missing key is
// [ErrNotFound]; other errors are answered 503. The record belongs to the caller.
//
// A store may also be a [HashFinder], [KeyLister], [KeyWriter], [KeyBounder],
// [UsageRecorder] and [NetworkRecorder]. Test it with apikeytest.Run.
type KeyStore interface {
	// KeyByID returns the record with this ID.
	KeyByID(ctx context.Context, id string) (*Record, error)
}

// A HashFinder finds keys by their Config.LegacyHash.
type HashFinder interface {
	// KeyByHash returns the record with this hash and no PepperID.
	KeyByHash(ctx context.Context, hash Hash) (*Record, error)
}

// A KeyLister lists the keys of an owner.
type KeyLister interface {
	// KeysByOwner returns records that have not ended, newest first, at most
	// [MaxListed].
	KeysByOwner(ctx context.Context, owner string) ([]Record, error)
}

// MaxListed bounds the result of KeysByOwner.
const MaxListed = 1000

// A KeyWriter is a [KeyStore] that can be changed.
type KeyWriter interface {
	KeyStore

	// WriteKeys updates a record, adds a record, or does both in one atomic step.
	// Either argument may be nil. WriteKeys neither changes nor keeps them.
	//
	// update replaces the record with its ID and Version, except LastUsedAt, and
	// increments Version. Otherwise the error is [ErrConflict], or [ErrNotFound] if
	// the ID does not exist. created is stored with Version 1 and no LastUsedAt.
	// The error is ErrConflict if its ID exists, and [ErrTooMany] at the bound of a
	// [KeyBounder].
	//
	// After nil the write is as durable as the store; after these errors nothing
	// was written; after another error the outcome is unknown.
	WriteKeys(ctx context.Context, update, created *Record) error
}

// A KeyBounder is a [KeyWriter] that bounds the keys of an owner that have not
// ended. WriteKeys counts in the same atomic step, after the update: a key replaced
// without an overlap makes room for its successor. Updates alone, and created
// records that have ended, are not refused.
type KeyBounder interface {
	// KeysPerOwner returns the bound, or 0 without one.
	KeysPerOwner() int
}

// A Use is the last use of a key.
type Use struct {
	ID string
	At time.Time // in whole seconds
}

// A UsageRecorder records when keys were last used.
type UsageRecorder interface {
	// RecordUse moves LastUsedAt of each key forward to At, never back, and changes
	// nothing else, not even Version. It skips missing keys. Each key occurs once.
	// uses belongs to the caller.
	RecordUse(ctx context.Context, uses []Use) error
}

// A NetworkRecorder records the networks from which keys were used.
type NetworkRecorder interface {
	// RecordNetwork records network for a key, and returns the number of networks
	// of the key. It returns 0 and writes nothing if network was recorded before or
	// the key is missing. Of concurrent calls for one network, by any process, one
	// records it. Beyond [MaxNetworks], the network with the oldest at is replaced.
	RecordNetwork(ctx context.Context, id string, network netip.Prefix, at time.Time) (networks int, err error)
}

// MaxNetworks bounds the recorded networks of a key.
const MaxNetworks = 100
