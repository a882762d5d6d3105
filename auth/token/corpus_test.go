package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
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
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// This file is a list of attacks on bearer tokens that one or another library
// has fallen for, in numbered rows. Wherever it can be, the token has a right
// signature of the verifier's own key, so that nothing but strictness refuses
// it; and each is sent through the middleware.

// noSuch is in the place of a variant that an algorithm does not have.
const noSuch = "no such variant"

// A hostile is one variant of an attack. make is called in a bubble of its
// own, on 2000-01-01.
type hostile struct {
	row  int
	name string
	why  error
	make func(k *kit) string
}

// TestHostileTokensAreRejected runs every row with every algorithm: all its variants with one
// algorithm of each kind, and a third of them, not always the same, with those
// that differ from it in the hash or the curve only, for RSA takes its time.
func TestHostileTokensAreRejected(t *testing.T) {
	all, stride := corpus(), 3
	if raced {
		stride = 12
	}
	for n, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			k := kits()[alg]
			whole := slices.Contains(everyday, alg) || alg == token.PS256
			if raced {
				whole = alg == token.HS256
			}
			last := 0 // the row
			for i, h := range all {
				if !whole && (i+n)%stride != 0 && h.row == last {
					continue
				}
				last = h.row
				t.Run(fmt.Sprintf("row %d/%s", h.row, h.name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := h.make(k)
						if s == noSuch {
							return
						}
						v := newVerifier(t, k.ring)
						if p, err := v.Verify(t.Context(), s); !errors.Is(err, h.why) || p != nil {
							t.Errorf("Verify = %v, %v; want %v", p, err, h.why)
						}
						wantRefused(t, serve(v, get("Bearer "+s)), h.why)
					})
				})
			}
		})
	}
}

