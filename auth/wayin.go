package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/body"
)

// A WayIn is a way to sign in other than a password, for example a passkey, a
// mailed link, an identity provider, or a session of the host. Throttle, Active,
// second factor, EndSessions and refresh work as for a password.
type WayIn struct {
	// Name names the way in events, for the Throttle, and in Client.Grants, for
	// example "passkey". It has 1 to 32 lower-case letters, digits, '-' and '_'.
	// Required.
	Name string

	// Prove verifies the request and returns the proven user. The body is a form or
	// JSON of at most 16 KiB. An error that wraps [identity.ErrNotProven] is
	// answered 400 invalid_grant, a *guard.Denial of status 400 to 499 as it is,
	// and every other error 503.
	//
	// The host is responsible for the Subject: map a proof of an identity provider
	// by issuer and subject, never by e-mail address. Required.
	Prove func(r *http.Request) (*identity.Proof, error)

	// Login returns the user name that the request claims, for a way with secrets
	// that can be guessed, for example LDAP passwords: the Throttle also limits
	// attempts by that name. An error is answered 400. Default: the Throttle limits
	// attempts by client address only.
	Login func(r *http.Request) (string, error)

	// Second is when a second factor is required. Default: AskAlways.
	Second SecondRule
}

// A SecondRule determines when a way to sign in requires a second factor.
type SecondRule int

const (
	// AskAlways requires a second factor whenever Config.SecondFactor does.
	AskAlways SecondRule = iota

	// SkipIfMFA requires none if the factors of the proof include "mfa". Set it
	// only for a Prove that verifies several factors itself, like
	// passkey.RelyingParty.Prove, never for claims of an identity provider.
	SkipIfMFA
)

// maxProof is the largest body of a request to sign in, in bytes.
const maxProof = 16 << 10

// wrongProof is the detail in the response to a rejected proof.
const wrongProof = "The sign-in was not accepted."

// methods are the factors that a proof may have: the names of RFC 8176, and two private
// names, for an identity provider and for a mailbox.
var methods = identity.NewSet("face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba", "retina", "sc",
	"sms", "swk", "tel", "user", "vbm", "wia", "fed", "email")

// check panics if w cannot be used.
func (w WayIn) check() {
	if w.Name == "" || len(w.Name) > 32 || strings.Trim(w.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		panic(fmt.Sprintf("auth: WayIn.Name is %q; use 1 to 32 lower-case letters, digits, '-' and '_'", w.Name))
	}
	if w.Prove == nil {
		panic("auth: WayIn.Prove is nil")
	}
}

// SignIn returns the handler that opens a session for the user that w proves. POST
// takes a form or JSON for w.Prove; a form may also have scope and the client's
// credentials. It answers as [Server.Token] does, and 400 invalid_grant whether the
// proof is wrong or the user is unknown, disabled or of another tenant. It panics
// if w is incomplete.
func (s *Server) SignIn(w WayIn) http.Handler {
	w.check()
	return guard.Public("sign-in by " + w.Name)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r, f, err := readProof(rw, r)
		if err != nil {
			s.hooks.Refuse(rw, r, err)
			return
		}
		out, err := s.signInBy(r, w, f, origin{})
		if err != nil {
			s.refuse(rw, r, err)
			return
		}
		out.write(rw)
	}))
}

// SignIn is [Server.SignIn] and sets the cookies. The browser's previous session
// ends.
func (c *Cookies) SignIn(w WayIn) http.Handler {
	w.check()
	s := c.server
	return guard.Public("sign-in by " + w.Name)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := c.check(r); err != nil {
			s.refuse(rw, r, err)
			return
		}
		r, f, err := readProof(rw, r)
		if err != nil {
			s.refuse(rw, r, err)
			return
		}
		out, err := c.replacing(r, func() (result, error) { return s.signInBy(r, w, f, c.origin()) })
		if err != nil {
			s.refuse(rw, r, err)
			return
		}
		c.answer(rw, r, out)
	}))
}

