// Package auth signs people in: the token endpoints of an application whose
// users have passwords, refresh tokens that rotate without races, a logout that
// ends the session, and the current user in a handler.
//
//	signIn, err := auth.New(users, tokens, auth.Config{
//		Sessions:    sessions,              // sqlstore.New(db, …)
//		RefreshKeys: []guard.Secret{guard.NewSecret(refreshKey)}, // 32 random bytes
//		Revoker:     revoked,               // the same as the verifier's
//		Hooks:       hooks,
//	})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("/token", signIn.Token())
//	mux.Handle("/token/refresh", signIn.Refresh())
//	mux.Handle("/logout/", signIn.Logout())
//	mux.Handle("GET /users/me", me.Handler(showMe)) // me is a CurrentUser
//
// The host brings a [UserStore]; [Memory] is one for tests. Sub-packages stand
// on their own: password hashes, token signs and verifies, guard refuses,
// identity says who is calling, sqlstore keeps sessions in a database, authtest
// checks stores.
//
// # Signing in
//
// POST /token with the form of RFC 6749 section 4.3.2 (grant_type, username,
// password, scope) answers with an access token and a refresh token. It is the
// sign-in endpoint of a first-party application, one whose users type their
// password into the application's own page. It is not an authorization server
// for applications of others: RFC 9700 section 2.4 forbids the password grant
// there.
//
// Whatever is wrong with a login (unknown, disabled, without a password, wrong,
// empty or over-long password, a hash that cannot be read) is answered 400
// invalid_grant with the same body, after the same work. Which one it was is in
// the event.
//
// # Refreshing
//
// A refresh token is used once and replaced. Its successor is computed from it
// with a secret key, so any number of requests that present it at the same time,
// or again because the answer was lost, are led to one successor: two tabs do
// not sign each other out. This holds for RefreshGrace (ten seconds) and for the
// immediate predecessor. A token that comes back later was copied: the session
// is ended, its access tokens too, and the event authn_token_reuse tells.
//
// The user is looked up at each refresh, the factors and the time of the
// sign-in are kept, and the session ends after RefreshIdle without use, or
// RefreshAbsolute in any case. No access token outlives its session.
//
// # Other services
//
// Revoke ends a token (RFC 7009), Introspect tells another service whether an
// access token is good (RFC 7662), Metadata and ResourceMetadata say where
// everything is (RFC 8414, RFC 9728), and StepUp proves a second factor for
// somebody who is signed in (RFC 9470).
//
// # Clients
//
// Several applications of the host, say a web site and an app for phones, may
// share one sign-in. With Config.Clients they are told apart: a [Client] names
// itself with client_id or authenticates with client_secret_basic or
// client_secret_post (RFC 6749 section 2.3.1), its tokens bear its name, and no
// other can refresh or revoke them. Without Config.Clients nobody is asked, and
// all tokens are of [identity.FirstParty]. Either way the clients are the host's
// own: there is no grant for applications of others.
//
// # Browser pages
//
// Pages that should not keep tokens where a script can read them are signed in
// with [Cookies]. That is opt-in, and brings its protection against requests of
// other origins along.
//
// # Differences from FastAPI's guide
//
// These have a field each that brings the guide's behaviour back:
//
//   - A failed sign-in is 400 invalid_grant, as RFC 6749 section 5.2 says; so is
//     a failed refresh. The guide: 401, with Config.GuideStatusCodes.
//   - A disabled user with a token that is still good is 401 invalid_token. The
//     guide: 400 "Inactive user", with CurrentUserConfig.GuideStatusCodes.
//
// These have none. The refresh token is taken from the form and not from the
// URL. Logout ends the session by its ID and not by the bytes of the token,
// since one token can be spelled in several ways.
//
// # Security considerations
//
// Without Config.Throttle passwords can be guessed as fast as they are hashed.
// Without TLS they can be read. Both are for the host to set up.
//
// A thief who has a refresh token, and uses it within the grace after its owner
// did, is given the same successor as the owner. Whichever of the two refreshes
// next goes on; when the other does, more than the grace later, the session
// ends.
//
// A public client has no secret, so its name proves nothing: anybody can use it,
// as anybody can name none.
//
// A second factor is asked for after the password. How often its codes may be
// guessed over many challenges is for the SecondFactor to limit.
//
// A host that lets people register tells which names are taken, whatever this
// package does.
package auth
