package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
)

// The details in responses, one for each class of refusal.
const (
	wrongPassword = "The login or the password is not right."
	wrongRefresh  = "The refresh token is not valid."
	wrongCode     = "The code is not right, or the challenge has ended."
)

// Token returns the handler of POST /token: grant_type password signs in with
// username and password (RFC 6749 section 4.3), grant_type refresh_token refreshes
// as [Server.Refresh] does. A form with a username and without a grant_type is a
// sign-in, as in FastAPI. The optional scope requests fewer scopes than the user
// may have.
//
// It answers 200 with access_token, refresh_token, token_type, expires_in and,
// unless empty, scope; 400 invalid_grant for every failed sign-in; 400 mfa_required
// with an mfa_token for [Server.MFA] if a second factor is due; 400 for other
// mistakes in the form; 401 invalid_client, see Config.Clients; 429 or 503 with
// Retry-After.
func (s *Server) Token() http.Handler {
	return endpoint(s, "sign-in", readForm, guided(s, func(r *http.Request, f form) (result, error) {
		c, err := s.client(r, f)
		if err != nil {
			return result{}, err
		}
		switch grant := f.get("grant_type"); {
		case grant == "password", grant == "" && (f.get("username") != "" || f.get("password") != ""):
			return s.signIn(r, f, origin{Client: c})
		case grant == "refresh_token":
			return s.rotate(r, f, origin{Client: c})
		case grant == "":
			return result{}, badRequest(http.StatusBadRequest, "The parameter grant_type is missing.")
		}
		return result{}, &guard.Denial{
			Status: http.StatusBadRequest,
			Code:   codeUnsupportedGrantType,
			Detail: "The grant_type must be password or refresh_token.",
			Err:    errors.New("unknown grant_type"),
		}
	}))
}

// signIn is the password grant.
func (s *Server) signIn(r *http.Request, f form, c origin) (result, error) {
	if err := c.may("password"); err != nil {
		return result{}, err
	}
	for _, name := range [...]string{"username", "password"} {
		if f.get(name) == "" {
			return result{}, badRequest(http.StatusBadRequest, "The parameter "+name+" is missing.")
		}
	}
	username := f.get("username")
	login, err := s.config.CanonicalLogin(username)
	if err != nil {
		// No user can have this name: continue as for any unknown name.
		login = ""
	}
	user, e, err := s.attempt(r, login, username, f.get("password"))
	if err != nil {
		return result{}, err
	}
	scopes, denial := requested(f, user.Scopes)
	if denial != nil {
		// The client has proven the password.
		denial.Login = username
		return result{}, denial
	}
	return s.admit(r, e, signIn{
		user:     user,
		login:    login,
		client:   c.ID,
		room:     c.room,
		scopes:   scopes,
		factors:  identity.NewSet("pwd"),
		authTime: e.began,
		refused:  wrongPassword,
	})
}

// moment returns the present with the precision of tokens and stores.
func moment() time.Time { return time.Now().Truncate(time.Microsecond) }

// attempt calls authenticate if the Throttle allows it.
func (s *Server) attempt(r *http.Request, login, username, given string) (*User, entry, error) {
	settle, err := s.reserve(r, login, username)
	if err != nil {
		return nil, entry{}, err
	}
	// If something panics, the attempt stays charged.
	outcome := guard.Failed
	defer func() { settle(outcome) }()
	user, e, err := s.authenticate(r, login, username, given)
	switch d, refused := errors.AsType[*guard.Denial](err); {
	case err == nil:
		outcome = guard.Succeeded
	case !refused || d.Code != codeInvalidGrant:
		// A failing store or hasher, or a client that disconnected, counts
		// neither as a failure nor as a success.
		outcome = guard.Undecided
	}
	return user, e, err
}

// addrOf returns the address of the client, without the port.
func addrOf(r *http.Request) string {
	addr, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return addr
}

