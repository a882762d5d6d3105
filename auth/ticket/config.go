package ticket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A User is what a [Service] reads of the host's user.
type User struct {
	Subject      string // the ID of package auth's User
	Tenant       string
	Email        string // as stored; tickets are sent to it and to no other spelling
	Verified     bool   // Email was proven to be the user's
	PasswordHash string // empty if the user has none
	Disabled     bool
}

// Format prints u without the password hash.
func (u User) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "user %q", u.Subject) }

// LogValue returns what Format prints.
func (u User) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(u)) }

// Errors that [Users] returns. Every other error is answered 503.
var (
	ErrNoUser  = errors.New("ticket: no such user")
	ErrChanged = errors.New("ticket: the user has changed meanwhile")
	ErrTaken   = errors.New("ticket: the address belongs to another user")
)

// Users is the host's table of users. It is safe for concurrent use.
type Users interface {
	// UserByEmail returns the user with the address, or ErrNoUser. The host
	// decides which spellings are one address; the ticket is sent to the
	// Email of the User that is returned.
	UserByEmail(ctx context.Context, email string) (*User, error)

	// UserBySubject returns the user with the ID, or ErrNoUser.
	UserBySubject(ctx context.Context, subject string) (*User, error)

	// SetPassword hashes and stores a new password if the stored hash is
	// still oldHash, in one step; otherwise it returns ErrChanged.
	SetPassword(ctx context.Context, subject, oldHash, password string) error

	// SetEmail stores the address and that it is verified, if the stored
	// address is still old, in one step; otherwise it returns ErrChanged. It
	// returns ErrTaken if another user has the address.
	SetEmail(ctx context.Context, subject, old, email string) error
}

// A Message is to be sent to an address.
type Message struct {
	Purpose         Purpose
	To              string
	Subject, Tenant string // the user's; not to be shown to the recipient

	// Link or Code is the secret; a notice has neither. Expires is when the
	// secret does.
	Link, Code guard.Secret
	Expires    time.Time

	// Notice says what happened, if the message has no secret: "password
	// reset", "address changed".
	Notice string

	// Data is that of the ticket.
	Data []byte
}

// LogValue returns the purpose and the user.
func (m Message) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(m)) }

// Format prints m without its secrets.
func (m Message) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "message %s for %q", m.Purpose, m.Subject)
}

// Config configures a [Service]. Base, Keys, Deliver, Limit, CheckPassword and
// EndSessions are required.
type Config struct {
	// Base is the URL that the paths of links are appended to, such as
	// "https://example.com/account/": a reset link is
	// Base + "reset-password#" + secret. The Host header of a request never
	// is part of a link. Required.
	Base string

	// Keys are secrets of at least 32 random bytes. The first makes the
	// keyed hashes of codes; tickets made with the others still pass. All
	// processes need the same. Required.
	Keys []guard.Secret

	// Deliver sends a message. Its context ends after 30 seconds. It runs
	// apart from the request, so clients cannot measure whether a message was
	// sent; errors and panics are reported by an event. Required.
	Deliver func(ctx context.Context, m Message) error

	// Limit charges a request for a message to key, a keyed hash of the
	// address, and returns an error if there were too many. It is called
	// whether or not there is a user, and again for the stored address if the
	// request had another spelling. The client does not see the refusal.
	// Advised: 3 in 15 minutes and 10 in a day. Limits by client address
	// belong in front of the handler. Required.
	Limit func(ctx context.Context, key string) error

	// CheckPassword returns an error if a new password is too weak. Its text
	// is sent to the client. Required.
	CheckPassword func(password string) error

	// EndSessions ends the sessions of a subject after its password was reset
	// or its change of address was undone. With package auth:
	//
	//	func(ctx context.Context, subject string) error {
	//		return server.EndSessions(ctx, identity.Revocation{Subject: subject})
	//	}
	//
	// API keys that shall end too are ended here. Required.
	EndSessions func(ctx context.Context, subject string) error

	// Authorize reports whether the caller may change their address now, given
	// the proof in the request: the current password, or a code. It returns
	// [identity.ErrNotProven] for a wrong proof; a *guard.Denial is answered as
	// it is, and other errors with 503. If nil, addresses cannot be changed.
	Authorize func(ctx context.Context, p *identity.Principal, proof string) error

	// Claim removes passkeys, second factors and API keys of a subject whose
	// address was never verified, and its password unless keepPassword is set.
	// It is called when a ticket was used that was sent to this address:
	// an attacker may have registered the address first and must not keep a
	// way in. If nil, tickets of users without a verified address do not
	// pass, except for VerifyEmail.
	Claim func(ctx context.Context, subject string, keepPassword bool) error

	// Accept makes the account of an invitation: t is the ticket, fields are
	// the fields of the form, such as name and password. It checks again
	// whether the inviter may still invite. A *guard.Denial is answered as it
	// is, and other errors with 503. If nil, invitations cannot be accepted.
	Accept func(ctx context.Context, t Ticket, fields map[string]string) error

	// AcceptFields are the names of the fields that Accept receives. Default:
	// "name" and "password".
	AcceptFields []string

	// Issuer is the Issuer of the principals that change or verify an address:
	// the issuer of the host's access tokens. Principals of other issuers are
	// refused with 403. Required for VerifyEmail and ChangeEmail.
	Issuer string

	// InsecureAnyBrowser lets any browser use a sign-in link, not only the one
	// that requested it. An attacker who makes a user open a link signs the
	// user in to the attacker's account, and a mail scanner that clicks is
	// signed in itself.
	InsecureAnyBrowser bool

	// Lifetimes replaces how long tickets are valid, by purpose, 1 minute to
	// 30 days. Defaults: 10 minutes for sign-in, 1 hour to reset a password or
	// change an address, 24 hours to verify one, 7 days for invitations and to
	// undo a change.
	Lifetimes map[Purpose]time.Duration

	// Queue is how many messages may wait to be sent, and Workers how many are
	// sent at once. With a full queue requests are answered 503. Defaults: 256
	// and 2.
	Queue, Workers int

	// Hooks receives events and writes refusals.
	Hooks guard.Hooks
}

