package password

import (
	"encoding/base64"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the parameters of a stored hash, checked before anything is allocated, so
// that a manipulated row cannot exhaust the process.
const (
	maxEncoded = 512       // bytes of a stored hash
	maxMemory  = 256 << 10 // KiB, or the memory in Config, if more
	maxPasses  = 16
	maxLanes   = 16
	minSalt    = 8  // bytes; RFC 9106 section 4 goes down to them
	maxSalt    = 64 // bytes
	minTag     = 16 // bytes
	maxTag     = 64 // bytes
	minCost    = 4  // of bcrypt; below it x/crypto refuses
	maxCost    = 16 // of bcrypt; four times the work of the costliest in common use

	maxIterations   = 10_000_000 // of PBKDF2; Django 5.2 has 1,000,000
	maxLogN         = 23         // of scrypt, of which the next line leaves less for an r or p above 1
	maxScryptBlocks = 1 << 23    // eight times what OWASP recommends: 2^17 × 8
	maxR, maxP      = 32, 16
	maxLongTag      = 128 // bytes, of PBKDF2, of which the first 32 are compared
	maxImportedSalt = 64  // bytes, of PBKDF2 and scrypt
)

// bcryptSalt and bcryptTag are the lengths of the two in a bcrypt hash, in
// characters of bcryptAlphabet.
const (
	bcryptSalt     = 22
	bcryptTag      = 31
	bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// malformed returns an [ErrMalformed]. Its text may contain numbers that were parsed,
// and never a part of the hash.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// unsupported returns an [ErrUnsupported], under the same rule.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

// A spelling is a format of a hash. For bcrypt it also determines the input.
type spelling uint8

const (
	// native is the PHC string format for argon2id and scrypt, the usual $2b$
	// for bcrypt, and passlib's for PBKDF2, which has no other.
	native spelling = iota

	// django begins with the name of the function, as Django has it, and a
	// dollar sign. For argon2id and bcrypt the native spelling follows.
	django

	djangoSHA256    // bcrypt over the SHA-256 of the password, in hexadecimal
	passlibSHA256v1 // bcrypt over that in base64
	passlibSHA256v2 // bcrypt over its HMAC-SHA256 under the salt, in base64
	wordPress       // bcrypt over an HMAC-SHA384 of it trimmed, in base64
)

// spellings are the beginnings of the hashes that are read, each with what
// reads the rest. None is the beginning of another's.
var spellings = [...]struct {
	prefix string
	parse  func(fields string, maxMemory uint32) (digest, error)
}{
	{"$argon2id$", parseArgon2id},
	{"argon2$argon2id$", inDjango(parseArgon2id, django)},
	{"$2", parseBcrypt},
	{"bcrypt$$2", inDjango(parseBcrypt, django)},
	{"bcrypt_sha256$$2", inDjango(parseBcrypt, djangoSHA256)},
	{"$bcrypt-sha256$", parsePasslibSHA256},
	{"$pbkdf2-sha256$", parsePBKDF2(native)},
	{"pbkdf2_sha256$", parsePBKDF2(django)},
	{"$scrypt$", parseScrypt},
	{"scrypt$", parseDjangoScrypt},
	{"$wp$2", inDjango(parseBcrypt, wordPress)},
	{"#jbcrypt:$2", parseBcrypt}, // Jenkins
	{"pbkdf2:sha256:", parseWerkzeugPBKDF2},
	{"scrypt:", parseWerkzeugScrypt},
	{"$s0$", parseSpringScrypt}, // lambdaworks
}

// parse reads a stored hash. What it returns is within the bounds, with at
// most maxMemory KiB. Nothing that it allocates depends on the parameters.
//
// A hash may have several spellings, of which [digest.String] writes one.
func parse(encoded string, maxMemory uint32) (digest, error) {
	if len(encoded) > maxEncoded {
		return digest{}, malformed("it has %d bytes; the maximum is %d", len(encoded), maxEncoded)
	}
	if strings.HasPrefix(encoded, "{") {
		return unlessWrong(parseBraced(encoded, maxMemory))
	}
	for _, s := range spellings {
		if fields, ok := strings.CutPrefix(encoded, s.prefix); ok {
			return unlessWrong(s.parse(fields, maxMemory))
		}
	}
	if name := recognise(encoded); name != "" {
		return digest{}, notVerified(name)
	}
	if strings.HasPrefix(encoded, "!") || strings.HasPrefix(encoded, "*") {
		return digest{}, unsupported("it is a mark for a user without a password, such as Django's; store an empty hash instead")
	}
	return digest{}, unsupported("it begins like no known scheme; a user without a password has an empty hash, and any other needs a new password")
}

// unlessWrong drops a partly read hash.
func unlessWrong(d digest, err error) (digest, error) {
	if err != nil {
		return digest{}, err
	}
	return d, nil
}

// inDjango returns a parse that sets another spelling.
func inDjango(parse func(string, uint32) (digest, error), s spelling) func(string, uint32) (digest, error) {
	return func(fields string, maxMemory uint32) (digest, error) {
		d, err := parse(fields, maxMemory)
		d.spelling = s
		return d, err
	}
}

// parseArgon2id reads what follows "$argon2id$" in
//
//	$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$…
//
// which is the PHC string format: each of these parameters once, in any order,
// and no optional one.
func parseArgon2id(fields string, maxMemory uint32) (digest, error) {
	if !strings.HasPrefix(fields, "v=") && strings.Count(fields, "$") == 2 {
		return digest{}, unsupported("it is argon2id without a version, which means the draft version 16 and not 19; its user needs a new password")
	}
	version, fields, _ := strings.Cut(fields, "$")
	params, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	if !ok {
		return digest{}, malformed("an argon2id hash has a version, parameters, a salt and a tag, and here one is missing")
	}
	if version == "v=16" {
		return digest{}, unsupported("it is argon2id of the draft version 16 and not 19; its user needs a new password")
	}
	if version != "v=19" {
		return digest{}, malformed("its version of argon2id is not spelled v=19")
	}

	if strings.Contains(params, "keyid=") || strings.Contains(params, "data=") {
		return digest{}, unsupported("it is argon2id with a key or associated data, which this package does not have; its user needs a new password")
	}
	numbers, ok := parameters(params, "m", "t", "p")
	if !ok {
		return digest{}, malformed("its parameters are not spelled m=…,t=…,p=…, each once and a decimal number below 2^32")
	}
	memory, passes, lanes := numbers[0], numbers[1], numbers[2]
	switch {
	case passes < 1 || passes > maxPasses:
		return digest{}, malformed("it has %d passes, not 1 to %d", passes, maxPasses)
	case lanes < 1 || lanes > maxLanes:
		return digest{}, malformed("it has %d lanes, not 1 to %d", lanes, maxLanes)
	case memory < 8*lanes:
		return digest{}, malformed("its memory is %d KiB with %d lanes and less than 8 for each (RFC 9106 section 3.1)", memory, lanes)
	case memory > maxMemory:
		return digest{}, malformed("its memory is %d KiB; the maximum is %d, the smaller of the budget and the package's bound", memory, maxMemory)
	}

	d := digest{kdf: kdf{memory: memory, passes: passes, lanes: uint8(lanes)}}
	if d.salt, ok = decode(base64.RawStdEncoding, salt); !ok || len(d.salt) < minSalt || len(d.salt) > maxSalt {
		return digest{}, malformed("its salt is not %d to %d bytes of unpadded base64", minSalt, maxSalt)
	}
	if d.tag, ok = decode(base64.RawStdEncoding, tag); !ok || len(d.tag) < minTag || len(d.tag) > maxTag {
		return digest{}, malformed("its tag is not %d to %d bytes of unpadded base64", minTag, maxTag)
	}
	return d, nil
}

// parameters reads three numbers that are named, each once and in any order, and
// returns them in the order of names.
func parameters(s string, names ...string) (numbers [3]uint32, ok bool) {
	values, ok := named(s, names...)
	if !ok {
		return numbers, false
	}
	for i := range numbers {
		if numbers[i], ok = decimal(values[i]); !ok {
			return numbers, false
		}
	}
	return numbers, true
}

// named reads the values of name=value pairs between commas: each of three names
// once, in any order, and nothing else.
func named(s string, names ...string) (values [3]string, ok bool) {
	var seen [3]bool
	pairs := strings.Split(s, ",")
	if len(pairs) != len(values) {
		return values, false
	}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		i := slices.Index(names, name)
		if i < 0 || seen[i] {
			return values, false
		}
		values[i], seen[i] = value, true
	}
	return values, true
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

// decode reads base64 of which the unused bits are zero (RFC 4648 section
// 3.5). The decoder of the standard library skips line breaks even when it is
// strict.
func decode(encoding *base64.Encoding, s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := encoding.Strict().DecodeString(s)
	return b, err == nil
}

// parseBcrypt reads what follows "$2" in
//
//	$2b$12$ 22 characters of salt, 31 characters of tag
//
// which has 60 bytes, without the spaces. The prefixes 2a, 2b and 2y name the
// same function for passwords of up to 72 bytes.
func parseBcrypt(fields string, _ uint32) (digest, error) {
	const prefix, salt, tag = len("$2"), len("b$12$"), len("b$12$") + bcryptSalt
	switch {
	case strings.HasPrefix(fields, "x$"):
		return digest{}, notVerified("bcrypt 2x, made by a library with a known defect")
	case strings.HasPrefix(fields, "$"):
		return digest{}, notVerified("bcrypt 2, the first and defective version")
	}
	if len(fields) < 2 || fields[1] != '$' || strings.IndexByte("aby", fields[0]) < 0 {
		return digest{}, malformed("it begins like bcrypt, and its version is not 2a, 2b or 2y")
	}
	if len(fields) != tag+bcryptTag {
		return digest{}, malformed("it is bcrypt and has %d bytes, not %d", prefix+len(fields), prefix+tag+bcryptTag)
	}
	tens, ones := fields[2]-'0', fields[3]-'0'
	if tens > 9 || ones > 9 || fields[4] != '$' {
		return digest{}, malformed("the cost of a bcrypt hash is two digits between dollar signs")
	}
	d := digest{
		kdf:   kdf{cost: 10*int(tens) + int(ones)},
		minor: fields[0],
		salt:  []byte(fields[salt:tag]),
		tag:   []byte(fields[tag:]),
	}
	return d, d.checkBcrypt()
}

// checkBcrypt returns what is wrong with a bcrypt hash whose salt and tag have
// the right length.
func (d digest) checkBcrypt() error {
	if d.cost < minCost || d.cost > maxCost {
		return malformed("its bcrypt cost is %d, not %d to %d", d.cost, minCost, maxCost)
	}
	for _, field := range [...][]byte{d.salt, d.tag} {
		for _, c := range field {
			if strings.IndexByte(bcryptAlphabet, c) < 0 {
				return malformed("it is bcrypt and its salt or tag has a character that bcrypt's base64 has not")
			}
		}
	}
	// The last character of the tag has two unused bits, which are zero unless the
	// hash is damaged. The last character of the salt has four, which passlib up to
	// 1.5.2 has set (its issue 25), without an effect: such hashes are verified.
	if strings.IndexByte(bcryptAlphabet, d.tag[bcryptTag-1])&3 != 0 {
		return malformed("it is bcrypt and the unused bits of its tag are set")
	}
	// In this spelling the salt is also the key of the HMAC, as a text, where
	// each bit counts. Passlib makes and takes none with stray bits.
	if d.spelling == passlibSHA256v2 && strings.IndexByte(bcryptAlphabet, d.salt[bcryptSalt-1])&15 != 0 {
		return malformed("it is bcrypt and the unused bits of its salt are set")
	}
	return nil
}

// parsePasslibSHA256 reads what follows "$bcrypt-sha256$" in
//
//	$bcrypt-sha256$v=2,t=2b,r=12$ salt $ tag
//	$bcrypt-sha256$2b,12$ salt $ tag
//
// where the cost is a number without a zero in front. The parameters of the first
// may come in any order.
func parsePasslibSHA256(fields string, _ uint32) (digest, error) {
	params, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	if !ok || len(salt) != bcryptSalt || len(tag) != bcryptTag {
		return digest{}, malformed("passlib's bcrypt_sha256 has parameters, %d characters of salt and %d of tag", bcryptSalt, bcryptTag)
	}
	d := digest{salt: []byte(salt), tag: []byte(tag)}
	var cost string
	for _, s := range [...]struct {
		prefix   string
		spelling spelling
		minor    byte
	}{
		{"2b,", passlibSHA256v1, 'b'},
		{"2a,", passlibSHA256v1, 'a'},
	} {
		if cost, ok = strings.CutPrefix(params, s.prefix); ok {
			d.spelling, d.minor = s.spelling, s.minor
			break
		}
	}
	if values, second := named(params, "v", "t", "r"); second && values[0] == "2" && values[1] == "2b" {
		cost, ok = values[2], true
		d.spelling, d.minor = passlibSHA256v2, 'b'
	}
	n, number := decimal(cost)
	if !ok || !number {
		return digest{}, malformed("the parameters of passlib's bcrypt_sha256 are spelled v=2,t=2b,r=… or 2b,… or 2a,…")
	}
	d.cost = int(n)
	return d, d.checkBcrypt()
}

// ab64 is the base64 of passlib for PBKDF2.
var ab64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding)

// parsePBKDF2 returns what reads the rest of
//
//	$pbkdf2-sha256$29000$ salt $ tag
//	pbkdf2_sha256$1000000$ salt $ tag
//
// of which the first, by passlib, has both in its base64, and the second, by
// Django, has its salt as it is and its tag in padded base64.
func parsePBKDF2(s spelling) func(string, uint32) (digest, error) {
	return func(fields string, _ uint32) (digest, error) {
		iterations, fields, _ := strings.Cut(fields, "$")
		salt, tag, ok := strings.Cut(fields, "$")
		if !ok {
			return digest{}, malformed("a PBKDF2 hash has a number of iterations, a salt and a tag, and here one is missing")
		}
		n, ok := decimal(iterations)
		if !ok || n < 1 || n > maxIterations {
			return digest{}, malformed("its iterations are not a number from 1 to %d", maxIterations)
		}
		d := digest{kdf: kdf{iterations: n}, spelling: s}
		encoding := base64.StdEncoding
		if s == native {
			encoding = ab64
		}
		if d.salt, ok = d.importedSalt(ab64, salt); !ok {
			return digest{}, errSalt
		}
		if d.tag, ok = decode(encoding, tag); !ok || len(d.tag) < minTag || len(d.tag) > maxLongTag {
			return digest{}, malformed("its tag is not %d to %d bytes of base64", minTag, maxLongTag)
		}
		d.tag = firstBlock(d.tag)
		return d, nil
	}
}

// parseScrypt reads what follows "$scrypt$" in
//
//	$scrypt$ln=16,r=8,p=1$ salt $ tag
//
// which is the PHC string format, as passlib writes it among others.
func parseScrypt(fields string, maxMemory uint32) (digest, error) {
	params, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	if !ok {
		return digest{}, malformed("an scrypt hash has parameters, a salt and a tag, and here one is missing")
	}
	numbers, ok := parameters(params, "ln", "r", "p")
	if !ok {
		return digest{}, malformed("its parameters are not spelled ln=…,r=…,p=…, each once and a decimal number below 2^32")
	}
	k, err := scryptOf(numbers[0], numbers[1], numbers[2], maxMemory)
	if err != nil {
		return digest{}, err
	}
	d := digest{kdf: k}
	if d.salt, ok = d.importedSalt(base64.RawStdEncoding, salt); !ok {
		return digest{}, errSalt
	}
	if d.tag, ok = decode(base64.RawStdEncoding, tag); !ok || len(d.tag) < minTag || len(d.tag) > maxTag {
		return digest{}, malformed("its tag is not %d to %d bytes of unpadded base64", minTag, maxTag)
	}
	return d, nil
}

// parseDjangoScrypt reads what follows "scrypt$" in
//
//	scrypt$16384$ salt $8$5$ tag
//
// which are N, r and p, a salt as it is and a tag of 64 bytes in padded base64.
func parseDjangoScrypt(fields string, maxMemory uint32) (digest, error) {
	parts := strings.Split(fields, "$")
	if len(parts) != 5 {
		return digest{}, malformed("Django's scrypt hash has N, a salt, r, p and a tag")
	}
	k, err := scryptOfN(parts[0], parts[2], parts[3], maxMemory)
	if err != nil {
		return digest{}, err
	}
	d := digest{kdf: k, spelling: django}
	var ok bool
	if d.salt, ok = d.importedSalt(nil, parts[1]); !ok {
		return digest{}, errSalt
	}
	if d.tag, ok = decode(base64.StdEncoding, parts[4]); !ok || len(d.tag) != 64 {
		return digest{}, malformed("its tag is not 64 bytes of base64")
	}
	return d, nil
}

// scryptOfN returns the scrypt of parameters that are spelled as decimal numbers,
// N itself and not its logarithm.
func scryptOfN(n, r, p string, maxMemory uint32) (kdf, error) {
	numberN, okN := decimal(n)
	numberR, okR := decimal(r)
	numberP, okP := decimal(p)
	if !okN || !okR || !okP {
		return kdf{}, malformed("its N, r and p are not decimal numbers below 2^32")
	}
	if bits.OnesCount32(numberN) != 1 {
		return kdf{}, malformed("its N is %d, not a power of two (RFC 7914 section 2)", numberN)
	}
	return scryptOf(uint32(bits.TrailingZeros32(numberN)), numberR, numberP, maxMemory)
}

// scryptOf returns the scrypt of these parameters, if they are in bounds.
func scryptOf(logN, r, p, maxMemory uint32) (kdf, error) {
	switch {
	case logN < 1 || logN > maxLogN:
		return kdf{}, malformed("the binary logarithm of its N is %d, not 1 to %d", logN, maxLogN)
	case r < 1 || r > maxR:
		return kdf{}, malformed("its r is %d, not 1 to %d", r, maxR)
	case p < 1 || p > maxP:
		return kdf{}, malformed("its p is %d, not 1 to %d", p, maxP)
	case logN >= 16*r:
		return kdf{}, malformed("the binary logarithm of its N is %d with an r of %d and not less than 16 times that (RFC 7914 section 2)", logN, r)
	}
	k := kdf{logN: uint8(logN), r: uint8(r), p: uint8(p)}
	if n := k.scryptBlocks(); n > maxScryptBlocks {
		return kdf{}, malformed("it takes %d blocks; the maximum is %d", n, maxScryptBlocks)
	}
	if k.kib() > maxMemory {
		return kdf{}, malformed("its memory is %d KiB; the maximum is %d, the smaller of the budget and the package's bound", k.kib(), maxMemory)
	}
	return k, nil
}

// importedSalt returns the salt of a PBKDF2 or scrypt hash. Django's is text and may
// be short.
func (d digest) importedSalt(encoding *base64.Encoding, s string) (salt []byte, ok bool) {
	if d.spelling != django {
		salt, ok = decode(encoding, s)
		return salt, ok && len(salt) >= 1 && len(salt) <= maxImportedSalt
	}
	return textSalt(s)
}

// textSalt returns a salt that is not encoded.
func textSalt(s string) (salt []byte, ok bool) {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '$' {
			return nil, false
		}
	}
	return []byte(s), len(s) >= 1 && len(s) <= maxImportedSalt
}

