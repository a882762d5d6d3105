package password

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors of [Policy.Check], beside [ErrTooLong].
var (
	ErrTooShort = errors.New("password: the password is too short")
	ErrNotText  = errors.New("password: the password is not valid UTF-8")
	ErrBlocked  = errors.New("password: the password is easy to guess")
)

// PolicyConfig configures a [Policy]. The zero PolicyConfig is safe, but has no list
// of breached passwords. NIST SP 800-63B-4 section 3.1.1.2 forbids required kinds of
// characters and expiry.
type PolicyConfig struct {
	// MinLength is the least number of characters (code points), 8 to 64, below 15
	// only if every account needs a second factor (NIST SP 800-63B-4 section 3.1.1.2).
	// Default: 15.
	MinLength int

	// MaxLength is the largest length in bytes, 64 to 65536, as [Config.MaxLength].
	// Default: 1024.
	MaxLength int

	// Blocklist has passwords that users may not choose, for example from SecLists.
	// ASVS 5.0 6.2.4 requires 3000 that satisfy the rest of the policy; see
	// [Blocklist.Count]. Default: none.
	Blocklist *Blocklist
}

// A Policy checks new passwords. Do not use it at sign-in. It is safe for concurrent
// use.
type Policy struct {
	minLength, maxLength int
	blocklist            *Blocklist
}

// NewPolicy returns a Policy. The error lists every mistake in config.
func NewPolicy(config PolicyConfig) (*Policy, error) {
	c := config
	if c.MinLength == 0 {
		c.MinLength = 15
	}
	if c.MaxLength == 0 {
		c.MaxLength = 1024
	}
	var errs []error
	if c.MinLength < 8 || c.MinLength > 64 {
		errs = append(errs, fmt.Errorf("password: PolicyConfig.MinLength is %d characters; set 8 to 64, and 15 without a second factor (NIST SP 800-63B-4 section 3.1.1.2)", c.MinLength))
	}
	if c.MaxLength < 64 || c.MaxLength > 64<<10 {
		errs = append(errs, fmt.Errorf("password: PolicyConfig.MaxLength is %d bytes; set 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 requires at least 64)", c.MaxLength))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Policy{c.MinLength, c.MaxLength, c.Blocklist}, nil
}

// Check returns nil if a user may choose the password. Otherwise it joins
// [ErrTooShort], [ErrTooLong], [ErrNotText] and [ErrBlocked], as English sentences
// for the user without any part of the password.
//
// A password is blocked if, by Unicode case folding, it
//
//   - is on the blocklist as a whole;
//   - consists of words of context, digits and punctuation. Pass the name of the
//     service and the user's login, name and mail address;
//   - repeats up to 4 characters, or is an excerpt of the digits, the alphabet or a
//     walk over the keyboard, forwards or backwards.
//
// If it is too long or not UTF-8, nothing else is checked.
func (p *Policy) Check(password string, context ...string) error {
	if len(password) > p.maxLength {
		return &refusal{ErrTooLong, fmt.Sprintf("The password has %d bytes, and may have %d at most.", len(password), p.maxLength)}
	}
	if !utf8.ValidString(password) {
		return &refusal{ErrNotText, "The password is not text in UTF-8."}
	}
	var errs []error
	if n := utf8.RuneCountInString(password); n < p.minLength {
		characters := "characters"
		if n == 1 {
			characters = "character"
		}
		errs = append(errs, &refusal{ErrTooShort, fmt.Sprintf("The password has %d %s, and needs at least %d.", n, characters, p.minLength)})
	}
	folded := fold(password)
	switch {
	case p.blocklist.has(folded):
		errs = append(errs, &refusal{ErrBlocked, "The password is on a list of passwords that are often used and guessed first."})
	case onlyWords(folded, context):
		errs = append(errs, &refusal{ErrBlocked, "The password has little besides the name of the user or of this service."})
	case regular([]rune(folded)):
		errs = append(errs, &refusal{ErrBlocked, "The password is a simple sequence or repetition of characters."})
	}
	return errors.Join(errs...)
}

// A refusal is one mistake of a password.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// fold replaces each character by the least one that differs in case only, so that
// equal results mean [strings.EqualFold]. s is valid UTF-8.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A' // the usual case, with the same result
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// onlyWords reports whether folded is one of the context, or has words of it, which
// are runs of letters, and no further letters.
func onlyWords(folded string, context []string) bool {
	var words []string
	for _, s := range context {
		s = fold(s)
		if s != "" && s == folded {
			return true // a telephone number has no letters
		}
		words = append(words, strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })...)
	}
	// The longest first; otherwise "al" would leave "ice" of "alice".
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	rest := folded
	for _, word := range words {
		// A space, so that the two sides do not make another word.
		rest = strings.ReplaceAll(rest, word, " ")
	}
	return rest != folded && !strings.ContainsFunc(rest, unicode.IsLetter)
}

