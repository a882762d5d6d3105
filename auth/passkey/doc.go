// Package passkey is a WebAuthn Level 3 relying party: it registers passkeys and
// verifies assertions, to sign in, as a second factor, and to step up a session.
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
// [RelyingParty.Prove] verifies an assertion; package auth opens the session.
// RelyingParty is also a SecondFactor of package auth.
//
// # In the page
//
// The handlers read and write the JSON of the browser's own functions:
//
//	const post = (url, body) => fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body})
//	const options = await (await post("/passkeys/options", JSON.stringify({proof: password}))).json()
//	const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options)
//	const created = await navigator.credentials.create({publicKey})
//	await post("/passkeys/", JSON.stringify({...created.toJSON(), name: "My phone"}))
//
// Sign-in uses parseRequestOptionsFromJSON and navigator.credentials.get. With
// mediation: "conditional" and an input element whose autocomplete attribute is
// "username webauthn", the browser offers passkeys while the user types.
//
// # Verification
//
// Sections 7.1 and 7.2 of WebAuthn Level 3, for ES256, Ed25519 and RS256 with 2048 to
// 4096 bits. JSON, CBOR, base64url and COSE keys have one accepted spelling.
// Credentials must be discoverable. Attestation statements are ignored.
//
// A challenge passes once, for its purpose and session, before it expires.
//
// A passkey signs in alone if the authenticator verified the user, and either did so at
// the registration or synchronizes the passkey. Other passkeys are second factors.
//
// # Security considerations
//
// A synchronized passkey is as safe as the account that synchronizes it. A signature
// counter that does not grow may mean a cloned authenticator: see Config.RefuseClones.
//
// Adding and removing passkeys takes a recent sign-in, the second factor, and a proof
// in the same request: a stolen access token must not become a lasting way in.
//
// A script on a page of Config.Origins can request assertions. Serve users' content
// from other domains.
package passkey
