package totp

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTyped is the longest input in bytes: a recovery code with a separator of three
// bytes after each character, and some space around it.
const maxTyped = 128

// An input has the digits of a code or the bytes of a recovery code.
type input struct {
	digits   string
	recovery []byte
}

// parseCode reads typed and reports whether it can be a code or a recovery code.
//
// Spaces, dashes and invisible characters are removed: apps show "123 456", recovery
// codes have groups, and phone keyboards and messengers replace hyphens or add
// invisible characters. Other characters must be ASCII digits or letters.
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

// isSeparator reports whether c only separates groups: spaces, dashes, characters that
// look like dashes, and invisible format characters.
func isSeparator(c rune) bool {
	return unicode.IsSpace(c) || unicode.In(c, unicode.Zs, unicode.Pd, unicode.Cf) || strings.ContainsRune("\u2212\u2043\u02d7\u30fc\uff70", c)
}
