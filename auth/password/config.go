package password

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Config configures a [Hasher]. The zero Config is safe.
type Config struct {
	// Argon2id has the parameters of new hashes, at least as strong as ASVS 5.0
	// Appendix C: 47104 KiB with 1 pass, 19456 with 2, 12288 with 3 or more. Default:
	// the second option of RFC 9106 section 4 (64 MiB, 3 passes, 4 lanes).
	Argon2id Argon2id

	// Imported are the schemes of stored hashes made elsewhere or under an earlier
	// Config. Their hashes are verified, and upgraded at the sign-in. List at most one
	// of each of [Bcrypt], [BcryptSHA256], [PBKDF2SHA256] and [Scrypt], with the
	// highest stored cost. Of an [Argon2id], only Memory, Passes and Lanes count.
	//
	// Remove unused schemes: each slows failures down, except that Bcrypt and
	// BcryptSHA256 share their work. Default: none.
	Imported []Scheme

	// Budget bounds memory and processors. Share one Budget between all Hashers of a
	// process. Default: a new Budget of the zero [BudgetConfig].
	Budget *Budget

	// MaxLength is the largest length of a password in bytes, 64 to 65536. Longer
	// passwords are rejected, not truncated. Default: 1024.
	MaxLength int

	// InsecureTruncate72 lets bcrypt hashes match passwords of more than 72 bytes
	// without NUL by the first 72. An attacker with these bytes can sign in with any
	// continuation, which the upgraded hash then requires.
	InsecureTruncate72 bool

	// InsecureArgon2id allows weaker parameters, for tests. At 64 KiB and 1 pass,
	// stolen hashes are guessed some 3000 times faster.
	InsecureArgon2id bool
}

// Argon2id are parameters of argon2id (RFC 9106). Zero fields have their defaults.
type Argon2id struct {
	// Memory is the memory of one run in KiB, at least 8 for each lane. Default:
	// 65536.
	Memory int

	// Passes is the number of passes over the memory, 1 to 16. Default: 3.
	Passes int

	// Lanes is the number of parallel parts, 1 to 16. It must not depend on the
	// machine. Default: 4.
	Lanes int

	// SaltLength is the length of the salt in bytes, 16 to 64, or from 8 with
	// [Config.InsecureArgon2id]. Default: 16.
	SaltLength int

	// TagLength is the length of the hash in bytes, 16 to 64. Default: 32.
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

// maxConfigMemory is twice the first recommended option of RFC 9106 section 4.
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
			problems = append(problems, fmt.Sprintf(".%s is %d%s; set %d to %d", f.name, f.value, f.unit, f.low, f.high))
		}
	}
	// RFC 9106 section 3.1: at least 8 KiB for each lane.
	if low := 8 * min(max(a.Lanes, 1), maxLanes); a.Memory < low || a.Memory > maxConfigMemory {
		problems = append(problems, fmt.Sprintf(".Memory is %d KiB; set %d to %d", a.Memory, low, maxConfigMemory))
	}
	return problems
}

// floor returns the least memory for new hashes in KiB, by ASVS 5.0 Appendix C and
// OWASP's Password Storage Cheat Sheet, which alone allows less memory with more
// passes.
func floor(passes int) int {
	switch {
	case passes <= 1:
		return 47104
	case passes == 2:
		return 19456
	}
	return 12288
}

// tooWeak returns why a, with its defaults, is too weak for new hashes.
func (a Argon2id) tooWeak() (problems []string) {
	if low := floor(a.Passes); a.Memory < low {
		passes := "passes"
		if a.Passes == 1 {
			passes = "pass"
		}
		problems = append(problems, fmt.Sprintf(".Memory is %d KiB with %d %s; set at least %d KiB (OWASP, ASVS 5.0 Appendix C)",
			a.Memory, a.Passes, passes, low))
	}
	if a.SaltLength < 16 {
		problems = append(problems, fmt.Sprintf(".SaltLength is %d bytes; set at least 16 (RFC 9106 section 4)", a.SaltLength))
	}
	return problems
}

// New returns a Hasher. The error lists every mistake in config.
func New(config Config) (*Hasher, error) {
	c := config
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
			wrong("Imported[%d] is nil; use a Scheme such as password.Bcrypt(12)", i)
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
			wrong("Imported[%d] has the parameters of Config.Argon2id or of another one listed; list each once", i)
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
			wrong("Imported has %d values of %s; list one, of the highest cost", n, name)
		}
	}

	maxLength := c.MaxLength
	if maxLength == 0 {
		maxLength = 1024
	}
	if maxLength < 64 || maxLength > 64<<10 {
		wrong("MaxLength is %d bytes; set 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 requires at least 64)", maxLength)
	}

	budget := c.Budget
	if budget == nil {
		// The zero BudgetConfig has no mistake to report.
		budget, _ = NewBudget(BudgetConfig{})
	}
	most := slices.MaxFunc(bill, func(a, b kdf) int { return cmp.Compare(a.kib(), b.kib()) })
	if most.weight() > budget.memory && len(errs) == 0 {
		wrong("Budget is %d MiB and one run of %s takes %d KiB; set BudgetConfig.Memory to that or, better, several times that",
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
