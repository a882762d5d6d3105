package body_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/body"
)

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
	asData = "multipart/form-data; boundary=X"
)

func fieldsOf(target, contentType, sent string, header ...string) (map[string]string, error) {
	r := httptest.NewRequest("POST", target, strings.NewReader(sent))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return body.Members(httptest.NewRecorder(), r, 1000, "code", "password")
}

func part(name, value string) string {
	return "--X\r\nContent-Disposition: form-data; " + name + "\r\n\r\n" + value + "\r\n"
}

func TestMembersReadsJSONAndForms(t *testing.T) {
	both := map[string]string{"code": "12 34", "password": "a+b"}
	tests := []struct {
		name, target, contentType, sent string
		want                            map[string]string // nil: refused
		status                          int
		detail                          string
	}{
		{"JSON", "/", asJSON, `{"code":"12 34","password":"a+b"}`, both, 0, ""},
		{"JSON with a charset", "/?lang=de", asJSON + "; charset=UTF-8", ` {"password":"a\u002bb" , "code":"12 34"} `, both, 0, ""},
		{"a form", "/", asForm, "code=12+34&password=a%2Bb", both, 0, ""},
		{"a form as FormData sends it", "/", asData, part(`name="code"`, "12 34") + part(`name="password"`, "a+b") + "--X--\r\n", both, 0, ""},
		{"an empty body", "/", "", "", map[string]string{}, 0, ""},
		{"an empty object", "/", asJSON, "{}", map[string]string{}, 0, ""},
		{"a number", "/", asJSON, `{"code":123456}`, nil, 400, "The member code must be a string, in quotation marks."},
		{"null", "/", asJSON, `{"code":null}`, nil, 400, "The member code must be a string"},
		{"true", "/", asJSON, `{"password":true}`, nil, 400, "The member password must be a string"},
		{"an array", "/", asJSON, `{"code":["1"]}`, nil, 400, "The member code must be a string"},
		{"an object", "/", asJSON, `{"code":{"code":"1"}}`, nil, 400, "The member code must be a string"},
		{"another member", "/", asJSON, `{"code":"1","secret-name":"1"}`, nil, 400, "these members and no others: code, password"},
		{"another member of a form", "/", asForm, "code=1&secret-name=1", nil, 400, "these members and no others: code, password"},
		{"another member of FormData", "/", asData, part(`name="secret-name"`, "1") + "--X--\r\n", nil, 400, "these members and no others"},
		{"another case", "/", asJSON, `{"Code":"1"}`, nil, 400, "small letters"},
		{"another case of a form", "/", asForm, "Code=1", nil, 400, "no others"},
		{"an escaped name", "/", asJSON, `{"c\u006fde":"1"}`, nil, 400, "twice"},
		{"twice", "/", asJSON, `{"code":"1","code":"1"}`, nil, 400, "twice"},
		{"twice in a form", "/", asForm, "code=1&code=1", nil, 400, "The member code occurs twice."},
		{"twice in FormData", "/", asData, part(`name="code"`, "1") + part(`name="code"`, "1") + "--X--\r\n", nil, 400, "twice"},
		{"a file", "/", asData, part(`name="code"; filename="x"`, "1") + "--X--\r\n", nil, 400, "files"},
		{"FormData that is cut", "/", asData, part(`name="code"`, "1"), nil, 400, "not a form"},
		{"no boundary", "/", "multipart/form-data", part(`name="code"`, "1"), nil, 400, "not a form"},
		{"no form", "/", asForm, "code=%zz", nil, 400, "not a form"},
		{"no UTF-8 in a form", "/", asForm, "code=%ff", nil, 400, "The member code must be UTF-8."},
		{"no UTF-8 in JSON", "/", asJSON, "{\"code\":\"\xff\"}", nil, 400, "JSON object in UTF-8"},
		{"a list", "/", asJSON, `["code","1"]`, nil, 400, "JSON object"},
		{"something after it", "/", asJSON, `{"code":"1"} {}`, nil, 400, "JSON object"},
		{"in the URL", "/?password=x", asJSON, `{"code":"1"}`, nil, 400, "The member password belongs into the body, not into the URL."},
		{"a broken query", "/?%zz", asJSON, `{"code":"1"}`, nil, 400, "query"},
		{"no media type", "/", "", `{"code":"1"}`, nil, 415, "application/json or"},
		{"text", "/", "text/plain", `{"code":"1"}`, nil, 415, ""},
		{"another charset", "/", asJSON + "; charset=utf-16", `{"code":"1"}`, nil, 415, ""},
		{"too large", "/", asJSON, `{"code":"` + strings.Repeat("1", 1000) + `"}`, nil, 413, ""},
	}
	for _, tt := range tests {
		got, err := fieldsOf(tt.target, tt.contentType, tt.sent)
		d, _ := errors.AsType[*guard.Denial](err)
		switch {
		case tt.want != nil && (err != nil || !maps.Equal(got, tt.want)):
			t.Errorf("%s: %q, %v", tt.name, got, err)
		case tt.want == nil && (d == nil || d.Status != tt.status || !strings.Contains(d.Detail, tt.detail)):
			t.Errorf("%s: %+v, want %d %q", tt.name, d, tt.status, tt.detail)
		case d != nil && strings.Contains(d.Detail, "secret-name"):
			t.Errorf("%s: the refusal repeats what was sent: %s", tt.name, d.Detail)
		}
	}
	for name, header := range map[string][]string{"two media types": {"Content-Type", asForm}, "compressed": {"Content-Encoding", "gzip"}} {
		_, err := fieldsOf("/", asJSON, `{"code":"1"}`, header...)
		if d, _ := errors.AsType[*guard.Denial](err); d == nil || d.Status != 415 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMembers: what is accepted reads the same with the parsers of the standard
// library, and has no members that were not named.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{"code":"1"}`, `{"code":"1","code":"2"}`, `{"Code":"1"}`, `{"code":"\ud800"}`, "code=1", "code=1&code=2", "CODE=1&code=%zz", ";code=1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, sent string, isJSON bool) {
		contentType := asForm
		if isJSON {
			contentType = asJSON
		}
		got, err := fieldsOf("/", contentType, sent)
		if err != nil || sent == "" {
			return
		}
		want := map[string]string{}
		if isJSON {
			if err := json.Unmarshal([]byte(sent), &want); err != nil {
				t.Errorf("%q is accepted: %v", sent, err)
			}
		} else {
			values, err := url.ParseQuery(sent)
			if err != nil {
				t.Errorf("%q is accepted: %v", sent, err)
			}
			for name, all := range values {
				if len(all) != 1 {
					t.Errorf("%q has %q %d times", sent, name, len(all))
				}
				want[name] = all[0]
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%q is read as %q, want %q", sent, got, want)
		}
		for name, value := range got {
			if name != "code" && name != "password" || !utf8.ValidString(value) {
				t.Errorf("%q has the member %q", sent, name)
			}
		}
	})
}
