package password

import "fmt"

// A Scheme is a hash function with the parameters of its cost: [Argon2id], [Bcrypt],
// [BcryptSHA256], [PBKDF2SHA256] or [Scrypt]. New hashes are always argon2id.
type Scheme interface {
	// name is the name in Go.
	name() string

	// kdf returns what the time of one run depends on. problems returns what is wrong
	// with the parameters, as ends of sentences that begin with a field's name.
	kdf() kdf
	problems() []string
}

func (Argon2id) name() string { return "Argon2id" }

// Bcrypt lists imported bcrypt hashes. Its value is their highest cost, 4 to 16.
// Hashes of a lower cost are padded to take as long; hashes of a higher cost take
// longer.
//
//	$2b$12$…               also 2a and 2y
//	bcrypt$$2b$12$…        Django
//	{bcrypt}$2a$10$…       Spring; also {CRYPT}, {BLF-CRYPT}
//	#jbcrypt:$2a$10$…      Jenkins
type Bcrypt int

func (Bcrypt) name() string { return "Bcrypt" }

func (b Bcrypt) kdf() kdf { return kdf{cost: int(b)} }

func (b Bcrypt) problems() []string {
	return outside(b.name(), int(b), minCost, maxCost)
}

// BcryptSHA256 lists imported hashes that are bcrypt of a digest of the password, so
// that passwords are compared as a whole. Its value is as for [Bcrypt].
//
//	bcrypt_sha256$$2b$12$…                Django
//	$bcrypt-sha256$v=2,t=2b,r=12$…        passlib since 1.7.3
//	$bcrypt-sha256$2b,12$…                passlib before; also 2a
//	$wp$2y$10$…                           WordPress since 6.8
//
// WordPress trims white space around passwords; hashes of passwords typed with such
// space are not upgraded.
type BcryptSHA256 int

func (BcryptSHA256) name() string { return "BcryptSHA256" }

func (b BcryptSHA256) kdf() kdf { return kdf{cost: int(b)} }

func (b BcryptSHA256) problems() []string {
	return outside(b.name(), int(b), minCost, maxCost)
}

// PBKDF2SHA256 lists imported hashes of PBKDF2 with HMAC-SHA256 (RFC 8018 section
// 5.2). Its value is their highest number of iterations, 1 to 10,000,000. Hashes of
// fewer iterations are padded exactly. Tags have 16 to 128 bytes, of which 32 are
// compared.
//
//	pbkdf2_sha256$1000000$…      Django
//	$pbkdf2-sha256$29000$…       passlib; also {PBKDF2-SHA256}
//	pbkdf2:sha256:600000$…       Werkzeug
type PBKDF2SHA256 int

func (PBKDF2SHA256) name() string { return "PBKDF2SHA256" }

func (n PBKDF2SHA256) kdf() kdf { return kdf{iterations: uint32(n)} }

func (n PBKDF2SHA256) problems() []string {
	return outside(n.name(), int(n), 1, maxIterations)
}

// Scrypt lists imported hashes of scrypt (RFC 7914), with the parameters of the
// largest 2^LogN × R × P among them. Hashes of less work are padded to the same
// number of blocks, exactly if they have the same R. One run takes 128 × R × 2^LogN
// bytes of the [Budget].
//
//	scrypt$16384$…$8$5$…           Django
//	$scrypt$ln=16,r=8,p=1$…        passlib and others
//	scrypt:32768:8:1$…             Werkzeug
//	{scrypt}$100801$…              Spring; also $s0$ of lambdaworks
type Scrypt struct {
	// LogN is the binary logarithm of N, at least 1 and less than 16 × R.
	LogN int

	// R is the block size, 1 to 32, and P the parallelization, 1 to 16. 2^LogN × R × P
	// is at most 8,388,608.
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
		problems = append(problems, fmt.Sprintf(" takes 2^%d × %d × %d = %d blocks; set at most %d", s.LogN, s.R, s.P, n, maxScryptBlocks))
	}
	return problems
}

// outside returns the problem of a scheme that is a number, if any.
func outside(name string, n, low, high int) []string {
	if n < low || n > high {
		return []string{fmt.Sprintf(" is %s(%d); set %d to %d", name, n, low, high)}
	}
	return nil
}