var errSalt = malformed("its salt is not 1 to %d bytes, in base64 or, if it is Django's or Werkzeug's, of printable ASCII", maxImportedSalt)

// bcrypt returns a bcrypt hash in the native spelling, whatever its own is.
func (d digest) bcrypt() string {
	return fmt.Sprintf("$2%c$%02d$%s%s", d.minor, d.cost, d.salt, d.tag)
}

// String returns d as it is stored.
func (d digest) String() string {
	std, raw := base64.StdEncoding.EncodeToString, base64.RawStdEncoding.EncodeToString
	prefix := ""
	switch d.function() {
	case bcryptFunction:
		switch d.spelling {
		case passlibSHA256v2:
			return fmt.Sprintf("$bcrypt-sha256$v=2,t=2%c,r=%d$%s$%s", d.minor, d.cost, d.salt, d.tag)
		case passlibSHA256v1:
			return fmt.Sprintf("$bcrypt-sha256$2%c,%d$%s$%s", d.minor, d.cost, d.salt, d.tag)
		case djangoSHA256:
			prefix = "bcrypt_sha256$"
		case django:
			prefix = "bcrypt$"
		case wordPress:
			prefix = "$wp"
		}
		return prefix + d.bcrypt()
	case pbkdf2Function:
		if d.spelling == django {
			return fmt.Sprintf("pbkdf2_sha256$%d$%s$%s", d.iterations, d.salt, std(d.tag))
		}
		return fmt.Sprintf("$pbkdf2-sha256$%d$%s$%s", d.iterations, ab64.EncodeToString(d.salt), ab64.EncodeToString(d.tag))
	case scryptFunction:
		if d.spelling == django {
			return fmt.Sprintf("scrypt$%d$%s$%d$%d$%s", 1<<d.logN, d.salt, d.r, d.p, std(d.tag))
		}
		return fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", d.logN, d.r, d.p, raw(d.salt), raw(d.tag))
	}
	if d.spelling == django {
		prefix = "argon2"
	}
	return prefix + fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", d.memory, d.passes, d.lanes, raw(d.salt), raw(d.tag))
}

// scheme returns the Scheme that the host must list to have d verified, or nil.
func (d digest) scheme() Scheme {
	switch d.function() {
	case bcryptFunction:
		if d.prehashed() {
			return BcryptSHA256(d.cost)
		}
		return Bcrypt(d.cost)
	case pbkdf2Function:
		return PBKDF2SHA256(d.iterations)
	case scryptFunction:
		return Scrypt{LogN: int(d.logN), R: int(d.r), P: int(d.p)}
	}
	return nil
}

// prehashed reports whether d is bcrypt of a digest of the password.
func (d digest) prehashed() bool {
	switch d.spelling {
	case djangoSHA256, passlibSHA256v1, passlibSHA256v2, wordPress:
		return true
	}
	return false
}
