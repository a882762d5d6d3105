package passkey

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A RelyingParty registers passkeys and verifies assertions. It is safe for concurrent
// use if its Store and the functions of its Config are.
type RelyingParty struct {
	config Config
	store  Store
	macs   []sync.Pool // of Config.Keys
}

// Factors of an assertion, by their RFC 8176 names.
const (
	methodPossession   = "pop"  // of the private key
	methodPresence     = "user" // the user touched the authenticator
	methodMultiFactor  = "mfa"  // the authenticator verified the user as well
	typeCreate         = "webauthn.create"
	typeGet            = "webauthn.get"
	attestationDepth   = cborDepth + 1
	attestationMembers = 3
)

// codeSameSession is the code of the refusal of a passkey that would raise the
// session in which it was registered, the same as for a one-time code.
const codeSameSession = "factor_enrolled_in_session"

var errSameSession = errors.New("passkey: the passkey was registered in the session that it would raise")

// refused wraps the reason why a proof is wrong.
func refused(reason error) error { return fmt.Errorf("passkey: %w: %w", identity.ErrNotProven, reason) }

// checkClientData checks the part of a response that does not depend on a
// passkey (WebAuthn section 7.1 steps 7 to 11, section 7.2 steps 10 to 14), and
// returns the challenge.
func (rp *RelyingParty) checkClientData(raw []byte, kind string) (challenge []byte, err error) {
	c, err := parseClientData(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("clientDataJSON: %w", err)
	case c.kind != kind:
		return nil, fmt.Errorf("the type is %.40q, not %q", c.kind, kind)
	case !slices.Contains(rp.config.Origins, c.origin):
		return nil, fmt.Errorf("the origin %.200q is not in Config.Origins", c.origin)
	case (c.crossOrigin || c.topOrigin != "") && len(rp.config.TopOrigins) == 0:
		return nil, fmt.Errorf("the page was in a frame of %.200q, and Config.TopOrigins is empty", c.topOrigin)
	case c.topOrigin != "" && !slices.Contains(rp.config.TopOrigins, c.topOrigin):
		return nil, fmt.Errorf("the top origin %.200q is not in Config.TopOrigins", c.topOrigin)
	}
	return c.challenge, nil
}

// checkAuthData checks what does not depend on a passkey.
func (rp *RelyingParty) checkAuthData(d authData) error {
	switch {
	case d.rpIDHash != sha256.Sum256([]byte(rp.config.RPID)):
		return errors.New("the RP ID is another one")
	case !d.has(flagUserPresent):
		return errors.New("the user was not present")
	}
	return nil
}

// register verifies a registration (WebAuthn section 7.1) and stores the passkey
// for the caller. Its errors are refusals with 400, or those of the store.
func (rp *RelyingParty) register(ctx context.Context, p *identity.Principal, text string) (Passkey, error) {
	c, err := parseResponse(text)
	if err != nil {
		return Passkey{}, invalidRegistration(err)
	}
	challenge, err := rp.checkClientData(c.clientDataJSON, typeCreate)
	if err != nil {
		return Passkey{}, invalidRegistration(err)
	}
	existing, err := rp.store.Passkeys(ctx, p.Subject)
	if err != nil {
		return Passkey{}, guard.CannotDecide("passkey: listing passkeys", err)
	}
	expires, handle, err := rp.checkRegistrationChallenge(challenge, p, existing)
	if err != nil {
		return Passkey{}, invalidRegistration(err)
	}
	raw, d, err := parseAttestation(c.attestationObject)
	if err != nil {
		return Passkey{}, invalidRegistration(err)
	}
	switch err := rp.checkAuthData(d); {
	case err != nil:
		return Passkey{}, invalidRegistration(err)
	case !bytes.Equal(d.id, c.id):
		return Passkey{}, invalidRegistration(errors.New("the credential ID differs from the authenticator data's"))
	case c.notDiscoverable:
		return Passkey{}, invalidRegistration(errors.New("the authenticator made no discoverable credential"))
	}
	name, err := passkeyName(c.name)
	if err != nil {
		return Passkey{}, err
	}
	if err := rp.stillSignedIn(ctx, p); err != nil {
		return Passkey{}, err
	}
	if err := rp.spend(ctx, challenge, expires); err != nil {
		if errors.Is(err, identity.ErrNotProven) {
			err = invalidRegistration(err)
		}
		return Passkey{}, err
	}
	added := Passkey{
		Record:    encodeRecord(raw, c.transports),
		Subject:   p.Subject,
		ID:        d.id,
		Handle:    handle,
		Session:   p.Session,
		Name:      name,
		SignCount: d.signCount,
		BackedUp:  d.has(flagBackedUp),
		Created:   moment(),
	}
	switch err := rp.store.AddPasskey(ctx, added, rp.config.Max); {
	case errors.Is(err, ErrExists):
		return Passkey{}, invalidRegistration(err)
	case errors.Is(err, ErrTooMany):
		return Passkey{}, guard.InvalidRequest(fmt.Sprintf("There are %d passkeys already. Remove one first.", rp.config.Max), err)
	case err != nil:
		return Passkey{}, guard.CannotDecide("passkey: adding a passkey", err)
	}
	// Again after AddPasskey: what ends sessions and then removes passkeys finds
	// this one, or Revoked finds the end of the session.
	if err := rp.stillSignedIn(ctx, p); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		if errRemove := rp.store.RemovePasskey(ctx, added.Subject, added.ID, false); errRemove != nil && !errors.Is(errRemove, ErrNotFound) {
			return Passkey{}, guard.CannotDecide("passkey: removing a passkey of a session that has ended", errRemove)
		}
		return Passkey{}, err
	}
	return added, nil
}

