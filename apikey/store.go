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

// A KeyStore finds the records of keys, inactive and ended ones too. It is safe
// for concurrent use. IDs are compared byte for byte. The error for a missing key
// is [ErrNotFound]; any other error is answered 503. The returned record belongs
// to the caller.
//
// A store may also be a [HashFinder], [KeyLister], [KeyWriter], [KeyBounder],
// [UsageRecorder] and [NetworkRecorder]. Test it with apikeytest.Run.
type KeyStore interface {
	// KeyByID returns the record with this ID.
	KeyByID(ctx context.Context, id string) (*Record, error)
}

// A HashFinder finds keys of an older scheme by the hash of Config.LegacyHash.
type HashFinder interface {
	// KeyByHash returns the record with this hash and without a PepperID.
	KeyByHash(ctx context.Context, hash Hash) (*Record, error)
}

// A KeyLister lists the keys of an owner.
type KeyLister interface {
	// KeysByOwner returns the records of owner that have not ended, newest first,
	// at most [MaxListed].
	KeysByOwner(ctx context.Context, owner string) ([]Record, error)
}

// MaxListed is the maximum number of records that KeysByOwner returns.
const MaxListed = 1000

// A KeyWriter is a [KeyStore] that can be changed.
type KeyWriter interface {
	KeyStore

	// WriteKeys replaces a record, adds a record, or does both in one atomic
	// step. Either argument may be nil. WriteKeys neither changes nor keeps them.
	//
	// update replaces the record with its ID and Version, except LastUsedAt, and
	// increments Version. Otherwise the error is [ErrConflict], or [ErrNotFound]
	// if the ID does not exist. created is stored with Version 1 and no
	// LastUsedAt. The error is ErrConflict if its ID exists, and [ErrTooMany] at
	// the bound of a [KeyBounder].
	//
	// After nil the write is as durable as the store; after these three errors
	// nothing was written; after any other error the outcome is unknown.
	WriteKeys(ctx context.Context, update, created *Record) error
}

// A KeyBounder is a [KeyWriter] that bounds the keys of an owner that have not
// ended. WriteKeys counts in the atomic step that adds the record, after the
// update of the same call, so a key replaced without an overlap makes room for
// its successor. Created records that have ended, and calls that only update, are
// not refused.
type KeyBounder interface {
	// KeysPerOwner returns the bound, or 0 if there is no bound.
	KeysPerOwner() int
}

// A Use is the last use of a key.
type Use struct {
	ID string
	At time.Time // in whole seconds
}

// A UsageRecorder keeps when keys were last used.
type UsageRecorder interface {
	// RecordUse moves LastUsedAt of each key forward to At, never back, and
	// changes nothing else, not even Version. Missing keys are skipped. Each key
	// occurs once. uses belongs to the caller.
	RecordUse(ctx context.Context, uses []Use) error
}

// A NetworkRecorder keeps from which networks keys were used.
type NetworkRecorder interface {
	// RecordNetwork records network for a key. It returns 0 if network was
	// recorded before or the key is missing, and then writes nothing. Otherwise it
	// returns the number of networks of the key, this one included. Of concurrent
	// calls for one network, by any process, one records it. More than
	// [MaxNetworks] replace those with the oldest at.
	RecordNetwork(ctx context.Context, id string, network netip.Prefix, at time.Time) (networks int, err error)
}

// MaxNetworks is the maximum number of networks that are recorded for a key.
const MaxNetworks = 100
