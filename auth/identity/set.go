package identity

import (
	"encoding/json"
	"iter"
	"slices"
	"strings"
)

// A Set is an immutable set of names: scopes, roles, factors. Names are compared byte
// by byte. The zero Set is empty. A Set is safe for concurrent use.
type Set struct {
	names []string // sorted, each once; never changed after NewSet
}

// NewSet returns the set of the names. Empty names are omitted.
func NewSet(names ...string) Set {
	return setOf(slices.Clone(names))
}

// ParseSet returns the set of the names in s, separated by spaces, as in the OAuth
// parameter "scope" (RFC 6749 section 3.3). Other white space is part of a name.
func ParseSet(s string) Set {
	if s == "" {
		return Set{}
	}
	return setOf(strings.Split(s, " "))
}

// setOf takes possession of names.
func setOf(names []string) Set {
	if !slices.IsSorted(names) {
		slices.Sort(names)
	}
	names = slices.Compact(names)
	if len(names) > 0 && names[0] == "" {
		names = names[1:]
	}
	return Set{names}
}

// linear is the length up to which a scan is faster than a binary search.
const linear = 12

// Has reports whether name is in the set.
func (s Set) Has(name string) bool {
	if len(s.names) > linear {
		_, found := slices.BinarySearch(s.names, name)
		return found
	}
	if name == "" {
		return false
	}
	for _, n := range s.names {
		// The comparison of two bytes saves most calls for names of one length.
		if len(n) == len(name) && n[0] == name[0] && n == name {
			return true
		}
	}
	return false
}

// HasAll reports whether all names are in the set. It is true for no names.
func (s Set) HasAll(names ...string) bool {
	for _, n := range names {
		if !s.Has(n) {
			return false
		}
	}
	return true
}

// Contains reports whether every name of t is in s.
func (s Set) Contains(t Set) bool { return s.HasAll(t.names...) }

// Len returns the number of names.
func (s Set) Len() int { return len(s.names) }

// All yields the names in ascending order.
func (s Set) All() iter.Seq[string] { return slices.Values(s.names) }

// With returns the union of s and the names.
func (s Set) With(names ...string) Set {
	return setOf(slices.Concat(s.names, names))
}

// Equal reports whether s and t have the same names.
func (s Set) Equal(t Set) bool { return slices.Equal(s.names, t.names) }

// String returns the names in ascending order, separated by spaces.
func (s Set) String() string { return strings.Join(s.names, " ") }

// MarshalJSON returns an array of strings. Names must be valid UTF-8.
func (s Set) MarshalJSON() ([]byte, error) {
	if len(s.names) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal(s.names)
}

// UnmarshalJSON reads an array of strings. The value null has no effect.
func (s *Set) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	*s = setOf(names)
	return nil
}
