package password

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"slices"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// Measured costs, which the page of the package only summarises:
//
// On a 2-core AMD EPYC VM, Go 1.26, November 2026, with default parameters:
//
//	Hash, and Verify without imported schemes    60 ms    64 MiB
//	Verify that fails, with Bcrypt(12) imported  250 ms   64 MiB
//	Verify that upgrades from bcrypt of cost 12  250 ms   64 MiB
//	what is more, with BcryptSHA256(12) imported 190 ms
//	… with Bcrypt(12) besides it                 nothing
//	… with PBKDF2SHA256(1_000_000) of Django     140 ms
//	… with Scrypt{14, 8, 5} of Django            130 ms   16 MiB
//	… with Argon2id{102400, 2, 8} of Django      70 ms    100 MiB
//	a stored hash at the bounds: PBKDF2          1.5 s
//	… scrypt                                     2 s      128 MiB
//	… bcrypt                                     3 s
//	Policy.Check, a blocklist of 100,000         1.3 µs
//	Verify that is refused with ErrBusy          0.5 µs
//	all that is not hashing                      0.8 µs
//
// Two at once share the processors: 16 sign-ins a second.
//
// With a budget of 192 MiB and GOMEMLIMIT=512MiB, 200 sign-ins at the same time made a
// process of 391 MiB. Padding that is not exact: an argon2id hash of 19 MiB, 2 passes
// and 1 lane under a default of 4 lanes took 5 to 15 % more on 2 cores; each run that
// pads a cheaper bcrypt hash sets up anew, 31 µs in 2.1 ms at cost 4 and some hundred
// times less at cost 12.

// A function is one of the key derivation functions.
type function uint8

const (
	argon2idFunction function = iota
	bcryptFunction
	pbkdf2Function
	scryptFunction
)

func (f function) String() string {
	return [...]string{"argon2id", "bcrypt", "PBKDF2-SHA256", "scrypt"}[f]
}

// A kdf is a key derivation function with the parameters that its time depends on:
// bcrypt if cost is set, PBKDF2 if iterations is, scrypt if r is, and otherwise
// argon2id.
type kdf struct {
	cost       int    // bcrypt: 2^cost rounds
	memory     uint32 // argon2id: KiB
	passes     uint32
	lanes      uint8
	iterations uint32 // PBKDF2
	logN, r, p uint8  // scrypt
}

func (k kdf) function() function {
	switch {
	case k.cost != 0:
		return bcryptFunction
	case k.iterations != 0:
		return pbkdf2Function
	case k.r != 0:
		return scryptFunction
	}
	return argon2idFunction
}

func (k kdf) isBcrypt() bool { return k.function() == bcryptFunction }

// blocks is how many blocks of 1 KiB a run of argon2id computes.
func (k kdf) blocks() uint64 { return uint64(k.memory) * uint64(k.passes) }

// scryptBlocks is how many blocks of 128 bytes a run of scrypt fills its
// memory with, which it does P times. Each is read once more.
func (k kdf) scryptBlocks() uint64 { return uint64(k.r) * uint64(k.p) << k.logN }

// kib is how much memory a run takes, in KiB. Scrypt has its N blocks of
// 128 × R bytes, P that it begins with and two to work on (RFC 7914 section 6,
// and x/crypto, which works on its P parts one after the other). Bcrypt takes
// 4 KiB and PBKDF2 less, which is left out of account.
func (k kdf) kib() uint32 {
	if k.function() == scryptFunction {
		return uint32((uint64(k.r)*(1<<k.logN+uint64(k.p)+2) + 7) / 8)
	}
	return k.memory
}

// weight is how much of a budget a run takes, in bytes.
func (k kdf) weight() int64 { return int64(k.kib()) << 10 }

