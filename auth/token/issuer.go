package token

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// IssuerConfig configures an [Issuer].
type IssuerConfig struct {
	// Issuer is the "iss" of the tokens, a URL. Required.
	Issuer string

	// Audience is the "aud" of the tokens. Required.
	Audience string

	// Type is the "typ" of the tokens. Default: [TypeAccess].
	Type string

	// Lifetime is how long a token is valid, at least 1 second. Default: 15 minutes.
	Lifetime time.Duration

	// SignTimeout bounds each call of a key management system, of which at most 64 run
	// at once. Default: 3 seconds.
	SignTimeout time.Duration
}

// maxSigning bounds the concurrent calls of a Signer, so that a Signer that hangs
// does not collect goroutines.
const maxSigning = 64

// An Issuer signs tokens. It is safe for concurrent use.
type Issuer struct {
	config  IssuerConfig
	ring    *Keyring
	signing chan struct{} // a place for each call of a remote Signer
}

// NewIssuer returns an Issuer that signs with the keys of the ring. A time at which
// no key may sign is a mistake too.
func NewIssuer(ring *Keyring, config IssuerConfig) (*Issuer, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("auth/token: "+format, args...)) }
	switch {
	case !ring.made():
		mistake("the Keyring is nil or zero; use NewKeyring")
	case !slices.ContainsFunc(ring.state.Load().keys, (*key).canSign):
		mistake("the Keyring has no key that can sign; pass a key with Secret or Signer")
	}
	if config.Issuer == "" {
		mistake(`IssuerConfig.Issuer is empty; use the "iss" of the tokens, such as https://auth.example.com`)
	}
	if config.Audience == "" {
		mistake(`IssuerConfig.Audience is empty; use the "aud" of the tokens, such as https://api.example.com`)
	}
	for _, f := range [...]struct{ name, value string }{
		{"Issuer", config.Issuer}, {"Audience", config.Audience}, {"Type", config.Type},
	} {
		if !plainText(f.value) {
			mistake("IssuerConfig.%s is %q; use UTF-8 without control characters", f.name, f.value)
		}
	}
	if config.Type == "" {
		config.Type = TypeAccess
	}
	setDefault(&config.Lifetime, 15*time.Minute)
	if config.Lifetime < time.Second {
		mistake("IssuerConfig.Lifetime is %v; use at least 1s", config.Lifetime)
	}
	setDefault(&config.SignTimeout, 3*time.Second)
	if config.SignTimeout < 0 {
		mistake("IssuerConfig.SignTimeout is %v; use a positive duration", config.SignTimeout)
	}
	if errs == nil {
		if at, found := ring.state.Load().gap(time.Now(), config.Lifetime); found {
			errs = append(errs, gapError(at, config.Lifetime))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for longest := &ring.lifetime; ; { // what Replace has to mind from now on
		l := longest.Load()
		if l >= int64(config.Lifetime) || longest.CompareAndSwap(l, int64(config.Lifetime)) {
			break
		}
	}
	return &Issuer{config: config, ring: ring, signing: make(chan struct{}, maxSigning)}, nil
}

// Name returns IssuerConfig.Issuer.
func (i *Issuer) Name() string { return i.config.Issuer }

// Lifetime returns IssuerConfig.Lifetime.
func (i *Issuer) Lifetime() time.Duration { return i.config.Lifetime }

// payload is the claims set in the order of RFC 9068 section 2.2.
type payload struct {
	Issuer   string       `json:"iss"`
	Expires  int64        `json:"exp"`
	Audience string       `json:"aud"`
	Subject  string       `json:"sub"`
	Client   string       `json:"client_id"`
	IssuedAt json.Number  `json:"iat"`
	ID       string       `json:"jti"`
	AuthTime int64        `json:"auth_time,omitempty"`
	Factors  identity.Set `json:"amr,omitzero"`
	Scope    string       `json:"scope,omitempty"`
	Roles    identity.Set `json:"roles,omitzero"`
	Session  string       `json:"sid,omitempty"`
	Tenant   string       `json:"tenant,omitempty"`
}

// Issue signs a token for p. p.Subject is required. Issue sets p.Issuer, and
// p.Client, p.Credential, p.IssuedAt and p.Expires if they are empty. Issue times
// have microseconds, so that revocations can separate two sign-ins within a second.
//
// The members of the object extra, unless nil, become claims. Claims that this
// package writes are an error, as are tokens that a Verifier would reject as
// malformed. Issue also returns an error, which is answered 503, if the Signer fails,
// exceeds IssuerConfig.SignTimeout or ctx, or returns a wrong signature.
func (i *Issuer) Issue(ctx context.Context, p *identity.Principal, extra any) (string, error) {
	if p.Subject == "" {
		return "", errors.New("auth/token: Issue needs a Principal with a Subject")
	}
	if err := checkNames(p); err != nil {
		return "", err
	}
	p.Issuer = i.config.Issuer
	if p.Client == "" {
		p.Client = identity.FirstParty
	}
	if p.Credential == "" {
		p.Credential = rand.Text() // 130 bits: RFC 6749 section 10.10 requires 128
	}
	if p.IssuedAt.IsZero() {
		p.IssuedAt = time.Now()
	}
	p.IssuedAt = p.IssuedAt.Truncate(time.Microsecond)
	if p.Expires.IsZero() {
		p.Expires = p.IssuedAt.Add(i.config.Lifetime)
	}
	p.Expires = p.Expires.Truncate(time.Second)
	content := payload{
		Issuer:   i.config.Issuer,
		Expires:  p.Expires.Unix(),
		Audience: i.config.Audience,
		Subject:  p.Subject,
		Client:   p.Client,
		IssuedAt: numericDate(p.IssuedAt),
		ID:       p.Credential,
		Factors:  p.Factors,
		Scope:    p.Scopes.String(),
		Roles:    p.Roles,
		Session:  p.Session,
		Tenant:   p.Tenant,
	}
	if content.Scope != "" && (!validScope(content.Scope) || !identity.ParseSet(content.Scope).Equal(p.Scopes)) {
		return "", fmt.Errorf("auth/token: the scopes %q are not of the grammar of RFC 6749 section 3.3", content.Scope)
	}
	if !p.AuthTime.IsZero() {
		content.AuthTime = p.AuthTime.Unix()
	}
	body, err := json.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("auth/token: %w", err)
	}
	if extra != nil {
		if body, err = add(body, extra); err != nil {
			return "", err
		}
	}
	var check claims
	if err := ownPlan.read(string(body), i.config.Audience, &check); err != nil {
		return "", fmt.Errorf("auth/token: Issue would make a token that is refused: %w", err)
	}
	if !check.expires.After(check.issued) {
		return "", fmt.Errorf("auth/token: Issue would make a token that expires at %v, before it is issued at %v", date(p.Expires), date(p.IssuedAt))
	}
	k := i.ring.load().signing(time.Now(), p.Expires)
	if k == nil {
		return "", fmt.Errorf("auth/token: no key of the Keyring may sign a token until %v", date(p.Expires))
	}
	header, err := json.Marshal(struct {
		Alg  string `json:"alg"`
		Key  string `json:"kid"`
		Type string `json:"typ"`
	}{string(k.alg), k.id, i.config.Type})
	if err != nil {
		return "", fmt.Errorf("auth/token: IssuerConfig.Type: %w", err)
	}
	input := encode(header) + "." + encode(body)
	signature, err := i.sign(ctx, k, []byte(input))
	if err != nil {
		return "", fmt.Errorf("auth/token: signing: %w", err)
	}
	return input + "." + encode(signature), nil
}

