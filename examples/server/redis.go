package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
)

// parseRedis reads the URL of -redis. Its errors quote nothing of it: there may
// be a password in it.
func parseRedis(url string) (*redis.Options, error) {
	options, err := redis.ParseURL(url)
	if err != nil || options.Network != "tcp" {
		return nil, errors.New("-redis is no URL of a Redis, want redis://user:password@host:6379/0, or rediss:// for TLS," +
			" with %40 for @ and %2F for / in the password")
	}
	options.MaxRetries = -1              // what was sent may have been done
	options.ContextTimeoutEnabled = true // or a call outlives its request
	options.DialerRetries = 1            // whoever asks knows better when to ask again
	options.DialTimeout = 2 * time.Second
	// No more than this are open at once, and as many failures in a row make
	// the client try once a second only, which is late for those who wait.
	options.PoolSize = 256
	options.DisableIdentity = true // nobody reads it
	options.OnConnect = refuseReplica
	return options, nil
}

// refuseReplica closes a new connection to a replica, whose data may be old. A
// connection that is open while its server becomes a replica is closed by the
// client at the first READONLY.
func refuseReplica(ctx context.Context, conn *redis.Conn) error {
	role, err := conn.Do(ctx, "ROLE").Slice()
	if err != nil || len(role) == 0 {
		return nil // the user may not ask: the first write shows it
	}
	if role[0] != "master" {
		return fmt.Errorf("the Redis is a %v, -redis must lead to the primary", role[0])
	}
	return nil
}

// nameOfRedis is what may be shown of it.
func nameOfRedis(options *redis.Options) string {
	return "redis://" + options.Addr + "/" + strconv.Itoa(options.DB)
}

// evalOn returns the function by which the library uses the server.
func evalOn(client *redis.Client) func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
	var scripts sync.Map // a Script hashes its text once
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
		}
		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
	}
}

// An announcedLog tells the other servers when it has recorded something.
type announcedLog struct {
	*redislog.Log
	client *redis.Client
}

// channel is where it tells them. Channels are the same for all databases of a
// Redis; who hears of something that is another's reads in vain.
const channel = "gatewright:revocations"

// Append is of blacklist.Log.
func (l announcedLog) Append(ctx context.Context, entries ...blacklist.Entry) (uint64, error) {
	last, err := l.Log.Append(ctx, entries...)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
		defer cancel()
		_ = l.client.Publish(ctx, channel, "").Err() // who does not hear of it finds it a moment later
	}
	return last, err
}

// listenRedis calls heard for each revocation, and first of all, since there
// may have been some before. It returns when the connection is lost.
func listenRedis(ctx context.Context, client *redis.Client, heard func()) error {
	subscription := client.Subscribe(ctx, channel)
	defer subscription.Close()
	// A read does not end with its context.
	stop := context.AfterFunc(ctx, func() { _ = subscription.Close() })
	defer stop()
	asked := false
	for ctx.Err() == nil {
		message, err := subscription.ReceiveTimeout(ctx, quiet)
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && !asked {
			// Of a connection that was cut off nothing is heard.
			if err := subscription.Ping(ctx); err != nil {
				return err
			}
			asked = true
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		switch message.(type) {
		case *redis.Subscription, *redis.Message:
			heard()
		}
	}
	return ctx.Err()
}
