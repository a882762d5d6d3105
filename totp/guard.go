package totp

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// factor is the authentication method (RFC 8176 section 2) of a code. A recovery code
// is a one-time password too.
const factor = "otp"

// Handler returns the middleware that requires a second factor: "otp" among the
// Factors of the Principal. An anonymous request is refused with 401, a caller
// without the factor with 401 insufficient_user_authentication (RFC 9470). For a
// recent factor, see scopes.Middleware.Fresh.
func (s *Service) Handler(next http.Handler) http.Handler {
	return s.config.Hooks.Require(func(r *http.Request) error {
		return s.Check(r.Context())
	}, guard.Requirement{Kind: guard.KindFactor, Values: []string{factor}})(next)
}

// Check returns the [*guard.Denial] with which [Service.Handler] would refuse the
// caller that ctx carries, or nil.
func (s *Service) Check(ctx context.Context) error {
	p, err := guard.CallerFrom(ctx)
	if err != nil {
		return err
	}
	if !p.Factors.Has(factor) {
		return guard.StepUp(guard.Challenge{
			ErrorDescription: "A second factor is required",
			ACRValues:        s.config.ACRValues,
		}, errors.New("totp: the caller has not proven a second factor"))
	}
	return nil
}
