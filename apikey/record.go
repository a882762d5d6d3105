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

// A Record is what is known of a key: all but the key. Times are kept to the
// microsecond; the zero Time of an end means that there is none.
type Record struct {
	// ID is the public part of the key, by which it is found, named in logs
	// and revoked. Of a key that [HashFinder] finds, the host chooses it.
	ID string

	// Name is what the owner calls the key. It proves nothing.
	Name string

	// Owner is who made the key and answers for it, the Subject of the
	// principals it makes. Required.
	Owner string

	// Tenant is the organisation the key acts in, empty for none.
	Tenant string

	// Environment is the one in the key, "live".
	Environment string

	// Roles and Scopes are the most that the key is good for: see
	// Config.OwnerRights.
	Roles, Scopes identity.Set

	// Active is false while the key is switched off. The zero Record is.
	Active bool

	// CreatedAt is when the key was issued.
	CreatedAt time.Time

	// NotBefore is when the key begins to be good, ExpiresAt when it ends.
	NotBefore, ExpiresAt time.Time

	// RevokedAt is when the key was revoked. A key with one is refused
	// whatever the clock says, and for good.
	RevokedAt time.Time

	// Successor is the ID of the key that replaced this one, which is good
	// until GraceUntil all the same.
	Successor  string
	GraceUntil time.Time

	// AllowedPrefixes are the networks the key may be used from. None means
	// from everywhere.
	AllowedPrefixes []netip.Prefix

	// Limits is for the host's rate limits, which is where it is read: a
	// plan's name, or limits such as "5/minute;1000/hour".
	Limits string

	// LastUsedAt is when the key was last used, to the second, and late by
	// up to Config.UsageInterval.
	LastUsedAt time.Time

	// Hash is what the key is compared with, and PepperID the ID of the
	// [Pepper] that it was made with. Without one it is a hash that
	// Config.LegacyHash made.
	Hash     Hash   `json:"-"`
	PepperID string `json:"-"`

	// Version counts the changes that [KeyWriter] made, from 1.
	Version int64
}

// Format prints the ID, the owner and the name, whatever the verb. fmt does not
// call it for a Record in an unexported field of another struct.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "API key "+strconv.Quote(r.ID)+" of "+strconv.Quote(r.Owner)+" ("+strconv.Quote(r.Name)+")")
}

// LogValue shows what an audit trail needs.
func (r Record) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID), slog.String("owner", r.Owner), slog.String("name", r.Name))
}

// Clone returns a copy that shares nothing that can be changed. Stores return
// and keep clones.
func (r *Record) Clone() Record {
	c := *r
	c.AllowedPrefixes = slices.Clone(r.AllowedPrefixes)
	return c
}

// End returns when the key ends by itself, the zero Time if it does not: the
// earlier of ExpiresAt and, once it was rotated, GraceUntil.
func (r *Record) End() time.Time {
	end := r.ExpiresAt
	if r.rotated() && (end.IsZero() || r.GraceUntil.Before(end)) {
		end = r.GraceUntil
	}
	return end
}

// Ended reports whether the key is over for good at a moment: revoked, expired,
// or replaced and past its grace. One that is switched off, or has not begun,
// may be good later and has not ended.
func (r *Record) Ended(now time.Time) bool {
	return !r.RevokedAt.IsZero() ||
		!r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt) ||
		r.rotated() && !now.Before(r.GraceUntil)
}

// rotated reports whether the key has a successor. Either field is enough, so
// that a record that somebody wrote by half does not live for ever.
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

// allows reports whether the key may be used from a remote address, "192.0.2.1:1234"
// or without the port. One that cannot be read, as that of a UNIX socket, is
// in no network. The record is one that unmapped made.
func (r *Record) allows(remoteAddr string) bool {
	if len(r.AllowedPrefixes) == 0 {
		return true
	}
	var addr netip.Addr
	if withPort, err := netip.ParseAddrPort(remoteAddr); err == nil {
		addr = withPort.Addr()
	} else if addr, err = netip.ParseAddr(remoteAddr); err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range r.AllowedPrefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// unmapped returns p as one of IPv4 addresses if it stands for such, since
// addresses are compared in this form: ::ffff:192.0.2.0/120 is 192.0.2.0/24.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// A Hash is the raw bytes of what is kept instead of a key. It prints as
// nothing but its length: with the pepper it is no use to who sees it, but it
// has no business in a log.
type Hash string

// Equal compares in a time that depends on the lengths only. An empty hash
// equals none.
func (h Hash) Equal(other Hash) bool {
	return len(h) > 0 && subtle.ConstantTimeCompare([]byte(h), []byte(other)) == 1
}

// String returns the length of the hash.
func (h Hash) String() string { return "[hash of " + strconv.Itoa(len(h)) + " bytes]" }

// Format prints String, whatever the verb.
func (h Hash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// MarshalText is String, for encoding/json and others.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }
