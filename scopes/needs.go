package scopes

import "github.com/gatewright/gatewright/auth/identity"

// needs is what a route asks for, compiled such that one pass over the scopes
// of a caller settles all of it. Asking the Set for each scope, and then for
// each that implies it, takes four times as long.
type needs struct {
	names   []string
	implied hierarchy
	full    uint64      // a bit for each name; 0 if there are too many
	buckets [64][]match // by bucketOf
}

// A match is a scope that fulfils some of the names.
type match struct {
	name string
	bits uint64
}

func (m *Middleware) needs(names []string) *needs {
	n := &needs{names: names, implied: m.implied}
	if len(names) > 64 {
		return n
	}
	for i, name := range names {
		bit := uint64(1) << i
		n.full |= bit
		n.add(name, bit)
		for above := range m.implied[name].All() {
			n.add(above, bit)
		}
	}
	return n
}

func (n *needs) add(name string, bit uint64) {
	bucket := &n.buckets[bucketOf(name)]
	for i := range *bucket {
		if (*bucket)[i].name == name {
			(*bucket)[i].bits |= bit
			return
		}
	}
	*bucket = append(*bucket, match{name, bit})
}

// bucketOf tells names apart by what is cheap to look at. It must not be empty.
func bucketOf(name string) uint {
	return (uint(name[0]) + 4*uint(name[len(name)/2]) + 2*uint(name[len(name)-1]) + 8*uint(len(name))) % 64
}

// many is from which number of scopes a pass over all of them costs more than
// looking each name up.
const many = 64

// met reports whether granted fulfils all of the names, or at least one.
func (n *needs) met(granted identity.Set, one bool) bool {
	if n.full == 0 || granted.Len() > many {
		return n.slow(granted, one)
	}
	var got uint64
	for name := range granted.All() {
		bucket := n.buckets[bucketOf(name)]
		for i := range bucket {
			if bucket[i].name == name {
				got |= bucket[i].bits
				if one || got == n.full {
					return true
				}
				break
			}
		}
	}
	return false
}

func (n *needs) slow(granted identity.Set, one bool) bool {
	for _, name := range n.names {
		if n.implied.passes(granted, name) == one {
			return one
		}
	}
	return !one
}
