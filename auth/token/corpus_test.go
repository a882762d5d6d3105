package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// This file is a list of attacks on bearer tokens that one or another library
// has fallen for, in numbered rows. Wherever it can be, the token has a right
// signature of the verifier's own key, so that nothing but strictness refuses
// it; and each is sent through the middleware.

// A hostile is one variant of an attack. make is called in a bubble of its
// own, on 2000-01-01.
type hostile struct {
	row  int
	name string
	why  error
	make func(k *kit) string
}

func TestCorpus(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		for _, h := range corpus() {
			t.Run(fmt.Sprintf("%s/row %d/%s", alg, h.row, h.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v := newVerifier(t, k.ring)
					s := h.make(k)
					if p, err := v.Verify(t.Context(), s); !errors.Is(err, h.why) || p != nil {
						t.Errorf("Verify = %v, %v; want %v", p, err, h.why)
					}
					wantRefused(t, serve(v, get("Bearer "+s)), h.why)
				})
			})
		}
	}
}

// TestCorpusControl shows that the signer of this file makes good tokens, and
// that what the attacks are close to is let in.
func TestCorpusControl(t *testing.T) {
	for _, alg := range append(everyday, token.PS256) {
		k := kits()[alg]
		for name, make := range map[string]func() string{
			"a plain token":                     func() string { return k.token() },
			"row 13, space around the object":   func() string { return k.raw(k.header(), " \t\r\n"+payload()+"\n") },
			"row 15, depth 8":                   func() string { return k.token("x", strings.Repeat("[", 7)+strings.Repeat("]", 7)) },
			"row 15, 64 members":                func() string { return k.token(members(64 - 7)...) },
			"row 16, an exp with a fraction":    func() string { return k.token("exp", later(60)+".75") },
			"row 16, an exp with an exponent":   func() string { return k.token("exp", "9466851e2") },
			"row 17, nbf and iat within leeway": func() string { return k.token("nbf", later(29), "iat", later(30)) },
			"row 17, the longest lifetime":      func() string { return k.token("exp", later(86400)) },
			"row 18, several audiences":         func() string { return k.token("aud", `["https://other.example",`+quoted(audience)+`]`) },
			"row 19, the long spelling of typ":  func() string { return k.headed("typ", `"application/at+jwt"`) },
			"row 35, no scope":                  func() string { return k.token("scope", `""`) },
			"unknown members of the header":     func() string { return k.headed("x5t", `"abc"`, "url", `{"a":[1]}`) },
			"unknown claims":                    func() string { return k.token("plan", `{"tier":["gold",null,1.5e3,true]}`) },
			"escapes in values":                 func() string { return k.token("sub", `"\u0061lice \ud83d\ude00"`) },
			"the longest header":                func() string { return k.headed("pad", quoted(strings.Repeat("x", 768-len(k.header("pad", `""`))))) },
			"claims of this package, every kind": func() string {
				return k.token("scope", `"a b"`, "roles", `["r"]`, "amr", `[]`, "auth_time", "5", "sid", `"s"`, "tenant", `"t"`, "nbf", "1")
			},
		} {
			t.Run(fmt.Sprintf("%s/%s", alg, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wantAccepted(t, serve(newVerifier(t, k.ring), get("Bearer "+make())))
				})
			})
		}
	}
}

// members returns n members with names of their own.
func members(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("m%d", i), "0")
	}
	return list
}

