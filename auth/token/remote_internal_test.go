package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// published answers each request with itself, a JWK Set.
type published string

func (p *published) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(string(*p))),
		Request:    r,
	}, nil
}

// The keys of RFC 8037 appendix A.2 and RFC 7517 appendix A.1.
const (
	rfc8037Key = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc7517EC  = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`
	rfc7517RSA = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
)

// TestRFC7517AppendixA_1PublicKeys reads the set of RFC 7517 appendix A.1, whose first key is for
// encryption, and the key of RFC 8037 appendix A.2 with the thumbprint of A.3.
func TestRFC7517AppendixA_1PublicKeys(t *testing.T) {
	state, refused, err := parseJWKS(`{"keys":[`+rfc7517EC+`,`+rfc7517RSA+`,`+rfc8037Key+`]}`, []Algorithm{RS256, ES256, EdDSA}, []string{"sig"})
	if err != nil || refused != nil || len(state.keys) != 2 {
		t.Fatalf("%v, %v, %d keys", err, refused, len(state.keys))
	}
	if k := state.key("2011-04-29"); k == nil || k.alg != RS256 || k.material != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("the RSA key is %+v, want it with the thumbprint of RFC 7638 section 3.1", k)
	}
	if k := state.key("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"); k == nil || k.alg != EdDSA {
		t.Errorf("the Ed25519 key is %+v", k)
	}
}

// TestSameSetIsTheSameState: what is remembered of tokens survives each fetch
// that brings the same keys, in whatever order and spelling.
func TestSameSetIsTheSameState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := published(`{"keys":[` + rfc7517RSA + `,` + rfc8037Key + `]}`)
		remote, err := NewRemote(RemoteConfig{URL: "https://issuer.example.com", Algorithms: []Algorithm{RS256, EdDSA}, Client: &http.Client{Transport: &set}})
		if err != nil {
			t.Fatal(err)
		}
		fetched := func(body string) *ringState {
			t.Helper()
			set = published(body)
			time.Sleep(time.Minute)
			if err := remote.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			state, err := remote.current(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return state
		}
		first := fetched(string(set))
		for name, body := range map[string]string{
			"the same bytes":                 `{"keys":[` + rfc7517RSA + `,` + rfc8037Key + `]}`,
			"another order":                  `{"keys":[` + rfc8037Key + `,` + rfc7517RSA + `]}`,
			"spaces":                         ` {"keys" : [ ` + rfc7517RSA + ` , ` + rfc8037Key + ` ] } `,
			"other members":                  `{"x":1,"keys":[` + rfc7517RSA + `,` + strings.Replace(rfc8037Key, `"kty"`, `"use":"sig","kty"`, 1) + `]}`,
			"other keys that are not for us": `{"keys":[` + rfc7517EC + `,` + rfc7517RSA + `,` + rfc8037Key + `]}`,
		} {
			if fetched(body) != first {
				t.Errorf("%s: another state", name)
			}
		}
		for name, body := range map[string]string{
			"one less":          `{"keys":[` + rfc7517RSA + `]}`,
			"another name":      `{"keys":[` + rfc7517RSA + `,` + strings.Replace(rfc8037Key, `"kty"`, `"kid":"x","kty"`, 1) + `]}`,
			"another algorithm": `{"keys":[` + strings.Replace(rfc7517RSA, "RS256", "PS256", 1) + `,` + rfc8037Key + `]}`,
			"another key":       `{"keys":[` + rfc7517RSA + `,` + strings.Replace(rfc8037Key, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "_kF9J4I9HoNPJ9c1cBMzFBvbrJvBjXkMw9tKbWZ1dEA", 1) + `]}`,
		} {
			if fetched(body) == first {
				t.Errorf("%s: the same state", name)
			}
		}
	})
}

// FuzzJWKS: no set makes the reader panic, and whatever is taken is a key of an
// accepted algorithm, of a size that is allowed, under its own name.
func FuzzJWKS(f *testing.F) {
	for _, s := range []string{
		`{"keys":[]}`, `{"keys":[` + rfc7517EC + `,` + rfc7517RSA + `,` + rfc8037Key + `]}`, `{"keys":[{}]}`, `{"keys":[` + rfc8037Key + `,` + rfc8037Key + `]}`,
		`{"keys":[` + strings.Replace(rfc7517EC, `"enc"`, `"sig"`, 1) + `]}`, `{"keys":[` + strings.Replace(rfc7517RSA, `"RS256"`, `"PS256"`, 1) + `]}`,
		`{"keys":[` + strings.Replace(rfc8037Key, `"kty"`, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","kty"`, 1) + `]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"EC","crv":"P-521","alg":"ES512","x":"AA","y":"AA","key_ops":["verify"]}]}`,
	} {
		f.Add(s)
	}
	lists := [][]Algorithm{{ES256}, {EdDSA, RS256}, {RS256, PS256, ES384, ES512}, {RS256, ES256, EdDSA}}
	f.Fuzz(func(t *testing.T, s string) {
		for _, accepted := range lists {
			state, refused, err := parseJWKS(s, accepted, []string{"sig"})
			if err != nil {
				if state != nil || refused != nil {
					t.Fatalf("%q: an error and %v, %v", s, state, refused)
				}
				continue
			}
			if len(state.keys) > maxRemoteKeys || len(state.byID) > len(state.keys) {
				t.Fatalf("%q: %d keys, %d IDs", s, len(state.keys), len(state.byID))
			}
			for _, k := range state.keys {
				id := k.id
				if found, known := state.lookup(id, k.alg, time.Now()); found != k || !known || id == "" || !plainText(id) || !slices.Contains(accepted, k.alg) || k.canSign() || k.material == "" || !k.published(time.Now()) {
					t.Fatalf("%q: key %+v under %q", s, k, id)
				}
				switch public := k.public.(type) {
				case *ecdsa.PublicKey:
					if point, err := public.Bytes(); err != nil || public.Curve != k.suite.curve || len(point) == 0 {
						t.Fatalf("%q: %v", s, err)
					}
				case *rsa.PublicKey:
					if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits || public.E < 3 {
						t.Fatalf("%q: an RSA key of %d bits, exponent %d", s, bits, public.E)
					}
				case ed25519.PublicKey:
					if len(public) != ed25519.PublicKeySize || smallOrder(public) {
						t.Fatalf("%q: %x", s, public)
					}
				default:
					t.Fatalf("%q: a key %T", s, public)
				}
				if k.verify("input", []byte("input"), make([]byte, 64)) || k.verify("input", []byte("input"), nil) {
					t.Fatalf("%q: key %q verifies what nobody signed", s, id)
				}
			}
			var other struct {
				Keys []map[string]json.RawMessage `json:"keys"`
			}
			if json.Unmarshal([]byte(s), &other) == nil && len(other.Keys) == 1 && len(state.keys) == 1 {
				for _, private := range privateNames {
					if _, ok := other.Keys[0][private]; ok {
						t.Fatalf("%q: a key with %s is taken", s, private)
					}
				}
			}
			// What it takes is what it takes of the same keys in our spelling.
			body, err := state.jwks(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			again, refused, err := parseJWKS(string(body), accepted, []string{"sig"})
			if err != nil || refused != nil && len(state.keys) < 2 {
				t.Fatalf("%q: published as %s: %v, %v", s, body, refused, err)
			}
			for _, k := range again.keys {
				if !slices.ContainsFunc(state.keys, func(other *key) bool { return other.material == k.material && other.alg == k.alg }) {
					t.Fatalf("%q: published as %s, which has another key", s, body)
				}
			}
		}
	})
}
