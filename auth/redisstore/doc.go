// Package redisstore keeps the sessions of package auth in a Redis, or a server
// that speaks like one, which several processes share. It brings no client
// along: it takes one function of the client that the host has.
//
// With go-redis, version 9:
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // what was sent may have been done
//		ContextTimeoutEnabled: true, // or a call outlives its request
//	})
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
//
// With rueidis:
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{
//		InitAddress:  []string{"localhost:6379"},
//		DisableRetry: true, // what was sent may have been done
//		DisableCache: true, // nothing here is read outside a script
//	})
//	…
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		words := make([]string, len(args))
//		for i, a := range args {
//			words[i] = a.(string)
//		}
//		return rueidis.NewLuaScript(script).Exec(ctx, client, keys, words).ToAny()
//	}
//
// And then, with either:
//
//	sessions, err := redisstore.New(eval, redisstore.Config{})
//	…
//	err = sessions.Ready(ctx) // refuses a server that forgets
//	…
//	signIn, err := auth.New(users, tokens, auth.Config{Sessions: sessions, Challenges: sessions, …})
//
// Users stay where the host has them. It needs Redis 5 or later. The clients
// above send EVALSHA, and EVAL after NOSCRIPT, when nothing has run; nothing
// else is sent twice.
//
// # What is kept how long
//
// A session is one key, which the server drops when the session has expired. A
// session that was ended is gone at once, and what is gone is refused: nothing
// has to be remembered of it. The sorted sets that find the sessions of a
// subject, of a tenant and all of them lose an entry when its session ends, or
// when others begin after its [auth.Session.Expires]; a session that was left
// idle keeps its entry, of about 60 bytes in each set, until then.
//
// A rotation is decided by the time that [auth.Rotation] has, as in every store.
// By the server's clock sessions are dropped and listed.
//
// # In a cluster
//
// All sessions of a Store are in one slot, so that one step ends a session and
// takes it out of what finds it, and nothing that ends all sessions of a subject
// can miss one that began before. It costs that one node serves all sessions:
// adding nodes makes no Store faster. A host that needs more has several Stores,
// each of another [Config.Prefix], and chooses by tenant, say. Challenges are
// spread over all slots.
//
// Scripts reach sessions and sorted sets that are not among their keys, all in
// the slot of the one that is. Redis and Valkey allow that; a server that does
// not answers with an error.
//
// # Security considerations
//
// What is kept is as durable as the server. One that comes back with older data
// has sessions again that were ended, and ends those that were refreshed
// meanwhile. So the Store refuses a server that evicts, or that has no
// append-only file. With appendfsync everysec, instead of always, a power cut
// takes back the last second. Replication is asynchronous, and a failover takes
// back the last writes in the same way.
//
// Who reads the server sees subjects, tenants, session IDs and SHA-256 hashes of
// the identifiers of refresh tokens, and cannot make a token from them. Who
// writes it can revive a session.
//
// Several processes need clocks that agree to within the grace of a rotation. If
// the server's clock is ahead of theirs, sessions end earlier by as much.
package redisstore
