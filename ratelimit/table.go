package ratelimit

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// A table is what all keys of one limit have spent: sets of seven places, of a
// fixed number. Which set a key belongs to is decided by its first half, which
// place in the set is its by the second.
//
// No pointers, so that the garbage collector does not look at it.
type table struct {
	limit Limit // of which Quota and Burst may be others in each call
	shape shape
	rings []ringSet   // Strict
	words []scalarSet // Smooth, Concurrent
	sets  uint64

	evicted atomic.Uint64 // keys that lost their place with something spent
	refused atomic.Uint64 // charges refused because of it
}

// ways is how many keys a set has room for.
const ways = 7

// A ringSet is 512 bytes: eight lines of the cache, of which a look-up touches
// the first and one or two of the rest.
type ringSet struct {
	tags  [ways]uint64 // 0: never used
	_     uint64
	ghost ring // covers everything that lost its place here
	rings [ways]ring
}

// A scalarSet is 128 bytes. A value is, for Smooth, the theoretical arrival time
// in nanoseconds; for Concurrent, how many are in flight.
type scalarSet struct {
	ghost  int64 // Smooth: the latest of everything that lost its place here
	_      int64
	tags   [ways]uint64 // the lowest bit: the key came back
	values [ways]int64
}

func newTable(l Limit, bytes int) *table {
	t := &table{limit: l, shape: newShape(int64(l.Window))}
	t.limit.Name = string([]byte(l.Name))
	if l.Kind == Strict {
		t.rings = make([]ringSet, max(1, bytes/ringSetBytes))
		t.sets = uint64(len(t.rings))
	} else {
		t.words = make([]scalarSet, max(1, bytes/scalarSetBytes))
		t.sets = uint64(len(t.words))
	}
	return t
}

const (
	ringSetBytes   = 512
	scalarSetBytes = 128
)

// setOf returns the set of a key.
func (t *table) setOf(k *Key) uint64 {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(k[:8]), t.sets)
	return hi
}

// tagOf returns what a place is marked with: not zero, and with a bit to spare.
func tagOf(k *Key) uint64 {
	// Of both halves: which set it is leaves most of the first one unused.
	tag := (binary.LittleEndian.Uint64(k[8:]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(k[:8]), 32)) &^ 1
	if tag == 0 {
		return 2
	}
	return tag
}

// look decides about a charge and changes nothing that counts.
func (t *table) look(set uint64, c *Charge, now int64) State {
	switch t.limit.Kind {
	case Strict:
		return t.rings[set].look(t, c, now)
	case Smooth:
		return t.words[set].lookSmooth(t, c, now)
	}
	return t.words[set].lookConcurrent(t, c)
}

// spend makes a charge that look found to fit. It reports false if another
// charge of the same bill has taken the last place meanwhile.
func (t *table) spend(set uint64, c *Charge, now int64) bool {
	switch t.limit.Kind {
	case Strict:
		t.rings[set].spend(t, c, now)
	case Smooth:
		t.words[set].spendSmooth(t, c, now)
	default:
		return t.words[set].spendConcurrent(c)
	}
	return true
}

// giveBack undoes a charge of a moment, as far as it still counts.
func (t *table) giveBack(set uint64, c *Charge, at, now int64) {
	switch t.limit.Kind {
	case Strict:
		t.rings[set].giveBack(t, c, at, now)
	case Smooth:
		t.words[set].giveBackSmooth(c, at, now)
	default:
		t.words[set].giveBackConcurrent(c)
	}
}

func (s *ringSet) find(tag uint64) int {
	for i, t := range s.tags {
		if t == tag {
			return i
		}
	}
	return -1
}

func (s *ringSet) look(t *table, c *Charge, now int64) State {
	i := s.find(tagOf(&c.Key))
	// A newcomer may be one who was here before.
	r := &s.ghost
	if i >= 0 {
		r = &s.rings[i]
	}
	r.advance(&t.shape, now)
	used, quota := r.used(), c.Limit.Quota
	if over := used + c.Cost - quota; over > 0 {
		wait := max(1, r.freed(&t.shape, over)-now)
		return State{
			Refused:    true,
			Full:       i < 0,
			Remaining:  max(0, quota-used),
			RetryAfter: micros(wait),
			Reset:      micros(max(1, r.freed(&t.shape, max(1, used-quota+1))-now)),
		}
	}
	state := State{Remaining: quota - used - c.Cost, Reset: micros(t.shape.window)}
	switch {
	case used > 0:
		state.Reset = micros(max(1, r.freed(&t.shape, 1)-now))
	case quota > exactUnits:
		state.Reset = micros((now/t.shape.sub+parts+1)*t.shape.sub - now)
	}
	return state
}

func (s *ringSet) spend(t *table, c *Charge, now int64) {
	tag := tagOf(&c.Key)
	i := s.find(tag)
	if i < 0 {
		i = s.victim(t, now)
		if s.rings[i].used() > 0 {
			s.ghost.advance(&t.shape, now)
			s.ghost.join(&t.shape, now, &s.rings[i])
			t.evicted.Add(1)
		}
		s.ghost.advance(&t.shape, now)
		s.tags[i], s.rings[i] = tag, s.ghost
		s.rings[i].add(&t.shape, now, c.Cost, c.Limit.Quota)
		s.rings[i].meta &^= metaEstablished // what it inherited is not its own
		return
	}
	s.rings[i].advance(&t.shape, now)
	s.rings[i].add(&t.shape, now, c.Cost, c.Limit.Quota)
}

