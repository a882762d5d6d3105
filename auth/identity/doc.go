// Package identity holds the caller of a request: the [Principal] that an
// authenticator found, and its place in the request's context.
//
// All packages of this module share it, so a sign-in with a password, an API key and a
// session of the host's own look the same to every guard. Handlers read the Principal
// with [FromContext].
//
// # Identifying callers
//
// Package guard calls authenticators and puts the Principal into the context. A
// host with sessions of its own writes an authenticator too (guard.Authenticator),
// so that a request with a session and another credential is refused. A middleware
// that calls [NewContext] works as well: every guard then answers 400 to a request in
// which it and an authenticator found two callers, in whatever order they ran.
//
//	func signedIn(next http.Handler) http.Handler {
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			if user := sessions.User(r); user != nil {
//				p := &identity.Principal{Issuer: "sessions", Subject: user.ID}
//				r = r.WithContext(identity.NewContext(r.Context(), p))
//			}
//			next.ServeHTTP(w, r)
//		})
//	}
//
// # Testing
//
// NewContext is enough to test a handler, and guards that look at the caller only:
// their roles, scopes, factors or tenant. It is not enough behind guard.Hooks.Accept,
// which looks at the authenticator that found the caller, and behind Identify or a
// guard.Mux with a request that carries credentials too.
//
// # Security considerations
//
// Code in front of a handler can put any Principal into its context: this package
// keeps identities and does not prove them. A context without a Principal is an anonymous
// request, which every guard of this module refuses.
//
// The package imports the standard library only.
package identity
