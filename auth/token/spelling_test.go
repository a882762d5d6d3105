package token_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// A token has one spelling: nothing that differs from it in a byte is taken
// for it.

// longLived is a verifier and one token of each kind that is good for years,
// so that what a fuzzer finds stays a finding.
type longLived struct {
	verifier *token.Verifier
	issued   []string
}

var fixed = sync.OnceValue(func() longLived {
	hs := newKit(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("a fixed secret for what the fuzzer finds"))})
	ed := newKit(token.Key{Algorithm: token.EdDSA, Signer: token.NewSigner(ed25519.NewKeyFromSeed([]byte("a fixed seed of thirty-two bytes")))})
	ring, err := token.NewKeyring(hs.key, ed.key)
	if err != nil {
		panic(err)
	}
	v, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuerName, Audience: audience, MaxLifetime: 200 * 365 * 24 * time.Hour, InsecureNoRevoker: true})
	if err != nil {
		panic(err)
	}
	l := longLived{verifier: v}
	for _, k := range []*kit{hs, ed} {
		l.issued = append(l.issued, k.token("iat", "946684800", "exp", "4102444800"))
	}
	return l
})

func TestTokenHasOneSpelling(t *testing.T) {
	l := fixed()
	ctx := context.Background()
	for i, good := range l.issued {
		if _, err := l.verifier.Verify(ctx, good); err != nil {
			t.Fatal(err)
		}
		try := func(what, s string) {
			if p, err := l.verifier.Verify(ctx, s); err == nil {
				t.Errorf("%s: %q is taken for %v", what, s, p)
			} else if !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		edge := func(at int) bool {
			return at < 2 || at > len(good)-4 || slices.ContainsFunc([]int{-1, 0, 1}, func(d int) bool { return good[at+d] == '.' })
		}
		for at := range len(good) + 1 {
			for c := range 256 {
				// A signature of EdDSA costs 30 times one of HS256: there,
				// all bytes at the edges of the parts and some elsewhere.
				if i > 0 && !edge(at) && strings.IndexByte("A_\n= ~", byte(c)) < 0 {
					continue
				}
				s := string([]byte{byte(c)})
				try("a byte more", good[:at]+s+good[at:])
				if at < len(good) && good[at] != byte(c) {
					try("another byte", good[:at]+s+good[at+1:])
				}
			}
			if at < len(good) {
				try("a byte less", good[:at]+good[at+1:])
				try("cut off", good[:at])
			}
		}
		for _, s := range respellings(good) {
			try("another spelling", s)
		}
	}
}

// respellings are spellings that some decoder takes for the same bytes.
func respellings(good string) []string {
	var all []string
	parts := strings.Split(good, ".")
	part := func(i int, s string) {
		other := slices.Clone(parts)
		other[i] = s
		all = append(all, strings.Join(other, "."))
	}
	for i, p := range parts {
		for bits := 1; bits < 16; bits++ {
			at := strings.IndexByte(alphabet, p[len(p)-1])
			unused := map[int]int{0: 0, 2: 15, 3: 3}[len(p)%4]
			if bits&^unused == 0 {
				part(i, p[:len(p)-1]+string(alphabet[at&^unused|(at&unused^bits)]))
			}
		}
		for _, pad := range []string{"=", "==", "===", "\n", "\r\n", " ", "\t", "%3D", "\x00", "=\n"} {
			part(i, p+pad)
			part(i, pad+p)
			part(i, p[:len(p)/2]+pad+p[len(p)/2:])
		}
		var wrapped strings.Builder
		for line := range slices.Chunk([]byte(p), 64) {
			wrapped.Write(line)
			wrapped.WriteString("\r\n")
		}
		part(i, wrapped.String())
		part(i, p+strings.Repeat("=", (4-len(p)%4)%4+4))
		for _, swap := range [][2]string{{"-", "+"}, {"_", "/"}, {"-", "%2D"}, {"_", "%5F"}} {
			if s := strings.ReplaceAll(p, swap[0], swap[1]); s != p {
				part(i, s)
			}
		}
	}
	return append(all, good+".", "."+good, good+good, strings.ToLower(good), strings.ToUpper(good), strings.ReplaceAll(good, ".", ".."), strings.ReplaceAll(good, ".", "%2E"), good+"\n\n\n", good+strings.Repeat("\n", 5000))
}

func FuzzOneSpelling(f *testing.F) {
	for which := range 2 {
		f.Add(which, 0, 0, "\n")
		f.Add(which, 40, 1, "A")
		f.Add(which, 1<<20, 3, "==")
	}
	f.Fuzz(func(t *testing.T, which, at, cut int, put string) {
		l := fixed()
		good := l.issued[uint(which)%uint(len(l.issued))]
		at = int(uint(at) % uint(len(good)+1))
		cut = int(uint(cut) % uint(len(good)+1-at))
		s := good[:at] + put + good[at+cut:]
		_, err := l.verifier.Verify(t.Context(), s)
		if accepted := err == nil; accepted != (s == good) {
			t.Errorf("Verify(%q) = %v, and the token that was issued is %q", s, err, good)
		}
	})
}

func FuzzVerify(f *testing.F) {
	l := fixed()
	for _, s := range l.issued {
		f.Add(s)
		f.Add(unsigned(s) + ".")
	}
	k := newKit(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("another secret, of somebody who attacks us"))})
	for _, h := range corpus() {
		if s := h.make(k); len(s) < 4096 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := fixed()
		p, err := l.verifier.Verify(t.Context(), s)
		switch {
		case err == nil && !slices.Contains(l.issued, s):
			t.Errorf("Verify(%q) = %v, and nobody issued it", s, p)
		case err != nil && (p != nil || !errors.Is(err, token.ErrInvalid)):
			t.Errorf("Verify(%q) = %v, %v", s, p, err)
		}
	})
}

// FuzzClaims puts whatever the fuzzer likes under a right signature: it is
// refused for a reason, or becomes a principal that holds together.
func FuzzClaims(f *testing.F) {
	k := newKit(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("a fixed secret for what the fuzzer finds"))})
	f.Add(payload("iat", "946684800", "exp", "4102444800", "scope", `"a b"`, "roles", `["r"]`))
	f.Add(payload("iat", "946684800.000001", "exp", "4.102444800e9", "aud", `[`+quoted(audience)+`]`, "x", `{"a":[{}]}`))
	f.Fuzz(func(t *testing.T, claims string) {
		p, err := fixed().verifier.Verify(t.Context(), k.raw(k.header(), claims))
		if err != nil {
			if p != nil || !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%q: %v, %v", claims, p, err)
			}
			return
		}
		now := time.Now()
		if p.Issuer != issuerName || p.Subject == "" || p.Credential == "" || p.Client == "" || !p.Expires.After(now) || p.IssuedAt.After(now.Add(time.Minute)) || p.Claims != claims {
			t.Errorf("%q became %+v", claims, p)
		}
		// Two readers read it alike.
		type view struct {
			Sub    string `json:"sub"`
			ID     string `json:"jti"`
			Client string `json:"client_id"`
			Scope  string `json:"scope"`
			Sid    string `json:"sid"`
			Tenant string `json:"tenant"`
		}
		got, err := token.ClaimsOf[view](p)
		if err != nil {
			t.Fatalf("%q is verified, and ClaimsOf = %v", claims, err)
		}
		if want := (view{p.Subject, p.Credential, p.Client, got.Scope, p.Session, p.Tenant}); got != want || !identity.ParseSet(got.Scope).Equal(p.Scopes) {
			t.Errorf("%q reads as %+v, want %+v", claims, got, want)
		}
	})
}
