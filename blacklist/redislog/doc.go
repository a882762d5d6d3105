// Package redislog keeps the log of package blacklist in Redis 5 or later, or a
// compatible server, for several machines, through a function of the host's
// client.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", MaxRetries: -1, ContextTimeoutEnabled: true})
//	log, err := redislog.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}, redislog.Config{})
//
// The host closes the client after Run of the Replica has returned. A cluster
// keeps a Log on one node. See package
// [github.com/gatewright/gatewright/auth/redisstore] for other clients and for
// servers that become replicas. The rights of an ACL user:
//
//	ACL SETUSER app on >password ~{gatewright:blacklist}:*
//		+eval +evalsha +info +time +exists +set +del +xadd +xrange +xdel
//		+xinfo +zadd +zrangebyscore +zrem
//
// # Durability
//
// With appendfsync always an acknowledged Append survives a power cut; with
// everysec the last second is lost. Append rejects a server that evicts or has no
// append-only file. Replication is asynchronous, so a failover can lose the last
// revocations to processes that start later; a [blacklist.File], or package
// sqllog with synchronous replication, loses nothing.
//
// # Security considerations
//
// A former primary that was cut off, and accepts writes, cannot be distinguished
// from the primary. The clocks of servers that take over from one another must
// agree to within the time that a failover takes, or a number may be given twice.
//
// An attacker with write access to the server can revoke every caller, and undo
// revocations for processes that start later. An attacker with read access can
// check guesses of a user's name, and cannot make a token.
package redislog
