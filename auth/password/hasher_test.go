package password_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatewright/gatewright/auth/password"
)

// cheap are parameters that no one should use outside of tests.
var cheap = password.Argon2id{Memory: 64, Passes: 1, Lanes: 1}

// newHasher returns a Hasher of c, with cheap parameters unless c has others.
func newHasher(t testing.TB, c password.Config) *password.Hasher {
	t.Helper()
	if c.Argon2id == (password.Argon2id{}) {
		c.Argon2id = cheap
	}
	c.InsecureArgon2id = true
	h, err := password.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustHash(t testing.TB, h *password.Hasher, pw string) string {
	t.Helper()
	encoded, err := h.Hash(t.Context(), pw)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func mustBcrypt(t testing.TB, pw string, cost int) string {
	t.Helper()
	encoded, err := bcrypt.GenerateFromPassword([]byte(pw), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func TestHash(t *testing.T) {
	t.Run("the zero Config hashes as RFC 9106 recommends", func(t *testing.T) {
		h, err := password.New(password.Config{})
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`^\$argon2id\$v=19\$m=65536,t=3,p=4\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
		if got := mustHash(t, h, "correct horse"); !want.MatchString(got) {
			t.Errorf("hash is %s, want %s", got, want)
		}
	})
	t.Run("the parameters are those of the Config", func(t *testing.T) {
		h := newHasher(t, password.Config{Argon2id: password.Argon2id{Memory: 100, Passes: 2, Lanes: 3, SaltLength: 24, TagLength: 64}})
		want := regexp.MustCompile(`^\$argon2id\$v=19\$m=100,t=2,p=3\$[A-Za-z0-9+/]{32}\$[A-Za-z0-9+/]{86}$`)
		if got := mustHash(t, h, "correct horse"); !want.MatchString(got) {
			t.Errorf("hash is %s, want %s", got, want)
		}
	})
	t.Run("no two hashes of a password are alike", func(t *testing.T) {
		h := newHasher(t, password.Config{})
		if a, b := mustHash(t, h, "correct horse"), mustHash(t, h, "correct horse"); a == b {
			t.Errorf("both are %s", a)
		}
	})

	for _, tt := range []struct {
		name     string
		password string
		want     error
	}{
		{"an empty password is refused", "", password.ErrEmpty},
		{"a password of MaxLength bytes is hashed", strings.Repeat("x", 100), nil},
		{"a longer one is refused", strings.Repeat("x", 101), password.ErrTooLong},
		{"length is counted in bytes", strings.Repeat("é", 51), password.ErrTooLong},
		{"a NUL is a byte like any other", "\x00", nil},
		{"what is no UTF-8 is hashed as it is", "\xff\xfe", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHasher(t, password.Config{MaxLength: 100})
			encoded, err := h.Hash(t.Context(), tt.password)
			if !errors.Is(err, tt.want) || (encoded == "") != (tt.want != nil) {
				t.Fatalf("got %q, %v, want the error %v", encoded, err, tt.want)
			}
			if err != nil {
				return
			}
			if ok, upgraded, err := h.Verify(t.Context(), tt.password, encoded); !ok || upgraded != "" || err != nil {
				t.Errorf("the hash verifies with %v, %q, %v", ok, upgraded, err)
			}
		})
	}

	t.Run("a password of a mebibyte costs next to nothing", func(t *testing.T) { // corpus row 33
		h, err := password.New(password.Config{}) // 64 MiB, were it hashed
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", 1<<20)
		if got := testing.AllocsPerRun(10, func() {
			if _, err := h.Hash(context.Background(), long); !errors.Is(err, password.ErrTooLong) {
				t.Errorf("got %v, want ErrTooLong", err)
			}
		}); got != 0 {
			t.Errorf("%v allocations, want none", got)
		}
	})
}

// Each hash here was made by another implementation than the one under test.
func TestVerifyHashesOfOthers(t *testing.T) {
	const horse = "correct horse battery staple"
	x72 := strings.Repeat("x", 72)
	for _, tt := range []struct {
		source   string
		password string
		encoded  string
	}{
		// The README of argon2-cffi.
		{"argon2-cffi", horse, "$argon2id$v=19$m=65536,t=3,p=4$MIIRqgvgQbgj220jfp0MPA$YfwJSVjtjSU0zzV/P3S9nnQ/USre2wvJMjfCIjrTQbg"},
		// src/test.c of the reference implementation, P-H-C/phc-winner-argon2.
		{"argon2 reference, p=1", "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{"argon2 reference, p=2", "password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		// hash-wasm 4.13.0.
		{"hash-wasm, p=1", horse, "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$TUhCoV6YH8thtZpQqRp0JvQQ5ZYgiLA0LYApKDG6qtM"},
		{"hash-wasm, p=4", horse, "$argon2id$v=19$m=256,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$vyUseEDrrLzBEcD95VxDQ4TAelMn15WQYxRyZfOJH4Q"},
		{"hash-wasm, not ASCII, tag of 24 bytes", "pässwörd☃", "$argon2id$v=19$m=128,t=2,p=2$c29tZXNhbHQ$jrPp+Ctqa5nnC0YB6n73EBCvfBL2NaK4"},
		{"hash-wasm, with a NUL, tag of 16 bytes", "nul\x00byte", "$argon2id$v=19$m=100,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$dJGFH0sk7ra1HnkbD5e6Nw"},
		{"hash-wasm, 200 bytes, p=3, tag of 64 bytes", strings.Repeat("x", 200),
			"$argon2id$v=19$m=1000,t=1,p=3$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY$A/+tT4vGwx9X3fYqkS9ktnbPA5Hu9XnGPQys0BKEzlKz91t+Mo/cM1Y0VBjuuZIzDOJjcZYz65TUK8gD2h5imA"},
		// crypt(3) of libxcrypt, through Python's crypt module.
		{"libxcrypt 2a", horse, "$2a$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"},
		{"libxcrypt 2b", horse, "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"},
		{"libxcrypt 2y, not ASCII", "pässwörd☃", "$2y$05$abcdefghijklmnopqrstuuHDzgK1gVUKV6LQElKXKla48kCOUVYIy"},
		{"libxcrypt 2b, 72 bytes", x72, "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"},
		// The test vectors of crypt_blowfish, wrapper.c.
		{"crypt_blowfish 2a", "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"crypt_blowfish 2y, no UTF-8", "\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"},
		// The manual of PHP, at password_verify.
		{"PHP 2y", "rasmuslerdorf", "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq"},
		// glic3rinu/passlib issue 25: made by passlib 1.5.2 or before, which
		// set the unused bits of the salt.
		{"passlib 2a with stray bits in its salt", "Passlib11", "$2a$12$M8mKpW9a2vZ7PYhq/8eJVcUtKxpo6j0zAezu0G/HAMYgMkhPu4fLK"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			h := newHasher(t, password.Config{Imported: []password.Scheme{password.Bcrypt(4)}})
			ok, upgraded, err := h.Verify(t.Context(), tt.password, tt.encoded)
			if !ok || err != nil {
				t.Fatalf("verifies with %v, %v", ok, err)
			}
			if strings.HasPrefix(tt.encoded, "$2") {
				if !strings.HasPrefix(upgraded, "$argon2id$v=19$m=64,t=1,p=1$") {
					t.Fatalf("upgraded is %q, want argon2id of the Config", upgraded)
				}
				if ok, again, err := h.Verify(t.Context(), tt.password, upgraded); !ok || again != "" || err != nil {
					t.Errorf("the upgraded hash verifies with %v, %q, %v", ok, again, err)
				}
			}
			if ok, upgraded, err := h.Verify(t.Context(), tt.password[1:], tt.encoded); ok || upgraded != "" || err != nil {
				t.Errorf("a wrong password verifies with %v, %q, %v", ok, upgraded, err)
			}
		})
	}
}

func TestVerifyUpgrades(t *testing.T) {
	const horse = "correct horse battery staple"
	made := func(a password.Argon2id) string {
		return mustHash(t, newHasher(t, password.Config{Argon2id: a}), horse)
	}
	config := password.Config{
		Argon2id: password.Argon2id{Memory: 128, Passes: 2, Lanes: 2},
		Imported: []password.Scheme{password.Bcrypt(5), password.Argon2id{Memory: 512, Passes: 4, Lanes: 1}},
	}
	for _, tt := range []struct {
		name     string
		encoded  string
		upgraded bool
	}{
		{"a hash of the same parameters is kept", made(config.Argon2id), false},
		{"one of less memory is replaced", made(password.Argon2id{Memory: 64, Passes: 2, Lanes: 2}), true},
		{"one of less memory and more passes is replaced", made(password.Argon2id{Memory: 64, Passes: 8, Lanes: 2}), true},
		{"one of fewer passes is replaced", made(password.Argon2id{Memory: 128, Passes: 1, Lanes: 2}), true},
		{"one of more memory and fewer passes is replaced", made(password.Argon2id{Memory: 1024, Passes: 1, Lanes: 2}), true},
		{"one of other lanes is replaced", made(password.Argon2id{Memory: 128, Passes: 2, Lanes: 1}), true},
		{"one of a longer salt is replaced", made(password.Argon2id{Memory: 128, Passes: 2, Lanes: 2, SaltLength: 20}), true},
		{"one of a shorter tag is replaced", made(password.Argon2id{Memory: 128, Passes: 2, Lanes: 2, TagLength: 16}), true},
		{"a stronger one is kept", made(password.Argon2id{Memory: 256, Passes: 2, Lanes: 1}), false},
		{"a stronger one with a shorter salt is replaced", made(password.Argon2id{Memory: 256, Passes: 2, Lanes: 1, SaltLength: 8}), true},
		{"a stronger one is replaced when its parameters are listed", made(password.Argon2id{Memory: 512, Passes: 4, Lanes: 1}), true},
		{"bcrypt of the listed cost is replaced", mustBcrypt(t, horse, 5), true},
		{"bcrypt of a lower cost is replaced", mustBcrypt(t, horse, 4), true},
		{"bcrypt of a higher cost is replaced", mustBcrypt(t, horse, 6), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHasher(t, config)
			ok, upgraded, err := h.Verify(t.Context(), horse, tt.encoded)
			if !ok || err != nil || (upgraded != "") != tt.upgraded {
				t.Fatalf("got %v, %q, %v, want upgraded %v", ok, upgraded, err, tt.upgraded)
			}
			if upgraded != "" {
				if ok, again, err := h.Verify(t.Context(), horse, upgraded); !ok || again != "" || err != nil {
					t.Errorf("the upgraded hash verifies with %v, %q, %v", ok, again, err)
				}
			}
			if ok, upgraded, err := h.Verify(t.Context(), horse+"!", tt.encoded); ok || upgraded != "" || err != nil {
				t.Errorf("a wrong password verifies with %v, %q, %v", ok, upgraded, err)
			}
		})
	}
}

// Corpus row 31.
func TestVerifyBcryptKnowsItsLimits(t *testing.T) {
	x72 := strings.Repeat("x", 72)
	for _, tt := range []struct {
		name     string
		hashed   string // by the library, which does not refuse it
		password string
		truncate bool
		want     bool
	}{
		{"72 bytes match", x72, x72, false, true},
		{"72 bytes and a suffix do not", x72, x72 + "y", false, false},
		{"not even if the suffix would be within 72 bytes of UTF-8", strings.Repeat("é", 36), strings.Repeat("é", 37), false, false},
		{"72 bytes and a suffix match when truncation is allowed", x72, x72 + "y", true, true},
		{"71 bytes and a suffix do not", x72, x72[1:] + "yx", true, false},
		{"a NUL that repeats the password does not match", "secret", "secret\x00secret", false, false},
		{"a NUL at the end does not match", "secret", "secret\x00", false, false},
		{"a NUL does not match even if it was hashed", "se\x00ret", "se\x00ret", false, false},
		{"a NUL does not match when truncation is allowed", "secret", "secret\x00secret", true, false},
		{"a NUL after 72 bytes does not match", x72, x72 + "\x00", true, false},
		{"the empty password does not match its hash", "", "", false, false},
		{"a NUL does not match the hash of the empty password", "", "\x00", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			encoded := mustBcrypt(t, tt.hashed, 4)
			h := newHasher(t, password.Config{
				Imported:           []password.Scheme{password.Bcrypt(4)},
				InsecureTruncate72: tt.truncate,
			})
			ok, upgraded, err := h.Verify(t.Context(), tt.password, encoded)
			if ok != tt.want || err != nil || (upgraded != "") != tt.want {
				t.Fatalf("got %v, %q, %v, want %v", ok, upgraded, err, tt.want)
			}
			if tt.want && len(tt.password) > 72 {
				// From now on the password is all that was typed.
				if ok, _, err := h.Verify(t.Context(), tt.password[:72], upgraded); ok || err != nil {
					t.Errorf("the first 72 bytes match the upgraded hash: %v, %v", ok, err)
				}
			}
		})
	}
}

// Corpus row 30: what each class of failure looks like. That they also do the
// same work is shown in work_internal_test.go.
func TestVerifyFails(t *testing.T) {
	h := newHasher(t, password.Config{MaxLength: 64, Imported: []password.Scheme{password.Bcrypt(4)}})
	stored := mustHash(t, h, "correct horse")
	long := strings.Repeat("x", 65)
	longStored := mustHash(t, newHasher(t, password.Config{}), long)
	emptyStored := "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$vUObZXR8u6zEGjfWdpL/nMfnaldHLDuDSSTQSxqPtw8"
	for _, tt := range []struct{ name, password, encoded string }{
		{"the user is unknown", "correct horse", ""},
		{"the user is unknown and the password empty", "", ""},
		{"the password is wrong", "correct house", stored},
		{"the password is of other case", "Correct horse", stored},
		{"the password has a space behind", "correct horse ", stored},
		{"the password is empty", "", stored},
		{"the password is empty and was hashed", "", emptyStored},
		{"the password is too long", long, stored},
		{"the password is too long and was hashed", long, longStored},
		{"the password is the hash", stored, stored},
		{"the hash is bcrypt and the password wrong", "wrong", mustBcrypt(t, "right", 4)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if ok, upgraded, err := h.Verify(t.Context(), tt.password, tt.encoded); ok || upgraded != "" || err != nil {
				t.Errorf("got %v, %q, %v, want false and no error", ok, upgraded, err)
			}
		})
	}
}

// salt and tag are well-formed.
const salt, tag = "c2FsdHNhbHRzYWx0c2FsdA", "TUhCoV6YH8thtZpQqRp0JvQQ5ZYgiLA0LYApKDG6qtM"

// Corpus row 32, and what else a table of users may hold.
func TestVerifyRefusesStoredHashes(t *testing.T) {
	good := "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + tag
	goodBcrypt := "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"
	with := func(old, new string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is not once in %q", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, tt := range []struct {
		name    string
		encoded string
		want    error
		says    string
	}{
		{"the most memory that can be written", with("m=64", "m=4294967295"), password.ErrMalformed, "memory is 4294967295 KiB; the maximum is 262144"},
		{"more memory than can be written", with("m=64", "m=4294967296"), password.ErrMalformed, "not spelled"},
		{"more digits than a number has", with("m=64", "m="+strings.Repeat("9", 100)), password.ErrMalformed, "not spelled"},
		{"memory above the bound by one", with("m=64", "m=262145"), password.ErrMalformed, "262145"},
		{"no memory", with("m=64", "m=0"), password.ErrMalformed, "memory is 0 KiB"},
		{"less memory than the lanes need", with("m=64,t=1,p=1", "m=127,t=1,p=16"), password.ErrMalformed, "less than 8 for each"},
		{"no passes", with("t=1", "t=0"), password.ErrMalformed, "0 passes, not 1 to 16"},
		{"too many passes", with("t=1", "t=17"), password.ErrMalformed, "17 passes"},
		{"no lanes", with("p=1", "p=0"), password.ErrMalformed, "0 lanes, not 1 to 16"},
		{"too many lanes", with("m=64,t=1,p=1", "m=6400,t=1,p=17"), password.ErrMalformed, "17 lanes"},
		{"lanes that are one in eight bits", with("m=64,t=1,p=1", "m=6400,t=1,p=257"), password.ErrMalformed, "257 lanes"},
		{"a negative number", with("t=1", "t=-1"), password.ErrMalformed, "not spelled"},
		{"a number with a sign", with("t=1", "t=+1"), password.ErrMalformed, "not spelled"},
		{"a number with a zero in front", with("t=1", "t=01"), password.ErrMalformed, "not spelled"},
		{"a number with a space", with("t=1", "t= 1"), password.ErrMalformed, "not spelled"},
		{"a number in hexadecimal", with("t=1", "t=0x1"), password.ErrMalformed, "not spelled"},
		{"no number", with("t=1", "t="), password.ErrMalformed, "not spelled"},
		{"a parameter twice", with("t=1,", "t=1,t=1,"), password.ErrMalformed, "not spelled"},
		{"a parameter missing", with(",p=1", ""), password.ErrMalformed, "not spelled"},
		{"a parameter more", with("p=1", "p=1,x=1"), password.ErrMalformed, "not spelled"},
		{"a parameter instead of another", with("p=1", "x=1"), password.ErrMalformed, "not spelled"},
		{"a parameter twice and another missing", with("p=1", "t=1"), password.ErrMalformed, "not spelled"},
		{"associated data", with("p=1", "p=1,data=AAAA"), password.ErrUnsupported, "associated data"},
		{"the ID of a key", with("p=1", "p=1,keyid=AAAA"), password.ErrUnsupported, "a key"},
		{"parameters in capitals", with("m=64", "M=64"), password.ErrMalformed, "not spelled"},
		{"no version", with("v=19$", ""), password.ErrUnsupported, "without a version"},
		{"version 16", with("v=19", "v=16"), password.ErrUnsupported, "version 16"},
		{"version 20", with("v=19", "v=20"), password.ErrMalformed, "v=19"},
		{"a tag missing", with("$"+tag, ""), password.ErrMalformed, "missing"},
		{"an empty tag", with(tag, ""), password.ErrMalformed, "its tag is not 16 to 64 bytes"},
		{"a short tag", with(tag, "AAAAAAAAAAAAAAAAAAAA"), password.ErrMalformed, "its tag"},
		{"a long tag", with(tag, strings.Repeat("A", 88)), password.ErrMalformed, "its tag"},
		{"a field more", good + "$" + tag, password.ErrMalformed, "its tag"},
		{"a short salt", with(salt, "AAAAAAAAAA"), password.ErrMalformed, "its salt is not 8 to 64 bytes"},
		{"a long salt", with(salt, strings.Repeat("A", 88)), password.ErrMalformed, "its salt"},
		{"base64 with padding", with(salt, salt+"=="), password.ErrMalformed, "its salt"},
		{"base64 for URLs", with(salt, "-_FsdHNhbHRzYWx0c2FsdA"), password.ErrMalformed, "its salt"},
		{"base64 with unused bits set", with(salt, "c2FsdHNhbHRzYWx0c2FsdB"), password.ErrMalformed, "its salt"},
		{"base64 with a line break", with(salt, "c2FsdHNhbHRz\nYWx0c2FsdA"), password.ErrMalformed, "its salt"},
		{"base64 with a carriage return", with(tag, tag+"\r"), password.ErrMalformed, "its tag"},
		{"a line break behind", good + "\n", password.ErrMalformed, "its tag"},
		{"a NUL behind", good + "\x00", password.ErrMalformed, "its tag"},
		{"a space in front", " " + good, password.ErrUnsupported, "no known scheme"},
		{"more than 512 bytes", good + strings.Repeat("A", 512), password.ErrMalformed, "the maximum is 512"},
		{"a mebibyte of dollar signs", strings.Repeat("$", 1<<20), password.ErrMalformed, "the maximum is 512"},
		{"a mark that there is no password", "!", password.ErrUnsupported, "store an empty hash"},
		{"the password in clear", "$hunter2$", password.ErrUnsupported, "no known scheme"},
		{"argon2i", strings.Replace(good, "argon2id", "argon2i", 1), password.ErrUnsupported, "argon2i,"},
		{"argon2d", strings.Replace(good, "argon2id", "argon2d", 1), password.ErrUnsupported, "argon2d,"},
		{"passlib's scrypt", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", password.ErrUnsupported, "scrypt"},
		{"Django's PBKDF2", "pbkdf2_sha256$1000000$abc$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", password.ErrUnsupported, "list password.PBKDF2SHA256(1000000) in Config.Imported"},
		{"bcrypt 2x", "$2x$" + goodBcrypt[4:], password.ErrUnsupported, "2x"},
		{"bcrypt 2z", "$2z$" + goodBcrypt[4:], password.ErrMalformed, "version is not 2a, 2b or 2y"},
		{"bcrypt of cost 31", "$2b$31" + goodBcrypt[6:], password.ErrMalformed, "cost is 31, not 4 to 16"},
		{"bcrypt of cost 17", "$2b$17" + goodBcrypt[6:], password.ErrMalformed, "cost is 17"},
		{"bcrypt of cost 3", "$2b$03" + goodBcrypt[6:], password.ErrMalformed, "cost is 3"},
		{"bcrypt of a cost that is no number", "$2b$+4" + goodBcrypt[6:], password.ErrMalformed, "two digits"},
		{"bcrypt of one digit", "$2b$4$" + goodBcrypt[6:], password.ErrMalformed, "two digits"},
		{"bcrypt one byte short", goodBcrypt[:59], password.ErrMalformed, "59 bytes, not 60"},
		{"bcrypt one byte long", goodBcrypt + "G", password.ErrMalformed, "61 bytes"},
		{"bcrypt with a foreign character in its salt", strings.Replace(goodBcrypt, "abc", "a+c", 1), password.ErrMalformed, "character"},
		{"bcrypt with a line break in its tag", goodBcrypt[:59] + "\n", password.ErrMalformed, "character"},
		{"bcrypt with unused bits of its tag set", goodBcrypt[:59] + "H", password.ErrMalformed, "unused bits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHasher(t, password.Config{Imported: []password.Scheme{password.Bcrypt(4)}})
			ok, upgraded, err := h.Verify(t.Context(), "hunter2", tt.encoded)
			if ok || upgraded != "" || !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Fatalf("got %v, %q, %v, want an error that is %q and says %q", ok, upgraded, err, tt.want, tt.says)
			}
			leaksNothing(t, err, "hunter2", tt.encoded)
		})
	}

	t.Run("bcrypt that is not listed", func(t *testing.T) {
		_, _, err := newHasher(t, password.Config{}).Verify(t.Context(), "hunter2", goodBcrypt)
		if !errors.Is(err, password.ErrUnsupported) || !strings.Contains(err.Error(), "list password.Bcrypt(4) in Config.Imported") {
			t.Fatalf("got %v", err)
		}
		leaksNothing(t, err, "hunter2", goodBcrypt)
	})
	t.Run("memory above the budget", func(t *testing.T) {
		budget, err := password.NewBudget(password.BudgetConfig{Memory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h := newHasher(t, password.Config{Budget: budget})
		if _, _, err := h.Verify(t.Context(), "hunter2", with("m=64", "m=1025")); !errors.Is(err, password.ErrMalformed) {
			t.Errorf("got %v, want ErrMalformed", err)
		}
		if _, _, err := h.Verify(t.Context(), "hunter2", with("m=64", "m=1024")); err != nil {
			t.Errorf("all of the budget is refused: %v", err)
		}
	})
}

// leaksNothing looks for the password and for pieces of the hash in all ways
// of printing err.
func leaksNothing(t *testing.T, err error, pw, encoded string) {
	t.Helper()
	for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
		printed := fmt.Sprintf(format, err)
		for _, secret := range []string{pw, encoded, salt, tag, "abcdefgh", "EJV7kdjBBQ", "aM15713r"} {
			if strings.Contains(encoded, secret) && len(secret) > 4 && strings.Contains(printed, secret) || strings.Contains(printed, pw) {
				t.Errorf("%s prints a secret: %s", format, printed)
			}
		}
	}
	if !strings.HasPrefix(err.Error(), "password: ") {
		t.Errorf("the error %q does not begin with the name of the package", err)
	}
}

func TestVerifyObeysItsContext(t *testing.T) {
	h := newHasher(t, password.Config{})
	stored := mustHash(t, h, "correct horse")
	t.Run("a context that has ended stops it before any work", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if ok, upgraded, err := h.Verify(ctx, "correct horse", stored); ok || upgraded != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Verify: got %v, %q, %v", ok, upgraded, err)
		}
		if encoded, err := h.Hash(ctx, "correct horse"); encoded != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Hash: got %q, %v", encoded, err)
		}
	})
	t.Run("a deadline is told from a cancellation", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		if _, _, err := h.Verify(ctx, "correct horse", stored); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestHasherPrintsNoSecret(t *testing.T) {
	h := newHasher(t, password.Config{})
	stored := mustHash(t, h, "correct horse")
	if _, _, err := h.Verify(t.Context(), "correct horse", stored); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if printed := fmt.Sprintf(format, h); strings.Contains(printed, "horse") || bytes.Contains([]byte(printed), []byte(stored[30:])) {
			t.Errorf("%s prints a secret: %s", format, printed)
		}
	}
}
