// Package identity says who sent a request: the [Principal] that an
// authenticator settled, and its place in the request's context.
//
// It is the one type that every package of this module shares, so that a
// caller who signed in with a password, presented an API key, or was
// recognised by code of your own, looks the same to whatever comes after.
// A host with its own login needs no more than this adapter:
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
// Handlers read it back with [FromContext]. Tests of handlers put one in with
// [NewContext]; nothing else needs to be faked.
//
// # Security considerations
//
// Whoever can run code in front of a handler can put a Principal into its
// context: this package keeps identities, it does not prove them. A context
// without a Principal is an anonymous request, and every guard of this module
// refuses it.
//
// The package imports the standard library only.
package identity
