// Package guard decides what a request may do and writes every refusal: the
// one verdict type, the one renderer, the audit events and the route ledger
// that all packages of this module share.
//
// A host builds one [Hooks] value, identifies callers with it and guards its
// routes:
//
//	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}
//	mux := guard.NewMux(hooks, tokens) // tokens is a guard.Authenticator
//	mux.Handle("POST /token", guard.Public("sign-in")(signIn))
//	mux.Handle("GET /users/me", hooks.Authenticated(me))
//	http.ListenAndServe("127.0.0.1:8080", mux)
//
// A [Mux] refuses to start with a route that has neither a guard nor a reason
// to be public. With a plain [http.ServeMux], or any other router, put Identify
// around each guarded handler or group. Around the whole router it would judge a
// stale token on the sign-in route too:
//
//	identify := hooks.Identify(tokens)
//	mux.Handle("POST /token", signIn)
//	mux.Handle("GET /users/me", identify(hooks.Authenticated(me)))
//
// What matches no route is answered by that router in its own words, unless its
// handler for that (chi's NotFound, say) calls [Hooks.Refuse].
//
// # The verdict
//
// A guard returns an error. Nil lets the request through; a [*Denial] says
// how to refuse it; anything else, a store that is down above all, is
// answered 503 and never 401 or 200. [Hooks.Refuse] renders it: status,
// WWW-Authenticate, Retry-After and Cache-Control are set before Hooks.Deny
// may write a body of its own, so a custom page cannot lose them. What the
// client may read (Denial.Code, Denial.Detail) and what only the log may
// (Denial.Err) are different fields. Bodies of one class of refusal are
// byte-equal; the reason goes to Hooks.Observe.
//
// # Writing a guard
//
// A guard of your own takes five lines and looks like those of this module:
//
//	officeHours := hooks.Require(func(r *http.Request) error {
//		if h := time.Now().Hour(); h < 8 || h >= 18 {
//			return &guard.Denial{Status: 403, Code: "closed", Detail: "Come back in the morning."}
//		}
//		return nil
//	})
//
// The Check methods of this module, which decide without a ResponseWriter, keep
// one rule. A check about the caller takes the context that carries them,
// Check(ctx, …) error, and begins with [CallerFrom]: so it serves a handler, a
// WebSocket and another protocol alike. A check about the request itself, its
// address, host or origin, takes the [*http.Request].
//
// # Order
//
// Headers, hosts, HTTPS and CORS come before Identify, guards after it. A
// [Mux] identifies after routing, so a stale token in the browser does not
// break the sign-in page.
//
// # Security considerations
//
// Identify decides who is calling and lets anonymous requests pass; only a
// guard refuses them. The audit event of a refusal is made before the
// response is written, in the same goroutine: an Observe that blocks holds
// the request up. A Deny that panics is not caught here.
//
// The package imports the standard library and auth/identity only.
package guard
