// Package blacklist keeps what was revoked: it makes a logout final, although
// the signature of the token it ends stays good until the token expires.
//
// A host chooses one [Revoker] and gives it to everything that identifies
// callers and to everything that signs them out:
//
//	revoked := new(blacklist.Memory) // one process only: see below
//
//	token.Config{Revoker: revoked} // asks before a token counts
//	auth.Config{Revoker: revoked}  // asks, and revokes on logout
//
// From then on a logout ends the session it came from. The host's own code
// revokes the same way, for one person on all their devices say, after a
// password change:
//
//	now := time.Now()
//	err := revoked.Revoke(ctx, identity.Revocation{
//		Issuer:  "https://accounts.example.com",
//		Subject: user.ID,
//		Before:  now,                       // who signs in again is let in
//		Expires: now.Add(longestTokenLife), // then there is nothing left to refuse
//	})
//	if err != nil {
//		return err // 503: the password was changed, but old tokens still work
//	}
//
// Whatever has the methods of [Revoker] will do, so a host with a database
// writes its own; blacklisttest.Run proves that it keeps the rules.
//
// # What is revoked
//
// An [identity.Revocation] names identifiers: a token's ID, a session, a
// person, a tenant, or everything of an issuer before a moment. The bytes of
// a token are never compared. One token has many spellings that verify (the
// unused bits of the last base64url character, the second signature that
// every ECDSA signature has), so that a list of bytes lets in whoever changes
// one character.
//
// # Order
//
// Authenticators ask last, when the signature, the dates and the audience of
// a credential have been found good, so that nobody reaches the store with
// made-up tokens. An error is answered with 503: without an answer a
// credential is neither good nor bad.
//
// # Times of issue
//
// Before is compared with [identity.Principal.IssuedAt] as an instant and
// strictly: issued at that very moment is not before it. The token package
// therefore gives its tokens issue times with a fraction of a second. With
// whole seconds either a token that was stolen in the second of a revoke-all
// would survive it, or the sign-in that follows in the same second would be
// refused. Where issue times are coarser than Before, the second happens,
// never the first: a time that was cut is earlier than the true one.
//
// # Security considerations
//
// [Memory] forgets everything when the process ends. After a restart, a
// deployment or a crash, whoever stole a token that its owner has logged out
// can use it again until it expires; so can a user who was locked out. And
// several processes do not share a Memory: a token that was revoked at one is
// good at the others. Production needs a Revoker that is durable and shared.
// Memory is for tests, for development, and for a single process whose tokens
// live so short that their lifetime is an acceptable answer.
//
// A revocation must not expire before the last credential that it matches
// does, the clock leeway of the verifier included; otherwise the credential
// comes back to life for the time between.
//
// An empty field of a revocation means any. Make sure that an identifier is
// not empty before you pass it together with Before: without its Subject,
// "this user until now" is "everybody until now", which signs all of them out.
//
// A revocation reaches those who ask. A service that verifies tokens on its
// own, a cached response, a connection that was accepted earlier (WebSocket,
// server-sent events) do not ask.
package blacklist
