package scopes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// Bounds of Parse and ParseClaims. Usual tokens have a few hundred bytes and a handful of
// scopes.
const (
	maxBytes  = 64 << 10 // of the string or the claims
	maxScopes = 1000     // in one value, repeated ones included
)

const tokenGrammar = `printable ASCII without space, " and \ (RFC 6749 section 3.3)`

var (
	errTooLong = fmt.Errorf("scopes: more than %d bytes", maxBytes)
	errTooMany = fmt.Errorf("scopes: more than %d scopes", maxScopes)
	errGrammar = errors.New("scopes: not scopes separated by single spaces, each of " + tokenGrammar)
	errToken   = errors.New("scopes: not one scope of " + tokenGrammar)
)

// Parse returns the scopes in s, the value of an OAuth parameter "scope": scopes of
// RFC 6749 section 3.3, separated by single spaces. An empty s has no scopes. Parse
// returns an error and an empty set for other strings and beyond 64 KiB or 1000
// scopes. The error does not contain s.
func Parse(s string) (identity.Set, error) {
	if len(s) > maxBytes {
		return identity.Set{}, errTooLong
	}
	if s == "" {
		return identity.Set{}, nil
	}
	if strings.Count(s, " ") >= maxScopes {
		return identity.Set{}, errTooMany
	}
	for name := range strings.SplitSeq(s, " ") {
		if !isToken(name) {
			return identity.Set{}, errGrammar
		}
	}
	return identity.ParseSet(s), nil
}

// isToken reports whether s is a scope-token of RFC 6749 section 3.3.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// schemeBytes is narrower than RFC 9110 section 5.6.2. All schemes in IANA's registry
// fit.
const schemeBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
