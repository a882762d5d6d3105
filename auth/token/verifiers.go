package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// Verifiers accepts the tokens of several issuers. It is a [guard.Authenticator], and
// safe for concurrent use.
//
// The unverified claim "iss" only chooses one Verifier, which alone decides. Among
// Verifiers of one issuer, the type of the token chooses, or one claim for which each
// has a Condition in Profile.Require.
type Verifiers struct {
	all      []*Verifier
	byIssuer map[string]*verifierGroup
	anyOf    []*verifierGroup  // of issuers with InsecureAnyTenant
	noIssuer *verifierGroup    // of tokens without "iss"
	known    *strictjson.Names // of the claims that choose
}

// A verifierGroup is the Verifiers of one issuer. If there are several, either
// byType or claim chooses between them.
type verifierGroup struct {
	verifiers []*Verifier
	byType    bool
	claim     Path
	top       int
	rest      []*strictjson.Names
}

// NewVerifiers returns a Verifiers. Two Verifiers that one token could match, or with
// different challenges or headers, are a mistake.
func NewVerifiers(verifiers ...*Verifier) (*Verifiers, error) {
	var errs []error
	mistake := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("auth/token: "+format, args...))
	}
	if len(verifiers) == 0 {
		mistake("NewVerifiers has no Verifier; pass at least one")
	}
	v := &Verifiers{all: slices.Clone(verifiers), byIssuer: make(map[string]*verifierGroup)}
	var usable []*Verifier
	for i, one := range verifiers {
		if one == nil || one.keys == nil {
			mistake("Verifier %d is nil or zero; use NewVerifier", i)
			continue
		}
		for j, other := range usable {
			switch {
			case other == one:
				mistake("Verifier %d is Verifier %d once more", i, j)
			case other.config.Header != one.config.Header:
				mistake("Verifiers %d and %d differ in VerifierConfig.Header, %q and %q; use two authenticators", j, i, other.config.Header, one.config.Header)
			case other.Challenge().String() != one.Challenge().String():
				mistake("Verifiers %d and %d differ in VerifierConfig.Realm or VerifierConfig.ResourceMetadata, and there is one challenge for both", j, i)
			}
		}
		usable = append(usable, one)
		switch {
		case one.plan.noIssuer:
			if v.noIssuer != nil {
				mistake("Verifier %d is the second one with Profile.NoIssuer; pass at most one", i)
			}
			v.noIssuer = &verifierGroup{verifiers: []*Verifier{one}}
		case one.config.Profile.InsecureAnyTenant:
			v.anyOf = append(v.anyOf, &verifierGroup{verifiers: []*Verifier{one}})
		default:
			for iss := range one.plan.issuers {
				group := v.byIssuer[iss]
				if group == nil {
					group = new(verifierGroup)
					v.byIssuer[iss] = group
				}
				group.verifiers = append(group.verifiers, one)
			}
		}
	}
	names := []string{"iss"}
	for iss, group := range v.byIssuer {
		for _, pattern := range v.anyOf {
			if fillsTemplate(pattern.verifiers[0].config.Issuer, iss) {
				mistake("the issuer %q is accepted by a Verifier with Profile.InsecureAnyTenant too", iss)
			}
		}
		if len(group.verifiers) > 1 && !group.tellApart() {
			mistake("%d Verifiers accept the issuer %qand one token could match two; give each a Condition in Profile.Require for one claim, or a type, that differs from the others'", len(group.verifiers), iss)
		}
		if group.claim != nil {
			if group.top = slices.Index(names, group.claim[0]); group.top < 0 {
				group.top = len(names)
				names = append(names, group.claim[0])
			}
			for _, name := range group.claim[1:] {
				group.rest = append(group.rest, strictjson.NewNames(name))
			}
		}
	}
	for i, pattern := range v.anyOf {
		for _, other := range v.anyOf[:i] {
			if pattern.verifiers[0].config.Issuer == other.verifiers[0].config.Issuer {
				mistake("two Verifiers accept each tenant of the issuer %q", pattern.verifiers[0].config.Issuer)
			}
		}
	}
	if len(names) > strictjson.MaxNames {
		mistake("NewVerifiers would read %d claims to choose; use at most %d", len(names), strictjson.MaxNames)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	v.known = strictjson.NewNames(names...)
	return v, nil
}

// tellApart finds the types, or the claim, of which each Verifier of the group
// accepts other values. It reports whether it found any.
func (g *verifierGroup) tellApart() bool {
	types := func(v *Verifier) []string {
		var all []string
		for _, t := range v.config.Profile.Types {
			all = append(all, strings.ToLower(t))
		}
		if v.config.Profile.NoType {
			all = append(all, "")
		}
		return all
	}
	if g.disjoint(types) {
		g.byType = true
		return true
	}
	var candidates []Path
	for _, c := range g.verifiers[0].plan.require {
		candidates = append(candidates, c.path)
	}
	candidates = append(candidates, g.verifiers[0].plan.audience.path)
	for _, path := range candidates {
		if len(path) > 0 && g.disjoint(func(v *Verifier) []string { return v.valuesOf(path) }) {
			g.claim = path
			return true
		}
	}
	return false
}

// valuesOf returns the only values that v accepts of a claim, each with its type,
// nil if v accepts any value.
func (v *Verifier) valuesOf(path Path) []string {
	if slices.Equal(v.plan.audience.path, path) && path[0] != "aud" {
		return []string{fmt.Sprintf("string %s", v.config.Audience)}
	}
	for _, c := range v.plan.require {
		if slices.Equal(c.path, path) && len(c.Is) > 0 {
			all := make([]string, len(c.Is))
			for i, want := range c.Is {
				all[i] = typed(want)
			}
			return all
		}
	}
	return nil
}

