package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of this package. No error text contains any part of a password or a hash.
var (
	// ErrEmpty is returned by [Hasher.Hash], ErrTooLong by Hash and [Policy.Check].
	ErrEmpty   = errors.New("password: the password is empty")
	ErrTooLong = errors.New("password: the password is longer than Config.MaxLength")

	// ErrMalformed means that a stored hash is damaged or its parameters are out of
	// bounds, ErrUnsupported that its scheme is not verified; the text states what to
	// do. Answer as for a wrong password, and alert the host.
	ErrMalformed   = errors.New("password: the stored hash is malformed")
	ErrUnsupported = errors.New("password: the stored hash has a scheme that is not verified")

	// ErrBusy means that too many calls wait for the [Budget], or one waited too long.
	// Nothing was hashed. Respond with 503 and Retry-After.
	ErrBusy = errors.New("password: too many passwords are being hashed at the moment")
)

// A Hasher hashes and verifies passwords. It is safe for concurrent use.
type Hasher struct {
	params     Argon2id // of new hashes
	bill       []kdf    // the work of a failed verification: params, then Config.Imported
	imported   []Scheme // Config.Imported
	weight     int64    // share of the budget: the largest memory on the bill
	readMemory uint32   // bound of stored hashes, in KiB
	maxLength  int
	truncate   bool
	budget     *Budget

	derive func(digest, []byte) []byte // derive; internal tests count here
}

// Hash returns a new hash of password as a PHC string. It returns [ErrEmpty],
// [ErrTooLong], [ErrBusy], or the error of ctx if ctx ends before the work.
func (h *Hasher) Hash(ctx context.Context, password string) (encoded string, err error) {
	if password == "" {
		return "", ErrEmpty
	}
	if len(password) > h.maxLength {
		return "", ErrTooLong
	}
	n := h.bill[0].weight()
	if err := h.budget.acquire(ctx, n); err != nil {
		return "", err
	}
	defer h.budget.release(n)
	return h.hash(password), nil
}

// hash needs a permit.
func (h *Hasher) hash(password string) string {
	d := digest{
		kdf:  h.bill[0],
		salt: make([]byte, h.params.SaltLength),
		tag:  make([]byte, h.params.TagLength),
	}
	rand.Read(d.salt) // never fails: crypto/rand ends the process instead
	d.tag = h.derive(d, []byte(password))
	return d.String()
}

// Verify reports whether encoded is a hash of password. For users who are unknown or
// have no password, pass an empty encoded: Verify does the same work and returns
// false. Empty passwords and passwords longer than [Config.MaxLength] match no hash.
//
// Upgraded is a new hash to store if encoded is still in its place; if that fails,
// the sign-in succeeds nevertheless. It is set if the password matches and encoded is
// not argon2id, has parameters listed in [Config.Imported], or is weaker than
// [Config.Argon2id], unless ctx has ended.
//
// [ErrMalformed] and [ErrUnsupported] are returned after the work of a wrong
// password, [ErrBusy] or the error of ctx before any work. A verification that has
// begun is finished.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (ok bool, upgraded string, err error) {
	stored, problem := h.read(encoded)
	// One permit for all runs, so that a call that has begun never waits again.
	n := max(h.weight, stored.weight())
	if err := h.budget.acquire(ctx, n); err != nil {
		return false, "", err
	}
	defer h.budget.release(n)

	at, padding := place(h.bill, stored)
	for i, k := range h.bill {
		if i != at {
			h.dummy(k, password)
			continue
		}
		// In the same order as for any hash: earlier runs change the state of the
		// caches, which the time of a run reveals.
		given, admitted := h.admit(password, stored)
		match := subtle.ConstantTimeCompare(h.derive(stored, given), stored.tag) == 1
		if match && admitted {
			if h.keeps(stored) || ctx.Err() != nil || stored.ignores(password) {
				return true, "", nil
			}
			return true, h.hash(password), nil
		}
		for _, k := range padding {
			h.dummy(k, password)
		}
	}
	return false, "", problem
}

// dummy runs k over the bytes of password that k would hash, because long passwords
// cost a little more, and discards the result.
func (h *Hasher) dummy(k kdf, password string) {
	d := dummy(k)
	given, _ := h.admit(password, d)
	h.derive(d, given)
}

// read returns the stored hash, or a digest without a tag if there is no hash to
// compare.
func (h *Hasher) read(encoded string) (digest, error) {
	if encoded == "" {
		return digest{}, nil
	}
	d, err := parse(encoded, h.readMemory)
	if err != nil {
		return digest{}, err
	}
	if want := d.scheme(); want != nil && !slices.ContainsFunc(h.imported, func(s Scheme) bool { return s.name() == want.name() }) {
		return digest{}, unsupported("it is %s; list password.%s in Config.Imported, or the highest cost of all hashes", d.function(), spell(want))
	}
	return d, nil
}

// spell returns s as it is written in Go, without the package.
func spell(s Scheme) string {
	if s, ok := s.(Scrypt); ok {
		return fmt.Sprintf("Scrypt{LogN: %d, R: %d, P: %d}", s.LogN, s.R, s.P)
	}
	return fmt.Sprintf("%s(%d)", s.name(), s)
}

// bcryptLength is how many bytes of a password bcrypt uses, and hmacBlock how many
// bytes HMAC-SHA256 uses as they are. PBKDF2, and scrypt by it, have the password as
// the key.
const (
	bcryptLength = 72
	hmacBlock    = 64
)

// admit returns the bytes that d is run over, and whether password may match a hash
// of its scheme. If not, the result of the run must be ignored.
func (h *Hasher) admit(password string, d digest) (given []byte, ok bool) {
	if password == "" || len(password) > h.maxLength {
		return nil, false
	}
	switch f := d.function(); {
	case f == bcryptFunction && !d.prehashed():
		// The library would look at the first 72 bytes only. It would also
		// take "secret" and "secret\x00secret" for the same, because bcrypt
		// repeats its key, with a NUL after it, until the 72 are full.
		if strings.IndexByte(password, 0) >= 0 {
			return nil, false
		}
		if len(password) > bcryptLength {
			if !h.truncate {
				return nil, false
			}
			password = password[:bcryptLength]
		}
	case f == pbkdf2Function || f == scryptFunction:
		// HMAC fills its key up with NULs (RFC 2104 section 2), so it takes
		// "secret" and "secret\x00" for the same.
		if len(password) <= hmacBlock && strings.HasSuffix(password, "\x00") {
			return nil, false
		}
	}
	return []byte(password), true
}

// ignores reports whether d is a hash of a part of password only: WordPress trims.
func (d digest) ignores(password string) bool {
	return d.spelling == wordPress && strings.Trim(password, phpSpace) != password
}

// keeps reports whether d stays stored after a match: if it is what hash would make,
// or stronger and not listed for replacement.
func (h *Hasher) keeps(d digest) bool {
	if d.function() != argon2idFunction || slices.Contains(h.bill[1:], d.kdf) {
		return false
	}
	want := h.bill[0]
	salt, tag := len(d.salt)-h.params.SaltLength, len(d.tag)-h.params.TagLength
	if d.kdf == want {
		return salt == 0 && tag == 0
	}
	stronger := d.blocks() > want.blocks() && d.memory >= want.memory && d.passes >= want.passes
	return stronger && salt >= 0 && tag >= 0
}
