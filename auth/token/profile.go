package token

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/strictjson"
)

// A Path names a claim, by the members on the way to it. Dots in names are dots:
// Path{"kubernetes.io", "namespace"}.
type Path []string

// String returns the names, quoted if need be, joined by " > ".
func (p Path) String() string {
	names := make([]string, len(p))
	for i, name := range p {
		names[i] = name
		if quoted := strconv.Quote(name); len(quoted) > len(name)+2 || strings.ContainsAny(name, " >") {
			names[i] = quoted
		}
	}
	return strings.Join(names, " > ")
}

// A Profile describes the tokens of an issuer that does not follow RFC 9068, and all
// that they grant. Other claims cannot make a token malformed.
//
// With any type but [TypeAccess], tokens with a claim of ID tokens (nonce, at_hash,
// c_hash or s_hash), unless IDTokens is set, or with events of logout and security
// event tokens are rejected.
type Profile struct {
	// Types are the accepted values of "typ". Default: VerifierConfig.Type. Risk:
	// other tokens of that type, for example ID tokens under "JWT".
	Types []string

	// NoType also accepts tokens without "typ". Risk: signed JWTs of unknown purpose.
	NoType bool

	// IDTokens accepts ID tokens of OpenID Connect; Audience is then the ID of the
	// client, as is "azp" with several audiences. Risk: leaked ID tokens of that
	// client.
	IDTokens bool

	// NoKeyID accepts tokens without a key ID if exactly one key has their algorithm.
	NoKeyID bool

	// IgnoreHeaders are ignored members: "jku", "x5u", "x5c" or "jwk".
	IgnoreHeaders []string

	// IssuerAliases are further values of "iss". Risk: an attacker that controls an
	// alias controls the issuer.
	IssuerAliases []string

	// Tenants are the accepted tenants if VerifierConfig.Issuer has a path segment
	// {tenantid}. "iss", and the Principal's Issuer, is then the issuer with the
	// tenant of TenantClaim.
	Tenants []string

	// InsecureAnyTenant accepts each tenant that is a UUID. Risk: access by creating a
	// tenant.
	InsecureAnyTenant bool

	// KeyIssuers enforces the member "issuer" of keys in a JWK Set. Tenants and
	// InsecureAnyTenant imply it.
	KeyIssuers bool

	// NoIssuer accepts only tokens without "iss". SubjectPrefix is required. Risk: an
	// attacker that controls a key controls all subjects with the prefix.
	NoIssuer bool

	// SubjectClaims are tried in order for a non-empty subject. Default: "sub". Risk:
	// another user's account, if users choose a claim or values are reused.
	SubjectClaims []Path

	// SubjectPrefix is the prefix of all subjects. It ends in "/" or ":".
	SubjectPrefix string

	// AudienceClaim is or contains VerifierConfig.Audience. Default: "aud". Risk, if
	// it names the client: the client's tokens for other services.
	AudienceClaim Path

	// ClientClaim is the client of the token. Default: "client_id".
	ClientClaim Path

	// ClientOptional accepts tokens without a client. Risk: ID tokens that only lack
	// the client.
	ClientOptional bool

	// CredentialClaim is the ID by which the token can be revoked. Default: "jti".
	CredentialClaim Path

	// CredentialOptional derives a missing ID from header and claims. Revocations by
	// an ID of the issuer do not find the token.
	CredentialOptional bool

	// SessionClaim is the sign-in session, if any. Default: "sid".
	SessionClaim Path

	// IssuedAtOptional accepts tokens without "iat" that expire within MaxLifetime
	// from now; each revocation "before a time" revokes them. Risk: tokens older than
	// MaxLifetime.
	IssuedAtOptional bool

	// TenantClaim is the tenant. Default: no tenant. Risk: another tenant's data, if
	// users choose the claim.
	TenantClaim Path

	// AuthTimeClaim is when the user was authenticated. Default: unknown, so that
	// routes with a maximum age refuse the Principal.
	AuthTimeClaim Path

	// Scopes, Roles and Factors are what tokens grant. Several Scopes in a token must
	// be equal.
	Scopes, Roles, Factors []Grant

	// RequireGrant rejects tokens that grant no scope and no role.
	RequireGrant bool

	// Require are conditions that each token must meet, Refuse conditions that no
	// token may meet.
	Require, Refuse []Condition

	// PaddedBase64, AudienceHeader and ClientHeader are for AWS load balancers: the
	// parts of tokens have padding, and header members replace AudienceClaim and
	// ClientClaim; "iss" and "exp" of the header must then equal the claims.
	PaddedBase64                 bool
	AudienceHeader, ClientHeader string
}

