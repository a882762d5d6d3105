package password

import "fmt"

// A Scheme is a way to hash passwords, with the parameters that its cost depends on:
// [Argon2id], [Bcrypt], [BcryptSHA256], [PBKDF2SHA256] or [Scrypt]. New hashes are
// always argon2id.
type Scheme interface {
	// name is what the scheme is called in Go.
	name() string

	// kdf returns what the time of one run depends on. problems returns what is wrong
	// with the parameters, as ends of sentences that begin with a field's name.
	kdf() kdf
	problems() []string
}

func (Argon2id) name() string { return "Argon2id" }

// Bcrypt lists imported bcrypt hashes in [Config.Imported]. Its value is the highest
// cost among them, 4 to 16. Hashes of a lower cost are verified and padded to take as
// long. Hashes of a higher cost are verified and take longer.
//
//	$2b$12$ salt and tag, or with 2a or 2y
//	bcrypt$$2b$12$ salt and tag                   Django
//	{bcrypt}$2a$10$ salt and tag                  Spring; also {CRYPT}, {BLF-CRYPT}
//	#jbcrypt:$2a$10$ salt and tag                 Jenkins
type Bcrypt int

func (Bcrypt) name() string { return "Bcrypt" }

func (b Bcrypt) kdf() kdf { return kdf{cost: int(b)} }

func (b Bcrypt) problems() []string {
	return outside(b.name(), int(b), minCost, maxCost)
}

// BcryptSHA256 lists imported hashes that are bcrypt of a digest of the password, as
// [Bcrypt] does for plain bcrypt:
//
//	bcrypt_sha256$$2b$12$ salt and tag            Django
//	$bcrypt-sha256$v=2,t=2b,r=12$ salt $ tag      passlib since 1.7.3
//	$bcrypt-sha256$2b,12$ salt $ tag              passlib before, also with 2a
//	$wp$2y$10$ salt and tag                       WordPress since 6.8
//
// The digests are SHA-256 in hexadecimal, HMAC-SHA256 under the salt, SHA-256, and
// HMAC-SHA384, the last three in base64. So passwords of any length, and with NUL bytes,
// are compared as a whole. WordPress trims white space around a password first; a
// password that is typed with some is verified, and its hash is not upgraded.
type BcryptSHA256 int

func (BcryptSHA256) name() string { return "BcryptSHA256" }

func (b BcryptSHA256) kdf() kdf { return kdf{cost: int(b)} }

func (b BcryptSHA256) problems() []string {
	return outside(b.name(), int(b), minCost, maxCost)
}

// PBKDF2SHA256 lists imported hashes of PBKDF2 with HMAC-SHA256 (RFC 8018 section 5.2)
// in [Config.Imported]. Its value is the highest number of iterations among them, 1 to
// 10,000,000. Hashes of fewer iterations are verified and padded exactly.
//
//	pbkdf2_sha256$1000000$ salt $ tag      Django; the tag in base64, padded
//	$pbkdf2-sha256$29000$ salt $ tag       passlib; both in its base64, with a dot for the plus; also behind {PBKDF2-SHA256}
//	pbkdf2:sha256:600000$ salt $ tag       Werkzeug; the tag in hexadecimal
//
// The tag has 16 to 128 bytes, of which up to 32 are compared.
type PBKDF2SHA256 int

func (PBKDF2SHA256) name() string { return "PBKDF2SHA256" }

func (n PBKDF2SHA256) kdf() kdf { return kdf{iterations: uint32(n)} }

func (n PBKDF2SHA256) problems() []string {
	return outside(n.name(), int(n), 1, maxIterations)
}

// Scrypt lists imported hashes of scrypt (RFC 7914) in [Config.Imported], with the
// parameters of the costliest of them: the largest 2^LogN × R × P. Hashes of less work
// are verified and padded to the same number of blocks, exactly if they have the same R.
// There are no defaults.
//
//	scrypt$16384$ salt $8$5$ tag            Django; LogN 14, R 8, P 5, the tag of 64 bytes in base64, padded
//	$scrypt$ln=16,r=8,p=1$ salt $ tag       passlib and others; both in base64, unpadded
//	scrypt:32768:8:1$ salt $ tag            Werkzeug; the tag in hexadecimal
//	{scrypt}$100801$ salt $ tag             Spring; also $s0$ of lambdaworks
//
// One run takes 128 × R × 2^LogN bytes of the [Budget].
type Scrypt struct {
	// LogN is the binary logarithm of N, at least 1 and less than 16 × R.
	LogN int

	// R is the block size, 1 to 32, and P the parallelization, 1 to 16.
	// 2^LogN × R × P is at most 8,388,608.
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
			problems = append(problems, fmt.Sprintf(".%s is %d; set 1 to %d", f.name, f.value, f.high))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	if s.LogN >= 16*s.R {
		problems = append(problems, fmt.Sprintf(".LogN is %d with an R of %d; set less than 16 times that (RFC 7914 section 2)", s.LogN, s.R))
	}
	if n := s.kdf().scryptBlocks(); n > maxScryptBlocks {
		problems = append(problems, fmt.Sprintf(" asks for 2^%d × %d × %d = %d blocks; set at most %d", s.LogN, s.R, s.P, n, maxScryptBlocks))
	}
	return problems
}

// outside returns the problem of a scheme that is a number, if it has one.
func outside(name string, n, low, high int) []string {
	if n < low || n > high {
		return []string{fmt.Sprintf(" is %s(%d); set %d to %d", name, n, low, high)}
	}
	return nil
}
