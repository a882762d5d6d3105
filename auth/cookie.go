package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/internal/httpfield"
)

// CookieConfig configures [Cookies].
type CookieConfig struct {
	// Name distinguishes the cookies of several applications on one host, because
	// browsers share cookies between ports: with "shop", the names begin with
	// __Host-shop-. Up to 32 letters, digits, '-' and '_'. Default: empty.
	Name string

	// TrustedOrigins are further origins whose pages may send requests that change
	// something, for example "https://app.example.com". The scheme is https, or
	// http on this machine. Default: only pages of this server.
	TrustedOrigins []string
}

// Cookies keeps the tokens of a [Server] in cookies that scripts cannot read; no
// response body contains a token. It is the [guard.Authenticator] of these cookies,
// and its handlers set and clear them. They are public in the route ledger, except
// StepUp. Cookies is safe for concurrent use.
//
//	cookies, err := auth.NewCookies(signIn, auth.CookieConfig{})
//	…
//	mux := guard.NewMux(hooks, verifier, cookies) // or cookies alone
//	mux.Handle("/session", cookies.Token())
//	mux.Handle("/session/refresh", cookies.Refresh())
//	mux.Handle("/session/logout", cookies.Logout())
//
// [http.CrossOriginProtection] rejects cross-origin requests with 403, for all
// methods except GET, HEAD and OPTIONS, and for every WebSocket. Handlers of GET
// requests must not change anything.
//
// The cookies __Host-access_token (SameSite=Lax, so that links from other sites
// open signed in), __Host-refresh_token and __Host-mfa_token (SameSite=Strict) are
// Secure and HttpOnly. Their prefix prevents other hosts, also subdomains, from
// setting them.
//
// Over plain HTTP, browsers ignore Secure cookies, except on localhost. Both tokens
// are sent with every request to the host: proxies must accept headers of 8 KiB.
type Cookies struct {
	server               *Server
	protection           *http.CrossOriginProtection
	access, refresh, mfa string // names
	room                 int    // bytes that an access token may have, to fit into its cookie
}

// maxCookie is the longest cookie that browsers must keep, with its name and its
// attributes, in bytes (RFC 6265 section 6.1). Browsers drop longer cookies silently.
const maxCookie = 4096

