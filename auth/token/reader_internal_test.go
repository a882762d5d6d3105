package token

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/strictjson"
)

// known returns the known members of s, or the error.
func known(s string, names ...string) (map[string]value, error) {
	all := make(map[string]value)
	read := strictjson.NewNames(names...)
	err := read.Object(s, func(i int, v value) error {
		all[read.All()[i]] = v
		return nil
	})
	return all, err
}

// registered are the claims that a Verifier of our own tokens reads.
var registered = ownPlan.known.All()

// FuzzObject compares the reader with encoding/json: what the one takes the
// other takes too, and sees the same in it.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":"b","c":[1,-2.5e+3,true,false,null,{}]}`, `{"a":"\u00e9\ud83d\ude00\n\"\\\/\b\f\n\r\t"}`,
		`{"a":{"a":1,"a":2}}`, `{"a":1,"A":2}`, `{"a":1}x`, "{\"a\":\"\xff\"}", `{"\u0061":1}`, `{"a":"\ud800"}`, `{"a":01}`, `{"a":1.}`, `{"exp":1e9}`,
		`{"exp":1700000000.123456}`, `{"a":"` + "\u2028" + `"}`, strings.Repeat(`{"a":`, 8) + "1" + strings.Repeat("}", 8),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := known(s, registered...)
		if err != nil {
			return
		}
		if !utf8.ValidString(s) || !json.Valid([]byte(s)) {
			t.Fatalf("%q is taken, and is not JSON", s)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatalf("%q is taken, and encoding/json says %v", s, err)
		}
		for _, name := range registered {
			if _, there := want[name]; there != (got[name] != "") {
				t.Fatalf("%q has the members %q, want %q", s, got, want)
			}
		}
		for name := range want {
			for _, k := range registered {
				if name != k && strings.EqualFold(name, k) {
					t.Errorf("%q has %q, which passes for %q", s, name, k)
				}
			}
		}
		for name, v := range got {
			if string(v) != string(want[name]) {
				t.Errorf("%q: member %q is %s, want %s", s, name, v, want[name])
			}
			compare(t, v)
		}
		if twice(json.NewDecoder(strings.NewReader(s))) {
			t.Errorf("%q has a member that is read twice", s)
		}
	})
}

// compare checks the accessors of v against encoding/json.
func compare(t *testing.T, v value) {
	var wantText string
	isText := json.Unmarshal([]byte(v), &wantText) == nil && v[0] == '"'
	if got, ok := text(v); ok && (!isText || got != wantText) {
		t.Errorf("text of %s is %q, want %q", v, got, wantText)
	} else if !ok && isText && wantText != "" && plainText(wantText) {
		t.Errorf("text of %s is refused", v)
	}
	var wantTexts []string
	if got, ok := texts(v, nil); ok && (json.Unmarshal([]byte(v), &wantTexts) != nil || len(got) != len(wantTexts)) {
		t.Errorf("texts of %s are %q, want %q", v, got, wantTexts)
	} else if ok {
		for i := range got {
			if got[i] != wantTexts[i] {
				t.Errorf("texts of %s are %q, want %q", v, got, wantTexts)
			}
		}
	}
	var number float64
	if got, ok := readDate(v); ok && !got.IsZero() {
		if err := json.Unmarshal([]byte(v), &number); err != nil || number < 0 || number >= maxDate+1 {
			t.Errorf("date of %s is %v, and the number is %v (%v)", v, got, number, err)
		}
		if seconds := float64(got.UnixNano()) / 1e9; got.Unix() < 9e9 && math.Abs(seconds-number) > 1 {
			t.Errorf("date of %s is %v", v, got)
		}
	}
}

