package totp

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// factor is the authentication method of codes and recovery codes (RFC 8176 section 2).
const factor = "otp"

// Handler requires "otp" among the Factors of the Principal, proven at any time; see
// scopes.Middleware.Fresh. It refuses anonymous requests with 401, and callers without
// "otp" with 401 insufficient_user_authentication (RFC 9470).
func (s *Service) Handler(next http.Handler) http.Handler {
	return s.config.Hooks.Require(func(r *http.Request) error {
		return s.Check(r.Context())
	}, guard.Requirement{Kind: guard.KindFactor, Values: []string{factor}})(next)
}

// Check is [Service.Handler] without HTTP: it returns the [*guard.Denial] for the
// caller in ctx, or nil.
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
