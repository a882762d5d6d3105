// Package redisstore keeps the second factors of package totp in a Redis, or a
// server that speaks like one. It brings no client along: it takes one function
// of the client that the host has.
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
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	err = store.Ready(ctx) // refuses a server that forgets
//	…
//	factors, err := totp.New(store, keys, totp.Config{Issuer: "Example"})
//
// A user is one key, in a slot of its own in a cluster, and each method is one
// script. Keys do not expire. It needs Redis 5 or later. The clients above send
// EVALSHA, and EVAL after NOSCRIPT, when nothing has run; nothing else is sent
// twice.
//
// # Security considerations
//
// Where a second factor is forgotten, nobody is asked for one. So the Store
// refuses a server that evicts, or that has no append-only file. With
// appendfsync everysec, instead of always, a power cut takes back the last
// second: a factor that was confirmed in it, or a code that was used. Replication
// is asynchronous, and a failover takes back the last writes in the same way;
// reads must go to the master, as those of the clients above do.
//
// Secrets are sealed and recovery codes hashed, so who reads the server can make
// no code. Who writes it can switch a factor off, bring back codes that were
// used, and clear the count of wrong ones. The names of users are in the records.
package redisstore
