package apikey_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/apikey"
)

func TestNewFormat(t *testing.T) {
	tests := []struct {
		name, prefix string
		environments []string
		want         []string // parts of the error; none if it is good
	}{
		{"a prefix alone", "acme", nil, nil},
		{"several environments", "acme", []string{"live", "test", "eu1"}, nil},
		{"one letter", "a", []string{"b"}, nil},
		{"as long as may be", "abcdefghijklmnop", []string{"abcdefghijklmno9"}, nil},
		{"an empty prefix", "", nil, []string{`the prefix is ""`}},
		{"an underscore in the prefix", "ac_me", nil, []string{`the prefix is "ac_me"`}},
		{"a prefix that is too long", "abcdefghijklmnopq", nil, []string{`the prefix is "abcdefghijklmnopq"`}},
		{"capitals", "Acme", nil, []string{`the prefix is "Acme"`}},
		{"a digit in front", "4cme", nil, []string{`the prefix is "4cme"`}},
		{"beyond ASCII", "acmé", nil, []string{`the prefix is "acmé"`}},
		{"that of Static", "static", nil, []string{`the prefix is "static", which is reserved for NewStatic`}},
		{"an empty environment", "acme", []string{"live", ""}, []string{`environment 1 is ""`}},
		{"an underscore in an environment", "acme", []string{"li_ve"}, []string{`environment 0 is "li_ve"`}},
		{"an environment twice", "acme", []string{"live", "live"}, []string{`environment 1 is "live", which is there already`}},
		{"every mistake", "", []string{"L", "x_y", "x_y"}, []string{`the prefix is ""`, `environment 0 is "L"`, `environment 1 is "x_y"; use a`, `environment 2 is "x_y", which is`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := apikey.NewFormat(tt.prefix, tt.environments...)
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("%v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say that %s", err, want)
				}
			}
		})
	}
	if _, _, err := (apikey.Format{}).Parse(""); !errors.Is(err, apikey.ErrMalformed) {
		t.Errorf("the zero Format accepts nothing at all: %v", err)
	}
}

// A key that another program has made by the same rules: Python's zlib.crc32
// and integer arithmetic.
const (
	vector = "acme_live_0123456789AB_" + vectorSecret + vectorSum
	// The number whose 32 bytes are 0, 1, 2, … 31.
	vectorSecret = "003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf"
	vectorSum    = "4MqGjh"
)

func TestParse(t *testing.T) {
	id, environment, err := both.Parse(vector)
	if err != nil || id != "0123456789AB" || environment != "live" {
		t.Fatalf("%q, %q, %v", id, environment, err)
	}
	head, max := "acme_live_0123456789AB_", apikey.MaxSecret
	if _, _, err := both.Parse(resum(head + max + "000000")); err != nil {
		t.Errorf("2^256-1: %v", err)
	}
	next := new(big.Int).Lsh(big.NewInt(1), 256)
	tests := []struct{ name, key string }{
		{"2^256", resum(head + inBase62(next) + "000000")},
		{"all digits the last", resum(head + strings.Repeat("z", 43) + "000000")},
		{"a checksum beyond 32 bits", head + vectorSecret + overflowing(vectorSum)},
		{"a character that is no digit, with its checksum", resum("acme_live_0123456789A-_" + vectorSecret + "000000")},
		{"an underscore for a digit, with its checksum", resum("acme_live_0123456789AB_" + "_" + vectorSecret[1:] + "000000")},
		{"a digit for the underscore, with its checksum", resum("acme_live_0123456789AB0" + vectorSecret + "000000")},
		{"letters beyond ASCII, with their checksum", resum("acme_live_0123456789\xc3\xa4_" + vectorSecret + "000000")},
		{"an ID of another length", resum("acme_live_0123456789A_" + vectorSecret + "0000000")},
		{"an environment of the same length", resum("acme_prod_0123456789AB_" + vectorSecret + "000000")},
		{"empty", ""},
		{"the head alone", "acme_live_"},
		{"swapped neighbours", vector[:30] + vector[31:32] + vector[30:31] + vector[32:]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if id, environment, err := both.Parse(tt.key); !errors.Is(err, apikey.ErrMalformed) || id+environment != "" {
				t.Errorf("%s: %q, %q, %v", tt.key, id, environment, err)
			}
		})
	}
	var sink string
	if n := testing.AllocsPerRun(100, func() { sink, _, _ = both.Parse(vector) }); n != 0 || sink == "" {
		t.Errorf("%v allocations", n)
	}
}

