package auth

import (
	"context"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// EitherFactor returns a SecondFactor of passkeys and one-time codes, for example
// of a *passkey.RelyingParty and a *totp.Service. A code that begins with "{" is
// verified by passkeys. A second factor is required if either requires one.
func EitherFactor(passkeys, codes SecondFactor) SecondFactor { return eitherFactor{passkeys, codes} }

type eitherFactor struct{ passkeys, codes SecondFactor }

// Required implements [SecondFactor].
func (f eitherFactor) Required(ctx context.Context, subject string) (bool, error) {
	required, err := f.passkeys.Required(ctx, subject)
	if err != nil || required {
		return required, err
	}
	return f.codes.Required(ctx, subject)
}

// VerifyFactor implements [SecondFactor].
func (f eitherFactor) VerifyFactor(ctx context.Context, p *identity.Principal, code string) (method string, err error) {
	if strings.HasPrefix(code, "{") {
		return f.passkeys.VerifyFactor(ctx, p, code)
	}
	return f.codes.VerifyFactor(ctx, p, code)
}
