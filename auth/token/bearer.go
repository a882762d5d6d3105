package token

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

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/httpfield"
)

// scheme is the authentication scheme of RFC 6750.
const scheme = "Bearer"

// Authenticate verifies the token in the Authorization header (RFC 6750 section 2.1)
// or VerifierConfig.Header. Without a token it returns [guard.ErrNoCredentials]. A
// second token in the query or a form is answered 400; to find one, Authenticate
// reads up to 64 KiB of the form, puts it back, and verifies the token again.
func (v *Verifier) Authenticate(r *http.Request) (*identity.Principal, error) {
	return authenticate(v, v, r)
}

// verifying is a Verifier or a Verifiers.
type verifying interface {
	verify(ctx context.Context, token string, p *identity.Principal) (*identity.Principal, error)
}

// authenticate is Authenticate for one Verifier or several with the Header of first.
func authenticate(v verifying, first *Verifier, r *http.Request) (*identity.Principal, error) {
	header := first.config.Header
	bearer := header == ""
	if bearer {
		header = "Authorization"
	}
	lines := r.Header[header]
	if len(lines) == 0 {
		return nil, guard.ErrNoCredentials
	}
	token := lines[0]
	if bearer {
		var ours bool
		if token, ours = credentials(lines[0]); !ours {
			return nil, guard.ErrNoCredentials
		}
	}
	if len(lines) > 1 {
		return nil, guard.InvalidRequest("The request carries more than one "+header+" header.",
			errors.New("auth/token: more than one "+header+" header"))
	}
	// The form comes after the verdict, so that a client without a valid token
	// cannot make the server wait for a body.
	if bearer && inQuery(r) {
		return nil, ambiguous()
	}
	p, err := v.verify(r.Context(), token, guard.NewPrincipal(r))
	if err == nil && bearer {
		found, read := inForm(r)
		if found {
			return nil, ambiguous()
		}
		if read {
			// The client takes its time to send a body, and the token may
			// have been revoked or have expired meanwhile.
			p, err = v.verify(r.Context(), token, p)
		}
	}
	switch {
	case err == nil:
		return p, nil
	case !errors.Is(err, ErrInvalid):
		return nil, err
	}
	return nil, guard.InvalidToken(first.Challenge().Scheme, err)
}

// credentials returns the text after the scheme in an Authorization header, and
// whether the scheme is Bearer, in any case (RFC 9110 section 11.1). A tab after the
// scheme stays in the token, so that the request is rejected and not anonymous.
func credentials(line string) (token string, ours bool) {
	if len(line) < len(scheme) || !strings.EqualFold(line[:len(scheme)], scheme) {
		return "", false
	}
	token = line[len(scheme):]
	if token != "" && token[0] != ' ' && token[0] != '\t' {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}

func ambiguous() *guard.Denial {
	return guard.InvalidRequest("The request carries an access token in more than one place.",
		errors.New("auth/token: access_token in the query or form beside the Authorization header"))
}

// InCookie returns an authenticator for tokens in a cookie, for example "__session"
// of Clerk. Two such cookies are answered 400, because a page of a subdomain can set
// one, and cross-origin requests 403, unless config states otherwise. Tokens without
// scopes have the scopes in config; config.Issuer is not used.
func (v *Verifier) InCookie(name string, config guard.SessionConfig) (*guard.Sessions, error) {
	if v == nil || v.keys == nil {
		return nil, errors.New("auth/token: InCookie of a nil or zero Verifier; use NewVerifier")
	}
	return inCookie(v, name, config)
}

// InCookie is [Verifier.InCookie] for several issuers.
func (v *Verifiers) InCookie(name string, config guard.SessionConfig) (*guard.Sessions, error) {
	if v == nil || len(v.all) == 0 {
		return nil, errors.New("auth/token: InCookie of a nil or zero Verifiers; use NewVerifiers")
	}
	return inCookie(v, name, config)
}

func inCookie(v verifying, name string, config guard.SessionConfig) (*guard.Sessions, error) {
	var errs []error
	if (&http.Cookie{Name: name, Value: "token"}).Valid() != nil {
		errs = append(errs, fmt.Errorf("auth/token: InCookie has the name %.100q; use the name of a cookie", name))
	}
	sessions, err := guard.NewSessions(func(r *http.Request) (*identity.Principal, error) {
		token, n := httpfield.Cookie(r, name)
		switch {
		case n == 0 || n == 1 && token == "":
			return nil, nil
		case n > 1:
			return nil, guard.InvalidRequest("The request carries more than one cookie with a token.",
				fmt.Errorf("auth/token: %d cookies with the name %q", n, name))
		}
		p, err := v.verify(r.Context(), token, nil)
		if errors.Is(err, ErrInvalid) {
			return nil, guard.InvalidToken("Session", err)
		}
		return p, err
	}, config)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return sessions, nil
}

// Challenge returns the challenge for the scheme Bearer or VerifierConfig.Header.
func (v *Verifier) Challenge() guard.Challenge {
	scheme := scheme
	if v.config.Header != "" {
		scheme = v.config.Header
	}
	return guard.Challenge{Scheme: scheme, Realm: v.config.Realm, ResourceMetadata: v.config.ResourceMetadata}
}

// parameter is the name of a token outside the Authorization header (RFC 6750
// sections 2.2 and 2.3).
const parameter = "access_token"

// maxForm is how much of a form is searched for a second token.
const maxForm = 64 << 10

// inQuery reports whether r carries an access token in its query.
func inQuery(r *http.Request) bool { return r.URL != nil && hasParameter(r.URL.RawQuery) }

// inForm reports whether r carries an access token in a form, and whether it read a
// body.
func inForm(r *http.Request) (found, read bool) {
	if r.PostForm.Has(parameter) {
		return true, false // an outer handler has read the body
	}
	if r.Body == nil || r.Body == http.NoBody {
		return false, false
	}
	contentType := r.Header["Content-Type"]
	if len(contentType) == 0 {
		return false, false
	}
	if media, _, _ := mime.ParseMediaType(contentType[0]); media != "application/x-www-form-urlencoded" {
		return false, false
	}
	// A read error is kept for the handler, which gets it at the same place.
	var ahead bytes.Buffer
	_, err := io.CopyN(&ahead, r.Body, maxForm)
	found = hasParameter(ahead.String())
	rest := io.Reader(r.Body)
	if err != nil && err != io.EOF {
		rest = failing{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&ahead, rest), r.Body}
	return found, true
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func hasParameter(encoded string) bool {
	// Most queries have neither, and need no look at their names.
	if !strings.Contains(encoded, parameter) && !strings.Contains(encoded, "%") {
		return false
	}
	// Not url.ParseQuery: it keeps everything, gives up on ten thousand
	// parameters, and skips parameters with a semicolon, at which other parsers split.
	for pair := range strings.FieldsFuncSeq(encoded, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == parameter {
			return true
		}
	}
	return false
}
