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
	Expires         time.Time // of the whole session, whatever its refreshes
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
	// RefreshUnknown means that there is no such session, or that it has
	// expired or was revoked. Nothing is written.
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

// A Rotated is the answer to a [Rotation].
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
	// CreateRefresh begins a session whose current token is first, replaced
	// never, good until idle. An ID that exists already is an error. In the
	// same step it ends the oldest sessions of the subject, so that no more
	// than most are left, with s; s is never among them. Sessions that begin at
	// the same time may exceed most until the next one begins.
	CreateRefresh(ctx context.Context, s Session, first TokenHash, idle time.Time, most int) error

	// RotateRefresh decides on a rotation and carries it out, in one atomic
	// step: of any number that run at once with the same Old, one is
	// RefreshRotated.
	RotateRefresh(ctx context.Context, r Rotation) (Rotated, error)

	// RevokeRefresh ends the sessions that match: Session, Subject and
	// Tenant where they are not empty, and Created before Before where that
	// is not zero, and not the session Spare. If none of the four is set, or
	// Credential is, it is an error and ends nothing. Issuer and Expires do not
	// matter. To end what has ended or never was is no error. It is one step,
	// or as many as a store of many sessions needs; when it returns nil, no
	// rotation of these sessions succeeds any more.
	RevokeRefresh(ctx context.Context, which identity.Revocation) error
}

// A SessionLister is a [RefreshStore] that can list the sessions of a subject, for
// the page on which users see where they are signed in. [Server.EndSessions]
// requires one for a Before in the past. [Memory] and the stores of this module
// are SessionListers; authtest.RunSessions is the conformance suite.
type SessionLister interface {
	// Sessions returns the sessions of a subject that can be refreshed now, in
	// descending order of Created, and at most [MaxListed] of them. A subject
	// without sessions is no error.
	Sessions(ctx context.Context, subject string) ([]Session, error)
}

// A ChallengeStore counts attempts to answer second-factor challenges. It is safe
// for concurrent use.
//
// authtest.RunChallenges is its conformance suite.
type ChallengeStore interface {
	// AttemptChallenge counts one attempt and reports whether it is among
	// the first limit ones and the challenge is not finished. It is one
	// atomic step, taken before the answer is looked at. The challenge may
	// be forgotten after expires.
	AttemptChallenge(ctx context.Context, id TokenHash, limit int, expires time.Time) (allowed bool, err error)

	// FinishChallenge ends a challenge that was attempted, and reports
	// whether this call did: of concurrent calls, one returns true.
	FinishChallenge(ctx context.Context, id TokenHash) (first bool, err error)
}

// A Revoker keeps a log of what was ended. A *blacklist.Replica is one, and so is
// a *blacklist.Memory. It is safe for concurrent use. It keeps the rules of
// blacklist.Revoker; blacklisttest.Run is the conformance suite.
type Revoker interface {
	// Revoke records r, and returns after the revocation is certain to hold.
	Revoke(ctx context.Context, r identity.Revocation) error

	// RevokeNow records r with a Before that is later than the IssuedAt of
	// everything issued so far on any machine, and returns that Before.
	RevokeNow(ctx context.Context, r identity.Revocation) (before time.Time, err error)

	// Revoked reports whether p's credential is revoked, as far as this
	// process knows.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)

	// IssueTime returns the IssuedAt of what is issued to p now: the present,
	// or the Before of a RevokeNow that matches p and precedes this call.
	IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error)

	// Checkpoint reads the log itself, and returns how far it has come.
	Checkpoint(ctx context.Context) (uint64, error)

	// RevokedSince reads the log itself, and reports whether p is revoked or a
	// revocation that matches p was recorded after the checkpoint, whatever
	// the clocks show.
	RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error)
}

// A Throttle limits attempts to sign in. *ratelimit.SignIn implements it. It is safe
// for concurrent use.
type Throttle interface {
	// Reserve charges one attempt on login from the address, before any
	// work is done for it, so that parallel guesses cannot slip through. A
	// positive retryAfter refuses it (429), and settle is nil then.
	// Otherwise settle is called once when the attempt is over: what was
	// charged is given back unless it failed. An attempt that was not
	// decided, since the client hung up or a store is down, earns nothing.
	// login is the same string for names that exist and names that do not.
	Reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error)
}

// A SecondFactor verifies second factors. *totp.Service implements it. Errors are
// answered 503, except for the Denial named below; an error never skips the factor.
// It is safe for concurrent use.
//
// Each challenge allows five attempts, but a client that knows the password can
// request new challenges; implementations must limit attempts per subject.
type SecondFactor interface {
	// Required reports whether the user has set a second factor up.
	Required(ctx context.Context, subject string) (bool, error)

	// VerifyFactor uses up a code of p.Subject, in order to raise the session
	// p.Session, or to open one if that is empty. It returns the method that
	// the code proves, as RFC 8176 names it ("otp"), and "" for a wrong code.
	//
	// It returns a [*guard.Denial] with status 429 if the subject has to wait
	// before another code is compared, and one with status 403 if the factor
	// was enrolled in p.Session: a factor must not raise the session that
	// enrolled it, or a stolen access token could raise itself.
	VerifyFactor(ctx context.Context, p *identity.Principal, code string) (method string, err error)
}