func corpus() []hostile {
	var all []hostile
	add := func(row int, why error, name string, make func(k *kit) string) {
		all = append(all, hostile{row, name, why, make})
	}
	header := func(row int, why error, member string, values ...string) {
		for _, value := range values {
			add(row, why, "header "+member+" "+short(value), func(k *kit) string { return k.headed(member, value) })
		}
	}
	claim := func(row int, why error, member string, values ...string) {
		for _, value := range values {
			add(row, why, "claim "+member+" "+short(value), func(k *kit) string { return k.token(member, value) })
		}
	}

	// Row 1: the token says that it needs no signature.
	header(1, token.ErrAlgorithm, "alg", `"none"`, `"None"`, `"nOnE"`, `"NONE"`, `"none "`, `"HS512"`, `"hs256"`, `"rs256"`, `"es256"`, `"eddsa"`, "")
	header(1, token.ErrMalformed, "alg", `null`, `""`, `["HS256","ES256","RS256","EdDSA"]`, `{}`, `0`, `true`, `"none\u0000"`)
	add(1, token.ErrMalformed, "an empty signature", func(k *kit) string { return unsigned(k.token()) + "." })
	add(1, token.ErrMalformed, "alg none and an empty signature", func(k *kit) string { return unsigned(k.headed("alg", `"none"`)) + "." })
	add(1, token.ErrMalformed, "alg none and no signature", func(k *kit) string { return unsigned(k.headed("alg", `"none"`)) })
	add(1, token.ErrSignature, "a signature of one byte", func(k *kit) string { return unsigned(k.token()) + ".AA" })
	add(1, token.ErrSignature, "somebody else's signature", func(k *kit) string {
		s := k.token()
		other := k.token("sub", `"mallory"`)
		return unsigned(other) + s[strings.LastIndexByte(s, '.'):]
	})

	// Row 6: the key ID is a path, a query, a bomb, or not a string.
	header(6, token.ErrKey, "kid", `"../../dev/null"`, `"' OR '1'='1"`, `"`+strings.Repeat("k", 500)+`"`, `"http://127.0.0.1:1/key"`, "")
	header(6, token.ErrMalformed, "kid", `"`+strings.Repeat("k", 64<<10)+`"`, `"`+strings.Repeat("k", 2000)+`"`, `"\u0000"`, `7`, `null`, `[]`, `{}`, `""`)
	add(6, token.ErrKey, "kid followed by NUL's neighbour", func(k *kit) string { return k.headed("kid", quoted(k.kid+" ")) })
	add(6, token.ErrKey, "kid in another case", func(k *kit) string { return k.headed("kid", quoted(swapCase(k.kid))) })
	add(6, token.ErrMalformed, "kid in an array", func(k *kit) string { return k.headed("kid", `["`+k.kid+`"]`) })

	// Row 7: the token brings its key along, or says where to fetch it.
	for _, member := range []string{"jku", "x5u"} {
		header(7, token.ErrMalformed, member, `"https://evil.example/keys"`, `""`, `null`)
	}
	header(7, token.ErrMalformed, "x5c", `["MIIB"]`, `[]`, `null`)
	header(7, token.ErrMalformed, "jwk", `{"kty":"oct","k":"AAAA"}`, `{}`, `null`)

	// Row 8: extensions that must be understood (RFC 7515 section 4.1.11,
	// RFC 7797), compression.
	header(8, token.ErrMalformed, "crit", `["exp"]`, `["b64"]`, `["https://example.com/x"]`, `[]`, `null`, `"exp"`, `{}`, `[1]`)
	header(8, token.ErrMalformed, "b64", `false`, `true`, `null`)
	header(8, token.ErrMalformed, "zip", `"DEF"`)
	add(8, token.ErrMalformed, "b64 false, understood by crit", func(k *kit) string { return k.headed("b64", "false", "crit", `["b64"]`) })

	// Row 9: a member twice.
	for _, double := range []string{
		`"alg":"none",`, `"alg":"HS256",`, `"alg":"ES256",`, `"alg":"RS256",`, `"alg":"EdDSA",`,
		`"typ":"at+jwt",`, `"kid":"x",`, `"x":1,"x":1,`, `"y":{"x":1,"x":1},`, `"y":[{"x":1,"x":2}],`,
	} {
		add(9, token.ErrMalformed, "header begins "+double, func(k *kit) string { return k.raw("{"+double+k.header()[1:], payload()) })
		add(9, token.ErrMalformed, "header ends "+double, func(k *kit) string {
			h := k.header()
			return k.raw(h[:len(h)-1]+","+strings.TrimSuffix(double, ",")+"}", payload())
		})
	}
	for _, double := range []string{
		`"exp":4102444800`, `"sub":"admin"`, `"iss":"https://auth.example.com"`, `"aud":"https://api.example.com"`, `"jti":"id-1"`,
		`"jti":"id-2"`, `"x":1,"x":1`, `"scope":"a","scope":"a b"`, `"y":{"x":1,"x":1}`, `"y":[[{"x":1,"x":2}]]`,
	} {
		add(9, token.ErrMalformed, "claims begin "+double, func(k *kit) string { return k.raw(k.header(), "{"+double+","+payload()[1:]) })
		add(9, token.ErrMalformed, "claims end "+double, func(k *kit) string {
			p := payload()
			return k.raw(k.header(), p[:len(p)-1]+","+double+"}")
		})
	}

	// Row 10: names that encoding/json takes for others, beside them and
	// instead of them. ſ is U+017F, K is U+212A (Kelvin).
	for _, name := range []string{"EXP", "Exp", "eXp", "SUB", "Sub", "ſub", `\u0073ub`, `\u017fub`, `e\u0078p`, "iſs", "ISS", "AUD", "JTI", "NBF", "Iat", "Scope", "ſcope", "roleſ", "Client_ID", "SID", "ſid", "Tenant", "AMR", "Auth_Time"} {
		claim(10, token.ErrMalformed, name, `"admin"`)
		add(10, token.ErrMalformed, "claim "+name+" instead", func(k *kit) string {
			return k.token("sub", "", "exp", "", name, "4102444800")
		})
	}
	for _, name := range []string{"ALG", "Alg", `\u0061lg`, "KID", "Kid", "\u212aid", `\u006bid`, "TYP", "Typ", "CRIT", "Crit", "B64", "ZIP", "\u212aID", "JWK", "jw\u212a", "j\u212au", "X5U", "x5U"} {
		header(10, token.ErrMalformed, name, `"x"`)
	}
	add(10, token.ErrMalformed, "names that differ in case in an object within", func(k *kit) string { return k.token("x", `{"a":1,"A":2}`) })
	add(10, token.ErrMalformed, "names that fold into one another", func(k *kit) string { return k.token("mask", "1", "ma\u017fk", "2") })

	// Row 11: foreign characters. Those that Go's decoder skips above all.
	for _, foreign := range []string{"\n", "\r", "\r\n", " ", "\t", "\v", "\f", "\x00", "\x7f", "\x80", "\u00a0", "\u200b", "\ufeff", "=", "==", "+", "/", "%", ",", "~", ".", `"`} {
		name := short(fmt.Sprintf("%q", foreign))
		signed := func(edit func(h, p string) (string, string)) func(*kit) string {
			return func(k *kit) string { return k.seal(edit(b64(k.header()), b64(payload()))) }
		}
		why := token.ErrMalformed
		add(11, why, name+" after the token", func(k *kit) string { return k.token() + foreign })
		add(11, why, name+" within the signature", func(k *kit) string { s := k.token(); return s[:len(s)-9] + foreign + s[len(s)-9:] })
		add(11, why, name+" before the signature", func(k *kit) string {
			s := k.token()
			i := strings.LastIndexByte(s, '.') + 1
			return s[:i] + foreign + s[i:]
		})
		add(11, why, name+" after the header, signed", signed(func(h, p string) (string, string) { return h + foreign, p }))
		add(11, why, name+" within the header, signed", signed(func(h, p string) (string, string) { return h[:8] + foreign + h[8:], p }))
		add(11, why, name+" after the claims, signed", signed(func(h, p string) (string, string) { return h, p + foreign }))
		add(11, why, name+" within the claims, signed", signed(func(h, p string) (string, string) { return h, p[:8] + foreign + p[8:] }))
		if foreign != " " { // which the header field allows
			add(11, why, name+" before the token", func(k *kit) string { return foreign + k.token() })
		}
	}
	for _, alphabet := range [][2]string{{"-", "+"}, {"_", "/"}} {
		add(11, token.ErrMalformed, alphabet[1]+" for "+alphabet[0]+" in the claims, signed", func(k *kit) string {
			p := b64(payload("sub", `"???>>>~~~ÿÿÿ"`))
			if !strings.Contains(p, alphabet[0]) {
				p = b64(payload("sub", `"x???>>>~~~ÿÿÿ"`))
			}
			if !strings.Contains(p, alphabet[0]) {
				panic("the test has no " + alphabet[0])
			}
			return k.seal(b64(k.header()), strings.ReplaceAll(p, alphabet[0], alphabet[1]))
		})
	}

	// Row 12: bits after the last byte (RFC 4648 section 3.5).
	for bits := 1; bits < 4; bits++ {
		add(12, token.ErrMalformed, fmt.Sprintf("trailing bits %d in the signature", bits), func(k *kit) string { return withBits(k.token(), bits) })
		add(12, token.ErrMalformed, fmt.Sprintf("trailing bits %d in the header, signed", bits), func(k *kit) string {
			h := k.header()
			for len(h)%3 == 0 {
				h += " "
			}
			return k.seal(withBits(b64(h), bits), b64(payload()))
		})
		add(12, token.ErrMalformed, fmt.Sprintf("trailing bits %d in the claims, signed", bits), func(k *kit) string {
			p := payload()
			for len(p)%3 == 0 {
				p += " "
			}
			return k.seal(b64(k.header()), withBits(b64(p), bits))
		})
	}
	add(12, token.ErrMalformed, "a part of one character more than whole bytes", func(k *kit) string {
		p := payload()
		for len(p)%3 != 0 {
			p += " "
		}
		return k.seal(b64(k.header()), b64(p)+"A")
	})

	// Row 13: a payload that is not one object.
	for _, after := range []string{"{}", "x", "\x00", ",", "}", "]", "null", `{"sub":"admin"}`, "//", "\ufeff", "\u00a0", "\u2028"} {
		add(13, token.ErrMalformed, short(fmt.Sprintf("%q after the claims", after)), func(k *kit) string { return k.raw(k.header(), payload()+after) })
		add(13, token.ErrMalformed, short(fmt.Sprintf("%q after the header", after)), func(k *kit) string { return k.raw(k.header()+after, payload()) })
	}
	for _, instead := range []string{"null", "[]", `"x"`, "42", "true", "{", "}", "{}", "{,}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{'a':1}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":tru}`, `{"a":nul`, `{"a":"`, `{"a":"\`, `{"a":"\u00`, `{"a`, " ", "\ufeff{}"} {
		add(13, token.ErrMalformed, "claims "+instead, func(k *kit) string { return k.raw(k.header(), instead) })
		why := token.ErrMalformed
		if instead == "{}" {
			why = token.ErrKey
		}
		add(13, why, "header "+instead, func(k *kit) string { return k.raw(instead, payload()) })
	}
	add(13, token.ErrMalformed, "a byte order mark before the claims", func(k *kit) string { return k.raw(k.header(), "\ufeff"+payload()) })
	add(13, token.ErrMalformed, "empty claims", func(k *kit) string { return k.raw(k.header(), "") })
	add(13, token.ErrMalformed, "an empty header", func(k *kit) string { return k.raw("", payload()) })
	add(13, token.ErrMalformed, "an array around the claims", func(k *kit) string { return k.raw(k.header(), "["+payload()+"]") })

	// Row 14: what is not text, or starts a new line in somebody's log.
	for _, bad := range []string{"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x00", "\x01", "\n", "\r", "\t", "\x1b[2J",
		`\u0000`, `\u0007`, `\n`, `\r\n`, `\u001b`, `\u007f`, `\u0085`, `\u009f`, "\x7f", "\u0085", `\ud800`, `\udc00`, `\ud800\ud800`, `\ud800x`, `\udc00\ud800`, `\uD83D\u0041`, `\x41`, `\u00g0`, `\u 041`} {
		for _, member := range []string{"sub", "jti", "client_id", "sid", "tenant", "scope"} {
			claim(14, token.ErrMalformed, member, quoted("a"+bad+"b"))
		}
		claim(14, token.ErrMalformed, "roles", `["a`+bad+`"]`)
		claim(14, token.ErrMalformed, "amr", `["pwd","`+bad+`"]`)
		header(14, token.ErrMalformed, "kid", quoted("a"+bad))
	}
	for _, bad := range []string{"\xff", "\xc0\x80", "\xed\xa0\x80", "\x00", "\n", `\ud800`} {
		claim(14, token.ErrMalformed, "unknown", quoted(bad), `{"in":[`+quoted(bad)+`]}`)
		claim(14, token.ErrMalformed, "na"+bad+"me", `1`)
		header(14, token.ErrMalformed, "unknown", quoted(bad))
	}
	for _, member := range []string{"sub", "jti", "client_id", "sid", "tenant"} {
		claim(14, token.ErrMalformed, member, `""`, `null`, `1`, `true`, `["a"]`, `{}`)
	}
	for _, member := range []string{"sub", "jti", "client_id"} {
		claim(14, token.ErrMalformed, member, "")
	}
	claim(14, token.ErrMalformed, "roles", `"admin"`, `[1]`, `[null]`, `[""]`, `[["a"]]`, `{}`, `null`)

	// Row 15: size and depth.
	add(15, token.ErrMalformed, "depth 9", func(k *kit) string { return k.token("x", strings.Repeat("[", 8)+strings.Repeat("]", 8)) })
	add(15, token.ErrMalformed, "depth 9 of objects", func(k *kit) string {
		return k.token("x", strings.Repeat(`{"a":`, 8)+"1"+strings.Repeat("}", 8))
	})
	add(15, token.ErrMalformed, "depth 9 in the header", func(k *kit) string { return k.headed("x", strings.Repeat("[", 8)+strings.Repeat("]", 8)) })
	add(15, token.ErrMalformed, "depth 300 in the header", func(k *kit) string { return k.headed("x", strings.Repeat("[", 300)+strings.Repeat("]", 300)) })
	add(15, token.ErrMalformed, "depth 2500", func(k *kit) string { return k.token("x", strings.Repeat("[", 2500)+strings.Repeat("]", 2500)) })
	add(15, token.ErrMalformed, "depth 9000", func(k *kit) string { return k.token("x", strings.Repeat("[", 9000)+strings.Repeat("]", 9000)) })
	add(15, token.ErrMalformed, "depth 9000, never closed", func(k *kit) string { return k.token("x", strings.Repeat("[", 9000)) })
	add(15, token.ErrMalformed, "65 members", func(k *kit) string { return k.token(members(65 - 7)...) })
	add(15, token.ErrMalformed, "65 members in an object within", func(k *kit) string { return k.token("x", jsonObject(nil, members(65))) })
	add(15, token.ErrMalformed, "65 members in the header", func(k *kit) string { return k.headed(members(65 - 3)...) })
	add(15, token.ErrMalformed, "100000 members", func(k *kit) string { return k.token("x", "{"+strings.Repeat(`"a":0,`, 100000)+`"b":0}`) })
	add(15, token.ErrMalformed, "4 MiB", func(k *kit) string { return k.token("x", quoted(strings.Repeat("x", 4<<20))) })
	add(15, token.ErrMalformed, "a million dots", func(*kit) string { return strings.Repeat(".", 1e6) })
	add(15, token.ErrMalformed, "eight thousand dots", func(*kit) string { return strings.Repeat(".", 8000) })
	add(15, token.ErrMalformed, "a header too long by a little, signed", func(k *kit) string {
		return k.headed("pad", quoted(strings.Repeat("x", 772-len(k.header("pad", `""`)))))
	})
	add(15, token.ErrMalformed, "too long by a little, signed", func(k *kit) string {
		return k.token("x", quoted(strings.Repeat("x", (8192-len(k.token("x", `""`)))*3/4+3)))
	})
	for _, s := range []string{"", ".", "..", "...", "a", "a.", ".a", "a.b", "a.b.", ".b.c", "a..c", "..c", "a.b.c.d", "....", "e30.e30.e30", "e30.e30.e30.e30.e30", "Bearer"} {
		add(15, token.ErrInvalid, "the token "+s, func(*kit) string { return s })
	}

	// Row 16: dates that are none.
	for _, member := range []string{"exp", "iat", "nbf", "auth_time"} {
		claim(16, token.ErrMalformed, member, `null`, `0`, `-1`, `-0`, `0.0`, `0.5`, `-946684800`, `"946685700"`, `"123"`, `"never"`, `""`, `true`, `false`,
			`1e18`, `1e300`, `1e400`, `1E400`, `1e-400`, `-1e18`, `0946685700`, `00`, `9466857000000000`, `253402300800`, `99999999999999999999`, `9223372036854775807`, `9223372036854775808`, `1`+strings.Repeat("0", 400),
			`+946685700`, `.5`, `946685700.`, `0x386d4380`, `946_685_700`, `NaN`, `Infinity`, `1e`, `1e+`, `-`, `946685700 1`, `{}`, `[]`, `[946685700]`, `{"a":1}`)
	}
	claim(16, token.ErrMalformed, "exp", "")
	claim(16, token.ErrMalformed, "iat", "")

	// Row 17: not yet, no longer, too long.
	for _, c := range []struct {
		name, member string
		seconds      int64
		why          error
	}{
		{"nbf beyond leeway", "nbf", 31, token.ErrTooEarly},
		{"nbf far away", "nbf", 1e9, token.ErrTooEarly},
		{"iat beyond leeway", "iat", 31, token.ErrTooEarly},
		{"iat far away", "iat", 1e9, token.ErrTooEarly},
		{"exp now", "exp", 0, token.ErrExpired},
		{"exp a second ago", "exp", -1, token.ErrExpired},
		{"exp long ago", "exp", -9e8, token.ErrExpired},
		{"lifetime a second over the cap", "exp", 86401, token.ErrLifetime},
		{"lifetime of centuries", "exp", 2e11, token.ErrLifetime},
	} {
		add(17, c.why, c.name, func(k *kit) string { return k.token(c.member, later(c.seconds)) })
	}
	add(17, token.ErrExpired, "exp a fraction of a second ago", func(k *kit) string { return k.token("exp", later(-1)+".999999999") })
	add(17, token.ErrTooEarly, "iat a fraction beyond leeway", func(k *kit) string { return k.token("iat", later(30)+".000001") })
	add(17, token.ErrLifetime, "a lifetime beyond time.Duration", func(k *kit) string { return k.token("iat", "1", "exp", "253402300799") })

	// Row 18: for somebody else, from somebody else.
	claim(18, token.ErrAudience, "aud", `"https://api.example.com/"`, `"https://api.example.co"`, `"https://api.example.com.evil.example"`, `"HTTPS://API.EXAMPLE.COM"`, `"https://API.example.com"`,
		`"api.example.com"`, `"*"`, `" https://api.example.com"`, `"https://auth.example.com"`, `[]`, `["https://other.example"]`, `["https://api.example.com/","https://api.example.co"]`, "")
	claim(18, token.ErrMalformed, "aud", `""`, `null`, `{}`, `{"https://api.example.com":true}`, `1`, `true`, `[null]`, `["https://api.example.com",1]`, `[["https://api.example.com"]]`, `[""]`, `["https://api.example.com",""]`)
	claim(18, token.ErrIssuer, "iss", `"https://auth.example.com/"`, `"https://auth.example.co"`, `"https://AUTH.example.com"`, `"http://auth.example.com"`, `"https://auth.example.com "`, `"auth.example.com"`, "")
	claim(18, token.ErrMalformed, "iss", `""`, `null`, `["https://auth.example.com"]`, `{}`, `1`, `"https://auth.example.com\u0000"`)

	// Row 19: made for something else.
	header(19, token.ErrType, "typ", `"rt+jwt"`, `"JWT"`, `"jwt"`, `"dpop+jwt"`, `"logout+jwt"`, `"mfa+jwt"`, `"secevent+jwt"`, `"oauth-authz-req+jwt"`, `"at+JWT"`, `"AT+JWT"`, `"At+jwt"`,
		`"at+jwt "`, `" at+jwt"`, `"application/at+jwt;v=1"`, `"Application/at+jwt"`, `"application/application/at+jwt"`, `"application/rt+jwt"`, `"application/"`, `"at"`, `"id_token"`, "")
	header(19, token.ErrMalformed, "typ", `null`, `""`, `["at+jwt"]`, `{}`, `1`, `"at+jwt\u0000"`)
	add(19, token.ErrType, "an ID token of OpenID Connect", func(k *kit) string {
		return k.raw(k.header("typ", `"JWT"`), payload("nonce", `"n"`, "azp", `"first-party"`, "at_hash", `"x"`))
	})

	// Row 21: other serialisations, encrypted and nested tokens.
	add(21, token.ErrMalformed, "the flattened JSON serialisation", func(k *kit) string {
		p := strings.Split(k.token(), ".")
		return `{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`
	})
	add(21, token.ErrMalformed, "the general JSON serialisation", func(k *kit) string {
		p := strings.Split(k.token(), ".")
		return `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] + `","signature":"` + p[2] + `"}]}`
	})
	add(21, token.ErrMalformed, "five parts", func(k *kit) string { return k.token() + ".AAAA.AAAA" })
	add(21, token.ErrMalformed, "four parts", func(k *kit) string { return k.token() + "." })
	header(21, token.ErrMalformed, "enc", `"A256GCM"`, `null`)
	header(21, token.ErrMalformed, "cty", `"JWT"`, `"jwt"`, `""`)
	add(21, token.ErrMalformed, "a token within, bare", func(k *kit) string { return k.raw(k.header(), k.token()) })
	add(21, token.ErrMalformed, "a token within, quoted", func(k *kit) string { return k.raw(k.header(), quoted(k.token())) })
	add(21, token.ErrAlgorithm, "alg dir", func(k *kit) string { return k.headed("alg", `"dir"`) })

	// Row 35: a scope that breaks out of the challenge, or hides another.
	claim(35, token.ErrMalformed, "scope", `"a\" , error=x"`, `"a\\"`, `"read:items\twrite:items"`, "\"a\tb\"", `"a  b"`, `" a"`, `"a "`, `" "`, `"a\nb"`, `"ä"`, `"a\u00a0b"`, `"a\u007f"`, `["a","b"]`, `1`, `null`, `{}`)
	return all
}

func unsigned(s string) string { return s[:strings.LastIndexByte(s, '.')] }

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 32
		case 'A' <= r && r <= 'Z':
			return r + 32
		}
		return r
	}, s)
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// withBits sets some of the bits that the last character of s leaves unused.
func withBits(s string, bits int) string {
	i := strings.IndexByte(alphabet, s[len(s)-1])
	if i&bits != 0 {
		panic("the bits are used")
	}
	return s[:len(s)-1] + alphabet[i|bits:i|bits+1]
}

