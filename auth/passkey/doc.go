// Package passkey is a WebAuthn Level 3 relying party: it registers passkeys and
// verifies their assertions, as a way to sign in, as a second factor, and to step
// up a session.
//
//	passkeys, err := passkey.New(store, passkey.Config{
//		RPID: "example.com", Name: "Example", Origins: []string{"https://example.com"},
//		Issuer: "https://example.com", // of the access tokens
//		Keys:   []guard.Secret{guard.NewSecret(key)},
//		Once:   once, User: names, Authorize: currentPassword,
//	})
//	mux.Handle("POST /passkeys/options", passkeys.RegisterOptions())
//	mux.Handle("POST /passkeys/", passkeys.Register())
//	mux.Handle("GET /passkeys/", passkeys.List())
//	mux.Handle("PATCH /passkeys/{id}", passkeys.Rename())
//	mux.Handle("DELETE /passkeys/{id}", passkeys.Remove())
//	mux.Handle("POST /sign-in/passkey/options", passkeys.SignInOptions())
//
// [RelyingParty.Prove] verifies an assertion and returns an identity.Proof; package
// auth opens the session. A RelyingParty also implements the SecondFactor of
// package auth; the code is then the JSON of the assertion.
//
// # In the page
//
// The handlers read and write the JSON of the browser's own functions. Registration:
//
//	const post = (url, body) => fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body})
//	const options = await (await post("/passkeys/options", JSON.stringify({proof: password}))).json()
//	const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options)
//	const created = await navigator.credentials.create({publicKey})
//	await post("/passkeys/", JSON.stringify({...created.toJSON(), name: "My phone"}))
//
// Sign-in works the same way with parseRequestOptionsFromJSON and
// navigator.credentials.get; with mediation: "conditional" and an input element
// whose autocomplete attribute is "username webauthn", the browser offers passkeys
// while the user types. Package headers forbids passkeys by default; allow
// publickey-credentials-create and publickey-credentials-get on the pages that
// use them.
//
// # What is verified
//
// Sections 7.1 and 7.2 of WebAuthn Level 3: type, challenge, origin, frame, RP ID,
// user presence, flags, user handle, signature. The algorithms are ES256, EdDSA
// with Ed25519, and RS256 with 2048 to 4096 bits. JSON, CBOR, base64url and COSE
// keys have one accepted spelling. Credentials must be discoverable.
//
// A challenge carries a MAC and its expiry, and is bound to a purpose and, where
// there is one, to a session. It passes once: Config.Once records it after the
// signature was verified.
//
// A passkey signs in alone only if the authenticator verified the user. This flag
// counts if the registration had it too or the passkey is synchronized. Without
// it, a passkey serves as a second factor only.
//
// # Security considerations
//
// A synchronized passkey is as safe as the account that synchronizes it. The
// make of the authenticator is not known: attestation statements are ignored.
//
// A signature counter that does not grow may mean a cloned authenticator; an
// event reports it, and Config.RefuseClones rejects it.
//
// Adding and removing passkeys takes a recent sign-in, the subject's second factor
// and a proof in the same request, because a stolen access token must not become a
// lasting way in. Challenges of a registration stay valid for five minutes after
// the proof.
//
// A script on a page of Config.Origins can request assertions, so content of users
// belongs on other domains.
package passkey
