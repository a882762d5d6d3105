package password_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/password"
)

// The requirements of NIST SP 800-63B-4, OWASP ASVS 5.0.0 and RFC 9106 on
// passwords, one test each. What lies between them is in the tests of Hasher and
// Policy.

const strong = "vK7 qT?mZ2wRx9L" // 15 characters

func TestSP800_63B4Section3_1_1_2FifteenCharactersAlone(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{})
	checks(t, p.Check(strong))
	checks(t, p.Check(strong[1:]), password.ErrTooShort)
}

func TestSP800_63B4Section3_1_1_2EightBesideASecondFactor(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{MinLength: 8})
	checks(t, p.Check(strong[:8]))
	checks(t, p.Check(strong[:7]), password.ErrTooShort)
	if _, err := password.NewPolicy(password.PolicyConfig{MinLength: 7}); err == nil {
		t.Error("a Policy of 7 characters was made")
	}
}

func TestSP800_63B4Section3_1_1_2SixtyFourAreAllowed(t *testing.T) {
	long := strings.Repeat(strong+"!", 4)
	checks(t, newPolicy(t, password.PolicyConfig{MaxLength: 64}).Check(long))
	if _, err := password.NewPolicy(password.PolicyConfig{MaxLength: 63}); err == nil {
		t.Error("a Policy of at most 63 bytes was made")
	}
	if _, err := password.New(password.Config{MaxLength: 63}); err == nil {
		t.Error("a Hasher of at most 63 bytes was made")
	}
}

func TestSP800_63B4Section3_1_1_2CodePointsAreCounted(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{})
	checks(t, p.Check("àéîõüñçßøåæþðýÿ"))
	checks(t, p.Check("🐎🔋📎✅🦄🐈🐕🦊🐻🐼🐨🐯🦁🐮"), password.ErrTooShort)
}

func TestSP800_63B4Section3_1_1_2NoRulesOfComposition(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{})
	for _, pw := range []string{"correcthorsebatterystaple", "483920184756201", "CORRECT HORSE BATTERY", "!?§$%&/()=!:;_-#+*", "correct horse battery"} {
		checks(t, p.Check(pw))
	}
}

func TestSP800_63B4Section3_1_1_2NoPeriodicChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, password.Config{})
		encoded := mustHash(t, h, strong)
		time.Sleep(20 * 365 * 24 * time.Hour)
		if ok, upgraded, err := h.Verify(t.Context(), strong, encoded); !ok || upgraded != "" || err != nil {
			t.Errorf("after twenty years: %v, %q, %v", ok, upgraded, err)
		}
	})
}

func TestSP800_63B4Section3_1_1_2TheBlocklistIsOfWholePasswords(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{Blocklist: readBlocklist(t, "letmeinletmeinplease\n")})
	checks(t, p.Check("letmeinletmeinplease"), password.ErrBlocked)
	checks(t, p.Check("letmeinletmeinplease now"))
}

func TestSP800_63B4Section3_1_1_2AllOfThePasswordIsVerified(t *testing.T) {
	h := newHasher(t, password.Config{})
	encoded := mustHash(t, h, strings.Repeat("x", 1024))
	for pw, want := range map[string]bool{strings.Repeat("x", 1024): true, strings.Repeat("x", 1023): false, strings.Repeat("x", 72): false} {
		if ok, _, err := h.Verify(t.Context(), pw, encoded); ok != want || err != nil {
			t.Errorf("%d characters: %v, %v", len(pw), ok, err)
		}
	}
}

func TestSP800_63B4Section3_1_1_2HashesAreSalted(t *testing.T) {
	h := newHasher(t, password.Config{})
	if a, b := mustHash(t, h, strong), mustHash(t, h, strong); a == b {
		t.Errorf("two hashes of one password are %s", a)
	}
}

func TestASVS6_2_1AtLeastEightCharacters(t *testing.T) {
	for length, ok := range map[int]bool{7: false, 8: true, 15: true} {
		if _, err := password.NewPolicy(password.PolicyConfig{MinLength: length}); (err == nil) != ok {
			t.Errorf("%d: %v", length, err)
		}
	}
}

// Three thousand that the rest of the policy would allow: Count tells how many
// of a list do.
func TestASVS6_2_4TheMostUsedPasswordsAreRefused(t *testing.T) {
	var list strings.Builder
	for n := range 3000 {
		fmt.Fprintf(&list, "often used password %d\nshort%d\n", n, n)
	}
	b := readBlocklist(t, list.String())
	if got := b.Count(15); got != 3000 {
		t.Fatalf("%d of the list have 15 characters", got)
	}
	p := newPolicy(t, password.PolicyConfig{Blocklist: b})
	for n := range 3000 {
		checks(t, p.Check(fmt.Sprintf("Often Used Password %d", n)), password.ErrBlocked)
	}
}

