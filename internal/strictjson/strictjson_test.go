package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/strictjson"
)

var known = []string{"type", "sub", "list"}

func read(s string) (string, error) {
	var b strings.Builder
	err := strictjson.Object(s, known, func(name string, v strictjson.Value) error {
		fmt.Fprintf(&b, "%s=%s;", name, v)
		return nil
	})
	return b.String(), err
}

func TestObjectReadsKnownMembersOnly(t *testing.T) {
	for s, want := range map[string]string{
		`{}`: "",
		` { "type" : "a" , "x" : [1, {"y":null}] , "sub":{"type":1} } `: `type="a";sub={"type":1};`,
		`{"x":1,"x":2,"X":3}`:                      "",
		`{"list":[1,"\ud83d\ude42",-0.5e+7,true]}`: `list=[1,"\ud83d\ude42",-0.5e+7,true];`,
		`{"typ":1,"types":2}`:                      "",
	} {
		if got, err := read(s); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", s, got, err, want)
		}
	}
}

func TestSecondSpellingsOfKnownNamesAreRejected(t *testing.T) {
	for _, s := range []string{
		`{"type":1,"type":1}`, `{"Type":1}`, `{"TYPE":1,"type":2}`, `{"\u0074ype":1}`, `{"ſub":1}`, `{"\u017fub":1}`, `{"su\u0062":1,"sub":1}`,
	} {
		if _, err := read(s); !errors.Is(err, strictjson.ErrDuplicate) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestMalformedObjectsAreRejected(t *testing.T) {
	for _, s := range []string{
		``, ` `, `[]`, `"a"`, `{`, `{}}`, `{}{}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{'a':1}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`,
		`{"a":1e}`, `{"a":tru}`, `{"a":nul}`, `{"a":NaN}`, "{\"a\":\"\n\"}", `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\u0041"}`,
		"{\"a\":\"\xff\"}", "\ufeff{}", `{"a":1}//`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":"`, `{"a":"\`,
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		if _, err := read(s); !errors.Is(err, strictjson.ErrSyntax) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestErrorOfMemberIsReturned(t *testing.T) {
	want := errors.New("stop")
	if err := strictjson.Object(`{"sub":1}`, known, func(string, strictjson.Value) error { return want }); err != want {
		t.Error(err)
	}
}

func TestValues(t *testing.T) {
	var v strictjson.Value = `"a\u0062"`
	if s, ok := v.Text(); s != "ab" || !ok {
		t.Errorf("%q %t", s, ok)
	}
	if _, ok := strictjson.Value(`1`).Text(); ok {
		t.Error("a number is a text")
	}
	if b, ok := strictjson.Value(`true`).Bool(); !b || !ok {
		t.Error("true")
	}
	if b, ok := strictjson.Value(`false`).Bool(); b || !ok {
		t.Error("false")
	}
	if _, ok := strictjson.Value(`"true"`).Bool(); ok {
		t.Error("a text is a boolean")
	}
	if !strictjson.Value(`null`).Null() || strictjson.Value(`"null"`).Null() {
		t.Error("null")
	}
	n := 0
	if err := strictjson.Value(`[1,[2],{}]`).Array(func(strictjson.Value) error { n++; return nil }); err != nil || n != 3 {
		t.Error(n, err)
	}
}

func ignore(string, strictjson.Value) error { return nil }

func ignoreIndex(int, strictjson.Value) error { return nil }

// TestOnlyKnownNamesAreCompared: a name that is read must occur once and in one
// spelling, and names that are not read may be anything.
func TestOnlyKnownNamesAreCompared(t *testing.T) {
	for _, c := range []struct {
		json string
		ok   bool
	}{
		{`{"kid":1}`, true}, {`{"Kid":1}`, false}, {`{"KID":1}`, false}, {"{\"\u212aid\":1}", false}, {`{"\u212aid":1}`, false}, {`{"sub":1}`, true}, {`{"ſub":1}`, false},
		{`{"kid":1,"kid":1}`, false}, {`{"kid":1,"Kid":1}`, false}, {`{"\u006bid":1}`, false}, {`{"kid":1,"ki\u0064":1}`, false}, {`{"Role":1}`, true},
		{`{"role":1}`, false}, {`{"Role":1,"role":1}`, false}, {`{"https://a.example/x":1,"https://a.example/x":2}`, false},
		{`{"subx":1,"Xsub":2}`, true}, {`{"x":1,"X":2}`, true}, {`{"X":1}`, true}, {`{"x":1,"x":2}`, true}, {`{"email":1,"Email":2}`, true}, {`{"\u0065mail":1}`, true},
		{`{"":1}`, true}, {`{"":1,"":2}`, true}, {`{"inner":{"KID":1,"kid":1,"kid":1}}`, true}, {`{"kid":{"kid":1,"KID":1}}`, true},
	} {
		if err := strictjson.Object(c.json, []string{"kid", "sub", "Role", "https://a.example/x"}, ignore); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.json, err, c.ok)
		}
	}
}

// TestReaderBounds: the cost of reading is bounded by the size of the input.
func TestReaderBounds(t *testing.T) {
	for name, s := range map[string]string{
		"objects":  strings.Repeat(`{"a":`, 1e6),
		"arrays":   `{"a":` + strings.Repeat(`[`, 1e6),
		"both":     strings.Repeat(`{"a":[`, 1e6),
		"too deep": `{"a":` + strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000) + `}`,
		"a string": `{"a":"` + strings.Repeat(`\`, 1e6),
	} {
		if err := strictjson.NewNames().Object(s, ignoreIndex); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, s := range map[string]string{
		"many members": "{" + strings.Join(different(10_000), ",") + "}",
		"deep":         `{"a":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `}`,
	} {
		if err := strictjson.NewNames("kid").Object(s, ignoreIndex); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	const most = 256
	inner := strictjson.NewNames("m1")
	if _, err := inner.Member(strictjson.Value("{"+strings.Join(different(most), ",")+"}"), most); err != nil {
		t.Errorf("%d members: %v", most, err)
	}
	if _, err := inner.Member(strictjson.Value("{"+strings.Join(different(most+1), ",")+"}"), most); err == nil {
		t.Errorf("%d members are searched", most+1)
	}
}

func different(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"m%d":[]`, i))
	}
	return all
}

func TestNamesAreFoundByTheirIndex(t *testing.T) {
	var names []string
	for i := range strictjson.MaxNames {
		names = append(names, fmt.Sprintf("claim-%d", i))
	}
	read := strictjson.NewNames(names...)
	for i, name := range names {
		got := -1
		object := fmt.Sprintf(`{%q: 1, %q: 2}`, name+"x", name)
		if err := read.Object(object, func(i int, _ strictjson.Value) error { got = i; return nil }); err != nil || got != i {
			t.Errorf("%s has the index %d, want %d: %v", name, got, i, err)
		}
	}
	found := false
	if err := strictjson.NewNames("").Object(`{"":1}`, func(i int, _ strictjson.Value) error { found = i == 0; return nil }); err != nil || !found {
		t.Errorf("the empty name is found: %v, %v", found, err)
	}
}

// FuzzObject: what Object accepts encoding/json accepts too, with the same value
// of each known member.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"type":"a","x":[{}],"sub":"\u0041"}`, `{"Type":1}`, `{"sub":1,"sub":2}`, `{"list":[1e5]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := map[string]string{}
		err := strictjson.Object(s, known, func(name string, v strictjson.Value) error { got[name] = string(v); return nil })
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatalf("%q is accepted, and encoding/json: %v", s, err)
		}
		for _, name := range known {
			if string(want[name]) != got[name] {
				t.Errorf("%q: %s is %q, want %q", s, name, got[name], want[name])
			}
		}
	})
}
