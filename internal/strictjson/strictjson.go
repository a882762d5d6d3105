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

// How deeply objects and arrays are nested at most.
const (
	maxDepth      = 16    // for Object: in a body that a client of this server writes
	maxOtherDepth = 10000 // for Names: in a token of another issuer, as in encoding/json
)

// MaxNames is how many names [NewNames] takes.
const MaxNames = 64

// Errors of [Object], [Names.Object] and the methods of [Value].
var (
	ErrSyntax    = errors.New("malformed JSON")
	ErrDuplicate = errors.New("a JSON member occurs twice, or in a second spelling")
)

// A Value is the JSON text of one value. It is syntactically valid.
type Value string

// Names are the names of the members that a caller reads from an object.
type Names struct {
	names []string
	first [64]uint16 // by hash: one more than the index of a name, 0 for none
	next  []uint16   // by index: the same, of another name with that hash
	plain bool       // each name is lower-case ASCII
}

// NewNames returns Names of at most [MaxNames] names, for many objects.
func NewNames(names ...string) *Names {
	n := &Names{names: names, next: make([]uint16, len(names)), plain: true}
	for i, name := range names {
		h := hashOf(name)
		n.next[i], n.first[h] = n.first[h], uint16(i+1)
		n.plain = n.plain && isPlain(name)
	}
	return n
}

// All returns the names in the order of their indices. The caller does not change
// them.
func (names *Names) All() []string { return names.names }

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
func (names *Names) find(name string) int {
	for i := names.first[hashOf(name)]; i != 0; i = names.next[i-1] {
		if names.names[i-1] == name {
			return int(i) - 1
		}
	}
	return -1
}

// alike reports whether a quoted name that find does not know is a second spelling
// of one that it knows: in another case, or with escapes.
func (names *Names) alike(quoted string) bool {
	name := quoted[1 : len(quoted)-1]
	if strings.IndexByte(name, '\\') >= 0 {
		name = Unquote(quoted)
	}
	for _, known := range names.names {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// Object reads s, which must be one JSON object without anything after it. It
// calls member for each member whose name is in known, in the order of s, and
// returns the first error of member. A known name that occurs twice, or that
// occurs with other case or with escapes, is [ErrDuplicate]. Other members are
// checked for syntax and otherwise ignored. Known has at most [MaxNames] names.
//
// Values share memory with s.
func Object(s string, known []string, member func(name string, v Value) error) error {
	return NewNames(known...).read(s, maxDepth, func(i int, v Value) error { return member(known[i], v) })
}

// Object reads v as [Object] reads a string.
func (v Value) Object(known []string, member func(name string, v Value) error) error {
	return Object(string(v), known, member)
}

// Object is the function [Object] for prepared names: member receives the index of
// the name. Other members may be nested more deeply.
func (names *Names) Object(s string, member func(i int, v Value) error) error {
	return names.read(s, maxOtherDepth, member)
}

func (names *Names) read(s string, deepest int, member func(i int, v Value) error) error {
	if !utf8.ValidString(s) {
		return ErrSyntax
	}
	r := reader{s: s, deepest: deepest}
	r.space()
	if err := r.object(0, 0, names, member, nil); err != nil {
		return err
	}
	r.space()
	if r.i != len(s) {
		return ErrSyntax
	}
	return nil
}

// Member returns the value of the only name in names from v, which must be an object
// of at most that many members, and "" if there is no such member.
func (names *Names) Member(v Value, most int) (found Value, err error) {
	r := reader{s: string(v), deepest: maxOtherDepth} // v was read before
	err = r.object(0, most, names, func(_ int, v Value) error {
		found = v
		return nil
	}, nil)
	return found, err
}

// Members calls member for each member of v, which must be an object, with its name
// as it is written, in quotation marks. Names may occur twice.
func (v Value) Members(member func(quoted string, v Value) error) error {
	r := reader{s: string(v), deepest: maxOtherDepth} // v was read before
	return r.object(0, 0, nil, nil, member)
}

// Array calls element for each element of v, which must be an array.
func (v Value) Array(element func(Value) error) error {
	r := reader{s: string(v), deepest: maxOtherDepth} // v was read before
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
	return Unquote(string(v)), true
}

// Bool returns the value of a JSON boolean, and false if v is not a boolean.
func (v Value) Bool() (value, ok bool) { return v == "true", v == "true" || v == "false" }

// Null reports whether v is null.
func (v Value) Null() bool { return v == "null" }

// Unquote returns the text of a JSON string, and "" for anything else.
func Unquote(quoted string) (s string) {
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return ""
	}
	return s
}

// A reader is a position in s.
type reader struct {
	s       string
	i       int
	deepest int
}

// object reads an object of at most that many members, or any number if most is 0.
// It calls member for the members in known, and each, if there is one, for every
// member.
func (r *reader) object(depth, most int, known *Names, member func(i int, v Value) error, each func(quoted string, v Value) error) error {
	if depth >= r.deepest || !r.take('{') {
		return ErrSyntax
	}
	var seen uint64 // a bit for each known name
	r.space()
	if r.take('}') {
		return nil
	}
	for n := 1; ; n++ {
		r.space()
		start := r.i
		if most != 0 && n > most || !r.string() {
			return ErrSyntax
		}
		quoted := r.s[start:r.i]
		found := -1
		if known != nil {
			if found = known.find(quoted[1 : len(quoted)-1]); found >= 0 {
				if seen&(1<<found) != 0 {
					return ErrDuplicate
				}
				seen |= 1 << found
			} else if (!known.plain || !isPlain(quoted)) && known.alike(quoted) {
				return ErrDuplicate
			}
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
		value := Value(r.s[start:r.i])
		if found >= 0 {
			if err := member(found, value); err != nil {
				return err
			}
		}
		if each != nil {
			if err := each(quoted, value); err != nil {
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

func (r *reader) array(depth int, element func(Value) error) error {
	if depth >= r.deepest || !r.take('[') {
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
		return r.object(depth, 0, nil, nil, nil)
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
