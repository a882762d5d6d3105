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

// A Session is one sign-in: the family of refresh tokens that descend from it.
// The store keeps it, and hashes of its tokens, never a token.
type Session struct {
	ID              string // the session of [identity.Principal]
	Subject, Tenant string // whose it is
	Client          string
	Created         time.Time
	Expires         time.Time // for good, however often it is refreshed
}

// A TokenHash is the SHA-256 of a refresh token's ID.
type TokenHash [32]byte

// A Rotation is the wish to replace a session's current refresh token.
type Rotation struct {
	Session  string
	Old, New TokenHash
	Now      time.Time     // kept to the microsecond
	Grace    time.Duration // how long Old may come back after it was replaced
	Idle     time.Duration // how long New is good for
}

// An Outcome is what became of a [Rotation]. The zero Outcome refuses.
type Outcome int

const (
	// RefreshUnknown means that there is no such session, or that it has
	// expired or was revoked. Nothing is written.
	RefreshUnknown Outcome = iota

	// RefreshRotated means that Old was current, and New is now. Old is the
	// predecessor.
	RefreshRotated

	// RefreshReplayed means that Old is the predecessor of the current token,
	// and was replaced no longer than Grace ago: two tabs refreshed at once,
	// or an answer was lost. Nothing is written, so that no replay can make the
	// grace longer.
	RefreshReplayed

	// RefreshReused means that Old is neither the current token nor its
	// predecessor within the grace. Whoever sent it, somebody has a copy: the
	// session is revoked in the same step. Older tokens need not be
	// remembered for it.
	RefreshReused
)

// A Rotated is the answer to a [Rotation].
type Rotated struct {
	Outcome Outcome

	// For RefreshRotated and RefreshReplayed: the hash of the token that is
	// current now, when it became that, and when it expires: Idle after
	// that, and not after the session. Equal for all who are answered
	// RefreshReplayed, so that they can be given the same token.
	Current     TokenHash
	At, Expires time.Time
}

// ErrFull is what a store of bounded size returns instead of forgetting a
// session.
var ErrFull = errors.New("auth: the session store is full")

// A RefreshStore keeps sessions. It is safe for concurrent use, by several
// processes if the host has several. An error means that the store did not
// answer, and is answered 503; what the store decides is an [Outcome].
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

// A ChallengeStore counts the attempts to answer a second-factor challenge. It
// is safe for concurrent use.
//
// authtest.RunChallenges is its conformance suite.
type ChallengeStore interface {
	// AttemptChallenge counts one attempt and reports whether it is among
	// the first limit ones and the challenge is not finished. It is one
	// atomic step, taken before the answer is looked at. The challenge may
	// be forgotten after expires.
	AttemptChallenge(ctx context.Context, id TokenHash, limit int, expires time.Time) (allowed bool, err error)

	// FinishChallenge ends a challenge that was attempted, and reports
	// whether this call did: of several, one is told true.
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

// A Throttle limits how often somebody may try to sign in. A *ratelimit.SignIn is
// one. It is safe for concurrent use.
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

// A SecondFactor says who must prove more than a password, and checks it. A
// *totp.Service is one. An error of either method is answered 503, but for the
// one named below; it never lets the factor be skipped. It is safe for
// concurrent use.
//
// It limits how often wrong codes may be given for one subject: a challenge is
// good for five, but whoever knows the password can have any number of them.
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