// short makes a name for a subtest.
func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%s… %d bytes", s[:32], len(s))
	}
	if s == "" {
		return "left out"
	}
	return s
}

func TestRow2PublicKeyAsSecret(t *testing.T) {
	for _, alg := range []token.Algorithm{token.ES256, token.RS256, token.PS256, token.EdDSA} {
		k := kits()[alg]
		public := k.key.Signer.Public()
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		asPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		secrets := map[string]string{
			"DER":                 string(der),
			"PEM":                 asPEM,
			"PEM without newline": strings.TrimSuffix(asPEM, "\n"),
			"PEM with CR LF":      strings.ReplaceAll(asPEM, "\n", "\r\n"),
			"PEM and a newline":   asPEM + "\n",
			"DER, base64":         b64(der),
			"JWK Set":             serveJWKS(t, k.ring, get()).Body.String(),
			"kid":                 k.kid,
			"nothing":             "",
			"a NUL":               "\x00",
			"hexadecimal of DER":  hex.EncodeToString(der),
			"PEM body":            strings.Join(strings.Split(asPEM, "\n")[1:], ""),
		}
		set := secrets["JWK Set"]
		secrets["JWK"] = strings.TrimSuffix(strings.TrimPrefix(set, `{"keys":[`), "]}")
		switch public := public.(type) {
		case *rsa.PublicKey:
			pkcs1 := x509.MarshalPKCS1PublicKey(public)
			secrets["PKCS #1 DER"] = string(pkcs1)
			secrets["PKCS #1 PEM"] = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}))
			secrets["modulus"] = string(public.N.Bytes())
		case ed25519.PublicKey:
			secrets["raw"] = string(public)
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			secrets["point"] = string(point)
		}
		for name, secret := range secrets {
			for _, claimed := range []string{"HS256", string(alg)} {
				t.Run(fmt.Sprintf("%s/row 2/%s as the secret of alg %s", alg, name, claimed), func(t *testing.T) {
					input := b64(k.header("alg", quoted(claimed))) + "." + b64(payload())
					why := token.ErrAlgorithm
					if claimed == string(alg) {
						why = token.ErrSignature
					}
					wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+input+"."+b64(mac(secret, input)))), why)
				})
			}
		}
		t.Run(fmt.Sprintf("%s/row 2/PEM given as Key.Secret", alg), func(t *testing.T) {
			_, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: []byte("\n" + asPEM)})
			if err == nil || !strings.Contains(err.Error(), "PEM") {
				t.Errorf("NewKeyring = %v, want an error about PEM", err)
			}
		})
	}
}

