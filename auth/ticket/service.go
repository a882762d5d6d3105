package ticket

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Service issues and accepts tickets. It is safe for concurrent use.
type Service struct {
	config Config
	store  Store
	users  Users

	protection *http.CrossOriginProtection

	queue   chan func(context.Context)
	workers sync.WaitGroup
	mu      sync.RWMutex // held while something is put into the queue
	closed  bool
}

var errClosed = errors.New("ticket: the service is closed")

func (s *Service) start() {
	for range s.config.Workers {
		s.workers.Go(func() {
			for job := range s.queue {
				s.run(job)
			}
		})
	}
}

// run runs a job, whatever the host's functions do in it.
func (s *Service) run(job func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), deliveryTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			s.report(ctx, "", fmt.Errorf("ticket: a panic while a message was sent: %v", v))
		}
	}()
	job(ctx)
}

// enqueue runs job apart from the request, or returns an error if too many are
// waiting.
func (s *Service) enqueue(job func(context.Context)) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return guard.Unavailable(time.Second, errClosed)
	}
	select {
	case s.queue <- job:
		return nil
	default:
		return guard.Unavailable(5*time.Second, errors.New("ticket: the queue of messages is full"))
	}
}

// enqueueOrRun runs job apart from the request, or in it if too many are waiting:
// a notice of a change that is stored already must not get lost.
func (s *Service) enqueueOrRun(job func(context.Context)) {
	if s.enqueue(job) != nil {
		s.run(job)
	}
}

// Close sends the queued messages. It returns when they are sent or ctx ends.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.workers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ticket: messages are not sent yet: %w", ctx.Err())
	}
}

// report sends an event that refuses nothing.
func (s *Service) report(ctx context.Context, subject string, err error) {
	s.config.Hooks.EmitContext(ctx, guard.Event{Name: guard.EventUnavailable, Principal: s.principal(subject), Err: err})
}

func (s *Service) principal(subject string) *identity.Principal {
	return &identity.Principal{Issuer: s.config.Issuer, Subject: subject}
}

// Secrets and hashes.

const secretSize = 32 // bytes of the secret of a link, and of the cookie of a browser

func newSecret() string {
	b := make([]byte, secretSize)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// isSecret reports whether text is the one spelling of a secret.
func isSecret(text string) bool {
	if len(text) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(b) == secretSize
}

// linkKey returns the hash that a link is stored under. It depends on the
// purpose, so a link that is presented for another purpose finds nothing.
func linkKey(p Purpose, secret string) [32]byte { return hashOf("link", string(p), secret) }

// codeKey returns the keyed hash of a code: its million values could be tried
// against a plain hash.
func codeKey(key guard.Secret, p Purpose, id, code string) [32]byte {
	h := hmac.New(sha256.New, key.Bytes())
	for _, field := range [...]string{"gatewright/ticket code", string(p), id, code} {
		writeField(h, field)
	}
	return [32]byte(h.Sum(nil))
}

// limitKey returns a name for an address that reveals nothing of it. Upper and
// lower case of ASCII are one address to most mail servers.
func (s *Service) limitKey(p Purpose, email string) string {
	h := hmac.New(sha256.New, s.config.Keys[0].Bytes())
	for _, field := range [...]string{"gatewright/ticket limit", string(p), lower(email)} {
		writeField(h, field)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// stateOf returns the hash of what must not change while a ticket is valid.
func stateOf(u *User) [32]byte {
	disabled := "enabled"
	if u.Disabled {
		disabled = "disabled"
	}
	return hashOf("state", u.PasswordHash, u.Email, u.Tenant, disabled)
}

func cookieBrowser(cookie string) [32]byte   { return hashOf("cookie", cookie) }
func sessionBrowser(session string) [32]byte { return hashOf("session", session) }
func cookieID(cookie string) string {
	id := hashOf("code ID", cookie)
	return hex.EncodeToString(id[:16])
}

func hashOf(fields ...string) [32]byte {
	h := sha256.New()
	writeField(h, "gatewright/ticket")
	for _, f := range fields {
		writeField(h, f)
	}
	return [32]byte(h.Sum(nil))
}

// writeField writes a field with its length, so that different sequences of
// fields never have the same bytes.
func writeField(h interface{ Write([]byte) (int, error) }, field string) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(field)))
	h.Write(size[:])
	h.Write([]byte(field))
}

// newCode returns six digits.
func newCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil { // crypto/rand never fails
		panic(err)
	}
	return fmt.Sprintf("%06d", n)
}

// moment returns the present as stores keep it.
func moment() time.Time { return time.Now().Truncate(time.Microsecond) }