// SignInRedirect returns the handler of the URL to which an identity provider sends
// the browser back. GET calls w.Prove, which must verify the state of the flow in a
// SameSite=Lax cookie of the host. It sets the cookies and redirects to a path of
// this host with 303; if the sign-in fails, with the parameter error, which is
// mfa_required if a second factor is due. Requests that are not a navigation are
// answered 403. It panics unless to is an absolute path.
func (c *Cookies) SignInRedirect(w WayIn, to string) http.Handler {
	w.check()
	if u, err := url.Parse(to); err != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t#") || u.Host != "" || u.RawQuery != "" {
		panic(fmt.Sprintf("auth: SignInRedirect to %q; use a path of this host without query, such as /", to))
	}
	s := c.server
	return guard.Public("sign-in by " + w.Name)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			s.refuse(rw, r, guard.MethodNotAllowed(rw, http.MethodGet))
			return
		}
		if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" || r.Header.Get("Sec-Fetch-Dest") == "iframe" {
			s.refuse(rw, r, guard.Forbidden(errors.New("auth: the callback was not requested by a navigation")))
			return
		}
		rw.Header().Set("Cache-Control", "no-store")
		rw.Header().Set("Referrer-Policy", "no-referrer") // the URL has a code
		out, err := c.replacing(r, func() (result, error) { return s.signInBy(r, w, form{}, c.origin()) })
		target := to
		switch {
		case err != nil:
			d := guard.DenialOf(r.Context(), err)
			s.hooks.Emit(r, guard.Event{Name: guard.EventLoginFail, Denial: d})
			target += "?error=" + url.QueryEscape(d.Code)
		default:
			if err := c.set(rw, c.cookiesFor(out)); err != nil {
				s.refuse(rw, r, err)
				return
			}
			if out.challenge != nil {
				target += "?error=" + codeMFARequired
			}
		}
		rw.Header().Set("Location", target)
		rw.WriteHeader(http.StatusSeeOther)
	}))
}

