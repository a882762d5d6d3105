package blacklist

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A set holds all entries of a log for look-ups within nanoseconds. It does not read the
// clock: now is in microseconds since 1970.
type set struct {
	issuers
	memo
	// present has a bit for each Kind with an entry: the kinds in flat in the
	// lower half, the kinds in marks in the upper. Hosts revoke in two or three
	// ways, and looking up further kinds would cost a hash each.
	present atomic.Uint32
	flat    table // entries without Before
	marks   table // entries with Before: watermarks
	most    int64
}

// The words of a watermark, after the words of every slot. A credential that was issued
// before all is revoked. A credential that was issued before others is revoked unless its
// session is spare.
const (
	wordOthers = 2 + iota
	wordAll
	wordSpare // the first eight bytes of the ID, zero for none
	markWidth
)

func newSet(most int) *set {
	s := &set{most: int64(most)}
	seed := maphash.MakeSeed()
	s.memo = newMemo(memoSize)
	s.flat.seed, s.flat.width = seed, 2
	s.marks.seed, s.marks.width = seed, markWidth
	return s
}

func (s *set) len() int64 { return s.flat.size.Load() + s.marks.size.Load() }

// full reports whether there is room for no more entries.
func (s *set) full() bool { return s.len() >= s.most }

// add records e. Entries with one ID share a slot, with the latest of their
// moments, so the order of entries does not matter and repeating one changes
// nothing.
func (s *set) add(e Entry, now int64) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if e.expired(now - keep.Microseconds()) {
		return nil
	}
	millis := floorMillis(now)
	// The bit first, so that a look-up of a visible entry is not skipped.
	if e.Before == 0 {
		s.announce(uint32(1) << e.Kind)
		return s.addFlat(e, millis)
	}
	s.announce(uint32(1) << (kinds + e.Kind))
	return s.addMark(e, millis)
}

func (s *set) announce(bit uint32) {
	if s.present.Load()&bit == 0 {
		s.present.Or(bit)
	}
}

func (s *set) addFlat(e Entry, now int64) error {
	k := s.flat.key(&e.ID)
	shard := s.flat.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	until := k.tag<<expiryLen | expiry(e.Expires)
	if w := shard.slots.Load().find(k, 2); w != nil {
		w[1].Store(max(w[1].Load(), until)) // the tags are equal
		return nil
	}
	if s.full() {
		return ErrFull
	}
	s.flat.put(shard, k, now, []uint64{k.first, until})
	return nil
}

func (s *set) addMark(e Entry, now int64) error {
	k := s.marks.key(&e.ID)
	shard := s.marks.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	m := newWatermark(e)
	until := k.tag<<expiryLen | expiry(e.Expires)
	w := shard.slots.Load().find(k, markWidth)
	if w == nil {
		if s.full() {
			return ErrFull
		}
		s.marks.put(shard, k, now, []uint64{k.first, until, uint64(m.others), uint64(m.all), m.spare})
		return nil
	}
	if old := w[1].Load(); !expired(old, now) {
		m = m.join(loadWatermark(w))
		until = max(until, old)
	}
	shard.epoch.Add(1)
	w[1].Store(until)
	w[wordOthers].Store(uint64(m.others))
	w[wordAll].Store(uint64(m.all))
	w[wordSpare].Store(m.spare)
	shard.epoch.Add(1)
	return nil
}

// revoked reports whether an entry matches p at now. It calls now only if necessary.
func (s *set) revoked(p *identity.Principal, now func() int64) bool {
	present := s.present.Load()
	if present == 0 || len(p.Issuer) > MaxLength {
		return false
	}
	has := fieldsOf(p)
	var ask Kind // the fields of the kinds that are present and that p has
	for rest := present; rest != 0; rest &= rest - 1 {
		if k := Kind(bits.TrailingZeros32(rest)) % kinds; k&^has == 0 {
			ask |= k
		} else {
			present &^= rest & -rest
		}
	}
	if present == 0 {
		return false
	}
	i := s.issuers.of(p.Issuer)
	fields := s.memo.fields(i, p, ask)
	for rest := present; rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros32(rest)
		k := Kind(bit) % kinds
		id := fields[bits.TrailingZeros8(uint8(k))&3]
		if k == 0 {
			id = i.all
		} else if k&(k-1) != 0 {
			id = i.id(k, fields)
		}
		if bit < kinds {
			if s.revokedFlat(&id, now) {
				return true
			}
		} else if s.revokedMark(&id, i, p, now) {
			return true
		}
	}
	return false
}

