package passkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// A Passkey is a public key of a subject. It holds no secret.
type Passkey struct {
	// Record is the public key with the flags and transports of the
	// registration, in the format of c2sp.org/passkey-record. It never changes.
	Record string

	// Subject is the ID of the user.
	Subject string

	// ID is the credential ID, 16 to 1023 bytes, unique in the store.
	ID []byte

	// Handle is the user handle, 64 random bytes.
	Handle []byte

	// Session is the session that registered the passkey. The passkey does not
	// raise this session.
	Session string

	// Name is chosen by the user, at most 64 bytes.
	Name string

	// SignCount is the highest signature counter seen. BackedUp is the backup
	// state at the last use.
	SignCount uint32
	BackedUp  bool

	Created, Used time.Time // kept to the microsecond; Used is zero before the first use
}

// Format prints the subject, the ID and the name of p.
func (p Passkey) Format(f fmt.State, _ rune) { io.WriteString(f, p.text()) }

func (p Passkey) text() string { return fmt.Sprintf("passkey %x %q of %q", p.ID, p.Name, p.Subject) }

// LogValue returns what Format prints.
func (p Passkey) LogValue() slog.Value { return slog.StringValue(p.text()) }

// A Use is a successful assertion.
type Use struct {
	ID        []byte
	SignCount uint32
	BackedUp  bool
	At        time.Time
}

// Errors of a [Store]. Every other error is answered 503.
var (
	ErrNotFound = errors.New("passkey: no such passkey")
	ErrExists   = errors.New("passkey: the credential ID is registered already")
	ErrTooMany  = errors.New("passkey: the subject has as many passkeys as are allowed")
	ErrLast     = errors.New("passkey: the last passkey of the subject cannot be removed")
)

// A Store keeps passkeys. Each method is one atomic step, and safe for concurrent use
// by several processes. passkeytest.Run is the conformance suite.
type Store interface {
	// AddPasskey adds p. It returns ErrExists if any subject has a passkey
	// with this ID, and ErrTooMany if the subject has max passkeys.
	AddPasskey(ctx context.Context, p Passkey, max int) error

	// Passkeys returns the passkeys of a subject, the oldest first.
	Passkeys(ctx context.Context, subject string) ([]Passkey, error)

	// PasskeyByID returns the passkey with the ID, or ErrNotFound.
	PasskeyByID(ctx context.Context, id []byte) (Passkey, error)

	// UsePasskey records a use: the higher counter, the later time, and the
	// backup state of the later use. It returns the passkey as it was before,
	// or ErrNotFound.
	UsePasskey(ctx context.Context, u Use) (previous Passkey, err error)

	// RenamePasskey sets the name of the subject's passkey. It returns
	// ErrNotFound if the subject has no passkey with this ID.
	RenamePasskey(ctx context.Context, subject string, id []byte, name string) error

	// RemovePasskey removes the subject's passkey. It returns ErrNotFound if
	// the subject has no passkey with this ID, and ErrLast if keepLast is set
	// and it is the only one.
	RemovePasskey(ctx context.Context, subject string, id []byte, keepLast bool) error
}
