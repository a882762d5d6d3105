package password_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/password"
)

func newPolicy(t testing.TB, c password.PolicyConfig) *password.Policy {
	t.Helper()
	p, err := password.NewPolicy(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readBlocklist(t testing.TB, list string) *password.Blocklist {
	t.Helper()
	b, err := password.ReadBlocklist(strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewPolicyNamesEveryMistake(t *testing.T) {
	for _, tt := range []struct {
		config password.PolicyConfig
		want   string
	}{
		{password.PolicyConfig{MinLength: 7, MaxLength: 63}, `password: PolicyConfig.MinLength is 7 characters; set 8 to 64, and 15 without a second factor (NIST SP 800-63B-4 section 3.1.1.2)
password: PolicyConfig.MaxLength is 63 bytes; set 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 requires at least 64)`},
		{password.PolicyConfig{MinLength: -1}, "password: PolicyConfig.MinLength is -1 characters; set 8 to 64, and 15 without a second factor (NIST SP 800-63B-4 section 3.1.1.2)"},
		{password.PolicyConfig{MinLength: 65}, "password: PolicyConfig.MinLength is 65 characters; set 8 to 64, and 15 without a second factor (NIST SP 800-63B-4 section 3.1.1.2)"},
		{password.PolicyConfig{MaxLength: 65537}, "password: PolicyConfig.MaxLength is 65537 bytes; set 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 requires at least 64)"},
	} {
		if p, err := password.NewPolicy(tt.config); p != nil || err == nil || err.Error() != tt.want {
			t.Errorf("got %v, %v\nwant %s", p, err, tt.want)
		}
	}
}

func TestPolicyLength(t *testing.T) {
	const random = "vK7 qT?mZ2wRx9L" // 15 characters
	for _, tt := range []struct {
		name     string
		config   password.PolicyConfig
		password string
		want     []error
	}{
		{"15 characters will do", password.PolicyConfig{}, random, nil},
		{"14 will not", password.PolicyConfig{}, random[1:], []error{password.ErrTooShort}},
		{"8 will, when the host says so", password.PolicyConfig{MinLength: 8}, random[:8], nil},
		{"7 will not", password.PolicyConfig{MinLength: 8}, random[:7], []error{password.ErrTooShort}},
		{"none will not", password.PolicyConfig{}, "", []error{password.ErrTooShort}},
		{"a code point is a character: 15 of two bytes", password.PolicyConfig{}, "àéîõüñçßøåæþðýÿ", nil},
		{"14 of four bytes, which are 56", password.PolicyConfig{}, "🐎🔋📎✅🦄🐈🐕🦊🐻🐼🐨🐯🦁🐮", []error{password.ErrTooShort}},
		{"a combining accent is one of its own", password.PolicyConfig{}, "e\u0301rZ8 kf?Wq2 lB", nil},
		{"letters alone will do", password.PolicyConfig{}, "correcthorsebatterystaple", nil},
		{"digits alone will do", password.PolicyConfig{}, "483920184756201", nil},
		{"spaces are characters", password.PolicyConfig{}, "a b c f e d h i", nil},
		{"1024 bytes will do", password.PolicyConfig{}, strings.Repeat(random+"!", 64), nil},
		{"1025 will not", password.PolicyConfig{}, strings.Repeat(random+"!", 64) + "!", []error{password.ErrTooLong}},
		{"that is bytes", password.PolicyConfig{MaxLength: 64}, strings.Repeat("é", 33), []error{password.ErrTooLong}},
		{"what is no UTF-8 will not", password.PolicyConfig{}, random + "\xff", []error{password.ErrNotText}},
		{"nor will half a character", password.PolicyConfig{}, random + "é"[:1], []error{password.ErrNotText}},
		{"all mistakes are told", password.PolicyConfig{}, "12345678", []error{password.ErrTooShort, password.ErrBlocked}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checks(t, newPolicy(t, tt.config).Check(tt.password), tt.want...)
		})
	}
}

// checks looks for the errors in err, and for no others.
func checks(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, e := range []error{password.ErrTooShort, password.ErrTooLong, password.ErrNotText, password.ErrBlocked} {
		wanted := false
		for _, w := range want {
			wanted = wanted || w == e
		}
		if errors.Is(err, e) != wanted {
			t.Errorf("the error is %q, want it to be %q: %v", fmt.Sprint(err), e, wanted)
		}
	}
	if (err == nil) != (len(want) == 0) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

func TestPolicyBlocks(t *testing.T) {
	list := readBlocklist(t, "letmeinletmeinletmein\nTrustNo1 TrustNo1\nПарольПарольПароль\n#startswithnumbersign\n  spaces around  \n123\n")
	for _, tt := range []struct {
		name     string
		password string
		context  []string
		blocked  bool
	}{
		{"what is on the list", "letmeinletmeinletmein", nil, true},
		{"in other case", "LetMeInLETmeINletmein", nil, true},
		{"where the list has the upper case", "trustno1 trustno1", nil, true},
		{"in other case outside ASCII", "пАРОЛЬпарольПАРОЛЬ", nil, true},
		{"a long s is an s", "#startswithnumber\u017fign", nil, true},
		{"a line with a number sign is no comment", "#startswithnumbersign", nil, true},
		{"spaces count", "  spaces around  ", nil, true},
		{"and without them it is another", "spaces around.", nil, false},
		{"a part of what is on the list is not on it", "letmeinletmeinletmei", nil, false},
		{"nor is what has it inside", "letmeinletmeinletmein please", nil, false},
		{"nor is what is longer by a digit", "letmeinletmeinletmein1", nil, false},

		{"the user's login", "Alice.Longbottom", []string{"alice.longbottom"}, true},
		{"with a year behind", "alicelongbottom2026!", []string{"alice.longbottom"}, true},
		{"with digits all over", "1alice2longbottom3", []string{"Alice Longbottom"}, true},
		{"again and again", "alicealicealice", []string{"alice"}, true},
		{"with another word", "alice likes horses", []string{"alice", "Gatewright"}, false},
		{"with the name of the service", "alice@gatewright-1", []string{"alice", "Gatewright"}, true},
		{"the mail address", "alice@example.com", []string{"alice@example.com"}, true},
		{"parts of the mail address, the other way round", "example.com/alice", []string{"alice@example.com"}, true},
		{"the mail address with two letters more", "alice@example.com ok", []string{"alice@example.com"}, false},
		{"a word of the context inside another one", "malice aforethought", []string{"alice"}, false},
		{"two halves do not make a word", "boaliceb 2026-10-11", []string{"alice", "bob"}, false},
		{"the longest word is taken first", "alicesmith-2026-1", []string{"alice", "alicesmith"}, true},
		{"a login in another alphabet", "АЛИСА-2026-10-11", []string{"алиса"}, true},
		{"a telephone number", "+49 30 901820 115", []string{"+49 30 901820 115"}, true},
		{"a number that has digits of the context in it", "483920184756201", []string{"7", "2018", "+49 30"}, false},
		{"nothing of the context", "483920184756201", []string{"", " ", "@", "alice"}, false},
		{"a context that is not UTF-8", "alice-2026-10-11", []string{"\xff", "alice\xff"}, true},

		{"one character", strings.Repeat("a", 15), nil, true},
		{"one character in two cases", "aAaAaAaAaAaAaAa", nil, true},
		{"two characters", "121212121212121", nil, true},
		{"four characters", "abc!abc!abc!abc!abc!", nil, true},
		{"four characters and the beginning of a round", "abc!abc!abc!abc", nil, true},
		{"five characters", "abcd!abcd!abcd!abcd", nil, false},
		{"one character of four bytes", strings.Repeat("🐎", 15), nil, true},
		{"digits in a row", "123456789012345", nil, true},
		{"from another one", "456789012345678", nil, true},
		{"backwards", "987654321098765", nil, true},
		{"the alphabet", "abcdefghijklmnop", nil, true},
		{"the alphabet backwards", "zyxwvutsrqponmlkj", nil, true},
		{"the keyboard", "QwertyuiopAsdfghjkl", nil, true},
		{"the keyboard, in columns", "1qaz2wsx3edc4rfv", nil, true},
		{"the keyboard and something", "qwertyuiopasdfghjkl!", nil, false},
		{"digits with one that is wrong", "123456789012346", nil, false},
		{"digits of another script in a row", "１２３４５６７８９０１２３４５", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPolicy(t, password.PolicyConfig{MinLength: 8, Blocklist: list})
			err := p.Check(tt.password, tt.context...)
			if tt.blocked {
				checks(t, err, password.ErrBlocked)
			} else {
				checks(t, err)
			}
		})
	}
}

func TestPolicyTellsTheUser(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{Blocklist: readBlocklist(t, "hunter2")})
	for _, tt := range []struct {
		password string
		want     string
	}{
		{"hunter2", "The password has 7 characters, and needs at least 15.\nThe password is on a list of passwords that are often used and guessed first."},
		{"x", "The password has 1 character, and needs at least 15."},
		{"alice", "The password has 5 characters, and needs at least 15.\nThe password has little besides the name of the user or of this service."},
		{"aaaaaaaaaaaaaaa", "The password is a simple sequence or repetition of characters."},
		{strings.Repeat("x", 2000), "The password has 2000 bytes, and may have 1024 at most."},
		{"hunter2hunter2\xff", "The password is not text in UTF-8."},
	} {
		if err := p.Check(tt.password, "alice"); err == nil || err.Error() != tt.want {
			t.Errorf("the error is\n%v\nwant\n%s", err, tt.want)
		}
	}
}

func TestReadBlocklist(t *testing.T) {
	line := strings.Repeat("x", 4096)
	for _, tt := range []struct {
		name  string
		list  string
		count int
		says  string
	}{
		{"nothing", "", 0, ""},
		{"one line, not ended", "password", 1, ""},
		{"ended with CRLF", "password\r\nletmein\r\n", 2, ""},
		{"empty lines", "\n\r\n\npassword\n\n", 1, ""},
		{"a byte order mark", "\ufeffpassword\n", 1, ""},
		{"twice the same, but for case", "password\nPASSWORD\n", 1, ""},
		{"a line that is not UTF-8", "pass\xffword\npassword\n", 1, ""},
		{"a line of 4096 bytes", line + "\r\n" + "y\n", 2, ""},
		{"a longer line", "a\nb\n" + line + "xyz\n", 0, "password: reading a blocklist, after line 2: bufio.Scanner: token too long"},
		{"16 MiB", strings.Repeat("password\n", 16<<20/9) + strings.Repeat("\n", 16<<20%9), 1, ""},
		{"more than that", strings.Repeat("password\n", 16<<20/9+1), 0, "password: the blocklist has more than 16777216 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := password.ReadBlocklist(strings.NewReader(tt.list))
			if tt.says != "" {
				if b != nil || err == nil || err.Error() != tt.says {
					t.Errorf("got %v, %v, want %s", b, err, tt.says)
				}
				return
			}
			if err != nil || b.Count(0) != tt.count {
				t.Fatalf("got %d entries, %v, want %d", b.Count(0), err, tt.count)
			}
			if first, _, _ := strings.Cut(strings.TrimPrefix(tt.list, "\ufeff"), "\n"); strings.HasPrefix(first, "password") {
				checks(t, newPolicy(t, password.PolicyConfig{MinLength: 8, Blocklist: b}).Check("password"), password.ErrBlocked)
			}
		})
	}
	t.Run("a reader that fails", func(t *testing.T) {
		broken := errors.New("the disk is on fire")
		b, err := password.ReadBlocklist(io.MultiReader(strings.NewReader("password\n"), iotest.ErrReader(broken)))
		if b != nil || !errors.Is(err, broken) {
			t.Errorf("got %v, %v", b, err)
		}
	})
	t.Run("the entries that a policy would allow are counted", func(t *testing.T) {
		b := readBlocklist(t, "password\npasswordpassword\n"+strings.Repeat("é", 15)+"\n")
		if got := b.Count(15); got != 2 {
			t.Errorf("%d have 15 characters, want 2", got)
		}
		var none *password.Blocklist
		if got := none.Count(0); got != 0 {
			t.Errorf("no list has %d", got)
		}
	})
}

// Whatever is chosen: no panic, no part of it in the error, and what is
// accepted is long enough, is text, and is accepted in any case.
func FuzzPolicy(f *testing.F) {
	f.Add("correct horse battery staple", "alice@example.com", "letmein")
	f.Add("123456789012345", "", "")
	f.Add("alice\xff", "\xff", "\xff")
	f.Add("ſtraßeſtraßeſtraße", "STRASSE", "K")
	f.Add("\x00\x00", "@", "\n")
	f.Fuzz(func(t *testing.T, pw, context, list string) {
		b, err := password.ReadBlocklist(strings.NewReader(list))
		if err != nil {
			return
		}
		p := newPolicy(t, password.PolicyConfig{MinLength: 8, Blocklist: b})
		err = p.Check(pw, context, context+pw)
		again := p.Check(pw, context, context+pw)
		if fmt.Sprint(err) != fmt.Sprint(again) {
			t.Errorf("got %v, and then %v", err, again)
		}
		if len(pw) > 10 && err != nil && strings.Contains(err.Error(), pw) {
			t.Errorf("the error has the password in it: %v", err)
		}
		if err == nil && (utf8.RuneCountInString(pw) < 8 || !utf8.ValidString(pw) || len(pw) > 1024 || strings.EqualFold(pw, context)) {
			t.Errorf("%q is accepted", pw)
		}
		for line := range strings.Lines(strings.TrimPrefix(list, "\ufeff")) {
			if line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"); err == nil && line != "" && line == pw {
				t.Errorf("%q is accepted, and is on the list", pw)
			}
		}
	})
}

func BenchmarkPolicyCheck(b *testing.B) {
	var list strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "password number %d\n", i)
	}
	p := newPolicy(b, password.PolicyConfig{Blocklist: readBlocklist(b, list.String())})
	for _, bm := range []struct{ name, password string }{
		{"accepted", "correct horse battery staple"},
		{"blocked", "password number 777"},
		{"as long as may be, of one letter", strings.Repeat("a", 1024)},
		{"a mebibyte", strings.Repeat("a", 1<<20)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Check(bm.password, "alice", "alice@example.com", "Gatewright")
			}
		})
	}
}
