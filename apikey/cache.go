package apikey

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/internal/cache"
)

// A sum is the SHA-256 of a whole key, so that only the very same key is answered
// from the cache, and a wrong secret goes to the store.
type sum = [sha256.Size]byte

// An entry is a good key. Its record is never changed.
type entry struct {
	sum    sum
	record Record    // our own copy; never changed
	loaded time.Time // when the query began
	used   atomic.Int64

	network atomic.Pointer[netip.Prefix] // of the last use, once the store has it
}

// A miss is a key that was refused.
type miss struct {
	sum    sum
	until  time.Time
	epoch  uint64
	reason error
}

// A keyCache holds answers of the store.
//
// Good keys are found by their sum, and by their ID for [Authenticator.Record].
// Refused keys have places of their own, because any client can fill them: a
// checksum can be computed. Only the owner of a good key can add one.
type keyCache struct {
	ttl, missTTL time.Duration
	seed         maphash.Seed

	// epoch counts evictions. The result of a query that began in an earlier epoch
	// is not cached, because it may be the evicted record.
	epoch atomic.Uint64

	good   cache.Table[entry] // nil if nothing is cached
	byID   cache.Table[entry]
	misses cache.Table[miss]

	use cache.Use // of good
}

func newCache(size int, ttl, missTTL time.Duration) *keyCache {
	c := &keyCache{ttl: ttl, missTTL: missTTL, seed: maphash.MakeSeed()}
	if ttl > 0 {
		c.good, c.byID = cache.New[entry](size), cache.New[entry](size)
	}
	if missTTL > 0 {
		c.misses = cache.New[miss](size / 4)
	}
	return c
}

// index returns the place of s in a table. Clients cannot choose the sums of good
// keys, whose secrets are random. They can choose the sums of refused keys, and
// then evict refused keys from the table of misses.
func index(s *sum) uint64 { return binary.LittleEndian.Uint64(s[:]) }

// get returns the entry of a good key, or nil.
func (c *keyCache) get(s *sum, now time.Time) *entry {
	if c.good == nil {
		return nil
	}
	places := c.good.Set(index(s))
	for i := range places {
		// Not in constant time: what could be learnt from it is a part of a
		// hash that leads nowhere.
		if e := places[i].Load(); e != nil && e.sum == *s && c.fresh(e, now) {
			c.use.Hit(index(s))
			return e
		}
	}
	return nil
}

// getByID returns the entry of the good key with this ID, or nil.
func (c *keyCache) getByID(id string, now time.Time) *entry {
	if c.byID == nil {
		return nil
	}
	places := c.byID.Set(maphash.String(c.seed, id))
	for i := range places {
		if e := places[i].Load(); e != nil && e.record.ID == id && c.fresh(e, now) {
			return e
		}
	}
	return nil
}

func (c *keyCache) fresh(e *entry, now time.Time) bool {
	age := now.Sub(e.loaded)
	return age >= 0 && age < c.ttl
}

// put caches a good key whose query began in the given epoch.
func (c *keyCache) put(e *entry, epoch uint64, now time.Time) {
	if c.good == nil {
		return
	}
	c.use.Miss(index(&e.sum))
	if c.epoch.Load() != epoch {
		return
	}
	same := func(old *entry) bool { return old.sum == e.sum }
	sameID := func(old *entry) bool { return old.record.ID == e.record.ID }
	ended := func(old *entry) bool { return !c.fresh(old, now) }
	in := c.good.Set(index(&e.sum)).Put(e, e.sum[8], same, ended)
	inID := c.byID.Set(maphash.String(c.seed, e.record.ID)).Put(e, e.sum[8], sameID, ended)
	// Evict counts first and looks then: either it sees e, or we see it.
	if c.epoch.Load() != epoch {
		in.CompareAndSwap(e, nil)
		inID.CompareAndSwap(e, nil)
	}
}

// refused returns why the key was refused a moment ago, nil if it was not.
func (c *keyCache) refused(s *sum, now time.Time) error {
	if c.misses == nil {
		return nil
	}
	places := c.misses.Set(index(s))
	for i := range places {
		if m := places[i].Load(); m != nil && m.sum == *s && c.lasts(m, now) {
			return m.reason
		}
	}
	return nil
}

func (c *keyCache) lasts(m *miss, now time.Time) bool {
	left := m.until.Sub(now)
	return left > 0 && left <= c.missTTL && m.epoch == c.epoch.Load()
}

// putMiss caches a refused key whose query began in the given epoch, at the given
// moment.
func (c *keyCache) putMiss(s *sum, epoch uint64, began time.Time, reason error) {
	if c.misses == nil {
		return
	}
	m := &miss{*s, began.Add(c.missTTL), epoch, reason}
	same := func(old *miss) bool { return old.sum == m.sum }
	ended := func(old *miss) bool { return !c.lasts(old, began) }
	c.misses.Set(index(s)).Put(m, s[8], same, ended)
}

// evict forgets the good key with this ID, and all that were refused.
func (c *keyCache) evict(id string) {
	c.epoch.Add(1)
	for _, table := range [...]cache.Table[entry]{c.good, c.byID} {
		for i := range table {
			for j := range table[i] {
				if e := table[i][j].Load(); e != nil && e.record.ID == id {
					table[i][j].CompareAndSwap(e, nil)
				}
			}
		}
	}
}
