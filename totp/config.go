package totp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// An Algorithm is the hash function of codes (RFC 6238).
type Algorithm int

// The algorithms of RFC 6238. Several authenticator apps support SHA1 only, whose
// collisions do not affect HMAC.
const (
	SHA1 Algorithm = iota
	SHA256
	SHA512
)

// String returns the name in the URI.
func (a Algorithm) String() string {
	switch a {
	case SHA1:
		return "SHA1"
	case SHA256:
		return "SHA256"
	case SHA512:
		return "SHA512"
	}
	return fmt.Sprintf("Algorithm(%d)", int(a))
}

// Config configures a [Service].
type Config struct {
	// Issuer is the name of the application in authenticator apps: 1 to 64 bytes
	// of UTF-8 without a colon. Required.
	Issuer string

	// Algorithm and Digits (6 or 8) apply to new enrolments. Default: SHA1 and
	// 6, which all apps support.
	Algorithm Algorithm
	Digits    int

	// Strict refuses codes of the previous and the next 30-second step (RFC
	// 6238 sections 5.2 and 6).
	Strict bool

	// FirstWait is the wait after a wrong attempt, 1 second to 1 hour. Each
	// further one doubles it, up to Forgive. Default: 1 second.
	FirstWait time.Duration

	// Forgive is the time after which one wrong attempt no longer lengthens the
	// waits, 1 minute to 30 days. Default: 4 hours.
	Forgive time.Duration

	// MaxFailures is the number of wrong attempts since the last right code
	// that lock the factor until [Service.Unlock]: 1 to 100 (NIST SP 800-63B-4
	// section 3.2.2). Default: 100.
	MaxFailures int

	// PendingFor is how long an enrolment can be confirmed, 1 minute to 1 hour.
	// Default: 10 minutes.
	PendingFor time.Duration

	// VerifyPassword verifies the caller's current password; see auth.Server.
	// It returns [identity.ErrNotProven] for a wrong one, which counts like a
	// wrong code, or a [*guard.Denial] with status 429. Other errors are
	// answered 503. If nil, passwords are no [Proof].
	VerifyPassword func(ctx context.Context, p *identity.Principal, password string) error

	// UseGrant uses up a one-time grant of the caller; see auth.Server. It
	// returns the errors of VerifyPassword. If nil, grants are no [Proof]. If
	// both are nil, a first factor can only be imported.
	UseGrant func(ctx context.Context, p *identity.Principal, grant string) error

	// Revoked reports whether the session of p has ended, from the log of
	// revocations, not a replica. It is called after a change by p was saved; true
	// or an error takes the change back. If nil, the change stays.
	Revoked func(ctx context.Context, p *identity.Principal) (bool, error)

	// End ends credentials, for example API keys, that were made under a
	// removed, reset or replaced factor. It is called before the change, which
	// its error prevents, and after it. If nil, nothing is ended.
	End func(ctx context.Context, c Change) error

	// InsecureShortSecrets lets [Service.Import] accept secrets of 10 to 15
	// bytes. A well-equipped attacker with a few codes can find a secret of 10.
	InsecureShortSecrets bool

	// QRSize is the size of the PNG of SetupHandler, 128 to 1024 pixels; see
	// [Enrolment.PNG]. Default: 320.
	QRSize int

	// ACRValues is acr_values in the challenge of [Service.Handler] (RFC 9470
	// section 3).
	ACRValues []string

	// User returns the caller's user name in the Store, or the refusal. It must
	// refuse all issuers but one. Handlers call it after the body was read, so
	// it can refuse ended sessions. Default: the Subject, and 403 without a
	// Session, for example for API keys.
	User func(ctx context.Context, p *identity.Principal) (string, error)

	// Account returns the account name in authenticator apps: 1 to 254 bytes of
	// UTF-8 without a colon. An error is answered 503. Default: the Subject.
	Account func(ctx context.Context, p *identity.Principal) (string, error)

	// Notify, if not nil, is called after a change was saved. It must not block.
	Notify func(ctx context.Context, c Change)

	Hooks guard.Hooks
}

const (
	period        = 30 // seconds
	maxIssuer     = 64 // bytes
	maxAccount    = 254
	maxUser       = 255
	minQR, maxQR  = 128, 1024 // pixels
	highestRisk   = 0.01      // a year
	year          = 365 * 24 * time.Hour
	longestForget = 30 * 24 * time.Hour
)

