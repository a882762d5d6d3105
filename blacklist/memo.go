package blacklist

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/identity"
)

// A memo caches the IDs of recent callers, because most callers return, and a SHA-256
// for each field costs more than the rest of a look-up. It has a fixed size, 4.5 MiB of
// pages that the system allocates when they are used, holds no pointers and takes no
// lock.
//
// Its key is 64 bits of a hash with a seed of this process, so that attackers cannot
// choose collisions: one look-up in 2^64 finds the IDs of another caller.
type memo struct {
	seed  maphash.Seed
	slots []memoSlot // as many as a power of two
}

const memoSize = 1 << 16

// A memoSlot has the IDs of the fields of one caller, two words each, behind a word with
// the exclusive or of the tag and all IDs. If two writers mix their words, the tag does
// not match any look-up.
type memoSlot [1 + 2*fieldCount]atomic.Uint64

func newMemo(size int) memo { return memo{maphash.MakeSeed(), make([]memoSlot, size)} }

// fields returns what i.fields does.
func (m *memo) fields(i *issuerID, p *identity.Principal, k Kind) (ids [fieldCount]ID) {
	// The tag depends on the issuer, on the values and on the fields that are
	// looked up.
	tag := binary.LittleEndian.Uint64(i.digest[:]) + uint64(k)
	for rest := k; rest != 0; rest &= rest - 1 {
		n := bits.TrailingZeros8(uint8(rest))
		tag = bits.RotateLeft64(tag, 21)*0x9e3779b97f4a7c15 ^ maphash.String(m.seed, fieldOf(p, n))
	}
	slot := &m.slots[tag&uint64(len(m.slots)-1)]
	found := slot[0].Load()
	for n := range ids {
		low, high := slot[1+2*n].Load(), slot[2+2*n].Load()
		found ^= low ^ high
		binary.LittleEndian.PutUint64(ids[n][:], low)
		binary.LittleEndian.PutUint64(ids[n][8:], high)
	}
	if found == tag && tag != 0 { // which a slot that was never written has
		return ids
	}
	ids = i.fields(p, k)
	sum := tag
	for n := range ids {
		low, high := binary.LittleEndian.Uint64(ids[n][:]), binary.LittleEndian.Uint64(ids[n][8:])
		sum ^= low ^ high
		slot[1+2*n].Store(low)
		slot[2+2*n].Store(high)
	}
	slot[0].Store(sum)
	return ids
}

// fieldOf returns the value of the n-th field.
func fieldOf(p *identity.Principal, n int) string {
	switch Kind(1) << n {
	case KindSession:
		return p.Session
	case KindSubject:
		return p.Subject
	case KindTenant:
		return p.Tenant
	}
	return p.Credential
}
