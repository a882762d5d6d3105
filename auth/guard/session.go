package guard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// SessionConfig configures [NewSessions].
type SessionConfig struct {
	// Issuer is the Issuer of principals for which the lookup sets none. Default:
	// "session".
	Issuer string

	// Scopes are the scopes of principals for which the lookup sets none.
	// scopes.Config.FullIssuers grants all scopes to an issuer's callers.
	Scopes identity.Set

	// ExplicitWins are headers of explicit credentials, like "Authorization". With
	// one of them, the session is ignored. Default: a request with a session and
	// another credential is answered 400.
	ExplicitWins []string

	// TrustedOrigins are further origins whose pages may send requests with a session.
	TrustedOrigins []string

	// InsecureCrossOrigin disables the protection against cross-site request
	// forgery: every page can then act for its visitors.
	InsecureCrossOrigin bool
}

// Sessions is an [Authenticator] for sessions of the host's own. It is safe for
// concurrent use.
type Sessions struct {
	lookup     func(*http.Request) (*identity.Principal, error)
	config     SessionConfig
	protection *http.CrossOriginProtection
}

// NewSessions returns an authenticator that finds callers with lookup, which reads
// the session of a library of the host's choice, or a header that a trusted proxy
// sets:
//
//	sessions, err := guard.NewSessions(func(r *http.Request) (*identity.Principal, error) {
//		id := manager.GetString(r.Context(), "user") // scs
//		if id == "" {
//			return nil, nil
//		}
//		return &identity.Principal{Subject: id}, nil
//	}, guard.SessionConfig{})
//
// lookup returns nil without an error if there is no session, and [ErrInactive] for
// one that is no longer valid. Other errors are answered 503. Cross-origin requests
// with a session that could change something are answered 403; for the sign-in form,
// use headers.Isolate. The error of NewSessions lists all mistakes.
func NewSessions(lookup func(*http.Request) (*identity.Principal, error), config SessionConfig) (*Sessions, error) {
	var errs []error
	if lookup == nil {
		errs = append(errs, errors.New("auth/guard: NewSessions has no lookup"))
	}
	if config.Issuer == "" {
		config.Issuer = "session"
	}
	config.ExplicitWins = slices.Clone(config.ExplicitWins)
	for i, name := range config.ExplicitWins {
		if name == "" || token(name) != name || strings.EqualFold(name, "Cookie") {
			errs = append(errs, fmt.Errorf("auth/guard: SessionConfig.ExplicitWins[%d] is %q, want the name of a header with credentials, not Cookie", i, name))
		}
		config.ExplicitWins[i] = http.CanonicalHeaderKey(name)
	}
	s := &Sessions{lookup: lookup, config: config, protection: http.NewCrossOriginProtection()}
	for i, origin := range config.TrustedOrigins {
		if err := s.protection.AddTrustedOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("auth/guard: SessionConfig.TrustedOrigins[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Challenge implements [Authenticator], with the scheme Session.
func (s *Sessions) Challenge() Challenge { return Challenge{Scheme: "Session"} }

// Authenticate returns the caller of the session of r.
func (s *Sessions) Authenticate(r *http.Request) (*identity.Principal, error) {
	for _, name := range s.config.ExplicitWins {
		if len(r.Header[name]) > 0 {
			return nil, ErrNoCredentials
		}
	}
	p, err := s.lookup(r)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, ErrNoCredentials
	}
	if !s.config.InsecureCrossOrigin {
		if err := s.sameOrigin(r); err != nil {
			d := NewDenial(http.StatusForbidden, "cross_origin", "A page of another site made this request.", err)
			d.Event = EventCrossOrigin
			return nil, d
		}
	}
	found := NewPrincipal(r)
	*found = *p // the lookup may keep its own
	if found.Issuer == "" {
		found.Issuer = s.config.Issuer
	}
	if found.Scopes.Len() == 0 {
		found.Scopes = s.config.Scopes
	}
	if found.Subject == "" {
		return nil, errors.New("auth/guard: the lookup of a session returned a Principal without a Subject")
	}
	return found, nil
}

// sameOrigin returns an error if a page of another origin sent r. The handshake of a
// WebSocket is a GET whose answer every page can read.
func (s *Sessions) sameOrigin(r *http.Request) error {
	if len(r.Header["Origin"]) > 1 || len(r.Header["Sec-Fetch-Site"]) > 1 {
		return errors.New("auth/guard: the request has two Origin or Sec-Fetch-Site headers")
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-Fetch-Mode") == "websocket" {
		handshake := *r
		handshake.Method = http.MethodPost
		r = &handshake
	}
	if from := r.Header.Get("Origin"); from != "" {
		// net/http compares the host of whatever url.Parse makes of it.
		if u, err := url.Parse(from); err != nil || from != "null" && (u.Host == "" || u.Scheme+"://"+u.Host != from) {
			return fmt.Errorf("auth/guard: the origin %.100q is malformed", from)
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions &&
			r.Header.Get("Sec-Fetch-Site") == "" && Scheme(r) == "https" && strings.HasPrefix(from, "http:") && !slices.Contains(s.config.TrustedOrigins, from) {
			return errors.New("auth/guard: a page in clear text sent this to https")
		}
	}
	return s.protection.Check(r)
}

// SignInPage returns a function for Hooks.SignIn that redirects to page with the
// parameter next, the path and query of the request. The page passes next to
// [LocalPath] before it redirects back. SignInPage panics if page is no URL.
func SignInPage(page string) func(*http.Request, *Denial) string {
	u, err := url.Parse(page)
	if err != nil || page == "" || u.Fragment != "" {
		panic(fmt.Sprintf("guard: SignInPage has %q, want a path or a URL without a fragment", page))
	}
	separator := "?"
	if strings.Contains(page, "?") {
		separator = "&"
	}
	return func(r *http.Request, _ *Denial) string {
		return page + separator + "next=" + url.QueryEscape(LocalPath(r.URL.RequestURI()))
	}
}

// LocalPath returns next if it is a path of this server, and "/" otherwise, so that
// a link to the sign-in page cannot redirect to another server.
func LocalPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || u.Host != "" || u.Scheme != "" {
		return "/"
	}
	for i := range len(next) {
		if c := next[i]; c <= ' ' || c > '~' || c == '\\' {
			return "/"
		}
	}
	return next
}

// navigates reports whether a browser sent r to show a page.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || len(r.Header["Authorization"]) > 0 {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		dest := r.Header.Get("Sec-Fetch-Dest")
		return mode == "navigate" && (dest == "" || dest == "document")
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("X-Requested-With") == ""
}
