// Package token signs and verifies JSON Web Tokens.
//
//	key, err := token.GenerateKey(token.ES256)
//	…
//	ring, err := token.NewKeyring(key)
//	…
//	issuer, err := token.NewIssuer(ring, token.IssuerConfig{
//		Issuer: "https://auth.example.com", Audience: "https://api.example.com",
//	})
//	…
//	verifier, err := token.NewVerifier(ring, token.VerifierConfig{
//		Issuer: "https://auth.example.com", Audience: "https://api.example.com",
//		Revoker: revoked, // a *blacklist.Replica
//	})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
//	mux.Handle("GET /reports/", hooks.Authenticated(reports))
//
// Package auth adds sign-in and refresh. A service that only accepts tokens uses
// a [Verifier] with a [Remote] or [ParseKeySet]. [NewVerifiers] accepts the
// tokens of several issuers.
//
// By default a token must follow RFC 9068: type "at+jwt", a key ID, and the
// claims iss, sub, aud, exp, iat, jti and client_id. A [Profile] describes tokens
// that differ; package issuers has Profiles of common issuers.
//
// # Order
//
// A [Verifier] checks, in this order: the size; the envelope, three parts of
// canonical base64url; the header; the key, by ID and algorithm; the type; the
// signature; the claims; issuer, audience, expiry, not-before, issue time and
// lifetime; the Revoker. Of the claims that it reads, it rejects one that occurs
// twice, in another case, or with control characters. Other claims have no
// effect.
//
// Valid tokens are cached. A cache hit compares the whole token, and checks
// expiry, the keys, the Revoker and Hooks.Active again.
//
// # Security considerations
//
// A token is valid for each client that holds it. Use short lifetimes and TLS,
// and never put tokens into URLs. A token states what was true when it was
// issued; VerifierConfig.Revoker and Hooks.Active check what is true now. If a
// signing key is stolen, [Keyring.Replace] rejects its tokens at once, in each
// process that calls it.
//
// Identify callers by Issuer and Subject, never by Subject alone, and tokens by
// Principal.Credential, never by their bytes: each ECDSA signature (r, s) has a
// twin (r, n−s). Keyrings sign with the smaller s and reject the larger one. Keys
// of other issuers, and keys with Key.AcceptHighS, accept both.
//
// An attacker that controls the URL of a Remote, its host or its certificates can
// sign tokens of that issuer. An attacker that blocks the URL keeps withdrawn
// keys valid for RemoteConfig.MaxStale. With the ID of the issuer's next key, an
// attacker can present a token in advance; tokens of that key are then answered
// 401 instead of 503 until the next fetch, at most one Cooldown after the first.
//
// A memory dump of a process contains the cached tokens, which are valid.
package token