// sign signs with k. It waits at most SignTimeout for a Signer that is not in memory;
// an abandoned call keeps its place until it returns.
func (i *Issuer) sign(ctx context.Context, k *key, input []byte) ([]byte, error) {
	if !k.remote {
		return k.sign(input)
	}
	ctx, cancel := context.WithTimeout(ctx, i.config.SignTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, err // without a call whose result is not used
	}
	select {
	case i.signing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for one of %d calls of the Signer to return: %w", maxSigning, ctx.Err())
	}
	type result struct {
		signature []byte
		err       error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errors.New("the Signer panicked")}
		defer func() {
			_ = recover() // or a panic would end the process, not the request
			done <- r
			<-i.signing
		}()
		signature, err := k.sign(input)
		if err == nil && !k.verify(string(input), input, signature) {
			err = errors.New("the Signer returned a signature that its own public key does not verify")
		}
		r = result{signature, err}
	}()
	select {
	case r := <-done:
		return r.signature, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the Signer did not answer: %w", ctx.Err())
	}
}

// checkNames returns an error for text that json.Marshal would replace, which could
// make two subjects equal, or that a verifier rejects.
func checkNames(p *identity.Principal) error {
	for _, f := range [...]struct{ name, value string }{
		{"Subject", p.Subject}, {"Client", p.Client}, {"Credential", p.Credential},
		{"Session", p.Session}, {"Tenant", p.Tenant},
	} {
		if !plainText(f.value) {
			return fmt.Errorf("auth/token: Principal.%s is %q; use UTF-8 without control characters", f.name, f.value)
		}
	}
	for _, f := range [...]struct {
		name string
		set  identity.Set
	}{{"Roles", p.Roles}, {"Factors", p.Factors}} {
		for name := range f.set.All() {
			if !plainText(name) {
				return fmt.Errorf("auth/token: Principal.%s has %q; use UTF-8 without control characters", f.name, name)
			}
		}
	}
	return nil
}

// add appends the members of extra to the object body.
func add(body []byte, extra any) ([]byte, error) {
	more, err := json.Marshal(extra)
	if err != nil {
		return nil, fmt.Errorf("auth/token: the extra claims: %w", err)
	}
	if string(more) == "null" {
		return body, nil
	}
	taken := -1
	err = ownPlan.known.Object(string(more), func(i int, _ value) error {
		taken = i
		return nil
	})
	if err == nil {
		// Names that occur twice are a mistake of the host.
		err = distinct(value(more))
	}
	switch {
	case taken >= 0:
		return nil, fmt.Errorf("auth/token: the extra claims have %q, which this package writes", ownPlan.known.All()[taken])
	case err != nil:
		return nil, fmt.Errorf("auth/token: the extra claims are not an object of plain, distinct names: %w", err)
	case string(more) == "{}":
		return body, nil
	}
	return append(append(body[:len(body)-1], ','), more[1:]...), nil
}

// numericDate writes t as seconds with a fraction of six digits, or none.
func numericDate(t time.Time) json.Number {
	s := strconv.FormatInt(t.Unix(), 10)
	if micros := t.Nanosecond() / 1000; micros != 0 {
		s += fmt.Sprintf(".%06d", micros)
	}
	return json.Number(s)
}