// removeTimeout bounds what goes on after the client has hung up.
const removeTimeout = 10 * time.Second

// stillSignedIn returns an error if the session of the caller has ended.
func (rp *RelyingParty) stillSignedIn(ctx context.Context, p *identity.Principal) error {
	if rp.config.Revoked == nil {
		return nil
	}
	revoked, err := rp.config.Revoked(ctx, p)
	switch {
	case err != nil:
		return guard.CannotDecide("passkey: Config.Revoked", err)
	case revoked:
		return fmt.Errorf("%w: the session was ended during a change of passkeys", guard.ErrInactive)
	}
	return nil
}

// checkRegistrationChallenge returns when the challenge of a registration
// expires, and the user handle that was given to the authenticator with it.
func (rp *RelyingParty) checkRegistrationChallenge(challenge []byte, p *identity.Principal, existing []Passkey) (expires time.Time, handle []byte, err error) {
	if len(challenge) != challengeSize {
		return time.Time{}, nil, errChallenge
	}
	var handles [][]byte
	for _, key := range rp.config.Keys {
		handles = append(handles, rp.newHandle(key, challenge[:16], p.Subject))
	}
	for _, e := range existing {
		handles = append(handles, e.Handle)
	}
	for _, handle := range handles {
		expires, err = rp.checkChallenge(challenge, purposeRegister, binding{p.Subject, p.Session, handle})
		if !errors.Is(err, errChallenge) {
			return expires, handle, err
		}
	}
	return time.Time{}, nil, errChallenge
}

// parseAttestation returns the authenticator data of an attestation object
// (WebAuthn section 6.5). The attestation statement may have any well-formed
// content and is not verified: nothing here depends on the make of an
// authenticator.
func parseAttestation(b []byte) (raw []byte, d authData, err error) {
	pairs, err := cborMap(b, attestationDepth)
	if err != nil {
		return nil, authData{}, err
	}
	members := map[any]any{}
	for _, p := range pairs {
		members[p.key] = p.value
	}
	_, hasFormat := members["fmt"].(string)
	_, hasStatement := members["attStmt"].([]cborPair)
	raw, hasData := members["authData"].([]byte)
	if !hasFormat || !hasStatement || !hasData || len(pairs) != attestationMembers {
		return nil, authData{}, errors.New("malformed attestation object")
	}
	if d, err = parseAuthData(raw); err != nil {
		return nil, authData{}, err
	}
	if !d.has(flagCredential) {
		return nil, authData{}, errAuthData
	}
	if err := d.key.check(); err != nil {
		return nil, authData{}, err
	}
	return raw, d, nil
}

