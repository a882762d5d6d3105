// Package apikey issues, rotates and revokes API keys and identifies callers by them.
// The host's database keeps a keyed hash of each key and never the key.
//
//	format, err := apikey.NewFormat("acme", "live")
//	…
//	keys, err := apikey.New(store, apikey.Config{ // store is sqlstore.New(db, …)
//		Format:      format,
//		Peppers:     []apikey.Pepper{{ID: "2026", Secret: guard.NewSecret(pepper)}}, // 32 random bytes, not in the database
//		Revoker:     revoked,                                       // a blacklist, shared by all processes
//		OwnerRights: accounts.Rights,                               // of auth.Accounts: what the owner may do today
//		Hooks:       hooks,
//	})
//	…
//	manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: revoked, Hooks: hooks})
//	…
//	mux := guard.NewMux(hooks, bearer, keys)
//	mux.Handle("GET /protected/", hooks.Accept(keys)(protected))
//	mux.Handle("POST /keys/", hooks.Accept(bearer)(createKey)) // calls manager.Issue
//	…
//	err = keys.Flush(ctx) // after the server has shut down: writes when keys were last used
//
// # Keys
//
// A key is acme_live_<id>_<secret><checksum>; see [Format]. Keys are read from the
// header X-API-Key and from "Authorization: ApiKey …", and with Config.Bearer from
// "Authorization: Bearer …". A request with more than one key is 400, a missing key is
// 401 with a challenge, and a bad key is 401 invalid_token with one body for every
// reason; the event has the reason. A good key from a network outside its
// AllowedPrefixes is 403. A store that fails is 503.
//
// [NewStatic] checks a few keys that are part of a configuration.
//
// # Order
//
// A key passes, in this order: its spelling and checksum; the cache of good keys, or
// else the Throttle, the cache of refused keys, the store, and a comparison in constant
// time, against a dummy if the key does not exist; and then, each time, dates, networks,
// the Revoker, and the owner's rights.
//
// The middleware that sets r.RemoteAddr behind a proxy must come first: otherwise
// AllowedPrefixes and the Throttle see the proxy.
//
// # Caching
//
// A change of a record by another process is seen after CacheTTL, 5 seconds by default.
// [Manager] spreads revocations through the Revoker, which is called on each use. Expiry
// and other dates hold to the moment.
//
// # Keys of an older scheme
//
// Config.LegacyHash accepts keys that the application issued before. Each row of the
// table api_keys of FastAPI's guide becomes a record, once:
//
//	legacy := func(key string) apikey.Hash { sum := sha256.Sum256([]byte(key)); return apikey.Hash(sum[:]) }
//	…
//	err := store.WriteKeys(ctx, nil, &apikey.Record{
//		ID:          "legacy-" + strconv.Itoa(row.ID),
//		Name:        row.Name,
//		Owner:       strconv.Itoa(row.UserID),
//		Environment: "live",
//		Active:      row.IsActive,
//		CreatedAt:   row.CreatedAt,
//		Hash:        legacy(row.Key),
//	})
//
// Then drop the column with the keys. [Manager.Rotate] replaces an older key by a new one.
//
// # Security considerations
//
// Any program that has a key acts as its owner, within the rights and networks of the
// key, until the key ends. Send keys over TLS only. Give each program its own key, with
// few scopes and an expiry. Handlers that log or forward all request headers reveal the
// key.
//
// The keyed hash protects keys if an attacker reads the database. An attacker who writes
// to the database cannot make a key without the pepper, but can give a key other rights
// or another owner, or undo its revocation. The plain hash of an older key protects the
// key as far as the key was random.
//
// Without a Throttle, well-formed guesses reach the store at the rate at which they
// arrive. With a Throttle, an attacker behind a shared address can block keys there that
// were not good from that address in the last 30 days.
//
// [Manager.Rotate] does not compare rights: unless the host does, a narrow credential
// gets a broad key by rotating it.
//
// A refused key is cached for a second: a key that becomes good again may be refused for
// that long.
package apikey
