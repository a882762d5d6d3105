// Package redisstore counts the limits of package ratelimit in Redis 5 or later, or
// a compatible server, shared by several processes, through a function of the
// host's client.
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a retry may charge twice
//		ContextTimeoutEnabled: true, // or a call outlives its 50 ms
//	})
//	var scripts sync.Map // hash the text of each of the three scripts once
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		s, ok := scripts.Load(script)
//		if !ok {
//			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
//		}
//		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
//	}
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
//		Store: store, Name: "api", Secret: secret,
//	}, ratelimit.MustParse("5/second;1000/hour")...)
//
// One script makes all charges of a request or none, in one round trip, by the
// server's clock. A refused request writes nothing. Keys expire when nothing of
// them counts any more. [New] does not use the server, so that a host can start
// without it; [Store.Ready] does.
//
// The Eval of each client, how it leaves a server that has become a replica, and
// the rights of an ACL user are in the documentation of package
// [github.com/gatewright/gatewright/auth/redisstore]. The rights for this store:
//
//	ACL SETUSER app on >password ~{gatewright:ratelimit}:*
//		+eval +evalsha +info +time +get +set +setrange +del
//
// # In a cluster
//
// All keys of a Store are in one slot, and one node counts them. To use more nodes,
// give limiters that need not be charged in one step Stores of their own, with
// different [Config.Prefix], or set [Config.SpreadKeys], which puts each caller into
// a slot of its own, for limiters that charge one key for a request.
//
// # Security considerations
//
// The counts are as durable as the server. If it loses them, a limit that falls
// back to [ratelimit.Local] admits no more than its quota in any window in each
// process, however often the server forgets, since the table of the process is
// asked first; a process that was started within the window is one more. Other
// limits grant their quota once more after each loss. A failover loses the last
// writes.
//
// With an eviction policy an attacker who can fill the memory resets all limits:
// the Store rejects any policy but noeviction.
//
// If the server's clock is set back, charges are kept for one window (1.1 windows
// of a Strict limit) from then on; if it is set forward, charges are forgotten
// earlier by as much.
//
// An attacker who can write to the server can reset every limit. Keys are hashes
// and do not show addresses.
package redisstore
