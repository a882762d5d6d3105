package totp

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// factor is the method of RFC 8176 section 2 that a code proves, and a recovery
// code too, which is a password for one time as well.
const factor = "otp"

// codeInsufficient is the error code of RFC 9470 section 3.
const codeInsufficient = "insufficient_user_authentication"

// Handler returns the middleware that lets callers through who have proven a
// second factor: those with "otp" among their Principal's Factors. Nobody is
// 401; somebody without it is 401 insufficient_user_authentication (RFC 9470),
// which asks the client to step up.
func (s *Service) Handler(next http.Handler) http.Handler {
	return s.config.Hooks.Require(func(r *http.Request) error {
		return s.Check(r.Context())
	}, guard.Requirement{Kind: guard.KindFactor, Values: []string{factor}})(next)
}

// Check decides whether the caller whom ctx carries has proven a second factor:
// what [Service.Handler] does, for a gRPC interceptor or a WebSocket. The error
// is a [*guard.Denial].
func (s *Service) Check(ctx context.Context) error {
	p, ok := identity.FromContext(ctx)
	switch {
	case !ok:
		return guard.Unauthenticated()
	case !p.Factors.Has(factor):
		return s.stepUp(guard.Challenge{
			ErrorDescription: "A second factor is required",
			ACRValues:        slices.Clone(s.config.ACRValues),
		}, errors.New("totp: the caller has not proven a second factor"))
	}
	return nil
}

// stepUp returns the refusal that asks for a stronger or later sign-in.
func (s *Service) stepUp(c guard.Challenge, reason error) error {
	c.Scheme, c.Error = "Bearer", codeInsufficient
	return &guard.Denial{
		Status:     http.StatusUnauthorized,
		Code:       codeInsufficient,
		Detail:     c.ErrorDescription + ".",
		Challenges: []guard.Challenge{c},
		Event:      guard.EventAuthzFail,
		Err:        reason,
	}
}