// NewCookies returns the cookie mode of s, which requires Config.Verifier. The error
// lists every mistake.
func NewCookies(s *Server, config CookieConfig) (*Cookies, error) {
	var errs []error
	if s == nil {
		errs = append(errs, errors.New("auth: the Server is nil"))
	} else if s.config.Verifier == nil {
		errs = append(errs, errors.New("auth: NewCookies needs Config.Verifier of the Server"))
	}
	prefix := "__Host-"
	if config.Name != "" {
		if len(config.Name) > 32 || strings.Trim(config.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			errs = append(errs, fmt.Errorf("auth: CookieConfig.Name is %q; use up to 32 letters, digits, '-' and '_'", config.Name))
		}
		prefix += config.Name + "-"
	}
	c := &Cookies{
		protection: http.NewCrossOriginProtection(),
		access:     prefix + "access_token",
		refresh:    prefix + "refresh_token",
		mfa:        prefix + "mfa_token",
	}
	for _, origin := range config.TrustedOrigins {
		if err := c.trust(origin); err != nil {
			errs = append(errs, fmt.Errorf("auth: CookieConfig.TrustedOrigins: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.server = s
	longest := c.cookie(c.access, "", 24*time.Hour*400, http.SameSiteStrictMode)
	c.room = maxCookie - len(longest.String())
	return c, nil
}

// origin returns the host's own application with access tokens that fit into their
// cookie.
func (c *Cookies) origin() origin { return origin{ownApplication, c.room} }

func (c *Cookies) trust(origin string) error {
	if err := checkURL(origin, false); err != nil {
		return err
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme+"://"+strings.ToLower(u.Host) != origin || u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return fmt.Errorf("%q is not an origin as browsers write it, want scheme://host in lower case, and the port if it is not the usual one", origin)
	}
	return c.protection.AddTrustedOrigin(origin)
}

// cookieScheme names the cookies in challenges. HTTP has no scheme for cookies, but a
// 401 needs one (RFC 9110 section 15.5.2), and browsers ignore unknown schemes.
const cookieScheme = "Cookie"

// Challenge implements [guard.Authenticator]. Its scheme, "Cookie", is not
// registered.
func (c *Cookies) Challenge() guard.Challenge { return guard.Challenge{Scheme: cookieScheme} }

// Authenticate verifies the access token in the cookie. It answers two cookies of
// that name with 400, and cross-origin requests that could change something with
// 403.
func (c *Cookies) Authenticate(r *http.Request) (*identity.Principal, error) {
	given, present, err := c.read(r, c.access)
	switch {
	case err != nil:
		return nil, err
	case !present:
		return nil, guard.ErrNoCredentials
	}
	if err := c.check(r); err != nil {
		return nil, err
	}
	p, err := c.server.config.Verifier.Verify(r.Context(), given)
	if err == nil || !errors.Is(err, token.ErrInvalid) {
		return p, err
	}
	return nil, guard.InvalidToken(cookieScheme, err)
}

// check refuses cross-origin requests that could change something.
func (c *Cookies) check(r *http.Request) error {
	checked := r
	if len(r.Header["Upgrade"]) > 0 {
		// A WebSocket begins with a GET, and its messages can change anything.
		checked = &http.Request{Method: http.MethodPost, URL: r.URL, Host: r.Host, Header: r.Header}
	}
	if err := c.protection.Check(checked); err != nil {
		return guard.Forbidden(fmt.Errorf("auth: %w", err))
	}
	return nil
}

// read returns the value of the cookie with the given name, and whether there is one.
func (c *Cookies) read(r *http.Request, name string) (value string, present bool, _ error) {
	value, n := httpfield.Cookie(r, name)
	if n > 1 {
		return "", false, guard.InvalidRequest("The request carries a cookie more than once.",
			errors.New("auth: more than one cookie "+name))
	}
	return value, n == 1, nil
}

// Token is [Server.Token] for a username and password, and sets the cookies. It
// answers 200 with expires_in and scope, or 400 mfa_required with expires_in and a
// cookie with the challenge. The browser's previous session ends (OWASP ASVS 5.0,
// 7.2.4).
func (c *Cookies) Token() http.Handler {
	s := c.server
	return guard.Public("sign-in")(c.handler(readForm, guided(s, func(r *http.Request, f form) (result, error) {
		if grant := f.get("grant_type"); grant != "" && grant != "password" {
			return result{}, &guard.Denial{
				Status: http.StatusBadRequest,
				Code:   codeUnsupportedGrantType,
				Detail: "The grant_type must be password.",
				Err:    errors.New("unknown grant_type"),
			}
		}
		return c.replacing(r, func() (result, error) { return s.signIn(r, f, c.origin()) })
	})))
}

// MFA is [Server.MFA] with the challenge from its cookie, and sets the cookies of a
// session.
func (c *Cookies) MFA() http.Handler {
	if c.server.config.SecondFactor == nil {
		panic("auth: MFA needs Config.SecondFactor")
	}
	return guard.Public("second factor")(c.handler(readCodeForm, func(r *http.Request, f form) (result, error) {
		if err := c.fill(r, f, c.mfa, "mfa_token"); err != nil {
			return result{}, err
		}
		return c.replacing(r, func() (result, error) { return c.server.exchange(r, f, c.origin()) })
	}))
}

// Refresh is [Server.Refresh] with the refresh token from its cookie, and sets new
// cookies. The body is a form with a scope, or empty. A rejected token clears the
// cookies.
func (c *Cookies) Refresh() http.Handler {
	s := c.server
	return guard.Public("refresh")(c.handler(readOptionalForm, guided(s, func(r *http.Request, f form) (result, error) {
		if err := c.fill(r, f, c.refresh, "refresh_token"); err != nil {
			return result{}, err
		}
		out, err := s.rotate(r, f, c.origin())
		if d, ok := errors.AsType[*guard.Denial](err); ok && d.Code == codeInvalidGrant {
			return result{}, signedOut{err}
		}
		return out, err
	})))
}

// StepUp is [Server.StepUp] and sets the cookies of the new session.
func (c *Cookies) StepUp() http.Handler {
	s := c.server
	if s.config.SecondFactor == nil {
		panic("auth: StepUp needs Config.SecondFactor")
	}
	return s.config.Hooks.Authenticated(c.handler(readCode, func(r *http.Request, f form) (result, error) { return s.stepUpForm(r, f, c.origin().room) }))
}

// Logout ends the session of the cookies and clears them, also invalid ones. It
// accepts the refresh token too, so it works after the access token has expired.
//
// It answers 200 when the end of the session is durable, and otherwise 503 with
// unchanged cookies.
func (c *Cookies) Logout() http.Handler {
	s := c.server
	return guard.Public("logout")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := c.logout(w, r)
		if err != nil {
			s.config.Hooks.Refuse(w, r, err)
			return
		}
		c.clear(w)
		if p != nil {
			s.hooks.Emit(r, guard.Event{Name: guard.EventTokenRevoked, Principal: p})
		}
		writeJSON(w, http.StatusOK, loggedOut)
	}))
}

// logout returns the principal of the ended session, or nil without a session.
func (c *Cookies) logout(w http.ResponseWriter, r *http.Request) (ended *identity.Principal, _ error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, badRequest(http.StatusMethodNotAllowed, "This endpoint takes POST requests.")
	}
	if err := c.check(r); err != nil {
		return nil, err
	}
	all, err := c.sessions(r)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if err := c.server.logout(r, p); err != nil {
			return nil, err
		}
		ended = p
	}
	return ended, nil
}

