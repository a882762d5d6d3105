package scopes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// usual has the name of RFC 9068 section 2.2.3, and two older names.
var usual = []string{"scope", "scp", "scopes"}

// ParseClaims returns the scopes in claims, the JSON object of a token or of an
// introspection response. names are the claims to read. Default: "scope", "scp" and
// "scopes".
//
// A value is a string as for [Parse] or an array of single scopes. Without the
// claims, the set is empty. ParseClaims returns an error and an empty set for text
// that is not a JSON object, for other values, for claims that differ, are repeated,
// or have a name in another case, and beyond 64 KiB or 1000 scopes. The error
// contains no values.
func ParseClaims(claims string, names ...string) (identity.Set, error) {
	if len(names) == 0 {
		names = usual
	}
	if len(claims) > maxBytes {
		return identity.Set{}, errTooLong
	}
	if !json.Valid([]byte(claims)) {
		return identity.Set{}, errors.New("scopes: the claims are not JSON")
	}
	var (
		scopes identity.Set
		found  []string
	)
	err := members(claims, func(name, value string) error {
		if strings.IndexByte(name, '\\') >= 0 {
			// Another spelling of a name: valid JSON, so this cannot fail.
			var plain string
			if err := json.Unmarshal([]byte(`"`+name+`"`), &plain); err != nil {
				return err
			}
			name = plain
		}
		if !slices.Contains(names, name) {
			for _, known := range names {
				if strings.EqualFold(name, known) {
					return fmt.Errorf("scopes: the claims have %q in another case", known)
				}
			}
			return nil
		}
		if slices.Contains(found, name) {
			return fmt.Errorf("scopes: the claims have %q twice", name)
		}
		these, err := parseValue(value)
		if err != nil {
			return fmt.Errorf("%w (claim %q)", err, name)
		}
		if len(found) > 0 && !these.Equal(scopes) {
			return fmt.Errorf("scopes: the claims %q and %q differ", found[0], name)
		}
		scopes, found = these, append(found, name)
		return nil
	})
	if err != nil {
		return identity.Set{}, err
	}
	return scopes, nil
}

// parseValue reads a string of scopes, or an array of strings.
func parseValue(value string) (identity.Set, error) {
	switch value[0] {
	case '"':
		s, err := text(value)
		if err != nil {
			return identity.Set{}, err
		}
		return Parse(s)
	case '[':
		var few [16]string
		names := few[:0]
		err := elements(value, func(element string) error {
			if element[0] != '"' {
				return errors.New("scopes: an array element is not a string")
			}
			name, err := text(element)
			switch {
			case err != nil:
				return err
			case !isToken(name):
				return errToken
			case len(names) == maxScopes:
				return errTooMany
			}
			names = append(names, name)
			return nil
		})
		if err != nil {
			return identity.Set{}, err
		}
		return identity.NewSet(names...), nil
	}
	return identity.Set{}, errors.New("scopes: neither a string nor an array")
}

// text returns the value of a JSON string.
func text(quoted string) (string, error) {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err
}

// FromClaims returns an authenticator that calls a and replaces Principal.Scopes by
// the scopes in Principal.Claims (see [ParseClaims]). Pass the returned authenticator
// to guard.Hooks.Accept, not a.
//
// Claims with mistakes are answered 401 invalid_token, a caller without claims 503.
// FromClaims panics if a is nil or a name is empty.
func FromClaims(a guard.Authenticator, names ...string) guard.Authenticator {
	if a == nil {
		panic("scopes: FromClaims needs an Authenticator")
	}
	if slices.Contains(names, "") {
		panic("scopes: FromClaims has an empty name of a claim")
	}
	return &claimsReader{a, slices.Clone(names)}
}

type claimsReader struct {
	guard.Authenticator
	names []string
}

func (c *claimsReader) Authenticate(r *http.Request) (*identity.Principal, error) {
	p, err := c.Authenticator.Authenticate(r)
	if err != nil || p == nil {
		return nil, err
	}
	if err := c.fill(p); err != nil {
		return nil, err
	}
	return p, nil
}

func (c *claimsReader) fill(p *identity.Principal) error {
	if p.Claims == "" {
		return fmt.Errorf("scopes: %T identified a caller without claims", c.Authenticator)
	}
	scopes, err := ParseClaims(p.Claims, c.names...)
	if err != nil {
		return guard.InvalidToken(c.Challenge().Scheme, err)
	}
	p.Scopes = scopes
	return nil
}
