package blacklist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The file of a [File] is a header of 64 bytes and then units of 32. An entry
// without Before is one unit, one with Before is two. All numbers are
// little-endian.
//
//	unit          0  CRC-32C of the unit's index and of its other bytes
//	              4  form
//	whole, first  5  Kind
//	              6  1 if the unit begins a batch, else 0
//	              8  ID
//	             24  Expires
//	second        8  Before
//	             16  Spare
//	closed        6  1
//
// Units of 32 bytes never lie across a sector of a disk, so that a write that
// was cut off leaves units that are whole and units that are not there, and
// each says for itself which it is. As the CRC covers the index, a unit is good
// only in its place.
//
// The sequence number of an entry is the base in the header, and the index of
// its last unit, and one. So a number leads to the entry without a search.
const (
	unitSize   = 32
	headerSize = 64

	formWhole  = 1 // an entry without Before
	formFirst  = 2 // of an entry with Before
	formSecond = 3
	formClosed = 4 // the program ended in good order

	fileMagic   = "gwrevoke"
	fileVersion = 1
)

// ErrDamaged is returned by [OpenFile] and [File.Since] for a file changed after it
// was written.
var ErrDamaged = errors.New("blacklist: the file was damaged after it was written")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// A header is the beginning of the file.
type header struct{ base uint64 }

func (h header) bytes() []byte {
	b := make([]byte, headerSize)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[8:], fileVersion)
	binary.LittleEndian.PutUint32(b[12:], unitSize)
	binary.LittleEndian.PutUint64(b[16:], h.base)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli()))
	return b
}

func parseHeader(b []byte) (header, error) {
	switch {
	case len(b) < headerSize:
		return header{}, fmt.Errorf("%w: it has %d bytes, and its header alone has %d", ErrDamaged, len(b), headerSize)
	case string(b[:8]) != fileMagic:
		return header{}, fmt.Errorf("%w, or never was a log of revocations: it begins with %q", ErrDamaged, b[:8])
	case crc32.Checksum(b[:60], castagnoli()) != binary.LittleEndian.Uint32(b[60:]):
		return header{}, fmt.Errorf("%w: its header is not as it was", ErrDamaged)
	case binary.LittleEndian.Uint32(b[8:]) != fileVersion || binary.LittleEndian.Uint32(b[12:]) != unitSize:
		return header{}, fmt.Errorf("blacklist: the file has version %d instead of %d; a later version of this program wrote it",
			binary.LittleEndian.Uint32(b[8:]), fileVersion)
	}
	return header{binary.LittleEndian.Uint64(b[16:])}, nil
}

// units returns how many units e takes.
func (e Entry) units() int64 {
	if e.Before == 0 {
		return 1
	}
	return 2
}

// appendUnits appends e without its CRC, which depends on the place.
func appendUnits(b []byte, e Entry) []byte {
	var u [2 * unitSize]byte
	u[4], u[5] = formWhole, byte(e.Kind)
	copy(u[8:], e.ID[:])
	binary.LittleEndian.PutUint64(u[24:], uint64(e.Expires))
	if e.Before == 0 {
		return append(b, u[:unitSize]...)
	}
	u[4] = formFirst
	u[unitSize+4] = formSecond
	binary.LittleEndian.PutUint64(u[unitSize+8:], uint64(e.Before))
	copy(u[unitSize+16:], e.Spare[:])
	return append(b, u[:]...)
}

// closedUnit marks a regular end of the program: no write before it can have been cut
// off.
func closedUnit() []byte {
	u := make([]byte, unitSize)
	u[4] = formClosed
	return u
}

// seal makes units a batch whose first unit has the index.
func seal(units []byte, index int64) {
	units[6] = 1
	sealAll(units, index)
}

// sealAll writes the CRC of each unit.
func sealAll(units []byte, index int64) {
	table := castagnoli()
	for ; len(units) > 0; units = units[unitSize:] {
		binary.LittleEndian.PutUint32(units, unitSum(units, index, table))
		index++
	}
}

func unitSum(u []byte, index int64, table *crc32.Table) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(index))
	return crc32.Update(crc32.Checksum(at[:], table), table, u[4:unitSize])
}

// intact reports whether u is a unit as it was written at the index.
func intact(u []byte, index int64, table *crc32.Table) bool {
	return u[4] >= formWhole && u[4] <= formClosed && binary.LittleEndian.Uint32(u) == unitSum(u, index, table)
}

// begins reports whether u, which is intact, was written after all before it
// were on the disk for certain.
func begins(u []byte) bool { return u[6] == 1 }

// entryOf returns the entry of units that are intact.
func entryOf(first, second []byte) Entry {
	e := Entry{Kind: Kind(first[5]), ID: ID(first[8:24]), Expires: int64(binary.LittleEndian.Uint64(first[24:]))}
	if second != nil {
		e.Before = int64(binary.LittleEndian.Uint64(second[8:]))
		e.Spare = ID(second[16:32])
	}
	return e
}

