package totp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// The refusals of the handlers. Each is the same for every reason that it has.
const (
	codeInvalid       = "invalid_code"
	codeNotAcceptable = "not_acceptable"
	invalidDetail     = "Invalid 2FA code"
)

// SetupHandler returns the handler that begins an enrolment: POST /2fa/setup/ of
// FastAPI's guide. It answers with the QR code, as the Accept header has it:
// image/png, image/svg+xml, or application/json with the members uri, secret
// and expires_in (seconds). It changes nothing that is in use.
//
// The body may be empty. If the caller has a second factor already, it has the
// code of it, as [Service.VerifyHandler] reads it, or the answer is 403
// factor_required. If not, the caller must have signed in within Config.Fresh,
// or the answer is 401 insufficient_user_authentication.
func (s *Service) SetupHandler() http.Handler {
	return s.handler(s.setup, http.MethodPost)
}

func (s *Service) setup(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	w.Header().Add("Vary", "Accept")
	media, err := negotiate(r.Header["Accept"])
	if err != nil {
		return err
	}
	user, code, err := s.read(w, r, p, false)
	if err != nil {
		return err
	}
	account, err := s.config.Account(r.Context(), p)
	if err != nil {
		return &failure{"asking for the name of an account", err}
	}
	e, err := s.begin(r.Context(), user, account, code, s.stale(p))
	if err != nil {
		return err
	}
	body, err := s.show(e, media)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", media)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
	return nil
}

// stale returns why p may not set a first factor up: for that a sign-in of late
// is asked, for another one a code of the one before.
func (s *Service) stale(p *identity.Principal) error {
	// A zero AuthTime, which nobody knows, is long ago.
	if s.config.InsecureStaleSetup || time.Since(p.AuthTime) <= s.config.Fresh {
		return nil
	}
	return guard.StepUp(guard.Challenge{
		ErrorDescription: "This needs you to have signed in a short while ago",
		MaxAge:           s.config.Fresh,
	}, errors.New("totp: the caller's sign-in is too long ago to set up a first factor"))
}

func (s *Service) show(e *Enrolment, media string) ([]byte, error) {
	switch media {
	case mediaPNG:
		return e.PNG(s.config.QRSize)
	case mediaSVG:
		return e.SVG()
	}
	return json.Marshal(struct {
		URI       string `json:"uri"`
		Secret    string `json:"secret"`
		ExpiresIn int64  `json:"expires_in"`
	}{e.URI(), e.Secret(), int64(s.config.PendingFor / time.Second)})
}

// ConfirmHandler returns the handler that ends an enrolment with its first code,
// of POST /2fa/confirm/. It answers with the recovery codes, as the JSON member
// recovery_codes. It reads what [Service.VerifyHandler] reads.
func (s *Service) ConfirmHandler() http.Handler {
	return s.recoveryHandler(s.Confirm)
}

// RegenerateHandler returns the handler that replaces recovery codes. It reads
// what [Service.VerifyHandler] reads, a code or a recovery code, and answers as
// [Service.ConfirmHandler] does.
func (s *Service) RegenerateHandler() http.Handler {
	return s.recoveryHandler(s.Regenerate)
}

// VerifyHandler returns the handler of the guide's POST /2fa/verify/: it uses up
// the caller's code or recovery code, and says whether it is right. A wrong one
// is 400 invalid_code, whatever is wrong with it, and for callers without a
// second factor too; after too many it is 429.
//
// It takes a JSON object or a form with the one member code, of at most 4 KiB.
// The guide reads it from the URL, where codes end up in logs; that is 400.
//
// The caller's session stays what it is: the factor is not added to it, and
// [Service.Handler] refuses it as before. A host that issues tokens with package
// auth mounts the StepUp of that instead, which asks [Service.VerifyFactor].
func (s *Service) VerifyHandler() http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		user, code, err := s.read(w, r, p, true)
		if err != nil {
			return err
		}
		if _, err := s.Verify(r.Context(), user, code); err != nil {
			return err
		}
		writeJSON(w, map[string]string{"message": "2FA verified successfully"})
		return nil
	}, http.MethodPost)
}

