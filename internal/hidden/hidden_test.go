package hidden_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/hidden"
)

func TestValueIsNotPrinted(t *testing.T) {
	type record struct{ Hash string }
	type holder struct {
		value   hidden.Value[record]
		byName  map[string]hidden.Value[*record]
		Pointer *hidden.Value[record]
	}
	r := record{"known"}
	v := hidden.New(r)
	h := holder{v, map[string]hidden.Value[*record]{"a": hidden.New(&r)}, &v}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		for _, printed := range []any{v, &v, h, &h} {
			out := fmt.Sprintf(verb, printed)
			if strings.Contains(out, "known") || strings.Contains(out, "6b6e6f776e") {
				t.Errorf("%s shows the value: %s", verb, out)
			}
		}
	}
	if b, err := json.Marshal(h); err == nil && strings.Contains(string(b), "known") {
		t.Errorf("JSON shows the value: %s", b)
	}
	if v.Reveal() != r || (hidden.Value[record]{}).Reveal() != (record{}) {
		t.Error("Reveal does not return what New was given, or the zero value")
	}
}
