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

// usual are the claims under which issuers write scopes: that of RFC 9068
// section 2.2.3, and two that are older.
var usual = []string{"scope", "scp", "scopes"}

// ParseClaims returns the scopes of a claims set: claims is the JSON object of
// a token, such as identity.Principal.Claims, or of an introspection response.
// names are the claims to read; without any those are "scope", "scp" and
// "scopes".
//
// The value is a string as [Parse] reads it, or an array of strings of which
// each is one scope. Anything else is an error, a number or null among strings
// too, and so are two of the claims that do not say the same, a claim that is
// there twice, and a name that differs from a wanted one in case only: nobody
// knows which was meant. No claim is no scope. With an error there are no
// scopes at all, and it repeats none of the values.
func ParseClaims(claims string, names ...string) (identity.Set, error) {
	if len(names) == 0 {
		names = usual
	}
	if len(claims) > MaxBytes {
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
			for _, wanted := range names {
				if strings.EqualFold(name, wanted) {
					return fmt.Errorf("scopes: the claims have %q in another case", wanted)
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
			return fmt.Errorf("scopes: the claims %q and %q are not the same", found[0], name)
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
				return errors.New("scopes: a member that is not a string")
			}
			name, err := text(element)
			switch {
			case err != nil:
				return err
			case !isToken(name):
				return errToken
			case len(names) == MaxScopes:
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

// text returns what a JSON string says.
func text(quoted string) (string, error) {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err
}

// FromClaims returns the authenticator a, with the scopes of its callers read
// from their claims as [ParseClaims] does: for tokens of other issuers, which
// write them where the token package does not look.
//
//	tokens := scopes.FromClaims(verifier, "scp")
//	mux := guard.NewMux(hooks, tokens)
//
// What a itself found as scopes is replaced. Claims that make no sense are
// refused as a bad credential, 401 invalid_token, and a caller without claims,
// whom a should not return, with 503. It panics if a is nil or a name is empty.
//
// guard.Hooks.Accept needs the authenticator that this returns, not a.
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
