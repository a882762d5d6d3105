// Package redisstore counts the limits of package ratelimit in Redis 5 or later,
// or a compatible server, through a function of the host's client.
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a retry may charge twice
//		ContextTimeoutEnabled: true, // or a call outlives its 50 ms
//	})
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		// Keep the redis.Script of each of the three scripts, to hash it once.
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
//		Store: store, Name: "api", Secret: secret,
//	}, ratelimit.MustParse("5/second;1000/hour")...)
//
// A refused request writes nothing. Keys expire when they count no more. See
// package [github.com/gatewright/gatewright/auth/redisstore] for other clients and
// for servers that become replicas. The rights of an ACL user:
//
//	ACL SETUSER app on >password ~{gatewright:ratelimit}:*
//		+eval +evalsha +info +time +get +set +setrange +del
//
// In a cluster one node counts all keys of a Store. To use more nodes, give
// limiters Stores with different [Config.Prefix], or set [Config.SpreadKeys].
//
// # Security considerations
//
// If the server loses the counts, a limit that falls back to [ratelimit.Local]
// still admits no more than its quota in any window in each process; other limits
// grant their quota once more. A failover loses the last writes. An eviction
// policy would let an attacker that fills the memory reset all limits, so the
// Store accepts only noeviction.
//
// If the server's clock is set back, charges are kept for one window (1.1 windows
// of a Strict limit) from then on; if it is set forward, charges are forgotten
// earlier by as much.
//
// An attacker with write access to the server can reset every limit. Keys are
// hashes and do not show addresses.
package redisstore
