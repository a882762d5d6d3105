package apikey

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Reasons to refuse a key. Each wraps ErrInvalid and is answered 401, except
// ErrAddress: 403.
var (
	ErrInvalid     = guard.NewReason("apikey: invalid")
	ErrMalformed   = guard.NewReason("apikey: malformed", ErrInvalid)
	ErrUnknown     = guard.NewReason("apikey: no key with that ID or legacy hash", ErrInvalid)
	ErrSecret      = guard.NewReason("apikey: wrong secret", ErrInvalid)
	ErrPepper      = guard.NewReason("apikey: the pepper of the record is not in Config.Peppers", ErrInvalid)
	ErrEnvironment = guard.NewReason("apikey: the record is of another environment", ErrInvalid)
	ErrRevoked     = guard.NewReason("apikey: revoked", ErrInvalid)
	ErrInactive    = guard.NewReason("apikey: switched off", ErrInvalid)
	ErrTooEarly    = guard.NewReason("apikey: not valid yet", ErrInvalid)
	ErrExpired     = guard.NewReason("apikey: expired", ErrInvalid)
	ErrRotated     = guard.NewReason("apikey: replaced, and its grace is over", ErrInvalid)
	ErrOwner       = guard.NewReason("apikey: the owner is not active", ErrInvalid)
	ErrAddress     = guard.NewReason("apikey: used from an address that is not allowed", ErrInvalid)
)

// Errors of [Format.Parse], made once because junk must be cheap to refuse.
var (
	errHead     = guard.NewReason("apikey: malformed: it does not begin with the prefix and an environment of the Format", ErrMalformed)
	errLength   = guard.NewReason("apikey: malformed: too short or too long", ErrMalformed)
	errChecksum = guard.NewReason("apikey: malformed: the checksum does not match, as in a mistyped key", ErrMalformed)
	errSpelling = guard.NewReason("apikey: malformed: an invalid character", ErrMalformed)
)

// A rejection is a reason with the values that caused it, for the log.
type rejection struct {
	reason error
	id     string
	record *Record // nil if it is missing or its content does not matter
	given  string  // the rejected address, the environments, or the peppers
}

func (r *rejection) Unwrap() error { return r.reason }

func (r *rejection) Error() string {
	text := r.reason.Error() + ": key " + fmt.Sprintf("%.64q", r.id)
	if r.record == nil {
		return text
	}
	switch r.reason {
	case ErrPepper:
		return fmt.Sprintf("%s was made with pepper %.64q, Config.Peppers has %s", text, r.record.PepperID, r.given)
	case ErrEnvironment:
		return fmt.Sprintf("%s has environment %.64q in the store instead of %s", text, r.record.Environment, r.given)
	case ErrRevoked:
		if r.record.RevokedAt.IsZero() {
			return text + " by the Revoker"
		}
		return text + " at " + instant(r.record.RevokedAt)
	case ErrTooEarly:
		return text + " begins at " + instant(r.record.NotBefore)
	case ErrExpired:
		return text + " ended at " + instant(r.record.ExpiresAt)
	case ErrRotated:
		return fmt.Sprintf("%s was replaced by %.64q and ended at %s", text, r.record.Successor, instant(r.record.GraceUntil))
	case ErrOwner:
		return fmt.Sprintf("%s of %.64q", text, r.record.Owner)
	case ErrAddress:
		var networks []string
		for _, p := range r.record.AllowedPrefixes {
			networks = append(networks, p.String())
		}
		return fmt.Sprintf("%s came from %.64q, which is not in %.300s", text, r.given, strings.Join(networks, ", "))
	}
	return text
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
