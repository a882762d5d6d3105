// Package guard refuses requests: it has the error type of every refusal, renders
// all of them, identifies callers, reports audit events and lists what each route
// demands. All packages of this module use it.
//
// A host builds one [Hooks], identifies callers with it and guards its routes:
//
//	hooks := guard.Hooks{Observe: guard.Limited(guard.Log(slog.Default()), 600)}
//	mux := guard.NewMux(hooks, tokens) // tokens is a guard.Authenticator
//	mux.Handle("POST /token", guard.Public("sign-in")(signIn))
//	mux.Handle("GET /users/me", hooks.Authenticated(me))
//	http.ListenAndServe("127.0.0.1:8080", mux)
//
// With http.ServeMux, chi or another router, put Identify around each guarded
// handler or group. Around the whole router, it would reject a stale token on the
// sign-in route too:
//
//	identify := hooks.Identify(tokens)
//	mux.Handle("POST /token", signIn)
//	mux.Handle("GET /users/me", identify(hooks.Authenticated(me)))
//
// Headers, hosts, HTTPS and CORS come before Identify; guards come after it.
//
// # Writing a guard
//
// A guard is a function that returns an error. Nil lets the request pass, a
// [*Denial] refuses it, and any other error is answered 503:
//
//	officeHours := hooks.Require(func(r *http.Request) error {
//		if h := time.Now().Hour(); h < 8 || h >= 18 {
//			return guard.NewDenial(403, "closed", "Come back in the morning.", nil)
//		}
//		return nil
//	})
//
// If a store fails, a guard returns [CannotDecide], which hides refusals in the
// store's error. A check of the caller takes a context and begins with
// [CallerFrom], so it serves other protocols too.
//
// # Events
//
// A change of state is one event, emitted after the change. An event without
// principal and request was caused by the program itself. [Log] writes:
//
//	time                  UTC, microseconds; a TextHandler writes milliseconds
//	msg                   the name, of the OWASP Logging Vocabulary if it has one
//	principal             issuer, subject, tenant, session, credential, client of the caller
//	login, way            the name and the way of a sign-in
//	target, session       the subject, object and session of the change, if not the principal's
//	changes               what changed: keys, with values that are no secrets
//	outcome               success, refused, or failed
//	status, code, reason  of a refusal
//	error                 of a failure
//	request               method, pattern, path, host, remote_addr, user_agent, trace_id
//
// testdata/event.schema.json is the JSON Schema of a line.
//
// # Security considerations
//
// Identify lets anonymous requests pass; only a guard refuses them. A handler
// behind no guard is open, and outside of a Mux or a Ledger nothing reports it.
//
// Clients see Code and Detail of a Denial, never its Err. Observe is called before
// the response is written: one that blocks delays the request. Clients cause
// refusals at will: [Limited] bounds the lines of a log. A Deny that panics is not
// recovered.
package guard
