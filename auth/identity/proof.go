package identity

import (
	"errors"
	"time"
)

// A Proof is the result of a sign-in without a password, for example by a passkey or
// a mailed link. Package auth opens a session for it.
type Proof struct {
	// Subject is the ID of the user, as the host's UserStore has it; never
	// an e-mail address or a login. Required.
	Subject string

	// Tenant, if not empty, must be the tenant of the user.
	Tenant string

	// Factors are the methods that were proven, by their RFC 8176 names.
	// At least one is required. The name "mfa" states that the proof alone
	// has more than one factor.
	Factors Set

	// Time is when the factors were proven. If zero, the beginning of the
	// request.
	Time time.Time

	// Until, if not zero, is when the session must end at the latest, as a
	// SAML assertion or an OpenID provider may demand.
	Until time.Time
}

// ErrNotProven means that a proof is wrong: a bad signature, a used or expired
// ticket, a wrong code. Clients receive the same answer for every reason.
var ErrNotProven = errors.New("identity: not proven")
