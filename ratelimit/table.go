package ratelimit

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// What the tables promise:
//
// A Memory has a fixed number of places, in sets of seven. A key without a place evicts
// another. Each set has a ghost, which has spent at any time at least as much as each
// evicted key, and every new key begins with the charges of the ghost. The invariant is:
//
//	At any moment, the charges counted for a key since any earlier
//	moment are at least its real charges.
//
// The new ghost is the element-wise maximum of the sub-windows of the ghost and of the
// evicted key; for quotas up to ten, the later of the two i-th newest times; for Smooth
// limits, the later arrival time.
//
// Therefore new keys, and evicted keys that come back, may be refused for the charges of
// other keys, once the live keys exceed the places. The table shows the fraction
// of new keys refused, for a Strict quota of 10; a key is live while any of its charges
// is within the window. TestPlotRefusedNewcomers draws it:
//
//	live keys per place:    0.25    0.5   0.75      1    1.5      2      3      5      8     12     20
//	each spent  1 of 10     0.0%   0.0%   0.0%   0.0%   0.0%   0.0%   0.0%   0.0%   5.3%  94.8% 100.0%
//	each spent  3 of 10     0.0%   0.0%   0.0%   0.0%   0.0%   0.4%   9.8%  90.5% 100.0% 100.0% 100.0%
//	each spent  5 of 10     0.0%   0.0%   0.0%   0.9%  16.4%  49.6%  95.2% 100.0% 100.0% 100.0% 100.0%
//	each spent 10 of 10     0.1%   5.7%  23.5%  49.8%  87.0%  97.5%  99.9% 100.0% 100.0% 100.0% 100.0%
//
//	                 1 of 10                 3 of 10                 10 of 10
//	 0.25 live keys |                     |  |                     |  |                     |
//	  0.5 live keys |                     |  |                     |  |#                    |
//	 0.75 live keys |                     |  |                     |  |#####                |
//	    1 live keys |                     |  |                     |  |##########           |
//	  1.5 live keys |                     |  |                     |  |#################    |
//	    2 live keys |                     |  |                     |  |#################### |
//	    3 live keys |                     |  |##                   |  |#################### |
//	    5 live keys |                     |  |##################   |  |#################### |
//	    8 live keys |#                    |  |#################### |  |#################### |
//	   12 live keys |###################  |  |#################### |  |#################### |
//	   20 live keys |#################### |  |#################### |  |#################### |
//
// The middle of each edge is where live keys per place, times the charges of each, is
// the quota. A table with four places for each live key refuses one new key in a thousand
// even if all other keys have used up their quota.

// A table has the charges of all keys of one limit, in a fixed number of sets of seven
// places. The first half of a key selects the set, the second half the place.
//
// A table has no pointers, so the garbage collector does not scan it.
type table struct {
	limit    Limit // Quota and Burst may differ in each call
	shape    shape
	rings    []ringSet    // Strict
	arrivals []arrivalSet // Smooth
	sets     uint64

	evicted atomic.Uint64 // live keys that lost their place
	refused atomic.Uint64 // charges refused because of it
}

// ways is the number of places in a set.
const ways = 7

// A ringSet is 512 bytes: eight cache lines, one for each place. A look-up touches one
// line if the key has its preferred place.
type ringSet struct {
	places [ways]struct {
		tag uint64 // 0: never used
		ring
	}
	ghost ring // covers all evicted keys of the set
	_     uint64
}

// An arrivalSet is 128 bytes. A value is the theoretical arrival time in
// nanoseconds.
type arrivalSet struct {
	places [ways]struct {
		tag   uint64 // 0: never used; the lowest bit: the key came back
		value int64
	}
	ghost int64 // the latest of all evicted keys of the set
	_     int64
}

func newTable(l Limit, bytes int) *table {
	t := &table{limit: l, shape: newShape(int64(l.Window))}
	t.limit.Name = string([]byte(l.Name))
	if l.Kind == Strict {
		t.rings = make([]ringSet, max(1, bytes/ringSetBytes))
		t.sets = uint64(len(t.rings))
	} else {
		t.arrivals = make([]arrivalSet, max(1, bytes/arrivalSetBytes))
		t.sets = uint64(len(t.arrivals))
	}
	return t
}

const (
	ringSetBytes    = 512
	arrivalSetBytes = 128
)

// setOf returns the set of a key.
func (t *table) setOf(k *Key) uint64 {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(k[:8]), t.sets)
	return hi
}

// tagOf returns the mark of a key's place: not zero, and with the lowest bit
// clear.
func tagOf(k *Key) uint64 {
	// Of both halves: which set it is leaves most of the first one unused.
	tag := (binary.LittleEndian.Uint64(k[8:]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(k[:8]), 32)) &^ 1
	if tag == 0 {
		return 2
	}
	return tag
}

// preferred returns the place that a key gets if it is free, and where the search
// for it begins. The search tries the other places in turn, so that it finds the
// key before the first place that was never used.
func preferred(tag uint64) int {
	hi, _ := bits.Mul64(tag, ways)
	return int(hi)
}

// after returns the place that the search tries after i.
func after(i int) int {
	if i++; i < ways {
		return i
	}
	return 0
}

// find returns the place of a key, -1 if it has none.
func (t *table) find(set uint64, k *Key) int {
	if t.limit.Kind == Strict {
		return t.rings[set].find(tagOf(k))
	}
	return t.arrivals[set].find(tagOf(k))
}