// The sequences that passwords are made of, folded and each taken as a circle.
// The last two are rows and columns of a keyboard.
var sequences = [...]string{
	"0123456789",
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	"QWERTYUIOPASDFGHJKLZXCVBNM",
	"1QAZ2WSX3EDC4RFV5TGB6YHN7UJM",
}

// regular reports whether password repeats up to 4 characters or is an excerpt of a
// sequence.
func regular(password []rune) bool {
	for period := 1; period <= 4; period++ {
		if len(password) >= 2*period && slices.Equal(password[period:], password[:len(password)-period]) {
			return true
		}
	}
	for _, sequence := range sequences {
		if follows(password, sequence, 1) || follows(password, sequence, len(sequence)-1) {
			return true
		}
	}
	return false
}

// follows reports whether password goes around sequence in such steps. It is at least
// 4 characters long, to exclude accidents.
func follows(password []rune, sequence string, step int) bool {
	if len(password) < 4 || password[0] > unicode.MaxASCII {
		return false
	}
	at := strings.IndexRune(sequence, password[0])
	if at < 0 {
		return false
	}
	for _, r := range password {
		if rune(sequence[at]) != r {
			return false
		}
		at = (at + step) % len(sequence)
	}
	return true
}

// The bounds of a blocklist, so that a wrong file does not fill the memory.
const (
	maxBlocklist = 16 << 20 // bytes of the file
	maxBlockLine = 4096
)

// A Blocklist is an immutable set of passwords that are refused.
type Blocklist struct {
	folded map[string]struct{}
}

// ReadBlocklist reads passwords, one a line, from at most 16 MiB with lines of at
// most 4096 bytes. It skips a byte order mark, empty lines and lines that are not
// UTF-8.
func ReadBlocklist(r io.Reader) (*Blocklist, error) {
	limited := &io.LimitedReader{R: r, N: maxBlocklist + 1}
	scanner := bufio.NewScanner(limited)
	scanner.Buffer(nil, maxBlockLine+2)
	b := &Blocklist{folded: make(map[string]struct{})}
	lines := 0
	for scanner.Scan() {
		line := scanner.Bytes()
		if lines++; lines == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) > 0 && utf8.Valid(line) {
			b.folded[fold(string(line))] = struct{}{}
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("password: reading a blocklist, after line %d: %w", lines, err)
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("password: the blocklist has more than %d bytes", maxBlocklist)
	}
	return b, nil
}

// Count returns the number of passwords with at least minLength characters. Passwords
// that differ only in case count as one.
func (b *Blocklist) Count(minLength int) (n int) {
	if b == nil {
		return 0
	}
	for folded := range b.folded {
		if utf8.RuneCountInString(folded) >= minLength {
			n++
		}
	}
	return n
}

func (b *Blocklist) has(folded string) bool {
	if b == nil {
		return false
	}
	_, ok := b.folded[folded]
	return ok
}
