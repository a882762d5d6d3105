package auth

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// MaxListed is the greatest number of sessions that a store lists.
const MaxListed = 1000

// A Session is one sign-in and the refresh tokens that descend from it. Stores keep
// the Session and hashes of its tokens, never a token.
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

// A RotationOutcome is the result of a [Rotation]. The zero RotationOutcome
// refuses.
type RotationOutcome int

const (
	// RefreshUnknown means that the session does not exist, has expired or was
	// revoked. Nothing is written.
	RefreshUnknown RotationOutcome = iota

	// RefreshRotated means that Old was current, and New is now. Old is the
	// predecessor.
	RefreshRotated

	// RefreshReplayed means that Old is the predecessor of the current token
	// and was replaced at most Grace ago: two requests were concurrent, or a
	// response was lost. Nothing is written, so a replay does not extend the
	// grace.
	RefreshReplayed

	// RefreshReused means that Old is neither the current token nor its
	// predecessor within the grace, so Old was copied. The session is revoked
	// in the same step. Older tokens need not be stored.
	RefreshReused
)

// A Rotated is the result of a [Rotation].
type Rotated struct {
	Outcome RotationOutcome

	// For RefreshRotated and RefreshReplayed: the hash of the current token,
	// the time when it became current, and its expiry, which is Idle later but
	// not after the session's. All concurrent callers receive equal values.
	Current     TokenHash
	At, Expires time.Time
}

// ErrFull is returned by a store of bounded size instead of dropping a session.
var ErrFull = errors.New("auth: the session store is full")

// A RefreshStore stores sessions. It is safe for concurrent use, by all processes of
// the host. An error means that the store could not decide, and is answered 503;
// decisions are a [RotationOutcome].
//
// authtest.RunRefresh is its conformance suite.
type RefreshStore interface {
	// CreateRefresh begins the session s with the current token first, which
	// is valid until idle and has no predecessor. It returns an error if the ID
	// exists. In the same step it ends the oldest other sessions of the subject,
	// so that no more than most are left, s included. Concurrent calls may
	// exceed most until the next session begins.
	CreateRefresh(ctx context.Context, s Session, first TokenHash, idle time.Time, most int) error

	// RotateRefresh decides on a rotation and carries it out in one atomic
	// step: of concurrent calls with the same Old, one returns RefreshRotated.
	RotateRefresh(ctx context.Context, r Rotation) (Rotated, error)

	// RevokeRefresh ends the sessions that match every set field among
	// Session, Subject, Tenant and Before (Created before Before), except the
	// session Spare. Without any of the four, or with a Credential, it returns
	// an error and ends nothing. Issuer and Expires are ignored. No matching
	// session is no error. RevokeRefresh may take several steps; when it
	// returns nil, no rotation of these sessions succeeds any more.
	RevokeRefresh(ctx context.Context, which identity.Revocation) error
}

// A SessionLister is a [RefreshStore] that can list the sessions of a subject, for
// example for a page that shows users their sessions. [Server.EndSessions]
// requires one for a Before in the past. [Memory] and the stores of this module
// are SessionListers; authtest.RunSessions is the conformance suite.
type SessionLister interface {
	// Sessions returns at most [MaxListed] sessions of a subject that can be
	// refreshed now, in descending order of Created. A subject without sessions
	// is no error.
	Sessions(ctx context.Context, subject string) ([]Session, error)
}

// A ChallengeStore counts attempts to answer second-factor challenges. It is safe
// for concurrent use.
//
// The expires of a call is a minute later than the last moment at which a challenge
// passes, because another machine, with a clock that is ahead, may delete it.
//
// authtest.RunChallenges is its conformance suite.
type ChallengeStore interface {
	// AttemptChallenge counts one attempt and reports whether it is among the
	// first limit attempts and the challenge is not finished, in one atomic
	// step. It is called before the answer is compared. The store may delete
	// the challenge after expires.
	AttemptChallenge(ctx context.Context, id TokenHash, limit int, expires time.Time) (allowed bool, err error)

	// FinishChallenge finishes an attempted challenge and reports whether this
	// call has finished it: of concurrent calls, one returns true.
	FinishChallenge(ctx context.Context, id TokenHash) (first bool, err error)
}

// A Revoker keeps a log of revocations. *blacklist.Replica and *blacklist.Memory
// implement it. It is safe for concurrent use. It follows the rules of
// blacklist.Revoker; blacklisttest.Run is the conformance suite.
type Revoker interface {
	// Revoke records r. When it returns nil, the revocation is durable.
	Revoke(ctx context.Context, r identity.Revocation) error

	// RevokeNow records r with a Before that is later than the IssuedAt of
	// everything issued so far on any machine, and returns that Before.
	RevokeNow(ctx context.Context, r identity.Revocation) (before time.Time, err error)

	// Revoked reports whether p's credential is revoked, by the entries that
	// this process has read.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)

	// IssueTime returns the IssuedAt for a credential that is issued to p now:
	// the present, or the Before of an earlier RevokeNow that matches p.
	IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error)

	// Checkpoint reads the log itself and returns its current position.
	Checkpoint(ctx context.Context) (uint64, error)

	// RevokedSince reads the log itself, and reports whether p is revoked or a
	// revocation that matches p was recorded after the checkpoint, whatever
	// the clocks show.
	RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error)
}

// A Throttle limits attempts to sign in. *ratelimit.SignIn implements it. It is safe
// for concurrent use.
type Throttle interface {
	// Reserve charges one attempt on login from addr before the attempt is
	// checked, so that concurrent guesses count. A positive retryAfter refuses
	// the attempt (429); settle is nil then. Otherwise settle is called once
	// with the outcome, and returns the charge unless the attempt failed. An
	// undecided attempt, because the client disconnected or a store is down,
	// must not count as a success. login has the same form for existing and
	// unknown names.
	Reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error)
}

// A SecondFactor verifies second factors. *totp.Service implements it. Errors are
// answered 503, except for the Denials of VerifyFactor; an error never skips the factor.
// It is safe for concurrent use.
//
// Each challenge allows five attempts, but a client that knows the password can
// request new challenges; implementations must limit attempts per subject.
type SecondFactor interface {
	// Required reports whether the user has enrolled a second factor.
	Required(ctx context.Context, subject string) (bool, error)

	// VerifyFactor uses up a code of p.Subject to raise the session p.Session,
	// or to open a session if p.Session is empty. It returns the method of RFC
	// 8176 that the code proves, for example "otp", and "" for a wrong code.
	//
	// It returns a [*guard.Denial] with status 429 if the subject has to wait
	// before another code is compared, and with status 403 if the factor was
	// enrolled in p.Session. Without the 403, an attacker with a stolen access
	// token could enrol a factor and raise the session with it.
	VerifyFactor(ctx context.Context, p *identity.Principal, code string) (method string, err error)
}
