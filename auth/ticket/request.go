package ticket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/body"
	"github.com/gatewright/gatewright/internal/unproven"
)

// CookieName is the name of the cookie that identifies a browser.
const CookieName = "__Host-ticket"

// Request returns the handler that sends a ticket. POST takes a form or a JSON
// object.
//
// For ResetPassword, SignInLink and SignInCode it is public, takes the field email,
// and answers 202 for every well-formed address. For sign-in it binds the ticket to
// the browser and answers 403 to pages of other origins; see Config.TrustedOrigins.
// After 25 wrong codes in 30 days it sends a link instead of a code.
//
// VerifyEmail and ChangeEmail require a caller. VerifyEmail sends a link to the
// stored address. ChangeEmail takes the fields email and proof. It sends a link to
// the new address, and to the old address a notice and, after the change, a link to
// undo it.
//
// It answers 400 for a malformed address or a wrong proof, and 503 if the queue is
// full. It panics for other purposes.
func (s *Service) Request(p Purpose) http.Handler {
	switch p {
	case ResetPassword, SignInLink, SignInCode:
		return guard.Public("ticket " + string(p))(s.endpoint(func(w http.ResponseWriter, r *http.Request) error { return s.request(w, r, p) }))
	case VerifyEmail:
		return s.authenticated(s.requestVerification)
	case ChangeEmail:
		if s.config.Authorize == nil {
			panic("ticket: Request(ChangeEmail) needs Config.Authorize")
		}
		return s.authenticated(s.requestChange)
	}
	panic("ticket: Request cannot send a ticket for " + string(p) + "; use Issue")
}

