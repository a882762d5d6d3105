package apikey

import "hash/crc32"

// updateCRC returns the state of the CRC-32 (IEEE) after s; it begins with
// ^0, and the checksum is the complement of the last state.
//
// It is hash/crc32's "slicing by 8" over a string. That package takes a slice
// which it lets escape, so that each junk key would cost an allocation, and it
// begins to use the processor's help at 64 bytes only.
func updateCRC(crc uint32, s string) uint32 {
	for len(s) >= 8 {
		crc ^= uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
		crc = slicing[0][s[7]] ^ slicing[1][s[6]] ^ slicing[2][s[5]] ^ slicing[3][s[4]] ^
			slicing[4][crc>>24] ^ slicing[5][crc>>16&0xff] ^ slicing[6][crc>>8&0xff] ^ slicing[7][crc&0xff]
		s = s[8:]
	}
	for i := range len(s) {
		crc = slicing[0][byte(crc)^s[i]] ^ crc>>8
	}
	return crc
}

// slicing has, for each byte, the state after it and n zero bytes.
var slicing = func() (tables [8]crc32.Table) {
	tables[0] = *crc32.IEEETable
	for i := range 256 {
		crc := tables[0][i]
		for n := 1; n < len(tables); n++ {
			crc = tables[0][byte(crc)] ^ crc>>8
			tables[n][i] = crc
		}
	}
	return tables
}()
