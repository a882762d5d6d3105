package token_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// A whole server: it issues a token, and serves a route to whoever has one.
func Example() {
	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{
		Issuer:   "https://auth.example.com",
		Audience: "https://api.example.com",
	})
	if err != nil {
		panic(err)
	}
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{
		Issuer:   "https://auth.example.com",
		Audience: "https://api.example.com",
		Revoker:  new(blacklist.Memory), // which logging out tells
	})
	if err != nil {
		panic(err)
	}

	hooks := guard.Hooks{}
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
	mux.Handle("GET /hello", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "Hello, %s. You may %s.", p.Subject, p.Scopes)
	})))
	server := httptest.NewServer(mux)
	defer server.Close()

	// Whoever signs people in does this, after the password was right.
	signed, err := issuer.Issue(context.Background(), &identity.Principal{
		Subject: "alice",
		Scopes:  identity.NewSet("read:items", "write:items"),
	}, nil)
	if err != nil {
		panic(err)
	}

	for _, authorization := range []string{"Bearer " + signed, "", "Bearer " + signed + "="} {
		r, err := http.NewRequest("GET", server.URL+"/hello", nil)
		if err != nil {
			panic(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		response, err := server.Client().Do(r)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 {
			body = []byte(response.Header.Get("WWW-Authenticate"))
		}
		fmt.Println(response.StatusCode, string(body))
	}
	// Output:
	// 200 Hello, alice. You may read:items write:items.
	// 401 Bearer
	// 401 Bearer error="invalid_token"
}

// Claims of the host's own travel in the token, and come back as its own type.
func ExampleClaims() {
	type plan struct {
		Tier  string `json:"tier"`
		Seats int    `json:"seats"`
	}
	issuer, verifier := newPair(token.TypeAccess)
	signed, err := issuer.Issue(context.Background(), &identity.Principal{Subject: "alice"}, plan{"gold", 12})
	if err != nil {
		panic(err)
	}

	hooks := guard.Hooks{}
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("GET /seats", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mine, err := token.Claims[plan](r.Context())
		if err != nil {
			hooks.Refuse(w, r, guard.Forbidden(err))
			return
		}
		fmt.Printf("%s has %d seats\n", mine.Tier, mine.Seats)
	})))
	r := httptest.NewRequest("GET", "/seats", nil)
	r.Header.Set("Authorization", "Bearer "+signed)
	mux.ServeHTTP(httptest.NewRecorder(), r)
	// Output: gold has 12 seats
}

// Incorrect: a refresh token is sent where an access token belongs. Both have
// a right signature; the type keeps them apart, and the log says so.
func ExampleVerifier_Verify_incorrect() {
	key, err := token.GenerateKey(token.HS256)
	if err != nil {
		panic(err)
	}
	refresh, _ := newPair(token.TypeRefresh, key)
	_, access := newPair(token.TypeAccess, key)

	signed, err := refresh.Issue(context.Background(), &identity.Principal{Subject: "alice"}, nil)
	if err != nil {
		panic(err)
	}
	_, err = access.Verify(context.Background(), signed)
	fmt.Println(err)
	// Output: auth/token: wrong type of token: typ is "rt+jwt"; expected "at+jwt"
}

// newPair returns an issuer and a verifier of one type of tokens.
func newPair(typ string, keys ...token.Key) (*token.Issuer, *token.Verifier) {
	if keys == nil {
		key, err := token.GenerateKey(token.EdDSA)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	ring, err := token.NewKeyring(keys...)
	if err != nil {
		panic(err)
	}
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuerName, Audience: audience, Type: typ})
	if err != nil {
		panic(err)
	}
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuerName, Audience: audience, Type: typ, InsecureNoRevoker: true})
	if err != nil {
		panic(err)
	}
	return issuer, verifier
}

// Another service's tokens, whose public key came as a PEM file. (If it publishes
// its keys, use a Remote: it follows when they change.)
func ExampleNewVerifier_pem() {
	file, signed := sentByThePartner()

	block, _ := pem.Decode(file)
	if block == nil || block.Type != "PUBLIC KEY" {
		panic("not the PEM file of a public key")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	ring, err := token.NewKeyring(token.Key{
		Algorithm: token.ES256, // as agreed: the key decides, and not the token
		Public:    public,
		// ID: "2026-01", if the partner names its key so in the header of its
		// tokens, and not by the thumbprint.
	})
	if err != nil {
		panic(err)
	}
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{
		Issuer:            "https://partner.example.com",
		Audience:          "https://api.example.com",
		InsecureNoRevoker: true, // the partner tells nobody which of them it has ended
	})
	if err != nil {
		panic(err)
	}
	p, err := verifier.Verify(context.Background(), signed)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Subject, "of", p.Issuer)
	// Output: alice of https://partner.example.com
}

// sentByThePartner is the file that the other service sent, and a token of its.
func sentByThePartner() (file []byte, signed string) {
	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Signer.Public())
	if err != nil {
		panic(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: "https://partner.example.com", Audience: "https://api.example.com"})
	if err != nil {
		panic(err)
	}
	signed, err = issuer.Issue(context.Background(), &identity.Principal{Subject: "alice"}, nil)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), signed
}