// send issues t and delivers its secret. For a code t.ID is set. by is the caller, nil
// for the caller of ctx if there is one.
func (s *Service) send(ctx context.Context, by *identity.Principal, t Ticket) error {
	now := moment()
	t.Created, t.Expires = now, now.Add(s.config.Lifetimes[t.Purpose])
	m := Message{Purpose: t.Purpose, To: t.Email, Subject: t.Subject, Tenant: t.Tenant, Expires: t.Expires, Data: t.Data}
	if t.ID != "" {
		code := newCode()
		m.Code = guard.NewSecret([]byte(code))
		t.Key = codeKey(s.config.Keys[0], t.Purpose, t.ID, code)
	} else {
		secret := newSecret()
		t.Key = linkKey(t.Purpose, secret)
		m.Link = guard.NewSecret([]byte(s.config.Base + string(t.Purpose) + "#" + secret))
	}
	if err := s.store.IssueTicket(ctx, t); err != nil {
		return guard.CannotDecide("ticket: issuing a ticket", err)
	}
	s.config.Hooks.EmitContext(ctx, guard.Event{Name: guard.EventTokenCreated, Principal: by, Target: cmp.Or(t.Subject, t.Email), Changes: []slog.Attr{
		slog.String("ticket", "issued"), slog.String("purpose", string(t.Purpose)), slog.Time("expires", t.Expires),
	}})
	return s.deliver(ctx, m)
}

func (s *Service) deliver(ctx context.Context, m Message) error {
	if err := s.config.Deliver(ctx, m); err != nil {
		return guard.CannotDecide("ticket: delivering a message", err)
	}
	return nil
}

// notify tells the user at an address what happened, apart from the request.
func (s *Service) notify(p Purpose, u *User, to, notice string) {
	s.enqueueOrRun(func(ctx context.Context) {
		err := s.deliver(ctx, Message{Purpose: p, To: to, Subject: u.Subject, Tenant: u.Tenant, Notice: notice})
		if err != nil {
			s.report(ctx, u.Subject, err)
		}
	})
}

// An Order is the argument of [Service.Issue].
type Order struct {
	Purpose Purpose // ResetPassword or Invitation

	Subject string // the user, for ResetPassword

	Email, Tenant string // for Invitation
	Data          []byte // for Config.Accept
}

// Issue sends a ticket for an administrator or another user: a ResetPassword to the
// stored address, or an Invitation. It returns after the delivery, and never the
// secret.
func (s *Service) Issue(ctx context.Context, o Order) error {
	switch o.Purpose {
	case ResetPassword:
		u, err := s.users.UserBySubject(ctx, o.Subject)
		if err == nil && u == nil {
			err = ErrNoUser
		}
		if err != nil {
			return fmt.Errorf("ticket: looking a user up: %w", err)
		}
		if u.Disabled || u.Email == "" {
			return fmt.Errorf("ticket: the user %q is disabled or has no address", o.Subject)
		}
		return s.send(ctx, nil, Ticket{Purpose: o.Purpose, State: stateOf(u), Subject: u.Subject, Tenant: u.Tenant, Email: u.Email})
	case Invitation:
		if !isAddress(o.Email) || len(o.Data) > maxData {
			return fmt.Errorf("ticket: the order has an invalid Email of %d bytes, or %d bytes of Data; use an e-mail address and at most %d bytes of Data", len(o.Email), len(o.Data), maxData)
		}
		return s.send(ctx, nil, Ticket{Purpose: o.Purpose, Tenant: o.Tenant, Email: o.Email, Data: o.Data})
	}
	return fmt.Errorf("ticket: Issue cannot make a ticket for %q; use ResetPassword or Invitation", o.Purpose)
}

// End removes the tickets that which selects.
func (s *Service) End(ctx context.Context, which Which) error {
	if err := s.endTickets(ctx, which); err != nil {
		return err
	}
	e := guard.Event{Name: guard.EventTokenRevoked, Target: cmp.Or(which.Subject, which.Email, which.Tenant), Changes: []slog.Attr{slog.String("ticket", "ended")}}
	for _, p := range [...]struct {
		key     string
		purpose Purpose
	}{{"purpose", which.Purpose}, {"except", which.Except}} {
		if p.purpose != "" {
			e.Changes = append(e.Changes, slog.String(p.key, string(p.purpose)))
		}
	}
	s.config.Hooks.EmitContext(ctx, e)
	return nil
}

// endTickets is End without an event.
func (s *Service) endTickets(ctx context.Context, which Which) error {
	if err := s.store.EndTickets(ctx, which); err != nil {
		return guard.CannotDecide("ticket: ending tickets", err)
	}
	return nil
}
