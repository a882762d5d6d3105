package totp

import (
	"strings"
	"testing"
)

func TestNegotiateFollowsTheAcceptHeader(t *testing.T) {
	tests := []struct {
		name   string
		accept []string
		want   string // "" is refused
	}{
		{"no header", nil, mediaPNG},
		{"an empty header", []string{""}, mediaPNG},
		{"anything", []string{"*/*"}, mediaPNG},
		{"a browser's picture", []string{"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}, mediaPNG},
		{"a browser's page", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}, mediaPNG},
		{"JSON", []string{"application/json"}, mediaJSON},
		{"JSON in capitals", []string{"Application/JSON"}, mediaJSON},
		{"JSON before anything", []string{"application/json, text/plain, */*"}, mediaPNG},
		{"JSON rather than anything", []string{"application/json, text/plain, */*;q=0.9"}, mediaJSON},
		{"SVG", []string{"image/svg+xml"}, mediaSVG},
		{"two lines", []string{"text/html", "application/json"}, mediaJSON},
		{"JSON rather than a picture", []string{"image/png;q=0.5, application/json;q=0.9"}, mediaJSON},
		{"a picture, but no PNG", []string{"image/*, image/png;q=0"}, mediaSVG},
		{"the specific range counts, not the last one", []string{"image/png;q=0, */*"}, mediaSVG},
		{"parameters", []string{"application/json;charset=utf-8;q=0.3, image/png;q=0.2"}, mediaJSON},
		{"none of ours", []string{"text/html"}, ""},
		{"everything refused", []string{"*/*;q=0"}, ""},
		{"a weight that is none", []string{"image/png;q=NaN"}, ""},
		{"a weight above one", []string{"image/png;q=2"}, ""},
		{"a range too many", []string{strings.Repeat("a/b,", maxRanges) + mediaPNG}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := negotiate(tt.accept); got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("negotiate(%q) = %q, %v, want %q", tt.accept, got, err, tt.want)
			}
		})
	}
}

// FuzzNegotiate: whatever is asked for, the answer is one of ours.
func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"", "*/*", "image/png;q=0.5,application/json", ";;;q=,,", "image/*;q=1e-400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got, err := negotiate([]string{accept})
		if (err == nil) == (got == "") || got != "" && got != mediaPNG && got != mediaSVG && got != mediaJSON {
			t.Errorf("negotiate(%q) = %q, %v", accept, got, err)
		}
	})
}
