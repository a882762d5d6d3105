package token

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// claims is what the plan of a Verifier reads from the claims of one token.
type claims struct {
	issuer, subject, id, client, session, tenant string
	audience                                     value // as it stands in the token
	audienceIsOurs, severalAudiences             bool
	azp                                          string
	scopes, roles, factors                       identity.Set
	expires, notBefore, issued, authTime         time.Time
	values                                       [strictjson.MaxNames]value // by plan.known
}

// at returns the value of a claim, "" if it is missing, null, or an empty string.
func (c *claims) at(r ref) (value, error) {
	if r.top < 0 {
		return "", nil
	}
	v := c.values[r.top]
	for i, name := range r.rest {
		if v == "" || v == "null" {
			return "", nil
		}
		inner, err := name.Member(v, maxMembers)
		if err != nil {
			return "", malformed(Path(r.path[:i+1]).String(), fmt.Sprintf("an object of at most %d members, each name once", maxMembers))
		}
		v = inner
	}
	if v == "null" || v == `""` {
		return "", nil
	}
	return v, nil
}

func (c *claims) text(r ref, into *string) error {
	v, err := c.at(r)
	if err != nil || v == "" {
		return err
	}
	s, ok := text(v)
	if !ok {
		return malformedClaim(r.path, v, "a string without control characters")
	}
	*into = s
	return nil
}

func (c *claims) date(r ref, into *time.Time) error {
	v, err := c.at(r)
	if err != nil || v == "" {
		return err
	}
	t, ok := readDate(v)
	if !ok {
		return malformedClaim(r.path, v, "seconds since 1970")
	}
	*into = t
	return nil
}

func malformedClaim(path Path, v value, want string) error {
	return &rejection{reason: ErrMalformed, member: path.String(), got: string(v), want: want, gotIsQuoted: true}
}

// read fills c from payload and rejects malformed claims that the plan reads.
func (p *plan) read(payload, audience string, c *claims) error {
	err := p.known.Object(payload, func(i int, v value) error {
		c.values[i] = v
		return nil
	})
	if err != nil {
		return malformed("the claims", "one JSON object in UTF-8 that has each name once")
	}
	if v := c.values[p.issuer.top]; v != "" {
		var ok bool
		if c.issuer, ok = text(v); !ok {
			return malformedClaim(p.issuer.path, v, "a string without control characters")
		}
	}
	for _, r := range p.subject {
		if c.subject != "" {
			break
		}
		if err := c.text(r, &c.subject); err != nil {
			return err
		}
	}
	if err := p.readAudience(audience, c); err != nil {
		return err
	}
	for _, t := range [...]struct {
		from ref
		into *string
	}{{p.id, &c.id}, {p.client, &c.client}, {p.session, &c.session}, {p.tenant, &c.tenant}, {p.azp, &c.azp}} {
		if err := c.text(t.from, t.into); err != nil {
			return err
		}
	}
	for _, t := range [...]struct {
		from ref
		into *time.Time
	}{{p.expires, &c.expires}, {p.notBefore, &c.notBefore}, {p.issued, &c.issued}, {p.authTime, &c.authTime}} {
		if err := c.date(t.from, t.into); err != nil {
			return err
		}
	}
	return p.readGrants(c)
}

// readAudience reads one string or several (RFC 7519 section 4.1.3).
func (p *plan) readAudience(audience string, c *claims) error {
	v, err := c.at(p.audience)
	if p.audience.top >= 0 && len(p.audience.rest) == 0 {
		v = c.values[p.audience.top] // null and "" are malformed
	}
	if err != nil || v == "" {
		return err
	}
	c.audience = v
	if one, ok := text(v); ok {
		c.audienceIsOurs = one == audience
		return nil
	}
	var few [4]string
	all, ok := texts(v, few[:0])
	if !ok {
		return malformedClaim(p.audience.path, v, "a string or an array of strings")
	}
	c.audienceIsOurs = slices.Contains(all, audience)
	c.severalAudiences = len(all) > 1
	return nil
}

