package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// parseJWKS reads a JWK Set (RFC 7517 section 5) of somebody else. What it does
// not know it leaves out, as section 5 says; keys that are wrong it leaves out
// too, and refused says which and why. The error is that of a set which is none.
func parseJWKS(s string, accepted []Algorithm) (state *ringState, refused, err error) {
	state = &ringState{byID: make(map[string]*key)}
	var errs []error
	count, found := 0, false
	clashing := make(map[string]int) // keys of each ID
	err = object(s, []string{"keys"}, func(name string, v value) error {
		if name != "keys" {
			return nil
		}
		if v[0] != '[' {
			return errJSON
		}
		found = true
		r := reader{s: string(v)}
		return r.array(0, func(element value) error {
			if count++; count > maxRemoteKeys {
				return fmt.Errorf("the JWK Set has more than %d keys", maxRemoteKeys)
			}
			k, id, err := parseJWK(string(element), accepted)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("key %d, %.100q: %w", count-1, id, err))
			case k == nil:
				return nil
			default:
				state.keys = append(state.keys, k)
			}
			if id != "" {
				clashing[id]++
			}
			return nil
		})
	})
	if err == nil && !found {
		err = errors.New(`there is no "keys"`)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("not a JWK Set: %w", err)
	}
	// With two keys of one ID, which of them verifies would be a matter of
	// their order.
	state.keys = slices.DeleteFunc(state.keys, func(k *key) bool {
		twice := clashing[k.id] > 1
		if twice {
			errs = append(errs, fmt.Errorf("%d keys have the ID %.100q, want one", clashing[k.id], k.id))
		}
		return twice
	})
	for _, k := range state.keys {
		state.byID[k.id] = k
	}
	return state, errors.Join(errs...), nil
}

// jwkNames are the members of a JWK that mean something here.
var jwkNames = append([]string{"kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e"}, privateNames...)

// privateNames are those of private and secret keys: RFC 7518 sections 6.2.2,
// 6.3.2 and 6.4.1, RFC 8037 section 2.
var privateNames = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseJWK reads one key. It returns a nil key for one that is not meant for
// signatures with an accepted algorithm, and an error for one that is wrong.
func parseJWK(s string, accepted []Algorithm) (_ *key, id string, err error) {
	var kty, use, alg, crv, private string
	var x, y, n, e []byte
	verifies := true
	err = object(s, jwkNames, func(name string, v value) error {
		ok := true
		switch name {
		case "kty":
			kty, ok = v.text()
		case "use":
			use, ok = v.text()
		case "alg":
			alg, ok = v.text()
		case "kid":
			id, ok = v.text()
		case "crv":
			crv, ok = v.text()
		case "key_ops":
			var few [4]string
			var ops []string
			ops, ok = v.texts(few[:0])
			verifies = slices.Contains(ops, "verify")
		case "x":
			x, ok = v.octets()
		case "y":
			y, ok = v.octets()
		case "n":
			n, ok = v.octets()
		case "e":
			e, ok = v.octets()
		default:
			if slices.Contains(privateNames, name) {
				private = name
			}
		}
		if !ok {
			return fmt.Errorf("the value of %s is malformed", name)
		}
		return nil
	})
	switch {
	case private != "":
		// Whoever has read the set can sign with it (RFC 7517 section 9.2).
		return nil, id, fmt.Errorf("it is published with %q, so it is no secret any more", private)
	case err != nil:
		return nil, id, err
	case kty == "":
		return nil, id, errors.New(`there is no "kty"`)
	case use != "" && use != "sig" || !verifies:
		return nil, id, nil // RFC 7517 sections 4.2 and 4.3
	}
	fits := fitting(kty, crv, accepted)
	if alg != "" {
		fits = slices.DeleteFunc(fits, func(a Algorithm) bool { return a != Algorithm(alg) })
	}
	switch len(fits) {
	case 0:
		return nil, id, nil
	case 1:
	default:
		return nil, id, fmt.Errorf(`there is no "alg", and it fits %v; name one of them in RemoteConfig.Algorithms`, fits)
	}
	var public crypto.PublicKey
	switch kty {
	case "EC":
		curve := suites[fits[0]].curve
		// RFC 7518 section 6.2.1.2: the full size of a coordinate.
		if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
			return nil, id, fmt.Errorf("x and y have %d and %d bytes, want %d", len(x), len(y), size)
		}
		public, err = ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, id, errors.New("it is not a point of its curve")
		}
	case "RSA":
		// RFC 7518 section 2, Base64urlUInt: no zero in front.
		if len(n) == 0 || n[0] == 0 || len(e) == 0 || e[0] == 0 || len(e) > 4 {
			return nil, id, errors.New("n or e is missing, too large, or begins with a zero byte")
		}
		public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case "OKP":
		public = ed25519.PublicKey(bytes.Clone(x))
	}
	k, err := newKey(Key{Algorithm: fits[0], Public: public})
	if err != nil {
		return nil, id, err
	}
	if id != "" {
		k.id = id
	}
	return k, k.id, nil
}

// fitting returns those of the accepted algorithms that a key of that type and
// curve can be for (RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1), each once.
func fitting(kty, crv string, accepted []Algorithm) (fits []Algorithm) {
	for _, alg := range accepted {
		s, ok := suites[alg], false
		switch s.family {
		case familyRSA, familyPSS:
			ok = kty == "RSA"
		case familyECDSA:
			ok = kty == "EC" && crv == s.curve.Params().Name
		case familyEdDSA:
			ok = kty == "OKP" && crv == "Ed25519"
		}
		if ok && !slices.Contains(fits, alg) {
			fits = append(fits, alg)
		}
	}
	return fits
}

// octets returns the bytes of a base64url string, in its one spelling.
func (v value) octets() ([]byte, bool) {
	s, ok := v.text()
	if !ok {
		return nil, false
	}
	b, err := strictBase64.DecodeString(s)
	return b, err == nil
}