// The key that signs is in a file, so that tokens are good after a restart, and
// at each process. This makes one:
//
//	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.pem
func ExampleNewKeyring() {
	file := signingPEM() // os.ReadFile("signing.pem")

	block, _ := pem.Decode(file)
	if block == nil || block.Type != "PRIVATE KEY" {
		panic("not the PEM file of a private key")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		panic("not a key that signs")
	}
	ring, err := token.NewKeyring(token.Key{Algorithm: token.ES256, Signer: token.NewSigner(signer)})
	if err != nil {
		panic(err)
	}
	for _, info := range ring.Keys() {
		fmt.Println(info.Algorithm, info.State)
	}
	// Output: ES256 signing
}

// signingPEM is what the command above makes.
func signingPEM() []byte {
	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.Signer.Unwrap())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Four keys of a year, made and loaded at once: they take turns by the clock,
// each published for a day before it signs, and good for half an hour after its
// turn. Here the calendar is moved instead of the clock.
func ExampleNewKeyring_rotation() {
	var quarters [4]token.Key
	for n := range quarters {
		key, err := token.GenerateKey(token.ES256)
		if err != nil {
			panic(err)
		}
		quarters[n] = key
	}
	const day = 24 * time.Hour
	for _, today := range []time.Duration{0, 89 * day, 90 * day, 90*day + 20*time.Minute, 91 * day, 180 * day, 300 * day} {
		newYear := time.Now().Add(-today)
		keys := quarters
		for n := range keys {
			if n > 0 {
				keys[n].SignFrom = newYear.Add(time.Duration(n) * 90 * day)
				keys[n].PublishFrom = keys[n].SignFrom.Add(-day)
			}
			if n < 3 {
				keys[n].VerifyUntil = newYear.Add(time.Duration(n+1)*90*day + 30*time.Minute)
			}
		}
		ring, err := token.NewKeyring(keys[:]...)
		if err != nil {
			panic(err)
		}
		line := fmt.Sprintf("%-11v", today)
		for _, info := range slices.Backward(ring.Keys()) {
			line += fmt.Sprintf("%-10v", info.State)
		}
		fmt.Println(strings.TrimRight(line, " "))
	}
	// Output:
	// 0s         signing   pending   pending   pending
	// 2136h0m0s  signing   published pending   pending
	// 2160h0m0s  verifying signing   pending   pending
	// 2160h20m0s verifying signing   pending   pending
	// 2184h0m0s  retired   signing   pending   pending
	// 4320h0m0s  retired   verifying signing   pending
	// 7200h0m0s  retired   retired   retired   signing
}

// A stolen key is withdrawn: at once, and with it all that it has signed.
func ExampleKeyring_Replace() {
	stolen, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	ring, err := token.NewKeyring(stolen)
	if err != nil {
		panic(err)
	}
	config := token.VerifierConfig{Issuer: issuerName, Audience: audience, InsecureNoRevoker: true}
	verifier, err := token.NewVerifier(ring, config)
	if err != nil {
		panic(err)
	}
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: config.Issuer, Audience: config.Audience})
	if err != nil {
		panic(err)
	}
	signed, err := issuer.Issue(context.Background(), &identity.Principal{Subject: "alice"}, nil)
	if err != nil {
		panic(err)
	}
	_, err = verifier.Verify(context.Background(), signed)
	fmt.Println(err)

	fresh, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	if err := ring.Replace(fresh); err != nil {
		panic(err)
	}
	_, err = verifier.Verify(context.Background(), signed)
	fmt.Println(errors.Is(err, token.ErrKey))
	// Output:
	// <nil>
	// true
}

// A service takes the tokens of its own issuer and those of a partner, whose
// keys are fetched from the partner.
func ExampleNewVerifiers() {
	theirs, err := token.GenerateKey(token.EdDSA)
	if err != nil {
		panic(err)
	}
	theirRing, err := token.NewKeyring(theirs)
	if err != nil {
		panic(err)
	}
	partner := httptest.NewServer(theirRing.JWKSHandler())
	defer partner.Close()

	remote, err := token.NewRemote(token.RemoteConfig{
		URL:        partner.URL,
		Algorithms: []token.Algorithm{token.EdDSA},
		OnError:    func(err error) { slog.Error("keys of the partner", "error", err) },
	})
	if err != nil {
		panic(err)
	}
	// Before the first request; later fetches are made in the background.
	if err := remote.Fetch(context.Background()); err != nil {
		fmt.Println("starting without the keys of the partner:", err)
	}

	ourRing, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("32 random bytes, or as many more"))})
	if err != nil {
		panic(err)
	}
	ours, err := token.NewVerifier(ourRing, token.VerifierConfig{Issuer: issuerName, Audience: audience, InsecureNoRevoker: true})
	if err != nil {
		panic(err)
	}
	partners, err := token.NewVerifier(remote, token.VerifierConfig{Issuer: "https://partner.example.com", Audience: audience, InsecureNoRevoker: true})
	if err != nil {
		panic(err)
	}
	verifier, err := token.NewVerifiers(ours, partners)
	if err != nil {
		panic(err)
	}

	// The partner signs in its own name, and then in ours.
	for _, name := range []string{"https://partner.example.com", issuerName} {
		issuer, err := token.NewIssuer(theirRing, token.IssuerConfig{Issuer: name, Audience: audience})
		if err != nil {
			panic(err)
		}
		signed, err := issuer.Issue(context.Background(), &identity.Principal{Subject: "bob"}, nil)
		if err != nil {
			panic(err)
		}
		p, err := verifier.Verify(context.Background(), signed)
		if err != nil {
			fmt.Println(errors.Is(err, token.ErrKey))
			continue
		}
		fmt.Println(p.Subject, "of", p.Issuer)
	}
	// Output:
	// bob of https://partner.example.com
	// true
}