func (s *Service) request(w http.ResponseWriter, r *http.Request, p Purpose) error {
	fields, err := body.Members(w, r, maxBody, "email")
	if err != nil {
		return err
	}
	email := fields["email"]
	if !isAddress(email) {
		return guard.InvalidRequest("The email is missing or malformed.", errors.New("ticket: malformed address"))
	}
	t := Ticket{Purpose: p}
	cookie := ""
	if p == SignInCode || p == SignInLink && !s.config.InsecureAnyBrowser {
		// A page of another site must not bind the browser to a ticket for a
		// mailbox of its own.
		if err := s.protection.Check(r); err != nil {
			return guard.Forbidden(fmt.Errorf("ticket: %w", err))
		}
		cookie = newSecret()
		t.Browser = cookieBrowser(cookie)
		if p == SignInCode {
			t.ID = cookieID(cookie)
		}
	}
	err = s.enqueue(func(ctx context.Context) {
		if err := s.sendTo(ctx, email, t); err != nil {
			s.report(ctx, t.Subject, err)
		}
	})
	if err != nil {
		return err
	}
	if cookie != "" {
		s.setCookie(w, cookie, s.config.Lifetimes[p])
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// sendTo sends a ticket to the user with the address, if there is one.
func (s *Service) sendTo(ctx context.Context, email string, t Ticket) error {
	if err := s.config.Limit(ctx, s.limitKey(t.Purpose, email)); err != nil {
		return nil // the limiter has its own events
	}
	u, err := s.users.UserByEmail(ctx, email)
	switch {
	case errors.Is(err, ErrNoUser), err == nil && (u == nil || u.Disabled):
		return s.issueDecoy(ctx, email, t)
	case err != nil:
		return guard.CannotDecide("ticket: looking a user up", err)
	}
	if over := s.overLimit(ctx, t.Purpose, email, u.Email); over {
		return s.issueDecoy(ctx, email, t)
	}
	if t.Purpose == SignInCode {
		wrong, err := s.store.WrongCodes(ctx, u.Subject, u.Tenant, moment().Add(-wrongCodesSpan))
		if err != nil {
			return guard.CannotDecide("ticket: counting wrong codes", err)
		}
		if wrong >= maxWrongCodes {
			if err := s.issueDecoy(ctx, email, t); err != nil {
				return err
			}
			t.Purpose, t.ID = SignInLink, ""
		}
	}
	t.State, t.Subject, t.Tenant, t.Email = stateOf(u), u.Subject, u.Tenant, u.Email
	return s.send(ctx, nil, t)
}

// overLimit reports whether the stored address has had too many messages. Other
// spellings that UserByEmail takes for it, in which it can be requested, share its
// limit.
func (s *Service) overLimit(ctx context.Context, p Purpose, requested, stored string) bool {
	key := s.limitKey(p, stored)
	return key != s.limitKey(p, requested) && s.config.Limit(ctx, key) != nil
}

// issueDecoy stores a ticket without a user for a code that was requested for an
// address without one. A wrong code then takes the same work whether or not the
// address is known: the time of the answer does not reveal it.
func (s *Service) issueDecoy(ctx context.Context, email string, t Ticket) error {
	if t.Purpose != SignInCode {
		return nil
	}
	// 65,536 at most: they cannot fill a store, and an attacker who lets others
	// replace one, which is then refused sooner, must request as many.
	t.Email = decoyPrefix + s.limitKey(SignInCode, email)[:4]
	t.Tenant = t.Email // which has no users: wrong codes are counted by it
	t.Created = moment()
	t.Expires = t.Created.Add(s.config.Lifetimes[SignInCode])
	rand.Read(t.Key[:])
	if err := s.store.IssueTicket(ctx, t); err != nil {
		return guard.CannotDecide("ticket: issuing a ticket", err)
	}
	return nil
}

// decoyPrefix begins the Email of decoys, which is no address, and their Tenant.
const decoyPrefix = "decoy "

// decoyAddress is an address that no user has (RFC 2606 section 2).
const decoyAddress = "decoy@ticket.invalid"

func (s *Service) setCookie(w http.ResponseWriter, value string, lifetime time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: CookieName, Value: value, Path: "/", MaxAge: int(lifetime / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// cookieOf returns the cookie of the browser, "" without exactly one.
func cookieOf(r *http.Request) string {
	all := r.CookiesNamed(CookieName)
	if len(all) != 1 || !isSecret(all[0].Value) {
		return ""
	}
	return all[0].Value
}

func (s *Service) requestVerification(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	u, err := s.caller(r.Context(), p)
	if err != nil {
		return err
	}
	if u.Email == "" {
		return guard.InvalidRequest("The account has no address.", errors.New("ticket: the user has no address"))
	}
	return s.sendBound(w, r, p, u, Ticket{Purpose: VerifyEmail, Email: u.Email})
}

func (s *Service) requestChange(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	fields, err := body.Members(w, r, maxBody, "email", "proof")
	if err != nil {
		return err
	}
	email := fields["email"]
	if !isAddress(email) {
		return guard.InvalidRequest("The email is missing or malformed.", errors.New("ticket: malformed address"))
	}
	u, err := s.caller(r.Context(), p)
	if err != nil {
		return err
	}
	if err := s.authorize(r.Context(), p, fields["proof"]); err != nil {
		return err
	}
	return s.sendBound(w, r, p, u, Ticket{Purpose: ChangeEmail, Email: email})
}

// sendBound sends a ticket that is bound to the caller's session.
func (s *Service) sendBound(w http.ResponseWriter, r *http.Request, p *identity.Principal, u *User, t Ticket) error {
	t.Browser, t.State, t.Subject, t.Tenant = sessionBrowser(p.Session), stateOf(u), u.Subject, u.Tenant
	old, by := u.Email, *p
	err := s.enqueue(func(ctx context.Context) {
		if err := s.config.Limit(ctx, s.limitKey(t.Purpose, t.Email)); err != nil {
			return
		}
		if err := s.send(ctx, &by, t); err != nil {
			s.report(ctx, t.Subject, err)
		}
		if t.Purpose == ChangeEmail && old != "" {
			if err := s.deliver(ctx, Message{Purpose: ChangeEmail, To: old, Subject: t.Subject, Tenant: t.Tenant, Notice: "a change of the address was requested"}); err != nil {
				s.report(ctx, t.Subject, err)
			}
		}
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// authorize checks the proof of a change of address.
func (s *Service) authorize(ctx context.Context, p *identity.Principal, proof string) error {
	err := identity.ErrNotProven
	if proof != "" {
		err = s.config.Authorize(ctx, p, proof)
	}
	return unproven.Refusal("ticket", err)
}

// caller returns the user who called.
func (s *Service) caller(ctx context.Context, p *identity.Principal) (*User, error) {
	u, err := s.users.UserBySubject(ctx, p.Subject)
	switch {
	case errors.Is(err, ErrNoUser), err == nil && (u == nil || u.Disabled || u.Tenant != p.Tenant):
		return nil, guard.ErrInactive
	case err != nil:
		return nil, guard.CannotDecide("ticket: looking a user up", err)
	}
	return u, nil
}

// endpoint returns the handler of POST requests.
func (s *Service) endpoint(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := error(nil)
		if r.Method != http.MethodPost {
			err = guard.MethodNotAllowed(w, http.MethodPost)
		} else {
			err = serve(w, r)
		}
		if err != nil {
			s.config.Hooks.Refuse(w, r, err)
		}
	})
}

// authenticated is endpoint for a caller with a session.
func (s *Service) authenticated(serve func(http.ResponseWriter, *http.Request, *identity.Principal) error) http.Handler {
	return s.config.Hooks.Authenticated(s.endpoint(func(w http.ResponseWriter, r *http.Request) error {
		p, err := guard.Caller(r)
		switch {
		case err != nil:
			return err
		case p.Issuer != s.config.Issuer || p.Subject == "" || p.Session == "":
			return guard.Forbidden(errors.New("ticket: the credentials are of another issuer or of no session"))
		}
		return serve(w, r, p)
	}))
}

// isAddress reports whether email may be one address: a local part and a domain of
// printable characters, without what separates or comments addresses (RFC 5322
// section 3.4).
func isAddress(email string) bool {
	local, domain, ok := strings.Cut(email, "@")
	return ok && local != "" && domain != "" && len(email) <= maxAddr && !strings.ContainsFunc(email, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`,;:<>()[]\"`, r) || r == '\ufffd' || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029'
	}) && !strings.Contains(domain, "@")
}
