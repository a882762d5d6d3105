package identity_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/identity"
)

func TestParseSet(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"nothing is the empty set", "", nil},
		{"a space is the empty set", " ", nil},
		{"spaces are the empty set", "    ", nil},
		{"one name", "read", []string{"read"}},
		{"names are sorted", "write read", []string{"read", "write"}},
		{"a repeated name counts once", "read write read", []string{"read", "write"}},
		{"doubled spaces separate once", "read  write", []string{"read", "write"}},
		{"leading and trailing spaces separate nothing", "  read write ", []string{"read", "write"}},
		{"a tab is part of a name", "read\twrite", []string{"read\twrite"}},
		{"a line break is part of a name", "read\nwrite", []string{"read\nwrite"}},
		{"a no-break space is part of a name", "read\u00a0write", []string{"read\u00a0write"}},
		{"a comma is part of a name", "read,write", []string{"read,write"}},
		{"case matters", "Read read", []string{"Read", "read"}},
		{"composed and decomposed letters differ", "\u00e9 e\u0301", []string{"e\u0301", "\u00e9"}},
		{"bytes that are no UTF-8 are kept", "a\xff", []string{"a\xff"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := identity.ParseSet(tt.in)
			if got := slices.Collect(s.All()); !slices.Equal(got, tt.want) {
				t.Errorf("ParseSet(%q) has %q, want %q", tt.in, got, tt.want)
			}
			if s.Len() != len(tt.want) {
				t.Errorf("ParseSet(%q).Len() = %d, want %d", tt.in, s.Len(), len(tt.want))
			}
			if want := strings.Join(tt.want, " "); s.String() != want {
				t.Errorf("ParseSet(%q).String() = %q, want %q", tt.in, s, want)
			}
			if s.Has("") {
				t.Errorf("ParseSet(%q) has the empty name", tt.in)
			}
		})
	}
}

func TestZeroSetIsEmpty(t *testing.T) {
	var zero identity.Set
	if zero.Len() != 0 || zero.Has("") || zero.Has("read") || zero.HasAll("read") || zero.String() != "" {
		t.Errorf("the zero Set is %q with %d names, want none", zero, zero.Len())
	}
	if !zero.HasAll() || !zero.Contains(identity.NewSet()) {
		t.Error("the zero Set lacks some of no names")
	}
	for _, empty := range []identity.Set{identity.NewSet(), identity.NewSet(""), identity.NewSet("", ""), identity.ParseSet(" ")} {
		if !zero.Equal(empty) || !empty.Equal(zero) {
			t.Errorf("the empty set %#v differs from the zero Set", empty)
		}
	}
	if got := zero.With("read"); !got.Has("read") || zero.Len() != 0 {
		t.Errorf("zero.With gave %q and left %q", got, zero)
	}
}

// The list of names up to which Has looks at each is short; behind it there is
// another search.
func TestSetOfEachLength(t *testing.T) {
	for n := range 40 {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("name:%02d", 2*i+1))
		}
		s := identity.NewSet(names...)
		if !s.HasAll(names...) {
			t.Errorf("a set of %d names lacks some of them", n)
		}
		for i := range n + 1 {
			if between := fmt.Sprintf("name:%02d", 2*i); s.Has(between) {
				t.Errorf("a set of %d names has %q, which was not put into it", n, between)
			}
		}
		if s.Has("") || s.Has("name:") || s.Has("name:011") || s.Has("zzz") {
			t.Errorf("a set of %d names has what was not put into it", n)
		}
	}
}

func TestSetCannotBeChanged(t *testing.T) {
	const want = "read write"
	for _, tt := range []struct {
		name   string
		change func(s identity.Set, given []string)
	}{
		{"by the slice it was made from", func(_ identity.Set, given []string) { given[0], given[1] = "admin", "admin" }},
		{"by sorting that slice", func(_ identity.Set, given []string) { slices.Reverse(given) }},
		{"by what All yields", func(s identity.Set, _ []string) {
			names := slices.Collect(s.All())
			names[0] = "admin"
			_ = append(names[:1], "admin")
		}},
		{"by With", func(s identity.Set, _ []string) { s.With("admin") }},
		{"by With, twice, of one origin", func(s identity.Set, _ []string) {
			a, b := s.With("a"), s.With("b")
			if a.Has("b") || b.Has("a") {
				t.Errorf("sets of one origin share names: %q and %q", a, b)
			}
		}},
		{"by the slice that With was given", func(s identity.Set, _ []string) {
			more := []string{"b", "a"}
			s.With(more...)
			if more[0] != "b" {
				t.Error("With sorted its arguments in the caller's slice")
			}
		}},
		{"by decoding into a copy", func(s identity.Set, _ []string) {
			if err := json.Unmarshal([]byte(`["admin","root"]`), &s); err != nil {
				t.Error(err)
			}
		}},
		{"by the bytes of its JSON", func(s identity.Set, _ []string) {
			data, err := s.MarshalJSON()
			if err != nil {
				t.Error(err)
			}
			clear(data)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := []string{"write", "read"}
			s := identity.NewSet(given...)
			if !slices.Equal(given, []string{"write", "read"}) {
				t.Fatalf("NewSet changed its arguments to %q", given)
			}
			tt.change(s, given)
			if s.String() != want {
				t.Errorf("the set is %q afterwards, want %q", s, want)
			}
		})
	}

	// The empty set marshals to bytes of its own, too.
	first, _ := identity.Set{}.MarshalJSON()
	clear(first)
	if second, _ := (identity.Set{}).MarshalJSON(); string(second) != "[]" {
		t.Errorf("the empty set marshals to %q, want []", second)
	}
}