// reserve charges the Throttle.
func (s *Server) reserve(r *http.Request, login, username string) (settle func(guard.Outcome), err error) {
	if s.config.Throttle == nil {
		return func(guard.Outcome) {}, nil
	}
	settle, wait, err := s.config.Throttle.Reserve(r.Context(), login, addrOf(r))
	switch {
	case err != nil:
		return nil, unavailable("asking the throttle", err)
	case wait > 0:
		return nil, tooMany(wait, username, errors.New("too many attempts to sign in"))
	case settle == nil:
		return nil, errors.New("auth: the Throttle returned neither settle nor retryAfter")
	}
	return settle, nil
}

// authenticate returns the user with the login and the password. Every refusal is the
// same Denial after the same work: the hash is also computed without a user.
func (s *Server) authenticate(r *http.Request, login, username, given string) (*User, entry, error) {
	e, err := s.enter(r.Context())
	if err != nil {
		return nil, entry{}, err
	}
	user, err := s.userOfPassword(r, login, username, given)
	return user, e, err
}

func (s *Server) userOfPassword(r *http.Request, login, username, given string) (*User, error) {
	ctx := r.Context()
	user, err := s.userByLogin(ctx, login)
	if err != nil {
		return nil, err
	}
	encoded := ""
	if user != nil && !user.Disabled {
		// For a disabled user, the time must not depend on whether the
		// password is correct.
		encoded = user.PasswordHash
	}
	begun := s.config.Hooks.Begin()
	ok, upgraded, err := s.config.Passwords.Verify(password.WithClient(ctx, r.RemoteAddr), given, encoded)
	s.measureHash(ctx, begun, ok, err)
	refused := func(reason string) error {
		d := invalidGrant(wrongPassword, errors.New(reason))
		d.Login = username
		return d
	}
	switch {
	case errors.Is(err, password.ErrMalformed), errors.Is(err, password.ErrUnsupported):
		// The response is the same as for a wrong password; otherwise it would
		// reveal that the user exists. The event names the user for the host.
		s.hooks.Emit(r, s.ofUser(guard.EventLoginFail, user, username, fmt.Errorf("auth: a stored password hash: %w", err)))
		return nil, refused("the stored password hash cannot be used")
	case errors.Is(err, password.ErrBusy):
		return nil, guard.Unavailable(2*time.Second, err)
	case err != nil:
		return nil, unavailable("verifying a password", err)
	case user == nil:
		return nil, refused("no such user")
	case user.Disabled:
		return nil, refused("the account is disabled")
	case user.PasswordHash == "":
		return nil, refused("the user has no password")
	case !ok:
		return nil, refused("wrong password")
	}
	if upgraded != "" {
		s.upgrade(r, user, username, upgraded)
	}
	return user, nil
}

// upgrade stores a better hash. The sign-in succeeds even if that fails.
func (s *Server) upgrade(r *http.Request, user *User, username, upgraded string) {
	updater, ok := s.users.(PasswordUpdater)
	if !ok {
		return
	}
	if err := updater.UpdatePasswordHash(r.Context(), user.ID, user.PasswordHash, upgraded); err != nil {
		s.hooks.Emit(r, s.ofUser(guard.EventUnavailable, user, username, fmt.Errorf("auth: storing an upgraded password hash: %w", err)))
		return
	}
	e := s.ofUser(guard.EventUserUpdated, user, username, nil)
	e.Changes = []slog.Attr{slog.String("password_hash", "upgraded")}
	s.hooks.Emit(r, e)
}

// ofUser returns an event about the record of a user, without an identified caller.
func (s *Server) ofUser(name guard.EventName, user *User, login string, err error) guard.Event {
	return guard.Event{
		Name:      name,
		Principal: &identity.Principal{Issuer: s.tokens.Name(), Subject: user.ID, Tenant: user.Tenant},
		Login:     login,
		Err:       err,
	}
}

// requested returns the scopes in a form, or all granted scopes without the parameter.
func requested(f form, granted identity.Set) (identity.Set, *guard.Denial) {
	if f.get("scope") == "" {
		return granted, nil
	}
	asked := identity.ParseSet(f.get("scope"))
	if asked.Len() == 0 || !granted.Contains(asked) {
		return identity.Set{}, invalidScope()
	}
	return asked, nil
}
