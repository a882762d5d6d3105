package passkey

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/body"
	"github.com/gatewright/gatewright/internal/strictjson"
	"github.com/gatewright/gatewright/internal/unproven"
)

// creationOptions is PublicKeyCredentialCreationOptionsJSON (WebAuthn section
// 5.1.9), for PublicKeyCredential.parseCreationOptionsFromJSON.
type creationOptions struct {
	RP                     entity          `json:"rp"`
	User                   entity          `json:"user"`
	Challenge              string          `json:"challenge"`
	PubKeyCredParams       []parameter     `json:"pubKeyCredParams"`
	Timeout                int64           `json:"timeout"` // milliseconds
	ExcludeCredentials     []descriptor    `json:"excludeCredentials"`
	AuthenticatorSelection selection       `json:"authenticatorSelection"`
	Attestation            string          `json:"attestation"`
	Extensions             map[string]bool `json:"extensions"`
}

type entity struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
}

type parameter struct {
	Type string `json:"type"`
	Alg  int64  `json:"alg"`
}

type selection struct {
	ResidentKey        string `json:"residentKey"`
	RequireResidentKey bool   `json:"requireResidentKey"`
	UserVerification   string `json:"userVerification"`
}

// RegisterOptions returns the handler that begins a registration. POST takes a JSON
// object whose member proof is the proof for Config.Authorize, or the JSON of an
// assertion for [RelyingParty.StepUpOptions]. It answers 200 with
// PublicKeyCredentialCreationOptionsJSON, valid for five minutes in this session;
// 400 invalid_proof; 401 insufficient_user_authentication if the sign-in is older
// than Config.Fresh or lacks the second factor; or 403 without a session.
func (rp *RelyingParty) RegisterOptions() http.Handler {
	return rp.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		proof, err := readMember(w, r, "proof")
		if err != nil {
			return err
		}
		ctx := r.Context()
		all, err := rp.store.Passkeys(ctx, p.Subject)
		if err != nil {
			return guard.CannotDecide("passkey: listing passkeys", err)
		}
		if err := rp.authorize(ctx, p, proof, len(all) > 0); err != nil {
			return err
		}
		user, err := rp.config.User(ctx, p.Subject)
		if err != nil {
			return guard.CannotDecide("passkey: looking up the names of a user", err)
		}
		if user.DisplayName == "" {
			user.DisplayName = user.Name
		}
		// One subject keeps one user handle, so that an authenticator shows
		// one account.
		random := newRandom()
		handle := rp.newHandle(rp.config.Keys[0], random, p.Subject)
		if len(all) > 0 {
			handle = all[0].Handle
		}
		options := creationOptions{
			RP:                     entity{ID: rp.config.RPID, Name: rp.config.Name},
			User:                   entity{ID: encode(handle), Name: user.Name, DisplayName: user.DisplayName},
			Challenge:              encode(rp.seal(random, purposeRegister, boundLifetime, binding{p.Subject, p.Session, handle})),
			Timeout:                boundLifetime.Milliseconds(),
			ExcludeCredentials:     describe(all),
			AuthenticatorSelection: selection{"required", true, "preferred"},
			Attestation:            "none",
			Extensions:             map[string]bool{"credProps": true},
		}
		for _, alg := range algorithms {
			options.PubKeyCredParams = append(options.PubKeyCredParams, parameter{"public-key", alg})
		}
		writeJSON(w, http.StatusOK, options)
		return nil
	}, http.MethodPost)
}

// Register returns the handler that ends a registration. POST takes the JSON of
// PublicKeyCredential.toJSON, and optionally a name of at most 64 bytes. It answers
// 201 with the passkey as in [RelyingParty.List], or 400.
func (rp *RelyingParty) Register() http.Handler {
	return rp.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		b, err := body.JSON(w, r, maxResponse)
		if err != nil {
			return err
		}
		added, err := rp.register(r.Context(), p, string(b))
		if err != nil {
			return err
		}
		rp.changed(r, Added, added)
		writeJSON(w, http.StatusCreated, shown(added))
		return nil
	}, http.MethodPost)
}

// entry is a passkey as its owner sees it.
type entry struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Created  time.Time  `json:"created"`
	Used     *time.Time `json:"used"`
	BackedUp bool       `json:"backed_up"`
	SignIn   bool       `json:"sign_in"` // false: a second factor only
}

