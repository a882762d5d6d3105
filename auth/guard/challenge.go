package guard

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// A Challenge is one value of WWW-Authenticate (RFC 9110 section 11.6.1). Empty
// fields are omitted.
type Challenge struct {
	// Scheme is the authentication scheme, like "Bearer". Required.
	Scheme string

	// Realm names the protected space (RFC 9110 section 11.5).
	Realm string

	// Scope is the scope that the request needs (RFC 6750 section 3).
	Scope identity.Set

	// Error is a code of RFC 6750 section 3.1, or [CodeStepUp], empty if the
	// request had no credentials. ErrorDescription and ErrorURI are for developers.
	Error, ErrorDescription, ErrorURI string

	// ACRValues are the accepted authentication contexts in order of preference.
	// MaxAge is the maximum age of the sign-in in whole seconds; zero means any
	// (RFC 9470 section 3).
	ACRValues []string
	MaxAge    time.Duration

	// ResourceMetadata is the URL of the resource's metadata (RFC 9728 section
	// 5.1).
	ResourceMetadata string

	// Params are further parameters. A name that occurs before is omitted.
	Params []Param
}

// A Param is a parameter of a [Challenge] without a field of its own.
type Param struct{ Name, Value string }

// String returns the challenge as it is sent, every value quoted, empty without
// Scheme.
func (c Challenge) String() string {
	scheme := token(c.Scheme)
	if scheme == "" {
		return ""
	}
	var b strings.Builder
	b.Grow(96)
	b.WriteString(scheme)
	before := " "
	written := make([]string, 0, 8+4)
	param := func(name, value string) {
		if value == "" {
			return
		}
		written = append(written, name)
		b.WriteString(before)
		b.WriteString(name)
		b.WriteByte('=')
		quote(&b, value)
		before = ", "
	}
	param("realm", c.Realm)
	param("scope", c.Scope.String())
	param("error", strict(c.Error))
	param("error_description", strict(c.ErrorDescription))
	param("error_uri", strings.ReplaceAll(strict(c.ErrorURI), " ", "%20"))
	param("acr_values", strings.Join(c.ACRValues, " "))
	if c.MaxAge > 0 {
		param("max_age", strconv.FormatInt(int64(c.MaxAge/time.Second), 10))
	}
	param("resource_metadata", c.ResourceMetadata)
	for _, p := range c.Params {
		// A name that comes twice makes the challenge ambiguous: the first
		// stands (RFC 9110 section 11.2).
		name := token(p.Name)
		if name == "" || slices.ContainsFunc(written, func(w string) bool { return strings.EqualFold(w, name) }) {
			continue
		}
		param(name, p.Value)
	}
	return b.String()
}

// invalidToken returns the challenge of [InvalidToken].
func invalidToken(scheme string) Challenge { return Challenge{Scheme: scheme, Error: CodeInvalidToken} }

// isInvalidToken reports whether c is the challenge of [InvalidToken].
func (c *Challenge) isInvalidToken() bool {
	return c.Error == CodeInvalidToken && c.Realm == "" && c.Scope.Len() == 0 && c.ErrorDescription == "" && c.ErrorURI == "" &&
		len(c.ACRValues) == 0 && c.MaxAge == 0 && c.ResourceMetadata == "" && len(c.Params) == 0
}

// on returns c with what it leaves open taken from base, the standing
// challenge of the authenticator of the same scheme.
func (c Challenge) on(base Challenge) Challenge {
	c.Realm = cmp.Or(c.Realm, base.Realm)
	c.ResourceMetadata = cmp.Or(c.ResourceMetadata, base.ResourceMetadata)
	if c.Error != "" {
		c.ErrorURI = cmp.Or(c.ErrorURI, base.ErrorURI)
	}
	if c.Scope.Len() == 0 {
		c.Scope = base.Scope
	}
	if len(c.Params) == 0 {
		c.Params = base.Params
	}
	return c
}

// quote writes s as a quoted-string of RFC 9110 section 5.6.4. What may not
// stand in one, control characters and bytes above ASCII, becomes '?': a
// challenge is for programs, and half of them read it as Latin-1.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// strict narrows s to the characters that RFC 6750 section 3 allows in the
// error parameters: the quoted-string without the two that need an escape.
func strict(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strings.NewReplacer(`"`, "'", `\`, "/").Replace(s)
}

// token drops what may not stand in a token of RFC 9110 section 5.6.2.
func token(s string) string {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return strings.Map(func(r rune) rune {
				if r < 0x80 && isTokenByte(byte(r)) {
					return r
				}
				return -1
			}, s)
		}
	}
	return s
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