const (
	minKey  = 32 // bytes
	maxBody = 8 << 10
	maxData = 1 << 10
	maxAddr = 254 // RFC 5321 section 4.5.3.1.3

	maxTries       = 5  // of a code
	maxWrongCodes  = 25 // of a subject
	wrongCodesSpan = 30 * 24 * time.Hour

	deliveryTimeout = 30 * time.Second
)

var lifetimes = map[Purpose]time.Duration{
	ResetPassword: time.Hour,
	VerifyEmail:   24 * time.Hour,
	ChangeEmail:   time.Hour,
	UndoEmail:     7 * 24 * time.Hour,
	SignInLink:    10 * time.Minute,
	SignInCode:    10 * time.Minute,
	Invitation:    7 * 24 * time.Hour,
}

// New returns a service that keeps tickets in store for the host's users. Its
// error lists every mistake in config. Call [Service.Close] at the end of the
// program.
func New(store Store, users Users, config Config) (*Service, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ticket: "+format, args...)) }
	if store == nil {
		mistake("the Store is nil; use sqlstore.New")
	}
	if users == nil {
		mistake("the Users is nil; use the host's table of users")
	}
	if u, err := url.Parse(config.Base); err != nil || u.Host == "" || !strings.HasSuffix(config.Base, "/") || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		mistake("Config.Base is %q; use an https URL that ends in a slash, such as https://example.com/account/", config.Base)
	}
	if len(config.Keys) == 0 {
		mistake("Config.Keys is empty; set a secret of %d random bytes", minKey)
	}
	for i, k := range config.Keys {
		switch b := k.Bytes(); {
		case len(b) < minKey:
			mistake("Config.Keys[%d] has %d bytes; use at least %d random ones", i, len(b), minKey)
		case len(bytes.Trim(b, "\x00")) == 0:
			mistake("Config.Keys[%d] is all zeros; use random bytes", i)
		}
	}
	if config.Deliver == nil {
		mistake("Config.Deliver is nil; send the message by mail")
	}
	if config.Limit == nil {
		mistake("Config.Limit is nil; use a ratelimit.Limiter")
	}
	if config.CheckPassword == nil {
		mistake("Config.CheckPassword is nil; use a password.Policy")
	}
	if config.EndSessions == nil {
		mistake("Config.EndSessions is nil; use the EndSessions of auth.Server")
	}
	valid := map[Purpose]time.Duration{}
	for p, d := range lifetimes {
		valid[p] = d
	}
	for p, d := range config.Lifetimes {
		if _, known := lifetimes[p]; !known || d < time.Minute || d > 30*24*time.Hour {
			mistake("Config.Lifetimes[%q] is %v; use a purpose of this package and 1m to 720h", p, d)
		}
		valid[p] = d
	}
	config.Lifetimes = valid
	if config.Queue == 0 {
		config.Queue = 256
	}
	if config.Workers == 0 {
		config.Workers = 2
	}
	if config.Queue < 1 || config.Queue > 1<<16 || config.Workers < 1 || config.Workers > 256 {
		mistake("Config.Queue is %d and Config.Workers is %d; use 1 to 65536 and 1 to 256", config.Queue, config.Workers)
	}
	if config.AcceptFields == nil {
		config.AcceptFields = []string{"name", "password"}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := &Service{config: config, store: store, users: users, queue: make(chan func(context.Context), config.Queue)}
	s.start()
	return s, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasSuffix(host, ".localhost")
}

// invalidTicket is the refusal of a ticket that does not pass, the same for every
// reason.
func invalidTicket(reason error) error {
	d := guard.NewDenial(http.StatusBadRequest, "invalid_ticket", "The link or code is not valid, or not valid any more.", reason)
	d.Event = guard.EventLoginFail
	return d
}