func TestRow3DegenerateECDSA(t *testing.T) {
	k := kits()[token.ES256]
	n := elliptic.P256().Params().N
	v := newVerifier(t, k.ring)
	input := unsigned(k.token())
	good := k.sign(input)
	r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	zero, one := new(big.Int), big.NewInt(1)
	minus, plus := new(big.Int).Sub(n, one), new(big.Int).Add(n, one)
	wide := func(r, s *big.Int, width int) []byte {
		out := make([]byte, 2*width)
		r.FillBytes(out[:width])
		s.FillBytes(out[width:])
		return out
	}
	cases := map[string][]byte{
		"all zero":                       make([]byte, 64),
		"all ones":                       bytes.Repeat([]byte{0xff}, 64),
		"DER":                            der,
		"empty DER":                      {0x30, 0x06, 2, 1, 0, 2, 1, 0},
		"a byte too few":                 good[:63],
		"a byte too many":                append(bytes.Clone(good), 0),
		"a byte before":                  append([]byte{0}, good...),
		"half":                           good[:32],
		"twice":                          append(bytes.Clone(good), good...),
		"the width of ES384":             wide(r, s, 48),
		"the width of ES512":             wide(r, s, 66),
		"r and s swapped":                join(s, r),
		"r plus n, in 33 bytes":          wide(new(big.Int).Add(r, n), s, 33),
		"s plus n, in 33 bytes":          wide(r, new(big.Int).Add(s, n), 33),
		"one byte":                       {0},
		"64 KiB of zeros cut to 4 KiB":   make([]byte, 4096),
		"a signature over the digest":    k.sign(string(digest(input))),
		"a signature of another message": k.sign(input + "x"),
	}
	for name, odd := range map[string]*big.Int{"0": zero, "1": one, "n": n, "n-1": minus, "n+1": plus} {
		cases["r = "+name] = join(odd, s)
		cases["s = "+name] = join(r, odd)
		cases["r = s = "+name] = join(odd, odd)
	}
	for name, signature := range cases {
		t.Run("row 3/"+name, func(t *testing.T) {
			wantRefused(t, serve(v, get("Bearer "+input+"."+b64(signature))), token.ErrSignature)
		})
	}
}

