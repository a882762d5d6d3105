package password

import "fmt"

// A Scheme is a way to hash passwords, with the parameters that decide how
// long it takes. [Argon2id], [Bcrypt], [BcryptSHA256], [PBKDF2SHA256] and
// [Scrypt] are the ones there are. New hashes are always argon2id.
type Scheme interface {
	// name is what the scheme is called in Go.
	name() string

	// kdf is what the time of one run depends on, and problems are what is
	// wrong with the parameters, as the ends of sentences that begin with
	// the name of a field.
	kdf() kdf
	problems() []string
}

func (Argon2id) name() string { return "Argon2id" }

// Bcrypt stands for bcrypt hashes that were imported, and is the cost of the
// costliest of them, from 4 to 16: list password.Bcrypt(12) in
// [Config.Imported]. Hashes of a lower cost are verified too, and padded to
// take as long. Hashes of a higher cost, up to 16, are verified and take
// longer; see the security considerations of the package.
//
// These are the spellings:
//
//	$2b$12$ salt and tag, or with 2a or 2y
//	bcrypt$$2b$12$ salt and tag                   Django
//	{bcrypt}$2a$10$ salt and tag                  Spring; also {CRYPT}, {BLF-CRYPT}
//	#jbcrypt:$2a$10$ salt and tag                 Jenkins
//
// New hashes are never bcrypt.
type Bcrypt int

func (Bcrypt) name() string { return "Bcrypt" }

func (b Bcrypt) kdf() kdf { return kdf{cost: int(b)} }

func (b Bcrypt) problems() []string {
	return outside(b.name(), int(b), minCost, maxCost)
}

// BcryptSHA256 stands for imported hashes that are bcrypt of a digest of the
// password, and is the cost of the costliest of them, as for [Bcrypt]:
//
//	bcrypt_sha256$$2b$12$ salt and tag            Django
//	$bcrypt-sha256$v=2,t=2b,r=12$ salt $ tag      passlib since 1.7.3
//	$bcrypt-sha256$2b,12$ salt $ tag              passlib before, also with 2a
//	$wp$2y$10$ salt and tag                       WordPress since 6.8
//
// What bcrypt gets is the hexadecimal SHA-256 of the password in the first,
// its HMAC-SHA256 under the salt in the second, its SHA-256 in the third and an
// HMAC-SHA384 in the fourth, these in base64. WordPress trims white space
// around the password first; a password that is typed with some is verified,
// and its hash is not replaced. That is text of 64 or 44 bytes, so passwords of any
// length, and with NUL bytes, are compared as a whole: the limits of [Bcrypt]
// are not theirs.
type BcryptSHA256 int

func (BcryptSHA256) name() string { return "BcryptSHA256" }

func (b BcryptSHA256) kdf() kdf { return kdf{cost: int(b)} }

func (b BcryptSHA256) problems() []string {
	return outside(b.name(), int(b), minCost, maxCost)
}

// PBKDF2SHA256 stands for imported hashes of PBKDF2 with HMAC-SHA256 (RFC 8018
// section 5.2), and is the number of iterations of the costliest of them, from
// 1 to 10,000,000: list password.PBKDF2SHA256(1_000_000) in [Config.Imported].
// Hashes of fewer are verified too, and padded with the iterations that are
// missing, exactly.
//
//	pbkdf2_sha256$1000000$ salt $ tag      Django; the tag in base64, padded
//	$pbkdf2-sha256$29000$ salt $ tag       passlib; both in its base64, with a dot for the plus; also behind {PBKDF2-SHA256}
//	pbkdf2:sha256:600000$ salt $ tag       Werkzeug; the tag in hexadecimal
//
// The tag has 16 to 128 bytes, of which the first 32 are computed and compared.
type PBKDF2SHA256 int

func (PBKDF2SHA256) name() string { return "PBKDF2SHA256" }

func (n PBKDF2SHA256) kdf() kdf { return kdf{iterations: uint32(n)} }

func (n PBKDF2SHA256) problems() []string {
	return outside(n.name(), int(n), 1, maxIterations)
}

// Scrypt stands for imported hashes of scrypt (RFC 7914), and has the
// parameters of the costliest of them: the one for which 2^LogN × R × P is
// largest. It has no defaults, for the parameters are in the hashes. Hashes of
// less work are verified too, and padded to the same number of blocks
// computed. That is exact for those with the same R.
//
//	scrypt$16384$ salt $8$5$ tag            Django; LogN 14, R 8, P 5, the tag of 64 bytes in base64, padded
//	$scrypt$ln=16,r=8,p=1$ salt $ tag       passlib and others; both in base64, unpadded
//	scrypt:32768:8:1$ salt $ tag            Werkzeug; the tag in hexadecimal
//	{scrypt}$100801$ salt $ tag             Spring; also $s0$ of lambdaworks
//
// One run takes 128 × R × 2^LogN bytes of the [Budget], and a little more.
type Scrypt struct {
	// LogN is the binary logarithm of N, from 1, and less than 16 × R (RFC
	// 7914 section 2).
	LogN int

	// R is the block size, from 1 to 32, and P the parallelization, from 1 to
	// 16. 2^LogN × R × P is at most 8,388,608, which is eight times what OWASP
	// recommends.
	R, P int
}

func (Scrypt) name() string { return "Scrypt" }

func (s Scrypt) kdf() kdf { return kdf{logN: uint8(s.LogN), r: uint8(s.R), p: uint8(s.P)} }

func (s Scrypt) problems() (problems []string) {
	for _, f := range [...]struct {
		name        string
		value, high int
	}{
		{"LogN", s.LogN, maxLogN},
		{"R", s.R, maxR},
		{"P", s.P, maxP},
	} {
		if f.value < 1 || f.value > f.high {
			problems = append(problems, fmt.Sprintf(".%s is %d, want 1 to %d", f.name, f.value, f.high))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	if s.LogN >= 16*s.R {
		problems = append(problems, fmt.Sprintf(".LogN is %d with an R of %d, want less than 16 times that (RFC 7914 section 2)", s.LogN, s.R))
	}
	if n := s.kdf().scryptBlocks(); n > maxScryptBlocks {
		problems = append(problems, fmt.Sprintf(" asks for 2^%d × %d × %d = %d blocks, want at most %d", s.LogN, s.R, s.P, n, maxScryptBlocks))
	}
	return problems
}

// outside returns the problem of a scheme that is a number, if it has one.
func outside(name string, n, low, high int) []string {
	if n < low || n > high {
		return []string{fmt.Sprintf(" is %s(%d), want %d to %d", name, n, low, high)}
	}
	return nil
}