// withDefaults returns c with each zero field set to its default.
func (c Config) withDefaults() Config {
	if c.Digits == 0 {
		c.Digits = 6
	}
	if c.FirstWait == 0 {
		c.FirstWait = time.Second
	}
	if c.Forgive == 0 {
		c.Forgive = 4 * time.Hour
	}
	if c.MaxFailures == 0 {
		c.MaxFailures = 100
	}
	if c.PendingFor == 0 {
		c.PendingFor = 10 * time.Minute
	}
	if c.QRSize == 0 {
		c.QRSize = 320
	}
	if c.User == nil {
		c.User = subjectOf
	}
	if c.Account == nil {
		c.Account = func(_ context.Context, p *identity.Principal) (string, error) { return p.Subject, nil }
	}
	return c
}

// subjectOf is the default of Config.User.
func subjectOf(_ context.Context, p *identity.Principal) (string, error) {
	if p.Session == "" {
		return "", guard.Forbidden(errors.New("totp: the credentials do not belong to a session"))
	}
	return p.Subject, nil
}

// check returns each mistake in c, whose defaults are set.
func (c Config) check() (errs []error) {
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("totp: "+format, args...)) }
	if err := checkLabel(c.Issuer, maxIssuer); err != nil {
		mistake("Config.Issuer is %q; use the name of the application: %w", c.Issuer, err)
	}
	if c.Algorithm < SHA1 || c.Algorithm > SHA512 {
		mistake("Config.Algorithm is %v; use SHA1, SHA256 or SHA512", c.Algorithm)
	}
	if c.Digits != 6 && c.Digits != 8 {
		mistake("Config.Digits is %d; use 6 or 8", c.Digits)
	}
	duration := func(name string, d, atLeast, atMost time.Duration) {
		if d < atLeast || d > atMost {
			mistake("Config.%s is %v; use %v to %v", name, d, atLeast, atMost)
		}
	}
	duration("FirstWait", c.FirstWait, time.Second, time.Hour)
	duration("Forgive", c.Forgive, time.Minute, longestForget)
	duration("PendingFor", c.PendingFor, time.Minute, time.Hour)
	if c.MaxFailures < 1 || c.MaxFailures > 100 {
		mistake("Config.MaxFailures is %d; use 1 to 100 (NIST SP 800-63B-4 section 3.2.2)", c.MaxFailures)
	}
	if c.QRSize < minQR || c.QRSize > maxQR {
		mistake("Config.QRSize is %d; use %d to %d", c.QRSize, minQR, maxQR)
	}
	if len(errs) == 0 {
		if risk := c.Risk(); risk > highestRisk {
			mistake("Config.Forgive is %v, which makes Config.Risk() %.2g, more than %v a year; "+
				"use a longer Forgive, 8 Digits, or Strict", c.Forgive, risk, highestRisk)
		}
	}
	return errs
}

// Risk returns the probability that an attacker with the password of an account
// guesses a code within a year, if the owner signs in often enough to never reach
// MaxFailures. It is 0.0066 for the zero Config and 1 for an invalid one. New refuses
// a Config above 0.01.
func (c Config) Risk() float64 {
	c = c.withDefaults()
	if c.FirstWait <= 0 || c.Forgive <= 0 || c.Digits < 1 {
		return 1
	}
	// One attempt per Forgive, after the attempts while the waits grow: 2204
	// for the zero Config, each with 3 good codes of a million, 1 with Strict.
	// If the owner never signs in, MaxFailures attempts: 0.0003.
	attempts := float64(year) / float64(c.Forgive)
	for wait := c.FirstWait; wait < c.Forgive; wait *= 2 {
		attempts++
	}
	good := float64(1 + 2*c.skew())
	return -math.Expm1(attempts * math.Log1p(-good/math.Pow10(c.Digits)))
}

// skew is how many steps before and after the current one are good.
func (c Config) skew() int64 {
	if c.Strict {
		return 0
	}
	return 1
}

// checkLabel returns what the label of a URI must be if s cannot be one. A colon
// separates issuer and account, and apps differ in whether an escaped one does.
func checkLabel(s string, longest int) error {
	switch {
	case s == "" || len(s) > longest:
		return fmt.Errorf("1 to %d bytes", longest)
	case !utf8.ValidString(s):
		return errors.New("UTF-8")
	case strings.Contains(s, ":"):
		return errors.New("without a colon")
	case strings.TrimSpace(s) != s:
		return errors.New("without spaces around it")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("without control characters")
	}
	return nil
}
