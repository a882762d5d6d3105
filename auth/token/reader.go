package token

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The strict reader of JSON. encoding/json lets the last of two members with
// one name win, takes "EXP" and even "ſub" for "exp" and "sub", and replaces
// what is not UTF-8: three ways for two parsers to read one token differently
// (RFC 7519 section 4 allows the first, and RFC 8725 section 2.6 is about the
// last). For the members that the caller reads, this reader rejects all three.
// Members that the caller does not read only have to be JSON.

const (
	maxDepth   = 10000 // of nested objects and arrays, as in encoding/json
	maxMembers = 256   // of an object within the claims that is searched for a member
	maxNames   = 64    // that one caller reads from an object
)

var errJSON = errors.New("not JSON as this package reads it")

// members are the names of the members that a caller reads from an object.
type members struct {
	names []string
	first [64]uint16 // by hash: one more than the index of a name, 0 for none
	next  []uint16   // by index: the same, of another name with that hash
	plain bool       // each name is lower-case ASCII
}

func newMembers(names ...string) *members {
	m := &members{names: names, next: make([]uint16, len(names)), plain: true}
	for i, name := range names {
		h := hashOf(name)
		m.next[i], m.first[h] = m.first[h], uint16(i+1)
		m.plain = m.plain && isPlain(name)
	}
	return m
}

// hashOf returns one of 64 numbers, the same for equal names.
func hashOf(name string) uint {
	if name == "" {
		return 0
	}
	return (uint(name[0])*2 + uint(name[len(name)-1]) + uint(len(name))) % 64
}

func isPlain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || 'A' <= c && c <= 'Z' || c == '\\' {
			return false
		}
	}
	return true
}

// find returns the index of name, or -1.
func (m *members) find(name string) int {
	for i := m.first[hashOf(name)]; i != 0; i = m.next[i-1] {
		if m.names[i-1] == name {
			return int(i) - 1
		}
	}
	return -1
}

