package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	passkeystore "github.com/gatewright/gatewright/auth/passkey/sqlstore"
	"github.com/gatewright/gatewright/auth/ticket"
	ticketstore "github.com/gatewright/gatewright/auth/ticket/sqlstore"
)

// Ways to sign in beside the password, and ways back in: passkeys, mailed links and
// codes, forgotten passwords, addresses that are verified or changed, invitations.

// The names of the ways to sign in.
const (
	wayPassword = "password"
	wayPasskey  = "passkey"
	wayMail     = "mail"
	wayStepUp   = "step-up" // another session of the same user, and a second factor
)

// ways are the parts of the app that passkeys and mail need.
type ways struct {
	page         string // the URL of the page for people, without a slash at its end
	cookies      *auth.Cookies
	passkeyStore *passkeystore.Store
	passkeys     *passkey.RelyingParty
	ticketStore  *ticketstore.Store
	tickets      *ticket.Service
	post         *post
}

// pageOf returns the URL at which people open the page, without a slash at its end.
// Passkeys are bound to a domain, which an IP address is not, so that this machine
// is called localhost.
func pageOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuer
	}
	if isLoopback(u.Host) {
		u.Host = "localhost" + strings.TrimPrefix(u.Host, bracketed(u.Hostname()))
	}
	return strings.TrimSuffix(u.String(), "/")
}

// domainOfPasskeys returns the RP ID and the origin of a page. Browsers make no
// passkeys for a page at an IP address or of plain HTTP on another machine. A server
// there gets a domain that does not exist, so that its routes refuse every passkey.
func domainOfPasskeys(page string) (rpID, from string) {
	u, err := url.Parse(page)
	if err == nil && !isIP(u.Hostname()) && (u.Scheme == "https" || isLoopback(u.Host)) {
		return strings.ToLower(u.Hostname()), u.Scheme + "://" + strings.ToLower(u.Host)
	}
	return "passkeys.invalid", "https://passkeys.invalid"
}

// isIP reports whether a host is an IP address.
func isIP(host string) bool {
	return strings.Contains(host, ":") || strings.Trim(host, "0123456789.") == ""
}

// joinPasskeys makes what is about passkeys. It comes before auth.New, which asks
// for second factors at each sign-in.
func (a *app) joinPasskeys(keys *secrets) error {
	key, errKey := keys.derive("passkeys")
	store, errStore := passkeystore.New(a.db, passkeystore.Config{Dialect: dialect(a.db, passkeystore.SQLite, passkeystore.PostgreSQL)})
	if err := errors.Join(errKey, errStore); err != nil {
		return err
	}
	a.ways.passkeyStore = store
	rpID, from := domainOfPasskeys(a.ways.page)
	var err error
	a.ways.passkeys, err = passkey.New(store, passkey.Config{
		RPID:    rpID,
		Name:    service,
		Origins: []string{from},
		Issuer:  a.issuer,
		Keys:    []guard.Secret{guard.NewSecret(key)},
		Once: func(ctx context.Context, id [32]byte, expires time.Time) (bool, error) {
			return a.sessions.AttemptChallenge(ctx, auth.TokenHash(id), 1, expires)
		},
		User: func(ctx context.Context, subject string) (passkey.User, error) {
			u, err := a.users.byID(ctx, subject)
			if err != nil {
				return passkey.User{}, err
			}
			return passkey.User{Name: u.Username, DisplayName: u.FullName}, nil
		},
		Authorize: func(ctx context.Context, p *identity.Principal, proof string) error {
			return a.signIn.VerifyPassword(ctx, p, proof)
		},
		Revoked: func(ctx context.Context, p *identity.Principal) (bool, error) {
			return a.revoked.Direct().Revoked(ctx, p)
		},
		SecondFactor: func(ctx context.Context, subject string) (bool, error) { return a.factors.Required(ctx, subject) },
		AnotherWayIn: func(ctx context.Context, subject string) (bool, error) {
			u, err := a.users.byID(ctx, subject)
			return err == nil && u.PasswordHash != "", err
		},
		Notify: func(_ context.Context, c passkey.Change) {
			a.ways.post.tell(c.Passkey.Subject, fmt.Sprintf("The passkey %q was %s.", c.Passkey.Name, c.Kind))
		},
		Hooks: a.hooks,
	})
	return err
}

