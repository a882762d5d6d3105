// Package redisstore counts the limits of package ratelimit in Redis 5 or later,
// or a compatible server, through a function of the host's client.
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a retry may charge twice
//		ContextTimeoutEnabled: true, // or a call outlives its 50 ms
//	})
//	store, err := redisstore.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		// Keep the redis.Script of each of the three scripts, to hash it once.
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}, redisstore.Config{})
//
// Keys expire when they count no more. See package
// [github.com/gatewright/gatewright/auth/redisstore] for other clients and for
// servers that become replicas. The rights of an ACL user:
//
//	ACL SETUSER app on >password ~{gatewright:ratelimit}:*
//		+eval +evalsha +info +time +get +set +setrange +del
//
// In a cluster one node counts all keys of a Store; see [Config.Prefix] and
// [Config.SpreadKeys].
//
// # Security considerations
//
// If the server loses the counts, as a failover loses the last writes, a limit
// that falls back to [ratelimit.Local] still admits no more than its quota in any
// window in each process; other limits grant their quota once more.
//
// If the server's clock is set back, charges are kept for one window (1.1 windows
// of a Strict limit) from then on; if it is set forward, charges are forgotten
// earlier by as much.
//
// An attacker with write access to the server can reset every limit. Keys are
// hashes and do not show addresses.
package redisstore
