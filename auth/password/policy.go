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

// What a [Policy] finds wrong with a new password, to be told apart with
// [errors.Is]; [ErrTooLong] is the fourth. Those of [Policy.Check] say it in
// sentences that are meant for the user.
var (
	ErrTooShort = errors.New("password: the password is too short")
	ErrNotText  = errors.New("password: the password is not valid UTF-8")
	ErrBlocked  = errors.New("password: the password is one of those that are guessed first")
)

// A PolicyConfig says which passwords users may choose. The zero PolicyConfig
// is the safe one, as far as it can be without a list of breached passwords.
//
// There is no field for kinds of characters that a password must have, nor for
// its age: NIST SP 800-63B-4 section 3.1.1.2 forbids both.
type PolicyConfig struct {
	// MinLength is how many characters a password must have, from 8 to 64.
	// Each code point is one. Below 15 it is for accounts that need a second
	// factor, always: NIST SP 800-63B-4 section 3.1.1.2 wants 15 where the
	// password is the only one, and 8 where it is not. ASVS 5.0 6.2.1 allows 8
	// and strongly recommends 15.
	//
	// Default: 15.
	MinLength int

	// MaxLength is how many bytes a password may have, from 64 to 65536. Give
	// the number of [Config.MaxLength], or the Hasher refuses what the Policy
	// has allowed.
	//
	// Default: 1024, as it is there.
	MaxLength int

	// Blocklist are passwords that nobody may choose. This package has none to
	// give: take a list of those that were breached most often, such as
	// the ones of SecLists or of the NCSC, from a source that you trust, and
	// keep it with your deployment. ASVS 5.0 6.2.4 wants 3000 that the rest of
	// the policy would allow, which [Blocklist.Count] tells; most entries of
	// the usual lists are shorter than 15.
	//
	// Default: only what [Policy.Check] knows by itself is blocked.
	Blocklist *Blocklist
}

// A Policy judges the passwords that users choose. It is made by [NewPolicy],
// and safe for concurrent use.
//
// It is for new passwords only. Those who sign in have theirs already.
type Policy struct {
	minLength, maxLength int
	blocklist            *Blocklist
}

// NewPolicy returns a Policy. Its error lists every mistake in c.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	if c.MinLength == 0 {
		c.MinLength = 15
	}
	if c.MaxLength == 0 {
		c.MaxLength = 1024
	}
	var errs []error
	if c.MinLength < 8 || c.MinLength > 64 {
		errs = append(errs, fmt.Errorf("password: PolicyConfig.MinLength is %d characters, want 8 to 64, and 15 without a second factor (NIST SP 800-63B-4 section 3.1.1.2)", c.MinLength))
	}
	if c.MaxLength < 64 || c.MaxLength > 64<<10 {
		errs = append(errs, fmt.Errorf("password: PolicyConfig.MaxLength is %d bytes, want 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 wants at least 64)", c.MaxLength))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Policy{c.MinLength, c.MaxLength, c.Blocklist}, nil
}

// Check returns nil when a user may choose the password, and otherwise all
// that is wrong with it: [ErrTooShort], [ErrTooLong], [ErrNotText] and
// [ErrBlocked], one a line, in English sentences for the user that have no part
// of the password in them. Those who speak to users in another language ask
// with [errors.Is].
//
// Blocked is a password that, without regard to case,
//
//   - is on the blocklist, as a whole: that a listed one is contained in it
//     does not matter (NIST SP 800-63B-4 section 3.1.1.2);
//   - has nothing in it but words of the context, digits and punctuation. The
//     context is what a guesser knows anyway: the name of the service, the
//     user's login, name and mail address. For alice@example.com there is no
//     "Alice-2026-10-11", no "example.com/alice" and no "alicealicealice",
//     while "alice drinks gin" has other words, and is accepted;
//   - is up to 4 characters again and again, or an excerpt of the digits, the
//     alphabet or a walk over the keyboard, forwards or backwards. This is the
//     part of a blocklist that takes less room as a rule.
//
// Characters are compared one by one as Unicode folds their case, with no
// normal form, so é and e with an accent after it are different here, as they
// are for [Hasher.Verify].
//
// Of an over-long password, or one that is not UTF-8, nothing else is judged.
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
		errs = append(errs, &refusal{ErrBlocked, "The password is on a list of those that are used often and guessed first."})
	case onlyWords(folded, context):
		errs = append(errs, &refusal{ErrBlocked, "The password has little in it but the name of the user or of this service."})
	case regular([]rune(folded)):
		errs = append(errs, &refusal{ErrBlocked, "The password is a simple sequence or repetition of characters."})
	}
	return errors.Join(errs...)
}

// A refusal is one thing that is wrong with a password.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// fold returns s with each character replaced by the least of those that
// differ from it in case only, so that two are equal when [strings.EqualFold]
// says so. It leaves invalid UTF-8 to its callers.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A' // which is the same, and what most of them are
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// onlyWords reports whether folded is one of the context, or has a word of it
// inside and, all of those taken out, no letter. A word is as many letters as
// stand together: what is between them may be different in the password.
func onlyWords(folded string, context []string) bool {
	var words []string
	for _, s := range context {
		s = fold(s)
		if s != "" && s == folded {
			return true // a telephone number has no letters
		}
		words = append(words, strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })...)
	}
	// The longest first, or "al" would leave "ice" of "alice".
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

// regular reports whether password is a short one again and again, or an
// excerpt of a sequence.
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

// follows reports whether password goes around sequence by so many steps at a
// time. It has to be longer than what could be an accident.
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

// A Blocklist is a set of passwords that are refused. It is made by
// [ReadBlocklist]. It does not change, and is safe for concurrent use.
type Blocklist struct {
	folded map[string]struct{}
}

// ReadBlocklist reads passwords, one a line, as the usual lists of breached
// ones have them: of at most 16 MiB, with lines of at most 4096 bytes that end
// in LF or CRLF. All of a line counts, spaces and number signs too. A byte
// order mark at the beginning, and lines that are empty or not valid UTF-8, are
// passed over: they match nothing that [Policy.Check] would allow.
//
// For a list in Go, give it a strings.NewReader of it.
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

// Count returns how many passwords of the list have at least so many
// characters. Those that differ in case only are one.
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