// A Grant is a claim whose values become scopes, roles or factors.
type Grant struct {
	// Claim is an array of strings, or a string: one value, or scopes separated by
	// spaces. Risk: any role, if users can write the claim.
	Claim Path

	// Member is the member with the value, if the claim is an array of objects.
	Member string

	// Keys takes the names of an object's members as values.
	Keys bool

	// Names maps values to names of scopes, roles or factors here; see [Same]. Other
	// values grant nothing.
	Names map[string]string

	// InsecureAll grants each other value under its own name. Risk: an attacker that
	// assigns a role at the issuer, for example "admin", gains it here.
	InsecureAll bool
}

// Same returns the map of each name to itself, for Grant.Names.
func Same(names ...string) map[string]string {
	m := make(map[string]string, len(names))
	for _, name := range names {
		m[name] = name
	}
	return m
}

// A Condition compares a claim.
type Condition struct {
	Claim Path

	// Is are the accepted strings, booleans or integers, compared with their type. If
	// empty, the claim must be present and neither null nor an empty string.
	Is []any
}

// String returns the condition for logs, for example "typ is one of [Bearer]".
func (c Condition) String() string {
	if len(c.Is) == 0 {
		return fmt.Sprintf("%v is present", c.Claim)
	}
	return fmt.Sprintf("%v is one of %v", c.Claim, c.values())
}

func (c Condition) values() []string {
	texts := make([]string, len(c.Is))
	for i, v := range c.Is {
		texts[i] = fmt.Sprint(v)
		if s, ok := v.(string); ok {
			texts[i] = fmt.Sprintf("%q", s)
		}
	}
	return texts
}

// tenantPlaceholder is the part of an issuer that a tenant fills.
const tenantPlaceholder = "{tenantid}"

// A plan is what a Verifier reads from claims, as prepared from its config.
type plan struct {
	foreign bool // nothing is granted that the Profile does not name
	known   *strictjson.Names

	issuer, expires, notBefore, issued, azp                     ref
	subject                                                     []ref
	audience, client, id, session, tenant, authTime             ref
	scopes, roles, factors                                      []grant
	require, refuse                                             []condition
	idMarks                                                     []ref // claims of ID tokens
	events                                                      ref
	issuers                                                     map[string]string // accepted iss to the Principal's Issuer
	clientOptional, derived, issuedOptional, idTokens, noIssuer bool
}

// A ref is the place of a claim. Its top is an index of plan.known, or -1 for a
// claim that is not read.
type ref struct {
	top  int
	rest []*strictjson.Names
	path Path
}

type grant struct {
	ref
	Grant
	member *strictjson.Names
	spaced bool // a string is a list
	strict bool // of our own tokens: a string for scopes, an array for the others
}

type condition struct {
	ref
	Condition
}

// clone returns a copy that shares no memory with f.
func (f Profile) clone() Profile {
	paths := func(all []Path) []Path {
		all = slices.Clone(all)
		for i := range all {
			all[i] = slices.Clone(all[i])
		}
		return all
	}
	grants := func(all []Grant) []Grant {
		all = slices.Clone(all)
		for i := range all {
			all[i].Claim, all[i].Names = slices.Clone(all[i].Claim), maps.Clone(all[i].Names)
		}
		return all
	}
	conditions := func(all []Condition) []Condition {
		all = slices.Clone(all)
		for i := range all {
			all[i].Claim, all[i].Is = slices.Clone(all[i].Claim), slices.Clone(all[i].Is)
		}
		return all
	}
	for _, list := range []*[]string{&f.Types, &f.IgnoreHeaders, &f.IssuerAliases, &f.Tenants} {
		*list = slices.Clone(*list)
	}
	for _, path := range []*Path{&f.AudienceClaim, &f.ClientClaim, &f.CredentialClaim, &f.SessionClaim, &f.TenantClaim, &f.AuthTimeClaim} {
		*path = slices.Clone(*path)
	}
	f.SubjectClaims = paths(f.SubjectClaims)
	f.Scopes, f.Roles, f.Factors = grants(f.Scopes), grants(f.Roles), grants(f.Factors)
	f.Require, f.Refuse = conditions(f.Require), conditions(f.Refuse)
	return f
}