func TestRow4TwinSignature(t *testing.T) {
	k := kits()[token.ES256]
	var asked []string
	revoked := map[string]bool{}
	v := newVerifier(t, k.ring, func(c *token.Config) {
		c.Revoker = revoker(func(p *identity.Principal) (bool, error) {
			asked = append(asked, p.Credential)
			return revoked[p.Credential], nil
		})
	})
	first := k.token()
	signature, err := decode(first[strings.LastIndexByte(first, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s)
	twin := unsigned(first) + "." + b64(join(new(big.Int).SetBytes(signature[:32]), s))
	if twin == first {
		t.Fatal("the twin is the token")
	}
	a, b := serve(v, get("Bearer "+first)), serve(v, get("Bearer "+twin))
	wantAccepted(t, a)
	wantAccepted(t, b)
	if a.principal.Credential != b.principal.Credential || len(asked) != 2 || asked[0] != asked[1] {
		t.Errorf("credentials %q and %q, revoker asked about %q; want the same", a.principal.Credential, b.principal.Credential, asked)
	}
	revoked[a.principal.Credential] = true
	for _, s := range []string{first, twin} {
		if o := serve(v, get("Bearer "+s)); o.ran || o.status != 401 {
			t.Errorf("after the revocation: ran %v, %d; want 401", o.ran, o.status)
		}
	}
}

func TestRow5RSAPadding(t *testing.T) {
	t.Run("row 5/PSS", func(t *testing.T) {
		for _, alg := range []token.Algorithm{token.PS256, token.RS256} {
			k := kits()[alg]
			private := k.key.Signer.(*rsa.PrivateKey)
			v := newVerifier(t, k.ring)
			input := unsigned(k.token())
			for _, salt := range []int{1, 20, 31, 32, 33, 48, 64, 222} {
				signature, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest(input), &rsa.PSSOptions{SaltLength: salt})
				if err != nil {
					t.Fatal(err)
				}
				o := serve(v, get("Bearer "+input+"."+b64(signature)))
				if alg == token.PS256 && salt == 32 {
					wantAccepted(t, o)
					continue
				}
				wantRefused(t, o, token.ErrSignature)
			}
		}
		k := kits()[token.PS256]
		input := unsigned(k.token())
		pkcs1, err := rsa.SignPKCS1v15(nil, k.key.Signer.(*rsa.PrivateKey), crypto.SHA256, digest(input))
		if err != nil {
			t.Fatal(err)
		}
		wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+input+"."+b64(pkcs1))), token.ErrSignature)
	})

	k := kits()[token.RS256]
	private := k.key.Signer.(*rsa.PrivateKey)
	v := newVerifier(t, k.ring)
	input := unsigned(k.token())
	hash := digest(input)
	info := append(unhex("3031300d060960864801650304020105000420"), hash...) // RFC 8017 section 9.2
	sum1 := sha1.Sum([]byte(input))
	// pad is EMSA-PKCS1-v1_5 of 256 bytes with ff bytes of f, and rest after
	// the separator.
	pad := func(first, kind, f byte, ff int, rest ...byte) []byte {
		em := append([]byte{first, kind}, bytes.Repeat([]byte{f}, ff)...)
		return append(append(em, 0), rest...)
	}
	power := func(em []byte) []byte {
		s := new(big.Int).Exp(new(big.Int).SetBytes(em), private.D, private.N)
		return s.FillBytes(make([]byte, 256))
	}
	full := 256 - 3 - len(info)
	good := power(pad(0, 1, 0xff, full, info...))
	wantAccepted(t, serve(v, get("Bearer "+input+"."+b64(good))))
	noNull := append(unhex("302f300b0609608648016503040201"+"0420"), hash...)
	longForm := append(unhex("308131300d060960864801650304020105000420"), hash...)
	sha1Info := append(unhex("3021300906052b0e03021a05000414"), sum1[:]...)
	sha512Info := append(unhex("3051300d060960864801650304020305000440"), append(hash, hash...)...)
	md := func(info []byte) []byte { return power(pad(0, 1, 0xff, 256-3-len(info), info...)) }
	for name, signature := range map[string][]byte{
		"short padding and garbage behind":     power(append(pad(0, 1, 0xff, 8, info...), make([]byte, full-8)...)),
		"no padding and garbage behind":        power(append(pad(0, 1, 0xff, 0, info...), make([]byte, full)...)),
		"garbage within the padding":           power(append(append([]byte{0, 1}, bytes.Repeat([]byte{0xfe}, full)...), append([]byte{0}, info...)...)),
		"block type 2":                         power(pad(0, 2, 0xff, full, info...)),
		"block type 0":                         power(pad(0, 0, 0, full, info...)),
		"padding of zeros":                     power(pad(0, 1, 0, full, info...)),
		"DigestInfo without NULL":              md(noNull),
		"DigestInfo with a long-form length":   md(longForm),
		"DigestInfo of SHA-1":                  md(sha1Info),
		"DigestInfo of SHA-512":                md(sha512Info),
		"the bare hash":                        md(hash),
		"another hash":                         md(append(bytes.Clone(info[:19]), digest("x")...)),
		"all of it zero":                       make([]byte, 256),
		"one":                                  append(make([]byte, 255), 1),
		"the modulus":                          private.N.Bytes(),
		"the modulus less one":                 new(big.Int).Sub(private.N, big.NewInt(1)).Bytes(),
		"a zero before":                        append([]byte{0}, good...),
		"a zero behind":                        append(bytes.Clone(good), 0),
		"the last byte missing":                good[:255],
		"the signature plus the modulus":       new(big.Int).Add(new(big.Int).SetBytes(good), private.N).Bytes(),
		"the negative":                         new(big.Int).Sub(private.N, new(big.Int).SetBytes(good)).FillBytes(make([]byte, 256)),
		"the padded hash, raised to no power":  pad(0, 1, 0xff, full, info...),
		"a signature of a key of another size": make([]byte, 512),
	} {
		t.Run("row 5/PKCS #1/"+name, func(t *testing.T) {
			wantRefused(t, serve(v, get("Bearer "+input+"."+b64(signature))), token.ErrSignature)
		})
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestRow6AnotherKeysID(t *testing.T) {
	a, b := newKit(mustKey(t, token.ES256)), newKit(mustKey(t, token.ES256))
	ring, err := token.NewKeyring(a.key, b.key)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, ring)
	wantAccepted(t, serve(v, get("Bearer "+a.token())))
	wantAccepted(t, serve(v, get("Bearer "+b.token())))
	wantRefused(t, serve(v, get("Bearer "+a.headed("kid", quoted(b.kid)))), token.ErrSignature)
}

