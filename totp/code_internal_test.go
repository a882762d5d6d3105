package totp

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
)

// The pure cores, with explicit time, against the published vectors.

// vectors reads a file of testdata, which says where its values come from.
func vectors(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func TestCodesMatchRFC4226AppendixD(t *testing.T) {
	var file struct {
		Secret  string `json:"secret_ascii"`
		Vectors []struct {
			Counter int64
			Code    string
		}
	}
	vectors(t, "rfc4226-hotp.json", &file)
	if len(file.Vectors) != 10 {
		t.Fatalf("%d vectors, want 10", len(file.Vectors))
	}
	k := key{algorithm: SHA1, digits: 6, secret: []byte(file.Secret)}
	for _, v := range file.Vectors {
		if got, err := k.code(base32Text.EncodeToString(k.secret), v.Counter); got != v.Code || err != nil {
			t.Errorf("counter %d: %s, %v, want %s", v.Counter, got, err, v.Code)
		}
		if step, ok, err := k.match(v.Code, v.Counter, 0, -1); step != v.Counter || !ok || err != nil {
			t.Errorf("counter %d: match = %d, %t, %v", v.Counter, step, ok, err)
		}
	}
}

func TestCodesMatchRFC6238AppendixB(t *testing.T) {
	var file struct {
		Vectors []struct {
			Algorithm string
			Secret    string `json:"secret_ascii"`
			Time      int64
			Code      string
		}
	}
	vectors(t, "rfc6238-totp.json", &file)
	if len(file.Vectors) != 18 {
		t.Fatalf("%d vectors, want 18", len(file.Vectors))
	}
	algorithms := map[string]Algorithm{"SHA1": SHA1, "SHA256": SHA256, "SHA512": SHA512}
	for _, v := range file.Vectors {
		t.Run(fmt.Sprintf("%s at %d", v.Algorithm, v.Time), func(t *testing.T) {
			k := key{algorithm: algorithms[v.Algorithm], digits: 8, secret: []byte(v.Secret)}
			now := stepOf(time.Unix(v.Time, 0))
			if step, ok, err := k.match(v.Code, now, 0, now-1); step != now || !ok || err != nil {
				t.Errorf("match = %d, %t, %v, want step %d", step, ok, err, now)
			}
		})
	}
}

func TestStepOfIsNegativeBefore1970(t *testing.T) {
	for seconds, want := range map[int64]int64{0: 0, 29: 0, 30: 1, 59: 1, -1: -1, -30: -1, -31: -2, 20000000000: 666666666} {
		if got := stepOf(time.Unix(seconds, 0)); got != want {
			t.Errorf("stepOf(%d s) = %d, want %d", seconds, got, want)
		}
	}
}

// TestMatch has the steps of RFC 4226 appendix D as if each were a time step.
func TestMatchFindsTheStepOfACode(t *testing.T) {
	codes := []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"}
	k := key{algorithm: SHA1, digits: 6, secret: []byte("12345678901234567890")}
	tests := []struct {
		name            string
		code            string
		now, skew, used int64
		want            int64 // -1: refused
	}{
		{"the current step", codes[5], 5, 1, -1, 5},
		{"one step before", codes[4], 5, 1, -1, 4},
		{"one step after", codes[6], 5, 1, -1, 6},
		{"two steps before", codes[3], 5, 1, -1, -1},
		{"two steps after", codes[7], 5, 1, -1, -1},
		{"strict: the current step", codes[5], 5, 0, -1, 5},
		{"strict: one step before", codes[4], 5, 0, -1, -1},
		{"strict: one step after", codes[6], 5, 0, -1, -1},
		{"the step that was used", codes[5], 5, 1, 5, -1},
		{"the step before the one that was used", codes[4], 5, 1, 5, -1},
		{"the step after the one that was used", codes[6], 5, 1, 5, 6},
		{"a step whose successor was used", codes[5], 5, 1, 6, -1},
		{"T = 0: the current step", codes[0], 0, 1, -1, 0},
		{"T = 0: one step after", codes[1], 0, 1, -1, 1},
		{"T = 0: step 0 was used", codes[0], 0, 1, 0, -1},
		{"before T = 0 there are no steps", codes[0], -2, 1, -10, -1},
		{"just before T = 0 the first step is near enough", codes[0], -1, 1, -10, 0},
		{"a code that is too short", codes[5][:5], 5, 1, -1, -1},
		{"a code that is too long", codes[5] + "0", 5, 1, -1, -1},
		{"no code", "", 5, 1, -1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			step, ok, err := k.match(tt.code, tt.now, tt.skew, tt.used)
			if err != nil || ok != (tt.want >= 0) || ok && step != tt.want {
				t.Errorf("match = %d, %t, %v, want %d", step, ok, err, tt.want)
			}
		})
	}
	t.Run("at T = 0 no step wraps around", func(t *testing.T) {
		wrapped, err := k.code(base32Text.EncodeToString(k.secret), -1) // step 2^64-1
		if err != nil {
			t.Fatal(err)
		}
		if step, ok, err := k.match(wrapped, 0, 1, -5); ok || err != nil {
			t.Errorf("match = %d, %t, %v", step, ok, err)
		}
	})
}

