package totp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// base32Text has no padding, because some authenticator apps reject it.
var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// Bounds of a shared secret, in bytes. RFC 4226 section 4, R6, requires 128 bits.
// shortSecret is the bound with Config.InsecureShortSecrets. A secret longer than a
// block of the hash function adds no strength.
const shortSecret, minSecret, maxSecret = 10, 16, 128

// A key is a shared secret with the parameters of its codes, as it is sealed.
type key struct {
	algorithm Algorithm
	digits    int
	secret    []byte

	// secretFrom and recoveryFrom identify the sessions in which the secret
	// was confirmed and the recovery codes were made. Neither raises its own
	// session. They are sealed, so that write access to the store cannot
	// change them.
	secretFrom, recoveryFrom sessionTag
}

// A sessionTag is a hash of the ID of a session, zero for no session.
type sessionTag [16]byte

func tagOf(session string) (t sessionTag) {
	if session != "" {
		sum := sha256.Sum256([]byte("gatewright/totp/session\x00" + session))
		copy(t[:], sum[:])
	}
	return t
}

// is reports whether t is the tag of that session.
func (t sessionTag) is(session string) bool { return session != "" && t == tagOf(session) }

// newKey returns a random key as long as the output of its hash function
// (RFC 6238 section 5.1), 160 bits for SHA-1.
func newKey(a Algorithm, digits int) key {
	k := key{algorithm: a, digits: digits, secret: make([]byte, map[Algorithm]int{SHA1: 20, SHA256: 32, SHA512: 64}[a])}
	rand.Read(k.secret)
	return k
}

// check returns an error if k is not usable. The codes of an empty secret, for example,
// are public.
func (k key) check(atLeast int) error {
	switch {
	case len(k.secret) < atLeast || len(k.secret) > maxSecret:
		return fmt.Errorf("totp: a secret has %d bytes; use %d to %d", len(k.secret), atLeast, maxSecret)
	case k.algorithm < SHA1 || k.algorithm > SHA512:
		return fmt.Errorf("totp: a secret is for %v; use SHA1, SHA256 or SHA512", k.algorithm)
	case k.digits != 6 && k.digits != 8:
		return fmt.Errorf("totp: a secret is for codes of %d digits; use 6 or 8", k.digits)
	}
	return nil
}

// Versions of a sealed key, its first byte.
const untaggedKey, taggedKey = 1, 2

// marshal returns the plain text to seal. It has the parameters of k, so that a new
// Config does not affect existing factors.
func (k key) marshal() []byte {
	b := []byte{taggedKey, byte(k.algorithm), byte(k.digits)}
	b = append(b, k.secretFrom[:]...)
	b = append(b, k.recoveryFrom[:]...)
	return append(b, k.secret...)
}

func unmarshalKey(b []byte) (key, error) {
	malformed := errors.New("totp: the sealed value is not a key")
	if len(b) < 3 {
		return key{}, malformed
	}
	k := key{algorithm: Algorithm(b[1]), digits: int(b[2])}
	switch version, rest := b[0], b[3:]; {
	case version == untaggedKey:
		k.secret = rest
	case version == taggedKey && len(rest) >= 2*len(sessionTag{}):
		n := copy(k.secretFrom[:], rest)
		n += copy(k.recoveryFrom[:], rest[n:])
		k.secret = rest[n:]
	default:
		return key{}, malformed
	}
	return k, k.check(shortSecret)
}

// stepOf returns the time step of t, which is negative before 1970.
func stepOf(t time.Time) int64 {
	seconds := t.Unix()
	step := seconds / period
	if seconds%period < 0 {
		step--
	}
	return step
}

// match returns the step of code, from now-skew to now+skew and after used. Of two
// steps with the same code it returns the later one; otherwise the code could be used
// twice.
func (k key) match(code string, now, skew, used int64) (step int64, ok bool, err error) {
	if err := k.check(shortSecret); err != nil {
		return 0, false, err
	}
	text := base32Text.EncodeToString(k.secret)
	for s := max(now-skew, used+1, 0); s <= now+skew; s++ {
		want, err := k.code(text, s)
		if err != nil {
			return 0, false, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok, nil
}

// code returns the code of a non-negative step. text is the secret in base32.
func (k key) code(text string, step int64) (string, error) {
	return hotp.GenerateCodeCustom(text, uint64(step), hotp.ValidateOpts{
		Digits:    otp.Digits(k.digits),
		Algorithm: [...]otp.Algorithm{otp.AlgorithmSHA1, otp.AlgorithmSHA256, otp.AlgorithmSHA512}[k.algorithm],
	})
}
