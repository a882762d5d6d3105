package ratelimit_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// item is a member of a List of RFC 9651 whose value is a String.
type item struct {
	value  string
	params map[string]any // int64, string or bool
}

// parseList reads a List as RFC 9651 section 4.2.1 says, as far as these fields
// use it: strings with parameters that are integers, strings or true.
func parseList(s string) (items []item, err error) {
	p := &parser{s: strings.Trim(s, " ")}
	defer func() {
		if v := recover(); v != nil {
			items, err = nil, fmt.Errorf("%v in %q before %q", v, s, p.s)
		}
	}()
	for p.s != "" {
		i := item{value: p.string(), params: map[string]any{}}
		for strings.HasPrefix(p.s, ";") {
			p.s = strings.TrimLeft(p.s[1:], " ")
			key := p.key()
			var value any = true
			if strings.HasPrefix(p.s, "=") {
				p.s = p.s[1:]
				if strings.HasPrefix(p.s, `"`) {
					value = p.string()
				} else {
					value = p.integer()
				}
			}
			i.params[key] = value
		}
		items = append(items, i)
		p.s = strings.TrimLeft(p.s, " \t")
		if p.s == "" {
			return items, nil
		}
		if p.s[0] != ',' {
			panic("no comma")
		}
		if p.s = strings.TrimLeft(p.s[1:], " \t"); p.s == "" {
			panic("trailing comma")
		}
	}
	return nil, errors.New("empty")
}

type parser struct{ s string }

func (p *parser) string() string {
	if p.s == "" || p.s[0] != '"' {
		panic("no string")
	}
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '\\':
			if i++; i == len(p.s) || p.s[i] != '"' && p.s[i] != '\\' {
				panic("bad escape")
			}
			b.WriteByte(p.s[i])
		case c == '"':
			p.s = p.s[i+1:]
			return b.String()
		case c < ' ' || c > '~':
			panic("bad character")
		default:
			b.WriteByte(c)
		}
	}
	panic("string without end")
}

func (p *parser) key() string {
	n := 0
	for n < len(p.s) && ('a' <= p.s[n] && p.s[n] <= 'z' || p.s[n] == '*' || n > 0 && strings.IndexByte("0123456789_-.", p.s[n]) >= 0) {
		n++
	}
	if n == 0 {
		panic("no key")
	}
	key := p.s[:n]
	p.s = p.s[n:]
	return key
}

func (p *parser) integer() int64 {
	n := 0
	for n < len(p.s) && '0' <= p.s[n] && p.s[n] <= '9' {
		n++
	}
	if n == 0 || n > 15 {
		panic("no integer of at most 15 digits")
	}
	v, err := strconv.ParseInt(p.s[:n], 10, 64)
	if err != nil {
		panic(err)
	}
	p.s = p.s[n:]
	return v
}

// the fields are structured fields, whatever a limit is called, and
// reveal no address.
func TestResponseFieldsAreStructuredFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"minute", `quo"ted`, `back\slash`, `";q=1`, `\"`, " spaces ", "a, b;c=d", "~!@#$%^&*()", strings.Repeat("x", 61)}
		limits := []ratelimit.Limit{
			{Name: "rate", Kind: ratelimit.Smooth, Quota: 60, Burst: 6, Window: time.Minute},
			{Name: "fraction", Quota: 5, Window: 1500 * time.Millisecond},
			ratelimit.InFlight(1_000_000_000),
			{Name: "largest", Quota: 1_000_000_000, Window: 366 * 24 * time.Hour},
		}
		for i, name := range names {
			if i < 9 {
				limits = append(limits, ratelimit.Limit{Name: name, Quota: int64(i + 2), Window: time.Duration(i+1) * time.Minute})
			}
		}
		h := newLimiter(t, ratelimit.Config{}, limits...).Handler(new(counting))
		for range 6 { // the last are refused
			w := send(h, request("198.51.100.77:1"))
			policies, err := parseList(w.Header().Get("RateLimit-Policy"))
			if err != nil {
				t.Fatal(err)
			}
			states, err := parseList(w.Header().Get("RateLimit"))
			if err != nil {
				t.Fatal(err)
			}
			if len(policies) != len(limits) || len(states) != len(limits) {
				t.Fatalf("%d policies and %d states of %d limits", len(policies), len(states), len(limits))
			}
			for i, l := range limits {
				p, s := policies[i], states[i]
				name := l.Name
				if name == "" {
					name = "in-flight"
				}
				if p.value != name || s.value != name {
					t.Errorf("%q is called %q and %q", name, p.value, s.value)
				}
				if p.params["q"] != l.Quota {
					t.Errorf("%q: q is %v, want %d", name, p.params["q"], l.Quota)
				}
				switch {
				case l.Kind == ratelimit.Concurrent:
					if p.params["qu"] != "concurrent-requests" || p.params["w"] != nil || s.params["t"] != nil {
						t.Errorf("%q: %v %v", name, p.params, s.params)
					}
				case name == "fraction":
					if p.params["w"] != nil {
						t.Errorf("%q: w is %v, and a window of 1.5 s has none", name, p.params["w"])
					}
				case p.params["w"] != int64(l.Window/time.Second):
					t.Errorf("%q: w is %v", name, p.params["w"])
				}
				if r, ok := s.params["r"].(int64); !ok || r < 0 || r > l.Quota {
					t.Errorf("%q: r is %v", name, s.params["r"])
				}
				for _, m := range []map[string]any{p.params, s.params} {
					if m["pk"] != nil {
						t.Errorf("%q has a partition key", name)
					}
				}
			}
			if all := fmt.Sprint(w.Header(), w.Body); strings.Contains(all, "198.51") {
				t.Errorf("the response reveals the address: %s", all)
			}
		}
	})
	for _, bad := range []string{"", `"a`, `"a"b`, `"a",`, `"a\n"`, "a", `"a";=1`, `"a";q=`, `"a";Q=1`} {
		if _, err := parseList(bad); err == nil {
			t.Errorf("the parser of this test accepts %q", bad)
		}
	}
}
