package totp

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// factor is the method of RFC 8176 section 2 that a code proves, and a recovery
// code too, which is a password for one time as well.
const factor = "otp"

// Handler returns the middleware that lets callers through who have proven a
// second factor: those with "otp" among their Principal's Factors. An anonymous
// request is refused with 401, a caller without it with 401
// insufficient_user_authentication (RFC 9470), which asks the client to step up.
// It asks only whether a code was ever given in this session; for how long ago,
// use scopes.Fresh.
func (s *Service) Handler(next http.Handler) http.Handler {
	return s.config.Hooks.Require(func(r *http.Request) error {
		return s.Check(r.Context())
	}, guard.Requirement{Kind: guard.KindFactor, Values: []string{factor}})(next)
}

// Check decides whether the caller whom ctx carries has proven a second factor:
// what [Service.Handler] does, for a gRPC interceptor or a WebSocket. The error
// is a [*guard.Denial].
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
