package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

// The published vectors: RFC 7515 appendix A.1 to A.5, RFC 8037 appendix A.3
// and A.4, RFC 7638 section 3.1. Their claims are those of 2011, and they have
// neither a "typ" nor a "kid" that a Verifier takes, so the signatures are
// checked one layer below it.

func b64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func point(curve elliptic.Curve, x, y []byte) *ecdsa.PublicKey {
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		panic(err)
	}
	return public
}

func TestRFC7515AppendixASignatures(t *testing.T) {
	for _, c := range []struct {
		name  string
		key   Key
		token string
	}{
		{
			"RFC 7515 A.1",
			Key{Algorithm: HS256, Secret: guard.NewSecret(b64(`AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow`))},
			`eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`,
		},
		{
			"RFC 7515 A.2",
			Key{Algorithm: RS256, Public: &rsa.PublicKey{N: new(big.Int).SetBytes(b64(`ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ`)), E: 65537}},
			`eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw`,
		},
		{
			"RFC 7515 A.3",
			Key{Algorithm: ES256, Public: point(elliptic.P256(), b64(`f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU`), b64(`x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0`))},
			`eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`,
		},
		{
			"RFC 7515 A.4",
			Key{Algorithm: ES512, Public: point(elliptic.P521(), b64(`AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk`), b64(`ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2`))},
			`eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn`,
		},
		{
			"RFC 8037 A.4",
			Key{Algorithm: EdDSA, Public: ed25519.PublicKey(b64(`11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo`))},
			`eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.key.AcceptHighS = suites[c.key.Algorithm].family == familyECDSA
			k, err := newKey(c.key)
			if err != nil {
				t.Fatal(err)
			}
			i := strings.LastIndexByte(c.token, '.')
			input, signature := c.token[:i], b64(c.token[i+1:])
			if !k.verify(input, []byte(input), signature) {
				t.Error("the signature is refused")
			}
			for at := range signature {
				signature[at] ^= 1
				if k.verify(input, []byte(input), signature) {
					t.Errorf("the signature is taken with byte %d changed", at)
				}
				signature[at] ^= 1
			}
			other := input[:len(input)-1] + "_"
			if k.verify(other, []byte(other), signature) {
				t.Error("the signature is taken for another input")
			}
			if k.suite.family == familyHMAC {
				made, err := k.sign([]byte(input))
				if err != nil || string(made) != string(signature) {
					t.Errorf("sign = %x, %v", made, err)
				}
			}

			// A verifier with this very key refuses the example for its header.
			ring, err := NewKeyring(c.key)
			if err != nil {
				t.Fatal(err)
			}
			v, err := NewVerifier(ring, VerifierConfig{Issuer: "joe", Audience: "x", InsecureNoRevoker: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(t.Context(), c.token); !errors.Is(err, ErrKey) {
				t.Errorf("Verify = %v, want ErrKey", err)
			}
			// RFC 7515 A.5: the unsecured JWS.
			if _, err := v.Verify(t.Context(), `eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.`); !errors.Is(err, ErrMalformed) {
				t.Errorf("Verify of A.5 = %v, want ErrMalformed", err)
			}
		})
	}
}

func TestRFC7638Section3_1Thumbprints(t *testing.T) {
	for _, c := range []struct {
		name string
		key  Key
		want string
	}{
		{
			"RFC 7638 section 3.1",
			Key{Algorithm: RS256, Public: &rsa.PublicKey{N: new(big.Int).SetBytes(b64(`0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw`)), E: 65537}},
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		},
		{
			"RFC 8037 A.3",
			Key{Algorithm: EdDSA, Public: ed25519.PublicKey(b64(`11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo`))},
			"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.key.AcceptHighS = suites[c.key.Algorithm].family == familyECDSA
			k, err := newKey(c.key)
			if err != nil || k.id != c.want {
				t.Errorf("kid %v, %v; want %s", k, err, c.want)
			}
		})
	}
}