func shown(p Passkey) entry {
	e := entry{ID: encode(p.ID), Name: p.Name, Created: p.Created.UTC(), BackedUp: p.BackedUp}
	if !p.Used.IsZero() {
		used := p.Used.UTC()
		e.Used = &used
	}
	if d, _, err := parseRecord(p.Record); err == nil {
		e.SignIn = trustsVerification(d)
	}
	return e
}

// List returns the handler that lists the caller's passkeys. GET answers
// {"passkeys": […]}, objects with id (base64url), name, created, used (or null),
// backed_up, and sign_in, which is false for a mere second factor.
func (rp *RelyingParty) List() http.Handler {
	return rp.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		all, err := rp.store.Passkeys(r.Context(), p.Subject)
		if err != nil {
			return guard.CannotDecide("passkey: listing passkeys", err)
		}
		list := []entry{}
		for _, p := range all {
			list = append(list, shown(p))
		}
		writeJSON(w, http.StatusOK, map[string][]entry{"passkeys": list})
		return nil
	}, http.MethodGet, http.MethodHead)
}

// Rename returns the handler that renames the caller's passkey with path value
// "id". PATCH takes {"name": …} of 1 to 64 bytes, and answers 204 or 404.
func (rp *RelyingParty) Rename() http.Handler {
	return rp.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		name, err := readMember(w, r, "name")
		if err != nil {
			return err
		}
		if name == "" {
			return guard.InvalidRequest("The member name is missing or empty.", errName)
		}
		if name, err = passkeyName(name); err != nil {
			return err
		}
		found, err := rp.own(r, p)
		if err != nil {
			return err
		}
		if err := rp.store.RenamePasskey(r.Context(), p.Subject, found.ID, name); err != nil {
			return notFoundOr("renaming a passkey", err)
		}
		found.Name = name
		rp.changed(r, Renamed, found)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodPatch)
}

// Remove returns the handler that removes the caller's passkey with path value
// "id". DELETE takes a proof and refuses like [RelyingParty.RegisterOptions]. It
// answers 204, 404, or 409 last_passkey if the caller could not sign in without the
// passkey.
func (rp *RelyingParty) Remove() http.Handler {
	return rp.handler(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		proof, err := readMember(w, r, "proof")
		if err != nil {
			return err
		}
		ctx := r.Context()
		found, err := rp.own(r, p)
		if err != nil {
			return err
		}
		// The removal is the event, and not the use of the passkey that proves it.
		if err := rp.authorize(guard.NestedChange(ctx), p, proof, true); err != nil {
			return err
		}
		if err := rp.stillSignedIn(ctx, p); err != nil {
			return err
		}
		keepLast := true
		if rp.config.AnotherWayIn != nil {
			another, err := rp.config.AnotherWayIn(ctx, p.Subject)
			if err != nil {
				return guard.CannotDecide("passkey: checking for another way to sign in", err)
			}
			keepLast = !another
		}
		switch err := rp.store.RemovePasskey(ctx, p.Subject, found.ID, keepLast); {
		case errors.Is(err, ErrLast):
			return guard.NewDenial(http.StatusConflict, "last_passkey", "This is the only way to sign in. Add another one first.", err)
		case err != nil:
			return notFoundOr("removing a passkey", err)
		}
		rp.changed(r, Removed, found)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, http.MethodDelete)
}

// RelatedOrigins returns the public handler of GET /.well-known/webauthn on the
// domain RPID, for other domains in Config.Origins (WebAuthn section 5.11).
// Browsers accept at least five.
func (rp *RelyingParty) RelatedOrigins() http.Handler {
	origins := slices.DeleteFunc(slices.Clone(rp.config.Origins), func(o string) bool { return !strings.HasPrefix(o, "https://") })
	return guard.Public("passkey related origins")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := only(w, r, http.MethodGet, http.MethodHead); err != nil {
			rp.config.Hooks.Refuse(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string][]string{"origins": origins})
	}))
}

