package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A KeySet has the keys of a JWK Set from a file. It is safe for concurrent use.
type KeySet struct {
	state      *ringState
	algorithms []Algorithm
}

// ParseKeySet returns the keys of a JWK Set (RFC 7517 section 5) for the algorithms,
// which may not be HS. It leaves out keys for other algorithms and uses, and returns
// an error if no key remains, or if a key is malformed or private.
func ParseKeySet(jwks []byte, algorithms ...Algorithm) (*KeySet, error) {
	if err := checkPublicAlgorithms("auth/token: ParseKeySet: Algorithms", algorithms); err != nil {
		return nil, err
	}
	state, refused, err := parseJWKS(string(jwks), algorithms, []string{"sig"})
	if err == nil {
		err = refused
	}
	if err == nil && len(state.keys) == 0 {
		err = fmt.Errorf("no key of the JWK Set can be used with %v", algorithms)
	}
	if err != nil {
		return nil, fmt.Errorf("auth/token: ParseKeySet: %w", err)
	}
	return &KeySet{state, slices.Clone(algorithms)}, nil
}

// checkPublicAlgorithms checks algorithms whose keys are published. Each mistake
// begins with where.
func checkPublicAlgorithms(where string, algorithms []Algorithm) error {
	var errs []error
	if len(algorithms) == 0 {
		errs = append(errs, fmt.Errorf("%s is empty; list the algorithms of the issuer, for example ES256", where))
	}
	for _, alg := range algorithms {
		switch s, ok := suites[alg]; {
		case !ok:
			errs = append(errs, fmt.Errorf("%s has %q; use RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA or Ed25519", where, string(alg)))
		case s.family == familyHMAC:
			errs = append(errs, fmt.Errorf("%s has %s, whose key would be published; use an algorithm with a public key", where, alg))
		}
	}
	return errors.Join(errs...)
}

func (s *KeySet) made() bool { return s != nil && s.state != nil }

func (s *KeySet) current(time.Time) (*ringState, error) { return s.state, nil }

func (s *KeySet) unknown(string, *ringState, time.Time) error { return ErrKey }

func (s *KeySet) fetches() bool { return false }

func (s *KeySet) accepts(alg Algorithm) bool { return slices.ContainsFunc(s.algorithms, alg.same) }

// String returns the algorithms and IDs of the keys.
func (s *KeySet) String() string {
	if !s.made() {
		return "token.KeySet()"
	}
	var names []string
	for _, k := range s.state.keys {
		names = append(names, string(k.alg)+" "+k.id)
	}
	return "token.KeySet(" + strings.Join(names, ", ") + ")"
}

// VerifySignature checks size, envelope, header and signature of a token and returns
// its claims, with errors as of Verifier.Verify. The caller must check type, issuer,
// audience and expiry; otherwise an attacker can use any token of the issuer.
func VerifySignature(keys KeySource, token string) (claims []byte, err error) {
	if keys == nil || !keys.made() {
		return nil, errors.New("auth/token: VerifySignature: the KeySource is nil or zero; use NewKeyring, NewRemote or ParseKeySet")
	}
	return signatureVerifier(keys).verifySignature(token)
}