// twice reports whether the object that d reads has a registered member twice.
func twice(d *json.Decoder) bool {
	seen := make(map[string]bool)
	if _, err := d.Token(); err != nil {
		return false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return false
		}
		if s, _ := name.(string); slices.Contains(registered, s) {
			if seen[s] {
				return true
			}
			seen[s] = true
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}

func TestTwiceSees(t *testing.T) {
	for s, want := range map[string]bool{`{"exp":{"exp":1},"b":["exp","exp"]}`: false, `{"a":1,"a":1}`: false, `{"exp":1,"a":2,"exp":1}`: true} {
		if got := twice(json.NewDecoder(strings.NewReader(s))); got != want {
			t.Errorf("twice(%s) = %v", s, got)
		}
	}
}

func TestDatesAreNumbers(t *testing.T) {
	for s, want := range map[value]time.Time{
		"1": time.Unix(1, 0), "1.0": time.Unix(1, 0), "1700000000": time.Unix(1700000000, 0),
		"1700000000.5": time.Unix(1700000000, 5e8), "1700000000.123456": time.Unix(1700000000, 123456000),
		"1700000000.000000001": time.Unix(1700000000, 1), "1700000000.9999999999": time.Unix(1700000000, 999999999),
		"1.7e9": time.Unix(1700000000, 0), "17E8": time.Unix(1700000000, 0), "1.7000000005e9": time.Unix(1700000000, 0), "253402300799": time.Unix(maxDate, 0),
		"253402300799.999": time.Unix(maxDate, 999e6), "0": {}, "0.0": {},
	} {
		if got, ok := readDate(s); !ok || !got.Equal(want) {
			t.Errorf("date of %s = %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []value{"", "-1", "-0", "-0.0", "0.9", "1e-1", "0e0", "253402300800", "1e18", "1e12", "1e300", "1e400", `"1"`, "null", "true", "[]", "{}", "9223372036854775807", "99999999999999999999999", "18446744073709551617", "1000000000000"} {
		if got, ok := readDate(s); ok {
			t.Errorf("date of %s = %v, want a refusal", s, got)
		}
	}
}

// FuzzDate: what is written is read again, to the microsecond.
func FuzzDate(f *testing.F) {
	f.Add(int64(1700000000), int64(123456789))
	f.Add(int64(1), int64(0))
	f.Add(int64(maxDate), int64(999_999_000))
	f.Add(int64(-5), int64(5000))
	f.Fuzz(func(t *testing.T, seconds, nanos int64) {
		in := time.Unix(seconds, ((nanos%1e9)+1e9)%1e9).Truncate(time.Microsecond)
		if in.Unix() < 1 || in.Unix() > maxDate {
			return // Issue refuses these
		}
		written := numericDate(in)
		got, ok := readDate(value(written))
		if !ok || !got.Equal(in) {
			t.Fatalf("%v is written %s and read %v, %v", in, written, got, ok)
		}
		// Another reader sees the same number.
		want := new(big.Rat).SetFrac64(in.UnixMicro(), 1e6)
		if in.Unix() > math.MaxInt64/1_000_000 {
			return
		}
		if read, ok := new(big.Rat).SetString(string(written)); !ok || read.Cmp(want) != 0 {
			t.Errorf("%v is written %s", in, written)
		}
	})
}

func TestPlainTextHasNoControlCharacters(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "a b~": true, "é😀": true, "\x00": false, "a\n": false, "\x7f": false, "\u0080": false, "é\u009f": false, "é\x1f": false, "\xff": false, "é\xc3": false, "\u2028": true,
	} {
		if got := plainText(s); got != want {
			t.Errorf("plainText(%q) = %v", s, got)
		}
	}
}

// TestHeadersAreBounded looks at what a verifier remembers.
func TestHeadersAreBounded(t *testing.T) {
	k, err := GenerateKey(HS256)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewKeyring(k)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(ring, VerifierConfig{Issuer: "i", Audience: "a", InsecureNoRevoker: true})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims := encode(fmt.Appendf(nil, `{"iss":"i","aud":"a","sub":"s","jti":"j","client_id":"c","iat":%d,"exp":%d}`, now, now+60))
	try := func(n int, signed bool) error {
		input := encode([]byte(`{"n":`+strconv.Itoa(n)+`,"alg":"HS256","typ":"at+jwt","kid":"`+ring.state.Load().keys[0].id+`"}`)) + "." + claims
		signature := make([]byte, 32)
		if signed {
			if signature, err = ring.state.Load().keys[0].sign([]byte(input)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := v.Verify(t.Context(), input+"."+encode(signature))
		return err
	}
	for n := range 1000 {
		if try(n, false) == nil {
			t.Fatal("a token without a signature is taken")
		}
	}
	if n := len(v.headers.Load().decisions); n != 0 {
		t.Errorf("without a key, somebody made the verifier remember %d headers", n)
	}
	for n := range 1000 {
		if err := try(n, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.headers.Load().decisions); n != maxHeaders {
		t.Errorf("the verifier remembers %d headers, want %d", n, maxHeaders)
	}
	for _, n := range []int{0, 999} { // remembered and not
		if try(n, false) == nil {
			t.Error("a token without a signature is taken, under a header that was seen before")
		}
		if err := try(n, true); err != nil {
			t.Error(err)
		}
	}
}
