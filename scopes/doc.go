// Package scopes guards routes by the OAuth 2.0 scopes of the credential (RFC 6749
// section 3.3), and by how recently and how strongly the user has signed in (RFC
// 9470).
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
// # Responses
//
// A request without a caller is 401 with the authenticators' challenges and no error
// code (RFC 6750 section 3.1). Missing scopes are 403 insufficient_scope with a
// challenge that lists the scopes of the route. A sign-in that is too old or too weak
// is 401 insufficient_user_authentication with max_age and acr_values. The bodies of
// one code are identical; [guard.Denial].Err has what was missing, for the log.
//
// # Names
//
// Scopes are compared byte for byte. "*" and "items:*" are names like any other. The
// only hierarchy is [Config.Implies], which is part of the program and not of the
// token.
//
// # Order
//
// Use the guards behind guard.Hooks.Identify or in a guard.Mux. A scope limits the
// credential and does not replace a guard of roles or permissions. Put Require
// outside of Fresh, so that a caller without the scope is not sent to sign in again.
//
// The token package reads the claim "scope" as a string. [FromClaims] reads "scp" and
// "scopes" of other issuers, as strings or arrays.
//
// # Security considerations
//
// Scopes are as old as the credential: a scope that was taken away counts until the
// credential is revoked or expires.
//
// Guards do not check which issuer granted a scope. With tokens of several issuers,
// each issuer is trusted with all scopes and factors, unless guard.Hooks.Accept
// narrows the route to one issuer.
//
// Challenges show the scopes and authentication contexts of a route to identified
// callers only.
//
// [Middleware.Fresh] trusts AuthTime and Factors of the principal, and so the issuer:
// both must belong to the same sign-in, and a refresh must not renew AuthTime. Fresh
// does not check again during a long request or WebSocket.
//
// Each entry of Config.Implies extends what existing credentials may do.
package scopes
