package totp

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNegotiate(t *testing.T) {
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

func TestReadJSON(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"the code", `{"code":"123456"}`, "123456"},
		{"with spaces", " {\n\t\"code\" : \"123456\" } \n", "123456"},
		{"escaped", `{"c\u006fde":"\u0031"}`, "1"},
		{"nothing", ``, ""},
		{"null", `null`, ""},
		{"an empty object", `{}`, ""},
		{"an empty code", `{"code":""}`, ""},
		{"a number", `{"code":123456}`, ""},
		{"a null code", `{"code":null}`, ""},
		{"a list", `{"code":["123456"]}`, ""},
		{"an object", `{"code":{"code":"123456"}}`, ""},
		{"only a list", `["code","123456"]`, ""},
		{"only a string", `"code"`, ""},
		{"another name", `{"otp":"123456"}`, ""},
		{"another case", `{"Code":"123456"}`, ""},
		{"a second member", `{"code":"123456","user":"alice"}`, ""},
		{"a second member before", `{"user":"alice","code":"123456"}`, ""},
		{"twice", `{"code":"123456","code":"654321"}`, ""},
		{"twice in other cases", `{"code":"123456","CODE":"654321"}`, ""},
		{"something after it", `{"code":"123456"} {}`, ""},
		{"a comma after it", `{"code":"123456",}`, ""},
		{"cut", `{"code":"123456"`, ""},
		{"no UTF-8", "{\"code\":\"123456\xff\"}", ""},
		{"a byte order mark", "\ufeff{\"code\":\"123456\"}", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := readJSON([]byte(tt.body)); got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("readJSON = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzReadJSON: what is accepted says the same to encoding/json, and cannot say
// anything else to another reader.
func FuzzReadJSON(f *testing.F) {
	for _, seed := range []string{`{"code":"123456"}`, `{"code":"1","code":"2"}`, `{"Code":"1"}`, `{"code":"1"}}`, `[]`, ``, `{"code":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		code, err := readJSON(body)
		if err != nil {
			if code != "" {
				t.Errorf("%q and an error", code)
			}
			return
		}
		var all map[string]string
		if err := json.Unmarshal(body, &all); err != nil || len(all) != 1 || all[member] != code || code == "" || !utf8.Valid(body) {
			t.Errorf("%q, and encoding/json reads %q, %v", code, all, err)
		}
		if strings.Count(string(body), ":") < 1 || strings.Contains(string(body), ",") && !strings.Contains(code, ",") {
			t.Errorf("%q has more than one member", body)
		}
	})
}

// FuzzReadForm: what is accepted has one parameter, once.
func FuzzReadForm(f *testing.F) {
	for _, seed := range []string{"code=123456", "code=1&code=2", "code=1&user=a", "CODE=1", "code=%zz", "code=12+34", ";code=1", "code"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		code, err := readForm(body)
		if err != nil {
			return
		}
		again, err := url.ParseQuery(url.Values{member: {code}}.Encode())
		if err != nil || again.Get(member) != code || code == "" || !utf8.ValidString(code) {
			t.Errorf("%q: %q, %v", body, code, err)
		}
		if parts := strings.FieldsFunc(string(body), func(r rune) bool { return r == '&' }); len(parts) != 1 {
			t.Errorf("%q has %d parameters", body, len(parts))
		}
	})
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
