package blacklist

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A table finds words by an ID. It is open-addressed, in groups of eight slots. Each slot
// has a control byte: whether the slot is taken, and seven bits of its hash. A look-up of
// an absent ID, the usual case, reads the control bytes only, a sixteenth of the memory.
//
// A table holds no pointers, so the collector does not read it. Look-ups take no lock: a
// taken slot keeps its ID, and its control byte is written last. To remove slots, a shard
// is copied without them.
//
// The place of an ID depends on a seed of this process, so that attackers cannot choose
// identifiers with the same place.
type table struct {
	width  int // words per slot: two, and what the user of the table adds
	seed   maphash.Seed
	shards [shardCount]shard
	size   atomic.Int64 // slots that are taken, dead ones too
}

// shardCount is how many parts a table has, so that it grows in small steps and
// writers seldom wait for each other.
const shardCount = 256

type shard struct {
	mu    sync.Mutex    // of writers
	epoch atomic.Uint32 // odd while words of a slot change together
	slots atomic.Pointer[slots]
	used  int
}

// slots is the memory of a shard, replaced as a whole.
type slots struct {
	control []atomic.Uint64 // per group
	words   []atomic.Uint64
}

// A key is an ID as far as it is kept: 86 bits, so that among ten million
// entries one look-up in 10^18 mistakes one ID for another.
type key struct {
	hash  uint64
	first uint64 // word 0 of the slot
	tag   uint64 // above word 1's expiry
}

const (
	groupSize = 8
	expiryLen = 42 // bits, of milliseconds since 1970: until the year 2109
	expiryMax = 1<<expiryLen - 1

	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

func (t *table) key(id *ID) key {
	return key{
		hash:  maphash.Bytes(t.seed, id[:8]),
		first: binary.LittleEndian.Uint64(id[:8]),
		tag:   binary.LittleEndian.Uint64(id[8:]) >> expiryLen,
	}
}

func (t *table) shard(k key) *shard { return &t.shards[k.hash>>56] }

// group returns the group where the search for a hash begins.
func (s *slots) group(hash uint64) int {
	g, _ := bits.Mul64(hash<<8, uint64(len(s.control)))
	return int(g)
}

// mark returns the byte in control of a taken slot.
func mark(hash uint64) uint64 { return hash&0x7f | 0x80 }

// find returns the words of k's slot, or nil.
func (s *slots) find(k key, width int) []atomic.Uint64 {
	if s == nil {
		return nil
	}
	want := mark(k.hash) * lows
	g := s.group(k.hash)
	for range s.control {
		c := s.control[g].Load()
		// A zero byte of x is a match. Bytes above it may look like a match, so
		// the slot is compared.
		x := c ^ want
		for m := (x - lows) &^ x & highs; m != 0; m &= m - 1 {
			at := (g*groupSize + bits.TrailingZeros64(m)/8) * width
			w := s.words[at : at+width]
			if w[0].Load() == k.first && w[1].Load()>>expiryLen == k.tag {
				return w
			}
		}
		if c&highs != highs {
			return nil // a slot that is free ends the search
		}
		if g++; g == len(s.control) {
			g = 0
		}
	}
	return nil
}

// insert takes a free slot for the words, of which there is one.
func (s *slots) insert(hash uint64, words []uint64) {
	for g := s.group(hash); ; {
		c := s.control[g].Load()
		if free := ^c & highs; free != 0 {
			in := bits.TrailingZeros64(free) / 8
			at := (g*groupSize + in) * len(words)
			for i, w := range words {
				s.words[at+i].Store(w)
			}
			s.control[g].Store(c | mark(hash)<<(8*in))
			return
		}
		if g++; g == len(s.control) {
			g = 0
		}
	}
}

// limit is how many slots may be taken: seven eighths, so that searches end
// soon.
func (s *slots) limit() int {
	if s == nil {
		return 0
	}
	return len(s.control) * (groupSize - 1)
}

// each calls f with the words of each slot that is taken.
func (s *slots) each(width int, f func(words []uint64)) {
	if s == nil {
		return
	}
	words := make([]uint64, width)
	for g := range s.control {
		for m := s.control[g].Load() & highs; m != 0; m &= m - 1 {
			at := (g*groupSize + bits.TrailingZeros64(m)/8) * width
			for i := range words {
				words[i] = s.words[at+i].Load()
			}
			f(words)
		}
	}
}

// rebuild copies the slots of s that are not dead at now, with room for a fifth
// more. The caller holds s.mu.
func (t *table) rebuild(s *shard, now int64) {
	old := s.slots.Load()
	live := 0
	old.each(t.width, func(w []uint64) {
		if !dead(w[1], now) {
			live++
		}
	})
	const most = groupSize - 1
	groups := ((live+1)*6/5 + most - 1) / most
	fresh := &slots{make([]atomic.Uint64, groups), make([]atomic.Uint64, groups*groupSize*t.width)}
	old.each(t.width, func(w []uint64) {
		if !dead(w[1], now) {
			var first [8]byte
			binary.LittleEndian.PutUint64(first[:], w[0])
			fresh.insert(maphash.Bytes(t.seed, first[:]), w)
		}
	})
	t.size.Add(int64(live - s.used))
	s.used = live
	s.slots.Store(fresh)
}

// put finds or makes the slot of k and calls change with its words. The caller
// holds the shard's mu.
func (t *table) put(s *shard, k key, now int64, fresh []uint64) {
	if s.used >= s.slots.Load().limit() {
		t.rebuild(s, now)
	}
	s.slots.Load().insert(k.hash, fresh)
	s.used++
	t.size.Add(1)
}

// sweep drops what is dead in one shard, if it is a quarter or more.
func (t *table) sweep(i int, now int64) {
	s := &t.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	s.slots.Load().each(t.width, func(w []uint64) {
		if dead(w[1], now) {
			n++
		}
	})
	if n > 0 && n*4 >= s.used {
		t.rebuild(s, now)
	}
}

// keep is how long entries are kept after they have expired: setting back a clock that was
// fast by less than keep undoes no revocation.
const keep = time.Hour

// expiry returns the low bits of word 1 for a moment in microseconds, rounded
// up. Zero, never, is the largest.
func expiry(micros int64) uint64 {
	if micros == 0 || micros > expiryMax*1000-1000 {
		return expiryMax
	}
	if micros < 0 {
		return 0
	}
	return uint64((micros + 999) / 1000)
}

// expired reports whether word 1 has, at now in milliseconds.
func expired(word uint64, now int64) bool {
	e := word & expiryMax
	return e != expiryMax && int64(e) <= now
}

// dead reports whether word 1 has expired long ago.
func dead(word uint64, now int64) bool { return expired(word, now-keep.Milliseconds()) }