// less returns the runs that remain of k once done has been run, for two of
// the same function: together they are as much work as k, or none if done was
// more.
//
// For bcrypt that is exact: 2^c + (2^c + 2^(c+1) + … + 2^(C-1)) = 2^C. For
// PBKDF2 it is exact in iterations. For scrypt it is exact in the blocks
// computed when both have the same r, and short of less than 2 × r of them
// otherwise. For argon2id it is exact in the blocks computed, up to 8 for each
// lane. For these two it is near in time: a smaller memory fits the caches
// better, and the lanes of done may be fewer than there are cores.
func (k kdf) less(done kdf) (runs []kdf) {
	switch k.function() {
	case bcryptFunction:
		for c := done.cost; c < k.cost; c++ {
			runs = append(runs, kdf{cost: c})
		}
	case pbkdf2Function:
		if done.iterations < k.iterations {
			runs = append(runs, kdf{iterations: k.iterations - done.iterations})
		}
	case scryptFunction:
		if done.scryptBlocks() >= k.scryptBlocks() {
			return nil
		}
		// In units of r blocks: as many whole parts as there are, which are
		// one run, and a power of two for each bit of what remains.
		left := (k.scryptBlocks() - done.scryptBlocks()) / uint64(k.r)
		if whole := uint8(left >> k.logN); whole > 0 {
			runs = append(runs, kdf{logN: k.logN, r: k.r, p: whole})
		}
		for logN := k.logN - 1; logN >= 1; logN-- { // 2 is the least N there is
			if left>>logN&1 == 1 {
				runs = append(runs, kdf{logN: logN, r: k.r, p: 1})
			}
		}
	case argon2idFunction:
		if done.blocks() >= k.blocks() {
			return nil
		}
		left := k.blocks() - done.blocks()
		whole, part := uint32(left/uint64(k.memory)), uint32(left%uint64(k.memory))
		if whole > 0 {
			runs = append(runs, kdf{memory: k.memory, passes: whole, lanes: k.lanes})
		}
		if part >= 8*uint32(k.lanes) {
			runs = append(runs, kdf{memory: part, passes: 1, lanes: k.lanes})
		}
	}
	return runs
}

// place returns which run of a bill the stored hash replaces, -1 without a hash, and
// the padding for a cheaper hash. An exact match replaces itself, any other the first
// run of its function.
func place(bill []kdf, stored digest) (at int, padding []kdf) {
	if stored.tag == nil {
		return -1, nil
	}
	if i := slices.Index(bill, stored.kdf); i >= 0 {
		return i, nil
	}
	for i, k := range bill {
		if k.function() == stored.function() {
			return i, k.less(stored.kdf)
		}
	}
	// Unreachable, for read admits no other function.
	return -1, nil
}

// A digest is a parsed stored hash. The salt and tag of bcrypt are in its own base64.
type digest struct {
	kdf
	spelling  spelling
	minor     byte // bcrypt: 'a', 'b' or 'y'
	salt, tag []byte
}

// dummy returns a digest that costs one run of k.
func dummy(k kdf) digest {
	if !k.isBcrypt() {
		return digest{kdf: k, salt: make([]byte, 16), tag: make([]byte, 32)}
	}
	// A dot is six zero bits.
	return digest{
		kdf:   k,
		minor: 'b',
		salt:  bytes.Repeat([]byte("."), bcryptSalt),
		tag:   bytes.Repeat([]byte("."), bcryptTag),
	}
}

// derive runs the function of d once over password and returns the bytes to compare
// with the tag of d. It is the only place that runs a key derivation function; tests
// count its calls through a field of the Hasher.
func derive(d digest, password []byte) []byte {
	// Within the bounds that parse and New keep, neither scrypt nor PBKDF2
	// fails, unless GODEBUG=fips140=only has PBKDF2 refuse a short salt. Then
	// the key is nil, which is equal to no tag.
	switch d.function() {
	case bcryptFunction:
		if bcrypt.CompareHashAndPassword([]byte(d.bcrypt()), d.bcryptKey(password)) != nil {
			return nil
		}
		return d.tag
	case pbkdf2Function:
		key, _ := pbkdf2.Key(sha256.New, string(password), d.salt, int(d.iterations), len(d.tag))
		return key
	case scryptFunction:
		key, _ := scrypt.Key(password, d.salt, 1<<d.logN, int(d.r), int(d.p), len(d.tag))
		return key
	}
	return argon2.IDKey(password, d.salt, d.passes, d.memory, d.lanes, uint32(len(d.tag)))
}

// phpSpace is what WordPress trims by PHP's trim, except NUL, which no hash here
// matches.
const phpSpace = " \t\n\r\x0b"

// bcryptKey returns the input of bcrypt: the password or its digest.
func (d digest) bcryptKey(password []byte) []byte {
	switch d.spelling {
	case djangoSHA256:
		sum := sha256.Sum256(password)
		return hex.AppendEncode(nil, sum[:])
	case passlibSHA256v1:
		sum := sha256.Sum256(password)
		return base64.StdEncoding.AppendEncode(nil, sum[:])
	case passlibSHA256v2:
		mac := hmac.New(sha256.New, d.salt) // as it is spelled, not decoded
		mac.Write(password)
		return base64.StdEncoding.AppendEncode(nil, mac.Sum(nil))
	case wordPress:
		mac := hmac.New(sha512.New384, []byte("wp-sha384"))
		mac.Write(bytes.Trim(password, phpSpace))
		return base64.StdEncoding.AppendEncode(nil, mac.Sum(nil))
	}
	return password
}
