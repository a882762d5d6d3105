package httpfield_test

import (
	"net/http"
	"testing"

	"github.com/gatewright/gatewright/internal/httpfield"
)

func TestCookieKeepsMalformedValuesAndCountsAll(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		value string
		n     int
	}{
		{nil, "", 0},
		{[]string{"a=1; other=2"}, "1", 1},
		{[]string{"other=2;a = 1 "}, " 1", 1},
		{[]string{`a="1"`}, `"1"`, 1},
		{[]string{"a=1 2,\x01"}, "1 2,\x01", 1},
		{[]string{"a"}, "", 1},
		{[]string{"a="}, "", 1},
		{[]string{"a=; a=2"}, "", 2},
		{[]string{"a=1", "b=1; a=3; a=1"}, "1", 3},
		{[]string{"A=1; aa=2; =a"}, "", 0},
	} {
		value, n := httpfield.Cookie(&http.Request{Header: http.Header{"Cookie": tt.lines}}, "a")
		if value != tt.value || n != tt.n {
			t.Errorf("%q: got %q, %d, want %q, %d", tt.lines, value, n, tt.value, tt.n)
		}
	}
}
