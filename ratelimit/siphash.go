package ratelimit

import (
	"encoding/binary"
	"math/bits"

	"github.com/gatewright/gatewright/internal/hidden"
)

// sipKey is a key of SipHash, hidden because a Limiter can be printed.
type sipKey struct{ halves hidden.Value[[2]uint64] }

func newSipKey(b []byte) sipKey {
	return sipKey{hidden.New([2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])})}
}

// sum returns SipHash-2-4 of b with 128 bits (Aumasson and Bernstein, "SipHash:
// a fast short-input PRF"). An attacker without the key can neither find two
// inputs that collide nor learn from an output what went in.
//
// hash/maphash is faster, but its seed cannot leave the process, and several
// processes share one store; HMAC-SHA-256 costs more than all the rest of a
// decision.
func (k sipKey) sum(b []byte) Key {
	halves := k.halves.Reveal()
	k0, k1 := halves[0], halves[1]
	v0 := k0 ^ 0x736f6d6570736575
	v1 := k1 ^ 0x646f72616e646f6d ^ 0xee
	v2 := k0 ^ 0x6c7967656e657261
	v3 := k1 ^ 0x7465646279746573
	last := uint64(len(b)) << 56
	for len(b) >= 8 {
		m := binary.LittleEndian.Uint64(b)
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
		b = b[8:]
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last

	v2 ^= 0xee
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	var out Key
	binary.LittleEndian.PutUint64(out[:], v0^v1^v2^v3)
	v1 ^= 0xdd
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	binary.LittleEndian.PutUint64(out[8:], v0^v1^v2^v3)
	return out
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13)
	v1 ^= v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16)
	v3 ^= v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21)
	v3 ^= v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17)
	v1 ^= v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
