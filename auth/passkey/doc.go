// Package passkey is a WebAuthn Level 3 relying party. Passkeys sign in, serve as a
// second factor, and step up a session.
//
//	passkeys, err := passkey.New(store, passkey.Config{
//		RPID: "example.com", Name: "Example", Origins: []string{"https://example.com"},
//		Issuer: "https://example.com", Keys: []guard.Secret{guard.NewSecret(key)},
//		Once: once, User: names, Authorize: currentPassword,
//	})
//	mux.Handle("POST /passkeys/options", passkeys.RegisterOptions())
//	mux.Handle("POST /passkeys/", passkeys.Register())
//	mux.Handle("DELETE /passkeys/{id}", passkeys.Remove())
//	mux.Handle("POST /sign-in/passkey/options", passkeys.SignInOptions())
//
// In package auth, [RelyingParty.Prove] is a WayIn.Prove, and a RelyingParty is a
// SecondFactor.
//
// # In the page
//
// To register, pass the options through
// PublicKeyCredential.parseCreationOptionsFromJSON to navigator.credentials.create,
// and POST {...credential.toJSON(), name}. To sign in, use
// parseRequestOptionsFromJSON and navigator.credentials.get. With mediation:
// "conditional" and an input with autocomplete="username webauthn", the browser
// offers passkeys while the user types.
//
// # Verification
//
// WebAuthn sections 7.1 and 7.2, with ES256, Ed25519 and RS256 of 2048 to 4096
// bits. Only discoverable credentials and canonical JSON, CBOR, base64url and COSE
// keys are accepted. Attestation statements are ignored. A challenge passes once,
// for its purpose and session, before it expires.
//
// A passkey signs in alone if the authenticator verified the user, and either did
// so at the registration or synchronizes the passkey. Other passkeys are second
// factors.
//
// # Security considerations
//
// A synchronized passkey is as safe as the account that synchronizes it. A
// signature counter that does not grow may mean a cloned authenticator: see
// Config.RefuseClones.
//
// Adding and removing passkeys requires a recent sign-in, the second factor and a
// proof: a stolen access token is not enough.
//
// A script on a page of Config.Origins can request assertions. Serve users' content
// from other domains.
package passkey