// alike reports whether a quoted name that find does not know is a second
// spelling of one that it knows: in another case, or with escapes.
func (m *members) alike(quoted string) bool {
	name := quoted[1 : len(quoted)-1]
	if strings.IndexByte(name, '\\') >= 0 {
		name = unescape(quoted)
	}
	for _, known := range m.names {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// A reader walks over s, which it never changes.
type reader struct {
	s string
	i int
}

// A value is a member's value: its JSON text.
type value string

// object reads one object, which must be all there is in s, and calls member
// with each of the known members: its index and its value.
func object(s string, known *members, member func(i int, v value) error) error {
	if !utf8.ValidString(s) {
		return errJSON
	}
	r := reader{s: s}
	r.space()
	if err := r.object(0, 0, known, member); err != nil {
		return err
	}
	r.space()
	if r.i != len(s) {
		return errJSON
	}
	return nil
}

// object reads an object of at most that many members, or any number if most
// is 0. A known member that stands there twice, or in a second spelling, is an
// error. If known is nil, all are skipped.
func (r *reader) object(depth, most int, known *members, member func(i int, v value) error) error {
	if depth >= maxDepth || !r.take('{') {
		return errJSON
	}
	var seen uint64 // a bit for each known member
	r.space()
	if r.take('}') {
		return nil
	}
	for n := 1; ; n++ {
		r.space()
		start := r.i
		plain, ok := r.name()
		if !ok || most != 0 && n > most {
			return errJSON
		}
		found := -1
		if known != nil {
			quoted := r.s[start:r.i]
			if found = known.find(quoted[1 : len(quoted)-1]); found >= 0 {
				if seen&(1<<found) != 0 {
					return errJSON
				}
				seen |= 1 << found
			} else if (!plain || !known.plain) && known.alike(quoted) {
				return errJSON
			}
		}
		r.space()
		if !r.take(':') {
			return errJSON
		}
		r.space()
		start = r.i
		if err := r.skip(depth + 1); err != nil {
			return err
		}
		if found >= 0 {
			if err := member(found, value(r.s[start:r.i])); err != nil {
				return err
			}
		}
		r.space()
		if r.take(',') {
			continue
		}
		if r.take('}') {
			return nil
		}
		return errJSON
	}
}

// each calls member for every member of the object v: its quoted name and its
// value.
func (v value) each(member func(quoted string, v value) error) error {
	r := reader{s: string(v)}
	if !r.take('{') {
		return errJSON
	}
	r.space()
	if r.take('}') {
		return nil
	}
	for {
		r.space()
		start := r.i
		if _, ok := r.name(); !ok {
			return errJSON
		}
		quoted := r.s[start:r.i]
		r.space()
		if !r.take(':') {
			return errJSON
		}
		r.space()
		start = r.i
		if err := r.skip(1); err != nil {
			return err
		}
		if err := member(quoted, value(r.s[start:r.i])); err != nil {
			return err
		}
		r.space()
		if r.take(',') {
			continue
		}
		if r.take('}') {
			return nil
		}
		return errJSON
	}
}

// name moves past a member's name. plain reports that it is lower-case ASCII
// without escapes, so that it is no second spelling of another such name.
func (r *reader) name() (plain, ok bool) {
	start := r.i
	if r.i == len(r.s) || r.s[r.i] != '"' || !r.string() {
		return false, false
	}
	return isPlain(r.s[start:r.i]), true
}

// skip moves past one value, checking all of it.
func (r *reader) skip(depth int) error {
	if r.i == len(r.s) {
		return errJSON
	}
	ok := false
	switch c := r.s[r.i]; {
	case c == '"':
		ok = r.string()
	case c == '{':
		return r.object(depth, 0, nil, nil)
	case c == '[':
		return r.array(depth, nil)
	case c == '-' || '0' <= c && c <= '9':
		ok = r.number()
	case c == 't':
		ok = r.literal("true")
	case c == 'f':
		ok = r.literal("false")
	case c == 'n':
		ok = r.literal("null")
	}
	if !ok {
		return errJSON
	}
	return nil
}

func (r *reader) array(depth int, element func(value) error) error {
	if depth >= maxDepth || !r.take('[') {
		return errJSON
	}
	r.space()
	if r.take(']') {
		return nil
	}
	for {
		r.space()
		start := r.i
		if err := r.skip(depth + 1); err != nil {
			return err
		}
		if element != nil {
			if err := element(value(r.s[start:r.i])); err != nil {
				return err
			}
		}
		r.space()
		if r.take(',') {
			continue
		}
		if r.take(']') {
			return nil
		}
		return errJSON
	}
}

func (r *reader) string() bool {
	r.i++ // the quote
	for r.i < len(r.s) {
		switch c := r.s[r.i]; {
		case c == '"':
			r.i++
			return true
		case c < ' ':
			return false
		case c == '\\':
			if !r.escape() {
				return false
			}
		default:
			r.i++
		}
	}
	return false
}

// escape reads one escape of RFC 8259 section 7. Half a surrogate pair is
// refused: it stands for no character.
func (r *reader) escape() bool {
	if r.i+1 >= len(r.s) {
		return false
	}
	c := r.s[r.i+1]
	if c != 'u' {
		r.i += 2
		return strings.IndexByte(`"\/bfnrt`, c) >= 0
	}
	first, ok := r.hex4()
	if !ok {
		return false
	}
	switch {
	case 0xDC00 <= first && first <= 0xDFFF:
		return false
	case 0xD800 <= first && first <= 0xDBFF:
		if !strings.HasPrefix(r.s[r.i:], `\u`) {
			return false
		}
		second, ok := r.hex4()
		return ok && 0xDC00 <= second && second <= 0xDFFF
	}
	return true
}

// hex4 reads \uXXXX.
func (r *reader) hex4() (uint16, bool) {
	if r.i+6 > len(r.s) {
		return 0, false
	}
	digits := r.s[r.i+2 : r.i+6]
	r.i += 6
	var v uint16
	for i := range 4 {
		d := strings.IndexByte("0123456789abcdef", digits[i]|0x20)
		if d < 0 || digits[i] < '0' {
			return 0, false
		}
		v = v<<4 | uint16(d)
	}
	return v, true
}

// number reads a number of RFC 8259 section 6.
func (r *reader) number() bool {
	r.take('-')
	switch {
	case r.take('0'): // and no digit may follow
	case r.digits() == 0:
		return false
	}
	if r.take('.') && r.digits() == 0 {
		return false
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		if r.digits() == 0 {
			return false
		}
	}
	return true
}

func (r *reader) digits() int {
	start := r.i
	for r.i < len(r.s) && '0' <= r.s[r.i] && r.s[r.i] <= '9' {
		r.i++
	}
	return r.i - start
}

func (r *reader) literal(want string) bool {
	if !strings.HasPrefix(r.s[r.i:], want) {
		return false
	}
	r.i += len(want)
	return true
}

func (r *reader) take(c byte) bool {
	if r.i < len(r.s) && r.s[r.i] == c {
		r.i++
		return true
	}
	return false
}

func (r *reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// text returns the value of a string that is not empty and has no control
// characters: an identifier that ends up in logs, keys and headers.
func (v value) text() (string, bool) {
	s := string(v)
	if len(s) < 2 || s[0] != '"' {
		return "", false
	}
	if strings.IndexByte(s, '\\') < 0 {
		s = s[1 : len(s)-1]
	} else {
		s = unescape(s)
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

// unescape returns the text of a string that was read before, "" if it is
// none. It is apart so that text needs no allocation without escapes.
func unescape(quoted string) (s string) {
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return ""
	}
	return s
}

// texts appends the strings of an array to list.
func (v value) texts(list []string) ([]string, bool) {
	if v == "" || v[0] != '[' {
		return nil, false
	}
	r := reader{s: string(v)}
	err := r.array(0, func(e value) error {
		s, ok := e.text()
		if !ok {
			return errJSON
		}
		list = append(list, s)
		return nil
	})
	return list, err == nil
}

// maxDate is the last second of the year 9999, the end of RFC 3339.
const maxDate = 253402300799

// date reads a NumericDate (RFC 7519 section 2): a JSON number of seconds
// since 1970, with the fraction kept to the nanosecond. Zero is the zero Time,
// since some issuers write it for a date that they do not have.
func (v value) date() (time.Time, bool) {
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
