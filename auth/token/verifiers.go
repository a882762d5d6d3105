package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Verifiers accepts the tokens of several issuers, each by its own [Verifier].
// It is a [guard.Authenticator], and safe for concurrent use.
//
// The key ID in a token's header chooses: the first verifier whose KeySource
// has a key of that ID decides alone, with that key and its own VerifierConfig. What
// the claims say chooses nothing, since anybody can write them. If two issuers
// have a key ID in common, tokens of the later one that bear it are refused, and
// never taken for the earlier one's; so name your own issuer first, and then
// those whose key IDs you trust to be their own.
type Verifiers struct {
	all []*Verifier

	// kids remembers the key ID in header strings that stood before a good
	// signature, so that a usual token's header is not read again.
	kids   atomic.Pointer[map[string]string]
	kidsMu sync.Mutex // to replace kids
}

// Any returns a verifier of the tokens that any of the verifiers accepts. It is
// an error if two of them have one KeySource, as the second would never be
// asked, or if they ask for tokens with different challenges.
func Any(verifiers ...*Verifier) (*Verifiers, error) {
	var errs []error
	if len(verifiers) == 0 {
		errs = append(errs, errors.New("token: Any needs at least one Verifier"))
	}
	for i, v := range verifiers {
		if v == nil || v.keys == nil {
			errs = append(errs, fmt.Errorf("token: Verifier %d is nil or zero, want one from NewVerifier", i))
			continue
		}
		for j, other := range verifiers[:i] {
			switch {
			case other == nil || other.keys == nil:
			case other.keys == v.keys:
				errs = append(errs, fmt.Errorf("token: Verifiers %d and %d have the same KeySource, and a token's key ID is to say which of them is asked", j, i))
			case other.Challenge().String() != v.Challenge().String():
				errs = append(errs, fmt.Errorf("token: Verifiers %d and %d differ in VerifierConfig.Realm or VerifierConfig.ResourceMetadata, and there is one challenge for both", j, i))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	v := &Verifiers{all: append([]*Verifier(nil), verifiers...)}
	v.kids.Store(new(map[string]string))
	return v, nil
}

// Verify returns whose token it is, as [Verifier.Verify] does. A key ID that no
// KeySource has is [ErrKey] if all of them are sure.
func (v *Verifiers) Verify(ctx context.Context, token string) (*identity.Principal, error) {
	return v.verify(ctx, token, nil)
}

// Authenticate is that of the [Verifier] whose token it is.
func (v *Verifiers) Authenticate(r *http.Request) (*identity.Principal, error) {
	return authenticate(v, r)
}

// Challenge asks for a bearer token.
func (v *Verifiers) Challenge() guard.Challenge { return v.all[0].Challenge() }

func (v *Verifiers) verify(ctx context.Context, token string, p *identity.Principal) (*identity.Principal, error) {
	header, _, ok := strings.Cut(token, ".")
	if !ok || len(header) > maxHeader {
		return nil, ErrMalformed
	}
	kid, seen := (*v.kids.Load())[header]
	if !seen {
		var err error
		if kid, err = keyID(header); err != nil {
			return nil, err
		}
	}
	chosen, err := v.choose(kid, time.Now())
	if err != nil {
		return nil, err
	}
	p, err = chosen.verify(ctx, token, p)
	if err == nil && !seen {
		v.remember(header, kid)
	}
	return p, err
}

// choose returns the verifier that has the key of that ID. If one of those that
// do not have it cannot be sure, the error is not a verdict.
func (v *Verifiers) choose(kid string, now time.Time) (*Verifier, error) {
	for _, one := range v.all {
		// A KeySource that has nothing to say now says so below.
		if state, err := one.keys.current(now); err == nil {
			if _, known := state.lookup(kid, "", now); known {
				return one, nil
			}
		}
	}
	var unsure []error
	for _, one := range v.all {
		if err := one.keys.unknown(kid, now); err != ErrKey {
			unsure = append(unsure, err)
		}
	}
	if unsure != nil {
		return nil, undecided{"finding the keys of the issuers", errors.Join(unsure...)}
	}
	return nil, ErrKey
}

// keyID returns the "kid" of an encoded header. Whether the header is good
// otherwise is for the verifier to say.
func keyID(header string) (kid string, err error) {
	raw, err := appendDecoded(nil, []byte(header))
	if err != nil {
		return "", ErrMalformed
	}
	err = object(string(raw), headerNames, func(name string, v value) error {
		ok := true
		if name == "kid" {
			kid, ok = v.text()
		}
		if !ok {
			return errJSON
		}
		return nil
	})
	switch {
	case err != nil:
		return "", ErrMalformed
	case kid == "":
		return "", ErrKey
	}
	return kid, nil
}

// remember keeps the key ID of a header, in a copy of the map that readers have.
func (v *Verifiers) remember(header, kid string) {
	v.kidsMu.Lock()
	defer v.kidsMu.Unlock()
	if old := *v.kids.Load(); len(old) < maxHeaders*len(v.all) {
		next := maps.Clone(old)
		if next == nil {
			next = make(map[string]string)
		}
		next[strings.Clone(header)] = kid
		v.kids.Store(&next)
	}
}
