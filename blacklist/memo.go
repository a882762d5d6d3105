package blacklist

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/identity"
)

// A memo remembers the IDs of identifiers that were asked about lately, for a
// caller comes again and again and a SHA-256 costs more than all the rest. It
// has a fixed size, holds no pointers and takes no lock.
//
// What it goes by is 64 bits of a hash with a seed of this process, which
// nobody can aim at: one look-up in 2^64 is led to the ID of something else.
type memo struct {
	seed  maphash.Seed
	slots [memoSize]memoSlot
}

const memoSize = 1 << 14

// A memoSlot is an ID in the last two words, and in the first one its tag and
// both of them under exclusive or. Words that two writers have mixed therefore
// have no tag that anybody asks for.
type memoSlot [3]atomic.Uint64

// field returns what i.field does.
func (m *memo) field(i *issuerID, k Kind, value string) ID {
	// Of one value, another issuer or kind gives another tag.
	tag := maphash.String(m.seed, value) + binary.LittleEndian.Uint64(i.digest[:])*uint64(2*k+1)
	slot := &m.slots[tag%memoSize]
	low, high := slot[1].Load(), slot[2].Load()
	var id ID
	if slot[0].Load()^low^high == tag && low|high != 0 {
		binary.LittleEndian.PutUint64(id[:], low)
		binary.LittleEndian.PutUint64(id[8:], high)
		return id
	}
	id = i.field(k, value)
	low, high = binary.LittleEndian.Uint64(id[:]), binary.LittleEndian.Uint64(id[8:])
	slot[0].Store(tag ^ low ^ high)
	slot[1].Store(low)
	slot[2].Store(high)
	return id
}

// fields returns the IDs of the fields of p that are in k.
func (m *memo) fields(i *issuerID, p *identity.Principal, k Kind) (ids [4]ID) {
	for rest := k; rest != 0; rest &= rest - 1 {
		n := bits.TrailingZeros8(uint8(rest))
		value := p.Credential
		switch Kind(1) << n {
		case KindSession:
			value = p.Session
		case KindSubject:
			value = p.Subject
		case KindTenant:
			value = p.Tenant
		}
		ids[n] = m.field(i, Kind(1)<<n, value)
	}
	return ids
}
