// Package apikey issues, rotates and revokes API keys and identifies callers by
// them. The database keeps a keyed hash of each key and never the key.
//
//	keys, err := apikey.New(store, apikey.Config{ // store is sqlstore.New(db, …)
//		Format:      format, // apikey.NewFormat("acme", "live")
//		Peppers:     []apikey.Pepper{{ID: "2026", Secret: pepper}},
//		Revoker:     revoked,         // a blacklist, shared by all processes
//		OwnerRights: accounts.Rights, // of auth.Accounts
//		Hooks:       hooks,
//	})
//	…
//	manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: revoked, Hooks: hooks})
//	…
//	mux := guard.NewMux(hooks, bearer, keys)
//	mux.Handle("GET /protected/", hooks.Accept(keys)(protected))
//
// Keys arrive in X-API-Key, in "Authorization: ApiKey …", or, with Config.Bearer,
// in "Authorization: Bearer …". The response is 400 for two keys, 401 with a
// challenge for none, 401 invalid_token with one body for all bad keys, 403 for a
// good key from outside its AllowedPrefixes, and 503 if the store fails.
//
// # Order
//
// An Authenticator checks spelling and checksum, then the cache of good keys. For
// other keys it calls the Throttle, the cache of refused keys and the store, and
// compares in constant time, against a dummy if there is no such key. Each use
// checks dates, networks, the Revoker and the owner's rights.
//
// Put the middleware that sets r.RemoteAddr first: otherwise AllowedPrefixes and
// the Throttle see the proxy.
//
// # Security considerations
//
// A program with a key acts as its owner, within the rights and networks of the
// key. Send keys over TLS only. Give each program its own key, with few scopes and
// an expiry. Logs of request headers reveal keys.
//
// An attacker with read access to the database cannot find out keys, except older
// keys that were not random. An attacker with write access cannot make a key
// without the pepper, but can change the owner or rights of a key, or undo its
// revocation.
//
// Without a Throttle, guesses reach the store unlimited. With a Throttle, an
// attacker behind a shared address can block keys that were not good from that
// address in the last 30 days.
package apikey
