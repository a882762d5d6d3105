package scopes

import "errors"

// The two walks below split JSON that encoding/json found valid, and look no
// closer than that needs. encoding/json itself cannot tell of a name that comes
// twice without a decoder that costs several times as much.

// members calls member with each member of the object that s is: its name as it
// is written, without the quotes, and its value.
func members(s string, member func(name, value string) error) error {
	i := space(s, 0)
	if s[i] != '{' {
		return errors.New("scopes: the claims are not an object")
	}
	i = space(s, i+1)
	for s[i] != '}' {
		nameEnd := skip(s, i)
		start := space(s, space(s, nameEnd)+1) // past the colon
		end := skip(s, start)
		if err := member(s[i+1:nameEnd-1], s[start:end]); err != nil {
			return err
		}
		if i = space(s, end); s[i] == ',' {
			i = space(s, i+1)
		}
	}
	return nil
}

// elements calls element with each element of the array that s is.
func elements(s string, element func(value string) error) error {
	i := space(s, 1)
	for s[i] != ']' {
		end := skip(s, i)
		if err := element(s[i:end]); err != nil {
			return err
		}
		if i = space(s, end); s[i] == ',' {
			i = space(s, i+1)
		}
	}
	return nil
}

// skip returns where the value that begins at i ends. Space behind a number or a
// literal is taken for a part of it.
func skip(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of what is around a number or a literal
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

func space(s string, i int) int {
	for s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r' {
		i++
	}
	return i
}