// A reader reads the units of a file one after the other.
type reader struct {
	from  io.ReaderAt
	size  int64 // of the file
	index int64 // of the next unit
	table *crc32.Table
	batch int64 // where the batch of the last entry begins
	buf   []byte
	next  []byte // in buf, not yet read
}

// newReader returns a reader with a buffer of so many bytes, whole units, or
// fewer if there are no more.
func newReader(from io.ReaderAt, size, index int64, buffer int) *reader {
	r := &reader{from: from, size: size, index: index, table: castagnoli(), batch: headerSize}
	left := max(0, size-r.offset()) + unitSize - 1
	r.buf = make([]byte, min(int64(buffer), left-left%unitSize))
	return r
}

func (r *reader) offset() int64 { return headerSize + r.index*unitSize }

// peek returns the next unit, which is shorter than one at the end of the file
// and empty behind it.
func (r *reader) peek() ([]byte, error) {
	if len(r.next) >= unitSize {
		return r.next[:unitSize], nil
	}
	n := min(int64(len(r.buf)), r.size-r.offset())
	if n <= 0 {
		return nil, nil
	}
	if _, err := io.ReadFull(io.NewSectionReader(r.from, r.offset(), n), r.buf[:n]); err != nil {
		return nil, err
	}
	r.next = r.buf[:n]
	return r.next[:min(n, unitSize)], nil
}

func (r *reader) skip() {
	r.index++
	r.next = r.next[min(unitSize, len(r.next)):]
}

// errBroken is returned by entry if the unit at the reader's index is not intact.
var errBroken = errors.New("broken")

// entry returns the next entry and goes past it. At the end of the file it is
// io.EOF.
func (r *reader) entry() (Entry, error) {
	for {
		u, err := r.peek()
		switch {
		case err != nil:
			return Entry{}, err
		case len(u) == 0:
			return Entry{}, io.EOF
		case len(u) < unitSize || !intact(u, r.index, r.table):
			return Entry{}, errBroken
		}
		if begins(u) {
			r.batch = r.offset()
		}
		switch u[4] {
		case formClosed:
			r.skip()
		case formWhole:
			e := entryOf(u, nil)
			r.skip()
			return e, nil
		case formFirst:
			first := bytes.Clone(u) // peek may overwrite it
			r.skip()
			u, err := r.peek()
			if err != nil {
				return Entry{}, err
			}
			if len(u) < unitSize || u[4] != formSecond || !intact(u, r.index, r.table) {
				return Entry{}, errBroken
			}
			e := entryOf(first, u)
			r.skip()
			return e, nil
		default: // a second half without the first
			return Entry{}, errBroken
		}
	}
}

// scan calls f with each entry of the file, and returns where the last whole
// entry ends, and where the last batch begins. The rest of a write that was cut
// off is not an error, because it was never acknowledged. A part that was damaged
// later is an error, unless skipped is not nil: then the part is counted there
// and passed over.
func scan(from io.ReaderAt, size int64, skipped *int64, f func(Entry)) (end, batch int64, err error) {
	r := newReader(from, size, 0, 1<<18)
	end = r.offset()
	for whole := int64(0); ; {
		e, err := r.entry()
		switch {
		case err == io.EOF:
			return r.offset(), r.batch, nil
		case err == errBroken:
			// Up to a unit that is known to be good, what is broken was
			// damaged, and needs no second look.
			if r.index >= whole {
				if whole, err = wholeAfter(from, size, r.index); err != nil {
					return end, r.batch, err
				}
				if whole < 0 {
					return end, r.batch, nil
				}
			}
			if skipped == nil {
				return end, r.batch, fmt.Errorf("%w: what begins at byte %d is not what was written", ErrDamaged, r.offset())
			}
			*skipped++
			r.skip()
		case err != nil:
			return end, r.batch, err
		default:
			f(e)
			end = r.offset()
		}
	}
}

// wholeAfter looks at what is broken at the index. If it was left by a write
// that was cut off, it returns -1. Such units are not there at all: the file
// ends within them, or has nothing but zeros where the disk did not get to
// write. And no batch follows, since each is on the disk before the next one is
// written.
//
// Otherwise the unit was damaged, and with it all that is broken before the
// index that it returns.
func wholeAfter(from io.ReaderAt, size, index int64) (int64, error) {
	r := newReader(from, size, index, 1<<18)
	for first := true; ; first = false {
		u, err := r.peek()
		switch {
		case err != nil:
			return 0, err
		case len(u) < unitSize:
			return -1, nil
		case first && !allZero(u):
			// Whole, and not what it was, or not where it was.
			return index + 1, nil
		case !first && intact(u, r.index, r.table) && begins(u):
			return r.index, nil
		}
		r.skip()
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
