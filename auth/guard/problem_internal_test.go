package guard

import (
	"encoding/json"
	"net/http"
	"testing"
)

// FuzzProblem holds the body that is written by hand against encoding/json.
func FuzzProblem(f *testing.F) {
	f.Add(401, "invalid_token", "The credentials are not valid.")
	f.Add(499, "", "")
	f.Add(400, "a<b", "1 > 0 & 0 < 1")
	f.Add(400, `"`, `\`)
	f.Add(400, "\x1f", "\x7f")
	f.Add(503, "a\"b\\c", "<&> \x00\x7f\n é \xff \u2028")
	f.Fuzz(func(t *testing.T, status int, code, detail string) {
		want, err := json.Marshal(struct {
			Title  string `json:"title,omitempty"`
			Status int    `json:"status"`
			Code   string `json:"code,omitempty"`
			Detail string `json:"detail,omitempty"`
		}{http.StatusText(status), status, code, detail})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendProblem(nil, &Denial{Status: status, Code: code, Detail: detail})); got != string(want)+"\n" {
			t.Errorf("got %s want %s", got, want)
		}
	})
}