func TestASVS6_2_5AnyComposition(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{MinLength: 8})
	for _, pw := range []string{"gnlfwvtq", "83920647", "GNLFWVTQ", "?!#§%&;:", "        x"} {
		checks(t, p.Check(pw))
	}
}

// So nothing is normalized either, which NIST SP 800-63B-4 section 3.1.1.2 says
// should be done.
func TestASVS6_2_8ExactlyAsReceived(t *testing.T) {
	h := newHasher(t, password.Config{})
	encoded := mustHash(t, h, "Straße é 2026 ")
	for _, other := range []string{"straße é 2026 ", "STRASSE É 2026 ", "Strasse é 2026 ", "Straße e\u0301 2026 ", "Straße é 2026", " Straße é 2026 ", "Straße é 2026 \x00"} {
		if ok, _, err := h.Verify(t.Context(), other, encoded); ok || err != nil {
			t.Errorf("%q: %v, %v", other, ok, err)
		}
	}
	// And of what bcrypt would cut off nothing is.
	b := newHasher(t, password.Config{Imported: []password.Scheme{password.Bcrypt(4)}})
	x72 := strings.Repeat("x", 72)
	if ok, _, err := b.Verify(t.Context(), x72+"y", mustBcrypt(t, x72, 4)); ok || err != nil {
		t.Errorf("72 bytes and a suffix: %v, %v", ok, err)
	}
}

func TestASVS6_2_9SixtyFourCharactersArePermitted(t *testing.T) {
	checks(t, newPolicy(t, password.PolicyConfig{}).Check(strings.Repeat("🐎🔋📎✅🦄🐈🐕🦊", 8)))
}

func TestASVS6_2_11WordsOfTheContextAreRefused(t *testing.T) {
	checks(t, newPolicy(t, password.PolicyConfig{}).Check("gatewright-2026-10", "Gatewright", "alice"), password.ErrBlocked)
}

// The list is the host's to bring; none is asked over the network.
func TestASVS6_2_12BreachedPasswordsAreRefused(t *testing.T) {
	p := newPolicy(t, password.PolicyConfig{Blocklist: readBlocklist(t, "correct horse battery staple\n")})
	checks(t, p.Check("correct horse battery staple"), password.ErrBlocked)
}

func TestASVSAppendixCParametersOfArgon2id(t *testing.T) {
	for _, tt := range []struct {
		memory, passes int
		ok             bool
	}{{47104, 1, true}, {47103, 1, false}, {19456, 2, true}, {19455, 2, false}, {12288, 3, true}, {12287, 3, false}, {12288, 16, true}, {12287, 16, false}} {
		_, err := password.New(password.Config{Argon2id: password.Argon2id{Memory: tt.memory, Passes: tt.passes, Lanes: 1}})
		if (err == nil) != tt.ok {
			t.Errorf("m=%d t=%d: %v", tt.memory, tt.passes, err)
		}
	}
}

// The appendix has bcrypt from a cost of 10. Here it is verified and never made:
// such a hash is replaced when its user signs in, whatever its cost.
func TestASVSAppendixCBcryptIsReplaced(t *testing.T) {
	h := newHasher(t, password.Config{Imported: []password.Scheme{password.Bcrypt(4)}})
	ok, upgraded, err := h.Verify(t.Context(), strong, mustBcrypt(t, strong, 4))
	if !ok || !strings.HasPrefix(upgraded, "$argon2id$") || err != nil {
		t.Errorf("%v, %q, %v", ok, upgraded, err)
	}
}

func TestRFC9106Section4TheSecondRecommendedOptionIsTheDefault(t *testing.T) {
	h, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^\$argon2id\$v=19\$m=65536,t=3,p=4\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`) // salt of 16 bytes, tag of 32
	if got := mustHash(t, h, strong); !want.MatchString(got) {
		t.Errorf("the hash is %s", got)
	}
}

func TestASVS16_5_1ErrorsHaveNoPasswordInThem(t *testing.T) {
	err := newPolicy(t, password.PolicyConfig{}).Check("hunter2hunter2")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !errors.Is(err, password.ErrTooShort) {
		t.Errorf("the error is %v", err)
	}
}