// assert verifies an assertion (WebAuthn section 7.2) for the purpose and returns
// its passkey as it was before. b is what the challenge must be bound to. Subject, if not empty, must own the passkey.
// With verified set the authenticator must have verified the user.
func (rp *RelyingParty) assert(ctx context.Context, text string, purpose byte, b binding, subject string, verified bool) (Passkey, error) {
	c, err := parseResponse(text)
	if err != nil {
		return Passkey{}, malformedAssertion(err)
	}
	challenge, err := rp.checkClientData(c.clientDataJSON, typeGet)
	if err != nil {
		return Passkey{}, refused(err)
	}
	expires, err := rp.checkChallenge(challenge, purpose, b)
	if err != nil {
		return Passkey{}, refused(err)
	}
	if len(c.id) < minID || len(c.id) > maxID {
		return Passkey{}, refused(ErrNotFound)
	}
	d, err := rp.assertionData(c)
	if err != nil {
		return Passkey{}, refused(err)
	}
	found, err := rp.store.PasskeyByID(ctx, c.id)
	switch {
	case errors.Is(err, ErrNotFound):
		return Passkey{}, refused(err)
	case err != nil:
		return Passkey{}, guard.CannotDecide("passkey: looking a passkey up", err)
	case subject != "" && found.Subject != subject:
		return Passkey{}, refused(errors.New("the passkey is another subject's"))
	case b.session != "" && found.Session == b.session:
		return Passkey{}, guard.NewDenial(http.StatusForbidden, codeSameSession,
			"This passkey was registered in this session. Sign in again with it.", errSameSession)
	case len(c.userHandle) == 0 && subject == "":
		// Only then: an authenticator may leave it out if the options list the
		// passkey (WebAuthn section 7.2 step 6).
		return Passkey{}, refused(errors.New("the user handle is missing"))
	case len(c.userHandle) > 0 && !bytes.Equal(c.userHandle, found.Handle):
		return Passkey{}, refused(errors.New("the user handle is another one"))
	}
	record, _, err := parseRecord(found.Record)
	if err != nil {
		return Passkey{}, guard.CannotDecide("passkey: reading a stored passkey", err)
	}
	userVerified := d.has(flagUserVerified) && trustsVerification(record)
	if verified && !userVerified {
		return Passkey{}, refused(errors.New("the authenticator did not verify the user"))
	}
	if !c.signedBy(record.key) {
		return Passkey{}, refused(errors.New("the signature is wrong"))
	}
	if err := rp.spend(ctx, challenge, expires); err != nil {
		return Passkey{}, err
	}
	previous, err := rp.store.UsePasskey(ctx, Use{ID: c.id, SignCount: d.signCount, BackedUp: d.has(flagBackedUp), At: moment()})
	switch {
	case errors.Is(err, ErrNotFound):
		return Passkey{}, refused(errors.New("the passkey was removed meanwhile"))
	case err != nil:
		return Passkey{}, guard.CannotDecide("passkey: recording the use of a passkey", err)
	}
	if record.has(flagBackupEligible) != d.has(flagBackupEligible) {
		rp.report(ctx, found, errors.New("passkey: the backup eligibility differs from that of the registration"))
	}
	if d.signCount <= previous.SignCount && previous.SignCount != 0 {
		err := fmt.Errorf("passkey: the signature counter is %d after %d; the authenticator may have been cloned", d.signCount, previous.SignCount)
		rp.report(ctx, found, err)
		if rp.config.RefuseClones {
			return Passkey{}, refused(err)
		}
	}
	rp.config.Hooks.EmitContext(ctx, event(EventUsed, previous))
	return previous, nil
}

// event returns the event of a passkey.
func event(name guard.EventName, p Passkey) guard.Event {
	return guard.Event{Name: name, Target: p.Subject, Changes: []slog.Attr{
		slog.String("factor", "passkey"), slog.String("passkey", encode(p.ID)), slog.String("name", p.Name),
	}}
}

// assertionData parses and checks the authenticator data of an assertion.
func (rp *RelyingParty) assertionData(c *response) (authData, error) {
	d, err := parseAuthData(c.authenticatorData)
	if err != nil {
		return authData{}, err
	}
	if d.has(flagCredential) {
		return authData{}, errors.New("an assertion has no new credential")
	}
	return d, rp.checkAuthData(d)
}

// trustsVerification reports whether the user verification of a passkey counts.
// A thief can set a PIN on a security key that had none, so the flag counts only
// if the registration had it, or if the passkey belongs to a synchronized account.
func trustsVerification(record authData) bool {
	return record.has(flagUserVerified) || record.has(flagBackupEligible)
}

// signedBy reports whether the signature of an assertion is the key's (WebAuthn
// section 7.2 steps 20 and 21).
func (c *response) signedBy(key publicKey) bool {
	hash := sha256.Sum256(c.clientDataJSON)
	return key.verifies(slices.Concat(c.authenticatorData, hash[:]), c.signature)
}

// spend makes the use of a challenge the only one.
func (rp *RelyingParty) spend(ctx context.Context, challenge []byte, expires time.Time) error {
	// A machine whose clock is ahead may delete the record before another one
	// refuses the challenge as expired.
	first, err := rp.config.Once(ctx, sha256.Sum256(challenge), expires.Add(clockMargin))
	if err != nil {
		return guard.CannotDecide("passkey: recording the use of a challenge", err)
	}
	if !first {
		return refused(errors.New("the challenge was used before"))
	}
	return nil
}

// report sends an event that refuses nothing.
func (rp *RelyingParty) report(ctx context.Context, p Passkey, err error) {
	rp.config.Hooks.EmitContext(ctx, guard.Event{
		Name:      guard.EventTokenReuse,
		Principal: &identity.Principal{Issuer: rp.config.Issuer, Subject: p.Subject},
		Err:       fmt.Errorf("%w: %v", err, p),
	})
}

// moment returns the present as stores keep it.
func moment() time.Time { return time.Now().Truncate(time.Microsecond) }

// malformedAssertion and invalidRegistration are refusals with 400.
func malformedAssertion(err error) error {
	return guard.InvalidRequest("The passkey's response is malformed.", fmt.Errorf("passkey: %w", err))
}

func invalidRegistration(err error) error {
	return guard.InvalidRequest("The passkey could not be registered.", fmt.Errorf("passkey: %w", err))
}
