package password

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Config says how passwords are hashed. The zero Config is the safe one.
type Config struct {
	// Argon2id are the parameters of new hashes. They must not be below
	// what ASVS 5.0 Appendix C and OWASP allow: 47104 KiB with 1 pass,
	// 19456 KiB with 2 passes, 12288 KiB with 3 or more. Each field that is
	// zero takes its default.
	//
	// Default: the second recommended option of RFC 9106 section 4:
	// 64 MiB, 3 passes, 4 lanes, a salt of 16 bytes and a tag of 32.
	Argon2id Argon2id

	// Imported are the schemes of hashes that came from elsewhere, or were
	// made under an earlier Config. A hash of a scheme listed here is
	// verified, and replaced when its user signs in. At most one value each
	// of [Bcrypt], [BcryptSHA256], [PBKDF2SHA256] and [Scrypt] is listed, with
	// the highest cost among the stored hashes; a hash of one that is not is
	// an [ErrUnsupported]. An argon2id hash is verified whether its
	// parameters are listed or not; of a listed [Argon2id] only Memory, Passes
	// and Lanes count.
	//
	// Each verification that fails does the work of every scheme listed,
	// whatever the stored hash is, so that the time of a failure does not
	// tell which users have an old hash, or exist. Only Bcrypt and
	// BcryptSHA256 share theirs, being the same function: together they cost
	// what the costlier does. So list what is stored and no more, and take a
	// scheme out when its last hash is gone.
	//
	// Default: none.
	Imported []Scheme

	// Budget bounds how much memory hashing takes and how many verifications
	// run at once. Give the same one to all the Hashers of a process.
	//
	// Default: a budget of the Hasher's own, as [NewBudget] makes it of
	// the zero [BudgetConfig]: 256 MiB.
	Budget *Budget

	// MaxLength is how many bytes a password may have, from 64 to 65536.
	// A longer one is refused by [Hasher.Hash] and matches nothing in
	// [Hasher.Verify]; it is never cut.
	//
	// Default: 1024.
	MaxLength int

	// InsecureTruncate72 lets bcrypt hashes match passwords of more than 72
	// bytes by their first 72, as the library that made them may have done.
	// It is for users who had such passwords at the time. Passwords with a
	// NUL byte match no bcrypt hash all the same. It has no part in
	// [BcryptSHA256], which takes passwords of any length.
	//
	// What an attacker gains: who knows the first 72 bytes of a password, for
	// example because they are a fixed prefix, is let in whatever follows.
	// What was typed then is the password from now on, since the hash that
	// replaces the old one is of all its bytes.
	//
	// Default: such passwords do not match.
	InsecureTruncate72 bool

	// InsecureArgon2id allows parameters of new hashes that are below the
	// floor named at Argon2id. It is for tests, which would spend their time
	// hashing.
	//
	// What an attacker gains: who steals the hashes guesses passwords the
	// faster, the cheaper they are. At 64 KiB and 1 pass it is some 3000 times
	// as fast as at the default.
	//
	// Default: such parameters are an error.
	InsecureArgon2id bool
}

// Argon2id are the parameters of argon2id (RFC 9106). Each field that is zero
// takes its default.
type Argon2id struct {
	// Memory is how much of it one run takes, in KiB. It is at least 8 times
	// Lanes. Default: 65536, which is 64 MiB.
	Memory int

	// Passes is how often a run goes over the memory, from 1 to 16. When
	// hashing may take longer, more memory is worth more than more passes.
	// Default: 3.
	Passes int

	// Lanes is how many parts of the memory can be worked on in parallel,
	// from 1 to 16. It is part of what the tag is computed from, so it should
	// not depend on the machine. Default: 4.
	Lanes int

	// SaltLength is the length of the salt in bytes, from 16 to 64, or from 8
	// with [Config.InsecureArgon2id]. Default: 16.
	SaltLength int

	// TagLength is the length of the result in bytes, from 16 to 64.
	// Default: 32.
	TagLength int
}

