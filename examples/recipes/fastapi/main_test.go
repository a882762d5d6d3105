package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func tokens(t *testing.T, body string) (p pair) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Access == "" || p.Refresh == "" {
		t.Fatalf("%v: %s", err, body)
	}
	return p
}

func (p pair) header() string { return "Authorization: Bearer " + p.Access }

func TestTheGuideRouteByRoute(t *testing.T) {
	p := kit.Start(t, nil)
	words := strings.Fields(p.Line)
	secret, key := strings.TrimPrefix(words[6], "password="), words[len(words)-1]
	form := func(user, password string) string {
		return url.Values{"username": {user}, "password": {password}}.Encode()
	}
	signIn := func(user string) pair {
		t.Helper()
		return tokens(t, kit.Want(t, 200, `"token_type":"bearer"`, "POST", p.URL+"/token", form(user, secret)))
	}
	user, moderator, admin := signIn("user"), signIn("moderator"), signIn("admin")
	kit.Want(t, 401, "invalid_grant", "POST", p.URL+"/token", form("user", "wrong"))
	kit.Want(t, 401, "invalid_grant", "POST", p.URL+"/token", form("disabled", secret))

	for _, step := range []struct {
		status             int
		part, method, path string
		body, header       string
	}{
		{401, "unauthenticated", "GET", "/users/me", "", ""},
		{401, "invalid_token", "GET", "/users/me", "", user.header() + "x"},
		{200, `"username":"user"`, "GET", "/users/me", "", user.header()},
		{403, "API key", "GET", "/protected/", "", ""},
		{403, "Could not validate API key", "GET", "/protected/", "", "X-API-Key: wrong"},
		{200, "Access granted", "GET", "/protected/", "", "X-API-Key: " + key},
		{403, "forbidden", "DELETE", "/users/1", "", user.header()},
		{403, "forbidden", "DELETE", "/users/1", "", moderator.header()},
		{200, "User deleted", "DELETE", "/users/1", "", admin.header()},
		{403, "forbidden", "POST", "/moderate/", "", user.header()},
		{200, "Content moderated", "POST", "/moderate/", "", moderator.header()},
		{200, `"items":[]`, "GET", "/items/", "", user.header()},
		{200, `"Name":"a chair"`, "POST", "/items/", `{"name":"a chair"}`, user.header()},
		{400, "invalid_request", "POST", "/items/", `{"name":"a chair","owner":2}`, user.header()},
		{401, "unauthenticated", "GET", "/items/", "", ""},
		{403, "forbidden", "GET", "/users/admin", "", user.header()},
		{200, `"username":"user"`, "GET", "/users/user", "", moderator.header()},
		{404, "not_found", "GET", "/users/'%20OR%201=1", "", moderator.header()},
		{200, `"content":"hello "`, "POST", "/comments/", `{"content":"hello <script>alert(1)</script>"}`, user.header()},
	} {
		kit.Want(t, step.status, step.part, step.method, p.URL+step.path, step.body, step.header)
	}

	// A token with fewer scopes.
	narrow := tokens(t, kit.Want(t, 200, `"scope":"read:items"`, "POST", p.URL+"/token", form("user", secret)+"&scope=read:items"))
	kit.Want(t, 200, "items", "GET", p.URL+"/items/", "", narrow.header())
	kit.Want(t, 403, "insufficient_scope", "POST", p.URL+"/items/", `{"name":"a chair"}`, narrow.header())

	for range 5 {
		kit.Want(t, 200, "This endpoint is rate limited", "GET", p.URL+"/limited/", "")
	}
	kit.Want(t, 429, "", "GET", p.URL+"/limited/", "")

	// Refresh, and a logout.
	user = tokens(t, kit.Want(t, 200, "access_token", "POST", p.URL+"/token/refresh", "refresh_token="+user.Refresh))
	kit.Want(t, 401, "", "POST", p.URL+"/token/refresh", "refresh_token="+user.Access)
	kit.Want(t, 200, "", "POST", p.URL+"/logout/", "", user.header())
	kit.Want(t, 401, "", "GET", p.URL+"/users/me", "", user.header())
	kit.Want(t, 401, "", "POST", p.URL+"/token/refresh", "refresh_token="+user.Refresh)

	// A second factor, from the QR code to the sign-in.
	var setup struct{ Secret string }
	if err := json.Unmarshal([]byte(kit.Want(t, 200, "otpauth", "POST", p.URL+"/2fa/setup/", "", moderator.header(), "Accept: application/json")), &setup); err != nil {
		t.Fatal(err)
	}
	code := func(ahead time.Duration) string {
		c, err := totp.GenerateCode(setup.Secret, time.Now().Add(ahead))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	kit.Want(t, 200, "recovery_codes", "POST", p.URL+"/2fa/confirm/", url.Values{"code": {code(0)}, "password": {secret}}.Encode(), moderator.header())
	var challenge struct {
		MFA string `json:"mfa_token"`
	}
	if err := json.Unmarshal([]byte(kit.Want(t, 400, "mfa_required", "POST", p.URL+"/token", form("moderator", secret))), &challenge); err != nil {
		t.Fatal(err)
	}
	tokens(t, kit.Want(t, 200, "access_token", "POST", p.URL+"/token/mfa", url.Values{"mfa_token": {challenge.MFA}, "code": {code(30 * time.Second)}}.Encode()))
}

func TestTheMiddlewareOfTheGuide(t *testing.T) {
	p := kit.Start(t, nil, "-https")
	get := func(header ...string) *http.Response {
		t.Helper()
		r, _ := http.NewRequest("GET", p.URL+"/limited/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
			if header[i] == "Host" {
				r.Host = header[i+1]
			}
		}
		w, err := kit.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		w.Body.Close()
		return w
	}
	https := []string{"X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2.1"}
	if w := get("Host", "yourdomain.com"); w.StatusCode != 308 || w.Header.Get("Location") != "https://yourdomain.com/limited/" {
		t.Errorf("in the clear: %d to %s", w.StatusCode, w.Header.Get("Location"))
	}
	if w := get("Host", "evil.example"); w.StatusCode != 400 {
		t.Errorf("another host: %d", w.StatusCode)
	}
	w := get(append(https, "Host", "api.yourdomain.com", "Origin", "https://yourdomain.com")...)
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Access-Control-Allow-Origin": "https://yourdomain.com", "Access-Control-Allow-Credentials": "true",
	} {
		if got := w.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(w.Header.Get("Strict-Transport-Security"), "max-age=") {
		t.Error("there is no Strict-Transport-Security")
	}
	if w := get(append(https, "Host", "yourdomain.com", "Origin", "https://evil.example")...); w.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("another origin may read the response")
	}
}
