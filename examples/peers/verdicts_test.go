package peers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

var update = flag.Bool("update", false, "write testdata/verdicts.txt")

// A parts is what a variant of a credential is made of.
type parts struct {
	client string // clientDataJSON
	data   []byte // authenticator data
	key    *ecdsa.PrivateKey
	id     []byte

	response map[string]any // members to set; nil removes one
	whole    func(text string) string

	// Of a registration.
	object func(data []byte) []byte
	cose   []byte
	props  map[string]any

	// Of an assertion.
	sign   func(signature []byte) []byte
	handle []byte
}

// A variant is one difference to a credential that all accept. The verdicts of all
// libraries are in testdata/verdicts.txt, with the reason where we are stricter.
type variant struct {
	name   string
	change func(p *parts)
	why    string
}

func client(old, new string) func(*parts) {
	return func(p *parts) { p.client = strings.Replace(p.client, old, new, 1) }
}

func member(name string, value any) func(*parts) {
	return func(p *parts) { p.response[name] = value }
}

func whole(change func(string) string) func(*parts) { return func(p *parts) { p.whole = change } }

func flags(set, clear byte) func(*parts) {
	return func(p *parts) { p.data[32] = p.data[32]&^clear | set }
}

var common = []variant{
	{"as it is", func(*parts) {}, ""},
	{"a JSON member twice", whole(func(s string) string { return strings.Replace(s, "{", `{"type":"public-key",`, 1) }), "parsers differ in which of the two they take"},
	{"a JSON member in two cases", whole(func(s string) string { return strings.Replace(s, "{", `{"Type":"password",`, 1) }), "Go's encoding/json takes either for the other"},
	{"an unknown JSON member", whole(func(s string) string { return strings.Replace(s, "{", `{"x":1,`, 1) }), ""},
	{"text after the JSON", whole(func(s string) string { return s + "{}" }), ""},
	{"an ID unlike rawId", whole(func(s string) string { return strings.Replace(s, `"id":"`, `"id":"AAAA`, 1) }), ""},
	{"a padded value", func(p *parts) {
		for len(p.client)%3 == 0 {
			p.client += " "
		}
		p.response["clientDataJSON"] = base64.URLEncoding.EncodeToString([]byte(p.client))
	}, "one value has one spelling"},
	{"bits after the last byte of base64url", func(p *parts) {
		id := base64.RawURLEncoding.EncodeToString(p.id)
		last := len(id) - 1
		p.whole = func(s string) string { return strings.ReplaceAll(s, id, id[:last]+string(id[last]+1)) }
	}, "one value has one spelling"},
	{"type of the other ceremony", func(p *parts) {
		p.client = strings.NewReplacer("webauthn.get", "webauthn.create", "webauthn.create", "webauthn.get").Replace(p.client)
	}, ""},
	{"type twice in the client data", client(`{`, `{"type":"webauthn.x",`), "parsers differ in which of the two they take"},
	{"another challenge", client(`"challenge":"`, `"challenge":"AA`), ""},
	{"origin in upper case", client("https://example.com", "https://EXAMPLE.com"), "browsers send lower case; the standard compares strings"},
	{"origin with a slash", client("https://example.com", "https://example.com/"), "an origin has no path; the standard compares strings"},
	{"origin of http", client("https:", "http:"), ""},
	{"in a frame, without the page around it", client(`"crossOrigin":false`, `"crossOrigin":true`), "TopOrigins is empty"},
	{"in a frame of another page", client(`"crossOrigin":false`, `"crossOrigin":true,"topOrigin":"https://evil.example"`), "TopOrigins is empty"},
	{"a byte order mark", func(p *parts) { p.client = "\ufeff" + p.client }, "accepted by us: section 7.1 step 5 decodes with UTF-8 decode, which drops it"},
	{"no user present", flags(0, passkeytest.UserPresent), ""},
	{"backed up but not eligible", flags(passkeytest.BackedUp, 0), "section 6.1.3 makes it impossible"},
	{"extensions announced and missing", flags(1<<7, 0), ""},
	{"bytes after the authenticator data", func(p *parts) { p.data = append(p.data, 0xa0) }, "nothing announces them"},
	{"another RP ID", func(p *parts) { p.data[0] ^= 1 }, ""},
}

