package totp

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTyped is the longest input that is looked at, in bytes: a recovery code with
// a character of three bytes after each of its own, and some space around it.
const maxTyped = 128

// An input is what a user typed: the digits of a code, or else the bytes of a
// recovery code.
type input struct {
	digits   string
	recovery []byte
}

// parseCode reads what a user typed. It reports whether that can be a code or a
// recovery code.
//
// Spaces, dashes and invisible characters are removed wherever they stand: apps
// show "123 456", recovery codes are written in groups, and phone keyboards and
// messengers replace a hyphen or add what cannot be seen. Every other character
// that is not an ASCII digit or letter is refused, digits of other scripts among
// them.
func parseCode(typed string) (in input, ok bool) {
	if len(typed) > maxTyped || !utf8.ValidString(typed) {
		return input{}, false
	}
	code, numeric := make([]byte, 0, recoveryText), true
	for _, c := range typed {
		switch {
		case isSeparator(c):
			continue
		case '0' <= c && c <= '9':
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
			numeric = false
		case 'A' <= c && c <= 'Z':
			numeric = false
		default:
			return input{}, false
		}
		code = append(code, byte(c))
	}
	switch {
	case numeric && (len(code) == 6 || len(code) == 8):
		return input{digits: string(code)}, true
	case len(code) == recoveryText:
		recovery, err := base32Text.AppendDecode(nil, code)
		return input{recovery: recovery}, err == nil
	}
	return input{}, false
}

// isSeparator reports whether c only separates groups: Unicode spaces and dashes,
// what looks like a dash without being one to Unicode, and invisible format
// characters such as the zero-width space.
func isSeparator(c rune) bool {
	return unicode.IsSpace(c) || unicode.In(c, unicode.Zs, unicode.Pd, unicode.Cf) || strings.ContainsRune("\u2212\u2043\u02d7\u30fc\uff70", c)
}