// TestTokensCloseToHostileOnesAreAccepted shows that the signer of this file makes good tokens, and
// that what the attacks are close to is let in.
func TestTokensCloseToHostileOnesAreAccepted(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		for name, make := range map[string]func() string{
			"a plain token":                   func() string { return k.token() },
			"row 13, space around the object": func() string { return k.raw(k.header(), " \t\r\n"+payload()+"\n") },
			"row 15, depth 2500":              func() string { return k.token("x", strings.Repeat("[", 2500)+strings.Repeat("]", 2500)) },
			"row 15, depth 300 in the header": func() string { return k.headed("x", strings.Repeat("[", 300)+strings.Repeat("]", 300)) },
			"row 15, 300 members":             func() string { return k.token(members(300)...) },
			"row 15, 300 members within":      func() string { return k.token("x", jsonObject(nil, members(300))) },
			"row 9, a member that is not read": func() string {
				return k.raw(`{"x":1,"x":2,`+k.header()[1:], `{"x":1,"x":2,"y":{"x":1,"x":1},`+payload()[1:])
			},
			"row 10, names that are not read": func() string {
				return k.token("email", "1", "Email", "2", "mask", "1", "ma\u017fk", "2", `\u0065mail`, "3", "x", `{"a":1,"A":2}`)
			},
			"row 14, a session that is null": func() string {
				return k.token("sid", "null", "tenant", "null", "roles", "null", "amr", "null", "scope", "null")
			},
			"row 14, a session that is empty":   func() string { return k.token("sid", `""`, "tenant", `""`) },
			"row 16, dates that are null":       func() string { return k.token("nbf", "null", "auth_time", "null") },
			"row 16, dates that are 0":          func() string { return k.token("nbf", "0", "auth_time", "0") },
			"row 16, dates that are empty":      func() string { return k.token("nbf", `""`, "auth_time", `""`) },
			"row 16, an exp with a fraction":    func() string { return k.token("exp", later(60)+".75") },
			"row 16, an exp with an exponent":   func() string { return k.token("exp", "9466851e2") },
			"row 17, nbf and iat within leeway": func() string { return k.token("nbf", later(29), "iat", later(30)) },
			"row 17, the longest lifetime":      func() string { return k.token("exp", later(86400)) },
			"row 18, several audiences":         func() string { return k.token("aud", `["https://other.example",`+quoted(audience)+`]`) },
			"row 19, the long spelling of typ":  func() string { return k.headed("typ", `"application/at+jwt"`) },
			"row 19, typ in another case":       func() string { return k.headed("typ", `"Application/At+JWT"`) },
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
	header(1, token.ErrAlgorithm, "alg", `"none"`, `"None"`, `"nOnE"`, `"NONE"`, `"none "`, "")
	for _, alg := range algorithms {
		add(1, token.ErrAlgorithm, "header alg "+string(alg)+" of another key", func(k *kit) string {
			if alg == k.key.Algorithm {
				return noSuch
			}
			return k.headed("alg", quoted(string(alg)))
		})
		header(1, token.ErrAlgorithm, "alg", quoted(swapCase(string(alg))))
	}
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
	// RFC 7797 section 7), compression.
	header(8, token.ErrMalformed, "crit", `["exp"]`, `["b64"]`, `["https://example.com/x"]`, `[]`, `null`, `"exp"`, `{}`, `[1]`)
	header(8, token.ErrMalformed, "b64", `false`, `true`, `null`)
	header(8, token.ErrMalformed, "zip", `"DEF"`)
	add(8, token.ErrMalformed, "b64 false, understood by crit", func(k *kit) string { return k.headed("b64", "false", "crit", `["b64"]`) })

	// Row 9: a member twice.
	for _, double := range []string{
		`"alg":"none",`, `"alg":"HS256",`, `"alg":"ES256",`, `"alg":"RS256",`, `"alg":"EdDSA",`,
		`"typ":"at+jwt",`, `"kid":"x",`,
	} {
		add(9, token.ErrMalformed, "header begins "+double, func(k *kit) string { return k.raw("{"+double+k.header()[1:], payload()) })
		add(9, token.ErrMalformed, "header ends "+double, func(k *kit) string {
			h := k.header()
			return k.raw(h[:len(h)-1]+","+strings.TrimSuffix(double, ",")+"}", payload())
		})
	}
	for _, double := range []string{
		`"exp":4102444800`, `"sub":"admin"`, `"iss":"https://auth.example.com"`, `"aud":"https://api.example.com"`, `"jti":"id-1"`,
		`"jti":"id-2"`, `"scope":"a","scope":"a b"`,
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
		add(12, token.ErrMalformed, fmt.Sprintf("trailing bits %d in the signature", bits), func(k *kit) string {
			s := k.token()
			if signature := s[strings.LastIndexByte(s, '.')+1:]; len(signature)%4 == 0 {
				return noSuch // it fills its last character
			}
			return withBits(s, bits)
		})
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
		claim(14, token.ErrMalformed, member, `1`, `true`, `["a"]`, `{}`)
	}
	for _, member := range []string{"sub", "jti", "client_id"} {
		claim(14, token.ErrMalformed, member, "", `""`, `null`)
	}
	claim(14, token.ErrMalformed, "roles", `"admin"`, `[1]`, `[null]`, `[""]`, `[["a"]]`, `{}`)

	// Row 15: size and depth.
	add(15, token.ErrMalformed, "depth 9000", func(k *kit) string { return k.token("x", strings.Repeat("[", 9000)+strings.Repeat("]", 9000)) })
	add(15, token.ErrMalformed, "depth 9000, never closed", func(k *kit) string { return k.token("x", strings.Repeat("[", 9000)) })
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
		claim(16, token.ErrMalformed, member, `-1`, `-0`, `0.5`, `-946684800`, `"946685700"`, `"123"`, `"never"`, `true`, `false`,
			`1e18`, `1e300`, `1e400`, `1E400`, `1e-400`, `-1e18`, `0946685700`, `00`, `9466857000000000`, `253402300800`, `99999999999999999999`, `9223372036854775807`, `9223372036854775808`, `1`+strings.Repeat("0", 400),
			`+946685700`, `.5`, `946685700.`, `0x386d4380`, `946_685_700`, `NaN`, `Infinity`, `1e`, `1e+`, `-`, `946685700 1`, `{}`, `[]`, `[946685700]`, `{"a":1}`)
	}
	for _, member := range []string{"exp", "iat"} {
		claim(16, token.ErrMalformed, member, "", `null`, `0`, `0.0`, `""`)
	}

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
	header(19, token.ErrType, "typ", `"rt+jwt"`, `"JWT"`, `"jwt"`, `"dpop+jwt"`, `"logout+jwt"`, `"mfa+jwt"`, `"secevent+jwt"`, `"oauth-authz-req+jwt"`, `"at+ſwt"`, `"rt+JWT"`,
		`"at+jwt "`, `" at+jwt"`, `"application/at+jwt;v=1"`, `"application/rt+JWT"`, `"applicationſat+jwt"`, `"application/application/at+jwt"`, `"application/rt+jwt"`, `"application/"`, `"at"`, `"id_token"`, "")
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
	claim(35, token.ErrMalformed, "scope", `"a\" , error=x"`, `"a\\"`, `"read:items\twrite:items"`, "\"a\tb\"", `"a  b"`, `" a"`, `"a "`, `" "`, `"a\nb"`, `"ä"`, `"a\u00a0b"`, `"a\u007f"`, `["a","b"]`, `1`, `{}`)
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

func TestPublicKeyIsNoSharedSecret(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		if k.key.Signer.IsZero() {
			continue
		}
		public := k.key.Signer.Unwrap().Public()
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
			for _, claimed := range []token.Algorithm{token.HS256, token.HS384, token.HS512, alg} {
				t.Run(fmt.Sprintf("%s/row 2/%s as the secret of alg %s", alg, name, claimed), func(t *testing.T) {
					input := b64(k.header("alg", quoted(string(claimed)))) + "." + b64(payload())
					why := token.ErrAlgorithm
					if claimed == alg {
						why = token.ErrSignature
					}
					h := hmac.New(hashOf(claimed).New, []byte(secret))
					io.WriteString(h, input)
					wantRefused(t, serve(newVerifier(t, k.ring), get("Bearer "+input+"."+b64(h.Sum(nil)))), why)
				})
			}
		}
		t.Run(fmt.Sprintf("%s/row 2/PEM given as Key.Secret", alg), func(t *testing.T) {
			_, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("\n" + asPEM))})
			if err == nil || !strings.Contains(err.Error(), "PEM") {
				t.Errorf("NewKeyring = %v, want an error about PEM", err)
			}
		})
	}
}

