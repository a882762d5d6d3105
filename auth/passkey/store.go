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
	// Record is the public key, flags and transports (c2sp.org/passkey-record). It
	// never changes.
	Record string

	Subject string // the ID of the user

	// ID is the credential ID, 16 to 1023 bytes, unique in the store.
	ID []byte

	Handle []byte // the user handle, 64 random bytes

	// Session registered the passkey, which cannot step it up.
	Session string

	Name string // chosen by the user, at most 64 bytes

	SignCount uint32 // the highest signature counter
	BackedUp  bool   // at the last use

	Created, Used time.Time // to the microsecond; Used is zero before the first use
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

// Errors of a [Store]. Other errors are answered 503.
var (
	ErrNotFound = errors.New("passkey: no such passkey")
	ErrExists   = errors.New("passkey: the credential ID is registered already")
	ErrTooMany  = errors.New("passkey: the subject has the maximum number of passkeys")
	ErrLast     = errors.New("passkey: the last passkey of the subject cannot be removed")
)

// A Store keeps passkeys. Methods are atomic and safe for concurrent use by several
// processes. Test it with passkeytest.Run.
type Store interface {
	// AddPasskey adds p. It returns ErrExists if the ID exists, and ErrTooMany if
	// the subject has max passkeys.
	AddPasskey(ctx context.Context, p Passkey, max int) error

	// Passkeys returns the passkeys of a subject, the oldest first.
	Passkeys(ctx context.Context, subject string) ([]Passkey, error)

	// PasskeyByID returns the passkey with the ID, or ErrNotFound.
	PasskeyByID(ctx context.Context, id []byte) (Passkey, error)

	// UsePasskey records the higher counter, the later time, and the backup state
	// of the later use. It returns the passkey before the use, or ErrNotFound.
	UsePasskey(ctx context.Context, u Use) (previous Passkey, err error)

	// RenamePasskey names the subject's passkey, or returns ErrNotFound.
	RenamePasskey(ctx context.Context, subject string, id []byte, name string) error

	// RemovePasskey removes the subject's passkey. It returns ErrNotFound, or
	// ErrLast if keepLast is set and it is the only one.
	RemovePasskey(ctx context.Context, subject string, id []byte, keepLast bool) error
}