var assertions = []variant{
	{"no user verified", flags(0, passkeytest.UserVerified), ""},
	{"no user handle", member("userHandle", nil), "section 7.2 step 6 for discoverable credentials; the peers leave it to their callers"},
	{"another user handle", func(p *parts) { p.handle = []byte("another") }, "section 7.2 step 6; the peers leave it to their callers"},
	{"a new credential announced", flags(1<<6, 0), ""},
	{"signature with n-S in place of S", func(p *parts) {
		p.sign = func(sig []byte) []byte {
			return reSigned(sig, func(s *big.Int) { s.Sub(elliptic.P256().Params().N, s) })
		}
	}, ""},
	{"signature as r and s", func(p *parts) { p.sign = func(sig []byte) []byte { return rawSignature(sig) } }, ""},
	{"signature with a tail", func(p *parts) { p.sign = func(sig []byte) []byte { return append(sig, 0) } }, "not DER"},
	{"signature with a long length", func(p *parts) {
		p.sign = func(sig []byte) []byte { return append([]byte{0x30, 0x81}, sig[1:]...) }
	}, "BER and not DER"},
	{"signature with a zero before r", func(p *parts) {
		p.sign = func(sig []byte) []byte {
			out := append([]byte{0x30, sig[1] + 1, 2, sig[3] + 1, 0}, sig[4:]...)
			return out
		}
	}, "BER and not DER"},
	{"another signature", func(p *parts) {
		p.sign = func(sig []byte) []byte { return reSigned(sig, func(s *big.Int) { s.Add(s, big.NewInt(1)) }) }
	}, ""},
}

