package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// readyLifetime is how long the token that Ready makes is valid.
const readyLifetime = 5 * time.Second

// Ready returns nil if the Server can sign access tokens and Config.Verifier
// accepts them. It signs and verifies one token of a subject without rights, for
// which a key management system may charge. The error names the failed step. Call
// Ready before the first request, and for readiness. It does not read the stores.
func (s *Server) Ready(ctx context.Context) error {
	now := time.Now()
	p := &identity.Principal{Subject: "gatewright.ready", IssuedAt: now, Expires: now.Add(min(readyLifetime, s.tokens.Lifetime()))}
	signed, err := s.tokens.Issue(ctx, p, nil)
	if err != nil {
		return fmt.Errorf("auth: Ready: signing a token: %w", err)
	}
	if s.config.Verifier == nil {
		return nil
	}
	if _, err := s.config.Verifier.Verify(ctx, signed); err != nil {
		return fmt.Errorf("auth: Ready: Config.Verifier rejects a token that was just signed: %w", err)
	}
	return nil
}
