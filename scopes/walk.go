package scopes

import "errors"

// members and elements split JSON that encoding/json has found valid, and check
// nothing else. encoding/json detects repeated names only with a decoder that costs
// several times as much.

// members calls member with each member of the object s: its name, without the
// quotes and with its escapes, and its value.
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

// elements calls element with each element of the array s.
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

// skip returns the end of the value at i. Space behind a number or a literal counts
// as part of the value.
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
				return i // the bracket encloses a number or a literal
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