// joinTickets makes what is about mail.
func (a *app) joinTickets(keys *secrets, s settings) error {
	key, errKey := keys.derive("tickets")
	store, errStore := ticketstore.New(a.db, ticketstore.Config{Dialect: dialect(a.db, ticketstore.SQLite, ticketstore.PostgreSQL)})
	if err := errors.Join(errKey, errStore); err != nil {
		return err
	}
	a.ways.ticketStore = store
	base := a.ways.page
	if u, err := url.Parse(base); err == nil && u.Scheme == "http" && !isLoopback(u.Host) {
		base = "https" + strings.TrimPrefix(base, "http") // nothing secret is mailed for a page in the clear
	}
	var err error
	a.ways.tickets, err = ticket.New(store, mailedUsers{a}, ticket.Config{
		Base:    base + "/account/",
		Issuer:  a.issuer,
		Keys:    []guard.Secret{guard.NewSecret(key)},
		Deliver: a.ways.post.deliver,
		Limit: func(ctx context.Context, key string) error {
			if a.limits.mail == nil {
				return nil
			}
			_, err := a.limits.mail.Reserve(ctx, 1, key)
			return err
		},
		CheckPassword: func(password string) error {
			if err := a.policy.Check(password, service); err != nil {
				return badPassword("password", err)
			}
			return nil
		},
		// A reset may follow a theft, so API keys end too.
		EndSessions: func(ctx context.Context, subject string) error {
			id, err := strconv.ParseInt(subject, 10, 64)
			if err != nil {
				return err
			}
			return a.endEverything(ctx, &user{ID: id})
		},
		Authorize: func(ctx context.Context, p *identity.Principal, proof string) error {
			return a.signIn.VerifyPassword(ctx, p, proof)
		},
		Claim:        a.claim,
		Accept:       a.acceptInvitation,
		AcceptFields: []string{"username", "password"},
		Hooks:        a.hooks,
	})
	return err
}

// claim takes everything that is a way in from an account whose address was never
// verified: its owner has just been found, and may not be who registered.
func (a *app) claim(ctx context.Context, subject string, keepPassword bool) error {
	id, err := strconv.ParseInt(subject, 10, 64)
	if err != nil {
		return err
	}
	var errPassword error
	if !keepPassword {
		_, errPassword = a.db.ExecContext(ctx, "UPDATE users SET password_hash = '' WHERE id = $1", id)
	}
	return errors.Join(errPassword, a.removeFactors(ctx, subject), a.revokeKeysOf(ctx, &user{ID: id}))
}

// removeFactors removes the passkeys and the second factor of a user.
func (a *app) removeFactors(ctx context.Context, subject string) error {
	all, err := a.ways.passkeyStore.Passkeys(ctx, subject)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := a.ways.passkeyStore.RemovePasskey(ctx, subject, one.ID, false); err != nil && !errors.Is(err, passkey.ErrNotFound) {
			return err
		}
	}
	return a.factors.Reset(ctx, subject)
}

// acceptInvitation makes the account of an invitation. Data is the ID of the
// administrator who sent it.
func (a *app) acceptInvitation(ctx context.Context, t ticket.Ticket, fields map[string]string) error {
	by, err := a.users.byID(ctx, string(t.Data))
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return err
	}
	if err != nil || by.Disabled || !a.holds(by, "write:users") {
		return guard.Forbidden(errors.New("who sent the invitation may not invite any more"))
	}
	in := registration{Username: fields["username"], Email: t.Email, Password: fields["password"]}
	u, err := in.user(a.policy)
	if err != nil {
		d, _ := errors.AsType[*guard.Denial](invalid(err))
		return d
	}
	if u.PasswordHash, err = a.hash(ctx, in.Password); err != nil {
		return busy(err)
	}
	u.EmailVerified = true // the invitation went there
	err = a.users.create(ctx, u)
	if errors.Is(err, errTaken) {
		return guard.NewDenial(http.StatusConflict, "username_taken", "This username or the address is taken.", err)
	}
	return err
}