func TestRow7NothingIsFetched(t *testing.T) {
	var calls atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
	}))
	defer evil.Close()
	for _, alg := range everyday {
		mine := kits()[alg]
		theirs := newKit(mustKey(t, token.ES256))
		v := newVerifier(t, mine.ring)
		for name, s := range map[string]string{
			"jku, right signature":  mine.headed("jku", quoted(evil.URL)),
			"x5u, right signature":  mine.headed("x5u", quoted(evil.URL)),
			"jku, their signature":  theirs.headed("jku", quoted(evil.URL)),
			"jwk, their signature":  theirs.headed("jwk", strings.TrimSuffix(strings.TrimPrefix(serveJWKS(t, theirs.ring, get()).Body.String(), `{"keys":[`), "]}")),
			"kid that is a URL":     theirs.headed("kid", quoted(evil.URL)),
			"iss that is their URL": mine.token("iss", quoted(evil.URL)),
		} {
			t.Run(fmt.Sprintf("%s/row 7/%s", alg, name), func(t *testing.T) {
				wantRefused(t, serve(v, get("Bearer "+s)), token.ErrInvalid)
			})
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests were made, want none", n)
	}
}

func TestRow19RefreshAndAccess(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		access := newVerifier(t, k.ring)
		refresh := newVerifier(t, k.ring, func(c *token.Config) { c.Type = token.TypeRefresh })
		a, r := k.token(), k.headed("typ", `"rt+jwt"`)
		wantAccepted(t, serve(access, get("Bearer "+a)))
		wantAccepted(t, serve(refresh, get("Bearer "+r)))
		wantRefused(t, serve(access, get("Bearer "+r)), token.ErrType)
		wantRefused(t, serve(refresh, get("Bearer "+a)), token.ErrType)
		// Nor does what one of them remembers of headers help the other.
		wantRefused(t, serve(access, get("Bearer "+r)), token.ErrType)
	}
}

