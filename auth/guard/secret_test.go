package guard_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

func TestSecretIsNotPrinted(t *testing.T) {
	material := []byte("known material of 32 bytes, text")
	s := guard.NewSecret(material)
	type nested struct{ s guard.Secret }
	type host struct {
		Exported guard.Secret
		hidden   guard.Secret
		pointer  *guard.Secret
		list     []guard.Secret
		byName   map[string]guard.Secret
		deep     *nested
		any      any
	}
	h := host{s, s, &s, []guard.Secret{s}, map[string]guard.Secret{"a": s}, &nested{s}, nested{s}}
	spellings := []string{
		string(material[:12]), hex.EncodeToString(material[:12]), strings.ToUpper(hex.EncodeToString(material[:12])),
		base64.StdEncoding.EncodeToString(material[:12]), strings.Trim(fmt.Sprint(material[:12]), "[]"), "0x6b, 0x6e, 0x6f", "0x6b 0x6e",
	}
	check := func(how, out string) {
		t.Helper()
		for _, spelling := range spellings {
			if strings.Contains(out, spelling) {
				t.Errorf("%s shows the secret: %s", how, out)
			}
		}
	}
	for _, v := range []any{s, &s, h, &h, []any{h}, map[string]any{"h": h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c", "%U", "%p", "%T", "%z"} {
			check(verb, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err != nil {
			t.Error(err)
		} else {
			check("json", string(b))
		}
		if b, err := xml.Marshal(v); err == nil {
			check("xml", string(b))
		}
		var buf bytes.Buffer
		_ = gob.NewEncoder(&buf).Encode(v)
		slog.New(slog.NewTextHandler(&buf, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&buf, nil)).Info("json", "v", v)
		check("gob and slog", buf.String())
		check("error", fmt.Errorf("wrapped: %v, %w", v, fmt.Errorf("%+v", v)).Error())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "[redacted]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if got := fmt.Sprint(guard.Secret{}); got != "[redacted]" {
		t.Errorf("the zero Secret prints %q", got)
	}
}

func TestSecretKeepsACopy(t *testing.T) {
	material := []byte("key material")
	s := guard.NewSecret(material)
	material[0] = 'X'
	s.Bytes()[1] = 'X'
	if got := string(s.Bytes()); got != "key material" {
		t.Errorf("Bytes is %q after its source and its result were changed", got)
	}
	if b := (guard.Secret{}).Bytes(); b != nil {
		t.Errorf("the zero Secret has %v", b)
	}
	if b := guard.NewSecret([]byte{}).Bytes(); b != nil {
		t.Errorf("a Secret of no bytes has %v", b)
	}
}
