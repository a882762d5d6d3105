// Package redislog keeps the log of package blacklist in a Redis, or a server
// that speaks like one, which several machines share. It brings no client along:
// it takes one function of the client that the host has.
//
// With go-redis, version 9:
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a retry may record twice, which is harmless, and takes time
//		ContextTimeoutEnabled: true, // or a call outlives ReadTimeout and WriteTimeout of the Replica
//	})
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
//
// With rueidis:
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{
//		InitAddress:  []string{"localhost:6379"},
//		DisableRetry: true,
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
//	log, err := redislog.New(eval, redislog.Config{})
//	…
//	if err := log.Ready(ctx); err != nil { // does the server keep what it is told?
//		return err
//	}
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // read it all before serving
//		return err
//	}
//	go revoked.Run(ctx)
//
// # Order
//
// [blacklist.Replica.Refresh] comes before the first request. The host closes
// the client after the Run of the Replica has ended.
//
// # How it numbers
//
// The log is a stream, to which one script appends. It numbers an entry with the
// server's time in microseconds, or with the last number and one where that is
// greater, so that a server that has lost entries goes on with numbers that were
// not given yet. The stream keeps its last number when all entries have expired.
// A sorted set beside it says when they do, for [Log.Compact]. Both keys have one
// hash tag: in a cluster they are on one node. An entry takes about 200 bytes.
//
// It needs Redis 5 or later, and a user that may run INFO, EVAL, EVALSHA, TIME,
// EXISTS, XINFO, XADD, XRANGE, XDEL, ZADD, ZRANGEBYSCORE and ZREM.
//
// # Durability
//
// An acknowledged revocation survives a crash of the server only with
//
//	appendonly yes
//	appendfsync always
//	maxmemory-policy noeviction
//
// Append reads the first and the last of these each time, and records nothing on
// a server that has them otherwise. The second it cannot read from a script: with
// appendfsync everysec a loss of power takes the logouts of the last second or
// two along.
//
// Replication is asynchronous. If a replica takes over, the entries that it had
// not received are lost to processes that start later; those that knew them go
// on refusing. The settings min-replicas-to-write and min-replicas-max-lag of the
// server make that less likely, and nothing excludes it. A host for which that is
// not enough keeps the log in PostgreSQL, by package sqllog.
//
// # Security considerations
//
// Who can write to the server can revoke everybody, and un-revoke for processes
// that start later. Who can read it sees hashes of identifiers, without a key:
// guesses of a user's name can be tried, and no token can be made of them.
//
// Scripts must reach the primary: a replica answers with what it had some time
// ago. Since refuses a server that says that it is one. A former primary that was
// cut off and does not know it cannot be told from the real one.
//
// Servers that take over from one another need clocks that agree to within the
// time that the failover takes, or a number may be given twice.
package redislog
