package identity

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// maxName is the greatest length of a name in bytes.
const maxName = 1024

var (
	errEncoding = errors.New("identity: a name has a NUL or invalid UTF-8")
	errLength   = errors.New("identity: a name has more than 1024 bytes")
)

// CheckNames returns an error if one of names is not valid UTF-8, has a NUL, or has
// more than 1024 bytes. Call it before a store receives identifiers of a request, and
// treat a malformed name like an unknown one. The error does not contain the name.
func CheckNames(names ...string) error {
	for _, name := range names {
		switch {
		case len(name) > maxName:
			return errLength
		case strings.IndexByte(name, 0) >= 0 || !utf8.ValidString(name):
			return errEncoding
		}
	}
	return nil
}
