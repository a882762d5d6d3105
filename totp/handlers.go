package totp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/body"
)

// maxBody is the largest body that is read, in bytes.
const maxBody = 4 << 10

// SetupHandler calls [Service.Begin] for POST /2fa/setup/ without a body. As Accept
// selects, the response is the QR code as image/png or image/svg+xml, or
// application/json with uri, secret and expires_in (seconds).
func (s *Service) SetupHandler() http.Handler {
	return s.handler(s.setup, http.MethodPost)
}

func (s *Service) setup(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	w.Header().Add("Vary", "Accept")
	media, err := negotiate(r.Header["Accept"])
	if err != nil {
		return err
	}
	if _, err := body.Members(w, r, maxBody); err != nil {
		return err
	}
	e, err := s.Begin(r.Context(), p)
	if err != nil {
		return err
	}
	picture, err := s.show(e, media)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", media)
	header.Set("Content-Length", strconv.Itoa(len(picture)))
	w.Write(picture)
	return nil
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

// ConfirmHandler calls [Service.Confirm] for POST /2fa/confirm/ and answers with the
// JSON member recovery_codes. It reads code and one proof: password, grant, or
// current_code, a code or recovery code of the replaced factor.
//
// All handlers read a JSON object of strings or a form, of at most 4 KiB, and refuse
// members in the URL. A wrong code is 400 invalid_code, a wrong proof 400
// invalid_proof, no proof 403 proof_required, and a throttled attempt 429
// too_many_attempts.
func (s *Service) ConfirmHandler() http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		f, err := body.Members(w, r, maxBody, "code", "current_code", "password", "grant")
		if err != nil {
			return err
		}
		if f["code"] == "" {
			return missing("code")
		}
		proof, err := proofOf(f, "current_code")
		if err != nil {
			return err
		}
		codes, err := s.Confirm(r.Context(), p, f["code"], proof)
		if err != nil {
			return err
		}
		writeCodes(w, codes)
		return nil
	}, http.MethodPost)
}

// RegenerateHandler calls [Service.Regenerate] and answers like
// [Service.ConfirmHandler]. It reads one proof: password, grant or code.
func (s *Service) RegenerateHandler() http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		proof, err := readProof(w, r)
		if err != nil {
			return err
		}
		codes, err := s.Regenerate(r.Context(), p, proof)
		if err != nil {
			return err
		}
		writeCodes(w, codes)
		return nil
	}, http.MethodPost)
}

// DisableHandler calls [Service.Disable] for DELETE /2fa/, or for a POST, and answers
// 204. It reads a proof like [Service.RegenerateHandler].
func (s *Service) DisableHandler() http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		proof, err := readProof(w, r)
		if err != nil {
			return err
		}
		if err := s.Disable(r.Context(), p, proof); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodDelete, http.MethodPost)
}

// VerifyHandler calls [Service.Verify] for POST /2fa/verify/ of FastAPI's guide. It does
// not raise the session; StepUp of auth.Server does.
func (s *Service) VerifyHandler() http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		f, err := body.Members(w, r, maxBody, "code")
		if err != nil {
			return err
		}
		if f["code"] == "" {
			return missing("code")
		}
		user, err := s.userOf(r.Context(), p)
		if err != nil {
			return err
		}
		if _, err := s.Verify(r.Context(), user, f["code"]); err != nil {
			return err
		}
		writeJSON(w, map[string]string{"message": "2FA verified successfully"})
		return nil
	}, http.MethodPost)
}

// readProof reads a body that has a proof and nothing else. It reads the body before
// Config.User, so that Config.User can refuse a caller whose session ended while the
// body arrived.
func readProof(w http.ResponseWriter, r *http.Request) (Proof, error) {
	f, err := body.Members(w, r, maxBody, "code", "password", "grant")
	if err != nil {
		return Proof{}, err
	}
	return proofOf(f, "code")
}

// proofOf returns the proof of a body, the zero Proof if there is none.
func proofOf(f map[string]string, code string) (proof Proof, err error) {
	given := 0
	for name, of := range map[string]func(string) Proof{"password": Password, "grant": Grant, code: Code} {
		if f[name] != "" {
			proof = of(f[name])
			given++
		}
	}
	if given > 1 {
		return Proof{}, badRequest("The body must have one of " + code + ", password and grant.")
	}
	return proof, nil
}

func missing(name string) error { return badRequest("The member " + name + " is missing.") }

func badRequest(detail string) error {
	return guard.InvalidRequest(detail, errors.New("totp: "+detail))
}

// handler returns the handler of a caller's own factor.
func (s *Service) handler(serve func(http.ResponseWriter, *http.Request, *identity.Principal) error, methods ...string) http.Handler {
	answer := func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		if !slices.Contains(methods, r.Method) {
			// A page of another site can make a browser send a GET.
			return guard.MethodNotAllowed(w, methods...)
		}
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		return serve(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, r)), p)
	}
	return s.config.Hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := answer(w, r); err != nil {
			s.config.Hooks.Refuse(w, r, denial(err))
		}
	}))
}

// denial returns the refusal for an error of a Service. It returns errors of a store or
// a sealer unchanged (503).
func denial(err error) error {
	throttled, isThrottled := errors.AsType[*ThrottledError](err)
	switch {
	case errors.Is(err, ErrWrongCode):
		d := guard.NewDenial(http.StatusBadRequest, "invalid_code", "Invalid 2FA code", err)
		d.Event = guard.EventLoginFail
		return d
	case errors.Is(err, errWrongProof):
		d := guard.NewDenial(http.StatusBadRequest, "invalid_proof", "The proof is missing or wrong.", err)
		d.Event = guard.EventLoginFail
		return d
	case errors.Is(err, ErrProofNeeded):
		return guard.NewDenial(http.StatusForbidden, "proof_required",
			"This needs the current password, a code of the active second factor, or a grant.", err)
	case isThrottled:
		return guard.TooManyAttempts(throttled.RetryAfter, err)
	}
	return err
}

func writeCodes(w http.ResponseWriter, codes *RecoveryCodes) {
	writeJSON(w, map[string][]string{"recovery_codes": codes.All()})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	// The status is sent with the first byte: an error here means that the
	// client went away.
	_ = json.NewEncoder(w).Encode(body)
}