func TestRow20KeysThatAreNone(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	strong := kits()[token.RS256].key.Signer.(*rsa.PrivateKey)
	withE := func(e int) *rsa.PublicKey { return &rsa.PublicKey{N: strong.N, E: e} }
	p256 := kits()[token.ES256].key.Signer.(*ecdsa.PrivateKey)
	ed := kits()[token.EdDSA].key.Signer.(ed25519.PrivateKey)
	short := ed[:32]
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  token.Key
		want string
	}{
		"the zero Key":                        {token.Key{}, "Algorithm"},
		"only an algorithm":                   {token.Key{Algorithm: token.HS256}, "0 of"},
		"only an algorithm, public":           {token.Key{Algorithm: token.ES256}, "0 of"},
		"alg none":                            {token.Key{Algorithm: "none", Secret: make([]byte, 32)}, `"none"`},
		"an algorithm in lower case":          {token.Key{Algorithm: "hs256", Secret: make([]byte, 32)}, `"hs256"`},
		"an empty secret":                     {token.Key{Algorithm: token.HS256, Secret: []byte{}}, "0 bytes"},
		"a short secret for HS256":            {token.Key{Algorithm: token.HS256, Secret: random(31)}, "31 bytes"},
		"a short secret for HS384":            {token.Key{Algorithm: token.HS384, Secret: random(47)}, "47 bytes"},
		"a short secret for HS512":            {token.Key{Algorithm: token.HS512, Secret: random(63)}, "63 bytes"},
		"a secret of zeros":                   {token.Key{Algorithm: token.HS256, Secret: make([]byte, 32)}, "zeros"},
		"a PEM file as secret":                {token.Key{Algorithm: token.HS256, Secret: []byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYI\n")}, "PEM"},
		"a secret for ES256":                  {token.Key{Algorithm: token.ES256, Secret: random(32)}, "Signer or Public"},
		"a signer for HS256":                  {token.Key{Algorithm: token.HS256, Signer: p256}, "needs Secret"},
		"a signer and its public half":        {token.Key{Algorithm: token.ES256, Signer: p256, Public: p256.Public()}, "2 of"},
		"all three":                           {token.Key{Algorithm: token.ES256, Secret: random(32), Signer: p256, Public: p256.Public()}, "3 of"},
		"RSA of 1024 bits":                    {token.Key{Algorithm: token.RS256, Signer: weak}, "1024 bits"},
		"RSA of 1024 bits, public":            {token.Key{Algorithm: token.PS256, Public: &weak.PublicKey}, "1024 bits"},
		"RSA of 16385 bits":                   {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 16384), big.NewInt(1)), E: 3}}, "16385 bits"},
		"RSA with e = 1":                      {token.Key{Algorithm: token.RS256, Public: withE(1)}, "exponent 1,"},
		"RSA with e = 0":                      {token.Key{Algorithm: token.RS256, Public: withE(0)}, "exponent 0,"},
		"RSA with e = 2":                      {token.Key{Algorithm: token.RS256, Public: withE(2)}, "exponent 2,"},
		"RSA with e = -1":                     {token.Key{Algorithm: token.RS256, Public: withE(-1)}, "exponent -1,"},
		"RSA with e = 65536":                  {token.Key{Algorithm: token.RS256, Public: withE(65536)}, "exponent 65536,"},
		"RSA with e = 2^31+1":                 {token.Key{Algorithm: token.RS256, Public: withE(1<<31 + 1)}, "exponent 2147483649,"},
		"RSA without a modulus":               {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{E: 3}}, "modulus"},
		"RSA with a negative modulus":         {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: new(big.Int).Neg(strong.N), E: 3}}, "modulus"},
		"RSA with an even modulus":            {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: new(big.Int).Add(strong.N, big.NewInt(1)), E: 3}}, "modulus"},
		"RSA without the private exponent":    {token.Key{Algorithm: token.RS256, Signer: &rsa.PrivateKey{PublicKey: strong.PublicKey}}, "incomplete"},
		"an empty RSA key":                    {token.Key{Algorithm: token.RS256, Signer: &rsa.PrivateKey{}}, "incomplete"},
		"a nil RSA key":                       {token.Key{Algorithm: token.RS256, Signer: (*rsa.PrivateKey)(nil)}, "nil *rsa.PrivateKey"},
		"a nil public RSA key":                {token.Key{Algorithm: token.RS256, Public: (*rsa.PublicKey)(nil)}, "nil *rsa.PublicKey"},
		"RSA for ES256":                       {token.Key{Algorithm: token.ES256, Signer: strong}, "RSA key"},
		"P-256 for ES384":                     {token.Key{Algorithm: token.ES384, Signer: p256}, "P-384"},
		"P-256 for ES512":                     {token.Key{Algorithm: token.ES512, Signer: p256}, "P-521"},
		"P-256 for RS256":                     {token.Key{Algorithm: token.RS256, Signer: p256}, "ECDSA key"},
		"P-224 for ES256":                     {token.Key{Algorithm: token.ES256, Signer: p224}, "P-256"},
		"an empty ECDSA key":                  {token.Key{Algorithm: token.ES256, Signer: &ecdsa.PrivateKey{}}, "incomplete"},
		"ECDSA without the private scalar":    {token.Key{Algorithm: token.ES256, Signer: &ecdsa.PrivateKey{PublicKey: p256.PublicKey}}, "incomplete"},
		"a nil ECDSA key":                     {token.Key{Algorithm: token.ES256, Signer: (*ecdsa.PrivateKey)(nil)}, "nil *ecdsa.PrivateKey"},
		"an empty public ECDSA key":           {token.Key{Algorithm: token.ES256, Public: &ecdsa.PublicKey{}}, "incomplete"},
		"a public ECDSA key without a point":  {token.Key{Algorithm: token.ES256, Public: &ecdsa.PublicKey{Curve: elliptic.P256()}}, "incomplete"},
		"a nil public ECDSA key":              {token.Key{Algorithm: token.ES256, Public: (*ecdsa.PublicKey)(nil)}, "nil *ecdsa.PublicKey"},
		"Ed25519 for ES256":                   {token.Key{Algorithm: token.ES256, Signer: ed}, "Ed25519 key"},
		"P-256 for EdDSA":                     {token.Key{Algorithm: token.EdDSA, Signer: p256}, "ECDSA key"},
		"an Ed25519 seed for a key":           {token.Key{Algorithm: token.EdDSA, Signer: short}, "32 bytes"},
		"a nil Ed25519 key":                   {token.Key{Algorithm: token.EdDSA, Signer: ed25519.PrivateKey(nil)}, "0 bytes"},
		"a nil pointer to an Ed25519 key":     {token.Key{Algorithm: token.EdDSA, Signer: (*ed25519.PrivateKey)(nil)}, "nil *ed25519.PrivateKey"},
		"a pointer to an Ed25519 seed":        {token.Key{Algorithm: token.EdDSA, Signer: &short}, "32 bytes"},
		"Ed25519 of zeros":                    {token.Key{Algorithm: token.EdDSA, Signer: make(ed25519.PrivateKey, 64)}, "small order"},
		"an empty public Ed25519 key":         {token.Key{Algorithm: token.EdDSA, Public: ed25519.PublicKey{}}, "0 bytes"},
		"a public Ed25519 key of zeros":       {token.Key{Algorithm: token.EdDSA, Public: make(ed25519.PublicKey, 32)}, "small order"},
		"a private key as the public one":     {token.Key{Algorithm: token.ES256, Public: p256}, "*ecdsa.PrivateKey"},
		"bytes as the public key":             {token.Key{Algorithm: token.EdDSA, Public: []byte("x")}, "[]uint8"},
		"a signer without a public key":       {token.Key{Algorithm: token.ES256, Signer: fakeSigner{}}, "Public() returns nil"},
		"a signer with an unknown public key": {token.Key{Algorithm: token.ES256, Signer: fakeSigner{public: 42}}, "int"},
	} {
		t.Run("row 20/"+name, func(t *testing.T) {
			ring, err := token.NewKeyring(c.key)
			if err == nil || ring != nil {
				t.Fatalf("NewKeyring = %v, %v; want an error", ring, err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "token: key 0: ") {
				t.Errorf("NewKeyring = %v, want token: key 0 and %q", err, c.want)
			}
		})
	}

	t.Run("row 20/all mistakes at once", func(t *testing.T) {
		good := kits()[token.HS256].key
		_, err := token.NewKeyring(good, token.Key{}, token.Key{Algorithm: token.HS256, Secret: random(3)}, good,
			token.Key{Algorithm: token.HS512, Secret: append(good.Secret, random(32)...)},
			token.Key{Algorithm: token.RS256, Public: withE(1)})
		for _, want := range []string{"key 1:", "key 2:", "key 3: the same key material", "key 5:"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("NewKeyring = %v, want it to mention %q", err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "key 4:") {
			t.Errorf("NewKeyring = %v, which blames a good key", err)
		}
	})
	t.Run("row 20/one key for two algorithms", func(t *testing.T) {
		if _, err := token.NewKeyring(token.Key{Algorithm: token.RS256, Signer: strong}, token.Key{Algorithm: token.PS256, Public: &strong.PublicKey}); err == nil {
			t.Error("NewKeyring took it")
		}
	})
	t.Run("row 20/no key", func(t *testing.T) {
		if _, err := token.NewKeyring(); err == nil {
			t.Error("NewKeyring took it")
		}
	})
	t.Run("row 20/a ring that only verifies, given to NewIssuer", func(t *testing.T) {
		ring, err := token.NewKeyring(token.Key{Algorithm: token.ES256, Public: p256.Public()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = token.NewIssuer(ring, token.IssuerConfig{})
		for _, want := range []string{"no key that can sign", "IssuerConfig.Issuer", "IssuerConfig.Audience"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("NewIssuer = %v, want it to mention %q", err, want)
			}
		}
	})
}

// TestSmallOrderIsForgeable shows why such keys are refused: a signature that
// needs no private key is good under them.
func TestSmallOrderIsForgeable(t *testing.T) {
	zero := make(ed25519.PublicKey, 32)              // of order 4
	forged := append([]byte{1}, make([]byte, 63)...) // R the neutral element, S zero
	for i := range 64 {
		if ed25519.Verify(zero, fmt.Appendf(nil, "attempt %d", i), forged) {
			return
		}
	}
	t.Error("crypto/ed25519 does not take it any more: the check can go")
}

func TestRow22TwoTokens(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		v := newVerifier(t, k.ring)
		good := k.token()
		form := func(contentType, body string) *http.Request {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+good)
			r.Header.Set("Content-Type", contentType)
			return r
		}
		query := func(q string) *http.Request {
			r := get("Bearer " + good)
			r.URL.RawQuery = q
			return r
		}
		parsed := form("application/x-www-form-urlencoded", "access_token=x")
		parsed.ParseForm()
		const urlencoded = "application/x-www-form-urlencoded"
		for name, r := range map[string]*http.Request{
			"two Authorization headers":              get("Bearer "+good, "Bearer "+good),
			"Basic and Bearer":                       get("Basic YTpi", "Bearer "+good),
			"Bearer and Basic":                       get("Bearer "+good, "Basic YTpi"),
			"Bearer and an empty one":                get("Bearer "+good, ""),
			"header and form":                        form(urlencoded, "access_token="+good),
			"header and form, another token":         form(urlencoded, "a=b&access_token=x"),
			"header and form, empty":                 form(urlencoded, "access_token="),
			"header and form, without a value":       form(urlencoded, "access_token"),
			"header and form, escaped":               form(urlencoded, "%61ccess%5Ftoken=x"),
			"header and form, with parameters":       form(urlencoded+"; charset=utf-8", "access_token=x"),
			"header and form, in capitals":           form("APPLICATION/X-WWW-FORM-URLENCODED ;x=y", "access_token=x"),
			"header and form, behind a semicolon":    form(urlencoded, "a=b;access_token=x"),
			"header and form, behind a bad escape":   form(urlencoded, "%zz=1&access_token=x"),
			"header and form, behind 20000 others":   form(urlencoded, strings.Repeat("a&", 20000)+"access_token=x"),
			"header and form, parsed by a middleman": parsed,
			"header and query":                       query("access_token=" + good),
			"header and query, empty":                query("access_token="),
			"header and query, second":               query("a=1&access_token"),
			"header and query, escaped":              query("acces%73_token=x"),
			"header and query, behind a semicolon":   query("a;access_token=x"),
			"header and query, behind 20000 others":  query(strings.Repeat("a&", 20000) + "access_token=x"),
		} {
			t.Run(fmt.Sprintf("%s/row 22/%s", alg, name), func(t *testing.T) { wantAmbiguous(t, serve(v, r)) })
		}
		for name, r := range map[string]*http.Request{
			"another parameter":             query("xaccess_token=1&access_token_x=2&q=access_token&Access_Token=3"),
			"escapes without a token":       query("q=%61%zz"),
			"a form without":                form(urlencoded, "note=access_token"),
			"JSON that mentions it":         form("application/json", `access_token=x`),
			"no body":                       form(urlencoded, ""),
			"a content type that is broken": form("application/x-www-form-urlencodedx; =", "access_token=x"),
		} {
			t.Run(fmt.Sprintf("%s/row 22/one token only, %s", alg, name), func(t *testing.T) { wantAccepted(t, serve(v, r)) })
		}
	}
}

