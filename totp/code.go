package totp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// base32Text is how authenticator apps take secrets: capital letters without
// padding, which some of them do not skip.
var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// Bounds of a shared secret, in bytes: RFC 4226 section 4, R6, asks for 128
// bits. More than a block of the hash has no use.
const minSecret, maxSecret = 16, 128

// A key is a shared secret, and how codes are made with it.
type key struct {
	algorithm Algorithm
	digits    int
	secret    []byte
}

// newKey returns a random key as long as the output of its hash function
// (RFC 6238 section 5.1), 160 bits for SHA-1.
func newKey(a Algorithm, digits int) key {
	k := key{a, digits, make([]byte, map[Algorithm]int{SHA1: 20, SHA256: 32, SHA512: 64}[a])}
	rand.Read(k.secret)
	return k
}

// check returns what makes k unfit for use. An empty secret above all: its codes
// are everybody's to compute.
func (k key) check() error {
	switch {
	case len(k.secret) < minSecret || len(k.secret) > maxSecret:
		return fmt.Errorf("totp: a secret has %d bytes, want %d to %d", len(k.secret), minSecret, maxSecret)
	case k.algorithm < SHA1 || k.algorithm > SHA512:
		return fmt.Errorf("totp: a secret is for %v", k.algorithm)
	case k.digits != 6 && k.digits != 8:
		return fmt.Errorf("totp: a secret is for codes of %d digits", k.digits)
	}
	return nil
}

// keyVersion is the first byte of a key as it is sealed.
const keyVersion = 1

// marshal returns k as it is sealed, with its parameters, so that those of a
// Config can change.
func (k key) marshal() []byte {
	return append([]byte{keyVersion, byte(k.algorithm), byte(k.digits)}, k.secret...)
}

func unmarshalKey(b []byte) (key, error) {
	if len(b) < 3 || b[0] != keyVersion {
		return key{}, errors.New("totp: what was sealed is not a key")
	}
	k := key{Algorithm(b[1]), int(b[2]), b[3:]}
	return k, k.check()
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

// match returns the step of which code is the code, out of those up to skew
// before and after now, and after the last one that was used. Of two steps with
// the same code it is the later one, or else the code would be good twice.
func (k key) match(code string, now, skew, used int64) (step int64, ok bool, err error) {
	if err := k.check(); err != nil {
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

// code returns the code of a step, which is not negative. text is the secret in
// base32.
func (k key) code(text string, step int64) (string, error) {
	return hotp.GenerateCodeCustom(text, uint64(step), hotp.ValidateOpts{
		Digits:    otp.Digits(k.digits),
		Algorithm: [...]otp.Algorithm{otp.AlgorithmSHA1, otp.AlgorithmSHA256, otp.AlgorithmSHA512}[k.algorithm],
	})
}

const (
	recoveryCodes = 10
	recoverySize  = 15 // bytes: 120 bits
	recoveryText  = recoverySize * 8 / 5
	recoveryGroup = 4  // characters between two hyphens
	longestCode   = 64 // bytes of what somebody types
)

// parseCode returns what somebody typed as the digits of a code or as the bytes
// of a recovery code, and whether it can be one of the two.
//
// ASCII spaces and hyphens are left out wherever they stand, since apps show
// "123 456" and recovery codes are written in groups. Everything else that is
// not an ASCII digit or letter is refused, the digits of other scripts too.
func parseCode(typed string) (digits string, recovery []byte, ok bool) {
	if len(typed) > longestCode {
		return "", nil, false
	}
	var buf [longestCode]byte
	code, numeric := buf[:0], true
	for i := range len(typed) {
		c := typed[i]
		switch {
		case c == ' ' || c == '-':
			continue
		case '0' <= c && c <= '9':
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
			numeric = false
		case 'A' <= c && c <= 'Z':
			numeric = false
		default:
			return "", nil, false
		}
		code = append(code, c)
	}
	switch {
	case numeric && (len(code) == 6 || len(code) == 8):
		return string(code), nil, true
	case len(code) == recoveryText:
		recovery, err := base32Text.AppendDecode(nil, code)
		return "", recovery, err == nil
	}
	return "", nil, false
}

// hashRecovery binds a recovery code to its user. It is random, and so long
// that a plain hash keeps it (OWASP ASVS 5.0, 6.5.2).
func hashRecovery(user string, code []byte) RecoveryHash {
	b := []byte("gatewright/totp/recovery\x00")
	b = binary.BigEndian.AppendUint32(b, uint32(len(user)))
	b = append(b, user...)
	return sha256.Sum256(append(b, code...))
}
