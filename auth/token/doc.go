// Package token signs and verifies JSON Web Tokens: a ring of keys, an issuer,
// a verifier that is a [guard.Authenticator] for bearer tokens, and the JWK
// Set of the public keys.
//
//	key, err := token.GenerateKey(token.ES256)
//	…
//	ring, err := token.NewKeyring(key)
//	…
//	issuer, err := token.NewIssuer(ring, token.IssuerConfig{
//		Issuer:   "https://auth.example.com",
//		Audience: "https://api.example.com",
//	})
//	…
//	verifier, err := token.NewVerifier(ring, token.Config{
//		Issuer:   "https://auth.example.com",
//		Audience: "https://api.example.com",
//		Revoker:  revoked, // a *blacklist.Memory, say
//	})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
//	mux.Handle("GET /reports/", hooks.Authenticated(reports))
//
// Package auth builds on it what a sign-in needs; a service that only takes
// tokens needs nothing beyond this package.
//
// # What is verified, in this order
//
// The size; the envelope (three parts of canonical base64url, so that one
// token has one spelling); the header (no member twice, no extension that must
// be understood, no key that the token brings along); the key, by its ID, and
// that the token's algorithm and type are the expected ones; the signature.
// Only then the claims, by a reader that takes no name twice or in another
// case, no invalid UTF-8, no control character in an identifier, nothing after
// the object, no number in a string; then issuer, audience, expiry, not-before,
// issue time and lifetime; and at last whether it was revoked.
//
// golang-jwt supplies the verification of asymmetric signatures. Its parser and
// its global registry of algorithms are not used.
//
// # Security considerations
//
// A token is good for whoever holds it. It should be short-lived, travel over
// TLS only, and never stand in a URL.
//
// A verified token says what was true when it was issued. Ask Config.Revoker
// and Hooks.Active what is true now.
//
// The ECDSA signature (r, s) has a twin (r, n−s) that verifies too. Nothing in
// this module identifies a token by its bytes, so the twin is revoked with it;
// do the same in your own code: use Principal.Credential.
//
// A private key behind a network is called without a deadline: a Signer must
// have its own.
package token
