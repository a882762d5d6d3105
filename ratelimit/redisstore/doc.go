// Package redisstore counts the limits of package ratelimit in a Redis, or a
// server that speaks like one, which several processes share. It brings no
// client along: it takes one function of the client that the host has.
//
// With go-redis, version 9:
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a retry may charge twice
//		ContextTimeoutEnabled: true, // or a call outlives its 50 ms
//	})
//	var scripts sync.Map // a Script hashes its text once
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		s, ok := scripts.Load(script)
//		if !ok {
//			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
//		}
//		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
//	}
//
// With rueidis:
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{
//		InitAddress:  []string{"localhost:6379"},
//		DisableRetry: true, // a retry may charge twice
//		DisableCache: true, // nothing here is read outside a script
//	})
//	…
//	var scripts sync.Map
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		s, ok := scripts.Load(script)
//		if !ok {
//			s, _ = scripts.LoadOrStore(script, rueidis.NewLuaScript(script))
//		}
//		words := make([]string, len(args))
//		for i, a := range args {
//			words[i] = a.(string)
//		}
//		return s.(*rueidis.Lua).Exec(ctx, client, keys, words).ToAny()
//	}
//
// Without the map each call would hash some kilobytes. There are three scripts.
// Then, with either client:
//
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
//		Store: store, Name: "api", Secret: guard.NewSecret(secret),
//	}, ratelimit.MustParse("5/second;1000/hour")...)
//
// New does not ask the server, so that a host starts without it. A host that
// wants to know at once calls [Store.Ready].
//
// # How it counts
//
// One script decides about all charges of a request and makes them, all or
// none, in one round trip. It reads the time of the server, in whole
// microseconds, and no time of a process. A refused request writes nothing.
//
// A Strict limit keeps, for what was spent, when it leaves the window: to the
// microsecond up to a quota of ten, by tenths of the window above. A Smooth
// limit keeps one time, to the nanosecond.
//
// Every key expires when nothing of it counts any more. All numbers are whole
// and below 2^53, which the doubles of Lua hold exactly.
//
// It is tested with Redis 7.0 and needs 5 or later, for writes after TIME in a
// script. The server may forget its scripts: the clients above send EVALSHA, and
// EVAL after NOSCRIPT, when nothing has run.
//
// # In a cluster
//
// A script runs on one node, where all its keys must be. So all keys of a Store
// have the same hash tag, are in one slot, and are counted by one node: adding
// nodes makes no Store faster. Two ways share the work out. Limiters that need
// not be charged in one step can have a Store each, of another
// [Config.Prefix]. And [Config.SpreadKeys] puts each caller into a slot of its
// own, for limiters that charge one key for a request.
//
// # Security considerations
//
// What is counted is as durable as the server. One that comes back without its
// data has forgotten what was spent. Each process goes on with what it saw
// itself, for its own table is asked first: of a limit that falls back to
// [ratelimit.Local] it admits no more than the quota in any window, and all of
// them together no more than that times their number, however often the server
// forgets; a process that was started within the window is one more. Of other
// limits no process keeps a table, and the quota is there once more after each
// loss. Replication is asynchronous: a failover forgets the
// last writes in the same way.
//
// A server whose memory is full must refuse to write, and not forget: with an
// eviction policy whoever can fill it resets all limits. The Store reads
// maxmemory-policy and counts nothing under any other than noeviction.
//
// If the clock of the server is set back, what was spent is kept for one window
// (1.1 of a Strict limit) from then on and no longer; if it is set forward, it is
// forgotten earlier by as much.
//
// Who can write to the server can reset every limit. Keys are hashes and tell
// nobody's address.
package redisstore
