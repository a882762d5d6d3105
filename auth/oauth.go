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
	"github.com/gatewright/gatewright/internal/body"
)

// What the token endpoints share: the form they read, and the JSON they write,
// of RFC 6749.

// The largest bodies that are read, in bytes. A code may be the JSON of a passkey's
// assertion.
const (
	maxForm     = 4 << 10
	maxCodeForm = 8 << 10
)

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

// secrets are the parameters that must not be in a URL, because logs contain URLs: RFC
// 6749 section 2.3.1 forbids client credentials there, and sections 4.3.2 and 6 put the
// other parameters into the body.
var secrets = []string{"username", "password", "refresh_token", "client_secret", "mfa_token", "code", "token"}

// A form has the parameters of a request, each at most once. A parameter without a
// value counts as omitted (RFC 6749 section 3.2).
type form url.Values

func (f form) get(name string) string { return url.Values(f).Get(name) }

// readForm reads the form of a POST to a token endpoint.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	return readFormOf(w, r, maxForm)
}

// readOptionalForm is readForm for endpoints that need no parameter. A POST without a
// body and without a Content-Type, as of fetch(url, {method: "POST"}), is an empty form.
func readOptionalForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.Method == http.MethodPost && r.ContentLength == 0 && len(r.Header["Content-Type"]) == 0 {
		r = r.Clone(r.Context())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return readForm(w, r)
}

// readCodeForm is readForm for a form with a code.
func readCodeForm(w http.ResponseWriter, r *http.Request) (form, error) {
	return readFormOf(w, r, maxCodeForm)
}

// readCode reads the code of a POST as the handlers of package totp do: from a form, a
// JSON object or multipart/form-data. It is for endpoints that no RFC defines.
func readCode(w http.ResponseWriter, r *http.Request) (form, error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || media != "application/json" && media != "multipart/form-data" {
		return readCodeForm(w, r)
	}
	members, err := body.Members(w, r, maxCodeForm, "code")
	if err != nil {
		return nil, err
	}
	f := make(form)
	for name, value := range members {
		url.Values(f).Set(name, value)
	}
	return f, nil
}

// readFormOf reads the body of a POST, at most limit bytes. It refuses with 405, 413 or
// 415 where HTTP defines one, and otherwise with 400 as in RFC 6749 section 5.2.
func readFormOf(w http.ResponseWriter, r *http.Request, limit int64) (form, error) {
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
	if r.ContentLength > limit {
		// Without reading it: the server closes the connection.
		return nil, &http.MaxBytesError{Limit: limit}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, err
		}
		return nil, badRequest(http.StatusBadRequest, "The body cannot be read.")
	}
	values, err := url.ParseQuery(string(text))
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

// invalidGrant refuses credentials: passwords, refresh tokens, codes. The response does
// not depend on the reason, which is for the log.
func invalidGrant(detail string, reason error) *guard.Denial {
	return &guard.Denial{
		Status: http.StatusBadRequest,
		Code:   codeInvalidGrant,
		Detail: detail,
		Event:  guard.EventLoginFail,
		Err:    reason,
	}
}

// tooMany refuses an attempt without checking it.
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

// writeJSON writes a response that must not be stored. RFC 6749 section 5.1 requires
// both headers.
func writeJSON(w http.ResponseWriter, status int, content any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	if content == nil { // RFC 7009 section 2.2: the status says it all
		h.Del("Content-Type")
		w.WriteHeader(status)
		return
	}
	w.WriteHeader(status)
	encodeJSON(w, content)
}

func encodeJSON(w io.Writer, content any) {
	// The status is sent: an error here means that the client went away.
	_ = json.NewEncoder(w).Encode(content)
}

// unavailable returns the failure of a step that the host or a store carries
// out. It is answered 503.
func unavailable(step string, err error) error { return &failure{step, err} }

// A failure wraps the error of a store for errors.Is and errors.As, except for
// refusals: a store that is reached over a network may fail with a 401, a 413 or an
// ErrInactive of its own, which is no refusal of this request.
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
		// A 503 may have a RetryAfter.
		d, ok := errors.AsType[*guard.Denial](f.err)
		if ok = ok && d != nil && d.Status == http.StatusServiceUnavailable; ok {
			*target = d
		}
		return ok
	}
	return errors.As(f.err, target)
}

// aboutPrincipal is a refusal of a token of p. The event names p, the owner of the
// attacked session, although the request has no identified caller.
type aboutPrincipal struct {
	error
	p *identity.Principal
}

func (a aboutPrincipal) Unwrap() error { return a.error }
