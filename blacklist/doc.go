// Package blacklist records revocations, so that a logout takes effect at once
// although the signature of the token stays valid until the token expires.
//
// A [File] keeps revocations on the disk, and a [Replica] holds them in memory, so
// that a check does no I/O. A host passes the Replica to everything that identifies
// callers and everything that signs them out:
//
//	log, err := blacklist.OpenFile("/var/lib/app/revocations.log", blacklist.FileConfig{})
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // read everything before serving
//		return err
//	}
//	go revoked.Run(ctx)
//
//	token.VerifierConfig{Revoker: revoked} // checks each token
//	auth.Config{Revoker: revoked}          // checks, and revokes on logout
//
// Hosts that use package auth call EndSessions of its Server. Other hosts revoke
// everything that a user was issued up to now with [Replica.RevokeNow], here except
// the session in which the password was changed:
//
//	_, err := revoked.RevokeNow(ctx, identity.Revocation{
//		Issuer:  "https://accounts.example.com",
//		Subject: user.ID,
//		Spare:   caller.Session,                   // empty: no session is spared
//		Expires: time.Now().Add(longestTokenLife), // when the last token has expired
//	})
//	if err != nil {
//		return err // 503: the password was changed, but old tokens still work
//	}
//
// Several machines share a [Log]: package sqllog keeps one in PostgreSQL, or in SQLite for
// the processes of one machine, and package redislog in Redis. blacklisttest has the
// conformance suites for other Revokers and Logs. [Memory] is for tests. A [Guard] checks
// callers of hosts with their own sign-in.
//
// # What is revoked
//
// An [identity.Revocation] names a token's ID, a session, a user, a tenant, or everything of
// an issuer before a moment. The bytes of a token are never compared, because other bytes can
// be the same token.
//
// API keys have the issuer "apikey:" and their prefix. To end everything that a user has,
// revoke the subject of each issuer with [Replica.RevokeAll].
//
// # Order
//
// Authenticators check revocation last, so that forged tokens do not reach the store. Put a
// [Guard] behind Identify. An error of a Revoker is answered with 503.
//
// # Outages
//
// A Replica that cannot read its log refuses callers with known revocations, accepts all
// further callers until the last reading is ReplicaConfig.MaxStale old (5 seconds), and then
// returns errors. A standby, a fenced primary and a Redis replica are outages of the log too. A
// logout that cannot be recorded is an error at once. On other machines a revocation counts
// after a Poll (250 ms), and never later than MaxStale.
//
// # Times of issue
//
// A credential issued at the very moment of Before is not revoked. If issue times are coarser
// than the microseconds of a [Log], a sign-in that follows in the same second is refused; a
// stolen token never survives.
//
// RevokeNow chooses a Before that is later than every IssuedAt so far, also by clocks that are
// ahead by [identity.MaxClockSkew]. Issue what follows with the date that [Replica.IssueTime]
// returns, and after a sign-in is stored call [Replica.RevokedSince] with the
// [Replica.Checkpoint] of its beginning, so that a revocation at the same time ends it.
//
// # Security considerations
//
// [Memory] and [MemoryLog] lose everything when the process ends: a stolen token that was
// logged out is accepted again until it expires. Several processes do not share them, nor a
// [File].
//
// An attacker with write access to the file of a File can revoke any caller, and undo logouts:
// the checksums detect accidents, not forgeries. An attacker with read access sees when
// revocations happened, and for guessable identifiers, of which user. Keep the file in a folder
// of the program's own. A restored backup lacks the logouts since.
//
// A revocation must not expire before the last credential that it matches, including the clock
// leeway of the verifier; otherwise the credential is accepted again. Clocks of the machines may
// differ by [identity.MaxClockSkew]; [Replica.Ready] returns an error beyond that if the log is
// a [Clock].
//
// An empty field of a revocation matches everything: with Before and an empty Subject, a
// revocation of one user signs out all users.
//
// Services that verify tokens on their own, cached responses, and connections that were accepted
// earlier (WebSocket, server-sent events) do not check revocations.
package blacklist
