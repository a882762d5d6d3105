// Package demo has what the programs of this module share: an authority that issues
// tokens, as the sign-in of a company would be, and the test of a router.
package demo

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// An Authority issues and verifies tokens, with a key that it has just made.
type Authority struct {
	Tokens  *token.Verifier
	Revoked *blacklist.Memory
	issuer  *token.Issuer
	brief   *token.Issuer
}

// New returns an Authority.
func New() *Authority {
	const self, api = "https://auth.example.com", "https://api.example.com"
	ring := must(token.NewKeyring(must(token.GenerateKey(token.ES256))))
	revoked := new(blacklist.Memory)
	return &Authority{
		Tokens:  must(token.NewVerifier(ring, token.VerifierConfig{Issuer: self, Audience: api, Realm: "demo", Revoker: revoked})),
		Revoked: revoked,
		issuer:  must(token.NewIssuer(ring, token.IssuerConfig{Issuer: self, Audience: api})),
		brief:   must(token.NewIssuer(ring, token.IssuerConfig{Issuer: self, Audience: api, Lifetime: 2 * time.Second})),
	}
}

// Token returns an access token.
func (a *Authority) Token(subject string, scopes ...string) string {
	return must(a.issuer.Issue(context.Background(), &identity.Principal{Subject: subject, Scopes: identity.NewSet(scopes...)}, nil))
}

// Brief returns an access token for two seconds.
func (a *Authority) Brief(subject string, scopes ...string) string {
	return must(a.brief.Issue(context.Background(), &identity.Principal{Subject: subject, Scopes: identity.NewSet(scopes...)}, nil))
}

// Revoke ends all tokens of a subject that were issued so far.
func (a *Authority) Revoke(ctx context.Context, subject string) error {
	return a.Revoked.Revoke(ctx, identity.Revocation{Issuer: a.issuer.Name(), Subject: subject})
}

// Log returns hooks that log events.
func Log() guard.Hooks { return guard.Hooks{Observe: guard.Log(slog.Default())} }

// Serve prints a command that calls path, and serves h.
func (a *Authority) Serve(h http.Handler, path string) {
	a.Print(path)
	server := http.Server{Addr: "127.0.0.1:8080", Handler: h, ReadHeaderTimeout: 5 * time.Second}
	Check(server.ListenAndServe())
}

// Print prints a command that calls path with a token.
func (a *Authority) Print(path string) {
	fmt.Printf("curl -i http://127.0.0.1:8080%s -H 'Authorization: Bearer %s'\n", path, a.Token("ada", "read:items"))
}

// Check ends the program if err is not nil.
func Check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { Check(err); return v }
