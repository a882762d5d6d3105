package apikey

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A Record is a stored key; see [Spec] for fields without a comment. Times have
// microseconds; zero is not set.
type Record struct {
	ID string // the public part of the key; of an older scheme, the host's choice

	Name string

	Owner string

	Tenant string

	Environment string

	Roles, Scopes identity.Set

	Active bool // false while the key is switched off

	CreatedAt time.Time

	NotBefore, ExpiresAt time.Time

	// RevokedAt is when the key was revoked. If set, even in the future, the key is
	// refused.
	RevokedAt time.Time

	// Successor is the ID of the key that replaced this key, which is good until
	// GraceUntil.
	Successor  string
	GraceUntil time.Time

	AllowedPrefixes []netip.Prefix

	Limits string // for the host, such as "5/minute;1000/hour"

	LastUsedAt time.Time // last written use, to the second

	// Hash is the hash of the key under the [Pepper] PepperID, or Config.LegacyHash
	// if PepperID is empty.
	Hash     Hash   `json:"-"`
	PepperID string `json:"-"`

	Version int64 // counts the writes of [KeyWriter], from 1
}

// Format prints the ID, owner and name. fmt does not call it for an unexported
// field of another struct.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "API key "+strconv.Quote(r.ID)+" of "+strconv.Quote(r.Owner)+" ("+strconv.Quote(r.Name)+")")
}

// LogValue returns the ID, owner and name.
func (r Record) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID), slog.String("owner", r.Owner), slog.String("name", r.Name))
}

// Clone returns a deep copy.
func (r *Record) Clone() Record {
	c := *r
	c.AllowedPrefixes = slices.Clone(r.AllowedPrefixes)
	return c
}

// End returns when the key ends: ExpiresAt or, after a rotation, GraceUntil; zero
// if never.
func (r *Record) End() time.Time {
	end := r.ExpiresAt
	if r.rotated() && (end.IsZero() || r.GraceUntil.Before(end)) {
		end = r.GraceUntil
	}
	return end
}

// Ended reports whether the key is revoked, expired, or replaced with its overlap
// over.
func (r *Record) Ended(now time.Time) bool {
	return !r.RevokedAt.IsZero() ||
		!r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt) ||
		r.rotated() && !now.Before(r.GraceUntil)
}

// rotated reports whether the key has a successor. Either field is enough, so
// that a record of which one field was lost still ends.
func (r *Record) rotated() bool { return r.Successor != "" || !r.GraceUntil.IsZero() }

// state returns why the key is not good at a moment, nil if it is.
func (r *Record) state(now time.Time) error {
	switch {
	case !r.RevokedAt.IsZero():
		return ErrRevoked
	case !r.Active:
		return ErrInactive
	case now.Before(r.NotBefore):
		return ErrTooEarly
	case !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt):
		return ErrExpired
	case r.rotated() && !now.Before(r.GraceUntil):
		return ErrRotated
	}
	return nil
}

// allows reports whether the key may be used from a remote address, with or
// without a port. An unreadable address, for example of a UNIX socket, is in no
// network. The prefixes of the record have passed unmapped.
func (r *Record) allows(remoteAddr string) bool {
	if len(r.AllowedPrefixes) == 0 {
		return true
	}
	addr, ok := addrOf(remoteAddr)
	if !ok {
		return false
	}
	for _, p := range r.AllowedPrefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addrOf returns the address of a remote address, with or without a port.
func addrOf(remoteAddr string) (addr netip.Addr, ok bool) {
	if withPort, err := netip.ParseAddrPort(remoteAddr); err == nil {
		addr = withPort.Addr()
	} else if addr, err = netip.ParseAddr(remoteAddr); err != nil {
		return addr, false
	}
	return addr.Unmap().WithZone(""), true
}

// unmapped returns an IPv4-mapped IPv6 prefix as an IPv4 prefix, because allows
// compares addresses in this form: ::ffff:192.0.2.0/120 is 192.0.2.0/24.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// A Hash is the raw hash of a key. It prints as its length.
type Hash string

// Equal compares in a time that depends only on the lengths. An empty Hash equals
// no Hash.
func (h Hash) Equal(other Hash) bool {
	return len(h) > 0 && subtle.ConstantTimeCompare([]byte(h), []byte(other)) == 1
}

// String returns the length of the hash.
func (h Hash) String() string { return "[hash of " + strconv.Itoa(len(h)) + " bytes]" }

// Format prints String.
func (h Hash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// MarshalText returns String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }
