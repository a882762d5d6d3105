//go:build cluster

package integration

import (
	"crypto/rand"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	sessionstore "github.com/gatewright/gatewright/auth/redisstore"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/ratelimittest"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
	"github.com/gatewright/gatewright/totp"
	factorstore "github.com/gatewright/gatewright/totp/redisstore"
	"github.com/gatewright/gatewright/totp/totptest"
)

// openCluster starts three nodes that share the slots, and returns their
// addresses.
func openCluster(t *testing.T) []string {
	t.Helper()
	const slots, nodes = 16384, 3
	var addrs []string
	var clients []*redis.Client
	for i := range nodes {
		server := servers.Redis(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(freeBusPort(t)),
			"--cluster-config-file", filepath.Join(t.TempDir(), "nodes.conf"))
		addrs = append(addrs, server.Addr)
		client := redisForLimits(t, server.Addr)
		clients = append(clients, client)
		first, last := i*slots/nodes, (i+1)*slots/nodes-1
		if err := client.ClusterAddSlotsRange(t.Context(), first, last).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i, client := range clients[1:] {
		host, port, _ := net.SplitHostPort(addrs[0])
		bus := clients[0].ConfigGet(t.Context(), "cluster-port").Val()["cluster-port"]
		if err := client.Do(t.Context(), "CLUSTER", "MEET", host, port, bus).Err(); err != nil {
			t.Fatalf("node %d: %v", i+1, err)
		}
	}
	for i, client := range clients {
		begin := time.Now()
		for info := ""; !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3"); time.Sleep(50 * time.Millisecond) {
			if time.Since(begin) > 30*time.Second {
				t.Fatalf("node %d does not find the others:\n%s", i, info)
			}
			info = client.ClusterInfo(t.Context()).Val()
		}
	}
	return addrs
}

func freeBusPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// TestLimitsInRedisCluster: no bill crosses slots, and the rules hold. Run with
// -tags cluster.
func TestLimitsInRedisCluster(t *testing.T) {
	addrs := openCluster(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { cluster.Close() })
	other, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, DisableRetry: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	evals := map[string]evalFunc{"go-redis": limitsByGoRedis(cluster), "rueidis": limitsByRueidisClient(other)}
	for name, eval := range evals {
		t.Run(name+", one slot", func(t *testing.T) {
			ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return openRedisLimits(t, eval, redisstore.Config{Prefix: name}) })
		})
	}
	t.Run("a slot for each key", func(t *testing.T) {
		store := openRedisLimits(t, evals["go-redis"], redisstore.Config{SpreadKeys: true})
		var wg sync.WaitGroup
		var in atomic.Int64
		for range 60 {
			key := newLimitKey()
			for range 20 {
				wg.Go(func() {
					_, receipt, err := store.Take(t.Context(), []ratelimit.Charge{
						{Key: key, Limit: ratelimit.Limit{Name: "second", Kind: ratelimit.Smooth, Quota: 9, Burst: 9, Window: time.Hour}, Cost: 1},
						{Key: key, Limit: ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}, Cost: 1},
					})
					if err != nil {
						t.Error(err)
					}
					if receipt != (ratelimit.Receipt{}) {
						in.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if in.Load() != 60*5 {
			t.Errorf("%d were admitted, want 300", in.Load())
		}
		for _, addr := range addrs {
			if n := redisForLimits(t, addr).DBSize(t.Context()).Val(); n < 2 {
				t.Errorf("the node %s has %d keys, want a part of them", addr, n)
			}
		}
	})
}

// TestStoresInRedisCluster: nor does what the other stores do. Run with -tags
// cluster.
func TestStoresInRedisCluster(t *testing.T) {
	addrs := openCluster(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { cluster.Close() })
	eval := limitsByGoRedis(cluster)
	empty := func(t *testing.T) *sessionstore.Store {
		return openRedisSessions(t, sessionstore.Eval(eval), "test:"+rand.Text())
	}
	t.Run("refresh", func(t *testing.T) {
		authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return empty(t) })
	})
	t.Run("challenges", func(t *testing.T) {
		authtest.RunChallenges(t, func(t *testing.T) auth.ChallengeStore { return empty(t) })
	})
	t.Run("sessions", func(t *testing.T) {
		authtest.RunSessions(t, func(t *testing.T) authtest.SessionStore { return empty(t) })
	})
	t.Run("second factors", func(t *testing.T) {
		totptest.Run(t, func(t *testing.T) totp.Store { return openRedisFactors(t, factorstore.Eval(eval), "") })
	})
	t.Run("revocations", func(t *testing.T) {
		blacklisttest.RunLog(t, func(t *testing.T) blacklist.Log {
			log, err := redislog.New(eval, redislog.Config{})
			if err != nil {
				t.Fatal(err)
			}
			return log
		})
	})
}