// Of two steps with the same code the later one is used up, or else the code
// would be good twice.
func TestOfTwoStepsWithOneCodeTheLaterIsUsedUp(t *testing.T) {
	for i := range 100_000 {
		k := key{algorithm: SHA1, digits: 6, secret: fmt.Appendf(nil, "secret of twenty %05d", i)}
		text := base32Text.EncodeToString(k.secret)
		// Steps 40 to 49 of each secret: one pair of a million is alike.
		codes := map[string]int64{}
		for step := int64(40); step < 50; step++ {
			code, err := k.code(text, step)
			if err != nil {
				t.Fatal(err)
			}
			if first, twice := codes[code]; twice {
				skew := step - first
				got, ok, err := k.match(code, first, skew, -1)
				if got != step || !ok || err != nil {
					t.Errorf("steps %d and %d of secret %d have the code %s: match = %d, %t, %v", first, step, i, code, got, ok, err)
				}
				if _, ok, _ := k.match(code, first, skew, got); ok {
					t.Error("the code is good twice")
				}
				return
			}
			codes[code] = step
		}
	}
	t.Fatal("no two steps with one code")
}

// A secret that everybody can compute, or guess, makes no code good. pquerna/otp
// takes an empty one.
func TestSecretsThatCanBeGuessedAreRefused(t *testing.T) {
	for _, size := range []int{0, 1, 9, 129} {
		k := key{algorithm: SHA1, digits: 6, secret: make([]byte, size)}
		code, err := k.code(base32Text.EncodeToString(k.secret), 1)
		if err != nil {
			t.Fatal(err)
		}
		if step, ok, err := k.match(code, 1, 1, -1); ok || err == nil {
			t.Errorf("%d bytes: match = %d, %t, %v, want an error", size, step, ok, err)
		}
		if _, err := unmarshalKey(k.marshal()); err == nil {
			t.Errorf("%d bytes can be opened", size)
		}
	}
	for name, b := range map[string][]byte{
		"nothing":             {},
		"another version":     append([]byte{3, 0, 6}, make([]byte, 60)...),
		"tags that are cut":   append([]byte{2, 0, 6}, make([]byte, 31)...),
		"tags and no secret":  append([]byte{2, 0, 6}, make([]byte, 32)...),
		"an unknown hash":     append([]byte{1, 3, 6}, make([]byte, 20)...),
		"an odd code length":  append([]byte{1, 0, 7}, make([]byte, 20)...),
		"codes of no digits":  append([]byte{1, 0, 0}, make([]byte, 20)...),
		"half of its header ": {1, 0},
	} {
		if _, err := unmarshalKey(b); err == nil {
			t.Errorf("%s can be opened", name)
		}
	}
	for _, size := range []int{10, 16, 20, 128} {
		k := key{algorithm: SHA256, digits: 8, secret: make([]byte, size), secretFrom: tagOf("a"), recoveryFrom: tagOf("b")}
		if got, err := unmarshalKey(k.marshal()); err != nil || !reflect.DeepEqual(got, k) {
			t.Errorf("%d bytes: %+v, %v", size, got, err)
		}
		// As versions before this one sealed it.
		old := append([]byte{1, 1, 8}, k.secret...)
		k.secretFrom, k.recoveryFrom = sessionTag{}, sessionTag{}
		if got, err := unmarshalKey(old); err != nil || !reflect.DeepEqual(got, k) {
			t.Errorf("%d bytes of the first version: %+v, %v", size, got, err)
		}
	}
}

