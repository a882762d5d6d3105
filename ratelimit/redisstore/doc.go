// Package redisstore counts the limits of package ratelimit in Redis 5 or later, or
// a compatible server.
//
//	store, err := redisstore.New(eval, redisstore.Config{})
//
// See [github.com/gatewright/gatewright/auth/redisstore] for eval and servers. A
// client that retries may charge twice. Keep the script object of each of the three
// scripts to hash it once. Keys expire when they count no more. In a cluster one
// node counts all keys unless [Config.SpreadKeys] is set.
//
// The rights of an ACL user:
//
//	ACL SETUSER app on >password ~{gatewright:ratelimit}:* ~gatewright:ratelimit:*
//		+eval +evalsha +info +time +get +set +setrange +del
//
// # Security considerations
//
// If the server loses counts, for example in a failover, a limit that falls back to
// [ratelimit.Local] still admits at most its quota in any window in each process;
// other limits grant their quota once more.
//
// If the server's clock is set back, charges are kept for one window (1.1 windows
// of a Strict limit) from then on; if it is set forward, charges are dropped
// earlier by as much.
//
// An attacker with write access can reset every limit. Keys are hashes and do not
// reveal addresses.
package redisstore
