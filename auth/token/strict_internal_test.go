package token

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// members reads s and returns its members, or the error.
func members(s string, known ...string) (map[string]value, error) {
	all := make(map[string]value)
	err := object(s, known, func(name string, v value) error {
		all[name] = v
		return nil
	})
	return all, err
}

func TestReaderAgainstKnownNames(t *testing.T) {
	for _, c := range []struct {
		json string
		ok   bool
	}{
		{`{"kid":1}`, true}, {`{"Kid":1}`, false}, {`{"KID":1}`, false}, {"{\"\u212aid\":1}", false}, {`{"sub":1}`, true}, {`{"ſub":1}`, false},
		{`{"subx":1,"Xsub":2}`, true}, {`{"x":1,"X":2}`, false}, {`{"X":1}`, true}, {`{"straße":1,"STRASSE":2}`, true}, {`{"ß":1,"ẞ":2}`, false},
		{`{"µ":1,"μ":2}`, false}, {`{"":1}`, true}, {`{"":1,"":2}`, false}, {`{"inner":{"KID":1}}`, true},
	} {
		if _, err := members(c.json, "kid", "sub"); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.json, err, c.ok)
		}
	}
}

// The reader's cost is bounded by what it is given: neither the members of an
// object nor what is within can make it recurse or compare without end.
func TestReaderBounds(t *testing.T) {
	for name, s := range map[string]string{
		"objects":            strings.Repeat(`{"a":`, 1e6),
		"arrays":             `{"a":` + strings.Repeat(`[`, 1e6),
		"both":               strings.Repeat(`{"a":[`, 1e6),
		"members":            `{"a":0` + strings.Repeat(`,"a":0`, 1e6),
		"members, different": "{" + strings.Join(different(65), ",") + "}",
		"a string":           `{"a":"` + strings.Repeat(`\`, 1e6),
	} {
		if _, err := members(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := members("{" + strings.Join(different(64), ",") + "}"); err != nil {
		t.Errorf("64 members: %v", err)
	}
}

func different(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"m%d":[]`, i))
	}
	return all
}

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
		got, err := members(s, registered...)
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
		if len(got) != len(want) {
			t.Fatalf("%q has the members %q, want %q", s, got, want)
		}
		for name, v := range got {
			if string(v) != string(want[name]) {
				t.Errorf("%q: member %q is %s, want %s", s, name, v, want[name])
			}
			for other := range got {
				if other != name && strings.EqualFold(other, name) {
					t.Errorf("%q has both %q and %q", s, name, other)
				}
			}
			for _, k := range registered {
				if name != k && strings.EqualFold(name, k) {
					t.Errorf("%q has %q, which passes for %q", s, name, k)
				}
			}
			compare(t, v)
		}
		if twice(json.NewDecoder(strings.NewReader(s))) {
			t.Errorf("%q has a member twice", s)
		}
	})
}

// compare checks the accessors of v against encoding/json.
func compare(t *testing.T, v value) {
	var text string
	isText := json.Unmarshal([]byte(v), &text) == nil && v[0] == '"'
	if got, ok := v.text(); ok && (!isText || got != text) {
		t.Errorf("text of %s is %q, want %q", v, got, text)
	} else if !ok && isText && text != "" && plainText(text) {
		t.Errorf("text of %s is refused", v)
	}
	var texts []string
	if got, ok := v.texts(nil); ok && (json.Unmarshal([]byte(v), &texts) != nil || len(got) != len(texts)) {
		t.Errorf("texts of %s are %q, want %q", v, got, texts)
	} else if ok {
		for i := range got {
			if got[i] != texts[i] {
				t.Errorf("texts of %s are %q, want %q", v, got, texts)
			}
		}
	}
	var number float64
	if got, ok := v.date(); ok {
		if err := json.Unmarshal([]byte(v), &number); err != nil || number < 1 || number >= maxDate+1 {
			t.Errorf("date of %s is %v, and the number is %v (%v)", v, got, number, err)
		}
		if seconds := float64(got.UnixNano()) / 1e9; got.Unix() < 9e9 && math.Abs(seconds-number) > 1 {
			t.Errorf("date of %s is %v", v, got)
		}
	}
}

// twice reports whether an object in what d reads, at any depth, has a member
// twice.
func twice(d *json.Decoder) bool {
	type level struct {
		seen map[string]bool // nil in an array
		name bool            // a name comes next
	}
	var stack []*level
	for {
		tok, err := d.Token()
		if err == io.EOF || err != nil {
			return false
		}
		if delim, ok := tok.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if len(stack) > 0 {
			if top := stack[len(stack)-1]; top.seen != nil {
				if top.name {
					name := tok.(string)
					if top.seen[name] {
						return true
					}
					top.seen[name] = true
				}
				top.name = !top.name
			}
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, &level{seen: make(map[string]bool), name: true})
		case json.Delim('['):
			stack = append(stack, &level{})
		}
	}
}

func TestTwiceSees(t *testing.T) {
	for s, want := range map[string]bool{`{"a":{"a":1},"b":["a","a"]}`: false, `{"a":[{"x":1,"y":2,"x":3}]}`: true, `{"a":1,"a":1}`: true} {
		if got := twice(json.NewDecoder(strings.NewReader(s))); got != want {
			t.Errorf("twice(%s) = %v", s, got)
		}
	}
}

func TestDate(t *testing.T) {
	for s, want := range map[value]time.Time{
		"1": time.Unix(1, 0), "1.0": time.Unix(1, 0), "1700000000": time.Unix(1700000000, 0),
		"1700000000.5": time.Unix(1700000000, 5e8), "1700000000.123456": time.Unix(1700000000, 123456000),
		"1700000000.000000001": time.Unix(1700000000, 1), "1700000000.9999999999": time.Unix(1700000000, 999999999),
		"1.7e9": time.Unix(1700000000, 0), "17E8": time.Unix(1700000000, 0), "1.7000000005e9": time.Unix(1700000000, 0), "253402300799": time.Unix(maxDate, 0),
		"253402300799.999": time.Unix(maxDate, 999e6),
	} {
		if got, ok := s.date(); !ok || !got.Equal(want) {
			t.Errorf("date of %s = %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []value{"", "0", "0.9", "-1", "-0", "0.0", "253402300800", "1e18", "1e12", "1e300", "1e400", "1e-1", `"1"`, "null", "true", "[]", "{}", "9223372036854775807", "99999999999999999999999", "18446744073709551617", "1000000000000"} {
		if got, ok := s.date(); ok {
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
		got, ok := value(written).date()
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

func TestPlainText(t *testing.T) {
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
	if n := len(v.headers.Load().keys); n != 0 {
		t.Errorf("without a key, somebody made the verifier remember %d headers", n)
	}
	for n := range 1000 {
		if err := try(n, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.headers.Load().keys); n != maxHeaders {
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