// curves are the algorithms of ECDSA.
var curves = []struct {
	alg   token.Algorithm
	curve elliptic.Curve
}{{token.ES256, elliptic.P256()}, {token.ES384, elliptic.P384()}, {token.ES512, elliptic.P521()}}

func TestDegenerateECDSASignaturesAreRejected(t *testing.T) {
	for _, c := range curves {
		k := kits()[c.alg]
		n, width := c.curve.Params().N, (c.curve.Params().BitSize+7)/8
		v := newVerifier(t, k.ring)
		input := unsigned(k.token())
		good := k.sign(input)
		r, s := new(big.Int).SetBytes(good[:width]), new(big.Int).SetBytes(good[width:])
		der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		zero, one := new(big.Int), big.NewInt(1)
		minus, plus := new(big.Int).Sub(n, one), new(big.Int).Add(n, one)
		h := hashOf(c.alg).New()
		io.WriteString(h, input)
		cases := map[string][]byte{
			"all zero":                       make([]byte, 2*width),
			"all ones":                       bytes.Repeat([]byte{0xff}, 2*width),
			"DER":                            der,
			"empty DER":                      {0x30, 0x06, 2, 1, 0, 2, 1, 0},
			"a byte too few":                 good[:2*width-1],
			"a byte too many":                append(bytes.Clone(good), 0),
			"a byte before":                  append([]byte{0}, good...),
			"half":                           good[:width],
			"twice":                          append(bytes.Clone(good), good...),
			"r and s swapped":                wide(s, r, width),
			"r and s without leading zeros":  append(bytes.TrimLeft(good[:width], "\x00"), append([]byte{1}, good[width:]...)...),
			"r plus n, a byte wider":         wide(new(big.Int).Add(r, n), s, width+1),
			"s plus n, a byte wider":         wide(r, new(big.Int).Add(s, n), width+1),
			"one byte":                       {0},
			"64 KiB of zeros cut to 4 KiB":   make([]byte, 4096),
			"a signature over the digest":    k.sign(string(h.Sum(nil))),
			"a signature of another message": k.sign(input + "x"),
		}
		for _, other := range curves {
			if other.alg == c.alg {
				continue
			}
			cases["a signature of "+string(other.alg)] = kits()[other.alg].sign(input)
			if w := (other.curve.Params().BitSize + 7) / 8; w > width {
				cases["the width of "+string(other.alg)] = wide(r, s, w)
			}
		}
		for name, odd := range map[string]*big.Int{"0": zero, "1": one, "n": n, "n-1": minus, "n+1": plus} {
			cases["r = "+name] = wide(odd, s, width)
			cases["s = "+name] = wide(r, odd, width)
			cases["r = s = "+name] = wide(odd, odd, width)
		}
		for name, signature := range cases {
			t.Run(fmt.Sprintf("%s/row 3/%s", c.alg, name), func(t *testing.T) {
				wantRefused(t, serve(v, get("Bearer "+input+"."+b64(signature))), token.ErrSignature)
			})
		}
	}
}

