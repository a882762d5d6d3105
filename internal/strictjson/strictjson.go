// Package strictjson reads JSON objects whose members decide about access, so
// that no two parsers can read one object differently.
//
// encoding/json takes the last of two members with the same name, matches names
// without regard to case, and replaces invalid UTF-8. [Object] rejects all three
// for the members that the caller reads. Members that the caller does not read
// must be well-formed and have no other effect.
package strictjson

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deeply objects and arrays are nested.
const maxDepth = 16

// Errors of [Object] and [Value.Array].
var (
	ErrSyntax    = errors.New("malformed JSON")
	ErrDuplicate = errors.New("a JSON member occurs twice, or in a second spelling")
)

// A Value is the JSON text of one value. It is syntactically valid.
type Value string

// Object reads s, which must be one JSON object without anything after it. It
// calls member for each member whose name is in known, in the order of s, and
// returns the first error of member. A known name that occurs twice, or that
// occurs with other case or with escapes, is [ErrDuplicate]. Other members are
// checked for syntax and otherwise ignored. Known has at most 64 names.
//
// Values share memory with s.
func Object(s string, known []string, member func(name string, v Value) error) error {
	if !utf8.ValidString(s) {
		return ErrSyntax
	}
	r := reader{s: s}
	r.space()
	if err := r.object(0, known, member); err != nil {
		return err
	}
	r.space()
	if r.i != len(s) {
		return ErrSyntax
	}
	return nil
}

// Object reads v as [Object] reads a string.
func (v Value) Object(known []string, member func(name string, v Value) error) error {
	return Object(string(v), known, member)
}

// Array calls element for each element of v, which must be an array.
func (v Value) Array(element func(Value) error) error {
	r := reader{s: string(v)}
	return r.array(0, element)
}

// Text returns the value of a JSON string, and false if v is not a string.
func (v Value) Text() (string, bool) {
	if v == "" || v[0] != '"' {
		return "", false
	}
	if strings.IndexByte(string(v), '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	return unescape(string(v)), true
}

// Bool returns the value of a JSON boolean, and false if v is not a boolean.
func (v Value) Bool() (value, ok bool) { return v == "true", v == "true" || v == "false" }

// Null reports whether v is null.
func (v Value) Null() bool { return v == "null" }

func unescape(quoted string) (s string) {
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return "" // the reader has checked the syntax
	}
	return s
}

// A reader is a position in s.
type reader struct {
	s string
	i int
}

func (r *reader) object(depth int, known []string, member func(string, Value) error) error {
	if depth >= maxDepth || !r.take('{') {
		return ErrSyntax
	}
	var seen uint64
	r.space()
	if r.take('}') {
		return nil
	}
	for {
		r.space()
		start := r.i
		if !r.string() {
			return ErrSyntax
		}
		index, exact := find(known, r.s[start:r.i])
		if index >= 0 {
			if !exact || seen&(1<<index) != 0 {
				return ErrDuplicate
			}
			seen |= 1 << index
		}
		r.space()
		if !r.take(':') {
			return ErrSyntax
		}
		r.space()
		start = r.i
		if err := r.skip(depth + 1); err != nil {
			return err
		}
		if index >= 0 {
			if err := member(known[index], Value(r.s[start:r.i])); err != nil {
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
		return ErrSyntax
	}
}

// find returns the index of the known name that quoted spells, or -1. exact
// reports whether quoted spells it byte for byte.
func find(known []string, quoted string) (index int, exact bool) {
	name := quoted[1 : len(quoted)-1]
	escaped, ascii := false, true
	for i := range len(name) {
		escaped = escaped || name[i] == '\\'
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	if escaped {
		name, ascii = unescape(quoted), false
	}
	for i, k := range known {
		// Only letters beyond ASCII fold to a name of another length.
		if (len(name) == len(k) || !ascii) && strings.EqualFold(name, k) {
			return i, name == k && !escaped
		}
	}
	return -1, false
}

func (r *reader) array(depth int, element func(Value) error) error {
	if depth >= maxDepth || !r.take('[') {
		return ErrSyntax
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
			if err := element(Value(r.s[start:r.i])); err != nil {
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
		return ErrSyntax
	}
}

// skip moves past one value and checks its syntax.
func (r *reader) skip(depth int) error {
	if r.i == len(r.s) {
		return ErrSyntax
	}
	ok := false
	switch c := r.s[r.i]; {
	case c == '"':
		ok = r.string()
	case c == '{':
		return r.object(depth, nil, nil)
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
		return ErrSyntax
	}
	return nil
}

func (r *reader) string() bool {
	if !r.take('"') {
		return false
	}
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

// escape reads one escape (RFC 8259 section 7). Half of a surrogate pair is
// invalid: it encodes no character.
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
	switch {
	case !ok || 0xDC00 <= first && first <= 0xDFFF:
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
func (r *reader) hex4() (v uint16, ok bool) {
	if r.i+6 > len(r.s) {
		return 0, false
	}
	digits := r.s[r.i+2 : r.i+6]
	r.i += 6
	for i := range len(digits) {
		c := digits[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | uint16(c)
	}
	return v, true
}

// number reads a number (RFC 8259 section 6).
func (r *reader) number() bool {
	r.take('-')
	if !r.take('0') && r.digits() == 0 {
		return false
	}
	if r.take('.') && r.digits() == 0 {
		return false
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		return r.digits() > 0
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
