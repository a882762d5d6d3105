package redislog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/gatewright/gatewright/blacklist"
)

// A record is a version, the Kind, the ID, Before and Expires in big-endian, the
// Spare if there is one, and the CRC-32C of all that.
const (
	version   = 1
	plainSize = 1 + 1 + 16 + 8 + 8 + 4
	spareSize = plainSize + 16
)

// encode returns e as bytes.
func encode(e blacklist.Entry) string {
	b := make([]byte, 0, spareSize)
	b = append(b, version, byte(e.Kind))
	b = append(b, e.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Before))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Expires))
	if e.Spare != (blacklist.ID{}) {
		b = append(b, e.Spare[:]...)
	}
	return string(binary.BigEndian.AppendUint32(b, checksum(b)))
}

// decode returns the entry of bytes, or an error. An unreadable entry may be a
// logout, so it is never skipped.
func decode(s string) (e blacklist.Entry, err error) {
	b := []byte(s)
	switch {
	case len(b) > 0 && b[0] != version:
		return e, fmt.Errorf("its version is %d instead of %d; if a later version wrote it, this program is too old", b[0], version)
	case len(b) != plainSize && len(b) != spareSize:
		return e, fmt.Errorf("it has %d bytes instead of %d or %d", len(b), plainSize, spareSize)
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if checksum(b) != sum {
		return e, errors.New("its checksum is wrong; it was changed after it was written")
	}
	e.Kind = blacklist.Kind(b[1])
	copy(e.ID[:], b[2:])
	e.Before = int64(binary.BigEndian.Uint64(b[18:]))
	e.Expires = int64(binary.BigEndian.Uint64(b[26:]))
	copy(e.Spare[:], b[34:])
	return e, e.Validate()
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
