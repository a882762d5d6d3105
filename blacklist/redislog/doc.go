// Package redislog keeps the log of package blacklist in Redis 5 or later, or a
// compatible server, for several machines.
//
//	log, err := redislog.New(eval, redislog.Config{})
//
// See [github.com/gatewright/gatewright/auth/redisstore] for eval and servers.
// Close the client after Run of the Replica has returned.
//
// The rights of an ACL user:
//
//	ACL SETUSER app on >password ~{gatewright:blacklist}:* ~gatewright:blacklist:*
//		+eval +evalsha +info +time +exists +set +del +xadd +xrange +xdel
//		+xinfo +zadd +zrangebyscore +zrem
//
// # Durability
//
// With appendfsync always, an acknowledged Append survives a power cut. Append
// rejects a server that evicts or has no append-only file. After a failover,
// processes that start later may lack the last revocations; a [blacklist.File], or
// package sqllog with synchronous replication, loses nothing.
//
// # Security considerations
//
// A former primary that was cut off and accepts writes cannot be distinguished from
// the primary. The clocks of servers that replace each other must agree to within
// the duration of a failover, or a number may be given twice.
//
// An attacker with write access can revoke every caller, and undo revocations for
// processes that start later. An attacker with read access can check guesses of a
// user's name, and cannot make a token.
package redislog
