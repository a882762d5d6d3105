// Package identity holds the caller of a request: the [Principal] that an
// authenticator found. Handlers read it with [FromContext].
//
// Package guard calls authenticators and puts the Principal into the context. For its
// own sessions, a host implements guard.Authenticator or calls [NewContext] in a
// middleware:
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
// Tests of handlers and guards call NewContext too. It is not enough behind
// guard.Hooks.Accept, which checks the authenticator, or if the request also carries
// credentials.
//
// # Security considerations
//
// This package does not verify identities: any middleware can put any Principal into
// the context. Every guard refuses a context without a Principal or with two.
package identity
