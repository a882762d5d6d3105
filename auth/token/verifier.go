package token

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Types of tokens, the "typ" of their header.
const (
	TypeAccess  = "at+jwt" // RFC 9068 section 2.1
	TypeRefresh = "rt+jwt" // a refresh token of package auth
)

// A Revoker knows which credentials were ended before their time. A
// *blacklist.Replica is one. It is safe for concurrent use.
type Revoker interface {
	// Revoked reports whether p's credential is revoked. An error means
	// that it could not be found out, which refuses the request with 503.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}

// VerifierConfig says which tokens a [Verifier] accepts.
type VerifierConfig struct {
	// Issuer is the "iss" that tokens must have, to the letter. Required.
	Issuer string

	// Audience is this service's own identifier, which must be in the "aud"
	// of tokens, to the letter. Required.
	Audience string

	// Type is the "typ" that tokens must have, so that no token made for
	// something else passes. With "JWT", which some issuers write on all that
	// they sign, ID tokens too, Audience alone keeps these apart. Default:
	// [TypeAccess].
	Type string

	// Revoker is asked about each token that is good otherwise. Required,
	// unless InsecureNoRevoker is set.
	Revoker Revoker

	// InsecureNoRevoker takes tokens without asking whether they were ended.
	// Logging out then ends no access token, and who has stolen one can use
	// it until it expires. It is for tokens of an issuer that tells nobody
	// what it has revoked. Default: a Revoker is asked.
	InsecureNoRevoker bool

	// Foreign says that the issuer is somebody else, a partner or a public
	// identity provider, who may say who its subjects are and not what they
	// are here: the Principal has no Roles and no Tenant, whatever the token
	// says; its Claims have them. Scopes are those that the issuer granted for
	// the Audience. Default: Roles and Tenant are taken from the token.
	Foreign bool

	// Leeway is how far the clock of the issuer may be ahead: it is granted
	// to "nbf" and "iat", and never to "exp". Default: 30 seconds.
	Leeway time.Duration

	// MaxLifetime is the longest time from "iat" to "exp" that is accepted,
	// whatever the issuer wrote. Default: 24 hours.
	MaxLifetime time.Duration

	// MaxSize is the longest token that is looked at, in bytes, of which
	// the header may have 1024. Default: 8192.
	MaxSize int

	// CacheSize is how many tokens that were good are remembered, so that a
	// caller who comes again costs a look-up and not a verification. At each
	// hit the expiry, the keys and the Revoker are asked again. A token takes
	// one to two kilobytes, four at most. Negative: none. Default: 4096.
	CacheSize int

	// Realm and ResourceMetadata go into the challenge (RFC 6750 section 3,
	// RFC 9728 section 5.1). Set one of them: RFC 6750 wants a parameter in
	// each challenge, and without them that of an anonymous request has none,
	// which HTTP alone allows (RFC 9110 section 11.3). Default: left out.
	Realm, ResourceMetadata string
}

// Reasons for which a token is refused, found with [errors.Is]. They are for
// the audit trail; the client is told invalid_token and nothing else. All are
// ErrInvalid too.
var (
	ErrInvalid         = errors.New("token: invalid")
	ErrMalformed error = refusal("token: malformed")                  // size, envelope, header or claims
	ErrKey       error = refusal("token: no key of that ID")          // unknown or missing kid
	ErrAlgorithm error = refusal("token: not the key's algorithm")    // alg is another, or none
	ErrType      error = refusal("token: made for something else")    // typ
	ErrSignature error = refusal("token: the signature is not right") //
	ErrIssuer    error = refusal("token: from another issuer")        // iss
	ErrAudience  error = refusal("token: for another audience")       // aud
	ErrExpired   error = refusal("token: expired")                    // exp
	ErrTooEarly  error = refusal("token: not valid yet")              // nbf or iat
	ErrLifetime  error = refusal("token: lives longer than accepted") // exp - iat
	ErrRevoked   error = refusal("token: revoked")                    //
)

// A refusal is a constant reason, so refusing costs no allocation for it.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrInvalid }

// A Verifier checks tokens and, as a [guard.Authenticator], takes them from
// the Authorization header. It is safe for concurrent use.
//
// A token of a [Keyring] has one spelling: an envelope that another decoder
// would repair is rejected, and so is the second ECDSA signature that each one
// implies. Tokens of other issuers, and of keys with Key.AcceptHighS, have one
// envelope and, with an ES algorithm, two valid signatures.
type Verifier struct {
	config  VerifierConfig
	keys    KeySource
	cache   *cache
	scratch sync.Pool // of *scratch

	// headers remembers the decisions on header strings that stood before a
	// good signature. Issuers write few different ones, and nobody without
	// a key can add to it.
	headers   atomic.Pointer[headers]
	headersMu sync.Mutex // to replace headers
}

// headers is what header strings led to while a ring had certain keys.
type headers struct {
	state *ringState
	keys  map[string]*key
}

// maxHeaders bounds Verifier.headers. Headers beyond it are read each time.
const maxHeaders = 64

// maxCacheSize bounds what a mistyped VerifierConfig.CacheSize can do.
const maxCacheSize = 1 << 20

// maxHeader is the longest header that is looked at, encoded. Anybody may send
// one, and reading it is all that a stranger can make this package do beyond
// one verification; with a thumbprint for the kid it has some 130 bytes.
const maxHeader = 1024

type scratch struct{ token, part, signature []byte }

// NewVerifier returns a verifier of tokens that were signed with one of the
// keys, which are a [*Keyring], or a [*Remote] for another issuer's.
func NewVerifier(keys KeySource, config VerifierConfig) (*Verifier, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("token: "+format, args...)) }
	if keys == nil || !keys.made() {
		mistake("the KeySource is nil or zero, want a Keyring from NewKeyring or a Remote from NewRemote")
	}
	if config.Issuer == "" {
		mistake(`VerifierConfig.Issuer is empty, want the "iss" of the tokens`)
	}
	if config.Audience == "" {
		mistake(`VerifierConfig.Audience is empty, want this service's name in the "aud" of the tokens`)
	}
	switch {
	case config.Revoker == nil && !config.InsecureNoRevoker:
		mistake("VerifierConfig.Revoker is nil, want one such as &blacklist.Memory{}, or InsecureNoRevoker for tokens that nobody can end")
	case config.Revoker != nil && config.InsecureNoRevoker:
		mistake("VerifierConfig.InsecureNoRevoker is true beside a Revoker, want one of them")
	}
	for _, f := range [...]struct{ name, value string }{
		{"Issuer", config.Issuer}, {"Audience", config.Audience}, {"Type", config.Type},
	} {
		if !plainText(f.value) {
			mistake("VerifierConfig.%s is %q, want UTF-8 without control characters", f.name, f.value)
		}
	}
	if config.Type == "" {
		config.Type = TypeAccess
	}
	setDefault(&config.Leeway, 30*time.Second)
	setDefault(&config.MaxLifetime, 24*time.Hour)
	if config.MaxSize == 0 {
		config.MaxSize = 8192
	}
	if config.CacheSize == 0 {
		config.CacheSize = 4096
	}
	if config.CacheSize > maxCacheSize {
		mistake("VerifierConfig.CacheSize is %d, want at most %d", config.CacheSize, maxCacheSize)
	}
	if config.Leeway < 0 || config.Leeway > 5*time.Minute {
		mistake("VerifierConfig.Leeway is %v, want 0 to 5m", config.Leeway)
	}
	if config.MaxLifetime < 0 {
		mistake("VerifierConfig.MaxLifetime is %v, want a positive duration", config.MaxLifetime)
	}
	if config.MaxSize < 128 || config.MaxSize > 64<<10 {
		mistake("VerifierConfig.MaxSize is %d, want 128 to 65536 bytes", config.MaxSize)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	v := &Verifier{config: config, keys: keys, cache: newCache(config.CacheSize)}
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

func setDefault(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}

// Verify returns whose token it is. The error is one of the reasons above for
// a token that is no good, and another one if the Revoker did not answer or the
// keys cannot be known.
//
// The order is fixed: size, envelope, header, key, signature, and only then
// what the token says. Nothing that a stranger wrote is read as claims.
func (v *Verifier) Verify(ctx context.Context, token string) (*identity.Principal, error) {
	return v.verify(ctx, token, nil)
}

// verify is Verify into p, or into a new Principal if that is nil.
func (v *Verifier) verify(ctx context.Context, token string, p *identity.Principal) (*identity.Principal, error) {
	now := time.Now()
	state, err := v.keys.current(now)
	if err != nil {
		return nil, undecided{"finding the keys of the issuer", err}
	}
	if hit := v.cache.get(token, state, now); hit != nil {
		if p == nil {
			p = new(identity.Principal)
		}
		*p = hit.principal
	} else {
		payload, k, err := v.open(token, state, now)
		if err != nil {
			return nil, err
		}
		if p == nil {
			p = new(identity.Principal)
		}
		from, err := v.judge(payload, now, p)
		if err != nil {
			return nil, err
		}
		v.cache.put(token, state, k, from, now, p)
	}
	if v.config.Revoker == nil {
		return p, nil
	}
	revoked, err := v.config.Revoker.Revoked(ctx, p)
	if err != nil {
		return nil, undecided{"asking whether a token is revoked", err}
	}
	if revoked {
		return nil, fmt.Errorf("%w: %s of session %q, subject %q", ErrRevoked, p.Credential, p.Session, p.Subject)
	}
	return p, nil
}

// undecided is the error of a Revoker or KeySource. It is what they say, for
// errors.Is and errors.As, but never a verdict: a Revoker that asks over a
// network may well fail with an ErrExpired or a 401 of its own, which says
// nothing about the token in hand.
type undecided struct {
	doing string
	err   error
}

func (u undecided) Error() string { return "token: " + u.doing + ": " + u.err.Error() }

func (u undecided) Is(target error) bool {
	if _, verdict := target.(refusal); verdict || target == ErrInvalid || target == guard.ErrNoCredentials || target == guard.ErrInactive {
		return false
	}
	return errors.Is(u.err, target)
}

func (u undecided) As(target any) bool {
	switch target := target.(type) {
	case **http.MaxBytesError: // would be answered 413
		return false
	case **guard.Denial:
		// One of a 503 says when to come back.
		d, ok := errors.AsType[*guard.Denial](u.err)
		if ok = ok && d != nil && d.Status == http.StatusServiceUnavailable; ok {
			*target = d
		}
		return ok
	}
	return errors.As(u.err, target)
}

// open checks everything about a token but its claims, and returns its payload
// and the key it is signed with.
func (v *Verifier) open(token string, state *ringState, now time.Time) (payload string, _ *key, err error) {
	if len(token) > v.config.MaxSize {
		return "", nil, ErrMalformed
	}
	header, rest, ok := strings.Cut(token, ".")
	if !ok {
		return "", nil, ErrMalformed
	}
	body, signature, ok := strings.Cut(rest, ".")
	// A further dot is caught below, since it is not in the alphabet. So is
	// an empty signature, as no algorithm makes one.
	if !ok || header == "" || body == "" || signature == "" || len(header) > maxHeader {
		return "", nil, ErrMalformed
	}
	// The decoder skips line breaks, whatever its mode; all else that is
	// foreign it refuses.
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return "", nil, ErrMalformed
	}

	s := v.scratch.Get().(*scratch)
	defer v.scratch.Put(s)
	s.token = append(s.token[:0], token...)
	if s.signature, err = appendDecoded(s.signature[:0], s.token[len(token)-len(signature):]); err != nil {
		return "", nil, ErrMalformed
	}
	input := len(header) + 1 + len(body)
	if s.part, err = appendDecoded(s.part[:0], s.token[len(header)+1:input]); err != nil {
		return "", nil, ErrMalformed
	}
	known := v.headers.Load()
	var k *key
	if known.state == state {
		k = known.keys[header]
	}
	seen := k != nil && k.published(now)
	if !seen {
		if k, err = v.header(s.token[:len(header)], state, now); err != nil {
			return "", nil, err
		}
	}
	if !k.verify(token[:input], s.token[:input], s.signature) {
		return "", nil, ErrSignature
	}
	if !seen {
		v.remember(header, state, k)
	}
	return string(s.part), k, nil
}

