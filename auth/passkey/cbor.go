package passkey

import (
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf8"
)

// CBOR (RFC 8949) as authenticators write it: the canonical form of CTAP 2.1
// section 8, except that maps keep the order of their keys, because clients
// encode attestation objects again. Whatever else RFC 8949 allows is rejected:
// indefinite lengths, lengths longer than needed, tags, floating-point numbers,
// simple values other than true, false and null.

var errCBOR = errors.New("not CBOR in the canonical form of CTAP2")

// A cborPair is one entry of a map. A map is a []cborPair.
type cborPair struct {
	key   any // int64 or string
	value any // int64, []byte, string, []any, []cborPair, bool or nil
}

// A cborReader reads data items from b. Byte strings share memory with b.
type cborReader struct{ b []byte }

// cborItem reads the data item at the beginning of b, with at most depth levels
// of arrays and maps, and returns what follows it.
func cborItem(b []byte, depth int) (item any, rest []byte, err error) {
	r := cborReader{b}
	item, err = r.item(depth)
	return item, r.b, err
}

// cborMap is cborItem for a map that is all of b.
func cborMap(b []byte, depth int) ([]cborPair, error) {
	item, rest, err := cborItem(b, depth)
	if err != nil {
		return nil, err
	}
	m, ok := item.([]cborPair)
	if !ok || len(rest) > 0 {
		return nil, errCBOR
	}
	return m, nil
}

// CBOR's major types.
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

func (r *cborReader) item(depth int) (any, error) {
	major, n, err := r.head()
	if err != nil {
		return nil, err
	}
	switch major {
	case majorUint:
		return int64(n), nil
	case majorNegative:
		return -1 - int64(n), nil
	case majorBytes:
		return r.take(n)
	case majorText:
		text, err := r.take(n)
		if err != nil || !utf8.Valid(text) {
			return nil, errCBOR
		}
		return string(text), nil
	case majorArray:
		return r.array(n, depth)
	case majorMap:
		return r.mapping(n, depth)
	case majorSimple:
		switch n {
		case 20, 21:
			return n == 21, nil
		case 22:
			return nil, nil
		}
	}
	return nil, errCBOR
}

// head reads the initial byte of an item and its argument, which must have the
// shortest encoding and be less than 2^63.
func (r *cborReader) head() (major byte, n uint64, err error) {
	first, err := r.take(1)
	if err != nil {
		return 0, 0, err
	}
	major, short := first[0]>>5, first[0]&31
	if short < 24 {
		return major, uint64(short), nil
	}
	if short > 27 || major == majorSimple {
		return 0, 0, errCBOR
	}
	size := 1 << (short - 24)
	argument, err := r.take(uint64(size))
	if err != nil {
		return 0, 0, err
	}
	var wide [8]byte
	copy(wide[8-size:], argument)
	n = binary.BigEndian.Uint64(wide[:])
	least := uint64(24) // the smallest number that needs so many bytes
	if size > 1 {
		least = 1 << (size * 4)
	}
	if n < least || n >= 1<<63 {
		return 0, 0, errCBOR
	}
	return major, n, nil
}

func (r *cborReader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.b)) {
		return nil, errCBOR
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken, nil
}

// array and mapping grow with what is read, not with the length that the input
// claims.
func (r *cborReader) array(n uint64, depth int) (any, error) {
	if depth == 0 || n > uint64(len(r.b)) {
		return nil, errCBOR
	}
	items := []any{}
	for range n {
		item, err := r.item(depth - 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (r *cborReader) mapping(n uint64, depth int) (any, error) {
	if depth == 0 || n > uint64(len(r.b))/2 {
		return nil, errCBOR
	}
	pairs := make([]cborPair, 0, min(n, 5)) // as many as a key has
	var seen map[any]bool                   // of more than 16 keys
	for range n {
		key, err := r.item(0)
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case int64, string:
		default:
			return nil, errCBOR
		}
		if len(pairs) == 16 {
			seen = map[any]bool{}
			for _, p := range pairs {
				seen[p.key] = true
			}
		}
		if seen[key] || seen == nil && slices.ContainsFunc(pairs, func(p cborPair) bool { return p.key == key }) {
			return nil, errCBOR
		}
		if seen != nil {
			seen[key] = true
		}
		value, err := r.item(depth - 1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, cborPair{key, value})
	}
	return pairs, nil
}
