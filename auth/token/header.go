package token

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/strictjson"
)

// maxHeader is the length of the longest header that is read, encoded. Reading it is
// the only work besides one verification that a client without a key can cause. A
// header with a thumbprint has some 130 bytes.
const maxHeader = 1024

// maxHeaders bounds Verifier.headers. Further headers are read each time.
const maxHeaders = 64

// A decision is the result of reading the header of a token.
type decision struct {
	key     *key
	generic bool // a type that tokens for other purposes have too

	// With Profile.AudienceHeader and ClientHeader: values of the header.
	audience, client, issuer string
	expires                  time.Time
}

// headers are the decisions on headers of tokens with a valid signature under the
// keys of one state. Issuers write few different headers, and clients without a key
// add none.
type headers struct {
	state     *ringState
	decisions map[string]*decision
}

// headerMembers are the members of a header that this package reads.
var headerMembers = strictjson.NewNames("alg", "typ", "kid", "crit", "b64", "zip", "enc", "cty", "jku", "jwk", "x5u", "x5c")

// keyHeaders are the members that carry a key or lead to one.
var keyHeaders = []string{"jku", "jwk", "x5u", "x5c"}

const (
	headerAlg = iota
	headerTyp
	headerKid
	headerCrit
	headerB64
	headerZip
	headerEnc
	headerCty
)

// A header is what this package reads from the header of a token.
type header struct {
	alg      Algorithm
	typ, kid string
	decision // without a key
}

// readHeader decodes and reads a header.
func (v *Verifier) readHeader(encoded []byte) (*header, error) {
	raw, err := v.appendDecoded(nil, encoded)
	if err != nil {
		return nil, malformed("the header", v.base64Name())
	}
	h := new(header)
	err = v.headerNames.Object(string(raw), func(i int, val value) error {
		name := v.headerNames.All()[i]
		want, ok := "a string", true
		switch {
		case i == headerAlg:
			var alg string
			alg, ok = text(val)
			h.alg = Algorithm(alg)
		case i == headerTyp:
			h.typ, ok = text(val)
		case i == headerKid:
			h.kid, ok = text(val)
		case name == v.config.Profile.AudienceHeader:
			h.audience, ok = text(val)
		case name == v.config.Profile.ClientHeader:
			h.client, ok = text(val)
		case i >= len(headerMembers.All()) && name == "iss":
			h.issuer, ok = text(val)
		case i >= len(headerMembers.All()) && name == "exp":
			want = "seconds since 1970"
			h.expires, ok = readDate(val)
		case i <= headerCty:
			// Extensions that must be understood are not (RFC 7515 section
			// 4.1.11, RFC 7797 section 7); compression, encryption and
			// nesting (RFC 7519 section 5.2) make it something other than
			// a signed claims set.
			want, ok = "no such member", false
		case !slices.Contains(v.config.Profile.IgnoreHeaders, name):
			// Keys that the token brings along prove nothing.
			want, ok = "no such member", false
		}
		if !ok {
			return &rejection{reason: ErrMalformed, member: "the header member " + name, got: string(val), want: want, gotIsQuoted: true}
		}
		return nil
	})
	switch {
	case err == strictjson.ErrSyntax, err == strictjson.ErrDuplicate:
		return nil, malformed("the header", "one JSON object in UTF-8 that has each name once")
	case err != nil:
		return nil, err
	}
	h.generic = !isType(h.typ, TypeAccess) && (v.plan.foreign || !strings.Contains(h.typ, "+"))
	return h, nil
}

