// Package blacklist records revocations, so that a logout takes effect before the
// token expires. A [File] keeps them on the disk, and a [Replica] in memory, so
// that a check does no I/O:
//
//	log, err := blacklist.OpenFile("/var/lib/app/revocations.log", blacklist.FileConfig{})
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	err = revoked.Refresh(ctx) // read everything before serving
//	…
//	go revoked.Run(ctx)
//
//	token.VerifierConfig{Revoker: revoked} // checks each token
//	auth.Config{Revoker: revoked}          // checks, and revokes on logout
//
// Several machines share a [Log] of package sqllog or redislog. Without package
// auth, revoke everything that a user was issued up to now:
//
//	_, err := revoked.RevokeNow(ctx, identity.Revocation{
//		Issuer:  "https://accounts.example.com",
//		Subject: user.ID,
//		Spare:   caller.Session,                   // stays signed in
//		Expires: time.Now().Add(longestTokenLife), // when the last token has expired
//	})
//
// API keys have another issuer: to end everything of a user, call
// [Replica.RevokeAll] with each issuer.
//
// # Order
//
// Authenticators check revocation last, so that forged tokens do not reach the
// store. Put a [Guard] behind Identify. An error of a Revoker is answered 503.
//
// # Outages
//
// If a Replica cannot read its log, or the server is a standby or read-only, it
// refuses known revocations, accepts other callers until the last reading is
// ReplicaConfig.MaxStale old, and then returns errors. A logout that cannot be
// recorded is an error at once. On other machines a revocation counts after a Poll,
// at the latest after MaxStale.
//
// # Times of issue
//
// A credential issued at the moment of Before is not revoked. RevokeNow chooses a later
// Before than every IssuedAt so far: issue the next credentials with the date of
// [Replica.IssueTime], or a sign-in right after it is refused, as is one in the same
// second if issue times are coarser than microseconds. After a sign-in is stored, call
// [Replica.RevokedSince] with the [Replica.Checkpoint] of its beginning, so that a
// concurrent revocation ends it.
//
// # Security considerations
//
// Memory and MemoryLog lose everything when the process ends: stolen tokens that
// were logged out are accepted again. Several processes share neither them nor a
// File.
//
// An attacker with write access to a File can revoke any caller, and undo logouts.
// An attacker with read access sees when revocations happened, and for guessable
// identifiers, of which user. Keep the file in a folder of the program's own. A
// restored backup lacks the logouts since.
//
// A revocation must not expire before the last credential that it matches,
// including the verifier's clock leeway; otherwise the credential is accepted
// again. Clocks of the machines may differ by identity.MaxClockSkew.
//
// An empty field of a revocation matches everything: with Before and an empty
// Subject, a revocation of one user signs out all users.
//
// Services that verify tokens on their own, cached responses, and open connections
// (WebSocket, server-sent events) do not check revocations.
package blacklist