// mailedUsers are the users as tickets see them.
type mailedUsers struct{ *app }

// addressKey returns the form in which addresses are compared: letters of ASCII in
// lower case. A message goes to the spelling that is stored.
func addressKey(email string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, email)
}

// UserByEmail implements [ticket.Users]. Of several accounts with one address the one
// that proved it is meant, otherwise the oldest.
func (m mailedUsers) UserByEmail(ctx context.Context, email string) (*ticket.User, error) {
	if email == "" {
		return nil, ticket.ErrNoUser
	}
	return forTickets(scanUser(m.db.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE email_key = $1 ORDER BY email_verified DESC, id LIMIT 1", addressKey(email))))
}

// UserBySubject implements [ticket.Users].
func (m mailedUsers) UserBySubject(ctx context.Context, subject string) (*ticket.User, error) {
	return forTickets(m.users.byID(ctx, subject))
}

func forTickets(u *user, err error) (*ticket.User, error) {
	if errors.Is(err, auth.ErrNotFound) {
		return nil, ticket.ErrNoUser
	}
	if err != nil {
		return nil, err
	}
	return &ticket.User{Subject: strconv.FormatInt(u.ID, 10), Email: u.Email, Verified: u.EmailVerified, PasswordHash: u.PasswordHash, Disabled: u.Disabled}, nil
}

// SetPassword implements [ticket.Users].
func (m mailedUsers) SetPassword(ctx context.Context, subject, oldHash, wanted string) error {
	u, err := m.users.byID(ctx, subject)
	if errors.Is(err, auth.ErrNotFound) {
		return ticket.ErrNoUser
	}
	if err != nil {
		return err
	}
	hash, err := m.hash(ctx, wanted)
	if err != nil {
		return busy(err)
	}
	replaced, err := m.users.changePassword(ctx, u.ID, oldHash, hash)
	if err == nil && !replaced {
		return ticket.ErrChanged
	}
	return err
}

// SetEmail implements [ticket.Users].
func (m mailedUsers) SetEmail(ctx context.Context, subject, old, email string) error {
	id, ok := parseID(subject)
	if !ok {
		return ticket.ErrNoUser
	}
	taken := false
	err := locked(ctx, m.db, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM users WHERE email_key = $1 AND email_verified AND id <> $2)", addressKey(email), id).Scan(&taken)
		if err != nil || taken {
			return err
		}
		done, err := changed(tx.ExecContext(ctx, "UPDATE users SET email = $3, email_key = $4, email_verified = $5 WHERE id = $1 AND email = $2", id, old, email, addressKey(email), true))
		if err == nil && !done {
			return ticket.ErrChanged
		}
		return err
	}, id)
	if taken || isDuplicate(err) {
		return ticket.ErrTaken
	}
	return err
}

// isDuplicate reports whether a unique index refused a row: of two users who verify
// one address at once, one does.
func isDuplicate(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "SQLSTATE 23505") || strings.Contains(err.Error(), "UNIQUE constraint failed"))
}

// signInByPasskey and signInByMail are the ways in, for tokens and for cookies.
func (a *app) signInByPasskey() auth.WayIn {
	return auth.WayIn{Name: wayPasskey, Prove: a.ways.passkeys.Prove, Second: auth.SkipIfMFA}
}

func (a *app) signInByMail() auth.WayIn {
	return auth.WayIn{Name: wayMail, Prove: a.ways.tickets.Prove}
}

