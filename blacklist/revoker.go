package blacklist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A Revoker remembers revocations and says whether one of them matches. It is
// safe for concurrent use.
//
// A revocation matches a principal when
//
//   - its Issuer is the principal's,
//   - each of its Credential, Session, Subject and Tenant that is not empty is
//     the principal's, compared byte for byte,
//   - its Before is zero, or the principal's IssuedAt is before it; at that
//     very moment is not before, and a zero IssuedAt always is. The instants
//     count, to the millisecond or finer, and not the time zones,
//   - its Spare is empty, or not the principal's Session,
//   - its Expires is zero or still to come.
//
// One matching revocation is enough. What was revoked stays so, whatever is
// revoked later: there is no way back but Expires. An implementation may keep
// a single entry for all revocations that name the same fields with the same
// values, with the latest of their Before, where zero is latest, and the
// latest of their Expires, where zero is latest again. It then refuses some
// credentials for longer than they were revoked, but none too few. An entry
// that has expired takes no part in this. Two revocations that spare different
// sessions spare neither what the other one refuses.
type Revoker interface {
	// Revoke records r. When it returns nil the revocation is durable, as
	// far as the store is, and Revoked of the same value knows about it.
	// Values on other machines know it after a time that the
	// implementation states.
	//
	// Recording a revocation again changes nothing and is no error, and so
	// is recording one that has expired. A revocation that [Validate]
	// finds wrong is an error and has no effect.
	//
	// On any other error, a context that was cancelled among them, it is
	// not known whether r was recorded; calling again is safe. Callers
	// answer 503 and do not tell anybody that they are signed out.
	Revoke(ctx context.Context, r identity.Revocation) error

	// Revoked reports whether a revocation matches p. It neither changes p
	// nor keeps it.
	//
	// Not to know is an error and never false: the store is down, the
	// context was cancelled, what is known is too old. So is a p that is
	// nil or has no Issuer, since no revocation could ever match it. With
	// an error the other result means nothing, and callers refuse with
	// 503.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)

	// RevokeNow revokes all credentials that match r and were issued up to
	// now, on any machine whose clock is within [identity.MaxClockSkew] of the
	// others. It records r with a Before that it chooses and returns: later
	// than the present by MaxClockSkew, and later than every Before that
	// IssueTime has returned. r has no Before, Credential or Session.
	RevokeNow(ctx context.Context, r identity.Revocation) (before time.Time, err error)

	// IssueTime returns the IssuedAt of a credential that is issued to p now:
	// the present, or the latest Before of the revocations that match p, if
	// that is later by no more than twice MaxClockSkew. A sign-in that follows
	// a RevokeNow therefore survives it, whichever clock is ahead. It uses what
	// is known, without reading the store.
	IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error)

	// Checkpoint reads the store and returns how many revocations it has seen,
	// as a number that only grows: RevokedSince compares it with those that
	// follow.
	Checkpoint(ctx context.Context) (uint64, error)

	// RevokedSince reads the store, and reports whether p is revoked, or a
	// revocation was recorded after the checkpoint that would match p if p had
	// been issued before it, whatever the clocks show. Revocations whose Before
	// is more than a minute earlier than p's IssuedAt are left out: their
	// purpose is the past.
	RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error)
}

// checkNow returns why r is nothing for RevokeNow.
func checkNow(r identity.Revocation) error {
	if r.Credential != "" || r.Session != "" || !r.Before.IsZero() {
		return errors.New("blacklist: RevokeNow takes no Credential, Session or Before; use Revoke")
	}
	return nil
}

// orderWindow is by how much a Before may be earlier than an IssuedAt for the
// order of the log to count and not the clocks.
const orderWindow = time.Minute

// MaxLength is how many bytes each string of a revocation may have. Every
// [Revoker] takes that many; a longer one is an error, since a store that cut
// it would revoke somebody else's.
const MaxLength = 512

// Validate returns what is wrong with r, all of it, or nil. Implementations of
// [Revoker] call it first.
func Validate(r identity.Revocation) error {
	var wrong []error
	if r.Issuer == "" {
		wrong = append(wrong, errors.New("blacklist: Revocation.Issuer is empty, want whose credentials are revoked"))
	}
	if r.Credential == "" && r.Session == "" && r.Subject == "" && r.Tenant == "" && r.Before.IsZero() {
		wrong = append(wrong, errors.New("blacklist: Revocation has neither Credential, Session, Subject, Tenant nor Before"+
			" and would refuse everybody for ever; to revoke all that the issuer has issued so far, set Before to now"))
	}
	if r.Spare != "" && r.Before.IsZero() {
		wrong = append(wrong, errors.New("blacklist: Revocation.Spare is set without Before"+
			" and would refuse whoever signs in again; set Before to now"))
	}
	if r.Spare != "" && (r.Credential != "" || r.Session != "") {
		wrong = append(wrong, errors.New("blacklist: Revocation.Spare is set beside Credential or Session,"+
			" want it beside Subject or Tenant, whose other sessions end"))
	}
	for _, f := range [...]struct{ name, value string }{
		{"Issuer", r.Issuer},
		{"Credential", r.Credential},
		{"Session", r.Session},
		{"Subject", r.Subject},
		{"Tenant", r.Tenant},
		{"Spare", r.Spare},
	} {
		if len(f.value) > MaxLength {
			wrong = append(wrong, fmt.Errorf("blacklist: Revocation.%s has %d bytes, want at most %d", f.name, len(f.value), MaxLength))
		}
	}
	return errors.Join(wrong...)
}
