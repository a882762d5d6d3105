// Package apikey identifies callers by API keys, which it issues, replaces and
// revokes, and of which the host's database keeps no more than a keyed hash.
//
//	format, err := apikey.NewFormat("acme", "live")
//	…
//	keys, err := apikey.New(store, apikey.Config{ // store is sqlstore.New(db, …)
//		Format:      format,
//		Peppers:     []apikey.Pepper{{ID: "2026", Secret: guard.NewSecret(pepper)}}, // 32 random bytes, not in the database
//		Revoker:     revoked,                                       // a blacklist, shared by all processes
//		OwnerRights: rightsToday,                                   // what the key's owner may do
//		Hooks:       hooks,
//	})
//	…
//	manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: revoked, Hooks: hooks})
//	…
//	mux := guard.NewMux(hooks, bearer, keys)
//	mux.Handle("GET /protected/", hooks.Accept(keys)(protected))
//	mux.Handle("POST /keys/", hooks.Accept(bearer)(createKey)) // calls manager.Issue
//	…
//	defer keys.Close() // after the server: writes when keys were last used
//
// Without a guard.Mux, [Authenticator.Handler] is the guard for a route.
//
// # Keys
//
// A key is acme_live_<id>_<secret><checksum>: see [Format]. The host tells a
// secret scanner to look for [Format.Regexp], and finds keys that were
// committed or logged. Nothing but [Secret.Plain] has the text of a key.
//
// A key is in the header X-API-Key or in "Authorization: ApiKey …". More than
// one in a request is answered 400, none 401 with a challenge, a bad one 401
// invalid_token, always the same body: which of its reasons it was is in the
// event. A key that is used from a network that it is not allowed from is
// answered 403, a store that does not answer 503: a 401 would make clients
// throw good keys away.
//
// [NewStatic] checks a few keys that are written into a configuration.
//
// # Order
//
// On a request: the spelling and the checksum, so that junk costs nobody
// anything; whether the very same key was good a moment ago; otherwise the
// Throttle, whether it was bad a moment ago, the store, and a comparison in
// constant time, against a dummy if there is no such key. Then, each time, what
// can change: the key's dates and networks, the Revoker, the owner's rights.
//
// Whatever settles r.RemoteAddr behind a proxy (headers.TrustedProxies) must
// stand outside, or AllowedPrefixes and the Throttle see the proxy.
//
// # What is remembered
//
// A process may miss for CacheTTL, five seconds, that a record was changed by
// another one. It need not: [Manager] spreads revocations by the Revoker, which
// is asked on each use, and whoever hears of changes calls
// [Authenticator.Evict]. The end of a rotation's overlap, expiry and the other
// dates are part of the record, and kept to the moment.
//
// # Keys of an older scheme
//
// Keys that the application has issued before stay good by Config.LegacyHash.
// The guide this package goes back to has a table api_keys with the columns
// key, name, is_active, created_at and user_id; each row becomes a record, once:
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
// Then the column with the keys is dropped. Rotating such a key gives its owner
// one of the new format.
//
// # Security considerations
//
// An API key is a bearer secret: whoever has it is its owner, within its rights
// and networks, until it ends. Send keys over TLS only, give each program one
// of its own, with few scopes and an end.
//
// The keyed hash protects keys if the database is read, not if it is written:
// who can add a row but has no pepper cannot make a key, but who can change a
// row can give a key other rights, another owner, or life after its revocation.
//
// A plain hash of an older key (Config.LegacyHash) protects it as far as the key
// was random. One that a person has chosen can be guessed from the hash.
//
// Only the address tells guessers apart, and only with a Throttle. Without one,
// well-formed junk reaches the store at the rate it arrives. With one, who
// guesses behind the address of others (a NAT) can hold up a key there that was
// not good from that address before, or has not been for a month.
//
// A Manager replaces a key for whoever calls it. Unless the host compares what
// the caller may do with what the key is good for, a narrow credential gets a
// broad key by rotating it.
//
// What is remembered as refused is remembered for a second: a key that becomes
// good again may be refused for as long.
//
// The key stays in the header of the request: a handler that logs all headers,
// or sends them on to another server, gives it away.
package apikey