// invite is POST /invitations/.
func (a *app) invite(w http.ResponseWriter, r *http.Request) {
	err := a.sendInvitation(w, r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (a *app) sendInvitation(w http.ResponseWriter, r *http.Request) error {
	by, err := a.current(r)
	if err != nil {
		return err
	}
	var email string
	if err := a.readJSON(w, r, map[string]any{"email": &email}); err != nil {
		return err
	}
	if address, err := mail.ParseAddress(email); err != nil || address.Address != email || len(email) > 254 {
		return invalid(errors.New("email: is not an address"))
	}
	// The answer does not tell whether there is an account with the address.
	return a.ways.tickets.Issue(r.Context(), ticket.Order{Purpose: ticket.Invitation, Email: email, Data: []byte(strconv.FormatInt(by.ID, 10))})
}

// sendReset is POST /users/{username}/reset-password: an administrator lets a user
// choose a new password, and never chooses it.
func (a *app) sendReset(w http.ResponseWriter, r *http.Request) {
	if err := a.orderReset(r); err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (a *app) orderReset(r *http.Request) error {
	by, err := a.current(r)
	if err != nil {
		return err
	}
	u, err := a.named(r)
	if err != nil {
		return err
	}
	if err := a.mayAdminister(by, u, writeUsers); err != nil {
		return err
	}
	if u.Email == "" || u.Disabled {
		return &guard.Denial{Status: http.StatusConflict, Code: "conflict", Detail: "The account has no address, or is disabled."}
	}
	return a.ways.tickets.Issue(r.Context(), ticket.Order{Purpose: ticket.ResetPassword, Subject: strconv.FormatInt(u.ID, 10)})
}

// A sessionView is what the page may know of the access token, which scripts cannot read.
type sessionView struct {
	Subject   string       `json:"subject"`
	Username  string       `json:"username"`
	Email     string       `json:"email"`
	Verified  bool         `json:"email_verified"`
	Session   string       `json:"session"`
	Began     string       `json:"began"` // how the session began
	Factors   identity.Set `json:"factors"`
	Roles     identity.Set `json:"roles"`  // today's
	Scopes    identity.Set `json:"scopes"` // of the token
	AuthTime  time.Time    `json:"auth_time"`
	IssuedAt  time.Time    `json:"issued_at"`
	Expires   time.Time    `json:"expires"`
	Now       time.Time    `json:"now"`
	Codes     bool         `json:"codes"`    // one-time codes are set up
	Passkeys  bool         `json:"passkeys"` // there is a passkey
	Mailbox   bool         `json:"outbox"`   // messages can be read at /outbox/
	AccountID int64        `json:"id"`
}

// showSession is GET /session/.
func (a *app) showSession(w http.ResponseWriter, r *http.Request) {
	out, err := a.sessionOf(r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func (a *app) sessionOf(r *http.Request) (*sessionView, error) {
	ctx := r.Context()
	p, err := guard.Caller(r)
	if err != nil {
		return nil, err
	}
	u, err := a.current(r)
	if err != nil {
		return nil, err
	}
	f, errWay := a.facts(ctx, p.Session)
	codes, errCodes := a.factors.Required(ctx, p.Subject)
	passkeys, errPasskeys := a.ways.passkeys.Required(ctx, p.Subject)
	if err := errors.Join(errWay, errCodes, errPasskeys); err != nil {
		return nil, err
	}
	return &sessionView{
		Subject: p.Subject, Username: u.Username, Email: u.Email, Verified: u.EmailVerified, Session: p.Session, Began: f.way, Factors: p.Factors,
		Roles: u.Roles, Scopes: p.Scopes, AuthTime: p.AuthTime.UTC(), IssuedAt: p.IssuedAt.UTC(), Expires: p.Expires.UTC(), Now: time.Now().UTC(),
		Codes: codes, Passkeys: passkeys, Mailbox: a.ways.post.outbox != nil, AccountID: u.ID,
	}, nil
}

var (
	_ ticket.Users      = mailedUsers{}
	_ auth.SecondFactor = (*passkey.RelyingParty)(nil)
)

// newPost makes what sends messages.
func (a *app) newPost(s settings) *post {
	var box *outbox
	if s.outbox {
		box = new(outbox)
	}
	address := func(ctx context.Context, subject string) (string, error) {
		u, err := a.users.byID(ctx, subject)
		if err != nil {
			return "", err
		}
		return u.Email, nil
	}
	return newPost(box, s.mail, address, func(err error) { a.log.Warn("a message was not sent", "error", err) })
}

// closeWays sends the messages that wait.
func (a *app) closeWays() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.ways.tickets.Close(ctx); err != nil {
		a.log.Warn("messages were not sent", "error", err)
	}
	a.ways.post.close()
}
