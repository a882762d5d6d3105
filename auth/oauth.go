package auth

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// What the token endpoints share: the form they read, and the JSON they write,
// of RFC 6749.

// maxForm is the largest body that is read, in bytes.
const maxForm = 4 << 10

// Error codes of RFC 6749 sections 5.2 and 4.1.2.1, and of the multi-factor
// extension that several authorization servers share.
const (
	codeInvalidClient        = "invalid_client"
	codeInvalidGrant         = "invalid_grant"
	codeInvalidScope         = "invalid_scope"
	codeUnauthorizedClient   = "unauthorized_client"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeUnavailable          = "temporarily_unavailable"
	codeMFARequired          = "mfa_required"
)

// secrets are the parameters that must not stand in a URL, which ends up in
// logs: RFC 6749 section 2.3.1 forbids it for the client's, and sections 4.3.2
// and 6 put all of them into the body.
var secrets = []string{"username", "password", "refresh_token", "client_secret", "mfa_token", "code", "token"}

// A form is the parameters of a request, each at most once. One without a
// value is as if it had been left out (RFC 6749 section 3.2).
type form url.Values

func (f form) get(name string) string { return url.Values(f).Get(name) }

// readForm reads the body of a POST. What it refuses that HTTP has a status
// for (405, 413, 415) gets that one, the rest the 400 of RFC 6749 section 5.2.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.Method != http.MethodPost { // RFC 6749 section 3.2
		w.Header().Set("Allow", http.MethodPost)
		return nil, badRequest(http.StatusMethodNotAllowed, "This endpoint takes POST requests.")
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header["Content-Type"]) > 1 || media != "application/x-www-form-urlencoded" || !isUTF8(params["charset"]) || r.Header.Get("Content-Encoding") != "" {
		return nil, badRequest(http.StatusUnsupportedMediaType, "The body must be application/x-www-form-urlencoded.")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest(http.StatusBadRequest, "The query cannot be read.")
	}
	for _, name := range secrets {
		if query.Has(name) {
			return nil, badRequest(http.StatusBadRequest, "Parameters belong into the body, not into the URL.")
		}
	}
	if r.ContentLength > maxForm {
		// Without reading it: the server closes the connection.
		return nil, &http.MaxBytesError{Limit: maxForm}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, err
		}
		return nil, badRequest(http.StatusBadRequest, "The body cannot be read.")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest(http.StatusBadRequest, "The body is not a form.")
	}
	for name, all := range values {
		if len(all) > 1 {
			return nil, badRequest(http.StatusBadRequest, "A parameter is given more than once.")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(all[0]) {
			return nil, badRequest(http.StatusBadRequest, "A parameter is not UTF-8.")
		}
	}
	return form(values), nil
}

func isUTF8(charset string) bool {
	return charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// badRequest returns a refusal as invalid_request. detail is for the client,
// and quotes nothing that it sent.
func badRequest(status int, detail string) *guard.Denial {
	return &guard.Denial{Status: status, Code: guard.CodeInvalidRequest, Detail: detail, Err: errors.New(detail)}
}

// invalidGrant refuses credentials: passwords, refresh tokens, codes. The
// client reads the same whatever the reason, which is for the log.
func invalidGrant(detail string, reason error) *guard.Denial {
	return &guard.Denial{
		Status: http.StatusBadRequest,
		Code:   codeInvalidGrant,
		Detail: detail,
		Event:  guard.EventLoginFail,
		Err:    reason,
	}
}

// tooMany refuses an attempt that was not looked at.
func tooMany(wait time.Duration, login string, reason error) *guard.Denial {
	return &guard.Denial{
		Status:     http.StatusTooManyRequests,
		Code:       codeUnavailable,
		Detail:     "There were too many attempts. Please wait.",
		RetryAfter: wait,
		Event:      guard.EventLoginFailMax,
		Login:      login,
		Err:        reason,
	}
}

func invalidScope() *guard.Denial {
	return &guard.Denial{
		Status: http.StatusBadRequest,
		Code:   codeInvalidScope,
		Detail: "The scope is malformed, or more than may be granted.",
		Event:  guard.EventAuthzFail,
		Err:    errors.New("the scope asked for is more than may be granted"),
	}
}

// denyOAuth writes the body of RFC 6749 section 5.2.
func denyOAuth(w http.ResponseWriter, _ *http.Request, d *guard.Denial) {
	code := d.Code
	if d.Status == http.StatusServiceUnavailable || d.Status == http.StatusTooManyRequests {
		// Section 4.1.2.1 has the only word of the RFC for it.
		code = codeUnavailable
	}
	w.Header().Set("Pragma", "no-cache")
	w.Header().Set("Content-Type", "application/json")
	encodeJSON(w, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, d.Detail})
}

// writeJSON answers with something that must not be stored: RFC 6749 section
// 5.1 wants both headers.
func writeJSON(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	if body == nil { // RFC 7009 section 2.2: the status says it all
		h.Del("Content-Type")
		w.WriteHeader(status)
		return
	}
	w.WriteHeader(status)
	encodeJSON(w, body)
}

func encodeJSON(w io.Writer, body any) {
	// The status is sent: an error here means that the client went away.
	_ = json.NewEncoder(w).Encode(body)
}

// unavailable returns the failure of a step that the host or a store carries
// out. It is answered 503.
func unavailable(step string, err error) error { return &failure{step, err} }

// A failure is what others said, for errors.Is and errors.As, but never a
// verdict: a store that asks over a network may well fail with a 401, a 413 or
// an ErrInactive of its own, which says nothing about the request in hand.
type failure struct {
	step string
	err  error
}

func (f *failure) Error() string { return "auth: " + f.step + ": " + f.err.Error() }

func (f *failure) Is(target error) bool {
	return target != guard.ErrInactive && target != guard.ErrNoCredentials && errors.Is(f.err, target)
}

func (f *failure) As(target any) bool {
	switch target := target.(type) {
	case **http.MaxBytesError: // would be answered 413
		return false
	case **guard.Denial:
		// One of a 503 says when to come back.
		d, ok := errors.AsType[*guard.Denial](f.err)
		if ok = ok && d != nil && d.Status == http.StatusServiceUnavailable; ok {
			*target = d
		}
		return ok
	}
	return errors.As(f.err, target)
}

// aboutPrincipal is a refusal of something that is p's: the audit trail tells whose
// session was attacked, though nobody is identified.
type aboutPrincipal struct {
	error
	p *identity.Principal
}

func (a aboutPrincipal) Unwrap() error { return a.error }
