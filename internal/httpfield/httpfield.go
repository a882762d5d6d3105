// Package httpfield has the syntax of HTTP fields that several packages read: the
// tokens and the optional white space of RFC 9110 section 5.6.
package httpfield

import "strings"

// IsToken reports whether s is a token (RFC 9110 section 5.6.2): a method or the name
// of a field.
func IsToken(s string) bool {
	for i := range len(s) {
		if !IsTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsTokenByte reports whether c may stand in a token.
func IsTokenByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return IsAlnum(c)
}

// IsAlnum reports whether c is an ASCII letter or digit.
func IsAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// TrimOWS removes optional white space (RFC 9110 section 5.6.3): spaces and tabs
// only.
func TrimOWS(s string) string { return strings.Trim(s, " \t") }
