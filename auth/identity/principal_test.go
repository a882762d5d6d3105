package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/identity"
)

// full has a value in every field, and what must not be printed in Claims.
func full() *identity.Principal {
	return &identity.Principal{
		Issuer:     "https://accounts.example.com",
		Subject:    "alice",
		Tenant:     "acme",
		Session:    "session-1",
		Credential: "token-1",
		Client:     identity.FirstParty,
		Roles:      identity.NewSet("admin"),
		Scopes:     identity.NewSet("read:items"),
		Factors:    identity.NewSet("pwd", "otp"),
		Claims:     `{"birthdate":"1970-01-01"}`,
	}
}

func TestPrincipalPrintsWithoutClaims(t *testing.T) {
	const want = `principal("alice" at "https://accounts.example.com")`
	p := full()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10s"} {
		for name, got := range map[string]string{
			"a pointer": fmt.Sprintf(verb, p),
			"a value":   fmt.Sprintf(verb, *p),
		} {
			if got != want {
				t.Errorf("%s under %s: got %s, want %s", name, verb, got, want)
			}
		}
		for name, got := range map[string]string{
			"in a slice":  fmt.Sprintf(verb, []*identity.Principal{p}),
			"in a map":    fmt.Sprintf(verb, map[string]identity.Principal{"p": *p}),
			"in a struct": fmt.Sprintf(verb, struct{ Caller *identity.Principal }{p}),
		} {
			if !strings.Contains(got, want) || strings.Contains(got, "birthdate") {
				t.Errorf("%s under %s: got %s, want %s in it and no claims", name, verb, got, want)
			}
		}
	}
	for name, got := range map[string]string{
		"Sprint":         fmt.Sprint(p),
		"Errorf":         fmt.Errorf("no entry for %v", p).Error(),
		"a missing verb": fmt.Sprintf(strings.Clone("no verb"), p),
		"a context":      fmt.Sprint(identity.NewContext(context.Background(), p)),
	} {
		if strings.Contains(got, "birthdate") {
			t.Errorf("%s shows claims: %s", name, got)
		}
	}
}

func TestPrincipalPrintsOnOneLine(t *testing.T) {
	p := &identity.Principal{Issuer: "i\u2028", Subject: "alice\"\r\nadmin logged in\x1b[2J"}
	got := fmt.Sprint(p)
	if want := `principal("alice\"\r\nadmin logged in\x1b[2J" at "i\u2028")`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNilPrincipalPrints(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if got := fmt.Sprintf(verb, (*identity.Principal)(nil)); got != "<nil>" {
			t.Errorf("under %s: got %s, want <nil>", verb, got)
		}
	}
}

// logged returns the line that value makes under the key "caller", by each
// handler of log/slog.
func logged(value any) map[string]string {
	lines := make(map[string]string)
	noTime := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	var b bytes.Buffer
	for name, handler := range map[string]slog.Handler{
		"text": slog.NewTextHandler(&b, noTime),
		"JSON": slog.NewJSONHandler(&b, noTime),
	} {
		b.Reset()
		slog.New(handler).Info("seen", "caller", value)
		lines[name] = strings.TrimSpace(b.String())
	}
	return lines
}

func TestPrincipalLogs(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    *identity.Principal
		text string
		json string
	}{
		{
			"who, where and with what, but neither claims nor rights", full(),
			`level=INFO msg=seen caller.issuer=https://accounts.example.com caller.subject=alice caller.tenant=acme` +
				` caller.session=session-1 caller.credential=token-1 caller.client=first-party`,
			`{"level":"INFO","msg":"seen","caller":{"issuer":"https://accounts.example.com","subject":"alice","tenant":"acme",` +
				`"session":"session-1","credential":"token-1","client":"first-party"}}`,
		},
		{
			"empty fields are left out", &identity.Principal{Issuer: "demo", Subject: "alice"},
			`level=INFO msg=seen caller.issuer=demo caller.subject=alice`,
			`{"level":"INFO","msg":"seen","caller":{"issuer":"demo","subject":"alice"}}`,
		},
		{
			"line breaks stay inside their value", &identity.Principal{Subject: "a\nlevel=ERROR"},
			`level=INFO msg=seen caller.subject="a\nlevel=ERROR"`,
			`{"level":"INFO","msg":"seen","caller":{"subject":"a\nlevel=ERROR"}}`,
		},
		{"an empty principal", &identity.Principal{}, `level=INFO msg=seen`, `{"level":"INFO","msg":"seen"}`},
		{"no principal", nil, `level=INFO msg=seen`, `{"level":"INFO","msg":"seen"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines := logged(tt.p)
			if lines["text"] != tt.text {
				t.Errorf("text\n got %s\nwant %s", lines["text"], tt.text)
			}
			if lines["JSON"] != tt.json {
				t.Errorf("JSON\n got %s\nwant %s", lines["JSON"], tt.json)
			}
		})
	}
}

// A Principal that is marshalled, or logged where LogValue is not asked, still
// keeps its claims to itself.
func TestPrincipalAsJSONHasNoClaims(t *testing.T) {
	p := full()
	for name, v := range map[string]any{
		"a pointer":             p,
		"a value":               *p,
		"a pointer in a struct": struct{ Caller *identity.Principal }{p},
		"a value in a slice":    []identity.Principal{*p},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "birthdate") || !strings.Contains(string(data), "alice") {
			t.Errorf("%s is marshalled as %s, want the subject and no claims", name, data)
		}
		for handler, line := range logged(v) {
			if strings.Contains(line, "birthdate") {
				t.Errorf("%s is logged by the %s handler as %s", name, handler, line)
			}
		}
	}
}
