package token

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// A Verifier verifies the tokens of one issuer. It is a [guard.Authenticator] for
// bearer tokens, and safe for concurrent use.
type Verifier struct {
	config      VerifierConfig
	plan        *plan
	headerNames *strictjson.Names
	keys        KeySource
	cache       *cache
	scratch     sync.Pool // of *scratch
	anyType     bool      // of VerifySignature
	headers     atomic.Pointer[headers]
	headersMu   sync.Mutex // to replace headers
}

type scratch struct{ token, part, signature []byte }

// NewVerifier returns a Verifier of tokens that are signed with keys of a [*Keyring],
// a [*Remote] or a [*KeySet].
func NewVerifier(keys KeySource, config VerifierConfig) (*Verifier, error) {
	config, plan, err := config.withDefaults(keys)
	if err != nil {
		return nil, err
	}
	v := &Verifier{config: config, plan: plan, keys: keys, cache: newCache(config.CacheSize), headerNames: headerMembers}
	if f := config.Profile; f.AudienceHeader != "" || f.ClientHeader != "" {
		names := append([]string(nil), headerMembers.All()...)
		for _, name := range []string{f.AudienceHeader, f.ClientHeader, "iss", "exp"} {
			if name != "" {
				names = append(names, name)
			}
		}
		v.headerNames = strictjson.NewNames(names...)
	}
	v.headers.Store(new(headers))
	v.scratch.New = func() any {
		return &scratch{
			token:     make([]byte, 0, config.MaxSize),
			part:      make([]byte, 0, config.MaxSize),
			signature: make([]byte, 0, config.MaxSize),
		}
	}
	return v, nil
}

// Verify returns the Principal of a token. The error wraps [ErrInvalid] if the token
// is invalid; other errors are of the Revoker or the KeySource. With an unknown key,
// unverified claims are read, but only to reject the token.
func (v *Verifier) Verify(ctx context.Context, token string) (*identity.Principal, error) {
	return v.verify(ctx, token, nil)
}

// CacheUse returns how many valid tokens the cache had and had not, for metrics.
func (v *Verifier) CacheUse() (hits, misses uint64) {
	if v.cache == nil {
		return 0, 0
	}
	return v.cache.use.Counts()
}

// verify is Verify into p, or into a new Principal if p is nil.
func (v *Verifier) verify(ctx context.Context, token string, p *identity.Principal) (*identity.Principal, error) {
	now := time.Now()
	state, err := v.keys.current(now)
	if err != nil {
		if verdict := v.rejectUnverified(token, now); verdict != nil {
			return nil, verdict
		}
		return nil, guard.CannotDecide("auth/token: finding the keys of "+quote(v.config.Issuer), err)
	}
	if hit := v.cache.get(token, state, now); hit != nil {
		if p == nil {
			p = new(identity.Principal)
		}
		*p = hit.principal
		return v.notRevoked(ctx, p)
	}
	payload, d, err := v.open(token, state, now)
	if err != nil {
		return nil, err
	}
	if p == nil {
		p = new(identity.Principal)
	}
	from, err := v.judge(token, payload, d, now, p)
	if err != nil {
		return nil, err
	}
	v.cache.put(token, state, d.key, from, now, p)
	return v.notRevoked(ctx, p)
}

// notRevoked returns p unless the Revoker reports p's credential as revoked.
func (v *Verifier) notRevoked(ctx context.Context, p *identity.Principal) (*identity.Principal, error) {
	if v.config.Revoker == nil {
		return p, nil
	}
	revoked, err := v.config.Revoker.Revoked(ctx, p)
	if err != nil {
		return nil, guard.CannotDecide("auth/token: checking whether a token is revoked", err)
	}
	if revoked {
		return nil, &revocation{p.Credential, p.Session, p.Subject}
	}
	return p, nil
}

// parts returns the three parts of a token.
func (v *Verifier) parts(token string) (header, body, signature string, err error) {
	if len(token) > v.config.MaxSize {
		return "", "", "", &rejection{reason: ErrMalformed, member: "the length of the token in bytes", n: len(token), most: v.config.MaxSize}
	}
	header, rest, ok := strings.Cut(token, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	// A further dot is rejected later, since it is not in the alphabet. So is
	// an empty signature, as no algorithm makes one.
	if !ok || !ok2 || header == "" || body == "" || signature == "" {
		return "", "", "", malformed("the token", "three parts with a dot between them")
	}
	if len(header) > maxHeader {
		return "", "", "", &rejection{reason: ErrMalformed, member: "the length of the header in bytes", n: len(header), most: maxHeader}
	}
	// The decoder skips line breaks, whatever its mode; all else that is
	// foreign it rejects.
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return "", "", "", malformed("the token", "no line breaks")
	}
	return header, body, signature, nil
}

