package passkey

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

// hexBytes is a hex string in the vectors.
type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// A vector is a registration and an assertion of WebAuthn Level 3 section 16.
type vector struct {
	Name         string
	Section      string
	Registration struct {
		Challenge         hexBytes `json:"challenge"`
		CredentialID      hexBytes `json:"credential_id"`
		ClientDataJSON    hexBytes `json:"clientDataJSON"`
		AttestationObject hexBytes `json:"attestationObject"`
	}
	Authentication struct {
		Challenge         hexBytes `json:"challenge"`
		AuthenticatorData hexBytes `json:"authenticatorData"`
		ClientDataJSON    hexBytes `json:"clientDataJSON"`
		Signature         hexBytes `json:"signature"`
	}
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/webauthn-l3.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 15 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
	return file.Vectors
}

// judge reports what a relying party decides about the parts of a vector that do
// not depend on its own challenges.
func judge(rp *RelyingParty, v vector) (registered, asserted, verified bool) {
	record, registered := judgeRegistration(rp, v)
	if registered {
		asserted, verified = judgeAssertion(rp, v, record)
	}
	return registered, asserted, verified
}

// judgeRegistration returns the record of an accepted registration.
func judgeRegistration(rp *RelyingParty, v vector) (record authData, registered bool) {
	challenge, err := rp.checkClientData(v.Registration.ClientDataJSON, typeCreate)
	if err != nil || !bytes.Equal(challenge, v.Registration.Challenge) {
		return authData{}, false
	}
	raw, d, err := parseAttestation(v.Registration.AttestationObject)
	if err != nil || rp.checkAuthData(d) != nil || !bytes.Equal(d.id, v.Registration.CredentialID) {
		return authData{}, false
	}
	record, _, err = parseRecord(encodeRecord(raw, nil))
	return record, err == nil
}

func judgeAssertion(rp *RelyingParty, v vector, record authData) (asserted, verified bool) {
	challenge, err := rp.checkClientData(v.Authentication.ClientDataJSON, typeGet)
	if err != nil || !bytes.Equal(challenge, v.Authentication.Challenge) {
		return false, false
	}
	c := &response{authenticatorData: v.Authentication.AuthenticatorData, clientDataJSON: v.Authentication.ClientDataJSON, signature: v.Authentication.Signature}
	d, err := rp.assertionData(c)
	asserted = err == nil && c.signedBy(record.key)
	return asserted, asserted && d.has(flagUserVerified) && trustsVerification(record)
}

func vectorParty(top ...string) *RelyingParty {
	return &RelyingParty{config: Config{RPID: "example.org", Origins: []string{"https://example.org"}, TopOrigins: top,
		Keys: []guard.Secret{guard.NewSecret(make([]byte, 32))}}}
}

func TestVectorsOfTheStandard(t *testing.T) {
	const (
		signIn       = "sign-in"
		secondFactor = "second factor only"
		framed       = "refused without TopOrigins"
		unsupported  = "registration refused"
	)
	want := map[string]string{
		"16.2": secondFactor, "16.3": secondFactor, "16.4": framed, "16.5": framed, "16.6": signIn, "16.7": signIn, "16.8": unsupported,
		"16.9": unsupported, "16.10": secondFactor, "16.11": secondFactor, "16.12": unsupported, "16.13": signIn, "16.14": secondFactor,
		"16.15": secondFactor, "16.16": secondFactor,
	}
	for _, v := range vectors(t) {
		t.Run(v.Section+" "+v.Name, func(t *testing.T) {
			registered, asserted, verified := judge(vectorParty(), v)
			framedRegistered, framedAsserted, _ := judge(vectorParty("https://example.com"), v)
			got := unsupported
			switch {
			case verified:
				got = signIn
			case asserted:
				got = secondFactor
			case registered || framedRegistered && framedAsserted:
				got = framed
			}
			if got != want[v.Section] {
				t.Errorf("%s, want %s", got, want[v.Section])
			}
		})
	}
}

// everyByte reports whether each byte is set to each of its 255 other values, which
// takes a minute, and not only changed in each of its bits.
func everyByte() bool { return os.Getenv("GATEWRIGHT_EVERY_BYTE") == "1" }

// eachMutation changes part in one byte at a time and calls try with the place.
func eachMutation(part []byte, try func(i int)) {
	for i, original := range part {
		for change := 1; change < 256; change++ {
			if everyByte() || change&(change-1) == 0 {
				part[i] = original ^ byte(change)
				try(i)
			}
		}
		part[i] = original
	}
}

// An assertion with one byte changed is refused: all three parts are signed over, or
// the signature itself.
func TestEveryMutationOfAnAssertionIsRefused(t *testing.T) {
	judged := 0
	for _, v := range vectors(t) {
		rp := vectorParty("https://example.com")
		record, registered := judgeRegistration(rp, v)
		if asserted, _ := judgeAssertion(rp, v, record); registered && asserted {
			judged++
		} else if registered {
			t.Errorf("%s: the assertion is refused", v.Section)
		}
		t.Run(v.Section, func(t *testing.T) {
			t.Parallel()
			for name, part := range map[string]hexBytes{
				"authenticatorData": v.Authentication.AuthenticatorData, "clientDataJSON": v.Authentication.ClientDataJSON, "signature": v.Authentication.Signature,
			} {
				eachMutation(part, func(i int) {
					if asserted, _ := judgeAssertion(rp, v, record); asserted {
						t.Errorf("byte %d of %s does not matter: %x", i, name, part)
					}
				})
			}
		})
	}
	if judged != 12 {
		t.Errorf("%d vectors are accepted, want 12", judged)
	}
}

