// Package redisstore keeps the second factors of package totp in Redis 5 or later,
// or a compatible server, through a function of the host's client.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", MaxRetries: -1, ContextTimeoutEnabled: true})
//	store, err := redisstore.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}, redisstore.Config{})
//	…
//	err = store.Ready(ctx)
//	…
//	factors, err := totp.New(store, keys, totp.Config{Issuer: "Example"})
//
// A user is one key, in a slot of its own in a cluster, and each method is one
// script. Keys do not expire.
//
// The Eval of each client, how it leaves a server that has become a replica, and
// the rights of an ACL user are in the documentation of package
// [github.com/gatewright/gatewright/auth/redisstore]. The rights for this store:
//
//	ACL SETUSER app on >password ~gatewright:totp:*
//		+eval +evalsha +info +exists +set +del +hset +hget +hmget +hdel
//
// # Security considerations
//
// If the server forgets a factor, sign-in does not require it. Therefore the Store
// rejects a server that evicts or has no append-only file, and a replica, which may
// lack a factor. With appendfsync everysec instead of always, a power cut loses the
// last second: a confirmed factor, or the use of a code. A failover can lose the
// last writes in the same way.
//
// Secrets are sealed and recovery codes are hashed: an attacker who can read the
// server cannot make a code. An attacker who can write it can remove a factor, make
// used codes valid again and reset the count of failures. User names are in the
// records.
package redisstore