// open checks a token except for its claims. It returns the payload and the
// decision on the header.
func (v *Verifier) open(token string, state *ringState, now time.Time) (payload string, _ *decision, err error) {
	header, body, signature, err := v.parts(token)
	if err != nil {
		return "", nil, err
	}
	s := v.scratch.Get().(*scratch)
	defer v.scratch.Put(s)
	s.token = append(s.token[:0], token...)
	if s.signature, err = v.appendDecoded(s.signature[:0], s.token[len(token)-len(signature):]); err != nil {
		return "", nil, malformed("the signature", v.base64Name())
	}
	input := len(header) + 1 + len(body)
	if s.part, err = v.appendDecoded(s.part[:0], s.token[len(header)+1:input]); err != nil {
		return "", nil, malformed("the part of the claims", v.base64Name())
	}
	known := v.headers.Load()
	var d *decision
	if known.state == state {
		d = known.decisions[header]
	}
	seen := d != nil && d.key.published(now)
	if !seen {
		h, err := v.readHeader(s.token[:len(header)])
		if err != nil {
			return "", nil, err
		}
		if d, err = v.decide(h, state, now); err != nil {
			return "", nil, err
		}
		if d.key == nil {
			err := v.unknownKey(h.kid, token, state, now)
			if err != errKeysChanged {
				return "", nil, err
			}
			if state, err = v.keys.current(now); err != nil {
				return "", nil, guard.CannotDecide("auth/token: finding the keys of "+quote(v.config.Issuer), err)
			}
			return v.open(token, state, now)
		}
	}
	if !d.key.verify(token[:input], s.token[:input], s.signature) {
		return "", nil, &rejection{reason: ErrSignature, member: "the signature", key: d.key}
	}
	if !seen {
		v.remember(header, state, d)
	}
	return string(s.part), d, nil
}

// signatureVerifier returns a Verifier for VerifySignature.
func signatureVerifier(keys KeySource) *Verifier {
	v := &Verifier{config: VerifierConfig{MaxSize: 64 << 10}, plan: ownPlan, keys: keys, headerNames: headerMembers, anyType: true}
	v.headers.Store(new(headers))
	v.scratch.New = func() any { return new(scratch) }
	return v
}

func (v *Verifier) verifySignature(token string) ([]byte, error) {
	now := time.Now()
	state, err := v.keys.current(now)
	if err != nil {
		return nil, guard.CannotDecide("auth/token: finding the keys", err)
	}
	payload, _, err := v.open(token, state, now)
	if err != nil {
		return nil, err
	}
	return []byte(payload), nil
}

// unknownKey returns the error for a token with an unknown key: a rejection if no key
// would make the token valid or the KeySource certainly lacks the key, errKeysChanged
// if state is stale, otherwise an error that is answered 503.
func (v *Verifier) unknownKey(kid, token string, state *ringState, now time.Time) error {
	if v.keys.fetches() && !v.anyType {
		if verdict := v.rejectUnverified(token, now); verdict != nil {
			return verdict
		}
	}
	switch err := v.keys.unknown(kid, state, now); err {
	case ErrKey:
		return &rejection{reason: ErrKey, member: "kid", got: kid, want: "one of " + state.names(now)}
	case errKeysChanged:
		return err
	default:
		doing := "auth/token: finding the keys of " + quote(v.config.Issuer)
		if d, ok := err.(*guard.Denial); ok && d.Event == guard.EventNone { // made by a Remote for this call
			d.Err = fmt.Errorf("%s: %w", doing, d.Err)
			return d
		}
		return guard.CannotDecide(doing, err)
	}
}

// rejectUnverified returns why a token would be invalid under any key, or nil. The
// signature is not verified, so the content is used for nothing else.
func (v *Verifier) rejectUnverified(token string, now time.Time) error {
	header, body, _, err := v.parts(token)
	if err != nil {
		return err
	}
	h, err := v.readHeader([]byte(header))
	switch {
	case err != nil:
		return asUnverified(err)
	case h.kid == "" && !v.config.Profile.NoKeyID:
		return &rejection{reason: ErrKey, member: "kid", want: "the ID of a key"}
	case !v.keys.accepts(h.alg):
		return &rejection{reason: ErrAlgorithm, member: "alg", got: string(h.alg), want: "an algorithm of the KeySource", unverified: true}
	}
	if err := v.checkType(h.typ); err != nil {
		return asUnverified(err)
	}
	payload, err := v.appendDecoded(nil, []byte(body))
	if err != nil {
		return malformed("the part of the claims", v.base64Name())
	}
	var p identity.Principal
	if _, err := v.judge(token, string(payload), &h.decision, now, &p); err != nil {
		return asUnverified(err)
	}
	return nil
}

