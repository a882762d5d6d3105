package auth

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// MaxListed is how many sessions a store lists at most.
const MaxListed = 1000

// A Session is one sign-in and the refresh tokens that descend from it. Stores keep
// it with hashes of its tokens.
type Session struct {
	ID              string // the session of [identity.Principal]
	Subject, Tenant string // of the user
	Client          string
	Created         time.Time
	Expires         time.Time // of the whole session, also after refreshes
}

// A TokenHash is the SHA-256 of a refresh token's ID.
type TokenHash [32]byte

// A Rotation is a request to replace the current refresh token of a session.
type Rotation struct {
	Session  string
	Old, New TokenHash
	Now      time.Time     // kept to the microsecond
	Grace    time.Duration // how long Old is accepted after its replacement
	Idle     time.Duration // how long New is valid
}

// A RotationOutcome is the result of a [Rotation]. The zero value refuses.
type RotationOutcome int

const (
	// RefreshUnknown means that the session does not exist, has expired or was
	// revoked. Nothing is written.
	RefreshUnknown RotationOutcome = iota

	// RefreshRotated means that Old was current. New is now, and Old is its
	// predecessor.
	RefreshRotated

	// RefreshReplayed means that Old is the predecessor of the current token,
	// replaced at most Grace ago. Nothing is written, so a replay does not extend
	// the grace.
	RefreshReplayed

	// RefreshReused means that Old is any other token of the session, so it was
	// copied. The session is revoked in the same step.
	RefreshReused
)

// A Rotated is the result of a [Rotation].
type Rotated struct {
	Outcome RotationOutcome

	// For RefreshRotated and RefreshReplayed: the hash of the current token, when
	// it became current, and its expiry, Idle later but not after the session's.
	// Concurrent callers receive equal values.
	Current     TokenHash
	At, Expires time.Time
}

// ErrFull is returned by a full store instead of dropping a session.
var ErrFull = errors.New("auth: the session store is full")

// A RefreshStore stores sessions. It is safe for concurrent use by all processes of
// the host. An error means that the store could not decide (503).
// authtest.RunRefresh is the conformance suite.
type RefreshStore interface {
	// CreateRefresh begins the session s with the current token first, valid until
	// idle. It returns an error if the ID exists. In the same step it ends the
	// oldest other sessions of the subject, so that most are left, s included, and
	// returns their IDs in any order. Concurrent calls may exceed most until the
	// next session begins.
	CreateRefresh(ctx context.Context, s Session, first TokenHash, idle time.Time, most int) (evicted []string, err error)

	// RotateRefresh decides on a rotation and carries it out in one atomic step: of
	// concurrent calls with the same Old, one returns RefreshRotated.
	RotateRefresh(ctx context.Context, r Rotation) (Rotated, error)

	// RevokeRefresh ends the sessions that match all set fields of Session,
	// Subject, Tenant and Before (Created before Before), except the session Spare;
	// none is no error. Without any of the four, or with a Credential, it returns
	// an error and ends nothing. Issuer and Expires are ignored. When it returns
	// nil, no rotation of these sessions succeeds any more.
	RevokeRefresh(ctx context.Context, which identity.Revocation) error
}

// A SessionLister is a [RefreshStore] that lists the sessions of a subject.
// [Server.EndSessions] requires one for a Before in the past. [Memory] and the
// stores of this module are SessionListers. authtest.RunSessions is the conformance
// suite.
type SessionLister interface {
	// Sessions returns at most [MaxListed] sessions of a subject that can be
	// refreshed now, newest first.
	Sessions(ctx context.Context, subject string) ([]Session, error)
}

// A SessionCounter is a [RefreshStore] that counts its sessions, for a metric.
// [Memory] and the stores of this module are SessionCounters.
type SessionCounter interface {
	// CountSessions returns how many sessions all subjects have together. It may
	// include sessions that have expired, and stop at [MaxCounted].
	CountSessions(ctx context.Context) (int, error)
}

// MaxCounted is how far a [SessionCounter] counts at least.
const MaxCounted = 1_000_000

// A ChallengeStore counts attempts at second-factor challenges. It is safe for
// concurrent use. authtest.RunChallenges is the conformance suite.
//
// expires is one minute after the challenge ends, because the clock of another
// machine that deletes it may be ahead.
type ChallengeStore interface {
	// AttemptChallenge counts one attempt before the answer is compared. In one
	// atomic step, it reports whether it is among the first limit attempts and the
	// challenge is not finished.
	AttemptChallenge(ctx context.Context, id TokenHash, limit int, expires time.Time) (allowed bool, err error)

	// FinishChallenge finishes an attempted challenge. Of concurrent calls, one
	// returns true.
	FinishChallenge(ctx context.Context, id TokenHash) (first bool, err error)
}

// A Revoker keeps a log of revocations by the rules of blacklist.Revoker, for
// example *blacklist.Replica. It is safe for concurrent use. blacklisttest.Run is
// the conformance suite.
type Revoker interface {
	// Revoke records r. When it returns nil, the revocation is durable.
	Revoke(ctx context.Context, r identity.Revocation) error

	// RevokeNow records r with a Before that is later than the IssuedAt of
	// everything issued so far on any machine, and returns that Before.
	RevokeNow(ctx context.Context, r identity.Revocation) (before time.Time, err error)

	// Revoked reports whether p's credential is revoked by the entries that this
	// process has read.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)

	// IssueTime returns the IssuedAt for a credential issued to p now: the present,
	// or the Before of an earlier RevokeNow that matches p.
	IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error)

	// Checkpoint reads the log and returns its current position.
	Checkpoint(ctx context.Context) (uint64, error)

	// RevokedSince reads the log and reports whether p is revoked or a revocation
	// that matches p was recorded after the checkpoint, whatever the clocks show.
	RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error)
}

// A Throttle limits attempts to sign in. *ratelimit.SignIn implements it. It is safe
// for concurrent use.
type Throttle interface {
	// Reserve charges one attempt on login from addr before the attempt is checked,
	// so that concurrent guesses count. A positive retryAfter refuses the attempt
	// (429); settle is nil then. Otherwise settle is called once with the outcome,
	// and returns the charge unless the attempt failed. An undecided attempt
	// (client gone, store down) must not count as a success. login has the same
	// form for existing and unknown names.
	Reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error)
}

// A SecondFactor verifies second factors, for example *totp.Service. Errors other
// than Denials of VerifyFactor are answered 503; an error never skips the factor.
// It is safe for concurrent use.
//
// Each challenge allows five attempts, but a client that knows the password can
// request new challenges; implementations must limit attempts per subject.
type SecondFactor interface {
	// Required reports whether the user has enrolled a second factor.
	Required(ctx context.Context, subject string) (bool, error)

	// VerifyFactor uses up a code of p.Subject to raise the session p.Session, or
	// to open a session if that is empty. It returns the method of RFC 8176 that
	// the code proves, for example "otp", and "" for a wrong code.
	//
	// It returns a [*guard.Denial] with status 429 if the subject has to wait, and
	// with status 403 if the factor was enrolled in p.Session, because a stolen
	// access token could otherwise enrol a factor and raise the session.
	VerifyFactor(ctx context.Context, p *identity.Principal, code string) (method string, err error)
}
