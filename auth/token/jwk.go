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
	"strings"

	"github.com/gatewright/gatewright/internal/strictjson"
)

// parseJWKS reads the JWK Set (RFC 7517 section 5) of another issuer. It leaves out
// unknown and invalid entries; refused names each invalid entry with the reason.
// Invalid entries affect no others, except that a key with a published private half
// is rejected in all entries, and two different keys with one ID and algorithm are
// both rejected.
func parseJWKS(s string, accepted []Algorithm, uses []string) (state *ringState, refused, err error) {
	var errs []error
	var found []*key
	published := make(map[string]bool) // material of private keys in the set
	count, isSet := 0, false
	err = setMembers.Object(s, func(_ int, v value) error {
		if v[0] != '[' {
			return strictjson.ErrSyntax
		}
		isSet = true
		return v.Array(func(element value) error {
			if count++; count > maxRemoteKeys {
				return fmt.Errorf("the JWK Set has more than %d keys", maxRemoteKeys)
			}
			k, id, err := parseJWK(string(element), accepted, uses)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("key %d, %.100q: %w", count-1, id, err))
				if k != nil {
					published[k.material] = true
				}
			case k != nil:
				found = append(found, k)
			}
			return nil
		})
	})
	if err == nil && !isSet {
		err = errors.New(`there is no "keys"`)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("not a JWK Set: %w", err)
	}
	state = &ringState{byID: make(map[string][]*key)}
	for i, k := range found {
		twin := func(other *key) bool { return other.id == k.id && other.alg.same(k.alg) }
		switch {
		case published[k.material]:
			errs = append(errs, fmt.Errorf("the key %.100q is in the set with its private half too", k.id))
		case slices.ContainsFunc(found, func(other *key) bool { return twin(other) && other.material != k.material }):
			errs = append(errs, fmt.Errorf("two different keys have the ID %.100q and the algorithm %s; publish one of them", k.id, k.alg))
		case slices.ContainsFunc(found[:i], twin): // the same key once more
		default:
			state.add(k)
		}
	}
	return state, errors.Join(errs...), nil
}

// setMembers and jwkMembers are the members of a JWK Set and a JWK that are read.
var (
	setMembers = strictjson.NewNames("keys")
	jwkMembers = strictjson.NewNames(append([]string{"kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "issuer"}, privateNames...)...)
)

// privateNames are the members of private and secret keys: RFC 7518 sections
// 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2.
var privateNames = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseJWK reads one key. It returns a nil key if the key is not for signatures with
// an accepted algorithm, and an error if it is invalid. A key beside an error has a
// published private half. An optional member that is null or empty is absent, because
// some libraries write all members that they have.
func parseJWK(s string, accepted []Algorithm, uses []string) (k *key, id string, err error) {
	var kty, use, alg, crv, issuer, private string
	var x, y, n, e []byte
	verifies := true
	err = jwkMembers.Object(s, func(i int, v value) error {
		name, ok := jwkMembers.All()[i], true
		if absent(v) {
			return nil
		}
		switch name {
		case "kty":
			kty, ok = text(v)
		case "use":
			use, ok = text(v)
		case "alg":
			alg, ok = text(v)
		case "kid":
			id, ok = text(v)
		case "crv":
			crv, ok = text(v)
		case "issuer": // of Microsoft; elsewhere it may be anything
			issuer, _ = text(v)
		case "key_ops":
			var few [4]string
			var ops []string
			ops, ok = texts(v, few[:0])
			verifies = slices.Contains(ops, "verify")
		case "x":
			x, ok = octets(v)
		case "y":
			y, ok = octets(v)
		case "n":
			n, ok = octets(v)
		case "e":
			e, ok = octets(v)
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
	if private != "" {
		// Every reader of the set can sign with it (RFC 7517 section 9.2).
		leaked := fmt.Errorf("it is published with %q, so it is not secret", private)
		if err == nil {
			k, _ = publicJWK(kty, crv, x, y, n, e, fitting(kty, crv, allAlgorithms))
		}
		return k, id, leaked
	}
	switch {
	case err != nil:
		return nil, id, err
	case kty == "":
		return nil, id, errors.New(`there is no "kty"`)
	case use != "" && !slices.Contains(uses, use) || !verifies:
		return nil, id, nil // RFC 7517 sections 4.2 and 4.3
	}
	fits := fitting(kty, crv, accepted)
	if alg != "" {
		fits = slices.DeleteFunc(fits, func(a Algorithm) bool { return !a.same(Algorithm(alg)) })
	}
	switch len(fits) {
	case 0:
		return nil, id, nil
	case 1:
	default:
		return nil, id, fmt.Errorf(`there is no "alg", and it fits %v; name one of them in RemoteConfig.Algorithms`, fits)
	}
	if k, err = publicJWK(kty, crv, x, y, n, e, fits); err != nil {
		return nil, id, err
	}
	if id != "" {
		k.id = id
	}
	k.issuer = issuer
	return k, k.id, nil
}

// publicJWK returns the key of a type with the given members, for the first of
// the algorithms that fit it.
func publicJWK(kty, crv string, x, y, n, e []byte, fits []Algorithm) (*key, error) {
	if len(fits) == 0 {
		return nil, fmt.Errorf("no algorithm is for keys of type %.20q and curve %.20q", kty, crv)
	}
	var public crypto.PublicKey
	switch kty {
	case "EC":
		curve := suites[fits[0]].curve
		// RFC 7518 section 6.2.1.2: the full size of a coordinate.
		if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
			return nil, fmt.Errorf("x and y have %d and %d bytes instead of %d", len(x), len(y), size)
		}
		var err error
		public, err = ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, errors.New("it is not a point of its curve")
		}
	case "RSA":
		// RFC 7518 section 2, Base64urlUInt: no zero in front.
		if len(n) == 0 || n[0] == 0 || len(e) == 0 || e[0] == 0 || len(e) > 4 {
			return nil, errors.New("n or e is missing, too large, or begins with a zero byte")
		}
		public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case "OKP":
		public = ed25519.PublicKey(bytes.Clone(x))
	}
	k, err := newKey(Key{Algorithm: fits[0], Public: public})
	if err != nil {
		return nil, err
	}
	k.maxS = nil // other issuers sign with either s
	return k, nil
}

// fitting returns the accepted algorithms that a key of that type and curve can
// be for (RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1), each once.
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
		if ok && !slices.ContainsFunc(fits, alg.same) {
			fits = append(fits, alg)
		}
	}
	return fits
}

// allAlgorithms are the algorithms with a public key.
var allAlgorithms = []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA}

// absent reports whether v is null, an empty string, or an empty array or object.
func absent(v value) bool {
	switch v {
	case "null", `""`, "[]", "{}":
		return true
	}
	return len(v) > 2 && (v[0] == '[' || v[0] == '{') && strings.Trim(string(v[1:len(v)-1]), " \t\r\n") == ""
}

// octets returns the bytes of a base64url string, in its one spelling.
func octets(v value) ([]byte, bool) {
	s, ok := text(v)
	if !ok {
		return nil, false
	}
	b, err := strictBase64.DecodeString(s)
	return b, err == nil
}
