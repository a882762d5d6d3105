package httpfield_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/httpfield"
)

func TestTokensAreThoseOfRFC9110(t *testing.T) {
	const others = "!#$%&'*+-.^_`|~"
	for c := range 256 {
		b := byte(c)
		alnum := '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
		if httpfield.IsAlnum(b) != alnum {
			t.Errorf("IsAlnum(%q)", b)
		}
		want := alnum || strings.IndexByte(others, b) >= 0
		if httpfield.IsTokenByte(b) != want || httpfield.IsToken("a"+string([]byte{b})) != want {
			t.Errorf("%q: want %v", b, want)
		}
	}
	if httpfield.IsToken("") {
		t.Error("the empty string is a token")
	}
	if got := httpfield.TrimOWS(" \t a\u00a0\n\t "); got != "a\u00a0\n" {
		t.Errorf("%q", got)
	}
}