// overflowing returns the sum plus 2^32, which has the same low bits.
func overflowing(sum string) string {
	n := new(big.Int)
	for i := range len(sum) {
		n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(strings.IndexByte(alphabet, sum[i]))))
	}
	s := inBase62(n.Add(n, new(big.Int).Lsh(big.NewInt(1), 32)))
	return s[len(s)-6:]
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// inBase62 is a second implementation, over math/big.
func inBase62(n *big.Int) string {
	n = new(big.Int).Set(n)
	out := bytes.Repeat([]byte{'0'}, 43)
	for i := 42; i >= 0; i-- {
		var rest big.Int
		n.DivMod(n, big.NewInt(62), &rest)
		out[i] = alphabet[rest.Int64()]
	}
	return string(out)
}

func TestBase62AgreesWithMathBig(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for range 1000 {
		var number [32]byte
		random.Read(number[:])
		if got, want := apikey.Base62(number, 43), inBase62(new(big.Int).SetBytes(number[:])); got != want {
			t.Fatalf("%x: %s, want %s", number, got, want)
		}
	}
}

func TestCRCAgreesWithHashCRC32(t *testing.T) {
	random := rand.NewChaCha8([32]byte{2})
	for n := range 200 {
		b := make([]byte, n)
		random.Read(b)
		for cut := 0; cut <= n; cut += 7 {
			if got := ^apikey.UpdateCRC(apikey.UpdateCRC(^uint32(0), string(b[:cut])), string(b[cut:])); got != crc32.ChecksumIEEE(b) {
				t.Fatalf("%d bytes cut at %d: %x, want %x", n, cut, got, crc32.ChecksumIEEE(b))
			}
		}
	}
}

// What is issued is well-formed, all different, and uses all digits.
func TestIssuedKeysAreWellFormed(t *testing.T) {
	store := new(counted)
	store.MaxPerOwner = -1
	r := openOn(t, store, apikey.Config{})
	seen := map[string]bool{}
	digits := map[rune]int{}
	for range 2000 {
		key, record := r.issue(nil)
		id, _, err := acme.Parse(key)
		if err != nil || id != record.ID || len(key) != 72 {
			t.Fatalf("%s: %q, %v", key, id, err)
		}
		if seen[record.ID] || seen[key[23:66]] {
			t.Fatal("twice the same")
		}
		seen[record.ID], seen[key[23:66]] = true, true
		for _, c := range record.ID {
			digits[c]++
		}
	}
	// What a plain remainder of a byte would prefer are the first eight: 3097
	// are expected, six standard deviations are 312.
	first := 0
	for _, c := range alphabet[:8] {
		first += digits[c]
	}
	if first < 2785 || first > 3409 {
		t.Errorf("the first eight digits are %d times in the identifiers", first)
	}
	for _, c := range alphabet {
		// 387 are expected; six standard deviations are 117.
		if n := digits[c]; n < 270 || n > 504 {
			t.Errorf("%c is %d times in the identifiers", c, n)
		}
	}
}

