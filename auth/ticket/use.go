package ticket

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/body"
)

// Use returns the handler that uses a link. POST takes a form or a JSON object with
// the field token, the fragment of the link. It answers 204, or 303 to the page for
// a form, and 400 invalid_ticket for every reason.
//
// ResetPassword also takes the field password. It stores the password, ends
// sessions and other tickets, and sends a notice; it opens no session. VerifyEmail
// and ChangeEmail require the session that requested them. UndoEmail restores the
// old address and ends sessions. Invitation calls Config.Accept. Use panics for
// sign-in.
func (s *Service) Use(p Purpose) http.Handler {
	public := func(use func(http.ResponseWriter, *http.Request) error) http.Handler {
		return guard.Public("ticket " + string(p))(s.endpoint(use))
	}
	switch p {
	case ResetPassword:
		return public(s.useReset)
	case UndoEmail:
		return public(s.useUndo)
	case Invitation:
		if s.config.Accept == nil {
			panic("ticket: Use(Invitation) needs Config.Accept")
		}
		return public(s.useInvitation)
	case VerifyEmail, ChangeEmail:
		return s.authenticated(func(w http.ResponseWriter, r *http.Request, caller *identity.Principal) error {
			return s.useAddress(w, r, caller, p)
		})
	}
	panic("ticket: Use cannot use a ticket for " + string(p) + "; use Prove")
}

func (s *Service) useReset(w http.ResponseWriter, r *http.Request) error {
	fields, err := body.Members(w, r, maxBody, "token", "password")
	if err != nil {
		return err
	}
	if err := s.config.CheckPassword(fields["password"]); err != nil {
		return guard.NewDenial(http.StatusBadRequest, "weak_password", err.Error(), err)
	}
	ctx := r.Context()
	t, u, err := s.take(ctx, Use{Purpose: ResetPassword, Now: moment()}, fields["token"])
	if err != nil {
		return err
	}
	if err := s.claimable(u.Verified); err != nil {
		return err
	}
	// Before and after the change: a process that is killed between the two
	// leaves no session of a thief beside a new password.
	if err := s.endSessions(ctx, u); err != nil {
		return err
	}
	if err := s.users.SetPassword(guard.NestedChange(ctx), u.Subject, u.PasswordHash, fields["password"]); err != nil {
		if errors.Is(err, ErrChanged) || errors.Is(err, ErrNoUser) {
			return invalidTicket(err)
		}
		return guard.CannotDecide("ticket: storing a new password", err)
	}
	// The password is changed: a client that disconnects must not prevent the end
	// of an attacker's sessions.
	ctx = context.WithoutCancel(ctx)
	s.emit(r, guard.EventPassword, t)
	if err := s.claim(ctx, u, true); err != nil {
		return err
	}
	s.notify(ResetPassword, u, u.Email, "the password was reset")
	// Keep UndoEmail: an attacker who changed the address could otherwise reset the
	// password to remove the owner's link that restores the address.
	if err := s.end(ctx, u, Which{Except: UndoEmail}); err != nil {
		return err
	}
	return s.done(w, r, ResetPassword)
}

// end ends the sessions of a user and the tickets that which selects.
func (s *Service) end(ctx context.Context, u *User, which Which) error {
	if err := s.endSessions(ctx, u); err != nil {
		return err
	}
	which.Subject = u.Subject
	return s.endTickets(ctx, which)
}

func (s *Service) endSessions(ctx context.Context, u *User) error {
	if err := s.config.EndSessions(guard.NestedChange(ctx), u.Subject); err != nil {
		return guard.CannotDecide("ticket: ending sessions", err)
	}
	return nil
}

// claim calls Config.Claim for an account whose address was never verified: the user
// has now proven to own the address, and another person may have registered it.
func (s *Service) claim(ctx context.Context, u *User, keepPassword bool) error {
	if u.Verified {
		return nil
	}
	if err := s.claimable(u.Verified); err != nil {
		return err
	}
	if err := s.takeOver(ctx, u, keepPassword); err != nil {
		return err
	}
	// Links to undo an earlier change of the address too, which lead back to the
	// registrant.
	if err := s.endTickets(ctx, Which{Subject: u.Subject}); err != nil {
		return err
	}
	return s.setEmail(ctx, u.Subject, u.Email, u.Email)
}