func TestRow35ScopesAreExact(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		o := serve(newVerifier(t, k.ring), get("Bearer "+k.token("scope", `"Read:Items !#[]~"`)))
		wantAccepted(t, o)
		scopes := o.principal.Scopes
		if !scopes.HasAll("Read:Items", "!#[]~") || scopes.Has("read:items") || scopes.Len() != 2 {
			t.Errorf("scopes %q", scopes)
		}
	}
	// What a route demands is quoted in the challenge, once.
	c := guard.Challenge{Scheme: "Bearer", Scope: identity.NewSet(`a" , error=x`)}
	if got, want := c.String(), `Bearer scope="a\" , error=x"`; !strings.Contains(got, `a\"`) {
		t.Errorf("challenge %s, want %s", got, want)
	}
}

func TestRow36TokensElsewhereAreAbsent(t *testing.T) {
	for _, alg := range everyday {
		k := kits()[alg]
		v := newVerifier(t, k.ring)
		good := k.token()
		query := get()
		query.URL.RawQuery = "access_token=" + good
		cookie := get()
		cookie.AddCookie(&http.Cookie{Name: "access_token", Value: good})
		form := httptest.NewRequest("POST", "/", strings.NewReader("access_token="+good))
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		custom := get()
		custom.Header.Set("X-Access-Token", good)
		proxy := get()
		proxy.Header.Set("Proxy-Authorization", "Bearer "+good)
		for name, r := range map[string]*http.Request{
			"query": query, "cookie": cookie, "form": form, "another header": custom, "Proxy-Authorization": proxy,
			"no header": get(), "an empty header": get(""), "no scheme": get(good), "another scheme": get("DPoP " + good),
			"a longer scheme": get("BearerX " + good), "no space": get("Bearer" + good), "a colon": get("Bearer: " + good),
			"a shorter scheme": get("Bear " + good), "Basic": get("Basic YTpi"),
		} {
			t.Run(fmt.Sprintf("%s/row 36/%s", alg, name), func(t *testing.T) { wantAnonymous(t, serve(v, r)) })
			if _, err := v.Authenticate(r); err != guard.ErrNoCredentials {
				t.Errorf("%s: Authenticate = %v, want ErrNoCredentials", name, err)
			}
		}
	}
}

type revoker func(*identity.Principal) (bool, error)

func (f revoker) Revoked(_ context.Context, p *identity.Principal) (bool, error) { return f(p) }

// fakeSigner is a key management system on a bad day.
type fakeSigner struct {
	public    crypto.PublicKey
	signature []byte
	err       error
}

func (f fakeSigner) Public() crypto.PublicKey { return f.public }
func (f fakeSigner) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return f.signature, f.err
}