// A registration is not signed without attestation. One byte changed is refused, or
// gives a record of the same key, which verifies the assertion, or of another key,
// which does not. What is stored is read again as it was.
func TestEveryMutationOfARegistrationIsRefusedOrChangesNoKey(t *testing.T) {
	for _, v := range vectors(t) {
		rp := vectorParty("https://example.com")
		_, data, err := parseAttestation(bytes.Clone(v.Registration.AttestationObject))
		offered := err == nil
		t.Run(v.Section, func(t *testing.T) {
			t.Parallel()
			eachMutation(v.Registration.AttestationObject, func(i int) {
				raw, d, err := parseAttestation(v.Registration.AttestationObject)
				if err != nil {
					return
				}
				if !offered {
					t.Errorf("byte %d: a key that is not offered is accepted", i)
				}
				again, _, err := parseRecord(encodeRecord(raw, nil))
				if err != nil || !reflect.DeepEqual(again, d) {
					t.Errorf("byte %d: the record is read as %v, %v, and was %v", i, again, err, d)
				}
				same := reflect.DeepEqual(d.key, data.key)
				if same && i%32 != 0 {
					return // to verify the same again takes long
				}
				if registered, asserted, _ := judge(rp, v); registered && asserted != same {
					t.Errorf("byte %d: the key is the same: %t; the assertion is accepted: %t", i, same, asserted)
				}
			})
			eachMutation(v.Registration.ClientDataJSON, func(i int) {
				if registered, _, _ := judge(rp, v); registered {
					c, err := parseClientData(v.Registration.ClientDataJSON)
					if err != nil || c.kind != typeCreate || c.origin != "https://example.org" || !bytes.Equal(c.challenge, v.Registration.Challenge) {
						t.Errorf("byte %d: %+v, %v", i, c, err)
					}
				}
			})
		})
	}
}

// BenchmarkCheck compares, for each algorithm, the bare signature check with all
// checks of an assertion that do not depend on a challenge: client data, authenticator
// data, record, signature.
func BenchmarkCheck(b *testing.B) {
	rp := vectorParty()
	sections := map[string]string{"16.6": "ES256", "16.11": "EdDSA", "16.10": "RS256"}
	for _, v := range vectors(b) {
		name, ok := sections[v.Section]
		if !ok {
			continue
		}
		raw, d, err := parseAttestation(v.Registration.AttestationObject)
		if err != nil {
			b.Fatal(err)
		}
		record := encodeRecord(raw, nil)
		c := &response{authenticatorData: v.Authentication.AuthenticatorData, clientDataJSON: v.Authentication.ClientDataJSON, signature: v.Authentication.Signature}
		b.Run(name+"/signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !c.signedBy(d.key) {
					b.Fatal("refused")
				}
			}
		})
		b.Run(name+"/check", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parsed, _, err := parseRecord(record)
				if err != nil {
					b.Fatal(err)
				}
				if asserted, _ := judgeAssertion(rp, v, parsed); !asserted {
					b.Fatal("refused")
				}
			}
		})
	}
}

// encodeCBOR writes what cborItem reads.
func encodeCBOR(b []byte, item any) []byte {
	head := func(b []byte, major byte, n uint64) []byte {
		switch {
		case n < 24:
			return append(b, major<<5|byte(n))
		case n < 1<<8:
			return append(b, major<<5|24, byte(n))
		case n < 1<<16:
			return append(b, major<<5|25, byte(n>>8), byte(n))
		case n < 1<<32:
			return append(b, major<<5|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		}
		return append(b, major<<5|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	switch v := item.(type) {
	case int64:
		if v < 0 {
			return head(b, majorNegative, uint64(-1-v))
		}
		return head(b, majorUint, uint64(v))
	case []byte:
		return append(head(b, majorBytes, uint64(len(v))), v...)
	case string:
		return append(head(b, majorText, uint64(len(v))), v...)
	case []any:
		b = head(b, majorArray, uint64(len(v)))
		for _, e := range v {
			b = encodeCBOR(b, e)
		}
		return b
	case []cborPair:
		b = head(b, majorMap, uint64(len(v)))
		for _, p := range v {
			b = encodeCBOR(encodeCBOR(b, p.key), p.value)
		}
		return b
	case bool:
		if v {
			return append(b, 0xf5)
		}
		return append(b, 0xf4)
	}
	return append(b, 0xf6)
}

// FuzzCBOR: what is read has one encoding, the one that was read.
func FuzzCBOR(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Registration.AttestationObject))
	}
	for _, s := range []string{"\xf5", "\xf6", "\x39\x01\x00", "\x1b\x00\x00\x00\x01\x00\x00\x00\x00", "\x82\x01\x60", "\xa1\x20\x40"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		item, rest, err := cborItem(b, attestationDepth)
		if err != nil {
			return
		}
		read := b[:len(b)-len(rest)]
		if again := encodeCBOR(nil, item); !bytes.Equal(again, read) {
			t.Errorf("%x is read as %v, which is %x", read, item, again)
		}
	})
}