// strictBase64 refuses padding and bits that no encoder sets (RFC 4648
// section 3.5).
var strictBase64 = base64.RawURLEncoding.Strict()

func appendDecoded(dst, src []byte) ([]byte, error) {
	n := strictBase64.DecodedLen(len(src))
	dst = append(dst, make([]byte, n)...)
	m, err := strictBase64.Decode(dst[len(dst)-n:], src)
	return dst[:len(dst)-n+m], err
}

// headerNames are the members of a header that mean something here.
var headerNames = []string{"alg", "typ", "kid", "crit", "b64", "zip", "enc", "cty", "jku", "jwk", "x5u", "x5c"}

// header reads a header and decides which key it asks for.
func (v *Verifier) header(encoded []byte, state *ringState, now time.Time) (*key, error) {
	raw, err := appendDecoded(nil, encoded)
	if err != nil {
		return nil, ErrMalformed
	}
	var alg, typ, kid string
	err = object(string(raw), headerNames, func(name string, val value) error {
		ok := true
		switch name {
		case "alg":
			alg, ok = val.text()
		case "typ":
			typ, ok = val.text()
		case "kid":
			kid, ok = val.text()
		case "crit", "b64", "zip", "enc", "cty":
			// Extensions that must be understood are not (RFC 7515 section
			// 4.1.11, RFC 7797 section 7); compression, encryption and
			// nesting (RFC 7519 section 5.2) make it something other than
			// a signed claims set.
			ok = false
		case "jku", "jwk", "x5u", "x5c":
			// Keys that the token brings along prove nothing.
			ok = false
		}
		if !ok {
			return errJSON
		}
		return nil
	})
	if err != nil {
		return nil, ErrMalformed
	}
	key, known := state.lookup(kid, Algorithm(alg), now)
	switch {
	case kid == "":
		return nil, ErrKey
	case key == nil && known:
		return nil, ErrAlgorithm
	case key == nil:
		if err := v.keys.unknown(kid, now); err != ErrKey {
			return nil, undecided{"finding the keys of the issuer", err}
		}
		return nil, ErrKey
	case !isType(typ, v.config.Type):
		return nil, ErrType
	}
	return key, nil
}

