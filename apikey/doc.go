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
// Without a guard.Mux, [Authenticator.Handler] is the guard for a route.
//
// # Keys
//
// A key is acme_live_<id>_<secret><checksum>; see [Format]. [Format.Regexp] is for
// secret scanners. Only [Secret.Plain] returns the text of a key.
//
// Keys are read from the header X-API-Key and from "Authorization: ApiKey …", and with
// Config.Bearer from "Authorization: Bearer …". A request with more than one key is
// 400, a missing key is 401 with a challenge, and a bad key is 401 invalid_token with
// one body for every reason; the event has the reason and the values that did not fit.
// A good key from a network outside its AllowedPrefixes is 403. A store that fails is
// 503.
//
// [NewStatic] checks a few keys that are part of a configuration.
//
// # Order
//
// For each request: the spelling and the checksum; the cache of good keys; otherwise
// the Throttle, the cache of refused keys, the store, and a comparison in constant
// time, against a dummy if the key does not exist. Then, for cached keys too, what can
// change: dates, networks, the Revoker, and the owner's rights.
//
// headers.TrustedProxies, or whatever else sets r.RemoteAddr behind a proxy, must come
// first: otherwise AllowedPrefixes and the Throttle see the proxy.
//
// # Caching
//
// A change of a record by another process is seen after CacheTTL, 5 seconds by default.
// [Manager] spreads revocations through the Revoker, which is called on each use. A
// host that receives other changes calls [Authenticator.Evict]. Expiry, the end of a
// rotation's overlap and other dates hold to the moment.
//
// # Keys of an older scheme
//
// Config.LegacyHash accepts keys that the application issued before. FastAPI's guide
// has a table api_keys with the columns key, name, is_active, created_at and user_id.
// Each row becomes a record, once:
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
// Then drop the column with the keys. [Manager.Rotate] replaces an older key by a
// key of the new format.
//
// # Security considerations
//
// An API key is a bearer secret: any program that has it acts as its owner, within its
// rights and networks, until it ends. Send keys over TLS only. Give each program its
// own key, with few scopes and an expiry.
//
// The keyed hash protects keys if an attacker reads the database. An attacker who
// writes to it cannot make a key without the pepper, but can give an existing key other
// rights, another owner, or undo its revocation.
//
// The plain hash of an older key protects the key as far as the key was random.
//
// Without a Throttle, well-formed guesses reach the store at the rate at which they
// arrive. With a Throttle, an attacker behind a shared address (NAT) can block keys
// there that were not good from that address in the last 30 days.
//
// [Manager.Rotate] does not compare rights: unless the host does, a narrow credential
// gets a broad key by rotating it.
//
// A refused key is remembered for a second: a key that becomes good again may be
// refused for that long.
//
// The key stays in the request's headers: handlers that log or forward all headers
// reveal it.
package apikey