// sessions returns the principals of the valid refresh token and access token of the
// browser, one if both are of one session.
func (c *Cookies) sessions(r *http.Request) (all []*identity.Principal, _ error) {
	for _, cookie := range [...]struct {
		name   string
		verify *token.Verifier
	}{{c.refresh, c.server.refreshVerifier}, {c.access, c.server.config.Verifier}} {
		given, present, err := c.read(r, cookie.name)
		if err != nil {
			return nil, err
		}
		if !present {
			continue
		}
		p, err := cookie.verify.Verify(r.Context(), given)
		switch {
		case errors.Is(err, token.ErrInvalid):
			continue
		case err != nil:
			return nil, unavailable("verifying a token", err)
		case len(all) > 0 && all[0].Session == p.Session:
			continue
		}
		all = append(all, p)
	}
	return all, nil
}

// replacing signs in with signIn and ends the previous session of the browser. The
// access token names it too: a browser sends no SameSite=Strict cookie when another
// site redirects to SignInRedirect.
func (c *Cookies) replacing(r *http.Request, signIn func() (result, error)) (result, error) {
	before, err := c.sessions(r)
	if err != nil {
		return result{}, err
	}
	out, err := signIn()
	if err != nil || out.challenge != nil { // a challenge does not end the session
		return out, err
	}
	for _, p := range before {
		if p.Issuer != c.server.tokens.Name() || p.Session == "" {
			continue // a token that another system issued
		}
		if err := c.server.endSessions(r.Context(), identity.Revocation{Session: p.Session}); err != nil {
			return result{}, err
		}
		c.server.hooks.Emit(r, guard.Event{Name: guard.EventTokenRevoked, Principal: p})
	}
	return out, nil
}

// fill sets a parameter of the form to the value of its cookie.
func (c *Cookies) fill(r *http.Request, f form, cookie, parameter string) error {
	value, _, err := c.read(r, cookie)
	switch {
	case err != nil:
		return err
	case value == "":
		return badRequest(http.StatusBadRequest, "The cookie "+cookie+" is missing.")
	case f.get(parameter) != "":
		return badRequest(http.StatusBadRequest, "The "+parameter+" belongs into the cookie, not into the form.")
	}
	url.Values(f).Set(parameter, value)
	return nil
}

