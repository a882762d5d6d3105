package apikey_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestStatic(t *testing.T) {
	cron := apikey.StaticKey{Name: "cron", Key: apikey.NewSecret("cron-0123456789abcdef"), Roles: identity.NewSet("admin")}
	deploy := apikey.StaticKey{Name: "deploy", Key: apikey.NewSecret("deploy-0123456789abc"), Scopes: identity.NewSet("deploy")}
	next := new(spy)
	a, err := apikey.NewStatic(apikey.StaticConfig{Realm: "ops"}, cron, deploy)
	if err != nil {
		t.Fatal(err)
	}
	h := a.Handler(next)
	bad := want{401, `ApiKey realm="ops", error="invalid_token"`, "", invalidBody}
	tests := []struct {
		name  string
		lines []string
		want  want
	}{
		{"the first key", []string{with("cron-0123456789abcdef")}, want{200, "", "", "hello cron"}},
		{"the last key", []string{with("deploy-0123456789abc")}, want{200, "", "", "hello deploy"}},
		{"in Authorization", []string{"Authorization: ApiKey deploy-0123456789abc"}, want{200, "", "", "hello deploy"}},
		{"none", nil, want{401, `ApiKey realm="ops"`, "", missingBody}},
		{"an empty one", []string{with("")}, bad},
		{"a beginning", []string{with("cron-0123456789abcde")}, bad},
		{"more than one", []string{with("cron-0123456789abcdefg")}, bad},
		{"other letters", []string{with("CRON-0123456789abcdef")}, bad},
		{"a name", []string{with("cron")}, bad},
		{"64 kB", []string{with(strings.Repeat("x", 64<<10))}, bad},
		{"two", []string{with("cron-0123456789abcdef"), with("cron-0123456789abcdef")}, several},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := next.ran()
			tt.want.check(t, send(h, request("/", tt.lines...)))
			if ran := next.ran() - before; (ran == 1) != (tt.want.status == 200) {
				t.Errorf("next ran %d times", ran)
			}
		})
	}
	p := must(a.Authenticate(request("/", with("cron-0123456789abcdef"))))
	if p.Issuer != "apikey:static" || p.Subject != "cron" || p.Credential != "cron" || !p.Roles.Has("admin") || p.Scopes.Len() != 0 {
		t.Errorf("%v", p)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if s := fmt.Sprintf(verb+verb, a, cron); strings.Contains(s, "0123456789abcdef") || strings.Contains(s, "30313233") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func TestStaticWithTheGuidesAnswers(t *testing.T) {
	next, seen := new(spy), new(events)
	a := must(apikey.NewStatic(apikey.StaticConfig{FastAPIStatusCodes: true, Hooks: guard.Hooks{Observe: seen.observe}},
		apikey.StaticKey{Name: "app", Key: apikey.NewSecret("0123456789abcdef")}))
	h := a.Handler(next)
	want{403, "", "", `{"title":"Forbidden","status":403,"code":"invalid_token","detail":"Could not validate API key"}` + "\n"}.
		check(t, send(h, request("/", with("0123456789abcdeX"))))
	want{403, "", "", `{"title":"Forbidden","status":403,"code":"unauthenticated","detail":"API key required"}` + "\n"}.check(t, send(h, request("/")))
	want{200, "", "", "hello app"}.check(t, send(h, request("/", with("0123456789abcdef"))))
	if next.ran() != 1 || !strings.HasPrefix(seen.names(), "authn_login_fail ") {
		t.Errorf("next ran %d times, events %s", next.ran(), seen.names())
	}
}

func TestStaticListsEveryMistake(t *testing.T) {
	key := func(name, key string) apikey.StaticKey {
		return apikey.StaticKey{Name: name, Key: apikey.NewSecret(key)}
	}
	good := key("a", "0123456789abcdef")
	tests := []struct {
		name string
		keys []apikey.StaticKey
		want []string
	}{
		{"no key", nil, []string{"Static has no key"}},
		{"an empty key", []apikey.StaticKey{good, key("b", "")}, []string{"key 1 is empty"}},
		{"no Secret at all", []apikey.StaticKey{{Name: "a"}}, []string{"key 0 is empty"}},
		{"a short key", []apikey.StaticKey{key("a", "0123456789abcde")}, []string{"key 0 has 15 bytes; use 16 to 256"}},
		{"a long key", []apikey.StaticKey{key("a", strings.Repeat("x", 257))}, []string{"key 0 has 257 bytes"}},
		{"a line break at the end, as files have", []apikey.StaticKey{key("a", "0123456789abcdef\n")}, []string{"key 0 has a character that is not visible ASCII"}},
		{"spaces", []apikey.StaticKey{key("a", strings.Repeat(" ", 20))}, []string{"key 0 has a character"}},
		{"no name", []apikey.StaticKey{key("", "0123456789abcdef")}, []string{"key 0 has no Name"}},
		{"twice the same", []apikey.StaticKey{good, key("b", "0123456789abcdef")}, []string{"key 1 is the same as an earlier one"}},
		{"twice the same name", []apikey.StaticKey{good, key("a", "0123456789abcdeg")}, []string{`key 1 has the Name "a" of an earlier one`}},
		{"several", []apikey.StaticKey{key("", ""), key("", "x")}, []string{"key 0 is empty", "key 0 has no Name", "key 1 has 1 bytes", "key 1 has no Name", `key 1 has the Name ""`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := apikey.NewStatic(apikey.StaticConfig{}, tt.keys...)
			if err == nil || a != nil {
				t.Fatal("it was taken")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say that %s:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "0123456789") {
				t.Errorf("the error has the key: %v", err)
			}
		})
	}
	if _, err := apikey.NewStatic(apikey.StaticConfig{Header: "a b"}, good); err == nil || !strings.Contains(err.Error(), `StaticConfig.Header is "a b"`) {
		t.Errorf("%v", err)
	}
}