// authorize returns an error unless the caller may add or remove passkeys now.
// enrolled reports whether the subject has a passkey.
func (rp *RelyingParty) authorize(ctx context.Context, p *identity.Principal, proof string, enrolled bool) error {
	// An AuthTime that is missing or in the future proves nothing.
	if age := time.Since(p.AuthTime); p.AuthTime.IsZero() || age > rp.config.Fresh || age < -time.Second {
		return rp.stepUp("This needs you to have signed in a short while ago", errors.New("passkey: the sign-in is too old"))
	}
	if strings.HasPrefix(proof, "{") {
		_, err := rp.assert(ctx, proof, purposeFactor, binding{subject: p.Subject, session: p.Session}, p.Subject, false)
		return unproven.Refusal("passkey", err)
	}
	if !enrolled && rp.config.SecondFactor != nil {
		required, err := rp.config.SecondFactor(ctx, p.Subject)
		if err != nil {
			return guard.CannotDecide("passkey: checking for a second factor", err)
		}
		enrolled = required
	}
	strong := p.Factors.Has(methodMultiFactor) || p.Factors.Has(methodPossession) || p.Factors.Has("otp")
	if enrolled && !strong {
		return rp.stepUp("This needs your second factor", errors.New("passkey: the session did not prove the subject's second factor"))
	}
	if proof == "" {
		return unproven.Refusal("passkey", identity.ErrNotProven)
	}
	return unproven.Refusal("passkey", rp.config.Authorize(ctx, p, proof))
}

func (rp *RelyingParty) stepUp(description string, err error) error {
	return guard.StepUp(guard.Challenge{ErrorDescription: description, MaxAge: rp.config.Fresh}, err)
}

// own returns the caller's passkey in the path.
func (rp *RelyingParty) own(r *http.Request, p *identity.Principal) (Passkey, error) {
	id, err := base64.RawURLEncoding.Strict().DecodeString(r.PathValue("id"))
	if err != nil || len(id) < minID || len(id) > maxID {
		return Passkey{}, guard.NotFound(ErrNotFound)
	}
	found, err := rp.store.PasskeyByID(r.Context(), id)
	if err != nil {
		return Passkey{}, notFoundOr("looking a passkey up", err)
	}
	if found.Subject != p.Subject {
		return Passkey{}, guard.NotFound(errors.New("passkey: the passkey belongs to another subject"))
	}
	return found, nil
}

func notFoundOr(doing string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return guard.NotFound(err)
	}
	return guard.CannotDecide(doing, err)
}

// changed reports a change that was stored.
func (rp *RelyingParty) changed(r *http.Request, kind ChangeKind, p Passkey) {
	name := map[ChangeKind]guard.EventName{Added: EventAdded, Renamed: EventRenamed, Removed: EventRemoved}[kind]
	rp.config.Hooks.Emit(r, event(name, p))
	if rp.config.Notify != nil {
		rp.config.Notify(r.Context(), Change{kind, p})
	}
}

// handler returns a handler for a caller with a session.
func (rp *RelyingParty) handler(serve func(http.ResponseWriter, *http.Request, *identity.Principal) error, methods ...string) http.Handler {
	respond := func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		if err := only(w, r, methods...); err != nil {
			return err
		}
		p, err := guard.Caller(r)
		switch {
		case err != nil:
			return err
		case p.Issuer != rp.config.Issuer || p.Subject == "" || p.Session == "":
			return guard.Forbidden(errors.New("passkey: the credentials are of another issuer or of no session"))
		}
		return serve(w, r, p)
	}
	return rp.config.Hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := respond(w, r); err != nil {
			rp.config.Hooks.Refuse(w, r, err)
		}
	}))
}

// only refuses requests with another method.
func only(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	return guard.MethodNotAllowed(w, methods...)
}

// readMember returns the string member of the JSON object in the body.
func readMember(w http.ResponseWriter, r *http.Request, member string) (string, error) {
	b, err := body.JSON(w, r, maxResponse+1<<10)
	if err != nil {
		return "", err
	}
	var value string
	err = strictjson.Object(string(b), []string{member}, func(_ string, v strictjson.Value) error { return stringInto(&value, v) })
	if err != nil {
		return "", guard.InvalidRequest("The body must be a JSON object, and its member "+member+" a string.", err)
	}
	return value, nil
}

var errName = errors.New("passkey: the name is empty, too long or has control characters")

// passkeyName returns the name of a passkey, "Passkey" if the page sent none.
func passkeyName(name string) (string, error) {
	if name == "" {
		return "Passkey", nil
	}
	if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return "", guard.InvalidRequest("The name must have at most 64 bytes and no control characters.", errName)
	}
	return name, nil
}