// signedOut is a refusal that clears the cookies.
type signedOut struct{ error }

func (s signedOut) Unwrap() error { return s.error }

// handler is formHandler with cookies in the place of tokens.
func (c *Cookies) handler(read formReader, respond func(*http.Request, form) (result, error)) http.Handler {
	s := c.server
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// First, so that another origin learns nothing and changes nothing:
		// it could sign a visitor in to an account of its own.
		if err := c.check(r); err != nil {
			s.refuse(w, r, err)
			return
		}
		f, err := read(w, r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		out, err := respond(r, f)
		if err != nil {
			if _, ended := errors.AsType[signedOut](err); ended {
				c.clear(w)
			}
			s.refuse(w, r, err)
			return
		}
		c.answer(w, r, out)
	})
}

// answer sets the cookies of a result and writes what the page may see of it.
func (c *Cookies) answer(w http.ResponseWriter, r *http.Request, out result) {
	if err := c.set(w, c.cookiesFor(out)); err != nil {
		c.server.refuse(w, r, err)
		return
	}
	if out.challenge != nil {
		shown := *out.challenge
		shown.Token = ""
		writeJSON(w, http.StatusBadRequest, shown)
		return
	}
	writeJSON(w, http.StatusOK, signedInBody{out.tokens.ExpiresIn, out.tokens.Scope})
}

// set sets all cookies, or returns an error if one is too long.
func (c *Cookies) set(w http.ResponseWriter, cookies []*http.Cookie) error {
	for _, cookie := range cookies {
		if n := len(cookie.String()); n > maxCookie {
			return fmt.Errorf("auth: the cookie %s has %d bytes, more than the %d that browsers keep", cookie.Name, n, maxCookie)
		}
	}
	for _, cookie := range cookies {
		http.SetCookie(w, cookie)
	}
	return nil
}

// cookiesFor returns the cookies with the tokens of a result.
func (c *Cookies) cookiesFor(out result) []*http.Cookie {
	good := func(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }
	if out.challenge != nil {
		return []*http.Cookie{c.cookie(c.mfa, out.challenge.Token, good(out.challenge.ExpiresIn), http.SameSiteStrictMode)}
	}
	return []*http.Cookie{
		c.cookie(c.access, out.tokens.AccessToken, good(out.tokens.ExpiresIn), http.SameSiteLaxMode),
		c.cookie(c.refresh, out.tokens.RefreshToken, time.Until(out.tokens.refreshUntil), http.SameSiteStrictMode),
		c.cookie(c.mfa, "", 0, http.SameSiteStrictMode),
	}
}

// signedInBody describes the tokens in the cookies to the page.
type signedInBody struct {
	ExpiresIn int64  `json:"expires_in"`
	Scope     string `json:"scope,omitempty"`
}

// clear takes the cookies back. Browsers find them by name, path and domain;
// a __Host- cookie is taken back only with the attributes it was set with.
func (c *Cookies) clear(w http.ResponseWriter) {
	http.SetCookie(w, c.cookie(c.access, "", 0, http.SameSiteLaxMode))
	http.SetCookie(w, c.cookie(c.refresh, "", 0, http.SameSiteStrictMode))
	http.SetCookie(w, c.cookie(c.mfa, "", 0, http.SameSiteStrictMode))
}

// cookie returns a cookie for so long. Without a value it takes one back.
func (c *Cookies) cookie(name, value string, good time.Duration, site http.SameSite) *http.Cookie {
	cookie := &http.Cookie{
		Name:     name,
		Value:    value,
		Path:     "/",
		MaxAge:   int(good / time.Second),
		Secure:   true,
		HttpOnly: true,
		SameSite: site,
	}
	if cookie.MaxAge < 1 { // zero would be "until the browser is closed"
		cookie.MaxAge = -1
	}
	return cookie
}
