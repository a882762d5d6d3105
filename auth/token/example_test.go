package token_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
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
	verifier, err := token.NewVerifier(ring, token.Config{
		Issuer:   "https://auth.example.com",
		Audience: "https://api.example.com",
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
	// Output: token: made for something else
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
	verifier, err := token.NewVerifier(ring, token.Config{Issuer: issuerName, Audience: audience, Type: typ})
	if err != nil {
		panic(err)
	}
	return issuer, verifier
}

// Rotation in three deployments: the new key is published behind the old one,
// then signs, and at last the old one goes.
func ExampleNewKeyring_rotation() {
	old, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	next, err := token.GenerateKey(token.ES256)
	if err != nil {
		panic(err)
	}
	retired := token.Key{Algorithm: old.Algorithm, Public: old.Signer.Public()}
	for _, keys := range [][]token.Key{
		{old, next},     // for longer than others keep the JWK Set
		{next, retired}, // for longer than tokens live
		{next},
	} {
		ring, err := token.NewKeyring(keys...)
		fmt.Println(ring != nil, err)
	}
	// Output:
	// true <nil>
	// true <nil>
	// true <nil>
}