// decide returns the key of the state that a header names. If no key has its ID,
// the decision has no key and no error.
func (v *Verifier) decide(h *header, state *ringState, now time.Time) (*decision, error) {
	d := h.decision
	switch {
	case h.kid == "" && !v.config.Profile.NoKeyID:
		return nil, &rejection{reason: ErrKey, member: "kid", want: "one of " + state.names(now)}
	case h.kid == "":
		if d.key = state.only(h.alg, now); d.key == nil {
			return nil, &rejection{reason: ErrKey, member: "kid", want: "one of " + state.names(now) + ", because not exactly one key is for " + quote(string(h.alg))}
		}
	default:
		var known bool
		if d.key, known = state.lookup(h.kid, h.alg, now); d.key == nil && known {
			return nil, &rejection{reason: ErrAlgorithm, member: "alg", got: string(h.alg), want: fmt.Sprintf("%v for the key %s", state.algorithms(h.kid, now), quote(h.kid))}
		}
		if d.key == nil {
			return &d, nil
		}
	}
	if err := v.checkType(h.typ); err != nil {
		return nil, err
	}
	return &d, nil
}

func (v *Verifier) checkType(typ string) error {
	if v.anyType || v.acceptsType(typ) {
		return nil
	}
	return &rejection{reason: ErrType, member: "typ", got: typ, want: v.wantTypes()}
}

// names lists the IDs of the keys that verify at now, for logs.
func (s *ringState) names(now time.Time) string {
	var names []string
	for _, k := range s.keys {
		if len(names) == 8 {
			names = append(names, "…")
			break
		}
		if k.published(now) {
			names = append(names, quote(k.id))
		}
	}
	return "[" + strings.Join(names, " ") + "]"
}

// algorithms lists the algorithms of the keys with that ID, for logs.
func (s *ringState) algorithms(id string, now time.Time) (algs []Algorithm) {
	for _, k := range s.byID[id] {
		if k.published(now) {
			algs = append(algs, k.alg)
		}
	}
	return algs
}

// only returns the key for that algorithm if there is exactly one.
func (s *ringState) only(alg Algorithm, now time.Time) (only *key) {
	for _, k := range s.keys {
		if k.alg.same(alg) && k.published(now) {
			if only != nil {
				return nil
			}
			only = k
		}
	}
	return only
}

// acceptsType reports whether a token may have that typ, "" if it has none.
func (v *Verifier) acceptsType(typ string) bool {
	if typ == "" {
		return v.config.Profile.NoType
	}
	return slices.ContainsFunc(v.config.Profile.Types, func(want string) bool { return isType(typ, want) })
}

func (v *Verifier) wantTypes() string {
	types := make([]string, len(v.config.Profile.Types))
	for i, t := range v.config.Profile.Types {
		types[i] = quote(t)
	}
	if v.config.Profile.NoType {
		types = append(types, "none")
	}
	return strings.Join(types, " or ")
}

// isType reports whether typ is a media type: with or without "application/", in any
// case (RFC 7515 section 4.1.9).
func isType(typ, want string) bool {
	const prefix = "application/"
	if n := len(typ) - len(want); n == len(prefix) && strings.EqualFold(typ[:n], prefix) {
		typ = typ[n:]
	}
	// Of one length: letters beyond ASCII that fold to ASCII are longer.
	return len(typ) == len(want) && strings.EqualFold(typ, want)
}

// strictBase64 rejects padding and bits that no encoder sets (RFC 4648 section
// 3.5). paddedBase64 rejects what has no padding.
var (
	strictBase64 = base64.RawURLEncoding.Strict()
	paddedBase64 = base64.URLEncoding.Strict()
)

func (v *Verifier) appendDecoded(dst, src []byte) ([]byte, error) {
	if v.config.Profile.PaddedBase64 {
		return appendBase64(dst, src, paddedBase64)
	}
	return appendBase64(dst, src, strictBase64)
}

func appendBase64(dst, src []byte, encoding *base64.Encoding) ([]byte, error) {
	n := encoding.DecodedLen(len(src))
	dst = append(dst, make([]byte, n)...)
	m, err := encoding.Decode(dst[len(dst)-n:], src)
	return dst[:len(dst)-n+m], err
}

func (v *Verifier) base64Name() string {
	if v.config.Profile.PaddedBase64 {
		return "base64url with padding"
	}
	return "base64url without padding, in its canonical spelling"
}