// withDefaults returns a with its zero fields filled in.
func (a Argon2id) withDefaults() Argon2id {
	for _, f := range [...]struct {
		value    *int
		fallback int
	}{
		{&a.Memory, 64 << 10},
		{&a.Passes, 3},
		{&a.Lanes, 4},
		{&a.SaltLength, 16},
		{&a.TagLength, 32},
	} {
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	return a
}

func (a Argon2id) kdf() kdf {
	a = a.withDefaults()
	return kdf{memory: uint32(a.Memory), passes: uint32(a.Passes), lanes: uint8(a.Lanes)}
}

// maxConfigMemory is the most that a Config may ask for: twice the first
// recommended option of RFC 9106 section 4.
const maxConfigMemory = 4 << 20 // KiB

func (a Argon2id) problems() (problems []string) {
	a = a.withDefaults()
	for _, f := range [...]struct {
		name             string
		value, low, high int
		unit             string
	}{
		{"Passes", a.Passes, 1, maxPasses, ""},
		{"Lanes", a.Lanes, 1, maxLanes, ""},
		{"SaltLength", a.SaltLength, minSalt, maxSalt, " bytes"},
		{"TagLength", a.TagLength, minTag, maxTag, " bytes"},
	} {
		if f.value < f.low || f.value > f.high {
			problems = append(problems, fmt.Sprintf(".%s is %d%s, want %d to %d", f.name, f.value, f.unit, f.low, f.high))
		}
	}
	// RFC 9106 section 3.1: at least 8 KiB for each lane.
	if low := 8 * min(max(a.Lanes, 1), maxLanes); a.Memory < low || a.Memory > maxConfigMemory {
		problems = append(problems, fmt.Sprintf(".Memory is %d KiB, want %d to %d", a.Memory, low, maxConfigMemory))
	}
	return problems
}

// floor returns the least memory for new hashes, in KiB, of so many passes.
// The pairs are those of ASVS 5.0 Appendix C and of OWASP's Password Storage
// Cheat Sheet. The latter goes on to less memory with more passes; ASVS does
// not, and neither does this package.
func floor(passes int) int {
	switch {
	case passes <= 1:
		return 47104
	case passes == 2:
		return 19456
	}
	return 12288
}

// tooWeak returns what keeps a, which has its defaults, from being used for
// new hashes.
func (a Argon2id) tooWeak() (problems []string) {
	if low := floor(a.Passes); a.Memory < low {
		passes := "passes"
		if a.Passes == 1 {
			passes = "pass"
		}
		problems = append(problems, fmt.Sprintf(".Memory is %d KiB with %d %s, want at least %d KiB (OWASP, ASVS 5.0 Appendix C)",
			a.Memory, a.Passes, passes, low))
	}
	if a.SaltLength < 16 {
		problems = append(problems, fmt.Sprintf(".SaltLength is %d bytes, want at least 16 (RFC 9106 section 4)", a.SaltLength))
	}
	return problems
}

// New returns a Hasher. Its error lists every mistake in c.
func New(c Config) (*Hasher, error) {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("password: Config."+format, args...))
	}

	params := c.Argon2id.withDefaults()
	problems := params.problems()
	if len(problems) == 0 && !c.InsecureArgon2id {
		problems = params.tooWeak()
	}
	for _, p := range problems {
		wrong("Argon2id%s", p)
	}

	bill := []kdf{params.kdf()}
	count := make(map[string]int)
	for i, s := range c.Imported {
		if s == nil {
			wrong("Imported[%d] is nil, want a Scheme such as password.Bcrypt(12)", i)
			continue
		}
		problems := s.problems()
		for _, p := range problems {
			wrong("Imported[%d]%s", i, p)
		}
		if len(problems) > 0 {
			continue
		}
		k := s.kdf()
		if k.function() != argon2idFunction {
			count[s.name()]++
		} else if slices.Contains(bill, k) {
			wrong("Imported[%d] has the parameters of Config.Argon2id or of another one listed, want each once, or every failure pays for it twice", i)
		}
		// Bcrypt and BcryptSHA256 are one function, of which one run is paid.
		if at := slices.IndexFunc(bill, kdf.isBcrypt); k.isBcrypt() && at >= 0 {
			bill[at].cost = max(bill[at].cost, k.cost)
		} else {
			bill = append(bill, k)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		if n := count[name]; n > 1 {
			wrong("Imported has %d values of %s, want one, of the highest cost", n, name)
		}
	}

	maxLength := c.MaxLength
	if maxLength == 0 {
		maxLength = 1024
	}
	if maxLength < 64 || maxLength > 64<<10 {
		wrong("MaxLength is %d bytes, want 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 wants at least 64)", maxLength)
	}

	budget := c.Budget
	if budget == nil {
		// The zero BudgetConfig has no mistake to report.
		budget, _ = NewBudget(BudgetConfig{})
	}
	most := slices.MaxFunc(bill, func(a, b kdf) int { return cmp.Compare(a.kib(), b.kib()) })
	if most.weight() > budget.memory && len(errs) == 0 {
		wrong("Budget is %d MiB and one run of %s takes %d KiB; give NewBudget a BudgetConfig.Memory of at least that, better of several times that",
			budget.memory>>20, most.function(), most.kib())
	}

	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Hasher{
		params:     params,
		bill:       bill,
		imported:   slices.Clone(c.Imported),
		weight:     most.weight(),
		readMemory: uint32(min(int64(max(most.kib(), maxMemory)), budget.memory>>10)),
		maxLength:  maxLength,
		truncate:   c.InsecureTruncate72,
		budget:     budget,
		derive:     derive,
	}, nil
}
