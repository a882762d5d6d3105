package password

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// The bounds on the parameters of a hash, whoever made it. What a stored hash
// asks for is compared with them before anything is allocated: a row that
// somebody could write to must not be able to take the process down.
const (
	maxEncoded = 512       // bytes of a stored hash
	maxMemory  = 256 << 10 // KiB; a Config may go above it, and then it is the bound
	maxPasses  = 16
	maxLanes   = 16
	minSalt    = 8  // bytes; RFC 9106 section 3.1
	maxSalt    = 64 // bytes
	minTag     = 16 // bytes
	maxTag     = 64 // bytes
	minCost    = 4  // of bcrypt; below it x/crypto refuses
	maxCost    = 16 // of bcrypt; four times the work of the costliest in common use
)

// bcryptSalt and bcryptTag are the lengths of the two in a bcrypt hash, in
// characters of bcryptAlphabet.
const (
	bcryptSalt     = 22
	bcryptTag      = 31
	bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// malformed returns an error that is an [ErrMalformed]. What it says may name
// numbers that were read as such, and never a part of the hash.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// unsupported returns an error that is an [ErrUnsupported], under the same
// rule.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

// foreign are the schemes that stored hashes are recognised as, in order to
// say what they are. Only these names get into an error: what stands between
// the first two dollar signs may be anything, a password among it.
var foreign = [...]struct{ prefix, name string }{
	{"$argon2i$", "argon2i"},
	{"$argon2d$", "argon2d"},
	{"$2x$", "bcrypt 2x, made by a library with a known defect"},
	{"$2$", "bcrypt 2, the first and defective version"},
	{"$bcrypt-sha256$", "passlib's bcrypt_sha256"},
	{"bcrypt_sha256$", "Django's bcrypt_sha256"},
	{"$scrypt$", "scrypt"},
	{"$7$", "scrypt"},
	{"scrypt$", "scrypt"},
	{"$y$", "yescrypt"},
	{"$pbkdf2", "PBKDF2"},
	{"pbkdf2_", "PBKDF2"},
	{"$5$", "sha256crypt"},
	{"$6$", "sha512crypt"},
	{"$1$", "md5crypt"},
	{"$apr1$", "Apache's md5crypt"},
	{"$P$", "phpass"},
	{"$H$", "phpass"},
}

// parse reads a stored hash. What it returns is within the bounds, with at
// most maxMemory KiB. Nothing that it allocates depends on the parameters.
//
// There is one spelling of each hash: what parse accepts, [digest.String]
// writes the same again.
func parse(encoded string, maxMemory uint32) (digest, error) {
	if len(encoded) > maxEncoded {
		return digest{}, malformed("it has %d bytes, want at most %d", len(encoded), maxEncoded)
	}
	if fields, ok := strings.CutPrefix(encoded, "$argon2id$"); ok {
		return parseArgon2id(fields, maxMemory)
	}
	for _, prefix := range [...]string{"$2a$", "$2b$", "$2y$"} {
		if strings.HasPrefix(encoded, prefix) {
			return parseBcrypt(encoded)
		}
	}
	for _, f := range foreign {
		if strings.HasPrefix(encoded, f.prefix) {
			return digest{}, unsupported("it is %s, want argon2id or bcrypt; its user needs a new password", f.name)
		}
	}
	return digest{}, malformed("it begins like no known scheme; a user without a password has an empty hash")
}

// parseArgon2id reads what follows "$argon2id$" in
//
//	$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$…
//
// which is the PHC string format, as the reference implementation of argon2
// writes it: these parameters in this order, and none of the optional ones.
func parseArgon2id(fields string, maxMemory uint32) (digest, error) {
	version, fields, _ := strings.Cut(fields, "$")
	params, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	if !ok {
		return digest{}, malformed("an argon2id hash has a version, parameters, a salt and a tag, and here one is missing")
	}
	if version == "v=16" {
		return digest{}, unsupported("it is argon2id of the draft version 16, want 19; its user needs a new password")
	}
	if version != "v=19" {
		return digest{}, malformed("its version of argon2id is not spelled v=19")
	}

	var numbers [3]uint32
	values := strings.Split(params, ",")
	if len(values) != len(numbers) {
		return digest{}, malformed("its parameters are not spelled m=…,t=…,p=…")
	}
	for i, name := range [...]string{"m=", "t=", "p="} {
		value, named := strings.CutPrefix(values[i], name)
		n, ok := decimal(value)
		if !named || !ok {
			return digest{}, malformed("its parameters are not spelled m=…,t=…,p=…, each a decimal number below 2^32")
		}
		numbers[i] = n
	}
	memory, passes, lanes := numbers[0], numbers[1], numbers[2]
	switch {
	case passes < 1 || passes > maxPasses:
		return digest{}, malformed("it has %d passes, want 1 to %d", passes, maxPasses)
	case lanes < 1 || lanes > maxLanes:
		return digest{}, malformed("it has %d lanes, want 1 to %d", lanes, maxLanes)
	case memory < 8*lanes:
		return digest{}, malformed("its memory is %d KiB with %d lanes, want at least 8 for each (RFC 9106 section 3.1)", memory, lanes)
	case memory > maxMemory:
		return digest{}, malformed("its memory is %d KiB, want at most %d, the smaller of the budget and the package's bound", memory, maxMemory)
	}

	d := digest{kdf: kdf{memory: memory, passes: passes, lanes: uint8(lanes)}}
	if d.salt, ok = decodeBase64(salt); !ok || len(d.salt) < minSalt || len(d.salt) > maxSalt {
		return digest{}, malformed("its salt is not %d to %d bytes of unpadded base64", minSalt, maxSalt)
	}
	if d.tag, ok = decodeBase64(tag); !ok || len(d.tag) < minTag || len(d.tag) > maxTag {
		return digest{}, malformed("its tag is not %d to %d bytes of unpadded base64", minTag, maxTag)
	}
	return d, nil
}

// decimal reads a number as the PHC string format spells it: no sign, and no
// zero in front.
func decimal(s string) (uint32, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// decodeBase64 reads standard base64 without padding, of which the unused bits
// are zero (RFC 4648 section 3.5). The decoder of the standard library skips
// line breaks even when it is strict.
func decodeBase64(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return b, err == nil
}

// parseBcrypt reads the whole of
//
//	$2b$12$ 22 characters of salt, 31 characters of tag
//
// which has 60 bytes, without the spaces. The prefixes 2a, 2b and 2y name the
// same function for passwords of up to 72 bytes.
func parseBcrypt(encoded string) (digest, error) {
	const salt, tag = len("$2b$12$"), len("$2b$12$") + bcryptSalt
	if len(encoded) != tag+bcryptTag {
		return digest{}, malformed("it is bcrypt and has %d bytes, want %d", len(encoded), tag+bcryptTag)
	}
	tens, ones := encoded[4]-'0', encoded[5]-'0'
	if tens > 9 || ones > 9 || encoded[6] != '$' {
		return digest{}, malformed("the cost of a bcrypt hash is two digits between dollar signs")
	}
	cost := 10*int(tens) + int(ones)
	if cost < minCost || cost > maxCost {
		return digest{}, malformed("its bcrypt cost is %d, want %d to %d", cost, minCost, maxCost)
	}
	for _, c := range []byte(encoded[salt:]) {
		if strings.IndexByte(bcryptAlphabet, c) < 0 {
			return digest{}, malformed("it is bcrypt and its salt or tag has a character that bcrypt's base64 has not")
		}
	}
	// The last character of the tag has two unused bits. One with them set is
	// never computed, so such a hash is damaged and no password would match it.
	// The last character of the salt has four, and libraries have set those:
	// passlib up to 1.5.2 did (its issue 25). They change nothing, so those
	// users may come in.
	if strings.IndexByte(bcryptAlphabet, encoded[len(encoded)-1])&3 != 0 {
		return digest{}, malformed("it is bcrypt and the unused bits of its tag are set")
	}
	return digest{
		kdf:   kdf{cost: cost},
		minor: encoded[2],
		salt:  []byte(encoded[salt:tag]),
		tag:   []byte(encoded[tag:]),
	}, nil
}

// String returns d as it is stored.
func (d digest) String() string {
	if d.isBcrypt() {
		return fmt.Sprintf("$2%c$%02d$%s%s", d.minor, d.cost, d.salt, d.tag)
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		d.memory, d.passes, d.lanes, b64.EncodeToString(d.salt), b64.EncodeToString(d.tag))
}
