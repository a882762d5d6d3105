package passkey

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/body"
)

// requestOptions is PublicKeyCredentialRequestOptionsJSON (WebAuthn section
// 5.1.10), for PublicKeyCredential.parseRequestOptionsFromJSON.
type requestOptions struct {
	Challenge        string       `json:"challenge"`
	Timeout          int64        `json:"timeout"` // milliseconds
	RPID             string       `json:"rpId"`
	AllowCredentials []descriptor `json:"allowCredentials"`
	UserVerification string       `json:"userVerification"`
}

// descriptor is PublicKeyCredentialDescriptorJSON.
type descriptor struct {
	Type       string   `json:"type"`
	ID         string   `json:"id"`
	Transports []string `json:"transports,omitempty"`
}

func describe(all []Passkey) []descriptor {
	list := []descriptor{}
	for _, p := range all {
		_, transports, err := parseRecord(p.Record)
		if err != nil {
			transports = nil // the authenticator tries every transport
		}
		list = append(list, descriptor{"public-key", encode(p.ID), transports})
	}
	return list
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// SignInOptions returns the public handler of sign-in options. POST answers 200
// with PublicKeyCredentialRequestOptionsJSON, valid for ten minutes and equal for
// every visitor except for the challenge. It stores nothing.
func (rp *RelyingParty) SignInOptions() http.Handler {
	return rp.options("passkey sign-in options", purposeSignIn, signInLifetime, "required")
}

// SecondFactorOptions is [RelyingParty.SignInOptions] for a passkey as second
// factor after a password, before there is a session. Challenges are valid for five
// minutes.
func (rp *RelyingParty) SecondFactorOptions() http.Handler {
	return rp.options("passkey second factor options", purposeSecondFactor, boundLifetime, "preferred")
}

func (rp *RelyingParty) options(why string, purpose byte, lifetime time.Duration, verification string) http.Handler {
	return guard.Public(why)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := only(w, r, http.MethodPost); err != nil {
			rp.config.Hooks.Refuse(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, requestOptions{
			Challenge:        encode(rp.newChallenge(purpose, lifetime, binding{})),
			Timeout:          lifetime.Milliseconds(),
			RPID:             rp.config.RPID,
			AllowCredentials: []descriptor{},
			UserVerification: verification,
		})
	}))
}

// StepUpOptions returns the handler of options for step-up and for proofs. POST
// answers 200 with PublicKeyCredentialRequestOptionsJSON that lists the caller's
// passkeys, valid for five minutes in this session.
func (rp *RelyingParty) StepUpOptions() http.Handler {
	return rp.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		all, err := rp.store.Passkeys(r.Context(), p.Subject)
		if err != nil {
			return guard.CannotDecide("passkey: listing passkeys", err)
		}
		writeJSON(w, http.StatusOK, requestOptions{
			Challenge:        encode(rp.newChallenge(purposeFactor, boundLifetime, binding{subject: p.Subject, session: p.Session})),
			Timeout:          boundLifetime.Milliseconds(),
			RPID:             rp.config.RPID,
			AllowCredentials: describe(all),
			UserVerification: "preferred",
		})
		return nil
	}, http.MethodPost)
}

// Prove verifies the assertion in a sign-in request: the JSON of
// PublicKeyCredential.toJSON, at most 16 KiB, for a challenge of
// [RelyingParty.SignInOptions]. The factors are "pop", "user" and "mfa".
//
// It returns [identity.ErrNotProven] for a wrong assertion, and a *guard.Denial:
// 400, 413 or 415 for a malformed one, 503 if the store or Config.Once fails.
func (rp *RelyingParty) Prove(r *http.Request) (*identity.Proof, error) {
	b, err := body.JSON(noResponse{}, r, maxResponse)
	if err != nil {
		return nil, err
	}
	used, err := rp.assert(r.Context(), string(b), purposeSignIn, binding{}, "", true)
	if err != nil {
		return nil, err
	}
	return &identity.Proof{
		Subject: used.Subject,
		Factors: identity.NewSet(methodPossession, methodPresence, methodMultiFactor),
	}, nil
}

// noResponse replaces the ResponseWriter that Prove does not have.
type noResponse struct{}

func (noResponse) Header() http.Header         { return http.Header{} }
func (noResponse) WriteHeader(int)             {}
func (noResponse) Write(b []byte) (int, error) { return len(b), nil }

// Required reports whether the subject has a passkey, so that a password alone
// opens no session.
func (rp *RelyingParty) Required(ctx context.Context, subject string) (bool, error) {
	all, err := rp.store.Passkeys(ctx, subject)
	if err != nil {
		return false, guard.CannotDecide("passkey: listing passkeys", err)
	}
	return len(all) > 0, nil
}

// VerifyFactor verifies code, the JSON of an assertion, as second factor of
// p.Subject. It returns "pop", or "" for a wrong assertion. The challenge must come
// from [RelyingParty.StepUpOptions] of p.Session, or from
// [RelyingParty.SecondFactorOptions] if p.Session is empty. An error means that
// verification was not possible.
func (rp *RelyingParty) VerifyFactor(ctx context.Context, p *identity.Principal, code string) (method string, err error) {
	purpose, b := byte(purposeSecondFactor), binding{}
	if p.Session != "" {
		purpose, b = purposeFactor, binding{subject: p.Subject, session: p.Session}
	}
	if p.Subject == "" {
		return "", nil
	}
	_, err = rp.assert(ctx, code, purpose, b, p.Subject, false)
	switch d, isDenial := errors.AsType[*guard.Denial](err); {
	case err == nil:
		return methodPossession, nil
	case errors.Is(err, identity.ErrNotProven), isDenial && d.Status == http.StatusBadRequest:
		return "", nil
	}
	return "", err
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client went away
}
