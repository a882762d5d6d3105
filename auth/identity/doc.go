// Package identity holds the caller of a request: the [Principal] that an
// authenticator found, and its place in the request's context.
//
// Handlers read the Principal with [FromContext].
//
// # Identifying callers
//
// Package guard calls authenticators and puts the Principal into the context. For
// sessions of its own, a host implements guard.Authenticator or calls [NewContext]
// in a middleware. In both cases a request with credentials of two callers is refused.
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
// Tests of handlers and of guards for roles, scopes, factors or tenant call NewContext.
// It is not enough behind guard.Hooks.Accept, which checks the authenticator, and
// behind Identify or a guard.Mux if the request also carries credentials.
//
// # Security considerations
//
// This package does not verify identities: any middleware can put any Principal into
// the context. Every guard refuses a context without a Principal.
package identity
