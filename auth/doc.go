// Package auth implements sign-in for the host's own users: an OAuth 2.0 token
// endpoint, refresh tokens with rotation, logout, second factors, and other ways to
// sign in.
//
//	signIn, err := auth.New(users, tokens, auth.Config{
//		Sessions:    sessions,                                    // sqlstore.New(db, …)
//		RefreshKeys: []guard.Secret{guard.NewSecret(refreshKey)}, // 32 random bytes
//		Revoker:     revoked,                                     // *blacklist.Replica, as the verifier's
//		Verifier:    verifier,
//		Hooks:       hooks,
//	})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("/token", signIn.Token())
//	mux.Handle("/token/refresh", signIn.Refresh())
//	mux.Handle("/logout/", signIn.Logout())
//	mux.Handle("GET /users/me", accounts.Handler(showMe)) // accounts is an Accounts
//
// The host implements [UserStore]; [Memory] is one for tests. [Server.SignIn] takes
// other ways to sign in, for example passkeys, and [Cookies] keeps the tokens of
// browser pages in cookies.
//
// # Refreshing
//
// Each refresh loads the user and replaces the refresh token. Within
// Config.RefreshGrace, the immediate predecessor receives the same successor. A
// replaced token that is presented later is a replay: the session and its access
// tokens end, and the event is authn_token_reuse.
//
// # Differences from FastAPI's guide
//
// A failed sign-in or refresh is 400 invalid_grant, as in RFC 6749 section 5.2; the
// guide's 401 is Config.FastAPIStatusCodes. A disabled user with a valid token is
// 401 invalid_token; the guide's 400 is AccountsConfig.FastAPIStatusCodes. The
// refresh token is read from the form, not from the URL, and logout ends the
// session by its ID, not by the bytes of the token.
//
// # Security considerations
//
// Every failed sign-in has the same response, after the same work; the reason is in
// the event.
//
// Without Config.Throttle, passwords can be guessed as fast as they are hashed.
// Without TLS, passwords and tokens can be read.
//
// An attacker that uses a copy of a refresh token within the grace receives the
// same successor as the owner. The session ends when either presents a replaced
// token after the grace.
//
// A public client has no secret; its name proves nothing. The password grant is for
// first-party applications only (RFC 9700 section 2.4).
//
// The SecondFactor must limit how often codes can be guessed across challenges.
//
// A host with open registration reveals which user names are taken.
package auth