func (s *set) revokedFlat(id *ID, now func() int64) bool {
	k := s.flat.key(id)
	w := s.flat.shard(k).slots.Load().find(k, 2)
	return w != nil && !expired(w[1].Load(), floorMillis(now()))
}

func (s *set) revokedMark(id *ID, i *issuerID, p *identity.Principal, now func() int64) bool {
	k := s.marks.key(id)
	shard := s.marks.shard(k)
	w := shard.slots.Load().find(k, markWidth)
	if w == nil {
		return false
	}
	until, m := shard.read(w)
	if expired(until, floorMillis(now())) {
		return false
	}
	issued := micros(p.IssuedAt)
	if issued < m.all {
		return true
	}
	if issued >= m.others {
		return false
	}
	// Without a session to be spared, issued was not before others.
	spared := i.spared(p)
	return m.spare != firstWord(&spared)
}

// latest returns the time of issue of a credential that is issued to p at now: now, or the
// latest moment up to which credentials of p are revoked, if that is near.
func (s *set) latest(p *identity.Principal, now int64) int64 {
	at, present := now, s.present.Load()>>kinds
	if present == 0 || len(p.Issuer) > MaxLength {
		return at
	}
	i, has := s.issuers.of(p.Issuer), fieldsOf(p)
	fields := i.fields(p, has)
	for ; present != 0; present &= present - 1 {
		kind := Kind(bits.TrailingZeros32(present))
		if kind&^has != 0 {
			continue
		}
		id := i.id(kind, fields)
		k := s.marks.key(&id)
		shard := s.marks.shard(k)
		w := shard.slots.Load().find(k, markWidth)
		if w == nil {
			continue
		}
		until, m := shard.read(w)
		if expired(until, floorMillis(now)) {
			continue
		}
		if before := max(m.all, m.others); before > at && nearNow(time.UnixMicro(before), time.UnixMicro(now)) {
			at = before
		}
	}
	return at
}

// read returns the words of a watermark that belong together.
func (s *shard) read(w []atomic.Uint64) (until uint64, m watermark) {
	for range 4 {
		epoch := s.epoch.Load()
		until, m = w[1].Load(), loadWatermark(w)
		if epoch&1 == 0 && s.epoch.Load() == epoch {
			return until, m
		}
	}
	// A writer is at it again and again, or was put to sleep over it.
	s.mu.Lock()
	defer s.mu.Unlock()
	return w[1].Load(), loadWatermark(w)
}

// sweep drops what has expired long ago from one of shardCount parts. It costs
// less than a millisecond for each million of entries.
func (s *set) sweep(part int, now int64) {
	s.flat.sweep(part, floorMillis(now))
	s.marks.sweep(part, floorMillis(now))
}

// A watermark has the moments up to which credentials are revoked.
type watermark struct {
	others, all int64
	spare       uint64
}

func newWatermark(e Entry) watermark {
	if e.Spare == (ID{}) {
		return watermark{others: math.MinInt64, all: e.Before}
	}
	return watermark{others: e.Before, all: math.MinInt64, spare: firstWord(&e.Spare)}
}

// firstWord returns the word that represents a spared session. One session in 2^64 has the
// same word and would be spared too.
func firstWord(id *ID) uint64 {
	if *id == (ID{}) {
		return 0
	}
	var w uint64
	for i := range 8 {
		w |= uint64(id[i]) << (8 * i)
	}
	return max(w, 1)
}

// join returns the watermark that refuses what m or n refuses, and no more. Of two
// watermarks that spare different sessions, each refuses the session that the other
// spares: the session spared by the later is refused up to the earlier moment, and all
// further sessions up to the later moment.
func (m watermark) join(n watermark) watermark {
	if n.others > m.others || n.others == m.others && n.spare > m.spare {
		m, n = n, m
	}
	out := watermark{others: m.others, all: max(m.all, n.all), spare: m.spare}
	if n.spare != m.spare && n.spare != 0 {
		out.all = max(out.all, n.others)
	}
	return out
}

func loadWatermark(w []atomic.Uint64) watermark {
	return watermark{int64(w[wordOthers].Load()), int64(w[wordAll].Load()), w[wordSpare].Load()}
}

// floorMillis returns whole milliseconds.
func floorMillis(micros int64) int64 {
	m := micros / 1000
	if micros%1000 < 0 {
		m--
	}
	return m
}

func nowMicros() int64 { return time.Now().UnixMicro() }
