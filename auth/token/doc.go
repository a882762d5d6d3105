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
//	verifier, err := token.NewVerifier(ring, token.VerifierConfig{
//		Issuer:   "https://auth.example.com",
//		Audience: "https://api.example.com",
//		Revoker:  revoked, // a *blacklist.Replica, say
//	})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
//	mux.Handle("GET /reports/", hooks.Authenticated(reports))
//
// Package auth builds on it what a sign-in needs; a service that only takes
// tokens needs nothing beyond this package. It verifies with the keys that the
// issuer publishes:
//
//	keys, err := token.NewRemote(token.RemoteConfig{
//		URL:        "https://auth.example.com/.well-known/jwks.json",
//		Algorithms: []token.Algorithm{token.ES256},
//		OnError:    func(err error) { slog.Error("signing keys", "error", err) },
//	})
//	…
//	verifier, err := token.NewVerifier(keys, token.VerifierConfig{…})
//
// [Any] takes the tokens of several issuers.
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
// # Tokens that were seen before
//
// A [Verifier] remembers tokens that were good, VerifierConfig.CacheSize of them, so
// that a caller who comes again costs the same with every algorithm: a look-up.
// It compares the whole token. Asked again each time is what may have changed
// since: whether it has expired, or is not good yet by a clock that was put
// back; whether its key still verifies, and the keys are the ones it was
// verified with; the Revoker, and Hooks.Active. Every request has a Principal
// of its own. Tokens longer than two kilobytes are not remembered. Only those
// with a good signature are, so a stranger can push none out.
//
// # Rotation
//
// A [Key] says when it is published, when it begins to sign and when it is
// retired, and a [Keyring] with several of them needs nothing but the clock:
// pending, published, signing, verifying, retired. NewKeyring, NewIssuer and
// Replace refuse schedules in which a key would sign before others could know
// it, or in which nobody could sign before a later key's turn; and no token is
// signed with a key that would be retired before it. So a rotation refuses no
// good token, here or at whoever keeps the JWK Set for the five minutes that
// its Cache-Control grants. All processes of an issuer load the same keys, and
// their clocks and those of the verifiers may be a minute apart.
//
// A stolen key is withdrawn by [Keyring.Replace] without it, in each process.
// Services that fetch the keys notice at their next fetch; a [Remote] that is
// in use makes one every five minutes.
//
// # Keys of others
//
// No request waits for a [Remote]: it fetches in the background of those that
// need it, one fetch at a time and at most one in a Cooldown, whatever key IDs
// strangers invent. While the endpoint is down, keys that are known stay good
// for MaxStale; what cannot be known is answered 503, and not 401, which would
// sign everybody out. A key is chosen by its ID and algorithm. Private keys that
// somebody published, keys for another use, and two different keys of one ID and
// algorithm are refused; the other keys of the set are used.
//
// A Signer that is not a private key in memory, such as a key management
// system, has IssuerConfig.SignTimeout to answer, and what it returns is
// verified before it leaves. Its failures are those of Issue alone.
//
// A key that came as a file is given as Key.Public, with Key.ID if its owner does
// not name it by its thumbprint.
//
// # Tokens of others
//
// They are taken if they have the profile of RFC 9068: a header with a key ID
// and the type that VerifierConfig.Type says, and the claims iss, sub, aud, exp,
// iat, jti and client_id. Many issuers write it only when they are told to, and
// otherwise the type "JWT" or none, another name for client_id, or no jti. "JWT"
// is a Type that may be asked for. Tokens without a type are [ErrType], without
// a key ID [ErrKey], without one of the claims but iss and aud [ErrMalformed].
// Scopes in another claim than "scope" are read by scopes.FromClaims.
//
// # Security considerations
//
// A token is good for whoever holds it. It should be short-lived, travel over
// TLS only, and never stand in a URL.
//
// A verified token says what was true when it was issued. Ask VerifierConfig.Revoker
// and Hooks.Active what is true now.
//
// The roles, tenant, scopes and factors of a Principal are what its issuer wrote,
// whichever that is. A service that takes the tokens of a partner lets the
// partner make administrators, unless VerifierConfig.Foreign is set, which leaves
// roles and tenant out, or roles are found by Issuer and Subject, as
// rbac.Config.Roles can. A Subject alone names nobody.
//
// The ECDSA signature (r, s) has a twin (r, n−s) that is valid too. Keyrings
// sign with the smaller s and reject the larger one, so their tokens have one
// spelling. Keys of other issuers, and keys with Key.AcceptHighS, accept both:
// their tokens have two spellings. Nothing in this module identifies a token by
// the bytes of its signature, so both spellings are revoked together. In your own
// code, identify tokens by Principal.Credential.
//
// A call of a Signer that hangs is given up and cannot be ended: up to 64 of
// them for an Issuer stay, until they return.
//
// Whoever controls the URL of a Remote, its host, or the certificates of both,
// can sign tokens of that issuer. And whoever can keep us from the URL keeps
// keys alive that were withdrawn meanwhile, for as long as RemoteConfig.MaxStale.
//
// The memory of a Verifier holds tokens that are good. A dump of it is as
// valuable as a log of Authorization headers.
package token
