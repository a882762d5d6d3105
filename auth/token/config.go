package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// Types of tokens, the "typ" of their header.
const (
	TypeAccess  = "at+jwt" // access tokens, RFC 9068 section 2.1
	TypeRefresh = "rt+jwt" // refresh tokens of package auth
)

// A Revoker reports which credentials are revoked, for example a *blacklist.Replica.
// It must be safe for concurrent use.
type Revoker interface {
	// Revoked reports whether the credential of p is revoked. Errors are answered 503.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}

// VerifierConfig configures a [Verifier].
type VerifierConfig struct {
	// Issuer is the exact "iss" of the tokens. Required.
	Issuer string

	// Audience is the exact identifier of this service in "aud". Required.
	Audience string

	// Type is the "typ" of the tokens. Default: [TypeAccess].
	Type string

	// Revoker is called for each otherwise valid token. Required without
	// InsecureNoRevoker.
	Revoker Revoker

	// InsecureNoRevoker accepts tokens of issuers without revocations. Risk: a stolen
	// access token is valid until it expires.
	InsecureNoRevoker bool

	// Foreign marks an issuer of another organization, whose tokens state only
	// Subject, Client, Credential and Session, and what Profile names. A Profile
	// implies Foreign.
	Foreign bool

	// Profile describes tokens that differ from RFC 9068 and what they grant. The zero
	// Profile grants nothing to tokens of a Foreign issuer.
	Profile Profile

	// Header is the request header with the token, for example
	// "Cf-Access-Jwt-Assertion". A client can send any header. Default: Authorization
	// with the scheme Bearer.
	Header string

	// Leeway is how far the issuer's clock may be ahead ("nbf" and "iat", not "exp"),
	// at most 5 minutes. Default: 30 seconds.
	Leeway time.Duration

	// MaxLifetime is the longest time from "iat" to "exp". Default: 24 hours.
	MaxLifetime time.Duration

	// MaxSize is the largest token in bytes, 128 to 65,536; headers have at most 1024.
	// Default: 8192.
	MaxSize int

	// CacheSize is the number of cached valid tokens, of one to four kilobytes, at
	// most 1,048,576. Negative: no cache. Default: 4096.
	CacheSize int

	// Realm and ResourceMetadata are parameters of the challenge (RFC 6750 section 3,
	// RFC 9728 section 5.1), one of which RFC 6750 requires.
	Realm, ResourceMetadata string
}

const maxCacheSize = 1 << 20

// withDefaults returns config with its defaults and the plan of its Profile. The
// error lists every mistake.
func (config VerifierConfig) withDefaults(keys KeySource) (VerifierConfig, *plan, error) {
	var errs []error
	mistake := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("auth/token: "+format, args...))
	}
	if keys == nil || !keys.made() {
		mistake("the KeySource is nil or zero; use NewKeyring, NewRemote or ParseKeySet")
	}
	if config.Issuer == "" {
		mistake(`VerifierConfig.Issuer is empty; use the "iss" of the tokens`)
	}
	if config.Audience == "" {
		mistake(`VerifierConfig.Audience is empty; use the identifier of this service in the "aud" of the tokens`)
	}
	switch {
	case config.Revoker == nil && !config.InsecureNoRevoker:
		mistake("VerifierConfig.Revoker is nil; use a blacklist.Replica, or InsecureNoRevoker for tokens that cannot be revoked")
	case config.Revoker != nil && config.InsecureNoRevoker:
		mistake("VerifierConfig.InsecureNoRevoker is true beside a Revoker; set one of them")
	}
	for _, f := range [...]struct{ name, value string }{
		{"Issuer", config.Issuer}, {"Audience", config.Audience}, {"Type", config.Type}, {"Profile.SubjectPrefix", config.Profile.SubjectPrefix},
	} {
		if !plainText(f.value) {
			mistake("VerifierConfig.%s is %q; use UTF-8 without control characters", f.name, f.value)
		}
	}
	config.Profile = config.Profile.clone()
	plan := newPlan(&config, mistake)
	if config.Type == "" {
		config.Type = TypeAccess
	}
	if len(config.Profile.Types) == 0 {
		config.Profile.Types = []string{config.Type}
	}
	if config.Header != "" {
		if config.Header != http.CanonicalHeaderKey(config.Header) || !isSegment(config.Header) || config.Header == "Authorization" || config.Header == "Cookie" {
			mistake("VerifierConfig.Header is %q; use the canonical name of a header other than Authorization and Cookie", config.Header)
		}
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
		mistake("VerifierConfig.CacheSize is %d; use at most %d", config.CacheSize, maxCacheSize)
	}
	if config.Leeway < 0 || config.Leeway > 5*time.Minute {
		mistake("VerifierConfig.Leeway is %v; use 0 to 5m", config.Leeway)
	}
	if config.MaxLifetime < 0 {
		mistake("VerifierConfig.MaxLifetime is %v; use a positive duration", config.MaxLifetime)
	}
	if config.MaxSize < 128 || config.MaxSize > 64<<10 {
		mistake("VerifierConfig.MaxSize is %d; use 128 to 65536 bytes", config.MaxSize)
	}
	return config, plan, errors.Join(errs...)
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}
