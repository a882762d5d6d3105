// Package token signs and verifies JSON Web Tokens of RFC 9068, and verifies others
// that a [Profile] describes.
//
//	ring, err := token.NewKeyring(key) // of GenerateKey or ParsePrivateKey
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
// Package auth adds sign-in and refresh. A service that only accepts tokens has a
// [Remote] or [KeySet] instead of a Keyring; [NewVerifiers] accepts several issuers.
// Errors of constructors list every mistake. "Risk" in the comment of a field is what
// an attacker gains if the field is set without need.
//
// # Order
//
// A [Verifier] checks size, envelope, header, key by ID and algorithm, type,
// signature, claims, issuer, audience, expiry, not-before, issue time, lifetime and
// the Revoker. It rejects claims that it reads if they occur twice, in another case,
// or with control characters. For cached tokens it checks expiry, keys, Revoker and
// Hooks.Active again.
//
// # Security considerations
//
// A token is valid for each client that holds it: use short lifetimes and TLS, and
// never put tokens into URLs. Roles and scopes may be stale; the Revoker and
// Hooks.Active are current. If a signing key is stolen, [Keyring.Replace] rejects its
// tokens at once, in each process that calls it.
//
// Identify callers by Issuer and Subject, and tokens by Principal.Credential, never
// by their bytes: each ECDSA signature (r, s) has a twin (r, n−s), which only keys of
// a Keyring without Key.ID and Key.AcceptHighS reject.
//
// An attacker that controls the URL of a Remote, its host or its certificates can
// sign tokens of that issuer. An attacker that blocks the URL keeps withdrawn keys
// valid for RemoteConfig.MaxStale. An attacker that presents the ID of the issuer's
// next key in advance causes 401 instead of 503 for its tokens, for at most one
// Cooldown.
//
// A memory dump of a process contains valid tokens from the cache.
package token
