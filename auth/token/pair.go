package token

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// CheckIssuer returns every reason why v would not accept the tokens of i, or not
// detect that revoker ends them. v needs a Leeway of at least twice
// [identity.MaxClockSkew].
func (v *Verifier) CheckIssuer(i *Issuer, revoker Revoker) error {
	var errs []error
	mistake := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("VerifierConfig."+format, args...))
	}
	if v.config.Issuer != i.config.Issuer {
		mistake("Issuer is %q and the token.Issuer is %q; use the same", v.config.Issuer, i.config.Issuer)
	}
	if v.plan.foreign {
		mistake("Foreign or Profile is set, so the scopes, roles and factors of the token.Issuer's tokens are ignored; leave both out")
	}
	if v.config.Audience != i.config.Audience {
		mistake("Audience is %q and the token.Issuer's is %q; use the same", v.config.Audience, i.config.Audience)
	}
	if v.config.Type != i.config.Type {
		mistake("Type is %q and the token.Issuer's is %q; use the same", v.config.Type, i.config.Type)
	}
	if v.config.MaxLifetime < i.config.Lifetime {
		mistake("MaxLifetime is %v, shorter than the %v that the token.Issuer gives its tokens", v.config.MaxLifetime, i.config.Lifetime)
	}
	if least := 2 * identity.MaxClockSkew; v.config.Leeway < least {
		mistake("Leeway is %v; use at least %v, twice identity.MaxClockSkew", v.config.Leeway, least)
	}
	if ring, ok := v.keys.(*Keyring); ok && ring != i.ring {
		errs = append(errs, errors.New("the Verifier has another Keyring than the token.Issuer; use the same"))
	}
	switch {
	case v.config.Revoker == nil:
		mistake("Revoker is nil, so logging out ends no access token; use the Revoker of the Server")
	case !same(v.config.Revoker, revoker):
		mistake("Revoker is another one than the Server's, so logging out ends no access token; use the same value")
	}
	return errors.Join(errs...)
}

// same reports whether two Revokers are one value, as far as that can be seen.
func same(a, b Revoker) bool {
	if t := reflect.TypeOf(a); t != reflect.TypeOf(b) {
		return false
	} else if !t.Comparable() {
		return true
	}
	return a == b
}

// MaxLifetime returns VerifierConfig.MaxLifetime.
func (v *Verifier) MaxLifetime() time.Duration { return v.config.MaxLifetime }

// UsesSecret reports whether secret is an HS key of the Issuer's ring.
func (i *Issuer) UsesSecret(secret []byte) bool {
	id := thumbprint(fmt.Sprintf(`{"k":%q,"kty":"oct"}`, encode(secret)))
	for _, k := range i.ring.load().keys {
		if k.newMAC != nil && k.material == id {
			return true
		}
	}
	return false
}
