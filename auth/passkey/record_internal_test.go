package passkey

import (
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func registration(tb testing.TB) (raw []byte) {
	raw, _, err := parseAttestation(vectors(tb)[0].Registration.AttestationObject)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestRecordsHaveOneForm(t *testing.T) {
	raw := registration(t)
	payload := base64.RawStdEncoding.EncodeToString(raw)
	long := strings.Repeat("t", 32)
	for record, want := range map[string][]string{
		"$webauthn$v=1$" + payload:                                             nil,
		"$webauthn$v=1$transports=internal$" + payload:                         {"internal"},
		"$webauthn$v=1$transports=a-z09+smart-card+" + long + "$" + payload:    {"a-z09", "smart-card", long},
		"$webauthn$v=1$other=1,transports=usb,later=x+y$" + payload:            {"usb"}, // by other programs, or later
		"$webauthn$v=1$aaguid=00000000-0000-0000-0000-000000000000$" + payload: nil,
	} {
		d, transports, err := parseRecord(record)
		if err != nil || !slices.Equal(transports, want) || !d.has(flagCredential) {
			t.Errorf("%.60s: %v, %v", record, transports, err)
		}
	}
	plain, err := parseAuthData(append(slices.Clone(raw[:32]), 1, 0, 0, 0, 0))
	if err != nil || plain.id != nil {
		t.Fatal(plain, err)
	}
	for name, record := range map[string]string{
		"nothing": "", "another prefix": "$webauthn$v=2$" + payload, "no payload": "$webauthn$v=1$", "padding": "$webauthn$v=1$" + payload + "=", "a line break": "$webauthn$v=1$" + payload[:8] + "\n" + payload[8:],
		"a carriage return": "$webauthn$v=1$" + payload[:8] + "\r" + payload[8:], "base64url": "$webauthn$v=1$" + strings.Repeat("-_", 40), "a third part": "$webauthn$v=1$transports=usb$" + payload + "$x",
		"transports twice": "$webauthn$v=1$transports=usb,transports=nfc$" + payload, "an empty transport": "$webauthn$v=1$transports=$" + payload, "an empty one of two": "$webauthn$v=1$transports=usb+$" + payload,
		"upper case": "$webauthn$v=1$transports=USB$" + payload, "a space": "$webauthn$v=1$transports=u sb$" + payload, "a long transport": "$webauthn$v=1$transports=" + long + "t$" + payload,
		"a tail": "$webauthn$v=1$" + base64.RawStdEncoding.EncodeToString(append(slices.Clone(raw), 0)),
		"no key": "$webauthn$v=1$" + base64.RawStdEncoding.EncodeToString(append(slices.Clone(raw[:32]), 1, 0, 0, 0, 0)),
		"cut":    "$webauthn$v=1$" + base64.RawStdEncoding.EncodeToString(raw[:len(raw)-1]),
	} {
		if d, transports, err := parseRecord(record); err == nil {
			t.Errorf("%s is accepted: %v, %v", name, d, transports)
		}
	}
	for transport, want := range map[string]bool{"usb": true, "a": true, "z": true, "0": true, "9": true, "-": true, "": false, "`": false, "{": false, "/": false, ":": false, "A": false,
		long: true, long + "t": false, "u+b": false, "u,b": false, "u$b": false} {
		if got := isTransport(transport); got != want {
			t.Errorf("isTransport(%q) = %t", transport, got)
		}
	}
}

// FuzzRecord: a record that is read is read as the same after it was written again.
func FuzzRecord(f *testing.F) {
	raw := registration(f)
	f.Add(encodeRecord(raw, nil))
	f.Add(encodeRecord(raw, []string{"usb", "nfc"}))
	f.Add("$webauthn$v=1$x=y,transports=usb$" + base64.RawStdEncoding.EncodeToString(raw))
	f.Fuzz(func(t *testing.T, record string) {
		d, transports, err := parseRecord(record)
		if err != nil {
			return
		}
		payload := record[strings.LastIndex(record, "$")+1:]
		b, err := base64.RawStdEncoding.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		again, sameTransports, err := parseRecord(encodeRecord(b, transports))
		if err != nil || !reflect.DeepEqual(again, d) || !slices.Equal(sameTransports, transports) {
			t.Errorf("%q is read as %v, %v and then as %v, %v, %v", record, d, transports, again, sameTransports, err)
		}
	})
}

// Each flag announces what follows, to the byte.
func TestAuthenticatorDataHasNoOtherBytes(t *testing.T) {
	raw := registration(t)
	with := func(change func(b []byte) []byte) []byte { return change(slices.Clone(raw)) }
	size := int(raw[53])<<8 | int(raw[54])
	for name, b := range map[string][]byte{
		"extensions":         with(func(b []byte) []byte { b[32] |= flagExtensions; return append(b, 0xa1, 0x61, 'x', 0xf5) }),
		"an empty extension": with(func(b []byte) []byte { b[32] |= flagExtensions; return append(b, 0xa0) }),
		"depth 4": with(func(b []byte) []byte {
			b[32] |= flagExtensions
			return append(b, 0xa1, 0x61, 'x', 0x81, 0x81, 0x80)
		}),
	} {
		if _, err := parseAuthData(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "36 bytes": raw[:36], "the header alone": raw[:37], "no length": raw[:53], "half a length": raw[:54], "no ID": raw[:55], "half an ID": raw[:55+size-1], "no key": raw[:55+size],
		"extensions that are no map": with(func(b []byte) []byte { b[32] |= flagExtensions; return append(b, 0x80) }),
		"two extensions":             with(func(b []byte) []byte { b[32] |= flagExtensions; return append(b, 0xa0, 0xa0) }),
		"extensions without bytes":   with(func(b []byte) []byte { b[32] |= flagExtensions; return b }),
		"bytes without extensions":   with(func(b []byte) []byte { return append(b, 0xa0) }),
		"depth 5": with(func(b []byte) []byte {
			b[32] |= flagExtensions
			return append(b, 0xa1, 0x61, 'x', 0x81, 0x81, 0x81, 0x80)
		}),
		"a key that is no map": with(func(b []byte) []byte { return append(b[:55+size], 0x80) }),
	} {
		if d, err := parseAuthData(b); err == nil {
			t.Errorf("%s is accepted: %v", name, d)
		}
	}
}
