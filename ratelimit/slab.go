package ratelimit

import (
	"strconv"
	"strings"
)

// A slab is where the values of response fields are made, so that one allocation
// serves many responses; with arrays of its own each response costs two. No part is
// given out twice, so a handler may change and keep its values. A value that is kept
// keeps up to 2 KiB alive.
type slab struct {
	text  strings.Builder
	lists []string
}

const (
	slabText  = 1 << 10 // bytes
	slabLists = 64
)

// string returns b as a string.
func (s *slab) string(b []byte) string {
	if s.text.Cap()-s.text.Len() < len(b) {
		s.text.Reset()
		s.text.Grow(max(slabText, len(b)))
	}
	begin := s.text.Len()
	s.text.Write(b)
	return s.text.String()[begin:]
}

// list returns the values of a field that has one.
func (s *slab) list(value string) []string {
	if len(s.lists) == 0 {
		s.lists = make([]string, slabLists)
	}
	// Its capacity is one, so that an append does not write into another list.
	one := s.lists[:1:1]
	s.lists = s.lists[1:]
	one[0] = value
	return one
}

// number returns the values of a field that is n.
func (s *slab) number(n int64) []string {
	var digits [20]byte
	return s.list(s.string(strconv.AppendInt(digits[:0], n, 10)))
}