// newPlan prepares config, whose Profile may be zero. It calls mistake for each
// mistake.
func newPlan(config *VerifierConfig, mistake func(format string, args ...any)) *plan {
	f := &config.Profile
	p := &plan{
		foreign:        config.Foreign || !reflect.ValueOf(*f).IsZero(),
		clientOptional: f.ClientOptional,
		derived:        f.CredentialOptional,
		issuedOptional: f.IssuedAtOptional,
		idTokens:       f.IDTokens,
		noIssuer:       f.NoIssuer,
	}
	var names []string
	read := func(field string, path Path) ref {
		r := ref{top: -1, path: path}
		if len(path) == 0 {
			return r
		}
		for _, name := range path {
			if name == "" || !plainText(name) {
				mistake("VerifierConfig.Profile.%s has the name %q; use the name of a claim", field, name)
			}
		}
		if r.top = slices.Index(names, path[0]); r.top < 0 {
			r.top = len(names)
			names = append(names, path[0])
		}
		for _, name := range path[1:] {
			r.rest = append(r.rest, strictjson.NewNames(name))
		}
		return r
	}
	or := func(path Path, standard string) Path {
		if len(path) == 0 && standard != "" {
			return Path{standard}
		}
		return path
	}
	p.issuer = read("Issuer", Path{"iss"})
	p.expires, p.notBefore, p.issued = read("", Path{"exp"}), read("", Path{"nbf"}), read("", Path{"iat"})
	p.id = read("CredentialClaim", or(f.CredentialClaim, "jti"))
	p.session = read("SessionClaim", or(f.SessionClaim, "sid"))
	subjects := f.SubjectClaims
	if len(subjects) == 0 {
		subjects = []Path{{"sub"}}
	}
	for _, path := range subjects {
		if len(path) == 0 {
			mistake("VerifierConfig.Profile.SubjectClaims has an empty Path")
		}
		p.subject = append(p.subject, read("SubjectClaims", path))
	}
	p.audience, p.client, p.azp = ref{top: -1}, ref{top: -1}, ref{top: -1}
	if f.AudienceHeader == "" {
		p.audience = read("AudienceClaim", or(f.AudienceClaim, "aud"))
	}
	if f.ClientHeader == "" && (len(f.ClientClaim) > 0 || !f.ClientOptional) {
		p.client = read("ClientClaim", or(f.ClientClaim, "client_id"))
	}
	if f.IDTokens {
		p.azp = read("IDTokens", Path{"azp"})
	}
	scopes, roles, factors, tenant, authTime := f.Scopes, f.Roles, f.Factors, f.TenantClaim, f.AuthTimeClaim
	if !p.foreign {
		scopes = []Grant{{Claim: Path{"scope"}, InsecureAll: true}}
		roles = []Grant{{Claim: Path{"roles"}, InsecureAll: true}}
		factors = []Grant{{Claim: Path{"amr"}, InsecureAll: true}}
		tenant, authTime = Path{"tenant"}, Path{"auth_time"}
	}
	p.tenant, p.authTime = read("TenantClaim", tenant), read("AuthTimeClaim", authTime)
	grants := func(field string, all []Grant, spaced bool) (out []grant) {
		for _, g := range all {
			switch {
			case len(g.Claim) == 0:
				mistake("VerifierConfig.Profile.%s has a Grant without a Claim; set its Path", field)
			case len(g.Names) == 0 && !g.InsecureAll:
				mistake("VerifierConfig.Profile.%s: the Grant of %v has no Names, so it grants nothing; list what it may grant, token.Same(…)", field, g.Claim)
			case g.Member != "" && g.Keys:
				mistake("VerifierConfig.Profile.%s: the Grant of %v has Member and Keys; set one of them", field, g.Claim)
			}
			for _, name := range g.Names {
				if name == "" || !plainText(name) || field == "Scopes" && (!validScope(name) || strings.Contains(name, " ")) {
					mistake("VerifierConfig.Profile.%s: the Grant of %v has the name %q; use visible ASCII for scopes, and UTF-8 without control characters for others", field, g.Claim, name)
				}
			}
			prepared := grant{ref: read(field, g.Claim), Grant: g, spaced: spaced, strict: !p.foreign}
			if g.Member != "" {
				prepared.member = strictjson.NewNames(g.Member)
			}
			out = append(out, prepared)
		}
		return out
	}
	p.scopes, p.roles, p.factors = grants("Scopes", scopes, true), grants("Roles", roles, false), grants("Factors", factors, false)
	conditions := func(field string, all []Condition) (out []condition) {
		for _, c := range all {
			if len(c.Claim) == 0 {
				mistake("VerifierConfig.Profile.%s has a Condition without a Claim; set its Path", field)
			}
			for _, v := range c.Is {
				switch v := v.(type) {
				case string:
					if v == "" {
						mistake("VerifierConfig.Profile.%s: %v is compared with an empty string, which is the same as no claim; use a value", field, c.Claim)
					}
				case bool, int, int64:
				default:
					mistake("VerifierConfig.Profile.%s: %v is compared with a %T; use a string, bool or int", field, c.Claim, v)
				}
			}
			out = append(out, condition{read(field, c.Claim), c})
		}
		return out
	}
	if f.RequireGrant && len(f.Scopes) == 0 && len(f.Roles) == 0 {
		mistake("VerifierConfig.Profile.RequireGrant is true without Scopes and Roles, so no token is accepted; list what tokens may grant")
	}
	p.require, p.refuse = conditions("Require", f.Require), conditions("Refuse", f.Refuse)
	p.events = ref{top: -1}
	if generic := p.genericTypes(config); generic {
		if !f.IDTokens {
			for _, mark := range []string{"nonce", "at_hash", "c_hash", "s_hash"} {
				p.idMarks = append(p.idMarks, read("", Path{mark}))
			}
		}
		p.events = read("", Path{"events"})
	}
	if len(names) > strictjson.MaxNames {
		mistake("VerifierConfig.Profile reads %d claims; use at most %d", len(names), strictjson.MaxNames)
		names = names[:0]
	}
	p.known = strictjson.NewNames(names...)
	p.checkIssuers(config, mistake)
	for _, name := range f.IgnoreHeaders {
		if !slices.Contains(keyHeaders, name) {
			mistake("VerifierConfig.Profile.IgnoreHeaders has %q; use names of %v", name, keyHeaders)
		}
	}
	for _, name := range []string{f.AudienceHeader, f.ClientHeader} {
		if slices.Contains(headerMembers.All(), name) {
			mistake("VerifierConfig.Profile has the header member %q as audience or client, which has another meaning; use another one", name)
		}
	}
	if len(f.Types) > 0 && config.Type != "" {
		mistake("VerifierConfig.Type is %q beside Profile.Types; set one of them", config.Type)
	}
	for _, t := range f.Types {
		if t == "" || !plainText(t) {
			mistake("VerifierConfig.Profile.Types has %q; use a media type, or NoType for tokens without a type", t)
		}
	}
	if f.SubjectPrefix != "" && !strings.HasSuffix(f.SubjectPrefix, "/") && !strings.HasSuffix(f.SubjectPrefix, ":") {
		mistake("VerifierConfig.Profile.SubjectPrefix is %q; end it with / or :", f.SubjectPrefix)
	}
	if f.NoIssuer && f.SubjectPrefix == "" {
		mistake("VerifierConfig.Profile.NoIssuer is true without SubjectPrefix; set the prefix of all subjects")
	}
	return p
}