func TestRegexpFindsKeysAndNotTheirNeighbours(t *testing.T) {
	r := open(t, apikey.Config{Format: both})
	key, _ := r.issue(nil)
	lookalike := other(key, 40)
	tests := []struct {
		name, text string
		found      bool // by the expression
		key        bool // and by Parse
	}{
		{"alone", key, true, true},
		{"in an assignment", "API_KEY=" + key, true, true},
		{"in quotes", `{"key": "` + key + `"}`, true, true},
		{"in a URL", "https://x.example/?api_key=" + key + "&x=1", true, true},
		{"at the end of a sentence", "It is " + key + ".", true, true},
		{"on a line of its own", "a\n" + key + "\nb", true, true},
		{"a lookalike", "key: " + lookalike, true, false},
		{"of another environment of the format", resum("acme_test_" + key[10:]), true, true},
		{"of an environment that is not", resum("acme_prod_" + key[10:]), false, false},
		{"of another prefix", resum("acne" + key[4:]), false, false},
		{"behind a letter, as after an escaped line end", `\n` + key, true, true},
		{"the end of another prefix, with its checksum", resum("x" + key), true, false},
		{"behind an underscore", "my_" + key, true, true},
		{"behind an escaped tab", `"\t` + key + `"`, true, true},
		{"behind a percent-encoded sign", "api_key%3D" + key + "%26x", true, true},
		{"behind a percent-encoded slash", "%2F" + key + "%0A", true, true},
		{"in escaped quotation marks", `\u0022` + key + `\u0022`, true, true},
		{"behind an escaped control character", `\x0b` + key + `\x00`, true, true},
		{"behind an escaped NUL", `\000` + key, true, true},
		{"behind an HTML entity without its semicolon", "&quot" + key + "&quot;", true, true},
		{"in a block of YAML", "key: >-\n  " + key + "\nnext: 1", true, true},
		{"in a sed expression", "s/x/" + key + "/", true, true},
		{"in HTML", "<td>" + key + "</td>", true, true},
		{"behind another key", key + key, true, true},
		{"cut short", key[:71], false, false},
		{"going on", key + "0", true, true},
		{"going on after an underscore", key + "_x", true, true},
		{"as it is shown", "acme_live_0123456789AB_[redacted]", false, false},
		{"an identifier", "acme_live_0123456789AB", false, false},
		{"another's token", "ghp_0123456789abcdefghijABCDEFGHIJ012345", false, false},
		{"a hash", strings.Repeat("0123456789abcdef", 8), false, false},
	}
	expression := both.Regexp()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := expression.FindString(tt.text)
			_, _, err := both.Parse(found)
			if (found != "") != tt.found || (err == nil) != tt.key {
				t.Errorf("found %q, %v", found, err)
			}
		})
	}
	if text := expression.String(); strings.Contains(text, "(?P") || regexp.MustCompile(text).FindString(key) != key {
		t.Errorf("the text of the expression is %s", text)
	}
	if (apikey.Format{}).Regexp().MatchString(key) {
		t.Error("the zero Format's expression matches")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(vector)
	f.Add("")
	f.Add("acme_live_")
	f.Add("acme_test_" + vector[10:])
	f.Add(vector + vector)
	full := regexp.MustCompile(`^(?:` + both.Regexp().String() + `)$`)
	f.Fuzz(func(t *testing.T, key string) {
		for _, k := range []string{key, resumIfLong(key)} {
			id, environment, err := both.Parse(k)
			if err != nil {
				if !errors.Is(err, apikey.ErrMalformed) || id+environment != "" {
					t.Fatalf("%q: %q, %q, %v", k, id, environment, err)
				}
				continue
			}
			// One spelling: it is put together again from what it says, and
			// the scanner finds it.
			secret := k[len(k)-49 : len(k)-6]
			if again := resum("acme_" + environment + "_" + id + "_" + secret + "000000"); again != k {
				t.Fatalf("%q is spelled %q too", k, again)
			}
			if !full.MatchString(k) {
				t.Fatalf("%q is not found", k)
			}
			n := new(big.Int)
			for i := range len(secret) {
				n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(strings.IndexByte(alphabet, secret[i]))))
			}
			if n.BitLen() > 256 {
				t.Fatalf("the secret of %q has %d bits", k, n.BitLen())
			}
		}
	})
}

func resumIfLong(key string) string {
	if len(key) < 6 {
		return key
	}
	return resum(key)
}