// decide decides about a charge without making it. It also returns the result of
// find.
func (t *table) decide(set uint64, c *Charge, now int64) (State, int) {
	i := t.find(set, &c.Key)
	if t.limit.Kind == Strict {
		return t.rings[set].decide(t, i, c, now), i
	}
	return t.arrivals[set].decide(i, c, now), i
}

// spend makes a charge that decide has just admitted, of a key at place i.
func (t *table) spend(set uint64, i int, c *Charge, now int64) {
	if t.limit.Kind == Strict {
		t.rings[set].spend(t, i, c, now)
	} else {
		t.arrivals[set].spend(t, i, c, now)
	}
}

// giveBack undoes a charge of a moment, as far as it still counts.
func (t *table) giveBack(set uint64, c *Charge, at, now int64) {
	if t.limit.Kind == Strict {
		t.rings[set].giveBack(t, c, at, now)
	} else {
		t.arrivals[set].giveBack(c, at, now)
	}
}

func (s *ringSet) find(tag uint64) int {
	i := preferred(tag)
	for range ways {
		switch s.places[i].tag {
		case tag:
			return i
		case 0:
			return -1
		}
		i = after(i)
	}
	return -1
}

func (s *ringSet) decide(t *table, i int, c *Charge, now int64) State {
	// A key without a place may have been evicted before.
	r := &s.ghost
	if i >= 0 {
		r = &s.places[i].ring
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

func (s *ringSet) spend(t *table, i int, c *Charge, now int64) {
	if i >= 0 {
		s.places[i].add(&t.shape, now, c.Cost, c.Limit.Quota) // decide has advanced it
		return
	}
	tag := tagOf(&c.Key)
	p := &s.places[s.victim(t, preferred(tag), now)]
	s.ghost.advance(&t.shape, now)
	if p.used() > 0 {
		s.ghost.join(&t.shape, now, &p.ring)
		t.evicted.Add(1)
	}
	p.tag, p.ring = tag, s.ghost
	p.add(&t.shape, now, c.Cost, c.Limit.Quota)
	p.meta &^= metaEstablished // what it inherited is not its own
}

// victim returns the place that a new key gets, searching from i: a place with
// nothing spent; else the place with the least spent of the keys that never came
// back, so that a flood of new keys evicts its own keys; else the place with the
// least spent. The choice decides only which key is evicted; the ghost ensures
// that no key gets more than the limit.
func (s *ringSet) victim(t *table, i int, now int64) int {
	best, least := i, int64(1)<<62
	for range ways {
		p := &s.places[i]
		if p.tag == 0 {
			return i
		}
		p.advance(&t.shape, now)
		debt := p.used()
		if debt == 0 {
			return i
		}
		if p.meta&metaEstablished != 0 {
			debt += 1 << 61
		}
		if debt < least {
			best, least = i, debt
		}
		i = after(i)
	}
	return best
}

func (s *ringSet) giveBack(t *table, c *Charge, at, now int64) {
	if i := s.find(tagOf(&c.Key)); i >= 0 {
		s.places[i].advance(&t.shape, now)
		s.places[i].take(&t.shape, at, now, c.Cost)
	}
}

// micros returns ns as whole microseconds, rounded up.
func micros(ns int64) duration { return duration(ceilDiv(ns, 1000) * 1000) }

func (s *arrivalSet) find(tag uint64) int {
	i := preferred(tag)
	for range ways {
		switch s.places[i].tag &^ 1 {
		case tag:
			return i
		case 0:
			return -1
		}
		i = after(i)
	}
	return -1
}

// interval returns the nanoseconds until the next unit of a Smooth limit comes,
// rounded up, by a thousandth at most: see Limit.validate.
func interval(l *Limit) int64 { return ceilDiv(int64(l.Window), l.Quota) }

func (s *arrivalSet) decide(i int, c *Charge, now int64) State {
	tat := s.ghost
	if i >= 0 {
		tat = s.places[i].value
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

func (s *arrivalSet) spend(t *table, i int, c *Charge, now int64) {
	if i < 0 {
		tag := tagOf(&c.Key)
		i = s.victim(t, preferred(tag), now)
		if tat := s.places[i].value; tat > now {
			s.ghost = max(s.ghost, tat)
			t.evicted.Add(1)
		}
		s.places[i].tag, s.places[i].value = tag, s.ghost
	} else if s.places[i].value <= now {
		s.places[i].tag |= 1 // it came back after all it spent had come back
	}
	s.places[i].value = max(s.places[i].value, now) + c.Cost*interval(&c.Limit)
}

// victim is the counterpart of ringSet.victim. A key with nothing spent keeps its
// place for a window if it came back, because that is the usual state of clients
// that keep to the rate.
func (s *arrivalSet) victim(t *table, i int, now int64) int {
	best, least := i, int64(1)<<62
	for range ways {
		tag, tat := s.places[i].tag, s.places[i].value
		established := tag&1 != 0
		if tag == 0 || tat <= now && (!established || now-tat > t.shape.window) {
			return i
		}
		debt := tat - now
		if established {
			debt += 1 << 61
		}
		if debt < least {
			best, least = i, debt
		}
		i = after(i)
	}
	return best
}

// giveBack gives back the part of the charge that would not have come back by
// itself if it had been the only charge. More could exceed the rate, because
// charges before it may have been given back meanwhile.
func (s *arrivalSet) giveBack(c *Charge, at, now int64) {
	if i := s.find(tagOf(&c.Key)); i >= 0 {
		if back := at + c.Cost*interval(&c.Limit) - now; back > 0 {
			s.places[i].value -= back
		}
	}
}
