package totp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Proof shows that the user is present, not only a session, which may be stolen. It
// prints no secret.
type Proof struct {
	kind   proofKind
	secret guard.Secret
}

type proofKind int

const (
	noProof proofKind = iota
	passwordProof
	codeProof
	grantProof
)

// Password returns a proof by the current password, for Config.VerifyPassword.
func Password(password string) Proof {
	return Proof{passwordProof, guard.NewSecret([]byte(password))}
}

// Code returns a proof that uses up a code or a recovery code of the active factor.
func Code(code string) Proof { return Proof{codeProof, guard.NewSecret([]byte(code))} }

// Grant returns a proof by a one-time grant, for Config.UseGrant.
func Grant(grant string) Proof { return Proof{grantProof, guard.NewSecret([]byte(grant))} }

// prove verifies a proof of p.
func (s *Service) prove(ctx context.Context, p *identity.Principal, user string, proof Proof, r *Record, now time.Time) (outcome, error) {
	given := string(proof.secret.Bytes())
	verify := s.config.VerifyPassword
	switch proof.kind {
	case codeProof:
		typed, ok := parseCode(given)
		if !ok || len(r.Active) == 0 {
			return outcome{wrong: ErrWrongCode}, nil
		}
		return s.compare(ctx, user, "", typed, r, now)
	case grantProof:
		verify = s.config.UseGrant
	}
	err := verify(guard.NestedChange(ctx), p, given)
	d, isDenial := err.(*guard.Denial) // not wrapped: see guard.CannotDecide
	switch {
	case err == nil:
		return outcome{}, nil
	case isDenial && d != nil && d.Status == http.StatusTooManyRequests:
		return outcome{}, err
	case errors.Is(err, identity.ErrNotProven):
		return outcome{wrong: notProven(err)}, nil
	}
	return outcome{}, guard.CannotDecide("totp: verifying a proof", err)
}

// accepts returns an error if the Config has no way to verify the proof.
func (s *Service) accepts(proof Proof) error {
	switch {
	case proof.kind == noProof:
		return ErrProofNeeded
	case proof.kind == passwordProof && s.config.VerifyPassword == nil:
		return fmt.Errorf("%w: Config.VerifyPassword is nil", ErrProofNeeded)
	case proof.kind == grantProof && s.config.UseGrant == nil:
		return fmt.Errorf("%w: Config.UseGrant is nil", ErrProofNeeded)
	}
	return nil
}

// errWrongProof wraps identity.ErrNotProven, and no error of a store matches it.
var errWrongProof = guard.NewReason("totp: wrong proof", identity.ErrNotProven)

func notProven(err error) error { return fmt.Errorf("%w: %v", errWrongProof, err) }
