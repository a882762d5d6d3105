package identity

import (
	"errors"
	"time"
)

// A Proof is the result of a sign-in without a password, for which package auth opens
// a session.
type Proof struct {
	// Subject is the ID of the user in the host's UserStore, not an e-mail address or
	// login. Required.
	Subject string

	// Tenant, if not empty, must be the tenant of the user.
	Tenant string

	// Factors are the proven methods, by their RFC 8176 names, at least one. "mfa"
	// states that the proof alone has more than one factor.
	Factors Set

	// Time is when the factors were proven. If zero, the beginning of the request.
	Time time.Time

	// Until, if not zero, is when the session must end, for example by a SAML
	// assertion.
	Until time.Time
}

// ErrNotProven means that a proof is wrong: a bad signature, a used or expired
// ticket, a wrong code. Clients receive the same answer for every reason.
var ErrNotProven = errors.New("identity: not proven")