// victim returns the place that a newcomer gets: one with nothing spent if
// there is one, then the one with the least spent of those that were never
// seen again, so that a flood of keys that come once takes its places from
// itself, then the one with the least spent of all. Which place it is decides
// who is served; that nobody gets more than the limit is up to the ghost.
func (s *ringSet) victim(t *table, now int64) int {
	best, least := 0, int64(1)<<62
	for i := range s.rings {
		r := &s.rings[i]
		if s.tags[i] == 0 {
			return i
		}
		r.advance(&t.shape, now)
		debt := r.used()
		if debt == 0 {
			return i
		}
		if r.meta&metaEstablished != 0 {
			debt += 1 << 61
		}
		if debt < least {
			best, least = i, debt
		}
	}
	return best
}

func (s *ringSet) giveBack(t *table, c *Charge, at, now int64) {
	if i := s.find(tagOf(&c.Key)); i >= 0 {
		s.rings[i].advance(&t.shape, now)
		s.rings[i].take(&t.shape, at, now, c.Cost)
	}
}

// micros returns ns as whole microseconds, rounded up.
func micros(ns int64) duration { return duration(ceilDiv(ns, 1000) * 1000) }

func (s *scalarSet) find(tag uint64) int {
	for i, t := range s.tags {
		if t&^1 == tag {
			return i
		}
	}
	return -1
}

// interval returns after how many nanoseconds the next unit of a Smooth limit
// comes. It is rounded up, by a thousandth at most: see [Limit.Validate].
func interval(l *Limit) int64 { return ceilDiv(int64(l.Window), l.Quota) }

func (s *scalarSet) lookSmooth(t *table, c *Charge, now int64) State {
	i := s.find(tagOf(&c.Key))
	tat := s.ghost
	if i >= 0 {
		tat = s.values[i]
	}
	tat = max(tat, now)
	one := interval(&c.Limit)
	tolerance, cost := c.Limit.Burst*one, c.Cost*one
	var state State
	if over := tat + cost - now - tolerance; over > 0 {
		state = State{Refused: true, Full: i < 0, RetryAfter: micros(over)}
	} else {
		tat += cost
	}
	if free := tolerance - (tat - now); free > 0 {
		state.Remaining = free / one
	}
	if tat > now {
		// As soon as one more would fit.
		next := tolerance - (state.Remaining+1)*one
		state.Reset = micros(max(1, min(tat-now, tat-now-next)))
	}
	return state
}

func (s *scalarSet) spendSmooth(t *table, c *Charge, now int64) {
	tag := tagOf(&c.Key)
	i := s.find(tag)
	if i >= 0 {
		if s.values[i] <= now {
			s.tags[i] |= 1 // it came back after all it spent had come back
		}
	} else {
		i = s.victimSmooth(t, now)
		if s.values[i] > now {
			s.ghost = max(s.ghost, s.values[i])
			t.evicted.Add(1)
		}
		s.tags[i], s.values[i] = tag, s.ghost
	}
	s.values[i] = max(s.values[i], now) + c.Cost*interval(&c.Limit)
}

// victimSmooth is victim for arrival times. Nothing spent is not enough to lose
// the place, for that is the usual state of those who keep to the rate: who came
// back keeps it for a window.
func (s *scalarSet) victimSmooth(t *table, now int64) int {
	best, least := 0, int64(1)<<62
	for i, tat := range s.values {
		established := s.tags[i]&1 != 0
		if s.tags[i] == 0 || tat <= now && (!established || now-tat > t.shape.window) {
			return i
		}
		debt := tat - now
		if established {
			debt += 1 << 61
		}
		if debt < least {
			best, least = i, debt
		}
	}
	return best
}

// giveBackSmooth gives back what of the charge would not have come back by
// itself, had it been the only one: what was spent before it may have been
// given back meanwhile, so that it alone may be what has come back since. More
// could be more than the rate allows.
func (s *scalarSet) giveBackSmooth(c *Charge, at, now int64) {
	if i := s.find(tagOf(&c.Key)); i >= 0 {
		if back := at + c.Cost*interval(&c.Limit) - now; back > 0 {
			s.values[i] -= back
		}
	}
}

func (s *scalarSet) lookConcurrent(t *table, c *Charge) State {
	i := s.find(tagOf(&c.Key))
	quota := c.Limit.Quota
	var used int64
	if i >= 0 {
		used = s.values[i]
	} else if s.free() < 0 {
		return State{Refused: true, Full: true}
	}
	if used+c.Cost > quota {
		return State{Refused: true, Remaining: max(0, quota-used)}
	}
	return State{Remaining: quota - used - c.Cost}
}

func (s *scalarSet) spendConcurrent(c *Charge) bool {
	tag := tagOf(&c.Key)
	i := s.find(tag)
	if i < 0 {
		if i = s.free(); i < 0 {
			return false
		}
		s.tags[i], s.values[i] = tag, 0
	}
	s.values[i] += c.Cost
	return true
}

// free returns a place of nobody who has something in flight, -1 for none:
// what is in flight cannot be forgotten, for it will end and be subtracted.
func (s *scalarSet) free() int {
	for i, n := range s.values {
		if n == 0 {
			return i
		}
	}
	return -1
}

func (s *scalarSet) giveBackConcurrent(c *Charge) {
	if i := s.find(tagOf(&c.Key)); i >= 0 {
		s.values[i] = max(0, s.values[i]-c.Cost)
	}
}