func (p *plan) readGrants(c *claims) error {
	var found bool
	for i := range p.scopes {
		scopes, present, err := p.scopes[i].read(c)
		switch {
		case err != nil:
			return err
		case present && found && !scopes.Equal(c.scopes):
			return &rejection{reason: ErrMalformed, member: p.scopes[i].path.String(), got: scopes.String(), want: "the same as in the other scope claims, " + quote(c.scopes.String())}
		case present:
			c.scopes, found = scopes, true
		}
	}
	for i := range p.roles {
		roles, _, err := p.roles[i].read(c)
		if err != nil {
			return err
		}
		c.roles = union(c.roles, roles)
	}
	for i := range p.factors {
		factors, _, err := p.factors[i].read(c)
		if err != nil {
			return err
		}
		c.factors = union(c.factors, factors)
	}
	return nil
}

func union(a, b identity.Set) identity.Set {
	switch {
	case a.Len() == 0:
		return b
	case b.Len() == 0:
		return a
	}
	return a.With(slices.Collect(b.All())...)
}

// read returns what the claim of g grants, and whether the claim is present.
func (g *grant) read(c *claims) (_ identity.Set, present bool, err error) {
	v, err := c.at(g.ref)
	if err != nil || v == "" {
		return identity.Set{}, false, err
	}
	var few [8]string // the usual number needs no allocation before the set's
	names, ok := few[:0], true
	switch {
	case g.spaced && v[0] == '"':
		s, isText := text(v)
		if !isText || !validScope(s) {
			return identity.Set{}, false, malformedClaim(g.path, v, "scopes separated by single spaces (RFC 6749 section 3.3)")
		}
		if g.Names == nil && g.InsecureAll {
			return identity.ParseSet(s), true, nil
		}
		names = strings.Split(s, " ")
	case g.Keys:
		names, ok = keys(v, names)
	case g.member != nil:
		names, ok = memberTexts(v, names, g.member)
	case v[0] == '"' && !g.spaced && !g.strict:
		var one string
		one, ok = text(v)
		names = append(names, one)
	case g.spaced && g.strict:
		ok = false
	default:
		names, ok = texts(v, names)
	}
	if !ok {
		return identity.Set{}, false, malformedClaim(g.path, v, "strings")
	}
	if g.Names != nil || !g.InsecureAll {
		granted := names[:0]
		for _, name := range names {
			if here, listed := g.Names[name]; listed {
				granted = append(granted, here)
			} else if g.InsecureAll {
				granted = append(granted, name)
			}
		}
		names = granted
	}
	if g.spaced {
		for _, name := range names {
			if name == "" || !validScope(name) || strings.Contains(name, " ") {
				return identity.Set{}, false, malformedClaim(g.path, v, "scopes of the grammar of RFC 6749 section 3.3")
			}
		}
	}
	return identity.NewSet(names...), true, nil
}

// keys appends the names of an object's members to list.
func keys(v value, list []string) ([]string, bool) {
	err := v.Members(func(quoted string, _ value) error {
		name, ok := text(value(quoted))
		if !ok || len(list) == maxMembers || slices.Contains(list, name) {
			return strictjson.ErrSyntax
		}
		list = append(list, name)
		return nil
	})
	return list, err == nil
}

// memberTexts appends the value of one member of each object of an array.
func memberTexts(v value, list []string, name *strictjson.Names) ([]string, bool) {
	if v[0] != '[' {
		return nil, false
	}
	err := v.Array(func(element value) error {
		inner, err := name.Member(element, maxMembers)
		if err != nil || inner == "" || inner == "null" {
			return err
		}
		s, ok := text(inner)
		if !ok {
			return strictjson.ErrSyntax
		}
		list = append(list, s)
		return nil
	})
	return list, err == nil
}

// validScope reports whether s is scope = scope-token *( SP scope-token ).
func validScope(s string) bool {
	if s == "" || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == ' ' && s[i-1] == ' ' {
			return false
		}
	}
	return true
}

// met reports whether a token meets the condition, and the value of its claim.
func (c *condition) met(from *claims) (ok bool, got value, err error) {
	v, err := from.at(c.ref)
	if err != nil || v == "" {
		return false, v, err
	}
	if len(c.Is) == 0 {
		return true, v, nil
	}
	for _, want := range c.Is {
		switch want := want.(type) {
		case string:
			s, isText := text(v)
			ok = isText && s == want
		case bool:
			ok = string(v) == strconv.FormatBool(want)
		case int:
			ok = string(v) == strconv.Itoa(want)
		case int64:
			ok = string(v) == strconv.FormatInt(want, 10)
		}
		if ok {
			return true, v, nil
		}
	}
	return false, v, nil
}