func TestSetJSON(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"an array", `["write","read"]`, `["read","write"]`},
		{"an empty array", `[]`, `[]`},
		{"an empty name is left out", `["","read"]`, `["read"]`},
		{"a repeated name counts once", `["read","read"]`, `["read"]`},
		{"names may have spaces", `["a b"]`, `["a b"]`},
		{"names are text, not HTML", `["<a>&"]`, `["\u003ca\u003e\u0026"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := identity.NewSet("left over")
			if err := json.Unmarshal([]byte(tt.in), &s); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("%s became %s, want %s", tt.in, got, tt.want)
			}
		})
	}
	for _, wrong := range []string{`"read write"`, `{"read":true}`, `[1]`, `["read",["write"]]`, `true`, `["read"`} {
		t.Run("not an array of strings: "+wrong, func(t *testing.T) {
			s := identity.NewSet("kept")
			if err := json.Unmarshal([]byte(wrong), &s); err == nil {
				t.Errorf("read %s as %q, want an error", wrong, s)
			}
			if !s.Equal(identity.NewSet("kept")) {
				t.Errorf("after the error the set is %q, want it unchanged", s)
			}
		})
	}

	// As a member, with the option that leaves empty sets out.
	type record struct {
		Scopes identity.Set
		Roles  identity.Set `json:",omitzero"`
	}
	got, err := json.Marshal(record{})
	if want := `{"Scopes":[]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// A Set is a map of names, whatever is asked in whatever order.
func TestSetAgreesWithAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	draw := func(n int) []string {
		names := make([]string, n)
		for i := range names {
			// Few letters, so that names repeat and begin alike.
			b := make([]byte, random.IntN(4))
			for j := range b {
				b[j] = "ab:"[random.IntN(3)]
			}
			names[i] = string(b)
		}
		return names
	}
	mapOf := func(lists ...[]string) map[string]bool {
		m := make(map[string]bool)
		for _, name := range slices.Concat(lists...) {
			if name != "" {
				m[name] = true
			}
		}
		return m
	}
	check := func(what string, s identity.Set, m map[string]bool) {
		t.Helper()
		if got, want := slices.Collect(s.All()), slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
			t.Fatalf("%s: has %q, want %q", what, got, want)
		}
		if s.Len() != len(m) {
			t.Fatalf("%s: Len is %d, want %d", what, s.Len(), len(m))
		}
		for _, name := range append(draw(10), slices.Collect(maps.Keys(m))...) {
			if s.Has(name) != m[name] {
				t.Fatalf("%s: Has(%q) is %t, want %t, of %q", what, name, s.Has(name), m[name], s)
			}
		}
	}
	for range 5000 {
		a, b := draw(random.IntN(30)), draw(random.IntN(30))
		s, u := identity.NewSet(a...), identity.NewSet(b...)
		m, n := mapOf(a), mapOf(b)
		check("NewSet", s, m)
		check("ParseSet", identity.ParseSet(strings.Join(a, " ")), m)
		check("With", s.With(b...), mapOf(a, b))
		check("the set after With", s, m)

		contains := true
		for name := range n {
			contains = contains && m[name]
		}
		if s.Contains(u) != contains {
			t.Fatalf("%q contains %q: %t, want %t", s, u, s.Contains(u), contains)
		}
		if !s.Contains(s) || !s.With(b...).Contains(u) {
			t.Fatalf("%q does not contain its parts", s)
		}
		if want := maps.Equal(m, n); s.Equal(u) != want || u.Equal(s) != want {
			t.Fatalf("%q equals %q: %t, want %t", s, u, s.Equal(u), want)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back identity.Set
		if err := json.Unmarshal(data, &back); err != nil || !back.Equal(s) {
			t.Fatalf("%q came back from JSON as %q, %v", s, back, err)
		}
	}
}

func TestSetHasAllocatesNothing(t *testing.T) {
	s := identity.ParseSet("a b c d e f g h i j k l m n o p")
	small := identity.ParseSet("a b c")
	if n := testing.AllocsPerRun(100, func() {
		if !s.Has("k") || !small.Has("b") || !s.Contains(small) || !small.HasAll("a", "c") {
			t.Error("a name is missing")
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func FuzzParseSet(f *testing.F) {
	for _, seed := range []string{"", " ", "read write", "  write read  read", "a\tb", "\x00", "\xff \xfe", strings.Repeat("a b ", 20)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s := identity.ParseSet(in)
		if back := identity.ParseSet(s.String()); !back.Equal(s) {
			t.Errorf("%q is %q, read again %q", in, s, back)
		}
		want := make(map[string]bool)
		for name := range strings.SplitSeq(in, " ") {
			if name != "" {
				want[name] = true
			}
		}
		if got := slices.Collect(s.All()); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Errorf("%q has the names %q", in, got)
		}
		for name := range want {
			if !s.Has(name) {
				t.Errorf("%q lacks %q", in, name)
			}
		}
	})
}

func BenchmarkSetHas(b *testing.B) {
	for _, n := range []int{3, 12, 13, 100} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("resource:%03d", i))
		}
		s, last := identity.NewSet(names...), names[n-1]
		b.Run(fmt.Sprintf("names=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !s.Has(last) {
					b.Fatal("a name is missing")
				}
			}
		})
	}
}

func TestNullChangesNothing(t *testing.T) {
	s := identity.NewSet("read:items")
	if err := json.Unmarshal([]byte("null"), &s); err != nil || !s.Has("read:items") {
		t.Errorf("after null: %q, %v; want the set as it was", s, err)
	}
}
