package passkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// A Passkey is the public key credential of a subject. It holds no secret: the
// private key never leaves the authenticator.
type Passkey struct {
	// Record is the public key with the flags and transports of the
	// registration, in the format of c2sp.org/passkey-record. It never
	// changes.
	Record string

	// Subject is the ID of the user that the passkey signs in.
	Subject string

	// ID is the credential ID, 16 to 1023 bytes, unique in the store.
	ID []byte

	// Handle is the user handle, 64 random bytes that authenticators keep.
	Handle []byte

	// Session is the session in which the passkey was registered: the passkey
	// does not raise this session.
	Session string

	// Name is what the user calls the passkey, at most 64 bytes.
	Name string

	// SignCount is the highest signature counter seen; most passkeys always
	// send zero. BackedUp is the backup state at the last use.
	SignCount uint32
	BackedUp  bool

	Created, Used time.Time // kept to the microsecond; Used is zero before the first use
}

// Format prints p without the Record and the Handle, which are long.
func (p Passkey) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// String returns the subject, the ID and the name of p.
func (p Passkey) String() string { return fmt.Sprintf("passkey %x %q of %q", p.ID, p.Name, p.Subject) }

// LogValue returns the text of String.
func (p Passkey) LogValue() slog.Value { return slog.StringValue(p.String()) }

// A Use is what the store records of a successful assertion.
type Use struct {
	ID        []byte
	SignCount uint32
	BackedUp  bool
	At        time.Time
}

// Errors of a [Store]. Every other error means that the store failed, and is
// answered 503.
var (
	ErrNotFound = errors.New("passkey: no such passkey")
	ErrExists   = errors.New("passkey: the credential ID is registered already")
	ErrTooMany  = errors.New("passkey: the subject has as many passkeys as are allowed")
	ErrLast     = errors.New("passkey: the last passkey of the subject cannot be removed")
	ErrFull     = errors.New("passkey: the store is full")
)

// A Store keeps passkeys. Each method is one atomic step. A Store is safe for
// concurrent use, by several processes if the host runs several.
//
// passkeytest.Run is the conformance suite.
type Store interface {
	// AddPasskey adds p. It returns ErrExists if any subject has a passkey
	// with this ID, and ErrTooMany if the subject has max passkeys.
	AddPasskey(ctx context.Context, p Passkey, max int) error

	// Passkeys returns the passkeys of a subject, the oldest first.
	Passkeys(ctx context.Context, subject string) ([]Passkey, error)

	// PasskeyByID returns the passkey with the ID, or ErrNotFound.
	PasskeyByID(ctx context.Context, id []byte) (Passkey, error)

	// UsePasskey records a use: the later of the two times, the higher of
	// the two counters, and the backup state of the later use. It returns
	// the passkey as it was before, or ErrNotFound if it was removed.
	UsePasskey(ctx context.Context, u Use) (previous Passkey, err error)

	// RenamePasskey sets the name of the subject's passkey. It returns
	// ErrNotFound if the subject has no passkey with this ID.
	RenamePasskey(ctx context.Context, subject string, id []byte, name string) error

	// RemovePasskey removes the subject's passkey. It returns ErrNotFound if
	// the subject has no passkey with this ID, and, if keepLast is set,
	// ErrLast if it is the only one.
	RemovePasskey(ctx context.Context, subject string, id []byte, keepLast bool) error
}
