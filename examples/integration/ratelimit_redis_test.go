package integration

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/ratelimittest"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
)

// redisForLimits returns a client that retries nothing.
func redisForLimits(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr:                  addr,
		MaxRetries:            -1,
		ContextTimeoutEnabled: true,
		PoolSize:              32,
		DialTimeout:           2 * time.Second,
	})
	t.Cleanup(func() { client.Close() })
	return client
}

func limitsByGoRedis(client redis.Scripter) evalFunc {
	var scripts sync.Map
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
		}
		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
	}
}

func limitsByRueidis(t testing.TB, addr string) evalFunc {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableRetry: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return limitsByRueidisClient(client)
}

func limitsByRueidisClient(client rueidis.Client) evalFunc {
	var scripts sync.Map
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, rueidis.NewLuaScript(script))
		}
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = a.(string)
		}
		return s.(*rueidis.Lua).Exec(ctx, client, keys, words).ToAny()
	}
}

func openRedisLimits(t testing.TB, eval evalFunc, config redisstore.Config) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(eval, config)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestLimitsInRedis(t *testing.T) {
	server := servers.Redis(t, "--appendfsync", "no")
	for _, client := range []struct {
		name string
		eval evalFunc
	}{
		{"go-redis", limitsByGoRedis(redisForLimits(t, server.Addr))},
		{"rueidis", limitsByRueidis(t, server.Addr)},
	} {
		t.Run(client.name, func(t *testing.T) {
			ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
				return openRedisLimits(t, client.eval, redisstore.Config{Prefix: client.name})
			})
		})
	}
}
