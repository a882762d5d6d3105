package headers

import (
	"errors"
	"fmt"
	"net/http"
)

// problems collects what is wrong with a configuration, so that a constructor
// reports all of it at once.
type problems []error

// bad notes that the field holds value, and how to put it right.
func (p *problems) bad(field string, value any, want string) {
	*p = append(*p, fmt.Errorf("headers: %s is %s, want %s", field, shown(value), want))
}

func (p problems) err() error { return errors.Join(p...) }

// shown returns value as it goes into an error: quoted, so that what cannot be
// seen is seen, and cut, for a mistake may be a whole file.
func shown(value any) string {
	s, ok := value.(string)
	if !ok {
		return fmt.Sprint(value)
	}
	if s == "" {
		return "empty"
	}
	if len(s) > 100 {
		return fmt.Sprintf("%q…", s[:100])
	}
	return fmt.Sprintf("%q", s)
}

// at names an element of a list in an error.
func at(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// mustHandle panics if there is nothing behind a middleware, as
// [http.ServeMux] does.
func mustHandle(next http.Handler) {
	f, ok := next.(http.HandlerFunc)
	if next == nil || ok && f == nil {
		panic("headers: no handler to stand before")
	}
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2: a method, or
// the name of a header.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return isAlnum(c)
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// isPlain reports whether all of s is visible ASCII, without space.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