// readProof reads the body of a request to sign in. It returns the request with
// the body to be read once more, and the fields of a form.
func readProof(w http.ResponseWriter, r *http.Request) (*http.Request, form, error) {
	if r.Method != http.MethodPost {
		return r, nil, guard.MethodNotAllowed(w, http.MethodPost)
	}
	types := r.Header["Content-Type"]
	media := ""
	if len(types) == 1 {
		media, _, _ = mime.ParseMediaType(types[0])
	}
	if media != "application/json" && media != "application/x-www-form-urlencoded" {
		return r, nil, guard.UnsupportedMediaType(fmt.Errorf("auth: the Content-Type is %.100q", types), "application/json", "application/x-www-form-urlencoded")
	}
	b, err := body.Read(w, r, maxProof)
	if err != nil {
		return r, nil, err
	}
	f := form{}
	if media != "application/json" {
		values, err := url.ParseQuery(string(b))
		if err != nil {
			return r, nil, badRequest(http.StatusBadRequest, "The body is not a form.")
		}
		for _, all := range values {
			if len(all) > 1 {
				return r, nil, badRequest(http.StatusBadRequest, "A parameter is given more than once.")
			}
		}
		f = form(values)
	}
	again := r.Clone(r.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return again, f, nil
}

// signInBy signs in by w for the client c, or, for the zero origin, for the client that
// the request names.
func (s *Server) signInBy(r *http.Request, w WayIn, f form, c origin) (result, error) {
	if c.Client == nil {
		var err error
		if c.Client, err = s.client(r, f); err != nil {
			return result{}, err
		}
	}
	if c.Client != ownApplication {
		if err := c.may(w.Name); err != nil {
			return result{}, err
		}
	}
	e, err := s.enter(r.Context())
	if err != nil {
		return result{}, err
	}
	login, claimed := "", ""
	if w.Login != nil {
		if claimed, err = w.Login(r); err != nil {
			return result{}, badRequest(http.StatusBadRequest, "The request names no user.")
		}
		if login, err = s.config.CanonicalLogin(claimed); err != nil {
			login = ""
		}
	} else {
		// A name that no login can have: attempts from other addresses, and
		// attempts with passwords, have other names.
		login = "\x00" + w.Name + "\x00" + addrOf(r)
	}
	proof, user, err := s.proveWithin(r, w, e, login, claimed)
	if err != nil {
		return result{}, err
	}
	scopes, denial := requested(f, user.Scopes)
	if denial != nil {
		return result{}, denial
	}
	return s.admit(r, e, signIn{
		user:       user,
		login:      claimed,
		client:     c.ID,
		room:       c.room,
		scopes:     scopes,
		factors:    proof.Factors,
		authTime:   proof.Time,
		until:      proof.Until,
		way:        w.Name,
		skipSecond: w.Second == SkipIfMFA && proof.Factors.Has("mfa"),
		refused:    wrongProof,
	})
}

// proveWithin calls proven if the Throttle allows it.
func (s *Server) proveWithin(r *http.Request, w WayIn, e entry, login, claimed string) (*identity.Proof, *User, error) {
	settle, err := s.reserve(r, login, claimed)
	if err != nil {
		return nil, nil, err
	}
	// If Prove panics, the attempt stays charged.
	outcome := guard.Failed
	defer func() { settle(outcome) }()
	proof, user, err := s.proven(r, w, e)
	switch d, refused := errors.AsType[*guard.Denial](err); {
	case err == nil:
		outcome = guard.Succeeded
	case r.Context().Err() != nil, !refused, d.Status == http.StatusTooManyRequests, d.Status >= 500:
		outcome = guard.Undecided
	}
	return proof, user, err
}

// proven returns the proof, with its Time set, and its user.
func (s *Server) proven(r *http.Request, w WayIn, e entry) (*identity.Proof, *User, error) {
	proof, err := w.Prove(r)
	if err != nil {
		return nil, nil, s.notProven(r.Context(), err)
	}
	if proof == nil {
		return nil, nil, fmt.Errorf("auth: the Prove of the way in %q returned neither a proof nor an error", w.Name)
	}
	p := *proof
	if p.Factors.Len() == 0 || !methods.Contains(p.Factors) {
		return nil, nil, fmt.Errorf("auth: the way in %q proved the factors %q; use names of RFC 8176, \"fed\" or \"email\"", w.Name, p.Factors)
	}
	if !wellFormed(p.Subject) {
		return nil, nil, fmt.Errorf("auth: the way in %q proved the subject %.40q, which is not an identifier", w.Name, p.Subject)
	}
	switch {
	case p.Time.IsZero(), p.Time.After(e.began) && !p.Time.After(e.began.Add(time.Minute)):
		p.Time = e.began
	case p.Time.After(e.began), p.Time.Before(e.began.Add(-s.config.RefreshAbsolute)):
		return nil, nil, fmt.Errorf("auth: the way in %q proved factors at %v, which is in the future or longer ago than Config.RefreshAbsolute", w.Name, p.Time.Round(0))
	}
	if !p.Until.IsZero() && !p.Until.After(e.began) {
		return nil, nil, invalidGrant(wrongProof, errors.New("the proof has expired"))
	}
	user, err := s.userByID(r.Context(), p.Subject)
	switch {
	case err != nil:
		return nil, nil, err
	case user == nil, user.Disabled, p.Tenant != "" && p.Tenant != user.Tenant:
		return nil, nil, invalidGrant(wrongProof, errors.New("the user is unknown, disabled, or of another tenant"))
	}
	return &p, user, nil
}

// notProven returns the answer to an error of Prove.
func (s *Server) notProven(ctx context.Context, err error) error {
	if errors.Is(err, identity.ErrNotProven) {
		return invalidGrant(wrongProof, err)
	}
	// Only the error itself: a wrapped refusal comes from another system.
	if d, ok := err.(*guard.Denial); ok && d.Status >= 400 && d.Status < 500 {
		return d
	}
	return unavailable("verifying a proof", err)
}
