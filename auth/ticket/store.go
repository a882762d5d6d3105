package ticket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// A Purpose is the use of a ticket.
type Purpose string

// The purposes of tickets.
const (
	ResetPassword Purpose = "reset-password" // choose a new password
	VerifyEmail   Purpose = "verify-email"   // confirm the address of an account
	ChangeEmail   Purpose = "change-email"   // confirm a new address
	UndoEmail     Purpose = "undo-email"     // take a change of address back
	SignInLink    Purpose = "sign-in-link"   // sign in by a mailed link
	SignInCode    Purpose = "sign-in-code"   // sign in by a mailed code
	Invitation    Purpose = "invitation"     // make an account
)

// A Ticket is the record of a single-use secret. It holds hashes only.
type Ticket struct {
	Purpose Purpose

	Key     [32]byte // hash of the secret of a link, or keyed hash of a code
	ID      string   // of the ticket of a code; empty for links
	Browser [32]byte // hash of the cookie or session that must use the ticket, or zero

	// State is a hash of the user's password hash, address, tenant and disabled
	// flag. For UndoEmail it records whether the address was verified.
	State [32]byte

	Subject, Tenant string
	Email           string // where the message is sent

	Data []byte // of the host, at most 1 KiB

	Created, Expires time.Time // to the microsecond
}

// Format prints purpose, subject and expiry of t.
func (t Ticket) Format(f fmt.State, _ rune) { io.WriteString(f, t.text()) }

func (t Ticket) text() string {
	return fmt.Sprintf("ticket %s for %q until %s", t.Purpose, t.Subject, t.Expires.UTC().Format(time.RFC3339))
}

// LogValue returns what Format prints.
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.text()) }

// ErrNotFound is the error of a [Store] for an unknown ticket. Other errors are
// answered 503.
var ErrNotFound = errors.New("ticket: no such ticket")

// A Use is an attempt to use a ticket.
type Use struct {
	Purpose Purpose
	Key     [32]byte
	ID      string // of a code; empty for links
	Browser [32]byte
	Now     time.Time

	// MaxTries bounds the tries of a code, and MaxWrong the wrong codes of the
	// subject since WrongSince.
	MaxTries, MaxWrong int
	WrongSince         time.Time
}

// Which selects the tickets that match every field that is set. Subject or Email is
// required.
type Which struct {
	Subject, Tenant, Email string
	Purpose                Purpose
	Except                 Purpose   // is not selected
	After                  time.Time // created after it
}

// A Store keeps tickets. Methods are atomic and safe for concurrent use by several
// processes. An empty Tenant is a tenant like any other. Test it with
// tickettest.Run.
type Store interface {
	// IssueTicket adds t and removes the ticket with the same Purpose, Subject,
	// Tenant, and, if Subject is empty or Purpose is UndoEmail, Email.
	IssueTicket(ctx context.Context, t Ticket) error

	// FindTicket returns the ticket with the Purpose and ID of u, or with its Key
	// if ID is empty, if it expires after Now. Otherwise it returns ErrNotFound.
	FindTicket(ctx context.Context, u Use) (Ticket, error)

	// UseTicket removes the ticket of u and reports whether it did. A link passes
	// if Purpose, Key and Browser are equal and Now is before Expires.
	//
	// A code is looked up by ID. If Purpose and Browser are equal, Now is before
	// Expires, and neither MaxTries nor MaxWrong is reached, UseTicket counts a
	// try. It passes if Key is equal; otherwise the subject has one more wrong
	// code.
	UseTicket(ctx context.Context, u Use) (used bool, err error)

	// WrongCodes returns the subject's number of wrong codes since then.
	WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (int, error)

	// EndTickets removes the tickets that which selects. Without Subject and Email
	// it returns an error.
	EndTickets(ctx context.Context, which Which) error
}
