package identity_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/identity"
)

func TestCheckNamesRejectsWhatNoStoreKeeps(t *testing.T) {
	for name, ok := range map[string]bool{
		"":                        true,
		"alice":                   true,
		"élise 👩":                 true,
		"a\nb":                    true,
		strings.Repeat("a", 1024): true,
		strings.Repeat("a", 1025): false,
		"a\x00b":                  false,
		"\x00":                    false,
		"\xff":                    false,
		"a\xc3":                   false,
		"\xed\xa0\x80":            false, // a surrogate
	} {
		for _, names := range [][]string{{name}, {"alice", name}, {name, "alice"}} {
			if err := identity.CheckNames(names...); (err == nil) != ok {
				t.Errorf("CheckNames(%.20q): %v", names, err)
			} else if err != nil && name != "" && strings.Contains(err.Error(), name) {
				t.Errorf("the error %q quotes the name", err)
			}
		}
	}
	if err := identity.CheckNames(); err != nil {
		t.Errorf("no names: %v", err)
	}
}
