// Package cache is a table of a fixed number of places, in sets of four, in which
// a new value takes the place of another value of its set. A look-up takes no lock.
package cache

import "sync/atomic"

// A Set is the places of values with the same part of a hash. A reader compares
// each value, which may be nil, with the value that it looks for.
type Set[T any] [4]atomic.Pointer[T]

// A Table is sets, a power of two. The zero Table has none.
type Table[T any] []Set[T]

// New returns a table of at least size places.
func New[T any](size int) Table[T] {
	sets := 1
	for sets*len(Set[T]{}) < size {
		sets *= 2
	}
	return make(Table[T], sets)
}

// Set returns the set for a hash that clients cannot choose. It panics for the zero
// Table.
func (t Table[T]) Set(hash uint64) *Set[T] { return &t[hash&uint64(len(t)-1)] }

// Put stores v in the place of the value that is the same, or else in a place that
// is free or whose value has ended, or else in the place that pick chooses. It
// returns the place. A Put at the same time may overwrite v.
func (s *Set[T]) Put(v *T, pick uint8, same, ended func(old *T) bool) *atomic.Pointer[T] {
	free := int(pick) % len(s)
	for i := range s {
		old := s[i].Load()
		if old != nil && same(old) {
			free = i
			break
		}
		if old == nil || ended(old) {
			free = i
		}
	}
	s[free].Store(v)
	return &s[free]
}
