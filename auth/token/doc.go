// Package token signs and verifies JSON Web Tokens.
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
//	verifier, err := token.NewVerifier(ring, token.VerifierConfig{
//		Issuer:   "https://auth.example.com",
//		Audience: "https://api.example.com",
//		Revoker:  revoked, // a *blacklist.Replica
//	})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
//	mux.Handle("GET /reports/", hooks.Authenticated(reports))
//
// Package auth adds sign-in and refresh. A service that only accepts tokens uses
// a [Verifier] with the published keys of the issuer, a [Remote]. [NewVerifiers]
// accepts the tokens of several issuers.
//
// # Verification
//
// A [Verifier] checks, in this order: the size; the envelope, three parts of
// canonical base64url; the header; the key, by ID and algorithm; the type; the
// signature; the claims; issuer, audience, expiry, not-before, issue time and
// lifetime; the Revoker. The JSON reader rejects a claim that occurs twice, in
// another case, or with control characters, if the Verifier reads the claim.
// Other claims have no effect. golang-jwt verifies asymmetric signatures; its
// parser is not used.
//
// Valid tokens are cached. A cache hit compares the whole token, and checks
// expiry, the keys, the Revoker and Hooks.Active again. Only tokens with a valid
// signature enter the cache.
//
// # Keys
//
// A [Key] has times at which it is published, begins to sign, and is retired. A
// [Keyring] rotates its keys by these times, without rejecting a valid token. If
// a key is stolen, [Keyring.Replace] without it rejects its tokens at once, in
// each process.
//
// A [Remote] fetches keys in the background. No request waits for the network,
// and there is at most one fetch per Cooldown. While the endpoint fails, known
// keys stay valid for MaxStale. A token with an unknown key is answered 503
// until a fetch that began after its first sight has ended, and then 401.
// [ParseKeySet] reads keys from a file.
//
// # Tokens of other issuers
//
// By default a token must follow RFC 9068: type "at+jwt", a key ID, and the
// claims iss, sub, aud, exp, iat, jti and client_id. A [Profile] describes tokens
// that differ. Package issuers has Profiles of common issuers. An issuer that
// belongs to another organization is VerifierConfig.Foreign: it states the
// identity of the caller, and its tokens grant only what the Profile lists by name.
//
// # Security considerations
//
// A token is valid for each client that holds it. Use short lifetimes and TLS,
// and never put tokens into URLs.
//
// A valid token states what was true when it was issued. VerifierConfig.Revoker
// and Hooks.Active check what is true now.
//
// Identify callers by Issuer and Subject, never by Subject alone, and tokens by
// Principal.Credential, never by their bytes. Each ECDSA signature (r, s) has a
// twin (r, n−s) that is valid too. Keyrings sign with the smaller s and reject
// the larger one. Keys of other issuers, and keys with Key.AcceptHighS, accept
// both. Nothing in this module depends on the bytes of a signature.
//
// An attacker that controls the URL of a Remote, its host or its certificates can
// sign tokens of that issuer. An attacker that blocks the URL keeps withdrawn keys
// valid for RemoteConfig.MaxStale. With the ID of the issuer's next key, an
// attacker can present a token in advance; tokens of that key are then answered
// 401 instead of 503 until the next fetch, at most one Cooldown after the first.
//
// A memory dump of a process contains the cached tokens, which are valid.
package token
