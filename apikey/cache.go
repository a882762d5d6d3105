package apikey

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// A sum is what a key is remembered under: SHA-256 of the whole key, so that
// only who has the very same key is answered from memory, and a wrong secret
// goes to the store.
type sum = [sha256.Size]byte

// An entry is a key that was good.
type entry struct {
	sum    sum
	record Record    // our own copy; never changed
	loaded time.Time // before the store was asked
	used   atomic.Int64
}

// A miss is a key that was refused.
type miss struct {
	sum    sum
	until  time.Time
	epoch  uint64
	reason error
}

// A cache remembers what the store said. It has a fixed number of places, in
// sets of four, and a newcomer takes the place of another of its set.
//
// Good keys are found by their sum, and by their ID for whoever asks for the
// record of a request. Keys that were refused have places of their own, which
// anybody can fill, as anybody can compute a checksum; those of good keys only
// who has one.
type cache struct {
	ttl, missTTL time.Duration
	seed         maphash.Seed

	// epoch counts evictions. What was asked for in an earlier one is not
	// remembered, for it may be what was evicted.
	epoch atomic.Uint64

	good   []set[entry] // a power of two each; none if nothing is remembered
	byID   []set[entry]
	misses []set[miss]
}

type set[T any] [4]atomic.Pointer[T]

func newCache(size int, ttl, missTTL time.Duration) *cache {
	c := &cache{ttl: ttl, missTTL: missTTL, seed: maphash.MakeSeed()}
	if ttl > 0 {
		c.good, c.byID = sets[entry](size), sets[entry](size)
	}
	if missTTL > 0 {
		c.misses = sets[miss](size / 4)
	}
	return c
}

// sets returns at least so many places.
func sets[T any](size int) []set[T] {
	n := 1
	for n*len(set[T]{}) < size {
		n *= 2
	}
	return make([]set[T], n)
}

// of returns the set for a number that is as good as random.
func of[T any](all []set[T], n uint64) *set[T] { return &all[n&uint64(len(all)-1)] }

// index is a part of s. The sums of good keys cannot be chosen, for their
// secrets are random; those of others can, and then push each other out.
func index(s *sum) uint64 { return binary.LittleEndian.Uint64(s[:]) }

// get returns what is remembered of a good key, or nil.
func (c *cache) get(s *sum, now time.Time) *entry {
	if c.good == nil {
		return nil
	}
	places := of(c.good, index(s))
	for i := range places {
		// Not in constant time: what could be learnt from it is a part of a
		// hash that leads nowhere.
		if e := places[i].Load(); e != nil && e.sum == *s && c.fresh(e, now) {
			return e
		}
	}
	return nil
}

// getByID returns what is remembered of the good key with this ID, or nil.
func (c *cache) getByID(id string, now time.Time) *entry {
	if c.byID == nil {
		return nil
	}
	places := of(c.byID, maphash.String(c.seed, id))
	for i := range places {
		if e := places[i].Load(); e != nil && e.record.ID == id && c.fresh(e, now) {
			return e
		}
	}
	return nil
}

func (c *cache) fresh(e *entry, now time.Time) bool {
	age := now.Sub(e.loaded)
	return age >= 0 && age < c.ttl
}

// put remembers a good key that was asked for in the given epoch.
func (c *cache) put(e *entry, epoch uint64, now time.Time) {
	if c.good == nil || c.epoch.Load() != epoch {
		return
	}
	same := func(old *entry) bool { return old.sum == e.sum }
	sameID := func(old *entry) bool { return old.record.ID == e.record.ID }
	ended := func(old *entry) bool { return !c.fresh(old, now) }
	in := place(of(c.good, index(&e.sum)), e, same, ended, e.sum[8])
	inID := place(of(c.byID, maphash.String(c.seed, e.record.ID)), e, sameID, ended, e.sum[8])
	// Evict counts first and looks then: either it sees e, or we see it.
	if c.epoch.Load() != epoch {
		in.CompareAndSwap(e, nil)
		inID.CompareAndSwap(e, nil)
	}
}

// refused returns why the key was refused a moment ago, nil if it was not.
func (c *cache) refused(s *sum, now time.Time) error {
	if c.misses == nil {
		return nil
	}
	places := of(c.misses, index(s))
	for i := range places {
		if m := places[i].Load(); m != nil && m.sum == *s && c.lasts(m, now) {
			return m.reason
		}
	}
	return nil
}

func (c *cache) lasts(m *miss, now time.Time) bool {
	left := m.until.Sub(now)
	return left > 0 && left <= c.missTTL && m.epoch == c.epoch.Load()
}

// putMiss remembers a key that was refused, which was asked for in the given
// epoch and at the given moment.
func (c *cache) putMiss(s *sum, epoch uint64, asked time.Time, reason error) {
	if c.misses == nil {
		return
	}
	m := &miss{*s, asked.Add(c.missTTL), epoch, reason}
	same := func(old *miss) bool { return old.sum == m.sum }
	ended := func(old *miss) bool { return !c.lasts(old, asked) }
	place(of(c.misses, index(s)), m, same, ended, s[8])
}

// place stores v where it was before, or where nothing is that is of use, or
// else in the place that pick says, and returns the place.
func place[T any](places *set[T], v *T, same, ended func(*T) bool, pick byte) *atomic.Pointer[T] {
	free := int(pick) % len(places)
	for i := range places {
		old := places[i].Load()
		if old != nil && same(old) {
			free = i
			break
		}
		if old == nil || ended(old) {
			free = i
		}
	}
	places[free].Store(v)
	return &places[free]
}

// evict forgets the good key with this ID, and all that were refused.
func (c *cache) evict(id string) {
	c.epoch.Add(1)
	for _, table := range [...][]set[entry]{c.good, c.byID} {
		for i := range table {
			for j := range table[i] {
				if e := table[i][j].Load(); e != nil && e.record.ID == id {
					table[i][j].CompareAndSwap(e, nil)
				}
			}
		}
	}
}