var registrations = []variant{
	{"an unknown attestation format", object("xyz", "\xa0"), "accepted by us: section 7.1 allows to ignore attestation"},
	{"a self attestation with a wrong signature", object("packed", "\xa2\x63alg\x26\x63sig\x43abc"), "accepted by us: section 7.1 allows to ignore attestation"},
	{"a forged chain of certificates", object("packed", "\xa3\x63alg\x26\x63sig\x43abc\x63x5c\x81\x43abc"), "accepted by us: section 7.1 allows to ignore attestation"},
	{"another member of the object", func(p *parts) {
		p.object = func(d []byte) []byte {
			return cbor([]byte("\xa4\x61x\xf5\x63fmt\x64none\x67attStmt\xa0\x68authData"), d)
		}
	}, "section 6.5.4 lists three"},
	{"object in another order", func(p *parts) {
		p.object = func(d []byte) []byte {
			return append(cbor([]byte("\xa3\x68authData"), d), "\x63fmt\x64none\x67attStmt\xa0"...)
		}
	}, ""},
	{"object of indefinite length", func(p *parts) {
		p.object = func(d []byte) []byte {
			return append(cbor([]byte("\xbf\x63fmt\x64none\x67attStmt\xa0\x68authData"), d), 0xff)
		}
	}, "CTAP 2.1 section 8 forbids it"},
	{"object with a tail", func(p *parts) {
		p.object = func(d []byte) []byte {
			return append(cbor([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData"), d), 0)
		}
	}, "nothing announces it"},
	{"object with a key twice", func(p *parts) {
		p.object = func(d []byte) []byte {
			return cbor([]byte("\xa4\x63fmt\x64none\x63fmt\x64none\x67attStmt\xa0\x68authData"), d)
		}
	}, "parsers differ in which of the two they take"},
	{"key with its members in another order", cose(func(x, y []byte) []byte {
		return cbor(cbor([]byte("\xa5\x03\x26\x01\x02\x20\x01\x21"), x, 0x22), y)
	}), "section 6.5.1.1 demands the canonical order"},
	{"key with another member", cose(func(x, y []byte) []byte {
		return append(cbor(cbor([]byte("\xa6\x01\x02\x03\x26\x20\x01\x21"), x, 0x22), y), 0x23, 0x01)
	}), "section 6.5.1.1 allows the required ones only"},
	{"key that is no point of the curve", cose(func(x, y []byte) []byte {
		x = bytes.Clone(x)
		x[31] ^= 1
		for onCurve(x, y) {
			x[30]++
		}
		return cbor(cbor([]byte("\xa5\x01\x02\x03\x26\x20\x01\x21"), x, 0x22), y)
	}), "a user could register it and never sign in"},
	{"key of a curve that is not the algorithm's", cose(func(x, y []byte) []byte {
		return cbor(cbor([]byte("\xa5\x01\x02\x03\x26\x20\x02\x21"), x, 0x22), y)
	}), "RFC 9053 section 2.1 with WebAuthn section 5.8.5"},
	{"key of ES384, which was not offered", cose(func(x, y []byte) []byte {
		return cbor(cbor([]byte("\xa5\x01\x02\x03\x38\x22\x20\x01\x21"), x, 0x22), y)
	}), "section 7.1 step 20: one of pubKeyCredParams"},
	{"key with a compressed point", cose(func(x, _ []byte) []byte {
		return append(cbor([]byte("\xa5\x01\x02\x03\x26\x20\x01\x21"), x), 0x22, 0xf5)
	}), "section 5.8.5 forbids it"},
	{"key of RSA with 1024 bits", cose(func(x, y []byte) []byte { return rsaCOSE(append(bytes.Repeat([]byte{0xff}, 127), 1), []byte{1, 0, 1}) }), "shorter than 2048 bits (SP 800-131A)"},
	{"key of RSA with the exponent 1", cose(func(x, y []byte) []byte { return rsaCOSE(append(bytes.Repeat([]byte{0xff}, 255), 1), []byte{1}) }), "every message is its own signature"},
	{"ID of 15 bytes", func(p *parts) { p.id = p.id[:15] }, "section 4: at least 16 bytes"},
	{"ID of 1024 bytes", func(p *parts) { p.id = make([]byte, 1024) }, "section 4: at most 1023 bytes"},
	{"not discoverable", func(p *parts) { p.props = map[string]any{"credProps": map[string]any{"rk": false}} }, "residentKey is required, and sign-in takes no name"},
	{"an unknown transport", member("transports", []string{"carrier-pigeon"}), ""},
}

func object(format, statement string) func(*parts) {
	return func(p *parts) {
		p.object = func(d []byte) []byte {
			b := append([]byte("\xa3\x63fmt"), 0x60|byte(len(format)))
			return cbor(append(append(append(b, format...), "\x67attStmt"+statement...), "\x68authData"...), d)
		}
	}
}

func cose(make func(x, y []byte) []byte) func(*parts) {
	return func(p *parts) {
		point, err := p.key.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		p.cose = make(point[1:33], point[33:])
	}
}

func onCurve(x, y []byte) bool {
	_, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	return err == nil
}

func rsaCOSE(n, e []byte) []byte {
	return cbor(cbor([]byte{0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20}, n, 0x21), e)
}

// cbor appends a byte string and then rest.
func cbor(b, data []byte, rest ...byte) []byte {
	switch n := len(data); {
	case n < 24:
		b = append(b, 0x40|byte(n))
	case n < 1<<8:
		b = append(b, 0x58, byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 0x59), uint16(n))
	}
	return append(append(b, data...), rest...)
}

func reSigned(sig []byte, change func(s *big.Int)) []byte {
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &v); err != nil {
		panic(err)
	}
	change(v.S)
	out, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func rawSignature(sig []byte) []byte {
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &v); err != nil {
		panic(err)
	}
	return append(v.R.FillBytes(make([]byte, 32)), v.S.FillBytes(make([]byte, 32))...)
}

// credential returns the JSON of a credential of these parts.
func (p *parts) credential(kind string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	response := map[string]any{"clientDataJSON": b64([]byte(p.client))}
	if kind == "create" {
		head := bytes.Clone(p.data[:37])
		head[32] |= 1 << 6
		data := append(append(head, make([]byte, 16)...), byte(len(p.id)>>8), byte(len(p.id)))
		data = append(append(append(data, p.id...), p.cose...), p.data[37:]...)
		response["attestationObject"], response["transports"] = b64(p.object(data)), []string{"internal"}
	} else {
		hash := sha256.Sum256([]byte(p.client))
		sum := sha256.Sum256(append(bytes.Clone(p.data), hash[:]...))
		sig, err := ecdsa.SignASN1(rand.Reader, p.key, sum[:])
		if err != nil {
			panic(err)
		}
		response["authenticatorData"], response["signature"], response["userHandle"] = b64(p.data), b64(p.sign(sig)), b64(p.handle)
	}
	for name, value := range p.response {
		if value == nil {
			delete(response, name)
		} else {
			response[name] = value
		}
	}
	text, err := json.Marshal(map[string]any{"id": b64(p.id), "rawId": b64(p.id), "type": "public-key", "clientExtensionResults": p.props, "response": response})
	if err != nil {
		panic(err)
	}
	return p.whole(string(text))
}

func TestVerdictsOnVariants(t *testing.T) {
	rp := newParty(t, new(passkey.Memory))
	a := passkeytest.New(origin)
	must := func(b []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c := generate(t, rp, func(o string) string { return must(a.Create([]byte(o))) }, func(o string) string { return must(a.Get([]byte(o))) })
	hash := sha256.Sum256([]byte(rpID))
	base := func(kind, challenge string) *parts {
		p := &parts{
			client: fmt.Sprintf(`{"type":"webauthn.%s","challenge":%q,"origin":%q,"crossOrigin":false}`, kind, challenge, origin),
			data:   append(hash[:], passkeytest.UserPresent|passkeytest.UserVerified, 0, 0, 0, 0),
			key:    a.Key.(*ecdsa.PrivateKey), id: bytes.Clone(a.ID), handle: a.Handle,
			response: map[string]any{}, props: map[string]any{}, whole: func(s string) string { return s }, sign: func(s []byte) []byte { return s },
		}
		object("none", "\xa0")(p)
		cose(func(x, y []byte) []byte { return cbor(cbor([]byte("\xa5\x01\x02\x03\x26\x20\x01\x21"), x, 0x22), y) })(p)
		return p
	}
	golden, err := os.ReadFile("testdata/verdicts.txt")
	if err != nil && !*update {
		t.Fatal(err)
	}
	word := func(err error) string {
		if err != nil {
			return "refuses"
		}
		return "accepts"
	}
	var lines []string
	all := map[string][]string{} // verdicts of each judge, in the order of lines
	var why []string
	for _, kind := range []string{"create", "get"} {
		variants := append(append([]variant{}, common...), registrations...)
		if kind == "get" {
			variants = append(append([]variant{}, common...), assertions...)
		}
		for _, v := range variants {
			challenge := c.createChallenge
			if kind == "get" {
				challenge = c.assertChallenge
			}
			p := base(kind, challenge)
			v.change(p)
			text := p.credential(kind)
			ours := error(nil)
			if kind == "create" {
				ours = newParty(t, new(passkey.Memory)).register(text)
			} else {
				ours = prove(rp, text)
			}
			lines = append(lines, fmt.Sprintf("%-7s %-46s", kind, v.name))
			all["ours"] = append(all["ours"], word(ours))
			all["text"] = append(all["text"], text)
			why = append(why, v.why)
		}
	}
	const head = "What this module, go-webauthn and @simplewebauthn/server decide on variants of a registration\n(create) and of an assertion that signs in (get), each made with one difference. Written by\nTestVerdictsOnVariants with -update. Where we alone refuse, or accept, the last column has the reason.\n\n"
	title := fmt.Sprintf("%-7s %-46s %-8s %-12s %-15s %s\n", "", "", "ours", "go-webauthn", "simplewebauthn", "why")
	for _, j := range judges {
		t.Run(j.name, func(t *testing.T) {
			peer := j.open(t)
			for i, text := range all["text"] {
				verdict := error(nil)
				if strings.HasPrefix(lines[i], "create") {
					verdict = peer.registers(c, text)
				} else {
					verdict = peer.asserts(c, text)
				}
				if verdict != nil && os.Getenv("PEER_REASONS") != "" {
					t.Logf("%s: %v", lines[i], verdict)
				}
				all[j.name] = append(all[j.name], word(verdict))
			}
		})
	}
	if len(all["simplewebauthn"]) == 0 && !*update { // it was skipped: its column is taken as it stands
		for _, line := range strings.Split(string(golden), "\n") {
			if strings.HasPrefix(line, "create ") || strings.HasPrefix(line, "get ") {
				all["simplewebauthn"] = append(all["simplewebauthn"], strings.Fields(line[54:])[2])
			}
		}
	}
	var b strings.Builder
	b.WriteString(head + title)
	for i, line := range lines {
		ours, one, other := all["ours"][i], all["go-webauthn"][i], "?"
		if i < len(all["simplewebauthn"]) {
			other = all["simplewebauthn"][i]
		}
		reason := why[i]
		if ours == one && ours == other {
			reason = ""
		} else if reason == "" {
			t.Errorf("%s: we %s, go-webauthn %s and simplewebauthn %s, for no stated reason", line, ours, one, other)
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s %-8s %-12s %-15s %s", line, ours, one, other, reason), " ") + "\n")
	}
	if *update {
		if err := os.WriteFile("testdata/verdicts.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != string(golden) {
		t.Errorf("testdata/verdicts.txt differs; run the test with -update and review it. It is now:\n%s", &b)
	}
}
