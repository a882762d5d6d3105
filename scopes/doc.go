// Package scopes asks whether the credential of a request is good for what the
// request wants, by OAuth 2.0 scopes (RFC 6749 section 3.3), and whether its
// owner has signed in recently and strongly enough (RFC 9470).
//
//	scope, err := scopes.New(scopes.Config{
//		Implies: map[string][]string{"write:items": {"read:items"}},
//		ACR:     map[string]identity.Set{"mfa": identity.NewSet("pwd", "otp")},
//		Hooks:   hooks,
//	})
//	if err != nil {
//		return err
//	}
//	mux := guard.NewMux(hooks, tokens)
//	mux.Handle("GET /items/{$}", scope.Require("read:items")(list))
//	mux.Handle("POST /items/{$}", scope.Require("write:items")(create))
//	mux.Handle("DELETE /account", scope.Fresh(5*time.Minute, "mfa")(remove))
//
// # What is answered
//
// Nobody is identified: 401 with the challenges of the authenticators and no
// error code, for the request was not wrong, only anonymous (RFC 6750 section
// 3.1). Too few scopes: 403 insufficient_scope, and a challenge that names the
// scopes of the route. A sign-in that is too old or too weak: 401
// insufficient_user_authentication with max_age and acr_values. The bodies of
// one class are byte-equal; what was missing is in [guard.Denial].Err, for the
// log.
//
// # Names
//
// Scopes are compared byte for byte. "read:items" is neither "Read:items" nor
// "read:items:all", and "*" or "items:*" is a name like any other: nothing in a
// token widens what it is good for. The only hierarchy is [Config.Implies],
// which stands in the program and not in the token.
//
// # Order
//
// These guards come after guard.Hooks.Identify, or in a guard.Mux, which
// identifies by itself. A scope says what a credential may be used for and not
// what its owner may do: a guard for roles or permissions comes next to it and
// does not replace it. Put Require outside of Fresh, so that nobody is sent to
// sign in anew for a route that their token is not good for anyway.
//
// # Other issuers' tokens
//
// The token package reads the claim "scope" when it is a string. Issuers also
// write "scp" or "scopes", as a string or an array; [FromClaims] reads those. (A
// "scope" that is an array is malformed by RFC 9068 section 2.2.3, and refused
// by the token package before FromClaims sees it.)
//
// # Security considerations
//
// Scopes are what was granted when the credential was made. They are as old as
// it is, and taking a scope away reaches a token only when it is revoked or
// expires.
//
// A scope counts whoever issued the token. A service that accepts tokens of
// several issuers trusts each of them with all of its scopes, and with all
// factors; where that is too much, guard.Hooks.Accept narrows a route down.
//
// The challenge of a refusal names the scopes and authentication contexts of
// the route. They are not secret to a caller who is identified; who is not is
// told nothing.
//
// [Middleware.Fresh] believes the AuthTime and the Factors of the principal,
// and so their issuer: that both belong to the same sign-in, that AuthTime
// moves only when somebody has proven something, and that refreshing a token
// does not. It does not ask again in the middle of a long request or
// WebSocket.
//
// Config.Implies widens what credentials that exist already are good for.
package scopes