// genericTypes reports whether an accepted type is also the type of tokens for
// other purposes.
func (p *plan) genericTypes(config *VerifierConfig) bool {
	if config.Profile.NoType {
		return true
	}
	types := config.Profile.Types
	if len(types) == 0 {
		types = []string{config.Type}
	}
	return slices.ContainsFunc(types, func(t string) bool {
		return t != "" && !isType(t, TypeAccess) && (p.foreign || !strings.Contains(t, "+"))
	})
}

func (p *plan) checkIssuers(config *VerifierConfig, mistake func(format string, args ...any)) {
	f := &config.Profile
	p.issuers = map[string]string{config.Issuer: config.Issuer}
	for _, alias := range f.IssuerAliases {
		if alias == "" || !plainText(alias) {
			mistake("VerifierConfig.Profile.IssuerAliases has %q; use an issuer", alias)
		}
		p.issuers[alias] = config.Issuer
	}
	places := strings.Count(config.Issuer, tenantPlaceholder)
	_, after, _ := strings.Cut(config.Issuer, tenantPlaceholder)
	before, _, _ := strings.Cut(config.Issuer, tenantPlaceholder)
	multi := len(f.Tenants) > 0 || f.InsecureAnyTenant
	switch {
	case !multi && places == 0:
		return
	case !multi:
		mistake("VerifierConfig.Issuer is %q without Profile.Tenants; list the accepted tenants", config.Issuer)
	case places != 1 || !strings.HasSuffix(before, "/") || after != "" && after[0] != '/':
		mistake("VerifierConfig.Issuer is %q; use one path segment %s for Profile.Tenants", config.Issuer, tenantPlaceholder)
	case len(f.TenantClaim) == 0:
		mistake("VerifierConfig.Profile.TenantClaim is empty; set it for Profile.Tenants")
	case len(f.Tenants) > 0 && f.InsecureAnyTenant:
		mistake("VerifierConfig.Profile.InsecureAnyTenant is true beside Tenants; set one of them")
	case len(f.IssuerAliases) > 0:
		mistake("VerifierConfig.Profile.IssuerAliases is set beside Tenants; set one of them")
	}
	delete(p.issuers, config.Issuer)
	for _, tenant := range f.Tenants {
		if !isSegment(tenant) {
			mistake("VerifierConfig.Profile.Tenants has %q; use letters, digits, '-', '_' and '.'", tenant)
		}
		filled := before + tenant + after
		p.issuers[filled] = filled
	}
}

// isSegment reports whether s can stand in a URL as one path segment, unchanged.
func isSegment(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// isUUID reports whether s is a UUID in its usual spelling.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// ownPlan is the plan for tokens of an Issuer of this package.
var ownPlan = newPlan(&VerifierConfig{}, func(string, ...any) {})