func TestParseCodeIgnoresSpacesAndDashesOnly(t *testing.T) {
	const recovery = "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO"
	tests := []struct {
		name, typed      string
		digits, recovery string
	}{
		{"six digits", "123456", "123456", ""},
		{"eight digits", "12345678", "12345678", ""},
		{"in two groups, as apps show it", "123 456", "123456", ""},
		{"with a hyphen", "123-456", "123456", ""},
		{"with spaces around it", "  123456 ", "123456", ""},
		{"a recovery code", recovery, "", recovery},
		{"a recovery code in small letters", strings.ToLower(recovery), "", recovery},
		{"a recovery code without hyphens", strings.ReplaceAll(recovery, "-", ""), "", recovery},
		{"a recovery code with spaces", strings.ReplaceAll(recovery, "-", " "), "", recovery},
		{"nothing", "", "", ""},
		{"spaces only", "      ", "", ""},
		{"seven digits", "1234567", "", ""},
		{"full-width digits", "１２３４５６", "", ""},
		{"arabic-indic digits", "١٢٣٤٥٦", "", ""},
		{"one full-width digit", "12345６", "", ""},
		{"a tab", "123456\t", "123456", ""},
		{"a line feed", "123456\n", "123456", ""},
		{"an en dash", "123\u2013456", "123456", ""},
		{"an em dash", "123\u2014456", "123456", ""},
		{"a figure dash", "123\u2012456", "123456", ""},
		{"a hyphen of its own", "123\u2010456", "123456", ""},
		{"a non-breaking hyphen", "123\u2011456", "123456", ""},
		{"a minus sign", "123\u2212456", "123456", ""},
		{"a full-width hyphen", "123\uff0d456", "123456", ""},
		{"a soft hyphen", "123\u00ad456", "123456", ""},
		{"a katakana prolonged sound mark", "123\u30fc456", "123456", ""},
		{"a narrow no-break space", "123\u202f456", "123456", ""},
		{"a thin space", "123\u2009456", "123456", ""},
		{"an ideographic space", "123\u3000456", "123456", ""},
		{"a zero-width space", "\u200b123456", "123456", ""},
		{"a byte order mark", "\ufeff123456", "123456", ""},
		{"marks of direction", "\u202a123456\u202c\u200e", "123456", ""},
		{"a line separator", "123456\u2028", "123456", ""},
		{"a recovery code with en dashes", strings.ReplaceAll(recovery, "-", "\u2013"), "", recovery},
		{"no UTF-8", "123456\xff", "", ""},
		{"a dot between", "123.456", "", ""},
		{"an underscore", "123_456", "", ""},
		{"a NUL", "123456\x00", "", ""},
		{"a no-break space", "123\u00a0456", "123456", ""},
		{"a sign", "+123456", "", ""},
		{"a fraction", "12345.6", "", ""},
		{"hexadecimal", "12ab56", "", ""},
		{"a recovery code with a digit that base32 has not", "0AAQ" + recovery[4:], "", ""},
		{"a recovery code that is cut", recovery[:len(recovery)-1], "", ""},
		{"a recovery code with one more", recovery + "A", "", ""},
		{"a recovery code in groups of spaces beyond all measure", recovery + strings.Repeat(" ", 128), "", ""},
		{"24 digits", strings.Repeat("1", 24), "", ""},
		{"padding", "AAAQEAYEAUDAOCAJBIFQYD==", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, ok := parseCode(tt.typed)
			digits, code := in.digits, in.recovery
			if ok != (tt.digits != "" || tt.recovery != "") || digits != tt.digits ||
				base32Text.EncodeToString(code) != strings.ReplaceAll(tt.recovery, "-", "") {
				t.Errorf("parseCode(%q) = %q, %x, %t", tt.typed, digits, code, ok)
			}
		})
	}
}

// FuzzParseCode: what is accepted is a code of ASCII digits or 120 bits, and is
// what is left of the input without what is neither a letter nor a digit.
func FuzzParseCode(f *testing.F) {
	for _, seed := range []string{"123456", "123 456", "12345678", "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO", "１２３４５６", "", "12345\n6"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		in, ok := parseCode(typed)
		digits, recovery := in.digits, in.recovery
		plain := strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) && r != 'ー' && r != 'ｰ' || unicode.IsNumber(r) {
				return r
			}
			return -1
		}, typed)
		switch {
		case !ok:
			if digits != "" || recovery != nil && base32Text.EncodeToString(recovery) == strings.ToUpper(plain) {
				t.Errorf("%q is refused and returned", typed)
			}
		case digits != "":
			if digits != plain || len(digits) != 6 && len(digits) != 8 || strings.Trim(digits, "0123456789") != "" || recovery != nil {
				t.Errorf("%q: %q", typed, digits)
			}
		default:
			if len(recovery) != recoverySize || base32Text.EncodeToString(recovery) != strings.ToUpper(plain) {
				t.Errorf("%q: %x", typed, recovery)
			}
		}
	})
}

// The hash of a recovery code is its user's, and no choice of a name makes it
// another user's.
func TestRecoveryHashIsBoundToItsUser(t *testing.T) {
	seen := map[RecoveryHash]string{}
	for _, user := range []string{"a", "b", "ab", "", "a\x00"} {
		for _, code := range []string{"b", "", "ab", "\x00"} {
			name := fmt.Sprintf("%q, %q", user, code)
			h := hashRecovery(user, []byte(code))
			if other, ok := seen[h]; ok {
				t.Errorf("%s and %s have one hash", name, other)
			}
			seen[h] = name
		}
	}
}
