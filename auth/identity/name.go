package identity

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// MaxName is the greatest length of a name in bytes: see [CheckNames].
const MaxName = 1024

var (
	errEncoding = errors.New("identity: a name has a NUL or invalid UTF-8")
	errLength   = errors.New("identity: a name has more than 1024 bytes")
)

// CheckNames returns an error if one of names is not valid UTF-8, has a NUL, or has
// more than [MaxName] bytes. Call it before a store is used with identifiers of a
// request, and treat an ill-formed name like an unknown one. The error does not quote
// the name. An empty name is well-formed.
func CheckNames(names ...string) error {
	for _, name := range names {
		switch {
		case len(name) > MaxName:
			return errLength
		case strings.IndexByte(name, 0) >= 0 || !utf8.ValidString(name):
			return errEncoding
		}
	}
	return nil
}
