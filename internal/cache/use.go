package cache

import "sync/atomic"

// Use counts what look-ups in a table found. The zero Use is ready.
type Use struct {
	// By the hash of what is looked up, and in different cache lines, so that processors
	// that look up different values do not wait for each other.
	stripes [16]struct {
		hits, misses atomic.Uint64
		_            [112]byte
	}
}

// Hit counts a value that was found.
func (u *Use) Hit(hash uint64) { u.stripes[hash%uint64(len(u.stripes))].hits.Add(1) }

// Miss counts a value that was not.
func (u *Use) Miss(hash uint64) { u.stripes[hash%uint64(len(u.stripes))].misses.Add(1) }

// Counts returns both numbers.
func (u *Use) Counts() (hits, misses uint64) {
	for i := range u.stripes {
		hits += u.stripes[i].hits.Load()
		misses += u.stripes[i].misses.Load()
	}
	return hits, misses
}
