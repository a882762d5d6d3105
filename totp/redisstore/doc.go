// Package redisstore keeps the second factors of package totp in Redis 5 or later,
// or a compatible server.
//
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	factors, err := totp.New(store, keys, totp.Config{Issuer: "Example"})
//
// See [github.com/gatewright/gatewright/auth/redisstore] for eval and servers. A
// user is one key, which does not expire.
//
// The rights of an ACL user:
//
//	ACL SETUSER app on >password ~{gatewright:totp}:* ~gatewright:totp:*
//		+eval +evalsha +info +exists +set +del +hset +hget +hmget +hdel
//
// # Security considerations
//
// If the server loses a factor, sign-in does not require it. Therefore the Store
// rejects a replica, and a server that evicts or has no append-only file. A power
// cut (without appendfsync always) or a failover can lose the last writes: a
// confirmed factor, or the use of a code.
//
// Secrets are sealed and recovery codes are hashed: an attacker with read access
// cannot make a code. An attacker with write access can remove a factor, make used
// codes valid again and reset the count of failures. Records contain user names.
package redisstore