// twinOf returns the token with the other one of the two ECDSA signatures that
// verify: s is replaced by n-s.
func twinOf(t *testing.T, good string, curve elliptic.Curve) string {
	t.Helper()
	signature, err := decode(good[strings.LastIndexByte(good, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	width := len(signature) / 2
	s := new(big.Int).SetBytes(signature[width:])
	s.Sub(curve.Params().N, s)
	other := unsigned(good) + "." + b64(wide(new(big.Int).SetBytes(signature[:width]), s, width))
	if other == good {
		t.Fatal("the twin is the token")
	}
	return other
}

func TestTwinSignatureIsRejected(t *testing.T) {
	for _, c := range curves {
		t.Run(fmt.Sprintf("%s/row 4", c.alg), func(t *testing.T) {
			k := kits()[c.alg]
			for _, ring := range []*token.Keyring{k.ring, mustRing(t, token.Key{Algorithm: c.alg, Public: k.key.Signer.Unwrap().Public()})} {
				v := newVerifier(t, ring)
				good := k.token()
				other := twinOf(t, good, c.curve)
				wantRefused(t, serve(v, get("Bearer "+other)), token.ErrSignature)
				wantAccepted(t, serve(v, get("Bearer "+good)))
				wantRefused(t, serve(v, get("Bearer "+other)), token.ErrSignature)
				for range 20 {
					issued := issue(t, newIssuer(t, k.ring), identity.Principal{}, nil)
					wantAccepted(t, serve(v, get("Bearer "+issued)))
					wantRefused(t, serve(v, get("Bearer "+twinOf(t, issued, c.curve))), token.ErrSignature)
				}
			}
		})
	}
}

// TestBothSignaturesOfOtherIssuersAreOneToken: a key that another program signs
// with has tokens with two spellings, and nothing tells them apart.
func TestBothSignaturesOfOtherIssuersAreOneToken(t *testing.T) {
	for _, c := range curves {
		synctest.Test(t, func(t *testing.T) {
			k := kits()[c.alg]
			public := k.key.Signer.Unwrap().Public()
			remote := newRemote(t, func() *endpoint {
				e := new(endpoint)
				e.says(sends(200, jwkSet, `{"keys":[`+jwk(t, k)+`]}`))
				return e
			}(), func(r *token.RemoteConfig) { r.Algorithms = []token.Algorithm{c.alg} })
			if err := remote.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, keys := range map[string]token.KeySource{
				"marked":                  mustRing(t, token.Key{Algorithm: c.alg, Public: public, AcceptHighS: true}),
				"marked, a Signer":        mustRing(t, token.Key{Algorithm: c.alg, Signer: k.key.Signer, AcceptHighS: true}),
				"named by another issuer": mustRing(t, token.Key{Algorithm: c.alg, Public: public, ID: k.kid}),
				"published":               remote,
			} {
				var asked []string
				revoked := map[string]bool{}
				v := newVerifier(t, keys, func(c *token.VerifierConfig) {
					c.Revoker = revoker(func(p *identity.Principal) (bool, error) {
						asked = append(asked, p.Credential)
						return revoked[p.Credential], nil
					})
				})
				first := k.token()
				other := twinOf(t, first, c.curve)
				a, b := serve(v, get("Bearer "+first)), serve(v, get("Bearer "+other))
				wantAccepted(t, a)
				wantAccepted(t, b)
				if a.principal.Credential != b.principal.Credential || len(asked) != 2 || asked[0] != asked[1] {
					t.Errorf("%s: credentials %q and %q, revoker asked about %q; want the same", name, a.principal.Credential, b.principal.Credential, asked)
				}
				revoked[a.principal.Credential] = true
				for _, s := range []string{first, other} {
					wantRefused(t, serve(v, get("Bearer "+s)), token.ErrRevoked)
				}
			}
		})
	}
}

func TestAcceptHighSIsForECDSAOnly(t *testing.T) {
	for _, alg := range []token.Algorithm{token.HS256, token.RS256, token.EdDSA} {
		key := kits()[alg].key
		key.AcceptHighS = true
		if _, err := token.NewKeyring(key); err == nil || !strings.Contains(err.Error(), "AcceptHighS") {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestRSAPaddingIsThatOfTheAlgorithm(t *testing.T) {
	for _, alg := range algorithms {
		switch alg[0] {
		case 'P':
			t.Run(fmt.Sprintf("%s/row 5", alg), func(t *testing.T) { pssPadding(t, alg) })
		case 'R':
			t.Run(fmt.Sprintf("%s/row 5", alg), func(t *testing.T) { pssPadding(t, alg); pkcs1Padding(t, alg) })
		}
	}
}

// pssPadding tries signatures of RSASSA-PSS: one salt length is good, and none
// with an RS algorithm; and those of the other padding and of other hashes.
func pssPadding(t *testing.T, alg token.Algorithm) {
	k, hash := kits()[alg], hashOf(alg)
	private := k.key.Signer.Unwrap().(*rsa.PrivateKey)
	v := newVerifier(t, k.ring)
	input := unsigned(k.token())
	for _, other := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		h := other.New()
		io.WriteString(h, input)
		digest := h.Sum(nil)
		for _, salt := range []int{1, 20, 31, 32, 33, 47, 48, 49, 63, 64, 65, 190} {
			signature, err := rsa.SignPSS(rand.Reader, private, other, digest, &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			o := serve(v, get("Bearer "+input+"."+b64(signature)))
			if alg[0] == 'P' && other == hash && salt == hash.Size() {
				wantAccepted(t, o)
				continue
			}
			wantRefused(t, o, token.ErrSignature)
		}
		if alg[0] == 'P' || other != hash {
			pkcs1, err := rsa.SignPKCS1v15(nil, private, other, digest)
			if err != nil {
				t.Fatal(err)
			}
			wantRefused(t, serve(v, get("Bearer "+input+"."+b64(pkcs1))), token.ErrSignature)
		}
	}
}

// digestInfos are what stands before a hash in EMSA-PKCS1-v1_5 (RFC 8017 section
// 9.2, note 1).
var digestInfos = map[crypto.Hash]string{
	crypto.SHA256: "3031300d060960864801650304020105000420",
	crypto.SHA384: "3041300d060960864801650304020205000430",
	crypto.SHA512: "3051300d060960864801650304020305000440",
}

// pkcs1Padding tries what is close to EMSA-PKCS1-v1_5.
func pkcs1Padding(t *testing.T, alg token.Algorithm) {
	k, sha := kits()[alg], hashOf(alg)
	private := k.key.Signer.Unwrap().(*rsa.PrivateKey)
	v := newVerifier(t, k.ring)
	input := unsigned(k.token())
	digest := func(s string) []byte {
		h := sha.New()
		io.WriteString(h, s)
		return h.Sum(nil)
	}
	hash := digest(input)
	info := append(unhex(digestInfos[sha]), hash...)
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
	// 30 L1 30 0d 06 09 <OID> 05 00 04 L2: without the NULL, and with L1 in the
	// long form.
	prefix := unhex(digestInfos[sha])
	noNull := slices.Concat([]byte{0x30, prefix[1] - 2, 0x30, 0x0b}, prefix[4:15], prefix[17:], hash)
	longForm := slices.Concat([]byte{0x30, 0x81}, prefix[1:], hash)
	sha1Info := append(unhex("3021300906052b0e03021a05000414"), sum1[:]...)
	other := crypto.SHA512
	if sha == other {
		other = crypto.SHA256
	}
	otherInfo := append(unhex(digestInfos[other]), bytes.Repeat(hash, 2)[:other.Size()]...)
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
		"DigestInfo of another hash":           md(otherInfo),
		"the bare hash":                        md(hash),
		"another hash":                         md(slices.Concat(prefix, digest("x"))),
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
		t.Run("PKCS #1/"+name, func(t *testing.T) {
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

func TestTokenWithTheIDOfAnotherKeyIsRejected(t *testing.T) {
	stranger := newKit(mustKey(t, token.ES256))
	for _, alg := range algorithms {
		a := kits()[alg]
		ring, err := token.NewKeyring(a.key, stranger.key)
		if err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, ring)
		wantAccepted(t, serve(v, get("Bearer "+a.token())))
		wantAccepted(t, serve(v, get("Bearer "+stranger.token())))
		why := token.ErrAlgorithm
		if alg == token.ES256 {
			why = token.ErrSignature
		}
		wantRefused(t, serve(v, get("Bearer "+a.headed("kid", quoted(stranger.kid)))), why)
		wantRefused(t, serve(v, get("Bearer "+a.headed("kid", quoted(stranger.kid), "alg", `"ES256"`))), token.ErrSignature)
	}
}

func TestNothingInATokenIsFetched(t *testing.T) {
	var calls atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
	}))
	defer evil.Close()
	for _, alg := range algorithms {
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

func TestRefreshTokenIsNoAccessToken(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		access := newVerifier(t, k.ring)
		refresh := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Type = token.TypeRefresh })
		a, r := k.token(), k.headed("typ", `"rt+jwt"`)
		wantAccepted(t, serve(access, get("Bearer "+a)))
		wantAccepted(t, serve(refresh, get("Bearer "+r)))
		wantRefused(t, serve(access, get("Bearer "+r)), token.ErrType)
		wantRefused(t, serve(refresh, get("Bearer "+a)), token.ErrType)
		// Nor does what one of them remembers of headers help the other.
		wantRefused(t, serve(access, get("Bearer "+r)), token.ErrType)
	}
}

func TestWeakAndIncompleteKeysAreRejected(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	strong := kits()[token.RS256].key.Signer.Unwrap().(*rsa.PrivateKey)
	withE := func(e int) *rsa.PublicKey { return &rsa.PublicKey{N: strong.N, E: e} }
	p256 := kits()[token.ES256].key.Signer.Unwrap().(*ecdsa.PrivateKey)
	ed := kits()[token.EdDSA].key.Signer.Unwrap().(ed25519.PrivateKey)
	short := ed[:32]
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := int64(1<<31 + 1) // negative as an int of 32 bits
	for name, c := range map[string]struct {
		key  token.Key
		want string
	}{
		"the zero Key":                        {token.Key{}, "Algorithm"},
		"only an algorithm":                   {token.Key{Algorithm: token.HS256}, "0 of"},
		"only an algorithm, public":           {token.Key{Algorithm: token.ES256}, "0 of"},
		"alg none":                            {token.Key{Algorithm: "none", Secret: guard.NewSecret(make([]byte, 32))}, `"none"`},
		"an algorithm in lower case":          {token.Key{Algorithm: "hs256", Secret: guard.NewSecret(make([]byte, 32))}, `"hs256"`},
		"an empty secret":                     {token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte{})}, "0 of Secret"},
		"a short secret for HS256":            {token.Key{Algorithm: token.HS256, Secret: guard.NewSecret(random(31))}, "31 bytes"},
		"a short secret for HS384":            {token.Key{Algorithm: token.HS384, Secret: guard.NewSecret(random(47))}, "47 bytes"},
		"a short secret for HS512":            {token.Key{Algorithm: token.HS512, Secret: guard.NewSecret(random(63))}, "63 bytes"},
		"a secret of zeros":                   {token.Key{Algorithm: token.HS256, Secret: guard.NewSecret(make([]byte, 32))}, "zeros"},
		"a PEM file as secret":                {token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYI\n"))}, "PEM"},
		"a secret for ES256":                  {token.Key{Algorithm: token.ES256, Secret: guard.NewSecret(random(32))}, "Signer or Public"},
		"a signer for HS256":                  {token.Key{Algorithm: token.HS256, Signer: token.NewSigner(p256)}, "needs Secret"},
		"a signer and its public half":        {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(p256), Public: p256.Public()}, "2 of"},
		"all three":                           {token.Key{Algorithm: token.ES256, Secret: guard.NewSecret(random(32)), Signer: token.NewSigner(p256), Public: p256.Public()}, "3 of"},
		"RSA of 1024 bits":                    {token.Key{Algorithm: token.RS256, Signer: token.NewSigner(weak)}, "1024 bits"},
		"RSA of 1024 bits, public":            {token.Key{Algorithm: token.PS256, Public: &weak.PublicKey}, "1024 bits"},
		"RSA of 16385 bits":                   {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 16384), big.NewInt(1)), E: 3}}, "16385 bits"},
		"RSA with e = 1":                      {token.Key{Algorithm: token.RS256, Public: withE(1)}, "exponent 1;"},
		"RSA with e = 0":                      {token.Key{Algorithm: token.RS256, Public: withE(0)}, "exponent 0;"},
		"RSA with e = 2":                      {token.Key{Algorithm: token.RS256, Public: withE(2)}, "exponent 2;"},
		"RSA with e = -1":                     {token.Key{Algorithm: token.RS256, Public: withE(-1)}, "exponent -1;"},
		"RSA with e = 65536":                  {token.Key{Algorithm: token.RS256, Public: withE(65536)}, "exponent 65536;"},
		"RSA with e = 2^31+1":                 {token.Key{Algorithm: token.RS256, Public: withE(int(e))}, fmt.Sprintf("exponent %d;", int(e))},
		"RSA without a modulus":               {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{E: 3}}, "modulus"},
		"RSA with a negative modulus":         {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: new(big.Int).Neg(strong.N), E: 3}}, "modulus"},
		"RSA with an even modulus":            {token.Key{Algorithm: token.RS256, Public: &rsa.PublicKey{N: new(big.Int).Add(strong.N, big.NewInt(1)), E: 3}}, "modulus"},
		"RSA without the private exponent":    {token.Key{Algorithm: token.RS256, Signer: token.NewSigner(&rsa.PrivateKey{PublicKey: strong.PublicKey})}, "incomplete"},
		"an empty RSA key":                    {token.Key{Algorithm: token.RS256, Signer: token.NewSigner(&rsa.PrivateKey{})}, "incomplete"},
		"a nil RSA key":                       {token.Key{Algorithm: token.RS256, Signer: token.NewSigner((*rsa.PrivateKey)(nil))}, "nil *rsa.PrivateKey"},
		"a nil public RSA key":                {token.Key{Algorithm: token.RS256, Public: (*rsa.PublicKey)(nil)}, "nil *rsa.PublicKey"},
		"RSA for ES256":                       {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(strong)}, "RSA key"},
		"P-256 for ES384":                     {token.Key{Algorithm: token.ES384, Signer: token.NewSigner(p256)}, "P-384"},
		"P-256 for ES512":                     {token.Key{Algorithm: token.ES512, Signer: token.NewSigner(p256)}, "P-521"},
		"P-256 for RS256":                     {token.Key{Algorithm: token.RS256, Signer: token.NewSigner(p256)}, "ECDSA key"},
		"P-224 for ES256":                     {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(p224)}, "P-256"},
		"an empty ECDSA key":                  {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(&ecdsa.PrivateKey{})}, "incomplete"},
		"ECDSA without the private scalar":    {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(&ecdsa.PrivateKey{PublicKey: p256.PublicKey})}, "incomplete"},
		"a nil ECDSA key":                     {token.Key{Algorithm: token.ES256, Signer: token.NewSigner((*ecdsa.PrivateKey)(nil))}, "nil *ecdsa.PrivateKey"},
		"an empty public ECDSA key":           {token.Key{Algorithm: token.ES256, Public: &ecdsa.PublicKey{}}, "incomplete"},
		"a public ECDSA key without a point":  {token.Key{Algorithm: token.ES256, Public: &ecdsa.PublicKey{Curve: elliptic.P256()}}, "incomplete"},
		"a nil public ECDSA key":              {token.Key{Algorithm: token.ES256, Public: (*ecdsa.PublicKey)(nil)}, "nil *ecdsa.PublicKey"},
		"Ed25519 for ES256":                   {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(ed)}, "Ed25519 key"},
		"P-256 for EdDSA":                     {token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(p256)}, "ECDSA key"},
		"an Ed25519 seed for a key":           {token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(short)}, "32 bytes"},
		"a nil Ed25519 key":                   {token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(ed25519.PrivateKey(nil))}, "0 bytes"},
		"a nil pointer to an Ed25519 key":     {token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner((*ed25519.PrivateKey)(nil))}, "nil *ed25519.PrivateKey"},
		"a pointer to an Ed25519 seed":        {token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(&short)}, "32 bytes"},
		"Ed25519 of zeros":                    {token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(make(ed25519.PrivateKey, 64))}, "small order"},
		"an empty public Ed25519 key":         {token.Key{Algorithm: token.EdDSA, Public: ed25519.PublicKey{}}, "0 bytes"},
		"a public Ed25519 key of zeros":       {token.Key{Algorithm: token.EdDSA, Public: make(ed25519.PublicKey, 32)}, "small order"},
		"a private key as the public one":     {token.Key{Algorithm: token.ES256, Public: p256}, "*ecdsa.PrivateKey"},
		"bytes as the public key":             {token.Key{Algorithm: token.EdDSA, Public: []byte("x")}, "[]uint8"},
		"a signer without a public key":       {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(fakeSigner{})}, "Public() returns nil"},
		"a signer with an unknown public key": {token.Key{Algorithm: token.ES256, Signer: token.NewSigner(fakeSigner{public: 42})}, "int"},
	} {
		t.Run("row 20/"+name, func(t *testing.T) {
			ring, err := token.NewKeyring(c.key)
			if err == nil || ring != nil {
				t.Fatalf("NewKeyring = %v, %v; want an error", ring, err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "auth/token: key 0: ") {
				t.Errorf("NewKeyring = %v, want token: key 0 and %q", err, c.want)
			}
		})
	}

	t.Run("row 20/all mistakes at once", func(t *testing.T) {
		good := kits()[token.HS256].key
		_, err := token.NewKeyring(good, token.Key{}, token.Key{Algorithm: token.HS256, Secret: guard.NewSecret(random(3))}, good,
			token.Key{Algorithm: token.HS512, Secret: guard.NewSecret(append(good.Secret.Bytes(), random(32)...))},
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
		if _, err := token.NewKeyring(token.Key{Algorithm: token.RS256, Signer: token.NewSigner(strong)}, token.Key{Algorithm: token.PS256, Public: &strong.PublicKey}); err == nil {
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

func TestRequestWithTwoTokensIsAmbiguous(t *testing.T) {
	for _, alg := range algorithms {
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

// TestRevokedTokensAreRejected: whatever the token says, and whether or not it
// was seen before, it is refused at the next request after a logout, a change of
// password, or when its user is disabled or deleted.
func TestRevokedTokensAreRejected(t *testing.T) {
	for _, alg := range algorithms {
		k := kits()[alg]
		for name, end := range map[string]identity.Revocation{
			"logged out":             {Session: "s-1"},
			"revoked by its ID":      {Credential: "id-1"},
			"the password changed":   {Subject: "alice?>~ÿ", Before: time.Now().Add(time.Hour)},
			"the tenant was closed":  {Tenant: "acme"},
			"everybody was sent out": {Before: time.Now().Add(time.Hour)},
		} {
			t.Run(fmt.Sprintf("%s/row 23/%s", alg, name), func(t *testing.T) {
				revoked := new(blacklist.Memory)
				v := newVerifier(t, k.ring, func(c *token.VerifierConfig) { c.Revoker = revoked })
				seen, first := k.token("sid", `"s-1"`, "tenant", `"acme"`), k.token("sid", `"s-1"`, "tenant", `"acme"`, "x", "1")
				wantAccepted(t, serve(v, get("Bearer "+seen)))
				end.Issuer = issuerName
				if err := revoked.Revoke(t.Context(), end); err != nil {
					t.Fatal(err)
				}
				for _, s := range []string{seen, first, seen} {
					wantRefused(t, serve(v, get("Bearer "+s)), token.ErrRevoked)
				}
			})
		}
		t.Run(fmt.Sprintf("%s/row 23/the user is disabled or gone", alg), func(t *testing.T) {
			v, s := newVerifier(t, k.ring), k.token()
			wantAccepted(t, serve(v, get("Bearer "+s)))
			o := serveWhile(func(context.Context, *identity.Principal) error { return guard.ErrInactive }, v, get("Bearer "+s))
			if o.ran || o.status != 401 || o.body != invalidBody || len(o.challenges) != 1 || o.challenges[0] != `Bearer error="invalid_token"` {
				t.Errorf("ran %v, %d %s %q; want the 401 of invalid tokens", o.ran, o.status, o.body, o.challenges)
			}
		})
	}
}

// TestRevokerThatFailsIsUnavailable: a store that does not answer is 503, for a token that is
// seen for the first time and for one that was seen before.
func TestRevokerThatFailsIsUnavailable(t *testing.T) {
	down := errors.New("connection refused")
	for _, alg := range algorithms {
		t.Run(fmt.Sprintf("%s/row 24", alg), func(t *testing.T) {
			k := kits()[alg]
			var failure error
			v := newVerifier(t, k.ring, func(c *token.VerifierConfig) {
				c.Revoker = revoker(func(*identity.Principal) (bool, error) { return false, failure })
			})
			seen := k.token()
			wantAccepted(t, serve(v, get("Bearer "+seen)))
			failure = down
			for _, s := range []string{seen, k.token("x", "1")} {
				wantUnavailable(t, serve(v, get("Bearer "+s)))
			}
			o := serveWhile(func(context.Context, *identity.Principal) error { return down }, newVerifier(t, k.ring), get("Bearer "+seen))
			wantUnavailable(t, o)
			failure = nil
			wantAccepted(t, serve(v, get("Bearer "+seen)))
		})
	}
}

func TestScopesAreComparedExactly(t *testing.T) {
	for _, alg := range algorithms {
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

func TestTokensInOtherPlacesAreIgnored(t *testing.T) {
	for _, alg := range algorithms {
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
