// Package redisstore keeps the sessions and challenges of package auth in Redis 5
// or later, or a compatible server, through a function of the host's client.
//
// With go-redis:
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // a command that was sent may have been executed
//		ContextTimeoutEnabled: true, // or a call outlives its request
//	})
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
//
// With rueidis:
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{
//		InitAddress:  []string{"localhost:6379"},
//		DisableRetry: true,            // a command that was sent may have been executed
//		DisableCache: true,            // everything is read by scripts
//		ConnLifetime: 5 * time.Second, // leaves a server that has become a replica
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
// With redigo:
//
//	pool := &redis.Pool{
//		MaxIdle:         16,
//		MaxConnLifetime: 5 * time.Second, // leaves a server that has become a replica
//		DialContext: func(ctx context.Context) (redis.Conn, error) {
//			return redis.DialContext(ctx, "tcp", "localhost:6379")
//		},
//	}
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		conn, err := pool.GetContext(ctx)
//		if err != nil {
//			return nil, err
//		}
//		defer conn.Close()
//		words := []any{}
//		for _, key := range keys {
//			words = append(words, key)
//		}
//		return redis.NewScript(len(keys), script).DoContext(ctx, conn, append(words, args...)...)
//	}
//
// An eval for another client returns an integer of the reply as int64, an array as
// []any, and a bulk string as string or []byte. Each of args is a string. The eval
// is safe for concurrent use, returns when ctx ends, and sends no command twice,
// except EVAL after the server has answered NOSCRIPT to EVALSHA.
//
// Then, with any of them:
//
//	sessions, err := redisstore.New(eval, redisstore.Config{})
//	…
//	err = sessions.Ready(ctx)
//	…
//	signIn, err := auth.New(users, tokens, auth.Config{Sessions: sessions, Challenges: sessions, …})
//
// # Servers
//
// The store needs the primary, without eviction and with an append-only file.
// After a failover an open connection may lead to a server that has become a
// replica and answers READONLY: go-redis closes such a connection by itself, the
// settings above close it in the other clients. An ACL user needs these rights:
//
//	ACL SETUSER app on >password ~{gatewright:auth}:* ~gatewright:auth:*
//		+eval +evalsha +info +time +exists +set +hset +hsetnx +hmget +hincrby
//		+del +pexpireat +zadd +zcard +zrem +zrangebylex +zrangebyscore
//		+zrevrangebylex
//
// In a cluster all sessions of a Store are in one slot, so that one script ends a
// session and removes it from its indexes. More nodes make one Store no faster; a
// host that needs more has several Stores with different [Config.Prefix] and
// chooses by tenant, for example. Challenges are spread over all slots.
//
// The server deletes a session when it expires. An ended session is deleted at
// once. A session that was left idle keeps an index entry of about 60 bytes until
// its Expires.
//
// # Security considerations
//
// The data is as durable as the server. With appendfsync everysec instead of
// always, a power cut loses the last second. Replication is asynchronous: a
// failover can lose the last writes. A server with older data has ended sessions
// again.
//
// An attacker who can read the server sees subjects, tenants, session IDs and
// hashes of the identifiers of refresh tokens, and cannot make a token. An attacker
// who can write it can revive a session.
//
// The clocks of several processes must agree to within the grace of a rotation. If
// the server's clock is ahead, sessions end earlier by as much.
package redisstore
