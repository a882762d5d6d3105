package ticket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// A Purpose is what a ticket is for. A ticket passes for its own purpose only.
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

// A Ticket is a single-use secret that was sent to an address. The store keeps a
// hash of the secret, so a copy of the database has nothing that can be used.
type Ticket struct {
	Purpose Purpose

	// Key is the hash of the secret of a link, or the keyed hash of a code.
	Key [32]byte

	// ID finds a ticket whose secret is a code. It is empty for links.
	ID string

	// Browser is a hash of what the browser must present that uses the
	// ticket: its cookie, or its session. Zero for tickets that any browser
	// may use.
	Browser [32]byte

	// State is a hash of the user's password hash, address, tenant and
	// disabled flag. A ticket does not pass when one of these has changed.
	State [32]byte

	// Subject and Tenant are the user's, empty for an invitation without
	// tenant. Email is the address that the ticket was sent to.
	Subject, Tenant, Email string

	// Data is the host's, at most 1 KiB.
	Data []byte

	Created, Expires time.Time // kept to the microsecond
}

// Format prints t without its hashes.
func (t Ticket) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// String returns purpose, subject and expiry of t.
func (t Ticket) String() string {
	return fmt.Sprintf("ticket %s for %q until %s", t.Purpose, t.Subject, t.Expires.UTC().Format(time.RFC3339))
}

// LogValue returns the text of String.
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Errors of a [Store]. Every other error means that the store failed, and is
// answered 503.
var (
	ErrNotFound = errors.New("ticket: no such ticket")
	ErrFull     = errors.New("ticket: the store is full")
)

// A Use is an attempt to use a ticket.
type Use struct {
	Purpose Purpose
	Key     [32]byte
	ID      string // of a code; empty for links
	Browser [32]byte
	Now     time.Time

	// MaxTries is how often a code may be tried. MaxWrong is how many codes
	// of the subject may be wrong after WrongSince, over all its tickets.
	MaxTries, MaxWrong int
	WrongSince         time.Time
}

// Which selects the tickets that match every field that is set. At least one of
// Subject and Email must be set.
type Which struct {
	Subject, Tenant, Email string
	Purpose                Purpose
	Except                 Purpose   // not these
	After                  time.Time // created after this moment
}

// A Store keeps tickets. Each method is one atomic step. Strings are compared
// byte for byte, and an empty Tenant is a tenant like any other. A Store is safe
// for concurrent use, by several processes if the host runs several.
//
// tickettest.Run is the conformance suite.
type Store interface {
	// IssueTicket adds t and removes the older ticket of the same Purpose,
	// Subject and Tenant. If Subject is empty or Purpose is UndoEmail, only
	// one of the same Email is removed.
	IssueTicket(ctx context.Context, t Ticket) error

	// FindTicket returns the ticket that u would use, or ErrNotFound. It
	// compares Purpose and Now, and ID if that is set, otherwise Key. It
	// changes nothing.
	FindTicket(ctx context.Context, u Use) (Ticket, error)

	// UseTicket removes the ticket of u and reports whether it did.
	//
	// A link passes if Purpose, Key and Browser are the ticket's and Now is
	// before Expires. With another Browser it stays.
	//
	// A code is looked up by ID. If Browser is the ticket's, Now is before
	// Expires, the ticket has had fewer than MaxTries tries and the subject
	// fewer than MaxWrong wrong ones since WrongSince, a try is counted and
	// Key compared. If Key is wrong the ticket stays and a wrong try of the
	// subject is counted.
	UseTicket(ctx context.Context, u Use) (used bool, err error)

	// WrongCodes returns how many codes of the subject were wrong since the
	// given time.
	WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (int, error)

	// EndTickets removes the tickets that which selects. After it returned
	// nil, no selected ticket passes. It is an error if both Subject and Email are
	// empty.
	EndTickets(ctx context.Context, which Which) error
}
