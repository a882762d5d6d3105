// Package blacklist keeps what was revoked: it makes a logout final, although
// the signature of the token it ends stays good until the token expires.
//
// A [File] keeps revocations on the disk, and a [Replica] has all of them in
// memory, so that asking costs no I/O. A host gives it to everything that
// identifies callers and to everything that signs them out:
//
//	log, err := blacklist.OpenFile("/var/lib/app/revocations.log", blacklist.FileConfig{})
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // all of it, before the first request
//		return err
//	}
//	go revoked.Run(ctx) // reads what is new, and drops what has expired
//
//	token.VerifierConfig{Revoker: revoked} // asks before a token counts
//	auth.Config{Revoker: revoked}          // asks, and revokes on logout
//
// From then on a logout ends the session it came from, and is still final after
// a crash. The host's own code revokes the same way, for one person on all their
// devices say, but for the session in which they have just changed their
// password:
//
//	now := time.Now()
//	err := revoked.Revoke(ctx, identity.Revocation{
//		Issuer:  "https://accounts.example.com",
//		Subject: user.ID,
//		Before:  now,                       // who signs in again is let in
//		Spare:   caller.Session,            // empty spares none
//		Expires: now.Add(longestTokenLife), // then there is nothing left to refuse
//	})
//	if err != nil {
//		return err // 503: the password was changed, but old tokens still work
//	}
//
// A host with a login of its own puts a [Guard] behind it. On any host,
// [Replica.Direct] makes one for the routes on which a revocation on another
// machine must count at once.
//
// Several machines share a [Log]: that of package sqllog in PostgreSQL, or in
// SQLite for the processes of one machine, or that of package redislog.
//
// Whatever has the methods of [Revoker] will do, so a host may write its own, or
// only a [Log]; blacklisttest.Run and RunLog prove that they keep the rules.
// [Memory] is for tests and for development.
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
// API keys have issuers of their own, "apikey:" and their prefix. To end
// everything that a person has, revoke the subject of each issuer, in one step
// with [Replica.RevokeAll].
//
// # Order
//
// Authenticators ask last, when the signature, the dates and the audience of
// a credential have been found good, so that nobody reaches the store with
// made-up tokens. A [Guard] stands behind Identify. An error is answered with
// 503: without an answer a credential is neither good nor bad.
//
// # Outages
//
// A Replica that cannot read its log keeps refusing what it knows, serves others
// until the last reading is ReplicaConfig.MaxStale old, 5 seconds, and then
// answers errors. A logout that cannot be recorded is an error at once. Between
// machines a revocation counts after a Poll, 250 ms, and never later than
// MaxStale. [Replica.Ready] and [Replica.Staleness] are for load balancers and
// dashboards.
//
// # Times of issue
//
// Before is compared with [identity.Principal.IssuedAt] as an instant and
// strictly: issued at that very moment is not before it. The token package
// therefore gives its tokens issue times with a fraction of a second. With
// whole seconds either a token that was stolen in the second of a revoke-all
// would survive it, or the sign-in that follows in the same second would be
// refused. Where issue times are coarser than Before, the second happens,
// never the first: a time that was cut is earlier than the true one. Entries of
// a [Log] count microseconds, as tokens do.
//
// # Security considerations
//
// [Memory] and [MemoryLog] forget everything when the process ends. After a
// restart, a deployment or a crash, whoever stole a token that its owner has
// logged out can use it again until it expires; so can a user who was locked
// out. And several processes do not share one: a token that was revoked at one
// is good at the others. A [File] belongs to one process; several machines need
// a Log in a database.
//
// Who can write to the file of a File can revoke anybody, and who can delete
// records from its end can undo logouts. Its checksums find accidents, not
// forgeries. Who can read it sees when somebody was revoked, and whom, where
// identifiers can be guessed: numbers of users, not random session IDs. Keep it
// in a folder of the program's own. A copy that is restored from a backup lacks
// the logouts since.
//
// A revocation must not expire before the last credential that it matches
// does, the clock leeway of the verifier included; otherwise the credential
// comes back to life for the time between. Clocks of the machines must agree as
// far as issue times and Before are to be compared.
//
// An empty field of a revocation means any. Make sure that an identifier is
// not empty before you pass it together with Before: without its Subject,
// "this user until now" is "everybody until now", which signs all of them out.
//
// A revocation reaches those who ask. A service that verifies tokens on its
// own, a cached response, a connection that was accepted earlier (WebSocket,
// server-sent events) do not ask.
package blacklist