// derivedID returns the ID of a token without one, from its signed header and claims.
// A token can have two signatures.
func derivedID(signed string) string {
	sum := sha256.Sum256([]byte(signed))
	return "sha256-" + encode(sum[:])
}

// checkIssuer returns the Principal's Issuer of a token whose issuer is accepted.
func (v *Verifier) checkIssuer(c *claims, d *decision) (issuer string, err error) {
	p, f := v.plan, &v.config.Profile
	wrong := func(got, want string) error {
		return &rejection{reason: ErrIssuer, member: "iss", got: got, want: want}
	}
	switch {
	case p.noIssuer && c.issuer != "":
		return "", wrong(c.issuer, "none (Profile.NoIssuer)")
	case p.noIssuer:
		issuer = v.config.Issuer
	case f.InsecureAnyTenant:
		issuer = strings.Replace(v.config.Issuer, tenantPlaceholder, c.tenant, 1)
		if !isUUID(c.tenant) || c.issuer != issuer {
			return "", wrong(c.issuer, quote(v.config.Issuer)+" with the UUID of "+p.tenant.path.String())
		}
	default:
		var ok bool
		if issuer, ok = p.issuers[c.issuer]; !ok || c.issuer == "" {
			return "", wrong(c.issuer, p.wantIssuers(v.config.Issuer))
		}
		if len(f.Tenants) > 0 && c.issuer != strings.Replace(v.config.Issuer, tenantPlaceholder, c.tenant, 1) {
			return "", wrong(c.issuer, quote(v.config.Issuer)+" with the tenant of "+p.tenant.path.String()+", "+quote(c.tenant))
		}
	}
	if d.issuer != "" && d.issuer != c.issuer {
		return "", &rejection{reason: ErrIssuer, member: "iss of the header", got: d.issuer, want: "the iss of the claims, " + quote(c.issuer)}
	}
	if d.key != nil && d.key.issuer != "" && (f.KeyIssuers || len(f.Tenants) > 0 || f.InsecureAnyTenant) && !fillsTemplate(d.key.issuer, c.issuer) {
		return "", wrong(c.issuer, "the issuer of its key, "+quote(d.key.issuer))
	}
	return issuer, nil
}

// fillsTemplate reports whether issuer is template with {tenantid} replaced by one
// path segment.
func fillsTemplate(template, issuer string) bool {
	before, after, found := strings.Cut(template, tenantPlaceholder)
	if !found {
		return template == issuer
	}
	tenant, ok := strings.CutPrefix(issuer, before)
	tenant, ok2 := strings.CutSuffix(tenant, after)
	return ok && ok2 && isSegment(tenant)
}

// wantIssuers lists the accepted issuers, for logs.
func (p *plan) wantIssuers(configured string) string {
	if len(p.issuers) == 1 {
		for iss := range p.issuers {
			return quote(iss)
		}
	}
	return fmt.Sprintf("one of %d, for example %s", len(p.issuers), quote(configured))
}

// checkConditions checks what must or must not be in the claims.
func (p *plan) checkConditions(c *claims, d *decision) error {
	if d.generic {
		for _, mark := range append(p.idMarks, p.events) {
			v, err := c.at(mark)
			if err != nil {
				return err
			}
			if v != "" {
				return &rejection{reason: ErrType, member: mark.path.String(), got: string(v), want: "none in an access token", gotIsQuoted: true}
			}
		}
	}
	if !d.expires.IsZero() && !d.expires.Equal(c.expires) {
		return &rejection{reason: ErrClaim, member: "exp of the header", got: date(d.expires), want: "the exp of the claims, " + date(c.expires)}
	}
	for i := range p.require {
		ok, got, err := p.require[i].met(c)
		if err != nil {
			return err
		}
		if !ok {
			want := "a value"
			if len(p.require[i].Is) > 0 {
				want = "one of [" + strings.Join(p.require[i].values(), " ") + "]"
			}
			return &rejection{reason: ErrClaim, member: p.require[i].path.String(), got: string(got), want: want, gotIsQuoted: true}
		}
	}
	for i := range p.refuse {
		met, got, err := p.refuse[i].met(c)
		if err != nil {
			return err
		}
		if met {
			want := "none"
			if len(p.refuse[i].Is) > 0 {
				want = "none of [" + strings.Join(p.refuse[i].values(), " ") + "]"
			}
			return &rejection{reason: ErrClaim, member: p.refuse[i].path.String(), got: string(got), want: want, gotIsQuoted: true}
		}
	}
	return nil
}
