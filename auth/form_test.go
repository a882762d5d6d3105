package auth_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

const formType = "application/x-www-form-urlencoded"

// endpoints are the handlers that read a form, each with a form that it would
// take if the request were well-formed, or nearly.
var endpoints = []struct{ path, form string }{
	{"/token", "username=alice&password=correct+horse+battery"},
	{"/token/refresh", "refresh_token=x"},
	{"/token/mfa", "mfa_token=x&code=code+314159"},
}

func TestForms(t *testing.T) {
	post := func(path, contentType, body string) *http.Request {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		return r
	}
	with := func(r *http.Request, name, value string) *http.Request {
		r.Header.Add(name, value)
		return r
	}
	method := func(m string) func(path, form string) *http.Request {
		return func(path, form string) *http.Request {
			r := post(path, formType, form)
			r.Method = m
			return r
		}
	}
	tests := []struct {
		name    string
		request func(path, form string) *http.Request
		status  int
	}{
		{"GET", method("GET"), 405},
		{"HEAD", method("HEAD"), 405},
		{"PUT", method("PUT"), 405},
		{"DELETE", method("DELETE"), 405},
		{"PATCH", method("PATCH"), 405},
		{"OPTIONS", method("OPTIONS"), 405},
		{"an invented method", method("POSTS"), 405},
		{"post in lower case", method("post"), 405},
		{"no content type", func(p, f string) *http.Request { return post(p, "", f) }, 415},
		{"JSON", func(p, f string) *http.Request { return post(p, "application/json", `{"username":"alice"}`) }, 415},
		{"a form said to be JSON", func(p, f string) *http.Request { return post(p, "application/json", f) }, 415},
		{"multipart", func(p, f string) *http.Request { return post(p, "multipart/form-data; boundary=x", f) }, 415},
		{"text", func(p, f string) *http.Request { return post(p, "text/plain", f) }, 415},
		{"a form in Latin-1", func(p, f string) *http.Request { return post(p, formType+"; charset=iso-8859-1", f) }, 415},
		{"a form in UTF-16", func(p, f string) *http.Request { return post(p, formType+"; charset=utf-16", f) }, 415},
		{"a content type that cannot be read", func(p, f string) *http.Request { return post(p, formType+"; charset", f) }, 415},
		{"two charsets", func(p, f string) *http.Request { return post(p, formType+"; charset=utf-8; charset=utf-16", f) }, 415},
		{"two content types", func(p, f string) *http.Request {
			return with(post(p, formType, f), "Content-Type", "application/json")
		}, 415},
		{"a compressed body", func(p, f string) *http.Request { return with(post(p, formType, f), "Content-Encoding", "gzip") }, 415},
		{"a body too long", func(p, f string) *http.Request {
			return post(p, formType, f+"&x="+strings.Repeat("x", mostOf(p)))
		}, 413},
		{"a body one byte too long", func(p, f string) *http.Request {
			return post(p, formType, f+"&x="+strings.Repeat("x", mostOf(p)+1-len(f)-3))
		}, 413},
		{"a body too long that does not say so", func(p, f string) *http.Request {
			r := post(p, formType, "")
			r.Body = io.NopCloser(io.LimitReader(endless{}, 1<<30))
			r.ContentLength = -1
			return r
		}, 413},
		{"a password of 1 MiB", func(p, f string) *http.Request { return post(p, formType, "password="+strings.Repeat("x", 1<<20)) }, 413},
		{"a body that breaks off", func(p, f string) *http.Request {
			r := post(p, formType, "")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(f), broken{}))
			r.ContentLength = -1
			return r
		}, 400},
		{"every parameter twice", func(p, f string) *http.Request { return post(p, formType, f+"&"+f) }, 400},
		{"a parameter twice, once empty", func(p, f string) *http.Request { return post(p, formType, f+"&scope=&scope=read") }, 400},
		{"an unknown parameter twice", func(p, f string) *http.Request { return post(p, formType, f+"&x=1&x=2") }, 400},
		{"invalid UTF-8 in a value", func(p, f string) *http.Request { return post(p, formType, f+"&x=%ff") }, 400},
		{"invalid UTF-8 in a name", func(p, f string) *http.Request { return post(p, formType, f+"&%ff=x") }, 400},
		{"raw bytes that are not UTF-8", func(p, f string) *http.Request { return post(p, formType, f+"&x=\xff\xfe") }, 400},
		{"an overlong encoding", func(p, f string) *http.Request { return post(p, formType, f+"&x=%c0%af") }, 400},
		{"a surrogate", func(p, f string) *http.Request { return post(p, formType, f+"&x=%ed%a0%80") }, 400},
		{"half an escape", func(p, f string) *http.Request { return post(p, formType, f+"&x=%4") }, 400},
		{"an escape that is none", func(p, f string) *http.Request { return post(p, formType, f+"&x=%zz") }, 400},
		{"a semicolon between parameters", func(p, f string) *http.Request { return post(p, formType, strings.ReplaceAll(f, "&", ";")+";x=1") }, 400},
		{"no body", func(p, f string) *http.Request { return post(p, formType, "") }, 400},
		{"ampersands only", func(p, f string) *http.Request { return post(p, formType, "&&&&") }, 400},
		{"parameters without a value", func(p, f string) *http.Request {
			return post(p, formType, "username&password&refresh_token&mfa_token&code&token")
		}, 400},
		{"the form in the URL", func(p, f string) *http.Request { return post(p+"?"+f, formType, "") }, 400},
		{"a password in the URL beside the form", func(p, f string) *http.Request { return post(p+"?password=x", formType, f) }, 400},
		{"an escaped password in the URL", func(p, f string) *http.Request { return post(p+"?p%61ssword=x", formType, f) }, 400},
		{"a username in the URL beside the form", func(p, f string) *http.Request { return post(p+"?a=b&username=x", formType, f) }, 400},
		{"a refresh_token in the URL", func(p, f string) *http.Request { return post(p+"?refresh_token=x", formType, f) }, 400},
		{"a client_secret in the URL", func(p, f string) *http.Request { return post(p+"?client_secret=", formType, f) }, 400},
		{"an mfa_token in the URL", func(p, f string) *http.Request { return post(p+"?mfa_token=x", formType, f) }, 400},
		{"a code in the URL", func(p, f string) *http.Request { return post(p+"?code=x", formType, f) }, 400},
		{"a token in the URL", func(p, f string) *http.Request { return post(p+"?token=x", formType, f) }, 400},
		{"a query that cannot be read", func(p, f string) *http.Request {
			r := post(p, formType, f)
			r.URL.RawQuery = "a=%zz"
			return r
		}, 400},
		{"a query with a semicolon, at which others split", func(p, f string) *http.Request {
			r := post(p, formType, f)
			r.URL.RawQuery = "a=b;password=x"
			return r
		}, 400},
	}
	forms := append(slices.Clip(endpoints), struct{ path, form string }{"/revoke", "token=x"})
	codes := map[int]string{400: guard.CodeInvalidRequest, 405: guard.CodeInvalidRequest, 413: guard.CodeInvalidRequest, 415: guard.CodeInvalidRequest}
	for _, e := range forms {
		for _, tt := range tests {
			t.Run(e.path+": "+tt.name, func(t *testing.T) {
				h := newHost(t, withFactor(&factor{}))
				a := h.serve(tt.request(e.path, e.form))
				h.want(a, tt.status, codes[tt.status])
				if got, want := a.header.Get("Allow"), map[bool]string{true: "POST"}[tt.status == 405]; got != want {
					t.Errorf("Allow is %q, want %q", got, want)
				}
				if n := named(h.events.take(), guard.EventInputFail); n != 1 {
					t.Errorf("%d events say that it could not be understood, want 1", n)
				}
			})
		}
	}

	t.Run("a body that says it is too long is not read", func(t *testing.T) {
		h := newHost(t)
		r := post("/token", formType, "")
		read := false
		r.Body = io.NopCloser(reading{&read})
		r.ContentLength = 4097
		h.want(h.serve(r), http.StatusRequestEntityTooLarge, guard.CodeInvalidRequest)
		if read {
			t.Error("it was read")
		}
	})

	good := []struct {
		name    string
		request func(path, form string) *http.Request
	}{
		{"a charset", func(p, f string) *http.Request { return post(p, formType+"; charset=UTF-8", f) }},
		{"a charset in quotes, in mixed case", func(p, f string) *http.Request { return post(p, formType+`; charset="Utf-8"`, f) }},
		{"a media type in upper case", func(p, f string) *http.Request { return post(p, strings.ToUpper(formType), f) }},
		{"unknown parameters", func(p, f string) *http.Request { return post(p, formType, f+"&client_id=web&x=%C3%A9") }},
		{"a query without secrets", func(p, f string) *http.Request { return post(p+"?utm_source=mail&utm_source=x", formType, f) }},
		{"4096 bytes", func(p, f string) *http.Request { return post(p, formType, f+"&x="+strings.Repeat("x", 4096-len(f)-3)) }},
		{"a length that is not told", func(p, f string) *http.Request {
			r := post(p, formType, f)
			r.ContentLength = -1
			return r
		}},
	}
	for _, tt := range good {
		t.Run("taken: "+tt.name, func(t *testing.T) {
			h := newHost(t)
			h.want(h.serve(tt.request(endpoints[0].path, endpoints[0].form)), http.StatusOK, "")
		})
	}

	t.Run("the host's own Deny is not called", func(t *testing.T) {
		h := newHost(t, func(s *setup) {
			s.Hooks.Deny = func(http.ResponseWriter, *http.Request, *guard.Denial) { t.Error("it was") }
		})
		h.want(h.signIn("nobody", right), http.StatusBadRequest, "invalid_grant")
		h.want(h.refresh("x"), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("the ledger tells which routes are public, and what the others demand", func(t *testing.T) {
		h := newHost(t, withFactor(&factor{}))
		want := map[string]string{
			"/token": "public (sign-in)", "/token/refresh": "public (refresh)", "/token/mfa": "public (second factor)",
			"/logout/": "caller", "GET /me": "caller", "/step-up": "caller",
			"/revoke": "public (token revocation)", "/introspect": "scope introspect",
		}
		for _, route := range h.mux.Routes() {
			if got := strings.TrimPrefix(route.String(), route.Pattern+"\t"); got != want[route.Pattern] {
				t.Errorf("%s: %s, want %s", route.Pattern, got, want[route.Pattern])
			}
		}
	})
}

// reading is a body that remembers whether it was read.
type reading struct{ read *bool }

func (r reading) Read([]byte) (int, error) { *r.read = true; return 0, io.EOF }

// endless is a body without an end; broken one that breaks off.
type (
	endless struct{}
	broken  struct{}
)

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }
func (broken) Read([]byte) (int, error)    { return 0, errors.New("connection reset") }

// FuzzForm sends whatever it likes to the endpoints: nobody signs in, nothing
// breaks, and every answer is an error of RFC 6749.
func FuzzForm(f *testing.F) {
	for i, e := range endpoints {
		f.Add(uint8(i), "POST", formType, "", e.form)
	}
	f.Add(uint8(0), "GET", "", "username=x", "")
	f.Add(uint8(0), "POST", formType+"; charset=utf-16", "%zz", "a=%ff&a=;")
	f.Add(uint8(1), "POST", formType, "", "grant_type=refresh_token&refresh_token=a.b.c&scope=%20")
	f.Add(uint8(2), "POST", formType, "", "mfa_token=eyJhbGciOiJub25lIn0.e30.&code=1")
	f.Fuzz(func(t *testing.T, endpoint uint8, method, contentType, query, form string) {
		h := newHost(t, withFactor(&factor{}))
		clear(h.secrets) // what is sent here is no secret
		// Nobody's password can be met by chance or by a seed.
		for _, login := range []string{"alice", "bob"} {
			u, err := h.store.UserByLogin(t.Context(), login)
			if err != nil {
				t.Fatal(err)
			}
			u.PasswordHash = ""
			h.setUser(login, *u)
		}
		r := httptest.NewRequest("POST", endpoints[int(endpoint)%len(endpoints)].path, strings.NewReader(form))
		r.Method = method
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", contentType)
		a := h.serve(r)
		if a.status < 400 || a.status >= 500 {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if a.text("error") == "" || a.access() != "" || a.refresh() != "" {
			t.Errorf("the answer is %s", a.raw)
		}
	})
}

// mostOf returns the size of the largest form of an endpoint.
func mostOf(path string) int {
	if path == "/token/mfa" {
		return 8 << 10
	}
	return 4 << 10
}

// TestCodesMayBeAsLongAsAnAssertion: the code of a second factor may be the JSON of a
// passkey's assertion.
func TestCodesMayBeAsLongAsAnAssertion(t *testing.T) {
	long := strings.Repeat("a", 7000)
	taken := func(s *setup) {
		withFactor(&factor{verify: func(_, given string) (string, error) {
			if given != long {
				return "", nil
			}
			return "pop", nil
		}})(s)
	}
	send := func(h *host, path, accessToken, contentType, body string) answer {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		if accessToken != "" {
			r.Header.Set("Authorization", "Bearer "+accessToken)
		}
		return h.serve(r)
	}
	h := newHost(t, taken)
	a := h.signIn("alice", right)
	a = send(h, "/token/mfa", "", formType, "mfa_token="+a.text("mfa_token")+"&code="+long)
	h.want(a, 200, "")
	b := send(h, "/step-up", a.access(), "application/json", `{"code":"`+long+`"}`)
	h.want(b, 200, "")
	b = send(h, "/step-up", b.access(), formType, "code="+long)
	h.want(b, 200, "")
	for contentType, body := range map[string]string{formType: "code=" + strings.Repeat("a", 8200), "application/json": `{"code":"` + strings.Repeat("a", 8200) + `"}`} {
		h.want(send(h, "/step-up", b.access(), contentType, body), 413, guard.CodeInvalidRequest)
	}
}
