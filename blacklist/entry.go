package blacklist

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// An ID is half of a SHA-256 of the identifiers in a revocation.
type ID [16]byte

// A Kind is the sum of the nonempty fields of a revocation: KindSubject|KindTenant
// is one user in one tenant. Zero is everything of the issuer.
type Kind uint8

// The fields. Logs store their values.
const (
	KindCredential Kind = 1 << iota
	KindSession
	KindSubject
	KindTenant

	fieldCount = iota
	kinds      = 1 << fieldCount // how many sums there are
)

// String returns the names of the fields, "subject+tenant".
func (k Kind) String() string {
	if k == 0 {
		return "issuer"
	}
	if k >= kinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	var names []string
	for i, name := range [...]string{"credential", "session", "subject", "tenant"} {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// An Entry is a revocation in a [Log], without the identifiers. Moments are
// microseconds since 1970, rounded up.
type Entry struct {
	Kind Kind
	ID   ID // of the issuer and the fields of Kind

	Spare ID // of a session that the entry does not match; zero: none

	Before int64 // until when credentials are revoked; zero: whenever issued

	Expires int64 // when the entry may be deleted; zero: never
}

// NewEntry returns the entry of r, or the error of [Validate].
func NewEntry(r identity.Revocation) (Entry, error) {
	return new(issuers).entry(r)
}

// Matches reports whether e revokes p, expired or not, for ReplicaConfig.OnEntry.
func (e Entry) Matches(p *identity.Principal) bool {
	if p == nil || p.Issuer == "" || len(p.Issuer) > MaxLength || e.Validate() != nil || e.Kind&^fieldsOf(p) != 0 {
		return false
	}
	i := new(issuers).of(p.Issuer)
	if e.ID != i.id(e.Kind, i.fields(p, e.Kind)) {
		return false
	}
	if e.Before != 0 && micros(p.IssuedAt) >= e.Before {
		return false
	}
	return e.Spare == ID{} || e.Spare != i.spared(p)
}

// expired reports whether e has expired at a moment in microseconds since 1970.
func (e Entry) expired(now int64) bool { return e.Expires != 0 && e.Expires <= now }

// Validate returns all mistakes in e. A [Log] calls it in Append and Since. It may
// reject entries of a newer version of this package.
func (e Entry) Validate() error {
	var wrong []error
	if e.Kind >= kinds {
		wrong = append(wrong, fmt.Errorf("blacklist: Entry.Kind is %d, which is not less than %d; if a later version wrote it, this program is too old", e.Kind, kinds))
	}
	if e.Kind == 0 && e.Before == 0 {
		wrong = append(wrong, errors.New("blacklist: Entry has neither Kind nor Before and would refuse every caller for ever"))
	}
	if e.Spare != (ID{}) && e.Before == 0 {
		wrong = append(wrong, errors.New("blacklist: Entry.Spare is set without Before"))
	}
	return errors.Join(wrong...)
}

// fieldsOf returns the fields of p by which it could be revoked.
func fieldsOf(p *identity.Principal) (k Kind) {
	if n := len(p.Credential); n > 0 && n <= MaxLength {
		k |= KindCredential
	}
	if n := len(p.Session); n > 0 && n <= MaxLength {
		k |= KindSession
	}
	if n := len(p.Subject); n > 0 && n <= MaxLength {
		k |= KindSubject
	}
	if n := len(p.Tenant); n > 0 && n <= MaxLength {
		k |= KindTenant
	}
	return k
}

// An issuerID has the hashes of an issuer from which IDs are made.
type issuerID struct {
	name   string
	digest ID
	all    ID // of Kind 0
}

// newIssuerID begins each hash with a unique prefix, so that an ID is never the hash of
// something else.
func newIssuerID(name string) issuerID {
	buf := make([]byte, 0, 256)
	sum := sha256.Sum256(append(append(buf, "gatewright/blacklist 1\x00"...), name...))
	i := issuerID{name: name, digest: ID(sum[:16])}
	i.all = i.id(0, [fieldCount]ID{})
	return i
}

// field returns the ID of one field, which is also the ID of a revocation that
// names it alone. With identifiers of up to 38 bytes that is a single block of
// SHA-256, since the issuer was hashed before.
func (i *issuerID) field(k Kind, value string) ID {
	var room [17 + MaxLength]byte
	n := copy(room[:], i.digest[:])
	room[n] = byte(k)
	n += 1 + copy(room[n+1:], value)
	sum := sha256.Sum256(room[:n])
	return ID(sum[:16])
}

// fields returns the IDs of the fields of p that are in k.
func (i *issuerID) fields(p *identity.Principal, k Kind) (ids [fieldCount]ID) {
	if k&KindCredential != 0 {
		ids[0] = i.field(KindCredential, p.Credential)
	}
	if k&KindSession != 0 {
		ids[1] = i.field(KindSession, p.Session)
	}
	if k&KindSubject != 0 {
		ids[2] = i.field(KindSubject, p.Subject)
	}
	if k&KindTenant != 0 {
		ids[3] = i.field(KindTenant, p.Tenant)
	}
	return ids
}

// id returns the ID of a revocation that names the fields of k. For several fields it is
// the hash of their IDs, each of a fixed size, so that no choice of identifiers makes two
// IDs equal.
func (i *issuerID) id(k Kind, fields [fieldCount]ID) ID {
	if k&(k-1) == 0 && k != 0 {
		return fields[bits.TrailingZeros8(uint8(k))]
	}
	var room [17 + fieldCount*16]byte
	n := copy(room[:], i.digest[:])
	room[n] = byte(k)
	n++
	for rest := k; rest != 0; rest &= rest - 1 {
		n += copy(room[n:], fields[bits.TrailingZeros8(uint8(rest))][:])
	}
	sum := sha256.Sum256(room[:n])
	return ID(sum[:16])
}

// spared returns the ID by which an entry spares p's session. Without a session it is
// zero, which spares nothing.
func (i *issuerID) spared(p *identity.Principal) ID {
	if p.Session == "" || len(p.Session) > MaxLength {
		return ID{}
	}
	return i.field(KindSession, p.Session)
}

// issuers caches the first issuers that are looked up. Hosts have one to three.
type issuers struct{ known atomic.Pointer[[]issuerID] }

const maxIssuers = 16

func (s *issuers) of(name string) *issuerID {
	known := s.known.Load()
	if known != nil {
		for i := range *known {
			if (*known)[i].name == name {
				return &(*known)[i]
			}
		}
		if len(*known) >= maxIssuers {
			i := newIssuerID(name)
			return &i
		}
	}
	// Cloned: it may be cut from a whole token.
	i := newIssuerID(strings.Clone(name))
	var more []issuerID
	if known != nil {
		more = append(more, *known...)
	}
	more = append(more, i)
	s.known.CompareAndSwap(known, &more) // else another one was quicker, and this one comes next time
	return &i
}

// entry is [NewEntry].
func (s *issuers) entry(r identity.Revocation) (Entry, error) {
	if err := Validate(r); err != nil {
		return Entry{}, err
	}
	i := s.of(r.Issuer)
	p := &identity.Principal{Credential: r.Credential, Session: r.Session, Subject: r.Subject, Tenant: r.Tenant}
	k := fieldsOf(p)
	e := Entry{Kind: k, ID: i.id(k, i.fields(p, k)), Before: microsUp(r.Before), Expires: microsUp(r.Expires)}
	if r.Spare != "" {
		e.Spare = i.field(KindSession, r.Spare)
	}
	return e, nil
}

// micros returns t in whole microseconds since 1970, rounded down. Dates that
// do not fit, some 292,000 years away, are cut to those that do.
func micros(t time.Time) int64 {
	const most = math.MaxInt64/1_000_000 - 1
	switch s := t.Unix(); {
	case s > most:
		return math.MaxInt64
	case s < -most:
		return math.MinInt64
	}
	return t.UnixMicro()
}

// microsUp is micros rounded up, so that a moment covers up to a microsecond
// more, never less. It is zero for the zero time.
func microsUp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	m := micros(t)
	if t.Nanosecond()%1000 != 0 && m < math.MaxInt64 {
		m++
	}
	if m == 0 {
		m = 1
	}
	return m
}
