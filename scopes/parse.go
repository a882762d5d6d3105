package scopes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// MaxBytes and MaxScopes limit the input of [Parse] and [ParseClaims]: the bytes of
// the whole string or claims set, and the scopes in one value, repeated ones included.
// Usual tokens have a few hundred bytes and a handful of scopes.
const (
	MaxBytes  = 64 << 10
	MaxScopes = 1000
)

const tokenGrammar = `printable ASCII without space, " and \ (RFC 6749 section 3.3)`

var (
	errTooLong = fmt.Errorf("scopes: more than %d bytes", MaxBytes)
	errTooMany = fmt.Errorf("scopes: more than %d scopes", MaxScopes)
	errGrammar = errors.New("scopes: not scopes separated by single spaces, each of " + tokenGrammar)
	errToken   = errors.New("scopes: not one scope of " + tokenGrammar)
)

// Parse returns the scopes in s, the value of an OAuth parameter "scope": scopes of
// RFC 6749 section 3.3, separated by single spaces. An empty s has no scopes. Parse
// returns an error and an empty set if s does not match the grammar or exceeds
// [MaxBytes] or [MaxScopes]. The error does not contain s.
func Parse(s string) (identity.Set, error) {
	if len(s) > MaxBytes {
		return identity.Set{}, errTooLong
	}
	if s == "" {
		return identity.Set{}, nil
	}
	if strings.Count(s, " ") >= MaxScopes {
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

// schemeBytes are fewer characters than RFC 9110 section 5.6.2 allows in a token. All
// schemes in IANA's registry fit.
const schemeBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
