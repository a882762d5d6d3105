package redislog_test

import (
	"context"
	"fmt"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
)

func Example() {
	// A client's; see the package documentation for two.
	var eval func(context.Context, string, []string, ...any) (any, error) = new(server).eval

	log, err := redislog.New(eval, redislog.Config{})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := log.Ready(ctx); err != nil {
		panic(err)
	}
	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	if err != nil {
		panic(err)
	}
	if err := revoked.Refresh(ctx); err != nil {
		panic(err)
	}
	go revoked.Run(ctx)

	ada := &identity.Principal{Issuer: "https://id.example", Subject: "ada", Session: "4711"}
	fmt.Println(revoked.Revoked(ctx, ada))
	fmt.Println(revoked.Revoke(ctx, identity.Revocation{Issuer: ada.Issuer, Session: ada.Session}))
	fmt.Println(revoked.Revoked(ctx, ada))
	// Output:
	// false <nil>
	// <nil>
	// true <nil>
}

// Incorrect: a server without an append-only file acknowledges logouts and
// forgets them when it ends. Ready refuses it when the program starts.
func ExampleLog_Ready_incorrect() {
	volatile := func(context.Context, string, []string, ...any) (any, error) {
		return []any{"master", "allkeys-lru", "0"}, nil // what appendonly no and an eviction policy come to
	}
	log, err := redislog.New(volatile, redislog.Config{})
	if err != nil {
		panic(err)
	}
	fmt.Println(log.Ready(context.Background()))
	// Output:
	// blacklist/redislog: proving a write: maxmemory-policy is "allkeys-lru" and must be noeviction, or the server forgets revocations
	// aof_enabled is "0" and must be 1, by appendonly yes and appendfsync always, or the server forgets revocations when it ends
}
