// Package scopes guards routes by the OAuth 2.0 scopes of the credential (RFC 6749
// section 3.3), and by the age and strength of the sign-in (RFC 9470).
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
//	mux.Handle("POST /items/{$}", scope.Require("write:items")(create))
//	mux.Handle("DELETE /account", scope.Fresh(5*time.Minute, "mfa")(remove))
//
// # Responses
//
// Without a caller the response is 401 with the authenticators' challenges and no
// error code (RFC 6750 section 3.1). Missing scopes are 403 insufficient_scope. A
// sign-in that is too old or too weak is 401 insufficient_user_authentication. Bodies
// of one code are identical; [guard.Denial].Err has the reason, for the log.
//
// # Order
//
// Use the guards behind guard.Hooks.Identify or in a guard.Mux, and put Require
// outside of Fresh. Scopes limit a credential; they do not replace roles or
// permissions.
//
// The token package reads the claim "scope"; [FromClaims] reads the claims of other
// issuers.
//
// # Security considerations
//
// Scopes are compared byte for byte; "*" has no meaning. They count until the
// credential is revoked or expires. Each entry of Config.Implies extends what
// existing credentials may do.
//
// Every accepted issuer is trusted with all scopes and factors, unless
// guard.Hooks.Accept narrows the route to one issuer.
//
// Challenges show a route's scopes and authentication contexts to identified callers
// only.
//
// [Middleware.Fresh] trusts AuthTime and Factors of the principal: both must belong
// to one sign-in, and a refresh must not renew AuthTime. Long requests and WebSockets
// are not checked again.
package scopes
