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

// The errors that callers may want to tell apart with [errors.Is]. None of
// them, and nothing wrapped around them, has any part of a password or a hash
// in it.
var (
	// ErrEmpty and ErrTooLong are of [Hasher.Hash], the latter of
	// [Policy.Check] too: the user has to choose another password.
	ErrEmpty   = errors.New("password: the password is empty")
	ErrTooLong = errors.New("password: the password is longer than Config.MaxLength")

	// ErrMalformed means that a stored hash is damaged, or that its
	// parameters are out of bounds, and ErrUnsupported that it is of a scheme
	// that the Hasher was not set up for, or that this package does not know;
	// the text names the scheme and what to do. The user cannot sign in, and should
	// be told what a user with a wrong password is told; the host should be
	// alarmed.
	ErrMalformed   = errors.New("password: the stored hash is malformed")
	ErrUnsupported = errors.New("password: the stored hash is of a scheme that is not verified")

	// ErrBusy means that the [Budget] is spent and too many wait for it, or
	// that one has waited too long. Nothing was hashed. Over HTTP it is a 503
	// with Retry-After.
	ErrBusy = errors.New("password: too many passwords are being hashed at the moment")
)

// A Hasher hashes passwords and verifies them. It is made by [New], and safe for
// concurrent use.
type Hasher struct {
	params     Argon2id // of new hashes
	bill       []kdf    // what a failed verification costs: params, then Config.Imported
	imported   []Scheme // Config.Imported
	weight     int64    // what it takes of the budget: the largest memory on the bill
	readMemory uint32   // how many KiB a stored hash may ask for
	maxLength  int
	truncate   bool
	budget     *Budget

	derive func(digest, []byte) []byte // derive; internal tests count here
}

// Hash returns a new hash of password, for the host to store:
//
//	$argon2id$v=19$m=65536,t=3,p=4$ salt $ tag
//
// The bytes of the password are taken as they are. The error is [ErrEmpty],
// [ErrTooLong], [ErrBusy] or that of ctx, which is obeyed while waiting for the
// [Budget]; a hash that has begun is finished.
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

// Verify reports whether encoded, which the host has stored for the user, is a
// hash of password. For a user who is unknown, or has no password, encoded is
// empty; then the work is done all the same, and ok is false. An empty
// password, and one longer than [Config.MaxLength], match nothing.
//
// A password that matches may come with a hash to replace the stored one:
// upgraded is not empty when that was of another function than argon2id, has
// parameters that [Config.Imported] lists, or is of other parameters than
// [Config.Argon2id] and not stronger. The host stores it, if it still finds
// encoded in its place; when that fails, the user is signed in nevertheless, and
// the next time will do. Upgraded is empty too when ctx has ended by then: a
// sign-in does not fail for it.
//
// Each call that ends with ok false did the same work, by which rule all
// schemes of [Config.Imported] are paid for; the security considerations of
// the package tell the limits. An err of [ErrMalformed] or [ErrUnsupported]
// comes after that work, and is about the stored hash. Any other is [ErrBusy]
// or that of ctx, and comes before it: nothing is known about the password
// then. Once begun, a verification is finished, since to stop it midway would
// take a time that depends on the kind of hash.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (ok bool, upgraded string, err error) {
	stored, problem := h.read(encoded)
	// One permit for all the runs: who has begun never waits again.
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
		// In its place, for what ran before leaves the caches in a state
		// that can be told by time.
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

// dummy does the work of one run of k over what password would be to it, and
// throws away what comes of it. A long password costs a little more than a
// short one, so it must do so here as well.
func (h *Hasher) dummy(k kdf, password string) {
	d := dummy(k)
	given, _ := h.admit(password, d)
	h.derive(d, given)
}

// read returns the stored hash, or a digest without a tag if there is none to
// compare with.
func (h *Hasher) read(encoded string) (digest, error) {
	if encoded == "" {
		return digest{}, nil
	}
	d, err := parse(encoded, h.readMemory)
	if err != nil {
		return digest{}, err
	}
	if want := d.scheme(); want != nil && !slices.ContainsFunc(h.imported, func(s Scheme) bool { return s.name() == want.name() }) {
		return digest{}, unsupported("it is %s; list password.%s in Config.Imported, or a higher cost if others have one", d.function(), spell(want))
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

// bcryptLength is how many bytes of a password bcrypt looks at, and hmacBlock
// how many HMAC-SHA256 takes as they are: PBKDF2 and scrypt, which begins with
// PBKDF2, have the password for its key.
const (
	bcryptLength = 72
	hmacBlock    = 64
)

// admit returns the bytes that d is run over, and whether password may match a
// hash of that scheme at all. If not, d is run over nothing, and what comes of
// it does not count.
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

// ignores reports whether d is a hash of a part of password only, so that what
// was typed today may not be what is typed tomorrow: WordPress trims.
func (d digest) ignores(password string) bool {
	return d.spelling == wordPress && strings.Trim(password, phpSpace) != password
}

// keeps reports whether d stays stored once its password is known. It does
// when it is what hash would make, and when it is stronger: nothing is
// replaced by something weaker, unless the host listed it to be replaced.
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