// isType reports whether typ is a media type: with or without "application/"
// before it, in any case (RFC 7515 section 4.1.9), for the example of RFC 9068
// itself says at+JWT where the text says at+jwt.
func isType(typ, want string) bool {
	const prefix = "application/"
	if n := len(typ) - len(want); n == len(prefix) && strings.EqualFold(typ[:n], prefix) {
		typ = typ[n:]
	}
	// Of one length: letters beyond ASCII that fold to ASCII are longer.
	return len(typ) == len(want) && strings.EqualFold(typ, want)
}

// remember keeps the decision on a header, in a copy of the map that readers
// have.
func (v *Verifier) remember(header string, state *ringState, k *key) {
	v.headersMu.Lock()
	defer v.headersMu.Unlock()
	next := &headers{state, map[string]*key{}}
	if old := v.headers.Load(); old.state == state {
		if len(old.keys) >= maxHeaders {
			return
		}
		maps.Copy(next.keys, old.keys)
	}
	next.keys[strings.Clone(header)] = k
	v.headers.Store(next)
}

// judge decides on the claims of a token whose signature is right, and writes
// to p whose it is. It returns the moment before which the token is too early.
func (v *Verifier) judge(payload string, now time.Time, p *identity.Principal) (from time.Time, err error) {
	var c claims
	if err := c.read(payload, v.config.Audience); err != nil {
		return from, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	from = c.issued
	if c.notBefore.After(from) {
		from = c.notBefore
	}
	from = from.Add(-v.config.Leeway)
	switch {
	case c.subject == "" || c.id == "" || c.client == "" || c.expires.IsZero() || c.issued.IsZero():
		// RFC 9068 section 2.2; iss and aud follow.
		return from, fmt.Errorf("%w: one of sub, jti, client_id, exp and iat is missing", ErrMalformed)
	case c.issuer != v.config.Issuer:
		return from, ErrIssuer
	case !c.audience:
		return from, ErrAudience
	case !now.Before(c.expires):
		return from, ErrExpired
	case now.Before(from):
		return from, ErrTooEarly
	case c.expires.Sub(c.issued) > v.config.MaxLifetime:
		return from, ErrLifetime
	}
	if v.config.Foreign {
		c.roles, c.tenant = identity.Set{}, ""
	}
	*p = identity.Principal{
		Issuer:     v.config.Issuer,
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

// scheme is that of RFC 6750.
const scheme = "Bearer"

// Authenticate takes the token from the Authorization header (RFC 6750 section
// 2.1) and verifies it. Tokens in the query or in a form are never accepted;
// together with one in the header they make the request ambiguous, which is
// answered 400. For that, up to 64 KiB of a form that comes with a good token
// are read ahead and put back, and the token is verified once more when they are
// there.
func (v *Verifier) Authenticate(r *http.Request) (*identity.Principal, error) {
	return authenticate(v, r)
}

// authenticate is Authenticate with v, a Verifier or several.
func authenticate(v interface {
	verify(ctx context.Context, token string, p *identity.Principal) (*identity.Principal, error)
}, r *http.Request) (*identity.Principal, error) {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return nil, guard.ErrNoCredentials
	}
	token, ours := credentials(lines[0])
	if !ours {
		return nil, guard.ErrNoCredentials
	}
	if len(lines) > 1 {
		return nil, guard.InvalidRequest("The request carries more than one Authorization header.",
			errors.New("token: more than one Authorization header"))
	}
	// The form comes after the verdict, so that a stranger cannot make us
	// wait for a body.
	if inQuery(r) {
		return nil, ambiguous()
	}
	p, err := v.verify(r.Context(), token, guard.NewPrincipal(r))
	if err == nil {
		found, read := inForm(r)
		if found {
			return nil, ambiguous()
		}
		if read {
			// The client takes its time to send a body, and the token may
			// have been revoked or have expired meanwhile.
			p, err = v.verify(r.Context(), token, p)
		}
	}
	switch {
	case err == nil:
		return p, nil
	case !errors.Is(err, ErrInvalid):
		return nil, err
	}
	return nil, guard.InvalidToken(scheme, err)
}

// credentials returns what stands after the scheme in an Authorization header,
// and whether that is ours, in any case (RFC 9110 section 11.1). A tab where
// the space belongs is left in, for the token to be refused: this is a bearer
// token to the next server, so it must not be anonymous here.
func credentials(line string) (token string, ours bool) {
	if len(line) < len(scheme) || !strings.EqualFold(line[:len(scheme)], scheme) {
		return "", false
	}
	token = line[len(scheme):]
	if token != "" && token[0] != ' ' && token[0] != '\t' {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}

func ambiguous() *guard.Denial {
	return guard.InvalidRequest("The request carries an access token in more than one place.",
		errors.New("token: access_token in the query or form beside the Authorization header"))
}

// Challenge asks for a bearer token.
func (v *Verifier) Challenge() guard.Challenge {
	return guard.Challenge{Scheme: scheme, Realm: v.config.Realm, ResourceMetadata: v.config.ResourceMetadata}
}

// parameter is the name of a token outside the Authorization header (RFC 6750
// sections 2.2 and 2.3).
const parameter = "access_token"

// maxForm is how much of a form is searched for a second token.
const maxForm = 64 << 10

// inQuery reports whether r carries an access token in its query.
func inQuery(r *http.Request) bool { return r.URL != nil && hasParameter(r.URL.RawQuery) }

// inForm reports whether r carries an access token in a form, and whether it
// has read a body to find out.
func inForm(r *http.Request) (found, read bool) {
	if r.PostForm.Has(parameter) {
		return true, false // somebody in front of us has read the body
	}
	if r.Body == nil || r.Body == http.NoBody {
		return false, false
	}
	contentType := r.Header["Content-Type"]
	if len(contentType) == 0 {
		return false, false
	}
	if media, _, _ := mime.ParseMediaType(contentType[0]); media != "application/x-www-form-urlencoded" {
		return false, false
	}
	// A read error is kept for the handler, who meets it at the same place.
	var ahead bytes.Buffer
	_, err := io.CopyN(&ahead, r.Body, maxForm)
	found = hasParameter(ahead.String())
	rest := io.Reader(r.Body)
	if err != nil && err != io.EOF {
		rest = failing{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&ahead, rest), r.Body}
	return found, true
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func hasParameter(encoded string) bool {
	// Most queries have neither, and need no look at their names.
	if !strings.Contains(encoded, parameter) && !strings.Contains(encoded, "%") {
		return false
	}
	// Not url.ParseQuery: it keeps everything, gives up on ten thousand
	// parameters, and skips those with a semicolon, which others split at.
	for pair := range strings.FieldsFuncSeq(encoded, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == parameter {
			return true
		}
	}
	return false
}