func TestMalformedCBORIsRejectedCheaply(t *testing.T) {
	for name, s := range map[string]string{
		"nothing": "", "indefinite bytes": "\x5f\x41a\xff", "indefinite array": "\x9f\xff", "indefinite map": "\xbf\xff", "a tag": "\xc0\x60",
		"a half float": "\xf9\x3c\x00", "a double": "\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00", "undefined": "\xf7", "simple 24": "\xf8\x18", "simple 255": "\xf8\xff",
		"reserved length": "\x1c", "longer than needed 1": "\x18\x17", "longer than needed 2": "\x19\x00\xff", "longer than needed 4": "\x1a\x00\x00\xff\xff",
		"longer than needed 8": "\x1b\x00\x00\x00\x00\xff\xff\xff\xff", "2^63": "\x1b\x80\x00\x00\x00\x00\x00\x00\x00", "-2^63-1": "\x3b\x80\x00\x00\x00\x00\x00\x00\x00",
		"2^32 bytes": "\x5b\x00\x00\x00\x01\x00\x00\x00\x00", "2^32-1 items": "\x9a\xff\xff\xff\xff", "2^32-1 pairs": "\xba\xff\xff\xff\xff",
		"a duplicate key": "\xa2\x01\x01\x01\x02", "a duplicate text key": "\xa2\x61a\x01\x61a\x01", "a key of bytes": "\xa1\x41a\x01", "an array as key": "\xa1\x80\x01",
		"too deep maps": strings.Repeat("\xa1\x60", 6) + "\x60", "invalid UTF-8": "\x61\xff", "too deep": "\x81\x81\x81\x81\x81\x81\x60", "cut": "\x42a", "a pair without value": "\xa1\x01",
	} {
		var err error
		perRun := testing.AllocsPerRun(1, func() { _, _, err = cborItem([]byte(s), attestationDepth) })
		if err == nil || perRun > 100 {
			t.Errorf("%s: %v, %v allocations", name, err, perRun)
		}
	}
}

// What is allocated depends on the bytes that are there, not on the lengths that they
// claim, and grows no faster than they do.
func TestAllocationsAreBoundedByTheInput(t *testing.T) {
	bytesOf := func(b []byte) uint64 {
		least := uint64(1 << 62)
		for range 5 { // others may allocate meanwhile
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, _ = cborItem(b, attestationDepth)
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		return least
	}
	for name, s := range map[string]string{
		"2^62 bytes": "\x5b\x40\x00\x00\x00\x00\x00\x00\x00", "2^32-1 items": "\x9a\xff\xff\xff\xff", "2^62 pairs": "\xbb\x40\x00\x00\x00\x00\x00\x00\x00",
		"nested claims": strings.Repeat("\x9a\x00\x00\x3f\xff", 5) + strings.Repeat("\x60", 1<<10),
	} {
		if n := bytesOf([]byte(s)); n > 64<<10 {
			t.Errorf("%s: %d bytes are allocated for %d", name, n, len(s))
		}
	}
	dense := map[string]func(n int) []byte{
		"items": func(n int) []byte {
			return append([]byte{0x99, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{0x60}, n)...)
		},
		"pairs": func(n int) []byte {
			b := []byte{0xb9, byte(n / 4 >> 8), byte(n / 4)}
			for i := range n / 4 {
				b = append(b, 0x19, byte(1+i>>8), byte(i), 0xf6)
			}
			return b
		},
	}
	for name, input := range dense {
		const most = 150 // bytes for each byte of input
		for _, n := range []int{1 << 10, 8 << 10, 15 << 10} {
			b := input(n)
			if _, rest, err := cborItem(b, attestationDepth); err != nil || len(rest) > 0 {
				t.Fatalf("%s: %v", name, err)
			}
			if got := bytesOf(b); got > uint64(most*len(b)) {
				t.Errorf("%s: %d bytes are allocated for %d", name, got, len(b))
			}
		}
	}
}

// Keys of a map are unique, however many there are.
func TestMapsOfManyKeysHaveEachOnce(t *testing.T) {
	of := func(keys ...int64) []byte {
		pairs := []cborPair{}
		for _, k := range keys {
			pairs = append(pairs, cborPair{k, nil})
		}
		return encodeCBOR(nil, pairs)
	}
	var keys []int64
	for i := range int64(40) {
		keys = append(keys, i)
		if _, err := cborMap(of(keys...), 1); err != nil {
			t.Errorf("%d keys: %v", i+1, err)
		}
		for _, again := range []int64{0, i / 2, i} {
			if _, err := cborMap(of(append(slices.Clone(keys), again)...), 1); err == nil {
				t.Errorf("%d keys and %d again are accepted", i+1, again)
			}
		}
	}
}