// takeOver removes from an account what its registrant could use.
func (s *Service) takeOver(ctx context.Context, u *User, keepPassword bool) error {
	// Config.Claim before and after the sessions end: without a password nobody
	// signs in between, and what a session has made meanwhile goes with the rest.
	for _, step := range [...]func() error{
		func() error { return s.config.Claim(guard.NestedChange(ctx), u.Subject, keepPassword) },
		func() error { return s.endSessions(ctx, u) },
		func() error { return s.config.Claim(guard.NestedChange(ctx), u.Subject, keepPassword) },
	} {
		if err := step(); err != nil {
			return guard.CannotDecide("ticket: claiming an account", err)
		}
	}
	return nil
}

// claimable returns why the owner of an address cannot claim its account.
func (s *Service) claimable(verified bool) error {
	if !verified && s.config.Claim == nil {
		return invalidTicket(errors.New("ticket: the address was never verified, and Config.Claim is nil"))
	}
	return nil
}

func (s *Service) useAddress(w http.ResponseWriter, r *http.Request, caller *identity.Principal, p Purpose) error {
	fields, err := body.Members(w, r, maxBody, "token")
	if err != nil {
		return err
	}
	ctx := r.Context()
	t, u, err := s.take(ctx, Use{Purpose: p, Browser: sessionBrowser(caller.Session), Now: moment()}, fields["token"])
	if err != nil {
		return err
	}
	if t.Subject != caller.Subject {
		return invalidTicket(errors.New("ticket: the ticket belongs to another subject"))
	}
	if err := s.setEmail(ctx, t.Subject, u.Email, t.Email); err != nil {
		return err
	}
	s.emit(r, guard.EventUserUpdated, t)
	if p == ChangeEmail && u.Email != "" && u.Email != t.Email {
		s.sendUndo(t, u)
	}
	return s.done(w, r, p)
}

// setEmail stores an address.
func (s *Service) setEmail(ctx context.Context, subject, old, email string) error {
	err := s.users.SetEmail(guard.NestedChange(ctx), subject, old, email)
	switch {
	case errors.Is(err, ErrChanged), errors.Is(err, ErrTaken), errors.Is(err, ErrNoUser):
		return invalidTicket(err)
	case err != nil:
		return guard.CannotDecide("ticket: storing an address", err)
	}
	return nil
}

// neverVerified is the State of a link to undo the change of an address that was never
// verified: its owner claims the account, which an intruder may have registered.
var neverVerified = hashOf("never verified")

// sendUndo sends the link to undo a change to the address of old, the user before it.
func (s *Service) sendUndo(changed Ticket, old *User) {
	s.enqueueOrRun(func(ctx context.Context) {
		u, err := s.users.UserBySubject(ctx, changed.Subject)
		if err == nil && u != nil {
			// The State is not the user's: a thief may change password and
			// address again.
			t := Ticket{Purpose: UndoEmail, Subject: u.Subject, Tenant: u.Tenant, Email: old.Email}
			if !old.Verified {
				t.State = neverVerified
			}
			err = s.send(ctx, nil, t)
		}
		if err != nil {
			s.report(ctx, changed.Subject, err)
		}
	})
}

func (s *Service) useUndo(w http.ResponseWriter, r *http.Request) error {
	fields, err := body.Members(w, r, maxBody, "token")
	if err != nil {
		return err
	}
	ctx := r.Context()
	t, u, err := s.take(ctx, Use{Purpose: UndoEmail, Now: moment()}, fields["token"])
	if err != nil {
		return err
	}
	verified := t.State != neverVerified
	if err := s.claimable(verified); err != nil {
		return err
	}
	if err := s.endSessions(ctx, u); err != nil {
		return err
	}
	if !verified {
		if err := s.takeOver(ctx, u, false); err != nil {
			return err
		}
	}
	if err := s.setEmail(ctx, t.Subject, u.Email, t.Email); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	s.emit(r, guard.EventUserUpdated, t)
	s.notify(UndoEmail, u, t.Email, "the change of the address was undone")
	// Older links to undo stay: the oldest address wins.
	if err := s.end(ctx, u, Which{After: t.Created}); err != nil {
		return err
	}
	return s.done(w, r, UndoEmail)
}

