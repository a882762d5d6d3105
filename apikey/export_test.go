package apikey

// Resum returns a key with the checksum that belongs to the rest of it: what an
// attacker does who knows the format.
func Resum(key string) string {
	body := key[:len(key)-crcWidth]
	crc := ^updateCRC(^uint32(0), body)
	var number [32]byte
	number[28], number[29], number[30], number[31] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	return body + base62(number, crcWidth)
}

// What tests compare with outside sources.
var (
	UpdateCRC = updateCRC
	MaxSecret = maxSecret
	Base62    = base62
)
