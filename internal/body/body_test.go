package body_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/body"
)

func TestJSONReadsBodiesUpToTheLimit(t *testing.T) {
	hidden := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) } // no Content-Length
	tests := []struct {
		name   string
		types  []string
		body   io.Reader
		status int // 0: read
	}{
		{"a body", []string{"application/json"}, strings.NewReader("12345678"), 0},
		{"a charset", []string{"Application/JSON; charset=utf-8"}, strings.NewReader("1"), 0},
		{"an undeclared length", []string{"application/json"}, hidden("12345678"), 0},
		{"one byte too many", []string{"application/json"}, strings.NewReader("123456789"), 413},
		{"one undeclared byte too many", []string{"application/json"}, hidden("123456789"), 413},
		{"no Content-Type", nil, strings.NewReader("1"), 415},
		{"two Content-Types", []string{"application/json", "application/json"}, strings.NewReader("1"), 415},
		{"a form", []string{"application/x-www-form-urlencoded"}, strings.NewReader("1"), 415},
		{"a suffix", []string{"application/problem+json"}, strings.NewReader("1"), 415},
		{"a broken body", []string{"application/json"}, iotest.ErrReader(io.ErrUnexpectedEOF), 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", test.body)
			if test.types != nil {
				r.Header["Content-Type"] = test.types
			}
			b, err := body.JSON(httptest.NewRecorder(), r, 8)
			d, _ := errors.AsType[*guard.Denial](err)
			switch {
			case test.status == 0 && (err != nil || len(b) == 0):
				t.Errorf("%q, %v", b, err)
			case test.status != 0 && (d == nil || d.Status != test.status):
				t.Errorf("%v, want %d", err, test.status)
			}
		})
	}
}

// A client that declares a large body and sends nothing is refused at once.
func TestDeclaredLengthIsRefusedBeforeReading(t *testing.T) {
	r := httptest.NewRequest("POST", "/", iotest.ErrReader(errors.New("the body was read")))
	r.ContentLength = 9
	w := httptest.NewRecorder()
	_, err := body.Read(w, r, 8)
	if d, _ := errors.AsType[*guard.Denial](err); d == nil || d.Status != http.StatusRequestEntityTooLarge {
		t.Error(err)
	}
}