func (s *Service) useInvitation(w http.ResponseWriter, r *http.Request) error {
	fields, err := body.Members(w, r, maxBody, append([]string{"token"}, s.config.AcceptFields...)...)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if password, ok := fields["password"]; ok {
		if err := s.config.CheckPassword(password); err != nil {
			return guard.NewDenial(http.StatusBadRequest, "weak_password", err.Error(), err)
		}
	}
	t, _, err := s.take(ctx, Use{Purpose: Invitation, Now: moment()}, fields["token"])
	if err != nil {
		return err
	}
	delete(fields, "token")
	if err := s.config.Accept(guard.NestedChange(ctx), t, fields); err != nil {
		// The error itself: one that only wraps a refusal comes from elsewhere.
		if d, ok := err.(*guard.Denial); ok {
			return d
		}
		return guard.CannotDecide("ticket: accepting an invitation", err)
	}
	s.emit(r, guard.EventUserCreated, t)
	return s.done(w, r, Invitation)
}

// take uses up the link with the secret, and returns its ticket and its user, nil for
// an invitation. It looks the user up first, so that a failing table does not use up
// the ticket.
func (s *Service) take(ctx context.Context, u Use, secret string) (Ticket, *User, error) {
	if !isSecret(secret) {
		return Ticket{}, nil, invalidTicket(errors.New("ticket: malformed token"))
	}
	u.Key = linkKey(u.Purpose, secret)
	return s.takeTicket(ctx, u)
}

func (s *Service) takeTicket(ctx context.Context, u Use) (Ticket, *User, error) {
	t, err := s.store.FindTicket(ctx, u)
	switch {
	case errors.Is(err, ErrNotFound):
		return Ticket{}, nil, invalidTicket(err)
	case err != nil:
		return Ticket{}, nil, guard.CannotDecide("ticket: looking a ticket up", err)
	}
	user, invalid, err := s.userOf(ctx, t)
	if err != nil {
		return Ticket{}, nil, guard.CannotDecide("ticket: looking a user up", err)
	}
	if invalid != nil && u.ID == "" {
		return Ticket{}, nil, invalidTicket(invalid)
	}
	if invalid != nil {
		u.Key = [32]byte{} // of no code: a wrong one is counted
	}
	if t.Subject == "" && u.ID != "" { // a decoy, which others may share
		u.MaxWrong, u.WrongSince = math.MaxInt32, u.Now.Add(-time.Minute)
	}
	used, err := s.store.UseTicket(ctx, u)
	switch {
	case invalid != nil && err == nil:
		return Ticket{}, nil, invalidTicket(invalid)
	case err != nil:
		return Ticket{}, nil, guard.CannotDecide("ticket: using a ticket", err)
	case !used:
		return Ticket{}, nil, invalidTicket(errors.New("ticket: the ticket was used, is for another browser, or the code is wrong"))
	}
	return t, user, nil
}

// userOf returns the user of a ticket, nil for an invitation, or the reason why the
// ticket does not pass for its user. It looks a user up for decoys too.
func (s *Service) userOf(ctx context.Context, t Ticket) (u *User, invalid, err error) {
	switch {
	case t.Purpose == Invitation:
		return nil, nil, nil
	case t.Subject != "":
		u, err = s.users.UserBySubject(ctx, t.Subject)
	default:
		_, err = s.users.UserByEmail(ctx, decoyAddress)
	}
	switch {
	case err != nil && !errors.Is(err, ErrNoUser):
		return nil, nil, err
	case u == nil || err != nil:
		return nil, errors.New("ticket: there is no such user"), nil
	case u.Disabled || u.Tenant != t.Tenant:
		return nil, errors.New("ticket: the user is disabled or in another tenant"), nil
	case t.Purpose != UndoEmail && t.State != stateOf(u):
		return nil, errors.New("ticket: the password or the address has changed since"), nil
	}
	return u, nil, nil
}

