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

	// Key is the hash of the secret of a link, or the keyed hash of a code.
	Key [32]byte

	// ID identifies the ticket of a code. It is empty for links.
	ID string

	// Browser is the hash of the cookie or session that must use the ticket, or
	// zero.
	Browser [32]byte

	// State is a hash of the user's password hash, address, tenant and
	// disabled flag. For UndoEmail it depends on whether the address was
	// verified.
	State [32]byte

	// Subject and Tenant are the user's, Email is the address of the message.
	Subject, Tenant, Email string

	// Data belongs to the host, at most 1 KiB.
	Data []byte

	Created, Expires time.Time // kept to the microsecond
}

// Format prints purpose, subject and expiry of t.
func (t Ticket) Format(f fmt.State, _ rune) { io.WriteString(f, t.text()) }

func (t Ticket) text() string {
	return fmt.Sprintf("ticket %s for %q until %s", t.Purpose, t.Subject, t.Expires.UTC().Format(time.RFC3339))
}

// LogValue returns what Format prints.
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.text()) }

// ErrNotFound is the error of [Store] for an unknown ticket. Every other error is
// answered 503.
var ErrNotFound = errors.New("ticket: no such ticket")

// A Use is an attempt to use a ticket.
type Use struct {
	Purpose Purpose
	Key     [32]byte
	ID      string // of a code; empty for links
	Browser [32]byte
	Now     time.Time

	// MaxTries limits the tries of a code, MaxWrong the wrong codes of the
	// subject since WrongSince.
	MaxTries, MaxWrong int
	WrongSince         time.Time
}

// Which selects the tickets that match every field that is set, at least Subject or
// Email.
type Which struct {
	Subject, Tenant, Email string
	Purpose                Purpose
	Except                 Purpose   // is not selected
	After                  time.Time // created after it
}

// A Store keeps tickets. Each method is one atomic step, and safe for concurrent use by
// several processes. An empty Tenant is a tenant like any other. tickettest.Run is the
// conformance suite.
type Store interface {
	// IssueTicket adds t and removes the ticket with the same Purpose, Subject
	// and Tenant, and, if Subject is empty or Purpose is UndoEmail, the same
	// Email.
	IssueTicket(ctx context.Context, t Ticket) error

	// FindTicket returns the ticket with the Purpose of u and its ID, or its
	// Key if the ID is empty, that expires after Now. Otherwise it returns
	// ErrNotFound.
	FindTicket(ctx context.Context, u Use) (Ticket, error)

	// UseTicket removes the ticket of u and reports whether it did.
	//
	// A link passes if Purpose, Key and Browser are equal and Now is before
	// Expires.
	//
	// A code is looked up by ID. If Browser is equal, Now is before Expires,
	// and neither MaxTries nor MaxWrong is reached, UseTicket counts a try and
	// compares Key, and counts a wrong code of the subject if Key is wrong.
	UseTicket(ctx context.Context, u Use) (used bool, err error)

	// WrongCodes returns the number of wrong codes of the subject since then.
	WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (int, error)

	// EndTickets removes the tickets that which selects, or returns an error if
	// Subject and Email are both empty.
	EndTickets(ctx context.Context, which Which) error
}