// DisableHandler returns the handler that removes the caller's second factor, of
// DELETE /2fa/ or a POST. It reads what [Service.VerifyHandler] reads, a code or
// a recovery code, and answers 204.
func (s *Service) DisableHandler() http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		user, code, err := s.read(w, r, p, true)
		if err != nil {
			return err
		}
		if err := s.Disable(r.Context(), user, code); err != nil {
			return err
		}
		s.config.Hooks.Emit(r, guard.Event{Name: guard.EventUserUpdated})
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodDelete, http.MethodPost)
}

func (s *Service) recoveryHandler(act func(ctx context.Context, user, code string) (*RecoveryCodes, error)) http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		user, code, err := s.read(w, r, p, true)
		if err != nil {
			return err
		}
		codes, err := act(r.Context(), user, code)
		if err != nil {
			return err
		}
		s.config.Hooks.Emit(r, guard.Event{Name: guard.EventUserUpdated})
		writeJSON(w, map[string][]string{"recovery_codes": codes.All()})
		return nil
	}, http.MethodPost)
}

// handler returns the handler of a caller's own factor.
func (s *Service) handler(serve func(http.ResponseWriter, *http.Request, *identity.Principal) error, methods ...string) http.Handler {
	answer := func(w http.ResponseWriter, r *http.Request) error {
		// Whatever is answered is for this caller at this moment.
		w.Header().Set("Cache-Control", "no-store")
		if !slices.Contains(methods, r.Method) {
			// A GET is what a page of somebody else can make a browser send.
			w.Header().Set("Allow", strings.Join(methods, ", "))
			return &guard.Denial{
				Status: http.StatusMethodNotAllowed,
				Code:   guard.CodeMethodNotAllowed,
				Detail: "This method is not allowed here.",
				Err:    errors.New("totp: method not allowed"),
			}
		}
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		return serve(w, r, p)
	}
	return s.config.Hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := answer(w, r); err != nil {
			s.config.Hooks.Refuse(w, r, denial(err))
		}
	}))
}

// read returns whose factor it is and the code of the body. The body comes
// first: who takes long to send it may have been signed out meanwhile, and
// Config.User is the host's to refuse them.
func (s *Service) read(w http.ResponseWriter, r *http.Request, p *identity.Principal, required bool) (user, code string, err error) {
	if code, err = readCode(w, r, required); err != nil {
		return "", "", err
	}
	user, err = s.config.User(r.Context(), p)
	return user, code, err
}

// denial makes refusals of the errors of a Service. Those of stores and sealers
// stay what they are, and are answered 503.
func denial(err error) error {
	throttled, isThrottled := errors.AsType[*ThrottledError](err)
	switch {
	case errors.Is(err, ErrWrongCode):
		return &guard.Denial{
			Status: http.StatusBadRequest,
			Code:   codeInvalid,
			Detail: invalidDetail,
			Event:  guard.EventLoginFail,
			Err:    err,
		}
	case errors.Is(err, ErrFactorNeeded):
		return &guard.Denial{
			Status: http.StatusForbidden,
			Code:   "factor_required",
			Detail: "There is a second factor already. A code of it is needed to replace it.",
			Err:    err,
		}
	case isThrottled:
		return tooMany(throttled, err)
	}
	return err
}

// tooMany is the answer to an attempt that was not looked at; err is how it was
// told, for the log.
func tooMany(throttled *ThrottledError, err error) *guard.Denial {
	return guard.TooManyAttempts(throttled.RetryAfter, err)
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	// The status is sent with the first byte: an error here means that the
	// client went away.
	_ = json.NewEncoder(w).Encode(body)
}
