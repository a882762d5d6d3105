package ticket

import (
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
	"github.com/gatewright/gatewright/internal/mistakes"
)

// A User is a user of the host.
type User struct {
	Subject      string // the ID
	Tenant       string
	Email        string // as stored
	Verified     bool   // Email is proven to be the user's
	PasswordHash string // may be empty
	Disabled     bool
}

// Format prints u without the password hash.
func (u User) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "user %q", u.Subject) }

// LogValue returns what Format prints.
func (u User) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(u)) }

// Errors of [Users]. Other errors are answered 503.
var (
	ErrNoUser  = errors.New("ticket: no such user")
	ErrChanged = errors.New("ticket: the user has changed meanwhile")
	ErrTaken   = errors.New("ticket: the address belongs to another user")
)

// Users is the host's user table. It is safe for concurrent use.
type Users interface {
	// UserByEmail returns the user with the address, or ErrNoUser. Tickets go to
	// User.Email.
	UserByEmail(ctx context.Context, email string) (*User, error)

	// UserBySubject returns the user with the ID, or ErrNoUser.
	UserBySubject(ctx context.Context, subject string) (*User, error)

	// SetPassword hashes and stores a password in one atomic step if the stored
	// hash is oldHash, or returns ErrChanged.
	SetPassword(ctx context.Context, subject, oldHash, password string) error

	// SetEmail stores the address as verified in one atomic step if the stored
	// address is old. It returns ErrChanged, or ErrTaken if another user has the
	// address.
	SetEmail(ctx context.Context, subject, old, email string) error
}

// A Message is a message to an address.
type Message struct {
	Purpose         Purpose
	To              string
	Subject, Tenant string // the user's

	// Link or Code is the secret, valid until Expires. A notice has none.
	Link, Code guard.Secret
	Expires    time.Time

	Notice string // the text of a notice, otherwise empty

	Data []byte // of the ticket
}

// LogValue returns the purpose and the user.
func (m Message) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(m)) }

// Format prints m without its secrets.
func (m Message) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "message %s for %q", m.Purpose, m.Subject)
}

// Config configures a [Service]. Errors of Authorize and Accept are 503, except a
// *guard.Denial.
type Config struct {
	// Base is the URL in front of link paths, such as
	// "https://example.com/account/". Required.
	Base string

	// Keys are secrets of at least 32 random bytes, shared by all processes. The
	// first makes codes, all verify. Required.
	Keys []guard.Secret

	// Deliver sends a message, within 30 seconds. An event reports errors and
	// panics. Required.
	Deliver func(ctx context.Context, m Message) error

	// Limit charges a message to key, a keyed hash of the address, and returns an
	// error at the limit. It is also called for unknown addresses, and again for
	// the stored address if its spelling differs. Recommended: 3 in 15 minutes and
	// 10 in a day. Required. With package ratelimit, call Limiter.Reserve.
	Limit func(ctx context.Context, key string) error

	// CheckPassword returns an error, for the client, for a weak password.
	// Required.
	CheckPassword func(password string) error

	// EndSessions ends the sessions of a subject, and API keys if the host decides
	// so. It is called before and after a password is changed or a change of
	// address is undone. Required. With package auth, call Server.EndSessions.
	EndSessions func(ctx context.Context, subject string) error

	// Authorize verifies the proof for ChangeEmail, the current password or a code,
	// or returns [identity.ErrNotProven]. Required for ChangeEmail.
	Authorize func(ctx context.Context, p *identity.Principal, proof string) error

	// Claim removes passkeys, second factors and API keys of a subject with an
	// unverified address, and its password unless keepPassword is set, because an
	// attacker may have registered the address first. It is called before and after
	// EndSessions. If nil, only VerifyEmail works for unverified addresses.
	Claim func(ctx context.Context, subject string, keepPassword bool) error

	// Accept creates the account of the invitation t from form fields, if the
	// inviter may still invite. Required for Invitation.
	Accept func(ctx context.Context, t Ticket, fields map[string]string) error

	// AcceptFields are the field names. Default: "name", "password".
	AcceptFields []string

	// Issuer is the issuer of access tokens. Required for VerifyEmail and
	// ChangeEmail.
	Issuer string

	// InsecureAnyBrowser accepts a sign-in link in any browser: an attacker can
	// sign a user in to the attacker's account, and a mail scanner that clicks is
	// signed in.
	InsecureAnyBrowser bool

	// TrustedOrigins are origins whose pages may request sign-in links and codes,
	// beside the server and the origin of Base.
	TrustedOrigins []string

	// Lifetimes replaces lifetimes, 1 minute to 30 days. Default: 10 minutes for
	// sign-in, 1 hour for ResetPassword and ChangeEmail, 24 hours for VerifyEmail,
	// 7 days for Invitation and UndoEmail.
	Lifetimes map[Purpose]time.Duration

	// Queue is the number of messages that may wait for Workers; further requests
	// get 503. Default: 256 and 2.
	Queue, Workers int

	Hooks guard.Hooks // receives events and writes refusals
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

// New returns a Service that keeps tickets in store. The error lists all mistakes.
func New(store Store, users Users, config Config) (*Service, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ticket: "+format, args...)) }
	if store == nil {
		mistake("the Store is nil; use sqlstore.New")
	}
	if users == nil {
		mistake("Users is nil; use the host's table of users")
	}
	if u, err := url.Parse(config.Base); err != nil || u.Host == "" || !strings.HasSuffix(config.Base, "/") || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		mistake("Config.Base is %q; use an https URL that ends in a slash, such as https://example.com/account/", config.Base)
	}
	mistakes.Secrets(mistake, "Config.Keys", minKey, config.Keys)
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
	protection := http.NewCrossOriginProtection()
	if u, err := url.Parse(config.Base); err == nil && u.Host != "" {
		_ = protection.AddTrustedOrigin(u.Scheme + "://" + u.Host) // a mistake in Base is listed above
	}
	for i, origin := range config.TrustedOrigins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			mistake("Config.TrustedOrigins[%d]: %w", i, err)
		}
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
	store = measuredStore{store, config.Hooks}
	s := &Service{config: config, store: store, users: users, protection: protection, queue: make(chan func(context.Context), config.Queue)}
	s.start()
	return s, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasSuffix(host, ".localhost")
}

// invalidTicket is the refusal of a ticket, the same for every reason.
func invalidTicket(reason error) error {
	d := guard.NewDenial(http.StatusBadRequest, "invalid_ticket", "The link or code is not valid, or not valid any more.", reason)
	d.Event = guard.EventLoginFail
	return d
}
