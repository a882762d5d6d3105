package token

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// registered are the claims that this package reads and writes: those of
// RFC 7519 section 4.1, RFC 9068 section 2.2, "sid" of OpenID Connect, and
// "tenant".
var registered = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti",
	"client_id", "scope", "roles", "amr", "auth_time", "sid", "tenant",
}

// claims is the payload of a token as it was read, before it is judged.
type claims struct {
	issuer, subject, id, client, session, tenant string
	audience                                     bool // names ours
	scopes, roles, factors                       identity.Set
	expires, notBefore, issued, authTime         time.Time
}

// read fills c from payload. It refuses what is not well-formed, and leaves it
// to the verifier whether it is acceptable.
func (c *claims) read(payload, audience string) error {
	return object(payload, registered, func(name string, v value) error {
		ok := true
		switch name {
		case "iss":
			c.issuer, ok = v.text()
		case "sub":
			c.subject, ok = v.text()
		case "jti":
			c.id, ok = v.text()
		case "client_id":
			c.client, ok = v.text()
		case "sid":
			c.session, ok = v.text()
		case "tenant":
			c.tenant, ok = v.text()
		case "aud":
			// One string or several (RFC 7519 section 4.1.3).
			if one, isText := v.text(); isText {
				c.audience = one == audience
				break
			}
			var few [4]string
			var all []string
			all, ok = v.texts(few[:0])
			c.audience = slices.Contains(all, audience)
		case "scope":
			c.scopes, ok = v.scope()
		case "roles":
			c.roles, ok = v.set()
		case "amr":
			c.factors, ok = v.set()
		case "exp":
			c.expires, ok = v.date()
		case "nbf":
			c.notBefore, ok = v.date()
		case "iat":
			c.issued, ok = v.date()
		case "auth_time":
			c.authTime, ok = v.date()
		}
		if !ok {
			return malformedClaim(name)
		}
		return nil
	})
}

// malformedClaim is the name of a claim whose value is not what it should be.
type malformedClaim string

func (m malformedClaim) Error() string { return "the value of " + string(m) + " is malformed" }

func (v value) set() (identity.Set, bool) {
	var few [8]string // the usual number needs no allocation before the set's
	names, ok := v.texts(few[:0])
	if !ok {
		return identity.Set{}, false
	}
	return identity.NewSet(names...), true
}

// scope reads scope-tokens separated by single spaces (RFC 6749 section 3.3).
// An empty string is no scope at all.
func (v value) scope() (identity.Set, bool) {
	if v == `""` {
		return identity.Set{}, true
	}
	s, ok := v.text()
	if !ok || !validScope(s) {
		return identity.Set{}, false
	}
	return identity.ParseSet(s), true
}

// validScope reports whether s is scope = scope-token *( SP scope-token ).
func validScope(s string) bool {
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == ' ' && s[i-1] == ' ' {
			return false
		}
	}
	return true
}

// Claims returns the claims of the token that the request of ctx was
// authenticated with, as a T of the host's own: a struct whose json tags name
// the claims it wants. Each call decodes anew, so what it returns is the
// caller's own.
//
// Names are matched byte for byte, at every depth. (encoding/json would take
// "Plan" for "plan"; such a claims set is an error here.) Without a caller, or
// with one who did not present a token, it returns an error.
func Claims[T any](ctx context.Context) (T, error) {
	p, ok := identity.FromContext(ctx)
	if !ok {
		var none T
		return none, errors.New("token: nobody is identified")
	}
	return ClaimsOf[T](p)
}

// ClaimsOf is [Claims] of a principal that is at hand.
func ClaimsOf[T any](p *identity.Principal) (T, error) {
	var into T
	if p == nil || p.Claims == "" {
		return into, errors.New("token: the caller was not identified by a token")
	}
	if err := object(p.Claims, nil, nil); err != nil {
		return into, fmt.Errorf("token: claims: %w", err)
	}
	if err := value(p.Claims).exact(reflect.TypeFor[T]()); err != nil {
		return into, fmt.Errorf("token: claims: %w", err)
	}
	if err := json.Unmarshal([]byte(p.Claims), &into); err != nil {
		var none T
		// The error of encoding/json may quote the value.
		return none, fmt.Errorf("token: the claims do not fit %v", reflect.TypeFor[T]())
	}
	return into, nil
}

// exact reports an error if encoding/json would fill a field of t from a member
// of v whose name differs from the field's in case. v was read by [object].
func (v value) exact(t reflect.Type) error {
	for t.Kind() == reflect.Pointer && t.Elem() != t {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil // it reads the value itself
	}
	r := reader{s: strings.TrimLeft(string(v), " \t\r\n")}
	switch {
	case strings.HasPrefix(r.s, "{") && t.Kind() == reflect.Struct:
		fields := jsonFields(t)
		return r.object(0, nil, func(name string, member value) error {
			if field, ok := fields[name]; ok {
				return member.exact(field)
			}
			for field := range fields {
				if strings.EqualFold(name, field) {
					return fmt.Errorf("there is %q, and %q is wanted", name, field)
				}
			}
			return nil
		})
	case strings.HasPrefix(r.s, "{") && t.Kind() == reflect.Map:
		return r.object(0, nil, func(_ string, member value) error { return member.exact(t.Elem()) })
	case strings.HasPrefix(r.s, "[") && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		return r.array(0, func(element value) error { return element.exact(t.Elem()) })
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
