package scopes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// MaxBytes and MaxScopes are the most that [Parse] and [ParseClaims] take: the
// bytes of the whole text, claims and all, and the scopes in it, each time it
// is named. Usual tokens have a few hundred bytes and a handful of scopes.
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

// Parse returns the scopes in s, as the OAuth parameter "scope" has them:
// separated by single spaces, each of the grammar of RFC 6749 section 3.3. A
// scope that is named twice is there once, and an empty string has none. What
// is not of the grammar, or has more than [MaxBytes] or [MaxScopes], is an
// error that does not repeat s, with no scopes at all.
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

// schemeBytes is narrower than the token of RFC 9110 section 5.6.2. All schemes
// of IANA's registry fit.
const schemeBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
