// Package redisstore keeps the sessions and challenges of package auth in Redis 5
// or later, or a compatible server. With go-redis:
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a command that was sent may have been executed
//		ContextTimeoutEnabled: true, // a call ends with its request
//	})
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
//	sessions, err := redisstore.New(eval, redisstore.Config{})
//	…
//	err = sessions.Ready(ctx)
//	…
//	signIn, err := auth.New(users, tokens, auth.Config{Sessions: sessions, Challenges: sessions, …})
//
// [New] shows eval for other clients. TLS and credentials are options of the
// client.
//
// # Servers
//
// This section holds for all Redis stores of this module. A store needs the
// primary, without eviction and, except for rate limits, with an append-only file.
// On a replica, writes and the reads that decide about access return an error. With
// appendfsync everysec instead of always, a power cut loses the last second.
// Replication is asynchronous: a failover can lose the last writes.
//
// After a failover an open connection may lead to a replica, which replies
// READONLY. go-redis closes this connection; for other clients limit the lifetime
// of connections, as [New] shows.
//
// If an ACL user lacks a right, the error lists all rights of the store. Its keys
// begin with "{", Prefix and "}:", or with Prefix and ":". For this store:
//
//	ACL SETUSER app on >password ~{gatewright:auth}:* ~gatewright:auth:*
//		+eval +evalsha +info +time +exists +set +hset +hsetnx +hmget +hincrby
//		+del +pexpireat +zadd +zcard +zrem +zrangebylex +zrangebyscore
//		+zrevrangebylex
//
// In a cluster one node has all data of a store, except for challenges and second
// factors. To use more nodes, choose among several stores with different
// [Config.Prefix], by tenant for example.
//
// The server deletes sessions when they end or expire. A session that was left idle
// keeps an index entry of about 60 bytes until its Expires.
//
// # Security considerations
//
// If the server restores older data, ended sessions are valid again.
//
// An attacker with read access sees subjects, tenants, session IDs and hashes of
// the identifiers of refresh tokens, and cannot make a token. An attacker with
// write access can revive a session.
//
// The clocks of all processes must agree to within the grace of a rotation. If the
// server's clock is ahead, sessions end earlier by as much.
package redisstore