// typed returns a text that is the same for equal values of one JSON type.
func typed(v any) string {
	if s, ok := v.(string); ok {
		return "string " + s
	}
	return fmt.Sprint(v)
}

// disjoint reports whether each Verifier has values, and no two Verifiers have a
// value in common.
func (g *verifierGroup) disjoint(values func(*Verifier) []string) bool {
	owner := make(map[string]*Verifier)
	for _, v := range g.verifiers {
		all := values(v)
		if len(all) == 0 {
			return false
		}
		for _, one := range all {
			if other := owner[one]; other != nil && other != v {
				return false
			}
			owner[one] = v
		}
	}
	return true
}

// Verify is [Verifier.Verify] for several issuers.
func (v *Verifiers) Verify(ctx context.Context, token string) (*identity.Principal, error) {
	return v.verify(ctx, token, nil)
}

// Authenticate is [Verifier.Authenticate] for several issuers.
func (v *Verifiers) Authenticate(r *http.Request) (*identity.Principal, error) {
	return authenticate(v, v.all[0], r)
}

// Challenge returns the challenge for a bearer token.
func (v *Verifiers) Challenge() guard.Challenge { return v.all[0].Challenge() }

func (v *Verifiers) verify(ctx context.Context, token string, p *identity.Principal) (*identity.Principal, error) {
	// A token in the cache of a Verifier was chosen for it before.
	now, hash := time.Now(), hashToken(token)
	for _, one := range v.all {
		if state, err := one.keys.current(now); err == nil {
			if hit := one.cache.find(hash, token, state, now); hit != nil {
				if p == nil {
					p = new(identity.Principal)
				}
				*p = hit.principal
				return one.notRevoked(ctx, p)
			}
		}
	}
	chosen, err := v.choose(token)
	if err != nil {
		return nil, err
	}
	return chosen.verify(ctx, token, p)
}

// choose returns the Verifier that decides on the token.
func (v *Verifiers) choose(token string) (*Verifier, error) {
	// The largest MaxSize; the chosen Verifier applies its own.
	widest := v.all[0]
	for _, one := range v.all[1:] {
		if one.config.MaxSize > widest.config.MaxSize {
			widest = one
		}
	}
	header, body, _, err := widest.parts(token)
	if err != nil {
		return nil, err
	}
	s := widest.scratch.Get().(*scratch)
	defer widest.scratch.Put(s)
	s.token = append(s.token[:0], body...)
	if s.part, err = appendEither(s.part[:0], s.token); err != nil {
		return nil, malformed("the part of the claims", "base64url")
	}
	var values [strictjson.MaxNames]value
	err = v.known.Object(string(s.part), func(i int, val value) error {
		values[i] = val
		return nil
	})
	if err != nil {
		return nil, asUnverified(malformed("the claims", "one JSON object in UTF-8 that has each name once"))
	}
	issuer, ok := text(values[0])
	if !ok && !absent(values[0]) && values[0] != "" {
		return nil, asUnverified(malformedClaim(Path{"iss"}, values[0], "a string without control characters"))
	}
	group := v.byIssuer[issuer]
	if issuer == "" {
		group = v.noIssuer
	} else if group == nil {
		for _, pattern := range v.anyOf {
			if fillsTemplate(pattern.verifiers[0].config.Issuer, issuer) {
				group = pattern
			}
		}
	}
	if group == nil {
		return nil, &rejection{reason: ErrIssuer, member: "iss", got: issuer, want: "the issuer of one of the Verifiers", unverified: true}
	}
	return group.choose(header, values[:])
}

// choose returns the Verifier of the group that decides on a token.
func (g *verifierGroup) choose(header string, values []value) (*Verifier, error) {
	switch {
	case len(g.verifiers) == 1:
		return g.verifiers[0], nil
	case g.byType:
		typ, err := typeOf(header)
		if err != nil {
			return nil, err
		}
		for _, v := range g.verifiers {
			if v.acceptsType(typ) {
				return v, nil
			}
		}
		return nil, &rejection{reason: ErrType, member: "typ", got: typ, want: "a type of one of the Verifiers", unverified: true}
	}
	c := claims{}
	copy(c.values[:], values)
	got, err := c.at(ref{top: g.top, rest: g.rest, path: g.claim})
	if err != nil {
		return nil, asUnverified(err)
	}
	spelled := string(got)
	if s, ok := text(got); ok {
		spelled = "string " + s
	}
	for _, v := range g.verifiers {
		if slices.Contains(v.valuesOf(g.claim), spelled) {
			return v, nil
		}
	}
	return nil, &rejection{reason: ErrClaim, member: g.claim.String(), got: string(got), want: "a value of one of the Verifiers", gotIsQuoted: true, unverified: true}
}

// typeOf returns the "typ" of an encoded header. Whether the header is valid
// otherwise is for the Verifier to decide.
func typeOf(header string) (typ string, err error) {
	raw, err := appendEither(nil, []byte(header))
	if err != nil {
		return "", malformed("the header", "base64url")
	}
	err = headerMembers.Object(string(raw), func(i int, v value) error {
		if ok := true; i == headerTyp && !absent(v) {
			if typ, ok = text(v); !ok {
				return strictjson.ErrSyntax
			}
		}
		return nil
	})
	if err != nil {
		return "", asUnverified(malformed("the header", "one JSON object in UTF-8 that has each name once"))
	}
	return typ, nil
}

// appendEither decodes base64url without padding, or with.
func appendEither(dst, src []byte) ([]byte, error) {
	if len(src) > 0 && src[len(src)-1] == '=' {
		return appendBase64(dst, src, paddedBase64)
	}
	return appendBase64(dst, src, strictBase64)
}
