// Package redislog keeps the log of package blacklist in Redis 5 or later, or a
// compatible server, shared by several machines, through a function of the host's
// client.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", MaxRetries: -1, ContextTimeoutEnabled: true})
//	log, err := redislog.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}, redislog.Config{})
//	…
//	err = log.Ready(ctx)
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // read everything before serving
//		return err
//	}
//	go revoked.Run(ctx)
//
// The host closes the client after Run of the Replica has returned. Entries, of
// about 200 bytes, are in a stream, and the moments at which they expire in a
// sorted set. Both keys have one hash tag, so that a cluster keeps them on one node.
//
// The Eval of each client, how it leaves a server that has become a replica, and
// the rights of an ACL user are in the documentation of package
// [github.com/gatewright/gatewright/auth/redisstore]. The rights for this store:
//
//	ACL SETUSER app on >password ~{gatewright:blacklist}:*
//		+eval +evalsha +info +time +exists +set +del +xadd +xrange +xdel
//		+xinfo +zadd +zrangebyscore +zrem
//
// # Durability
//
// An Append that returned nil is as durable as the server: with appendfsync always
// it survives a power cut, with everysec the last second is lost. Append rejects a
// server that evicts or has no append-only file, in the script that records.
// Replication is asynchronous: a failover can lose the last revocations to
// processes that start later; processes that had read them go on refusing. A log
// that must lose nothing is a [blacklist.File], or a database with synchronous
// replication and package sqllog.
//
// # Security considerations
//
// Since returns an error on a replica, and on a server that rejects writes, with
// too few replicas for example: the log is then an outage for the Replica, which
// refuses callers once its last reading is older than MaxStale. A former primary
// that was cut off, and accepts writes, cannot be distinguished from the primary.
//
// An attacker who can write to the server can revoke every caller, and undo
// revocations for processes that start later. An attacker who can read it sees
// unkeyed hashes of identifiers: guesses of a user's name can be checked, and no
// token can be made.
//
// The clocks of servers that take over from one another must agree to within the
// time that a failover takes, or a number may be given twice.
package redislog
