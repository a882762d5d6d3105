package blacklist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A Revoker records revocations and reports whether one matches a caller. It is
// safe for concurrent use.
//
// A revocation matches a principal if each nonempty Issuer, Credential, Session,
// Subject and Tenant equals the principal's, byte for byte; its Before is zero, or
// the principal's IssuedAt is zero or earlier, to the millisecond or finer; its
// Spare is empty or differs from the principal's Session; and its Expires is zero
// or in the future.
//
// An implementation may merge unexpired revocations with the same fields, values
// and Spare into one with the latest Before and Expires, where zero is latest.
type Revoker interface {
	// Revoke records r. After nil, the revocation is as durable as the store, and
	// Revoked of the same value matches it; on other machines after a time that the
	// implementation documents.
	//
	// A revocation that is recorded or has expired already changes nothing. A
	// revocation that [Validate] rejects is an error. After another error r may be
	// recorded; call Revoke again, and do not report a logout.
	Revoke(ctx context.Context, r identity.Revocation) error

	// Revoked reports whether a revocation matches p. It neither changes nor keeps
	// p. It returns an error if it cannot decide, because the store is down, ctx is
	// cancelled, the data is too old, or p is nil or without Issuer.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)

	// RevokeNow revokes all credentials that match r and were issued up to now, if
	// clocks differ by at most [identity.MaxClockSkew]. It records r with the
	// Before that it returns: later than now by MaxClockSkew, and later than every
	// Before that IssueTime has returned. r has no Before, Credential or Session.
	RevokeNow(ctx context.Context, r identity.Revocation) (before time.Time, err error)

	// IssueTime returns the IssuedAt of a credential for p: now, or the latest
	// Before of the revocations that match p, if that is later by at most twice
	// MaxClockSkew. It does not read the store.
	IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error)

	// Checkpoint reads the store and returns its position, for RevokedSince.
	Checkpoint(ctx context.Context) (uint64, error)

	// RevokedSince reads the store, and reports whether p is revoked, or a
	// revocation was recorded after the checkpoint that would match p if p had been
	// issued before it, whatever the clocks show. Revocations with a Before more
	// than a minute earlier than p's IssuedAt do not count.
	RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error)
}

// checkNow returns why RevokeNow cannot record r.
func checkNow(r identity.Revocation) error {
	if r.Credential != "" || r.Session != "" || !r.Before.IsZero() {
		return errors.New("blacklist: RevokeNow takes no Credential, Session or Before; use Revoke")
	}
	return nil
}

// orderWindow is by how much a Before may be earlier than an IssuedAt for the
// order of the log to count and not the clocks.
const orderWindow = time.Minute

// MaxLength bounds each string of a revocation, in bytes. Longer strings are
// errors: a store that cut them would revoke other credentials.
const MaxLength = 512

// Validate returns all mistakes in r. A [Revoker] calls it first.
func Validate(r identity.Revocation) error {
	var wrong []error
	if r.Issuer == "" {
		wrong = append(wrong, errors.New("blacklist: Revocation.Issuer is empty; set the issuer of the credentials"))
	}
	if r.Credential == "" && r.Session == "" && r.Subject == "" && r.Tenant == "" && r.Before.IsZero() {
		wrong = append(wrong, errors.New("blacklist: Revocation has neither Credential, Session, Subject, Tenant nor Before"+
			" and would refuse every caller for ever; to revoke all that the issuer has issued so far, set Before to now"))
	}
	if r.Spare != "" && r.Before.IsZero() {
		wrong = append(wrong, errors.New("blacklist: Revocation.Spare is set without Before"+
			" and would refuse the next sign-in; set Before to now"))
	}
	if r.Spare != "" && (r.Credential != "" || r.Session != "") {
		wrong = append(wrong, errors.New("blacklist: Revocation.Spare is set beside Credential or Session,"+
			" set Subject or Tenant, whose other sessions end"))
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
			wrong = append(wrong, fmt.Errorf("blacklist: Revocation.%s has %d bytes; use at most %d", f.name, len(f.value), MaxLength))
		}
	}
	return errors.Join(wrong...)
}