// emit sends the event of a ticket that was used.
func (s *Service) emit(r *http.Request, name guard.EventName, t Ticket) {
	p := s.principal(t.Subject)
	p.Tenant = t.Tenant
	s.config.Hooks.Emit(r, guard.Event{Name: name, Principal: p, Changes: []slog.Attr{
		slog.String("ticket", "used"), slog.String("purpose", string(t.Purpose)),
	}})
}

// done answers a ticket that was used.
func (s *Service) done(w http.ResponseWriter, r *http.Request, p Purpose) error {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("Location", s.config.Base+string(p)+"?done")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// Prove verifies and uses the sign-in link or code in a request: a form or a JSON
// object with the field token, the fragment of a link, or code. The factor is
// "email".
//
// It returns [identity.ErrNotProven] for a ticket that does not pass, a
// *guard.Denial for a malformed request, and another error if a store fails.
func (s *Service) Prove(r *http.Request) (*identity.Proof, error) {
	fields, err := body.Members(noResponse{}, r, maxBody, "token", "code", "scope", "client_id", "client_secret")
	if err != nil {
		return nil, err
	}
	token, code := fields["token"], fields["code"]
	if (token == "") == (code == "") {
		return nil, guard.InvalidRequest("Either token or code is needed.", errors.New("ticket: token and code are both missing or both there"))
	}
	cookie := cookieOf(r)
	u := Use{Now: moment()}
	if cookie != "" {
		u.Browser = cookieBrowser(cookie)
	}
	var t Ticket
	var user *User
	if token != "" {
		u.Purpose = SignInLink
		if s.config.InsecureAnyBrowser {
			u.Browser = [32]byte{}
		} else if cookie == "" {
			return nil, notProven(errors.New("ticket: the browser did not request the link"))
		}
		t, user, err = s.take(r.Context(), u, token)
	} else {
		t, user, err = s.takeCode(r.Context(), u, cookie, code)
	}
	if err == nil {
		unclaimed := !user.Verified
		err = s.claim(context.WithoutCancel(r.Context()), user, false)
		if err == nil && unclaimed {
			p := s.principal(t.Subject)
			p.Tenant = t.Tenant
			s.config.Hooks.Emit(r, guard.Event{Name: guard.EventUserUpdated, Principal: p, Changes: []slog.Attr{slog.Bool("claimed", true)}})
		}
	}
	if err != nil {
		if d, ok := err.(*guard.Denial); ok && d.Code == "invalid_ticket" {
			return nil, notProven(d.Err)
		}
		return nil, err
	}
	return &identity.Proof{Subject: t.Subject, Tenant: t.Tenant, Factors: identity.NewSet("email")}, nil
}

func (s *Service) takeCode(ctx context.Context, u Use, cookie, code string) (Ticket, *User, error) {
	if cookie == "" || !isCode(code) {
		return Ticket{}, nil, invalidTicket(errors.New("ticket: malformed code, or the browser did not request it"))
	}
	u.Purpose, u.ID = SignInCode, cookieID(cookie)
	u.MaxTries, u.MaxWrong, u.WrongSince = maxTries, maxWrongCodes, u.Now.Add(-wrongCodesSpan)
	u.Key = codeKey(s.config.Keys[0], SignInCode, u.ID, code)
	if len(s.config.Keys) > 1 {
		// A code of an older key: the key of the ticket says which it is.
		if t, err := s.store.FindTicket(ctx, u); err == nil {
			for _, key := range s.config.Keys[1:] {
				if k := codeKey(key, SignInCode, u.ID, code); k == t.Key {
					u.Key = k
				}
			}
		}
	}
	return s.takeTicket(ctx, u)
}

func isCode(code string) bool {
	if len(code) != 6 {
		return false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return false
		}
	}
	return true
}

func notProven(reason error) error { return errors.Join(identity.ErrNotProven, reason) }

// noResponse stands for the ResponseWriter that Prove does not have.
type noResponse struct{}

func (noResponse) Header() http.Header         { return http.Header{} }
func (noResponse) WriteHeader(int)             {}
func (noResponse) Write(b []byte) (int, error) { return len(b), nil }
