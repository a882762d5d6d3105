package token

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/strictjson"
)

// The values of members that package strictjson reads from headers, claims and keys.
// Three ways for two parsers to read one token differently are refused there: names
// that occur twice (RFC 7519 section 4), second spellings of a name, and text that is
// not UTF-8 (RFC 8725 section 2.6).

// maxMembers is how many members an object within the claims may have that is
// searched for a member.
const maxMembers = 256

type value = strictjson.Value

// text returns the value of a string that is not empty and has no control
// characters: an identifier that ends up in logs, keys and headers.
func text(v value) (string, bool) {
	s := string(v)
	if len(s) < 2 || s[0] != '"' {
		return "", false
	}
	if strings.IndexByte(s, '\\') < 0 {
		s = s[1 : len(s)-1]
	} else {
		s = strictjson.Unquote(s)
	}
	return s, s != "" && plainText(s)
}

// plainText reports whether s is UTF-8 without control characters.
func plainText(s string) bool {
	for i := range len(s) {
		if s[i]-' ' >= 0x7f-' ' { // a control character, or beyond ASCII
			return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
		}
	}
	return true
}

// texts appends the strings of an array to list.
func texts(v value, list []string) ([]string, bool) {
	if v == "" || v[0] != '[' {
		return nil, false
	}
	err := v.Array(func(e value) error {
		s, ok := text(e)
		if !ok {
			return strictjson.ErrSyntax
		}
		list = append(list, s)
		return nil
	})
	return list, err == nil
}

// maxDate is the last second of the year 9999, the end of RFC 3339.
const maxDate = 253402300799

// readDate reads a NumericDate (RFC 7519 section 2): a JSON number of seconds
// since 1970, with the fraction kept to the nanosecond. Zero is the zero Time,
// since some issuers write it for a date that they do not have.
func readDate(v value) (time.Time, bool) {
	s := string(v)
	if s == "" || s[0] < '0' || s[0] > '9' {
		return time.Time{}, false
	}
	if strings.IndexByte(s, 'e') >= 0 || strings.IndexByte(s, 'E') >= 0 {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f < 1 || f > maxDate {
			return time.Time{}, false
		}
		return time.Unix(int64(math.Floor(f)), 0), true
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if len(whole) > 12 {
		return time.Time{}, false
	}
	var seconds, nanos int64
	for i := range len(whole) {
		seconds = seconds*10 + int64(whole[i]-'0')
	}
	for i := range 9 {
		nanos *= 10
		if i < len(fraction) {
			nanos += int64(fraction[i] - '0')
		}
	}
	if seconds == 0 && strings.Trim(fraction, "0") == "" {
		return time.Time{}, true
	}
	if seconds < 1 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.Unix(seconds, nanos), true
}
