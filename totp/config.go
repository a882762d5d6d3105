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

// An Algorithm is the hash function that codes are made with.
type Algorithm int

// The algorithms of RFC 6238. Several authenticator apps ignore what the URI
// says and use SHA-1 all the same; its weakness is in collisions, which HMAC
// does not depend on.
const (
	SHA1 Algorithm = iota
	SHA256
	SHA512
)

// String returns the name of the algorithm, as it stands in the URI.
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

// Config says how second factors are set up and checked. Issuer is required.
type Config struct {
	// Issuer is the name of the application, as authenticator apps show it:
	// 1 to 64 bytes of UTF-8 without a colon. Required.
	Issuer string

	// Algorithm and Digits are those of new enrolments; existing ones keep
	// theirs. Digits is 6 or 8; the period is 30 seconds. Defaults: SHA1 and
	// 6, the only ones that all apps support.
	Algorithm Algorithm
	Digits    int

	// Strict takes the code of the current 30 seconds only. Otherwise those
	// of the step before and the step after are good too, as RFC 6238
	// sections 5.2 and 6 allow, each once. Default: false.
	Strict bool

	// FirstWait is how long no attempt is taken after a wrong code: 1 second
	// to 1 hour. Each further wrong code doubles it, up to Forgive.
	// Default: 1 second.
	FirstWait time.Duration

	// Forgive is how long it takes until one wrong code no longer counts
	// towards the waits: 1 minute to 30 days. A right code takes none of them
	// back: or else whoever has the password could use the owner's own
	// sign-ins to guess on. Default: 4 hours.
	Forgive time.Duration

	// MaxFailures is after how many wrong codes without a right one in
	// between no attempt is taken any more, until [Service.Unlock]: 1 to 100,
	// the most that NIST SP 800-63B-4 section 3.2.2 allows. Default: 100.
	MaxFailures int

	// PendingFor is how long an enrolment may wait to be confirmed: 1 minute
	// to 1 hour. Default: 10 minutes.
	PendingFor time.Duration

	// VerifyPassword verifies the current password of the caller, as a [Proof].
	// It returns [identity.ErrNotProven] for a wrong one; a [*guard.Denial] with
	// status 429 is passed on, and any other error is answered 503. Wrong
	// passwords count like wrong codes. The VerifyPassword of an auth.Server is
	// made for it. If nil, passwords are no proof.
	VerifyPassword func(ctx context.Context, p *identity.Principal, password string) error

	// UseGrant verifies and uses up a one-time grant for the caller, as a
	// [Proof]: what the host gives out after another proof, such as a passkey
	// or a sign-in at an identity provider, minutes ago. Its errors are those
	// of VerifyPassword. An auth.Server makes grants and has a UseGrant. If
	// nil, grants are no proof.
	//
	// If VerifyPassword and UseGrant are both nil, a first factor cannot be
	// confirmed, only imported.
	UseGrant func(ctx context.Context, p *identity.Principal, grant string) error

	// Revoked reports whether the session of the caller was ended. It reads
	// the log of revocations itself, not a replica. It is called after a
	// caller's change was saved; if the session was ended meanwhile, the
	// change is taken back and refused. If nil, a change that was under way
	// when the session ended may stay.
	Revoked func(ctx context.Context, p *identity.Principal) (bool, error)

	// End ends what was made under a factor that is removed, reset or replaced
	// (see Change.Kind), such as the API keys of the user. It is called before
	// the change, which does not happen if End fails, and again after it. If
	// nil, nothing is ended.
	End func(ctx context.Context, c Change) error

	// InsecureShortSecrets lets [Service.Import] accept secrets of 10 to 15
	// bytes, which several older systems made. An attacker who sees a few codes
	// can then search for the secret: 80 bits are within reach of the largest
	// attackers, 128 bits are not. If false, secrets have at least 16 bytes.
	InsecureShortSecrets bool

	// QRSize is the width of the QR code of SetupHandler, in pixels, 128 to
	// 1024. Where it does not have two pixels for each module the picture is
	// larger. Default: 320.
	QRSize int

	// ACRValues are the authentication contexts that the challenge of
	// [Service.Handler] names (RFC 9470 section 3). Default: none.
	ACRValues []string

	// User returns the name under which the factor of a caller is kept: what
	// package auth calls the subject. Where several issuers give out
	// subjects, it must refuse those of the others. Its errors are refusals
	// as a guard's are. It is asked when the body has been read, which the
	// client may have taken long to send: a host refuses here who was signed
	// out meanwhile. Default: the Subject; callers without a Session, such
	// as those with an API key, are refused with 403.
	User func(ctx context.Context, p *identity.Principal) (string, error)

	// Account returns the name that authenticator apps show beside Issuer,
	// such as the caller's e-mail address: 1 to 254 bytes of UTF-8 without a
	// colon. An error is answered 503. Default: the Subject, which says
	// nothing to people where it is a number.
	Account func(ctx context.Context, p *identity.Principal) (string, error)

	// Notify is called after each change was saved, with the kinds EventBegun
	// to EventUnlocked, for a message to the user. It runs in the goroutine of
	// the change and must not block. If nil, nothing is called.
	Notify func(ctx context.Context, c Change)

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
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
		mistake("Config.Issuer is %q, want the application's name: %w", c.Issuer, err)
	}
	if c.Algorithm < SHA1 || c.Algorithm > SHA512 {
		mistake("Config.Algorithm is %v, want SHA1, SHA256 or SHA512", c.Algorithm)
	}
	if c.Digits != 6 && c.Digits != 8 {
		mistake("Config.Digits is %d, want 6 or 8", c.Digits)
	}
	duration := func(name string, d, atLeast, atMost time.Duration) {
		if d < atLeast || d > atMost {
			mistake("Config.%s is %v, want %v to %v", name, d, atLeast, atMost)
		}
	}
	duration("FirstWait", c.FirstWait, time.Second, time.Hour)
	duration("Forgive", c.Forgive, time.Minute, longestForget)
	duration("PendingFor", c.PendingFor, time.Minute, time.Hour)
	if c.MaxFailures < 1 || c.MaxFailures > 100 {
		mistake("Config.MaxFailures is %d, want 1 to 100 (NIST SP 800-63B-4 section 3.2.2)", c.MaxFailures)
	}
	if c.QRSize < minQR || c.QRSize > maxQR {
		mistake("Config.QRSize is %d, want %d to %d", c.QRSize, minQR, maxQR)
	}
	if len(errs) == 0 {
		if risk := c.Risk(); risk > highestRisk {
			mistake("Config.Forgive is %v, which makes Config.Risk() %.2g, want at most %v a year: "+
				"a longer Forgive, 8 Digits, or Strict", c.Forgive, risk, highestRisk)
		}
	}
	return errs
}

// Risk returns the probability that somebody who knows the password of an
// account guesses a code within a year, 0 to 1. New refuses a Config for which
// it is above 0.01; for the zero Config it is 0.0066.
//
// It takes the worst case: the attacker tries at every moment at which an
// attempt is taken, and the owner signs in often enough for MaxFailures never
// to be reached. Where the owner does not, the attacker has MaxFailures
// attempts in all, which makes 0.0003 for the zero Config.
//
// Each attempt has 3 codes of a million to hit, or 1 with Strict, and there is
// one for each time Forgive that passes, after as many as fit while the waits
// still grow. A Config with a field that New refuses has the risk 1.
func (c Config) Risk() float64 {
	c = c.withDefaults()
	if c.FirstWait <= 0 || c.Forgive <= 0 || c.Digits < 1 {
		return 1
	}
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

// checkLabel returns what keeps s out of the label of a URI. The colon parts
// issuer and account, and apps differ in whether they look for it before or
// after they unescape, so there is no way to write one.
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