func asUnverified(err error) error {
	if r, ok := err.(*rejection); ok {
		r.unverified = true
	}
	return err
}

// remember stores the decision on a header in a new copy of the shared map.
func (v *Verifier) remember(header string, state *ringState, d *decision) {
	v.headersMu.Lock()
	defer v.headersMu.Unlock()
	next := &headers{state, map[string]*decision{}}
	if old := v.headers.Load(); old.state == state {
		if len(old.decisions) >= maxHeaders {
			return
		}
		maps.Copy(next.decisions, old.decisions)
	}
	next.decisions[strings.Clone(header)] = d
	v.headers.Store(next)
}

// judge decides on the claims of a token, and writes its Principal to p. It
// returns the moment before which the token is too early.
func (v *Verifier) judge(token, payload string, d *decision, now time.Time, p *identity.Principal) (from time.Time, err error) {
	var c claims
	if err := v.plan.read(payload, v.config.Audience, &c); err != nil {
		return from, err
	}
	f := &v.config.Profile
	if f.AudienceHeader != "" {
		c.audience, c.audienceIsOurs = value(d.audience), d.audience == v.config.Audience
	}
	if f.ClientHeader != "" {
		c.client = d.client
	}
	if c.id == "" && f.CredentialOptional {
		c.id = derivedID(token[:strings.LastIndexByte(token, '.')])
	}
	from = c.issued
	if c.notBefore.After(from) {
		from = c.notBefore
	}
	if !from.IsZero() {
		from = from.Add(-v.config.Leeway)
	}
	issuer, err := v.checkIssuer(&c, d)
	switch {
	case c.subject == "":
		return from, missing(v.plan.subject[0].path.String(), "a subject")
	case c.id == "":
		return from, missing(v.plan.id.path.String(), "the ID of the token")
	case c.client == "" && !v.plan.clientOptional:
		return from, missing(v.plan.client.path.String(), "a client")
	case c.expires.IsZero():
		return from, missing("exp", "seconds since 1970")
	case c.issued.IsZero() && !v.plan.issuedOptional:
		return from, missing("iat", "seconds since 1970")
	case err != nil:
		return from, err
	case !c.audienceIsOurs:
		return from, &rejection{reason: ErrAudience, member: v.audienceName(), got: string(c.audience), want: quote(v.config.Audience), gotIsQuoted: f.AudienceHeader == ""}
	case c.severalAudiences && v.plan.idTokens && c.azp != v.config.Audience:
		return from, &rejection{reason: ErrAudience, member: "azp", got: c.azp, want: quote(v.config.Audience) + ", because aud has several values"}
	case !strings.HasPrefix(c.subject, f.SubjectPrefix) || len(c.subject) == len(f.SubjectPrefix):
		return from, &rejection{reason: ErrClaim, member: v.plan.subject[0].path.String(), got: c.subject, want: "a name with the prefix " + quote(f.SubjectPrefix)}
	case !now.Before(c.expires):
		return from, &rejection{reason: ErrExpired, member: "exp", got: date(c.expires), want: "later than " + date(now)}
	case now.Before(from):
		return from, &rejection{reason: ErrTooEarly, member: "nbf or iat", got: date(from.Add(v.config.Leeway)), want: fmt.Sprintf("at most %v later than %s", v.config.Leeway, date(now))}
	case v.lifetime(&c, now) > v.config.MaxLifetime:
		return from, &rejection{reason: ErrLifetime, member: "the time from iat to exp", got: v.lifetime(&c, now).String(), want: fmt.Sprintf("at most VerifierConfig.MaxLifetime, %v", v.config.MaxLifetime)}
	}
	if err := v.plan.checkConditions(&c, d); err != nil {
		return from, err
	}
	if f.RequireGrant && c.scopes.Len() == 0 && c.roles.Len() == 0 {
		return from, &rejection{reason: ErrClaim, member: "a value that grants a scope or a role of the Profile"}
	}
	*p = identity.Principal{
		Issuer:     issuer,
		Subject:    c.subject,
		Tenant:     c.tenant,
		Session:    c.session,
		Credential: c.id,
		Client:     c.client,
		Roles:      c.roles,
		Scopes:     c.scopes,
		Factors:    c.factors,
		AuthTime:   c.authTime,
		IssuedAt:   c.issued,
		Expires:    c.expires,
		Claims:     payload,
	}
	return from, nil
}

func (v *Verifier) audienceName() string {
	if name := v.config.Profile.AudienceHeader; name != "" {
		return "the header member " + name
	}
	return v.plan.audience.path.String()
}

// lifetime returns how long a token lives, as far as that is known.
func (v *Verifier) lifetime(c *claims, now time.Time) time.Duration {
	if c.issued.IsZero() {
		return c.expires.Sub(now)
	}
	return c.expires.Sub(c.issued)
}
