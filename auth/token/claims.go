package token

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// Claims returns the claims of the caller's token as a T: a struct whose json tags
// name the claims, byte for byte at every depth. It returns an error without a token,
// if a claim of T occurs twice or only in another case, or if the claims do not fit
// T.
func Claims[T any](ctx context.Context) (T, error) {
	p, ok := identity.FromContext(ctx)
	if !ok {
		var none T
		return none, errors.New("auth/token: Claims without a caller; put it behind a guard")
	}
	return ClaimsOf[T](p)
}

// ClaimsOf is [Claims] for the token of p.
func ClaimsOf[T any](p *identity.Principal) (T, error) {
	var into T
	if p == nil || p.Claims == "" {
		return into, errors.New("auth/token: the caller was not identified by a token")
	}
	if err := strictjson.NewNames().Object(p.Claims, nil); err != nil {
		return into, fmt.Errorf("auth/token: claims: %w", err)
	}
	exact, err := appendExact(value(strings.Trim(p.Claims, " \t\r\n")), nil, reflect.TypeFor[T]())
	if err != nil {
		return into, fmt.Errorf("auth/token: claims: %w", err)
	}
	if err := json.Unmarshal(exact, &into); err != nil {
		var none T
		// The error of encoding/json may quote the value.
		return none, fmt.Errorf("auth/token: the claims do not fit %v", reflect.TypeFor[T]())
	}
	return into, nil
}

// appendExact appends v to out without members that have no field in t, or only one
// whose name differs in case. It returns an error if a remaining name occurs twice,
// or only in another case.
func appendExact(v value, out []byte, t reflect.Type) ([]byte, error) {
	for t.Kind() == reflect.Pointer && t.Elem() != t {
		t = t.Elem()
	}
	p := reflect.PointerTo(t)
	readsItself := p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	isObject, isArray := strings.HasPrefix(string(v), "{"), strings.HasPrefix(string(v), "[")
	switch {
	case isObject && !readsItself && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		var fields map[string]reflect.Type
		if t.Kind() == reflect.Struct {
			fields = jsonFields(t)
		}
		var others []string // names of no field
		seen := make(map[string]bool)
		out = append(out, '{')
		err := v.Members(func(quoted string, member value) (err error) {
			name := strictjson.Unquote(quoted)
			var inner reflect.Type
			if fields != nil {
				if inner = fields[name]; inner == nil {
					others = append(others, name)
					return nil
				}
			} else {
				inner = t.Elem()
			}
			if seen[name] {
				return fmt.Errorf("%.100q occurs twice", name)
			}
			if seen[name] = true; len(seen) > 1 {
				out = append(out, ',')
			}
			out = append(append(out, quoted...), ':')
			out, err = appendExact(member, out, inner)
			return err
		})
		for _, name := range others {
			for field := range fields {
				if !seen[field] && strings.EqualFold(name, field) {
					return nil, fmt.Errorf("the claim %.100q differs from %q in case", name, field)
				}
			}
		}
		return append(out, '}'), err
	case isArray && !readsItself && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		first := true
		out = append(out, '[')
		err := v.Array(func(element value) (err error) {
			if !first {
				out = append(out, ',')
			}
			first = false
			out, err = appendExact(element, out, t.Elem())
			return err
		})
		return append(out, ']'), err
	}
	if isObject || isArray {
		if err := distinct(v); err != nil {
			return nil, err
		}
	}
	return append(out, v...), nil
}

// distinct returns an error if an object in v has a name twice.
func distinct(v value) error {
	switch {
	case strings.HasPrefix(string(v), "{"):
		seen := make(map[string]bool)
		return v.Members(func(quoted string, member value) error {
			name := strictjson.Unquote(quoted)
			if seen[name] {
				return fmt.Errorf("%.100q occurs twice", name)
			}
			seen[name] = true
			return distinct(member)
		})
	case strings.HasPrefix(string(v), "["):
		return v.Array(distinct)
	}
	return nil
}

// jsonFields returns the names under which encoding/json fills a struct, and
// the types of the fields.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		// The fields of an embedded struct without a name are in the list
		// themselves.
		if tag == "-" || !f.IsExported() || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, outer := fields[name]; !outer {
			fields[name] = f.Type
		}
	}
	return fields
}
